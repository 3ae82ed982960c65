"""What a number of a lesson is expected to be: said in words, and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Expectation:
    """A condition on a number, and how it reads."""

    text: str
    holds: Callable[[Any], bool]

    def __str__(self) -> str:
        return self.text


def near(value: float, within: float) -> Expectation:
    """A number that differs from `value` by at most `within`.

    >>> print(near(0.5, 1e-3), near(0.5, 1e-3).holds(0.5004), near(0.5, 1e-3).holds(0.502))
    0.5 within 0.001 True False
    """
    return Expectation(f"{shown(value)} within {within:g}", lambda given: bool(abs(given - value) <= within))


def at_least(value: float) -> Expectation:
    """A number not below `value`.

    >>> print(at_least(0.95), at_least(0.95).holds(0.96))
    at least 0.95 True
    """
    return Expectation(f"at least {shown(value)}", lambda given: bool(given >= value))


def at_most(value: float) -> Expectation:
    """A number not above `value`.

    >>> print(at_most(1e-10), at_most(1e-10).holds(2e-10))
    at most 1e-10 False
    """
    return Expectation(f"at most {shown(value)}", lambda given: bool(given <= value))


def between(low: float, high: float) -> Expectation:
    """A number from `low` to `high`.

    >>> print(between(1, 2), between(1, 2).holds(2))
    from 1 to 2 True
    """
    return Expectation(f"from {shown(low)} to {shown(high)}", lambda given: bool(low <= given <= high))


def equals(value: Any) -> Expectation:
    """Exactly this: a whole number, a truth value, a word, or a list of them.

    >>> print(equals([0, 1]), equals([0, 1]).holds(np.array([0, 1])), equals("no").holds("yes"))
    [0, 1] True False
    """
    return Expectation(shown(value), lambda given: plain(given) == plain(value))


def plain(value: Any) -> Any:
    """NumPy numbers and arrays as plain Python ones, so that they compare and go into JSON.

    >>> plain(np.float32(0.5)), plain(np.arange(3))
    (0.5, [0, 1, 2])
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def shown(value: Any) -> str:
    """A number as it is printed: at most six digits, whole numbers as they are.

    >>> shown(0.123456789), shown(307200), shown(True), shown(2.0)
    ('0.123457', '307,200', 'yes', '2')
    """
    value = plain(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "not finite" if not math.isfinite(value) else f"{value:.6g}"
    return str(value)
