"""What one layer sees: which values of its input each value of its output depends on, axis by axis.

Every layer of windows is described along each axis of space by a `Way`. All values at o, seen from far above, span the positions from
`first(o)` to `last(o)` of the input, counted as if it had no end; `seen(o)` lists those that are really there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from deltarule import layers
from deltarule.layers.activation import ActivationLayer
from deltarule.layers.convolution import Convolution, TransposedConvolution
from deltarule.layers.layer import Layer
from deltarule.layers.pooling import AdaptivePool, WindowPool
from deltarule.layers.recurrent import Recurrent
from deltarule.layers.space import each, sides, whole

EACH, ALL, MOVED = "each", "all", "moved"       # a value sees the one at its own place; all there are; one that is elsewhere
SOFT = ("softmax", "log_softmax")
NOWHERE = -1

Space = tuple[int, ...]


class Way:
    """How one axis of a layer's output lies over the same axis of its input, which has `inputs` values."""

    inputs: int

    @property
    def step(self) -> Fraction:
        """So far the window moves from one output to the next, in values of the input."""
        raise NotImplementedError

    def first(self, o: np.ndarray) -> np.ndarray:
        """The first position that outputs o (m,) see."""
        raise NotImplementedError

    def last(self, o: np.ndarray) -> np.ndarray:
        """The last position that outputs o (m,) see."""
        raise NotImplementedError

    def seen(self, o: np.ndarray) -> np.ndarray:
        """All positions that outputs o (m,) see: (m, K), NOWHERE where the window is over padding."""
        first, last = self.first(o), self.last(o)
        places = first[:, None] + np.arange(max(1, int((last - first).max()) + 1))
        return np.where((places <= last[:, None]) & (places >= 0) & (places < self.inputs), places, NOWHERE)


@dataclass(frozen=True)
class Sliding(Way):
    """Convolution, pooling, borders, cuts: o S - P + D (0 ... k - 1); beyond the ends `mode` "zeros", "reflect" or "circular"."""

    inputs: int
    size: int = 1
    stride: int = 1
    before: int = 0
    dilation: int = 1
    mode: str = "zeros"

    @property
    def step(self) -> Fraction:
        """S."""
        return Fraction(self.stride)

    def first(self, o: np.ndarray) -> np.ndarray:
        """o S - P."""
        return o * self.stride - self.before

    def last(self, o: np.ndarray) -> np.ndarray:
        """o S - P + D (k - 1)."""
        return self.first(o) + self.dilation * (self.size - 1)

    def seen(self, o: np.ndarray) -> np.ndarray:
        """Only every D-th, and those of the border where the window looks into a mirror or round the circle."""
        places, H = self.first(o)[:, None] + self.dilation * np.arange(self.size), self.inputs
        if self.mode == "circular":
            return places % H
        if self.mode == "reflect":
            places = np.abs(places)
            return np.where(places >= H, 2 * (H - 1) - places, places)
        return np.where((places >= 0) & (places < H), places, NOWHERE)


