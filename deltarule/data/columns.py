"""How one column of a table becomes numbers: the rule is fitted on the training part and applied to everything that follows."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.data.arrays import is_missing
from deltarule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MOST_LEVELS = 100  # categories beyond the 100 most frequent share the code "other"
DAY = 86_400e6  # microseconds


@dataclasses.dataclass(frozen=True)
class Column:
    """The rule of one column: `(value - mean) / scale` for numbers, one output per category for text.

    `kind` is "number", "boolean", "date" (counted in days since 1970) or "category". A missing number becomes `fill` (the median),
    and where the training part had gaps (`flagged`) a second output says so. Categories are the `levels`, and one more
    output, "other", stands for missing and for every text that the training part did not hold.

    >>> Column("mag", "number", flagged=True).output_names
    ('mag', 'mag missing')
    >>> Column("band", "category", levels=("R", "V")).output_names
    ('band=R', 'band=V', 'band=other')
    """

    name: str
    kind: str = "number"
    mean: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    flagged: bool = False
    levels: tuple[str, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the numbers that the column becomes."""
        if self.kind == "category":
            return tuple(f"{self.name}={level}" for level in (*self.levels, "other"))
        return (self.name, f"{self.name} missing") if self.flagged else (self.name,)


def fit_column(series: "pl.Series", standardize: bool = True, weights: np.ndarray | None = None) -> Column:
    """The rule for a column, from its values in the training part; a row of weight 2 (`weights`, `(n,)`) counts like two rows.

    Numbers and dates get mean and scale (1 where constant, or without `standardize`); booleans stay 0 and 1. Raises DataError for a
    column without values or of a type that is none of number, boolean, date and text.
    """
    missing = series.null_count() + (series.is_nan().sum() if series.dtype.is_float() else 0)
    if missing == len(series):
        raise DataError(f"column {series.name!r} has no values; leave it out")
    kind = _kind(series)
    if kind == "category":
        texts = as_texts(series)
        known = np.array([text is not None for text in texts], bool)
        levels, which = np.unique([text for text in texts if text is not None], return_inverse=True)
        counts = np.bincount(which, None if weights is None else weights[known])
        frequent = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
        return Column(series.name, kind, flagged=bool(missing), levels=tuple(sorted(frequent.tolist())))
    values = _as_floats(series, kind)
    known = ~np.isnan(values)
    values, weights = values[known], None if weights is None else weights[known]
    mean, scale = moments(values[:, None], weights) if standardize and kind != "boolean" else (np.zeros(1), np.ones(1))
    return Column(series.name, kind, float(mean[0]), float(scale[0]), _median(values, weights), flagged=bool(missing))


def encode_column(column: Column, series: "pl.Series") -> tuple[np.ndarray, list[str]]:
    """The numbers `(n, outputs)` that a column becomes by its rule, and notes on what the training part had not shown.

    Raises DataError for text where numbers are expected, infinite numbers, and other types.
    """
    n = len(series)
    table = np.zeros((n, len(column.output_names)))
    notes = []
    if column.kind == "category":
        place = {level: j for j, level in enumerate(column.levels)}
        texts = as_texts(series)
        unseen = sorted({text for text in texts if text is not None and text not in place})
        if unseen:
            rows = sum(text in unseen for text in texts)
            shown = ", ".join(map(repr, unseen[:3])) + (", ..." if len(unseen) > 3 else "")
            notes.append(f"column {column.name!r}: {shown} ({_rows(rows)}) not among the categories learnt, coded as 'other'")
        gap = np.array([text is None for text in texts], bool)
        table[np.arange(n), [place.get(text, len(place)) for text in texts]] = 1.0
    else:
        values = _as_floats(series, column.kind)
        gap = np.isnan(values)
        table[:, 0] = (np.where(gap, column.fill, values) - column.mean) / column.scale
        if column.flagged:
            table[:, 1] = gap
    if gap.any() and not column.flagged:
        filled = "coded as 'other'" if column.kind == "category" else f"filled with {column.fill:g}"
        notes.append(f"column {column.name!r}: {_rows(int(gap.sum()))} without a value, which the training part did not have; {filled}")
    return table, notes


