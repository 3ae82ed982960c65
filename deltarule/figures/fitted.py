"""A function of one number, fitted: the data, the network's curve, and the hidden units it is made of."""

from typing import Any

import numpy as np

from deltarule.data.arrays import as_array
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.figures.frame import SMALL, join, limits, panel, rows_of, with_activation
from deltarule.glass.style import BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from deltarule.network import Network
from deltarule.spec import nearest

POINTS = 401        # along the curves
UNITS = ORANGE, GREEN, PURPLE, SKY, RED


def fit_with_units(net: Network, x: Any, y: Any, *, layer: str | None = None, ax: Any = None, title: str | None = None) -> Any:
    """Data (dots), the network's output (line) and the outputs of its hidden units (dashed) over one input (lecture row 20).

    x (n, 1), y (n,) or (n, 1). The units are those of the last hidden layer, or of `layer`. Returns a matplotlib figure.
    Raises DeltaruleError for a network of more inputs or outputs than one and for an unknown layer, ShapeError for targets of
    another length.

    Source: C. Bishop, "Pattern Recognition and Machine Learning", 2006, figure 5.3.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], input_shape=(1,))
    >>> x = np.linspace(-1, 1, 11)[:, None]
    >>> len(fit_with_units(net, x, x**2).axes[0].lines)
    4
    """
    rows = rows_of(net, x, 1, "fit_with_units")
    if net.output_shape != (1,):
        raise DeltaruleError(f"fit_with_units draws one output, this network gives rows of shape {net.output_shape}")
    y = as_array(y, "y")
    if y.shape not in ((len(rows),), (len(rows), 1)):
        raise ShapeError(f"y has shape {y.shape} for {len(rows)} rows of x; give one target for each row")
    curve = np.linspace(*limits(rows, 0.0), POINTS, dtype=rows.dtype)
    values = net.trace(curve[:, None]).taps
    path = _hidden(net, values, layer)
    ax = panel(ax)
    if path is not None:
        for j, h in enumerate(values[join(path, "activation")].T):
            ax.plot(curve, h, color=UNITS[j % len(UNITS)], linestyle=(0, (4, 2)), linewidth=1.2, label="hidden units" if j == 0 else None)
    ax.plot(curve, net.predict(curve[:, None])[:, 0], color=BLUE, linewidth=1.8, label="network", zorder=3)
    ax.scatter(rows[:, 0], y.reshape(-1), s=12, color="0.15", label="data", zorder=4)
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.15 * (high - low))
    ax.legend(frameon=False, fontsize=SMALL, loc="upper center", ncols=3, columnspacing=1.2, handlelength=1.6)
    if title is not None:
        ax.set_title(title, fontsize=10)
    return ax.figure


def _hidden(net: Network, values: dict[str, np.ndarray], layer: str | None) -> str | None:
    """The path of the layer whose units are drawn; None for a network without a hidden layer."""
    known = with_activation(net, values)
    if layer is None:
        return known[-2] if len(known) > 1 else None
    if layer not in known:
        raise DeltaruleError(f"unknown layer {layer!r}{nearest(str(layer), known)}")
    return layer
