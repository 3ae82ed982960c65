"""The network of "Show, attend and tell": it looks at an image while it says what is there."""

from collections.abc import Sequence
from typing import Any

from deltarule.layers import (
    Activation,
    AttentiveLSTM,
    BatchNorm,
    Conv2D,
    Dense,
    Embedding,
    EncoderDecoder,
    Layer,
    MaxPool2D,
    Positions,
    Reshape,
)
from deltarule.models.settings import image_shape, whole_number, whole_numbers
from deltarule.network import Network


def captioner(input_shape: Any, vocabulary: int, length: int, filters: Sequence[int] = (16, 32, 48), units: int = 96, *, width: int = 32,
              seed: int = 0) -> Network:
    """[Conv BatchNorm ReLU Pool] x k, a last Conv BatchNorm ReLU, and an LSTM that looks at its places before every word (Xu et al. 2015).

    Pooling halves the image after every convolution but the last; learnt `Positions` tell the places apart. Words are vectors of `width`
    numbers. Shapes: {"source": images input_shape, "target": whole numbers (length,)} -> probabilities (length, vocabulary) of the next
    word. Train it with net.fit({"source": x, "target": dr.data.shifted(y, start)}, y), and let it speak with `dr.translate`. Raises
    DeltaruleError or ShapeError for settings out of range.

    >>> captioner((24, 24, 3), vocabulary=14, length=9).output_shape
    (9, 14)
    """
    image = height, across, _ = image_shape("captioner", input_shape)
    for name, value in (("vocabulary", vocabulary), ("length", length), ("units", units), ("width", width)):
        whole_number("captioner", name, value)
    *before, last = whole_numbers("captioner", "filters", filters)
    encoder: list[Layer] = []
    for number in before:
        encoder += [*_seeing(number), MaxPool2D(2)]
        height, across = height // 2, across // 2
    encoder += [*_seeing(last), Reshape((height * across, last)), Positions()]
    decoder: list[Layer] = [Embedding(vocabulary, width), AttentiveLSTM(units), Dense(vocabulary, "softmax")]
    return Network(EncoderDecoder(encoder, decoder, image, (length,)), seed=seed)     # type: ignore[arg-type]


def _seeing(filters: int) -> list[Layer]:
    return [Conv2D(filters, 3, padding="same"), BatchNorm(), Activation("relu")]
