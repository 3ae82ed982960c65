"""The kernels of recurrent networks as JAX functions: float32, (n, T, units)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("tanh", "sigmoid", "relu", "linear", "lstm", "gru")        # as in recurrent.cc
States = tuple[jax.Array, ...]


def recurrent_forward(kind: str, given: Any, reverse: bool) -> tuple[States, jax.Array]:
    """The states after every step, (n, T, units) each, and what the way back needs of the gates (n, T, 4 units), empty without gates.

    `given` holds x (n, T, inputs), U, b, W, d, states, kept and mask, as `ops.recurrent.Sequences` says; `kind` is one of KINDS.
    """
    x, units = given.x, given.W.shape[0]
    shape = (*x.shape[:2], units)
    gates = (*x.shape[:2], 4 * units) if kind in ("lstm", "gru") else (0,)
    kinds = [jax.ShapeDtypeStruct(size, x.dtype) for size in (shape, shape if kind == "lstm" else (0,), gates)]
    call = jax.ffi.ffi_call("deltarule_recurrent_forward", kinds, vmap_method="sequential")
    h, c, kept = call(x, given.U, given.b, given.W, _given(given.d, x), given.states[0], _cell(given.states, x), _given(given.kept, x),
                      _mask(given.mask), **_attributes(kind, reverse))
    return (h, c)[:len(given.states)], kept


def recurrent_backward(kind: str, given: Any, states: States, kept: jax.Array, errors: States,
                       reverse: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None, States]:
    """dL/dp and dL/dq (n, T, gates units), dL/db and dL/dd (gates units,), and dL/dstates, from the errors of the states of every step."""
    x, (units, columns) = given.x, given.W.shape
    gru, shape = kind == "gru", (*x.shape[:2], columns)
    first = len(x), units
    sizes = shape, shape if gru else (0,), (columns,), (units,) if gru else (0,), first, first if kind == "lstm" else (0,)
    call = jax.ffi.ffi_call("deltarule_recurrent_backward", [jax.ShapeDtypeStruct(size, x.dtype) for size in sizes],
                            vmap_method="sequential")
    dp, dq, db, dd, dh, dc = call(x, given.W, given.states[0], _cell(given.states, x), _given(given.kept, x), _mask(given.mask), states[0],
                                  _cell(states, x), kept, errors[0], _cell(errors, x), **_attributes(kind, reverse))
    ends = (dh, dc)[:len(states)]
    return (dp, dq, db, jnp.concatenate([db[:2 * units], dd]), ends) if gru else (dp, dp, db, db, ends)


def _attributes(kind: str, reverse: bool) -> dict[str, Any]:
    return {"kind": np.int64(KINDS.index(kind)), "reverse": reverse}


def _given(values: jax.Array | None, x: jax.Array) -> jax.Array:
    return jnp.zeros(0, x.dtype) if values is None else values


def _cell(states: States, x: jax.Array) -> jax.Array:
    return states[1] if len(states) > 1 else jnp.zeros(0, x.dtype)


def _mask(mask: jax.Array | None) -> jax.Array:
    return jnp.zeros(0, jnp.uint8) if mask is None else mask.astype(jnp.uint8)
