"""A layer applied to every step of a sequence: frames of a film, pictures of an album, sentences of a page."""

import math
from dataclasses import dataclass

import jax.numpy as jnp

from deltarule.errors import ShapeError
from deltarule.layers.composition import as_layer
from deltarule.layers.layer import Layer
from deltarule.layers.masking import steps_mask
from deltarule.layers.scope import Array, Link, Scope
from deltarule.spec import register


@register
@dataclass(frozen=True)
class TimeDistributed(Layer):
    """h_t = f(x_t): the same layer f, with the same weights, for every step t.

    For layers that need a row of their own for each step, such as Conv2D over frames; Dense, LayerNorm and Dropout work step by step as
    they are. Padding (`Masked`) stays padding, and takes no part in the statistics of BatchNorm. Shapes: (batch, T, ...) -> (batch, T,
    ...). Raises ShapeError for inputs without steps.

    >>> import deltarule as dr
    >>> frames = dr.TimeDistributed([dr.Conv2D(8, 3, "relu"), dr.GlobalAveragePool()])
    >>> dr.Network([frames, dr.LSTM(5)], input_shape=(7, 28, 28, 1)).summary().rows[1].output_shape
    (8,)
    """

    layer: Layer

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_layer(self.layer, "TimeDistributed"))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h_t = f(x_t)."""
        if x.ndim < 3:
            raise ShapeError(f"TimeDistributed expected sequences (steps, ...), received inputs of shape {tuple(x.shape[1:])}")
        run, mask, steps = scope.run, steps_mask(self, x, scope), (x.shape[0], x.shape[1])
        kept, probes, taps, seen = run.counted, run.probes, set(run.taps or ()), set(run.seen or ())
        run.counted, scope.mask = _real(run.counted, mask, steps), None
        if probes is not None:
            inside = scope.path + "/" if scope.names else ""
            run.probes = {path: _rows(probe) if path.startswith(inside) and probe.shape[:2] == steps and path not in taps else probe
                          for path, probe in probes.items()}
        h = self.layer(_rows(x), scope / "layer")
        run.counted, run.probes, scope.mask = kept, probes, mask
        unfolded = h.reshape(*steps, *h.shape[1:])
        for path in set(run.taps or ()) - taps:
            run.taps[path] = unfolded if run.taps[path] is h else _apart(run.taps[path], steps)     # type: ignore[index]
        for path in set(run.seen or ()) - seen:
            run.seen[path] = tuple(_apart(value, steps) for value in run.seen[path])     # type: ignore[index]
        if run.link is not None and run.link.h is h:
            run.link = Link(_apart(run.link.a, steps), unfolded, run.link.activation)
        return unfolded


def _real(counted: Array | None, mask: Array | None, steps: tuple[int, int]) -> Array | None:
    """(batch T,), False for steps that must not enter any statistics."""
    if counted is None and mask is None:
        return None
    real = jnp.ones(steps, bool) if counted is None else jnp.broadcast_to(counted[:, None], steps)
    return (real if mask is None else real & mask).reshape(math.prod(steps))


def _rows(x: Array) -> Array:
    """(batch, T, ...) as (batch T, ...)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _apart(x: Array, steps: tuple[int, int]) -> Array:
    """The inverse of `_rows`."""
    return x.reshape(*steps, *x.shape[1:])
