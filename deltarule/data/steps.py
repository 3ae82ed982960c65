"""The numbers of sequences brought to order one, padding left out: what `Preprocessor` does to rows (n, steps, channels).

The channels are those of `Sequences.padded`: the time since the step before, the values, and 1 where a step is there. A network sees

- the time as a standard score of ln(1 + time / its median), since gaps may be minutes or months;
- each value less the mean of its own sequence, in units of the standard deviation of all such differences;
- for each value that mean itself, as a standard score: the level of the sequence, the same in every step;
- 1 where a step is there. Padding is 0 throughout, so that `Masked()` tells it.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltarule.data.columns import Column
from deltarule.errors import DataError

Array = NDArray[Any]


def fit_steps(x: Array, channels: tuple[str, ...]) -> tuple[Column, ...]:
    """The rules for x (n, steps, channels): one `Column` for the time, then two for each value, its differences and its level.

    Raises DataError where the last channel is not 0 or 1, and for a sequence without a step.
    """
    there = _there(x)
    gaps = x[:, 1:, 0][there[:, 1:]]
    median = float(np.median(gaps)) if gaps.size and np.median(gaps) > 0 else 1.0
    columns = [dataclasses.replace(_scored(channels[0], np.log1p(gaps / median)), fill=median)]
    for j, name in enumerate(channels[1:-1], 1):
        level = _levels(x[:, :, j], there)
        columns += [dataclasses.replace(_scored(name, (x[:, :, j] - level[:, None])[there]), mean=0.0), _scored(f"{name} level", level)]
    return tuple(columns)


def scale_steps(x: Array, columns: tuple[Column, ...], dtype: str = "float32") -> Array:
    """What a network sees for x (n, steps, channels) by the rules of `fit_steps`: (n, steps, 2 channels - 2)."""
    there = _there(x)
    parts = [(np.log1p(np.maximum(x[:, :, 0], 0) / columns[0].fill) - columns[0].mean) / columns[0].scale]
    for j in range(1, x.shape[2] - 1):
        differences, level = columns[2 * j - 1], columns[2 * j]
        means = _levels(x[:, :, j], there)
        parts.append((x[:, :, j] - means[:, None]) / differences.scale)
        parts.append(np.broadcast_to(((means - level.mean) / level.scale)[:, None], there.shape))
    parts.append(np.ones(there.shape))
    with np.errstate(over="ignore"):
        return np.asarray(np.where(there[:, :, None], np.stack(parts, axis=-1), 0.0).astype(dtype))


def _there(x: Array) -> Array:
    """Which steps are there, booleans (n, steps)."""
    there = x[:, :, -1] == 1
    if not np.all(there | (x[:, :, -1] == 0)):
        raise DataError("the last channel of sequences says with 1 and 0 which steps are there; it holds other numbers")
    if not there.any(axis=1).all():
        raise DataError(f"sequence {int(np.argmin(there.any(axis=1)))} has no step")
    return np.asarray(there)


def _levels(values: Array, there: Array) -> Array:
    """The mean of each sequence, (n,)."""
    return np.asarray(np.sum(values, axis=1, where=there) / there.sum(axis=1))


def _scored(name: str, values: Array) -> Column:
    scale = float(values.std()) if values.size else 0.0
    return Column(name, mean=float(values.mean()) if values.size else 0.0, scale=scale if scale > 0 else 1.0)
