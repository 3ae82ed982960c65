"""Metrics: how good the predictions are, in plain NumPy float64 (`deltarule.rowwise` has those that are followed during training).

The definitions are scikit-learn's, which serves as the oracle of the tests; here they are written out, because importing it
costs more time than training on most tables, and because each is short. y holds class numbers 0, 1, ..., K-1 unless said.
Where a share is 0/0 (a class that was never predicted has no precision) it counts as 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.confusion import accuracy_within as accuracy_within
from deltarule.confusion import cohen_kappa as cohen_kappa
from deltarule.confusion import precision_recall_f1 as precision_recall_f1
from deltarule.confusion import share
from deltarule.confusion import table_report as table_report
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.rowwise import ROWWISE as ROWWISE
from deltarule.rowwise import metric as metric

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


# --- classes

def confusion_table(y: ArrayLike, predicted: ArrayLike, classes: int) -> Integers:
    """How often class i was predicted as class j: rows are the true classes, columns the predicted, (K, K) for K = `classes`.

    `y` and `predicted` (n,), integers from 0 to K-1. Raises ShapeError for unequal shapes, DataError for other labels.

    >>> confusion_table([0, 0, 1, 2], [0, 1, 1, 2], classes=3).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    """
    y, predicted = _labels("y", y, classes), _labels("predicted", predicted, classes)
    _same_shape("y", y, "predicted", predicted)
    return np.bincount(y * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy(y: ArrayLike, predicted: ArrayLike) -> float:
    """The share of predictions that are right, of labels (n,) of any kind. Raises ShapeError for unequal shapes.

    >>> accuracy([0, 0, 1, 2], [0, 1, 1, 2])
    0.75
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    _same_shape("y", y, "predicted", predicted)
    _not_empty(y)
    return float(np.mean(y == predicted))


# --- regions

