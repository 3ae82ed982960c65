"""A table file (.csv, .tsv, .txt, .parquet) becomes a `Dataset`: every column gets a role, every oddity a line of its own.

Tables are read by polars rather than pandas: it is imported in a fifth of the time, reads Parquet without a second package,
and its columns have one strict type each. All cells of a text file are first read as text, so that the roles are decided
here, by rules that can be stated in a sentence:

- numbers, where every cell that is not missing is one; where at least 80 % are, the others are mistakes and reported;
- booleans, where every cell is true or false; dates, where every cell is YYYY-MM-DD or YYYY-MM-DD HH:MM:SS;
- text otherwise: categories, or, where more than half of the rows have a text of their own, identifiers that are set aside.

Missing is an empty cell, NA, N/A, NaN, null or ?; a missing target is an error, since such a row teaches nothing.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from deltarule.data.columns import as_texts
from deltarule.data.dataset import Dataset
from deltarule.data.delimited import RawTable, read_raw
from deltarule.errors import DataError
from deltarule.spec import nearest

if TYPE_CHECKING:
    import polars as pl

Rule: TypeAlias = "Callable[[RawTable, pl.Series], pl.Series]"  # text cells to typed values

MOSTLY = 0.8  # from this share of numbers on, a column is meant to be numeric
FEW_TEXTS = 20  # so many different texts are categories in a table of any size
MOST_CLASSES = 20  # an integer target with more different values is a quantity
ROWS_PER_CLASS = 10  # and so is one with fewer rows per value than this (on average), unless it has two values


def read_table(path: str | os.PathLike[str], target: str | None = None, problem: str | None = None,
               drop: Sequence[str] = ()) -> Dataset:
    """The data set in a table file; its `x` is a polars DataFrame of raw columns, to be encoded by a `Preprocessor`.

    `target` names the column to predict (default: the last). `problem` is "classification" or "regression"; by default a target of
    text, booleans or few different integers (at most 20, with 10 rows each on average, or just two) is a class. Columns in
    `drop`, identifiers, and columns without values are set aside. What was decided stands in `notes`.
    Raises DataError, naming file, line, column and value, for a file that cannot be read, lines of different length, an
    unknown, constant or incomplete target, a class seen once, infinite values, and words among numbers.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "stars.csv"
    >>> _ = file.write_text("mag,band,kind\\n4.5,V,dwarf\\n1.5,V,giant\\n,R,giant\\n4.0,R,dwarf\\n")
    >>> stars = read_table(file, target="kind")
    >>> stars.feature_names, stars.class_names, stars.y.tolist()
    (('mag', 'band'), ('dwarf', 'giant'), [0, 1, 1, 0])
    >>> stars.notes
    ("column 'mag' has 1 missing value (first: line 4)",)
    """
    if problem not in (None, "classification", "regression"):
        raise DataError(f"problem is {problem!r}, expected 'classification' or 'regression'")
    import polars as pl

    raw = read_raw(path)
    notes = list(raw.notes)
    if raw.frame.width < 2:
        raise DataError(f"{raw.file} has one column ({raw.frame.columns[0]!r}), expected at least one feature and a target")
    if target is None:
        target = raw.frame.columns[-1]
        notes.append(f"no target was named, so it is the last column, {target!r}")
    for name in (target, *drop):
        if name not in raw.frame.columns:
            raise DataError(f"{raw.file} has no column {name!r}{nearest(name, raw.frame.columns)}")
    if target in drop:
        raise DataError(f"column {target!r} is the target, so it cannot be dropped")
    frame = typed(dataclasses.replace(raw, frame=raw.frame.drop(drop)))
    y, class_names, reason = target_of(raw, frame[target], problem)
    notes += reason
    features, aside = [], []
    for name in frame.columns:
        if name == target:
            continue
        refusal = _not_a_feature(frame[name], first=name == frame.columns[0])
        if refusal:
            aside.append(name)
            notes.append(f"column {name!r} is left out: {refusal}")
        else:
            features.append(name)
            notes += _gaps(raw, frame[name])
    if not features:
        raise DataError(f"{raw.file} has no column left to learn from: {'; '.join(notes)}")
    source = f"{raw.file}: {raw.frame.height} rows, {raw.frame.width} columns"
    others = [*frame.select(aside), *(_if_possible(raw, name) for name in drop)]
    return Dataset(frame.select(features), y, tuple(features), class_names, target, os.path.basename(raw.file), source,
                   tuple(notes), pl.DataFrame(others) if others else None)


def read_columns(path: str | os.PathLike[str], kinds: Mapping[str, str] | None = None) -> "pl.DataFrame":
    """The typed columns of a table file, for prediction; no target is needed.

    `kinds` are the columns a model expects ("number", "boolean", "date" or "category", see `Preprocessor.kinds`): they are read as
    such, and the other columns stay text. Raises DataError as `read_table` does.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "new.csv"
    >>> _ = file.write_text("mag,field\\n4.5,01\\n1.5,02\\n")
    >>> read_columns(file, {"mag": "number", "field": "category"}).rows()
    [(4.5, '01'), (1.5, '02')]
    """
    raw = read_raw(path)
    if kinds is None:
        return typed(raw)
    rules = {"number": _numbers, "boolean": _booleans, "date": _dates}
    return typed(raw, {name: rules[kind] for name, kind in kinds.items() if name in raw.frame.columns and kind in rules})


def target_values(column: "pl.Series", class_names: Sequence[str] | None) -> np.ndarray:
    """A target column as a trained model needs it: class indices int32 `(n,)`, or float32 numbers where `class_names` is None.

    Raises DataError for missing values, a class the model does not know, and text where a number is expected.

    >>> import polars as pl
    >>> target_values(pl.Series("kind", [1, 0, 1]), ("0", "1")).tolist()
    [1, 0, 1]
    """
    if column.null_count():
        raise DataError(f"target {column.name!r} has {column.null_count()} missing values; remove those rows")
    if class_names is None:
        if not column.dtype.is_numeric():
            raise DataError(f"target {column.name!r} holds {column[0]!r}, expected numbers, because the model predicts a number")
        if _too_large(column).any():
            row = first_true(_too_large(column))
            raise DataError(f"target {column.name!r} holds {column[row]:g}, too large for float32; use other units")
        return column.to_numpy().astype(np.float32)
    names = as_texts(column)
    index = {name: i for i, name in enumerate(class_names)}
    for row, name in enumerate(names):
        if name not in index:
            raise DataError(f"target {column.name!r} holds the class {name!r} (row {row + 1}), which the model does not know"
                            f"{nearest(name, class_names)}")
    return np.array([index[name] for name in names], np.int32)


# ----------------------------------------------------------------------------------------------------------- types of columns

def typed(raw: RawTable, rules: Mapping[str, Rule] | None = None) -> "pl.DataFrame":
    """The frame with its text columns parsed by their rules (default: inferred); infinite numbers are refused, NaN is missing."""
    import polars as pl

    rules = dict.fromkeys(raw.frame.columns, _infer) if rules is None else rules
    columns = []
    for column in raw.frame:
        if column.name in rules and column.dtype == pl.String:
            column = rules[column.name](raw, column)
        elif isinstance(column.dtype, (pl.Categorical, pl.Enum)):
            column = column.cast(pl.String)
        elif column.dtype.is_decimal():
            column = column.cast(pl.Float64)
        if column.dtype.is_float():
            column = column.fill_nan(None)
            if column.is_infinite().any():
                row = first_true(column.is_infinite())
                raise DataError(f"{raw.where(row, column.name)}: {column[row]} is not finite; write a number or leave the cell empty")
        columns.append(column)
    return pl.DataFrame(columns)


def _if_possible(raw: RawTable, name: str) -> "pl.Series":
    """A column set aside: typed where its cells allow it, because it may still decide a split."""
    try:
        return typed(dataclasses.replace(raw, frame=raw.frame.select(name)))[name]
    except DataError:
        return raw.frame[name]


def _infer(raw: RawTable, column: "pl.Series") -> "pl.Series":
    """Text cells as what they spell: numbers, booleans, dates, or text."""
    import polars as pl

    given = len(column) - column.null_count()
    numbers = column.cast(pl.Float64, strict=False)
    readable = len(column) - numbers.null_count()
    if given and readable >= MOSTLY * given:
        return _numbers(raw, column)
    for spelled in (_as_booleans(column), *_as_dates(column)):
        if given and spelled.null_count() == column.null_count():
            return spelled
    return column


def _numbers(raw: RawTable, column: "pl.Series") -> "pl.Series":
    import polars as pl

    integers = column.cast(pl.Int64, strict=False)
    if integers.null_count() == column.null_count():
        return integers
    return _complete(raw, column, [column.cast(pl.Float64, strict=False)],
                     "is text where numbers were expected; write a number, leave the cell empty, or leave the column out (drop)")


def _booleans(raw: RawTable, column: "pl.Series") -> "pl.Series":
    return _complete(raw, column, [_as_booleans(column)], "where true or false was expected; write true, false, or nothing")


def _dates(raw: RawTable, column: "pl.Series") -> "pl.Series":
    return _complete(raw, column, _as_dates(column), "where dates were expected; write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS")


def _complete(raw: RawTable, column: "pl.Series", readings: "list[pl.Series]", complaint: str) -> "pl.Series":
    """The first reading that understood every cell; otherwise the first cell that was not understood is named."""
    for reading in readings:
        if reading.null_count() == column.null_count():
            return reading
    row = first_true(readings[0].is_null() & column.is_not_null())
    raise DataError(f"{raw.where(row, column.name)}: {column[row]!r} {complaint}")


def _as_booleans(column: "pl.Series") -> "pl.Series":
    import polars as pl

    return column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)


def _as_dates(column: "pl.Series") -> "list[pl.Series]":
    text = column.str.replace("T", " ", literal=True)
    return [column.str.to_date("%Y-%m-%d", strict=False), text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")]


# ---------------------------------------------------------------------------------------------------------- roles of columns

def _not_a_feature(column: "pl.Series", first: bool) -> str:
    """Why a column teaches nothing, or an empty text."""
    import polars as pl

    given = len(column) - column.null_count()
    if given == 0:
        return "it has no values"
    if column.dtype == pl.String:
        different = column.drop_nulls().n_unique()
        if different > FEW_TEXTS and different > given / 2:
            return f"its {different} different texts in {given} rows name the rows instead of describing them"
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Date) or column.dtype == pl.Datetime):
        return f"its type {column.dtype} is neither number, boolean, date nor text"
    unnamed = first and column.name in ("column_1", "Unnamed: 0", "__index_level_0__")
    if unnamed and column.dtype.is_integer() and given == len(column) > 1 and bool((column.diff().drop_nulls() == 1).all()):
        return "it has no name and counts the rows"
    return ""


def _gaps(raw: RawTable, column: "pl.Series") -> list[str]:
    missing = column.null_count()
    if not missing:
        return []
    row = first_true(column.is_null())
    place = f"row {row + 1}" if raw.lines is None else f"line {raw.lines[row]}"
    return [f"column {column.name!r} has {missing} missing value{'s' if missing > 1 else ''} (first: {place})"]


def target_of(raw: RawTable, column: "pl.Series", problem: str | None) -> tuple[np.ndarray, tuple[str, ...] | None, list[str]]:
    """The target as numbers, its class names (None for regression), and why it was taken so."""
    name = column.name
    if column.null_count():
        row = first_true(column.is_null())
        raise DataError(f"{raw.where(row, name)}: the target is missing ({column.null_count()} of {len(column)} rows); "
                        f"remove those rows or fill them")
    if column.n_unique() == 1:
        raise DataError(f"{raw.file}: target {name!r} is constant, every row holds {column[0]!r}; choose another target")
    problem, reason = (problem, []) if problem else _problem(column)
    if problem == "regression":
        if not column.dtype.is_numeric():
            raise DataError(f"{raw.where(0, name)}: target holds {column[0]!r}, expected numbers for regression")
        if _too_large(column).any():
            row = first_true(_too_large(column))
            raise DataError(f"{raw.where(row, name)}: {column[row]:g} is too large for float32; use other units")
        return target_values(column, None), None, reason
    class_names = tuple(as_texts(column.unique().sort()))
    y = target_values(column, class_names)
    counts = np.bincount(y)
    if counts.min() == 1:
        rare = int(counts.argmin())
        raise DataError(f"{raw.where(int(np.flatnonzero(y == rare)[0]), name)}: class {class_names[rare]!r} is seen once, so it cannot be "
                        f"both learnt and tested; remove the row, merge the class with another"
                        f"{', or choose problem=regression' if column.dtype.is_numeric() else ''}")
    return y, class_names, reason


def _problem(column: "pl.Series") -> tuple[str, list[str]]:
    """What the values of a target suggest, and the note that says so where it could be otherwise."""
    if not column.dtype.is_numeric():
        return "classification", []
    different = column.n_unique()
    whole = bool((column == column.round()).all()) if column.dtype.is_float() else True
    if whole and (different == 2 or (different <= MOST_CLASSES and different * ROWS_PER_CLASS <= len(column))):
        return "classification", [f"target {column.name!r} holds {different} different integers, so they are taken as classes; "
                                  f"problem=regression would take them as numbers"]
    return "regression", [f"target {column.name!r} holds {different} different numbers, so it is predicted as a number"]


def _too_large(column: "pl.Series") -> "pl.Series":
    return column.cast(float).abs() > float(np.finfo(np.float32).max)


def first_true(mask: "pl.Series") -> int:
    """The row of the first True."""
    return int(mask.arg_max() or 0)