def as_texts(series: "pl.Series") -> list[Any]:
    """The text of each value, None where it is missing: "3" for 3 and for 3.0, "true" for True.

    >>> import polars as pl
    >>> as_texts(pl.Series([3.0, None, 4.5]))
    ['3', None, '4.5']
    """
    import polars as pl

    if series.dtype.is_float():
        return [None if is_missing(value) else str(int(value)) if value.is_integer() else str(value) for value in series.to_list()]
    return series.cast(pl.String).to_list()


def as_polars(frame: Any, what: str = "x") -> "pl.DataFrame":
    """A polars or pandas DataFrame as a polars DataFrame; NaN and NA among objects become missing.

    Raises DataError for column names that are not text or occur twice, no rows, and columns of mixed types.
    """
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        names = list(frame.columns)
        for j, name in enumerate(names):
            if not isinstance(name, str):
                raise DataError(f"{what} has a column called {name!r}, expected text; write {what}.columns = {what}.columns.astype(str)")
            if name in names[:j]:
                raise DataError(f"{what} has two columns called {name!r}; rename one of them")
        frame = pl.DataFrame([_as_series(frame[name], name, what) for name in names])
    if frame.height == 0:
        raise DataError(f"{what} has no rows")
    return frame


def moments(x: np.ndarray, weights: np.ndarray | None = None, rows_at_once: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of `x` `(n, columns)` in float64; 1 in place of a deviation of zero.

    With `weights` `(n,)`, not all zero: mean = sum w x / sum w, variance = sum w (x - mean)^2 / sum w.
    Raises DataError for numbers whose squares overflow float64.

    >>> mean, scale = moments(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> mean.tolist(), scale.tolist()
    ([2.0, 7.0], [1.0, 1.0])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=0, dtype=np.float64) if weights is None else np.average(x, axis=0, weights=weights)
        squares = np.zeros_like(mean)
        for start in range(0, len(x), rows_at_once):  # in pieces, so that a large array is not copied to float64 at once
            rows = slice(start, start + rows_at_once)
            e2 = (x[rows] - mean) ** 2
            squares += e2.sum(axis=0) if weights is None else weights[rows] @ e2
    scale = np.sqrt(squares / (len(x) if weights is None else weights.sum()))
    if not np.isfinite(scale).all():
        raise DataError(f"column {int((~np.isfinite(scale)).argmax())} holds numbers too large to be squared "
                        f"(up to {np.abs(x).max():g}); use other units")
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)


def _median(values: np.ndarray, weights: np.ndarray | None) -> float:
    """The median of `values` `(n,)`; with weights, where half of the weight lies on either side (whole weights repeat values)."""
    if weights is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    up_to = np.cumsum(weights[order])
    low, high = (values[order[np.searchsorted(up_to, up_to[-1] / 2, side)]] for side in ("left", "right"))
    return float((low + high) / 2)


def _as_series(column: Any, name: str, what: str) -> "pl.Series":
    """A pandas column as a polars column."""
    import polars as pl

    values = column.to_numpy()
    try:
        if values.dtype.kind != "O":
            return pl.Series(name, values)
        items = [None if is_missing(item) else item for item in column.tolist()]
        return pl.Series(name, items)
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        raise DataError(f"column {name!r} of {what} mixes types; give every column one type, for example with astype") from None


def _kind(series: "pl.Series") -> str:
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "category"
    raise DataError(f"column {series.name!r} is of type {dtype}, expected numbers, booleans, dates or text; leave it out")


def _as_floats(series: "pl.Series", kind: str) -> np.ndarray:
    """The values of a number, boolean or date column as float64 `(n,)`, NaN where missing."""
    import polars as pl

    if series.null_count() == len(series):
        return np.full(len(series), np.nan)
    given = _kind(series)
    if (given == "date") != (kind == "date") or given == "category":
        row = int(series.is_not_null().arg_max() or 0)
        raise DataError(f"column {series.name!r} holds {'text' if given == 'category' else given + 's'} "
                        f"({str(series[row])!r} in row {row}), expected {kind}s")
    if series.dtype == pl.Datetime:
        series = series.dt.epoch("us") / DAY
    values = series.to_physical().cast(pl.Float64).to_numpy()
    wrong = np.flatnonzero(np.isinf(values))
    if wrong.size:
        raise DataError(f"column {series.name!r} holds {values[wrong[0]]} in row {wrong[0]}, expected finite numbers; "
                        f"remove the row or leave the value out")
    return values


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
