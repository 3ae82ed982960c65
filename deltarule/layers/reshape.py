"""Layers that only rearrange: no parameters, no arithmetic."""

import math
from dataclasses import dataclass
from typing import Any

from deltarule.errors import ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.layers.space import each, own_axes, tuples, whole
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
        scope.mask = None
        return scope.tap("activation", x.reshape(x.shape[0], math.prod(x.shape[1:])))


@register
@dataclass(frozen=True)
class Reshape(Layer):
    """The values of each row in another shape, row by row: the inverse of `Flatten`. Shapes: (batch, ...) -> (batch, *shape).

    Raises DeltaruleError for a shape that is not a tuple of whole numbers from 1 on, ShapeError for rows of another number of values.

    >>> import deltarule as dr
    >>> dr.Network([dr.Dense(98), dr.Reshape((7, 7, 2))], input_shape=(5,)).output_shape
    (7, 7, 2)
    """

    shape: Any

    def __post_init__(self) -> None:
        tuples(self, "shape")
        if not isinstance(self.shape, tuple):
            object.__setattr__(self, "shape", (self.shape,))
        each(self, "shape", own_axes(self.shape), whole(1))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x, with other axes."""
        if math.prod(self.shape) != math.prod(x.shape[1:]):
            raise ShapeError(f"Reshape cannot make {self.shape} of rows of shape {tuple(x.shape[1:])}: {math.prod(self.shape)} values of "
                             f"{math.prod(x.shape[1:])}")
        if self.shape[:1] != x.shape[1:2]:
            scope.mask = None
        return scope.tap("activation", x.reshape(x.shape[0], *self.shape))
