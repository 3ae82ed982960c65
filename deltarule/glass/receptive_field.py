"""The receptive field: which pixels of the input a unit sees, worked out from the layers (lecture row 31; Araujo et al. 2019).

One walk leads from a layer down to the input, through layers of windows, around residual bodies, along all branches. It carries either
the span of every unit along each axis, for an image without end, or the exact set of values that one unit sees.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import or_
from typing import Any, Protocol, TypeVar

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass.reach import ALL, EACH, NOWHERE, Reach, Space, has_space, reach
from deltarule.layers.composition import Parallel, Residual, Sequential, Skip
from deltarule.layers.layer import Layer, child_names
from deltarule.layers.scope import Visit
from deltarule.spec import nearest


@dataclass(frozen=True)
class Spans:
    """The span (first, last) of every unit along each axis; None in a vector. `whole`: all units see all there is."""

    axes: tuple[tuple[np.ndarray, np.ndarray], ...] | None
    step: tuple[Fraction, ...]
    whole: bool = False

    @classmethod
    def every(cls, shape: Space, whole: bool = False) -> Spans:
        """Of all units of an output of this shape; with `whole` one span over all of them."""
        if not has_space(shape):
            return cls(None, (), whole)
        spans = [(np.zeros(1, int), np.array([H - 1])) if whole else (np.arange(H), np.arange(H)) for H in shape[:-1]]
        return cls(tuple(spans), (Fraction(not whole),) * len(spans), whole)

    def through(self, way: Reach, given: Space, made: Space) -> Spans:
        """What is seen of the input (given) by those who see this of the output (made)."""
        if way == EACH:
            return self
        if way == ALL or self.axes is None or isinstance(way, str):
            return Spans.every(given, self.whole or way == ALL or (has_space(given) and has_space(made)))
        axes = tuple((one.first(lo), one.last(hi)) for one, (lo, hi) in zip(way, self.axes, strict=True))
        return Spans(axes, tuple(s * one.step for s, one in zip(self.step, way, strict=True)), self.whole)

    def part(self, start: int, stop: int) -> Spans:
        """What a branch adds to a concatenated vector: spans do not tell features apart."""
        return self

    def __or__(self, other: Spans) -> Spans:
        if self.axes is None or other.axes is None:
            return Spans(None, (), self.whole or other.whole)
        axes = tuple((np.minimum(a, c), np.maximum(b, d)) for (a, b), (c, d) in zip(self.axes, other.axes, strict=True))
        return Spans(axes, self.step, self.whole or other.whole)


@dataclass(frozen=True)
class Seen:
    """The exact set of values that one unit sees: True or False for each place of space, or for each feature of a vector."""

    places: np.ndarray

    def through(self, way: Reach, given: Space, made: Space) -> Seen:
        """What is seen of the input (given) by those who see this of the output (made)."""
        inner = given[:-1] if has_space(given) else given
        if way == EACH:
            return self
        if way == ALL:
            return Seen(np.full(inner, self.places.any()))
        if isinstance(way, str):
            values = np.broadcast_to(self.places[..., None], made) if has_space(made) else self.places
            values = values.reshape(given)
            return Seen(np.asarray(values.any(axis=-1)) if has_space(given) else values)
        places = self.places
        for axis, one in enumerate(way):
            seen = one.seen(np.arange(places.shape[axis]))
            outputs = np.moveaxis(places, axis, 0)
            inputs = np.zeros((one.inputs, *outputs.shape[1:]), bool)
            for column in seen.T:
                there = column != NOWHERE
                np.logical_or.at(inputs, column[there], outputs[there])
            places = np.moveaxis(inputs, 0, axis)
        return Seen(places)

    def part(self, start: int, stop: int) -> Seen:
        """What is seen of one branch of a concatenated vector."""
        return Seen(self.places[start:stop]) if self.places.ndim == 1 else self

    def __or__(self, other: Seen) -> Seen:
        return Seen(self.places | other.places)


V = TypeVar("V", Spans, Seen)


class Walk:
    """The way from any layer down to the input of the network that `visits` describe."""

    def __init__(self, layer: Layer, visits: Sequence[Visit]):
        self.layer, self.visits = layer, {visit.path: visit for visit in visits}

    def down(self, target: str, view: V) -> V:
        """What is seen of the network's input, where `view` is what is seen of the output of the layer at `target`."""
        return self._from(self.layer, "", target, view)

    def _from(self, layer: Layer, path: str, target: str, view: V) -> V:
        """The walk that begins inside of this layer, or at its output."""
        if path == target:
            return self._through(layer, path, view)
        children = _children(layer, path)
        for number, (inner, child) in enumerate(children):
            if target == inner or target.startswith(inner + "/"):
                view = self._from(child, inner, target, view)
                if isinstance(layer, Sequential):
                    for before, other in reversed(children[:number]):
                        view = self._through(other, before, view)
                return view
        if type(layer).__name__ == "SeparableConv2D":       # its parts are made inside of it
            return self._through(layer, path, view)
        raise _unknown(layer, path)

    def _through(self, layer: Layer, path: str, view: V) -> V:
        """From the output of a layer to its input."""
        if isinstance(layer, Sequential):
            for inner, child in reversed(_children(layer, path)):
                view = self._through(child, inner, view)
            return view
        if isinstance(layer, Residual):
            around = view if layer.shortcut is None else self._through(layer.shortcut, _join(path, "shortcut"), view)
            return around | self._through(layer.body, _join(path, "body"), view)
        if isinstance(layer, Skip):
            shape, body = self.visits[path].input_shape[1:], view
            around = view if has_space(shape) else view.part(0, shape[-1])
            if not has_space(shape):
                body = view.part(shape[-1], self.visits[path].output_shape[-1])
            return around | self._through(layer.body, _join(path, "body"), body)
        if isinstance(layer, Parallel):
            return self._branches(layer, path, view)
        visit = self.visits[path]
        way = reach(layer, visit.input_shape[1:])
        if way is None:
            raise _unknown(layer, path)
        return view.through(way, visit.input_shape[1:], visit.output_shape[1:])

    def _branches(self, layer: Parallel, path: str, view: V) -> V:
        views, start = [], 0
        for inner, branch in _children(layer, path):
            shape = self.visits[inner].output_shape[1:]
            apart = layer.merge == "concatenate" and not has_space(shape)
            views.append(self._through(branch, inner, view.part(start, start + shape[-1]) if apart else view))
            start += shape[-1]
        return reduce(or_, views)


