"""Sequences of unequal length: which steps are real, so that those that only fill up never change a result."""

from dataclasses import dataclass

import jax.numpy as jnp

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
    GlobalAveragePool, GlobalMaxPool and AttentionPooling leave such steps out; layers that work step by step (Dense, Dropout, LayerNorm)
    need not know; BatchNorm, and losses and metrics of every step, leave padding out: they are those of the sequences alone. Convolutions
    see padding as any other step. Where it reads the inputs, rows of padding alone are refused. `dr.data.pad` fills sequences up; a trace
    shows the "mask" of every recurrent layer, 1 and 0. Shapes: (batch, steps, features) -> the same, or (batch, steps) of whole numbers
    before an Embedding. Raises DeltaruleError for a value that is no number, ShapeError for other inputs.

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
