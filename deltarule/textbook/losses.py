"""The losses of lecture row 14, and those of masks (row 35): the loss of each row and its derivative, one equation a line.

Shapes: outputs h, pre-activations a and targets y (n, K); the loss of each row (n,); derivatives (n, K), each row's own, so that the
gradient of the mean over the rows carries 1/n. The losses that belong to one output activation (softmax, sigmoid, a step) are
functions of a, and their derivative is dL/da (for the cross-entropies y_hat - y); all others are functions of h, and theirs is dL/dh.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np

from deltarule.errors import ShapeError
from deltarule.textbook.activations import log_softmax, sigmoid, sign, softmax, softplus, step
from deltarule.textbook.arrays import Array, expect_known, expect_shape, floats

FORMS = {"sum": lambda K: 1.0, "mean": lambda K: 1 / K, "half": lambda K: 0.5}


def compared(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let a loss see float64 outputs and targets of one shape (n, K) only, where NumPy would broadcast (n,) to (n, n).

    >>> squared_error(np.zeros((3, 1)), np.zeros(3))
    Traceback (most recent call last):
        ...
    deltarule.errors.ShapeError: y expected the shape (n, K), received (3,); reshape it to that many axes
    """
    @wraps(function)
    def checked(output: Array, y: Array, **settings: Any) -> Array:
        output, y = floats("the output", output, "n, K"), floats("y", y, "n, K")
        return function(output, expect_shape("y", y, output.shape), **settings)

    return checked


@compared
def squared_error(h: Array, y: Array, form: str = "mean") -> Array:
    """sum_k (h_k - y_k)^2 (Poleski), its "mean" over K (Heon), or "half" of it: 1/(2n) sum ||y - h||^2 over n rows (Ibrahimli).

    >>> squared_error(np.array([[1.0, 2.0]]), np.zeros((1, 2)), form="half")
    array([2.5])
    """
    expect_known("form", form, FORMS)
    return FORMS[form](h.shape[1]) * np.sum((h - y) ** 2, axis=1)


@compared
def squared_error_prime(h: Array, y: Array, form: str = "mean") -> Array:
    """dL/dh = 2 (h - y), over K in the mean form, halved in the half form."""
    expect_known("form", form, FORMS)
    return FORMS[form](h.shape[1]) * 2 * (h - y)


@compared
def absolute_error(h: Array, y: Array) -> Array:
    """1/K sum_k |h_k - y_k|.

    >>> absolute_error(np.array([[1.0, -3.0]]), np.zeros((1, 2)))
    array([2.])
    """
    return np.mean(np.abs(h - y), axis=1)


@compared
def absolute_error_prime(h: Array, y: Array) -> Array:
    """dL/dh_k = 1/K sign(h_k - y_k)."""
    return np.sign(h - y) / h.shape[1]


@compared
def huber(h: Array, y: Array, delta: float = 1.0) -> Array:
    """1/K sum_k of e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond; e = h - y (Huber 1964).

    >>> huber(np.array([[3.0]]), np.zeros((1, 1)))
    array([2.5])
    """
    e = np.abs(h - y)
    return np.mean(np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)), axis=1)


@compared
def huber_prime(h: Array, y: Array, delta: float = 1.0) -> Array:
    """dL/dh_k = 1/K (e_k, or delta sign(e_k) beyond delta)."""
    e = h - y
    return np.where(np.abs(e) <= delta, e, delta * np.sign(e)) / h.shape[1]


def quantile(h: Array, y: Array, quantiles: Sequence[float] = (0.5,)) -> Array:
    """1/Q sum_q max(q e, (q - 1) e), e = y - h_q: the pinball loss (Koenker, Bassett 1978). Here y is (n, 1), h (n, Q).

    >>> quantile(np.array([[0.0]]), np.ones((1, 1)), [0.9])
    array([0.9])
    """
    q, e = _levels(quantiles, h, y), y - h
    return np.mean(np.maximum(q * e, (q - 1) * e), axis=1)


def quantile_prime(h: Array, y: Array, quantiles: Sequence[float] = (0.5,)) -> Array:
    """dL/dh_q = 1/Q (-q where y > h_q, 1 - q where y < h_q)."""
    q = _levels(quantiles, h, y)
    return np.where(y > h, -q, 1 - q) / h.shape[1]


@compared
def poisson(h: Array, y: Array) -> Array:
    """sum_k (h_k - y_k ln h_k + ln y_k!): the negative log-likelihood of counts y for a rate h.

    >>> poisson(np.array([[1.0]]), np.array([[2.0]])).round(4)
    array([1.6931])
    """
    ln_factorial = np.vectorize(lambda count: math.lgamma(count + 1), otypes=[np.float64])
    return np.sum(h - y * np.log(h) + ln_factorial(y), axis=1)


@compared
def poisson_prime(h: Array, y: Array) -> Array:
    """dL/dh = 1 - y / h."""
    return 1 - y / h


