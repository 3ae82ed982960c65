"""Convolutions and poolings by the C++ kernels, where they are ready and serve: float32, a sequence or an image, on a CPU."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deltarule import kernels


def serves(dtype: Any, groups: int, axes: int, pool: tuple[int, ...] = ()) -> bool:
    """Whether the kernels take this kind of convolution, with a pooling over windows of these sizes behind it.

    >>> serves(jnp.float64, groups=1, axes=2), serves(jnp.float32, groups=2, axes=2), serves(jnp.float32, groups=1, axes=3)
    (False, False, False)
    """
    return groups == 1 and axes <= 2 and math.prod(pool) <= kernels.WINDOW and runs(dtype)


def runs(dtype: Any, *sources: str) -> bool:
    """Whether there are kernels of these sources (of all, where none is named) for numbers of this kind, here; the first question
    compiles them.
    """
    return bool(dtype == jnp.float32 and jax.default_backend() == "cpu" and kernels.kernels(*sources).ready)


def maps(x: jax.Array, K: jax.Array, at: Any, b: jax.Array | None = None, activation: str = "linear", pool: tuple[int, ...] = (),
         average: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
    """h = g(convolution of x with K + b), pooled: (n, *space, C), (*kernel, C, F), (F,) to (n, *output, F).

    And which value of each pooled window was the largest, and what was averaged, if g has a slope; empty where there is no such thing.
    """
    h, which, whole = kernels.forward(_wide(x, 1), _wide(K, 0), b, _geometry(at, pool), activation, average)
    which, whole = (_narrow(kept, at) if kept.size else kept for kept in (which, whole))
    return _narrow(h, at), which, whole


def inputs(y: jax.Array, K: jax.Array, at: Any) -> jax.Array:
    """dL/dx of a convolution from y = dL/dy: (n, *output, F), (*kernel, C, F) to (n, *space, C)."""
    return _narrow(kernels.backward(None, _wide(K, 0), None, None, _wide(y, 1), _geometry(at))[0], at)


def kernel(x: jax.Array, y: jax.Array, at: Any) -> jax.Array:
    """dL/dK of a convolution from y = dL/dy: (n, *space, C), (n, *output, F) to (*kernel, C, F)."""
    dK = kernels.backward(_wide(x, 1), None, None, None, _wide(y, 1), _geometry(at), bias=False)[1]
    return dK if len(at.space) == 2 else dK[0]


def gradients(x: jax.Array, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Any,
              pool: tuple[int, ...] = (), biased: bool = True, activation: str = "relu",
              average: bool = False) -> tuple[jax.Array | None, jax.Array, jax.Array | None]:
    """dL/dx (None without K), dL/dK and dL/db (None unless biased) of `maps` from dL/dh.

    `h` is what the slope of the activation is known from, its values before an average and behind a maximum; `which` goes with a maximum.
    """
    wide = [None if value is None else _wide(value, 1) for value in (x, h, which)]
    dx, dK, db = kernels.backward(wide[0], None if K is None else _wide(K, 0), wide[1], wide[2], _wide(dh, 1), _geometry(at, pool),
                                  biased, activation, average)
    return None if K is None else _narrow(dx, at), dK if len(at.space) == 2 else dK[0], db if biased else None


def pools(dtype: Any, windows: Any) -> bool:
    """Whether the kernels take a pooling over these windows (size, stride, padding before and after, for each axis)."""
    return len(windows) <= 2 and math.prod(window.size for window in windows) <= kernels.WINDOW and runs(dtype)


def pooled(x: jax.Array, windows: Any, largest: bool) -> tuple[jax.Array, jax.Array]:
    """The maximum of every window and which value it was, or the mean: (n, *space, C) to (n, *output, C)."""
    y, which = kernels.pool_forward(_wide(x, 1), _pool_geometry(windows, x.shape[1:-1]), largest)
    return (y, which) if len(windows) == 2 else (y[:, 0], which[:, 0] if largest else which)


def unpooled(which: jax.Array | None, dy: jax.Array, windows: Any, space: tuple[int, ...]) -> jax.Array:
    """dL/dx (n, *space, C) from dL/dy (n, *output, C), and what `pooled` says of the largest values."""
    dx = kernels.pool_backward(None if which is None else _wide(which, 1), _wide(dy, 1), _pool_geometry(windows, space))
    return dx if len(windows) == 2 else dx[:, 0]


def _pool_geometry(windows: Any, space: tuple[int, ...]) -> kernels.PoolGeometry:
    output = [(H + w.before + w.after - w.size) // w.stride + 1 for H, w in zip(space, windows, strict=True)]
    settings = space, [w.size for w in windows], output, [w.before for w in windows], [w.stride for w in windows]
    return kernels.PoolGeometry(*(_pair(values, first) for values, first in zip(settings, (1, 1, 1, 0, 1), strict=True)))


def _geometry(at: Any, pool: tuple[int, ...] = ()) -> kernels.Geometry:
    """The windows as the kernels take them; a sequence is an image of height 1."""
    settings = at.space, at.kernel, at.output, [before for before, _ in at.padding], at.stride, at.dilation, pool or (1,) * len(at.space)
    return kernels.Geometry(*(_pair(values, first) for values, first in zip(settings, (1, 1, 1, 0, 1, 1, 1), strict=True)))


def _pair(values: Sequence[int], first: int) -> tuple[int, int]:
    """A setting for each of two axes; a sequence has `first` along the other one."""
    return (values[0], values[1]) if len(values) == 2 else (first, values[0])


def _wide(values: jax.Array, axis: int) -> jax.Array:
    """Sequences and their kernels with a height of 1."""
    return values if values.ndim == 4 else jnp.expand_dims(values, axis)


def _narrow(values: jax.Array, at: Any) -> jax.Array:
    return values if len(at.space) == 2 else values[:, 0]
