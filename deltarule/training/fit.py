"""The loop around the compiled epochs: segments of about a second, so that progress, Ctrl-C and checks still answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.layers.scope import Array, Tree, path_number
from deltarule.ops.compiling import give_back
from deltarule.ops.sharing import Shared, aligned, room, shared
from deltarule.training.diagnosis import diverged
from deltarule.training.epochs import Rows, Standing, Stopping, Watched, advance, key_of, start, take
from deltarule.training.history import History
from deltarule.training.recording import Recorder
from deltarule.training.step import Learner, augmented

SEGMENT_SECONDS = 0.5       # how long the compiled program runs before Python looks up
FIRST_STEPS, GROWTH = 20, 16        # steps of the first call, when the pace is not known yet; a later one has at most 16 times those before
NEVER = 2**30
LARGE = 2**22       # bytes of rows without space or time that are worth no copy; fewer are gathered faster by XLA itself
LARGER = ("accuracy", "iou", "dice")        # curves that are better the larger they are


@dataclass(frozen=True)
class Settings:
    """How long to train and what to keep; everything that does not change the compiled program."""

    epochs: int
    seed: int
    first_epoch: int = 0            # epochs of earlier calls of fit, so that orders never repeat
    shuffle: bool = True
    monitor: str = "loss"
    patience: int | None = None
    keep: str = "best"              # or "last"
    goal: float | None = None       # of the monitored curve: reached, it is enough


@dataclass
class Run:
    """A finished run: the weights that were kept, and how it went."""

    params: Tree
    state: Tree
    history: History
    memory: Any = None      # of the optimizer after the last step


def fit(learner: Learner, settings: Settings, params: Tree, state: Tree, rows: Rows, watched: Watched,
        report: Callable[[History, int], None] | None = None, memory: Any = None) -> Run:
    """Train on rows that fit into memory. `report(history, steps done)` is called after every segment.

    `memory` is that of an earlier `Run`, where the optimizer is to go on as if nothing had come between.
    Ctrl-C ends the run at the last finished segment and returns what was learnt. Raises DivergenceError (after the last
    good weights were found) when a number stops being finite; its `run` attribute holds them.
    """
    names = curve_names(learner, watched.weights.shape[0])
    monitor = which_monitor(settings.monitor, names)
    n, began = rows.x.shape[0], time.perf_counter()
    capacity = max(1, min(256, 2**18 // n))     # epochs in one call of the compiled program
    rows, watched = jax.device_put((rows._replace(x=placed(rows.x, learner.steps == 1)), watched))
    if isinstance(rows.x, Shared) and len(rows.x.shape) > 2:
        give_back()     # what came before; feature maps need much memory
    seed = noise_seed(settings)
    now = start(learner, params, state, memory, quick=learner.quick, lean=learner.lean)
    history = History({name: [] for name in names[1:]}, planned=settings.epochs)
    recorder = begin_recording(learner, now, rows, history, seed)
    now = now._replace(log=recorder.empty if recorder else None)
    stopping = when_to_stop(settings, monitor, learner.dtype)
    pace = Pace(learner.steps)
    done = 0                        # steps of the current epoch
    drawn = Orders(settings, capacity, n, learner.batch_size)
    try:
        while int(now.epoch) < settings.epochs and not bool(now.stopped):
            epoch = int(now.epoch)
            first, last, epochs = pace.bounds(done, min(capacity, settings.epochs - epoch))
            if recorder is not None:
                first, last, epochs = recorder.bounds(first, last, epochs, learner.steps)
            orders = drawn.of(epoch, epochs)
            clock, ends = time.perf_counter(), last == learner.steps
            arguments = (orders, seed, stopping)
            if not history.steps:
                _advance(learner, monitor, now, rows, watched, arguments, first, last, epochs, ends, advance.ready)
                history.compile_seconds, clock = time.perf_counter() - clock, time.perf_counter()
            running = _advance(learner, monitor, now, rows, watched, arguments, first, last, epochs, ends)
            drawn.ahead(running[1])
            after, curves = jax.block_until_ready(running)
            count = int(after.epoch) - epoch
            pace.learn((last - first) * max(count, 1), time.perf_counter() - clock, history)
            if int(after.bad) >= 0:
                good, whole, bad = _replay(learner, monitor, now, after, rows, watched, arguments, first, ends)
                _record(history, np.asarray(curves)[:whole, 1:])
                history.stopped, history.kept_epoch = "diverged", int(good.epoch)
                if recorder is not None:
                    recorder.fetch(good.log)
                which = np.asarray(orders[whole, bad])
                error = diverged(learner, good, take(rows, orders, np.int32(whole), np.int32(bad)), which, bad, seed)
                error.run = Run(good.params, good.state, history)
                raise error
            _record(history, np.asarray(curves)[:count, 1:])
            now, done = after, 0 if ends else last
            if recorder is not None:
                now = now._replace(log=recorder.fetch(now.log))
            if report:
                report(history, done)
        if bool(now.stopped):
            history.stopped = why_stopped(settings, history)
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    return finished(now, history, settings, began)


def placed(x: Array, whole: bool = False) -> Array | Shared:
    """Training rows as JAX takes them without its slow copy: many lie where they are, if that can be, else they are copied once.

    The `whole` set as one batch is copied too, rather than in every step.

    >>> placed(np.ones((3, 2), np.float32)).ctypes.data % 64
    0
    """
    if not isinstance(x, np.ndarray):
        return x
    rows = shared(x) if (x.ndim > 2 or x.nbytes >= LARGE) and not whole else x
    return rows if isinstance(rows, Shared) else aligned(rows)


def finished(now: Standing, history: History, settings: Settings, began: float) -> Run:
    """The weights to keep, the best epoch's or the last, and the history completed."""
    history.seconds = time.perf_counter() - began
    keep_best = settings.keep == "best" and int(now.best_epoch) > 0
    history.kept_epoch = int(now.best_epoch) if keep_best else int(now.epoch)
    params, state = now.best if keep_best else (now.params, now.state)
    return Run(params, state, history, now.memory)


