"""How far back through time an error reaches: the size of the gradient against the number of steps it has come (lecture row 37)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.layers.recurrent import Recurrent

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace


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
