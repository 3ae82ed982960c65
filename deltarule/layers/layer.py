"""Layer: the base of everything a network is made of. A layer is a frozen dataclass whose one method is its equation."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from deltarule.layers.scope import Array, Scope, Visit, unused
from deltarule.spec import short_repr


@dataclass(frozen=True)
class Layer:
    """Base of all layers: `layer(x, scope) -> h`, where x and h have the batch as their first axis.

    The fields are the architecture (hashable: numbers, strings, tuples, other layers); the parameters come from `scope`.
    A class of one's own needs nothing more than this to be used, trained and watched:

    >>> from dataclasses import dataclass
    >>> import deltarule as dr
    >>> @dataclass(frozen=True)
    ... class Scale(dr.Layer):
    ...     '''h = s x, with one learnt factor s for each feature.'''
    ...     def __call__(self, x, scope):
    ...         s = scope.param("factors", dr.initializers.Ones(), x.shape[-1:])
    ...         return scope.tap("activation", x * s[None])
    >>> net = dr.Network([Scale(), dr.Dense(3)], input_shape=(2,))
    >>> sorted(net.params)
    ['dense_1', 'scale_1']
    """

    def __call__(self, x: Array, scope: Scope) -> Array:
        """The layer's equation."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, x, scope)")

    def joined(self, x: Array, scope: Scope, after: "Layer") -> Array | None:
        """What the layer `after` this one makes of its output, where both are faster in one pass; None: they run one after the other.

        Only asked when nobody looks at what passes between the two (`scope.joinable`), and `after` must have no parameters. A class
        that has an equation of its own inherits neither this nor `added`.
        """
        return None

    def added(self, x: Array, scope: Scope, shortcut: Array) -> Array:
        """ReLU(layer(x) + shortcut), the end of a residual block; a layer that is faster in one pass with it says how."""
        return jnp.maximum(self(x, scope) + shortcut, 0)

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "__call__" in cls.__dict__:
            cls.__call__ = _visited(cls.__call__)   # type: ignore[method-assign, assignment]
            for shorter in ("joined", "added"):
                setattr(cls, shorter, _named(cls.__dict__[shorter]) if shorter in cls.__dict__ else getattr(Layer, shorter))
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = short_repr   # type: ignore[method-assign]


def _visited(equation: Callable[[Any, Array, Scope], Array]) -> Callable[[Any, Array, Scope], Array]:
    """The equation, naming its operations after its path and leaving a visit in the plan. The values are untouched.

    When someone watches, a layer that taps nothing itself shows its output as "activation".
    """

    @functools.wraps(equation)
    def call(self: Layer, x: Array, scope: Scope) -> Array:
        run = scope.run
        plan, number, before = run.plan, 0, len(run.taps or ())
        if plan is not None:
            number = len(plan.visits)
            plan.visits.append(Visit(scope.path, self, tuple(x.shape), ()))
        if not scope.names:
            output = equation(self, x, scope)
        else:
            with jax.named_scope(scope.names[-1]):
                output = equation(self, x, scope)
        if plan is not None:
            plan.visits[number] = Visit(scope.path, self, tuple(x.shape), tuple(output.shape))
        if run.taps is not None and len(run.taps) == before:
            output = scope.tap("activation", output)
        if run.seen is not None:
            run.seen[unused(scope.path, run.seen)] = x, output
        return output

    return call


def _named(method: Callable[..., Array | None]) -> Callable[..., Array | None]:
    """A layer's part in one pass with its neighbours, naming its operations after its path as its equation does."""

    @functools.wraps(method)
    def call(self: Layer, x: Array, scope: Scope, other: Any) -> Array | None:
        with jax.named_scope(scope.names[-1]):
            return method(self, x, scope, other)

    return call


def child_names(layers: tuple[Any, ...]) -> tuple[str, ...]:
    """Names of children in order: class name in snake case and a count for each class.

    >>> import deltarule as dr
    >>> child_names((dr.Dense(3), dr.Dropout(0.5), dr.Dense(2)))
    ('dense_1', 'dropout_1', 'dense_2')
    """
    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        name = snake_case(type(layer).__name__)
        counts[name] = counts.get(name, 0) + 1
        names.append(f"{name}_{counts[name]}")
    return tuple(names)


def snake_case(name: str) -> str:
    """Class names as path names.

    >>> [snake_case(name) for name in ("Dense", "Conv2D", "LeakyReLU", "LSTM", "MaxPool2D")]
    ['dense', 'conv2d', 'leaky_relu', 'lstm', 'max_pool2d']
    """
    name = name.replace("ReLU", "Relu").replace("1D", "1d").replace("2D", "2d").replace("3D", "3d")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
