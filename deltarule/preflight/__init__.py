"""The check before training: in seconds, whether the data, the network and the loss are such that training can work."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from deltarule.arguments import pair
from deltarule.data.arrays import as_array
from deltarule.data.audit import Finding, audit
from deltarule.data.dataset import Dataset
from deltarule.layers.scope import Tree, draw
from deltarule.losses import BinaryCrossEntropy, CrossEntropy, Loss, name_of
from deltarule.losses import loss as resolve_loss
from deltarule.network import LITTLE_WORK, Network
from deltarule.optimizers import optimizer as resolve_optimizer
from deltarule.preflight import learning, table
from deltarule.preflight.report import Check as Check
from deltarule.preflight.report import Checks as Checks
from deltarule.training import prepare
from deltarule.training.step import Learner

MOST_ROWS = 2000        # looked at; more are sampled
HELD_OUT = 0.2
REPEATED = "test rows that were trained on"
TRIALS = 20             # about so many short trainings, to judge whether compiling thoroughly pays


def check(net: Network, x: Any, y: Any = None, *, loss: str | Loss = "auto", optimizer: Any = "adam") -> Checks:
    """Whether training this network on rows x (n, *input_shape) and targets y can work: a table of verdicts; print it.

    Looked at are the data (what is missing, input scale, constant, equal and telling columns, repeated rows, label balance), the loss at
    the start, the usable learning rates of the optimizer, whether one batch can be learnt by heart, whether true labels beat shuffled
    ones on held-out rows, and the baseline to beat. At most 2,000 rows are used, chosen by the network's seed, and its first weights
    (also where it is trained already); the network stays as it is. Raises ShapeError, DataError or DeltaruleError as `fit` does, but
    rows that are not finite are reported and left out.

    >>> import deltarule as dr
    >>> iris = dr.data.iris()
    >>> checks = check(dr.Network([dr.Dense(7, "tanh"), dr.Dense(3, "softmax")], 4), (iris.x - iris.x.mean(0)) / iris.x.std(0), iris.y)
    >>> checks.ok, checks["one batch"].verdict, checks["label balance"].evidence
    (True, 'ok', '3 classes of 33% to 33% of the rows')
    """
    x, y = pair(x, y)
    x, y = as_array(x), as_array(y, "y")
    good, missing = table.finite_rows(x, y)
    return examine(net, x[good], y[good], resolve_loss(loss, net.output.activation), optimizer, missing)


def examine(net: Network, x: Any, y: Any, loss: Loss, optimizer: Any, missing: Check, findings: Sequence[Finding] | None = None,
            of_columns: bool = True) -> Checks:
    """The checks on finite rows. `findings` are those of an audit of the raw data, where there was one, also `of_columns` or not."""
    if isinstance(loss, CrossEntropy):
        loss = CrossEntropy()       # without smoothing, so that zero can be reached
    x = prepare.inputs(x, net.input_shape, net.dtype, parts=net.parts)
    y = prepare.targets(y, loss, net.output, len(x), net.dtype)
    total = len(x)
    if total > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(net.seed).choice(total, MOST_ROWS, replace=False))
        x, y = x[chosen], y[chosen]
    labels, classes = _labels(loss, net, y)
    train, held = prepare.held_out(HELD_OUT, x, y if labels is None else labels, net.seed)
    if findings is None:
        parts = (_dataset(x, y, labels, classes).subset(rows) for rows in (train, held))
        findings = [finding for finding in audit(*parts) if finding.title != REPEATED]      # of that there is a check of its own
    of_target = table.target_scale(y) if labels is None else table.label_balance(labels, classes, findings)
    checks = [missing, table.input_scale(x), *table.audited(findings, of_columns), table.repeated_rows(x, y), of_target]
    numbers: dict[str, Any] = {}
    if of_target.verdict != "problem":      # there is something to learn
        lab = learning.Laboratory(_learner(net, loss, optimizer, y, labels), *_first_weights(net), x, y, labels, train, held, net.seed)
        with jax.enable_x64(net.dtype == "float64"), np.errstate(all="ignore"):
            learnt, numbers = _by_learning(lab, net.output_shape[-1])
        checks += learnt
    checks.append(learning.rows_per_parameter(total, net.summary().parameters))
    sampled = f"{len(x):,} of {total:,} rows" if total > len(x) else f"{total:,} rows"
    name = name_of(loss).replace("_", " ")
    return Checks(checks, f"{sampled}, {len(train):,} to learn from and {len(held):,} held out; loss {name}", numbers)


def _by_learning(lab: learning.Laboratory, outputs: int) -> tuple[list[Check], dict[str, Any]]:
    checks = [learning.loss_at_start(lab, outputs), learning.usable_rates(lab), learning.one_batch(lab), learning.shuffled_labels(lab)]
    numbers: dict[str, Any] = {"loss_at_start": lab.start if np.isfinite(lab.start) else None,
                               "rates": lab.rates and dict(zip(("lowest", "highest", "suggested"), lab.rates, strict=True))}
    if lab.labels is not None or lab.y.dtype.kind == "f":
        compared, numbers["baselines"] = learning.baseline(lab)
        checks.append(compared)
    return checks, numbers


def _labels(loss: Loss, net: Network, y: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Class numbers (n,) and how many classes there are, where every row is of one class."""
    if isinstance(loss, CrossEntropy) and len(net.output_shape) == 1:
        return (y if y.ndim == 1 else y.argmax(axis=1)), net.output_shape[0]
    if isinstance(loss, BinaryCrossEntropy) and net.output_shape == (1,) and np.isin(y, (0, 1)).all():
        return y[:, 0].astype(int), 2
    return None, 0


def _dataset(x: np.ndarray, y: np.ndarray, labels: np.ndarray | None, classes: int) -> Dataset:
    """The rows as a data set, for the audit."""
    target = y.reshape(len(y), -1)[:, 0] if labels is None else labels
    return Dataset(x, target, (), None if labels is None else tuple(map(str, range(classes))), "y", "these rows", "arrays")


def _learner(net: Network, loss: Loss, optimizer: Any, y: np.ndarray, labels: np.ndarray | None) -> Learner:
    metrics = ("accuracy",) if labels is not None else ("squared_error",) if y.shape[1:] == net.output_shape else ()
    work = TRIALS * learning.STEPS * learning.BATCH * net.summary().multiply_adds
    return Learner(net.layer, loss, resolve_optimizer(optimizer), metrics, dtype=net.dtype, random=net.plan.random,
                   quick=work <= LITTLE_WORK)


def _first_weights(net: Network) -> tuple[Tree, Tree]:
    """Parameters and state as they are before training."""
    if not net.epochs_trained:
        return net.params, net.state
    return draw(net.plan.params, net.seed, net.dtype), draw(net.plan.state, net.seed, net.dtype)
