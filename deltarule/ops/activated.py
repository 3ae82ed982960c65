"""Convolution, bias, ReLU and max pooling in one pass over the images, where the C++ kernels serve; elsewhere one after the other.

What is worked out between two of them then never leaves the cache: the values of a feature map are added to, cut off and pooled while they
are there, and going back only the place of each window's largest value is known.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.ops import native
from deltarule.ops.convolution import Sides, Sizes, Windows, convolve, convolve_transposed, kernel_gradient
from deltarule.ops.pooling import Window, max_pool

Gradients = tuple[jax.Array | None, jax.Array, jax.Array | None]


def convolve_activated(x: jax.Array, K: jax.Array, b: jax.Array | None, stride: Sizes, padding: Sides, dilation: Sizes, relu: bool = False,
                       pool: Sizes | None = None) -> jax.Array:
    """h = max over windows of g(convolve(x, K) + b), with g the identity or ReLU, windows of sizes `pool` side by side (None: of 1).

    Shapes: x (n, *space, C), K (*kernel, C, F), b (F,) or None, h (n, *output, F), the output divided by the pool and rounded down.
    Backwards delta = dL/dh at the first largest value of each window, zero elsewhere and where the ReLU was off; db = sum delta; dK and
    dx follow from delta as for `convolve`.

    >>> x, K = jnp.array([1.0, 2.0, 4.0, 1.0, 1.0]).reshape(1, 5, 1), jnp.array([-1.0, 1.0]).reshape(2, 1, 1)
    >>> convolve_activated(x, K, jnp.array([0.5]), (1,), ((0, 0),), (1,), relu=True)[0, :, 0].tolist()
    [1.5, 2.5, 0.0, 0.5]
    >>> convolve_activated(x, K, jnp.array([0.5]), (1,), ((0, 0),), (1,), relu=True, pool=(2,))[0, :, 0].tolist()
    [2.5, 0.5]
    """
    at, pool = Windows(x.shape[1:-1], K.shape[:-2], stride, padding, dilation, 1), pool or (1,) * (x.ndim - 2)
    if native.serves(x.dtype, 1, x.ndim - 2, pool):
        return _in_one_pass(x, K, b, at, relu, pool)[0]
    return _apart(x, K, b, at, relu, pool)


def _apart(x: jax.Array, K: jax.Array, b: jax.Array | None, at: Windows, relu: bool, pool: Sizes) -> jax.Array:
    """The equation as it stands."""
    a = convolve(x, K, at.stride, at.padding, at.dilation)
    a = a if b is None else a + jnp.broadcast_to(b, a.shape)
    h = jnp.maximum(a, 0) if relu else a
    return h if max(pool) == 1 else max_pool(h, tuple(Window(size, size) for size in pool))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _in_one_pass(x: jax.Array, K: jax.Array, b: jax.Array | None, at: Windows, relu: bool, pool: Sizes) -> tuple[jax.Array, jax.Array]:
    """h, and which value of each pooled window was the largest (255: none, the ReLU was off)."""
    return native.maps(x, K, at, b, relu, pool)


def _forward(x: Any, K: Any, b: Any, at: Windows, relu: bool, pool: Sizes) -> tuple[tuple[jax.Array, jax.Array], tuple[Any, ...]]:
    """K is kept only where somebody asks for dL/dx: not by the first layer of a network."""
    h, which = _in_one_pass(x.value, K.value, None if b is None else b.value, at, relu, pool)
    pooled = max(pool) > 1
    biased = None if b is None else ()
    return (h, which), (x.value, K.value if x.perturbed else None, h if relu and not pooled else None, which if pooled else None, biased)


def _backward(at: Windows, relu: bool, pool: Sizes, kept: tuple[Any, ...], errors: tuple[Any, Any]) -> tuple[Any, ...]:
    dh = errors[0]
    if isinstance(dh, jax.custom_derivatives.SymbolicZero):
        dh = jnp.zeros(dh.shape, dh.dtype)
    x, K, h, which, biased = kept
    return _gradients(x, K, h, which, dh, at, pool, biased is not None)


_in_one_pass.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def _gradients(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Windows,
               pool: Sizes, biased: bool) -> Gradients:
    """dL/dx (None without K), dL/dK, dL/db (None without b) from dL/dh; `h` where there was a ReLU, `which` where there was pooling."""
    return native.gradients(x, K, h, which, dh, at, pool, biased)


def _gradients_apart(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Windows,
                     pool: Sizes, biased: bool) -> Gradients:
    delta = dh if h is None else jnp.where(h > 0, dh, jnp.zeros_like(dh))
    delta = delta if which is None else _spread(delta, which, at.output, pool)
    dx = None if K is None else convolve_transposed(delta, K, at.space, at.stride, at.padding, at.dilation)
    return dx, kernel_gradient(x, delta, at), jnp.sum(delta, axis=tuple(range(delta.ndim - 1))) if biased else None


def _spread(dh: jax.Array, which: jax.Array, output: Sizes, pool: Sizes) -> jax.Array:
    """dL/dh of every window where its largest value was, zero elsewhere: (n, *pooled, F) to (n, *output, F)."""
    delta = jnp.zeros((dh.shape[0], *output, dh.shape[-1]), dh.dtype)
    for number, place in enumerate(itertools.product(*map(range, pool))):
        part = jnp.where(which == number, dh, jnp.zeros_like(dh))
        edges = [(i, H - i - (out - 1) * size - 1, size - 1) for i, H, out, size in zip(place, output, dh.shape[1:-1], pool, strict=True)]
        delta = delta + lax.pad(part, jnp.zeros((), dh.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return delta


def _gradients_backward(at: Windows, pool: Sizes, biased: bool, kept: tuple[Any, ...], found: Gradients) -> tuple[Any, ...]:
    return jax.vjp(lambda x, K, h, which, dh: _gradients_apart(x, K, h, which, dh, at, pool, biased), *kept)[1](found)


_gradients.defvjp(lambda x, K, h, which, dh, at, pool, biased: (_gradients(x, K, h, which, dh, at, pool, biased), (x, K, h, which, dh)),
                  _gradients_backward)