def when_to_stop(settings: Settings, monitor: tuple[int, float], dtype: str) -> Stopping:
    """Patience and goal as the compiled program takes them."""
    goal = -np.inf if settings.goal is None else monitor[1] * settings.goal
    return Stopping(np.int32(settings.patience or NEVER), np.asarray(goal, dtype))


def why_stopped(settings: Settings, history: History) -> str:
    """Why a run ended before its planned epochs: "goal" or "early"."""
    if settings.goal is None:
        return "early"
    last, falling = history[settings.monitor][-1], which_monitor(settings.monitor, (settings.monitor,))[1] > 0
    return "goal" if (last <= settings.goal if falling else last >= settings.goal) else "early"


def begin_recording(learner: Learner, now: Standing, rows: Rows, history: History, seed: Array) -> Recorder | None:
    """What fetches the records, where something is recorded; the history then holds the recording."""
    if learner.record is None:
        return None
    orders = jnp.zeros((1, learner.steps, learner.batch_size), jnp.int32)
    key = key_of(learner, seed, 0, 0)
    batch = augmented(learner, take(rows, orders, np.int32(0), np.int32(0)), key)
    recorder = Recorder(learner, now.params, now.state, batch, key)
    history.recording = recorder.recording
    return recorder


def curve_names(learner: Learner, sets: int) -> tuple[str, ...]:
    """Names of the columns that `advance` measures: the running loss, then loss and metrics for training and validation.

    >>> from deltarule.layers import Dense
    >>> from deltarule.losses import loss
    >>> from deltarule.optimizers import optimizer
    >>> curve_names(Learner(Dense(1), loss("mse"), optimizer("sgd"), metrics=("accuracy",)), 2)
    ('running_loss', 'loss', 'accuracy', 'val_loss', 'val_accuracy')
    """
    measured = ("loss", *learner.metrics)
    return ("running_loss", *(prefix + name for prefix in ("", "val_")[:sets] for name in measured))


def which_monitor(name: str, names: tuple[str, ...]) -> tuple[int, float]:
    """The column of the monitored curve, and 1.0 where smaller is better or -1.0. Raises DeltaruleError for an unknown name."""
    if name not in names:
        raise DeltaruleError(f"monitor {name!r} is not measured here; measured: {', '.join(names[1:])}")
    return names.index(name), -1.0 if name.removeprefix("val_") in LARGER else 1.0


def stream(seed: int, name: str) -> int:
    """The seed of a named stream of randomness: adding one stream never shifts another.

    >>> stream(0, "shuffle") == stream(0, "dropout")
    False
    """
    return int(np.random.SeedSequence((seed, path_number(name))).generate_state(1)[0])


def noise_seed(settings: Settings) -> np.uint32:
    """The seed of the noise (dropout, augmentation) in the first epoch of a call of fit; each epoch's own is one more (see `key_of`).

    >>> int(noise_seed(Settings(5, seed=0, first_epoch=5)) - noise_seed(Settings(5, seed=0)))
    5
    """
    return np.uint32((stream(settings.seed, "dropout") + settings.first_epoch) % 2**32)


