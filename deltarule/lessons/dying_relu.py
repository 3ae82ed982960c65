"""Dying ReLUs: units that are off for every example, and learn no more.

Where a ReLU is off its slope is 0, so no error comes back through it. A unit that is off for every example of the data has no
gradient at all: it stays as it is for good. A bad bias or one step with a too large learning rate is enough. The leaky and the
parametric ReLU keep a small slope on the off side, and the unit finds its way back.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (12,)
EQUATIONS = ("ReLU:  g(a) = max(0, a),   g'(a) = 0 for a < 0",
             "leaky ReLU:  g(a) = s a for a < 0, with a fixed small slope s      parametric ReLU:  s is learnt",
             "dead unit:  delta = 0 for every example")
PARTS = ("dr.Dense", "dr.LeakyReLU", "dr.ParametricReLU", "dr.Network.trace", "dr.DivergenceError", "dr.data.two_moons")

UNITS, BAD_BIAS = 30, -4.0
KINDS: dict[str, Any] = {"ReLU": "relu", "leaky ReLU": dr.LeakyReLU(0.1), "parametric ReLU": dr.ParametricReLU()}
RATES = (0.3, 3.0, 30.0)


def teach(board: Board) -> None:
    """Dead units by a bad bias and by too large a learning rate, with ReLU and with its two relatives."""
    moons = dr.data.two_moons(200, noise=0.1)
    x, y = np.asarray(moons.x, np.float64), moons.y[:, None].astype(np.float64)
    board.say(f"The two moons, {UNITS} hidden units and one sigmoid output. A unit is counted as dead when its delta is 0 for all "
              f"{len(x)} examples.")
    from_bad_bias = _bad_bias(board, x, y)
    by_rate = _rates(board, x, y)
    board.figure("dead", _figure(from_bad_bias, by_rate), "left: with every unit off at the start ReLUs never learn, their relatives do; "
                 "right: the larger the learning rate, the more ReLUs it kills")


def _bad_bias(board: Board, x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    board.say(f"First a bad start: all biases of the hidden layer are {BAD_BIAS:g}, so that every unit is off for every example.")
    rows: list[Any] = []
    curves, right = {}, {}
    for label, g in KINDS.items():
        net = _network(g)
        net.params["dense_1"]["bias"][:] = BAD_BIAS
        W, start = net.params["dense_1"]["weights"].copy(), dead(net, x, y)
        curves[label] = net.fit(x, y, optimizer=dr.Adam(0.02), epochs=600, batch_size=20, progress=False)["accuracy"]
        moved = float(np.abs(net.params["dense_1"]["weights"] - W).max())
        right[label] = float(np.mean((net.predict(x) > 0.5) == y))
        rows.append([label, start, dead(net, x, y), moved, right[label]])
    board.table(["hidden units", "dead before", "dead after", "largest move of a weight", "accuracy"], rows)
    board.number("ReLU, share dead after training", rows[0][2], equals(1.0))
    board.number("ReLU, largest move of a hidden weight", rows[0][3], equals(0.0))
    board.number("ReLU, accuracy", right["ReLU"], equals(0.5))
    for row in rows[1:]:
        board.number(f"{row[0]}, share dead", max(row[1:3]), equals(0.0))
        board.number(f"{row[0]}, accuracy", row[4], at_least(0.95))
    return curves


def _rates(board: Board, x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    board.say("Now a good start, and learning rates that are right, large and far too large. A huge step throws the weights to where the "
              "units are off, and there they stay.")
    rows: list[Any] = []
    shares: dict[str, list[float]] = {}
    for label in ("ReLU", "leaky ReLU"):
        shares[label] = []
        for rate in RATES:
            net, ended = _network(KINDS[label]), "finished"
            try:
                net.fit(x, y, optimizer=dr.SGD(rate), epochs=200, batch_size=20, progress=False)
            except dr.DivergenceError:
                ended = "diverged, and fit said so"
            shares[label].append(dead(net, x, y))
            rows.append([label, rate, shares[label][-1], ended])
    board.table(["hidden units", "learning rate", "dead after", "training"], rows)
    board.number("ReLU, share dead at rate 0.3", shares["ReLU"][0], at_most(0.1))
    board.number("ReLU, share dead at rate 30", shares["ReLU"][2], at_least(0.9))
    board.number("leaky ReLU, share dead at any rate", max(shares["leaky ReLU"]), equals(0.0))
    board.say("Leaky units survive even the largest rate, but the training does not: its numbers grow beyond every bound. A leak cures "
              "dead units; too large a learning rate is cured by a smaller one.")
    return shares


def dead(net: dr.Network, x: np.ndarray, y: np.ndarray) -> float:
    """The share of hidden units to which no example sends an error back."""
    delta = net.trace(x, y)["dense_1"].delta                        # (n, units)
    return float(np.mean(np.all(delta == 0, axis=0)))


def _network(g: Any) -> dr.Network:
    return dr.Network([dr.Dense(UNITS, g, weights="he_normal"), dr.Dense(1, "sigmoid")], input_shape=2, seed=0, dtype="float64")


def _figure(curves: dict[str, list[float]], shares: dict[str, list[float]]) -> object:
    fig, (left, right) = dr.figures.panels(columns=2, width=4.2, height=3.2)
    colours = dict(zip(KINDS, (dr.figures.RED, dr.figures.BLUE, dr.figures.GREEN), strict=True))
    for (label, curve), style in zip(curves.items(), ("-", "--", "-."), strict=True):
        left.plot(range(1, len(curve) + 1), curve, color=colours[label], linestyle=style, label=label)
    left.set_xlabel("epoch")
    left.set_ylabel("accuracy, all units off at the start")
    left.set_ylim(0.45, 1.02)
    left.legend(frameon=False, fontsize=9, loc="center right")
    for (label, share), marker in zip(shares.items(), "os", strict=True):
        right.semilogx(RATES, share, color=colours[label], marker=marker, label=label)
    right.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    right.minorticks_off()
    right.set_xlabel("learning rate")
    right.set_ylabel("share of dead units")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    return fig
