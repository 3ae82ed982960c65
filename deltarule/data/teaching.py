"""What a decoder is taught with: sequences of whole numbers, and the same as it sees them while it writes."""

from typing import Any

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.errors import DataError, ShapeError


def shifted(y: Any, start: int) -> np.ndarray:
    """What is already written when step t of y is to be said: `start`, then y without its last step; int32, shapes (n, T) -> (n, T).

    The target of an `EncoderDecoder`, whose answer is y: net.fit({"source": x, "target": shifted(y, start)}, y). Raises ShapeError for
    another number of axes, DataError for values that are not whole numbers from 0 on or no steps, DeltaruleError for a start that is none.

    >>> shifted([[5, 7, 6], [4, 6, 6]], start=1).tolist()
    [[1, 5, 7], [1, 4, 6]]
    """
    given = as_array(y, "y")
    if given.ndim != 2:
        raise ShapeError(f"shifted expected sequences of whole numbers (n, T), received y of shape {given.shape}")
    if not given.size:
        raise DataError(f"y has shape {given.shape}: expected at least one sequence of at least one step")
    wrong = given[(given < 0) | (given != np.rint(given))]
    if wrong.size:
        raise DataError(f"y holds {wrong[0]:g}, expected whole numbers from 0 on")
    checked_number("start", start, 0, whole=True)
    return np.concatenate([np.full((len(given), 1), start), given[:, :-1]], axis=1).astype(np.int32)
