"""Layers that only rearrange: no parameters, no arithmetic."""

import math
from dataclasses import dataclass

from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.spec import register


@register
@dataclass(frozen=True)
class Flatten(Layer):
    """H x W x C -> H W C: all axes but the batch become one (lecture row 32). Shapes: (batch, ...) -> (batch, product).

    >>> import deltarule as dr
    >>> dr.Network([dr.Flatten(), dr.Dense(10)], input_shape=(28, 28, 1)).params["dense_1"]["weights"].shape
    (784, 10)
    """

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x, with one axis for the features."""
        return scope.tap("activation", x.reshape(x.shape[0], math.prod(x.shape[1:])))
