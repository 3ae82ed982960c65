"""Batch normalization with its own backward pass, in C++ kernels where they serve (lecture row 23)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from deltarule import kernels
from deltarule.ops import native

Moments = tuple[jax.Array, jax.Array]
Normed = tuple[jax.Array, jax.Array, jax.Array]     # y, mu, sigma^2


def batch_norm(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, epsilon: float, relu: bool = False,
               plus: jax.Array | None = None) -> Normed:
    """y = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta; mu and sigma^2 of each channel over all images and positions.

    With `relu` y = max(gamma x_hat + beta + plus, 0), where `plus` is what a shortcut brings, or None.
    Shapes: x, plus and y (n, ..., C), gamma, beta, mu, sigma^2 (C,). `counted` (n,) is False for images that must not enter mu and sigma^2.
    Returns y, mu and sigma^2; errors come back through y alone. With x_hat = (x - mu) / sigma, m values of a channel that count, dy zero
    where the ReLU was off: dbeta = sum dy, dgamma = sum dy x_hat, dx = gamma / sigma (dy - dbeta / m - x_hat dgamma / m), dplus = dy
    (Ioffe and Szegedy 2015).

    >>> x = jnp.array([[[1.0], [3.0]], [[10.0], [10.0]]])
    >>> y, mu, variance = batch_norm(x, jnp.ones(1), jnp.zeros(1), jnp.array([True, False]), 0.0)
    >>> y[:, :, 0].tolist(), mu.tolist(), variance.tolist()
    ([[-1.0, 1.0], [8.0, 8.0]], [2.0], [1.0])
    """
    if native.runs(x.dtype) and x.ndim > 2 and (relu or plus is None):
        return _in_one_pass(x, gamma, beta, counted, plus, epsilon, relu)
    return _as_it_stands(x, gamma, beta, counted, plus, epsilon, relu)


def normalized(x: jax.Array, mu: jax.Array, variance: jax.Array, epsilon: float) -> jax.Array:
    """x_hat = (x - mu) / sqrt(sigma^2 + epsilon), mu and sigma^2 of the shape of x."""
    return (x - mu) / jnp.sqrt(variance + epsilon)


def _as_it_stands(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, plus: jax.Array | None, epsilon: float,
                  relu: bool) -> Normed:
    mu, variance = moments(x, counted)
    x_hat = normalized(x, jnp.broadcast_to(mu, x.shape), jnp.broadcast_to(variance, x.shape), epsilon)
    y = jnp.broadcast_to(gamma, x.shape) * x_hat + jnp.broadcast_to(beta, x.shape)
    y = y if plus is None else y + plus
    return jnp.maximum(y, 0) if relu else y, jax.lax.stop_gradient(mu), jax.lax.stop_gradient(variance)


def moments(x: jax.Array, counted: jax.Array | None) -> Moments:
    """mu and sigma^2 (C,) of each channel over all images that count and all positions.

    The first sum is off by its rounding, which is the mean of the differences from it: nothing is lost where mu is large beside sigma.
    """
    one_each = (x.shape[0],) + (1,) * (x.ndim - 1)
    present = jnp.ones(one_each, x.dtype) if counted is None else counted.astype(x.dtype).reshape(one_each)
    share = present / (jnp.maximum(jnp.sum(present), 1) * x[0, ..., 0].size)
    axes = tuple(range(x.ndim - 1))
    about = jnp.sum(share * x, axis=axes)
    apart = x - jnp.broadcast_to(about, x.shape)
    off = jnp.sum(share * apart, axis=axes)
    return about + off, jnp.sum(share * jnp.square(apart), axis=axes) - jnp.square(off)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _in_one_pass(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, plus: jax.Array | None, epsilon: float,
                 relu: bool) -> Normed:
    return kernels.norm_forward(x, gamma, beta, counted, plus, epsilon, relu)


def _forward(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, plus: jax.Array | None, epsilon: float,
             relu: bool) -> tuple[Normed, tuple[Any, ...]]:
    y, mu, variance = _in_one_pass(x, gamma, beta, counted, plus, epsilon, relu)
    return (y, mu, variance), (x, gamma, beta, counted, plus, mu, variance, y if plus is not None else None)


def _backward(epsilon: float, relu: bool, kept: tuple[Any, ...], dy: Normed) -> tuple[Any, ...]:
    x, gamma, beta, counted, plus, mu, variance, y = kept
    dx, dgamma, dbeta, dplus = _gradients(x, gamma, beta, counted, plus, mu, variance, y, dy[0], epsilon, relu)
    return dx, dgamma, dbeta, None, dplus


@functools.partial(jax.custom_vjp, nondiff_argnums=(9, 10))
def _gradients(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, plus: jax.Array | None, mu: jax.Array,
               variance: jax.Array, y: jax.Array | None, dy: jax.Array, epsilon: float, relu: bool) -> tuple[jax.Array | None, ...]:
    return kernels.norm_backward(x, gamma, beta, counted, mu, variance, y, dy, epsilon, relu)


def _gradients_backward(epsilon: float, relu: bool, kept: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    x, gamma, beta, counted, plus, y, dy = kept

    def gradients(x: jax.Array, gamma: jax.Array, beta: jax.Array, plus: jax.Array | None, dy: jax.Array) -> Any:
        def normed(x: jax.Array, gamma: jax.Array, beta: jax.Array, plus: jax.Array | None) -> jax.Array:
            return _as_it_stands(x, gamma, beta, counted, plus, epsilon, relu)[0]

        return jax.vjp(normed, x, gamma, beta, plus)[1](dy)

    dx, dgamma, dbeta, dplus, ddy = jax.vjp(gradients, x, gamma, beta, plus, dy)[1](found)
    return dx, dgamma, dbeta, None, dplus, jnp.zeros_like(gamma), jnp.zeros_like(gamma), None if y is None else jnp.zeros_like(y), ddy


_in_one_pass.defvjp(_forward, _backward)
_gradients.defvjp(lambda x, gamma, beta, counted, plus, mu, variance, y, dy, epsilon, relu: (
    _gradients(x, gamma, beta, counted, plus, mu, variance, y, dy, epsilon, relu), (x, gamma, beta, counted, plus, y, dy)),
    _gradients_backward)


def layer_norm(x: jax.Array, gamma: jax.Array, beta: jax.Array, epsilon: float) -> jax.Array:
    """y = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta; mu and sigma^2 of each row (Ba, Kiros and Hinton 2016).

    Shapes: x and y (..., C), gamma and beta (C,). With d = gamma dy and x_hat = (x - mu) / sigma:
    dx = (d - mean d - x_hat mean(d x_hat)) / sigma, dgamma = sum dy x_hat, dbeta = sum dy.

    >>> layer_norm(jnp.array([[1.0, 3.0], [10.0, 30.0]]), jnp.ones(2), jnp.zeros(2), 1e-5).round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    return _rows_in_one_pass(x, gamma, beta, epsilon) if native.runs(x.dtype) else _rows_as_they_stand(x, gamma, beta, epsilon)


