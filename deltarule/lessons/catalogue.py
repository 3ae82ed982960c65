"""Which lessons there are, and how one is run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.lessons.board import Board, Result
from deltarule.lessons.topics import TOPICS
from deltarule.spec import nearest

NAMES = (       # in the order of the lectures; the module of "one-vs-all" is one_vs_all
    "neuron", "festival", "perceptron", "adaline", "logistic", "xor", "one-vs-all", "small-changes", "firing-rate", "visual-cortex",
    "activations", "linear-depth", "vanishing-gradients", "dying-relu", "relu-speed", "losses", "softmax",
    "layers", "backpropagation", "trask", "gradient-descent", "gradient-noise", "approximation", "capacity", "bending",
    "overfitting", "regularization", "hyper-parameters", "metrics", "problem-first",
    "mnist-nielsen", "convolution", "shared-weights", "pooling", "receptive-field", "convnet", "conv1d", "hierarchy", "segmentation",
    "galaxies",
    "recurrent", "lstm", "adding-problem", "attention", "translation", "language-model", "light-curves", "tones", "captions",
)


@dataclass(frozen=True)
class Lesson:
    """One lesson: its title and idea (the module's docstring), the rows it teaches, its equations, and the parts of the library it uses."""

    name: str
    title: str
    idea: str
    rows: tuple[int, ...]
    equations: tuple[str, ...]
    parts: tuple[str, ...]
    teach: Callable[[Board], None]

    @property
    def section(self) -> str:
        """The section of the lectures."""
        return TOPICS[self.rows[0]].section

    @property
    def lectures(self) -> str:
        """The lectures it comes from, as letters."""
        return " ".join(dict.fromkeys(letter for row in self.rows for letter in TOPICS[row].lectures.split()))


def names() -> tuple[str, ...]:
    """The names of all lessons, in the order of the lectures."""
    return NAMES


def lesson(name: str) -> Lesson:
    """The lesson of that name. Raises DeltaruleError for an unknown one, offering the nearest.

    >>> lesson("xor").rows
    (6,)
    """
    if name not in NAMES:
        raise DeltaruleError(f"unknown lesson {name!r}; the command deltarule lessons lists all{nearest(str(name), NAMES)}")
    module: Any = import_module(f"deltarule.lessons.{name.replace('-', '_')}")
    title, _, idea = inspect.cleandoc(module.__doc__).partition("\n\n")
    return Lesson(name, title, idea, module.ROWS, module.EQUATIONS, module.PARTS, module.teach)


def run(name: str, out: Callable[[str], None] | None = None) -> Result:
    """Run one lesson; its lines go to `out` as they come (default: nowhere). Raises DeltaruleError for an unknown name.

    >>> run("festival").numbers["both forms agree"]
    True
    """
    chosen = lesson(name)
    board = Board() if out is None else Board(out)
    began = time.perf_counter()
    board.say(f"{chosen.title}\n\n{chosen.idea}")
    board.say("")
    board.equation(*chosen.equations)
    board.say("")
    chosen.teach(board)
    return Result(name, chosen.title, chosen.rows, tuple(board.checks), board.figures, board.captions, "\n".join(board.lines),
                  time.perf_counter() - began)
