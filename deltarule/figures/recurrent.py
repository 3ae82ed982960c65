"""What a recurrent layer does over time: its gates and states for one sequence, and how far back an error reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DataError, DeltaruleError
from deltarule.figures.frame import SMALL, check_row, check_whole, colour
from deltarule.glass.style import figure
from deltarule.glass.through_time import factor_a_step, steps_of
from deltarule.glass.trace import LayerTrace, Trace
from deltarule.layers.recurrent import Recurrent

MOST = 4        # units that are drawn unless chosen: more lines are not told apart
NOTHING = 1e-15     # of a gradient: what is below is not drawn
GATES = ("input_gate", "forget_gate", "output_gate", "reset_gate", "update_gate")
VALUES = ("preactivation", "candidate", "cell", "state")
NAMES = {"preactivation": "pre-activation a", "candidate": "candidate", "cell": "cell c", "state": "state h"}


def gates(trace: Trace, path: str, row: int = 0, *, units: Sequence[int] | None = None, marks: Sequence[int] = ()) -> Any:
    """The gates (left) and the values (right) of the recurrent layer at `path` over time, for one row of a trace (lecture row 38).

    Of an LSTM input, forget and output gate, candidate, cell and state; of a GRU reset and update gate, candidate and state; of a
    SimpleRNN pre-activation and state. `units` are drawn in one colour each: by default the four whose states change most. `marks` are
    steps with a dotted line; steps of padding, in which the states stay as they are, have a grey ground. Of a Bidirectional ask
    "bidirectional_1/forward" or ".../backward". Returns a matplotlib figure. Raises DeltaruleError for a layer that is not recurrent, and
    rows, units and steps that are not there.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.LSTM(5), dr.Dense(1)], (7, 2))
    >>> len(gates(net.trace(np.ones((1, 7, 2))), "lstm_1", units=[0, 3]).axes)
    6
    """
    layer = _recurrent(trace, path, row)
    h = layer.taps["state"][row]                                                            # (T, units)
    T, number = h.shape
    shown = np.sort(np.argsort(-h.std(axis=0), kind="stable")[:MOST]).tolist() if units is None else list(units)
    for what, given, count in (("unit", shown, number), ("mark", list(marks), T)):
        for one in given:
            check_whole(what, one, 0)
            if one >= count:
                raise DeltaruleError(f"{path} has {count} {'units' if what == 'unit' else 'steps'}, numbered from 0; received {what} {one}")
    left = [name for name in GATES if name in layer.taps]
    right = [name for name in VALUES if name in layer.taps]
    rows = max(len(left), (len(right) + 1) // 2 if not left else len(right))
    fig, axes = figure(2, rows, width=4.4, height=1.7 if rows > 1 else 2.4)
    places = dict(zip(left, axes[::2], strict=False)) | dict(zip(right, axes[1::2] if left else axes, strict=False))
    padding = steps_of(layer).padding[row]
    for name, ax in places.items():
        _curves(ax, name, layer.taps[name][row], shown, marks, padding)
    for ax in set(axes) - set(places.values()):
        ax.remove()
    for ax in (axes[2 * len(left) - 2] if left else axes[0], list(places.values())[-1]):
        ax.set_xlabel("step")
    if len(shown) > 1:
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(shown), frameon=False, fontsize=9)
    return fig


def gradient_lag(curves: Mapping[str, ArrayLike]) -> Any:
    """How far back an error reaches: the size of dL/dh_t against the lag T - t, by name, relative to that at the last step (row 37).

    `curves` holds what `trace.by_lag(path)` gives for networks that answer at the last step, (T,) each, on a logarithmic scale; beside
    each name stands what the gradient is multiplied with in a step, on average. Returns a matplotlib figure. Raises DataError for curves
    that are empty or not finite.

    >>> fig = gradient_lag({"plain": 0.8 ** np.arange(30), "LSTM": 0.99 ** np.arange(30)})
    >>> [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    ['plain, x 0.8 a step', 'LSTM, x 0.99 a step']
    """
    fig, (ax,) = figure(width=5.6, height=3.6)
    styles = ["-", "--", "-.", ":"]
    for k, (name, values) in enumerate(curves.items()):
        norms = np.asarray(values, float)
        if norms.ndim != 1 or not norms.size or not np.isfinite(norms).all() or norms[0] <= 0:
            raise DataError(f"{name} expected the sizes that trace.by_lag(path) gives, (T,), the first above 0; received {norms.shape}")
        lag = np.arange(len(norms))
        there = norms > 0
        ax.plot(lag[there], norms[there] / norms[0], color=colour(k), linestyle=styles[k % len(styles)], linewidth=1.8,
                label=f"{name}, x {factor_a_step(norms):.3g} a step")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    if ax.get_ylim()[0] < NOTHING:
        ax.set_ylim(bottom=NOTHING)
    ax.set_xlabel("lag: steps back from the last one")
    ax.set_ylabel("size of the gradient, last step = 1")
    ax.legend(frameon=False, fontsize=9)
    return fig


def _recurrent(trace: Any, path: str, row: int) -> LayerTrace:
    check_row("gates", trace, row)
    layer = trace[path]
    if not isinstance(layer.layer, Recurrent):
        known = [other.path for other in trace if isinstance(other.layer, Recurrent)]
        raise DeltaruleError(f"{path} ({type(layer.layer).__name__}) is not a recurrent layer; {', '.join(known) or 'no layer here'} is")
    return layer


def _curves(ax: Any, name: str, values: np.ndarray, units: Sequence[int], marks: Sequence[int], padding: np.ndarray) -> None:
    """One quantity (T, units) over time."""
    steps = np.arange(len(values))
    if name != "state":         # worked out in steps of padding too, but of no effect there
        values = np.where(padding[:, None], np.nan, values)
    for k, unit in enumerate(units):
        ax.plot(steps, values[:, unit], color=colour(k), linewidth=1.4, label=f"unit {unit}", marker="o" if len(steps) == 1 else None)
    for mark in marks:
        ax.axvline(mark, color="0.4", linestyle=":", linewidth=1)
    for step in np.flatnonzero(padding):
        ax.axvspan(step - 0.5, step + 0.5, color="0.92", linewidth=0)
    if name in GATES:
        ax.set_ylim(-0.05, 1.05)
        ax.set_yticks([0, 0.5, 1])
    ax.set_ylabel(NAMES.get(name, name.replace("_", " ")), fontsize=9)
    ax.tick_params(labelsize=SMALL)
