"""Results as text for a terminal."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.examination import Examination

INDENT = 16
MOST_CLASSES = 15       # in a confusion table on a terminal; the report shows more


def one_line(text: str) -> str:
    """The text on one line, without characters that could move a terminal's cursor.

    >>> one_line("two\\nlines\\x1b[31m")
    'two lines\\\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in " ".join(text.split()))


def say(heading: str, text: str = "") -> None:
    """A line with a heading at its left; long text is wrapped beside it."""
    width = max(60, min(shutil.get_terminal_size((110, 24)).columns, 110))
    lines = textwrap.wrap(one_line(text), width - INDENT, break_on_hyphens=False, break_long_words=False) or [""]
    print("\n".join(f"{heading if i == 0 else '':<{INDENT}}{line}".rstrip() for i, line in enumerate(lines)), flush=True)


def note(text: str) -> None:
    """A remark on standard error, out of the way of results."""
    print(f"deltarule: note: {one_line(text)}", file=sys.stderr)


def show_examination(exam: Examination) -> None:
    """The result on test rows: sentence, tables."""
    say("result", exam.sentence)
    if exam.classes is None:
        base = exam.baseline
        lines = columns([("", "network", "mean alone")] + [(label, f"{exam.scores[name]:.4g}", f"{base[name]:.4g}")
                        for label, name in (("RMSE", "rmse"), ("MAE", "mae"), ("R2", "r2"))])
        print(_indented(lines))
        return
    scores = exam.scores
    rows: list[Sequence[Any]] = [("class", "precision", "recall", "F1", f"{exam.unit}s")]
    rows += [(name, *(f"{scores[key][k]:.3f}" for key in ("precision", "recall", "f1")), scores["support"][k])
             for k, name in enumerate(exam.classes)]
    rows += [("mean", *(f"{scores['macro'][key]:.3f}" for key in ("precision", "recall", "f1")), len(exam.y))]
    print(_indented(columns(rows)))
    if len(exam.classes) <= MOST_CLASSES:
        say("confusion", "rows: true class; columns: predicted")
        table = [("", *exam.classes)]
        table += [(name, *(n or "." for n in row)) for name, row in zip(exam.classes, scores["confusion_table"], strict=True)]
        print(_indented(columns(table)))


def columns(rows: Sequence[Sequence[Any]], left: int = 1) -> list[str]:
    """Lines of a table; all columns but the first `left` are set to the right.

    >>> columns([("class", "rows"), ("setosa", 10)])
    ['class   rows', 'setosa    10']
    """
    texts = [[shorten(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(f"{cell:<{width}}" if i < left else f"{cell:>{width}}" for i, (cell, width) in enumerate(cells))

    return [line(row).rstrip() for row in texts]


def shorten(text: str, most: int = 60) -> str:
    """At most so many characters of the text, on one line."""
    line = one_line(text)
    return line if len(line) <= most else line[:most - 3] + "..."


def _indented(lines: list[str]) -> str:
    return "\n".join(" " * INDENT + line for line in lines)


def names_in(text: str | None) -> tuple[str, ...]:
    """Names separated by commas.

    >>> names_in("ra, dec")
    ('ra', 'dec')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def size_in(text: str | None) -> int | tuple[int, int] | None:
    """The size of images, "64" (square) or "48x64" (height x width). Raises DeltaruleError for anything else.

    >>> size_in("64"), size_in("48x64"), size_in(None)
    (64, (48, 64), None)
    """
    if text is None:
        return None
    sides = [int(part) for part in text.lower().split("x") if part.strip().isdecimal()]
    if len(sides) != len(text.lower().split("x")) or len(sides) > 2 or min(sides) < 1:
        raise DeltaruleError(f"--size expected a whole number of pixels such as 64, or height and width such as 48x64, received {text!r}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def units_in(text: str | None, option: str = "--hidden", what: str = "units") -> tuple[int, ...] | None:
    """Units of layers, such as "64,64" or "none"; None where nothing was said. Raises DeltaruleError for anything else.

    >>> units_in("64,32"), units_in("none"), units_in(None)
    ((64, 32), (), None)
    """
    if text is None or text.strip() == "none":
        return None if text is None else ()
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        units = (0,)
    if min(units) < 1:
        raise DeltaruleError(f"{option} expected whole numbers of {what} separated by commas, such as 64,64, or none, received {text!r}")
    return units
