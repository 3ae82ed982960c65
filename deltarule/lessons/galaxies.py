"""Galaxies: what a network made of thirteen measured numbers in 1992, and what one makes of the images themselves.

Storrie-Lombardi and others trained the first neural network that sorts galaxies into E, S0, Sa+Sb, Sc+Sd and Irr. Their two tables are
published, and metrics read them. Their catalogue is not here: the galaxies of this lesson are generated, from formulas and chance, so
that their classes overlap as real ones do. One network sees thirteen numbers measured from each image, the other the image.
"""

from typing import Any, NamedTuple

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (36,)
EQUATIONS = ("Sersic:  I(r) = I_e exp(-b (r / r_e)^(1/n) + b)      n = 1 a disc, n = 4 an elliptical",
             "spiral arms:  r = r_0 exp(phi tan p)      the pitch angle p grows from Sa to Sd",
             "kappa = (p_o - p_e) / (1 - p_e)      agreement beyond that of independent guesses")
PARTS = ("dr.data.galaxies", "dr.data.galaxy_catalogue", "dr.data.storrie_lombardi", "dr.metrics.table_report",
         "dr.metrics.accuracy_within", "dr.Conv2D", "dr.MaxPool2D", "dr.BatchNorm", "dr.Network.fit", "dr.figures.image_grid")

GALAXIES, SEED, EPOCHS = 4000, 0, 4
CATALOGUE_LAYERS = [dr.Dense(8, "tanh"), dr.Dense(5, "softmax")]
CNN_LAYERS = [
    dr.AveragePool2D(2),        # the atmosphere blurs over more than two pixels: little is lost, and the rest costs a fourth
    dr.Conv2D(12, 3, padding="same", use_bias=False), dr.BatchNorm(), dr.Activation("relu"),
    dr.Conv2D(16, 3, padding="same", use_bias=False), dr.BatchNorm(), dr.Activation("relu"), dr.MaxPool2D(2),
    dr.Conv2D(32, 3, padding="same", use_bias=False), dr.BatchNorm(), dr.Activation("relu"), dr.MaxPool2D(2),
    dr.Flatten(), dr.Dense(32, "relu"), dr.Dense(5, "softmax")]


class Sorted(NamedTuple):
    """The test galaxies and what two networks made of them: probabilities (n, 5)."""

    test: dr.data.Dataset
    catalogue: np.ndarray
    images: np.ndarray

    def table(self, p: np.ndarray) -> np.ndarray:
        """The confusion table of these probabilities."""
        return dr.metrics.confusion_table(self.test.y, p.argmax(axis=1), classes=5)


def teach(board: Board) -> None:
    """The printed tables, then two networks on the same generated galaxies, side by side with them."""
    published = dr.data.storrie_lombardi()
    _published(board, published)
    board.say(f"Now {GALAXIES:,} generated galaxies, in the same shares: bulges and discs with Sersic profiles, under any inclination, "
              "arms that open and bulges that shrink along the sequence, bars, clumps of young stars, the blur of the atmosphere, noise. "
              "Half of them are for the test. Published is only what was said above; all that follows is generated.")
    found = sort()
    tables = {"published, 13 numbers": published.network, "generated, 13 numbers": found.table(found.catalogue),
              "generated, images": found.table(found.images)}
    _side_by_side(board, tables)
    _expected(board, found)
    board.figure("examples", draw_examples(found.test), "generated galaxies of the test, a row for each class; dark is bright")
    board.figure("confusion", draw_tables(tables, published.class_names), "which class was taken for which: of 1992, and of the two "
                 "networks on generated galaxies; coloured by the share of the row")
    board.figure("mistakes", draw_mistakes(found), "galaxies that the network on images gets wrong, those of which it was surest: true "
                 "class > answer")


def _published(board: Board, published: Any) -> None:
    board.say(f"{published.source}: {published.network.sum():,} galaxies, by a network on 13 numbers and by an automatic classifier:")
    for name, table, right in (("network", published.network, 2254), ("automatic", published.automatic, 1981)):
        report = dr.metrics.table_report(table)
        board.table([name, *published.class_names],
                    [[what, *(f"{value:.3f}" for value in report[what])] for what in ("precision", "recall")])
        board.number(f"published, {name}: right answers", int(table.trace()), equals(right))
        board.number(f"published, {name}: accuracy", report["accuracy"], near(right / 3517, 1e-12))
        board.number(f"published, {name}: kappa", report["kappa"], near(_kappa_by_scikit_learn(table), 1e-12))
    report = dr.metrics.table_report(published.network)
    for what, values in (("precision", (0.625, 0.580, 0.673, 0.585, 0.685)), ("recall", (0.653, 0.390, 0.795, 0.546, 0.508))):
        off = np.abs(np.array(report[what]) - values).max()
        board.number(f"published, network: {what} by class, from the printed digits by", float(off), at_most(5e-4))
    board.number("published, network: within one class", dr.metrics.accuracy_within(published.network, 1), near(0.964, 5e-4))
    board.number("published: the commonest class alone", report["baseline"], near(0.4581, 1e-4))


def _kappa_by_scikit_learn(table: np.ndarray) -> float:
    """From the labels that the table counts."""
    from sklearn.metrics import cohen_kappa_score

    rows, columns = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
    return float(cohen_kappa_score(rows, columns))


