"""The trace as a figure: distributions of a, h and delta by layer, and how deltas and gradients change over the depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.glass.evaluation import plain
from deltarule.glass.style import BLUE, GREEN, ORANGE, RED, styled
from deltarule.glass.trace_table import rms, trace_table

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace, Trace

BINS = 40
MOST_LAYERS = 8


def trace_figure(trace: Trace) -> Any:
    """One row of histograms for each layer (of more than eight, the first and last four); with targets, a last panel over the depth."""
    from matplotlib.figure import Figure

    layers = list(trace)
    shown = layers if len(layers) <= MOST_LAYERS else layers[:MOST_LAYERS // 2] + layers[-MOST_LAYERS // 2:]
    backward = layers[0].deltas is not None
    names = ("preactivation", "activation", "delta") if backward else ("preactivation", "activation")
    rows = len(shown) + backward
    fig = Figure(figsize=(3.1 * len(names), 1.7 * rows), layout="constrained")
    grid = fig.add_gridspec(rows, len(names))
    for row, layer in enumerate(shown):
        for column, (name, colour) in enumerate(zip(names, (BLUE, GREEN, RED), strict=False)):
            ax = styled(fig.add_subplot(grid[row, column]))
            _histogram(ax, layer, name, colour)
            if column == 0:
                ax.set_ylabel("count", fontsize=8)
    if backward:
        _depth(styled(fig.add_subplot(grid[-1, :])), trace)
    return fig


def _histogram(ax: Any, layer: LayerTrace, name: str, colour: str) -> None:
    backward = "dL/da" if "preactivation" in (layer.deltas or {}) else "dL/dh"
    symbol = {"preactivation": "a", "activation": "h", "delta": f"delta = {backward}"}[name]
    values = _values(layer, name)
    ax.set_title(f"{_end(layer.path)}: {symbol}", fontsize=9, loc="left")
    ax.tick_params(labelsize=8)
    if values is None:
        ax.text(0.5, 0.5, "none", ha="center", va="center", color="0.5", transform=ax.transAxes)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    ax.hist(values.ravel(), bins=BINS, color=colour, alpha=0.85)
    ax.margins(y=0.25)
    ax.text(0.98, 0.94, f"rms {rms(values):.2g}", ha="right", va="top", fontsize=8, transform=ax.transAxes)


def _end(path: str, most: int = 20) -> str:
    """The end of a long path, which tells layers apart."""
    return plain(path if len(path) <= most else "…" + path[1 - most:]) or "network"


def _values(layer: LayerTrace, name: str) -> np.ndarray | None:
    if name == "delta":
        deltas = layer.deltas or {}
        return deltas.get("preactivation", deltas.get("activation"))
    return layer.activation if name == "activation" else layer.taps.get(name)


def _depth(ax: Any, trace: Trace) -> None:
    """Root mean square of the deltas and of the weights' gradients over the layers: where they fall by orders of magnitude, they vanish."""
    rows = trace_table(trace).rows
    places = np.arange(len(rows))
    for name, label, colour, marker in (("delta", "delta", RED, "o"), ("gradient", "dL/dW", ORANGE, "s")):
        values = np.array([getattr(row, name) or np.nan for row in rows], float)
        ax.plot(places[np.isfinite(values)], values[np.isfinite(values)], color=colour, marker=marker, markersize=5, label=label)
    ax.set_yscale("log")
    ax.set_xticks(places, [_end(row.path) for row in rows], fontsize=8, rotation=20 if len(rows) > 5 else 0)
    ax.set_xlabel("layer")
    ax.set_ylabel("root mean square", fontsize=8)
    ax.legend(frameon=False, fontsize=8)
