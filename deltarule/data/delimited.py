"""A table file as raw columns that still know which line of the file they come from, so that every complaint can name it."""

import csv
import dataclasses
import difflib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deltarule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = ("\t", ",", ";", "|")
MISSING = ("NA", "N/A", "NaN", "nan", "null", "NULL", "?")  # and the empty cell
ENDINGS = (".csv", ".tsv", ".txt", ".parquet")


@dataclasses.dataclass(frozen=True)
class RawTable:
    """The columns of a file: text cells (None where missing) of a text file, typed columns of a Parquet file.

    `lines` `(rows,)` holds the line of the text file where each row starts, counted from 1; None for Parquet.
    """

    file: str
    frame: "pl.DataFrame"
    lines: np.ndarray | None
    notes: tuple[str, ...] = ()

    def where(self, row: int, column: str) -> str:
        """The place of a cell as a reader of the file would look it up: file, line and column."""
        place = f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.file}, {place}, column {column!r}"


def read_raw(path: str | os.PathLike[str]) -> RawTable:
    """The raw columns of a .csv, .tsv, .txt or .parquet file.

    The separator is the one found most often in the first line (tab, comma, semicolon, bar, else spaces); between semicolons
    1,5 is read as 1.5. Where the first line holds numbers only, there is no header and the columns are called column_1,
    column_2, ... Raises DataError for a file that is missing, empty, a folder, not text, without rows, or whose lines
    differ in length.
    """
    file = Path(path)
    if not file.exists():
        beside = difflib.get_close_matches(file.name, os.listdir(file.parent) if file.parent.is_dir() else [], n=1)
        raise DataError(f"there is no file {path}" + (f"; did you mean {beside[0]!r}?" if beside else ""))
    if file.is_dir():
        raise DataError(f"{path} is a folder, expected a table file ({', '.join(ENDINGS)})")
    if file.suffix.lower() not in ENDINGS:
        raise DataError(f"{path} ends in {file.suffix!r}, expected a table file: {', '.join(ENDINGS)}")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not data.strip():
        raise DataError(f"{path} is empty, expected a header line and rows")
    if file.suffix.lower() == ".parquet":
        return RawTable(str(path), _parquet(str(path), data), None)
    return _text_table(str(path), data)


def _parquet(file: str, data: bytes) -> "pl.DataFrame":
    import polars as pl

    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{file} is not a Parquet file that can be read: {str(error).partition(chr(10))[0]}") from None
    if frame.height == 0:
        raise DataError(f"{file} has columns but no rows")
    return frame


def _text_table(file: str, data: bytes) -> RawTable:
    """Lines to cells: through polars where no cell is quoted, through the csv module otherwise."""
    text = _decode(file, data)
    if '"' in text:
        separator, rows, lines = _quoted_rows(file, text)
        _check_widths(file, [len(row) for row in rows], lines)
        names, first, notes = _header(file, rows[0])
        frame = _frame(names, list(zip(*rows[first:], strict=True)))
    else:
        separator, kept, lines = _plain_lines(text)
        _check_widths(file, [line.count(separator) + 1 for line in kept], lines)
        names, first, notes = _header(file, kept[0].split(separator))
        frame = _parsed(names, separator, kept[first:])
    if frame.height == 0:
        raise DataError(f"{file} has a header but no rows")
    return RawTable(file, _without_gaps(frame, decimal_comma=separator == ";"), np.array(lines[first:]), notes)


def _decode(file: str, data: bytes) -> str:
    if b"\0" in data:
        raise DataError(f"{file} is a binary file, expected text with one row per line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise DataError(f"{file}, line {line}: {byte} is not UTF-8 text; save the file with UTF-8 encoding") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(line: str) -> str:
    """The separator found most often outside quotes; a space stands for any run of spaces."""
    bare = re.sub(r'"[^"]*"', "", line)
    best = max(SEPARATORS, key=bare.count)
    return best if best in bare else " "


def _plain_lines(text: str) -> tuple[str, list[str], list[int]]:
    """The separator, the lines that are not blank, and their numbers."""
    numbered = [(line, i) for i, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]
    separator = _separator(numbered[0][0])
    kept = [re.sub(r"\s+", " ", line.strip()) for line, _ in numbered] if separator == " " else [line for line, _ in numbered]
    return separator, kept, [i for _, i in numbered]


def _quoted_rows(file: str, text: str) -> tuple[str, list[list[str]], list[int]]:
    """The separator, the records that are not blank, and the line where each begins (a quoted cell may span lines)."""
    separator = _separator(next(line for line in text.split("\n") if line.strip()))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows, lines, begin = [], [], 1
    try:
        for row in reader:
            if row and row != [""]:
                rows.append(row)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}, line {begin}: the quotes do not match ({error}); close the quoted cell "
                        f"or double the quote in it") from None
    return separator, rows, lines


def _check_widths(file: str, widths: list[int], lines: list[int]) -> None:
    expected = widths[0]
    wrong = np.flatnonzero(np.array(widths) != expected)
    if wrong.size:
        row = int(wrong[0])
        raise DataError(f"{file}, line {lines[row]}: {widths[row]} values where the first line has {expected}; "
                        f"give every line the same number of values")


def _header(file: str, cells: list[str]) -> tuple[list[str], int, tuple[str, ...]]:
    """The column names, the index of the first row of data, and what was noticed."""
    names = [cell.strip() for cell in cells]
    if all(is_number(name) for name in names):
        note = "the first line holds numbers, so there is no header: columns are called column_1, column_2, ..."
        return [f"column_{j}" for j in range(1, len(names) + 1)], 0, (note,)
    names = [name or f"column_{j}" for j, name in enumerate(names, 1)]
    twice = [name for j, name in enumerate(names) if name in names[:j]]
    if twice:
        raise DataError(f"{file} has two columns called {twice[0]!r}; rename one of them")
    return names, 1, ()


def is_number(text: str) -> bool:
    """Whether Python reads the text as a number.

    >>> is_number("1e-3"), is_number("V")
    (True, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def _frame(names: list[str], columns: list[tuple[str, ...]]) -> "pl.DataFrame":
    import polars as pl

    cells = columns or [()] * len(names)
    return pl.DataFrame([pl.Series(name, column, pl.String) for name, column in zip(names, cells, strict=True)])


def _parsed(names: list[str], separator: str, lines: list[str]) -> "pl.DataFrame":
    import polars as pl

    if not lines:
        return _frame(names, [])
    return pl.read_csv(io.BytesIO("\n".join(lines).encode()), has_header=False, new_columns=names, separator=separator,
                       infer_schema=False, quote_char=None)


def _without_gaps(frame: "pl.DataFrame", decimal_comma: bool) -> "pl.DataFrame":
    """Cells without the spaces around them; those that stand for a missing value become None, and 1,5 becomes 1.5 where asked."""
    import polars as pl

    cells = pl.all().str.strip_chars()
    if decimal_comma:
        cells = cells.str.replace(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$", "$1.$2")
    return frame.select(pl.when(cells.is_in(["", *MISSING])).then(None).otherwise(cells).name.keep())
