"""Sequences of unequal length from a table in long form: one row for each step, a column that says which sequence it belongs to."""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deltarule.data.delimited import RawTable, read_raw
from deltarule.data.reading import first_true, target_of, target_values, typed
from deltarule.data.sequences import Sequences, some_names
from deltarule.errors import DataError
from deltarule.spec import nearest

if TYPE_CHECKING:
    import polars as pl

DAY = 86_400e6      # microseconds


def read_sequences(path: str | os.PathLike[str], *, id: str, time: str | None = None, values: Sequence[str] | None = None,
                   label: str | None = None, differences: bool = False, problem: str | None = None,
                   classes: Sequence[str] | None = None) -> Sequences:
    """The sequences in a table file (CSV, TSV, text or Parquet): rows with the same `id` are one sequence, sorted by `time`.

    `time` names a column of numbers or dates (then in days); with `differences` it holds the time since the row before, in the order of
    the file; without `time` rows follow one another in steps of 1. `values` name the columns measured (default: all other columns of
    numbers). `label` is the column to predict, the same in every row of a sequence; `problem` as in `read_table`;
    `classes` are those that a model knows already (none: it predicts numbers), and labels must be among them. Sequences come in the
    order of the file. Raises DataError, naming file, line and column, for a missing column or value, two rows of a sequence at the
    same time, two labels in a sequence, and, unless a model's `classes` are given, where every sequence has one row only.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "curves.csv"
    >>> _ = file.write_text("star,t,mag,kind\\na,2.5,7.1,Mira\\nb,0,9,flare\\na,1,7.2,Mira\\nb,0.5,8,flare\\nc,1,8.5,flare\\nd,0,7,Mira\\n")
    >>> curves = read_sequences(file, id="star", time="t", label="kind")
    >>> curves.names, curves.times[0].tolist(), curves.values[0].tolist(), curves.class_names, curves.y.tolist()
    (('a', 'b', 'c', 'd'), [1.0, 2.5], [[7.2], [7.1]], ('Mira', 'flare'), [0, 1, 1, 0])
    """
    raw = read_raw(path)
    for name in (id, *(column for column in (time, label) if column is not None), *(values or ())):
        if name not in raw.frame.columns:
            raise DataError(f"{raw.file} has no column {name!r}{nearest(name, raw.frame.columns)}")
    names = _complete(raw, raw.frame[id], "id").cast(str)
    frame = typed(dataclasses.replace(raw, frame=raw.frame.drop(id)))
    measured, notes = _measured(raw, frame, (time, label), values)
    t = np.arange(len(names), dtype=float) if time is None else _times(raw, frame[time])
    found, first, which = np.unique(names.to_numpy().astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first)                                   # the sequences in the order of the file
    rows = _grouped(which, order)
    if differences:
        t = _summed(raw, t, rows, time)
    rows = [group[np.argsort(t[group], kind="stable")] for group in rows]
    found = found[order]
    _refuse_twins(raw, t, rows, found, time)
    unknown = classes is None
    y, classes, reason = (None, None, []) if label is None else _labels(raw, frame[label], rows, found, problem, classes)
    single = [str(name) for name, group in zip(found, rows, strict=True) if len(group) == 1]
    if len(single) == len(rows) and unknown:
        raise DataError(f"{raw.file}: no value of {id!r} occurs twice, so every sequence would have one row; name the column that says "
                        "which rows belong together, or read it as a table (read_table)")
    notes += reason + ([f"{len(single)} of {len(rows)} sequences have one row only: {some_names(single)}"] if single else [])
    if time is None:
        t = np.concatenate([np.arange(len(group), dtype=float) for group in rows])[np.argsort(np.concatenate(rows))]
    table = np.stack([frame[name].cast(float).to_numpy() for name in measured], axis=1)
    return Sequences(tuple(t[group] for group in rows), tuple(table[group] for group in rows), y, classes, tuple(measured), time or "step",
                     label or "class", tuple(map(str, found)), os.path.basename(raw.file),
                     f"{raw.file}: {len(names)} rows, {len(rows)} sequences", (*raw.notes, *notes))


