"""Which rows train and which rows test: pure functions of NumPy arrays and a seed.

Every function returns `(train, test)`: two sorted arrays of row numbers, neither empty, that together hold each row once.
`test` is the wanted share of test rows, between 0 and 1. Whole groups (patients, stars, fields) go to one side, because rows of
one group resemble each other and a network that has seen its neighbours is flattered by the test.
"""

import numpy as np

from deltarule.errors import DataError

Rows = tuple[np.ndarray, np.ndarray]

ROWS_PER_CELL = 10  # spatial blocks hold about this many rows each
MOST_CELLS = 10  # along one axis


def random_rows(n: int, test: float, seed: int) -> Rows:
    """Rows drawn without regard to their values; at least one on each side.

    >>> [rows.tolist() for rows in random_rows(5, 0.4, seed=0)]
    [[0, 1, 3], [2, 4]]
    """
    order = np.random.default_rng(seed).permutation(n)
    return _sides(order[:_test_count(n, test)], n)


def stratified_rows(classes: np.ndarray, test: float, seed: int) -> Rows:
    """Rows drawn so that every class (integers, `(n,)`) has its share on both sides.

    The number of test rows is divided among the classes by largest remainder; then every class gets at least one row on each
    side. Raises DataError for a class with a single row.

    >>> train, test = stratified_rows(np.array([0, 0, 0, 0, 1, 1]), 0.33, seed=0)
    >>> np.array([0, 0, 0, 0, 1, 1])[test].tolist()
    [0, 1]
    """
    values, counts = np.unique(classes, return_counts=True)
    if counts.min() < 2:
        raise DataError(f"class {values[counts.argmin()]} has a single row, so it cannot be in both parts of a stratified split")
    ideal = counts * (_test_count(len(classes), test) / len(classes))
    share = np.floor(ideal).astype(int)
    largest_remainders = np.argsort(share - ideal, kind="stable")
    share[largest_remainders[:round(ideal.sum()) - share.sum()]] += 1
    share = np.clip(share, 1, counts - 1)
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(classes == value))[:count] for value, count in zip(values, share, strict=True)]
    return _sides(np.concatenate(drawn), len(classes))


def group_rows(groups: np.ndarray, test: float, seed: int) -> Rows:
    """Whole groups (any values, `(n,)`) on one side, as near to the wanted share as the groups allow.

    Raises DataError where there is one group only.

    >>> train, test = group_rows(np.array(["a", "a", "b", "b", "c", "c"]), 0.3, seed=0)
    >>> len(train), len(test)
    (4, 2)
    """
    values, member, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise DataError(f"all rows are in one group ({values[0]}), so it would fill one side and leave the other empty")
    wanted = _test_count(len(groups), test)
    chosen: list[int] = []
    filled = 0
    for group in np.random.default_rng(seed).permutation(len(values)):
        nearer = abs(filled + counts[group] - wanted) < abs(filled - wanted)
        if nearer and len(chosen) < len(values) - 1:
            chosen.append(int(group))
            filled += counts[group]
    return _sides(np.flatnonzero(np.isin(member, chosen or [int(counts.argmin())])), len(groups))


def time_rows(times: np.ndarray, test: float) -> Rows:
    """The latest rows (by the numbers or dates in `times`, `(n,)`) test, as when the future is forecast; equal times stay together.

    Raises DataError where all times are equal.

    >>> [rows.tolist() for rows in time_rows(np.array([2019, 2024, 2020, 2021, 2023]), 0.4)]
    [[0, 2, 3], [1, 4]]
    """
    in_order = np.sort(times)
    if in_order[0] == in_order[-1]:
        raise DataError(f"all times are equal ({in_order[0]}), so no row is later than another")
    first_test = in_order[len(times) - _test_count(len(times), test)]
    late = times >= first_test if first_test > in_order[0] else times > first_test
    return _sides(np.flatnonzero(late), len(times))


def cells(coordinates: np.ndarray) -> np.ndarray:
    """The cell of a regular grid in which each point of `coordinates` `(n, axes)` lies, `(n,)` integers.

    The grid spans the data with the same number of cells along each axis: as many as leave about 10 rows in a cell, from 2 to 10.

    >>> cells(np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 1.0], [1.0, 1.0]])).tolist()
    [0, 0, 1, 3]
    """
    n, axes = coordinates.shape
    per_axis = int(np.clip((n / ROWS_PER_CELL) ** (1 / axes), 2, MOST_CELLS))
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    place = (coordinates - low) / np.where(high > low, high - low, 1.0)
    along = np.minimum((place * per_axis).astype(int), per_axis - 1)  # (n, axes)
    cell = along @ per_axis ** np.arange(axes - 1, -1, -1)
    return np.asarray(cell)


def folds(n: int, k: int, seed: int, classes: np.ndarray | None = None, groups: np.ndarray | None = None) -> list[Rows]:
    """The k splits of cross-validation: every row is a test row exactly once.

    With `classes` `(n,)` every class is spread evenly over the folds; with `groups` `(n,)` a group is never divided. Raises
    DataError where there are fewer rows or groups than folds.

    >>> [test.tolist() for train, test in folds(5, 2, seed=0)]
    [[1, 2, 3], [0, 4]]
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]  # dealt class by class, so each fold gets its share
    fold = np.empty(n, int)
    if groups is None:
        _enough(n, k, "rows")
        fold[order] = np.arange(n) % k
    else:
        _, member, counts = np.unique(groups, return_inverse=True, return_counts=True)
        _enough(len(counts), k, "groups")
        fold_of_group, filled = np.empty(len(counts), int), np.zeros(k, int)
        shuffled = rng.permutation(len(counts))
        for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:  # the largest group first, each to the emptiest fold
            fold_of_group[group] = filled.argmin()
            filled[filled.argmin()] += counts[group]
        fold = fold_of_group[member]
    return [_sides(np.flatnonzero(fold == i), n) for i in range(k)]


def _enough(count: int, k: int, what: str) -> None:
    if not 2 <= k <= count:
        raise DataError(f"k is {k}, expected from 2 to {count}: there are {count} {what}, and every fold needs one")


def _test_count(n: int, test: float) -> int:
    if not 0 < test < 1:
        raise DataError(f"test is {test}, expected a share of the rows between 0 and 1, for example 0.2")
    if n < 2:
        raise DataError(f"a split needs at least 2 rows, received {n}")
    return min(max(round(n * test), 1), n - 1)


def _sides(test: np.ndarray, n: int) -> Rows:
    is_test = np.zeros(n, bool)
    is_test[test] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