def gaussian(h: Array, y: Array) -> Array:
    """1/2 sum_k (s_k + (y_k - m_k)^2 exp(-s_k) + ln 2 pi), h = (means m, log-variances s) (Nix, Weigend 1994). y (n, K), h (n, 2K).

    >>> gaussian(np.zeros((1, 2)), np.zeros((1, 1))).round(4)
    array([0.9189])
    """
    m, s = _means_and_log_variances(h, y)
    return np.sum(s + (y - m) ** 2 * np.exp(-s) + math.log(2 * math.pi), axis=1) / 2


def gaussian_prime(h: Array, y: Array) -> Array:
    """dL/dm = (m - y) exp(-s), dL/ds = 1/2 (1 - (y - m)^2 exp(-s)), side by side."""
    m, s = _means_and_log_variances(h, y)
    dm = (m - y) * np.exp(-s)
    ds = (1 - (y - m) ** 2 * np.exp(-s)) / 2
    return np.concatenate([dm, ds], axis=1)


@compared
def hinge(h: Array, y: Array) -> Array:
    """sum_k max(0, 1 - y_k h_k) for targets -1 and 1.

    >>> hinge(np.array([[0.25]]), np.array([[1.0]]))
    array([0.75])
    """
    return np.sum(np.maximum(0, 1 - y * h), axis=1)


@compared
def hinge_prime(h: Array, y: Array) -> Array:
    """dL/dh = -y where y h < 1, else 0."""
    return np.where(y * h < 1, -y, 0.0)


@compared
def cross_entropy(a: Array, y: Array, label_smoothing: float = 0.0) -> Array:
    """-sum_k t_k ln y_hat_k, y_hat = softmax(a), for one-hot y: t = y, or (1 - s) y + s / K with label smoothing s (row 14).

    >>> cross_entropy(np.array([[2.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])).round(4)
    array([0.2395])
    """
    t = (1 - label_smoothing) * y + label_smoothing / a.shape[1]
    return -np.sum(t * log_softmax(a), axis=1)


@compared
def cross_entropy_delta(a: Array, y: Array, label_smoothing: float = 0.0) -> Array:
    """dL/da = y_hat - t."""
    t = (1 - label_smoothing) * y + label_smoothing / a.shape[1]
    return softmax(a) - t


@compared
def binary_cross_entropy(a: Array, y: Array) -> Array:
    """-sum_k (y_k ln y_hat_k + (1 - y_k) ln(1 - y_hat_k)), y_hat = sigmoid(a), which is sum_k ln(1 + exp(a_k)) - y_k a_k (row 14).

    >>> binary_cross_entropy(np.zeros((1, 1)), np.ones((1, 1))).round(4)
    array([0.6931])
    """
    return np.sum(softplus(a) - y * a, axis=1)


@compared
def binary_cross_entropy_delta(a: Array, y: Array) -> Array:
    """dL/da = y_hat - y."""
    return sigmoid(a) - y


@compared
def perceptron_loss(a: Array, y: Array, g: Callable[[Array], Array] = step) -> Array:
    """sum_k (y_hat_k - y_k) a_k, y_hat = g(a) taken as a constant: 0 where the decision is right (row 3).

    >>> perceptron_loss(np.array([[2.0, -3.0]]), np.array([[0.0, 0.0]]))
    array([2.])
    """
    return np.sum((g(a) - y) * a, axis=1)


@compared
def perceptron_delta(a: Array, y: Array, g: Callable[[Array], Array] = step) -> Array:
    """dL/da = y_hat - y: gradient descent on it is the perceptron rule."""
    return g(a) - y