class Watcher(Protocol):
    """Who can measure what a unit sees: see `deltarule.glass.sight`."""

    def generic(self, unit: tuple[int, ...]) -> np.ndarray:
        """True for every place of the input whose gradient is not zero."""

    def effective(self, unit: tuple[int, ...], x: Any) -> np.ndarray:
        """How strongly the unit's value depends on each place."""


@dataclass(frozen=True, repr=False)
class ReceptiveField:
    """Which pixels of the input the units of one layer see, along each axis of space (lecture row 31).

    `size` is how far the field of a unit reaches, were the image without end; `stride` how far it moves from one unit to the next, and
    `start` where the middle of the field of the first unit lies (pixel 0 at 0): r, j and c of Araujo, Norris and Sim (Distill 2019).
    Units that see the whole image, as those of a dense layer do, have stride 0, and their size is that of what they see. `units` is the
    shape of the layer's output without its channels. Made by `Network.receptive_field`.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(4, 3), dr.MaxPool2D(2), dr.Conv2D(8, 3)], input_shape=(28, 28, 1))
    >>> field = net.receptive_field("conv2d_2")
    >>> field
    ReceptiveField('conv2d_2': size 8 x 8, stride 2 x 2, start 3.5 x 3.5)
    >>> field.of((1, 4))
    (slice(2, 10, None), slice(8, 16, None))
    """

    path: str
    size: tuple[int, ...]
    stride: tuple[float, ...]
    start: tuple[float, ...]
    units: tuple[int, ...]
    walk: Walk
    watcher: Watcher

    def of(self, unit: Any = None) -> tuple[slice, ...]:
        """The box of input pixels that one unit sees, as slices: `image[field.of((3, 4))]` cuts it out. What is padding is left out.

        `unit` is a place (p, q) of the layer's output, a number where there is one axis, and by default the one in the middle. Raises
        DeltaruleError for a unit that is not there, and for one that sees padding only.
        """
        return box(self.pixels(unit), f"unit {self.unit(unit)} of {self.path}")

    def pixels(self, unit: Any = None) -> np.ndarray:
        """True for each pixel of the input (height, width) that one unit sees, gaps of dilated kernels left out; `unit` as for `of`."""
        places = np.zeros(self.units, bool)
        places[self.unit(unit)] = True
        return self.walk.down(self.path, Seen(places)).places

    def centre(self, unit: Any = None) -> tuple[float, ...]:
        """The middle of the field of a unit, start + unit stride, in pixels, the middle of pixel 0 being 0; `unit` as for `of`."""
        place = self.unit(unit) if len(self.units) == len(self.start) else (0,) * len(self.start)
        return tuple(c + o * j for c, o, j in zip(self.start, place, self.stride, strict=True))

    def measured(self, unit: Any = None) -> np.ndarray:
        """The same as `pixels` by measurement: the pixels whose gradient is not zero for generic weights; `unit` as for `of`.

        The network's weights are replaced by random positive ones, so that nothing cancels and ReLUs are open, and its inputs by images
        that are noise, and, for the maxima, those in which one pixel is bright.
        """
        return self.watcher.generic(self.unit(unit))

    def effective(self, x: Any, unit: Any = None) -> np.ndarray:
        """How strongly the unit depends on each pixel: the root mean square over rows x of its gradient, with the network's own weights.

        In the field the middle counts more than the border: it is nearly a Gaussian (Luo et al. 2016). x (n, *input_shape); returns
        (height, width). `unit` as for `of`; all its channels are added up. Raises ShapeError for x that does not fit.
        """
        return self.watcher.effective(self.unit(unit), x)

    def unit(self, unit: Any = None) -> tuple[int, ...]:
        """The place of a unit as a tuple. Raises DeltaruleError for a unit that is not there."""
        if unit is None:
            return tuple(n // 2 for n in self.units)
        place = tuple(unit) if isinstance(unit, (tuple, list, np.ndarray)) else (unit,)
        whole = all(isinstance(o, (int, np.integer)) and not isinstance(o, bool) for o in place)
        if not whole or len(place) != len(self.units) or not all(0 <= o < n for o, n in zip(place, self.units, strict=True)):
            raise DeltaruleError(f"{self.path} has units {self.units} in space, each numbered from 0; received unit {unit!r}")
        return tuple(map(int, place))

    def __repr__(self) -> str:
        size, stride, start = (" x ".join(f"{value:g}" for value in values) for values in (self.size, self.stride, self.start))
        return f"ReceptiveField({self.path!r}: size {size}, stride {stride}, start {start})"


def receptive_field(walk: Walk, path: str, watcher: Watcher) -> ReceptiveField:
    """The receptive field of the units of the layer at `path`. Raises DeltaruleError where it is not known, or there is no space."""
    if path not in walk.visits:
        known = [visit.path for visit in walk.visits.values() if visit.path]
        raise DeltaruleError(f"there is no layer {path!r} in this network; it has {', '.join(known)}{nearest(str(path), known)}")
    if not has_space(walk.visits[""].input_shape[1:]):
        raise DeltaruleError(f"a receptive field is a part of an image; this network takes rows of shape {walk.visits[''].input_shape[1:]}")
    shape = walk.visits[path].output_shape[1:]
    size, spans = field_of(walk, path)
    start = tuple(float(lo[0] + hi[0]) / 2 for lo, hi in spans.axes or ())
    return ReceptiveField(path, size, tuple(float(step) if step.denominator > 1 else int(step) for step in spans.step), start,
                          shape[:-1] if has_space(shape) else shape, walk, watcher)


def field_of(walk: Walk, path: str) -> tuple[tuple[int, ...], Spans]:
    """The size of the receptive field of a layer's units, and the span of each. Raises DeltaruleError where it is not known."""
    shape = walk.visits[path].output_shape[1:]
    spans = walk.down(path, Spans.every(shape))
    if spans.whole:
        seen = walk.down(path, Seen(np.ones(shape[:-1] if has_space(shape) else shape, bool))).places
        spans = Spans(tuple((np.array([part.start]), np.array([part.stop - 1])) for part in box(seen, path)),
                      (Fraction(0),) * seen.ndim, True)
    return tuple(int((hi - lo).max()) + 1 for lo, hi in spans.axes or ()), spans


def sizes(walk: Walk) -> dict[str, tuple[int, ...]]:
    """The sizes of the receptive fields by layer, in a network over images that has windows; what is not known is left out."""
    found: dict[str, tuple[int, ...]] = {}
    windows = any(isinstance(reach(visit.layer, visit.input_shape[1:]), tuple) for visit in walk.visits.values())
    if not (windows and has_space(walk.visits[""].input_shape[1:])):
        return found
    for path in walk.visits:
        with contextlib.suppress(DeltaruleError):
            found[path] = field_of(walk, path)[0]
    return found


def box(seen: np.ndarray, what: str) -> tuple[slice, ...]:
    """The smallest box that holds all True values, as slices. Raises DeltaruleError where there are none.

    >>> box(np.array([[0, 0, 0], [0, 1, 1]], bool), "it")
    (slice(1, 2, None), slice(1, 3, None))
    """
    if not seen.any():
        raise DeltaruleError(f"{what} sees nothing of the input, only padding")
    return tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(seen))


def _children(layer: Layer, path: str) -> list[tuple[str, Layer]]:
    if isinstance(layer, Sequential):
        return [(_join(path, name), child) for name, child in layer.children.items()]
    if isinstance(layer, (Residual, Skip)):
        shortcut = [] if isinstance(layer, Skip) or layer.shortcut is None else [(_join(path, "shortcut"), layer.shortcut)]
        return [*shortcut, (_join(path, "body"), layer.body)]
    if isinstance(layer, Parallel):
        return [(_join(path, name), branch) for name, branch in zip(child_names(layer.branches), layer.branches, strict=True)]
    return []


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _unknown(layer: Layer, path: str) -> DeltaruleError:
    name = type(layer).__name__
    if type(layer).__module__.startswith("deltarule."):
        return DeltaruleError(f"what the units of {path or 'the network'} see is not worked out for {name}; ask for a layer before it")
    return DeltaruleError(f"what the units of {path or 'the network'} see is not known: {name} is a layer of your own; give the class "
                          f"{name} sees = 'each' where a value depends on its own place alone, sees = 'all' where it depends on everything")
