"""Pooling: each window of a feature map becomes one number, its maximum or its mean (lecture row 30).

Shapes, channels last: x (n, *space, channels), y (n, *output, channels), with 1, 2 or 3 axes of space. Padding never counts: the
maximum is over, and the mean divides by, the values that are there.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.arrays import Array, expect_shape, floats
from deltarule.textbook.windows import Windows, windows


def max_pool(x: ArrayLike, window: Any, stride: Any = None, padding: Any = "valid", rounding: str = "floor") -> Array:
    """y[o] = max over the window of x (Baron, Basics; row 30).

    `window` and `stride` (the window unless given) are numbers or one for each axis; see `windows` for padding and rounding.
    Raises ShapeError where they do not fit x, DeltaruleError where a window does not fit or covers padding only.

    >>> max_pool([[[1.0], [3.0], [2.0], [0.0]]], window=2)[0, :, 0]
    array([3., 2.])
    """
    x, at = _checked(x, window, stride, padding, rounding)
    padded = at.pad(x, -np.inf)
    y = np.empty((len(x), *at.output, x.shape[-1]))
    for o, w in at.positions():
        y[o] = np.max(padded[w], axis=_space(x))
    return y


def max_pool_backward(x: ArrayLike, dy: ArrayLike, window: Any, stride: Any = None, padding: Any = "valid",
                      rounding: str = "floor") -> Array:
    """dL/dx: the error of each window goes to its largest value (the first of them where several are equal).

    `dy` is dL/dy (n, *output, channels); settings and errors are those of `max_pool`.

    >>> max_pool_backward([[[1.0], [3.0], [2.0], [0.0]]], np.array([[[5.0], [7.0]]]), window=2)[0, :, 0]
    array([0., 5., 7., 0.])
    """
    x, at = _checked(x, window, stride, padding, rounding)
    dy = expect_shape("dL/dy", floats("dL/dy", dy), (len(x), *at.output, x.shape[-1]))
    padded = at.pad(x, -np.inf)
    dpadded = np.zeros_like(padded)
    n, c = np.indices((len(x), x.shape[-1]))
    for o, w in at.positions():
        patch = padded[w].reshape(len(x), -1, x.shape[-1])                      # (n, values in the window, channels)
        share = np.zeros_like(patch)
        share[n, np.argmax(patch, axis=1), c] = dy[o]
        dpadded[w] += share.reshape(padded[w].shape)
    return at.crop(dpadded)


def average_pool(x: ArrayLike, window: Any, stride: Any = None, padding: Any = "valid", rounding: str = "floor") -> Array:
    """y[o] = mean over the window of x (Baron, Basics; row 30). Settings and errors are those of `max_pool`.

    >>> average_pool([[[1.0], [3.0], [2.0], [0.0]]], window=2)[0, :, 0]
    array([2., 1.])
    """
    x, at = _checked(x, window, stride, padding, rounding)
    padded, there = at.pad(x), at.pad(np.ones_like(x))
    y = np.empty((len(x), *at.output, x.shape[-1]))
    for o, w in at.positions():
        y[o] = np.sum(padded[w], axis=_space(x)) / np.sum(there[w], axis=_space(x))
    return y


def average_pool_backward(x: ArrayLike, dy: ArrayLike, window: Any, stride: Any = None, padding: Any = "valid",
                          rounding: str = "floor") -> Array:
    """dL/dx: the error of each window is shared evenly by its values. Settings and errors are those of `max_pool_backward`.

    >>> average_pool_backward(np.zeros((1, 4, 1)), np.array([[[5.0], [7.0]]]), window=2)[0, :, 0]
    array([2.5, 2.5, 3.5, 3.5])
    """
    x, at = _checked(x, window, stride, padding, rounding)
    dy = expect_shape("dL/dy", floats("dL/dy", dy), (len(x), *at.output, x.shape[-1]))
    there = at.pad(np.ones_like(x))
    dpadded = np.zeros_like(there)
    for o, w in at.positions():
        count = np.sum(there[w], axis=_space(x), keepdims=True)                 # (n, 1, ..., channels)
        dpadded[w] += there[w] / count * dy[o].reshape(count.shape)
    return at.crop(dpadded)


def global_average_pool(x: ArrayLike) -> Array:
    """y = mean over all of space: (n, *space, channels) to (n, channels). Raises ShapeError without an axis of space.

    >>> global_average_pool([[[1.0], [3.0], [2.0], [0.0]]])
    array([[1.5]])
    """
    x = _with_space(x)
    return np.mean(x, axis=_space(x))


def global_average_pool_backward(x: ArrayLike, dy: ArrayLike) -> Array:
    """dL/dx = dL/dy / (number of positions), everywhere. `dy` (n, channels).

    >>> global_average_pool_backward(np.zeros((1, 4, 1)), np.array([[2.0]]))[0, :, 0]
    array([0.5, 0.5, 0.5, 0.5])
    """
    x = _with_space(x)
    dy = expect_shape("dL/dy", floats("dL/dy", dy), (len(x), x.shape[-1]))
    positions = np.prod(x.shape[1:-1])
    return np.ones_like(x) * np.expand_dims(dy, _space(x)) / positions


def _space(x: Array) -> tuple[int, ...]:
    """The axes of space."""
    return tuple(range(1, x.ndim - 1))


def _with_space(x: ArrayLike) -> Array:
    x = floats("x", x)
    if x.ndim not in (3, 4, 5):
        raise ShapeError(f"pooling expected x (n, *space, channels) with 1, 2 or 3 axes of space, received {x.shape}")
    return x


def _checked(x: ArrayLike, window: Any, stride: Any, padding: Any, rounding: str) -> tuple[Array, Windows]:
    x = _with_space(x)
    kernel = tuple(window) if isinstance(window, (tuple, list)) else (window,) * len(_space(x))
    if len(kernel) != len(_space(x)):
        raise ShapeError(f"window expected one number or {len(_space(x))}, one for each axis of space, received {window!r}")
    at = windows(x.shape[1:-1], kernel, kernel if stride is None else stride, padding, rounding=rounding)
    there = at.pad(np.ones_like(x))
    if any(not np.any(there[w]) for _, w in at.positions()):
        raise DeltaruleError("a pooling window covers padding only; use padding below the window and a stride no larger than the window")
    return x, at
