"""Figures of the neuron itself: activation functions with their slopes, and what weight and bias do."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.figures.frame import SMALL, check_whole
from deltarule.glass.style import BLUE, ORANGE, figure
from deltarule.ops import activations as g

USUAL = ("linear", "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu")
COUPLED = ("softmax", "log_softmax")        # of several units: drawn for two, the other one at a = 0


def activations(names: Sequence[str] = USUAL, *, columns: int = 5) -> Any:
    """Activation functions g(a) and their slopes g'(a), one panel for each name (lecture row 10).

    Softmax and log-softmax, which need more than one unit, are drawn for two, with 0 as the pre-activation of the other.
    Returns a matplotlib figure. Raises DeltaruleError for an unknown name and for none.

    >>> [ax.get_title() for ax in activations(["sigmoid", "relu"]).axes]
    ['sigmoid', 'relu']
    """
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, Sequence) or not names:
        raise DeltaruleError(f"activations expected names such as ['sigmoid', 'relu'], received {names!r}")
    check_whole("columns", columns, 1)
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    fig, axes = figure(columns, rows, width=max(2.1, 4.0 / columns), height=2.1)
    a = np.linspace(-4, 4, 801, dtype=np.float32)
    curves = jax.device_get(jax.jit(lambda a: [_drawn(name, a) for name in names])(a))      # one program: many small ones take long
    for ax, name, (h, slope) in zip(axes, names, curves, strict=False):
        ax.plot(a, _broken_at_jumps(h), color=BLUE, label="g(a)")
        ax.plot(a, _broken_at_jumps(slope), color=ORANGE, linestyle="--", label="g'(a)")
        ax.set_title(f"{name} of (a, 0)" if name in COUPLED else name, fontsize=10)
        ax.set_ylim(*_range(h, slope))
        ax.set_xticks([-4, -2, 0, 2, 4])
        ax.tick_params(labelsize=SMALL)
    for ax in axes[len(names):]:
        ax.remove()
    for i, ax in enumerate(axes[:len(names)]):
        if i + columns >= len(names):
            ax.set_xlabel("pre-activation a", fontsize=9)
    axes[0].legend(frameon=False, fontsize=SMALL, loc="upper left")
    return fig


def neuron(weights: Sequence[float] = (0.5, 1, 2, 5), biases: Sequence[float] = (-4, -2, 0, 2, 4)) -> Any:
    """What weight and bias do to a sigmoid neuron y = sigmoid(w x + b): weights steepen, the bias shifts (lecture row 1).

    Left the `weights` at b = 0, right the `biases` at w = 1. Returns a matplotlib figure. Raises DeltaruleError where one is empty.

    >>> [ax.get_title() for ax in neuron().axes]
    ['the weight steepens', 'the bias shifts']
    """
    from matplotlib import colormaps

    for what, values in (("weights", weights), ("biases", biases)):
        if np.ndim(values) != 1 or not len(values):
            raise DeltaruleError(f"neuron expected a list of numbers as {what}, received {values!r}")
    fig, axes = figure(columns=2, width=4.0, height=3.2)
    x = np.linspace(-8, 8, 401, dtype=np.float32)
    curves: list[list[tuple[float, float, str]]] = [[(w, 0.0, f"w = {w:g}") for w in weights], [(1.0, b, f"b = {b:g}") for b in biases]]
    titles = "the weight steepens", "the bias shifts"
    for ax, family, title, fixed in zip(axes, curves, titles, ("b = 0", "w = 1"), strict=True):
        for (w, b, label), shade in zip(family, np.linspace(0, 0.85, len(family)), strict=True):
            y = np.asarray(g.sigmoid(np.float32(w) * x + np.float32(b)))
            ax.plot(x, y, color=colormaps["viridis"](shade), label=label)
        ax.set_title(title, fontsize=11)
        ax.set_xlabel("input x")
        ax.set_ylabel("output y = sigmoid(w x + b)")
        ax.set_ylim(-0.04, 1.04)
        ax.legend(frameon=False, fontsize=9, loc="upper left", title=fixed, title_fontsize=9, handlelength=1.4)
    return fig


def _drawn(name: str, a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """g(a) and g'(a) at the points a (n,)."""
    function, slope = g.activation(name), g.derivative(name)
    if name in COUPLED:
        pairs = jnp.stack([a, jnp.zeros_like(a)], axis=-1)
        return function(pairs)[:, 0], slope(pairs)[:, 0, 0]
    return function(a), slope(a)


def _broken_at_jumps(values: np.ndarray) -> np.ndarray:
    """The values with a gap where they jump, so that no line is drawn that is not there."""
    drawn = values.astype(float)
    drawn[1:][np.abs(np.diff(drawn)) > 0.3] = np.nan
    return drawn


def _range(h: np.ndarray, slope: np.ndarray) -> tuple[float, float]:
    """What is shown of the vertical axis: both curves, but not more than -4 to 4."""
    both = np.concatenate([h, slope])
    low, high = max(-4.0, float(both.min())), min(4.0, float(both.max()))
    margin = 0.08 * (high - low)
    return low - margin, high + margin
