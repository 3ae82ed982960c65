"""Gradient descent: on all examples, on mini-batches, on one example at a time, with momentum (lecture row 19)."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_above_zero, expect_whole, floats

GradientOf = Callable[[Parameters, Array, Array], Gradient]
T = TypeVar("T", Array, Parameters)


class Descent(NamedTuple):
    """Where gradient descent ended, `theta`, and its `path`: theta at the start and after every epoch (epochs + 1 of them)."""

    theta: Parameters
    path: list[Parameters]


def descend(gradient: GradientOf, theta: Parameters, x: ArrayLike, y: ArrayLike, *, eta: float, epochs: int,
            batch_size: int | None = None, momentum: float = 0.0, rng: np.random.Generator | None = None) -> Descent:
    """theta <- theta - eta dL/dtheta, over and over: one epoch is one pass over the examples (Baron, Ibrahimli).

    `batch_size` None takes all examples at once (batch), 1 one at a time (stochastic), m between them mini-batches; the last batch
    of an epoch may be smaller. With `rng` the examples are shuffled in every epoch, without it they keep their order.
    With momentum mu: v <- mu v - eta dL/dtheta, theta <- theta + v (Polyak 1964). `x` (n, ...), `y` (n, ...); `gradient(theta, x, y)`
    gives dL/dtheta of the mean over the batch, under the names of theta. Raises DeltaruleError for eta, epochs, batch_size or
    momentum out of range, ShapeError for unequal numbers of x and y.

    >>> def gradient(theta, x, y):
    ...     return {"w": np.mean(2 * (theta["w"] * x - y) * x)}
    >>> x = np.array([1.0, 2.0])
    >>> descend(gradient, {"w": np.array(0.0)}, x, 3 * x, eta=0.1, epochs=20).theta["w"].round(4)
    np.float64(3.0)
    """
    x, y = floats("x", x), floats("y", y)
    n = len(x)
    if len(y) != n:
        raise ShapeError(f"x has {n} examples and y {len(y)}; give one target for each example")
    m = n if batch_size is None else batch_size
    expect_above_zero("eta", eta)
    expect_whole("epochs", epochs)
    expect_whole("batch_size", m)
    if not 0 <= momentum < 1:
        raise DeltaruleError(f"momentum expected a number from 0 up to but not 1, received {momentum!r}")
    velocity = {name: np.zeros_like(value) for name, value in theta.items()}
    path = [theta]
    for _ in range(epochs):
        order = np.arange(n) if rng is None else rng.permutation(n)
        for start in range(0, n, m):
            batch = order[start:start + m]
            dtheta = gradient(theta, x[batch], y[batch])
            velocity = {name: momentum * velocity[name] - eta * dtheta[name] for name in theta}
            theta = {name: theta[name] + velocity[name] for name in theta}
        path.append(theta)
    return Descent(theta, path)


def numeric_gradient(function: Callable[[T], float], theta: T, step: float = 1e-6) -> T:
    """dL/dtheta_i = (L(theta_i + step) - L(theta_i - step)) / (2 step): central differences, the check of every derivative.

    `theta` is an array or a dict of arrays; the result has the same form. Raises DeltaruleError unless step is above 0.

    >>> numeric_gradient(lambda theta: float(np.sum(theta**2)), np.array([1.0, -2.0])).round(6)
    array([ 2., -4.])
    """
    expect_above_zero("step", step)
    if isinstance(theta, dict):
        return {name: numeric_gradient(lambda part: function({**theta, name: part}), theta[name], step) for name in theta}  # noqa: B023
    theta = floats("theta", theta)
    gradient = np.zeros_like(theta)
    for i in np.ndindex(theta.shape):
        e = np.zeros_like(theta)
        e[i] = step
        gradient[i] = (function(theta + e) - function(theta - e)) / (2 * step)
    return gradient
