"""The kernels of layer normalization and of GELU as JAX functions: float32, rows of features (..., C)."""

import jax
import jax.numpy as jnp
import numpy as np


def layer_norm_forward(x: jax.Array, gamma: jax.Array, beta: jax.Array, epsilon: float) -> jax.Array:
    """y = gamma (x - mu) / sigma + beta (..., C), with mu and sigma^2 of each row; gamma and beta (C,)."""
    call = jax.ffi.ffi_call("deltarule_layer_norm_forward", _like(x), vmap_method="sequential")
    return call(x, gamma, beta, epsilon=np.float32(epsilon))


def layer_norm_backward(x: jax.Array, gamma: jax.Array, dy: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """dL/dx (..., C), dL/dgamma and dL/dbeta (C,) from dL/dy (..., C)."""
    call = jax.ffi.ffi_call("deltarule_layer_norm_backward", (_like(x), _like(gamma), _like(gamma)), vmap_method="sequential")
    dx, dgamma, dbeta = call(x, gamma, dy, epsilon=np.float32(epsilon))
    return dx, dgamma, dbeta


def gelu_forward(a: jax.Array, b: jax.Array | None) -> jax.Array:
    """h = z Phi(z), z = a + b (..., C); b (C,) or None."""
    return jax.ffi.ffi_call("deltarule_gelu_forward", _like(a), vmap_method="sequential")(a, _given(b, a))


def gelu_backward(a: jax.Array, b: jax.Array | None, dh: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """dL/da (..., C) and dL/db (C,), None without b, from dL/dh (..., C)."""
    b_or_none = _given(b, a)
    da, db = jax.ffi.ffi_call("deltarule_gelu_backward", (_like(a), _like(b_or_none)), vmap_method="sequential")(a, b_or_none, dh)
    return da, None if b is None else db


def _like(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _given(b: jax.Array | None, a: jax.Array) -> jax.Array:
    return jnp.zeros(0, a.dtype) if b is None else b
