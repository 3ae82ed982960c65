"""Buckets: sequences of similar length go into the same batch, so that little is padded and few programs are compiled."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.data.padding import as_lengths
from deltarule.errors import DataError, ShapeError

CANDIDATES = 200        # lengths at most that are tried as the ends of buckets


class Buckets:
    """Batches (x, y) for `net.fit(batches)`, each cut to the length of its bucket; once through is an epoch, each in a new order.

    Where `per_step`, the targets are cut with the sequences.

    `ends` are the lengths of the buckets and so the shapes that occur: a program is compiled for each. `padding` is the share of the
    steps that only fill up. Made by `buckets`.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, lengths: np.ndarray, ends: tuple[int, ...], batch_size: int, seed: int,
                 per_step: bool = False):
        self.ends, self.batch_size = ends, batch_size
        self._x, self._y, self._seed, self._epoch, self._per_step = x, y, seed, 0, per_step
        self._bucket = np.searchsorted(ends, lengths)
        padded = np.array(ends)[self._bucket].sum()
        self.padding = float(1 - lengths.sum() / padded)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return int(sum(-(-count // self.batch_size) for count in np.bincount(self._bucket)))

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch, a full one first, each as large as the others or smaller."""
        rng = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        batches = []
        for bucket, end in enumerate(self.ends):
            rows = rng.permutation(np.flatnonzero(self._bucket == bucket))
            batches += [(rows[begin:begin + self.batch_size], end) for begin in range(0, len(rows), self.batch_size)]
        order = rng.permutation(len(batches)).tolist()
        order.insert(0, order.pop(int(np.argmax([len(batches[i][0]) for i in order]))))
        for rows, end in (batches[i] for i in order):
            yield self._x[rows, :end], self._y[rows, :end] if self._per_step else self._y[rows]


def buckets(x: Any, y: Any, lengths: Any, *, batch_size: int = 32, count: int = 4, seed: int = 0,
            per_step: bool | None = None) -> Buckets:
    """Batches of sequences x (n, T) or (n, T, features), filled up behind their `lengths` (n,), with targets y (n, ...).

    With `per_step` y (n, T, ...) has a target for every step, and is cut as the sequences are; without, one for each sequence. None: where
    y has as many steps as x. The ends of at most `count` buckets are chosen so that as few steps as possible only fill up (exactly, by
    dynamic programming); each batch comes from one bucket. `net.fit(batches)` takes them where the weights do not depend on the number of
    steps, as those of recurrent layers, attention and pooled convolutions do not. Raises ShapeError where the parts do not fit together,
    DataError for lengths out of range, DeltaruleError for counts below 1.

    >>> x = np.zeros((6, 10, 1))
    >>> batches = buckets(x, np.arange(6), lengths=[2, 3, 3, 9, 10, 10], batch_size=2, count=2)
    >>> batches.ends, round(batches.padding, 3), sorted(part.shape for part, y in batches)
    ((3, 10), 0.051, [(1, 3, 1), (1, 10, 1), (2, 3, 1), (2, 10, 1)])
    >>> sorted(y.shape for x, y in buckets(x, np.zeros((6, 10)), lengths=[2, 3, 3, 9, 10, 10], batch_size=3, count=2))
    [(3, 3), (3, 10)]
    """
    checked_number("batch_size", batch_size, 1, whole=True)
    checked_number("count", count, 1, whole=True)
    checked_number("seed", seed, 0, whole=True)
    x, y, lengths = as_array(x), as_array(y, "y"), as_array(lengths, "lengths")
    if x.ndim < 2 or len(y) != len(x) or lengths.shape != (len(x),):
        raise ShapeError(f"buckets expected x (n, steps) or (n, steps, features), y (n, ...) and lengths (n,), received {x.shape}, "
                         f"{y.shape} and {lengths.shape}")
    if not x.size:
        raise DataError(f"buckets expected at least one sequence of at least one step, received x of shape {x.shape}")
    steps = y.shape[1:2] == x.shape[1:2]
    if per_step and not steps:
        raise ShapeError(f"per_step=True expected a target for every step, y (n, {x.shape[1]}, ...), received {y.shape}")
    lengths = as_lengths(lengths, *x.shape[:2])
    return Buckets(x, y, lengths, best_ends(lengths, count), batch_size, seed, steps if per_step is None else per_step)


def best_ends(lengths: np.ndarray, count: int) -> tuple[int, ...]:
    """The ends of at most `count` buckets, rising, for which the fewest steps fill up; lengths (n,), whole numbers.

    Of more than 200 different lengths every so many are tried.

    >>> best_ends(np.array([1, 1, 1, 7, 8, 30]), 3)
    (1, 8, 30)
    """
    ends = np.unique(lengths)
    if len(ends) > CANDIDATES:
        ends = np.unique(np.append(np.quantile(lengths, np.linspace(0, 1, CANDIDATES), method="higher"), ends[-1]))
    below = np.searchsorted(np.sort(lengths), ends, side="right")           # sequences up to each end
    begin = np.append(0, below[:-1])
    cost = ends[None, :] * (below[None, :] - begin[:, None]).astype(float)  # of a bucket that begins behind end i - 1 and ends with j
    cost[np.tril_indices(len(ends), -1)] = np.inf
    best, choices = cost[0], []
    for _ in range(min(count, len(ends)) - 1):
        totals = np.concatenate([cost[:1], best[:-1, None] + cost[1:]])     # the last bucket begins behind end i - 1
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    chosen, last = [], len(ends) - 1
    for choice in reversed(choices):
        chosen.append(int(ends[last]))
        last = int(choice[last]) - 1
        if last < 0:
            break
    else:
        chosen.append(int(ends[last]))
    return tuple(reversed(chosen))
