"""Whole epochs as one compiled program: no Python runs between two steps.

`advance` moves a training run on by any number of epochs, or by part of one, with the same compiled program:
the bounds are arguments. So a segment can be replayed exactly, up to the step before something broke.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.layers.forward import forward
from deltarule.layers.scope import Array, Tree
from deltarule.ops.compiling import compiled
from deltarule.ops.noise import step_key
from deltarule.ops.sharing import Shared
from deltarule.rowwise import metric
from deltarule.training.carrying import whole
from deltarule.training.recording import Log, log_step
from deltarule.training.step import Batch, Learner, augmented, step

CHUNK, SMALL_CHUNK = 1024, 128      # rows measured at a time, about; few of images and sequences, whose feature maps need much memory


class Rows(NamedTuple):
    """Training rows on the device: x (n, ...), y (n, ...), weights (n,) with mean 1, or None where all count the same."""

    x: Any                      # or `Shared`, where an epoch has several steps
    y: Array
    weights: Array | None


class Watched(NamedTuple):
    """The rows on which the curves are measured, and for each set (training, validation) the weight of each row in its mean: (sets, m)."""

    x: Array
    y: Array
    weights: Array              # 1 and 0 where rows are not weighted, so that 200 right answers of 200 are exactly 1


class Standing(NamedTuple):
    """Where a run stands: the weights now and at the best epoch, and what decides when to stop."""

    params: Tree
    memory: Any                 # of the optimizer
    state: Tree                 # of the layers
    best: tuple[Tree, Tree]     # params and state of the best epoch
    best_value: Array
    best_epoch: Array
    epoch: Array                # epochs finished so far
    bad: Array                  # the first step of this epoch whose loss was not finite, or -1
    running: Array              # sum of the step losses of this epoch
    stopped: Array              # patience is over, or the goal is reached
    log: Log | None = None      # records that wait to be fetched, where something is recorded


class Stopping(NamedTuple):
    """When to stop before the planned epochs are over: epochs without improvement, and the value of the monitored curve that is enough."""

    patience: Array
    goal: Array                 # times the monitor's sign: smaller is better


@compiled("learner")      # one small program instead of one for each array
def start(learner: Learner, params: Tree, state: Tree, memory: Any = None) -> Standing:
    """`beginning`, compiled."""
    return beginning(learner, params, state, memory)


def beginning(learner: Learner, params: Tree, state: Tree, memory: Any = None) -> Standing:
    """The standing before the first step; `memory` is what the optimizer remembers of earlier training, None: nothing."""
    worst = jnp.asarray(jnp.inf, learner.dtype)
    whole = jnp.asarray(0, jnp.int32)
    memory = learner.transform().init(params) if memory is None else memory
    return Standing(params, memory, state, (params, state), worst, whole, whole,
                    jnp.asarray(-1, jnp.int32), jnp.asarray(0, learner.dtype), jnp.asarray(False))


@compiled("learner", "monitor")
def advance(learner: Learner, monitor: tuple[int, float], now: Standing, rows: Rows, watched: Watched | None, orders: Array, seed: Array,
            first: Array, last: Array, epochs: Array, ends: Array, stopping: Stopping) -> tuple[Standing, Array]:
    """Run steps first ... last - 1 of `epochs` epochs; where `ends`, measure the curves after each.

    `orders` (E, steps, batch) names the rows of every batch of up to E epochs. `monitor` is the column of the curves that
    decides which epoch is best, and 1 (smaller is better) or -1. Returns the new standing and the curves (E, 1 + columns):
    the running training loss, then loss and metrics of each watched set.
    """
    columns = 1 + (0 if watched is None else watched.weights.shape[0] * (1 + len(learner.metrics)))
    curves = jnp.full((orders.shape[0], columns), jnp.nan, learner.dtype)

    def going(carry: tuple[Array, Standing, Array]) -> Array:
        e, now, _ = carry
        return (e < epochs) & (now.bad < 0) & ~now.stopped

    def epoch(carry: tuple[Array, Standing, Array]) -> tuple[Array, Standing, Array]:
        e, now, curves = carry
        now = lax.fori_loop(first, last, lambda s, now: one_step(learner, now, rows, orders, e, s, seed), now)
        now, measured = lax.cond(ends, lambda now: finish_epoch(learner, monitor, now, watched, orders.shape[1], stopping, columns),
                                 lambda now: (now, jnp.full((columns,), jnp.nan, learner.dtype)), now)
        return e + 1, now, lax.dynamic_update_index_in_dim(curves, measured, e, 0)

    _, now, curves = lax.while_loop(going, epoch, (jnp.asarray(0, jnp.int32), now, curves))
    return now, curves


def one_step(learner: Learner, now: Standing, rows: Rows, orders: Array, e: Array, s: Array, seed: Array) -> Standing:
    """Step s of epoch e: its batch, and what learning from it changes."""
    number = now.epoch * learner.steps + s
    key = key_of(learner, seed, now.epoch, s)
    batch = augmented(learner, take(rows, orders, e, s), key)
    params, memory, state, value = step(learner, now.params, now.memory, now.state, batch, key)
    if now.log is not None:
        now = now._replace(log=log_step(learner, now.log, number, now.params, params, now.state, batch, key, value))
    bad = jnp.where((now.bad < 0) & ~jnp.isfinite(value), s, now.bad)
    return now._replace(params=params, memory=memory, state=state, bad=bad, running=now.running + value)


def key_of(learner: Learner, seed: Array, epoch: Array | int, s: Array | int) -> Array | None:
    """The key of step s of an epoch, None where nothing draws. Its words are seed + epoch and s: a resumed training draws as a long one."""
    if not learner.random:
        return None
    return step_key(jnp.asarray(seed).astype(jnp.uint32) + jnp.asarray(epoch).astype(jnp.uint32), s)


def take(rows: Rows, orders: Array, e: Array, s: Array) -> Batch:
    """Batch s of epoch e. The last batch of an epoch may be incomplete: rows that only fill it up get weight zero."""
    n, (_, steps, size) = rows.x.shape[0], orders.shape
    if steps == 1 and size == n:        # the whole set, in its own order
        return Batch(rows.x, rows.y, rows.weights, float(n))
    which = lax.dynamic_slice(orders, (e, s, jnp.zeros_like(s)), (1, 1, size)).reshape(size)

    def gather(values: Array | Shared) -> Array:
        if isinstance(values, Shared):
            return values.at(which)
        return jnp.take(values, which, axis=0, mode="clip")

    weights, count = None if rows.weights is None else gather(rows.weights), jnp.asarray(float(size))
    if n % size:
        here = s * size + jnp.arange(size, dtype=s.dtype) < n
        present = here.astype(rows.weights.dtype if rows.weights is not None else jnp.result_type(float))
        weights = present if weights is None else weights * present
        count = jnp.sum(present)
    return Batch(gather(rows.x), gather(rows.y), weights, count)


def finish_epoch(learner: Learner, monitor: tuple[int, float], now: Standing, watched: Watched | None, steps: int,
                 stopping: Stopping, columns: int) -> tuple[Standing, Array]:
    """The end of an epoch: measure in predict mode, keep the best weights, see whether it is time to stop."""
    running = now.running / steps
    measured = jnp.reshape(running, (1,))
    if watched is not None:
        measured = jnp.concatenate([measured, measure(learner, now.params, whole(now.state), watched).reshape(-1)])
    epoch = now.epoch + 1
    column, sign = monitor
    value = sign * measured[column]
    better = value < now.best_value
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (now.params, now.state), now.best)
    best_epoch = jnp.where(better, epoch, now.best_epoch)
    broken = jnp.where((now.bad < 0) & ~jnp.isfinite(measured[min(1, columns - 1)]), steps - 1, now.bad)
    stopped = (epoch - best_epoch >= stopping.patience) | (value <= stopping.goal)
    return now._replace(best=best, best_value=jnp.where(better, value, now.best_value), best_epoch=best_epoch, epoch=epoch,
                        bad=broken, running=jnp.zeros_like(now.running), stopped=stopped), measured


def measure(learner: Learner, params: Tree, state: Tree, watched: Watched) -> Array:
    """Mean loss and metrics of each set in predict mode, shape (sets, 1 + metrics), worked out in chunks of rows."""
    m = watched.x.shape[0]
    size = min(m, max(SMALL_CHUNK, learner.batch_size))
    if watched.x.ndim == 2:
        size = -(-m // max(1, round(m / CHUNK)))     # equal parts: hardly a row is measured twice

    def chunk(i: Array | int, total: Array | float) -> Array:
        begin = jnp.minimum(i * size, m - size)     # the last chunk reaches back over rows that are already counted
        x, y = (lax.dynamic_slice_in_dim(values, begin, size) for values in (watched.x, watched.y))
        fresh = begin + jnp.arange(size) >= i * size
        weights = lax.dynamic_slice_in_dim(watched.weights, begin, size, axis=1) * fresh.astype(learner.dtype)[None]
        output, _ = forward(learner.layer, params, state, x, dtype=learner.dtype)
        values = [learner.loss.rows(output, y), *(metric(name)(output.h, y, output.mask) for name in learner.metrics)]
        return total + weights @ jnp.stack(values, axis=-1).astype(learner.dtype)

    if m == size:
        sums = chunk(0, 0.0)
    else:
        sums = lax.fori_loop(0, -(-m // size), chunk, jnp.zeros((watched.weights.shape[0], 1 + len(learner.metrics)), learner.dtype))
    return sums / jnp.broadcast_to(jnp.sum(watched.weights, axis=1)[:, None], sums.shape)
