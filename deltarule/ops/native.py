"""Convolutions by the C++ kernels, where they are ready and serve: float32, one group, a sequence or an image, on a CPU."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from deltarule import kernels


def serves(dtype: Any, groups: int, axes: int, pool: tuple[int, ...] = ()) -> bool:
    """Whether the kernels take this kind of convolution, with a pooling over windows of these sizes behind it; the first question compiles them.

    >>> serves(jnp.float64, groups=1, axes=2), serves(jnp.float32, groups=2, axes=2), serves(jnp.float32, groups=1, axes=3)
    (False, False, False)
    """
    takes = dtype == jnp.float32 and groups == 1 and axes <= 2 and math.prod(pool) <= kernels.WINDOW
    return bool(takes and jax.default_backend() == "cpu" and kernels.kernels().ready)


def maps(x: jax.Array, K: jax.Array, at: Any, b: jax.Array | None = None, relu: bool = False,
         pool: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
    """h = g(convolution of x with K + b), g the identity or ReLU, pooled: (n, *space, C), (*kernel, C, F), (F,) to (n, *output, F).

    And which value of each pooled window was the largest, empty where nothing is pooled.
    """
    h, which = kernels.forward(_wide(x, 1), _wide(K, 0), b, _geometry(at, pool), relu)
    return _narrow(h, at), _narrow(which, at) if max(pool, default=1) > 1 else which


def inputs(y: jax.Array, K: jax.Array, at: Any) -> jax.Array:
    """dL/dx of a convolution from y = dL/dy: (n, *output, F), (*kernel, C, F) to (n, *space, C)."""
    return _narrow(kernels.backward(None, _wide(K, 0), None, None, _wide(y, 1), _geometry(at))[0], at)


def kernel(x: jax.Array, y: jax.Array, at: Any) -> jax.Array:
    """dL/dK of a convolution from y = dL/dy: (n, *space, C), (n, *output, F) to (*kernel, C, F)."""
    dK = kernels.backward(_wide(x, 1), None, None, None, _wide(y, 1), _geometry(at), bias=False)[1]
    return dK if len(at.space) == 2 else dK[0]


def gradients(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Any,
              pool: tuple[int, ...] = ()) -> tuple[jax.Array | None, jax.Array, jax.Array]:
    """dL/dx (None without K), dL/dK and dL/db of `maps` from dL/dh, in one pass; `h` where there was a ReLU, `which` where pooling."""
    wide = [None if value is None else _wide(value, 1) for value in (x, h, which)]
    dx, dK, db = kernels.backward(wide[0], None if K is None else _wide(K, 0), wide[1], wide[2], _wide(dh, 1), _geometry(at, pool))
    return None if K is None else _narrow(dx, at), dK if len(at.space) == 2 else dK[0], db


def _geometry(at: Any, pool: tuple[int, ...] = ()) -> kernels.Geometry:
    """The windows as the kernels take them; a sequence is an image of height 1."""
    one = (1,) * (2 - len(at.space))
    before = tuple(0 for _ in one) + tuple(first for first, _ in at.padding)
    return kernels.Geometry(one + at.space, one + at.kernel, one + at.output, before, one + at.stride, one + at.dilation,
                            one + pool if pool else (1, 1))


def _wide(values: jax.Array, axis: int) -> jax.Array:
    """Sequences and their kernels with a height of 1."""
    return values if values.ndim == 4 else jnp.expand_dims(values, axis)


def _narrow(values: jax.Array, at: Any) -> jax.Array:
    return values if len(at.space) == 2 else values[:, 0]
