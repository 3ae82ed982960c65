"""Attention as a layer: every step of a sequence looks at the others, or at what an encoder remembers (lecture row 39)."""

from dataclasses import dataclass

import jax.numpy as jnp

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.masking import steps_mask
from deltarule.layers.scope import Array, Scope, Tree
from deltarule.layers.space import check_images
from deltarule.ops.attention import Kept, attention_of_steps, attention_weights, onward, room_for, rotary
from deltarule.ops.steps import steps_product
from deltarule.spec import register


@register
@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """head_i = softmax(Q_i K_i^T / sqrt(d_k)) V_i with Q_i, K_i, V_i = x W_Q,i, m W_K,i, m W_V,i; h = (head_1, ..., head_H) W_O.

    Every step of a sequence looks at every other, m = x, in each of the `heads` with weights of its own (Vaswani et al. 2017, section 3.2);
    with `cross` at the memory m of an `EncoderDecoder` instead. `size` is d_k, the width of a head: by default the features divided by the
    heads. `causal`: no step looks at later ones. `rotary`: queries and keys are turned by an angle that grows with their place, so
    that scores depend on distances (Su et al. 2021). Without it nothing is known of the order. Nobody looks at padding (`Masked`); where
    there is nothing else, h is 0. Shapes: (batch, T, d) -> the same; weights of `query` (d, heads size), `key` and `value` (features of m,
    heads size), `output` (heads size, d). Taps: "queries", "keys", "values" (batch, heads, T or S, size) and "attention" (batch, heads, T,
    S), whose rows sum to 1. Raises DeltaruleError for settings out of range and cross without a memory, ShapeError for inputs that are no
    sequences, heads that do not divide the features, and an odd size with rotary.

    >>> import numpy as np
    >>> import deltarule as dr
    >>> net = dr.Network([dr.MultiHeadAttention(2)], input_shape=(5, 6))
    >>> net.trace(np.ones((1, 5, 6)))["multi_head_attention_1"].taps["attention"].shape
    (1, 2, 5, 5)
    """

    heads: int
    size: int | None = None
    causal: bool = False
    rotary: bool = False
    cross: bool = False

    def __post_init__(self) -> None:
        check_number(self, "heads", least=1, whole=True)
        if self.size is not None:
            check_number(self, "size", least=1, whole=True)
        check_truth(self, "causal", "rotary", "cross")
        if self.cross and (self.causal or self.rotary):
            raise DeltaruleError("MultiHeadAttention looks at a memory with cross=True, which has no steps in common with the queries; "
                                 "leave out causal and rotary")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = (head_1, ..., head_H) W_O."""
        n, T, d = check_sequence(self, x)
        size = self._size(d)
        m, mask = scope.memory if self.cross else (x, steps_mask(self, x, scope))
        init = initializers.for_activation("linear")
        W = [(scope / name).param("weights", init, (width, self.heads * size))
             for name, width in (("query", d), ("key", m.shape[-1]), ("value", m.shape[-1]))]
        Q, K, V = (steps_product(z, one).reshape(n, z.shape[1], self.heads, size) for z, one in zip((x, m, m), W, strict=True))
        if self.rotary:
            first = 0 if scope.carried is None else scope.carried["place"]
            Q, K = (jnp.swapaxes(rotary(jnp.swapaxes(given, 1, 2), first), 1, 2) for given in (Q, K))
        real = None if mask is None else mask[:, None, None, :]
        if scope.carried is not None:
            here = jnp.ones((n, T), bool) if mask is None else mask
            O, kept = onward(Q, K, V, here, Kept(**scope.carried))
            scope.carry(kept._asdict())
        else:
            O = self._watched(Q, K, V, real, scope) if scope.watched else attention_of_steps(Q, K, V, self.causal, real)
        joined = O.reshape(n, T, self.heads * size)
        return scope.tap("activation", steps_product(joined, (scope / "output").param("weights", init, (self.heads * size, d))))

    def _watched(self, Q: Array, K: Array, V: Array, real: Array | None, scope: Scope) -> Array:
        """O, with the weights standing as a whole."""
        Q, K, V = (scope.tap(name, jnp.swapaxes(value, 1, 2)) for name, value in (("queries", Q), ("keys", K), ("values", V)))
        return jnp.swapaxes(scope.tap("attention", attention_weights(Q, K, self.causal, real)) @ V, 1, 2)

    def beginning(self, n: int, T: int, d: int, dtype: str) -> Tree:
        """What is carried into the first of T steps of n sequences: room for their keys and values."""
        return room_for(T, self.heads, self._size(d), n, dtype)._asdict()

    def _size(self, d: int) -> int:
        if self.size is None and d % self.heads:
            raise ShapeError(f"MultiHeadAttention expected heads that divide the features, received heads={self.heads} for {d} features; "
                             "or give the size of a head, such as size=8")
        size = self.size or d // self.heads
        if self.rotary and size % 2:
            raise ShapeError(f"MultiHeadAttention turns pairs of features with rotary=True and needs an even size, received {size}; "
                             f"give size={size + 1}")
        return size


@register
@dataclass(frozen=True)
class AttentionPooling(Layer):
    """h = A x, A = softmax(q K^T / sqrt(k)), K = tanh(x W + b): one row in place of all steps, a mean whose weights are learnt.

    The query q is learnt: what to look for (Yang et al. 2016, equations 5 to 7, with the scale of Vaswani et al. 2017). `size` is k,
    by default the features. Shapes: (batch, steps, d) or (batch, *space, d) -> (batch, d); `weights` W (d, k), `bias` b and `query` q
    (k,). Padding (`Masked`) weighs nothing. Taps: "keys" (batch, 1, places, k), "attention" (batch, 1, 1, places). Raises
    DeltaruleError for a size out of range, ShapeError for inputs without steps or space.

    >>> import numpy as np
    >>> import deltarule as dr
    >>> net = dr.Network([dr.AttentionPooling()], input_shape=(5, 3))
    >>> net.output_shape, net.trace(np.ones((1, 5, 3)))["attention_pooling_1"].taps["attention"].shape
    ((3,), (1, 1, 1, 5))
    """

    size: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            check_number(self, "size", least=1, whole=True)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = A x."""
        check_images(self, x)
        mask, d = steps_mask(self, x, scope), x.shape[-1]
        k = self.size or d
        W = scope.param("weights", initializers.for_activation("tanh"), (d, k))
        b, q = scope.param("bias", initializers.Zeros(), (k,)), scope.param("query", initializers.Normal(1.0), (k,))
        V = x.reshape(x.shape[0], 1, -1, d)
        a = V @ W
        K = scope.tap("keys", jnp.tanh(a + jnp.broadcast_to(b, a.shape)))
        Q = jnp.broadcast_to(q, (x.shape[0], 1, 1, k))
        A = scope.tap("attention", attention_weights(Q, K, mask=None if mask is None else mask[:, None, None, :]))
        scope.mask = None
        return scope.tap("activation", (A @ V)[:, 0, 0])


def check_sequence(owner: object, x: Array) -> tuple[int, int, int]:
    """The shape (batch, T, d) of sequences. Raises ShapeError for anything else."""
    if x.ndim != 3:
        cure = "put Embedding before it where steps are whole numbers" if x.ndim == 2 else "reshape the inputs"
        raise ShapeError(f"{type(owner).__name__} expected sequences (steps, features), received inputs of shape {tuple(x.shape[1:])}; "
                         f"{cure}")
    return tuple(x.shape)


def check_truth(owner: object, *fields: str) -> None:
    """Refuse settings that are neither True nor False. Raises DeltaruleError."""
    for field in fields:
        if not isinstance(getattr(owner, field), bool):
            raise DeltaruleError(f"{type(owner).__name__} expected {field} to be True or False, received {getattr(owner, field)!r}")
