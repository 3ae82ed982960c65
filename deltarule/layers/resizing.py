"""Layers that change the size of images without pooling: larger by repeating or between neighbours, with borders, cut out of the middle."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.masking import refuse_padding
from deltarule.layers.scope import Array, Scope
from deltarule.layers.space import between, check_images, each, own_axes, sides, tuples, whole
from deltarule.spec import nearest, register


@register
@dataclass(frozen=True)
class UpSample(Layer):
    """Every axis of space `factor` times as long: the way back up in segmentation (Heon, row 35).

    `mode` "nearest" repeats each value; "linear" goes straight from each value to its neighbour (bilinear in images), where value i stands
    in the middle of its `factor` places and the borders stay level. Shapes: (batch, *space, channels) -> (batch, *(factor space), channels)
    with 1, 2 or 3 axes of space; `factor` is a whole number or a tuple with one for each axis. Raises DeltaruleError for factors below 1
    and unknown modes, ShapeError for inputs without space.

    >>> import deltarule as dr
    >>> dr.Network(dr.UpSample(2), (2, 1)).predict([[[1.0], [3.0]]])[0, :, 0].tolist()
    [1.0, 1.0, 3.0, 3.0]
    >>> dr.Network(dr.UpSample(2, "linear"), (2, 1)).predict([[[1.0], [3.0]]])[0, :, 0].tolist()
    [1.0, 1.5, 2.5, 3.0]
    """

    factor: Any = 2
    mode: str = "nearest"

    def __post_init__(self) -> None:
        tuples(self, "factor")
        each(self, "factor", own_axes(self.factor), whole(1))
        _check_mode(self, _LONGER)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """One axis after the other."""
        refuse_padding(self, scope, "put it before Masked()")
        for axis, factor in enumerate(each(self, "factor", check_images(self, x), whole(1)), start=1):
            if factor > 1:
                x = _LONGER[self.mode](x, axis, factor)
        return scope.tap("activation", x)


def _repeated(x: Array, axis: int, factor: int) -> Array:
    """y[factor i + j] = x[i]."""
    wide = jnp.expand_dims(x, axis + 1)
    wide = jnp.broadcast_to(wide, (*x.shape[:axis + 1], factor, *x.shape[axis + 1:]))
    return wide.reshape(*x.shape[:axis], factor * x.shape[axis], *x.shape[axis + 1:])


def _interpolated(x: Array, axis: int, factor: int) -> Array:
    """y[factor i + j] = (1 - |t|) x[i] + |t| x[i + sign(t)], t = (j + 1/2) / factor - 1/2."""
    H = x.shape[axis]
    edged = jnp.concatenate([between(x, axis, 0, 1), x, between(x, axis, H - 1, H)], axis)
    phases = []
    for j in range(factor):
        t = (j + 0.5) / factor - 0.5
        there = between(edged, axis, 0, H) if t < 0 else between(edged, axis, 2, H + 2)
        phases.append((1 - abs(t)) * x + abs(t) * there)
    return jnp.stack(phases, axis + 1).reshape(*x.shape[:axis], factor * H, *x.shape[axis + 1:])


_LONGER = {"nearest": _repeated, "linear": _interpolated}


@register
@dataclass(frozen=True)
class Pad(Layer):
    """A border around images. Shapes: (batch, *space, channels) -> (batch, *(before + space + after), channels).

    `padding` is a whole number for every side, or a tuple with, for each axis, a number or (before, after). `mode` "zeros" fills the
    border with 0, "reflect" mirrors the image at its outermost values, "circular" continues at the other side. Raises DeltaruleError for
    negative padding and unknown modes, ShapeError for images too small to fill the border and inputs without space.

    >>> import deltarule as dr
    >>> x = [[[1.0], [2.0], [3.0]]]
    >>> for mode in ("zeros", "reflect", "circular"):
    ...     dr.Network(dr.Pad(((1, 2),), mode), (3, 1)).predict(x)[0, :, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
    [2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    [3.0, 1.0, 2.0, 3.0, 1.0, 2.0]
    """

    padding: Any = 1
    mode: str = "zeros"

    def __post_init__(self) -> None:
        tuples(self, "padding")
        sides(self, "padding", own_axes(self.padding))
        _check_mode(self, _BORDERS)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """x in the middle of its border."""
        refuse_padding(self, scope, "put it before Masked()")
        borders = sides(self, "padding", check_images(self, x))
        for H, pair in zip(x.shape[1:-1], borders, strict=True):
            most = {"zeros": max(pair), "reflect": H - 1, "circular": H}[self.mode]
            if max(pair) > most:
                raise ShapeError(f"Pad in mode {self.mode!r} can add at most {most} to a side of {H} values, received {self.padding!r}; "
                                 "use less padding or mode='zeros'")
        return scope.tap("activation", jnp.pad(x, ((0, 0), *borders, (0, 0)), mode=_BORDERS[self.mode]))


_BORDERS = {"zeros": "constant", "reflect": "reflect", "circular": "wrap"}


@register
@dataclass(frozen=True)
class Crop(Layer):
    """The middle of images, without a border. Shapes: (batch, *space, channels) -> (batch, *(space - before - after), channels).

    `cropping` is a whole number for every side, or a tuple with, for each axis, a number or (before, after). Raises DeltaruleError for
    negative numbers, ShapeError where nothing would be left and for inputs without space.

    >>> import deltarule as dr
    >>> dr.Network(dr.Crop(((2, 1), 3)), (28, 28, 1)).output_shape
    (25, 22, 1)
    """

    cropping: Any = 1

    def __post_init__(self) -> None:
        tuples(self, "cropping")
        sides(self, "cropping", own_axes(self.cropping))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """x[before : H - after] along each axis."""
        refuse_padding(self, scope, "put it before Masked()")
        cuts = sides(self, "cropping", check_images(self, x))
        for H, pair in zip(x.shape[1:-1], cuts, strict=True):
            if sum(pair) >= H:
                raise ShapeError(f"Crop takes {sum(pair)} of {H} values away, and none are left; received cropping={self.cropping!r} for "
                                 f"inputs of shape {tuple(x.shape[1:])}")
        middle = [slice(before, H - after) for H, (before, after) in zip(x.shape[1:-1], cuts, strict=True)]
        return scope.tap("activation", x[(slice(None), *middle)])


def _check_mode(owner: Any, known: Any) -> None:
    if owner.mode not in tuple(known):
        raise DeltaruleError(f"{type(owner).__name__} has no mode {owner.mode!r}{nearest(str(owner.mode), known)}")
