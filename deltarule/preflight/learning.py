"""Checks that learn a little: the loss at the start, learning rates, one batch, labels shuffled, the baseline to beat.

All of them are trials of a few hundred steps on the same rows, run by one compiled program; the network stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from typing import Any

import numpy as np

from deltarule.glass.trial import Trial, constant_loss, of_any_rate, rate_of, take_steps, trial_orders
from deltarule.layers.scope import Tree
from deltarule.losses import AbsoluteError, BinaryCrossEntropy, CrossEntropy, Loss
from deltarule.preflight.report import Check
from deltarule.training.epochs import Rows, Watched
from deltarule.training.step import Learner

BATCH, STEPS, SWEEP_STEPS = 32, 200, 60
RATES = tuple(float(f"{10.0 ** (k / 2):.1g}") for k in range(-10, 3))     # 1e-5, 3e-5, 1e-4 ... 10
# At the start a classifier should be as unsure as ln K says; He's weights make it somewhat surer, and wrong. Above twice, or below
# half, something is: inputs, weights, or labels. Numbers start at their variance plus that of the first outputs, about 1 to 3.
UNSURE, SCATTER = 2.0, 5.0
REACHED, STAYED = 0.1, 0.9      # of the loss of a constant answer on one batch
SLOW, UNSTEADY, NEARLY = 0.1, 0.5, 0.9      # of the best rate's fall of the loss: what a usable lower, a usable higher, a good rate reach
CLEARLY = 0.95                  # of the best shuffled control's loss on held-out rows
SHUFFLES = 3
FEWEST_HELD = 5


@dataclasses.dataclass(frozen=True)
class Laboratory:
    """What the trials have in common: rows x (n, ...), y as the loss takes it, which of them train and which are held out.

    `labels` (n,) are class numbers, None for numbers. `learner` measures accuracy or squared error beside the loss.
    """

    learner: Learner
    params: Tree
    state: Tree
    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray | None
    train: np.ndarray
    held: np.ndarray
    seed: int

    def run(self, steps: int, rate: float, y: np.ndarray | None = None, rows: np.ndarray | None = None) -> Trial:
        """A trial on these rows (default: the training rows) with these targets; measured on them, and on the held-out rows."""
        rows, y = self.train if rows is None else rows, self.y if y is None else y
        shares = np.zeros((2, len(self.x)), self.learner.dtype)
        shares[0, rows], shares[1, self.held] = 1 / len(rows), 1 / len(self.held)
        orders = trial_orders(rows, BATCH, STEPS, self.seed)
        orders = np.pad(orders, ((0, 0), (0, min(BATCH, len(self.train)) - orders.shape[1])), mode="wrap")    # always of one shape
        learner, watched = of_any_rate(self.learner), Watched(self.x, self.y, shares)
        return take_steps(learner, self.params, self.state, Rows(self.x, y, None), watched, orders, steps, rate, self.seed)

    @functools.cached_property
    def start(self) -> float:
        """The loss before the first step."""
        return self.run(0, 1.0).loss

    @functools.cached_property
    def sweep(self) -> dict[float, float]:
        """The loss on the training rows after a few steps, by learning rate."""
        return {rate: self.run(SWEEP_STEPS, rate).loss for rate in RATES}

    @functools.cached_property
    def rates(self) -> tuple[float, float, float] | None:
        """The lowest usable rate, the highest, and the one to begin with; None where none lowers the loss.

        Usable are those next to the best that lower the loss a tenth as far (below it) or half as far (above it). The suggestion is
        the lowest that comes within a tenth of the best, and never the best itself: a step further the loss may rise.
        """
        falls = [self.start - loss if np.isfinite(loss) else -np.inf for loss in self.sweep.values()]
        best = int(np.argmax(falls))
        if not falls[best] > 0:
            return None
        low = high = best
        while low > 0 and falls[low - 1] >= SLOW * falls[best]:
            low -= 1
        while high < len(RATES) - 1 and falls[high + 1] >= UNSTEADY * falls[best]:
            high += 1
        nearly = next(k for k in range(low, best + 1) if falls[k] >= NEARLY * falls[best])
        return RATES[low], RATES[high], RATES[max(min(nearly, best - 1), low)]

    @functools.cached_property
    def short(self) -> Trial:
        """A short training at the suggested rate."""
        return self.run(STEPS, self.rates[2] if self.rates else 1e-3)


def loss_at_start(lab: Laboratory, outputs: int) -> Check:
    """The loss of the first weights beside that of a network that knows nothing: ln K for K classes."""
    loss, now = lab.learner.loss, lab.start
    expected, what, factor = _unsure(loss, lab.y, outputs)
    evidence = f"{now:.3g}; {what} is {expected:.3g}, up to {factor:g} times that is usual" if math.isfinite(expected) else f"{now:.3g}"
    if not np.isfinite(now):
        return Check("problem", "loss at the start", f"{now}: it is not finite",
                     "scale the inputs and the targets; start with smaller weights")
    if now > factor * expected:
        return Check("warning", "loss at the start", evidence,
                     "scale the inputs (and a target that is a number), or start with smaller weights")
    if isinstance(loss, (CrossEntropy, BinaryCrossEntropy)) and now < expected / factor:
        return Check("warning", "loss at the start", f"{evidence}, and no less than half",
                     "look at the labels and the first weights: a network that knows nothing cannot be this sure")
    return Check("ok", "loss at the start", evidence)


def usable_rates(lab: Laboratory) -> Check:
    """The range of learning rates that lower the loss within a few steps."""
    name = type(of_any_rate(lab.learner).optimizer).__name__
    if lab.rates is None:
        return Check("problem", "learning rates",
                     f"no rate from {RATES[0]:g} to {RATES[-1]:g} lowers the loss of {lab.start:.3g} in {SWEEP_STEPS} steps of {name}",
                     "the gradient does not reach the weights, or nothing can be learnt: net.doctor(x, y) looks into the layers")
    low, high, suggested = lab.rates
    evidence = (f"{name} is usable from {low:g} to {high:g}; in {SWEEP_STEPS} steps {suggested:g} takes the loss from {lab.start:.3g} "
                f"to {lab.sweep[suggested]:.3g}")
    own = rate_of(lab.learner.optimizer)
    if own is not None and not low <= own <= high:
        return Check("warning", "learning rates", f"{evidence}; {own:g}, which was to be used, is {'above' if own > high else 'below'}",
                     f"begin with {suggested:g}")
    return Check("ok", "learning rates", evidence, f"begin with {suggested:g}")


def one_batch(lab: Laboratory) -> Check:
    """Whether a few rows can be learnt by heart: where not, no amount of data will help."""
    flat = lab.x[lab.train].reshape(len(lab.train), -1)
    different = np.unique(flat, axis=0, return_index=True)[1]       # equal rows may contradict each other
    rows = lab.train[np.random.default_rng(lab.seed).permutation(different)[:BATCH]]
    target = constant_loss(lab.learner.loss, lab.y[rows]) or 0.0
    if not target:
        return Check("note", "one batch", f"{len(rows)} rows with one and the same target say nothing")
    reached = math.inf
    for rate in (lab.rates[2], lab.rates[2] * 3, lab.rates[2] / 3) if lab.rates else (1e-3,):
        if reached > REACHED * target:
            reached = min(reached, np.nan_to_num(lab.run(STEPS, rate, rows=rows).loss, nan=np.inf))
    evidence = f"{len(rows)} rows, {STEPS} steps: the loss comes to {reached:.2g} (a constant answer has {target:.3g})"
    if reached <= REACHED * target:
        return Check("ok", "one batch", f"{evidence}: learnt by heart")
    if reached <= STAYED * target:
        return Check("warning", "one batch", f"{evidence}: learnt in part", "give the network more units or another hidden layer")
    return Check("problem", "one batch", f"{evidence}: not learnt",
                 "a wiring fault is likely: look at the rows of x beside y, and at net.doctor(x, y)")


def shuffled_labels(lab: Laboratory) -> Check:
    """A short training on the true labels beside the same on shuffled ones, both measured on held-out rows."""
    if len(lab.held) < FEWEST_HELD:
        return Check("note", "labels shuffled", f"{len(lab.held)} held-out rows are too few to tell")
    rng, rate = np.random.default_rng(lab.seed), lab.rates[2] if lab.rates else 1e-3
    control = []
    for _ in range(SHUFFLES):
        y = lab.y.copy()
        y[lab.train] = y[rng.permutation(lab.train)]
        control.append(float(lab.run(STEPS, rate, y=y).measured[1, 0]))
    true = float(lab.short.measured[1, 0])
    evidence = (f"loss on {len(lab.held):,} held-out rows {true:.3g} after learning the true labels, "
                f"{min(control):.3g} or more after shuffled ones")
    if true < CLEARLY * min(control):
        return Check("ok", "labels shuffled", evidence)
    return Check("warning", "labels shuffled", f"{evidence}: no better",
                 "see that x and y are in the same order; else the columns may not tell the target")


def baseline(lab: Laboratory) -> tuple[Check, dict[str, float]]:
    """What no network and a linear model reach on the held-out rows, and this network after a short training; also as numbers."""
    x = lab.x.reshape(len(lab.x), -1).astype(float)
    mean, spread = x[lab.train].mean(axis=0), x[lab.train].std(axis=0)
    x = (x - mean[None]) / np.where(spread > 0, spread, 1.0)[None]
    unit, better, form = ("accuracy", 1, ".1%") if lab.labels is not None else ("squared error", -1, ".3g")
    scores = _accuracies(lab, x) if lab.labels is not None else _squared_errors(lab, x)
    (simplest, nothing), (linear, line) = scores.items()
    own = float(lab.short.measured[1, 1]) if lab.learner.metrics else math.nan
    if math.isfinite(own):
        scores[f"this network after {STEPS} steps"] = own
    evidence = f"{unit} on {len(lab.held):,} held-out rows: " + ", ".join(f"{name} {value:{form}}" for name, value in scores.items())
    if better * own < better * nothing:
        check = Check("warning", "baseline to beat", evidence, f"train longer; what does not beat the {simplest} has learnt nothing")
    elif better * own <= better * line:
        check = Check("note", "baseline to beat", evidence, f"beat the {linear}, or use it: it is simpler")
    else:
        check = Check("ok", "baseline to beat", evidence)
    return check, scores


def rows_per_parameter(rows: int, parameters: int) -> Check:
    """How many rows there are for each learnt number."""
    evidence = f"{rows:,} rows for {parameters:,} parameters: {rows / max(parameters, 1):.2g} for each"
    if rows >= parameters:
        return Check("ok", "rows per parameter", evidence)
    return Check("note", "rows per parameter", evidence, "hold rows out (validation=0.2), which keeps the best epoch; dropout or l2 help")


def _accuracies(lab: Laboratory, x: np.ndarray) -> dict[str, float]:
    """Accuracy on held-out rows of the commonest class and of logistic regression."""
    from sklearn.linear_model import LogisticRegression

    y: Any = lab.labels
    commonest = np.bincount(y[lab.train]).argmax()
    majority = float(np.mean(y[lab.held] == commonest))
    if len(np.unique(y[lab.train])) < 2:
        return {"majority": majority, "logistic regression": majority}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # that it might still improve a little
        linear = LogisticRegression(max_iter=200).fit(x[lab.train], y[lab.train])
    return {"majority": majority, "logistic regression": float(linear.score(x[lab.held], y[lab.held]))}


def _squared_errors(lab: Laboratory, x: np.ndarray) -> dict[str, float]:
    """Mean squared error on held-out rows of the mean and of ridge regression."""
    from sklearn.linear_model import Ridge

    y = lab.y.reshape(len(lab.y), -1).astype(float)
    predicted = Ridge().fit(x[lab.train], y[lab.train]).predict(x[lab.held]).reshape(y[lab.held].shape)
    return {"mean": float(np.mean((y[lab.held] - y[lab.train].mean(axis=0)[None]) ** 2)),
            "ridge regression": float(np.mean((y[lab.held] - predicted) ** 2))}


def _unsure(loss: Loss, y: np.ndarray, outputs: int) -> tuple[float, str, float]:
    """The loss of knowing nothing, its name, and how many times that is still usual."""
    if isinstance(loss, CrossEntropy):
        return float(np.log(outputs)), f"ln {outputs}", UNSURE
    if isinstance(loss, BinaryCrossEntropy):
        return outputs * float(np.log(2)), "ln 2" if outputs == 1 else f"{outputs} ln 2", UNSURE
    name = "the mean distance from the median" if isinstance(loss, AbsoluteError) else "the variance of the targets"
    return constant_loss(loss, y) or math.inf, name, SCATTER