def sort() -> Sorted:
    """Generate, measure, divide, train both networks, and ask them about the test galaxies."""
    pictures = dr.data.galaxies(GALAXIES, seed=SEED)
    train, test = pictures.split(test=0.5, seed=0)
    listed, listed_test = dr.data.galaxy_catalogue(pictures).split(test=0.5, seed=0)                # the same galaxies
    x, x_test = np.asarray(listed.x), np.asarray(listed_test.x)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    small = dr.Network(CATALOGUE_LAYERS, input_shape=13, seed=SEED)
    small.fit((x - mean) / deviation, listed.y, optimizer=dr.Adam(0.01), epochs=60, batch_size=50, l2=1e-3, progress=False)
    cnn = dr.Network(CNN_LAYERS, input_shape=(48, 48, 1), seed=SEED)
    cnn.fit(turned(np.asarray(train.x)), np.tile(train.y, 8), optimizer=dr.Adam(dr.CosineDecay(0.004)), epochs=EPOCHS, batch_size=32,
            progress=False)
    return Sorted(test, small.predict((x_test - mean) / deviation), cnn.predict(test.x))


def turned(x: np.ndarray) -> np.ndarray:
    """Images (8 n, height, width, 1): each as it is and in its mirror, under four turns; a galaxy has no top."""
    return np.concatenate([np.rot90(side, turns, axes=(1, 2)) for side in (x, x[:, ::-1]) for turns in range(4)])


def _side_by_side(board: Board, tables: dict[str, np.ndarray]) -> None:
    reports = {name: dr.metrics.table_report(table) for name, table in tables.items()}
    classes = dr.data.storrie_lombardi().class_names
    for what in ("precision", "recall"):
        board.table([what, *classes], [[name, *(f"{value:.3f}" for value in report[what])] for name, report in reports.items()])
    board.table(["", "galaxies", "accuracy", "within one class", "kappa", "commonest class"],
                [[name, report["rows"], f"{report['accuracy']:.3f}", f"{dr.metrics.accuracy_within(tables[name]):.3f}",
                  f"{report['kappa']:.3f}", f"{report['baseline']:.3f}"] for name, report in reports.items()])


def _expected(board: Board, found: Sorted) -> None:
    baseline = float(np.bincount(found.test.y).max() / len(found.test))
    board.number("generated: the commonest class alone", baseline, near(0.458, 0.002))
    accuracy = {}
    for name, p in (("13 numbers", found.catalogue), ("images", found.images)):
        table = found.table(p)
        accuracy[name] = float(table.trace() / table.sum())
        board.number(f"generated, {name}: accuracy above that", accuracy[name] - baseline, at_least(0.13))
        board.number(f"generated, {name}: within one class", dr.metrics.accuracy_within(table), at_least(0.93))
        second = np.sort(p, axis=1)[:, -2]
        among = float(np.mean(p[np.arange(len(p)), found.test.y] >= second))
        board.number(f"generated, {name}: the first or the second guess is right", among, at_least(0.85))
    board.number("generated: what the images add to the accuracy", accuracy["images"] - accuracy["13 numbers"], at_least(0.0))
    board.say("The published network had the first guess right in 64% and the first or second in 90%. The image tells more than the "
              "thirteen numbers taken from it; and the classes still overlap, as those of real galaxies do.")


def draw_examples(test: dr.data.Dataset) -> Any:
    """Eight galaxies of each class, what is below the sky drawn as the sky."""
    rows = np.concatenate([np.flatnonzero(test.y == k)[:8] for k in range(5)])
    names = dr.data.storrie_lombardi().class_names
    return dr.figures.image_grid(np.maximum(np.asarray(test.x)[rows], 0), [names[k] for k in test.y[rows]], columns=8, size=0.95,
                                 label="arcsinh(counts / noise of the sky)")


def draw_mistakes(found: Sorted) -> Any:
    """The sixteen surest mistakes of the network on images."""
    answers, names = found.images.argmax(axis=1), dr.data.storrie_lombardi().class_names
    wrong = np.flatnonzero(answers != found.test.y)
    worst = wrong[np.argsort(-found.images[wrong].max(axis=1))[:16]]
    titles = [f"{names[found.test.y[i]]} > {names[answers[i]]}" for i in worst]
    return dr.figures.image_grid(np.maximum(np.asarray(found.test.x)[worst], 0), titles, columns=8, size=1.1,
                                 label="arcsinh(counts / noise)")


def draw_tables(tables: dict[str, np.ndarray], names: tuple[str, ...]) -> Any:
    """Confusion tables side by side."""
    fig, axes = dr.figures.panels(columns=len(tables), width=2.9, height=3.0)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        shares = table / table.sum(axis=1, keepdims=True)
        ax.grid(visible=False)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in zip(*np.nonzero(table), strict=True):
            ax.text(j, i, str(table[i, j]), ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.5 else "black")
        ax.set_xticks(range(len(names)), names, rotation=45, fontsize=8)
        ax.set_yticks(range(len(names)), names if ax is axes[0] else [], fontsize=8)
        ax.set_xlabel("predicted")
        ax.set_title(title, fontsize=9)
    axes[0].set_ylabel("true")
    return fig
