"""What may be said to a network, checked where it is said: shapes, seeds, batch sizes, settings of a training run."""

import dataclasses
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.layers.encoder_decoder import EncoderDecoder
from deltarule.layers.layer import Layer
from deltarule.training.fit import Settings
from deltarule.training.recording import Record
from deltarule.training.step import Learner


def sized(learner: Learner, n: int, batch_size: int | None, steps: int | None = None) -> Learner:
    """The learner with its batch size and steps for n rows. Raises DeltaruleError for a batch size that is none."""
    if batch_size is None or learner.optimizer.whole_set:
        batch_size = n
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise DeltaruleError(f"batch_size expected a whole number from 1 on, or None for the whole set, received {batch_size!r}")
    size = min(int(batch_size), n)
    return dataclasses.replace(learner, batch_size=size, steps=steps or -(-n // size))


def refuse_for_stream(sample_weight: Any, class_weight: Any, validation: Any) -> None:
    """Refuse what only makes sense where all rows are at hand. Raises DeltaruleError, naming the cure."""
    if sample_weight is not None or class_weight is not None:
        raise DeltaruleError("batches carry their own weights: give triples (x, y, weights) instead of sample_weight or class_weight")
    if isinstance(validation, (int, float)):
        raise DeltaruleError("a fraction cannot be held out of an iterable of batches; give validation=(x, y)")


def settings_of(seed: int, trained: int, epochs: int, patience: int | None, monitor: str, keep: str, shuffle: bool,
                validated: bool, goal: float | None = None) -> Settings:
    """The settings of a call of `fit`; "auto" is decided by whether there is validation. Raises DeltaruleError for values out of range."""
    for name, value in (("epochs", epochs), ("patience", patience)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise DeltaruleError(f"{name} expected a whole number from 1 on, received {value!r}")
    if epochs is None:
        raise DeltaruleError("epochs expected a whole number from 1 on, received None")
    if keep not in ("auto", "best", "last"):
        raise DeltaruleError(f"keep expected 'best', 'last' or 'auto', received {keep!r}")
    if goal is not None and (isinstance(goal, bool) or not isinstance(goal, (int, float, np.number)) or not np.isfinite(goal)):
        raise DeltaruleError(f"goal expected the value of the monitored curve at which to stop, received {goal!r}")
    if monitor == "auto":
        monitor = "val_loss" if validated else "loss"
    return Settings(int(epochs), seed, trained, shuffle, monitor, patience if validated else None,
                    ("best" if validated else "last") if keep == "auto" else keep, None if goal is None else float(goal))


def valid_record(record: Any) -> Record | None:
    """The record. Raises DeltaruleError for anything but a `Record` or None."""
    if record is not None and not isinstance(record, Record):
        raise DeltaruleError(f"record expected a Record, such as Record(every=10), received {record!r}")
    return record


def pair(x: Any, y: Any) -> tuple[Any, Any]:
    """x and y from two arguments or from one `Dataset`."""
    if y is None:
        if not (hasattr(x, "x") and hasattr(x, "y")):
            raise DeltaruleError("expected targets y beside x, or a Dataset, or an iterable of batches (x, y)")
        return x.x, x.y
    return x, y


def hashable(layer: Layer) -> None:
    """Refuse layers whose fields cannot be part of a compiled program."""
    try:
        hash(layer)
    except TypeError as error:
        raise DeltaruleError(f"fields of a layer must be numbers, strings, tuples or layers ({error}); write tuples for lists") from None


def row_shape(input_shape: Any, layer: Layer | None = None) -> tuple[int, ...]:
    """The shape of one row as a tuple: 64 is (64,), None that of an EncoderDecoder. Raises DeltaruleError for anything that is no shape.

    >>> row_shape(64), row_shape([28, 28, 1])
    ((64,), (28, 28, 1))
    """
    given = layer.row if input_shape is None and isinstance(layer, EncoderDecoder) else input_shape
    shape = (given,) if given is None or isinstance(given, (int, np.integer)) else tuple(given)
    if not shape or not all(isinstance(size, (int, np.integer)) and size >= 1 for size in shape):
        raise DeltaruleError(f"input_shape expected the shape of one row, such as (64,) or (28, 28, 1), received {input_shape!r}")
    return tuple(map(int, shape))


def valid_seed(seed: Any) -> int:
    """The seed as an int. Raises DeltaruleError unless it is a whole number from 0 to 2^32 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise DeltaruleError(f"seed expected a whole number from 0 to 2**32 - 1, received {seed!r}")
    return int(seed)


def valid_dtype(dtype: str) -> str:
    """The dtype. Raises DeltaruleError unless it is float32 or float64."""
    if dtype not in ("float32", "float64"):
        raise DeltaruleError(f"dtype expected 'float32' or 'float64', received {dtype!r}")
    return dtype
