"""Text files, and a long sequence of whole numbers cut into rows to learn from."""

from typing import Any

import numpy as np

from deltarule.data.arrays import as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.files import StrPath, read_bytes

LARGEST = 2**30     # bytes of a text file


def read_text(path: StrPath) -> str:
    """The text of a file in UTF-8, with line ends as \\n. Raises DataError for an empty file and for bytes that are no UTF-8."""
    try:
        text = read_bytes(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 (byte {error.start}); save it in that encoding") from None
    if not text:
        raise DataError(f"{path} is empty, expected text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def windows(numbers: Any, length: int, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A long sequence cut into rows x (n, length), and y (n, length): the same shifted by one, what comes next in every step.

    Rows begin `step` apart, by default `length`: then none overlap. Raises DataError for a sequence that is too short.

    >>> x, y = windows([0, 1, 2, 3, 4, 5, 6], length=3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    given = as_array(numbers, "numbers")
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ShapeError(f"windows expected whole numbers of shape (n,), received {given.dtype} of shape {given.shape}")
    for name, value in (("length", length), ("step", length if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DeltaruleError(f"{name} expected a whole number from 1 on, received {value!r}")
    if len(given) <= length:
        raise DataError(f"the sequence has {len(given)} steps; windows of {length} and what comes next need {length + 1} at least")
    both = np.lib.stride_tricks.sliding_window_view(given.astype(np.int32), length + 1)[::step or length]
    return both[:, :-1].copy(), both[:, 1:].copy()
