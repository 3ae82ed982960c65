"""Pooling: small windows of a feature map become one number each, which minds small shifts less.

A pooling layer looks at small windows that do not overlap, and hands on the largest value of each, or their mean. The maps become
smaller, and so does all that follows. Where a feature is matters less: its maximum stays in the window, or nearly, when the image
moves by a pixel. Global pooling goes all the way and only says how strongly a feature is there. Nothing is learnt in a pooling layer;
backwards, the maximum hands the error to the place it came from, the mean shares it out.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (30,)
EQUATIONS = ("max pooling:      y[o] = max_{i in window o} x[i],         dL/dx[i] = dL/dy[o] where i is the first maximum, else 0",
             "average pooling:  y[o] = 1/w^2 sum_{i in window o} x[i],   dL/dx[i] = dL/dy[o] / w^2",
             "windows of w x w values that all differ: (w - 1) / (w + 1) of the maxima survive a shift by one")
PARTS = ("dr.MaxPool2D", "dr.AveragePool2D", "dr.GlobalMaxPool", "dr.GlobalAveragePool", "dr.Conv2D", "dr.Network.trace",
         "dr.textbook.max_pool", "dr.textbook.max_pool_backward")

MAP = np.array([[1, 3, 2, 1], [4, 6, 5, 7], [3, 3, 0, 1], [1, 2, 4, 2]], float)
POOLS: dict[str, tuple[dr.Layer, list[float]]] = {      # worked out by hand
    "max": (dr.MaxPool2D(2), [6, 7, 3, 4]), "average": (dr.AveragePool2D(2), [3.5, 3.75, 2.25, 1.75]),
    "global max": (dr.GlobalMaxPool(), [7]), "global average": (dr.GlobalAveragePool(), [2.8125])}
ERRORS = np.array([5.0, 6.0, 7.0, 8.0])                 # dL/dy of the four windows
ROUTED: dict[str, list[float]] = {"max": [0, 0, 0, 0, 0, 5, 0, 6, 7, 0, 0, 0, 0, 0, 8, 0],
          "average": [1.25, 1.25, 1.5, 1.5, 1.25, 1.25, 1.5, 1.5, 1.75, 1.75, 2, 2, 1.75, 1.75, 2, 2]}
HEADS: dict[str, list[dr.Layer]] = {
    "none": [dr.Flatten()], "average, 2 x 2": [dr.AveragePool2D(2), dr.Flatten()], "max, 2 x 2": [dr.MaxPool2D(2), dr.Flatten()],
    "max, 4 x 4": [dr.MaxPool2D(4), dr.Flatten()], "global max": [dr.GlobalMaxPool()]}
SEEDS, SHIFTS = (0, 1, 2), (0, 1, 2)


def teach(board: Board) -> None:
    """The lecture's kind of example by hand, the way back, what a shift changes in random maps, and in the answers of networks."""
    board.say("A map of 4 x 4, in windows of 2 x 2, as in the lectures:")
    board.table(["row", *"0123"], [[str(i), *row] for i, row in enumerate(MAP)])
    for name, (layer, by_hand) in POOLS.items():
        pooled = dr.Network(layer, (4, 4, 1)).predict(MAP[None, :, :, None])
        board.number(f"{name} pooling, window by window", pooled.ravel(), equals(by_hand))
    board.say(f"On the way back let the four windows have the errors {', '.join(f'{e:g}' for e in ERRORS)}. Of the two threes in the "
              "lower left window the first gets it all.")
    routed = {name: errors_of(POOLS[name][0], by_hand=POOLS[name][1]) for name in ROUTED}
    for name, by_hand in ROUTED.items():
        board.number(f"error at the map below {name} pooling, row by row", routed[name].ravel(), equals(by_hand))
    textbook = dr.textbook.max_pool_backward(MAP[None, :, :, None], ERRORS.reshape(1, 2, 2, 1), window=2)
    board.number("engine and textbook agree on the way back", np.array_equal(textbook[0, :, :, 0], routed["max"]), equals(True))
    board.figure("example", draw_example(routed), "a map in four windows, its maxima and means, and where the errors 5, 6, 7, 8 of the "
                 "windows go on the way back")
    _random_maps(board)
    _networks(board)


