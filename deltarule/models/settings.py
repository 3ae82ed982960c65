"""The checks that ready networks share."""

from collections.abc import Sequence
from typing import Any

from deltarule.arguments import row_shape
from deltarule.errors import DeltaruleError, ShapeError


def image_shape(model: str, input_shape: Any) -> tuple[int, int, int]:
    """The shape of an image (height, width, channels). Raises ShapeError for another number of axes.

    >>> image_shape("convnet", [28, 28, 1])
    (28, 28, 1)
    """
    shape = row_shape(input_shape)
    if len(shape) != 3:
        raise ShapeError(f"{model} expected input_shape=(height, width, channels), received {input_shape!r}")
    return shape[0], shape[1], shape[2]


def whole_number(model: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number from `least` on. Raises DeltaruleError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DeltaruleError(f"{model} expected {name} to be a whole number from {least} on, received {value!r}")
    return value


def whole_numbers(model: str, name: str, values: Sequence[int] | int, least: int = 1) -> tuple[int, ...]:
    """A tuple of at least `least` whole numbers from 1 on; one number stands for itself. Raises DeltaruleError for anything else."""
    given = tuple(values) if isinstance(values, (tuple, list)) else (values,)
    if len(given) < least or any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in given):
        raise DeltaruleError(f"{model} expected {name} to be whole numbers from 1 on, such as (32, 64), received {values!r}")
    return given
