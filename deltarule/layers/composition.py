"""Layers made of layers: one after the other, around, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.activation import Activation
from deltarule.layers.layer import Layer, child_names
from deltarule.layers.scope import Array, Scope
from deltarule.spec import register


def as_layer(value: Any, owner: str) -> Layer:
    """A layer as it is; a list, tuple or dict of layers as a `Sequential`. Raises DeltaruleError for anything else."""
    if isinstance(value, Layer):
        return value
    if isinstance(value, (list, tuple, Mapping)):
        return Sequential(value)    # type: ignore[arg-type]
    hint = f"; write {value.__name__}(...)" if isinstance(value, type) else ""
    raise DeltaruleError(f"{owner} expected a layer or a list of layers, received {value!r}{hint}")


@register
@dataclass(frozen=True)
class Sequential(Layer):
    """One layer after the other: h = layer_L(... layer_2(layer_1(x))).

    `layers` is a list; a dict {"encoder": layer, ...} chooses the names, which otherwise are dense_1, dense_2, dropout_1, ...

    >>> import deltarule as dr
    >>> dr.Sequential([dr.Dense(3), dr.Dense(2)]).children
    {'dense_1': Dense(units=3), 'dense_2': Dense(units=2)}
    >>> list(dr.Sequential({"encoder": dr.Dense(3), "decoder": dr.Dense(2)}).children)
    ['encoder', 'decoder']
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.layers
        names = tuple(given) if isinstance(given, Mapping) else self.names
        layers = tuple(as_layer(layer, "Sequential") for layer in (given.values() if isinstance(given, Mapping) else given))
        if not layers:
            raise DeltaruleError("Sequential expected at least one layer, received none")
        if names and (len(names) != len(layers) or len(set(names)) != len(names)):
            raise DeltaruleError(f"Sequential expected {len(layers)} different names, received {names}")
        for name in names:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise DeltaruleError(f"names of layers are letters, digits, '_' and '-', received {name!r}")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "names", tuple(names))

    @property
    def children(self) -> dict[str, Layer]:
        """The layers by name, in order."""
        return dict(zip(self.names or child_names(self.layers), self.layers, strict=True))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = layer_L(... layer_1(x))."""
        return _through(list(self.children.items()), x, scope)

    def added(self, x: Array, scope: Scope, shortcut: Array) -> Array:
        """ReLU(h + shortcut): the last layer's affair."""
        *before, (name, last) = self.children.items()
        return last.added(_through(before, x, scope), scope / name, shortcut)


def _through(waiting: list[tuple[str, Layer]], x: Array, scope: Scope) -> Array:
    """One layer after the other, two in one pass where the first of them can."""
    while waiting:
        (name, layer), *waiting = waiting
        h = layer.joined(x, scope / name, waiting[0][1]) if waiting and scope.joinable else None
        x, waiting = (layer(x, scope / name), waiting) if h is None else (h, waiting[1:])
    return x


@register
@dataclass(frozen=True)
class Residual(Layer):
    """h = s(x) + f(x): the body f learns what to add (He et al. 2016). Shapes: f must return the shape of s(x).

    The shortcut s is the identity unless given; where f changes the size it is a projection, such as Conv2D(32, 1, stride=2).

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Residual([dr.Dense(7, "relu"), dr.Dense(5)])], input_shape=(5,))
    >>> net.output_shape
    (5,)
    """

    body: Layer
    shortcut: Layer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", as_layer(self.body, "Residual"))
        if self.shortcut is not None:
            object.__setattr__(self, "shortcut", as_layer(self.shortcut, "Residual"))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = s(x) + f(x)."""
        s = self._shortcut(x, scope)
        f = self.body(x, scope / "body")
        if f.shape != s.shape:
            way, cure = ("input", "end the body with a layer of the input's size, or give a shortcut") if self.shortcut is None else \
                ("shortcut", "let both end with layers of one size")
            raise ShapeError(f"Residual adds its body to its {way}, so both need one shape: {way} {tuple(s.shape[1:])}, "
                             f"body {tuple(f.shape[1:])}; {cure}")
        return scope.tap("activation", s + f)

    def joined(self, x: Array, scope: Scope, after: Layer) -> Array | None:
        """The ReLU behind this layer, where the last layer of the body can take it over; None for other layers."""
        if after != Activation("relu"):
            return None
        s = self._shortcut(x, scope)
        return self.body.added(x, scope / "body", s)

    def _shortcut(self, x: Array, scope: Scope) -> Array:
        """s(x); the body then begins with the mask that was there."""
        if self.shortcut is None:
            return x
        mask = scope.mask
        s = self.shortcut(x, scope / "shortcut")
        scope.mask = mask
        return s


@register
@dataclass(frozen=True)
class Skip(Layer):
    """h = [x, f(x)], one after the other on the last axis: what the body f loses on its way down and up again stays at hand.

    The connection of the U-Net (Ronneberger et al. 2015). Shapes: (batch, ..., n) -> (batch, ..., n + m); f must leave all axes but the
    last as they are, else ShapeError is raised.

    >>> import deltarule as dr
    >>> dr.Network(dr.Skip([dr.MaxPool2D(2), dr.ConvTranspose2D(3, 2, stride=2)]), input_shape=(8, 8, 5)).output_shape
    (8, 8, 8)
    """

    body: Layer

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", as_layer(self.body, "Skip"))

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = [x, f(x)]."""
        f = self.body(x, scope / "body")
        if f.shape[:-1] != x.shape[:-1]:
            raise ShapeError(f"Skip puts its body beside its input, so all axes but the last must be equal: input {tuple(x.shape[1:])}, "
                             f"body {tuple(f.shape[1:])}; images halved on the way down need sizes that can be halved")
        return scope.tap("activation", jnp.concatenate([x, f], axis=-1))


@register
@dataclass(frozen=True)
class Parallel(Layer):
    """Branches side by side on the same input, merged by "sum" or "concatenate" (last axis).

    >>> import deltarule as dr
    >>> dr.Network([dr.Parallel([dr.Dense(3), dr.Dense(2, "tanh")])], input_shape=(5,)).output_shape
    (5,)
    """

    branches: tuple[Layer, ...]
    merge: str = "concatenate"

    def __post_init__(self) -> None:
        branches = tuple(as_layer(branch, "Parallel") for branch in self.branches)
        if not branches:
            raise DeltaruleError("Parallel expected at least one branch, received none")
        if self.merge not in ("sum", "concatenate"):
            raise DeltaruleError(f"Parallel merges by 'sum' or 'concatenate', received {self.merge!r}")
        object.__setattr__(self, "branches", branches)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = sum of the branches, or their outputs one after the other."""
        outputs, mask = [], scope.mask
        for name, branch in zip(child_names(self.branches), self.branches, strict=True):
            scope.mask = mask
            outputs.append(branch(x, scope / name))
        shapes = [tuple(h.shape[1:] if self.merge == "sum" else h.shape[1:-1]) for h in outputs]
        if len(set(shapes)) > 1:
            raise ShapeError(f"Parallel cannot merge branches of shapes {[tuple(h.shape[1:]) for h in outputs]} by {self.merge!r}; "
                             + ("all must be equal" if self.merge == "sum" else "all axes but the last must be equal"))
        merged = sum(outputs[1:], outputs[0]) if self.merge == "sum" else jnp.concatenate(outputs, axis=-1)
        return scope.tap("activation", merged)
