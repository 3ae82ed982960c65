"""A convolutional network in one dimension: three layers with kernels of three steps see seven steps of a signal.

Each unit looks at three neighbours in the layer below and at nothing else, and all units of a layer share the same weights. Three such
layers, one on the other, see 3, 5 and 7 steps of the input: small pieces below, whole shapes above. The task is one where only the
order counts: pulses that flare up and fade, their mirror images, and symmetric ones, made of the same seven values.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (33,)
EQUATIONS = ("a_l[p, m] = b_l[m] + sum_{k=0}^{2} sum_c h_{l-1}[p + k, c] W_l[k, c, m],    h_l = relu(a_l),    h_0 = x",
             "steps of the input that a unit of layer l sees: 1 + l (3 - 1) = 3, 5, 7")
PARTS = ("dr.Conv1D", "dr.GlobalMaxPool", "dr.Network.trace", "dr.Network.fit", "dr.textbook.convolve")

STEPS, NOISE, KERNEL, CHANNELS = 40, 0.15, 3, (4, 6, 6)
VALUES = np.array([3.0, 2.2, 1.6, 1.1, 0.7, 0.4, 0.2])
SHAPES = {"flare": VALUES, "mirrored": VALUES[::-1], "symmetric": VALUES[[6, 4, 2, 0, 1, 3, 5]]}    # the same values in three orders
LAYERS = [*(dr.Conv1D(channels, KERNEL, "relu") for channels in CHANNELS), dr.GlobalMaxPool(), dr.Dense(3, "softmax")]
NAMES = ("conv1d_1", "conv1d_2", "conv1d_3")


def teach(board: Board) -> None:
    """Train on pulses, beside a network that sees the values without their order; one output by hand; what each layer answers to."""
    x, y = signals(1500, seed=0)
    unseen = signals(1000, seed=1)
    board.say(f"Signals of {STEPS} steps hold one pulse of seven steps somewhere, bright or faint, under noise. Which of three shapes is "
              "it? The network: three layers Conv1D with a kernel of 3, the maximum of each map over the signal, softmax.")
    net = dr.Network(LAYERS, input_shape=(STEPS, 1), seed=0, dtype="float64")
    weights = [sum(np.size(part) for part in net.params[name].values()) for name in NAMES]
    board.number("parameters of the three layers", weights, equals([1 * 3 * 4 + 4, 4 * 3 * 6 + 6, 6 * 3 * 6 + 6]))
    net.fit(x, y, optimizer=dr.Adam(0.01), epochs=25, batch_size=50, progress=False)
    board.number("accuracy on new signals", net.evaluate(*unseen)["accuracy"], at_least(0.93))
    dense = dr.Network([dr.Dense(32, "relu"), dr.Dense(3, "softmax")], input_shape=STEPS, seed=0, dtype="float64")
    dense.fit(np.sort(x[..., 0]), y, optimizer=dr.Adam(0.003), epochs=25, batch_size=50, progress=False)
    board.number("accuracy from the same values sorted, their order lost",
                 dense.evaluate(np.sort(unseen[0][..., 0]), unseen[1])["accuracy"], at_most(0.45))
    _by_hand(board, net, unseen[0][:1])
    board.figure("connections", draw_connections(), "the first steps of the three layers; in colour what one unit of the third layer "
                 "sees, 3 units of the second, 5 of the first, and 7 steps of the input")
    board.say("What does a kernel answer to? For every map the 30 places of new signals with its strongest answers, and the mean of "
              "the pieces of input there: 3, 5 and 7 steps long. The first layer answers to rises and falls, the third to whole flanks "
              "and shapes.")
    board.figure("answers", draw_answers(favourites(net, unseen[0])), "the mean piece of the signal that excites each map most, layer by "
                 "layer; maps that never answer are left out")


def signals(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Signals (n, STEPS, 1) with a pulse each, and the number of its shape (n,)."""
    rng = np.random.default_rng(seed)
    y, start, height = rng.integers(0, 3, n), rng.integers(1, STEPS - 8, n), rng.uniform(0.5, 1.5, n)
    x = NOISE * rng.normal(size=(n, STEPS))
    x[np.arange(n)[:, None], start[:, None] + np.arange(7)] += height[:, None] * np.array(list(SHAPES.values()))[y]
    return x[..., None], y


