"""What is suspicious in the data, found before a network is trained on it: repeated rows, idle columns, a target given away.

A finding never changes anything: it says what was seen, in numbers, and what to do about it. All rules look at the training
part; the first compares it with the test part.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from deltarule.data.columns import as_texts
from deltarule.data.dataset import Dataset

ROWS_LOOKED_AT = 2000  # when columns are screened; the suspects are then judged on all rows
FEWEST_ROWS = 20  # with fewer rows a column may follow the target by chance
GIVES_AWAY = 0.999  # share of the rows that one column alone predicts rightly
FAR_ABOVE = 0.05  # by how much it must beat the best of the other columns
LINEAR = 0.9999  # correlation with a target that is a number
IMBALANCE = 10.0
FEW_PER_CLASS = 10


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing to know about the data: how grave ("note" or "warning"), what, the numbers that show it, and what to do."""

    level: str
    title: str
    evidence: str
    remedy: str


def audit(train: Dataset, test: Dataset) -> tuple[Finding, ...]:
    """The findings on a data set divided into `train` and `test`, warnings first; empty where nothing is suspicious.

    Looked for are rows of the test part that also stand in the training part, a column that gives the target away, classes that are
    rare, columns that are constant and columns that are equal.

    >>> import dataclasses
    >>> import deltarule.data as data
    >>> train, test = data.wine().split()
    >>> audit(train, test)
    ()
    >>> told = dataclasses.replace(train, x=np.c_[train.x[:, :-1], train.y])
    >>> audit(told, test)[0].evidence
    "'proline' alone predicts 'class' in 100.0 % of the training rows, the best other column in 85.2 %"
    """
    columns = {} if train.files or train.channels else dict(_numbered_columns(train))     # one pixel of a photo means nothing by itself
    rules = (_repeated_rows(train, test), _given_away(train, columns), _classes(train), _idle_columns(columns))
    return tuple(sorted((finding for rule in rules for finding in rule), key=lambda finding: finding.level != "warning"))


def _repeated_rows(train: Dataset, test: Dataset) -> Iterator[Finding]:
    seen, new = train.x, test.x
    if isinstance(seen, np.ndarray) or isinstance(new, np.ndarray):
        known = set(_row_digests(np.asarray(seen)))
        repeated = sum(digest in known for digest in _row_digests(np.asarray(new)))
    else:
        repeated = new.join(seen.unique(), on=seen.columns, how="semi", nulls_equal=True).height
    if repeated:
        share = repeated / len(test)
        unit, what = train.unit, "values" if train.files else "features"
        yield Finding("warning" if share > 0.05 else "note", f"test {unit}s that were trained on",
                      f"{repeated} of {len(test)} test {unit}s ({100 * share:.1f} %) have exactly the {what} of a training {unit}",
                      f"remove repeated {unit}s, or split by the group they belong to, else the test flatters the network")


def _given_away(train: Dataset, columns: dict[str, np.ndarray]) -> Iterator[Finding]:
    """A column that predicts the target by a rule of one line, far better than the columns beside it.

    Where more than a quarter of the columns can do it, the problem is easy and nothing is given away.
    """
    if len(train) < FEWEST_ROWS or not columns:
        return
    classification = train.problem == "classification"
    score, enough = (_class_score, GIVES_AWAY) if classification else (_linear_score, LINEAR)
    few = np.unique(np.linspace(0, len(train) - 1, ROWS_LOOKED_AT).astype(int))
    scores = {name: score(column[few], train.y[few]) for name, column in columns.items()}
    told = {name: score(columns[name], train.y) for name, value in scores.items() if value >= enough - 0.01}
    told = {name: value for name, value in told.items() if value >= enough}
    blind = float(np.bincount(train.y).max() / len(train)) if classification else 0.0  # always the largest class
    best_other = max([blind, *(value for name, value in scores.items() if name not in told)])
    if len(told) > max(1, len(columns) / 4) or (classification and enough - best_other < FAR_ABOVE):
        return
    for name, value in told.items():
        if classification:
            evidence = (f"{name!r} alone predicts {train.target_name!r} in {100 * value:.1f} % of the training rows, "
                        f"the best other column in {100 * best_other:.1f} %")
        else:
            evidence = f"{name!r} and {train.target_name!r} have the correlation {value:.5f}, the best other column {best_other:.2f}"
        yield Finding("warning", "a column gives the target away", evidence,
                      f"ask when {name!r} becomes known: if only together with the target, leave it out")


