"""The multilayer perceptron."""

from collections.abc import Sequence
from typing import Any

from deltarule.arguments import row_shape
from deltarule.layers import Dense, Dropout, Flatten, Layer
from deltarule.models.settings import whole_number, whole_numbers
from deltarule.network import Network


def mlp(input_shape: int | Sequence[int] = (28, 28, 1), outputs: int = 10, hidden: Sequence[int] | int = (128,), *,
        activation: Any = "relu", output: str = "softmax", dropout: float = 0.0, seed: int = 0) -> Network:
    """Flatten, [Dense, Dropout] x L, Dense: the multilayer perceptron with L hidden layers (lecture row 16).

    Shapes: rows of `input_shape` -> (outputs,). `hidden` holds the units of each hidden layer, none for a single layer; `output` is the
    last activation: "softmax" for classes, "sigmoid" for yes and no, "linear" for numbers. Raises DeltaruleError for settings out of range.

    >>> mlp(784, 10, (30,), activation="sigmoid").summary().parameters      # the lecture's network for MNIST: 784 30 + 30 + 30 10 + 10
    23860
    """
    shape = row_shape(input_shape)
    layers: list[Layer] = [Flatten()] if len(shape) > 1 else []
    for units in whole_numbers("mlp", "hidden", hidden, least=0):
        layers += [Dense(units, activation), *([Dropout(dropout)] if dropout else [])]
    return Network([*layers, Dense(whole_number("mlp", "outputs", outputs), output)], shape, seed)
