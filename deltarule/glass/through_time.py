"""A recurrent layer through time: what each step began with, which steps are padding, how far back an error reaches (lecture row 37)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.layers.recurrent import LSTM, Recurrent

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace


class Steps(NamedTuple):
    """What every step began with, (n, T, units) each: h, and the cell c of an LSTM; `padding` (n, T) where there was no step."""

    h: np.ndarray
    c: np.ndarray
    padding: np.ndarray


def steps_of(layer: LayerTrace) -> Steps:
    """The states before every step."""
    kind: Any = layer.layer
    reverse, taps = kind.reverse, {name: _in_order(value, kind.reverse) for name, value in layer.taps.items() if value.ndim == 3}
    h = taps["state"].astype(float)
    h_before = np.concatenate([_first(layer, "initial", h), h[:, :-1]], axis=1)
    padding = _in_order(layer.taps.get("mask", np.ones(h.shape[:2])), reverse) == 0
    c_before = np.zeros_like(h)
    if isinstance(kind, LSTM):
        c = _first(layer, "initial_cell", h)[:, 0]
        for t in range(h.shape[1]):
            c_before[:, t] = c
            c = np.where(padding[:, t, None], c, taps["cell"][:, t])
    return Steps(*(_in_order(value, reverse) for value in (h_before, c_before, padding)))


def gradient_by_lag(layer: LayerTrace) -> np.ndarray:
    """|dL/ds_t| for lag T - t = 0 ... T - 1 (T,), root mean square over the examples; s is the state h, the cell of an LSTM.

    Raises DeltaruleError for a layer that is not recurrent and a trace without targets.
    """
    if not isinstance(layer.layer, Recurrent):
        cure = f"; ask {' or '.join(layer.inner)}" if layer.inner else ""
        raise DeltaruleError(f"by_lag follows the states of a recurrent layer; {layer.path} is a {type(layer.layer).__name__}{cure}")
    if layer.deltas is None:
        raise DeltaruleError("by_lag needs targets; write net.trace(x, y)")
    delta = layer.deltas.get("cell", layer.deltas["state"]).astype(float)               # (n, T, units)
    norms = np.sqrt(np.mean(np.sum(delta**2, axis=-1), axis=0))
    return norms if layer.layer.reverse else norms[::-1]


def factor_a_step(norms: np.ndarray) -> float:
    """What a gradient is multiplied with in a step, on average: exp of the slope of log |dL/ds_t| over the lag, by least squares.

    Lags at which nothing is left (less than 1e-30 of the largest) do not count; nan where fewer than two are left.

    >>> factor_a_step(np.array([8.0, 4.0, 2.0, 1.0]))
    0.5
    """
    lag = np.flatnonzero(norms > 1e-30 * np.max(norms, initial=0))
    if len(lag) < 2:
        return float("nan")
    return float(np.round(np.exp(np.polyfit(lag, np.log(norms[lag]), 1)[0]), 12))


def _in_order(values: np.ndarray, reverse: bool) -> np.ndarray:
    """Steps (n, T, ...) in the order in which they are run, and back."""
    return values[:, ::-1] if reverse else values


def _first(layer: LayerTrace, name: str, h: np.ndarray) -> np.ndarray:
    """The state before the first step, zeros or learnt: (n, 1, units)."""
    return np.broadcast_to(layer.parameters.get(name, np.zeros(h.shape[-1])), (len(h), 1, h.shape[-1]))
