"""The recurrent network with U, V and W, and backpropagation through time (lecture row 37).

Shapes: x (n, T, inputs), h (n, T, units), outputs o (n, T, outputs). theta = {"U": (inputs, units), "W": (units, units),
"b": (units,), "V": (units, outputs), "c": (outputs,)}.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.textbook.activations import activation, through
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_names, expect_shape, floats


class RNNRun(NamedTuple):
    """All that a forward pass computed: `x` (n, T, inputs), `h0` (n, units), `a` and `h` (n, T, units), `o` (n, T, outputs)."""

    x: Array
    h0: Array
    a: Array
    h: Array
    o: Array


def rnn_forward(theta: Parameters, x: ArrayLike, h0: ArrayLike | None = None, g: str = "tanh") -> RNNRun:
    """a_t = x_t U + h_(t-1) W + b, h_t = g(a_t), o_t = h_t V + c (LeCun, Bengio and Hinton 2015, figure 5; Poleski).

    `x` (n, T, inputs), `h0` (n, units), zeros unless given. Raises ShapeError where arrays do not fit, DeltaruleError for an unknown g.

    >>> theta = {"U": np.eye(1), "W": np.eye(1), "b": np.zeros(1), "V": np.eye(1), "c": np.zeros(1)}
    >>> rnn_forward(theta, [[[1.0], [2.0], [3.0]]], g="linear").o[0, :, 0]
    array([1., 3., 6.])
    """
    x = floats("x", x, "n, T, inputs")
    n, T, inputs = x.shape
    expect_names(theta, ("U", "W", "b", "V", "c"))
    U, W, b, V, c = (theta[name] for name in ("U", "W", "b", "V", "c"))
    units, outputs = len(b), len(c)
    expect_shape("U", U, (inputs, units))
    expect_shape("W", W, (units, units))
    expect_shape("V", V, (units, outputs))
    h0 = np.zeros((n, units)) if h0 is None else expect_shape("h0", floats("h0", h0), (n, units))
    a, h = np.empty((n, T, units)), np.empty((n, T, units))
    h_before = h0
    for t in range(T):
        a[:, t] = x[:, t] @ U + h_before @ W + b
        h[:, t] = h_before = activation(g)[0](a[:, t])
    o = h @ V + c
    return RNNRun(x, h0, a, h, o)


def rnn_backward(theta: Parameters, run: RNNRun, do: ArrayLike, g: str = "tanh") -> Gradient:
    """Backpropagation through time (Werbos 1990): the error of h_t comes from its output o_t and from the next step.

    dL/dh_t = dL/do_t V^T + delta_(t+1) W^T, delta_t = g'(a_t) dL/dh_t; dL/dU = sum_t x_t^T delta_t, dL/dW = sum_t h_(t-1)^T delta_t,
    dL/db = sum_t delta_t. `do` is dL/do (n, T, outputs); the result holds the names of theta, "x" and "h0", summed over the examples,
    and "delta" (n, T, units). Raises ShapeError where `do` does not fit.

    >>> theta = {"U": np.eye(1), "W": np.eye(1), "b": np.zeros(1), "V": np.eye(1), "c": np.zeros(1)}
    >>> run = rnn_forward(theta, [[[1.0], [2.0], [3.0]]], g="linear")
    >>> rnn_backward(theta, run, [[[0.0], [0.0], [1.0]]], g="linear")["x"][0, :, 0]
    array([1., 1., 1.])
    """
    x, h0, a, h, o = run
    do = expect_shape("dL/do", floats("dL/do", do), o.shape)
    U, W, V = theta["U"], theta["W"], theta["V"]
    gradient = {name: np.zeros_like(theta[name]) for name in ("U", "W", "b")}
    delta, dx = np.zeros_like(a), np.zeros_like(x)
    from_next = np.zeros_like(h0)                                       # delta_(t+1) W^T
    for t in reversed(range(x.shape[1])):
        h_before = h[:, t - 1] if t else h0
        dh = do[:, t] @ V.T + from_next
        delta[:, t] = through(g, a[:, t], dh)
        gradient["U"] += x[:, t].T @ delta[:, t]
        gradient["W"] += h_before.T @ delta[:, t]
        gradient["b"] += np.sum(delta[:, t], axis=0)
        dx[:, t] = delta[:, t] @ U.T
        from_next = delta[:, t] @ W.T
    gradient["V"] = np.einsum("nth,nto->ho", h, do)                     # sum_t h_t^T dL/do_t
    gradient["c"] = np.sum(do, axis=(0, 1))
    return {**gradient, "x": dx, "h0": from_next, "delta": delta}
