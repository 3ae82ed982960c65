"""Modules that are imported when they are first used, so that `import deltarule` stays quick."""

import importlib
from typing import Any


class Lazy:
    """Stands for a module until one of its names is asked for.

    >>> Lazy("math").sqrt(4.0)
    2.0
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
