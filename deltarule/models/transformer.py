"""Transformers: one that writes, one that translates, and one that sorts sequences into classes."""

from deltarule.layers import (
    Dense,
    Embedding,
    EncoderDecoder,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Masked,
    Positions,
    TransformerDecoder,
    TransformerEncoder,
)
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
    _check("language_model", vocabulary=vocabulary, length=length, width=width, heads=heads, blocks=blocks)
    block = TransformerEncoder(heads, dropout=dropout, causal=True, rotary=rotary)
    return Network([*_blocks(vocabulary, width, block, blocks), Dense(vocabulary, "softmax")], (length,), seed)


def transformer(source_vocabulary: int, target_vocabulary: int, source_length: int, target_length: int, width: int = 64, heads: int = 4,
                blocks: int = 2, *, padding: int | None = None, dropout: float = 0.0, rotary: bool = False, seed: int = 0) -> Network:
    """The transformer: an encoder of `blocks` blocks reads the source, a decoder of as many writes the target (Vaswani et al. 2017).

    Both begin with Embedding and learnt positions (or `rotary`) and end with LayerNorm, the decoder with Softmax over its vocabulary.
    `padding` is the number that fills sources up. Shapes: {"source": whole numbers (source_length,), "target": (target_length,)} ->
    probabilities (target_length, target_vocabulary) of what comes next. Train it with net.fit({"source": x, "target": dr.data.shifted(y,
    start)}, y), and let it answer with `dr.translate`. Raises DeltaruleError or ShapeError for settings out of range.

    >>> net = transformer(27, 12, source_length=20, target_length=10, width=8, heads=2, blocks=1, padding=0)
    >>> net.output_shape
    (10, 12)
    """
    _check("transformer", source_vocabulary=source_vocabulary, target_vocabulary=target_vocabulary, source_length=source_length,
           target_length=target_length, width=width, heads=heads, blocks=blocks)
    reader, writer = TransformerEncoder(heads, dropout=dropout, rotary=rotary), TransformerDecoder(heads, dropout=dropout, rotary=rotary)
    encoder = [*([] if padding is None else [Masked(padding)]), *_blocks(source_vocabulary, width, reader, blocks)]
    decoder = [*_blocks(target_vocabulary, width, writer, blocks), Dense(target_vocabulary, "softmax")]
    return Network(EncoderDecoder(encoder, decoder, (source_length,), (target_length,)), seed=seed)   # type: ignore[arg-type]


def sequence_classifier(vocabulary: int, length: int, classes: int, width: int = 64, heads: int = 4, blocks: int = 2, *,
                        padding: int | None = None, dropout: float = 0.0, seed: int = 0) -> Network:
    """Embedding, learnt positions, [block] x blocks, LayerNorm, the mean over the steps, Softmax: a classifier of sequences.

    `padding` is the number that fills sequences up, which are then left out of the mean. Shapes: whole numbers (length,) -> (classes,).
    Raises DeltaruleError or ShapeError for settings out of range.

    >>> sequence_classifier(27, 16, 3, width=8, heads=2, blocks=1).output_shape
    (3,)
    """
    _check("sequence_classifier", vocabulary=vocabulary, length=length, classes=classes, width=width, heads=heads, blocks=blocks)
    block, first = TransformerEncoder(heads, dropout=dropout), [] if padding is None else [Masked(padding)]
    return Network([*first, *_blocks(vocabulary, width, block, blocks), GlobalAveragePool(), Dense(classes, "softmax")], (length,), seed)


def _check(model: str, **numbers: int) -> None:
    for name, value in numbers.items():
        whole_number(model, name, value)


def _blocks(vocabulary: int, width: int, block: TransformerEncoder | TransformerDecoder, blocks: int) -> list[Layer]:
    return [Embedding(vocabulary, width), *([] if block.rotary else [Positions()]), *[block] * blocks, LayerNorm()]
