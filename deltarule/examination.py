"""Examination: how good a trained model is on rows it never saw, beside what no network at all would reach."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule import metrics
from deltarule.model import Model


@dataclass(frozen=True)
class Examination:
    """The result on test rows: true targets `y` (n,), `outputs` (n, classes) or (n,), `scores` of them, and those of the baseline.

    The baseline knows only the training targets: it always answers their commonest class, or their mean. `origin` says which rows,
    `unit` what one is called ("row", "image" or "sequence").
    """

    target: str
    classes: tuple[str, ...] | None
    y: np.ndarray
    outputs: np.ndarray
    scores: dict[str, Any]
    baseline: dict[str, Any]
    origin: str = "never seen in training"
    unit: str = "row"

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy on endless new rows of this kind lies, with 95% confidence."""
        n = len(self.y)
        return wilson(round(self.scores["accuracy"] * n), n)

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        n, scores, base = len(self.y), self.scores, self.baseline
        rows = f"On {n:,} {self.unit}{'' if n == 1 else 's'} {self.origin}"
        if self.classes is None:
            return (f"{rows} the prediction of {self.target} is off by {scores['rmse']:.4g} (root mean square); "
                    f"always answering the mean of the training part, {base['answer']:.4g}, is off by {base['rmse']:.4g}.")
        low, high = self.interval
        return (f"{rows} the network names the right class in {scores['accuracy']:.1%} of cases (95% interval {low:.1%} to {high:.1%}); "
                f"always answering the commonest class, {base['answer']}, is right in {base['accuracy']:.1%}.")

    def to_json(self) -> dict[str, Any]:
        """Scores, baseline and names as plain JSON, without the rows."""
        return {"target": self.target, "classes": self.classes and list(self.classes), **self.scores, "baseline": self.baseline}


def examine(model: Model, x: Any, y: np.ndarray, answer: float | None = None) -> tuple[Examination, list[str]]:
    """The examination of a model on raw inputs x (n, ...) and targets y (n,): class indices, or numbers. Also the notes on the inputs.

    `answer` is what the baseline always answers: a class index or a number (default: the best for y itself).

    >>> import deltarule as dr
    >>> train, test = dr.data.iris().split()
    >>> model, _ = dr.Model.train(train, epochs=30)
    >>> examination, notes = examine(model, test.x, test.y)
    >>> examination.baseline
    {'answer': 'setosa', 'accuracy': 0.333...}
    """
    inputs, notes = model.preprocessor.transform_with_notes(x, model.network.dtype)
    outputs = model.meaning(model.network.predict(inputs))
    target = str(model.about.get("target", "target"))
    unit = {"images": "image" if model.preprocessor.pictures else "row", "sequences": "sequence"}.get(model.preprocessor.form, "row")
    if model.labels is None:
        answer = float(np.mean(y, dtype=np.float64)) if answer is None else float(answer)
        same = metrics.regression_report(y, np.full(y.shape, answer))
        baseline = {"answer": answer, "rmse": same["rmse"], "mae": same["mae"], "r2": same["r2"]}
        return Examination(target, None, y, outputs, metrics.regression_report(y, outputs), baseline, unit=unit), notes
    names = model.labels.names
    commonest = int(np.bincount(y, minlength=len(names)).argmax()) if answer is None else int(answer)
    baseline = {"answer": names[commonest], "accuracy": float(np.mean(y == commonest))}
    return Examination(target, names, y, outputs, metrics.classification_report(y, outputs), baseline, unit=unit), notes


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, `right` of `n` (Wilson 1927): sensible for few rows and for shares near 0 and 1.

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.96.

    >>> [round(bound, 3) for bound in wilson(36, 36)]
    [0.904, 1.0]
    """
    z, p = 1.959964, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))
