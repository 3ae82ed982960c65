"""h = g(a): activations as layers, by name or as objects with parameters of their own (fixed or learnt slopes)."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from deltarule import initializers
from deltarule.errors import DeltaruleError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope
from deltarule.ops import activations
from deltarule.spec import register


def activate(activation: Any, a: Array, scope: Scope) -> Array:
    """h = g(a) for an activation given by name or as a layer; a is tapped as "preactivation", h as "activation".

    Raises DeltaruleError for an unknown name, and for softmax applied to a softmax.
    """
    a = scope.tap("preactivation", a)
    if isinstance(activation, str):
        h = activations.activation(activation)(a)
    else:
        h = activation.function(a, scope / "slope")
    return scope.linked(a, scope.tap("activation", h), activation)


def check_activation(activation: Any, owner: str) -> None:
    """Refuse what is neither the name of an activation nor an activation object, when the layer is made."""
    if isinstance(activation, str):
        activations.activation(activation)
    elif not isinstance(activation, ActivationLayer):
        raise DeltaruleError(f"{owner} expected an activation by name or as an object such as LeakyReLU(0.2), received {activation!r}")


class ActivationLayer(Layer):
    """Base of activation objects: `function(a, scope)` is g. Usable as a layer and as `Dense(30, LeakyReLU(0.2))`."""

    def function(self, a: Array, scope: Scope) -> Array:
        """g(a), elementwise."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Activation(Layer):
    """h = g(a) as a layer of its own. Shapes: (batch, ...) -> the same.

    >>> Activation("relu")
    Activation(function='relu')
    """

    function: str

    def __post_init__(self) -> None:
        check_activation(self.function, "Activation")

    def __call__(self, a: Array, scope: Scope) -> Array:
        """h = g(a)."""
        return activate(self.function, a, scope)


@register
@dataclass(frozen=True)
class LeakyReLU(ActivationLayer):
    """g(a) = a if a > 0 else slope * a, with a fixed slope (Maas, Hannun, Ng 2013). Keeps a ReLU from dying.

    >>> import deltarule as dr
    >>> dr.Dense(30, LeakyReLU(0.2))
    Dense(units=30, activation=LeakyReLU(slope=0.2))
    """

    slope: float = 0.01

    def __call__(self, a: Array, scope: Scope) -> Array:
        """h = g(a)."""
        return activate(self, a, scope)

    def function(self, a: Array, scope: Scope) -> Array:
        """g(a)."""
        return activations.leaky_relu(a, self.slope)


@register
@dataclass(frozen=True)
class ParametricReLU(ActivationLayer):
    """g(a) = a if a > 0 else s * a, with a slope s learnt for each unit (last axis), from `slope` on (He et al. 2015).

    >>> import deltarule as dr
    >>> dr.Network([dr.Dense(3, ParametricReLU())], input_shape=(2,)).params["dense_1"]["slope"]["s"].shape
    (3,)
    """

    slope: float = 0.25

    def __call__(self, a: Array, scope: Scope) -> Array:
        """h = g(a)."""
        return activate(self, a, scope)

    def function(self, a: Array, scope: Scope) -> Array:
        """g(a) with the learnt slopes."""
        s = scope.param("s", initializers.Constant(self.slope), a.shape[-1:])
        return jnp.where(a > 0, a, jnp.broadcast_to(s, a.shape) * a)
