"""Convolution layers: every unit sees a small window, and all units of a feature map share their weights (lecture rows 28 and 29)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from deltarule import initializers
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.activation import activate, check_activation
from deltarule.layers.layer import Layer
from deltarule.layers.masking import refuse_padding, steps_mask, windows_mask
from deltarule.layers.pooling import WindowPool
from deltarule.layers.scope import Array, Initializer, Scope
from deltarule.layers.space import Sides, check_images_of, each, same_sides, sides, tuples, whole
from deltarule.ops.activated import ACTIVATIONS, convolve_activated
from deltarule.ops.convolution import Windows, convolve, convolve_transposed
from deltarule.ops.pooling import average_pool
from deltarule.ops.rows import real
from deltarule.spec import nearest, register

_PADDINGS = ("valid", "same", "full")
_MODES = {"zeros": "constant", "reflect": "reflect", "circular": "wrap"}     # our names, and those of jnp.pad
_ROUNDINGS = ("floor", "ceil")


@dataclass(frozen=True)
class Convolution(Layer):
    """Base of Conv1D, Conv2D and Conv3D, which differ in the number of `axes` of space only.

    Along each axis H_out = (H - D (k - 1) - 1 + P) / S + 1, rounded down by "floor" or up by "ceil" (Baron has both), with the kernel k,
    the stride S, the dilation D and the padding P of both sides together. With "ceil" the padding behind grows until the last window fits.
    """

    filters: int
    kernel: Any
    activation: Any = "linear"
    stride: Any = 1
    padding: Any = "valid"
    dilation: Any = 1
    groups: int = 1
    padding_mode: str = "zeros"
    rounding: str = "floor"
    weights: Any = "auto"
    bias: Any = "zeros"
    use_bias: bool = True
    axes: ClassVar[int]

    def __post_init__(self) -> None:
        name = type(self).__name__
        _check_weights(self, self.axes)
        _check_count(self, "groups")
        each(self, "dilation", self.axes, whole(1))
        if self.padding not in _PADDINGS:
            _check_padding(self, self.axes, _PADDINGS)
        for what, value, known in (("padding_mode", self.padding_mode, _MODES), ("rounding", self.rounding, _ROUNDINGS)):
            if value not in known:
                raise DeltaruleError(f"{name} has no {what} {value!r}{nearest(str(value), known)}")
        if self.filters % self.groups:
            raise DeltaruleError(f"{name} cannot share {self.filters} filters among {self.groups} groups; "
                                 "choose groups that divide filters")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = g(a), a[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]."""
        if self._in_one_pass and not scope.watched:
            return self._activated(x, scope)
        x, K, at = self._placed(x, scope)
        if self.groups == 1:
            return activate(self.activation, convolve_activated(x, K, self._bias(scope), at.stride, at.padding, at.dilation), scope)
        return activate(self.activation, _biased(self, convolve(x, K, at.stride, at.padding, at.dilation, self.groups), scope), scope)

    def joined(self, x: Array, scope: Scope, after: Layer) -> Array | None:
        """What a pooling behind this layer makes of h, in the same pass over the images; None for other layers."""
        if not (self._in_one_pass and isinstance(after, WindowPool)) or scope.mask is not None:
            return None
        output = Windows(x.shape[1:-1], *self._settings(x.shape[1:-1])).output
        windows = after.side_by_side(output)
        return None if windows is None else self._activated(x, scope, windows, type(after).pool is average_pool)

    @property
    def _in_one_pass(self) -> bool:
        return self.groups == 1 and self.activation in ACTIVATIONS

    def _activated(self, x: Array, scope: Scope, pool: tuple[int, ...] | None = None, average: bool = False) -> Array:
        x, K, at = self._placed(x, scope)
        h = convolve_activated(x, K, self._bias(scope), at.stride, at.padding, at.dilation, self.activation, pool, average)
        return scope.linked(h, h, self.activation)

    def _bias(self, scope: Scope) -> Array | None:
        return scope.param("bias", initializers.initializer(self.bias), (self.filters,)) if self.use_bias else None

    def _placed(self, x: Array, scope: Scope) -> tuple[Array, Array, Windows]:
        """The images, padded where it is not with zeros, the weights K, and where the kernel stands."""
        check_images_of(self, x, self.axes)
        C = x.shape[-1]
        if C % self.groups:
            raise ShapeError(f"{type(self).__name__} cannot share {C} channels among {self.groups} groups; "
                             "choose groups that divide the channels of the input")
        kernel, stride, padding, dilation, groups = self._settings(x.shape[1:-1])
        x = self._without_padding(x, scope)
        if self.padding_mode != "zeros":
            x = jnp.pad(x, ((0, 0), *padding, (0, 0)), mode=_MODES[self.padding_mode])
            padding = ((0, 0),) * self.axes
        K = scope.param("weights", _initial(self, groups), (*kernel, C // groups, self.filters))
        return x, K, Windows(x.shape[1:-1], kernel, stride, padding, dilation, groups)

    def _without_padding(self, x: Array, scope: Scope) -> Array:
        """x with zeros in the steps that only fill a sequence up; the mask becomes that of the output."""
        mask = steps_mask(self, x, scope) if x.ndim == 3 else None
        if mask is None:
            return x
        if self.padding_mode != "zeros":
            refuse_padding(self, scope, f"padding_mode={self.padding_mode!r} begins at the ends of each sequence; use 'zeros'")

        def alone(length: int) -> tuple[int, int]:
            at = Windows((length,), *self._settings((length,)))
            return at.padding[0][0], at.output[0]

        scope.mask = windows_mask(self, scope, alone(x.shape[1])[1], alone, down=each(self, "stride", 1, whole(1))[0])
        scope.tap("mask", mask.astype(x.dtype), probed=True)
        return real(x, mask)

    def _settings(self, space: tuple[int, ...]) -> tuple[Any, ...]:
        """Kernel, stride, padding and dilation along each axis, and the groups."""
        kernel, stride, dilation = (each(self, field, self.axes, whole(1)) for field in ("kernel", "stride", "dilation"))
        return kernel, stride, self.sides(space), dilation, self.groups

    def sides(self, space: tuple[int, ...]) -> tuple[Sides, ...]:
        """The padding (before, after) of each axis of `space`. Raises ShapeError where the kernel does not fit into it once."""
        kernel, stride, dilation = (each(self, field, self.axes, whole(1)) for field in ("kernel", "stride", "dilation"))
        covered = tuple(D * (k - 1) + 1 for k, D in zip(kernel, dilation, strict=True))
        if self.padding == "same":
            found = [same_sides(H, k, S) for H, k, S in zip(space, covered, stride, strict=True)]
        elif isinstance(self.padding, str):
            found = [(k - 1, k - 1) if self.padding == "full" else (0, 0) for k in covered]
        else:
            found = list(sides(self, "padding", self.axes))
        return tuple(self._sides(*axis) for axis in zip(space, covered, stride, found, strict=True))

    def _sides(self, H: int, covered: int, S: int, found: Sides) -> Sides:
        name, (before, after) = type(self).__name__, found
        free = H + before + after - covered
        if free < 0:
            raise ShapeError(f"{name} has a kernel over {covered} values, the input has {H} with padding {found} along an axis: the output "
                             "would have no value; use a smaller kernel or dilation, padding='same', or fewer layers that make it smaller")
        if self.rounding == "ceil":
            after += -free % S
        room = {"zeros": max(before, after), "reflect": H - 1, "circular": H}[self.padding_mode]
        if max(before, after) > room:
            raise ShapeError(f"{name} cannot take {max(before, after)} values of {self.padding_mode} padding from an input of {H}; "
                             f"use at most {room}, or padding_mode='zeros'")
        return before, after


@register
@dataclass(frozen=True)
class Conv1D(Convolution):
    """h = g(a), a[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]: a kernel slides along a sequence (Baron; rows 28, 33).

    Shapes: x (batch, steps, channels), K `weights` (kernel, channels / groups, filters), b `bias` (filters,), a and h
    (batch, steps_out, filters), steps_out = (steps - dilation (kernel - 1) - 1 + padding) / stride + 1, rounded by "floor" or "ceil".
    `padding`: "valid" none, "same" so that steps_out = ceil(steps / stride), "full" every position that touches the input, a number for
    every side, or a tuple with a number or (before, after) for each axis; `padding_mode` fills it with "zeros", the "reflect"ed input
    or the input continued in a circle ("circular"). With `groups` the channels and filters are split into as many parts that see only each
    other; groups = channels is the depthwise convolution. `weights` and `bias` name initializers ("auto": as in Dense).
    Raises DeltaruleError for settings out of range, ShapeError for inputs of another rank, too small, or not divisible into groups.

    >>> import deltarule as dr
    >>> dr.Network([dr.Conv1D(64, 3, "relu")], input_shape=(1000, 1)).output_shape
    (998, 64)
    """

    axes = 1


@register
@dataclass(frozen=True)
class Conv2D(Convolution):
    """h = g(a), a[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]: kernels slide over an image; settings as in `Conv1D`.

    Shapes: x (batch, height, width, channels), K `weights` (k_height, k_width, channels / groups, filters), b `bias` (filters,),
    a and h (batch, height_out, width_out, filters). Numbers hold for both axes, tuples give one for each (Baron; row 28).

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(64, 3, "relu", padding="same", use_bias=False)], input_shape=(32, 32, 3))
    >>> net.output_shape, net.summary().parameters
    ((32, 32, 64), 1728)
    """

    axes = 2


@register
@dataclass(frozen=True)
class Conv3D(Convolution):
    """h = g(a), a[o, m] = sum_k sum_c x[o S + k D - P, c] K[k, c, m] + b[m]: kernels slide through a volume; settings as in `Conv1D`.

    Shapes: x (batch, depth, height, width, channels), K `weights` (k_depth, k_height, k_width, channels / groups, filters),
    b `bias` (filters,), a and h (batch, depth_out, height_out, width_out, filters) (row 28).

    >>> import deltarule as dr
    >>> dr.Network([dr.Conv3D(5, (1, 3, 3), stride=(1, 2, 2))], input_shape=(3, 7, 9, 2)).output_shape
    (3, 3, 4, 5)
    """

    axes = 3


@dataclass(frozen=True)
class TransposedConvolution(Layer):
    """Base of ConvTranspose1D, ConvTranspose2D and ConvTranspose3D: the adjoint of a convolution, H_out = (H - 1) S + k - P."""

    filters: int
    kernel: Any
    activation: Any = "linear"
    stride: Any = 1
    padding: Any = "valid"
    weights: Any = "auto"
    bias: Any = "zeros"
    use_bias: bool = True
    axes: ClassVar[int]

    def __post_init__(self) -> None:
        _check_weights(self, self.axes)
        if self.padding not in ("valid", "same"):
            _check_padding(self, self.axes, ("valid", "same"))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = g(a), a[o S + k - P, m] += sum_c x[o, c] K[k, c, m], then + b[m]."""
        check_images_of(self, x, self.axes)
        kernel, stride = each(self, "kernel", self.axes, whole(1)), each(self, "stride", self.axes, whole(1))
        cut = self.cut(kernel, stride)
        space, padding = zip(*map(self._grown, x.shape[1:-1], kernel, stride, cut), strict=True)
        if x.ndim == 3 and (mask := steps_mask(self, x, scope)) is not None:
            x, k, S, P = real(x, mask), kernel[0], stride[0], cut[0]
            scope.mask = windows_mask(self, scope, space[0], lambda H: (0, self._grown(H, k, S, P)[0]), up=S)
        K = scope.param("weights", _initial(self), (*kernel, x.shape[-1], self.filters))
        a = convolve_transposed(x, jnp.swapaxes(K, -1, -2), space, stride, padding, (1,) * self.axes)
        return activate(self.activation, _biased(self, a, scope), scope)

    def cut(self, kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[Sides]:
        """What is cut off the output before and behind, for each axis."""
        if self.padding == "valid":
            return [(0, 0)] * self.axes
        if self.padding == "same":      # what is cut away so that H_out = H S, one more behind where it is odd
            return [((k - S) // 2, k - S - (k - S) // 2) for k, S in zip(kernel, stride, strict=True)]
        return list(sides(self, "padding", self.axes))

    def _grown(self, H: int, k: int, S: int, P: Sides) -> tuple[int, Sides]:
        size = (H - 1) * S + k - sum(P)
        if size < 1:
            raise ShapeError(f"{type(self).__name__} cuts {P} off an output of {size + sum(P)} values; use less padding")
        return size, P


@register
@dataclass(frozen=True)
class ConvTranspose1D(TransposedConvolution):
    """h = g(a), a[o S + k - P, m] += sum_c x[o, c] K[k, c, m], then + b[m]: each value paints a kernel (Zeiler et al. 2010).

    Where a convolution leads from many values to few, this one, its adjoint, leads back: steps_out = (steps - 1) stride + kernel - padding.
    Shapes: x (batch, steps, channels), K `weights` (kernel, channels, filters), b `bias` (filters,), a and h (batch, steps_out, filters).
    `padding` is cut off the output: "valid" nothing, "same" so that steps_out = steps stride, a number for every side, or a tuple with a
    number or (before, after) for each axis. Raises DeltaruleError for settings out of range, ShapeError for inputs of another rank.

    >>> import deltarule as dr
    >>> dr.Network([dr.ConvTranspose1D(2, 3, stride=2)], input_shape=(5, 1)).output_shape
    (11, 2)
    """

    axes = 1


@register
@dataclass(frozen=True)
class ConvTranspose2D(TransposedConvolution):
    """h = g(a), a[o S + k - P, m] += sum_c x[o, c] K[k, c, m], then + b[m]: images grow; settings as in `ConvTranspose1D`.

    Shapes: x (batch, height, width, channels), K `weights` (k_height, k_width, channels, filters), b `bias` (filters,), a and h
    (batch, height_out, width_out, filters).

    >>> import deltarule as dr
    >>> dr.Network([dr.ConvTranspose2D(16, 2, "relu", stride=2)], input_shape=(14, 14, 32)).output_shape
    (28, 28, 16)
    """

    axes = 2


@register
@dataclass(frozen=True)
class ConvTranspose3D(TransposedConvolution):
    """h = g(a), a[o S + k - P, m] += sum_c x[o, c] K[k, c, m], then + b[m]: volumes grow; settings as in `ConvTranspose1D`.

    Shapes: x (batch, depth, height, width, channels), K `weights` (k_depth, k_height, k_width, channels, filters), b `bias` (filters,),
    a and h (batch, depth_out, height_out, width_out, filters).

    >>> import deltarule as dr
    >>> dr.Network([dr.ConvTranspose3D(2, 3, stride=(1, 2, 2), padding="same")], input_shape=(3, 5, 7, 1)).output_shape
    (3, 10, 14, 2)
    """

    axes = 3


@register
@dataclass(frozen=True)
class SeparableConv2D(Layer):
    """A kernel for each channel, then a 1 x 1 convolution that mixes the channels: k k C + C M weights in place of k k C M (Chollet 2017).

    Shapes: x (batch, height, width, channels), h (batch, height_out, width_out, filters). The parts are `depthwise`
    (Conv2D with groups = channels, no bias) and `pointwise` (Conv2D with kernel 1, bias and activation); errors are those of `Conv2D`.

    >>> import deltarule as dr
    >>> dr.Network([dr.SeparableConv2D(64, 3, use_bias=False)], input_shape=(32, 32, 3)).summary().parameters
    219
    """

    filters: int
    kernel: Any
    activation: Any = "linear"
    stride: Any = 1
    padding: Any = "valid"
    use_bias: bool = True

    def __post_init__(self) -> None:
        _check_weights(self, 2)
        if self.padding not in _PADDINGS:
            _check_padding(self, 2, _PADDINGS)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = pointwise(depthwise(x))."""
        check_images_of(self, x, 2)
        C = x.shape[-1]
        depthwise = Conv2D(C, self.kernel, stride=self.stride, padding=self.padding, groups=C, use_bias=False)
        pointwise = Conv2D(self.filters, 1, self.activation, use_bias=self.use_bias)
        return pointwise(depthwise(x, scope / "depthwise"), scope / "pointwise")


def _check_count(layer: Any, field: str) -> None:
    expected = whole(1)(getattr(layer, field))
    if expected is not None:
        raise DeltaruleError(f"{type(layer).__name__} expected {field} to be {expected}, received {getattr(layer, field)!r}")


def _check_weights(layer: Any, axes: int) -> None:
    """Refuse a number of filters, kernel, stride, activation or initializer out of range; lists become tuples."""
    tuples(layer, "kernel", "stride", "padding", *(["dilation"] if hasattr(layer, "dilation") else []))
    _check_count(layer, "filters")
    each(layer, "kernel", axes, whole(1))
    each(layer, "stride", axes, whole(1))
    check_activation(layer.activation, type(layer).__name__)
    if getattr(layer, "weights", "auto") != "auto":
        initializers.initializer(layer.weights)
    initializers.initializer(getattr(layer, "bias", "zeros"))


def _check_padding(layer: Any, axes: int, known: tuple[str, ...]) -> None:
    if isinstance(layer.padding, str):
        raise DeltaruleError(f"{type(layer).__name__} has no padding {layer.padding!r}{nearest(layer.padding, known)}")
    sides(layer, "padding", axes)


def _initial(layer: Any, groups: int = 1) -> Initializer:
    """How the weights start: each group as a kernel of its own, because the fans of a unit end at its group."""
    if layer.weights == "auto":
        init: Initializer = initializers.for_activation(layer.activation if isinstance(layer.activation, str) else "relu")
    else:
        init = initializers.initializer(layer.weights)

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([init(rng, (*shape[:-1], shape[-1] // groups)) for _ in range(groups)], axis=-1)

    return draw


def _biased(layer: Any, a: Array, scope: Scope) -> Array:
    """a + b, one b for each feature map."""
    if not layer.use_bias:
        return a
    b = scope.param("bias", initializers.initializer(layer.bias), a.shape[-1:])
    return a + jnp.broadcast_to(b, a.shape)
