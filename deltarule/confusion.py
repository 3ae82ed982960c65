"""What a confusion table says: accuracy, precision, recall and agreement, also of tables that are published without their rows.

A table (K, K) counts how often class i was taken for class j: rows are the true classes, columns the assigned. `deltarule.metrics`
has all of this under its own name. Where a share is 0/0 it counts as 0.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.errors import DataError, ShapeError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def precision_recall_f1(table: ArrayLike) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 from a confusion table (K, K).

    precision_j = table_jj / sum_i table_ij    of those predicted as j, the share that is j
    recall_i    = table_ii / sum_j table_ij    of those that are i, the share that was found
    f1          = 2 precision recall / (precision + recall)

    Gives {"per_class": {"precision", "recall", "f1": (K,), "support": (K,)}, "macro": the means over the classes, "weighted": the means
    weighted by support}. 0/0 counts as 0. Raises ShapeError unless the table is square, DataError if it is empty.

    >>> precision_recall_f1([[3, 1], [0, 4]])["per_class"]["recall"].tolist()
    [0.75, 1.0]
    """
    table = _table(table)
    right, support, named = np.diag(table), table.sum(axis=1), table.sum(axis=0)        # (K,)
    precision, recall = share(right, named), share(right, support)
    scores = {"precision": precision, "recall": recall, "f1": share(2 * precision * recall, precision + recall)}
    return {
        "per_class": scores | {"support": support},
        "macro": {name: float(np.mean(score)) for name, score in scores.items()},
        "weighted": {name: float(np.average(score, weights=support)) for name, score in scores.items()},
    }


def cohen_kappa(table: ArrayLike) -> float:
    """Agreement beyond chance, kappa = (p_o - p_e) / (1 - p_e), from a confusion table (K, K) (Cohen 1960).

    p_o is the accuracy and p_e = sum_k row_k column_k / n^2 what independent guesses would reach. 0/0 (one class only) counts as 0.

    >>> round(cohen_kappa([[20, 5], [10, 15]]), 12)
    0.4
    """
    table = _table(table)
    n = table.sum()
    observed, expected = np.trace(table) / n, table.sum(axis=0) @ table.sum(axis=1) / n**2
    return float(share(observed - expected, 1 - expected))


def accuracy_within(table: ArrayLike, steps: int = 1) -> float:
    """The share of rows assigned at most `steps` classes away from their own, from a confusion table (K, K) of classes in an order.

    With steps=0 it is the accuracy. Raises ShapeError unless the table is square, DataError if it is empty or `steps` negative.

    >>> accuracy_within([[3, 1, 1], [0, 3, 0], [2, 0, 0]], steps=1)
    0.7
    """
    table = _table(table)
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise DataError(f"steps is {steps!r}, expected a whole number from 0 on")
    i, j = np.indices(table.shape)
    return float(table[np.abs(i - j) <= steps].sum() / table.sum())


def table_report(table: ArrayLike) -> dict[str, Any]:
    """Everything that a confusion table (K, K) of counts says, as plain floats and lists: for tables that are published without their rows.

    Rows are the true classes. "baseline" is the accuracy of always naming the most frequent class. Raises ShapeError unless the table
    is square, DataError if it is empty or holds anything but counts.

    >>> report = table_report([[3, 1], [0, 4]])
    >>> report["accuracy"], report["recall"], report["kappa"]
    (0.875, [0.75, 1.0], 0.75)
    """
    table = _table(table)
    scores = precision_recall_f1(table)
    return {
        "rows": int(table.sum()),
        "accuracy": float(table.trace() / table.sum()),
        "baseline": float(table.sum(axis=1).max() / table.sum()),
        "kappa": cohen_kappa(table),
        **{name: score.tolist() for name, score in scores["per_class"].items()},
        "macro": scores["macro"],
        "weighted": scores["weighted"],
        "confusion_table": table.tolist(),
    }


def share(part: ArrayLike, whole: ArrayLike) -> Floats:
    """part / whole, element by element; 0/0 counts as 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def _table(given: ArrayLike) -> Integers:
    table = np.asarray(given)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ShapeError(f"a confusion table must be square (classes, classes), received {table.shape}")
    if table.dtype.kind not in "ui" or (table < 0).any():
        raise DataError("a confusion table must hold counts, whole numbers from 0 on; for shares multiply by the number of rows")
    if table.sum() == 0:
        raise DataError("the confusion table is empty; evaluate at least one row")
    return table
