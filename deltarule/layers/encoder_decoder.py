"""Two inputs, and a memory between them: an encoder reads the one, a decoder looks at what it remembers (lecture rows 39 and 41)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.composition import as_layer
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Memory, Scope
from deltarule.spec import register


@register
@dataclass(frozen=True)
class EncoderDecoder(Layer):
    """h = decoder(target), whose layers may look at the memory encoder(source) (Sutskever et al. 2014; Vaswani et al. 2017).

    A row holds both inputs side by side, of the shapes `source` and `target`; `fit` and the others also take {"source": x_1, "target":
    x_2}. For translation and captions the target is what is already written, `dr.data.shifted(y, start)`, and y what comes next in every
    step. The source may be a sequence, an image or a vector; its places (batch, places, d), with the mask of `Masked` in the encoder,
    are read by MultiHeadAttention(cross=True), `TransformerDecoder` and `AttentiveLSTM`. Shapes: (batch, source and target) -> those of
    the decoder. Raises DeltaruleError for shapes that are none, and what the layers raise.

    >>> import numpy as np
    >>> import deltarule as dr
    >>> decoder = [dr.Embedding(5, 8), dr.TransformerDecoder(2), dr.Dense(5, "softmax")]
    >>> net = dr.Network(dr.EncoderDecoder(dr.Conv2D(8, 3), decoder, source=(6, 6, 1), target=(4,)))
    >>> net.input_shape, net.predict({"source": np.zeros((2, 6, 6, 1)), "target": [[0, 1, 2, 3], [0, 4, 4, 4]]}).shape
    ((40,), (2, 4, 5))
    """

    sees = "all"

    encoder: Layer
    decoder: Layer
    source: tuple[int, ...]
    target: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("encoder", "decoder"):
            object.__setattr__(self, name, as_layer(getattr(self, name), "EncoderDecoder"))
        for name in ("source", "target"):
            object.__setattr__(self, name, _shape(name, getattr(self, name)))

    @property
    def row(self) -> int:
        """The numbers in one row."""
        return math.prod(self.source) + math.prod(self.target)

    def apart(self, x: Array) -> tuple[Array, Array]:
        """The two inputs (batch, *source) and (batch, *target) that rows (batch, row) hold. Raises ShapeError for other rows."""
        if x.shape[1:] != (self.row,):
            raise ShapeError(f"EncoderDecoder expected rows of {self.row} numbers, source {self.source} and target {self.target} side by "
                             f"side, received inputs of shape {tuple(x.shape[1:])}; leave out input_shape, or give {self.row}")
        middle = math.prod(self.source)
        return x[:, :middle].reshape(-1, *self.source), x[:, middle:].reshape(-1, *self.target)

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h = decoder(target), with memory = encoder(source)."""
        source, target = self.apart(x)
        around = scope.run.memory
        scope.run.memory = self.remember(source, scope)
        h = self.decoder(target, scope / "decoder")
        scope.run.memory = around
        return h

    def remember(self, source: Array, scope: Scope) -> Memory:
        """What the encoder makes of a source (batch, *source), its places in a row."""
        scope.mask = None
        m = self.encoder(source, scope / "encoder")
        mask, scope.mask = scope.mask, None
        return Memory(m.reshape(m.shape[0], math.prod(m.shape[1:-1]), m.shape[-1]), mask)


def _shape(name: str, given: Any) -> tuple[int, ...]:
    shape = (given,) if isinstance(given, (int, np.integer)) else given
    if not isinstance(shape, (tuple, list)) or not shape or not all(isinstance(size, (int, np.integer)) and size >= 1 for size in shape):
        raise DeltaruleError(f"EncoderDecoder expected {name} to be the shape of one input, such as (12,) or (28, 28, 1), "
                             f"received {given!r}")
    return tuple(map(int, shape))
