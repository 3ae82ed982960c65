"""Shared weights: what is learnt at one place is known at every place.

In a convolutional layer the units of one feature map look at small parts of the image, neighbours at neighbouring parts, and all use the
same weights: the map looks for one pattern everywhere. So a shifted image gives shifted maps, and the number of weights does not grow with
the image. A dense layer has to learn the pattern anew for each place. Pooling then makes a small shift invisible.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (29,)
EQUATIONS = ("h[p + i, q + j] of the image shifted by (i, j)  =  h[p, q] of the image itself",
             "weights of a map:  k k C,  the same at all places;   of a dense layer of as many units:  (H W C) (H W M)")
PARTS = ("dr.Conv2D", "dr.Dense", "dr.Network.trace", "dr.figures.feature_maps", "dr.figures.filters")

SIDE, SHIFT = 24, (3, -4)       # of the images, and how far they are moved: down and to the left
OLD, NEW = 3, 12                # corners of the places at which the figures stand, in training and later


def teach(board: Board) -> None:
    """Count the weights, shift an image, look at one pixel's reach, and learn at one place what is asked at another."""
    _counts(board)
    _shifts(board)
    _local(board)
    _elsewhere(board)


def _counts(board: Board) -> None:
    shape = (28, 28, 1)
    conv = dr.Network([dr.Conv2D(16, 3, padding="same")], shape)
    board.say("28 x 28 pixels into 16 feature maps of 28 x 28 units. With shared weights each map has one kernel of 3 x 3; if every unit "
              "had weights of its own there would be as many kernels as units; and if every unit saw every pixel:")
    units = int(np.prod(conv.output_shape))
    own, dense = units * 9, 28 * 28 * units
    board.table(["connections", "weights"], [["local and shared", conv.params["conv2d_1"]["weights"].size], ["local, not shared", own],
                                             ["all to all", dense]])
    board.number("weights of the convolution", conv.params["conv2d_1"]["weights"].size, equals(144))
    board.number("local, but not shared", own, equals(112_896))
    small = dr.Network([dr.Flatten(), dr.Dense(7 * 7 * 2, use_bias=False)], (7, 7, 1))
    board.number("a dense layer counts as the formula, here 7 x 7 into 2 maps", small.summary().parameters, equals(7 * 7 * 7 * 7 * 2))
    board.number("all to all over shared", round(dense / 144), equals(68_295))
    large = dr.Network([dr.Conv2D(16, 3, padding="same")], (224, 224, 1))
    board.number("weights of the convolution for 224 x 224 pixels", large.params["conv2d_1"]["weights"].size, equals(144))


def _shifts(board: Board) -> None:
    x, moved = scene(), np.roll(scene(), SHIFT, (1, 2))
    net = dr.Network([dr.Conv2D(6, 3, "relu"), dr.Conv2D(4, 3, "tanh"), dr.MaxPool2D(2)], (SIDE, SIDE, 1), seed=3, dtype="float64")
    trace, other = net.trace(x), net.trace(moved)
    board.say(f"An image with an object in the middle, and the same shifted by {SHIFT} pixels. In the convolutional layers every feature "
              "map shifts by as much, and its values do not change:")
    rows: list[tuple[str, float, float]] = []
    for layer, again in list(zip(trace, other, strict=True))[:2]:
        rows.append((layer.path, float(np.abs(again.activation - np.roll(layer.activation, SHIFT, (1, 2))).max()),
                     float(np.abs(again.activation - layer.activation).max())))
    board.table(["layer", "shifted map against map of the shifted", "the maps themselves differ by"], rows)
    board.number("shifting the input shifts the maps: largest difference", max(row[1] for row in rows), at_most(1e-12))
    board.number("they do move: smallest of the differences", min(row[2] for row in rows), at_least(0.1))
    dense = dr.Network([dr.Flatten(), dr.Dense(SIDE * SIDE), dr.Reshape((SIDE, SIDE, 1))], (SIDE, SIDE, 1), seed=3, dtype="float64")
    gap = np.roll(dense.predict(x), SHIFT, (1, 2)) - dense.predict(moved)
    board.number("the same for a dense layer, over its largest value", np.abs(gap).max() / np.abs(dense.predict(x)).max(), at_least(0.5))
    board.figure("maps", _maps(x, moved, trace["conv2d_1"].activation, other["conv2d_1"].activation),
                 "above an image and three feature maps, below the shifted image and the same maps: they shift with it")


