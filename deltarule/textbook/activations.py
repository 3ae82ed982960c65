"""The activations of lecture row 10: h = g(a), each with its derivative g'(a), one equation a line.

`a` is the pre-activation, of any shape; `h = g(a)` and `g'(a)` have the same shape. softmax and log_softmax couple the K units
of the last axis; their derivative is the Jacobian dg_i/da_j, of shape (..., K, K). Nothing overflows at a = -10000 or 10000,
but for the exponential, which is infinite there.
"""

import math
from collections.abc import Callable

import numpy as np

from deltarule.errors import ShapeError
from deltarule.textbook.arrays import Array, expect_known, expect_shape

Function = Callable[[Array], Array]


def linear(a: Array) -> Array:
    """g(a) = a (Basics). Shapes: a and g(a) alike, as everywhere on this page.

    >>> linear(np.array([-2.0, 3.0]))
    array([-2.,  3.])
    """
    return a


def linear_prime(a: Array) -> Array:
    """g'(a) = 1."""
    return np.ones_like(a)


def step(a: Array, theta: float = 0.0) -> Array:
    """g(a) = 1 if a >= theta, 0 if a < theta: the binary step (Basics).

    >>> step(np.array([-0.5, 0.0, 2.0]))
    array([0., 1., 1.])
    """
    return np.where(a >= theta, 1.0, 0.0)


def sign(a: Array, theta: float = 0.0) -> Array:
    """g(a) = 1 if a >= theta, -1 if a < theta: the bipolar step (Basics).

    >>> sign(np.array([-0.5, 0.0, 2.0]))
    array([-1.,  1.,  1.])
    """
    return np.where(a >= theta, 1.0, -1.0)


def step_prime(a: Array) -> Array:
    """g'(a) = 0 for both steps: no error passes back through them."""
    return np.zeros_like(a)


def sigmoid(a: Array) -> Array:
    """g(a) = 1 / (1 + exp(-a)) (Baron); for a < 0 the same written exp(a) / (1 + exp(a)), which cannot overflow.

    >>> sigmoid(np.array([-10.0, 0.0, 10.0]))
    array([4.53978687e-05, 5.00000000e-01, 9.99954602e-01])
    """
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_prime(a: Array) -> Array:
    """g'(a) = g(a) (1 - g(a)) (Basics)."""
    g = sigmoid(a)
    return g * (1 - g)


def tanh(a: Array) -> Array:
    """g(a) = (exp(a) - exp(-a)) / (exp(a) + exp(-a)) (Baron).

    >>> tanh(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """
    return np.tanh(a)


def tanh_prime(a: Array) -> Array:
    """g'(a) = 1 - g(a)^2 (Basics)."""
    return 1 - np.tanh(a) ** 2


def relu(a: Array) -> Array:
    """g(a) = max(0, a) (Baron).

    >>> relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    return np.maximum(0, a)


def relu_prime(a: Array) -> Array:
    """g'(a) = 1 if a > 0, else 0 (Basics)."""
    return np.where(a > 0, 1.0, 0.0)


def leaky_relu(a: Array, slope: float = 0.01) -> Array:
    """g(a) = a if a >= 0, slope a if a < 0 (Heon; Maas, Hannun and Ng 2013).

    >>> leaky_relu(np.array([-2.0, 3.0]), slope=0.25)
    array([-0.5,  3. ])
    """
    return np.where(a >= 0, a, slope * a)


def leaky_relu_prime(a: Array, slope: float = 0.01) -> Array:
    """g'(a) = 1 if a >= 0, else slope."""
    return np.where(a >= 0, 1.0, slope)


def parametric_relu(a: Array, slope: Array) -> Array:
    """g(a) = a if a >= 0, slope a if a < 0, with a slope that is learnt (He et al. 2015). `slope` is a number or fits `a`.

    >>> parametric_relu(np.array([-2.0, 3.0]), np.array([0.25, 0.5]))
    array([-0.5,  3. ])
    """
    return np.where(a >= 0, a, slope * a)


def parametric_relu_prime(a: Array, slope: Array) -> Array:
    """dg/da = 1 if a >= 0, else slope."""
    return np.where(a >= 0, 1.0, slope)


def parametric_relu_slope_prime(a: Array) -> Array:
    """dg/dslope = 0 if a >= 0, else a: what the slope learns from (He et al. 2015, equation 10)."""
    return np.where(a >= 0, 0.0, a)


def elu(a: Array) -> Array:
    """g(a) = a if a > 0, exp(a) - 1 if a <= 0 (Clevert, Unterthiner and Hochreiter 2016, alpha = 1).

    >>> elu(np.array([-1e4, 0.0, 3.0]))
    array([-1.,  0.,  3.])
    """
    return np.where(a > 0, a, np.expm1(np.minimum(a, 0)))


def elu_prime(a: Array) -> Array:
    """g'(a) = 1 if a > 0, else exp(a)."""
    return np.where(a > 0, 1.0, np.exp(np.minimum(a, 0)))


def normal_distribution(a: Array) -> Array:
    """Phi(a) = (1 + erf(a / sqrt 2)) / 2 = erfc(-a / sqrt 2) / 2: the share of a standard normal distribution below a.

    >>> normal_distribution(np.array([0.0, 1.96])).round(3)
    array([0.5  , 0.975])
    """
    return np.vectorize(lambda value: math.erfc(-value / math.sqrt(2)) / 2, otypes=[np.float64])(a)


