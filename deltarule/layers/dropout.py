"""Dropout: a different random part of the network in every training step."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax

from deltarule.errors import DeltaruleError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.layers.space import check_images
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
        check_rate("Dropout", self.rate)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x m / (1 - rate)."""
        return scope.tap("activation", dropped(x, self.rate, x.shape, scope))


@register
@dataclass(frozen=True)
class SpatialDropout(Layer):
    """h = x m / (1 - rate) with one m for each whole feature map of an image: neighbouring values say the same, so they go together.

    Otherwise as `Dropout` (Tompson et al. 2015). Shapes: (batch, *space, channels) -> the same, with 1, 2 or 3 axes of space. Raises
    DeltaruleError unless 0 <= rate < 1, ShapeError for inputs without space.

    >>> import deltarule as dr
    >>> dr.Network([dr.SpatialDropout(0.2), dr.GlobalAveragePool()], input_shape=(28, 28, 3)).output_shape
    (3,)
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate("SpatialDropout", self.rate)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = x m / (1 - rate)."""
        axes = check_images(self, x)
        return scope.tap("activation", dropped(x, self.rate, (x.shape[0], *[1] * axes, x.shape[-1]), scope))


def dropped(x: Array, rate: float, shape: tuple[int, ...], scope: Scope) -> Array:
    """x m / (1 - rate) with a random m of `shape` in training, else x."""
    if not scope.training or rate == 0:
        return x
    m = lax.optimization_barrier(noise.bernoulli(scope.key(), 1 - rate, shape))
    return jnp.where(m, x / (1 - rate), jnp.zeros_like(x))


def check_rate(owner: str, rate: float) -> None:
    """Raise DeltaruleError unless 0 <= rate < 1."""
    if not 0 <= rate < 1:
        raise DeltaruleError(f"{owner} expected a rate from 0 up to but not 1, received {rate!r}")
