"""Training on an iterable of batches, for data that do not fit into memory: the same compiled step, the next batch fetched meanwhile."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DataError, DeltaruleError
from deltarule.layers.scope import CARRIED, Tree
from deltarule.training.carrying import anew, whole
from deltarule.training.diagnosis import diverged
from deltarule.training.epochs import Rows, Standing, Watched, advance, start, take
from deltarule.training.fit import (
    Run,
    Settings,
    begin_recording,
    curve_names,
    finished,
    noise_seed,
    when_to_stop,
    which_monitor,
    why_stopped,
)
from deltarule.training.history import History
from deltarule.training.step import Learner

Prepare = Callable[[Any], Rows]     # a batch as the user gives it -> checked arrays


def is_stream(x: Any, y: Any) -> bool:
    """Whether x is an iterable of batches: no targets beside it, and neither an array, a table, nor a data set.

    >>> is_stream(iter([]), None), is_stream(np.zeros((2, 2)), None), is_stream([[1.0]], [1])
    (True, False, False)
    """
    known = any(hasattr(x, name) for name in ("shape", "columns", "x"))
    return y is None and not known and (isinstance(x, Iterable) or callable(x))


def fit_stream(learner: Learner, settings: Settings, params: Tree, state: Tree, batches: Any, prepare: Prepare,
               watched: Watched | None, report: Callable[[History, int], None] | None = None, memory: Any = None) -> Run:
    """Train on `batches`: an iterable (or a function that returns one) of pairs (x, y) or triples with weights, once through in each epoch.

    The training curve "loss" is the mean of the step losses while learning, since no rows are kept to measure it on;
    the validation curves are measured at the end of the epoch. Smaller batches are filled up with rows of weight zero. What `state`
    carries on from batch to batch begins anew in each epoch.
    Raises DataError for a batch that is larger than the first, or an iterator that is exhausted before the last epoch.
    """
    names = ("loss", *(curve_names(learner, 2)[2 + len(learner.metrics):] if watched is not None else ()))
    monitor = which_monitor(settings.monitor, names)
    seed, size = noise_seed(settings), learner.batch_size
    order = jnp.arange(size, dtype=jnp.int32).reshape(1, 1, size)
    now = start(learner, params, state, memory, quick=learner.quick, lean=learner.lean)
    history = History({name: [] for name in names}, planned=settings.epochs)
    began = time.perf_counter()
    recorder, stopping = None, when_to_stop(settings, monitor, learner.dtype)

    def go(rows: Rows, first: int, last: int, ends: bool) -> tuple[Standing, np.ndarray]:
        bounds = (np.int32(first), np.int32(last), np.int32(1), np.bool_(ends), stopping)
        after, curves = advance(learner, monitor, now, rows, watched, order, seed, *bounds, quick=learner.quick, lean=learner.lean)
        return after, np.asarray(curves)[0]

    def ready(batch: Any) -> Rows:
        with jax.enable_x64(learner.dtype == "float64"):    # a setting of each thread
            rows = prepare(batch)
            if CARRIED in state and len(rows.x) != size:
                raise DataError(f"stateful=True expected batches of one size, received one of {len(rows.x)} rows, the first had {size}")
            return jax.device_put(_filled(rows, size, learner.dtype))

    try:
        for epoch in range(settings.epochs):
            done = 0
            now = now._replace(state=anew(now.state))
            for rows in _ahead(_once_through(batches, epoch), ready):
                if recorder is None and learner.record is not None:
                    recorder = begin_recording(learner, now, rows, history, seed)
                    now = now._replace(log=recorder.empty if recorder else None)
                before = now
                now, _ = go(rows, done, done + 1, False)
                if recorder is not None:
                    now = now._replace(log=recorder.fetch(now.log))
                if int(now.bad) >= 0:
                    history.stopped, history.kept_epoch = "diverged", epoch
                    number = np.int32(0)
                    error = diverged(learner, before, take(rows, order, number, number), done * size + np.arange(size), done, seed)
                    error.run = Run(before.params, whole(before.state), history)
                    raise error
                done += 1
                history.steps += 1
                if report:
                    report(history, done)
            now, curves = go(rows, 0, 0, True)      # no step: measure, keep the best
            for name, value in zip(names, [curves[0] / done, *curves[1:]], strict=True):
                history.curves[name].append(float(value))
            if report:
                report(history, 0)
            if bool(now.stopped):
                history.stopped = why_stopped(settings, history)
                break
    except KeyboardInterrupt:
        history.stopped = "interrupted"
    run = finished(now, history, settings, began)
    run.state = whole(run.state)
    return run


def first_batch(batches: Any) -> tuple[Any, Any]:
    """The first batch, and the batches again with the first one in its place.

    >>> first, again = first_batch(iter([1, 2, 3]))
    >>> first, list(again)
    (1, [1, 2, 3])
    """
    iterator = iter(batches() if callable(batches) else batches)
    try:
        first = next(iterator)
    except StopIteration:
        raise DataError("the iterable of batches is empty; expected pairs (x, y)") from None
    if iterator is not batches:
        return first, batches

    def chained() -> Iterator[Any]:
        yield first
        yield from iterator

    return first, chained()


def _once_through(batches: Any, epoch: int) -> Iterator[Any]:
    iterator = iter(batches() if callable(batches) else batches)
    if epoch > 0 and iterator is batches:
        raise DataError(f"the iterator of batches is exhausted after epoch {epoch}; "
                        "give a list, or a function that returns a new iterator for each epoch")
    return iterator


def _ahead(batches: Iterator[Any], ready: Callable[[Any], Rows]) -> Iterator[Rows]:
    """Every batch made ready and put on the device by another thread while the one before it is learnt from."""
    def fetch() -> Rows | None:
        for batch in batches:
            return ready(batch)
        return None

    with ThreadPoolExecutor(1) as helper:
        coming = helper.submit(fetch)
        first = True
        while (rows := coming.result()) is not None:
            coming, first = helper.submit(fetch), False
            yield rows
        if first:
            raise DataError("the iterable of batches is empty; expected pairs (x, y)")


def _filled(rows: Rows, size: int, dtype: str) -> Rows:
    """A batch of exactly `size` rows: weights are scaled so that the mean over the filled batch is that over the rows that are there."""
    n = len(rows.x)
    if n > size:
        raise DataError(f"a batch has {n} rows, the first had {size}; make the first batch the largest")
    given = np.ones(n, dtype) if rows.weights is None else np.asarray(rows.weights, dtype)
    spare = size - n
    weights = np.concatenate([given * (size / n), np.zeros(spare, dtype)]).astype(dtype)
    if not spare:
        return Rows(rows.x, rows.y, weights)
    return Rows(_padded(rows.x, spare), _padded(rows.y, spare), weights)


def _padded(values: np.ndarray, spare: int) -> np.ndarray:
    return np.concatenate([values, np.repeat(values[:1], spare, axis=0)])


def number_of_batches(batches: Any, optimizer: Any) -> int:
    """Steps in an epoch, where the iterable has a length; a schedule of learning rates needs it.

    >>> from deltarule.optimizers import Adam
    >>> number_of_batches([1, 2, 3], Adam())
    3
    """
    if hasattr(batches, "__len__"):
        return len(batches)
    if not isinstance(getattr(optimizer, "learning_rate", 0.0), (int, float)):
        raise DeltaruleError("a schedule of learning rates needs the number of batches; give an iterable that has a length")
    return 2**16


def needs_pair(batch: Any) -> tuple[Any, Any, Any]:
    """A batch as (x, y, weights or None). Raises DeltaruleError for anything but pairs and triples."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise DeltaruleError(f"expected batches (x, y) or (x, y, weights), received {type(batch).__name__}")
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None
