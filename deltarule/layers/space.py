"""What the layers of images share: settings with one value for each axis of space, and the check that images arrive."""

from collections.abc import Callable
from typing import Any

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import Array

Sides = tuple[int, int]             # before and after, along one axis

_KINDS = {1: "sequences (steps, channels)", 2: "images (height, width, channels)", 3: "volumes (depth, height, width, channels)"}


def tuples(owner: Any, *fields: str) -> None:
    """Turn the lists in these settings of a layer into tuples, so that layers can be compared and saved.

    >>> import deltarule as dr
    >>> dr.Crop([[1, 2], 3])
    Crop(cropping=((1, 2), 3))
    """
    for field in fields:
        object.__setattr__(owner, field, _as_tuple(getattr(owner, field)))


def own_axes(setting: Any) -> int:
    """How many axes of space a setting is for: the length of a tuple, 1 for a number that holds for all axes."""
    return len(setting) if isinstance(setting, tuple) else 1


def each(owner: Any, field: str, axes: int, accepted: Callable[[Any], str | None]) -> tuple[Any, ...]:
    """The setting `field` of a layer as a tuple with one value for each axis of space.

    `accepted` returns what it expects where it refuses a value. Raises DeltaruleError for a refused value, ShapeError for a tuple of
    another length.

    >>> import deltarule as dr
    >>> each(dr.MaxPool2D(3), "window", 2, whole(1))
    (3, 3)
    """
    given, name = getattr(owner, field), type(owner).__name__
    values = given if isinstance(given, tuple) else (given,) * axes
    if len(values) != axes:
        raise ShapeError(f"{name} expected {field} as one value or a tuple of {axes}, one for each axis of space, received {given!r}")
    for value in values:
        expected = accepted(value)
        if expected is not None:
            raise DeltaruleError(f"{name} expected {field} to be {expected}, received {given!r}")
    return values


def whole(least: int) -> Callable[[Any], str | None]:
    """Accepts whole numbers from `least` on.

    >>> whole(1)(2.5)
    'a whole number from 1 on'
    """
    def accepted(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if good else f"a whole number from {least} on"

    return accepted


def sides(owner: Any, field: str, axes: int) -> tuple[Sides, ...]:
    """The setting `field` as (before, after) for each axis: given as one number for all, or for each axis as a number or a pair.

    Raises DeltaruleError for anything else.

    >>> import deltarule as dr
    >>> sides(dr.Crop(((1, 2), 3)), "cropping", 2)
    ((1, 2), (3, 3))
    """
    number = whole(0)

    def accepted(value: Any) -> str | None:
        pair = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
        refused = any(number(side) is not None for side in pair)
        return "whole numbers from 0 on, for each axis one or a pair (before, after)" if refused else None

    return tuple(value if isinstance(value, tuple) else (value, value) for value in each(owner, field, axes, accepted))


def same_sides(H: int, k: int, S: int) -> Sides:
    """The padding that makes H_out = ceil(H / S), one more behind where it is odd.

    >>> same_sides(28, 3, 2)
    (0, 1)
    """
    both = max(0, (-(-H // S) - 1) * S + k - H)
    return both // 2, both - both // 2


def check_images(owner: Any, x: Array) -> int:
    """The number of axes of space of x (batch, *space, channels): 1, 2 or 3. Raises ShapeError otherwise."""
    axes = x.ndim - 2
    if axes not in _KINDS:
        raise ShapeError(f"{type(owner).__name__} expected {', '.join(_KINDS.values())}, received inputs of shape {tuple(x.shape[1:])}; "
                         "put it before Flatten, or reshape the inputs")
    return axes


def check_images_of(owner: Any, x: Array, axes: int) -> None:
    """Raise ShapeError unless x has exactly this number of axes of space."""
    if x.ndim - 2 == axes:
        return
    cure = "add the axis of channels with x[..., None]" if x.ndim - 1 == axes else "reshape the inputs, or use a layer for their axes"
    raise ShapeError(f"{type(owner).__name__} expected {_KINDS[axes]}, received inputs of shape {tuple(x.shape[1:])}; {cure}")


def between(x: Array, axis: int, start: int, stop: int) -> Array:
    """x[start:stop] along one axis."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (tuple, list)) else value
