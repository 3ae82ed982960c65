"""The blocks that transformers are made of: attention and a small MLP, each added to what it was given (lecture row 39)."""

from dataclasses import dataclass
from typing import Any

from deltarule.checks import check_number
from deltarule.errors import DeltaruleError
from deltarule.layers.activation import check_activation
from deltarule.layers.attention import MultiHeadAttention, check_sequence, check_truth
from deltarule.layers.dense import Dense
from deltarule.layers.dropout import Dropout
from deltarule.layers.layer import Layer
from deltarule.layers.normalization import LayerNorm
from deltarule.layers.scope import Array, Scope
from deltarule.spec import register


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
        _check(self, "causal", "rotary")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """m = x + attention(norm(x)), h = m + MLP(norm(m))."""
        d = check_sequence(self, x)[-1]
        m = scope.tap("attended", x + _through(self.first(), x, scope))
        return scope.tap("activation", m + _through(self.second(d), m, scope))

    def first(self) -> dict[str, Layer]:
        """The layers of attention(norm(x)) by name."""
        return {"norm_1": LayerNorm(), "attention": MultiHeadAttention(self.heads, causal=self.causal, rotary=self.rotary),
                "dropout_1": Dropout(self.dropout)}

    def second(self, d: int) -> dict[str, Layer]:
        """The layers of MLP(norm(m)) by name, for d features."""
        return _mlp(2, self, d)


@register
@dataclass(frozen=True)
class TransformerDecoder(Layer):
    """m = x + attention(norm(x)), c = m + cross(norm(m)), h = c + MLP(norm(c)): a step looks at those before it, then at the memory.

    The block of the decoder in an `EncoderDecoder` (Vaswani et al. 2017, section 3.1; normalized before its parts, Xiong et al. 2020).
    The first attention is causal, `rotary` as in `MultiHeadAttention`; the second looks at the memory. MLP, `dropout` and `activation` as
    in `TransformerEncoder`. Shapes: (batch, T, d) -> the same, for a memory (batch, S, any width). The parts are norm_1, attention,
    dropout_1, norm_2, cross, dropout_2, norm_3, mlp_1, mlp_2 and dropout_3. Raises DeltaruleError for settings out of range and where there
    is no memory, ShapeError as `MultiHeadAttention`.

    >>> import deltarule as dr
    >>> decoder = [dr.Embedding(5, 8), dr.Positions(), dr.TransformerDecoder(2), dr.Dense(5, "softmax")]
    >>> both = dr.EncoderDecoder(dr.Dense(8), decoder, source=(7, 3), target=(4,))
    >>> dr.Network(both, both.row).output_shape
    (4, 5)
    """

    heads: int
    hidden: int | None = None
    dropout: float = 0.0
    rotary: bool = False
    activation: str = "gelu"

    def __post_init__(self) -> None:
        _check(self, "rotary")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """m = x + attention(norm(x)), c = m + cross(norm(m)), h = c + MLP(norm(c))."""
        d = check_sequence(self, x)[-1]
        m = scope.tap("attended", x + _through(self.first(), x, scope))
        c = scope.tap("informed", m + _through(self.second(), m, scope))
        return scope.tap("activation", c + _through(self.third(d), c, scope))

    def first(self) -> dict[str, Layer]:
        """The layers of attention(norm(x)) by name."""
        return {"norm_1": LayerNorm(), "attention": MultiHeadAttention(self.heads, causal=True, rotary=self.rotary),
                "dropout_1": Dropout(self.dropout)}

    def second(self) -> dict[str, Layer]:
        """The layers of cross(norm(m)) by name."""
        return {"norm_2": LayerNorm(), "cross": MultiHeadAttention(self.heads, cross=True), "dropout_2": Dropout(self.dropout)}

    def third(self, d: int) -> dict[str, Layer]:
        """The layers of MLP(norm(c)) by name, for d features."""
        return _mlp(3, self, d)


def _mlp(number: int, block: Any, d: int) -> dict[str, Layer]:
    """The layers of the MLP of a block by name, behind their norm."""
    return {f"norm_{number}": LayerNorm(), "mlp_1": Dense(block.hidden or 4 * d, block.activation), "mlp_2": Dense(d),
            f"dropout_{number}": Dropout(block.dropout)}


def _through(layers: dict[str, Layer], x: Array, scope: Scope) -> Array:
    for name, layer in layers.items():
        if not isinstance(layer, Dropout) or layer.rate:
            x = layer(x, scope / name)
    return x


def _check(block: Any, *truths: str) -> None:
    name = type(block).__name__
    check_number(block, "heads", least=1, whole=True)
    if block.hidden is not None:
        check_number(block, "hidden", least=1, whole=True)
    if not 0 <= block.dropout < 1:
        raise DeltaruleError(f"{name} expected dropout from 0 up to but not 1, received {block.dropout!r}")
    check_truth(block, *truths)
    check_activation(block.activation, name)
