"""What the user is told when something is wrong: one line, saying what was given, what was expected and what to do."""

from typing import Any


class DeltaruleError(ValueError):
    """A mistake that the user can mend; its text is one line and complete.

    >>> raise DeltaruleError("epochs must be at least 1, received 0")
    Traceback (most recent call last):
        ...
    deltarule.errors.DeltaruleError: epochs must be at least 1, received 0
    """


class ShapeError(DeltaruleError):
    """An array whose shape does not fit where it was put."""


class DataError(DeltaruleError):
    """Data that cannot be learnt from: missing, empty, not finite, or of the wrong kind."""


class ModelFileError(DeltaruleError):
    """A model file that is truncated, altered, foreign, or from a newer version."""


class DivergenceError(DeltaruleError):
    """Training met a number that is not finite; the last good weights were restored.

    `report` holds where: epoch, step, layer, quantity, row and the likely cause. `run` holds the last good weights and
    the history so far, once training has found them.
    """

    def __init__(self, message: str, report: dict[str, object] | None = None):
        super().__init__(message)
        self.report = report or {}
        self.run: Any = None
