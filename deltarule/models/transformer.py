"""Transformers: one that writes, and one that sorts sequences into classes."""

from deltarule.layers import Dense, Embedding, GlobalAveragePool, Layer, LayerNorm, Positions, TransformerEncoder
from deltarule.models.settings import whole_number
from deltarule.network import Network


def language_model(vocabulary: int, length: int = 64, width: int = 64, heads: int = 4, blocks: int = 2, *, dropout: float = 0.0,
                   rotary: bool = False, seed: int = 0) -> Network:
    """Embedding, learnt positions, [causal block] x blocks, LayerNorm, Softmax over the vocabulary for the next step (Radford et al. 2018).

    Shapes: whole numbers (length,) -> probabilities (length, vocabulary), those in step t for step t + 1. With `rotary` the places are
    told by turning queries and keys instead. Train it on `dr.data.windows`, let it write with `dr.generate`. Raises
    DeltaruleError or ShapeError for settings out of range.

    >>> language_model(27, 16, width=8, heads=2, blocks=1).output_shape
    (16, 27)
    """
    layers = _blocks("language_model", vocabulary, length, width, heads, blocks, dropout, rotary, causal=True)
    return Network([*layers, Dense(vocabulary, "softmax")], (length,), seed)


def transformer(vocabulary: int, length: int, classes: int, width: int = 64, heads: int = 4, blocks: int = 2, *, dropout: float = 0.0,
                seed: int = 0) -> Network:
    """Embedding, learnt positions, [block] x blocks, LayerNorm, the mean over the steps, Softmax: a classifier of sequences.

    Shapes: whole numbers (length,) -> (classes,). Raises DeltaruleError or ShapeError for settings out of range.

    >>> transformer(27, 16, 3, width=8, heads=2, blocks=1).output_shape
    (3,)
    """
    layers = _blocks("transformer", vocabulary, length, width, heads, blocks, dropout, rotary=False, causal=False)
    return Network([*layers, GlobalAveragePool(), Dense(whole_number("transformer", "classes", classes), "softmax")], (length,), seed)


def _blocks(model: str, vocabulary: int, length: int, width: int, heads: int, blocks: int, dropout: float, rotary: bool,
            causal: bool) -> list[Layer]:
    given = {"vocabulary": vocabulary, "length": length, "width": width, "heads": heads, "blocks": blocks}
    for name, value in given.items():
        whole_number(model, name, value)
    block = TransformerEncoder(heads, dropout=dropout, causal=causal, rotary=rotary)
    return [Embedding(vocabulary, width), *([] if rotary else [Positions()]), *[block] * blocks, LayerNorm()]