def _by_hand(board: Board, net: dr.Network, x: np.ndarray) -> None:
    """One unit of the third layer from seven steps by the sums of the equation, and which steps it depends on."""
    trace, p, m = net.trace(x), 11, 2
    h = x[0, p:p + 7]                                                               # (7, 1): all that is needed
    for name in NAMES:
        W, b = (np.asarray(net.params[name][part]) for part in ("weights", "bias"))
        a = [[b[c] + sum(h[q + k, d] * W[k, d, c] for k in range(KERNEL) for d in range(h.shape[1])) for c in range(len(b))]
             for q in range(len(h) - 2)]
        h = np.maximum(a, 0)                                                        # (5, 4), (3, 6), (1, 6)
    board.say(f"One unit of the third layer, place {p} of map {m}, by hand: 5 places of the first layer from steps {p} to {p + 6}, 3 of "
              "the second, and the unit itself.")
    board.table(["", "a"], [["by hand", f"{a[0][m]:.12f}"], ["network", f"{trace['conv1d_3'].preactivation[0, p, m]:.12f}"]])
    board.number("they differ by", abs(a[0][m] - trace["conv1d_3"].preactivation[0, p, m]), at_most(1e-12))
    for name, sees in zip(NAMES, (3, 5, 7), strict=True):
        board.number(f"steps that change place {p} of {name}", steps_seen(net, x, name, p), equals(list(range(p, p + sees))))


def steps_seen(net: dr.Network, x: np.ndarray, name: str, p: int) -> list[int]:
    """Steps of x (1, STEPS, 1) that change some map's activation or pre-activation at place p of a layer when they change."""
    nudged = np.repeat(x, STEPS, axis=0)
    nudged[np.arange(STEPS), np.arange(STEPS), 0] += 5.0                            # one row for each step
    first, then = (net.trace(rows)[name].preactivation[:, p] for rows in (x, nudged))
    return np.flatnonzero((then != first).any(axis=1)).tolist()


def favourites(net: dr.Network, x: np.ndarray) -> list[list[np.ndarray]]:
    """For each layer and each of its maps the mean piece of input under its 30 strongest answers; none for a map that is silent."""
    trace, found = net.trace(x), []
    for name, sees in zip(NAMES, (3, 5, 7), strict=True):
        h = trace[name].activation                                                  # (n, places, maps)
        pieces = []
        for m in range(h.shape[2]):
            rows, places = np.unravel_index(np.argsort(h[:, :, m], axis=None)[-30:], h.shape[:2])
            if h[rows, places, m].min() > 0:
                pieces.append(np.mean([x[row, place:place + sees, 0] for row, place in zip(rows, places, strict=True)], axis=0))
        found.append(pieces)
    return found


def draw_connections() -> Any:
    """Thirteen steps and what is above them, every connection, and the cone below one unit."""
    fig, (ax,) = dr.figures.panels(width=7.2, height=3.6)
    colours, shown, unit = ("0.3", dr.figures.SKY, dr.figures.BLUE, dr.figures.RED), 13, 3
    for level in range(4):
        for p in range(shown - 2 * level):
            seen = unit <= p <= unit + 2 * (3 - level)
            ax.scatter(p + level, level, s=190, facecolor=colours[level] if seen else "white", edgecolor=colours[level] if seen else "0.75",
                       linewidths=1.4, zorder=3)
            for k in range(KERNEL if level else 0):
                ax.plot([p + level, p + level - 1 + k], [level, level - 1], color=colours[level] if seen else "0.88",
                        linewidth=1.5 if seen else 0.8, zorder=2 if seen else 1)
    ax.set_yticks(range(4), ["input x", "layer 1", "layer 2", "layer 3"])
    ax.set_xticks(range(shown))
    ax.set_xlabel("step")
    ax.set_ylim(-0.4, 3.4)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return fig


def draw_answers(found: list[list[np.ndarray]]) -> Any:
    """A row for each layer, a small curve for each map, all on one scale."""
    columns = max(map(len, found))
    fig, axes = dr.figures.panels(columns=columns, rows=3, width=1.35, height=1.25)
    for i, ax in enumerate(axes):
        layer, m = divmod(i, columns)
        if m >= len(found[layer]):
            ax.remove()
            continue
        piece = found[layer][m]
        ax.plot(range(len(piece)), piece, color=(dr.figures.SKY, dr.figures.BLUE, dr.figures.RED)[layer], marker="o", markersize=4)
        ax.set_ylim(-0.6, 4.8)
        ax.set_xlim(-0.5, 6.5)
        ax.set_xticks(range(0, 7, 2))
        ax.tick_params(labelsize=8, labelbottom=layer == 2, labelleft=m == 0)
        if m == 0:
            ax.set_ylabel(f"layer {layer + 1}: x", fontsize=9)
        if layer == 2:
            ax.set_xlabel("step", fontsize=9)
    return fig
