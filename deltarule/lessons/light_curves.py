"""Light curves: what kind of star is it? A convolutional and a recurrent network read brightness at irregular times.

A telescope on the ground sees a star at night only, and not through clouds: a curve is a list of times and magnitudes, each star's of
another length. A network sees for every step the time since the step before, the magnitude, and that the step is there. Folded with the
period the curves of the textbooks appear, but nobody tells the networks the period; from order and distances they must find out whether
the star pulsates slowly (Cepheid) or quickly (RR Lyrae), is eclipsed now and then, flares up, or does nothing at all.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, between, equals

ROWS = (40,)
EQUATIONS = ("x_t = (t - t_before, m_t, 1), and 0 in every place where a curve has ended",
             "phase = t / P modulo 1; a magnitude is -2.5 log10 of the flux: larger is fainter")
PARTS = ("dr.data.light_curves", "dr.data.Sequences", "dr.data.Preprocessor", "dr.Masked", "dr.GRU", "dr.Conv1D", "dr.GlobalMaxPool",
         "dr.figures.confusion")

STARS, STEPS, UNSEEN = 2500, 200, 1000
BLUE, RED, GREY = dr.figures.BLUE, dr.figures.RED, "0.6"


def teach(board: Board) -> None:
    """Train both networks on generated stars, count on new ones, and look at the mistakes."""
    stars, unseen = dr.data.light_curves(STARS, seed=0), dr.data.light_curves(UNSEEN, seed=1)
    board.say(f"{STARS} stars to learn from, {UNSEEN} others to be examined on, of five classes: {', '.join(stars.class_names or ())}. "
              f"Their curves have {stars.lengths.min()} to {stars.lengths.max()} measurements.")
    board.figure("stars", draw_stars(stars), "one star of each class: as it was measured and, where it has a period, folded with it; "
                 "brightness rises upwards")
    _periods(board, stars)
    rules = dr.data.Preprocessor.fit(stars.padded(STEPS), channels=stars.channels)
    x, new = (np.asarray(rules.transform(part.subset(part.lengths <= STEPS))) for part in (stars, unseen))
    y, answers = (np.asarray(part.y)[part.lengths <= STEPS] for part in (stars, unseen))
    board.say("Gaps become logarithms, magnitudes differences from the mean of their own star; that mean goes beside them. For comparison "
              "a dense network gets what a table of the stars would hold: mean, spread, skewness and range.")
    table, new_table = statistics(stars), statistics(unseen)
    plain = dr.Network([dr.Dense(32, "relu"), dr.Dense(5, "softmax")], input_shape=4, seed=0)
    scale = dr.data.Preprocessor.fit(table)
    plain.fit(scale.transform(table), stars.y, optimizer=dr.Adam(0.01), epochs=40, progress=False)
    board.number("dense network on four statistics, accuracy", plain.evaluate(scale.transform(new_table), unseen.y)["accuracy"],
                 between(0.5, 0.93))
    networks = {"CNN": convolutional(), "GRU": recurrent()}
    for name, net in networks.items():
        net.fit(x, y, optimizer=dr.Adam(3e-3), epochs=12, batch_size=32, validation=0.1, progress=False)
        board.number(f"{name}, accuracy on new stars", net.evaluate(new, answers)["accuracy"], at_least(0.95))
    _padding(board, networks["GRU"], new[:20])
    _mistakes(board, networks["GRU"], new, unseen.subset(unseen.lengths <= STEPS))


def convolutional() -> dr.Network:
    """Three convolutions along the steps, and the strongest answer of each filter."""
    return dr.Network([dr.Conv1D(32, 7, "relu", padding="same"), dr.MaxPool1D(2), dr.Conv1D(64, 5, "relu", padding="same"), dr.MaxPool1D(2),
                       dr.Conv1D(64, 5, "relu", padding="same"), dr.GlobalMaxPool(), dr.Dense(64, "relu"), dr.Dropout(0.3),
                       dr.Dense(5, "softmax")], input_shape=(STEPS, 4), seed=0)


def recurrent() -> dr.Network:
    """A state of 32 numbers that goes along the curve and stays as it is where there is padding."""
    return dr.Network([dr.Masked(), dr.GRU(32), dr.Dense(5, "softmax")], input_shape=(STEPS, 4), seed=0)


def statistics(stars: dr.data.Sequences) -> np.ndarray:
    """Mean, spread, skewness and range of every curve, (n, 4): its order and its times are lost."""
    curves = [values[:, 0] for values in stars.values]
    return np.array([(m.mean(), m.std(), np.mean((m - m.mean())**3) / m.std()**3, np.ptp(m)) for m in curves])


def _periods(board: Board, stars: dr.data.Sequences) -> None:
    """The periodogram of Lomb and Scargle finds the period that a Cepheid was made with."""
    from scipy.signal import lombscargle

    found = []
    periods = 10 ** np.linspace(np.log10(1.5), np.log10(30), 3000)
    for i in np.flatnonzero(stars.y == 1)[:12]:
        t, m = stars.times[i], stars.values[i][:, 0]
        best = periods[lombscargle(t, m - m.mean(), 2 * np.pi / periods).argmax()]
        found.append(abs(best / stars.facts["period"][i] - 1) < 0.05)
    board.number("of 12 Cepheids, the periods that Lomb and Scargle's method finds within 5%", sum(found), at_least(9))


def _padding(board: Board, net: dr.Network, x: np.ndarray) -> None:
    """A network with rows twice as long and the same weights gives the same answers."""
    longer = dr.Network(net.layer, input_shape=(2 * STEPS, 4))
    longer.params = net.params
    wide = np.concatenate([x, np.zeros_like(x)], axis=1)
    board.number("answers of the GRU change with twice the padding by", float(np.abs(longer.predict(wide) - net.predict(x)).max()),
                 at_most(1e-5))


def _mistakes(board: Board, net: dr.Network, x: np.ndarray, stars: dr.data.Sequences) -> None:
    """The table of what is taken for what, and the star that the GRU is most surely wrong about."""
    p, names = net.predict(x), stars.class_names or ()
    said, true = p.argmax(axis=1), np.asarray(stars.y)
    table = np.array([[np.sum((true == i) & (said == j)) for j in range(5)] for i in range(5)])
    board.number("stars in the table", int(table.sum()), equals(len(true)))
    board.figure("confusion", dr.figures.confusion(table, names), "what the GRU takes new stars for")
    wrong = np.flatnonzero(said != true)
    if wrong.size:
        i = int(wrong[p[wrong, said[wrong]].argmax()])
        sigma, amplitude = (stars.facts[fact][i] for fact in ("sigma", "amplitude"))
        board.say(f"The surest mistake: {stars.names[i]} is of the class {names[true[i]]}, and the GRU says {names[said[i]]} with "
                  f"p = {p[i, said[i]]:.2f}. Its noise is {sigma:.3f} mag, its variation {amplitude:.2f} mag.")
        board.figure("mistake", draw_mistake(stars, i, p[i]), "the curve that the GRU is most surely wrong about, and what it says")


def draw_stars(stars: dr.data.Sequences) -> Any:
    """For each class the third star: over time above, folded below."""
    fig, axes = dr.figures.panels(columns=5, rows=2, width=1.8, height=1.9)
    for k, name in enumerate(stars.class_names or ()):
        i = int(np.flatnonzero(stars.y == k)[2])
        t, m, period = stars.times[i], stars.values[i][:, 0], stars.facts["period"][i]
        for ax, folded in ((axes[k], False), (axes[k + 5], True)):
            if folded and np.isnan(period):
                ax.remove()
                continue
            ax.plot(t / period % 1 if folded else t, m, ".", color=RED if folded else BLUE, markersize=3)
            ax.invert_yaxis()
            ax.set_xlabel(f"phase, P = {period:.3g} d" if folded else "days", fontsize=8)
            ax.tick_params(labelsize=7)
            if not folded:
                ax.set_title(name, fontsize=9)
            if k == 0:
                ax.set_ylabel("magnitude", fontsize=8)
    return fig


def draw_mistake(stars: dr.data.Sequences, i: int, p: np.ndarray) -> Any:
    """The curve over time, and the probabilities of the classes."""
    fig, (left, right) = dr.figures.panels(columns=2, width=3.6, height=2.8)
    left.plot(stars.times[i], stars.values[i][:, 0], ".", color=BLUE, markersize=4)
    left.invert_yaxis()
    left.set_xlabel("days")
    left.set_ylabel("magnitude")
    true = int(np.asarray(stars.y)[i])
    right.barh(range(5), p, color=GREY)
    right.set_title(f"in truth: {(stars.class_names or ())[true]}", fontsize=10)
    right.set_yticks(range(5), list(stars.class_names or ()))
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("probability that the GRU gives")
    return fig
