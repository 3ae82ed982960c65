"""The diagram of a network: units as circles, weights as lines whose width is |w| and whose colour is the sign."""

from typing import Any, NamedTuple

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.figures.boxes import boxes
from deltarule.figures.frame import NEGATIVE, POSITIVE, SMALL, UNSEEN, check_whole, join
from deltarule.glass.evaluation import plain
from deltarule.glass.style import GREEN
from deltarule.glass.trace import Trace
from deltarule.layers import Activation, Dense, Dropout, SpatialDropout
from deltarule.layers.activation import ActivationLayer
from deltarule.layers.scope import get
from deltarule.network import Network

WIDE, APART, CLOSE = 2.3, 0.62, 0.4         # inches: between layers, between units, and between the units of large layers
RADIUS = 0.39                               # of a unit, in distances between units
CROWD = 9                                   # so many units make a large layer: no numbers in them
THICKEST = 4.0                              # points: the line of the largest |w|


class Column(NamedTuple):
    """A layer as it is drawn: the labels beneath, and for the units that are shown their numbers and heights."""

    path: str | None            # None for the input
    labels: tuple[str, ...]
    units: int
    numbers: np.ndarray         # (shown,)
    heights: np.ndarray         # (shown,), in inches
    radius: float               # of a unit, in inches


def network(net: Network, *, trace: Trace | None = None, example: int = 0, deltas: bool = False, most_units: int = 12) -> Any:
    """The diagram of a network (lecture row 16).

    Chains of dense layers are drawn unit by unit: the width of a line is |w|, on one scale for the whole network, blue where w > 0
    and vermilion where w < 0; of layers with more than `most_units` units the first and the last few are shown. With a `trace`,
    made by `net.trace(x, y)`, the units are filled by their activations for one `example`, and with `deltas` the delta of each stands
    above it. Biases are not drawn. Any other network is drawn as boxes, one for each layer, with the shapes that leave them.
    Returns a matplotlib figure. Raises DeltaruleError for an example that the trace lacks, for deltas without a trace that holds
    them, and for fewer than 2 units.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2, "softmax")], input_shape=(4,))
    >>> [text.get_text() for text in network(net).axes[0].texts][3:6]
    ['3 units', 'tanh', 'dense_2']
    """
    if not isinstance(net, Network):
        raise DeltaruleError(f"network draws a Network, received {type(net).__name__}")
    check_whole("most_units", most_units, 2)
    if trace is not None and not isinstance(trace, Trace):
        raise DeltaruleError(f"trace expected what net.trace(x) returns, received {type(trace).__name__}")
    if trace is not None and not 0 <= example < len(trace):
        raise DeltaruleError(f"there are {len(trace)} examples in the trace, numbered from 0; received {example}")
    if deltas and trace is None:
        raise DeltaruleError("deltas need a trace with targets; write network(net, trace=net.trace(x, y), deltas=True)")
    columns = _columns(net, most_units)
    if columns is None:
        return boxes(net)
    fig = _units(net, columns, trace, example)
    if deltas and trace is not None:
        for i, column in enumerate(columns[1:], 1):
            _deltas(fig.axes[0], WIDE * i, column, trace[str(column.path)].delta[example])
    return fig


def _columns(net: Network, most: int) -> list[Column] | None:
    """The layers of a chain of dense layers, the input first; None for any other network."""
    found: list[tuple[str | None, list[str], int]] = []
    waiting: list[str] = []                             # what happens to the input before the first dense layer
    for visit in net.plan.visits:
        layer, notes = visit.layer, found[-1][1] if found else waiting
        if isinstance(layer, Dense) and len(visit.input_shape) == 2:
            if not found:
                inputs = visit.input_shape[1]
                found.append((None, ["input", _count(inputs), *waiting], inputs))
            found.append((visit.path, [visit.path or "dense", _count(layer.units), *_activation(layer.activation)], layer.units))
        elif isinstance(layer, (Dropout, SpatialDropout)):
            notes.append(f"dropout {layer.rate:g}")
        elif isinstance(layer, (Activation, ActivationLayer)):
            notes.extend(_activation(layer.function if isinstance(layer, Activation) else layer))
        elif not isinstance(layer, UNSEEN):
            return None
    if not found:
        return None
    apart = APART if max(min(units, most + 1) for _, _, units in found) < CROWD else CLOSE
    columns = []
    for path, labels, units in found:
        numbers, heights = _shown(units, most)
        columns.append(Column(path, tuple(labels), units, numbers, apart * heights, apart * RADIUS))
    return columns


def _count(units: int) -> str:
    return "1 unit" if units == 1 else f"{units:,} units"


def _activation(activation: Any) -> list[str]:
    name = activation if isinstance(activation, str) else repr(activation)
    return [] if name == "linear" else [name]


