"""How layers bend the plane: a grid and the data before the first layer and after each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.figures.frame import SMALL, as_classes, check_whole, join, limits, rows_of, scatter_classes, with_activation
from deltarule.glass.evaluation import plain
from deltarule.glass.style import figure
from deltarule.network import Network
from deltarule.spec import nearest

GRID, ALONG = 21, 101           # lines in each direction, points along a line
ACROSS, UP = "0.55", "#56B4E9"  # colours of the lines that were horizontal and vertical


def bending(net: Network, x: Any, y: Any, *, layers: Sequence[str] | None = None, most: int = 4) -> Any:
    """The input plane with a regular grid and the points, then the images of both after each layer (Olah 2014; lecture row 22).

    x (n, 2), y (n,) class numbers, or (n, K) with one column for each class. `layers` names the layers by path; by default they are
    all hidden ones of two or more units, of more than `most` as many, evenly spaced. A layer of two units is drawn as it is, a
    wider one in the plane of the first two principal components of its activations over x; the labels tell which share of the
    variance that shows. Returns a matplotlib figure. Raises DeltaruleError for a network of another number of inputs, an unknown layer
    (the nearest is offered), and one of less than two units.

    Source: C. Olah, "Neural Networks, Manifolds, and Topology", 2014.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(2, "softmax")], input_shape=(2,))
    >>> [ax.get_title() for ax in bending(net, [[0, 0], [1, 1]], [0, 1]).axes]
    ['input', 'dense_1']
    """
    points = rows_of(net, x, 2, "bending")
    classes = as_classes(y, len(points))
    if classes is None:
        raise DeltaruleError("bending draws points in the colours of their classes; y holds measured numbers, give class numbers")
    check_whole("most", most, 1)
    grid = _grid(points)                                                                        # (2 GRID, ALONG, 2)
    values = net.trace(np.concatenate([grid.reshape(-1, 2), points])).taps
    shown = _chosen(net, values, layers, most)
    fig, axes = figure(columns=1 + len(shown), width=3.2, height=3.3)
    _panel(axes[0], grid, points, classes[0])
    axes[0].set_title("input", fontsize=10)
    axes[0].set_xlabel("x[0]", fontsize=9)
    axes[0].set_ylabel("x[1]", fontsize=9)
    for ax, path in zip(axes[1:], shown, strict=True):
        h = values[join(path, "activation")].astype(float)
        units, (h, labels) = h.shape[1], _flat(h, len(points))
        _panel(ax, h[:-len(points)].reshape(*grid.shape[:2], 2), h[-len(points):], classes[0])
        ax.set_title(plain(path) + (f", {units} units" if units > 2 else ""), fontsize=10)
        ax.set_xlabel(labels[0], fontsize=9)
        ax.set_ylabel(labels[1], fontsize=9)
    return fig


def _grid(points: np.ndarray) -> np.ndarray:
    """Lines over the range of the points: first the horizontal, then the vertical ones, (2 GRID, ALONG, 2)."""
    (left, right), (low, high) = limits(points[:, 0], 0.1), limits(points[:, 1], 0.1)
    horizontal = np.stack(np.broadcast_arrays(np.linspace(left, right, ALONG)[None], np.linspace(low, high, GRID)[:, None]), axis=-1)
    vertical = np.stack(np.broadcast_arrays(np.linspace(left, right, GRID)[:, None], np.linspace(low, high, ALONG)[None]), axis=-1)
    return np.concatenate([horizontal, vertical]).astype(points.dtype)


def _chosen(net: Network, values: dict[str, np.ndarray], layers: Sequence[str] | None, most: int) -> list[str]:
    """The paths of the layers to show."""
    known = with_activation(net, values)
    units = {path: values[join(path, "activation")].shape[1:] for path in known}
    if layers is None:
        hidden = [path for path in known[:-1] if len(units[path]) == 1 and units[path][0] > 1]
        if not hidden:
            raise DeltaruleError("bending needs a hidden layer of at least two units; name others with layers=[...]")
        return [hidden[i] for i in np.unique(np.linspace(0, len(hidden) - 1, min(most, len(hidden))).round().astype(int))]
    for path in [layers] if isinstance(layers, str) else layers:
        if path not in units:
            raise DeltaruleError(f"unknown layer {path!r}{nearest(str(path), units)}")
        if len(units[path]) != 1 or units[path][0] < 2:
            raise DeltaruleError(f"bending draws layers of at least two units, the rows of {path!r} have shape {units[path]}")
    return [layers] if isinstance(layers, str) else list(layers)


def _flat(h: np.ndarray, count: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Activations (m, units) as (m, 2) and the axis labels; the plane is chosen by the last `count` rows, the data."""
    if h.shape[1] == 2:
        return h, ("unit 0", "unit 1")
    data = h[-count:]
    centre = data.mean(axis=0)[None]
    _, sizes, directions = np.linalg.svd(data - centre, full_matrices=True)
    shares = np.zeros(2)
    shares[:len(sizes)] = (sizes**2 / max(float(np.sum(sizes**2)), 1e-300))[:2]
    return (h - centre) @ directions[:2].T, tuple(                                              # type: ignore[return-value]
        f"principal component {i + 1} ({shares[i]:.0%} of variance)" for i in range(2))


def _panel(ax: Any, grid: np.ndarray, points: np.ndarray, numbers: np.ndarray) -> None:
    """A grid (2 GRID, ALONG, 2) and points (n, 2)."""
    from matplotlib.collections import LineCollection

    ax.add_collection(LineCollection(list(grid), colors=[ACROSS] * GRID + [UP] * GRID, linewidths=0.6, zorder=1))
    scatter_classes(ax, points, numbers)
    ax.set_xlim(*limits(grid[..., 0], 0.03))
    ax.set_ylim(*limits(grid[..., 1], 0.03))
    ax.grid(visible=False)
    ax.tick_params(labelsize=SMALL)