def errors_of(layer: dr.Layer, by_hand: list[float]) -> np.ndarray:
    """dL/dx (4, 4) of the map below a pooling layer: the loss sum (y - t)^2 / 2 has the error y - t, so t = y - ERRORS."""
    same = dr.Conv2D(1, 1, weights="ones")
    net = dr.Network([same, layer, dr.Flatten()], (4, 4, 1), dtype="float64")
    return net.trace(MAP[None, :, :, None], np.array([by_hand]) - ERRORS, loss="quadratic")["conv2d_1"].delta[0, :, :, 0]


def _random_maps(board: Board) -> None:
    board.say("How much does a shift by one pixel change? First for maps of random numbers, where it can be worked out: two windows of "
              "w x w values, one pixel apart, share w (w - 1) of their w (w + 1) values, and the largest is as likely in one place as in "
              "another. A mean always changes; by how much, relative to the spread of the means, is sqrt(2 / w).")
    rows, shares = [], []
    for w in (1, 2, 4, 8):
        moved = {kind: _pooled_twice(kind, w) for kind in ("max", "average")}
        same = float(np.mean(moved["max"][0] == moved["max"][1]))
        sizes = {kind: float((two - one).std() / one.std()) for kind, (one, two) in moved.items()}
        rows.append([f"{w} x {w}" if w > 1 else "no pooling", f"{same:.3f}", f"{sizes['max']:.3f}", f"{sizes['average']:.3f}"])
        shares.append(same)
        if w > 1:
            board.number(f"maxima of {w} x {w} that stay the same", same, near((w - 1) / (w + 1), 0.02))
        name = f"change of the means of {w} x {w}" if w > 1 else "change without pooling"
        board.number(name, sizes["average"], near(float(np.sqrt(2 / w)), 0.03))
    board.table(["window", "maxima unchanged", "change of maxima / spread", "change of means / spread"], rows)
    board.number("values that stay the same without pooling", shares[0], equals(0.0))


