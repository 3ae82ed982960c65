"""A trial: a few steps of training on a copy of the weights, to see what a learning rate does to them and to the loss.

The rate is an argument of one compiled program. Every optimizer here moves the weights by the rate times something that does not
depend on it, so a step at rate 1 is taken and its update multiplied.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.layers.scope import Array, Tree, flatten
from deltarule.losses import AbsoluteError, BinaryCrossEntropy, CrossEntropy, Loss, SquaredError
from deltarule.ops.compiling import compiled
from deltarule.ops.noise import step_key
from deltarule.optimizers import Adam, Optimizer
from deltarule.training.epochs import Rows, Watched, measure
from deltarule.training.step import Batch, Learner, step


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a trial left: `measured` (sets, 1 + metrics), loss and metrics of each watched set in predict mode, and for each
    parameter by path its `movement`: the root mean square of a step's update over that of the parameter, averaged over the steps.
    """

    measured: np.ndarray
    movement: dict[str, float]

    @property
    def loss(self) -> float:
        """The loss of the first set."""
        return float(self.measured[0, 0])


def take_steps(learner: Learner, params: Tree, state: Tree, rows: Rows, watched: Watched, orders: np.ndarray, steps: int, rate: float,
               seed: int = 0) -> Trial:
    """The trial of `steps` steps at a learning rate from these weights, which stay as they are.

    `orders` (most steps, batch) names the rows of each batch. `learner` comes from `of_any_rate`. Loss and metrics are
    measured on `watched`; what is not finite is NaN or infinite there.
    """
    dtype = learner.dtype
    measured, moved = _run(learner, params, state, rows, watched, orders.astype(np.int32), np.int32(steps), np.asarray(rate, dtype),
                           np.uint32(seed), quick=learner.quick)
    return Trial(np.asarray(measured), {path: float(value) / max(steps, 1) for path, value in flatten(moved).items()})


def of_any_rate(learner: Learner) -> Learner:
    """The learner as a trial needs it: its optimizer at rate 1, or Adam where the optimizer has no rate of its own."""
    optimizer: Any = learner.optimizer if hasattr(learner.optimizer, "learning_rate") else Adam()
    return dataclasses.replace(learner, optimizer=dataclasses.replace(optimizer, learning_rate=1.0), batch_size=1, steps=1, epochs=1)


def rate_of(optimizer: Optimizer) -> float | None:
    """The learning rate of an optimizer, None where it follows a schedule or has none.

    >>> rate_of(Adam(0.01))
    0.01
    """
    rate = getattr(optimizer, "learning_rate", None)
    return float(rate) if isinstance(rate, (int, float)) else None


def trial_orders(rows: np.ndarray, batch: int, steps: int, seed: int) -> np.ndarray:
    """Row numbers for the batches of a trial (steps, batch), drawn from `rows` in epochs of a new order each.

    >>> trial_orders(np.array([4, 5, 6]), batch=2, steps=2, seed=0).shape
    (2, 2)
    """
    size = min(batch, len(rows))
    rng = np.random.default_rng(seed)
    epochs = [rng.permutation(rows) for _ in range(-(-steps * size // len(rows)))]
    return np.concatenate(epochs)[:steps * size].reshape(steps, size)


def constant_loss(loss: Loss, y: np.ndarray) -> float | None:
    """The mean loss of the best answer that is the same for all rows, which biases alone can reach; None where no formula gives it.

    For cross entropy it is the entropy of the class shares, for squared errors the variance of the targets, for absolute errors
    the mean distance from the median. y as the loss takes it: (n,) class numbers or (n, K).

    >>> round(constant_loss(CrossEntropy(), np.array([0, 1, 2])), 4)        # ln 3
    1.0986
    >>> constant_loss(SquaredError(), np.array([[0.0], [2.0]]))
    1.0
    """
    if isinstance(loss, CrossEntropy):
        shares = np.bincount(y.reshape(-1)) / y.size if y.dtype.kind in "iu" else y.reshape(-1, y.shape[-1]).mean(axis=0)
        return _entropy(shares * np.asarray(loss.class_weights[:len(shares)] or 1.0))
    if isinstance(loss, BinaryCrossEntropy):
        yes = y.reshape(-1, y.shape[-1]).mean(axis=0, dtype=float)
        return _entropy(np.stack([loss.positive_weight * yes, 1 - yes]))
    values = y.reshape(len(y), -1).astype(float)
    if isinstance(loss, SquaredError):
        variances = values.var(axis=0)
        return float(variances.mean() if loss.form == "mean" else variances.sum() * (0.5 if loss.form == "half" else 1.0))
    if isinstance(loss, AbsoluteError):
        return float(np.mean(np.abs(values - np.median(values, axis=0)[None])))
    return None


@compiled("learner")
def _run(learner: Learner, params: Tree, state: Tree, rows: Rows, watched: Watched, orders: Array, steps: Array, rate: Array,
         seed: Array) -> tuple[Array, Tree]:
    """theta <- theta + rate * (update at rate 1), `steps` times; then the loss, and the sum over the steps of |update| / |theta|."""
    def one(s: Array, now: tuple[Tree, Any, Tree, Tree]) -> tuple[Tree, Any, Tree, Tree]:
        theta, memory, state, moved = now
        which = orders[s]
        batch = Batch(rows.x[which], rows.y[which], None, float(orders.shape[1]))
        stepped, memory, state, _ = step(learner, theta, memory, state, batch, step_key(seed, s) if learner.random else None)
        update = jax.tree.map(lambda new, old: rate * (new - old), stepped, theta)
        moved = jax.tree.map(lambda m, u, old: m + _size(u) / jnp.maximum(_size(old), tiny), moved, update, theta)
        return jax.tree.map(jnp.add, theta, update), memory, state, moved

    tiny = jnp.asarray(np.finfo(learner.dtype).tiny, learner.dtype)
    unmoved = jax.tree.map(lambda _: jnp.zeros((), learner.dtype), params)
    theta, _, state, moved = lax.fori_loop(0, steps, one, (params, learner.transform().init(params), state, unmoved))
    return measure(learner, theta, state, watched), moved


def _size(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(values)))


def _entropy(weights: np.ndarray) -> float:
    """-sum_k w_k ln(w_k / sum_k w_k) of weights (K, ...), summed over what is beside them: no p_k makes -sum_k w_k ln p_k smaller."""
    total = np.broadcast_to(weights.sum(axis=0)[None], weights.shape)
    return float(-np.sum(weights * np.log(np.where(weights > 0, weights / np.where(total > 0, total, 1.0), 1.0))))
