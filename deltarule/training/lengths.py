"""Batches with fewer steps than the network's rows have: allowed where nothing that is learnt depends on the number of steps."""

import functools

from deltarule.errors import DeltaruleError
from deltarule.layers.forward import plan, shapes
from deltarule.layers.layer import Layer
from deltarule.losses import Output
from deltarule.ops.compiling import precision


@functools.lru_cache(256)
def at_length(layer: Layer, input_shape: tuple[int, ...], given: tuple[int, ...], dtype: str) -> Output | None:
    """The abstract output for rows of the shape `given`, which differs from `input_shape` in the number of steps alone.

    None where it differs in more, or where parameters or state would have other shapes.

    >>> from deltarule import layers
    >>> at_length(layers.GRU(3), (7, 2), (5, 2), "float32").h.shape
    (1, 3)
    >>> at_length(layers.Sequential([layers.Flatten(), layers.Dense(3)]), (7, 2), (5, 2), "float32")
    """
    if len(given) != len(input_shape) or not 1 <= len(given) <= 2 or given[1:] != input_shape[1:] or given[0] < 1:
        return None
    try:
        with precision(dtype):
            usual, _ = plan(layer, input_shape, dtype)
            other, output = plan(layer, given, dtype)
    except DeltaruleError:
        return None
    same = shapes(usual.params) == shapes(other.params) and shapes(usual.state) == shapes(other.state)
    return output if same else None
