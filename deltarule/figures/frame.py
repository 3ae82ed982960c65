"""What the figures share: a panel to draw in, colours with a meaning, and targets read as classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.glass.style import BLUE, COLOURS, RED, figure
from deltarule.glass.trace import Trace
from deltarule.layers import Dropout, Flatten, Sequential, SpatialDropout
from deltarule.network import Network
from deltarule.training import prepare

POSITIVE, NEGATIVE = BLUE, RED
SIGNED, UNSIGNED = "RdBu", "viridis"     # colour maps: red below zero, blue above; and for what has no sign
PAIRS = (0, 1), (-1, 1)                 # the targets of one output: binary, bipolar
UNSEEN = Sequential, Flatten, Dropout, SpatialDropout     # layers that hand on, when predicting, what they are given
SMALL = 8                               # points: the smallest letters of any figure


def panel(ax: Any, width: float = 4.2, height: float = 3.2) -> Any:
    """The axes to draw in: those given, or those of a new figure."""
    return figure(width=width, height=height)[1][0] if ax is None else ax


def rows_of(net: Network, x: Any, inputs: int, what: str) -> np.ndarray:
    """x as the rows (n, inputs) that a network of so many inputs takes. Raises DeltaruleError for a network of another input."""
    if not isinstance(net, Network):
        raise DeltaruleError(f"{what} draws a Network, received {type(net).__name__}")
    if net.input_shape != (inputs,):
        number = "one input" if inputs == 1 else f"{inputs} inputs"
        raise DeltaruleError(f"{what} needs a network of {number}, input_shape=({inputs},); this one has input_shape={net.input_shape}")
    return prepare.inputs(x, net.input_shape, net.dtype, parts=net.parts).astype(net.dtype, copy=False)


def with_activation(net: Network, values: dict[str, np.ndarray]) -> list[str]:
    """The paths of the layers that hand on an activation of their own, in order."""
    return [visit.path for visit in net.plan.visits if join(visit.path, "activation") in values
            and not isinstance(visit.layer, UNSEEN)]


def join(*names: str) -> str:
    """A path from its parts; the network itself has the empty path.

    >>> join("", "weights"), join("dense_1", "weights")
    ('weights', 'dense_1/weights')
    """
    return "/".join(filter(None, names))


def as_classes(y: Any, rows: int, known: Sequence[Any] | None = None) -> tuple[np.ndarray, list[Any]] | None:
    """Targets as class numbers (n,) and what the classes are called; None where y holds measured numbers.

    y is (n,) or (n, 1) of whole numbers, words, or floats that are only 0 and 1 or only -1 and 1, or (n, K) with one column
    for each class. `known` are all classes there are, where that is known. Raises ShapeError unless there is one target for each of
    the rows, DeltaruleError for a class that is not known.

    >>> as_classes([-1.0, 1.0, 1.0], 3)
    (array([0, 1, 1]), [-1, 1])
    >>> as_classes([0.5, 1.0], 2) is None
    True
    """
    values = np.asarray(y)
    if values.ndim not in (1, 2) or len(values) != rows:
        raise ShapeError(f"y has shape {values.shape} for {rows} rows of x; give one target for each row")
    if values.ndim == 2 and values.shape[1] > 1:
        if known is not None and len(known) != values.shape[1]:
            raise ShapeError(f"y has {values.shape[1]} columns, the model knows {len(known)} classes; give one column for each")
        values = values.argmax(axis=1)
    values = values.reshape(rows)
    if values.dtype.kind == "f":
        if not any(np.isin(values, pair).all() for pair in PAIRS):
            return None
        values = values.astype(int)
    words = values.astype(str) if values.dtype.kind == "O" else values
    if known is None:
        pairs = [pair for pair in PAIRS if words.dtype.kind in "bui" and np.isin(words, pair).all()]
        known = pairs[0] if pairs else np.unique(words).tolist()
    number = {value: k for k, value in enumerate(known)}
    for value in np.unique(words).tolist():
        if value not in number:
            raise DeltaruleError(f"y holds {value!r}, the model knows the classes {', '.join(map(str, known))}")
    return np.array([number[value] for value in words.tolist()]), list(known)


def named(names: Sequence[str] | None, known: Sequence[Any], what: str = "names") -> list[str]:
    """The names of the classes, by default the values themselves. Raises DeltaruleError for another number of names."""
    if names is None:
        return [str(value) for value in known]
    if isinstance(names, str) or len(names) != len(known):
        raise DeltaruleError(f"{what} expected {len(known)} words, one for each, received {names!r}")
    return [str(name) for name in names]


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse anything but a whole number from `least` on. Raises DeltaruleError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DeltaruleError(f"{name} expected a whole number from {least} on, received {value!r}")


def check_row(owner: str, trace: Any, row: int) -> None:
    """Raises DeltaruleError for anything but a trace, and for a row that it does not have."""
    if not isinstance(trace, Trace):
        raise DeltaruleError(f"{owner} expected what net.trace(x) returns, received {type(trace).__name__}")
    check_whole("row", row, 0)
    if row >= len(trace):
        raise DeltaruleError(f"there are {len(trace)} rows in the trace, numbered from 0; received {row}")


def colour(k: int) -> str:
    """The colour of class k."""
    return COLOURS[k % len(COLOURS)]


def scatter_classes(ax: Any, points: np.ndarray, numbers: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Points (n, 2) in the colours of their classes (n,), with a white rim so that they stand out; large where they are few."""
    size = 60 if len(points) <= 20 else 18
    for k in np.unique(numbers):
        ax.scatter(*points[numbers == k].T, s=size, color=colour(k), edgecolors="white", linewidths=0.6, zorder=4,
                   label=None if names is None else names[k])


def limits(values: np.ndarray, margin: float = 0.08) -> tuple[float, float]:
    """The range of some numbers with a margin on both sides; of equal numbers a range of 1 around them.

    >>> limits(np.array([0.0, 1.0]), margin=0.5), limits(np.array([2.0]))
    ((-0.5, 1.5), (1.5, 2.5))
    """
    low, high = float(np.min(values)), float(np.max(values))
    extent = high - low
    return (low - margin * extent, high + margin * extent) if extent > 0 else (low - 0.5, high + 0.5)
