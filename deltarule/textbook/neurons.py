"""One neuron and how it learns: the perceptron rule, Adaline and its delta rule (lecture rows 1 to 4).

The perceptron here fires when its sum is strictly above the threshold, as Ibrahimli and Heon write it; the binary step of Basics
(`activations.step`) also fires at the threshold itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DataError
from deltarule.textbook.activations import activation
from deltarule.textbook.arrays import Array, expect_above_zero, expect_known, expect_shape, expect_whole, floats

LOW = {"binary": 0.0, "bipolar": -1.0}      # the output of a perceptron that does not fire


def neuron(x: ArrayLike, w: ArrayLike, b: float = 0.0, f: str = "linear") -> Array:
    """a = sum_i w_i x_i + b, y = f(a): the neuron (Baron; row 1).

    `x` (n, inputs), `w` (inputs,), `b` a number, y (n,). Raises ShapeError where w does not fit, DeltaruleError for an unknown f.

    >>> neuron([[1.0, 2.0]], [3.0, -1.0], b=0.5, f="sigmoid").round(3)
    array([0.818])
    """
    x = floats("x", x, "n, inputs")
    w = expect_shape("w", floats("w", w), x.shape[1:])
    a = x @ w + b
    return activation(f)[0](a)


def perceptron(x: ArrayLike, w: ArrayLike, b: float, output: str = "binary") -> Array:
    """output = 1 if w x + b > 0, else 0 (binary) or -1 (bipolar): the bias form, b = -threshold (Ibrahimli; row 2).

    `x` (n, inputs), `w` (inputs,), output (n,). Raises ShapeError where w does not fit, DeltaruleError for an unknown output.

    >>> perceptron([[1, 0, 0], [0, 1, 1]], w=[6, 2, 2], b=-5)
    array([1., 0.])
    """
    expect_known("output", output, LOW)
    return np.where(neuron(x, w, b) > 0, 1.0, LOW[output])


def perceptron_threshold(x: ArrayLike, w: ArrayLike, threshold: float, output: str = "binary") -> Array:
    """output = 1 if sum_j w_j x_j > threshold, else 0 (binary) or -1 (bipolar): the threshold form (Ibrahimli; row 2).

    `x` (n, inputs), `w` (inputs,), output (n,). Raises ShapeError where w does not fit, DeltaruleError for an unknown output.

    >>> perceptron_threshold([[1, 0, 0], [0, 1, 1]], w=[6, 2, 2], threshold=3)
    array([1., 1.])
    """
    expect_known("output", output, LOW)
    return np.where(neuron(x, w) > threshold, 1.0, LOW[output])


@dataclass(frozen=True)
class PerceptronRun:
    """What the perceptron rule found: `w` (inputs,), `b` = -`threshold`, and how it got there.

    `mistakes` counts the updates, `epochs` the passes over the examples, `path` holds (w, b) after each update.
    """

    w: Array
    b: float
    mistakes: int
    epochs: int
    converged: bool
    path: list[tuple[Array, float]]

    @property
    def threshold(self) -> float:
        """The threshold of the same perceptron: -b."""
        return -self.b


def perceptron_rule(x: ArrayLike, y: ArrayLike, eta: float = 1.0, form: str = "bias", output: str = "binary", epochs: int = 100,
                    w: Any = None, b: float = 0.0) -> PerceptronRun:
    """w_j <- w_j + eta (y - y_hat) x_j, example by example, until a whole pass is right (Rosenblatt 1958; Heon; row 3).

    The bias learns b <- b + eta (y - y_hat), in the "threshold" form theta <- theta - eta (y - y_hat). It starts from `w` (zeros)
    and `b` and ends after `epochs` passes where no line separates. `x` (n, inputs), `y` (n,) of 0 and 1 (bipolar: -1 and 1).
    Raises DeltaruleError for eta, epochs, form or output out of range, ShapeError for x, y or w, DataError for other targets.

    >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> run = perceptron_rule(x, [0, 0, 0, 1])
    >>> run.w, run.b, run.mistakes, run.converged
    (array([2., 1.]), -2.0, 10, True)
    >>> perceptron_rule(x, [0, 1, 1, 0]).converged
    False
    """
    expect_known("form", form, ("bias", "threshold"))
    expect_known("output", output, LOW)
    expect_above_zero("eta", eta)
    expect_whole("epochs", epochs)
    x, y, w = _examples(x, y, w)
    if not np.isin(y, (LOW[output], 1)).all():
        raise DataError(f"a {output} perceptron expected targets {LOW[output]:g} and 1, received {np.unique(y)[:3].tolist()}")
    b = float(b)
    theta = -b
    path: list[tuple[Array, float]] = []
    for epoch in range(1, epochs + 1):
        mistakes = len(path)
        for x_i, y_i in zip(x, y.tolist(), strict=True):
            fires = w @ x_i + b > 0 if form == "bias" else w @ x_i > theta
            y_hat = 1.0 if fires else LOW[output]
            if y_hat != y_i:
                w = w + eta * (y_i - y_hat) * x_i
                b = b + eta * (y_i - y_hat)
                theta = theta - eta * (y_i - y_hat)
                path.append((w, b))
        if len(path) == mistakes:                       # a whole pass was right
            return PerceptronRun(w, b, len(path), epoch, True, path)
    return PerceptronRun(w, b, len(path), epochs, False, path)


@dataclass(frozen=True)
class AdalineRun:
    """What the delta rule found: `w` (inputs,), `b`, and the loss at the start and after every epoch (epochs + 1,)."""

    w: Array
    b: float
    losses: list[float]


def adaline_loss(x: ArrayLike, y: ArrayLike, w: ArrayLike, b: float) -> float:
    """L(w, b) = 1/n sum_i (y_i - (w x_i + b))^2, the mean squared error of a linear neuron (Heon; row 4).

    `x` (n, inputs), `y` (n,), `w` (inputs,). Raises ShapeError where they do not fit.

    >>> adaline_loss([[1.0], [2.0]], [1.0, 4.0], [2.0], 0.0)
    0.5
    """
    x, y, w = _examples(x, y, w)
    return float(np.mean((y - neuron(x, w, b)) ** 2))


def adaline(x: ArrayLike, y: ArrayLike, eta: float, epochs: int, w: Any = None, b: float = 0.0) -> AdalineRun:
    """The delta rule on all examples at once: w <- w - eta dL/dw, b <- b - eta dL/db (Widrow and Hoff 1960; Heon; row 4).

    `x` (n, inputs), `y` (n,), `w` (inputs,), zeros unless given. It diverges for eta above 2 / lambda_max of the loss's second
    derivatives. Raises DeltaruleError unless eta is above 0 and epochs at least 1, ShapeError where shapes do not fit.

    >>> run = adaline([[-1.0], [0.0], [1.0]], [-1.0, 1.0, 3.0], eta=0.5, epochs=30)
    >>> run.w.round(4), round(run.b, 4), run.losses[0]
    (array([2.]), 1.0, 3.6666666666666665)
    """
    expect_above_zero("eta", eta)
    expect_whole("epochs", epochs)
    x, y, w = _examples(x, y, w)
    n = len(x)
    losses = [adaline_loss(x, y, w, b)]
    for _ in range(epochs):
        error = y - neuron(x, w, b)
        dw = -2 / n * x.T @ error
        db = -2 / n * np.sum(error)
        w = w - eta * dw
        b = b - eta * db
        losses.append(adaline_loss(x, y, w, b))
    return AdalineRun(w, float(b), losses)


def widrow_hoff(x: ArrayLike, y: ArrayLike, eta: float, epochs: int, w: Any = None, b: float = 0.0) -> AdalineRun:
    """The delta rule example by example (least mean squares): w <- w + eta (y - y_hat) x, y_hat = w x + b (Heon; row 4).

    The factor 2 of the derivative is part of eta, as in the lecture. `x` (n, inputs), `y` (n,), `w` (inputs,), zeros unless given.
    Raises DeltaruleError unless eta is above 0 and epochs at least 1, ShapeError where shapes do not fit.

    >>> run = widrow_hoff([[-1.0], [0.0], [1.0]], [-1.0, 1.0, 3.0], eta=0.3, epochs=50)
    >>> run.w.round(4), round(run.b, 4)
    (array([2.]), 1.0)
    """
    expect_above_zero("eta", eta)
    expect_whole("epochs", epochs)
    x, y, w = _examples(x, y, w)
    losses = [adaline_loss(x, y, w, b)]
    for _ in range(epochs):
        for x_i, y_i in zip(x, y, strict=True):
            y_hat = w @ x_i + b
            w = w + eta * (y_i - y_hat) * x_i
            b = b + eta * (y_i - y_hat)
        losses.append(adaline_loss(x, y, w, b))
    return AdalineRun(w, float(b), losses)


def _examples(x: ArrayLike, y: ArrayLike, w: Any) -> tuple[Array, Array, Array]:
    x = floats("x", x, "n, inputs")
    y = expect_shape("y", floats("y", y), x.shape[:1])
    w = np.zeros(x.shape[1]) if w is None else floats("w", w)
    return x, y, expect_shape("w", w, x.shape[1:])