def iou(y: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> float:
    """Intersection over union (Jaccard) of all pixels together: |A and B| / |A or B| of the true and the predicted region.

    `y` and `predicted` (n, height, width) or of any one shape: masks of 0 and 1, or class numbers of so many `classes`, and then the mean
    over those that occur. Raises ShapeError for unequal shapes, DataError for other labels (of probabilities write `p > 0.5`).

    >>> iou([[1, 1, 0]], [[1, 0, 0]]), iou([[2, 1, 0]], [[2, 0, 0]], classes=3)
    (0.5, 0.5)
    """
    both, total = _overlaps(y, predicted, classes)
    return float(np.mean(share(both, total - both)))


def dice(y: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> float:
    """Twice the intersection over the sum of both regions (Dice 1945), which is F1 of all pixels together. Arguments as in `iou`.

    >>> round(dice([[1, 1, 0]], [[1, 0, 0]]), 4)
    0.6667
    """
    both, total = _overlaps(y, predicted, classes)
    return float(np.mean(share(2 * both, total)))


# --- scores of one class against the rest

def roc_curve(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """False-positive rate, true-positive rate and threshold, as the threshold falls from infinity through every score.

    `y` (n,) of 0 and 1, `score` (n,), larger for class 1. Each result has one entry more than there are different scores. Raises
    DataError unless both classes occur.

    >>> [values.tolist() for values in roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9])]
    [[0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 0.9, 0.4, 0.1]]
    """
    true, false, threshold = _counts(y, score)
    if true[-1] == 0 or false[-1] == 0:
        raise DataError(f"a ROC curve needs both classes, received {true[-1]} of class 1 and {false[-1]} of class 0; evaluate on more rows")
    rates = [np.concatenate([[0.0], count / count[-1]]) for count in (false, true)]
    return rates[0], rates[1], np.concatenate([[np.inf], threshold])


def roc_auc(y: ArrayLike, scores: ArrayLike) -> float:
    """The area under the ROC curve: the chance that a random 1 scores above a random 0, ties counting half (Hanley and McNeil 1982).

    `scores` (n,) for classes 0 and 1; (n, K) for K classes, where it is the mean over the classes of each against the rest.
    Raises DataError where a class does not occur.

    >>> roc_auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9])
    0.875
    """
    def area(y: Integers, score: Floats) -> float:
        false, true, _ = roc_curve(y, score)
        return float(np.trapezoid(true, false))

    return _one_against_rest(area, y, scores)


def precision_recall_curve(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Precision and recall for every threshold, from the lowest score to the highest, and the thresholds.

    `y` (n,) of 0 and 1, `score` (n,), larger for class 1. Precision and recall end with the point (1, 0) that belongs to no threshold.
    Raises DataError where class 1 does not occur.

    >>> [values.tolist() for values in precision_recall_curve([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9])]
    [[0.5, 0.666..., 1.0, 1.0], [1.0, 1.0, 0.5, 0.0], [0.1, 0.4, 0.9]]
    """
    true, false, threshold = _counts(y, score)
    if true[-1] == 0:
        raise DataError(f"a precision-recall curve needs class 1, received none in {len(np.asarray(y))} rows; evaluate on more rows")
    precision, recall = true / (true + false), true / true[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), threshold[::-1]


def average_precision(y: ArrayLike, scores: ArrayLike) -> float:
    """The area under the precision-recall curve as steps, sum over thresholds of (R_k - R_{k-1}) P_k.

    `scores` (n,) or (n, K), as in `roc_auc`. Raises DataError where a class does not occur.

    >>> round(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9]), 6)
    0.833333
    """
    def area(y: Integers, score: Floats) -> float:
        precision, recall, _ = precision_recall_curve(y, score)
        return float(-np.sum(np.diff(recall) * precision[:-1]))

    return _one_against_rest(area, y, scores)


# --- probabilities

def log_loss(y: ArrayLike, probabilities: ArrayLike) -> float:
    """The mean of -log p(true class): `probabilities` (n, K), or (n,) or (n, 1) of class 1 where there are two.

    Probabilities are kept 2.2e-16 away from 0 and 1, so that one certain error costs 36 and not infinity.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.25, 0.75]]), 6)
    0.490415
    """
    p, labels = _probabilities(y, probabilities)
    tiny = np.finfo(float).eps
    return float(-np.mean(np.log(np.clip(p[np.arange(len(labels)), labels], tiny, 1 - tiny))))


def calibration_curve(y: ArrayLike, probability: ArrayLike, bins: int = 10) -> tuple[Floats, Floats, Integers]:
    """Whether of the rows given 70% about 70% come true: mean probability, observed share and number of rows in each bin.

    `y` (n,) of 0 and 1, `probability` (n,) of class 1. The bins are equally wide, closed on the right; empty ones are left out.

    >>> [values.tolist() for values in calibration_curve([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75], bins=2)]
    [[0.25, 0.75], [0.5, 1.0], [2, 2]]
    """
    p, happened = _probabilities(y, probability)
    if p.shape[1] != 2:
        raise ShapeError(f"a calibration curve is for one class: give its probability (n,), received {p.shape}")
    return _calibration(happened, p[:, 1], bins)


def expected_calibration_error(y: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """The mean gap between confidence and accuracy, sum over bins of n_b/n |accuracy_b - confidence_b| (Guo et al. 2017, equation 3).

    `probabilities` (n, K), or (n,) or (n, 1) of class 1. The confidence of a row is the probability of its predicted class.

    >>> expected_calibration_error([0, 1, 1, 1], [[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]])
    0.0
    """
    p, labels = _probabilities(y, probabilities)
    confidence, observed, rows = _calibration(p.argmax(axis=1) == labels, p.max(axis=1), bins)
    return float(np.average(np.abs(observed - confidence), weights=rows))


# --- numbers

def rmse(y: ArrayLike, prediction: ArrayLike) -> float:
    """The root mean square error, of (n,) or, as the mean over the columns, of (n, outputs).

    >>> rmse([1.0, 2.0], [1.0, 5.0])
    2.12...
    """
    y, prediction = _numbers(y, prediction)
    return float(np.mean(np.sqrt(np.mean((prediction - y) ** 2, axis=0))))


def mae(y: ArrayLike, prediction: ArrayLike) -> float:
    """The mean absolute error, of (n,) or (n, outputs).

    >>> mae([1.0, 2.0], [1.0, 5.0])
    1.5
    """
    y, prediction = _numbers(y, prediction)
    return float(np.mean(np.abs(prediction - y)))


def r2(y: ArrayLike, prediction: ArrayLike) -> float:
    """The share of the variance that is explained, 1 - sum (y - prediction)^2 / sum (y - mean y)^2; (n, outputs): mean over columns.

    Always predicting the mean scores 0. A constant target scores 1 if it is met exactly, else 0.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    y, prediction = _numbers(y, prediction)
    residual, total = np.sum((y - prediction) ** 2, axis=0), np.sum((y - y.mean(axis=0)[None]) ** 2, axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.mean(np.where(total == 0, constant, 1 - residual / np.where(total == 0, 1.0, total))))


