"""The trace as a table: one row for each layer, with the numbers that say whether it is healthy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace, Trace

BOUNDED = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}     # activations with flat ends, and the ends
RECTIFIED = ("relu",)                                      # activations that can fall silent for good
NEAR = 0.02                                                # of the range: this near to an end the slope is below 8% of its largest


@dataclass(frozen=True)
class TraceRow:
    """Statistics of one layer over all examples and units. Root mean squares; None where there is no such quantity.

    `saturated` is the share of values within 2 % of the ends of a sigmoid or tanh, `silent` the share of ReLU units that are zero
    for every example.
    """

    path: str
    layer: str
    units: tuple[int, ...]
    preactivation: float | None
    activation: float
    delta: float | None
    gradient: float | None
    weights: float | None
    saturated: float | None
    silent: float | None


@dataclass(frozen=True)
class TraceTable:
    """The rows of a trace's table; printing it shows them."""

    rows: tuple[TraceRow, ...]

    def __str__(self) -> str:
        header = ("layer", "kind", "shape", "rms a", "rms h", "rms delta", "rms dL/dW", "rms W", "saturated", "silent")
        body = [_cells(row) for row in self.rows]
        widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]

        def line(cells: tuple[str, ...]) -> str:
            left = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
            return "  ".join(left + [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]).rstrip()

        return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, body)])

    __repr__ = __str__

    def to_frame(self) -> Any:
        """The table as a polars DataFrame."""
        import polars

        return polars.DataFrame([asdict(row) | {"units": str(row.units)} for row in self.rows])


def trace_table(trace: Trace) -> TraceTable:
    """The table of a trace; see `TraceRow` for its columns."""
    return TraceTable(tuple(trace_row(layer) for layer in trace))


def trace_row(layer: LayerTrace) -> TraceRow:
    """The statistics of one layer."""
    taps, deltas = layer.taps, layer.deltas or {}
    delta = deltas.get("preactivation", deltas.get("activation"))
    return TraceRow(layer.path, type(layer.layer).__name__, layer.activation.shape[1:],
                    _rms(taps.get("preactivation")), rms(layer.activation), _rms(delta),
                    _rms(_weights(layer.gradients or {})), _rms(_weights(layer.parameters)), saturated(layer), silent(layer))


def function_of(layer: LayerTrace) -> Any:
    """The activation of a layer, by name or as an object; None where it has none."""
    return getattr(layer.layer, "activation", getattr(layer.layer, "function", None))


def saturated(layer: LayerTrace) -> float | None:
    """The share of values of a sigmoid or tanh layer that lie within 2 % of the function's range from its ends, where it is flat."""
    name = function_of(layer)
    if not isinstance(name, str) or name not in BOUNDED:
        return None
    low, high = BOUNDED[name]
    margin = NEAR * (high - low)
    return float(np.mean((layer.activation < low + margin) | (layer.activation > high - margin)))


def silent(layer: LayerTrace) -> float | None:
    """The share of the units of a ReLU layer that are zero for every example: they learn nothing from these examples."""
    if function_of(layer) not in RECTIFIED:
        return None
    h = layer.activation.reshape(-1, layer.activation.shape[-1])
    return float(np.mean(np.all(h <= 0, axis=0)))


def rms(values: np.ndarray) -> float:
    """Root mean square of an array.

    >>> rms(np.array([3.0, -4.0, 0.0, 0.0]))
    2.5
    """
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


def _rms(values: np.ndarray | None) -> float | None:
    return None if values is None or values.size == 0 else rms(values)


def _weights(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    return arrays.get("weights", next((value for value in arrays.values() if value.ndim > 1), None))


def _cells(row: TraceRow) -> tuple[str, ...]:
    numbers = (row.preactivation, row.activation, row.delta, row.gradient, row.weights)
    return row.path or "network", row.layer, str(row.units), *map(_number, numbers), _share(row.saturated), _share(row.silent)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
