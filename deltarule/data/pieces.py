"""Long sequences in pieces that follow each other, to learn from one after the other."""

from typing import Any

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.errors import ShapeError


def pieces(x: Any, y: Any, steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Long sequences x (n, T, ...) with a target for each step, y (n, T, ...), cut into batches of `steps` steps that follow each other.

    Row i of every batch goes on where row i of the batch before ended, so that `net.fit(pieces, stateful=True)` learns from all of a
    sequence, the gradient going back to the beginning of a piece: truncated backpropagation through time (Williams and Peng 1990).
    Steps at the end that fill no piece are left out. Raises ShapeError where x and y are no such sequences or shorter than a piece,
    DeltaruleError for `steps` that is no whole number from 1 on.

    >>> [(a.ravel().tolist(), b.ravel().tolist()) for a, b in pieces(np.arange(7.0).reshape(1, 7, 1), np.arange(7).reshape(1, 7), 3)]
    [([0.0, 1.0, 2.0], [0, 1, 2]), ([3.0, 4.0, 5.0], [3, 4, 5])]
    """
    x, y, k = as_array(x, "x"), as_array(y, "y"), int(checked_number("steps", steps, 1, whole=True))
    if x.ndim < 2 or y.ndim < 2 or x.shape[:2] != y.shape[:2]:
        raise ShapeError(f"pieces expected sequences x (n, T, ...) with a target for each step, y (n, T, ...), received {x.shape} and "
                         f"{y.shape}")
    if x.shape[1] < k:
        raise ShapeError(f"pieces of {k} steps cannot be cut out of sequences of {x.shape[1]}; give fewer steps")
    return [(x[:, begin:begin + k], y[:, begin:begin + k]) for begin in range(0, x.shape[1] - k + 1, k)]