# --- reports


def classification_report(y: ArrayLike, probabilities: ArrayLike) -> dict[str, Any]:
    """Everything about a classifier, as plain floats and lists: what the command prints and stores.

    `y` (n,) integers, `probabilities` (n, K), or (n,) or (n, 1) of class 1. The predicted class is the most probable one (the first
    of equals). "baseline" is the accuracy of always naming the most frequent class. "roc_auc" and "average_precision" are None where
    some class does not occur in y.

    >>> report = classification_report([0, 1, 1], [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
    >>> report["confusion_table"], report["baseline"]
    ([[1, 0], [1, 1]], 0.666...)
    """
    p, labels = _probabilities(y, probabilities)
    classes = p.shape[1]
    table = confusion_table(labels, p.argmax(axis=1), classes)
    all_there = bool((table.sum(axis=1) > 0).all())
    curve_scores = p[:, 1] if classes == 2 else p
    return table_report(table) | {
        "log_loss": log_loss(labels, p),
        "roc_auc": roc_auc(labels, curve_scores) if all_there else None,
        "average_precision": average_precision(labels, curve_scores) if all_there else None,
        "calibration_error": expected_calibration_error(labels, p),
    }


def regression_report(y: ArrayLike, prediction: ArrayLike) -> dict[str, Any]:
    """Everything about a regression, as plain floats: what the command prints and stores.

    `y` and `prediction` (n,) or (n, outputs). "baseline" is the rmse of always predicting the mean of y.

    >>> regression_report([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    {'rows': 3, 'rmse': 0.57..., 'mae': 0.33..., 'r2': 0.5, 'baseline': 0.81...}
    """
    y, prediction = _numbers(y, prediction)
    mean = np.broadcast_to(y.mean(axis=0)[None], y.shape)
    return {"rows": len(y), "rmse": rmse(y, prediction), "mae": mae(y, prediction), "r2": r2(y, prediction), "baseline": rmse(y, mean)}


# --- helpers


def _overlaps(y: ArrayLike, predicted: ArrayLike, classes: int | None) -> tuple[Integers, Integers]:
    """Pixels in the intersection and in both regions together, of each class that occurs; of class 1 alone where there are masks."""
    y, predicted = np.asarray(y), np.asarray(predicted)
    _same_shape("y", y, "predicted", predicted)
    table = confusion_table(y.ravel(), predicted.ravel(), 2 if classes is None else classes)
    total = table.sum(axis=0) + table.sum(axis=1)
    return (table.diagonal()[total > 0], total[total > 0]) if classes else (table.diagonal()[1:], total[1:])


def _calibration(happened: ArrayLike, probability: Floats, bins: int) -> tuple[Floats, Floats, Integers]:
    if not isinstance(bins, int) or bins < 1:
        raise DeltaruleError(f"calibration needs bins to be a whole number of at least 1, received {bins!r}")
    edges = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    bin_of = np.searchsorted(edges, probability)                # left-open, right-closed
    rows = np.bincount(bin_of, minlength=bins)
    used = rows > 0
    sums = [np.bincount(bin_of, weights=values, minlength=bins)[used] for values in (probability, np.asarray(happened, float))]
    return sums[0] / rows[used], sums[1] / rows[used], rows[used]


def _counts(y: ArrayLike, score: ArrayLike) -> tuple[Integers, Integers, Floats]:
    """True and false positives if all from a threshold on are called 1, for each different score, the highest first."""
    y, score = _labels("y", y, 2), np.asarray(score, float)
    _same_shape("y", y, "score", score)
    if not np.isfinite(score).all():
        raise DataError("scores must be finite, received NaN or infinity; look for divergence in the training")
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(y) - 1)                        # the last row of each score
    true = np.cumsum(y)[last]
    return true, last + 1 - true, score[last]


