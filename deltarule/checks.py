"""The checks that settings share, with their one-line errors."""

import math
from typing import Any

from deltarule.errors import DeltaruleError


def check_number(owner: object, field: str, *, above: float | None = None, least: float | None = None, below: float | None = None,
                 most: float | None = None, whole: bool = False) -> None:
    """Refuse a setting that is not a finite number (a `whole` one) within its limits; truth values are no numbers.

    Raises DeltaruleError naming the class, the field, what was expected and what was received.

    >>> from deltarule.initializers import Normal
    >>> Normal(std=-1.0)
    Traceback (most recent call last):
        ...
    deltarule.errors.DeltaruleError: Normal expected std to be a finite number above 0, received -1.0
    """
    value = getattr(owner, field)
    expected = _refused(value, above, least, below, most, whole)
    if expected:
        raise DeltaruleError(f"{type(owner).__name__} expected {field} to be {expected}, received {value!r}")


def checked_number(name: str, value: Any, least: float | None = None, most: float | None = None, *, above: float | None = None,
                   whole: bool = False) -> Any:
    """The argument `name` of a function, where it is a finite number (a `whole` one) within its limits.

    Raises DeltaruleError naming what was expected and what was received.

    >>> checked_number("steps", 0, 1, whole=True)
    Traceback (most recent call last):
        ...
    deltarule.errors.DeltaruleError: steps expected a whole number of at least 1, received 0
    """
    expected = _refused(value, above, least, None, most, whole)
    if expected:
        raise DeltaruleError(f"{name} expected {expected}, received {value!r}")
    return value


def absent(value: Any) -> bool:
    """Whether a setting is the number 0, so that a program can do without it; what a compiled program is given at its call never is.

    >>> absent(0.0), absent(0.5), absent([0.0])
    (True, False, False)
    """
    return isinstance(value, (int, float)) and value == 0


def _refused(value: Any, above: float | None, least: float | None, below: float | None, most: float | None, whole: bool) -> str | None:
    """What was expected, where the value is refused."""
    kinds = int if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    good = good and (above is None or value > above) and (least is None or value >= least)
    good = good and (below is None or value < below) and (most is None or value <= most)
    if good:
        return None
    limits = [f"{word} {limit:g}" for word, limit in
              (("above", above), ("of at least", least), ("below", below), ("at most", most)) if limit is not None]
    return " ".join(["a whole number" if whole else "a finite number", " and ".join(limits)]).strip()
