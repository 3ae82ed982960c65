"""Vanishing gradients: what ten layers of sigmoids leave of an error.

On its way back the error is multiplied in every layer by the weights and by the slope g'(a). The slope of the sigmoid is at most 1/4:
with weights that neither stretch nor shrink, each layer passes on at most a quarter, and the first of ten layers hardly learns. The
tanh has slope 1 in its middle but is flat at its ends. The slope of a ReLU is 1 wherever the unit is on.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most

ROWS = (12,)
EQUATIONS = ("delta_j = g'(a_j) sum_k w_jk delta_k",
             "sigmoid:  |delta of a layer| <= 1/4 |W| |delta of the layer above|      |W|: how much W stretches at most")
PARTS = ("dr.Network.trace", "dr.Dense", "dr.initializers.LeCunNormal", "dr.initializers.GlorotUniform", "dr.initializers.HeNormal",
         "dr.textbook.forward", "dr.textbook.backward")

LAYERS, UNITS = 10, 20
KINDS = {       # activation and first bias
    "ReLU": ("relu", 0.0), "tanh": ("tanh", 0.0), "tanh, saturated": ("tanh", 2.0), "sigmoid": ("sigmoid", 0.0),
}


def teach(board: Board) -> None:
    """The size of delta in each of ten hidden layers, for four kinds of units, on the same data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, UNITS))
    y = (x[:, :1] > 0).astype(np.float64)
    board.say(f"Four networks of {LAYERS} hidden layers with {UNITS} units each, and a sigmoid output. The weights start as suits each "
              "activation, so that the signal neither dies nor grows on its way forward. In one the biases start at 2, at the flat end of "
              "tanh.")
    sizes = {}
    for label, (g, bias) in KINDS.items():
        hidden = [dr.Dense(UNITS, g, bias=bias) for _ in range(LAYERS)]
        net = dr.Network([*hidden, dr.Dense(1, "sigmoid")], input_shape=UNITS, dtype="float64")
        trace = net.trace(x, y)
        sizes[label] = np.array([_size(trace[f"dense_{k}"].delta) for k in range(1, LAYERS + 1)])
        if label == "sigmoid":
            _bound(board, trace)
            _textbook(board, net, trace, x, y)
    board.table(["root mean square of delta", *KINDS],
                [[f"hidden layer {k}", *(float(f"{sizes[label][k - 1]:.2g}") for label in KINDS)] for k in range(1, LAYERS + 1)])
    ratio = {label: sizes[label][0] / sizes[label][-1] for label in KINDS}
    board.say(f"What is left of the error between the last hidden layer and the first, over {LAYERS - 1} layers; "
              f"a quarter in each would leave 4^-{LAYERS - 1} = {4.0 ** (1 - LAYERS):.2g}:")
    board.number("first to last, sigmoid", ratio["sigmoid"], at_most(4.0 ** (1 - LAYERS)))
    board.number("first to last, tanh saturated", ratio["tanh, saturated"], at_most(1e-3))
    board.number("first to last, tanh", ratio["tanh"], at_least(0.05))
    board.number("first to last, ReLU", ratio["ReLU"], at_least(0.2))
    board.say(f"To the first layer of the sigmoid network comes an error {1 / ratio['sigmoid']:,.0f} times smaller than to its last. ReLUs "
              "carry the error through all ten layers; tanh does too, as long as its units stay in the middle.")
    board.figure("delta", _figure(sizes), "the size of delta by layer, from the last layer (right) back to the first (left); the dotted "
                 "line loses three quarters in every layer")


def _size(delta: np.ndarray) -> float:
    return float(np.sqrt(np.mean(delta**2)))


def _bound(board: Board, trace: Any) -> None:
    """How near every example comes to the bound |delta_k| <= 1/4 |W| |delta_(k+1)|."""
    shares = []
    for k in range(1, LAYERS):
        below, above = trace[f"dense_{k}"].delta, trace[f"dense_{k + 1}"].delta            # (n, units) each
        stretch = np.linalg.norm(trace[f"dense_{k + 1}"].parameters["weights"], 2)
        shares.append(np.linalg.norm(below, axis=1) / (0.25 * stretch * np.linalg.norm(above, axis=1)))
    board.say("The bound for the sigmoid, for every example and every pair of layers: delta over its bound is never above 1.")
    board.number("sigmoid, delta over its bound, largest", np.max(shares), at_most(1.0))


def _textbook(board: Board, net: dr.Network, trace: Any, x: np.ndarray, y: np.ndarray) -> None:
    """The same deltas from the equations of backpropagation in NumPy."""
    layers = [dr.textbook.Layer(layer["weights"], layer["bias"], "sigmoid") for layer in net.params.values()]
    delta = dr.textbook.backward(layers, dr.textbook.forward(layers, x), y, of="binary_cross_entropy").delta
    apart = [np.abs(trace[f"dense_{k}"].delta - delta[k]).max() / np.abs(delta[k]).max() for k in range(1, LAYERS + 2)]
    board.number("deltas against textbook, relative", max(apart), at_most(1e-10))


def _figure(sizes: dict[str, np.ndarray]) -> object:
    fig, (ax,) = dr.figures.panels(width=6.2, height=4.0)
    colours = dr.figures.BLUE, dr.figures.GREEN, dr.figures.ORANGE, dr.figures.RED
    k = np.arange(1, LAYERS + 1)
    for (label, size), colour, marker in zip(sizes.items(), colours, "os^D", strict=True):
        ax.semilogy(k, size / size[-1], color=colour, marker=marker, markersize=5, label=label)
    ax.semilogy(k, 0.25 ** (LAYERS - k), color="0.4", linestyle=":", label="1/4 in each layer")
    ax.set_xticks(k)
    ax.set_xlabel("hidden layer")
    ax.set_ylabel("size of delta, last hidden layer = 1")
    ax.legend(frameon=False, fontsize=9, loc="lower right")
    return fig