def _pooled_twice(kind: str, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Random maps pooled by windows of w x w, and the same after a shift by one pixel to the right, what leaves coming in on the left."""
    x = np.random.default_rng(w).normal(size=(200, 32, 32, 1)).astype(np.float32)
    net = dr.Network(dr.MaxPool2D(w) if kind == "max" else dr.AveragePool2D(w), (32, 32, 1))
    return net.predict(x), net.predict(np.roll(x, 1, axis=2))


def _networks(board: Board) -> None:
    board.say("Now networks: two convolutions of 3 x 3, a pooling layer or none, and a softmax, taught on digits in the middle of the "
              "frame. Then new digits move by a few pixels in each of the four directions: how many answers change? Means over "
              f"{len(SEEDS)} networks each.")
    changed, accuracy = {}, {}
    for name, head in HEADS.items():
        found = np.array([_under_shifts(head, seed) for seed in SEEDS])                             # (seeds, 2, shifts)
        changed[name], accuracy[name] = found.mean(axis=0)
    board.table(["pooling", *(f"changed by {shift}" for shift in SHIFTS[1:]), *(f"right at {shift}" for shift in SHIFTS)],
                [[name, *(f"{share:.1%}" for share in (*changed[name][1:], *accuracy[name]))] for name in HEADS])
    plain = changed["none"][1]
    for name, most in (("average, 2 x 2", 1.0), ("max, 2 x 2", 0.95), ("max, 4 x 4", 0.85), ("global max", 0.2)):
        board.number(f"answers changed by one pixel with {name}, relative to no pooling", changed[name][1] / plain, at_most(most))
    for name in ("none", "max, 2 x 2"):
        board.number(f"accuracy on digits in the middle, {name}", accuracy[name][0], at_least(0.9))
    board.say("The more is pooled, the less a shift matters; what global pooling loses for it is where things are, and it shows in "
              "the accuracy.")
    board.figure("shifts", draw_shifts(changed, accuracy), "answers that change, and answers that are right, over the shift in pixels")


def _under_shifts(head: list[dr.Layer], seed: int) -> tuple[list[float], list[float]]:
    """Train one network; the share of changed and of right answers at each shift, over four directions."""
    digits = dr.data.digits()
    x = np.pad(np.asarray(digits.x).reshape(-1, 8, 8, 1), ((0, 0), (2, 2), (2, 2), (0, 0)))         # a frame in which nothing is lost
    net = dr.Network([dr.Conv2D(8, 3, "relu", padding="same"), dr.Conv2D(16, 3, "relu", padding="same"), *head, dr.Dense(10, "softmax")],
                     (12, 12, 1), seed=seed)
    net.fit(x[:1000], digits.y[:1000], optimizer=dr.Adam(0.005), epochs=12, batch_size=50, progress=False)
    x, y = x[1000:], digits.y[1000:]
    first, changed, right = net.predict(x).argmax(axis=1), [], []
    for shift in SHIFTS:
        answers = np.array([net.predict(np.roll(x, by, axis)).argmax(axis=1) for axis in (1, 2) for by in (shift, -shift)])
        changed.append(float(np.mean(answers != first)))
        right.append(float(np.mean(answers == y)))
    return changed, right


def draw_example(routed: dict[str, np.ndarray]) -> Any:
    """The map, its maxima and means, and the errors on the way back."""
    fig, axes = dr.figures.panels(columns=5, width=1.85, height=2.2)
    maxima, means = (np.array(POOLS[name][1]).reshape(2, 2) for name in ROUTED)
    parts = {"feature map": MAP, "max pooling": maxima, "average pooling": means,
             "errors below max": routed["max"], "errors below average": routed["average"]}
    colours = (dr.figures.SKY, dr.figures.ORANGE, dr.figures.GREEN, dr.figures.PURPLE)
    for ax, (title, values) in zip(axes, parts.items(), strict=True):
        n = len(values)
        for i in range(n):
            for j in range(n):
                window = colours[2 * (2 * i // n) + 2 * j // n]
                strong = n == 2 or (values[i, j] != 0 and "below" in title) or (n == 4 and title == "feature map")
                ax.add_patch(_square(4 / n * j, 4 / n * i, 4 / n, window, 0.45 if strong else 0.12))
                ax.text(4 / n * (j + 0.5), 4 / n * (i + 0.5), f"{values[i, j]:g}", ha="center", va="center", fontsize=9 if n == 4 else 11)
        ax.set_xlim(-0.05, 4.05)
        ax.set_ylim(4.05, -0.05)
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.set_title(title, fontsize=9)
    return fig


def _square(x: float, y: float, side: float, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), side, side, facecolor=(colour, alpha), edgecolor="white", linewidth=1.5)


def draw_shifts(changed: dict[str, np.ndarray], accuracy: dict[str, np.ndarray]) -> Any:
    """Shares of changed and of right answers over the shift, a line for each network."""
    fig, (left, right) = dr.figures.panels(columns=2, width=4.4, height=3.2)
    colours = ("0.3", dr.figures.SKY, dr.figures.BLUE, dr.figures.GREEN, dr.figures.ORANGE)
    for ax, shares, what in ((left, changed, "answers that change"), (right, accuracy, "answers that are right")):
        for (name, values), colour, mark in zip(shares.items(), colours, "os^Dv", strict=True):
            ax.plot(SHIFTS, 100 * values, color=colour, marker=mark, markersize=5, linewidth=1.6, label=name)
        ax.set_xlabel("shift (pixels)")
        ax.set_ylabel(f"{what} (%)")
        ax.set_ylim(-3, 103)
        ax.set_xticks(SHIFTS)
    left.legend(frameon=False, fontsize=8, title="pooling", title_fontsize=8)
    return fig
