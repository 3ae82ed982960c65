"""Rows of a table by their numbers, wherever the table lies in memory."""

import jax
import numpy as np


def take_rows(values: jax.Array, lead: jax.Array, shape: tuple[int, ...], which: jax.Array) -> jax.Array:
    """y[k] = x[which[k]] (b, *row), x (n, *row) of this `shape` being the flat `values` from number `lead` () on; `which` int32 (b,)."""
    kind = jax.ShapeDtypeStruct((*which.shape, *shape[1:]), values.dtype)
    return jax.ffi.ffi_call("deltarule_take_rows", kind, vmap_method="sequential")(values, lead, which, rows=np.int64(shape[0]))
