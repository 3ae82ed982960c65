"""The kernels of recurrent networks as JAX functions: float32, (n, T, units)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("tanh", "sigmoid", "relu", "linear", "lstm", "gru")        # as in recurrent.cc
WIDEST = 16         # floats in the widest vector
States = tuple[jax.Array, ...]


def recurrent_forward(kind: str, given: Any, reverse: bool) -> tuple[States, States]:
    """The states after every step, (n, T, units) each, and what the way back needs: the gates, and A = [h_(t-1), 1, x] of all steps.

    `given` holds x (n, T, inputs), U, b, W, d, states, kept and mask, as `ops.recurrent.Sequences` says; `kind` is one of KINDS. Gates lie
    as recurrent.cc wants them; a cell without gates keeps none.
    """
    x, units = given.x, given.W.shape[0]
    n, T, inputs = x.shape
    shape = (n, T, units)
    gates = _gates(kind, x, units) if kind in ("lstm", "gru") else (0,)
    sizes = shape, shape if kind == "lstm" else (0,), gates, (T, n, units + 1 + inputs)
    call = jax.ffi.ffi_call("deltarule_recurrent_forward", _arrays(x, *sizes), vmap_method="sequential")
    h, c, *kept = call(x, given.U, given.b, given.W, _given(given.d, x), given.states[0], _cell(given.states, x), _given(given.kept, x),
                       _mask(given.mask), **_attributes(kind, reverse))
    return (h, c)[:len(given.states)], tuple(kept)


def recurrent_backward(kind: str, given: Any, states: States, kept: States, errors: States, reverse: bool) -> Any:
    """The errors of all that was given, in its form, from the errors of the states of every step."""
    x, (units, columns) = given.x, given.W.shape
    first, gates = (len(x), units), _gates(kind, x, units)
    sizes = (gates, given.U.shape, (columns,), given.W.shape, (columns,) if kind == "gru" else (0,),
             first, first if kind == "lstm" else (0,), (0,) if given.kept is None else first)
    call = jax.ffi.ffi_call("deltarule_recurrent_backward", _arrays(x, *sizes), vmap_method="sequential",
                            input_output_aliases={7: 0} if kept[0].shape == gates else None)     # deltas take the place of the gates
    deltas, dU, db, dW, dd, dh, dc, dkept = call(
        given.W, given.states[0], _cell(given.states, x), _given(given.kept, x), _mask(given.mask), states[0], _cell(states, x), *kept,
        errors[0], _cell(errors, x), **_attributes(kind, reverse))
    onward = jax.ffi.ffi_call("deltarule_recurrent_inputs", *_arrays(x, x.shape), vmap_method="sequential")
    return given._replace(x=onward(deltas, given.U, kind=_number(kind)), U=dU, b=db, W=dW, d=None if given.d is None else dd,
                          states=(dh, dc)[:len(states)], kept=None if given.kept is None else dkept, mask=None)


def _gates(kind: str, x: jax.Array, units: int) -> tuple[int, ...]:
    """Room for four vectors of every block of units, at every step of every sequence, whatever the width of a vector."""
    wide = WIDEST if kind in ("lstm", "gru") else 4 * WIDEST
    return x.shape[1], -(-units // wide), x.shape[0], 4 * WIDEST


def _arrays(x: jax.Array, *shapes: tuple[int, ...]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]


def _number(kind: str) -> np.int64:
    return np.int64(KINDS.index(kind))


def _attributes(kind: str, reverse: bool) -> dict[str, Any]:
    return {"kind": _number(kind), "reverse": reverse}


def _given(values: jax.Array | None, x: jax.Array) -> jax.Array:
    return jnp.zeros(0, x.dtype) if values is None else values


def _cell(states: States, x: jax.Array) -> jax.Array:
    return states[1] if len(states) > 1 else jnp.zeros(0, x.dtype)


def _mask(mask: jax.Array | None) -> jax.Array:
    return jnp.zeros(0, jnp.uint8) if mask is None else mask.astype(jnp.uint8)
