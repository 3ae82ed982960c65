"""What a network of convolutions sees: its filters, its feature maps, receptive fields, and which pixels counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.data.arrays import all_finite, as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import SIGNED, SMALL, UNSIGNED, check_whole, join
from deltarule.figures.images import image_grid
from deltarule.glass.evaluation import plain
from deltarule.glass.receptive_field import ReceptiveField
from deltarule.glass.style import BLUE, RED, figure
from deltarule.glass.trace import Trace
from deltarule.layers.scope import flatten
from deltarule.network import Network
from deltarule.spec import nearest

GREY = 0.75         # the ink of an image beneath a saliency map, at most


def filters(net: Network, path: str, *, channel: int | None = None, columns: int = 8) -> Any:
    """The kernels of the convolution at `path` as small images, blue above zero and red below (lecture rows 9, 34).

    Kernels over three channels are drawn in colours, those over others for one input `channel`: by default for each filter the one
    on which it has the largest weights. Kernels along sequences are drawn as channels x steps, of volumes the middle slice.
    Returns a matplotlib figure. Raises DeltaruleError for a layer without kernels and a channel that is not there.

    >>> import deltarule as dr
    >>> len(filters(dr.Network([dr.Conv2D(5, 3)], (9, 9, 1)), "conv2d_1").axes)
    6
    """
    K = _kernels(net, path)                                                                  # (*kernel, C, M)
    C, M = K.shape[-2:]
    if channel is not None:
        check_whole("channel", channel, 0)
        if channel >= C:
            raise DeltaruleError(f"{path} has {C} input channel{'' if C == 1 else 's'}, numbered from 0; received channel {channel}")
    titles = [f"{m}" for m in range(M)]
    if K.ndim == 3:
        return image_grid(K.transpose(2, 1, 0), titles, columns, label="weight (channels down, steps across)")
    if K.ndim == 5:
        K = K[K.shape[0] // 2]
    if C == 3 and channel is None:
        scaled = 0.5 + 0.5 * K / np.maximum(np.abs(K).max(axis=(0, 1, 2), keepdims=True), np.finfo(float).tiny)
        return image_grid(scaled.transpose(3, 0, 1, 2), titles, columns)
    if channel is None:
        chosen = np.square(K).sum(axis=(0, 1)).argmax(axis=0)                                # (M,)
        titles = titles if C == 1 else [f"{m} (of {c})" for m, c in enumerate(chosen)]
    else:
        chosen = np.full(M, channel)
    return image_grid(K[:, :, chosen, np.arange(M)].transpose(2, 0, 1), titles, columns, label="weight")


def feature_maps(trace: Trace, path: str, row: int = 0, *, columns: int = 8) -> Any:
    """What the feature maps of the layer at `path` hand on for one row of a trace: one image for each map, on one scale (row 29).

    Maps of sequences are drawn in one image, maps x steps; of volumes the middle slice is drawn. Returns a matplotlib figure. Raises
    DeltaruleError for a row that the trace lacks, ShapeError for a layer without space.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(5, 3, "relu")], (9, 9, 1))
    >>> len(feature_maps(net.trace(np.ones((1, 9, 9, 1))), "conv2d_1").axes)
    6
    """
    if not isinstance(trace, Trace):
        raise DeltaruleError(f"feature_maps expected what net.trace(x) returns, received {type(trace).__name__}")
    check_whole("row", row, 0)
    if row >= len(trace):
        raise DeltaruleError(f"there are {len(trace)} rows in the trace, numbered from 0; received {row}")
    h = np.asarray(trace[path].activation[row], float)
    if h.ndim not in (2, 3, 4):
        raise ShapeError(f"{path} has no feature maps (*space, channels), its activation has shape {h.shape}; draw a layer before Flatten")
    if h.ndim == 2:
        fig, (ax,) = figure(width=6.0, height=2.6)
        ax.grid(visible=False)
        drawn = ax.imshow(h.T, aspect="auto", interpolation="nearest", **_scale(h))
        ax.set_xlabel("step")
        ax.set_ylabel("feature map")
        fig.colorbar(drawn, ax=ax).set_label("activation")
        return fig
    maps = np.moveaxis(h if h.ndim == 3 else h[h.shape[0] // 2], -1, 0)
    return image_grid(maps, [f"{m}" for m in range(len(maps))], columns, label="activation")


def saliency(images: ArrayLike, maps: ArrayLike | Mapping[str, ArrayLike], titles: Sequence[str] | None = None, *,
             size: float = 1.2) -> Any:
    """Images, and below them the maps of `dr.saliency` over their grey shades: blue speaks for the output, red against it.

    `images` (n, height, width) or with 1 or 3 channels; `maps` (n, height, width), or a dict of such by the name of the method, one row of
    pictures for each. Every map has its own scale: its largest value, up or down, is 1. `titles` are n words. Returns a matplotlib figure.
    Raises ShapeError for other shapes, DataError for values that are not finite, DeltaruleError for another number of titles.

    >>> len(saliency(np.ones((2, 5, 7, 1)), {"gradient": np.ones((2, 5, 7))}).axes)
    5
    """
    x = as_array(images, "images").astype(float)
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or not x.size:
        raise ShapeError(f"saliency expected images (n, height, width), with 1 or 3 channels after it or none, received {x.shape}")
    every = {str(name): as_array(values, "maps") for name, values in (maps.items() if isinstance(maps, Mapping) else [("saliency", maps)])}
    for name, values in every.items():
        if values.shape != x.shape[:3]:
            raise ShapeError(f"the maps {name!r} expected shape {x.shape[:3]}, one for each image, received {values.shape}")
        if not all_finite(values):
            raise DataError(f"the maps {name!r} hold values that are not finite")
    n = len(x)
    if titles is not None and len(titles) != n:
        raise DeltaruleError(f"titles expected {n} words, one for each image, received {len(titles)}")
    fig, axes = figure(n, 1 + len(every), width=size, height=size * x.shape[1] / x.shape[2] + 0.1)
    fig.set_figwidth(fig.get_figwidth() + 1.6)
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    low, high = x.min(), x.max()
    shade = (x - low) / (high - low if high > low else 1)
    grey = 1 - GREY * shade.mean(axis=-1)
    for ax in axes:
        ax.grid(visible=False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    for i in range(n):
        axes[i].imshow(shade[i] if x.shape[-1] == 3 else 1 - shade[i, ..., 0], **({} if x.shape[-1] == 3 else _GREYS))
        if titles is not None:
            axes[i].set_title(plain(str(titles[i])), fontsize=SMALL, pad=2)
        for k, values in enumerate(every.values(), 1):
            drawn = _overlay(axes[k * n + i], grey[i], np.asarray(values[i], float))
    for k, name in enumerate(["input", *every]):
        axes[k * n].set_ylabel(plain(name.replace("_", " ")), fontsize=SMALL, rotation=0, ha="right", va="center")
    bar = fig.colorbar(drawn, ax=axes, shrink=min(1.0, 2.5 / fig.get_figheight()), aspect=15)
    bar.set_label("share of the map's largest value", fontsize=9)
    bar.ax.tick_params(labelsize=SMALL)
    return fig


_GREYS: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}


def receptive_field(field: ReceptiveField, x: Any = None, unit: Any = None, *, ax: Any = None) -> Any:
    """The pixels that one unit sees, and with rows x how strongly it depends on each of them: the effective field (Luo et al. 2016).

    `field` is what `net.receptive_field(path)` returns, for networks over images or sequences; `unit` a place of the layer's output, by
    default the one in the middle. The frame is the box that the unit sees. Returns a matplotlib figure.
    Raises DeltaruleError for anything else and a unit that is not there, ShapeError for volumes and x that does not fit.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Conv2D(5, 3), dr.Conv2D(5, 3, dilation=2)], (15, 15, 1))
    >>> receptive_field(net.receptive_field("conv2d_2")).axes[0].get_title()
    'conv2d_2, unit (4, 4): 7 x 7'
    """
    from matplotlib.patches import Rectangle

    if not isinstance(field, ReceptiveField):
        raise DeltaruleError(f"receptive_field draws what net.receptive_field(path) returns, received {type(field).__name__}")
    seen = np.atleast_2d(field.pixels(unit).astype(float))
    if seen.ndim > 2:
        raise ShapeError("receptive_field draws images and sequences; of volumes ask field.of(unit)")
    values = seen if x is None else np.atleast_2d(field.effective(x, unit))
    if ax is None:
        ax = figure(width=4.4, height=3.6 if len(values) > 1 else 1.6)[1][0]
    ax.grid(visible=False)
    if x is None:
        ax.imshow(1 - 0.35 * values, **_GREYS)
    else:
        share = values / max(float(values.max()), np.finfo(float).tiny)
        drawn = ax.imshow(share, cmap=UNSIGNED, vmin=0, vmax=1)
        ax.figure.colorbar(drawn, ax=ax).set_label("gradient, largest = 1", fontsize=9)
    box = field.of(unit)
    rows, across = (slice(0, 1), *box)[-2:]
    ax.add_patch(Rectangle((across.start - 0.5, rows.start - 0.5), across.stop - across.start, rows.stop - rows.start, fill=False,
                           edgecolor=BLUE if x is None else RED, linewidth=1.6))
    ax.set_xlabel("pixel across" if len(values) > 1 else "step")
    if len(values) > 1:
        ax.set_ylabel("pixel down")
    else:
        ax.set_yticks([])
    place = field.unit(unit)
    ax.set_title(f"{plain(field.path)}, unit {place if len(place) > 1 else place[0]}: {' x '.join(map(str, field.size))}", fontsize=10)
    return ax.figure


def _overlay(ax: Any, grey: np.ndarray, values: np.ndarray) -> Any:
    """A map over its image in grey: the stronger the value, the more of its colour."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    share = values / max(float(np.abs(values).max()), np.finfo(float).tiny)
    scale = ScalarMappable(Normalize(-1, 1), SIGNED)
    strength = np.sqrt(np.abs(share))[..., None]
    colours = colormaps[SIGNED]((share + 1) / 2)[..., :3]
    ax.imshow((1 - strength) * grey[..., None] + strength * colours)
    return scale


def _scale(values: np.ndarray) -> dict[str, Any]:
    most = float(np.abs(values).max()) or 1.0
    return {"cmap": SIGNED, "vmin": -most, "vmax": most} if values.min() < 0 else {"cmap": "Greys", "vmin": 0, "vmax": most}


def _kernels(net: Any, path: str) -> np.ndarray:
    """The kernels (*kernel, C, M) of the layer at `path`."""
    if not isinstance(net, Network):
        raise DeltaruleError(f"filters draws a Network, received {type(net).__name__}")
    known = {name.rpartition("/")[0]: value for name, value in flatten(net.params).items()
             if name.rpartition("/")[2] == "weights" and np.ndim(value) in (3, 4, 5)}
    if path not in known:
        raise DeltaruleError(f"{join(path) or 'the network'} has no kernels to draw; {', '.join(known) or 'no layer of this network'} "
                             f"{'have' if len(known) > 1 else 'has'} some{nearest(str(path), known)}")
    return np.asarray(known[path], float)
