"""Watching while a network learns: chosen quantities of every k-th step, recorded inside the compiled epoch.

A network that is trained without a `Record` runs exactly the program that it would if this file did not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.errors import DeltaruleError
from deltarule.layers.forward import forward, zero_probes
from deltarule.layers.scope import Array, Tree, flatten, unflatten
from deltarule.spec import nearest

if TYPE_CHECKING:
    from deltarule.training.step import Batch, Learner

QUANTITIES = ("loss", "weight_norm", "gradient_norm", "update_ratio", "delta_norm", "activation_histogram", "weights")
BUFFER_BYTES, MOST_RECORDS = 2**23, 4096      # of records that wait on the device until Python fetches them


@dataclass(frozen=True)
class Record:
    """What to record while training: `net.fit(x, y, record=dr.Record(every=10))`, then `history.recording`.

    `every` counts steps. `quantities`: "loss" of the batch; "weight_norm", "gradient_norm" and "update_ratio" (the size of a step
    relative to the weights: about 0.001 is healthy) for each parameter; "delta_norm" and "activation_histogram" for each layer;
    "weights", copies of all parameters, for the descent path on the loss surface. Norms are root mean squares.
    Raises DeltaruleError for unknown quantities.

    >>> Record(every=5, quantities=("loss", "delta_norm"))
    Record(every=5, quantities=('loss', 'delta_norm'), bins=24)
    """

    every: int = 10
    quantities: tuple[str, ...] = QUANTITIES[:-1]
    bins: int = 24

    def __post_init__(self) -> None:
        given: Any = self.quantities
        names = (given,) if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "quantities", names)
        for name, value in (("every", self.every), ("bins", self.bins)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise DeltaruleError(f"Record expected a whole number from 1 on for {name}, received {value!r}")
        for name in names:
            if name not in QUANTITIES:
                raise DeltaruleError(f"Record cannot record {name!r}; it knows {', '.join(QUANTITIES)}{nearest(str(name), QUANTITIES)}")
        if not names:
            raise DeltaruleError(f"Record expected at least one quantity of {', '.join(QUANTITIES)}, received none")


class Log(NamedTuple):
    """Records that wait on the device: `values` by name, each (capacity, ...), of which the first `filled` are there."""

    values: dict[str, Array]
    steps: Array
    filled: Array


def observe(learner: Learner, before: Tree, after: Tree, state: Tree, batch: Batch, key: Array | None, value: Array) -> dict[str, Array]:
    """The quantities of one step that took the parameters from `before` to `after` with the loss `value`, each named "quantity:path"."""
    wanted = learner.record.quantities if learner.record else ()
    found: dict[str, Array] = {"loss:": value} if "loss" in wanted else {}
    if "weight_norm" in wanted:
        found |= {f"weight_norm:{path}": _rms(W) for path, W in flatten(before).items()}
    if "update_ratio" in wanted:
        tiny = jnp.finfo(learner.dtype).tiny
        moved = jax.tree.map(lambda new, old: _rms(new - old) / jnp.maximum(_rms(old), tiny), after, before)
        found |= {f"update_ratio:{path}": ratio for path, ratio in flatten(moved).items() if path.rpartition("/")[2] == "weights"}
    if "weights" in wanted:
        found |= {f"weights:{path}": W for path, W in flatten(before).items()}
    if {"gradient_norm", "delta_norm", "activation_histogram"} & set(wanted):
        taps, deltas, gradients = _backward(learner, before, state, batch, key)
        if "gradient_norm" in wanted:
            found |= {f"gradient_norm:{path}": _rms(gradient) for path, gradient in flatten(gradients).items()}
        if "delta_norm" in wanted:
            found |= {f"delta_norm:{layer}": _rms(deltas[path]) for layer, path in _named("preactivation", deltas)}
        if "activation_histogram" in wanted:
            for layer, path in _named("activation", taps):
                histogram, ends = _histogram(taps[path], learner.record.bins if learner.record else 1)
                found |= {f"activation_histogram:{layer}": histogram, f"activation_range:{layer}": ends}
    return found


def _named(name: str, taps: dict[str, Array]) -> Iterator[tuple[str, str]]:
    """(layer, path) of every tap of that name."""
    return ((path.rpartition("/")[0], path) for path in taps if path.rpartition("/")[2] == name)


def _backward(learner: Learner, params: Tree, state: Tree, batch: Batch,
              key: Array | None) -> tuple[dict[str, Array], dict[str, Array], Tree]:
    """Taps, the delta of each row at each of them (of its own weighted loss), and the gradients of the mean loss."""
    options: dict[str, Any] = {"dtype": learner.dtype, "key": key, "training": True, "counted": batch.counted}

    def total(params: Tree, probes: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        taps: dict[str, Array] = {}
        output, _ = forward(learner.layer, params, state, batch.x, taps=taps, probes=probes, **options)
        rows = learner.loss.rows(output, batch.y)
        return jnp.sum(rows if batch.weights is None else rows * batch.weights), taps

    probes = zero_probes(learner.layer, params, state, batch.x, **options)
    (_, taps), (summed, deltas) = jax.value_and_grad(total, (0, 1), has_aux=True)(params, probes)
    count = jnp.asarray(batch.present, learner.dtype)
    return taps, deltas, jax.tree.map(lambda gradient: gradient / count, summed)


def log_step(learner: Learner, log: Log, number: Array, before: Tree, after: Tree, state: Tree, batch: Batch, key: Array | None,
             value: Array) -> Log:
    """The log with a record of step `number` added where its turn has come."""
    def write(log: Log) -> Log:
        found = observe(learner, before, after, state, batch, key, value)
        put = lax.dynamic_update_index_in_dim
        return Log({name: put(log.values[name], found[name].astype(log.values[name].dtype), log.filled, 0) for name in found},
                   put(log.steps, number.astype(jnp.int32), log.filled, 0), log.filled + 1)

    every = learner.record.every if learner.record else 1
    return lax.cond(number % every == 0, write, lambda log: log, log)


class Recorder:
    """Fetches the records from the device after every call of the compiled program, before its buffer is full."""

    def __init__(self, learner: Learner, params: Tree, state: Tree, batch: Batch, key: Array | None):
        self.every = learner.record.every if learner.record else 1
        names: list[str] = []       # in the order of the layers, which a compiled program does not keep

        def look() -> dict[str, Array]:
            found = observe(learner, params, params, state, batch, key, jnp.zeros((), learner.dtype))
            names.extend(found)
            return found

        shapes = jax.eval_shape(look)
        size = sum(int(np.prod(shape.shape)) * shape.dtype.itemsize for shape in shapes.values())
        self.capacity = max(1, min(MOST_RECORDS, BUFFER_BYTES // max(size, 1)))
        self.empty = Log({name: jnp.zeros((self.capacity, *shape.shape), shape.dtype) for name, shape in shapes.items()},
                         jnp.zeros(self.capacity, jnp.int32), jnp.asarray(0, jnp.int32))
        self.recording = Recording(tuple(names))

    def bounds(self, first: int, last: int, epochs: int, steps: int) -> tuple[int, int, int]:
        """The bounds of the next call, made smaller where it would fill the buffer."""
        most = self.capacity * self.every
        return (first, last, max(1, min(epochs, most // steps))) if first == 0 and last == steps and most >= steps \
            else (first, min(last, first + most), 1)

    def fetch(self, log: Log | None) -> Log | None:
        """Take what is there and return the empty buffer."""
        if log is None:
            return None
        count = int(log.filled)
        if count:
            self.recording.extend(np.asarray(log.steps)[:count], {name: np.asarray(value[:count]) for name, value in log.values.items()})
        return log._replace(filled=jnp.asarray(0, jnp.int32))


@dataclass
class Recording(Mapping[str, dict[str, np.ndarray]]):
    """What was recorded: `recording["delta_norm"]["dense_1"]` is an array with one entry for each of `recording.steps`.

    "activation_histogram" holds shares (records, bins) between the ends in "activation_range" (records, 2).
    """

    _names: tuple[str, ...] = ()
    _steps: list[np.ndarray] = field(default_factory=list)
    _parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def extend(self, steps: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Add records."""
        self._steps.append(steps)
        self._parts.append(values)

    @property
    def steps(self) -> np.ndarray:
        """The number of the step of each record, counted from 0 in the call of fit."""
        return np.concatenate([*self._steps, np.zeros(0, np.int32)])

    @property
    def params(self) -> list[Tree]:
        """The recorded copies of the parameters, one nested dict for each record. Raises DeltaruleError where they were not recorded."""
        weights = self["weights"]
        return [unflatten({path: values[i] for path, values in weights.items()}) for i in range(len(self.steps))]

    def __getitem__(self, quantity: str) -> dict[str, np.ndarray]:
        if quantity not in tuple(self):
            raise DeltaruleError(f"{quantity!r} was not recorded; recorded: {', '.join(self)}{nearest(str(quantity), tuple(self))}")
        names = [name for name in self._names if name.partition(":")[0] == quantity]
        empty = np.zeros(0, np.float32)
        return {name.partition(":")[2]: np.concatenate([part[name] for part in self._parts]) if self._parts else empty for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.partition(":")[0] for name in self._names))

    def __len__(self) -> int:
        return len(tuple(iter(self)))

    def __repr__(self) -> str:
        return f"Recording of {len(self.steps)} steps: {', '.join(self)}"

    def to_frame(self) -> Any:
        """Everything that is one number for each record, as a polars DataFrame with the columns "step", "delta_norm dense_1", ..."""
        import polars

        columns = {f"{quantity} {path}".strip(): values for quantity in self for path, values in self[quantity].items() if values.ndim == 1}
        return polars.DataFrame({"step": self.steps, **columns})

    def plot(self) -> Any:
        """All recorded quantities over the steps, one panel each, histograms as bands: a matplotlib figure."""
        from deltarule.glass.recording_figure import recording_figure

        return recording_figure(self)


def _rms(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(values)))


def _histogram(h: Array, bins: int) -> tuple[Array, Array]:
    """Shares of the values in `bins` equal bins from the smallest to the largest, and these two."""
    low, high = jnp.min(h), jnp.max(h)
    width = jnp.where(high > low, high - low, jnp.ones_like(low))
    number = jnp.clip(((h.reshape(-1) - low) / width * bins).astype(jnp.int32), 0, bins - 1)
    counts = jnp.zeros(bins, h.dtype).at[number].add(jnp.ones((), h.dtype))
    return counts / h.size, jnp.stack([low, high])
