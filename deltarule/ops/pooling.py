"""Pooling: each window of a feature map becomes one number, its maximum or its mean (lecture row 30), fast forward and backward.

Arrays are x (n, *space, channels), with any number of axes of space. XLA's own windows (reduce_window) pass their errors back slowly on a
CPU, so a window is taken apart into its positions: position o of every window at once is one strided slice of x, and the maximum of
all windows is the elementwise maximum of these slices. Windows that overlap are pooled along one axis after the other, which takes k + k
slices in place of k k: the maximum over a box is the maximum along one axis of the maxima along the other, and so is the mean.
Where the C++ kernels are ready they serve instead (`native`).
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.ops import native


class Window(NamedTuple):
    """A window along one axis of space: its `size` and `stride`, and the padding before and after, which never counts."""

    size: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0


Windows = tuple[Window, ...]        # one for each axis of space


def max_pool(x: jax.Array, windows: Windows) -> jax.Array:
    """y[o] = max over the window at o of x; in the backward pass its error goes to the first of its largest values.

    x (n, *space, channels), y (n, *output, channels); every window must hold at least one value that is not padding.

    >>> max_pool(jnp.array([[[1.0], [3.0], [2.0], [0.0]]]), (Window(2, 2),))[0, :, 0].tolist()
    [3.0, 2.0]
    """
    if native.pools(x.dtype, windows):
        return _pooled(x, windows, True)[0]
    for part in _passes(windows):
        x = _max(x, part)
    return x


def average_pool(x: jax.Array, windows: Windows) -> jax.Array:
    """y[o] = mean over the window at o of x, of the values that are there. Shapes are those of `max_pool`.

    >>> average_pool(jnp.array([[[1.0], [3.0], [2.0], [0.0]]]), (Window(2, 2),))[0, :, 0].tolist()
    [2.0, 1.0]
    """
    return _pooled(x, windows, False)[0] if native.pools(x.dtype, windows) else _mean(x, windows)


def _mean(x: jax.Array, windows: Windows) -> jax.Array:
    for part in _passes(windows):
        padded = _padded(x, part, 0.0)
        total = functools.reduce(jnp.add, (_slice(padded, o, part) for o in _positions(part)))
        x = total / jnp.broadcast_to(_counts(x.shape, part).astype(x.dtype), total.shape)
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def first_max(x: jax.Array, axis: int) -> jax.Array:
    """The maximum along a whole axis, which disappears; in the backward pass its error goes to the first of the largest values.

    >>> jax.grad(lambda x: first_max(x, 0))(jnp.array([1.0, 3.0, 3.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    return jnp.max(x, axis)


def _first_max_forward(x: jax.Array, axis: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = first_max(x, axis)
    return y, (x, y)


def _first_max_backward(axis: int, kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    """dx[i] = dy where i is the first place of the maximum, 0 elsewhere."""
    x, y = kept
    i = lax.broadcasted_iota(np.int32, x.shape, axis)
    first = jnp.min(jnp.where(x == jnp.expand_dims(y, axis), i, np.int32(x.shape[axis])), axis, keepdims=True)
    return (jnp.where(i == first, jnp.expand_dims(dy, axis), jnp.zeros_like(x)),)


first_max.defvjp(_first_max_forward, _first_max_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max(x: jax.Array, windows: Windows) -> jax.Array:
    """y = the elementwise maximum of the slices."""
    padded = _padded(x, windows, -math.inf)
    return functools.reduce(jnp.maximum, (_slice(padded, o, windows) for o in _positions(windows)))


def _max_forward(x: jax.Array, windows: Windows) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _max(x, windows)
    return y, (x, y)


def _max_backward(windows: Windows, kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    """dx = sum over positions o of dy, put back to where it came from, where slice o is the first that equals y."""
    x, y = kept
    padded, dx, free = _padded(x, windows, -math.inf), jnp.zeros_like(x), jnp.ones(y.shape, bool)
    for o in _positions(windows):
        equal = _slice(padded, o, windows) == y
        dx = dx + _put_back(jnp.where(equal & free, dy, jnp.zeros_like(dy)), o, windows, x.shape)
        free = free & ~equal
    return (dx,)


_max.defvjp(_max_forward, _max_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pooled(x: jax.Array, windows: Windows, largest: bool) -> tuple[jax.Array, jax.Array]:
    """By the C++ kernels: the maximum, or the mean, of every window, and which of its values was the largest (for the mean: empty)."""
    return native.pooled(x, windows, largest)


def _pooled_forward(x: jax.Array, windows: Windows, largest: bool) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    y, which = _pooled(x, windows, largest)
    return (y, which), (which, jnp.zeros((0, *x.shape[1:-1], 0), x.dtype))       # an empty array that has the space of x


def _pooled_backward(windows: Windows, largest: bool, kept: tuple[jax.Array, jax.Array], dy: tuple[jax.Array, Any]) -> tuple[jax.Array]:
    which, space = kept
    return (_unpooled(which if largest else None, dy[0], windows, space.shape[1:-1]),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _unpooled(which: jax.Array | None, dy: jax.Array, windows: Windows, space: tuple[int, ...]) -> jax.Array:
    """dL/dx (n, *space, channels) from dL/dy; linear in dL/dy, and the pooling of what comes back through it the other way round."""
    return native.unpooled(which, dy, windows, space)


def _picked(which: jax.Array | None, dx: jax.Array, windows: Windows) -> jax.Array:
    """The transpose of `_unpooled`: of every window the value that `which` names, or the mean."""
    if which is None:
        return _mean(dx, windows)
    padded, nothing = _padded(dx, windows, 0.0), jnp.zeros((), dx.dtype)
    return functools.reduce(jnp.add, (jnp.where(which == number, _slice(padded, o, windows), nothing)
                                      for number, o in enumerate(_positions(windows))))


_pooled.defvjp(_pooled_forward, _pooled_backward)
_unpooled.defvjp(lambda which, dy, windows, space: (_unpooled(which, dy, windows, space), which),
                 lambda windows, space, which, dx: (None, _picked(which, dx, windows)))


def _passes(windows: Windows) -> Iterator[Windows]:
    """All axes at once where no windows overlap; else one axis after the other, the last first, which keeps the order of equal maxima."""
    if all(window.size <= window.stride for window in windows):
        yield windows
        return
    for axis in reversed(range(len(windows))):
        yield (*[Window()] * axis, windows[axis], *[Window()] * (len(windows) - axis - 1))


def _positions(windows: Windows) -> Iterator[tuple[int, ...]]:
    """The positions in a window, row by row."""
    return itertools.product(*(range(window.size) for window in windows))


def _padded(x: jax.Array, windows: Windows, value: float) -> jax.Array:
    return lax.pad(x, np.asarray(value, x.dtype), [(0, 0, 0), *((w.before, w.after, 0) for w in windows), (0, 0, 0)])


def _slice(padded: jax.Array, o: tuple[int, ...], windows: Windows) -> jax.Array:
    """Position o of every window."""
    stops = [H - w.size + i + 1 for H, w, i in zip(padded.shape[1:-1], windows, o, strict=True)]
    return lax.slice(padded, (0, *o, 0), (padded.shape[0], *stops, padded.shape[-1]), (1, *(w.stride for w in windows), 1))


def _put_back(values: jax.Array, o: tuple[int, ...], windows: Windows, shape: tuple[int, ...]) -> jax.Array:
    """The inverse of padding and slicing: zeros of `shape`, with the values where they came from; what came from the padding is dropped."""
    edges = []
    for H, out, w, i in zip(shape[1:-1], values.shape[1:-1], windows, o, strict=True):
        first = i - w.before
        edges.append((first, H - first - (out - 1) * w.stride - 1, w.stride - 1))
    return lax.pad(values, np.zeros((), values.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _counts(shape: tuple[int, ...], windows: Windows) -> np.ndarray:
    """(1, *output, 1): how many values each window holds that are not padding."""
    counts = np.ones((1,) * len(shape))
    for axis, (H, w) in enumerate(zip(shape[1:-1], windows, strict=True), start=1):
        starts = np.arange(0, H + w.before + w.after - w.size + 1, w.stride) - w.before
        along = np.minimum(starts + w.size, H) - np.maximum(starts, 0)
        counts = counts * along.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return counts
