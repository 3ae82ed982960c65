"""The multilayer perceptron, forward and backward: the four equations of backpropagation (lecture rows 16 and 17).

Rows are examples: x (n, inputs), W (inputs, units), so that the lecture's w a is written a W here. The symbols are those of Basics
and Baron: a the pre-activation, h = g(a) the activation, delta = dL/da the error of a unit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.activations import activation, through
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_above_zero, expect_shape, floats
from deltarule.textbook.losses import Loss, loss, mean_loss


class Layer(NamedTuple):
    """A dense layer h = g(x W + b): `W` (inputs, units), `b` (units,) or None, `g` the name of its activation."""

    W: Array
    b: Array | None = None
    g: str = "sigmoid"


class Forward(NamedTuple):
    """All that a forward pass computed: `a[l]` and `h[l]` (n, units) of layer l, with h[0] = x (a[0] is x too)."""

    a: list[Array]
    h: list[Array]


class Backward(NamedTuple):
    """All that a backward pass computed.

    `delta[l]` (n, units) of layer l, each row that of its own example; `gradient` of the mean loss: "W1" (inputs, units), "b1"
    (units,), ... and "x" (n, inputs). Layers count from 1; delta[0] is dL/dx of each example.
    """

    delta: list[Array]
    gradient: Gradient


def forward(layers: Sequence[Layer], x: ArrayLike) -> Forward:
    """a^l = h^(l-1) W^l + b^l, h^l = g(a^l), from h^0 = x (Basics, "Multilayer Neural Network").

    `x` (n, inputs). Raises ShapeError where a layer does not fit what it receives, DeltaruleError for an unknown activation.

    >>> run = forward([Layer(np.ones((2, 3)), np.zeros(3), "relu"), Layer(np.ones((3, 1)), None, "linear")], [[1.0, 2.0]])
    >>> run.h[1], run.a[2]
    (array([[3., 3., 3.]]), array([[9.]]))
    """
    x = floats("x", x, "n, inputs")
    if not layers:
        raise DeltaruleError("a network needs at least one layer, received none; give [Layer(W, b, g), ...]")
    a, h = [x], [x]
    for l, (W, b, g) in enumerate(layers, 1):
        if W.ndim != 2 or W.shape[0] != h[-1].shape[1]:
            raise ShapeError(f"W{l} has shape {W.shape}, expected ({h[-1].shape[1]}, units) for the {h[-1].shape[1]} inputs of layer {l}")
        a_l = h[-1] @ W
        if b is not None:
            a_l = a_l + expect_shape(f"b{l}", b, W.shape[1:])
        a.append(a_l)
        h.append(activation(g)[0](a_l))
    return Forward(a, h)


def cost(layers: Sequence[Layer], x: ArrayLike, y: ArrayLike, of: str | Loss = "quadratic") -> float:
    """L = 1/n sum_i loss_i, for a loss by name or as `loss(name, ...)`; the default is 1/(2n) sum ||y - h||^2 (Ibrahimli).

    `x` (n, inputs), `y` (n, outputs). Raises ShapeError for targets that do not fit, DeltaruleError for an unknown loss.

    >>> cost([Layer(np.array([[2.0]]), None, "linear")], [[1.0], [2.0]], [[0.0], [0.0]])
    5.0
    """
    run = forward(layers, x)
    value, output, y = _compared(layers, run, y, of)
    return mean_loss(value, output, y)


def backward(layers: Sequence[Layer], run: Forward, y: ArrayLike, of: str | Loss = "quadratic") -> Backward:
    """The four equations of backpropagation (Ibrahimli; Baron, "Backpropagation: Algorithm"), averaged over the batch.

    BP1 delta^L = dL/dh g'(a^L);  BP2 delta^l = g'(a^l) (delta^(l+1) W^(l+1)T);  BP3 dL/db = delta;  BP4 dL/dW = h^(l-1)T delta.
    `run` is what `forward` returned, `y` (n, outputs). Raises ShapeError for targets that do not fit, DeltaruleError for an
    unknown loss or one that belongs to another output activation.

    >>> layers = [Layer(np.array([[2.0]]), np.zeros(1), "linear")]
    >>> gradient = backward(layers, forward(layers, [[1.0], [3.0]]), [[0.0], [0.0]]).gradient
    >>> gradient["W1"], gradient["b1"]
    (array([[10.]]), array([4.]))
    """
    a, h = run
    L, n = len(layers), len(h[0])
    value, output, y = _compared(layers, run, y, of)
    delta, gradient = [np.empty(0)] * (L + 1), {}
    delta[L] = value.prime(output, y) if value.outputs else through(layers[-1].g, a[L], value.prime(output, y))     # BP1
    for l in range(L, 0, -1):
        gradient[f"W{l}"] = h[l - 1].T @ delta[l] / n                                                               # BP4
        if layers[l - 1].b is not None:
            gradient[f"b{l}"] = np.sum(delta[l], axis=0) / n                                                        # BP3
        below = layers[l - 2].g if l > 1 else "linear"
        delta[l - 1] = through(below, a[l - 1], delta[l] @ layers[l - 1].W.T)                                       # BP2
    gradient["x"] = delta[0] / n
    return Backward(delta, gradient)


def gradient_step(layers: Sequence[Layer], gradient: Gradient, eta: float) -> list[Layer]:
    """W <- W - eta dL/dW, b <- b - eta dL/db: one step of gradient descent (Baron, Ibrahimli).

    Raises DeltaruleError unless eta is above 0.

    >>> gradient_step([Layer(np.array([[2.0]]), None, "linear")], {"W1": np.array([[10.0]])}, eta=0.1)[0].W
    array([[1.]])
    """
    expect_above_zero("eta", eta)
    theta = parameters(layers)
    return with_parameters(layers, {name: theta[name] - eta * gradient[name] for name in theta})


def parameters(layers: Sequence[Layer]) -> Parameters:
    """theta: {"W1": ..., "b1": ..., "W2": ...}, under the names of the gradient.

    >>> list(parameters([Layer(np.ones((2, 3)), np.zeros(3)), Layer(np.ones((3, 1)))]))
    ['W1', 'b1', 'W2']
    """
    theta = {}
    for l, layer in enumerate(layers, 1):
        theta[f"W{l}"] = layer.W
        if layer.b is not None:
            theta[f"b{l}"] = layer.b
    return theta


def with_parameters(layers: Sequence[Layer], theta: Parameters) -> list[Layer]:
    """The same layers with other parameters: the inverse of `parameters`.

    >>> with_parameters([Layer(np.zeros((1, 1)))], {"W1": np.ones((1, 1))})[0].W
    array([[1.]])
    """
    return [Layer(theta[f"W{l}"], theta.get(f"b{l}"), layer.g) for l, layer in enumerate(layers, 1)]


def _compared(layers: Sequence[Layer], run: Forward, y: ArrayLike, of: str | Loss) -> tuple[Loss, Array, Array]:
    """The loss, what it is a function of (a or h of the last layer), and the targets."""
    value = of if isinstance(of, Loss) else loss(of)
    if value.outputs and layers[-1].g not in value.outputs:
        raise DeltaruleError(f"this loss needs {' or '.join(map(repr, value.outputs))} at the last layer, which has {layers[-1].g!r}")
    output = run.a[-1] if value.outputs else run.h[-1]
    return value, output, floats("y", y, "n, outputs")
