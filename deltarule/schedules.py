"""Schedules: the learning rate eta as a function of the time t, measured in epochs, so that they do not depend on the batch size.

T is the number of epochs asked for. Early in training large steps cross the landscape, later small ones settle: gradient noise
keeps a constant rate wandering around the minimum, and only a falling one comes to rest there (Robbins and Monro 1951).
A constant rate needs no schedule: write the number.
"""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from deltarule.checks import check_number
from deltarule.errors import DeltaruleError
from deltarule.spec import register

Rate = Callable[[ArrayLike], jax.Array]


@dataclasses.dataclass(frozen=True)
class Schedule(abc.ABC):
    """A learning rate that changes during training; the optimizers take it in place of a number."""

    def build(self, steps_per_epoch: int, epochs: int) -> Rate:
        """The learning rate as a function of the step: integers (...) to rates (...), counted from 0.

        Raises DeltaruleError for fewer than one step or epoch, and where the schedule does not fit into the epochs.
        """
        for name, number in (("steps_per_epoch", steps_per_epoch), ("epochs", epochs)):
            if not isinstance(number, int) or number < 1:
                raise DeltaruleError(f"{type(self).__name__} expected {name} to be a whole number of at least 1, received {number!r}")
        if epochs <= self._warmup:
            raise DeltaruleError(f"{type(self).__name__} warms up for {self._warmup:g} epochs but the training has {epochs}; "
                                 "take a shorter warmup or more epochs")
        return lambda step: self._rate(_time(step, steps_per_epoch), float(epochs))

    @abc.abstractmethod
    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        """eta(t) for t in epochs, of T."""

    @property
    def _warmup(self) -> float:
        return 0.0


@register
@dataclasses.dataclass(frozen=True)
class StepDecay(Schedule):
    """eta(t) = rate * factor^floor(t / every): constant for `every` epochs, then cut (He et al. 2016, section 3.4: factor 0.1).

    >>> StepDecay(0.8, factor=0.5, every=2).build(steps_per_epoch=5, epochs=6)(jnp.array([0, 9, 10, 20])).tolist()
    [0.8..., 0.8..., 0.4..., 0.2...]
    """

    rate: float
    factor: float = 0.1
    every: int = 10

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "factor", above=0, most=1)
        check_number(self, "every", least=1, whole=True)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        cuts = jnp.floor((jnp.floor(t) + 0.5) / self.every)         # the half keeps rounding errors away from the corners
        return self.rate * self.factor ** cuts


@register
@dataclasses.dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """eta(t) = rate * decay^t: every epoch multiplies the rate by `decay`, smoothly (Bengio 2012, section 3.1).

    >>> ExponentialDecay(0.8, decay=0.5).build(steps_per_epoch=5, epochs=6)(10).item()
    0.2...
    """

    rate: float
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "decay", above=0, most=1)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        return self.rate * self.decay ** t


@register
@dataclasses.dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    """eta(t) = rate / (1 + decay t): falls as 1/t, the rate at which averaging removes the noise (Robbins and Monro 1951).

    Its sum has no bound and the sum of its squares has one: the two conditions under which stochastic descent converges.

    >>> InverseTimeDecay(0.5, decay=0.5).build(steps_per_epoch=5, epochs=6)(10).item()
    0.25
    """

    rate: float
    decay: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "decay", above=0)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        return self.rate / (1.0 + self.decay * t)


@register
@dataclasses.dataclass(frozen=True)
class LinearDecay(Schedule):
    """eta(t) = rate + (final - rate) t / T: a straight line to `final` (Goodfellow, Bengio and Courville 2016, equation 8.14).

    >>> LinearDecay(0.5).build(steps_per_epoch=5, epochs=2)(jnp.array([0, 5, 10])).tolist()
    [0.5, 0.25, 0.0]
    """

    rate: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "final", least=0)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        return self.rate + (self.final - self.rate) * jnp.minimum(t / T, 1.0)


@register
@dataclasses.dataclass(frozen=True)
class CosineDecay(Schedule):
    """eta(t) = final + (rate - final) (1 + cos(pi t / T)) / 2 (Loshchilov and Hutter 2017, equation 5, without restarts).

    >>> CosineDecay(0.5).build(steps_per_epoch=5, epochs=2)(jnp.array([0, 5, 10])).round(4).tolist()
    [0.5, 0.25, 0.0]
    """

    rate: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "final", least=0)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        return _cosine(self.rate, self.final, t / T)


@register
@dataclasses.dataclass(frozen=True)
class WarmupCosine(Schedule):
    """eta(t) = rate (0.1 + 0.9 t / warmup) for t < warmup, then CosineDecay from `rate` to `final` in the remaining T - warmup epochs.

    The warm-up keeps the first steps small while the weights are still random (Goyal et al. 2017, section 2.2). `warmup` is in
    epochs and may be a fraction. Its `build` raises DeltaruleError unless warmup is below T.

    >>> WarmupCosine(0.5, warmup=1).build(steps_per_epoch=4, epochs=3)(jnp.array([0, 4, 8, 12])).round(4).tolist()
    [0.0499..., 0.5, 0.25, 0.0]
    """

    rate: float
    warmup: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "rate", above=0)
        check_number(self, "warmup", above=0)
        check_number(self, "final", least=0)

    @property
    def _warmup(self) -> float:
        return self.warmup

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        rising = self.rate * (0.1 + 0.9 * t / self.warmup)
        falling = _cosine(self.rate, self.final, (t - self.warmup) / (T - self.warmup))
        return jnp.where(t < self.warmup, rising, falling)


@register
@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from peak / start_ratio to `peak` in the first `rise` of the training, down to peak / final_ratio in the rest, both as cosines.

    One large wave lets deep networks learn at rates that would diverge from the start (Smith and Topin 2018, section 3; cosines in
    place of their straight lines). 0 < rise < 1.

    >>> OneCycle(1.0, rise=0.5, start_ratio=4.0).build(steps_per_epoch=4, epochs=2)(jnp.array([0, 4])).tolist()
    [0.25, 1.0]
    """

    peak: float
    rise: float = 0.3
    start_ratio: float = 25.0
    final_ratio: float = 1e5

    def __post_init__(self) -> None:
        check_number(self, "peak", above=0)
        check_number(self, "rise", above=0, below=1)
        check_number(self, "start_ratio", least=1)
        check_number(self, "final_ratio", least=1)

    def _rate(self, t: jax.Array, T: float) -> jax.Array:
        up = _cosine(self.peak / self.start_ratio, self.peak, t / (self.rise * T))
        down = _cosine(self.peak, self.peak / self.final_ratio, (t - self.rise * T) / ((1 - self.rise) * T))
        return jnp.where(t < self.rise * T, up, down)


def _cosine(first: float, last: float, share: jax.Array) -> jax.Array:
    """Half a cosine wave from `first` (share 0) to `last` (share 1 and beyond)."""
    return last + (first - last) * (1.0 + jnp.cos(jnp.pi * jnp.clip(share, 0.0, 1.0))) / 2.0


def _time(step: ArrayLike, steps_per_epoch: int) -> jax.Array:
    """t in epochs, from whole epochs and the share of the one under way: exact at the start of every epoch."""
    step = jnp.asarray(step)
    share = (step % steps_per_epoch) / steps_per_epoch
    return (step // steps_per_epoch).astype(share.dtype) + share
