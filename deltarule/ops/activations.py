"""Activations: the output h = g(a) of a neuron from its pre-activation a = sum w x + b, each with its slope g'(a).

All work element by element on arrays of any shape, except softmax and log_softmax, which couple the K units of the last axis.
Backpropagation multiplies by the slope: delta_j = g'(a_j) sum_k w_kj delta_k. Where g has a corner, the slope is the one stated.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.spec import nearest


def linear(a: ArrayLike) -> jax.Array:
    """g(a) = a, g'(a) = 1: the neuron of Adaline and of regression outputs (Widrow and Hoff 1960).

    `a` (...) to (...), the same shape.

    >>> linear(jnp.array([-2.0, 3.0])).tolist()
    [-2.0, 3.0]
    """
    return jnp.asarray(a)


def step(a: ArrayLike) -> jax.Array:
    """g(a) = 1 if a >= 0, else 0; g'(a) = 0: the binary perceptron (Rosenblatt 1958).

    `a` (...) to (...), the same shape. No error passes back through it: the perceptron rule learns without a slope.

    >>> step(jnp.array([-0.5, 0.0, 2.0])).tolist()
    [0.0, 1.0, 1.0]
    """
    a = jnp.asarray(a)
    return (a >= 0).astype(a.dtype)


def sign(a: ArrayLike) -> jax.Array:
    """g(a) = 1 if a >= 0, else -1; g'(a) = 0: the bipolar perceptron (Rosenblatt 1958).

    `a` (...) to (...), the same shape. Unlike the sign of mathematics it has no zero: every input gets a class.

    >>> sign(jnp.array([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    a = jnp.asarray(a)
    return jnp.where(a >= 0, jnp.ones_like(a), -jnp.ones_like(a))


def sigmoid(a: ArrayLike) -> jax.Array:
    """g(a) = 1 / (1 + exp(-a)), g'(a) = g(a) (1 - g(a)): the logistic neuron, p(y = 1 given x) (Cox 1958).

    `a` (...) to (...), the same shape, between 0 and 1. The slope is at most 1/4, which makes gradients vanish in deep networks.

    >>> sigmoid(jnp.array([-10.0, 0.0, 10.0]))
    Array([4.5397...e-05, 5.0000000e-01, 9.9995...e-01], dtype=float32)
    """
    return jax.nn.sigmoid(a)


def tanh(a: ArrayLike) -> jax.Array:
    """g(a) = tanh(a) = 2 sigmoid(2a) - 1, g'(a) = 1 - g(a)^2: a sigmoid with mean zero (LeCun et al. 1998, section 4.4).

    `a` (...) to (...), the same shape, between -1 and 1.

    >>> tanh(jnp.array([-10.0, 0.0, 10.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return jnp.tanh(a)


def relu(a: ArrayLike) -> jax.Array:
    """g(a) = max(0, a), g'(a) = 1 if a > 0, else 0: the rectified linear unit (Nair and Hinton 2010).

    `a` (...) to (...), the same shape. The slope at 0 is taken as 0.

    >>> relu(jnp.array([-2.0, 0.0, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """
    return jax.nn.relu(a)


def leaky_relu(a: ArrayLike, slope: float = 0.01) -> jax.Array:
    """g(a) = a if a >= 0, else slope a; g'(a) = 1 or slope: no unit can die (Maas, Hannun and Ng 2013).

    `a` (...) to (...), the same shape. The slope at 0 is 1.

    >>> leaky_relu(jnp.array([-2.0, 0.0, 3.0]), slope=0.25).tolist()
    [-0.5, 0.0, 3.0]
    """
    return jax.nn.leaky_relu(a, slope)


def elu(a: ArrayLike) -> jax.Array:
    """g(a) = a if a > 0, else exp(a) - 1; g'(a) = 1 or exp(a) (Clevert, Unterthiner and Hochreiter 2016, alpha = 1).

    `a` (...) to (...), the same shape, above -1.

    >>> elu(jnp.array([-10000.0, 0.0, 3.0])).tolist()
    [-1.0, 0.0, 3.0]
    """
    return jax.nn.elu(a)


def gelu(a: ArrayLike) -> jax.Array:
    """g(a) = a Phi(a), g'(a) = Phi(a) + a phi(a), with the normal distribution Phi and its density phi (Hendrycks and Gimpel 2016).

    `a` (...) to (...), the same shape. Phi(a) = (1 + erf(a / sqrt 2)) / 2 exactly, not its tanh approximation.

    >>> gelu(jnp.array([-10000.0, 0.0, 10000.0])).tolist()
    [-0.0, 0.0, 10000.0]
    """
    return jax.nn.gelu(a, approximate=False)


def silu(a: ArrayLike) -> jax.Array:
    """g(a) = a s, g'(a) = s (1 + a (1 - s)), s = sigmoid(a); also called swish (Elfwing, Uchibe and Doya 2018).

    `a` (...) to (...), the same shape.

    >>> silu(jnp.array([-10000.0, 0.0, 10000.0])).tolist()
    [-0.0, 0.0, 10000.0]
    """
    return jax.nn.silu(a)


def softplus(a: ArrayLike) -> jax.Array:
    """g(a) = log(1 + exp(a)), g'(a) = sigmoid(a): a smooth ReLU, always positive (Dugas et al. 2001).

    `a` (...) to (...), the same shape.

    >>> softplus(jnp.array([-10000.0, 10000.0])).tolist()
    [0.0, 10000.0]
    """
    return jax.nn.softplus(a)


def exponential(a: ArrayLike) -> jax.Array:
    """g(a) = g'(a) = exp(a): a rate that is positive by construction, for counts.

    `a` (...) to (...), the same shape. It overflows beyond a = 88 in float32; the Poisson loss therefore works on a.

    >>> exponential(jnp.zeros(2)).tolist()
    [1.0, 1.0]
    """
    return jnp.exp(a)


def softmax(a: ArrayLike) -> jax.Array:
    """g_i(a) = exp(a_i) / sum_j exp(a_j), dg_i/da_j = g_i (1_ij - g_j): class probabilities (Bridle 1990).

    `a` (..., K) to (..., K), not negative, each row summing to 1. The largest a is subtracted first, so nothing overflows.
    Raises ShapeError for a scalar.

    >>> softmax(jnp.array([0.0, 10000.0])).tolist()
    [0.0, 1.0]
    """
    return jax.nn.softmax(_with_units("softmax", a))


def log_softmax(a: ArrayLike) -> jax.Array:
    """g_i(a) = a_i - log sum_j exp(a_j), dg_i/da_j = 1_ij - softmax_j(a): log-probabilities, by log-sum-exp (Bridle 1990).

    `a` (..., K) to (..., K), at most 0. Raises ShapeError for a scalar.

    >>> log_softmax(jnp.array([0.0, 10000.0])).tolist()
    [-10000.0, 0.0]
    """
    return jax.nn.log_softmax(_with_units("log_softmax", a))


Function = Callable[[jax.Array], jax.Array]

ACTIVATIONS: dict[str, Function] = {
    "linear": linear, "step": step, "sign": sign, "sigmoid": sigmoid, "tanh": tanh, "relu": relu, "leaky_relu": leaky_relu, "elu": elu,
    "gelu": gelu, "silu": silu, "softplus": softplus, "exponential": exponential, "softmax": softmax, "log_softmax": log_softmax,
}


def activation(name: str) -> Function:
    """The function g of that name.

    Raises DeltaruleError for an unknown name, offering the nearest.

    >>> activation("tanh")(jnp.zeros(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    if not isinstance(name, str):
        raise DeltaruleError(f"an activation is named by a string, received {name!r}; write for example 'relu'")
    if name not in ACTIVATIONS:
        raise DeltaruleError(f"unknown activation {name!r}{nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def derivative(name: str) -> Function:
    """The slope g' of the activation of that name: a (...) to g'(a) (...).

    For softmax and log_softmax it is the Jacobian dg_i/da_j: a (..., K) to (..., K, K), i before j. Raises DeltaruleError
    for an unknown name and, when called, for integer pre-activations.

    >>> derivative("sigmoid")(jnp.array([-10.0, 0.0, 10.0]))
    Array([4.5395...e-05, 2.5000000e-01, 4.5...e-05], dtype=float32)
    >>> derivative("softmax")(jnp.zeros(2)).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    g = activation(name)

    def slope(a: ArrayLike) -> jax.Array:
        a = jnp.asarray(a)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            raise DeltaruleError(f"the derivative of {name} needs floating-point pre-activations, received {a.dtype}; use a.astype(float)")
        if name in ("softmax", "log_softmax"):
            return _jacobian(name, a)
        return jax.jvp(g, (a,), (jnp.ones_like(a),))[1]         # g'(a) times 1, element by element

    return slope


def _jacobian(name: str, a: jax.Array) -> jax.Array:
    p = softmax(a)                                              # (..., K)
    unit = jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), (*a.shape, a.shape[-1]))      # (..., K, K)
    change = unit - jnp.broadcast_to(p[..., None, :], unit.shape)                              # 1_ij - p_j
    return change if name == "log_softmax" else jnp.broadcast_to(p[..., :, None], unit.shape) * change


def _with_units(name: str, a: ArrayLike) -> jax.Array:
    a = jnp.asarray(a)
    if a.ndim == 0:
        raise ShapeError(f"{name} needs the units on the last axis (..., K), received a scalar; give an array of K numbers")
    return a
