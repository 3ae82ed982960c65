"""The doctor: looks a network over, with the rows it works on, and says what is wrong, how it knows, and what to do.

Every rule is a small function over the same evidence. "Serious" is only what keeps a network from learning: where the loss is far below
that of a constant answer, most of what looks unhealthy is a warning or a note. The network is never changed.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass import causes, symptoms
from deltarule.glass.evidence import Evidence, Rates
from deltarule.glass.findings import Finding, Findings
from deltarule.glass.trace import Trace
from deltarule.glass.trial import Trial, constant_loss, of_any_rate, rate_of, take_steps, trial_orders
from deltarule.layers.scope import Tree
from deltarule.optimizers import Adam
from deltarule.training.epochs import Rows, Watched
from deltarule.training.history import History
from deltarule.training.step import Learner

MOST_ROWS = 2000    # looked at; more are sampled
STEPS = 20          # of a trial
BATCH = 32          # of a trial of a network without a recipe
PLANNED = 1000      # steps that a whole training has at least

RULES: dict[str, Callable[[Evidence], Iterator[Finding]]] = {
    "saturated units": symptoms.saturated_units, "outputs stuck at the wrong end": symptoms.saturated_and_wrong,
    "dead units": symptoms.dead_units, "vanishing or exploding deltas": symptoms.deltas_by_depth,
    "errors that vanish or explode through time": symptoms.errors_through_time,
    "units that are all the same": symptoms.equal_units, "size of the steps": symptoms.size_of_steps,
    "learning rate": causes.learning_rate, "unscaled inputs": causes.unscaled_inputs, "class imbalance": causes.class_imbalance,
    "nothing learnt": causes.nothing_learnt, "overfitting": causes.overfitting, "collapsed predictions": causes.collapsed_predictions,
    "a loss that does not fit the output": causes.unfitting_loss,
}


@dataclass(frozen=True)
class Patient:
    """What a network hands over: how it learns, its arrays, training rows and validation rows (checked), and its past.

    `recipe` is the recipe of the last training, empty where there was none; `activation` is that of the output.
    """

    learner: Learner
    params: Tree
    state: Tree
    rows: Rows
    held: Rows | None
    trace: Trace
    activation: str | None
    recipe: dict[str, Any]
    epochs: int
    history: History | None
    seed: int


def examine(patient: Patient, learning_rate: float | None = None) -> Findings:
    """All findings of all rules. Raises DeltaruleError for a learning rate that is none."""
    if learning_rate is not None and not (isinstance(learning_rate, (int, float)) and math.isfinite(learning_rate) and learning_rate > 0):
        raise DeltaruleError(f"learning_rate expected a finite number above 0, received {learning_rate!r}")
    with np.errstate(all="ignore"):     # a sick network may overflow
        broken = Evidence(patient.trace, patient.rows.x, patient.rows.y, patient.learner.loss, patient.activation, patient.epochs)
        found = list(symptoms.not_finite(broken))
        if found:
            return Findings(found, _in_words(patient, broken), ("values that are not finite",))
        seen = gather(patient, learning_rate)
        found = [finding for rule in RULES.values() for finding in rule(seen)]
    names = [name for name in RULES if seen.rates is not None or name not in ("learning rate", "size of the steps")]
    return Findings(found, _in_words(patient, seen), names)


def gather(patient: Patient, learning_rate: float | None) -> Evidence:
    """The evidence: the loss of a constant answer, that of the validation rows, and trials at several rates."""
    rows, recipe = patient.rows, patient.recipe
    rate = learning_rate or (rate_of(patient.learner.optimizer) if recipe else rate_of(Adam()))
    batch = recipe.get("batch_size", BATCH)
    planned = max(PLANNED, recipe.get("epochs", 0) * -(-recipe.get("rows", 0) // batch))
    orders = trial_orders(np.arange(len(rows.x)), batch, STEPS, patient.seed)
    learner, watched = of_any_rate(patient.learner), _both(rows, patient.held, patient.learner.dtype)

    def tried(steps: int, rate: float) -> Trial:
        return take_steps(learner, patient.params, patient.state, rows, watched, orders, steps, rate, patient.seed)

    rates = None
    if rate is not None:
        once = tried(STEPS, rate)
        others = (0.1, 10.0, 100.0, 1e3, 1e4) if once.loss < patient.trace.loss else (0.1, 0.01, 1e-3, 1e-4)
        losses = {1.0: once.loss} | {factor: tried(STEPS, factor * rate).loss for factor in others}
        rates = Rates(rate, STEPS, planned, losses, once.movement)
    held = None if patient.held is None else float(tried(0, 1.0).measured[1, 0])
    return Evidence(patient.trace, rows.x, rows.y, patient.learner.loss, patient.activation, patient.epochs,
                    constant_loss(patient.learner.loss, rows.y), held, rates, patient.history)


def some_rows(n: int, seed: int) -> np.ndarray:
    """Numbers of the rows that are looked at: all, or 2,000 of them chosen by the seed.

    >>> len(some_rows(60_000, seed=0))
    2000
    """
    return np.arange(n) if n <= MOST_ROWS else np.sort(np.random.default_rng(seed).choice(n, MOST_ROWS, replace=False))


def _both(rows: Rows, held: Rows | None, dtype: str) -> Watched:
    """The rows on which trials are measured: those of the trace, and the validation rows."""
    n = len(rows.x)
    if held is None:
        return Watched(rows.x, rows.y, np.full((1, n), 1 / n, dtype))
    shares = np.zeros((2, n + len(held.x)), dtype)
    shares[0, :n], shares[1, n:] = 1 / n, 1 / len(held.x)
    return Watched(np.concatenate([rows.x, held.x.astype(rows.x.dtype)]), np.concatenate([rows.y, held.y]), shares)


def _in_words(patient: Patient, seen: Evidence) -> str:
    trained = f"trained for {patient.epochs} epochs" if patient.epochs else "not trained yet"
    beside = "" if seen.constant is None else f" (the best constant answer has {seen.constant:.3g})"
    held = "" if seen.held is None else f", {seen.held:.3g} on {len(patient.held.x):,} validation rows"     # type: ignore[union-attr]
    return f"{len(seen.x):,} rows, {trained}, loss {seen.trace.loss:.3g}{beside}{held}"
