"""Sums and means of the values of each row; steps that only fill a sequence up do not count.

Values (n, ...) become (n,). A `mask` (n, steps) is False for the padding among values (n, steps, ...); None where all count.
"""

import math
from typing import Any

import jax.numpy as jnp

Array = Any


def real(values: Array, mask: Array | None) -> Array:
    """The values (n, steps, ...), with 0 in steps of padding.

    >>> real(jnp.array([[1.0, 2.0]]), jnp.array([[True, False]])).tolist()
    [[1.0, 0.0]]
    """
    if mask is None:
        return values
    return jnp.where(mask.reshape(*mask.shape, *(1,) * (values.ndim - 2)), values, jnp.zeros_like(values))


def row_sums(values: Array, mask: Array | None = None) -> Array:
    """The sum of each row.

    >>> row_sums(jnp.array([[1.0, 2.0, 4.0]]), jnp.array([[True, False, True]])).tolist()
    [5.0]
    """
    return jnp.sum(_flat(real(values, mask)), axis=-1)


def row_means(values: Array, mask: Array | None = None) -> Array:
    """The mean of each row, 0 where a row is padding alone.

    >>> row_means(jnp.array([[1.0, 2.0, 4.0]]), jnp.array([[True, False, True]])).tolist()
    [2.5]
    """
    if mask is None:
        return jnp.mean(_flat(values), axis=-1)
    count = jnp.sum(mask, axis=1, dtype=values.dtype) * math.prod(values.shape[2:])
    return row_sums(values, mask) / jnp.maximum(count, 1)


def _flat(values: Array) -> Array:
    return values.reshape(values.shape[0], math.prod(values.shape[1:]))