def _classes(train: Dataset) -> Iterator[Finding]:
    if train.class_names is None:
        return
    counts = np.bincount(train.y, minlength=len(train.class_names))
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    if counts[largest] > IMBALANCE * counts[smallest]:
        yield Finding("warning", "classes of very different size",
                      f"{counts[largest]} training {train.unit}s of {train.class_names[largest]!r}, {counts[smallest]} of "
                      f"{train.class_names[smallest]!r}",
                      f"judge by precision and recall of each class instead of accuracy; weight the classes or add {train.unit}s")
    rare = [f"{train.class_names[i]!r} ({counts[i]})" for i in np.flatnonzero(counts < FEW_PER_CLASS)]
    if rare:
        yield Finding("warning", f"classes with few {train.unit}s", f"fewer than {FEW_PER_CLASS} training {train.unit}s: {_listed(rare)}",
                      f"expect unsure results for these classes; add {train.unit}s or merge classes")


def _idle_columns(columns: dict[str, np.ndarray]) -> Iterator[Finding]:
    first: dict[bytes, str] = {}
    constant, equal = [], []
    for name, column in columns.items():
        digest = hashlib.blake2b(np.ascontiguousarray(column).data, digest_size=16).digest()
        if (column == column[0]).all():
            constant.append(repr(name))
        elif digest in first:
            equal.append(f"{name!r} = {first[digest]!r}")
        else:
            first[digest] = name
    if constant:
        yield Finding("note", "constant columns", f"{_count(constant, 'column')} with one value only: {_listed(constant)}",
                      "they teach nothing and do no harm; leave them out to make the network smaller")
    if equal:
        yield Finding("note", "equal columns", f"{_count(equal, 'column')} repeated: {_listed(equal)}", "leave one of each pair out")


# ------------------------------------------------------------------------------------------------------------------- helpers

def _class_score(column: np.ndarray, y: np.ndarray) -> float:
    """The share of rows that a rule of one line on one column predicts rightly.

    Two rules are tried: thresholds, one between each pair of neighbouring classes in the order of their means, and, where
    values repeat, the commonest class of each value.
    """
    order = np.argsort(column, kind="stable")
    values, classes = column[order], y[order]
    cuts = np.flatnonzero(values[1:] > values[:-1]) + 1  # a threshold stands between different values only
    starts = np.concatenate([[0], cuts])
    present = np.unique(y)
    by_mean = present[np.argsort([column[y == k].mean() for k in present])]
    rank = np.empty(int(present[-1]) + 1, int)
    rank[by_mean] = np.arange(len(by_mean))
    ranks = rank[classes]
    boundaries = [0]
    for place in range(len(by_mean) - 1):
        below = np.concatenate([[0], np.cumsum(np.where(ranks <= place, 1, -1))])
        boundaries.append(max(boundaries[-1], int(starts[below[starts].argmax()])))
    sides = zip(range(len(by_mean)), boundaries, [*boundaries[1:], len(y)], strict=True)
    score = sum(int((ranks[low:high] == k).sum()) for k, low, high in sides) / len(y)
    if len(starts) <= len(y) / 10:  # values repeat: the commonest class of each
        per_class = np.stack([np.add.reduceat(classes == k, starts) for k in present])
        score = max(score, float(per_class.max(axis=0).sum() / len(y)))
    return score


def _linear_score(column: np.ndarray, y: np.ndarray) -> float:
    """The absolute correlation of a column with a target that is a number; 0 where the column is constant."""
    a, b = (values - values.mean(dtype=np.float64) for values in (column, y))
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(abs(a @ b) / norm) if norm > 0 else 0.0


def _numbered_columns(data: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Each column as finite numbers `(n,)`: text by its place in the alphabet, a gap as a number below all others."""
    if isinstance(data.x, np.ndarray):
        columns = np.ascontiguousarray(data.x.reshape(len(data), -1).T)
        yield from zip(data.feature_names or [f"x{j}" for j in range(len(columns))], columns, strict=True)
        return
    for series in data.x:
        if series.dtype.is_numeric() or series.dtype.is_temporal() or series.dtype.to_python() is bool:
            column = series.to_physical().cast(float).to_numpy()
        else:
            texts = as_texts(series)
            place = {text: i for i, text in enumerate(sorted({text for text in texts if text is not None}))}
            column = np.array([place.get(text, np.nan) for text in texts])
        known = column[~np.isnan(column)]
        yield series.name, np.where(np.isnan(column), (known.min() if len(known) else 0.0) - 1.0, column)


def _row_digests(x: np.ndarray) -> Iterator[bytes]:
    """A fingerprint of each row, equal for equal rows."""
    rows = x.reshape(len(x), -1)
    return (hashlib.blake2b((row + 0).data, digest_size=16).digest() for row in rows)  # minus zero becomes zero


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _count(items: Sequence[str], what: str) -> str:
    return f"{len(items)} {what}{'s' if len(items) > 1 else ''}"
