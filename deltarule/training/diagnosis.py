"""When a number stops being finite: which layer, which quantity, which row, and why most likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DivergenceError
from deltarule.layers.forward import forward
from deltarule.layers.scope import Array, Tree, flatten
from deltarule.lazy import Lazy
from deltarule.training.epochs import Standing, key_of
from deltarule.training.step import Batch, Learner, augmented, objective

if TYPE_CHECKING:
    import optax
else:
    optax = Lazy("optax")

HUGE_INPUT, HUGE_WEIGHT = 1e3, 1e3


def diverged(learner: Learner, good: Standing, batch: Batch, which: np.ndarray, bad: int, seed: Array) -> DivergenceError:
    """The error for the step after `good`, whose batch broke: its quantities are worked out again one layer after the other.

    `which` (batch,) are the numbers of the batch's rows in the training data, `bad` the number of the step in its epoch (from 0).
    """
    key = key_of(learner, seed, good.epoch, bad)
    batch = augmented(learner, batch, key)
    layer, quantity, position = _first_broken(learner, good, batch, key)
    row = None if position is None else int(which[position])
    cause = _likely_cause(learner, good.params, batch)
    report: dict[str, Any] = {"epoch": int(good.epoch) + 1, "step": bad + 1, "layer": layer, "quantity": quantity,
                              "row": row, "cause": cause}
    where = f"{quantity} of {layer}" if layer else quantity
    at_row = "" if row is None else f", row {row} of the training data"
    return DivergenceError(f"training met a number that is not finite in epoch {report['epoch']}, step {report['step']}: {where}{at_row}; "
                           f"likely cause: {cause}; the last good weights were restored", report)


def _first_broken(learner: Learner, good: Standing, batch: Batch, key: Array | None) -> tuple[str, str, int | None]:
    """(layer, quantity, position in the batch) of the first value that is not finite, in the order in which they are worked out."""
    taps: dict[str, Array] = {}
    output, _ = forward(learner.layer, good.params, good.state, batch.x, dtype=learner.dtype, key=key, training=True,
                        counted=batch.counted, taps=taps)
    for path, value in taps.items():
        layer, _, quantity = path.rpartition("/")
        position = _first_bad_row(value)
        if position is not None:
            return layer, quantity, position
    position = _first_bad_row(learner.loss.rows(output, batch.y))
    if position is not None:
        return "", "loss", position
    gradient, _ = jax.grad(lambda theta: objective(learner, theta, good.state, batch, key), has_aux=True)(good.params)
    broken = _first_bad_path(gradient)
    if broken:
        return broken[0], f"gradient of {broken[1]}", None
    update, _ = learner.transform().update(gradient, good.memory, good.params, value=jnp.asarray(0, learner.dtype), grad=gradient,
                                           value_fn=lambda theta: objective(learner, theta, good.state, batch, key)[0])
    after = optax.apply_updates(good.params, update)
    broken = _first_bad_path(after)
    if broken:
        return broken[0], f"updated {broken[1]}", None
    return "", "loss after the update", None


def _first_bad_row(value: Array) -> int | None:
    rows = np.asarray(value).reshape(value.shape[0], -1)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    return int(bad[0]) if bad.size else None


def _first_bad_path(tree: Tree) -> tuple[str, str] | None:
    for path, value in flatten(tree).items():
        if not np.isfinite(np.asarray(value)).all():
            layer, _, name = path.rpartition("/")
            return layer, name
    return None


def _likely_cause(learner: Learner, params: Tree, batch: Batch) -> str:
    largest_input = float(jnp.max(jnp.abs(batch.x)))
    largest_target = float(jnp.max(jnp.abs(batch.y)))
    largest_weight = max((float(jnp.max(jnp.abs(W))) for W in jax.tree.leaves(params) if W.size), default=0.0)
    if largest_input > HUGE_INPUT:
        return f"inputs as large as {largest_input:.3g}; standardize them (mean 0, spread 1)"
    if largest_target > HUGE_INPUT:
        return f"targets as large as {largest_target:.3g}; standardize them (mean 0, spread 1)"
    if largest_weight > HUGE_WEIGHT:
        return f"weights have grown to {largest_weight:.3g}: the learning rate is too high; divide it by 10"
    return "the learning rate is too high for this loss; divide it by 10, or clip the gradient (clip_norm=1.0)"
