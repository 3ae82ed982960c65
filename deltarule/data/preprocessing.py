"""Raw inputs to numbers of order one, class labels to indices, targets to standard scores: fitted once, stored with the model.

Everything is fitted on the training part only and then applied unchanged, so nothing of the test rows leaks into training, and
a saved model takes raw, unscaled inputs.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from deltarule.data.arrays import all_finite, as_array, as_features, is_frame, is_missing, unit_range
from deltarule.data.columns import Column, as_polars, encode_column, fit_column, moments
from deltarule.data.sequences import Sequences as Ragged
from deltarule.data.steps import fit_steps, scale_steps
from deltarule.errors import DataError, ModelFileError, ShapeError
from deltarule.spec import nearest

ROWS_AT_ONCE, VALUES_AT_ONCE = 4096, 2**24


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """The way from raw inputs to what the network sees, as fitted on the training part by `Preprocessor.fit`.

    `form` is "array" (each column standardized), "images" (any array of more axes: one offset and range for all values, so that
    the training part lies in 0 ... 1), "sequences" (see `steps`) or "table" (a DataFrame: see `Column`). `shape` is that of one row of
    raw inputs. `named` says whether an array has column names, in which case a DataFrame with these columns is accepted too. `pictures`
    says that the images come from `read_images`: bytes and 16-bit integers are first divided by the largest value of their type, as it
    does.

    >>> pre = Preprocessor.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> pre.transform([[2.0, 6.0]])
    array([[0., 1.]], dtype=float32)
    >>> Preprocessor.from_json(pre.to_json()) == pre
    True
    """

    form: str
    shape: tuple[int, ...]
    columns: tuple[Column, ...]
    named: bool = False
    pictures: bool = False

    @classmethod
    def fit(cls, x: Any, feature_names: Sequence[str] | None = None, standardize: bool = True,
            weights: np.ndarray | None = None, pictures: bool = False, channels: Sequence[str] = ()) -> "Preprocessor":
        """The rules for inputs like `x`: an array `(n, features)` or `(n, ...)`, or a polars or pandas DataFrame.

        Each column of numbers is standardized; columns of one kind, such as pixels, share one scale. `feature_names` name the columns of
        an array. Without `standardize` numbers keep their units. `weights` `(n,)`, all
        positive: a row of weight 2 counts like two rows in means, deviations, medians and frequencies. `pictures`: x is what `read_images`
        gives; one mean and one deviation serve for all values, whatever their units. `channels`: x holds sequences as `Sequences.padded`
        makes them, with these names of the last axis. Raises DataError for values that are not finite in
        an array (a DataFrame may have gaps), ShapeError for the wrong number of names.

        >>> import polars as pl
        >>> Preprocessor.fit(pl.DataFrame({"mag": [1.0, None], "band": ["V", "R"]})).output_names
        ('mag', 'mag missing', 'band=R', 'band=V', 'band=other')
        """
        if is_frame(x):
            frame = as_polars(x)
            columns = tuple(fit_column(series, standardize, weights) for series in frame)
            if standardize and all(column.kind == "number" and not column.flagged for column in columns):
                columns = _common_scale(columns, frame.to_numpy())
            return cls("table", (frame.width,), columns, named=True)
        array = as_features(unit_range(as_array(x))) if pictures else _floats(x)
        shape = array.shape[1:]
        if channels:
            return cls("sequences", shape, fit_steps(array, tuple(channels)))
        if pictures:
            mean, scale = moments(array.reshape(-1, 1), rows_at_once=VALUES_AT_ONCE)
            return cls("images", shape, (Column("x", mean=float(mean[0]), scale=float(scale[0])),), pictures=True)
        if array.ndim > 2:
            low, high = (float(array.min()), float(array.max())) if standardize else (0.0, 1.0)
            return cls("images", shape, (Column("x", mean=low, scale=high - low if high > low else 1.0),))
        names = [f"x{j}" for j in range(shape[0])] if not feature_names else list(feature_names)
        if len(names) != shape[0]:
            raise ShapeError(f"x has {shape[0]} columns and there are {len(names)} feature names; give one name per column")
        mean, scale = moments(array, weights) if standardize else (np.zeros(shape), np.ones(shape))
        columns = tuple(Column(name, mean=m, scale=s) for name, m, s in zip(names, map(float, mean), map(float, scale), strict=True))
        return cls("array", shape, _common_scale(columns, array) if standardize else columns, named=bool(feature_names))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the raw columns ("x0", "x1", ... for an array without names); none for images."""
        return () if self.form == "images" else tuple(column.name for column in self.columns)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the numbers that the network sees, one per column of `transform`; none for images."""
        names = () if self.form == "images" else tuple(name for column in self.columns for name in column.output_names)
        return (*names, "there") if self.form == "sequences" else names

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one row of what `transform` returns."""
        return self.shape if self.form == "images" else (*self.shape[:-1], len(self.output_names))

    @property
    def kinds(self) -> dict[str, str]:
        """Name and kind of each raw column, as `read_columns` takes them."""
        return {} if self.form in ("images", "sequences") else {column.name: column.kind for column in self.columns}

    def transform(self, x: Any, dtype: str = "float32") -> np.ndarray:
        """What the network sees for raw inputs `x` (as those fitted): `(n, features)`, for images `(n, ...)`, of the given `dtype`.

        Raises DataError for missing columns, text among numbers and values that are not finite, ShapeError for another width.
        """
        return self.transform_with_notes(x, dtype)[0]

    def transform_with_notes(self, x: Any, dtype: str = "float32") -> tuple[np.ndarray, list[str]]:
        """As `transform`, with a line for every column not used, unseen category, and gap that training had not shown.

        >>> import polars as pl
        >>> pre = Preprocessor.fit(pl.DataFrame({"band": ["V", "R"]}))
        >>> pre.transform_with_notes(pl.DataFrame({"band": ["B"], "field": [3]}))[1]
        ["column not used: 'field'", "column 'band': 'B' (1 row) not among the categories learnt, coded as 'other'"]
        """
        notes: list[str] = []
        if self.form == "table":
            table = self._encode(x, notes, dtype)
        elif self.form == "sequences":
            table = scale_steps(self._array(self._padded(x, notes) if isinstance(x, Ragged) else x, notes), self.columns, dtype)
        else:
            array = self._array(x, notes)
            mean, scale = (np.array([getattr(column, part) for column in self.columns]) for part in ("mean", "scale"))
            table = np.empty(array.shape, dtype)
            step = _rows_at_once(array)
            with np.errstate(over="ignore"):
                for start in range(0, len(array), step):
                    rows = slice(start, start + step)
                    table[rows] = (array[rows] - mean) / scale
        if not all_finite(table):
            row = int(np.argwhere(~np.isfinite(table))[0][0])
            raise DataError(f"row {row} of x holds a value too far from those of the training part to be represented in {dtype}")
        return table, notes

    def _encode(self, x: Any, notes: list[str], dtype: str) -> np.ndarray:
        """The table form: every column by its rule, side by side."""
        if not is_frame(x):
            raise DataError(f"the model was trained on a table with columns {_names(self.feature_names)}; "
                            f"received {type(x).__name__}, expected a DataFrame with these columns")
        frame = self._select(x, notes)
        parts = []
        for column in self.columns:
            part, more = encode_column(column, frame[column.name])
            parts.append(part)
            notes += more
        with np.errstate(over="ignore"):
            return np.concatenate(parts, axis=1).astype(dtype)

    def _select(self, x: Any, notes: list[str]) -> Any:
        """The frame as polars, with all columns of the training part; the others are noted."""
        frame = as_polars(x)
        missing = [name for name in self.feature_names if name not in frame.columns]
        if missing:
            hint = nearest(missing[0], [name for name in frame.columns if name not in self.feature_names])
            hint = hint if "did you mean" in hint else f"; the table has {_names(frame.columns)}"
            raise DataError(f"{'column' if len(missing) == 1 else 'columns'} missing: {_names(missing)}{hint}")
        extra = [name for name in frame.columns if name not in self.feature_names]
        if extra:
            notes.append(f"{'column' if len(extra) == 1 else 'columns'} not used: {_names(extra)}")
        return frame.select(self.feature_names)

    def _padded(self, x: Ragged, notes: list[str]) -> np.ndarray:
        """Sequences as an array of as many steps as those fitted; what is longer is cut, and noted."""
        steps = self.shape[0]
        longer = [i for i, length in enumerate(x.lengths) if length > steps]
        if longer:
            names = [x.names[i] if x.names else str(i) for i in longer]
            notes.append(f"{len(longer)} of {len(x)} sequences have more than {steps} steps; only the first {steps} are looked at: "
                         f"{_names(names)}")
        return x.first_steps(steps).padded(steps)

    def _array(self, x: Any, notes: list[str]) -> np.ndarray:
        """The array forms: numbers of the shape fitted, all finite."""
        if is_frame(x):
            if not self.named:
                raise DataError(f"the model was trained on an array of shape (n, {', '.join(map(str, self.shape))}) without column names; "
                                f"received a DataFrame, pass its numbers: x.to_numpy()")
            x = self._select(x, notes)
        array = as_features(unit_range(as_array(x))) if self.pictures else _floats(x)
        if array.shape[1:] != self.shape:
            raise ShapeError(f"x has shape {array.shape}, expected (n, {', '.join(map(str, self.shape))}) as in training")
        return array

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types that `from_json` turns back into an equal object, to the last bit."""
        columns = [{key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(column).items()
                    if value != _DEFAULTS.get(key)} for column in self.columns]
        pictures = {"pictures": True} if self.pictures else {}
        return {"form": self.form, "shape": list(self.shape), "named": self.named, "columns": columns, **pictures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Preprocessor":
        """The object that `to_json` described. Raises ModelFileError where it is not such a description."""
        try:
            columns = tuple(Column(**{**entry, "levels": tuple(entry.get("levels", ()))}) for entry in data["columns"])
            result = cls(data["form"], tuple(int(size) for size in data["shape"]), columns, bool(data["named"]),
                         bool(data.get("pictures", False)))
            known = result.form in ("array", "images", "sequences", "table") and all(column.kind in _KINDS for column in columns)
            finite = all(math.isfinite(v) for column in columns for v in (column.mean, column.scale, column.fill))
            count = {"images": 1, "sequences": 2 * result.shape[-1] - 3 if result.shape else 0}.get(result.form, math.prod(result.shape))
            fitting = len(columns) == count and (result.form != "sequences" or (len(result.shape) == 2 and columns[0].fill > 0))
            fitting = fitting and (not result.pictures or (result.form == "images" and len(result.shape) == 3))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"the preprocessing of the model file is damaged ({error!r}); save the model again") from None
        if not (known and finite and fitting and all(column.scale for column in columns)):
            raise ModelFileError("the preprocessing of the model file is damaged (impossible values); save the model again")
        return result


def _rows_at_once(array: np.ndarray) -> int:
    """How many rows are worked on together, so that what is made on the way stays small: at most 4,096, fewer where rows are long."""
    return max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // max(1, math.prod(array.shape[1:]))))


def _common_scale(columns: tuple[Column, ...], x: np.ndarray) -> tuple[Column, ...]:
    """The columns with one offset and range for all where they are measurements of one kind, such as the pixels of an image.

    Taken for that are 16 columns or more, none negative, nine of ten starting at 0, half of them reaching nine tenths of the largest
    value. Standardizing each alone would blow up the noise of pixels that are nearly always empty.
    """
    lowest, highest = x.min(axis=0), x.max(axis=0)
    largest = float(highest.max())
    if len(columns) < 16 or largest <= 0 or lowest.min() < 0 or np.mean(lowest == 0) < 0.9 or np.mean(highest >= 0.9 * largest) < 0.5:
        return columns
    return tuple(dataclasses.replace(column, mean=0.0, scale=largest) for column in columns)


_KINDS = ("number", "boolean", "date", "category")
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Column) if field.default is not dataclasses.MISSING}


@dataclasses.dataclass(frozen=True)
class TargetScaler:
    """Regression targets to standard scores and back: `(y - mean) / scale`, one mean and scale per output.

    >>> scaler = TargetScaler.fit(np.array([10.0, 30.0]))
    >>> scaler.transform([10.0, 20.0]), scaler.inverse(np.array([1.0]))
    (array([-1.,  0.], dtype=float32), array([30.], dtype=float32))
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, y: Any, weights: np.ndarray | None = None) -> "TargetScaler":
        """From the targets `(n,)` or `(n, outputs)` of the training part, weighted by `weights` `(n,)`; a constant output gets scale 1.

        Raises DataError for values that are not finite, ShapeError for more than two axes.
        """
        mean, scale = moments(_targets(y), weights)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()))

    def transform(self, y: Any, dtype: str = "float32") -> np.ndarray:
        """Standard scores, of the shape of `y`: `(n,)` (one output) or `(n, outputs)`."""
        values = _targets(y).reshape(np.shape(y))
        self._check(values.shape)
        return ((values - self.mean) / self.scale).astype(dtype)

    def inverse(self, scores: Any, dtype: str = "float32") -> np.ndarray:
        """Targets in their own units, of the shape of `scores`: `(n,)` (one output) or `(..., outputs)`."""
        values = np.asarray(scores, np.float64)
        self._check(values.shape)
        return (values * self.scale + self.mean).astype(dtype)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, exact."""
        return {"mean": list(self.mean), "scale": list(self.scale)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TargetScaler":
        """The object that `to_json` described. Raises ModelFileError where it is not such a description."""
        try:
            result = cls(tuple(float(v) for v in data["mean"]), tuple(float(v) for v in data["scale"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the target scale of the model file is damaged ({error!r}); save the model again") from None
        if len(result.mean) != len(result.scale) or not all(map(math.isfinite, result.mean + result.scale)) or not all(result.scale):
            raise ModelFileError("the target scale of the model file is damaged (impossible values); save the model again")
        return result

    def _check(self, shape: tuple[int, ...]) -> None:
        outputs = shape[-1] if len(shape) > 1 else 1
        if outputs != len(self.mean):
            raise ShapeError(f"targets of shape {shape} have {outputs} output{'s' if outputs > 1 else ''}, "
                             f"expected {len(self.mean)} as in training")


@dataclasses.dataclass(frozen=True)
class Labels:
    """The classes of a problem: their values (text, integers, floats or booleans) and the indices 0 ... K-1 that stand for them.

    >>> labels = Labels.fit(["dwarf", "giant", "dwarf"])
    >>> labels.encode(["giant", "dwarf"]), labels.decode([1, 1]).tolist()
    (array([1, 0], dtype=int32), ['giant', 'giant'])
    """

    values: tuple[Any, ...]

    TYPES: ClassVar[dict[str, type]] = {"str": str, "int": int, "float": float, "bool": bool}

    @classmethod
    def fit(cls, y: Any) -> "Labels":
        """The sorted classes in `y` `(n,)`. Raises DataError for missing values, mixed types, and a single class."""
        items = _label_items(y)
        kinds = {type(item) for item in items}
        if not kinds or not kinds <= set(cls.TYPES.values()):
            raise DataError(f"y holds {', '.join(sorted(kind.__name__ for kind in kinds)) or 'nothing'}, "
                            f"expected text, numbers or booleans as classes")
        if len(kinds) > 1:
            raise DataError(f"y mixes {' and '.join(sorted(kind.__name__ for kind in kinds))}, expected classes of one type")
        values = tuple(sorted(set(items)))
        if len(values) < 2:
            raise DataError(f"y holds one class only ({values[0]!r}), expected at least two")
        return cls(values)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes as text, for tables and figures."""
        return tuple(str(value) for value in self.values)

    def encode(self, y: Any) -> np.ndarray:
        """Class indices int32 `(n,)`. Raises DataError, naming value and row, for a class that was not fitted."""
        kind = type(self.values[0])
        index = {value: i for i, value in enumerate(self.values)}
        items = _label_items(y)
        for row, item in enumerate(items):
            numbers = kind in (int, float) and type(item) in (int, float)
            if not (numbers or type(item) is kind) or item not in index:
                known = ", ".join(map(repr, self.values[:10])) + (", ..." if len(self.values) > 10 else "")
                raise DataError(f"y holds the class {item!r} in row {row}, which the model does not know; known: {known}")
        return np.array([index[item] for item in items], np.int32)

    def decode(self, indices: Any) -> np.ndarray:
        """The classes of these indices, an array of the shape of `indices` and of the type of the classes."""
        return np.array(self.values)[np.asarray(indices)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; the type of the classes is kept."""
        return {"type": type(self.values[0]).__name__, "values": list(self.values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Labels":
        """The object that `to_json` described. Raises ModelFileError where it is not such a description."""
        try:
            kind = cls.TYPES[data["type"]]
            return cls(tuple(kind(value) for value in data["values"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"the class labels of the model file are damaged ({error!r}); save the model again") from None


def _label_items(y: Any) -> list[Any]:
    """Labels as plain Python values, none missing."""
    values = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y, dtype=object) if isinstance(y, (list, tuple)) else np.asarray(y)
    if values.ndim != 1:
        raise ShapeError(f"y has shape {values.shape}, expected (n,): one class per row; write y.ravel() for a single column")
    items = [item.item() if isinstance(item, np.generic) else item for item in values.tolist()]
    for row, item in enumerate(items):
        if is_missing(item):
            raise DataError(f"y has no class in row {row} ({item}); remove that row or give it a class")
    return items


def _floats(x: Any) -> np.ndarray:
    """Features as float64 where they need it (so that the offset is subtracted before anything is rounded), else float32."""
    array = as_array(x)
    return as_features(x if is_frame(x) else array, "float32" if array.dtype.itemsize <= 2 or array.dtype == np.float32 else "float64")


def _targets(y: Any) -> np.ndarray:
    """Targets as float64 `(n, outputs)`, finite."""
    values = as_array(y, "y")
    if values.ndim not in (1, 2):
        raise ShapeError(f"y has shape {values.shape}, expected (n,) or (n, outputs)")
    return as_features(values.reshape(len(values), -1), "float64", "y")


def _names(names: Sequence[str]) -> str:
    """The first names, quoted, and how many there are beyond them."""
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
