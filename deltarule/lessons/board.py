"""The board on which a lesson is written: sentences, equations, tables, numbers beside what is expected, figures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.files import StrPath
from deltarule.lessons.expectations import Expectation, plain, shown

WIDTH = 118     # of a line of prose


@dataclass(frozen=True)
class Check:
    """One number of a lesson, what it is expected to be, and whether it is."""

    name: str
    value: Any
    expected: str
    passed: bool


@dataclass
class Board:
    """What a lesson writes on. Every line is handed to `out` at once, so that a long lesson shows its progress.

    >>> from deltarule.lessons.expectations import at_least
    >>> board = Board(out=print)
    >>> board.say("A neuron is a weighted sum and an activation.")
    A neuron is a weighted sum and an activation.
    >>> board.number("accuracy", 0.97, at_least(0.95))
      accuracy  0.97  (expected: at least 0.95)
    """

    out: Callable[[str], None] = field(default=lambda line: None)
    lines: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """A paragraph, or several with an empty line between them; long lines are wrapped."""
        paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
        self._write("\n\n".join(textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False) for part in paragraphs))

    def equation(self, *formulas: str) -> None:
        """Formulas, one a line, indented."""
        for formula in formulas:
            self._write(f"    {formula}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table: names of columns, and rows of numbers or words."""
        body = [[shown(cell) for cell in row] for row in rows]
        widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]
        for line in (list(header), ["-" * width for width in widths], *body):
            cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
            self._write("    " + "  ".join(cells).rstrip())

    def number(self, name: str, value: Any, expected: Expectation) -> None:
        """A number (or truth value, or list of whole numbers) beside what it is expected to be. Names are unique within a lesson."""
        if any(check.name == name for check in self.checks):
            raise DeltaruleError(f"the lesson has two numbers called {name!r}; give them different names")
        check = Check(name, plain(value), expected.text, bool(expected.holds(value)))
        self.checks.append(check)
        self._write(f"  {name}  {shown(value)}  (expected: {expected.text})" + ("" if check.passed else "  <- NOT as expected"))

    def figure(self, name: str, figure: Any, caption: str) -> None:
        """A matplotlib figure with a sentence that says what to see in it."""
        if name in self.figures:
            raise DeltaruleError(f"the lesson has two figures called {name!r}; give them different names")
        self.figures[name], self.captions[name] = figure, caption
        self._write(textwrap.fill(f"figure {name}: {caption}", WIDTH, initial_indent="  ", subsequent_indent="    "))

    def _write(self, line: str) -> None:
        self.lines.append(line)
        self.out(line)


@dataclass(frozen=True)
class Result:
    """What a lesson found: `numbers` and `expected` by name, `passed`, and the figures. Printing it shows the lesson's text."""

    name: str
    title: str
    rows: tuple[int, ...]
    checks: tuple[Check, ...]
    figures: dict[str, Any]
    captions: dict[str, str]
    text: str
    seconds: float

    @property
    def numbers(self) -> dict[str, Any]:
        """The measured numbers by name."""
        return {check.name: check.value for check in self.checks}

    @property
    def expected(self) -> dict[str, str]:
        """What each number is expected to be, in words."""
        return {check.name: check.expected for check in self.checks}

    @property
    def passed(self) -> bool:
        """Whether every number is what it is expected to be."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Name, rows of the lectures, numbers, expectations and whether all hold, as plain JSON."""
        return {"name": self.name, "title": self.title, "rows": list(self.rows), "numbers": self.numbers, "expected": self.expected,
                "passed": self.passed, "failed": [check.name for check in self.checks if not check.passed],
                "figures": self.captions, "seconds": round(self.seconds, 2)}

    def save(self, folder: StrPath, suffix: str = "png") -> list[str]:
        """Write every figure as NAME-FIGURE.png (or svg) into a folder, made where it is missing; returns the paths."""
        from pathlib import Path

        from deltarule.figures import save

        Path(folder).mkdir(parents=True, exist_ok=True)
        paths = [Path(folder) / f"{self.name}-{figure}.{suffix}" for figure in self.figures]
        for path, figure in zip(paths, self.figures.values(), strict=True):
            save(figure, path)
        return [str(path) for path in paths]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        held = sum(check.passed for check in self.checks)
        return f"Result({self.name!r}: {held} of {len(self.checks)} numbers as expected, {len(self.figures)} figures, {self.seconds:.1f} s)"
