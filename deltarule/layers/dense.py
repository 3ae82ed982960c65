"""Dense: every unit sees every input. a = x W + b, h = g(a)."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from deltarule import initializers
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.activation import activate, check_activation
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.ops.gelu import biased_gelu
from deltarule.ops.narrow import product
from deltarule.ops.single import neurons
from deltarule.ops.steps import steps_product
from deltarule.spec import register


@register
@dataclass(frozen=True)
class Dense(Layer):
    """h = g(a), a = x W + b: a layer of neurons (lecture rows 1, 16).

    Shapes: x (batch, ..., inputs), W `weights` (inputs, units), b `bias` (units,), a and h (batch, ..., units).
    `weights` and `bias` name initializers ("auto": He for the ReLU family, Glorot or LeCun for the others).
    Raises DeltaruleError for units below 1 or an unknown activation, ShapeError for images that were not flattened.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(30, "sigmoid"), dr.Dense(10, "softmax")], input_shape=(784,))
    >>> net.params["dense_1"]["weights"].shape, net.params["dense_1"]["bias"].shape
    ((784, 30), (30,))
    """

    units: int
    activation: Any = "linear"
    weights: Any = "auto"
    bias: Any = "zeros"
    use_bias: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.units, bool) or not isinstance(self.units, int) or self.units < 1:
            raise DeltaruleError(f"Dense expected a whole number of units from 1 on, received {self.units!r}")
        check_activation(self.activation, "Dense")
        if self.weights != "auto":
            initializers.initializer(self.weights)
        initializers.initializer(self.bias)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = g(x W + b)."""
        if x.ndim not in (2, 3):
            kind = "images" if x.ndim == 4 else "inputs"
            raise ShapeError(f"Dense received {kind} of shape {tuple(x.shape[1:])}; put Flatten() before it")
        W = scope.param("weights", self._weight_init(), (x.shape[-1], self.units))
        b = scope.param("bias", initializers.initializer(self.bias), (self.units,)) if self.use_bias else None
        if scope.plain and x.shape[:-1] == (1,) and isinstance(self.activation, str):
            return neurons(x, W, b, self.activation)
        # product has its own backward pass, which JAX cannot follow forward (jvp): only training needs it
        a = steps_product(x, W) if x.ndim == 3 else product(x, W) if scope.training else x @ W
        if b is not None:
            if self.activation == "gelu" and not scope.watched:
                return biased_gelu(a, b)
            a = a + jnp.broadcast_to(b, a.shape)
        return activate(self.activation, a, scope)

    def _weight_init(self) -> Any:
        if self.weights == "auto":
            return initializers.for_activation(self.activation if isinstance(self.activation, str) else "relu")
        return initializers.initializer(self.weights)