@compared
def dice(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """1 - (2 sum_k p_k y_k + s) / (sum_k p_k^2 + sum_k y_k^2 + s), p = sigmoid(a), for masks of K pixels (Milletari et al. 2016).

    >>> dice(np.zeros((1, 2)), np.array([[1.0, 0.0]]), smooth=0.5)          # 1 - (1 + 0.5) / (0.5 + 1 + 0.5)
    array([0.25])
    """
    p = sigmoid(a)
    return 1 - (2 * np.sum(p * y, axis=1) + smooth) / (np.sum(p**2 + y**2, axis=1) + smooth)


@compared
def dice_delta(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """dL/da_k = dL/dp_k p_k (1 - p_k), dL/dp_k = (2 N p_k - 2 y_k S) / S^2 for the fraction N / S above."""
    p = sigmoid(a)
    N = 2 * np.sum(p * y, axis=1, keepdims=True) + smooth
    S = np.sum(p**2 + y**2, axis=1, keepdims=True) + smooth
    return (2 * N * p - 2 * y * S) / S**2 * p * (1 - p)


@compared
def jaccard(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """1 - (I + s) / (U + s), I = sum_k p_k y_k, U = sum_k (p_k + y_k - p_k y_k), p = sigmoid(a), for masks of K pixels (Rahman, Wang 2016).

    >>> jaccard(np.zeros((1, 2)), np.array([[1.0, 0.0]]), smooth=0.5)       # 1 - (0.5 + 0.5) / (1.5 + 0.5)
    array([0.5])
    """
    p = sigmoid(a)
    return 1 - (np.sum(p * y, axis=1) + smooth) / (np.sum(p + y - p * y, axis=1) + smooth)


@compared
def jaccard_delta(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """dL/da_k = dL/dp_k p_k (1 - p_k), dL/dp_k = ((I + s) (1 - y_k) - y_k (U + s)) / (U + s)^2."""
    p = sigmoid(a)
    I = np.sum(p * y, axis=1, keepdims=True)
    U = np.sum(p + y - p * y, axis=1, keepdims=True)
    return ((I + smooth) * (1 - y) - y * (U + smooth)) / (U + smooth)**2 * p * (1 - p)


@compared
def binary_cross_entropy_dice(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """The sum of both.

    >>> binary_cross_entropy_dice(np.zeros((1, 2)), np.array([[1.0, 0.0]]), smooth=0.5).round(4)       # 2 ln 2 + 1/4
    array([1.6363])
    """
    return binary_cross_entropy(a, y) + dice(a, y, smooth=smooth)


@compared
def binary_cross_entropy_dice_delta(a: Array, y: Array, smooth: float = 1.0) -> Array:
    """The sum of both derivatives."""
    return binary_cross_entropy_delta(a, y) + dice_delta(a, y, smooth=smooth)


@dataclass(frozen=True)
class Loss:
    """A loss and its derivative. `outputs` names the activations that it belongs to; it is then a function of a, otherwise of h."""

    rows: Callable[..., Array]
    prime: Callable[..., Array]
    outputs: tuple[str, ...] = ()


LOSSES: dict[str, Loss] = {
    "squared_error": Loss(squared_error, squared_error_prime),
    "mean_squared_error": Loss(squared_error, squared_error_prime), "mse": Loss(squared_error, squared_error_prime),
    "sum_squared_error": Loss(partial(squared_error, form="sum"), partial(squared_error_prime, form="sum")),
    "quadratic": Loss(partial(squared_error, form="half"), partial(squared_error_prime, form="half")),
    "absolute_error": Loss(absolute_error, absolute_error_prime),
    "mean_absolute_error": Loss(absolute_error, absolute_error_prime), "mae": Loss(absolute_error, absolute_error_prime),
    "huber": Loss(huber, huber_prime), "quantile": Loss(quantile, quantile_prime),
    "poisson": Loss(poisson, poisson_prime), "gaussian": Loss(gaussian, gaussian_prime), "hinge": Loss(hinge, hinge_prime),
    "cross_entropy": Loss(cross_entropy, cross_entropy_delta, ("softmax", "log_softmax")),
    "binary_cross_entropy": Loss(binary_cross_entropy, binary_cross_entropy_delta, ("sigmoid",)),
    "dice": Loss(dice, dice_delta, ("sigmoid",)),
    "jaccard": Loss(jaccard, jaccard_delta, ("sigmoid",)), "iou": Loss(jaccard, jaccard_delta, ("sigmoid",)),
    "binary_cross_entropy_dice": Loss(binary_cross_entropy_dice, binary_cross_entropy_dice_delta, ("sigmoid",)),
    "perceptron": Loss(perceptron_loss, perceptron_delta, ("step",)),
    "bipolar_perceptron": Loss(partial(perceptron_loss, g=sign), partial(perceptron_delta, g=sign), ("sign",)),
}


def loss(name: str, **settings: Any) -> Loss:
    """The loss of that name, with settings of its own (delta of huber, quantiles, label_smoothing).

    Raises DeltaruleError for an unknown name, offering the nearest.

    >>> loss("huber", delta=2.0).rows(np.array([[3.0]]), np.zeros((1, 1)))
    array([4.])
    """
    expect_known("loss", name, LOSSES)
    found = LOSSES[name]
    return Loss(partial(found.rows, **settings), partial(found.prime, **settings), found.outputs)


def mean_loss(value: Loss, output: Array, y: Array) -> float:
    """L = 1/n sum_i loss_i. `output` is a for the losses that belong to an activation, otherwise h (n, K).

    >>> mean_loss(loss("mae"), np.array([[1.0], [2.0]]), np.zeros((2, 1)))
    1.5
    """
    return float(np.mean(value.rows(output, y)))


def _levels(quantiles: Sequence[float], h: Array, y: Array) -> Array:
    expect_shape("y", y, (len(h), 1))
    return expect_shape("the quantiles", floats("quantiles", quantiles), h.shape[1:])


def _means_and_log_variances(h: Array, y: Array) -> tuple[Array, Array]:
    n, K = h.shape
    if K % 2:
        raise ShapeError(f"gaussian expected an even number of outputs, means and log-variances, received {K}")
    expect_shape("y", y, (n, K // 2))
    return h[:, : K // 2], h[:, K // 2 :]
