"""Long short-term memory: gates that keep, write and read a cell (lecture row 38).

Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000. Shapes: x (n, T, inputs); gates, cell
and h (n, T, units). theta holds for each of i, f, o, g: U_i (inputs, units) of the inputs, W_i (units, units) of the state, b_i (units,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.textbook.activations import sigmoid, tanh
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_names, expect_shape, floats

GATES = "ifog"


class LSTMRun(NamedTuple):
    """All that a forward pass computed: input, forget and output gate `i`, `f`, `o`, candidate `g`, cell `c`, state `h` (n, T, units).

    `x` (n, T, inputs); `h0` and `c0` (n, units) are the state and the cell before the first step.
    """

    x: Array
    h0: Array
    c0: Array
    i: Array
    f: Array
    o: Array
    g: Array
    c: Array
    h: Array


def lstm_forward(theta: Parameters, x: ArrayLike, h0: ArrayLike | None = None, c0: ArrayLike | None = None) -> LSTMRun:
    """c_t = f_t c_(t-1) + i_t g_t, h_t = o_t tanh(c_t), gates sigmoid(x_t U + h_(t-1) W + b), candidate g with tanh.

    `x` (n, T, inputs); `h0` and `c0` (n, units), zeros unless given. Raises ShapeError where arrays do not fit.

    >>> theta = {name: np.zeros(1 if name[0] == "b" else (1, 1)) for gate in "ifog" for name in (f"U_{gate}", f"W_{gate}", f"b_{gate}")}
    >>> run = lstm_forward(theta, np.ones((1, 2, 1)), c0=np.ones((1, 1)))
    >>> run.f[0, :, 0], run.c[0, :, 0]
    (array([0.5, 0.5]), array([0.5 , 0.25]))
    """
    x = floats("x", x, "n, T, inputs")
    n, T, inputs = x.shape
    units = expect_gates(theta, GATES, inputs)
    h0 = np.zeros((n, units)) if h0 is None else expect_shape("h0", floats("h0", h0), (n, units))
    c0 = np.zeros((n, units)) if c0 is None else expect_shape("c0", floats("c0", c0), (n, units))
    i, f, o, g, c, h = (np.empty((n, T, units)) for _ in range(6))
    h_before, c_before = h0, c0
    for t in range(T):
        a = {k: x[:, t] @ theta[f"U_{k}"] + h_before @ theta[f"W_{k}"] + theta[f"b_{k}"] for k in GATES}
        i[:, t] = sigmoid(a["i"])
        f[:, t] = sigmoid(a["f"])
        o[:, t] = sigmoid(a["o"])
        g[:, t] = tanh(a["g"])
        c[:, t] = c_before = f[:, t] * c_before + i[:, t] * g[:, t]
        h[:, t] = h_before = o[:, t] * tanh(c[:, t])
    return LSTMRun(x, h0, c0, i, f, o, g, c, h)


def lstm_backward(theta: Parameters, run: LSTMRun, dh: ArrayLike) -> Gradient:
    """Backpropagation through time: the error reaches c_t through h_t and, multiplied by the forget gate, from c_(t+1).

    `dh` is dL/dh (n, T, units) of the outputs; the result holds the names of theta, "x", "h0" and "c0", summed over the examples.
    Raises ShapeError where `dh` does not fit.

    >>> theta = {name: np.zeros(1 if name[0] == "b" else (1, 1)) for gate in "ifog" for name in (f"U_{gate}", f"W_{gate}", f"b_{gate}")}
    >>> gradient = lstm_backward(theta, lstm_forward(theta, np.ones((1, 2, 1))), [[[0.0], [1.0]]])
    >>> gradient["c0"], gradient["b_g"]
    (array([[0.125]]), array([0.375]))
    """
    x, h0, c0, i, f, o, g, c, h = run
    dh = expect_shape("dL/dh", floats("dL/dh", dh), h.shape)
    gradient = {name: np.zeros_like(value) for name, value in theta.items()}
    dx, dh_next, dc_next = np.zeros_like(x), np.zeros_like(h0), np.zeros_like(c0)
    for t in reversed(range(x.shape[1])):
        h_before, c_before = (h[:, t - 1], c[:, t - 1]) if t else (h0, c0)
        i_t, f_t, o_t, g_t, tanh_c = i[:, t], f[:, t], o[:, t], g[:, t], tanh(c[:, t])
        dh_t = dh[:, t] + dh_next
        dc = dc_next + dh_t * o_t * (1 - tanh_c**2)
        delta = {
            "i": dc * g_t * i_t * (1 - i_t),
            "f": dc * c_before * f_t * (1 - f_t),
            "o": dh_t * tanh_c * o_t * (1 - o_t),
            "g": dc * i_t * (1 - g_t**2),
        }
        for k in GATES:
            gradient[f"U_{k}"] += x[:, t].T @ delta[k]
            gradient[f"W_{k}"] += h_before.T @ delta[k]
            gradient[f"b_{k}"] += np.sum(delta[k], axis=0)
            dx[:, t] += delta[k] @ theta[f"U_{k}"].T
        dh_next = sum((delta[k] @ theta[f"W_{k}"].T for k in GATES), np.zeros_like(h0))
        dc_next = dc * f_t
    return {**gradient, "x": dx, "h0": dh_next, "c0": dc_next}


def expect_gates(theta: Parameters, gates: str, inputs: int) -> int:
    """The number of units of b_k (units,), U_k (inputs, units) and W_k (units, units), which must agree for every gate k.

    Raises DeltaruleError where one is missing, ShapeError where one has another shape.

    >>> expect_gates({"U_z": np.zeros((2, 3)), "W_z": np.zeros((3, 3)), "b_z": np.zeros(3)}, "z", inputs=2)
    3
    """
    expect_names(theta, [f"{letter}_{k}" for k in gates for letter in "UWb"])
    units = theta[f"b_{gates[0]}"].size
    for k in gates:
        expect_shape(f"U_{k}", theta[f"U_{k}"], (inputs, units))
        expect_shape(f"W_{k}", theta[f"W_{k}"], (units, units))
        expect_shape(f"b_{k}", theta[f"b_{k}"], (units,))
    return units
