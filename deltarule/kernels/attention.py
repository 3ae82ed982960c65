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


def _given(seen: jax.Array | None, x: jax.Array) -> jax.Array:
    return jnp.zeros(0, x.dtype) if seen is None else seen.astype(x.dtype)
