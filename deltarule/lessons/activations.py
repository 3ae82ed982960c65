"""Activation functions and their slopes: what a neuron passes on, and what it lets back.

A neuron hands on h = g(a). Forwards the function g bends straight lines; backwards its slope g'(a) multiplies the error that
passes through the unit, so that a unit on a flat part of g learns next to nothing. Every activation of the library is compared with
the equations of the textbook, and every slope with finite differences.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals, near

ROWS = (10,)
EQUATIONS = ("h = g(a)      sigmoid 1 / (1 + exp(-a)),   tanh,   ReLU max(0, a),   softmax exp(a_i) / sum_j exp(a_j), ...",
             "sigmoid:  g' = g (1 - g)          tanh:  g' = 1 - g^2          ReLU:  g' = 1 if a > 0, else 0",
             "g'(a) ~ (g(a + e) - g(a - e)) / (2 e)      the finite difference")
PARTS = ("dr.activations", "dr.activations.activation", "dr.activations.derivative", "dr.textbook.ACTIVATIONS", "dr.LeakyReLU",
         "dr.ParametricReLU", "dr.figures.activations")

COUPLED = ("softmax", "log_softmax")        # of all units of a layer together
EPSILON = 1e-5
DRAWN = ("linear", "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "softmax", "log_softmax")


def teach(board: Board) -> None:
    """The sigmoid at three places, all functions and slopes against two oracles, the learnt slope, and the picture of all."""
    board.say("What does the sigmoid do at -10, 0 and 10? It is near 0, at one half, near 1; its slope is near 0, 1/4, near 0.")
    with jax.enable_x64(True):      # in float64, to compare digits and not roundings
        _sigmoid_at_three_places(board)
        rows = _deviations()
    board.say("Why is that a problem? The error is multiplied by the slope on its way back: after a unit at -10 or 10 nearly nothing of it "
              "is left, and the weights before that unit stay as they are. This is the vanishing gradient.")
    board.say("Now all activations: the largest deviation of g and g' from the textbook, and of g' from finite differences of g.")
    board.table(["activation", "g - textbook", "g' - textbook", "g' - differences"], rows)
    for column, what, limit in ((1, "g against textbook", 1e-12), (2, "g' against textbook", 1e-12), (3, "g' against differences", 1e-8)):
        board.number(what, max(row[column] for row in rows), at_most(limit))
    _learnt_slope(board)
    board.figure("functions", dr.figures.activations(DRAWN, columns=4), "each activation (blue) and its slope (orange): sigmoid and tanh "
                 "are flat at both ends, the ReLU family is steep on one side, softmax and log-softmax depend on the other units too")


def _sigmoid_at_three_places(board: Board) -> None:
    a = jnp.linspace(-10, 10, 2001)
    places = {-10: 0, 0: 1000, 10: 2000}
    g, slope = np.asarray(dr.activations.sigmoid(a)), np.asarray(dr.activations.derivative("sigmoid")(a))
    board.table(["a", "sigmoid(a)", "slope"], [[at, g[i], slope[i]] for at, i in places.items()])
    small = 1 / (1 + math.exp(10))
    for (at, i), value in zip(places.items(), (small, 0.5, 1 - small), strict=True):
        board.number(f"sigmoid at {at}", g[i], near(value, 1e-15))
    board.number("slope of the sigmoid at 10", slope[-1], near(small * (1 - small), 1e-15))
    board.number("largest slope of the sigmoid", slope.max(), near(0.25, 1e-15))


def _deviations() -> list[list[Any]]:
    """For each activation: how far g and g' are from the textbook, and g' from finite differences."""
    a = np.linspace(-3, 3, 120).reshape(30, 4)      # no 0, where some have a corner; 30 layers of 4 units for softmax and log-softmax
    rows: list[list[Any]] = []
    for name, (g, slope, differences) in jax.device_get(_measured(a)).items():
        textbook_g, textbook_slope = dr.textbook.activation(name)
        pairs = (g, textbook_g(a)), (slope, textbook_slope(a)), (slope, differences)
        rows.append([name, *(float(np.abs(left - right).max()) for left, right in pairs)])
    return rows


@jax.jit
def _measured(a: jax.Array) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """g(a), g'(a) and the finite difference of every activation, in one compiled program."""
    return {name: (dr.activations.activation(name)(a), dr.activations.derivative(name)(a), _difference(name, a))
            for name in dr.textbook.ACTIVATIONS}


def _difference(name: str, a: jax.Array) -> jax.Array:
    """(g(a + e) - g(a - e)) / (2 e); for the two that couple units dg_i/da_j, moving one unit j after the other."""
    g = dr.activations.activation(name)
    if name in COUPLED:
        return jnp.stack([g(a + move) - g(a - move) for move in EPSILON * np.eye(4)[:, None]], axis=-1) / (2 * EPSILON)
    return (g(a + EPSILON) - g(a - EPSILON)) / (2 * EPSILON)


def _learnt_slope(board: Board) -> None:
    """The parametric ReLU as a layer: with dL/dh = 1 its delta is g'(a), and its gradient what the slope learns from."""
    board.say("The parametric ReLU learns its slope for a < 0 along with the weights. Where the loss asks for h to fall by 1 everywhere, "
              "dL/dh = 1, the delta is g'(a) itself.")
    a = np.linspace(-3, 3, 120)[:, None]
    net = dr.Network({"g": dr.ParametricReLU(0.25)}, input_shape=1, dtype="float64")
    h, slope = net.predict(a), np.array([0.25])
    layer: Any = net.trace(a, h - 1, loss="quadratic")["g"]
    board.number("parametric ReLU against textbook", np.abs(h - dr.textbook.parametric_relu(a, slope)).max(), at_most(1e-12))
    board.number("its g' against textbook", np.abs(layer.delta - dr.textbook.parametric_relu_prime(a, slope)).max(), at_most(1e-12))
    expected = float(dr.textbook.parametric_relu_slope_prime(a).mean())
    board.number("gradient of its slope", float(layer.gradients["slope/s"][0]), near(expected, 1e-12))
    board.number("slopes that are learnt, one a unit", net.summary().parameters, equals(1))
