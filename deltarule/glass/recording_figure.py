"""What was recorded while a network learnt, over its steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deltarule.glass.style import COLOURS, styled

LABELS = {"loss": "loss of the batch", "weight_norm": "rms W", "gradient_norm": "rms dL/dW", "update_ratio": "rms step / rms W",
          "delta_norm": "rms delta = dL/da"}
HEALTHY = 1e-3      # rule of thumb for the size of a step relative to the weights
MOST_LINES = 8


def recording_figure(recording: Any) -> Any:
    """One panel for each recorded quantity, lines by layer, and one for each layer's activations: the share of values by size.

    `recording` is a `Recording`; copies of weights are not drawn. Returns a matplotlib figure.
    """
    from matplotlib.figure import Figure

    lines = [quantity for quantity in recording if quantity in LABELS]
    histograms = list(recording["activation_histogram"]) if "activation_histogram" in recording else []
    count = max(1, len(lines) + len(histograms))
    columns = min(3, count)
    fig = Figure(figsize=(4.0 * columns, 2.7 * math.ceil(count / columns)), layout="constrained")
    grid = fig.add_gridspec(math.ceil(count / columns), columns)
    axes = [styled(fig.add_subplot(grid[i // columns, i % columns])) for i in range(count)]
    for ax, quantity in zip(axes, lines, strict=False):
        _lines(ax, recording, quantity)
    for ax, layer in zip(axes[len(lines):], histograms, strict=False):
        _bands(fig, ax, recording, layer)
    for ax in axes:
        ax.set_xlabel("step")
    return fig


def _lines(ax: Any, recording: Any, quantity: str) -> None:
    found = {path: values for path, values in recording[quantity].items() if not path.endswith("bias")} or recording[quantity]
    for colour, (path, values) in zip(COLOURS, list(found.items())[:MOST_LINES], strict=False):
        ax.plot(recording.steps, values, color=colour, linewidth=1.3, label=path.removesuffix("/weights"))
    positive = all(np.all(values > 0) for values in found.values())
    if quantity != "weight_norm" and positive:
        ax.set_yscale("log")
    if quantity == "update_ratio":
        ax.axhline(HEALTHY, color="0.5", linestyle=":", linewidth=1)
        ax.annotate("0.001", (1, HEALTHY), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
                    ha="right", fontsize=8)
    ax.set_ylabel(LABELS[quantity])
    if len(found) > 1 or quantity != "loss":
        ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1, handlelength=1.2)


def _bands(fig: Any, ax: Any, recording: Any, layer: str) -> None:
    """Share of the activations by size (upwards) over the steps (rightwards), all steps on one scale of sizes."""
    shares, ends = recording["activation_histogram"][layer], recording["activation_range"][layer]
    bins = shares.shape[1] if shares.ndim == 2 else 1
    low, high = (float(ends[:, 0].min()), float(ends[:, 1].max())) if len(ends) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    image = np.array([_on(edges, share, end) for share, end in zip(shares, ends, strict=True)]).reshape(-1, bins)
    width = recording.steps[-1] - recording.steps[-2] if len(recording.steps) > 1 else 1
    steps = np.append(recording.steps, recording.steps[-1:] + width)
    ax.grid(visible=False)
    if len(image):
        mesh = ax.pcolormesh(steps, edges, image.T, cmap="viridis", vmin=0, rasterized=True)
        fig.colorbar(mesh, ax=ax, label="share")
    ax.set_ylabel(f"h of {layer or 'the network'}")


def _on(edges: np.ndarray, shares: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A histogram between its own ends as one on common edges: the cumulative share is interpolated."""
    own = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1e-9, len(shares) + 1)
    cumulative = np.interp(edges, own, np.concatenate([[0.0], np.cumsum(shares)]), left=0.0, right=float(np.sum(shares)))
    return np.diff(cumulative)