def batch_orders(settings: Settings, epoch: int, epochs: int, capacity: int, n: int, size: int) -> Array:
    """Which rows make up each batch of the next epochs: int32 (capacity, steps, size); depends on (seed, epoch) alone.

    >>> batch_orders(Settings(1, seed=0, shuffle=False), 0, 1, 1, 5, 2).tolist()
    [[[0, 1], [2, 3], [4, 0]]]
    """
    return Orders(settings, capacity, n, size).of(epoch, epochs)


class Orders:
    """The orders of the rows in all epochs, drawn when they are asked for, or ahead while a compiled program runs."""

    def __init__(self, settings: Settings, capacity: int, n: int, size: int):
        self.settings, self.n, self.shape = settings, n, (capacity, -(-n // size), size)
        self.known: dict[int, np.ndarray] = {}      # by epoch
        self.epochs, self.batches = range(0), jnp.asarray(0)    # what was asked for last

    def of(self, epoch: int, epochs: int) -> Array:
        """Which rows make up each batch of the next epochs: int32 (capacity, steps, size)."""
        if self.epochs.start != epoch or len(self.epochs) < epochs:
            capacity, steps, size = self.shape
            self.epochs, orders = range(epoch, epoch + epochs), room((capacity, steps * size), np.int32)
            orders[:epochs, self.n:] = 0
            for e in self.epochs:
                orders[e - epoch, :self.n] = self.known.pop(e) if e in self.known else self._draw(e)
            self.batches = jax.device_put(orders.reshape(self.shape))
        return self.batches

    def ahead(self, running: Array) -> None:
        """Draw what may be asked for next until the program that this is a result of has ended."""
        for e in range(self.epochs.stop, min(self.epochs.stop + self.shape[0], self.settings.epochs)):
            if running.is_ready():
                break
            if e not in self.known:
                self.known[e] = self._draw(e)

    def _draw(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.settings.seed, path_number("shuffle"), self.settings.first_epoch + epoch))
        return (rng.permutation(self.n) if self.settings.shuffle else np.arange(self.n)).astype(np.int32)


class Pace:
    """How much to ask of the compiled program at a time: enough for about half a second, learnt from the calls before."""

    def __init__(self, steps: int):
        self.steps, self.each, self.taken = steps, 0.0, 0

    def bounds(self, done: int, capacity: int) -> tuple[int, int, int]:
        """First step, last step (exclusive) and number of epochs of the next call."""
        if not self.taken:
            return done, min(self.steps, done + FIRST_STEPS), 1
        budget = min(int(SEGMENT_SECONDS / max(self.each, 1e-7)), GROWTH * self.taken)
        if done > 0 or budget < self.steps:
            return done, min(self.steps, done + max(budget, 1)), 1
        return 0, self.steps, max(1, min(capacity, budget // self.steps))

    def learn(self, steps: int, seconds: float, history: History) -> None:
        """Take a call into account."""
        self.taken += steps
        history.steps += steps
        history.step_seconds += seconds
        self.each = seconds / max(steps, 1)


def _advance(learner: Learner, monitor: tuple[int, float], now: Standing, rows: Rows, watched: Watched | None,
             arguments: tuple[Array, np.uint32, Stopping], first: int, last: int, epochs: int, ends: bool,
             program: Callable[..., Any] = advance) -> tuple[Standing, Array]:
    orders, seed, stopping = arguments
    first32, last32, epochs32 = (np.int32(value) for value in (first, last, epochs))
    return program(learner, monitor, now, rows, watched, orders, seed, first32, last32, epochs32, np.bool_(ends), stopping,
                   quick=learner.quick, lean=learner.lean)


def _replay(learner: Learner, monitor: tuple[int, float], before: Standing, broken: Standing, rows: Rows, watched: Watched | None,
            arguments: tuple[Array, np.uint32, Stopping], first: int, ends: bool) -> tuple[Standing, int, int]:
    """Find the step that broke by running the same program again from the segment's start.

    Returns the standing just before that step, the epoch within the segment, and the step within the epoch.
    """
    orders, seed, stopping = arguments
    whole, bad = int(broken.epoch) - int(before.epoch) - ends, int(broken.bad)
    now = before
    if whole:
        now, _ = _advance(learner, monitor, now, rows, watched, arguments, first, learner.steps, whole, True)
        first = 0
    shifted = (jnp.roll(orders, -whole, axis=0), seed, stopping)

    def until(step: int) -> Standing:
        return _advance(learner, monitor, now, rows, watched, shifted, first, step, 1, False)[0]

    good = until(bad)
    if bad > first and not _finite(good.params):    # the loss was still finite when the weights broke, one step before
        bad -= 1
        good = until(bad)
    return good, whole, bad


def _finite(tree: Tree) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


def _record(history: History, measured: np.ndarray) -> None:
    for name, column in zip(history.curves, measured.T, strict=True):
        history.curves[name].extend(float(value) for value in column)
