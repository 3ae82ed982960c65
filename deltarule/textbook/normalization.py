"""Normalization: the same mean and spread for every feature of a batch, or for every example (lecture row 23).

Batch normalization (Ioffe and Szegedy 2015) takes mean and variance of each feature over the batch (and over space, where there is any);
layer normalization (Ba, Kiros and Hinton 2016) of each example over its features. Shapes: x (n, ..., features), gamma and beta (features,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.arrays import Array, Gradient, expect_above_zero, expect_shape, floats


class NormRun(NamedTuple):
    """All that a normalization computed: `mu` and `var`, the normalized `x_hat`, `y` = gamma x_hat + beta, both of the shape of x.

    `mu` and `var` are (features,) for a batch and (n, ..., 1) for layers; `axes` are those that they were taken over.
    """

    mu: Array
    var: Array
    x_hat: Array
    y: Array
    axes: tuple[int, ...]
    eps: float


def batch_norm(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, eps: float = 1e-5) -> NormRun:
    """mu = mean(x), var = mean((x - mu)^2), x_hat = (x - mu) / sqrt(var + eps), y = gamma x_hat + beta: the training form.

    `x` (n, ..., features), `gamma` and `beta` (features,). Raises ShapeError where they do not fit, DeltaruleError unless eps is above 0.

    >>> batch_norm([[1.0], [3.0]], [2.0], [5.0]).y[:, 0].round(4)
    array([3., 7.])
    """
    x = _with_features(x)
    return _normalized(x, gamma, beta, eps, tuple(range(x.ndim - 1)))


def layer_norm(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, eps: float = 1e-5) -> NormRun:
    """The same equations, with mu and var over the features of each example; training and prediction do not differ.

    `x` (n, ..., features), `gamma` and `beta` (features,). Raises ShapeError where they do not fit, DeltaruleError unless eps is above 0.

    >>> layer_norm([[1.0, 3.0], [10.0, 30.0]], [1.0, 1.0], [0.0, 0.0]).y.round(4)
    array([[-1.,  1.], [-1.,  1.]])
    """
    x = _with_features(x)
    return _normalized(x, gamma, beta, eps, (x.ndim - 1,))


def norm_backward(run: NormRun, gamma: ArrayLike, dy: ArrayLike) -> Gradient:
    """dL/dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / sqrt(var + eps), dx_hat = gamma dy: of either normalization.

    The two means take away what shifting and stretching x would do, to which x_hat is blind. dL/dgamma = sum dy x_hat,
    dL/dbeta = sum dy. `dy` is dL/dy, of the shape of x; the result holds "x", "gamma" and "beta". Raises ShapeError.

    >>> run = batch_norm([[1.0], [3.0]], [2.0], [5.0])
    >>> gradient = norm_backward(run, [2.0], [[1.0], [2.0]])
    >>> gradient["gamma"].round(4), gradient["beta"]
    (array([1.]), array([3.]))
    """
    _, var, x_hat, y, axes, eps = run
    dy = expect_shape("dL/dy", floats("dL/dy", dy), y.shape)
    dx_hat = expect_shape("gamma", floats("gamma", gamma), y.shape[-1:]) * dy
    mean_1 = np.mean(dx_hat, axis=axes, keepdims=True)
    mean_2 = np.mean(dx_hat * x_hat, axis=axes, keepdims=True)
    dx = (dx_hat - mean_1 - x_hat * mean_2) / np.sqrt(var + eps)
    all_but_features = tuple(range(y.ndim - 1))
    return {"x": dx, "gamma": np.sum(dy * x_hat, axis=all_but_features), "beta": np.sum(dy, axis=all_but_features)}


def running_statistics(old: tuple[ArrayLike, ArrayLike], run: NormRun, momentum: float = 0.9) -> tuple[Array, Array]:
    """mu <- m mu + (1 - m) mu_batch, var <- m var + (1 - m) var_batch: what prediction will use, carried from batch to batch.

    `old` are (mu, var) (features,) so far. The variance is that of the batch, with 1/n, as in Keras; the paper's is n / (n - 1) times it.
    Raises DeltaruleError unless momentum is from 0 up to but not 1, ShapeError where shapes do not fit.

    >>> running_statistics(([0.0], [1.0]), batch_norm([[1.0], [3.0]], [1.0], [0.0]), momentum=0.5)
    (array([1.]), array([1.]))
    """
    if not 0 <= momentum < 1:
        raise DeltaruleError(f"momentum expected a number from 0 up to but not 1, received {momentum!r}")
    mu, var = (expect_shape(name, floats(name, value), run.mu.shape) for name, value in zip(("mu", "var"), old, strict=True))
    return momentum * mu + (1 - momentum) * run.mu, momentum * var + (1 - momentum) * run.var


def batch_norm_predict(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, mu: ArrayLike, var: ArrayLike, eps: float = 1e-5) -> Array:
    """y = gamma (x - mu) / sqrt(var + eps) + beta with the running mu and var (features,): the form of prediction.

    `x` (n, ..., features). Each example is treated alone. Raises ShapeError where shapes do not fit, DeltaruleError unless eps is above 0.

    >>> batch_norm_predict([[4.0]], [2.0], [5.0], mu=[2.0], var=[1.0]).round(4)
    array([[9.]])
    """
    expect_above_zero("eps", eps)
    x = _with_features(x)
    gamma, beta, mu, var = (expect_shape(name, floats(name, value), x.shape[-1:])
                            for name, value in (("gamma", gamma), ("beta", beta), ("mu", mu), ("var", var)))
    x_hat = (x - mu) / np.sqrt(var + eps)
    return gamma * x_hat + beta


def _normalized(x: Array, gamma: ArrayLike, beta: ArrayLike, eps: float, axes: tuple[int, ...]) -> NormRun:
    expect_above_zero("eps", eps)
    gamma, beta = (expect_shape(name, floats(name, value), x.shape[-1:]) for name, value in (("gamma", gamma), ("beta", beta)))
    of_features = axes[-1] == x.ndim - 1
    mu = np.mean(x, axis=axes, keepdims=of_features)
    var = np.mean((x - mu) ** 2, axis=axes, keepdims=of_features)
    x_hat = (x - mu) / np.sqrt(var + eps)
    return NormRun(mu, var, x_hat, gamma * x_hat + beta, axes, eps)


def _with_features(x: ArrayLike) -> Array:
    x = floats("x", x)
    if x.ndim < 2:
        raise ShapeError(f"normalization expected x (n, ..., features), received {x.shape}; give examples as rows")
    return x
