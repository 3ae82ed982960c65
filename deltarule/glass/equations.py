"""Equations with numbers in them, as text and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deltarule.errors import DeltaruleError

MOST_TERMS = 4      # of a sum that are written out: the largest; the others are added up


@dataclass(frozen=True)
class Equation:
    """One quantity, line by line: the formula, with numbers, and its value. `heading` says what it is."""

    heading: str
    symbol: str
    lines: tuple[str, ...]          # each follows "symbol ="
    latex_symbol: str
    latex_lines: tuple[str, ...]
    value: float

    @property
    def text(self) -> str:
        """The equation as plain text."""
        indent = " " * len(self.symbol)
        return "\n".join(f"  {self.symbol if i == 0 else indent} = {line}" for i, line in enumerate(self.lines))

    @property
    def latex(self) -> str:
        """The equation as an aligned LaTeX block."""
        body = r" \\ ".join(f"{self.latex_symbol if i == 0 else ''} &= {line}" for i, line in enumerate(self.latex_lines))
        return rf"\begin{{aligned}} {body} \end{{aligned}}"


@dataclass(frozen=True)
class Explanation:
    """The equations of one unit for one example. Printing it shows text; `latex` is one display formula for each equation."""

    title: str
    equations: tuple[Equation, ...]

    def __getitem__(self, symbol: str) -> float:
        """The value of a quantity by its symbol, such as "a_3" or "delta_3"."""
        for equation in self.equations:
            if equation.symbol == symbol:
                return equation.value
        raise DeltaruleError(f"there is no {symbol!r} here; there are {', '.join(equation.symbol for equation in self.equations)}")

    @property
    def text(self) -> str:
        """All equations as plain text."""
        return "\n".join([self.title, *(f"{equation.heading}\n{equation.text}" for equation in self.equations)])

    @property
    def latex(self) -> str:
        """All equations as LaTeX, one display formula each."""
        return "\n\n".join(f"$${equation.latex}$$" for equation in self.equations)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"**{self.title}**\n\n{self.latex}"


def summed(terms: Sequence[tuple[float, float]], bias: float | None) -> tuple[str, str]:
    """The products of a sum, the largest ones first where there are many, as text and as LaTeX."""
    order = range(len(terms))
    if len(terms) > MOST_TERMS + 1:
        order = sorted(order, key=lambda i: -abs(terms[i][0] * terms[i][1]))[:MOST_TERMS]     # type: ignore[assignment]
    shown = [f"{signed(terms[i][0])} * {signed(terms[i][1])}" for i in order]
    rest = len(terms) - len(shown)
    latex = [term.replace("*", r"\cdot") for term in shown]
    if rest:
        others = sum(p * q for i, (p, q) in enumerate(terms) if i not in set(order))
        shown.append(f"[{rest} smaller terms: {number(others)}]" if rest > 1 else f"[1 smaller term: {number(others)}]")
        latex.append(rf"\underbrace{{{signed(others)}}}_{{{rest}\ \mathrm{{smaller\ terms}}}}")
    if bias is not None:
        shown.append(signed(bias))
        latex.append(signed(bias))
    return " + ".join(shown), " + ".join(latex)


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def signed(value: float) -> str:
    """The same, in brackets where it is negative."""
    return f"({number(value)})" if value < 0 else number(value)


def escaped(name: str) -> str:
    """A name for LaTeX."""
    return name.replace("_", r"\_")
