"""Many trainings as one program: one network from many starts or with many settings, side by side along a first axis of every array.

Python hands over once for all members, and the processor works on large arrays instead of small ones. Each member keeps its own order
of rows, noise, best epoch and patience: it learns what it would learn alone. (One order for all would save the gathering of rows for
each; measured, that is worth nothing: 12.2 us a member and step with orders of their own, 12.6 with one, for 64 networks of
20-64-64-3 at batch 32.)
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.errors import DivergenceError
from deltarule.layers.scope import Array, Tree
from deltarule.ops.compiling import compiled
from deltarule.ops.sharing import aligned
from deltarule.training.diagnosis import diverged
from deltarule.training.epochs import Rows, Standing, Stopping, Watched, beginning, finish_epoch, one_step, take
from deltarule.training.fit import (
    Pace,
    Run,
    Settings,
    batch_orders,
    curve_names,
    finished,
    noise_seed,
    when_to_stop,
    which_monitor,
    why_stopped,
)
from deltarule.training.history import History
from deltarule.training.step import Learner

ORDERS = 2**20      # row numbers of coming epochs that are kept on the device
MEASURED = 4096     # rows of all members that are measured at a time: more do not stay in the cache
PENALTIES = ("l1", "l2")


@dataclass(frozen=True)
class Members:
    """What differs from member to member: seed, epochs of earlier trainings, first params and state (members, ...), and settings of the
    learner, (members,) each.
    """

    seeds: Sequence[int]
    trained: Sequence[int]
    params: Tree
    state: Tree
    varied: dict[str, Array] = field(default_factory=dict)


def stacked(trees: Sequence[Any]) -> Any:
    """Equal trees of arrays as one, with a first axis that counts them.

    >>> stacked([{"bias": np.zeros(3)}, {"bias": np.ones(3)}])["bias"].shape
    (2, 3)
    """
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def one_of(tree: Any, i: int) -> Any:
    """The tree of one member."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def with_settings(learner: Learner, values: dict[str, Any]) -> Learner:
    """The learner with penalties l1 and l2, or settings of its optimizer, replaced, and not checked again.

    Inside a compiled program they are no numbers that could be checked.
    """
    penalties = {name: value for name, value in values.items() if name in PENALTIES}
    others = {name: value for name, value in values.items() if name not in PENALTIES}
    return _with_fields(learner, {"optimizer": _with_fields(learner.optimizer, others), **penalties})


def fit_many(learner: Learner, settings: Settings, members: Members, rows: Rows, watched: Watched,
             report: Callable[[History, int], None] | None = None, tolerant: bool = False) -> list[Run]:
    """Train all members on the same rows, each with its own seed in place of that of the settings; one `Run` for each.

    Where a member's numbers stop being finite, the others go on if `tolerant`: its run has the best weights it had, and says "diverged".
    Else DivergenceError is raised, naming the member; its `run` is the list of all runs up to there. `report` is called after each
    segment with the mean of the curves; Ctrl-C ends all at the last finished segment.
    """
    crowd = _Crowd(learner, settings, members, rows, watched)
    try:
        while crowd.epoch < settings.epochs and crowd.going:
            broken = crowd.advance()
            if broken is not None and not tolerant:
                raise broken
            if report:
                report(crowd.mean, crowd.done)
        crowd.say_why()
    except KeyboardInterrupt:
        crowd.interrupt()
    return crowd.runs()