def _local(board: Board) -> None:
    net = dr.Network([dr.Conv2D(1, 3, padding="same")], (SIDE, SIDE, 1), seed=3, dtype="float64")
    x, one = np.zeros((1, SIDE, SIDE, 1)), np.zeros((1, SIDE, SIDE, 1))
    one[0, 8, 11] = 1
    changed = np.argwhere(net.predict(one)[0, ..., 0] != net.predict(x)[0, ..., 0])
    board.say("Local connections, seen from below: one pixel is changed, and only the units near it notice.")
    board.number("units that notice, of 576", len(changed), equals(9))
    board.number("they lie in rows", [int(changed[:, 0].min()), int(changed[:, 0].max())], equals([7, 9]))


def _elsewhere(board: Board) -> None:
    board.say("What is learnt at one place is known at every place. Crosses and circles stand in the upper left while training, and in the "
              "lower right when the networks are tested. The dense network has never seen ink there.")
    train, test = figures(400, OLD, seed=0), figures(200, NEW, seed=1)
    networks: dict[str, list[dr.Layer]] = {
        "convolution": [dr.Conv2D(8, 5, "relu"), dr.Conv2D(8, 5, "relu"), dr.GlobalMaxPool(), dr.Dense(1, "sigmoid")],
        "dense": [dr.Flatten(), dr.Dense(32, "relu"), dr.Dense(1, "sigmoid")]}
    found = {}
    for name, layers in networks.items():
        net = dr.Network(layers, (SIDE, SIDE, 1), seed=0)
        net.fit(*train, optimizer=dr.Adam(0.005), epochs=12, batch_size=40, progress=False)
        found[name] = [net.evaluate(*rows)["accuracy"] for rows in (figures(200, OLD, seed=2), test)]
    board.table(["network", "accuracy at the old place", "at the new place"], [[name, *values] for name, values in found.items()])
    board.number("convolution: accuracy at the new place", found["convolution"][1], at_least(0.95))
    board.number("dense: accuracy at the old place", found["dense"][0], at_least(0.95))
    board.number("dense: accuracy at the new place, where guessing gives 0.5", found["dense"][1], near(0.5, 0.25))


def scene() -> np.ndarray:
    """An image (1, SIDE, SIDE, 1) with a ring and a bar in it, far from the border."""
    x = np.zeros((1, SIDE, SIDE, 1))
    down, across = np.mgrid[-4:5, -4:5]
    x[0, 6:15, 9:18, 0] = np.clip(1.3 - np.abs(np.hypot(down, across) - 3.5), 0, 1)
    x[0, 10, 9:18] = 1
    return x


def figures(n: int, corner: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crosses (0) and circles (1) of 7 x 7 pixels within three pixels of a corner, under noise: (n, SIDE, SIDE, 1) and (n, 1)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    r = np.hypot(*np.mgrid[-3:4, -3:4])
    shapes = np.array([np.eye(7) + np.eye(7)[::-1] > 0, np.abs(r - 3) < 0.6], float)
    x = 0.15 * rng.normal(size=(n, SIDE, SIDE))
    for image, kind, (i, j) in zip(x, y, corner + rng.integers(0, 3, (n, 2)), strict=True):
        image[i:i + 7, j:j + 7] += shapes[kind]
    return x[..., None].astype("float32"), y[:, None].astype("float32")


def _maps(x: np.ndarray, moved: np.ndarray, maps: np.ndarray, shifted: np.ndarray) -> Any:
    """Two rows of small images, the maps cut to the size that they have in common with the images."""
    rows = []
    shown = np.sort(np.argsort(maps.sum(axis=(0, 1, 2)))[-3:])
    for image, h in ((x, maps), (moved, shifted)):
        rows += [image[0, 1:-1, 1:-1, 0], *np.moveaxis(h[0] / maps.max(), -1, 0)[shown]]
    titles = [*(["image", *(f"map {m}" for m in shown)]), *(["shifted", *(f"map {m}" for m in shown)])]
    return dr.figures.image_grid(np.stack(rows), titles, columns=4, size=1.5, label="ink, activation")
