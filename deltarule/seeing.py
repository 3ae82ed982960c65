"""Questions to a trained network about its inputs: which pixels counted, what a unit likes best, and where it found it in the data."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from deltarule.arguments import valid_seed
from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.glass import ascent
from deltarule.glass import saliency as methods
from deltarule.glass.reach import EACH, MOVED, has_space, reach
from deltarule.layers import Parallel, Residual, Sequential, Skip
from deltarule.layers.convolution import Convolution, TransposedConvolution
from deltarule.network import LITTLE_WORK, Network
from deltarule.ops.compiling import precision
from deltarule.spec import nearest
from deltarule.training import prepare

ROWS = 32       # rows that are looked at together
METHODS = ("gradient", "integrated_gradients", "smoothgrad", "grad_cam", "occlusion")


def saliency(net: Network, x: Any, target: Any = None, method: str = "gradient", *, baseline: Any = 0.0, steps: int = 64,
             noise: float = 0.15, samples: int = 32, seed: int = 0, layer: str | None = None, window: Any = None,
             stride: Any = None) -> np.ndarray:
    """How much each place of the inputs x (n, *input_shape) counted for an output: maps (n, height, width), (n, steps), or (n, columns).

    `target` is the number of an output, or one for each row (n,); None: the predicted class. Explained is its pre-activation a, not the
    softmax; of a single output its own. Channels are added up. The methods, all signed but the fourth:

    - "gradient": da/dx, what a small change would do (Simonyan et al. 2014).
    - "integrated_gradients": (x - x') times the mean gradient on the way from the `baseline` x' (a number or an input) to x, at the
      middles of `steps` parts; the map sums to a(x) - a(x') (Sundararajan et al. 2017).
    - "smoothgrad": the mean gradient over `samples` of noise with `noise` times the range of the row as its spread (Smilkov et al. 2017).
    - "grad_cam": where the maps of `layer` (default: the last convolution) speak for it, coarse, never negative (Selvaraju et al. 2017).
    - "occlusion": how much a falls when a `window` (default: a fifth of each side) holds the baseline, slid by `stride` (default: half
      a window), averaged over the windows on a place; in a table one column at a time (Zeiler and Fergus 2014).

    Raises DeltaruleError for an unknown method, target or layer and settings out of range, ShapeError for x that does not fit and for
    networks with more than one row of outputs.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(4, 3, "relu"), dr.GlobalAveragePool(), dr.Dense(3, "softmax")], input_shape=(9, 7, 1))
    >>> dr.saliency(net, np.ones((5, 9, 7, 1)), method="grad_cam").shape
    (5, 9, 7)
    """
    features = _rows(net, x, "saliency")
    if method not in METHODS:
        raise DeltaruleError(f"saliency has no method {method!r}{nearest(str(method), METHODS)}")
    aims, shape = _targets(net, features, target), net.input_shape
    with precision(net.dtype):
        extras: tuple[Any, ...] = ()
        if method == "integrated_gradients":
            whole = checked_number("steps", steps, least=1, whole=True)
            extras = _baseline(net, baseline), ((np.arange(whole) + 0.5) / whole).astype(net.dtype)
        elif method == "occlusion":
            extras = _baseline(net, baseline), methods.windows(shape, *_covers(net, window, stride)).astype(net.dtype)
        elif method == "smoothgrad":
            key = jax.random.key(valid_seed(seed))
            extras = checked_number("noise", noise, least=0), key, checked_number("samples", samples, 1, whole=True)
        elif method == "grad_cam":
            extras = (_maps(net, layer),)
        repeats = {"integrated_gradients": steps, "smoothgrad": samples, "occlusion": len(extras[-1]) if method == "occlusion" else 1}
        quick = len(features) * net.summary().multiply_adds * repeats.get(method, 1) <= LITTLE_WORK
        parts = [_part(net, method, part, aim, extras, quick)[:count] for part, aim, count in _parts(features, aims)]
    maps = np.concatenate(parts)
    if method == "grad_cam" or not _has_channels(net):
        return maps
    return maps[..., 0] if method == "occlusion" else maps.sum(axis=-1)      # all channels of a place are covered together


def maximize(net: Network, layer: str, unit: Any = None, *, norm: float | None = None, steps: int = 200, rate: float = 0.2,
             smooth: float = 0.02, jitter: int = 0, seed: int = 0) -> np.ndarray:
    """The inputs of a given norm that excite units of a layer most, by gradient ascent from noise: (n, *input_shape) (row 34).

    `unit` is the number of a feature map, whose unit in the middle is taken, or a place and a map (p, q, c), or a list of them; None: all
    maps. One unit gives one input (*input_shape). Sought is max a subject to |x| = `norm` (default: half the root of the number of values
    that the unit sees), where a is the pre-activation (Erhan et al. 2009). After each step of length `rate`, which falls to 0, pixels go
    the way `smooth` towards the mean of their neighbours, and with `jitter` the image trembles by so many pixels: both keep fine noise
    away. For a linear filter the answer is the filter itself. Raises DeltaruleError for unknown layers and units and settings out of range.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(4, 3, "relu"), dr.MaxPool2D(2), dr.Conv2D(8, 3)], input_shape=(16, 16, 1))
    >>> dr.maximize(net, "conv2d_2", [0, 5], steps=10).shape
    (2, 16, 16, 1)
    """
    shape = _output(net, layer, "maximize")
    units = _units(shape, layer, unit)
    places = np.array([np.ravel_multi_index(place, shape[:-1]) if has_space(shape) else 0 for *place, _ in units], np.int32)
    channels = np.array([channel for *_, channel in units], np.int32)
    if norm is None:
        norms = [0.5 * math.sqrt(_values_seen(net, layer, tuple(place) if has_space(shape) else (c,))) for *place, c in units]
    else:
        norms = [checked_number("norm", norm, above=0)] * len(units)
    whole = checked_number("steps", steps, 1, whole=True), checked_number("jitter", jitter, 0, whole=True)
    rates = checked_number("rate", rate, above=0), checked_number("smooth", smooth, least=0, most=1)
    start = np.broadcast_to(np.random.default_rng(valid_seed(seed)).normal(size=net.input_shape), (len(units), *net.input_shape))
    quick = len(units) * net.summary().multiply_adds * steps <= LITTLE_WORK
    with precision(net.dtype):
        given = [np.asarray(value, net.dtype) for value in (start, norms, *rates)]
        found = np.asarray(ascent.climb(net.layer, layer, net.dtype, net.params, net.state, given[0], (places, channels), *given[1:],
                                        jax.random.key(seed), *whole, quick=quick))
    return found if unit is None or isinstance(unit, list) else found[0]


class Patches(NamedTuple):
    """The parts of a data set that excite a feature map most, the strongest first.

    `images` (count, *size, channels), black where the field reaches beyond the image; `rows` (count,) of the data set, `units`
    (count, axes) the places of the unit in its map, `values` (count,) its pre-activations.
    """

    images: np.ndarray
    rows: np.ndarray
    units: np.ndarray
    values: np.ndarray


def top_patches(net: Network, layer: str, channel: int, x: Any, count: int = 9) -> Patches:
    """The `count` patches of x (n, *input_shape) that excite one feature map of a layer most, cut out by its receptive field (row 34).

    Of every row the place of the largest pre-activation counts, so that all patches come from different rows (Zeiler and Fergus 2014); of
    fewer rows there are fewer patches.
    Raises DeltaruleError for an unknown layer or channel, for inputs without space, and for a count below 1.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(4, 3, "relu"), dr.MaxPool2D(2)], input_shape=(16, 16, 1))
    >>> dr.top_patches(net, "max_pool2d_1", 2, np.random.default_rng(0).normal(size=(20, 16, 16, 1)), 5).images.shape
    (5, 4, 4, 1)
    """
    features, shape = _rows(net, x, "top_patches"), _output(net, layer, "top_patches")
    checked_number("count", count, 1, whole=True)
    if isinstance(channel, bool) or not isinstance(channel, (int, np.integer)) or not 0 <= channel < shape[-1]:
        raise DeltaruleError(f"{layer} has {shape[-1]} channels, numbered from 0; received channel {channel!r}")
    field = net.receptive_field(layer)
    with precision(net.dtype):
        found = [np.stack(ascent.strongest(net.layer, layer, net.dtype, net.params, net.state, part, np.int32(channel)), -1)[:n]
                 for part, _, n in _parts(features.astype(net.dtype), np.zeros(len(features), np.int32))]
    values, places = np.concatenate(found).T
    rows = np.argsort(-values, kind="stable")[:count]
    units = np.stack(np.unravel_index(places[rows].astype(int), shape[:-1] or (1,)), axis=-1)
    images = np.stack([_cut(features[row], field, unit if has_space(shape) else (channel,)) for row, unit in zip(rows, units, strict=True)])
    return Patches(images, rows, units, values[rows])


# -------------------------------------------------------------------- private

def _rows(net: Any, x: Any, what: str) -> np.ndarray:
    if not isinstance(net, Network):
        raise DeltaruleError(f"{what} looks into a Network, received {type(net).__name__}")
    return prepare.inputs(x, net.input_shape, net.dtype, parts=net.parts)


def _parts(x: np.ndarray, aims: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """At most ROWS rows at a time, filled up to a power of two with the first, and how many of them count."""
    for start in range(0, len(x), ROWS):
        part, aim = x[start:start + ROWS], aims[start:start + ROWS]
        more = (1 << (len(part) - 1).bit_length()) - len(part)
        yield np.concatenate([part, np.repeat(part[:1], more, axis=0)]), np.concatenate([aim, np.repeat(aim[:1], more)]), len(part)


def _part(net: Network, method: str, x: np.ndarray, aim: np.ndarray, extras: tuple[Any, ...], quick: bool) -> np.ndarray:
    x = x.astype(net.dtype)
    if method == "grad_cam":
        return np.asarray(methods.grad_cam(net.layer, net.dtype, *extras, net.params, net.state, x, aim, quick=quick))
    if method == "smoothgrad":
        noise, *rest = extras
        extras = ((noise * np.ptp(x.reshape(len(x), -1), axis=1)).astype(net.dtype), *rest)
    elif extras:
        extras = (np.broadcast_to(extras[0], x.shape), *extras[1:])
    return np.asarray(getattr(methods, method)(net.layer, net.dtype, net.params, net.state, x, aim, *extras, quick=quick))


def _targets(net: Network, x: np.ndarray, target: Any) -> np.ndarray:
    """The number of the output that is explained, for each row."""
    if len(net.output_shape) != 1:
        raise ShapeError(f"saliency explains one row of outputs, (classes,); this network gives {net.output_shape}")
    K = net.output_shape[0]
    if target is None:
        return net.predict(x).argmax(axis=1).astype(np.int32)
    aims = as_array(target, "target")
    if aims.dtype.kind not in "iu" or aims.shape not in ((), (len(x),)):
        raise ShapeError(f"target expected the number of an output, or one for each of the {len(x)} rows, received "
                         f"{aims.dtype} of shape {aims.shape}")
    for aim in (aims.min(), aims.max()):
        if not 0 <= aim < K:
            raise DeltaruleError(f"target expected numbers of outputs from 0 to {K - 1}, received {aim}")
    return np.broadcast_to(aims, len(x)).astype(np.int32)


def _baseline(net: Network, baseline: Any) -> np.ndarray:
    value = as_array(baseline, "baseline").astype(net.dtype)
    if value.shape not in ((), net.input_shape):
        raise ShapeError(f"baseline expected a number or an input of shape {net.input_shape}, received shape {value.shape}")
    return np.broadcast_to(value, net.input_shape)


def _covers(net: Network, window: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and stride along each axis of the input; all channels are covered together."""
    space = net.input_shape[:-1] if _has_channels(net) else net.input_shape
    usual = tuple(max(1, round(H / 5)) for H in space) if _has_channels(net) or len(space) > 1 else (1,)
    size = _each("window", usual if window is None else window, space)
    step = _each("stride", tuple(max(1, k // 2) for k in size) if stride is None else stride, space)
    rest = net.input_shape[len(space):]
    return (*size, *rest), (*step, *rest)


def _each(name: str, value: Any, space: tuple[int, ...]) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(space)
    good = all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) for k in values)
    if not good or len(values) != len(space) or not all(1 <= k <= H for k, H in zip(values, space, strict=True)):
        raise DeltaruleError(f"{name} expected whole numbers from 1 to the size of the input {space}, received {value!r}")
    return values


def _has_channels(net: Network) -> bool:
    """Whether the last axis of the inputs holds channels: not in tables, nor in images (height, width) that are flattened first."""
    for visit in net.plan.visits:
        if isinstance(visit.layer, (Sequential, Residual, Skip, Parallel)):
            continue
        way = reach(visit.layer, visit.input_shape[1:])
        if way != EACH:
            return has_space(net.input_shape) and not (way == MOVED and len(net.input_shape) == 2)
    return has_space(net.input_shape)


def _output(net: Any, layer: str, what: str) -> tuple[int, ...]:
    """The shape that leaves the layer at this path, without the batch."""
    if not isinstance(net, Network):
        raise DeltaruleError(f"{what} looks into a Network, received {type(net).__name__}")
    shapes = {visit.path: visit.output_shape[1:] for visit in net.plan.visits}
    if layer not in shapes:
        known = [path for path in shapes if path]
        raise DeltaruleError(f"there is no layer {layer!r} in this network; it has {', '.join(known)}{nearest(str(layer), known)}")
    return shapes[layer]


def _maps(net: Network, layer: str | None) -> str:
    """The path of the layer whose feature maps are weighed by grad_cam."""
    if layer is None:
        found = [visit.path for visit in net.plan.visits if isinstance(visit.layer, (Convolution, TransposedConvolution))]
        if not found:
            raise DeltaruleError("grad_cam weighs feature maps, and this network has no convolution; use another method")
        return found[-1]
    shape = _output(net, layer, "saliency")
    if len(shape) != len(net.input_shape) or not has_space(shape):
        raise DeltaruleError(f"grad_cam weighs feature maps (*space, channels); {layer} gives {shape}; name a layer before Flatten")
    return layer


def _units(shape: tuple[int, ...], layer: str, unit: Any) -> list[tuple[int, ...]]:
    """Units as (place..., channel)."""
    given = range(shape[-1]) if unit is None else unit if isinstance(unit, list) else [unit]
    middle = tuple(n // 2 for n in shape[:-1])
    units = [tuple(one) if isinstance(one, tuple) else (*middle, one) for one in given]
    for one in units:
        whole = all(isinstance(o, (int, np.integer)) and not isinstance(o, bool) for o in one)
        if not whole or len(one) != len(shape) or not all(0 <= o < n for o, n in zip(one, shape, strict=True)):
            raise DeltaruleError(f"{layer} has units {shape}, each numbered from 0: name a channel, or a place and a channel; "
                                 f"received {unit!r}")
    if not units:
        raise DeltaruleError("unit expected at least one unit, received an empty list")
    return units


def _values_seen(net: Network, layer: str, place: tuple[int, ...]) -> int:
    """How many values of the input a unit sees; all of them where that is not known."""
    try:
        return int(net.receptive_field(layer).pixels(place).sum()) * net.input_shape[-1]
    except DeltaruleError:
        return math.prod(net.input_shape)


def _cut(image: np.ndarray, field: Any, unit: Any) -> np.ndarray:
    """The part of an image that a unit sees, as large as the whole field; zero beyond the image."""
    patch = np.zeros((*field.size, image.shape[-1]), image.dtype)
    low = [math.ceil(c - (k - 1) / 2) for c, k in zip(field.centre(tuple(map(int, unit))), field.size, strict=True)]
    there = [slice(max(a, 0), min(a + k, H)) for a, k, H in zip(low, field.size, image.shape, strict=False)]
    here = [slice(part.start - a, part.stop - a) for part, a in zip(there, low, strict=True)]
    patch[tuple(here)] = image[tuple(there)]
    return patch
