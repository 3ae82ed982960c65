"""The gated recurrent unit, in both of its variants (lecture row 38).

Cho et al. 2014: the reset gate is applied to the state before the product with W. With `reset_after` (the form of cuDNN, and of Keras
by default) it is applied to the product, which then has a bias of its own, `d_h` (units,). Shapes: x (n, T, inputs); r, z, h_tilde
and h (n, T, units). theta holds for each of r, z, h: U_r (inputs, units) of the inputs, W_r (units, units) of the state, b_r (units,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.textbook.activations import sigmoid, tanh
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_names, expect_shape, floats
from deltarule.textbook.lstm import expect_gates

GATES = "rzh"


class GRURun(NamedTuple):
    """All that a forward pass computed: reset and update gate `r`, `z`, candidate `h_tilde`, state `h` (n, T, units).

    `x` (n, T, inputs); `h0` (n, units) is the state before the first step.
    """

    x: Array
    h0: Array
    r: Array
    z: Array
    h_tilde: Array
    h: Array


def gru_forward(theta: Parameters, x: ArrayLike, h0: ArrayLike | None = None, reset_after: bool = False) -> GRURun:
    """h_t = z_t h_(t-1) + (1 - z_t) h_tilde_t (Cho et al. 2014, equations 5 to 8).

    `x` (n, T, inputs), `h0` (n, units), zeros unless given. Raises ShapeError where arrays do not fit.

    >>> theta = {name: np.zeros(1 if name[0] == "b" else (1, 1)) for gate in "rzh" for name in (f"U_{gate}", f"W_{gate}", f"b_{gate}")}
    >>> gru_forward(theta, np.ones((1, 2, 1)), h0=np.ones((1, 1))).h[0, :, 0]
    array([0.5 , 0.25])
    """
    x = floats("x", x, "n, T, inputs")
    n, T, inputs = x.shape
    units = expect_gates(theta, GATES, inputs)
    if reset_after:
        expect_names(theta, ["d_h"])
        expect_shape("d_h", theta["d_h"], (units,))
    h0 = np.zeros((n, units)) if h0 is None else expect_shape("h0", floats("h0", h0), (n, units))
    r, z, h_tilde, h = (np.empty((n, T, units)) for _ in range(4))
    h_before = h0
    for t in range(T):
        x_t = x[:, t]
        r[:, t] = sigmoid(x_t @ theta["U_r"] + h_before @ theta["W_r"] + theta["b_r"])
        z[:, t] = sigmoid(x_t @ theta["U_z"] + h_before @ theta["W_z"] + theta["b_z"])
        if reset_after:
            h_tilde[:, t] = tanh(x_t @ theta["U_h"] + r[:, t] * (h_before @ theta["W_h"] + theta["d_h"]) + theta["b_h"])
        else:
            h_tilde[:, t] = tanh(x_t @ theta["U_h"] + (r[:, t] * h_before) @ theta["W_h"] + theta["b_h"])
        h[:, t] = h_before = z[:, t] * h_before + (1 - z[:, t]) * h_tilde[:, t]
    return GRURun(x, h0, r, z, h_tilde, h)


def gru_backward(theta: Parameters, run: GRURun, dh: ArrayLike, reset_after: bool = False) -> Gradient:
    """Backpropagation through time: the error reaches h_(t-1) along the state itself, through both gates and through the candidate.

    `dh` is dL/dh (n, T, units) of the outputs; the result holds the names of theta, "x" and "h0", summed over the examples.
    Raises ShapeError where `dh` does not fit.

    >>> theta = {name: np.zeros(1 if name[0] == "b" else (1, 1)) for gate in "rzh" for name in (f"U_{gate}", f"W_{gate}", f"b_{gate}")}
    >>> gru_backward(theta, gru_forward(theta, np.ones((1, 2, 1))), [[[0.0], [1.0]]])["b_h"]
    array([0.75])
    """
    x, h0, r, z, h_tilde, h = run
    dh = expect_shape("dL/dh", floats("dL/dh", dh), h.shape)
    gradient = {name: np.zeros_like(value) for name, value in theta.items()}
    dx, dh_next = np.zeros_like(x), np.zeros_like(h0)
    for t in reversed(range(x.shape[1])):
        h_before = h[:, t - 1] if t else h0
        r_t, z_t, dh_t = r[:, t], z[:, t], dh[:, t] + dh_next
        delta_h = dh_t * (1 - z_t) * (1 - h_tilde[:, t] ** 2)
        delta_z = dh_t * (h_before - h_tilde[:, t]) * z_t * (1 - z_t)
        if reset_after:
            product = h_before @ theta["W_h"] + theta["d_h"]
            delta_r = delta_h * product * r_t * (1 - r_t)
            gradient["W_h"] += h_before.T @ (delta_h * r_t)
            gradient["d_h"] += np.sum(delta_h * r_t, axis=0)
            through_candidate = (delta_h * r_t) @ theta["W_h"].T
        else:
            d_reset_state = delta_h @ theta["W_h"].T                        # of r_t h_(t-1)
            delta_r = d_reset_state * h_before * r_t * (1 - r_t)
            gradient["W_h"] += (r_t * h_before).T @ delta_h
            through_candidate = d_reset_state * r_t
        for k, delta in (("r", delta_r), ("z", delta_z), ("h", delta_h)):
            gradient[f"U_{k}"] += x[:, t].T @ delta
            gradient[f"b_{k}"] += np.sum(delta, axis=0)
            dx[:, t] += delta @ theta[f"U_{k}"].T
        gradient["W_r"] += h_before.T @ delta_r
        gradient["W_z"] += h_before.T @ delta_z
        dh_next = dh_t * z_t + delta_r @ theta["W_r"].T + delta_z @ theta["W_z"].T + through_candidate
    return {**gradient, "x": dx, "h0": dh_next}