def _grouped(which: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """The rows of each sequence, in the order of the file."""
    sorted_rows = np.argsort(which, kind="stable")
    parts = np.split(sorted_rows, np.cumsum(np.bincount(which))[:-1])
    return [parts[k] for k in order]


def _complete(raw: RawTable, column: "pl.Series", what: str) -> "pl.Series":
    """The column, where no value is missing."""
    if column.null_count():
        raise DataError(f"{raw.where(first_true(column.is_null()), column.name)}: the {what} is missing ({column.null_count()} of "
                        f"{len(column)} rows); remove those rows or fill them")
    return column


def _measured(raw: RawTable, frame: "pl.DataFrame", others: tuple[str | None, ...],
              values: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The columns measured, complete and numbers, and notes on those left out."""
    names = [name for name in frame.columns if name not in others and frame[name].dtype.is_numeric()] if values is None else list(values)
    for name in names:
        if not (name in frame.columns and frame[name].dtype.is_numeric()):
            raise DataError(f"{raw.file}: column {name!r} cannot be measured values, it holds no numbers" if name in frame.columns else
                            f"{raw.file}: column {name!r} is the id, so it cannot be among the values")
        if name in others:
            raise DataError(f"{raw.file}: column {name!r} is {'the time' if name == others[0] else 'the label'}, so it cannot be among the "
                            "values")
        _complete(raw, frame[name], "value")
    if not names:
        raise DataError(f"{raw.file} has no column of numbers left to be the values of the sequences; name them (values)")
    left = [name for name in frame.columns if name not in (*names, *others)]
    return names, [f"not used: {some_names(left)}"] if left else []


def _times(raw: RawTable, column: "pl.Series") -> np.ndarray:
    """The times as numbers, dates in days since 1970."""
    import polars as pl

    _complete(raw, column, "time")
    if column.dtype in (pl.Date, pl.Datetime):
        return np.asarray(column.cast(pl.Datetime("us")).to_physical().to_numpy() / DAY)
    if not column.dtype.is_numeric():
        raise DataError(f"{raw.where(0, column.name)}: the time is {column[0]!r}, expected a number or a date")
    return np.asarray(column.cast(float).to_numpy())


def _summed(raw: RawTable, t: np.ndarray, rows: list[np.ndarray], time: str | None) -> np.ndarray:
    """Times from differences, each sequence beginning with its first."""
    if time is None:
        raise DataError("differences=True says that the column of times holds the time since the row before; name it (time)")
    if t.min() < 0:
        raise DataError(f"{raw.where(int(np.argmin(t)), time)}: the time since the row before is {t.min():g}, expected 0 or more")
    summed = np.empty_like(t)
    for group in rows:
        summed[group] = np.cumsum(t[group])
    return summed


def _refuse_twins(raw: RawTable, t: np.ndarray, rows: list[np.ndarray], names: np.ndarray, time: str | None) -> None:
    for name, group in zip(names, rows, strict=True):
        twins = np.flatnonzero(np.diff(t[group]) == 0)
        if twins.size:
            one, two = sorted(group[twins[0]:twins[0] + 2])
            raise DataError(f"{raw.where(int(two), str(time))}: sequence {str(name)!r} has two rows at the time {t[two]:g} (the other: "
                            f"{raw.where(int(one), str(time)).split(', ')[1]}); remove one, or take their mean")


def _labels(raw: RawTable, column: "pl.Series", rows: list[np.ndarray], names: np.ndarray,
            problem: str | None, classes: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...] | None, list[str]]:
    """y, the names of the classes (None: numbers), and why it was taken so."""
    labels = _complete(raw, column, "label").to_numpy()
    firsts = np.array([group.min() for group in rows])
    for name, group, first in zip(names, rows, firsts, strict=True):
        other = group[labels[group] != labels[first]]
        if other.size:
            row, before = int(other.min()), raw.where(int(first), column.name).split(", ")[1]
            raise DataError(f"{raw.where(row, column.name)}: sequence {str(name)!r} is {labels[row]!r} here and {labels[first]!r} before "
                            f"({before}); each sequence needs one label")
    few = dataclasses.replace(raw, lines=None if raw.lines is None else raw.lines[firsts])
    if classes is not None:
        return target_values(column[firsts.tolist()], tuple(classes) or None), tuple(classes) or None, []
    return target_of(few, column[firsts.tolist()], problem)
