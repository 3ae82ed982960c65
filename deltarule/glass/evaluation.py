"""Figures of a trained network's answers: which are right, how sure it is, and how far off it is.

Every function takes plain arrays and returns a matplotlib figure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule import metrics
from deltarule.glass.style import BLUE, ORANGE, figure

MOST_POINTS = 1000      # of a scatter plot; more only make the file large
GREY = "0.5"


def confusion_figure(table: ArrayLike, names: Sequence[str]) -> Any:
    """The confusion table (K, K) as an image: rows true, columns predicted, coloured by the share of the row.

    >>> confusion_figure([[5, 1], [0, 4]], ["no", "yes"]).axes[0].get_xlabel()
    'predicted'
    """
    counts = np.asarray(table)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(3.0, 0.38 * len(counts))
    fig, (ax,) = figure(width=size + 1.0, height=size)
    ax.grid(visible=False)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        ax.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.5 else "black")
    ax.set_xticks(range(len(counts)), [plain(name) for name in names], rotation=45 if max(map(len, names)) > 3 else 0)
    ax.set_yticks(range(len(counts)), [plain(name) for name in names])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return fig


def roc_figure(y: ArrayLike, probabilities: ArrayLike, names: Sequence[str]) -> Any:
    """True-positive against false-positive rate as the threshold falls. `y` (n,) class numbers, `probabilities` (n, K).

    For two classes the curve of the second; for more, of all classes pooled and of the one that is told apart worst. A class that
    does not occur in y has no curve.
    """
    fig, ax = _square("false-positive rate", "true-positive rate")
    for label, true, score, colour in _one_against_rest(y, probabilities, names, metrics.roc_auc):
        false_rate, true_rate, _ = metrics.roc_curve(true, score)
        ax.plot(*_thin(false_rate, true_rate), color=colour, label=f"{label}: area {metrics.roc_auc(true, score):.3f}")
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    ax.legend(frameon=False, loc="lower right", fontsize=9)
    return fig


def precision_recall_figure(y: ArrayLike, probabilities: ArrayLike, names: Sequence[str]) -> Any:
    """Precision against recall as the threshold falls, for the same classes as in `roc_figure`."""
    fig, ax = _square("recall", "precision")
    for label, true, score, colour in _one_against_rest(y, probabilities, names, metrics.average_precision):
        precision, recall, _ = metrics.precision_recall_curve(true, score)
        ax.plot(*_thin(recall[::-1], precision[::-1]), drawstyle="steps-pre", color=colour,
                label=f"{label}: area {metrics.average_precision(true, score):.3f}")
    ax.legend(frameon=False, loc="lower left", fontsize=9)
    return fig


def calibration_figure(y: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Any:
    """Whether of the answers given with 80 % about 80 % are right: accuracy against the probability of the answer, in `bins` bins."""
    p, truth = np.asarray(probabilities, float), np.asarray(y)
    right = (p.argmax(axis=1) == truth).astype(int)
    sure, observed, rows = metrics.calibration_curve(right, np.clip(p.max(axis=1), 0, 1), bins)
    fig, ax = _square("probability of the answer", "share of right answers")
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    ax.plot(sure, observed, color=BLUE, linewidth=1)
    ax.scatter(sure, observed, s=15 + 120 * rows / rows.max(), color=BLUE, alpha=0.8, linewidths=0, clip_on=False)
    return fig


def predicted_figure(y: ArrayLike, prediction: ArrayLike, target: str = "target") -> Any:
    """Predicted against true numbers (n,); on the dotted line they are equal."""
    true, guess = _sample(y, prediction)
    fig, (ax,) = figure()
    ends = [min(true.min(), guess.min()), max(true.max(), guess.max())]
    ax.plot(ends, ends, color=GREY, linestyle=":", linewidth=1)
    ax.scatter(true, guess, s=12, color=BLUE, alpha=0.6, linewidths=0)
    ax.set_xlabel(f"true {plain(target)}")
    ax.set_ylabel(f"predicted {plain(target)}")
    return fig


def residual_figure(y: ArrayLike, prediction: ArrayLike, target: str = "target") -> Any:
    """Residuals, true minus predicted, against the prediction (n,): a pattern here is something the network has not learnt."""
    true, guess = _sample(y, prediction)
    fig, (ax,) = figure()
    ax.axhline(0, color=GREY, linestyle=":", linewidth=1)
    ax.scatter(guess, true - guess, s=12, color=ORANGE, alpha=0.7, linewidths=0)
    ax.set_xlabel(f"predicted {plain(target)}")
    ax.set_ylabel("true - predicted")
    return fig


def plain(name: str, most: int = 24) -> str:
    """A name as matplotlib shows it literally: one line, not too long, dollar signs not taken for formulas.

    >>> plain("price in $")
    'price in \\\\$'
    """
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return (text if len(text) <= most else text[:most - 1] + "…").replace("$", r"\$")


def _square(x: str, y: str) -> tuple[Any, Any]:
    fig, (ax,) = figure()
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return fig, ax


def _one_against_rest(y: ArrayLike, probabilities: ArrayLike, names: Sequence[str],
                      area: Any) -> list[tuple[str, np.ndarray, np.ndarray, str]]:
    """(label, true 0 or 1, score, colour) of the curves to draw."""
    p = np.asarray(probabilities, float)
    truth = np.eye(p.shape[1], dtype=int)[np.asarray(y)]                # (n, K)
    if p.shape[1] == 2:
        return [(plain(names[1]), truth[:, 1], p[:, 1], BLUE)] if 0 < truth[:, 1].sum() < len(truth) else []
    present = [k for k in range(p.shape[1]) if 0 < truth[:, k].sum() < len(truth)]
    pooled = ("all classes", truth.ravel(), p.ravel(), BLUE)
    if not present:
        return [pooled]
    worst = min(present, key=lambda k: area(truth[:, k], p[:, k]))
    if area(truth[:, worst], p[:, worst]) > 0.9995:      # shown as 1.000: nothing is worst
        return [pooled]
    return [pooled, (f"worst class, {plain(names[worst])}", truth[:, worst], p[:, worst], ORANGE)]


def _thin(x: np.ndarray, y: np.ndarray, most: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of a curve, its ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).astype(int))
    return x[kept], y[kept]


def _sample(y: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, of many rows a thousand drawn evenly."""
    true, guess = np.asarray(y, float).ravel(), np.asarray(prediction, float).ravel()
    return _thin(true, guess, MOST_POINTS)
