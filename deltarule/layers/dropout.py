"""Dropout: a different random part of the network in every training step."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax

from deltarule.errors import DeltaruleError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.ops import noise
from deltarule.spec import register


@register
@dataclass(frozen=True)
class Dropout(Layer):
    """h = x m / (1 - rate) in training, where m is 0 with probability `rate` and 1 otherwise; h = x when predicting.

    The division keeps the expected value of h equal to x, so that nothing changes at prediction
    (Srivastava et al. 2014, lecture row 23). Shapes: (batch, ...) -> the same. Raises DeltaruleError unless 0 <= rate < 1.

    >>> Dropout(0.5)
    Dropout(rate=0.5)
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise DeltaruleError(f"Dropout expected a rate from 0 up to but not 1, received {self.rate!r}")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x m / (1 - rate)."""
        if not scope.training or self.rate == 0:
            return scope.tap("activation", x)
        m = lax.optimization_barrier(noise.bernoulli(scope.key(), 1 - self.rate, x.shape))
        return scope.tap("activation", jnp.where(m, x / (1 - self.rate), jnp.zeros_like(x)))
