"""What every page of the textbook stands on: numbers in float64, and mistakes told in one line."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.spec import nearest

Array = NDArray[np.float64]
Parameters = dict[str, Array]       # theta: every parameter by the name it has in the equations
Gradient = dict[str, Array]         # dL/dtheta under the same names, and dL/dx under "x"


def floats(name: str, value: ArrayLike, axes: str = "") -> Array:
    """`value` as a float64 array, with as many axes as `axes` names ("n, inputs"; any number where it is empty).

    Raises ShapeError for another number of axes.

    >>> floats("x", [[1, 2]], "n, inputs")
    array([[1., 2.]])
    """
    array = np.asarray(value, np.float64)
    if axes and array.ndim != len(axes.split(",")):
        raise ShapeError(f"{name} expected the shape ({axes}), received {array.shape}; reshape it to that many axes")
    return array


def expect_shape(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Hand `array` on if it has exactly that `shape`; raise ShapeError otherwise.

    >>> expect_shape("b", np.zeros(3), (3,)).shape
    (3,)
    """
    if array.shape != tuple(shape):
        raise ShapeError(f"{name} has shape {array.shape}, expected {tuple(shape)}; nothing is broadcast here")
    return array


def expect_names(theta: Parameters, names: Iterable[str]) -> None:
    """Raise DeltaruleError unless `theta` holds every one of the `names`.

    >>> expect_names({"U": np.zeros(1)}, ["U"])
    """
    missing = [name for name in names if name not in theta]
    if missing:
        raise DeltaruleError(f"theta has no {', '.join(missing)}; it holds {', '.join(theta) or 'nothing'}")


def expect_above_zero(name: str, value: float) -> None:
    """Raise DeltaruleError unless `value` is a finite number above 0.

    >>> expect_above_zero("eta", 0.1)
    """
    if not (value > 0 and math.isfinite(value)):
        raise DeltaruleError(f"{name} expected a finite number above 0, received {value!r}")


def expect_whole(name: str, value: Any, least: int = 1) -> None:
    """Raise DeltaruleError unless `value` is a whole number of at least `least`.

    >>> expect_whole("epochs", 3)
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DeltaruleError(f"{name} expected a whole number of at least {least}, received {value!r}")


def expect_known(kind: str, name: Any, known: Iterable[str]) -> None:
    """Raise DeltaruleError, offering the nearest names, unless `name` is one of the `known`.

    >>> expect_known("form", "bias", ("bias", "threshold"))
    """
    if name not in tuple(known):
        raise DeltaruleError(f"unknown {kind} {name!r}{nearest(str(name), known)}")
