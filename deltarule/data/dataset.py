"""A `Dataset`: inputs, targets and all their names in one object that can be divided honestly."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.data import splitting
from deltarule.data.arrays import all_finite, as_array, is_missing
from deltarule.errors import DataError, ShapeError
from deltarule.spec import nearest

if TYPE_CHECKING:
    import polars as pl

HOW = ("auto", "random", "stratified", "group:COLUMN", "time:COLUMN", "blocks:COLUMN,COLUMN")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets of a problem, with their names and where they come from.

    `x` is an array `(n, features)` or `(n, height, width, channels)`, or a polars DataFrame of raw columns where the data are a
    table with text, dates or gaps. `y` is `(n,)`: int32 class indices where there are `class_names` (classification), float32
    numbers where `class_names` is None (regression). `aside` holds columns of a table that are not features (identifiers,
    groups) but may still decide a split. `notes` say what was noticed while the data were read; `files` are the images' names, one for
    each row, where they were read from files; `channels` name the last axis where rows are sequences (n, steps, channels), the last one
    saying with 1 and 0 which steps are there. Raises ShapeError where the lengths disagree, DataError for class indices without a name.

    >>> data = Dataset(np.eye(3), np.array([0, 1, 1]), ("a", "b", "c"), ("no", "yes"), "answer", "toy", "made here")
    >>> len(data), data.problem, data.subset([0, 2]).y.tolist()
    (3, 'classification', [0, 1])
    """

    x: "np.ndarray | pl.DataFrame"
    y: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    target_name: str
    name: str
    source: str
    notes: tuple[str, ...] = ()
    aside: "pl.DataFrame | None" = dataclasses.field(default=None, repr=False)
    files: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or len(self.y) != len(self.x):
            raise ShapeError(f"{self.name}: x holds {len(self.x)} rows and y has shape {self.y.shape}, expected ({len(self.x)},)")
        if len(self.x.shape) == 2 and self.feature_names and len(self.feature_names) != self.x.shape[1]:
            raise ShapeError(f"{self.name}: x has {self.x.shape[1]} columns and there are {len(self.feature_names)} feature names; "
                             f"give one name per column")
        if self.files and len(self.files) != len(self.y):
            raise ShapeError(f"{self.name}: x holds {len(self.x)} images and there are {len(self.files)} file names; give one per image")
        if self.files and len(self.x.shape) != 4:
            raise ShapeError(f"{self.name}: files name images, expected x of shape (n, height, width, channels), received {self.x.shape}")
        if self.channels and (len(self.x.shape) != 3 or self.x.shape[2] != len(self.channels)):
            raise ShapeError(f"{self.name}: there are {len(self.channels)} channels of sequences, expected x of shape (n, steps, "
                             f"{len(self.channels)}), received {self.x.shape}")
        if self.class_names is not None and len(self.y):
            if self.y.dtype.kind not in "ui":
                raise DataError(f"{self.name}: y holds {self.y.dtype}, expected class indices (integers) because there are class names")
            if self.y.min() < 0 or self.y.max() >= len(self.class_names):
                raise DataError(f"{self.name}: y holds {self.y.min()} to {self.y.max()}, expected class indices from 0 to "
                                f"{len(self.class_names) - 1}, one per class name")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def problem(self) -> str:
        """"classification" where the classes have names, otherwise "regression"."""
        return "regression" if self.class_names is None else "classification"

    @property
    def is_table(self) -> bool:
        """Whether `x` is a DataFrame of raw columns, which a `Preprocessor` turns into numbers."""
        return not isinstance(self.x, np.ndarray)

    @property
    def unit(self) -> str:
        """What one row is called: "image" where the rows were read from image files, "sequence" where they are some, otherwise "row"."""
        return "image" if self.files else "sequence" if self.channels else "row"

    def subset(self, rows: Any) -> "Dataset":
        """The data set of these rows: row numbers `(m,)` or a mask of booleans `(n,)`.

        >>> import deltarule.data as data
        >>> len(data.iris().subset([0, 50, 100]))
        3
        """
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        aside = None if self.aside is None else self.aside[chosen]
        files = tuple(self.files[i] for i in chosen) if self.files else ()
        return dataclasses.replace(self, x=self.x[chosen], y=self.y[chosen], aside=aside, files=files)

    def split(self, test: float = 0.2, how: str = "auto", seed: int = 0, by: Any = None) -> tuple["Dataset", "Dataset"]:
        """Two parts, `(train, test)`: the second, about the share `test` of the rows, is kept for the final examination.

        `how` is "random", "stratified" (every class in its share on both sides), "group:COLUMN" (rows with the same value stay
        together), "time:COLUMN" (the latest rows test), "blocks:COLUMN,COLUMN" (whole cells of a grid over these coordinates) or
        "auto" (stratified for classes, otherwise random). Instead of naming columns, pass their values: how="group" or "time" with
        `by` `(n,)`, how="blocks" with `by` `(n, axes)`. A group column is a label and no measurement, so it is taken out of the
        features of both parts; time and coordinates stay. Both parts hold at least one row, and every class is in both where the
        split is stratified. Raises DataError for an unknown column, a class with a single row, and where one side would be empty.

        >>> import deltarule.data as data
        >>> train, test = data.iris().split(test=0.2)
        >>> len(train), len(test), np.bincount(test.y).tolist()
        (120, 30, [10, 10, 10])
        """
        kind, columns, values = self._divider(how, by)
        if kind == "random":
            rows = splitting.random_rows(len(self), test, seed)
        elif kind == "stratified":
            rows = splitting.stratified_rows(self.y, test, seed)
        elif kind == "time":
            rows = splitting.time_rows(values, test)
        else:
            rows = splitting.group_rows(values, test, seed)
        return self._parts(kind, columns, rows)

    def kfold(self, k: int = 5, how: str = "auto", seed: int = 0, by: Any = None) -> list[tuple["Dataset", "Dataset"]]:
        """The k pairs `(train, test)` of cross-validation; `how` and `by` as in `split`, except "time".

        >>> import deltarule.data as data
        >>> [len(test) for train, test in data.wine().kfold(3)]
        [60, 59, 59]
        """
        kind, columns, values = self._divider(how, by)
        if kind == "time":
            raise DataError("kfold cannot divide by time, because all folds but one would be trained on the future; use split")
        classes = self.y if kind == "stratified" else None
        groups = values if kind in ("group", "blocks") else None
        return [self._parts(kind, columns, rows) for rows in splitting.folds(len(self), k, seed, classes, groups)]

    def _divider(self, how: str, by: Any) -> tuple[str, list[str], np.ndarray]:
        """What decides the side of a row: the kind of split, the columns named, and their values (cells for blocks)."""
        kind, _, named = how.partition(":")
        columns = [column.strip() for column in named.split(",") if column.strip()]
        if kind == "auto":
            kind = "stratified" if self.problem == "classification" else "random"
        if kind in ("random", "stratified"):
            if columns or by is not None:
                raise DataError(f"a {kind} split looks at no column; write how='group:COLUMN' or leave the column out")
            if kind == "stratified":
                self._check_classes()
            return kind, [], np.empty(0)
        if kind not in ("group", "time", "blocks"):
            raise DataError(f"how is {how!r}, expected one of {', '.join(HOW)}")
        if bool(columns) == (by is not None):
            raise DataError(f"a split by {kind} needs either a column, how='{kind}:COLUMN', or its values, by=array")
        if kind != "blocks" and len(columns) > 1:
            raise DataError(f"a split by {kind} takes one column, received {', '.join(columns)}")
        values = self._values_of(by, kind) if by is not None else np.stack([self._column(name, kind) for name in columns], axis=-1)
        if kind == "blocks":
            return kind, columns, splitting.cells(values.astype(float))
        return kind, columns, values[:, 0]

    def _check_classes(self) -> None:
        if self.class_names is None:
            raise DataError(f"target {self.target_name!r} is a number, so there are no classes to stratify; use how='random'")
        counts = np.bincount(self.y, minlength=len(self.class_names))
        if (counts == 1).any():
            name = self.class_names[int((counts == 1).argmax())]
            raise DataError(f"class {name!r} of target {self.target_name!r} has a single {self.unit}, so it cannot be both learnt and "
                            f"tested; remove it, merge it with another class, or add {self.unit}s")

    def _values_of(self, by: Any, kind: str) -> np.ndarray:
        """The array given as `by`, `(n, columns)`, checked."""
        values = np.asarray(by) if kind == "group" else as_array(by, "by")
        if values.dtype == object:
            gaps = sum(map(is_missing, values.ravel()))
            if gaps:
                raise DataError(f"by has {gaps} missing values; remove those rows or fill them")
            values = values.astype(str)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or len(values) != len(self) or (kind != "blocks" and values.shape[1] != 1):
            wanted = f"({len(self)}, axes)" if kind == "blocks" else f"({len(self)},)"
            raise ShapeError(f"by has shape {np.shape(by)}, expected {wanted}: one value per row")
        if not all_finite(values):
            raise DataError("by holds values that are not finite; remove those rows or fill them")
        return values

    def _column(self, name: str, kind: str) -> np.ndarray:
        """The values `(n,)` of one column, a feature or one set aside: numbers for time and blocks, anything for groups."""
        aside: Sequence[str] = self.aside.columns if self.aside is not None else ()
        if name not in self.feature_names and name not in aside:
            raise DataError(f"{self.name} has no column {name!r}{nearest(name, [*self.feature_names, *aside])}")
        if isinstance(self.x, np.ndarray):
            values = self.x[:, self.feature_names.index(name)]
        else:
            column = self.x[name] if name in self.feature_names else self.aside[name]  # type: ignore[index]
            column = column.to_physical() if column.dtype.is_temporal() else column
            if column.null_count():
                raise DataError(f"column {name!r} has {column.null_count()} missing values, so {kind} cannot be decided by it; "
                                f"remove those rows or fill them")
            values = column.to_numpy()
        if kind != "group" and values.dtype.kind not in "uif":
            raise DataError(f"column {name!r} holds text ({values[0]!r}), expected numbers{' or dates' if kind == 'time' else ''}")
        return values

    def _parts(self, kind: str, columns: list[str], rows: splitting.Rows) -> tuple["Dataset", "Dataset"]:
        whole = self._without(columns[0]) if kind == "group" and columns and columns[0] in self.feature_names else self
        return whole.subset(rows[0]), whole.subset(rows[1])

    def _without(self, column: str) -> "Dataset":
        """The same data with one feature set aside, and a note that says so."""
        if len(self.feature_names) == 1:
            raise DataError(f"{column!r} is the only feature, so it cannot serve as a group")
        names = tuple(name for name in self.feature_names if name != column)
        notes = (*self.notes, f"column {column!r} only decides the groups; it is not a feature")
        if isinstance(self.x, np.ndarray):
            x = np.delete(self.x, self.feature_names.index(column), axis=1)
            return dataclasses.replace(self, x=x, feature_names=names, notes=notes)
        aside = self.x.select(column) if self.aside is None else self.aside.hstack([self.x[column]])
        return dataclasses.replace(self, x=self.x.drop(column), feature_names=names, notes=notes, aside=aside)
