"""Convolution: a small kernel slides over the input and asks at every place how well it fits.

At each place the kernel is laid on the values beneath it, they are multiplied pair by pair, and the products are added up over the window
and over all channels: one number of a feature map. As in most libraries the kernel is not flipped, so that it is a cross-correlation.
Padding lets it reach over the border, the stride says how far it moves, the dilation how far its values lie apart, and groups how many
sets of channels keep to themselves. It works in the same way along sequences, over images and through volumes.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (28,)
EQUATIONS = ("y[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]",
             "H_out = (H - k + 2P) / S + 1,  rounded down or up;   k becomes D (k - 1) + 1 where the kernel is dilated",
             "weights:  k k (C / groups) M")
PARTS = ("dr.Conv2D", "dr.Conv1D", "dr.Conv3D", "dr.textbook.convolve", "dr.textbook.output_size", "dr.Network.trace")

SIZES = [(28, 3, 1, 0, 26, 26), (28, 5, 1, 2, 28, 28), (28, 3, 2, 1, 14, 15), (7, 2, 2, 0, 3, 4), (224, 7, 2, 3, 112, 113)]    # by hand
SETTINGS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1D": (dr.Conv1D(5, 3), (11, 2)), "2D": (dr.Conv2D(5, (3, 2)), (7, 11, 3)), "3D": (dr.Conv3D(3, 2), (5, 3, 7, 2)),
    "stride 2, 3": (dr.Conv2D(5, 3, stride=(2, 3)), (11, 13, 3)), "padding same": (dr.Conv2D(5, 3, padding="same"), (7, 5, 3)),
    "padding 2 before, 1 behind": (dr.Conv2D(3, 3, padding=((2, 1), 0)), (5, 7, 2)),
    "dilation 2": (dr.Conv2D(5, 3, dilation=2), (11, 7, 3)),
    "2 groups": (dr.Conv2D(6, 3, groups=2), (7, 5, 4)), "depthwise": (dr.Conv2D(8, 3, groups=4), (7, 5, 4)),
    "rounded up": (dr.Conv2D(5, 2, stride=2, rounding="ceil"), (7, 5, 3)),
    "3D, stride 2": (dr.Conv3D(2, 3, stride=2, padding=1), (5, 7, 3, 2))}


def teach(board: Board) -> None:
    """One place by hand, output sizes by the formula, every setting against the direct sum, and the numbers of weights."""
    _by_hand(board)
    _sizes(board)
    _settings(board)
    _weights(board)


def _by_hand(board: Board) -> None:
    x = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]], float)
    K = np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]], float)
    net = dr.Network(dr.Conv2D(1, 3), (4, 5, 1), dtype="float64")
    net.params = {"weights": K[:, :, None, None], "bias": np.zeros(1)}
    y = net.predict(x[None, :, :, None])[0, :, :, 0]
    board.say("An image of a bright and a dark half, and a kernel that adds up its left column and takes away its right one: where "
              "both see the same nothing is left, and at the edge the answer is 3.")
    board.table(["image", "kernel", "feature map"], [[" ".join(f"{v:g}" for v in row) for row in rows] for rows in zip(
        x[:3], K, [*y, []], strict=True)])
    board.number("the edge in the feature map, row by row", y.astype(int), equals([[0, 3, 3], [0, 3, 3]]))
    flipped = np.array([[np.sum(x[p:p + 3, q:q + 3] * K[::-1, ::-1]) for q in range(3)] for p in range(2)])
    board.number("with a flipped kernel, the convolution of mathematics", flipped.astype(int), equals([[0, -3, -3], [0, -3, -3]]))


def _sizes(board: Board) -> None:
    board.say("How large is the output? The lecture gives the formula as it is, and with its quotient rounded up: where the stride does "
              "not divide what is left, rounding down leaves the last pixels out, rounding up lets the last window stick out.")
    rows, made = [], []
    for H, k, S, P, *expected in SIZES:
        layers = [dr.Conv1D(1, k, stride=S, padding=P, rounding=rounding) for rounding in ("floor", "ceil")]
        sizes = [dr.Network(layer, (H, 1)).output_shape[0] for layer in layers]
        formula = [dr.textbook.output_size(H, k, S, (P, P), rounding=rounding) for rounding in ("floor", "ceil")]
        rows.append([H, k, S, P, f"{(H - k + 2 * P) / S + 1:g}", *sizes])
        made.append(sizes == formula == expected)
    board.table(["H", "k", "S", "P", "(H - k + 2P) / S + 1", "rounded down", "rounded up"], rows)
    board.number("network, textbook and the count by hand agree", made, equals([True] * len(SIZES)))


def _settings(board: Board) -> None:
    board.say("Every setting, with random numbers: the library's fast convolution beside the textbook's, which adds up place by place.")
    rows, apart, same = [], [], True
    rng = np.random.default_rng(0)
    for name, (layer, shape) in SETTINGS.items():
        net = dr.Network(layer, shape, seed=1, dtype="float64")
        x, K = rng.normal(size=(2, *shape)), net.params["weights"]
        b = net.params["bias"] = rng.normal(size=K.shape[-1])
        y = net.predict(x)
        direct = dr.textbook.convolve(x, K, b, stride=layer.stride, padding=layer.padding, dilation=layer.dilation, groups=layer.groups,
                                      rounding=layer.rounding)
        same = same and y.shape == direct.shape
        apart.append(float(np.abs(y - direct).max()))
        rows.append([name, str(shape), str(K.shape), str(y.shape[1:]), f"{apart[-1]:.0e}"])
    board.table(["setting", "input", "kernels", "output", "largest difference"], rows)
    board.number("all shapes agree", same, equals(True))
    board.number("largest difference from the direct sum", max(apart), at_most(1e-12))


def _weights(board: Board) -> None:
    def weights(layer: Any) -> int:
        return int(dr.Network(layer, (32, 32, 3)).summary().parameters)

    board.say("A kernel is as deep as its input has channels; each makes one feature map. The colour image of the lecture, 32 x 32 x 3:")
    board.number("weights of 64 kernels of 3 x 3 x 3", weights(dr.Conv2D(64, 3, use_bias=False)), equals(1728))
    board.number("with a bias for each map", weights(dr.Conv2D(64, 3)), equals(1792))
    board.number("depthwise, a kernel for each channel, then 1 x 1 x 3 x 64", weights(dr.SeparableConv2D(64, 3, use_bias=False)),
                 equals(27 + 192))
    board.number("dilated by 2: as many, over 5 x 5 pixels", weights(dr.Conv2D(64, 3, dilation=2, use_bias=False)), equals(1728))
    board.figure("edges", _edges(), "a scene, and the feature maps of three kernels with weights set by hand: they answer to upright "
                 "edges, to level ones, and to spots; blue above zero, red below")


def _edges() -> Any:
    scene = np.zeros((1, 24, 24, 1))
    scene[0, 4:16, 3:12] = 1
    scene[0, 12:21, 15:21] = 0.6
    scene[0, 6, 18] = 1
    upright = np.array([[1, 0, -1]] * 3) / 3
    spots = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8
    net = dr.Network(dr.Conv2D(3, 3, padding="same", use_bias=False), (24, 24, 1))
    net.params = {"weights": np.stack([upright, upright.T, spots], axis=-1)[:, :, None]}
    maps = np.concatenate([scene, net.predict(scene)], axis=-1)[0]
    return dr.figures.image_grid(np.moveaxis(maps, -1, 0), ["scene", "upright edges", "level edges", "spots"], columns=4, size=1.7)
