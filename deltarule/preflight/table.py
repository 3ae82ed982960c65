"""Checks of the data alone: what is missing, how large the inputs are, what repeats, how the labels are spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.data.audit import Finding
from deltarule.errors import DataError, ShapeError
from deltarule.glass.causes import FAR, TINY, VERY_FAR, column_scales, columns
from deltarule.glass.evidence import listed, percent
from deltarule.preflight.report import Check

FEWEST_ROWS = 10        # below which nothing can be held out
MANY_REPEATS = 0.05     # share of repeated rows from which they flatter a test
SPREAD_TARGET = 10.0    # a target whose mean or spread is beyond this needs scaling: the first outputs are about 1

# What the audit of the data answers: the check, the titles of its findings, and what is said where there are none.
AUDITED = (("constant columns", ("constant columns",), "every column has more than one value"),
           ("equal columns", ("equal columns",), "no two columns are equal"),
           ("target given away", ("a column gives the target away",), "no column alone tells the target"))
CLASSES = ("classes of very different size", "classes with few rows", "classes with few images")


def finite_rows(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Check]:
    """A mask (n,) of the rows of x (n, ...) and y (n, ...) that hold numbers only, and the check that says how many do not.

    Raises ShapeError for x and y of different length, DataError where fewer than 10 rows are left.
    """
    if x.ndim < 2 or y.ndim < 1 or len(x) != len(y):
        raise ShapeError(f"check expected x (n, ...) and y (n, ...) of the same length, received {x.shape} and {y.shape}")
    gaps, lost = ~np.isfinite(x.reshape(len(x), -1)), ~np.isfinite(y.reshape(len(y), -1)).all(axis=1)
    good = ~(gaps.any(axis=1) | lost)
    if good.sum() < FEWEST_ROWS:
        raise DataError(f"check expected at least {FEWEST_ROWS} rows of finite numbers, received {good.sum()}; "
                        "fill what is missing, or add rows")
    if good.all():
        return good, Check("ok", "missing values", "none: every number is finite")
    columns = np.flatnonzero(gaps.any(axis=0))
    where = f" in column {listed(columns)}" if columns.size else ""
    targets = f", {lost.sum():,} targets" if lost.any() else ""
    return good, Check("problem", "missing values",
                       f"{gaps.sum():,} inputs{where}{targets} not finite; {(~good).sum():,} of {len(x):,} rows were left out here",
                       "remove these rows, or fill them: dr.data.Preprocessor does, and dr.Model.train with it")


def gaps_of_table(data: Any) -> Check:
    """The check of missing values of a data set whose preprocessing fills them."""
    counts = {name: count for name, count in zip(data.x.columns, data.x.null_count().row(0), strict=True) if count} if data.is_table else {}
    if not counts:
        return Check("ok", "missing values", "none")
    most = max(counts.values()) / len(data)
    text = listed(f"{name!r} ({count:,})" for name, count in counts.items())
    return Check("warning" if most > 0.5 else "note", "missing values", f"{sum(counts.values()):,} in the columns {text}",
                 "nothing: preprocessing fills them and adds a flag" if most <= 0.5 else "leave out columns that are mostly empty (--drop)")


def input_scale(x: np.ndarray) -> Check:
    """Range of the inputs x (n, ...), and whether mean and spread of every column are near 0 and 1."""
    mean, spread = column_scales(x)
    size = np.maximum(np.abs(mean), spread)
    worst, large = int(size.argmax()), np.flatnonzero(size > FAR)
    evidence = (f"from {x.min():.3g} to {x.max():.3g}; the largest mean of a column is {np.abs(mean).max():.3g}, "
                f"the largest spread {spread.max():.3g}")
    if large.size:
        return Check("problem" if size[worst] > VERY_FAR else "warning", "input scale",
                     f"{evidence}; beyond {FAR:g}: {columns(large, x)}",
                     "standardize with dr.data.Preprocessor, or divide by the largest value (255 for images of bytes)")
    if size[worst] < TINY:
        return Check("warning", "input scale", evidence, "standardize with dr.data.Preprocessor: the first weights suit inputs of spread 1")
    return Check("ok", "input scale", evidence)


def repeated_rows(x: np.ndarray, y: np.ndarray) -> Check:
    """Rows of x (n, ...) that stand there twice, and how many of them with different targets y (n, ...)."""
    _, group, counts = np.unique(x.reshape(len(x), -1), axis=0, return_inverse=True, return_counts=True)
    repeats = len(x) - len(counts)
    if not repeats:
        return Check("ok", "repeated rows", "none")
    answers = np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)[1].reshape(-1)
    pairs = np.unique(np.stack([group.reshape(-1), answers]), axis=1)      # (group, answer) that occur
    unsure = np.bincount(pairs[0], minlength=len(counts)) > 1
    conflicting = int(counts[unsure].sum())
    evidence = f"{repeats:,} of {len(x):,} rows repeat another"
    if conflicting:
        return Check("warning", "repeated rows", f"{evidence}; {conflicting:,} equal rows have different targets",
                     "no network can tell them apart: look for the column that is missing, or for wrong labels")
    return Check("warning" if repeats > MANY_REPEATS * len(x) else "note", "repeated rows", evidence,
                 "remove repeats before splitting, else the test flatters the network")


def audited(findings: Sequence[Finding], of_columns: bool = True) -> list[Check]:
    """The findings of the data's audit as checks, and an "ok" for each question about columns that had no finding."""
    checks = [_told(what, [finding for finding in findings if finding.title in titles]) or Check("ok", what, nothing)
              for what, titles, nothing in (AUDITED if of_columns else ())]
    known = {title for _, titles, _ in AUDITED for title in titles} | set(CLASSES)
    others = [finding for finding in findings if finding.title not in known]
    return checks + [Check(finding.level, finding.title, finding.evidence, finding.remedy) for finding in others]


def label_balance(labels: np.ndarray, classes: int, findings: Sequence[Finding]) -> Check:
    """Shares of the classes of labels (n,)."""
    counts = np.bincount(labels, minlength=classes)
    if np.count_nonzero(counts) < 2:
        return Check("problem", "label balance", f"all {len(labels):,} rows are of class {labels[0]}",
                     "there is nothing to learn: look at y")
    told = _told("label balance", [finding for finding in findings if finding.title in CLASSES])
    shares = counts / len(labels)
    return told or Check("ok", "label balance", f"{classes} classes of {percent(shares.min())} to {percent(shares.max())} of the rows")


def target_scale(y: np.ndarray) -> Check:
    """Mean and spread of numbers y (n, K) that are to be predicted."""
    mean, spread = column_scales(y.reshape(len(y), -1))
    evidence = f"targets from {y.min():.3g} to {y.max():.3g}, mean {mean[0]:.3g}, spread {spread[0]:.3g}"
    if not spread.any():
        return Check("problem", "target scale", evidence, "there is nothing to learn: look at y")
    far = max(np.abs(mean).max(), spread.max()) > SPREAD_TARGET or spread.max() < 1 / SPREAD_TARGET
    if far:
        return Check("warning", "target scale", evidence, "standardize it (dr.data.TargetScaler), or use dr.Regressor, which does")
    return Check("ok", "target scale", evidence)


def _told(what: str, findings: Sequence[Finding]) -> Check | None:
    """Findings of one question as one check, the gravest verdict first."""
    if not findings:
        return None
    level = "warning" if any(finding.level == "warning" for finding in findings) else "note"
    return Check(level, what, "; ".join(finding.evidence for finding in findings), findings[0].remedy)
