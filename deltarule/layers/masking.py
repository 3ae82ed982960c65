"""Sequences of unequal length: which steps are real, so that those that only fill up never change a result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from deltarule.checks import check_number
from deltarule.errors import ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.layers.space import check_images_of
from deltarule.spec import register


@register
@dataclass(frozen=True)
class Masked(Layer):
    """h = x; steps in which every feature equals `value` are padding for the layers behind it.

    Recurrent layers keep their state there and give zeros, `reverse` begins at the last real step; nobody's attention goes there;
    convolutions read zeros there, as beyond the ends; all pooling, BatchNorm and GroupNorm, and losses and metrics of every step, leave
    padding out. Behind a stride those steps are real that the sequence has when it is alone. Layers that work step by step (Dense,
    Dropout, LayerNorm) need not know; those that cannot leave padding out (AdaptiveMaxPool, Crop, Pad, UpSample) are refused behind it.
    Where it reads the inputs, rows of padding alone are refused. `dr.data.pad` fills sequences up; a trace shows the "mask" of every
    recurrent layer, 1 and 0. Shapes: (batch, steps, features) -> the same, or (batch, steps) of whole numbers before an Embedding.
    Raises DeltaruleError for a value that is no number, ShapeError for other inputs.

    >>> import deltarule as dr
    >>> x, lengths = dr.data.pad([[[1.0], [3.0]], [[5.0]]], value=-1.0)
    >>> dr.Network([dr.Masked(-1.0), dr.GlobalAveragePool()], input_shape=(2, 1)).predict(x)[:, 0].tolist()
    [2.0, 5.0]
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "value")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x."""
        if x.ndim != 2:
            check_images_of(self, x, 1)
        scope.mask = x != self.value if x.ndim == 2 else jnp.any(x != self.value, axis=-1)
        return scope.tap("activation", x)


def steps_mask(layer: Layer, x: Array, scope: Scope) -> Array | None:
    """The mask (batch, steps) for these inputs of a layer, None where all steps are real.

    Raises ShapeError where a layer in between has changed the number of steps.
    """
    mask = scope.mask
    if mask is not None and tuple(mask.shape) != tuple(x.shape[:2]):
        raise ShapeError(f"{type(layer).__name__} received {x.shape[1]} steps, but Masked() stood where there were {mask.shape[1]}; put it "
                         "behind the layers that change the number of steps")
    return mask


def refuse_padding(layer: Layer, scope: Scope, why: str) -> None:
    """Raise ShapeError where some steps are padding."""
    if scope.mask is not None:
        raise ShapeError(f"{type(layer).__name__} cannot leave out the padding that Masked() finds: {why}")


def windows_mask(layer: Any, scope: Scope, steps: int, alone: Callable[[int], tuple[int, int]], down: int = 1, up: int = 1) -> Array | None:
    """The mask (batch, steps) behind windows, `up` of them for every `down` steps: those are real that a sequence has when it is alone.

    `alone` gives for a length the padding in front and the number of windows, or raises ShapeError where none fits. Raises ShapeError
    where the padding in front differs between lengths.
    """
    mask = scope.mask
    if mask is None or (steps == mask.shape[1] and down == up):
        return mask
    fronts, counts = set(), [0]
    for length in range(1, mask.shape[1] + 1):
        try:
            front, count = alone(length)
            fronts.add(front)
            counts.append(count)
        except ShapeError:      # too short for one window
            counts.append(0)
    if len(fronts) > 1:
        refuse_padding(layer, scope, f"with steps of {down} padding={layer.padding!r} begins elsewhere for other lengths; give "
                                     "the padding as numbers")
    first, behind = (jnp.argmax(side, axis=1).astype(np.int32) for side in (mask, mask[:, ::-1]))
    extent = jnp.where(jnp.any(mask, axis=1), mask.shape[1] - behind - first, 0)
    begin = (first * up + down - 1) // down
    end = begin + jnp.asarray(np.array(counts, np.int32))[extent]
    o = jnp.broadcast_to(jnp.arange(steps, dtype=np.int32), (len(mask), steps))
    return (begin[:, None] <= o) & (o < end[:, None])
