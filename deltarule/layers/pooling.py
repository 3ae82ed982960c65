"""Pooling layers: a feature map becomes smaller, and what stays does not mind small shifts (lecture row 30)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.masking import refuse_padding, steps_mask, windows_mask
from deltarule.layers.scope import Array, Scope
from deltarule.layers.space import between, check_images, check_images_of, each, own_axes, same_sides, sides, tuples, whole
from deltarule.ops.pooling import Window, Windows, average_pool, first_max, max_pool
from deltarule.ops.rows import real
from deltarule.spec import nearest, register


@dataclass(frozen=True)
class WindowPool(Layer):
    """Base of pooling by windows: y[o] = pool(x in the window at o), for images of `axes` axes of space.

    Along each axis H_out = (H - k + P) / S + 1, rounded by "floor" or "ceil", with the window k, the stride S (k unless given) and the
    padding P of both sides together (Baron, row 30). With "ceil" the last window may stick out behind.
    """

    window: Any = 2
    stride: Any = None
    padding: Any = "valid"
    rounding: str = "floor"
    axes: ClassVar[int]
    pool: ClassVar[Callable[[Array, Windows], Array]]

    def __post_init__(self) -> None:
        tuples(self, "window", "stride", "padding")
        name = type(self).__name__
        window = each(self, "window", self.axes, whole(1))
        if self.stride is not None:
            each(self, "stride", self.axes, whole(1))
        if isinstance(self.padding, str):
            if self.padding not in ("valid", "same"):
                raise DeltaruleError(f"{name} has no padding {self.padding!r}{nearest(self.padding, ('valid', 'same'))}")
        else:
            for size, pair in zip(window, sides(self, "padding", self.axes), strict=True):
                if max(pair) >= size:
                    raise DeltaruleError(f"{name} expected padding below the window of {size}, received {self.padding!r}; a window "
                                         "over padding only has nothing to pool")
        if self.rounding not in ("floor", "ceil"):
            raise DeltaruleError(f"{name} has no rounding {self.rounding!r}{nearest(str(self.rounding), ('floor', 'ceil'))}")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """y[o] = pool(x in the window at o)."""
        check_images_of(self, x, self.axes)
        windows = self.windows(x.shape[1:-1])
        mask = steps_mask(self, x, scope) if x.ndim == 3 else None
        return scope.tap("activation", type(self).pool(x, windows) if mask is None else self._of_real(x, mask, windows, scope))

    def _of_real(self, x: Array, mask: Array, windows: Windows, scope: Scope) -> Array:
        """y[o] = pool(x in the window at o) of the steps that are no padding, 0 where there are none; the mask becomes that of y."""
        def alone(length: int) -> tuple[int, int]:
            (at,) = self.windows((length,))
            return at.before, (length + at.before + at.after - at.size) // at.stride + 1

        scope.tap("mask", mask.astype(x.dtype), probed=True)
        here = jnp.broadcast_to(mask[..., None], x.shape)
        share = average_pool(here.astype(x.dtype), windows)         # of each window that is real
        if type(self).pool is average_pool:
            y = average_pool(real(x, mask), windows) / jnp.where(share > 0, share, jnp.ones_like(share))
        else:
            y = type(self).pool(jnp.where(here, x, jnp.full_like(x, -jnp.inf)), windows)
        scope.mask = windows_mask(self, scope, alone(x.shape[1])[1], alone, down=windows[0].stride)
        return jnp.where(share > 0, y, jnp.zeros_like(y))

    def windows(self, space: tuple[int, ...]) -> Windows:
        """The window along each axis of `space`. Raises ShapeError where one does not fit, or would cover padding only."""
        sizes = each(self, "window", self.axes, whole(1))
        strides = sizes if self.stride is None else each(self, "stride", self.axes, whole(1))
        if self.padding == "valid":
            padding = ((0, 0),) * self.axes
        elif self.padding == "same":
            padding = tuple(same_sides(H, k, S) for H, k, S in zip(space, sizes, strides, strict=True))
        else:
            padding = sides(self, "padding", self.axes)
        return tuple(self._window(*axis) for axis in zip(space, sizes, strides, padding, strict=True))

    def side_by_side(self, space: tuple[int, ...]) -> tuple[int, ...] | None:
        """Sizes of the windows of a pooling without padding whose windows follow each other without a gap; None for any other."""
        known = type(self).__call__ is WindowPool.__call__ and type(self).pool in (max_pool, average_pool) and len(space) == self.axes
        windows = self.windows(space) if known else ()
        plain = windows and all(window == Window(window.size, window.size) for window in windows)
        return tuple(window.size for window in windows) if plain else None

    def _window(self, H: int, k: int, S: int, padding: tuple[int, int]) -> Window:
        before, after = padding
        free = H + before + after - k
        if free < 0:
            raise ShapeError(f"{type(self).__name__} has a window of {k} over {H} values with padding {padding}; it does not fit once: "
                             "use a smaller window, or fewer layers that make the image smaller")
        if self.rounding == "ceil":
            after += -free % S
        if (H + before + after - k) // S * S >= H + before:
            raise ShapeError(f"{type(self).__name__}: the last window over {H} values with padding {padding} and stride {S} would cover "
                             "padding only; use rounding='floor' or less padding")
        return Window(k, S, before, after)


@register
@dataclass(frozen=True)
class MaxPool1D(WindowPool):
    """y[o] = max over the window at o of x: the strongest activation stays (Baron, Poleski, Basics; row 30).

    Shapes: (batch, steps, channels) -> (batch, steps_out, channels). `window` and `stride` (the window unless given) are whole numbers
    or tuples with one for each axis. `padding`: "valid" none; "same" so that H_out = ceil(H / S); a whole number for every side; or a
    tuple with, for each axis, a number or (before, after). Padding never counts. H_out = (H - window + padding) / stride + 1 is rounded
    by "floor" or "ceil". The error of a window goes to the first of its largest values. Raises DeltaruleError for settings out of range,
    ShapeError for inputs of another rank and for windows larger than the input.

    >>> import deltarule as dr
    >>> dr.Network(dr.MaxPool1D(2), (4, 1)).predict([[[1.0], [3.0], [2.0], [0.0]]])[0, :, 0].tolist()
    [3.0, 2.0]
    """

    axes, pool = 1, max_pool


@register
@dataclass(frozen=True)
class MaxPool2D(WindowPool):
    """y[o] = max over the window at o of x, for images; settings and errors are those of `MaxPool1D`.

    Shapes: (batch, height, width, channels) -> (batch, height_out, width_out, channels).

    >>> import deltarule as dr
    >>> dr.Network(dr.MaxPool2D(2), (28, 28, 32)).output_shape
    (14, 14, 32)
    >>> dr.Network(dr.MaxPool2D(3, stride=2, padding="same"), (28, 15, 32)).output_shape
    (14, 8, 32)
    """

    axes, pool = 2, max_pool


@register
@dataclass(frozen=True)
class MaxPool3D(WindowPool):
    """y[o] = max over the window at o of x, for volumes; settings and errors are those of `MaxPool1D`.

    Shapes: (batch, depth, height, width, channels) -> (batch, depth_out, height_out, width_out, channels).

    >>> import deltarule as dr
    >>> dr.Network(dr.MaxPool3D((1, 2, 2)), (5, 28, 28, 3)).output_shape
    (5, 14, 14, 3)
    """

    axes, pool = 3, max_pool


@register
@dataclass(frozen=True)
class AveragePool1D(WindowPool):
    """y[o] = mean over the window at o of x, of the values that are there (Baron, Poleski, Basics; row 30).

    Shapes: (batch, steps, channels) -> (batch, steps_out, channels); settings and errors are those of `MaxPool1D`.

    >>> import deltarule as dr
    >>> dr.Network(dr.AveragePool1D(2), (4, 1)).predict([[[1.0], [3.0], [2.0], [0.0]]])[0, :, 0].tolist()
    [2.0, 1.0]
    """

    axes, pool = 1, average_pool


@register
@dataclass(frozen=True)
class AveragePool2D(WindowPool):
    """y[o] = mean over the window at o of x, for images; settings and errors are those of `MaxPool1D`.

    Shapes: (batch, height, width, channels) -> (batch, height_out, width_out, channels).

    >>> import deltarule as dr
    >>> dr.Network(dr.AveragePool2D(2, rounding="ceil"), (5, 5, 6)).output_shape
    (3, 3, 6)
    """

    axes, pool = 2, average_pool


@register
@dataclass(frozen=True)
class AveragePool3D(WindowPool):
    """y[o] = mean over the window at o of x, for volumes; settings and errors are those of `MaxPool1D`.

    Shapes: (batch, depth, height, width, channels) -> (batch, depth_out, height_out, width_out, channels).

    >>> import deltarule as dr
    >>> dr.Network(dr.AveragePool3D(2), (4, 28, 28, 3)).output_shape
    (2, 14, 14, 3)
    """

    axes, pool = 3, average_pool


@register
@dataclass(frozen=True)
class GlobalMaxPool(Layer):
    """y = max over all of space: how strongly a feature is there, wherever it is (row 30).

    Shapes: (batch, *space, channels) -> (batch, channels), with 1, 2 or 3 axes of space. The error goes to the first of the largest
    values. Behind `Masked` only real steps count. Raises ShapeError for inputs without space.

    >>> import deltarule as dr
    >>> dr.Network(dr.GlobalMaxPool(), (7, 7, 64)).output_shape
    (64,)
    """

    def __call__(self, x: Array, scope: Scope) -> Array:
        """y = max over all of space."""
        check_images(self, x)
        mask = steps_mask(self, x, scope)
        if mask is not None:        # a row without a step is 0
            x = jnp.where(mask[..., None] | ~jnp.any(mask, 1)[:, None, None], x * mask[..., None].astype(x.dtype), -jnp.inf)
            scope.mask = None
        return scope.tap("activation", first_max(x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]), 1))


@register
@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """y = mean over all of space: one number for each feature map, in place of a dense layer (Lin, Chen and Yan 2014; row 30).

    Shapes: (batch, *space, channels) -> (batch, channels), with 1, 2 or 3 axes of space. Behind `Masked` the mean is that of the
    real steps. Raises ShapeError for inputs without space.

    >>> import deltarule as dr
    >>> dr.Network(dr.GlobalAveragePool(), (7, 7, 64)).output_shape
    (64,)
    """

    def __call__(self, x: Array, scope: Scope) -> Array:
        """y = mean over all of space."""
        check_images(self, x)
        mask = steps_mask(self, x, scope)
        if mask is not None:
            present = jnp.broadcast_to(mask[..., None], x.shape).astype(x.dtype)
            scope.mask = None
            return scope.tap("activation", jnp.sum(present * x, 1) / jnp.maximum(jnp.sum(present, 1), 1))
        return scope.tap("activation", jnp.mean(x, tuple(range(1, x.ndim - 1))))


@dataclass(frozen=True)
class AdaptivePool(Layer):
    """Base of pooling to a given size: window i of O goes from floor(i H / O) up to ceil((i + 1) H / O)."""

    size: Any
    pool_axis: ClassVar[Callable[[Array, int], Array]]

    def __post_init__(self) -> None:
        tuples(self, "size")
        each(self, "size", own_axes(self.size), whole(1))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """One axis after the other, the last first."""
        axes = check_images(self, x)
        refuse_padding(self, scope, "its windows depend on the length; use GlobalAveragePool or GlobalMaxPool")
        sizes = each(self, "size", axes, whole(1))
        for axis, O in reversed(tuple(enumerate(sizes, start=1))):
            H = x.shape[axis]
            if O > H:
                raise ShapeError(f"{type(self).__name__} cannot make {O} values of {H}; it makes maps smaller, UpSample makes them larger")
            parts = [between(x, axis, i * H // O, -(-(i + 1) * H // O)) for i in range(O)]
            x = jnp.stack([type(self).pool_axis(part, axis) for part in parts], axis)
        return scope.tap("activation", x)


@register
@dataclass(frozen=True)
class AdaptiveMaxPool(AdaptivePool):
    """y of a given `size`, whatever the size of x, by the maximum: the layers behind then fit images of any size.

    Shapes: (batch, *space, channels) -> (batch, *size, channels), with 1, 2 or 3 axes of space; `size` is a whole number, or a tuple
    with one for each axis. Window i of O goes from floor(i H / O) up to ceil((i + 1) H / O). Raises DeltaruleError for sizes below 1,
    ShapeError for inputs smaller than `size` or without space.

    >>> import deltarule as dr
    >>> dr.Network(dr.AdaptiveMaxPool(2), (5, 1)).predict([[[1.0], [3.0], [2.0], [0.0], [1.0]]])[0, :, 0].tolist()
    [3.0, 2.0]
    """

    pool_axis = first_max


@register
@dataclass(frozen=True)
class AdaptiveAveragePool(AdaptivePool):
    """y of a given `size`, whatever the size of x, by the mean. Shapes, settings and errors are those of `AdaptiveMaxPool`.

    >>> import deltarule as dr
    >>> dr.Network(dr.AdaptiveAveragePool((2, 3)), (28, 28, 64)).output_shape
    (2, 3, 64)
    """

    pool_axis = jnp.mean
