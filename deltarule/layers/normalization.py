"""Normalization: every feature of a batch, or of an example, brought to mean 0 and spread 1, then to a mean and spread that are learnt."""

from dataclasses import dataclass

import jax.numpy as jnp

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.activation import Activation
from deltarule.layers.layer import Layer
from deltarule.layers.masking import steps_mask
from deltarule.layers.scope import Array, Scope
from deltarule.ops.normalization import Moments, batch_norm, layer_norm, moments, normalized, row_moments
from deltarule.spec import register

_RUNNING = (("mean", initializers.Zeros()), ("variance", initializers.Ones()))
_LEARNT = (("gamma", initializers.Ones()), ("beta", initializers.Zeros()))


@register
@dataclass(frozen=True)
class BatchNorm(Layer):
    """h = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta, mu and sigma^2 of each feature over the batch (Ioffe, Szegedy 2015; row 23).

    Put it between the weights and the activation: Dense(30, use_bias=False), BatchNorm(), Activation("relu"). Training uses the mean and
    variance of the batch (and of all positions) and carries running averages along, mu <- m mu + (1 - m) mu_batch with m = `momentum`;
    predicting uses these averages. Rows that only fill a batch up do not count, nor steps that only fill a sequence up (`Masked`). Shapes:
    (batch, ..., features) -> the same. Raises DeltaruleError for momentum or epsilon out of range.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, use_bias=False), dr.BatchNorm(), dr.Activation("relu")], input_shape=(5,))
    >>> sorted(net.params["batch_norm_1"]), sorted(net.state["batch_norm_1"])
    (['beta', 'gamma'], ['mean', 'variance'])
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise DeltaruleError(f"BatchNorm expected momentum from 0 up to but not 1, received {self.momentum!r}")
        _above_zero("BatchNorm", self.epsilon)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta."""
        if scope.training and not scope.watched:
            return self._trained(x, scope, relu=False)
        features = x.shape[-1:]
        mu, variance = (scope.state(name, init, features) for name, init in _RUNNING)
        if scope.training:
            mu, variance = self._carried(moments(*self._counted(x, scope)), scope)
        return _scaled(x, jnp.broadcast_to(mu, x.shape), jnp.broadcast_to(variance, x.shape), self.epsilon, scope)

    def joined(self, x: Array, scope: Scope, after: Layer) -> Array | None:
        """The ReLU behind this layer in the same pass, while training."""
        return self._trained(x, scope, relu=True) if scope.training and after == Activation("relu") else None

    def added(self, x: Array, scope: Scope, shortcut: Array) -> Array:
        """ReLU(h + shortcut), while training in the same pass."""
        return self._trained(x, scope, True, shortcut) if scope.training else super().added(x, scope, shortcut)

    def _trained(self, x: Array, scope: Scope, relu: bool, plus: Array | None = None) -> Array:
        gamma, beta = (scope.param(name, init, x.shape[-1:]) for name, init in _LEARNT)
        rows, counted = self._counted(x, scope)
        h, mu, variance = batch_norm(rows, gamma, beta, counted, self.epsilon, relu, None if plus is None else plus.reshape(rows.shape))
        self._carried((mu, variance), scope)
        return scope.tap("activation", h.reshape(x.shape))

    def _counted(self, x: Array, scope: Scope) -> tuple[Array, Array | None]:
        """The rows, and which of them count; where some steps are padding every step is a row (batch T, features)."""
        mask = steps_mask(self, x, scope) if x.ndim == 3 else None
        if mask is None:
            return x, scope.counted
        real = mask if scope.counted is None else mask & scope.counted[:, None]
        return x.reshape(-1, x.shape[-1]), real.reshape(-1)

    def _carried(self, batch: Moments, scope: Scope) -> Moments:
        """The moments of the batch, which leave their share in the running averages."""
        for (name, init), value in zip(_RUNNING, batch, strict=True):
            scope.update(name, self.momentum * scope.state(name, init, value.shape) + (1 - self.momentum) * value)
        return batch


@register
@dataclass(frozen=True)
class LayerNorm(Layer):
    """The same equation with mu and sigma^2 over the features of each example: training and predicting do not differ (Ba et al. 2016).

    Shapes: (batch, ..., features) -> the same. Raises DeltaruleError for epsilon out of range.

    >>> import deltarule as dr
    >>> dr.Network([dr.LayerNorm()], input_shape=(2,)).predict([[1.0, 3.0], [10.0, 30.0]]).round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _above_zero("LayerNorm", self.epsilon)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta."""
        if scope.watched:
            return _scaled(x, *row_moments(x), self.epsilon, scope)
        gamma, beta = (scope.param(name, init, x.shape[-1:]) for name, init in _LEARNT)
        return layer_norm(x, gamma, beta, self.epsilon)


@register
@dataclass(frozen=True)
class GroupNorm(Layer):
    """The same equation with mu and sigma^2 of each example over space and over each group of channels (Wu and He 2018).

    Training and predicting do not differ, and the size of the batch does not matter. One group is layer normalization over the whole
    image; as many groups as channels is instance normalization (Ulyanov et al. 2016). Shapes: (batch, ..., channels) -> the same.
    Raises DeltaruleError for groups below 1 or epsilon out of range, ShapeError for groups that do not divide the channels.

    >>> import deltarule as dr
    >>> dr.Network([dr.GroupNorm(2)], input_shape=(4,)).predict([[1.0, 3.0, 10.0, 30.0]]).round(3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    groups: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_number(self, "groups", least=1, whole=True)
        _above_zero("GroupNorm", self.epsilon)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta."""
        channels = x.shape[-1]
        if channels % self.groups:
            raise ShapeError(f"GroupNorm expected groups that divide the channels, received groups={self.groups} for {channels} channels")
        grouped = x.reshape(x.shape[0], -1, self.groups, channels // self.groups)   # (batch, positions, groups, channels of a group)
        mask = steps_mask(self, x, scope) if x.ndim == 3 else None
        where = None if mask is None else jnp.broadcast_to((mask | ~jnp.any(mask, axis=1, keepdims=True))[..., None, None], grouped.shape)
        mu = jnp.mean(grouped, axis=(1, 3), keepdims=True, where=where)
        variance = jnp.mean(jnp.square(grouped - mu), axis=(1, 3), keepdims=True, where=where)
        one_each = (x.shape[0], *[1] * (x.ndim - 2), channels)
        mu, variance = (jnp.broadcast_to(value, (len(x), 1, *grouped.shape[2:])).reshape(one_each) for value in (mu, variance))
        return _scaled(x, mu, variance, self.epsilon, scope)


def _scaled(x: Array, mu: Array, variance: Array, epsilon: float, scope: Scope) -> Array:
    gamma, beta = (scope.param(name, init, x.shape[-1:]) for name, init in _LEARNT)
    x_hat = scope.tap("normalized", normalized(x, mu, variance, epsilon))
    return scope.tap("activation", jnp.broadcast_to(gamma, x.shape) * x_hat + jnp.broadcast_to(beta, x.shape))


def _above_zero(owner: str, epsilon: float) -> None:
    if not epsilon > 0:
        raise DeltaruleError(f"{owner} expected epsilon above 0, received {epsilon!r}")