def gelu(a: Array) -> Array:
    """g(a) = a Phi(a), the exact form with erf and not its tanh approximation (Hendrycks and Gimpel 2016).

    >>> gelu(np.array([-1.0, 0.0, 1e4])).round(4)
    array([-1.587e-01,  0.000e+00,  1.000e+04])
    """
    return a * normal_distribution(a)


def gelu_prime(a: Array) -> Array:
    """g'(a) = Phi(a) + a phi(a), phi(a) = exp(-a^2 / 2) / sqrt(2 pi)."""
    return normal_distribution(a) + a * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)


def silu(a: Array) -> Array:
    """g(a) = a sigmoid(a) (Elfwing, Uchibe and Doya 2018).

    >>> silu(np.array([0.0, 1e4]))
    array([    0., 10000.])
    """
    return a * sigmoid(a)


def silu_prime(a: Array) -> Array:
    """g'(a) = s (1 + a (1 - s)), s = sigmoid(a)."""
    s = sigmoid(a)
    return s * (1 + a * (1 - s))


def softplus(a: Array) -> Array:
    """g(a) = ln(1 + exp(a)) = max(0, a) + ln(1 + exp(-|a|)) (Dugas et al. 2001).

    >>> softplus(np.array([-1e4, 1e4]))
    array([    0., 10000.])
    """
    return np.maximum(0, a) + np.log1p(np.exp(-np.abs(a)))


def softplus_prime(a: Array) -> Array:
    """g'(a) = sigmoid(a)."""
    return sigmoid(a)


def exponential(a: Array) -> Array:
    """g(a) = g'(a) = exp(a): a rate, always positive; infinite beyond a = 709.

    >>> exponential(np.array([0.0, 1e4]))
    array([ 1., inf])
    """
    with np.errstate(over="ignore"):
        return np.exp(a)


def softmax(a: Array) -> Array:
    """g_i(a) = exp(a_i) / sum_j exp(a_j) (Baron, Basics); the largest a is subtracted first, which changes nothing.

    `a` (..., K) to (..., K). Raises ShapeError for a scalar.

    >>> softmax(np.array([0.0, 1e4]))
    array([0., 1.])
    """
    e = np.exp(a - _largest(a))
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_prime(a: Array) -> Array:
    """dg_i/da_j = g_i (1_ij - g_j): the Jacobian, (..., K) to (..., K, K), i before j."""
    g = softmax(a)
    return g[..., :, None] * (np.eye(g.shape[-1]) - g[..., None, :])


def log_softmax(a: Array) -> Array:
    """g_i(a) = a_i - ln sum_j exp(a_j): `a` (..., K) to (..., K). Raises ShapeError for a scalar.

    >>> log_softmax(np.array([0.0, 1e4]))
    array([-10000.,      0.])
    """
    shifted = a - _largest(a)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def log_softmax_prime(a: Array) -> Array:
    """dg_i/da_j = 1_ij - softmax_j(a): the Jacobian, (..., K) to (..., K, K), i before j."""
    return np.eye(a.shape[-1]) - softmax(a)[..., None, :]


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "linear": (linear, linear_prime), "step": (step, step_prime), "sign": (sign, step_prime),
    "sigmoid": (sigmoid, sigmoid_prime), "tanh": (tanh, tanh_prime), "relu": (relu, relu_prime),
    "leaky_relu": (leaky_relu, leaky_relu_prime), "elu": (elu, elu_prime), "gelu": (gelu, gelu_prime), "silu": (silu, silu_prime),
    "softplus": (softplus, softplus_prime), "exponential": (exponential, exponential),
    "softmax": (softmax, softmax_prime), "log_softmax": (log_softmax, log_softmax_prime),
}


def activation(name: str) -> tuple[Function, Function]:
    """The pair (g, g') of that name. Raises DeltaruleError for an unknown name, offering the nearest.

    >>> g, g_prime = activation("sigmoid")
    >>> g_prime(np.zeros(2))
    array([0.25, 0.25])
    """
    expect_known("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def through(name: str, a: Array, dh: Array) -> Array:
    """dL/da from dL/dh: g'(a) dL/dh unit by unit, and for the two that couple units sum_i dL/dh_i dg_i/da_j.

    `a` and `dh` (..., K) to (..., K). Raises ShapeError unless they have one shape, DeltaruleError for an unknown name.

    >>> through("sigmoid", np.zeros(2), np.array([1.0, 2.0]))
    array([0.25, 0.5 ])
    >>> through("softmax", np.zeros(2), np.array([1.0, 2.0]))
    array([-0.25,  0.25])
    """
    g_prime = activation(name)[1](a)
    expect_shape("dL/dh", dh, a.shape)
    if name in ("softmax", "log_softmax"):
        return np.einsum("...i,...ij->...j", dh, g_prime)
    return g_prime * dh


def _largest(a: Array) -> Array:
    if np.ndim(a) == 0:
        raise ShapeError("softmax expected the units on the last axis (..., K), received a scalar; give an array of K numbers")
    return np.max(a, axis=-1, keepdims=True)
