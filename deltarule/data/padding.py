"""Sequences of unequal length as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.data.arrays import as_array
from deltarule.errors import DataError, ShapeError


def as_lengths(lengths: Any, n: int, steps: int) -> np.ndarray:
    """The lengths (n,) of sequences that are filled up to `steps`. Raises DataError for others than whole numbers from 1 to `steps`.

    >>> as_lengths([2, 3.0], 2, 3).tolist()
    [2, 3]
    """
    given = as_array(lengths, "lengths")
    if given.shape != (n,):
        raise ShapeError(f"lengths has shape {given.shape}, expected one length for each of the {n} sequences: ({n},)")
    wrong = np.flatnonzero((given < 1) | (given > steps) | (given != np.rint(given)))
    if wrong.size:
        raise DataError(f"sequence {wrong[0]} has the length {given[wrong[0]]:g}, expected a whole number from 1 to {steps}")
    return given.astype(int)


def pad(sequences: Sequence[Any], value: float = 0.0, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (T_i, features), or (T_i,) of one feature, as one array x (n, T, features) filled up with `value`, and their lengths (n,).

    T is the longest length, or `steps`. The layer `Masked(value)` then tells padding from real steps; so a real step that consists of
    `value` alone is refused. Raises DataError for it, for empty sequences, and for those of different features or longer than `steps`.

    >>> x, lengths = pad([[1.0, 2.0, 3.0], [4.0]])
    >>> x[:, :, 0].tolist(), lengths.tolist()
    ([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]], [3, 1])
    """
    arrays = [as_array(sequence, f"sequence {i}") for i, sequence in enumerate(sequences)]
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    if not arrays:
        raise DataError("pad expected at least one sequence, received none")
    for i, array in enumerate(arrays):
        if array.ndim != 2 or 0 in array.shape:
            raise DataError(f"sequence {i} expected the shape (steps, features) with at least one step, received {array.shape}")
        if array.shape[1] != arrays[0].shape[1]:
            raise DataError(f"sequence {i} has {array.shape[1]} features, sequence 0 has {arrays[0].shape[1]}; all need the same")
        taken = np.flatnonzero(np.all(array == value, axis=1))
        if taken.size:
            raise DataError(f"step {taken[0]} of sequence {i} holds {value:g} only and would be taken for padding; choose another value")
    lengths = np.array([len(array) for array in arrays])
    steps = int(lengths.max()) if steps is None else steps
    if lengths.max() > steps:
        raise DataError(f"sequence {lengths.argmax()} has {lengths.max()} steps, more than steps={steps}")
    x = np.full((len(arrays), steps, arrays[0].shape[1]), value, np.result_type(np.float32, *arrays))
    for row, array in zip(x, arrays, strict=True):
        row[:len(array)] = array
    return x, lengths
