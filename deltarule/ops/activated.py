"""Convolution, bias, ReLU or tanh, and pooling in one pass over the images, where the C++ kernels serve; elsewhere one after the other.

What is worked out between two of them then never leaves the cache: the values of a feature map are added to, bent and pooled while they
are there. Going back only the place of each window's largest value is known; means are taken apart with the values that they were made of.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.kernels import ACTIVATIONS as ACTIVATIONS
from deltarule.ops import activations, native
from deltarule.ops.convolution import Sides, Sizes, Windows, convolve, convolve_transposed, kernel_gradient
from deltarule.ops.pooling import Window, average_pool, max_pool

Maps = tuple[jax.Array, jax.Array, jax.Array]
Gradients = tuple[jax.Array | None, jax.Array, jax.Array | None]


class Behind(NamedTuple):
    """What follows the convolution: one of ACTIVATIONS, then windows of sizes `pool` side by side, their largest value or their mean."""

    activation: str
    pool: Sizes
    average: bool

    @property
    def pooled(self) -> bool:
        """Whether any window holds more than one value."""
        return max(self.pool) > 1


def convolve_activated(x: jax.Array, K: jax.Array, b: jax.Array | None, stride: Sizes, padding: Sides, dilation: Sizes,
                       activation: str = "linear", pool: Sizes | None = None, average: bool = False) -> jax.Array:
    """h = max over windows of g(convolve(x, K) + b), or with `average` their mean; g is one of ACTIVATIONS.

    The windows, of sizes `pool` (None: of 1), stand side by side.
    Shapes: x (n, *space, C), K (*kernel, C, F), b (F,) or None, h (n, *output, F), the output divided by the pool and rounded down.
    Backwards delta = dL/dh g'(a) at the first largest value of each window, zero elsewhere, or in equal parts to all values of a mean;
    db = sum delta; dK and dx follow from delta as for `convolve`.

    >>> x, K = jnp.array([1.0, 2.0, 4.0, 1.0, 1.0]).reshape(1, 5, 1), jnp.array([-1.0, 1.0]).reshape(2, 1, 1)
    >>> convolve_activated(x, K, jnp.array([0.5]), (1,), ((0, 0),), (1,), "relu")[0, :, 0].tolist()
    [1.5, 2.5, 0.0, 0.5]
    >>> convolve_activated(x, K, jnp.array([0.5]), (1,), ((0, 0),), (1,), "relu", pool=(2,))[0, :, 0].tolist()
    [2.5, 0.5]
    >>> convolve_activated(x, K, jnp.array([0.5]), (1,), ((0, 0),), (1,), "relu", pool=(2,), average=True)[0, :, 0].tolist()
    [2.0, 0.25]
    """
    at = Windows(x.shape[1:-1], K.shape[:-2], stride, padding, dilation, 1)
    behind = Behind(activation, pool or (1,) * (x.ndim - 2), average)
    if native.serves(x.dtype, 1, x.ndim - 2, behind.pool):
        return _in_one_pass(x, K, b, at, behind)[0]
    return _apart(x, K, b, at, behind)


def _apart(x: jax.Array, K: jax.Array, b: jax.Array | None, at: Windows, behind: Behind) -> jax.Array:
    """The equation as it stands."""
    a = convolve(x, K, at.stride, at.padding, at.dilation)
    a = a if b is None else a + jnp.broadcast_to(b, a.shape)
    h = activations.activation(behind.activation)(a)
    return h if not behind.pooled else (average_pool if behind.average else max_pool)(h, tuple(Window(size, size) for size in behind.pool))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _in_one_pass(x: jax.Array, K: jax.Array, b: jax.Array | None, at: Windows, behind: Behind) -> Maps:
    """h; which value of each pooled window was the largest (255: none, the ReLU was off); and what was averaged."""
    return native.maps(x, K, at, b, *behind)


def _forward(x: Any, K: Any, b: Any, at: Windows, behind: Behind) -> tuple[Maps, tuple[Any, ...]]:
    """K is kept only where somebody asks for dL/dx: not by the first layer of a network."""
    h, which, whole = _in_one_pass(x.value, K.value, None if b is None else b.value, at, behind)
    largest = behind.pooled and not behind.average
    seen = behind.activation == "linear" or (behind.activation == "relu" and largest)       # the way back needs no values
    bent = None if seen else whole if behind.pooled and behind.average else h
    return (h, which, whole), (x.value, K.value if x.perturbed else None, bent, which if largest else None, None if b is None else ())


def _backward(at: Windows, behind: Behind, kept: tuple[Any, ...], errors: tuple[Any, ...]) -> Gradients:
    """What was averaged has errors of its own only where somebody derives this way back once more."""
    dh, _, dwhole = errors
    x, K, h, which, biased = kept
    if isinstance(dh, jax.custom_derivatives.SymbolicZero):
        dh = jnp.zeros(dh.shape, dh.dtype)
    found = _gradients(x, K, h, which, dh, at, behind, biased is not None)
    if h is None or not behind.average or isinstance(dwhole, jax.custom_derivatives.SymbolicZero):
        return found
    alone = behind._replace(pool=(1,) * len(behind.pool))
    return jax.tree.map(jnp.add, found, _gradients(x, K, h, None, dwhole, at, alone, biased is not None))


_in_one_pass.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def _gradients(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Windows,
               behind: Behind, biased: bool) -> Gradients:
    """dL/dx (None without K), dL/dK, dL/db (None without b) from dL/dh; `h` where the activation is seen there, `which` for maxima."""
    return native.gradients(x, K, h, which, dh, at, behind.pool, biased, behind.activation, behind.average)


def _gradients_apart(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Windows,
                     behind: Behind, biased: bool) -> Gradients:
    means = behind.pooled and behind.average
    delta = _spread(dh / dh.dtype.type(math.prod(behind.pool)), None, at.output, behind.pool) if means else dh
    if h is not None:
        delta = delta * (1 - jnp.square(h)) if behind.activation == "tanh" else jnp.where(h > 0, delta, jnp.zeros_like(delta))
    delta = delta if which is None else _spread(delta, which, at.output, behind.pool)
    dx = None if K is None else convolve_transposed(delta, K, at.space, at.stride, at.padding, at.dilation)
    return dx, kernel_gradient(x, delta, at), jnp.sum(delta, axis=tuple(range(delta.ndim - 1))) if biased else None


def _spread(dh: jax.Array, which: jax.Array | None, output: Sizes, pool: Sizes) -> jax.Array:
    """dL/dh of every window where its largest value was, or without `which` everywhere; else zero: (n, *pooled, F) to (n, *output, F)."""
    delta = jnp.zeros((dh.shape[0], *output, dh.shape[-1]), dh.dtype)
    for number, place in enumerate(itertools.product(*map(range, pool))):
        part = dh if which is None else jnp.where(which == number, dh, jnp.zeros_like(dh))
        edges = [(i, H - i - (out - 1) * size - 1, size - 1) for i, H, out, size in zip(place, output, dh.shape[1:-1], pool, strict=True)]
        delta = delta + lax.pad(part, jnp.zeros((), dh.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return delta


def _gradients_backward(at: Windows, behind: Behind, biased: bool, kept: tuple[Any, ...], found: Gradients) -> tuple[Any, ...]:
    return jax.vjp(lambda x, K, h, which, dh: _gradients_apart(x, K, h, which, dh, at, behind, biased), *kept)[1](found)


_gradients.defvjp(lambda x, K, h, which, dh, at, behind, biased: (_gradients(x, K, h, which, dh, at, behind, biased),
                                                                  (x, K, h, which, dh)), _gradients_backward)
