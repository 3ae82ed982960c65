"""The kernels of attention as JAX functions: float32, steps before heads."""

import jax
import jax.numpy as jnp


def attention_forward(Q: jax.Array, K: jax.Array, V: jax.Array, seen: jax.Array | None, causal: bool) -> tuple[jax.Array, jax.Array]:
    """O = softmax(Q K^T / sqrt(d)) V (n, T, heads, e) and log Z (n, heads, T), the logarithm of the sum below each softmax.

    Q (n, T, heads, d), K (n, S, heads, d), V (n, S, heads, e); `seen` (n, S) is False for keys that are padding, None: none is.
    """
    n, T, heads, _ = Q.shape
    kinds = jax.ShapeDtypeStruct((n, T, heads, V.shape[-1]), Q.dtype), jax.ShapeDtypeStruct((n, heads, T), Q.dtype)
    O, log_Z = jax.ffi.ffi_call("deltarule_attention_forward", kinds, vmap_method="sequential")(Q, K, V, _given(seen, Q), causal=causal)
    return O, log_Z


def attention_backward(Q: jax.Array, K: jax.Array, V: jax.Array, seen: jax.Array | None, log_Z: jax.Array, dO: jax.Array,
                       causal: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """dL/dQ, dL/dK and dL/dV from dL/dO, with what `attention_forward` was given and the log Z that it found."""
    kinds = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (Q, K, V))
    call = jax.ffi.ffi_call("deltarule_attention_backward", kinds, vmap_method="sequential")
    dQ, dK, dV = call(Q, K, V, _given(seen, Q), log_Z, dO, causal=causal)
    return dQ, dK, dV


def attention_onward(Q: jax.Array, K: jax.Array, V: jax.Array, here: jax.Array, keys: jax.Array, values: jax.Array, real: jax.Array,
                     place: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """O (n, steps, heads, d) of steps that come behind `place` () others, and keys, values and `real` with theirs among them.

    Q, K and V (n, steps, heads, d), `here` (n, steps) False for padding; keys (n heads, d, room), values (n heads, room, width from d on),
    room and width multiples of 16, and `real` (n, room) are changed in place where nothing else needs them.
    """
    kinds = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (V, keys, values, real))
    call = jax.ffi.ffi_call("deltarule_attention_onward", kinds, vmap_method="sequential", input_output_aliases={4: 1, 5: 2, 6: 3})
    O, keys, values, real = call(Q, K, V, here, keys, values, real, place)
    return O, keys, values, real


def _given(seen: jax.Array | None, x: jax.Array) -> jax.Array:
    return jnp.zeros(0, x.dtype) if seen is None else seen.astype(x.dtype)