def _shown(units: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and places of the units that are drawn, centred on 0; between first and last ones there is room for an ellipsis."""
    if units <= most:
        return np.arange(units), (units - 1) / 2 - np.arange(units)
    above = (most + 1) // 2
    numbers = np.concatenate([np.arange(above), np.arange(units - (most - above), units)])
    slots = np.concatenate([np.arange(above), np.arange(above + 1, most + 1)])
    return numbers, most / 2 - slots


def _units(net: Network, columns: list[Column], trace: Trace | None, example: int) -> Any:
    from matplotlib.figure import Figure

    top = max(float(column.heights[0]) for column in columns) + columns[0].radius
    lines = max(len(column.labels) for column in columns)
    left, right, bottom = -0.9, WIDE * (len(columns) - 1) + 0.9, -top - 0.25 - 0.19 * lines
    fig = Figure(figsize=(right - left + (2.7 if trace is not None else 1.8), top - bottom + 0.3), layout="constrained")
    ax = fig.add_subplot()
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top + 0.1)
    ax.set_aspect("equal")
    ax.set_axis_off()
    weights = [np.asarray(get(net.params, join(str(column.path), "weights")), float) for column in columns[1:]]
    largest = max(float(np.abs(W).max()) for W in weights) or 1.0
    for i, W in enumerate(weights):
        _connections(ax, WIDE * i, columns[i], columns[i + 1], W, largest)
    values = None if trace is None else _activations(trace, columns, example)
    fill = None if values is None else _scale(values)
    for i, column in enumerate(columns):
        _circles(ax, WIDE * i, column, None if values is None else values[i], fill)
        for k, label in enumerate(column.labels):
            ax.text(WIDE * i, -top - 0.15 - 0.19 * k, plain(label), ha="center", va="top", fontsize=9, weight="bold" if k == 0 else None)
    _legend(ax, largest)
    if fill is not None:
        bar = fig.colorbar(fill, ax=ax, shrink=0.6, aspect=18)
        bar.set_label(f"activation, example {example}", fontsize=9)
        bar.ax.tick_params(labelsize=SMALL)
    return fig


def _connections(ax: Any, x: float, before: Column, after: Column, W: np.ndarray, largest: float) -> None:
    """The lines between two columns; thick ones are drawn last."""
    from matplotlib.collections import LineCollection

    w = W[np.ix_(before.numbers, after.numbers)].reshape(-1)                                    # (from, to), flat
    order = np.argsort(np.abs(w), kind="stable")
    ends = [((x, start), (x + WIDE, end)) for start in before.heights for end in after.heights]
    ax.add_collection(LineCollection([ends[k] for k in order], linewidths=THICKEST * np.abs(w[order]) / largest, zorder=1, alpha=0.75,
                                     colors=[POSITIVE if w[k] > 0 else NEGATIVE for k in order]))


def _circles(ax: Any, x: float, column: Column, values: np.ndarray | None, fill: Any) -> None:
    """The units of one layer, filled and inscribed by their values where there are any."""
    from matplotlib.patches import Circle

    for number, height in zip(column.numbers, column.heights, strict=True):
        face = "white" if values is None else fill.to_rgba(values[number])
        ax.add_patch(Circle((x, height), column.radius, facecolor=face, edgecolor="0.2", linewidth=1.0, zorder=3))
        if values is not None and column.radius == APART * RADIUS:
            dark = float(np.dot(face[:3], (0.299, 0.587, 0.114))) < 0.5
            ax.text(x, height, _short(values[number]), ha="center", va="center", fontsize=SMALL, color="white" if dark else "0.1", zorder=4)
    if len(column.numbers) < column.units:
        gap = int(np.argmax(np.diff(column.numbers) > 1))
        ax.text(x, (column.heights[gap] + column.heights[gap + 1]) / 2, "⋮", ha="center", va="center", fontsize=15, zorder=4,
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"})


def _deltas(ax: Any, x: float, column: Column, delta: np.ndarray) -> None:
    """The delta of each unit of a layer, above its circle."""
    for number, height in zip(column.numbers, column.heights, strict=True):
        ax.text(x, height + 1.29 * column.radius, f"{delta[number]:+.2g}", ha="center", va="center", fontsize=SMALL, color=GREEN,
                weight="bold", zorder=2.5, bbox={"boxstyle": "round,pad=0", "facecolor": "white", "edgecolor": "none"})


def _short(value: float) -> str:
    """A number of at most five letters.

    >>> [_short(value) for value in (0.0, -0.5312, 12.34, 1234567.0)]
    ['0', '-0.53', '12', '1e+06']
    """
    if abs(value) < 0.005:
        return "0"
    return format(value, ".2f" if abs(value) < 10 else ".0f" if abs(value) < 1e4 else ".0e")


def _activations(trace: Trace, columns: list[Column], example: int) -> list[np.ndarray]:
    """What every unit of every column hands on for one example."""
    paths = [str(column.path) for column in columns[1:]]
    values = [trace[paths[0]].input, *(trace[path].activation for path in paths)]
    if [h.shape[1:] for h in values] != [(column.units,) for column in columns]:
        raise DeltaruleError("the trace belongs to another network; make it with net.trace(x) of this one")
    return [np.asarray(h[example], float) for h in values]


def _scale(values: list[np.ndarray]) -> Any:
    """One colour scale for all activations: purple is large, and orange negative where there are negative ones."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    every = np.concatenate(values)
    most = float(np.abs(every).max()) or 1.0
    return ScalarMappable(Normalize(-most, most), "PuOr") if every.min() < 0 else ScalarMappable(Normalize(0.0, most), "Purples")


def _legend(ax: Any, largest: float) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=POSITIVE, linewidth=2, label="w > 0"), Line2D([], [], color=NEGATIVE, linewidth=2, label="w < 0")]
    handles += [Line2D([], [], color="0.4", linewidth=THICKEST * share, label=f"|w| = {share * largest:.2g}") for share in (1.0, 0.25)]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