@dataclass(frozen=True)
class Painting(Way):
    """Transposed convolution: o sees every i whose kernel reaches it, i S <= o + P <= i S + k - 1."""

    inputs: int
    size: int
    stride: int
    before: int

    @property
    def step(self) -> Fraction:
        """1 / S."""
        return Fraction(1, self.stride)

    def first(self, o: np.ndarray) -> np.ndarray:
        """ceil((o + P - k + 1) / S)."""
        return -((self.size - 1 - o - self.before) // self.stride)

    def last(self, o: np.ndarray) -> np.ndarray:
        """floor((o + P) / S)."""
        return (o + self.before) // self.stride


@dataclass(frozen=True)
class Growing(Way):
    """Upsampling by `factor`: o sees floor(o / factor), and in the mode "linear" the neighbour on its side."""

    inputs: int
    factor: int
    mode: str

    @property
    def step(self) -> Fraction:
        """1 / factor."""
        return Fraction(1, self.factor)

    def _side(self, o: np.ndarray) -> np.ndarray:
        """-1 in the first half of the places of a value, 0 in the middle, 1 in the second half."""
        side: np.ndarray = np.sign(2 * (o % self.factor) + 1 - self.factor)
        return side if self.mode == "linear" else 0 * side

    def first(self, o: np.ndarray) -> np.ndarray:
        """The value itself or the one before it."""
        return o // self.factor + np.minimum(self._side(o), 0)

    def last(self, o: np.ndarray) -> np.ndarray:
        """The value itself or the one behind it."""
        return o // self.factor + np.maximum(self._side(o), 0)


@dataclass(frozen=True)
class Sharing(Way):
    """Adaptive pooling to `size` values: o sees floor(o H / size) up to ceil((o + 1) H / size)."""

    inputs: int
    size: int

    @property
    def step(self) -> Fraction:
        """H / size, on average."""
        return Fraction(self.inputs, self.size)

    def first(self, o: np.ndarray) -> np.ndarray:
        """floor(o H / size)."""
        return o * self.inputs // self.size

    def last(self, o: np.ndarray) -> np.ndarray:
        """ceil((o + 1) H / size) - 1."""
        return -(-(o + 1) * self.inputs // self.size) - 1


@dataclass(frozen=True)
class Running(Way):
    """Recurrent layers that give every step, causal attention: o sees all steps up to its own; with `reverse` all from its own on."""

    inputs: int
    reverse: bool

    @property
    def step(self) -> Fraction:
        """1: the newest step it sees."""
        return Fraction(1)

    def first(self, o: np.ndarray) -> np.ndarray:
        """0, or the step itself."""
        return o if self.reverse else 0 * o

    def last(self, o: np.ndarray) -> np.ndarray:
        """The step itself, or the last."""
        return 0 * o + self.inputs - 1 if self.reverse else o


Reach = str | tuple[Way, ...]       # EACH, ALL, MOVED, or a way along each axis of space


def reach(layer: Layer, shape: Space) -> Reach | None:
    """What each value that leaves the layer sees of an input of `shape` (without the batch); None where that is not known.

    Channels are not told apart: what counts is space. A layer of one's own says what it sees by a class attribute, sees = "each" or "all".

    >>> reach(layers.Conv1D(5, 3, stride=2, padding="same"), (7, 1))
    (Sliding(inputs=7, size=3, stride=2, before=1, dilation=1, mode='zeros'),)
    >>> reach(layers.Dense(5), (7,)), reach(layers.BatchNorm(), (7, 7, 3)), reach(layers.Flatten(), (7, 7, 3))
    ('all', 'each', 'moved')
    """
    for kinds, found in _RULES:
        if isinstance(layer, kinds):
            return found(layer, shape)
    sees = getattr(type(layer), "sees", None)
    return sees if sees in (EACH, ALL) else None


def has_space(shape: Space) -> bool:
    """Whether a row of this shape has axes of space before its channels."""
    return len(shape) > 1


def _convolution(layer: Any, shape: Space) -> Reach:
    space, n = shape[:-1], layer.axes
    kernel, stride, dilation = (each(layer, field, n, whole(1)) for field in ("kernel", "stride", "dilation"))
    return tuple(Sliding(H, k, S, P[0], D, layer.padding_mode)
                 for H, k, S, P, D in zip(space, kernel, stride, layer.sides(space), dilation, strict=True))


def _transposed(layer: Any, shape: Space) -> Reach:
    kernel, stride = (each(layer, field, layer.axes, whole(1)) for field in ("kernel", "stride"))
    return tuple(Painting(H, k, S, P[0]) for H, k, S, P in zip(shape[:-1], kernel, stride, layer.cut(kernel, stride), strict=True))


def _separable(layer: Any, shape: Space) -> Reach:
    depthwise = layers.Conv2D(shape[-1], layer.kernel, stride=layer.stride, padding=layer.padding)
    return _convolution(depthwise, shape)


def _pool(layer: Any, shape: Space) -> Reach:
    return tuple(Sliding(H, w.size, w.stride, w.before) for H, w in zip(shape[:-1], layer.windows(shape[:-1]), strict=True))


def _adaptive(layer: Any, shape: Space) -> Reach:
    return tuple(Sharing(H, size) for H, size in zip(shape[:-1], each(layer, "size", len(shape) - 1, whole(1)), strict=True))


def _grown(layer: Any, shape: Space) -> Reach:
    factors = each(layer, "factor", len(shape) - 1, whole(1))
    return tuple(Growing(H, factor, layer.mode) for H, factor in zip(shape[:-1], factors, strict=True))


def _bordered(layer: Any, shape: Space) -> Reach:
    return tuple(Sliding(H, before=before, mode=layer.mode)
                 for H, (before, _) in zip(shape[:-1], sides(layer, "padding", len(shape) - 1), strict=True))


def _cut(layer: Any, shape: Space) -> Reach:
    return tuple(Sliding(H, before=-before)
                 for H, (before, _) in zip(shape[:-1], sides(layer, "cropping", len(shape) - 1), strict=True))


def _running(layer: Any, shape: Space) -> Reach:
    return (Running(shape[0], layer.reverse),) if layer.return_sequences else ALL


def _attended(layer: Any, shape: Space) -> Reach:
    if isinstance(layer, layers.MultiHeadAttention) and layer.cross:
        return EACH         # of its own sequence; the memory is another input
    return (Running(shape[0], False),) if isinstance(layer, layers.TransformerDecoder) or layer.causal else ALL


def _features(layer: Any, shape: Space) -> Reach:
    """Layers that mix the last axis: in an image the channels of one place, in a vector all there is."""
    return EACH if has_space(shape) else ALL


def _function(layer: Any, shape: Space) -> Reach:
    return _features(layer, shape) if layer.function in SOFT else EACH


_RULES: tuple[tuple[Any, Callable[[Any, Space], Reach]], ...] = (
    (Convolution, _convolution), (TransposedConvolution, _transposed), (layers.SeparableConv2D, _separable), (WindowPool, _pool),
    (AdaptivePool, _adaptive), (layers.UpSample, _grown), (layers.Pad, _bordered), (layers.Crop, _cut),
    ((layers.MultiHeadAttention, layers.TransformerEncoder, layers.TransformerDecoder), _attended),
    ((layers.Dense, layers.LayerNorm), _features), (layers.Activation, _function),
    ((layers.GlobalAveragePool, layers.GlobalMaxPool, layers.GroupNorm, layers.Bidirectional,
      layers.AttentionPooling), lambda layer, shape: ALL),
    (Recurrent, _running), (layers.AttentiveLSTM, lambda layer, shape: (Running(shape[0], False),)),
    ((layers.Flatten, layers.Reshape), lambda layer, shape: MOVED),
    ((ActivationLayer, layers.BatchNorm, layers.Dropout, layers.SpatialDropout, layers.Masked, layers.Positions),
     lambda layer, shape: EACH),
)
