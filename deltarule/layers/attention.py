"""Attention as a layer: every step of a sequence looks at the others (lecture row 39); and the block that transformers are made of."""

from dataclasses import dataclass

import jax.numpy as jnp

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.activation import check_activation
from deltarule.layers.dense import Dense
from deltarule.layers.dropout import Dropout
from deltarule.layers.layer import Layer
from deltarule.layers.normalization import LayerNorm
from deltarule.layers.scope import Array, Scope
from deltarule.ops.attention import attention_of_steps, attention_weights, rotary
from deltarule.ops.steps import steps_product
from deltarule.spec import register


@register
@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """head_i = softmax(Q_i K_i^T / sqrt(d_k)) V_i with Q_i, K_i, V_i = x W_Q,i, x W_K,i, x W_V,i; h = (head_1, ..., head_H) W_O.

    Every step of a sequence looks at every other, in each of the `heads` with weights of its own (Vaswani et al. 2017, section 3.2).
    `size` is d_k, the width of a head: by default the features divided by the heads. `causal`: no step looks at later ones. `rotary`:
    queries and keys are turned by an angle that grows with their place, so that scores depend on distances (Su et al. 2021).
    Without it nothing is known of the order. Shapes: (batch, T, d) -> the same; weights of `query`, `key` and `value` (d, heads size), of
    `output` (heads size, d). Taps: "queries", "keys", "values" (batch, heads, T, size) and "attention" (batch, heads, T, T), whose rows
    sum to 1. Raises DeltaruleError for settings out of range, ShapeError for inputs that are no sequences, heads that do not divide the
    features, and an odd size with rotary.

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

    def __post_init__(self) -> None:
        check_number(self, "heads", least=1, whole=True)
        if self.size is not None:
            check_number(self, "size", least=1, whole=True)
        _check_truth(self, "causal", "rotary")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = (head_1, ..., head_H) W_O."""
        n, T, d = check_sequence(self, x)
        size = self._size(d)
        init = initializers.for_activation("linear")
        W = [(scope / name).param("weights", init, (d, self.heads * size)) for name in ("query", "key", "value")]
        Q, K, V = (steps_product(x, one).reshape(n, T, self.heads, size) for one in W)
        if self.rotary:
            Q, K = (jnp.swapaxes(rotary(jnp.swapaxes(given, 1, 2)), 1, 2) for given in (Q, K))
        O = self._watched(Q, K, V, scope) if scope.watched else attention_of_steps(Q, K, V, self.causal)
        joined = O.reshape(n, T, self.heads * size)
        return scope.tap("activation", steps_product(joined, (scope / "output").param("weights", init, (self.heads * size, d))))

    def _watched(self, Q: Array, K: Array, V: Array, scope: Scope) -> Array:
        """O, with the weights standing as a whole."""
        Q, K, V = (scope.tap(name, jnp.swapaxes(value, 1, 2)) for name, value in (("queries", Q), ("keys", K), ("values", V)))
        return jnp.swapaxes(scope.tap("attention", attention_weights(Q, K, self.causal)) @ V, 1, 2)

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
class TransformerEncoder(Layer):
    """m = x + attention(norm(x)), h = m + MLP(norm(m)): the block of a transformer, normalized before its parts (Xiong et al. 2020).

    The MLP is Dense(hidden, activation), Dense(d); `hidden` is 4 d unless given. In training `dropout` falls on what is added (Vaswani et
    al. 2017, section 5.4). With `causal` no step looks at later ones: the block of a language model. `rotary` as in `MultiHeadAttention`.
    Shapes: (batch, T, d) -> the same. The parts are norm_1, attention, dropout_1, norm_2, mlp_1, mlp_2 and dropout_2. Raises
    DeltaruleError for settings out of range, ShapeError as `MultiHeadAttention`.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.TransformerEncoder(heads=2)], input_shape=(5, 6))
    >>> list(net.params["transformer_encoder_1"])
    ['norm_1', 'attention', 'norm_2', 'mlp_1', 'mlp_2']
    """

    heads: int
    hidden: int | None = None
    dropout: float = 0.0
    causal: bool = False
    rotary: bool = False
    activation: str = "gelu"

    def __post_init__(self) -> None:
        check_number(self, "heads", least=1, whole=True)
        if self.hidden is not None:
            check_number(self, "hidden", least=1, whole=True)
        if not 0 <= self.dropout < 1:
            raise DeltaruleError(f"TransformerEncoder expected dropout from 0 up to but not 1, received {self.dropout!r}")
        _check_truth(self, "causal", "rotary")
        check_activation(self.activation, "TransformerEncoder")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """m = x + attention(norm(x)), h = m + MLP(norm(m))."""
        d = check_sequence(self, x)[-1]
        m = scope.tap("attended", x + self._through(self.first(), x, scope))
        return scope.tap("activation", m + self._through(self.second(d), m, scope))

    def first(self) -> dict[str, Layer]:
        """The layers of attention(norm(x)) by name."""
        return {"norm_1": LayerNorm(), "attention": MultiHeadAttention(self.heads, causal=self.causal, rotary=self.rotary),
                "dropout_1": Dropout(self.dropout)}

    def second(self, d: int) -> dict[str, Layer]:
        """The layers of MLP(norm(m)) by name, for d features."""
        return {"norm_2": LayerNorm(), "mlp_1": Dense(self.hidden or 4 * d, self.activation), "mlp_2": Dense(d),
                "dropout_2": Dropout(self.dropout)}

    def _through(self, layers: dict[str, Layer], x: Array, scope: Scope) -> Array:
        for name, layer in layers.items():
            if not isinstance(layer, Dropout) or layer.rate:
                x = layer(x, scope / name)
        return x


def check_sequence(owner: object, x: Array) -> tuple[int, int, int]:
    """The shape (batch, T, d) of sequences. Raises ShapeError for anything else."""
    if x.ndim != 3:
        cure = "put Embedding before it where steps are whole numbers" if x.ndim == 2 else "reshape the inputs"
        raise ShapeError(f"{type(owner).__name__} expected sequences (steps, features), received inputs of shape {tuple(x.shape[1:])}; "
                         f"{cure}")
    return tuple(x.shape)


def _check_truth(owner: object, *fields: str) -> None:
    for field in fields:
        if not isinstance(getattr(owner, field), bool):
            raise DeltaruleError(f"{type(owner).__name__} expected {field} to be True or False, received {getattr(owner, field)!r}")
