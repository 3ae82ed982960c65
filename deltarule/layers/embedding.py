"""Embedding: whole numbers (characters, words, classes) become vectors; and what tells the steps of a sequence apart."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.attention import check_sequence
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Scope, Tree
from deltarule.ops.attention import sinusoids
from deltarule.spec import register

EXACT = 2**24       # whole numbers up to here are exact in float32, which carries them to the layer
SMALL = initializers.Normal(0.02)


@register
@dataclass(frozen=True)
class Embedding(Layer):
    """h_t = E[x_t]: each whole number from 0 to vocabulary - 1 has a vector of its own, which is learnt (Bengio et al. 2003).

    Shapes: x (batch, T) or (batch,) + any axes, `weights` E (vocabulary, size), h (batch, T, size). Where it is the first layer, `fit` and
    `predict` refuse inputs that are not whole numbers in this range. `weights`
    names its initializer ("auto": normal with standard deviation 0.02, as in GPT-2). Raises DeltaruleError for settings out of range.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Embedding(27, 8)], input_shape=(5,))
    >>> net.output_shape, net.params["embedding_1"]["weights"].shape
    ((5, 8), (27, 8))
    """

    sees = "all"    # of inputs without space

    vocabulary: int
    size: int
    weights: Any = "auto"

    def __post_init__(self) -> None:
        check_number(self, "vocabulary", least=1, most=EXACT, whole=True)
        check_number(self, "size", least=1, whole=True)
        if self.weights != "auto":
            initializers.initializer(self.weights)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h_t = E[x_t]."""
        init = SMALL if self.weights == "auto" else initializers.initializer(self.weights)
        E = scope.param("weights", init, (self.vocabulary, self.size))
        return scope.tap("activation", jnp.take(E, x.astype(jnp.int32), axis=0, mode="clip"))


@register
@dataclass(frozen=True)
class Positions(Layer):
    """h_t = x_t + P_t: every place of a sequence has a vector, so that attention can tell places apart (Vaswani et al. 2017, section 3.5).

    "learnt": P `weights` (longest, d) is learnt, from small random numbers on; `longest` is the number of steps unless given.
    "sinusoidal": P_t,2i = sin(t / 10000^(2i/d)), P_t,2i+1 = cos(t / 10000^(2i/d)). Shapes: (batch, T, d) -> the same. Raises
    DeltaruleError for settings out of range, ShapeError for inputs that are no sequences and for more steps than `longest`.

    >>> import numpy as np
    >>> import deltarule as dr
    >>> dr.Network([dr.Positions("sinusoidal")], input_shape=(2, 2)).predict(np.zeros((1, 2, 2))).round(3).tolist()
    [[[0.0, 1.0], [0.8410000205039978, 0.5400000214576721]]]
    """

    kind: str = "learnt"
    longest: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("learnt", "sinusoidal"):
            raise DeltaruleError(f"Positions are 'learnt' or 'sinusoidal', received {self.kind!r}")
        if self.longest is not None:
            check_number(self, "longest", least=1, whole=True)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h_t = x_t + P_t."""
        _, T, d = check_sequence(self, x)
        if scope.carried is not None:
            return self._onward(x, scope, scope.carried["there"])
        longest = T if self.longest is None else self.longest
        if longest < T:
            raise ShapeError(f"Positions has {longest} places, received sequences of {T} steps; give longest={T}, or shorter sequences")
        if self.kind == "sinusoidal":
            P = jnp.asarray(sinusoids(T, d), x.dtype)
        else:
            P = scope.param("weights", SMALL, (longest, d))[:T]
        return scope.tap("activation", x + jnp.broadcast_to(P, x.shape))

    def _onward(self, x: Array, scope: Scope, there: Array) -> Array:
        """h of steps that come behind those that are there."""
        (longest,), (_, T, d), place = there.shape, x.shape, jnp.sum(there.astype(jnp.int32))
        scope.carry({"there": jnp.arange(longest) < place + T})
        if self.kind == "sinusoidal":
            P = jnp.asarray(sinusoids(longest, d), x.dtype)
        else:
            P = scope.param("weights", SMALL, (self.longest or longest, d))
        return x + jnp.broadcast_to(lax.dynamic_slice(P, (place, jnp.zeros_like(place)), (T, d)), x.shape)

    def beginning(self, T: int) -> Tree:
        """What is carried into the first of T steps: which of them are there, so far none."""
        return {"there": np.zeros(T, bool)}
