"""Convolution as the direct sum, in 1, 2 and 3 dimensions (lecture row 28): as in most libraries a cross-correlation, no flip.

Shapes, channels last: x (n, *space, C), K (*kernel, C / groups, M), b (M,), y (n, *output, M). M kernels give M feature maps.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import ShapeError
from deltarule.textbook.arrays import Array, Gradient, expect_shape, expect_whole, floats
from deltarule.textbook.windows import windows


def convolve(x: ArrayLike, K: ArrayLike, b: ArrayLike | None = None, *, stride: Any = 1, padding: Any = "valid", dilation: Any = 1,
             groups: int = 1, rounding: str = "floor") -> Array:
    """y[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m] (Baron, "Convolution and Feature Maps"; row 28).

    o runs over the output, k over the kernel, c over the channels; S, D and P are stride, dilation and the padding in front.
    With `groups` > 1 the channels are split into that many groups, each with its own kernels. See `windows` for padding and
    rounding. Raises ShapeError where arrays do not fit, DeltaruleError where the window does not fit or a setting is unknown.

    >>> convolve([[[1.0], [2.0], [4.0], [8.0]]], [[[-1.0]], [[1.0]]])[0, :, 0]
    array([1., 2., 4.])
    """
    x, K = _checked(x, K, groups)
    at = windows(x.shape[1:-1], K.shape[:-2], stride, padding, dilation, rounding)
    padded, axes = at.pad(x), len(at.kernel) + 1
    y = np.zeros((len(x), *at.output, K.shape[-1]))
    for o, window in at.positions():
        for cs, ms in _groups(x.shape[-1], K.shape[-1], groups):
            patch = padded[window][..., cs]                                                 # (n, *kernel, C / groups)
            y[o][..., ms] = np.tensordot(patch, K[..., ms], axes=axes)                      # sum_k sum_c x K
    return y if b is None else y + expect_shape("b", floats("b", b), K.shape[-1:])


def convolve_backward(x: ArrayLike, K: ArrayLike, dy: ArrayLike, *, stride: Any = 1, padding: Any = "valid", dilation: Any = 1,
                      groups: int = 1, rounding: str = "floor") -> Gradient:
    """dL/dK[k, c, m] = sum_o dy[o, m] x[o S + k D - P, c]; dL/db[m] = sum_o dy[o, m]; dL/dx[o S + k D - P, c] += dy[o, m] K[k, c, m].

    `dy` is dL/dy (n, *output, M); the result holds "x", "K" and "b". Settings and errors are those of `convolve`.

    >>> gradient = convolve_backward(np.ones((1, 3, 1)), np.array([[[-1.0]], [[1.0]]]), np.ones((1, 2, 1)))
    >>> gradient["x"][0, :, 0], gradient["K"][:, 0, 0], gradient["b"]
    (array([-1.,  0.,  1.]), array([2., 2.]), array([2.]))
    """
    x, K = _checked(x, K, groups)
    at = windows(x.shape[1:-1], K.shape[:-2], stride, padding, dilation, rounding)
    dy = expect_shape("dL/dy", floats("dL/dy", dy), (len(x), *at.output, K.shape[-1]))
    padded = at.pad(x)
    dpadded, dK = np.zeros_like(padded), np.zeros_like(K)
    for o, window in at.positions():
        for cs, ms in _groups(x.shape[-1], K.shape[-1], groups):
            patch, delta = padded[window][..., cs], dy[o][..., ms]                          # (n, *kernel, C / groups), (n, M / groups)
            dK[..., ms] += np.tensordot(patch, delta, axes=(0, 0))                          # summed over the examples
            dpadded[window][..., cs] += np.tensordot(delta, K[..., ms], axes=(1, -1))       # summed over the feature maps
    db = np.sum(dy, axis=tuple(range(dy.ndim - 1)))
    return {"x": at.crop(dpadded), "K": dK, "b": db}


def _groups(C: int, M: int, groups: int) -> list[tuple[slice, slice]]:
    """The channels and the feature maps of each group."""
    c, m = C // groups, M // groups
    return [(slice(g * c, (g + 1) * c), slice(g * m, (g + 1) * m)) for g in range(groups)]


def _checked(x: ArrayLike, K: ArrayLike, groups: int) -> tuple[Array, Array]:
    x, K = floats("x", x), floats("K", K)
    expect_whole("groups", groups)
    if x.ndim not in (3, 4, 5) or K.ndim != x.ndim:
        raise ShapeError(f"convolution expected x (n, *space, C) and K (*kernel, C, M) with 1, 2 or 3 axes of space, "
                         f"received {x.shape} and {K.shape}")
    C, M = x.shape[-1], K.shape[-1]
    if C % groups or M % groups:
        raise ShapeError(f"groups expected a divisor of the {C} channels and the {M} kernels, received {groups}")
    if K.shape[-2] != C // groups:
        raise ShapeError(f"K has shape {K.shape}, expected a depth of {C // groups} for {C} channels in {groups} "
                         f"group{'s' if groups > 1 else ''}")
    return x, K
