"""Hyper-parameters: what training does not learn, such as its rate, is tried out on rows held out, and the last word has a third set.

Structure, optimizer, learning rate, epochs, batch size and penalties are set before training. A search trains with many values of them and
compares a metric on rows that were not learnt from. Those rows then have been used, to choose: how good the choice is, only rows
can tell that were never looked at. One split of the data may be luck; here the comparison is made on six parts that share no row.
"""

from typing import Any, NamedTuple

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, between, equals

ROWS = (24,)
EQUATIONS = ("chosen = the settings of the least mean loss on the held-out rows, over several seeds",
             "gain = test accuracy with the chosen settings - with the default ones, on the same rows",
             "standard error of the mean gain = standard deviation of the gains / sqrt(number of parts)")
PARTS = ("dr.sweep", "dr.search", "dr.LogUniform", "dr.Trials", "dr.data.digits")

PARTITIONS, LEARN, HELD, SEEDS, EPOCHS = 6, 150, 70, 3, 20
RATES, PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03), (0.0, 0.001, 0.01)
LONGER = 3          # times as many epochs for the default, at last
DEFAULT = {"learning_rate": 0.001, "l2": 0.0}       # what Network.fit does when nothing is said


class Part(NamedTuple):
    """Rows of its own: to learn from, to choose by, and to test on, each (x, y)."""

    learn: tuple[np.ndarray, np.ndarray]
    held: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def teach(board: Board) -> None:
    """A sweep on each of six parts of the digits, the default among its settings; then a search for the structure too."""
    rows = parts()
    sweeps = [dr.sweep(network(), *part.learn, validation=part.held, learning_rate=RATES, l2=PENALTIES, seeds=SEEDS, epochs=EPOCHS,
                       progress=False) for part in rows]
    tuned = np.array([accuracy(trials.best, part) for trials, part in zip(sweeps, rows, strict=True)])
    default = np.array([accuracy(best_of(default_of(trials)), part) for trials, part in zip(sweeps, rows, strict=True)])
    board.say(f"Handwritten digits in {PARTITIONS} parts that share no row, each with {LEARN} to learn from, {HELD} to choose by and "
              f"{len(rows[0].test[0])} to test on; 32 hidden units, {EPOCHS} epochs. {len(RATES)} rates, {len(PENALTIES)} penalties and "
              f"{SEEDS} seeds make {len(RATES) * len(PENALTIES) * SEEDS} networks, trained as one program. The best and the worst of the "
              "first part:")
    board.table(["learning rate", "l2", "held-out loss", "spread over seeds"],
                [[f"{trial.settings['learning_rate']:g}", f"{trial.settings['l2']:g}", f"{trial.mean:.3f}", f"{trial.spread:.3f}"]
                 for trial in (*sweeps[0][:4], *sweeps[0][-2:])])
    board.number("settings tried on each part, the default among them", len(sweeps[0]), equals(len(RATES) * len(PENALTIES)))
    gains = tuned - default
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    board.say("The test rows, looked at now for the first time:")
    board.table(["part", "chosen rate", "chosen l2", "default, test accuracy", "tuned, test accuracy", "gain"],
                [[number + 1, f"{trials[0].settings['learning_rate']:g}", f"{trials[0].settings['l2']:g}", f"{default[number]:.1%}",
                  f"{tuned[number]:.1%}", f"{gains[number]:+.1%}"] for number, trials in enumerate(sweeps)])
    board.number("mean gain in test accuracy over the default", float(gains.mean()), at_least(0.03))
    board.number("mean gain, in standard errors", float(gains.mean() / error), at_least(3.0))
    board.number("parts on which the default was better", int(np.sum(gains < 0)), at_most(1))
    patient = np.array([accuracy(dr.sweep(network(), *part.learn, validation=part.held, learning_rate=[DEFAULT["learning_rate"]],
                                          seeds=SEEDS, epochs=LONGER * EPOCHS, progress=False).best, part) for part in rows])
    board.say(f"What the tuning found is mostly time: with {LONGER * EPOCHS} epochs instead of {EPOCHS} the default rate gets as far. "
              "Epochs are a hyper-parameter too, and a comparison is fair only if both sides may spend the same.")
    board.number(f"mean gain over the default with {LONGER * EPOCHS} epochs", float((tuned - patient).mean()), between(-0.04, 0.04))
    _structure(board, rows[0], default[0])
    board.figure("tuning", _figure(sweeps[0], default, tuned),
                 "left: the held-out loss against the learning rate, bars over the seeds, the chosen one ringed; right: the accuracy on "
                 "the test rows of each part, before and after")


def _structure(board: Board, part: Part, default: float) -> None:
    """Width and activation change the program; they are drawn at random, and the better third of the draws gets three times the epochs."""
    found = dr.search(build, *part.learn, validation=part.held, trials=9, epochs=EPOCHS, width=[16, 64], activation=["relu", "tanh"],
                      learning_rate=dr.LogUniform(3e-4, 1e-1), progress=False)
    board.say("Width and activation can be searched too. Nine draws are trained for 6 epochs, the best three of them for 20:")
    board.table(["width", "activation", "learning rate", "epochs", "held-out loss"],
                [[trial.settings["width"], trial.settings["activation"], f"{trial.settings['learning_rate']:.2g}", trial.epochs,
                  f"{trial.mean:.3f}"] for trial in found])
    board.number("epochs that the search cost", found.cost, equals(9 * 6 + 3 * 20))
    board.number("its test accuracy above the default's", accuracy(found.best, part) - default, at_least(0.0))


def network() -> dr.Network:
    """One hidden layer of 32 units."""
    return build(32, "relu")


def build(width: int, activation: str) -> dr.Network:
    """One hidden layer."""
    return dr.Network([dr.Dense(width, activation), dr.Dense(10, "softmax")], input_shape=64)


def parts() -> list[Part]:
    """The digits, shuffled once, in equal parts that share no row."""
    digits = dr.data.digits()
    order = np.random.default_rng(0).permutation(len(digits.x))
    each = len(order) // PARTITIONS

    def rows(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(digits.x)[which], digits.y[which]

    cuts = [order[i * each:(i + 1) * each] for i in range(PARTITIONS)]
    return [Part(rows(cut[:LEARN]), rows(cut[LEARN:LEARN + HELD]), rows(cut[LEARN + HELD:])) for cut in cuts]


def default_of(trials: dr.Trials) -> Any:
    """The trial with the settings that `fit` has when nothing is said."""
    return next(trial for trial in trials if trial.settings == DEFAULT)


def best_of(trial: Any) -> dr.Network:
    """Of the seeds of a trial the one that did best on the held-out rows, as `trials.best` takes it."""
    best: dr.Network = trial.networks[int(np.argmin(trial.values))]
    return best


def accuracy(net: dr.Network, part: Part) -> float:
    """On the test rows."""
    return net.evaluate(*part.test)["accuracy"]


def _figure(trials: dr.Trials, default: np.ndarray, tuned: np.ndarray) -> object:
    fig, (left, right) = dr.figures.panels(columns=2, width=4.4, height=3.2)
    trials.plot("learning_rate", ax=left)
    for before, after in zip(default, tuned, strict=True):
        right.plot([0, 1], [before, after], color="0.7", linewidth=1.2, zorder=1)
    right.plot(np.zeros(len(default)), default, "o", color=dr.figures.ORANGE)
    right.plot(np.ones(len(tuned)), tuned, "o", color=dr.figures.BLUE)
    right.set_xticks([0, 1], ["default", "tuned"])
    right.set_xlim(-0.4, 1.4)
    right.set_ylabel("test accuracy")
    return fig
