"""What the user hands over becomes a NumPy array of numbers, or one line that says why it cannot.

Other libraries are recognised by what their objects can do (`to_numpy`, `__array__`), never imported: a JAX array, a pandas
or polars table and a nested list all pass here, and nothing is paid for a library that is not in use.
"""

import datetime
import math
import numbers
from typing import Any

import numpy as np

from deltarule.errors import DataError, ShapeError

NUMERIC_KINDS = "buif"  # booleans, unsigned and signed integers, floats: the `kind` letters of NumPy's dtypes


def as_array(value: Any, what: str = "x") -> np.ndarray:
    """The numbers in `value` (NumPy, JAX, pandas, polars, nested lists) as an array of the same shape and kind.

    Integers stay integers, bytes stay bytes, booleans stay booleans; None and NA among objects become NaN. `what` is the
    name used in messages. Raises DataError for text (naming column, row and value), dates, complex numbers, sparse
    matrices, masked arrays, ragged lists, and for anything that is not a collection of numbers.

    >>> as_array([[1, 2], [3, 4]]).dtype.kind
    'i'
    >>> as_array([["red", 1.5]])
    Traceback (most recent call last):
        ...
    deltarule.errors.DataError: x holds text in column 0 (first: 'red' in row 0); read tables with read_table, ...
    """
    if hasattr(value, "nnz") and hasattr(value, "toarray"):
        raise DataError(f"{what} is a sparse matrix; make it dense first: {what}.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        raise DataError(f"{what} is a masked array, whose hidden entries cannot be learnt from; fill them first: {what}.filled(0)")
    array = _to_numpy(value, what)
    if array.dtype.kind in NUMERIC_KINDS:
        return array
    if array.dtype.name == "bfloat16":  # JAX's half-width float, which NumPy knows only as raw bytes
        return array.astype(np.float32)
    if array.dtype.kind in "Mm":
        raise DataError(f"{what} holds dates or times; turn them into numbers first, for example days since the first date")
    if array.dtype.kind == "c":
        raise DataError(f"{what} holds complex numbers; give real and imaginary part as columns of their own")
    if array.dtype.kind in "OUS":
        return _numbers_among_objects(array, value, what)
    raise DataError(f"{what} holds {array.dtype}, expected numbers; give one column per field")


def as_features(value: Any, dtype: str = "float32", what: str = "x", keep_integers: bool = False) -> np.ndarray:
    """The inputs of a network: a finite array `(rows, ...)` with at least two axes, converted to `dtype`.

    Booleans, integers and floats are converted to `dtype` ("float32" or "float64"); integers above 2**24 are rounded by
    float32. With `keep_integers` an array of bytes (uint8, as images are stored) stays as it is. An array that is already of
    this dtype is returned without a copy. Raises DataError for no rows, values that are not finite, and values too large for
    `dtype`; ShapeError for fewer than two axes.

    >>> as_features([[1, 2], [3, 4]])
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    >>> as_features([[1.0, 2.0], [3.0, float("nan")]])
    Traceback (most recent call last):
        ...
    deltarule.errors.DataError: x holds 1 value that is not finite (first: nan in row 1, column 1); remove the row or fill it
    """
    array = as_array(value, what)
    if array.ndim < 2:
        raise ShapeError(f"{what} has shape {array.shape}, expected (rows, features); write {what}[:, None] for one feature per row "
                         f"or {what}[None] for one row")
    if array.size == 0:
        raise DataError(f"{what} has shape {array.shape}: nothing to learn from; expected at least one row and one feature")
    if keep_integers and array.dtype == np.uint8:
        return array
    features = array if array.dtype == dtype else _converted(array, dtype)
    if not all_finite(features):
        raise DataError(_not_finite(value, array, features, what))
    return features


def one_hot(labels: Any, classes: int | None = None) -> np.ndarray:
    """Class indices `(n,)` as rows of zeros with a single one, float32 `(n, classes)`.

    `classes` defaults to the largest index + 1. Raises ShapeError unless `labels` has one axis; DataError for labels that are
    not integers or lie outside 0 ... classes - 1.

    >>> one_hot([2, 0], classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    indices = as_array(labels, "labels")
    if indices.ndim != 1:
        raise ShapeError(f"labels has shape {indices.shape}, expected (n,): one class index per row")
    if indices.size == 0:
        raise DataError("labels is empty, expected at least one class index")
    if indices.dtype.kind not in "ui":
        raise DataError(f"labels holds {indices.dtype}, expected integers; write labels.astype(int) if they are class indices")
    count = int(indices.max()) + 1 if classes is None else classes
    wrong = np.flatnonzero((indices < 0) | (indices >= count))
    if wrong.size:
        raise DataError(f"labels holds {indices[wrong[0]]} in row {wrong[0]}, expected class indices from 0 to {count - 1}")
    table = np.zeros((len(indices), count), np.float32)
    table[np.arange(len(indices)), indices] = 1.0
    return table


def unit_range(array: np.ndarray, what: str = "x") -> np.ndarray:
    """The values of images as float32: bytes and 16-bit integers divided by the largest value of their type, floats as they are.

    Raises DataError for other types, whose range is unknown.

    >>> unit_range(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if array.dtype.kind not in "buf" or (array.dtype.kind == "u" and array.dtype.itemsize > 2):
        raise DataError(f"{what} holds {array.dtype}, expected uint8, uint16 or floats: the range of an image in {array.dtype} is unknown")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    return values / np.float32(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else values


def is_frame(value: Any) -> bool:
    """Whether `value` is a table with named columns (a pandas or polars DataFrame)."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def is_missing(item: Any) -> bool:
    """Whether one Python value stands for a gap: None, NaN, pandas' NA or NaT (known by their names, without importing pandas)."""
    return item is None or type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, float) and item != item)


def all_finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite, in one pass and without a temporary array in the usual case.

    >>> all_finite(np.array([1.0, np.inf]))
    False
    """
    if array.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):  # the sum is NaN or infinite if any value is, and seldom otherwise
        return math.isfinite(array.sum()) or bool(np.isfinite(array).all())


def _converted(array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):        # what is too large becomes infinite, and is named
        return array.astype(dtype)


def _to_numpy(value: Any, what: str) -> np.ndarray:
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
        if array.dtype.kind in "US" and isinstance(value, (list, tuple)):
            array = np.array(value, dtype=object)  # numbers beside text were turned into text: look at what was given
    except Exception as error:
        if "inhomogeneous" in str(error):
            raise DataError(f"{what} is ragged: its rows have different lengths; give every row the same number of values") from None
        reason = str(error).partition("\n")[0]
        raise DataError(f"{what} ({type(value).__name__}) cannot be read as an array of numbers: {reason}") from None
    if array.ndim == 0 and array.dtype.kind in "OUS":
        raise DataError(f"{what} must be an array, a table or a list of numbers, received {type(value).__name__}")
    return np.asarray(array)


def _numbers_among_objects(array: np.ndarray, value: Any, what: str) -> np.ndarray:
    """Objects as numbers where all of them are; otherwise the message names the first that is not."""
    if array.size == 0:
        return array.astype(float)
    columns = array.reshape(len(array), -1).T.tolist()
    for j, column in enumerate(columns):
        for i, item in enumerate(column):
            if not (isinstance(item, numbers.Real) or is_missing(item)):
                raise DataError(_not_a_number(item, f"column {_column_name(value, j)}" if array.ndim > 1 else "", i, what))
    gaps = any(is_missing(item) for column in columns for item in column)
    flat = [float("nan") if is_missing(item) else item for item in array.ravel().tolist()]
    result = np.array(flat, dtype=float if gaps else None)
    return (result if result.dtype.kind in NUMERIC_KINDS else result.astype(float)).reshape(array.shape)


def _not_a_number(item: Any, column: str, row: int, what: str) -> str:
    place = f" in {column}" if column else ""
    if isinstance(item, (str, bytes)):
        return (f"{what} holds text{place} (first: {item!r} in row {row}); read tables with read_table, which encodes text columns, "
                f"or use Classifier, which encodes the classes")
    if isinstance(item, (datetime.date, datetime.timedelta)):
        return f"{what} holds dates or times{place} (first: {item} in row {row}); turn them into numbers first"
    if isinstance(item, complex):
        return f"{what} holds complex numbers{place} (first: {item} in row {row}); give real and imaginary part as columns of their own"
    if isinstance(item, (list, tuple, np.ndarray)):
        return f"{what} is ragged{place}: row {row} holds a {type(item).__name__}; give every row the same number of values"
    return f"{what} holds a {type(item).__name__}{place} (row {row}), expected numbers"


def _column_name(value: Any, j: int) -> str:
    return repr(list(value.columns)[j]) if is_frame(value) else str(j)


def _not_finite(value: Any, array: np.ndarray, features: np.ndarray, what: str) -> str:
    """The message of `as_features`: NaN and infinity in what was given, or numbers too large for the dtype."""
    bad = ~np.isfinite(features)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f"row {first[0]}, column {_column_name(value, first[1])}" if array.ndim == 2 else f"row {first[0]}, position {first[1:]}"
    count = int(bad.sum())
    if np.isfinite(array[first]):
        return (f"{what} holds {_values(count)} too large for {features.dtype} (first: {array[first]:g} in {place}); "
                f"rescale, for example divide by {array[first]:g}")
    cure = "remove the row or fill it" if count == 1 else "remove those rows or fill them"
    return f"{what} holds {_values(count)} that {'is' if count == 1 else 'are'} not finite (first: {array[first]} in {place}); {cure}"


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
