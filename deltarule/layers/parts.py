"""What a network reads: the parts of its rows, and which numbers may stand there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from deltarule.layers.embedding import Embedding
from deltarule.layers.encoder_decoder import EncoderDecoder
from deltarule.layers.masking import Masked
from deltarule.layers.scope import Visit


class Part(NamedTuple):
    """A part of a row, or all of it: its name (none for all), where it begins and ends in the flattened row, and its shape.

    `vocabulary` is how many different whole numbers may stand there, None for numbers in general; `padding` what `Masked` takes for
    padding, None without it.
    """

    name: str
    begin: int
    end: int
    shape: tuple[int, ...]
    vocabulary: int | None
    padding: float | None


def parts(visits: Sequence[Visit]) -> tuple[Part, ...]:
    """The parts of the rows that a planned network reads: source and target of an `EncoderDecoder`, one for any other.

    A part is read by the layers whose inputs have its shape: what an `Embedding` or `Masked` among them expects is expected of it.

    >>> import deltarule as dr
    >>> parts(dr.Network([dr.Embedding(27, 8)], 5).plan.visits)
    (Part(name='', begin=0, end=5, shape=(5,), vocabulary=27, padding=None),)
    """
    row = visits[0].input_shape[1:]
    for visit in visits:
        layer = visit.layer
        if isinstance(layer, EncoderDecoder) and visit.input_shape[1:] == row:
            middle, path = math.prod(layer.source), f"{visit.path}/" if visit.path else ""
            return (_part("source", 0, layer.source, _inside(visits, path + "encoder")),
                    _part("target", middle, layer.target, _inside(visits, path + "decoder")))
    return (_part("", 0, row, visits),)


def pieces(found: tuple[Part, ...], shape: tuple[int, ...] | None = None) -> tuple[Part, ...]:
    """The parts where rows are pieces of something longer, in which a sequence may be at its end: padding alone is no mistake there.

    `shape` is that of a piece which is all of a row, where it is another than the network's.
    """
    if shape is not None:
        return (Part("", 0, math.prod(shape), shape, found[0].vocabulary, None),)
    return tuple(part._replace(padding=None) for part in found)


def _inside(visits: Sequence[Visit], path: str) -> list[Visit]:
    return [visit for visit in visits if visit.path == path or visit.path.startswith(path + "/")]


def _part(name: str, begin: int, shape: tuple[int, ...], visits: Sequence[Visit]) -> Part:
    readers = [visit.layer for visit in visits if visit.input_shape[1:] == shape]
    return Part(name, begin, begin + math.prod(shape), shape,
                min((layer.vocabulary for layer in readers if isinstance(layer, Embedding)), default=None),
                next((layer.value for layer in readers if isinstance(layer, Masked)), None))
