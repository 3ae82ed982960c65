"""The checks that settings share, with their one-line errors."""

import math

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
    kinds = int if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    good = good and (above is None or value > above) and (least is None or value >= least)
    good = good and (below is None or value < below) and (most is None or value <= most)
    if not good:
        limits = [f"{word} {limit:g}" for word, limit in
                  (("above", above), ("of at least", least), ("below", below), ("at most", most)) if limit is not None]
        kind = " ".join(["a whole number" if whole else "a finite number", " and ".join(limits)]).strip()
        raise DeltaruleError(f"{type(owner).__name__} expected {field} to be {kind}, received {value!r}")