def row_moments(x: jax.Array) -> Moments:
    """mu and sigma^2 of each row, (..., 1)."""
    mu = jnp.mean(x, axis=-1, keepdims=True)
    return mu, jnp.mean(jnp.square(x - mu), axis=-1, keepdims=True)


def _rows_as_they_stand(x: jax.Array, gamma: jax.Array, beta: jax.Array, epsilon: float) -> jax.Array:
    return jnp.broadcast_to(gamma, x.shape) * normalized(x, *row_moments(x), epsilon) + jnp.broadcast_to(beta, x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _rows_in_one_pass(x: jax.Array, gamma: jax.Array, beta: jax.Array, epsilon: float) -> jax.Array:
    return kernels.layer_norm_forward(x, gamma, beta, epsilon)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _row_gradients(x: jax.Array, gamma: jax.Array, dy: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    return kernels.layer_norm_backward(x, gamma, dy, epsilon)


def _row_gradients_backward(epsilon: float, kept: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    def gradients(x: jax.Array, gamma: jax.Array, dy: jax.Array) -> Any:
        return jax.vjp(lambda x, gamma, beta: _rows_as_they_stand(x, gamma, beta, epsilon), x, gamma, jnp.zeros_like(gamma))[1](dy)

    return jax.vjp(gradients, *kept)[1](found)


_rows_in_one_pass.defvjp(lambda x, gamma, beta, epsilon: (_rows_in_one_pass(x, gamma, beta, epsilon), (x, gamma)),
                         lambda epsilon, kept, dy: _row_gradients(*kept, dy, epsilon))
_row_gradients.defvjp(lambda *given: (_row_gradients(*given), given[:3]), _row_gradients_backward)
