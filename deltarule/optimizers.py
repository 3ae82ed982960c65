"""Optimizers: how the weights theta move against the gradient g, in the field's names over Optax.

Every class gives its formula for one step; eta is the learning rate, a number or a schedule (`deltarule.schedules`).
Before anything else the gradient may be clipped: `clip_value` cuts each of its entries to [-clip_value, clip_value], then
`clip_norm` shortens the whole of it to that length, g min(1, clip_norm / |g|) (Pascanu, Mikolov and Bengio 2013).
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from deltarule.checks import absent, check_number
from deltarule.errors import DeltaruleError
from deltarule.lazy import Lazy
from deltarule.ops.moments import Decays, direction
from deltarule.schedules import Rate, Schedule
from deltarule.spec import nearest, register

if TYPE_CHECKING:
    import optax
else:
    optax = Lazy("optax")


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
    """A rule for moving the weights, to be built for a training of known length."""

    @property
    def whole_set(self) -> bool:
        """Whether every step needs the gradient of the whole training set, as one batch."""
        return False

    @abc.abstractmethod
    def build(self, steps_per_epoch: int, epochs: int) -> optax.GradientTransformationExtraArgs:
        """The Optax transformation: `init(params)`, then `update(grads, state, params, value=loss, grad=grads, value_fn=f)`.

        Raises DeltaruleError where a schedule does not fit the number of steps or epochs.
        """


def _ready(rule: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The rule, taking extra arguments, also where JAX is set to strict promotion of dtypes, which Optax's step counts do not obey."""
    rule = optax.with_extra_args_support(rule)

    def init(params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return rule.init(params)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return rule.update(grads, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)


class _Clipped(Optimizer):
    """An optimizer with a learning rate, whose gradients may be clipped first."""

    learning_rate: float | Schedule
    clip_norm: float | None
    clip_value: float | None

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            check_number(self, "learning_rate", above=0)
        for field in ("clip_norm", "clip_value"):
            if getattr(self, field) is not None:
                check_number(self, field, above=0)
        self._check()

    def build(self, steps_per_epoch: int, epochs: int) -> optax.GradientTransformationExtraArgs:
        """The Optax transformation, as in `Optimizer.build`."""
        eta = self.learning_rate.build(steps_per_epoch, epochs) if isinstance(self.learning_rate, Schedule) else self.learning_rate
        parts = []
        if self.clip_value is not None:
            parts.append(optax.clip(self.clip_value))
        if self.clip_norm is not None:
            parts.append(optax.clip_by_global_norm(self.clip_norm))
        return _ready(optax.chain(*parts, self._rule(eta)) if parts else self._rule(eta))

    @abc.abstractmethod
    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        """The update as Optax writes it."""

    @abc.abstractmethod
    def _check(self) -> None:
        """Refuse settings out of range."""


@register
@dataclasses.dataclass(frozen=True)
class GradientDescent(_Clipped):
    """theta <- theta - eta g; with momentum v <- momentum v + g, theta <- theta - eta v (Rumelhart, Hinton and Williams 1986).

    With Nesterov's momentum theta <- theta - eta (momentum v + g), v being the new one: the gradient is looked at from where
    the momentum leads (Sutskever et al. 2013). Also called `SGD`, when the gradient comes from a few examples. Without momentum
    and with a constant rate it keeps no memory at all.

    >>> rule = GradientDescent(0.1).build(steps_per_epoch=10, epochs=3)
    >>> state = rule.init({"weights": 1.0})
    >>> change, state = rule.update({"weights": 2.0}, state)
    >>> change
    {'weights': -0.2}
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None

    def _check(self) -> None:
        check_number(self, "momentum", least=0, below=1)
        if not isinstance(self.nesterov, bool):
            raise DeltaruleError(f"GradientDescent expected nesterov True or False, received {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise DeltaruleError("GradientDescent with nesterov=True needs momentum, received momentum=0; give for example momentum=0.9")

    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        return optax.sgd(eta, momentum=None if absent(self.momentum) else self.momentum, nesterov=self.nesterov)


SGD = GradientDescent


@register
@dataclasses.dataclass(frozen=True)
class RMSprop(_Clipped):
    """s <- decay s + (1 - decay) g^2, theta <- theta - eta g / (sqrt(s) + epsilon) (Tieleman and Hinton 2012, lecture 6.5).

    With momentum v <- momentum v + eta g / (sqrt(s) + epsilon), theta <- theta - v. s starts at 0.

    >>> RMSprop().learning_rate
    0.001
    """

    learning_rate: float | Schedule = 1e-3
    decay: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None

    def _check(self) -> None:
        check_number(self, "decay", least=0, below=1)
        check_number(self, "momentum", least=0, below=1)
        check_number(self, "epsilon", above=0)

    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        momentum = None if absent(self.momentum) else self.momentum
        return optax.rmsprop(eta, decay=self.decay, eps=self.epsilon, eps_in_sqrt=False, momentum=momentum)


@register
@dataclasses.dataclass(frozen=True)
class Adagrad(_Clipped):
    """s <- s + g^2, theta <- theta - eta g / sqrt(s + epsilon) (Duchi, Hazan and Singer 2011, equation 1, diagonal).

    Rare features keep large steps. s starts at 0.

    >>> Adagrad(0.5).learning_rate
    0.5
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None

    def _check(self) -> None:
        check_number(self, "epsilon", above=0)

    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        return optax.adagrad(eta, initial_accumulator_value=0.0, eps=self.epsilon)


def _check_adam(given: _Clipped) -> None:
    check_number(given, "beta1", least=0, below=1)
    check_number(given, "beta2", least=0, below=1)
    check_number(given, "epsilon", above=0)


def _moments(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam's direction m' / (sqrt(s') + epsilon), with the memory that `optax.scale_by_adam` has."""
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = optax.safe_increment(state.count)
        found = jax.tree.map(lambda g, m, s: direction(g, m, s, Decays(beta1, beta2, epsilon), t), grads, state.mu, state.nu)
        d, m, s = jax.tree.transpose(jax.tree.structure(grads), jax.tree.structure((0, 0, 0)), found)
        return d, optax.ScaleByAdamState(t, m, s)

    return optax.GradientTransformation(init, update)


@register
@dataclasses.dataclass(frozen=True)
class Adam(_Clipped):
    """m <- beta1 m + (1 - beta1) g, s <- beta2 s + (1 - beta2) g^2, theta <- theta - eta m' / (sqrt(s') + epsilon).

    m' = m / (1 - beta1^t) and s' = s / (1 - beta2^t) undo the start at 0 in step t = 1, 2, ... (Kingma and Ba 2015, algorithm 1).

    >>> Adam(1e-3, beta1=0.5).beta1
    0.5
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None

    def _check(self) -> None:
        _check_adam(self)

    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        return optax.chain(_moments(self.beta1, self.beta2, self.epsilon), optax.scale_by_learning_rate(eta))


@register
@dataclasses.dataclass(frozen=True)
class AdamW(_Clipped):
    """Adam, and apart from it theta <- theta - eta weight_decay theta in every step (Loshchilov and Hutter 2019, algorithm 2).

    The decay acts on every parameter, biases included.

    >>> AdamW(weight_decay=0.1).weight_decay
    0.1
    """

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-2
    clip_norm: float | None = None
    clip_value: float | None = None

    def _check(self) -> None:
        _check_adam(self)
        check_number(self, "weight_decay", least=0)

    def _rule(self, eta: float | Rate) -> optax.GradientTransformation:
        moments, decay = _moments(self.beta1, self.beta2, self.epsilon), optax.add_decayed_weights(self.weight_decay)
        return optax.chain(moments, decay, optax.scale_by_learning_rate(eta))


@register
@dataclasses.dataclass(frozen=True)
class LBFGS(Optimizer):
    """theta <- theta - eta H g, with H, the inverse of the curvature, from the last `memory` steps (Liu and Nocedal 1989).

    eta is found anew in each step by a line search, at most `max_linesearch_steps` evaluations of the loss, that ends at strong
    Wolfe conditions (Nocedal and Wright 2006, algorithms 3.5, 3.6 and 7.4). It needs the loss without noise: the whole
    training set as one batch, and no dropout. There the best choice for small smooth problems, best in float64.

    >>> LBFGS().whole_set, Adam().whole_set
    (True, False)
    """

    memory: int = 10
    max_linesearch_steps: int = 20

    def __post_init__(self) -> None:
        check_number(self, "memory", least=1, whole=True)
        check_number(self, "max_linesearch_steps", least=1, whole=True)

    @property
    def whole_set(self) -> bool:
        """True: every step needs the gradient of the whole training set."""
        return True

    def build(self, steps_per_epoch: int, epochs: int) -> optax.GradientTransformationExtraArgs:
        """The Optax transformation, as in `Optimizer.build`; `update` needs value, grad and value_fn."""
        search = optax.scale_by_zoom_linesearch(self.max_linesearch_steps, initial_guess_strategy="one")
        return _ready(optax.lbfgs(memory_size=self.memory, linesearch=search))


OPTIMIZERS: dict[str, Optimizer] = {
    "gradient_descent": GradientDescent(), "sgd": SGD(), "rmsprop": RMSprop(), "adagrad": Adagrad(), "adam": Adam(), "adamw": AdamW(),
    "lbfgs": LBFGS(),
}


def optimizer(given: Any) -> Optimizer:
    """The optimizer that is meant: by name, with its default settings, or an object, which is returned as it is.

    Raises DeltaruleError for anything else; unknown names get the nearest.

    >>> optimizer("sgd")
    GradientDescent(learning_rate=0.01, momentum=0.0, nesterov=False, clip_norm=None, clip_value=None)
    """
    if isinstance(given, Optimizer):
        return given
    if isinstance(given, str) and given in OPTIMIZERS:
        return OPTIMIZERS[given]
    if isinstance(given, str):
        raise DeltaruleError(f"unknown optimizer {given!r}{nearest(given, OPTIMIZERS)}")
    if inspect.isclass(given) and issubclass(given, Optimizer):
        raise DeltaruleError(f"an optimizer is an object, received the class {given.__name__}; write {given.__name__}(), with brackets")
    raise DeltaruleError(f"an optimizer is a name or an object such as Adam(1e-3), received {given!r}")