def _one_against_rest(area: Callable[[Integers, Floats], float], y: ArrayLike, scores: ArrayLike) -> float:
    scores = np.asarray(scores, float)
    if scores.ndim == 1:
        return area(_labels("y", y, 2), scores)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ShapeError(f"scores must have shape (n,) or (n, classes), received {scores.shape}")
    y = _labels("y", y, scores.shape[1])
    return float(np.mean([area((y == k).astype(int), scores[:, k]) for k in range(scores.shape[1])]))


def _probabilities(y: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Integers]:
    """Probabilities as (n, K), a single column p of class 1 as (1 - p, p), and the labels, all checked."""
    p = np.asarray(probabilities, float)
    p = p[:, None] if p.ndim == 1 else p
    if p.ndim != 2:
        raise ShapeError(f"probabilities must have shape (n, classes), or (n,) for class 1 of two, received {p.shape}")
    p = np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("probabilities must lie between 0 and 1; give the output of softmax or sigmoid")
    off = p.sum(axis=1) - 1
    if (np.abs(off) > 1e-3).any():
        raise DataError(f"the probabilities of a row must sum to 1, received a row that sums to {1 + off[np.abs(off).argmax()]:.4g}; "
                        "give the output of softmax")
    labels = _labels("y", y, p.shape[1])
    if len(labels) != len(p):
        raise ShapeError(f"y and probabilities must have as many rows, received {len(labels)} and {len(p)}")
    return p, labels


def _labels(name: str, given: ArrayLike, classes: int) -> Integers:
    labels = np.asarray(given)
    if labels.ndim != 1:
        raise ShapeError(f"{name} must have shape (n,), received {labels.shape}; give class numbers, not one-hot rows")
    _not_empty(labels)
    if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= classes:
        seen = f"{labels.dtype}" if labels.dtype.kind not in "iub" else f"{labels.min()} to {labels.max()}"
        raise DataError(f"{name} must hold the class numbers 0 to {classes - 1} as integers, received {seen}")
    return labels.astype(np.int64)


def _numbers(y: ArrayLike, prediction: ArrayLike) -> tuple[Floats, Floats]:
    y, prediction = np.asarray(y, float), np.asarray(prediction, float)
    _same_shape("y", y, "prediction", prediction)
    if y.ndim not in (1, 2):
        raise ShapeError(f"y must have shape (n,) or (n, outputs), received {y.shape}")
    _not_empty(y)
    if not (np.isfinite(y).all() and np.isfinite(prediction).all()):
        raise DataError("y and prediction must be finite, received NaN or infinity; clean the targets or look for divergence")
    return y, prediction


def _same_shape(name: str, first: NDArray[Any], other_name: str, second: NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise ShapeError(f"{name} and {other_name} must have the same shape, received {first.shape} and {second.shape}")


def _not_empty(y: NDArray[Any]) -> None:
    if not y.size:
        raise DataError("no rows to evaluate; give at least one")


def edit_distance(said: Sequence[Any], true: Sequence[Any]) -> int:
    """The fewest insertions, deletions and replacements that make one sequence of labels the other (Levenshtein 1966).

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(true) + 1))
    for i, label in enumerate(said, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(true, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (label != other))
    return row[-1]


def label_error_rate(said: Sequence[Sequence[Any]], true: Sequence[Sequence[Any]]) -> float:
    """All edit distances together, divided by the number of true labels. Raises DeltaruleError for unequal numbers of rows or no label.

    >>> label_error_rate([(1, 2), (3,)], [(1, 2, 2), (3,)])
    0.25
    """
    if len(said) != len(true):
        raise DeltaruleError(f"label_error_rate expected as many rows said as true, received {len(said)} and {len(true)}")
    count = sum(map(len, true))
    if not count:
        raise DeltaruleError("label_error_rate expected at least one true label, received none")
    return sum(edit_distance(one, two) for one, two in zip(said, true, strict=True)) / count