class _Crowd:
    """All members of a training and how far they are; between two calls of the compiled program."""

    def __init__(self, learner: Learner, settings: Settings, members: Members, rows: Rows, watched: Watched):
        self.learner, self.settings, self.began = learner, settings, time.perf_counter()
        self.each = [dataclasses.replace(settings, seed=seed, first_epoch=trained)
                     for seed, trained in zip(members.seeds, members.trained, strict=True)]
        names = curve_names(learner, watched.weights.shape[0])
        self.monitor = which_monitor(settings.monitor, names)
        self.rows, self.watched, self.varied = jax.device_put((rows._replace(x=aligned(rows.x)), watched, members.varied))
        self.capacity = max(1, min(256, ORDERS // (len(self.each) * rows.x.shape[0])))
        self.noise = np.array([noise_seed(one) for one in self.each])
        self.now = start_many(learner, self.varied, members.params, members.state, quick=learner.quick, lean=learner.lean)
        self.histories = [History({name: [] for name in names[1:]}, planned=settings.epochs) for _ in self.each]
        self.mean = History({name: [] for name in names[1:]}, planned=settings.epochs)
        self.pace, self.done, self.epoch = Pace(learner.steps), 0, 0
        self.orders, self.ordered = jnp.asarray(0), (-1, -1)

    @property
    def going(self) -> bool:
        return bool(np.any(running(self.now)))

    def advance(self) -> DivergenceError | None:
        """The next segment; the error of the first member that it broke, if any."""
        before, epoch, steps = self.now, self.epoch, self.learner.steps
        first, last, epochs = self.pace.bounds(self.done, min(self.capacity, self.settings.epochs - epoch))
        if self.ordered[0] != epoch or self.ordered[1] < epochs:
            self.orders, self.ordered = self._orders(epoch, epochs), (epoch, epochs)
        clock, ends = time.perf_counter(), last == steps
        if not self.mean.steps:
            self._move(before, self.orders, first, last, epochs, ends, advance_many.ready)
            self.mean.compile_seconds, clock = time.perf_counter() - clock, time.perf_counter()
        after, curves = jax.block_until_ready(self._move(before, self.orders, first, last, epochs, ends))
        reached = np.asarray(after.epoch)
        count = int(reached.max()) - epoch
        self.pace.learn((last - first) * max(count, 1), time.perf_counter() - clock, self.mean)
        bad, alive = np.asarray(after.bad), np.asarray(running(before))
        broken = np.flatnonzero((bad >= 0) & alive)
        self._record(np.asarray(curves), np.where(alive, reached - epoch - (bad >= 0) * ends, 0))
        self.now, self.done, self.epoch = after, 0 if ends else last, epoch + count
        for i in broken:
            self.histories[i].stopped = "diverged"
        if broken.size:
            return self._diverged(before, after, int(min(broken, key=lambda i: (reached[i], bad[i]))), first, ends)
        return None

    def say_why(self) -> None:
        for history, one, stopped in zip(self.histories, self.each, np.asarray(self.now.stopped), strict=True):
            if stopped and history.stopped != "diverged":
                history.stopped = why_stopped(one, history)

    def interrupt(self) -> None:
        self.say_why()
        for history, goes_on in zip(self.histories, np.asarray(running(self.now)), strict=True):
            if goes_on:
                history.stopped = "interrupted"

    def runs(self) -> list[Run]:
        """What each member keeps: the best or the last weights, of a broken one the best, before any epoch the first."""
        now, found = jax.device_get(self.now), []
        for i, (history, one) in enumerate(zip(self.histories, self.each, strict=True)):
            mine = one_of(now._replace(log=None), i)
            if history.stopped == "diverged":
                mine = mine._replace(params=mine.best[0], state=mine.best[1], epoch=mine.best_epoch)
            run = finished(mine, history, one, self.began)
            history.compile_seconds, history.step_seconds, history.steps = (
                self.mean.compile_seconds, self.mean.step_seconds, self.mean.steps)
            found.append(run)
        return found

    def _move(self, now: Standing, orders: Array, first: int, last: int, epochs: int, ends: bool,
              program: Callable[..., Any] | None = None) -> Any:
        first32, last32, epochs32 = (np.int32(value) for value in (first, last, epochs))
        stopping = when_to_stop(self.settings, self.monitor, self.learner.dtype)
        return (program or advance_many)(self.learner, self.monitor, now, self.varied, self.rows, self.watched, orders, self.noise, first32,
                                         last32, epochs32, np.bool_(ends), stopping, quick=self.learner.quick, lean=self.learner.lean)

    def _orders(self, epoch: int, epochs: int) -> Array:
        n, size = self.rows.x.shape[0], self.learner.batch_size
        return jnp.stack([batch_orders(one, epoch, epochs, self.capacity, n, size) for one in self.each])

    def _record(self, curves: np.ndarray, counts: np.ndarray) -> None:
        """Curves (epochs, members, columns), of which each member has so many."""
        for i, history in enumerate(self.histories):
            for column, curve in enumerate(history.curves.values()):
                curve.extend(map(float, curves[:counts[i], i, 1 + column]))
        for e in range(counts.max(initial=0)):
            for column, curve in enumerate(self.mean.curves.values()):
                curve.append(float(np.mean(curves[e, counts > e, 1 + column])))

    def _diverged(self, before: Standing, after: Standing, i: int, first: int, ends: bool) -> DivergenceError:
        """Find the step that broke member i by running the same program again from the segment's start."""
        whole, bad = int(after.epoch[i]) - int(before.epoch[i]) - ends, int(after.bad[i])
        if whole:
            before, first = self._move(before, self.orders, first, self.learner.steps, whole, True)[0], 0
        shifted = jnp.roll(self.orders, -whole, axis=1)
        good = one_of(self._move(before, shifted, first, bad, 1, False)[0], i)
        if bad > first and not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(good.params)):
            bad -= 1
            good = one_of(self._move(before, shifted, first, bad, 1, False)[0], i)
        learner = with_settings(self.learner, {name: float(value[i]) for name, value in self.varied.items()})
        batch = take(self.rows, shifted[i], np.int32(0), np.int32(bad))
        error = diverged(learner, good, batch, np.asarray(shifted[i, 0, bad]), bad, self.noise[i])
        named = DivergenceError(f"member {i} (seed {self.each[i].seed}): {error}", {"member": i, **error.report})
        self.now = jax.tree.map(lambda all_, mine: all_.at[i].set(mine), self.now, good)
        named.run = self.runs()
        return named


def running(now: Standing) -> Array:
    """(members,): whose numbers are finite and whose patience is not over."""
    return (now.bad < 0) & ~now.stopped


@compiled("learner")
def start_many(learner: Learner, varied: dict[str, Array], params: Tree, state: Tree) -> Standing:
    """The standing of all members before the first step."""
    return jax.vmap(lambda mine, params, state: beginning(with_settings(learner, mine), params, state))(varied, params, state)


@compiled("learner", "monitor")
def advance_many(learner: Learner, monitor: tuple[int, float], now: Standing, varied: dict[str, Array], rows: Rows, watched: Watched,
                 orders: Array, seeds: Array, first: Array, last: Array, epochs: Array, ends: Array,
                 stopping: Stopping) -> tuple[Standing, Array]:
    """`epochs.advance` for all members: orders (members, E, steps, batch), seeds (members,); curves (E, members, columns).

    All go on together until each has stopped; a member that stopped, or broke, stays where it was.
    """
    columns, count = 1 + watched.weights.shape[0] * (1 + len(learner.metrics)), seeds.shape[0]
    curves = jnp.full((orders.shape[1], count, columns), jnp.nan, learner.dtype)

    def going(carry: tuple[Array, Standing, Array]) -> Array:
        e, now, _ = carry
        return (e < epochs) & jnp.any(running(now))

    def step(e: Array, s: Array, now: Standing) -> Standing:
        def mine(now: Standing, varied: dict[str, Array], orders: Array, seed: Array) -> Standing:
            return one_step(with_settings(learner, varied), now, rows, orders, e, s, seed)

        return jax.vmap(mine)(now, varied, orders, seeds)

    def finish(now: Standing) -> tuple[Standing, Array]:
        together = max(1, min(count, MEASURED // watched.x.shape[0]))
        return lax.map(lambda now: finish_epoch(learner, monitor, now, watched, orders.shape[2], stopping, columns), now,
                       batch_size=together)

    def epoch(carry: tuple[Array, Standing, Array]) -> tuple[Array, Standing, Array]:
        e, before, curves = carry
        now = lax.fori_loop(first, last, lambda s, now: step(e, s, now), before)
        now, measured = lax.cond(ends, finish, lambda now: (now, jnp.full((count, columns), jnp.nan, learner.dtype)), now)
        now = jax.tree.map(lambda new, old: _where(running(before), new, old), now, before)
        return e + 1, now, lax.dynamic_update_index_in_dim(curves, measured, e, 0)

    _, now, curves = lax.while_loop(going, epoch, (jnp.asarray(0, jnp.int32), now, curves))
    return now, curves


def _where(chosen: Array, new: Array, old: Array) -> Array:
    """The new values of the chosen members (members,), the old ones of the others; both (members, ...)."""
    return jnp.where(chosen.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def _with_fields(one: Any, values: dict[str, Any]) -> Any:
    twin = copy.copy(one)
    for name, value in values.items():
        object.__setattr__(twin, name, value)
    return twin
