"""The kernels of batch normalization as JAX functions: float32, channels last."""

import jax
import jax.numpy as jnp
import numpy as np


def norm_forward(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, plus: jax.Array | None, epsilon: float,
                 relu: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """y = gamma (x - mu) / sigma + beta + plus, or its ReLU, with mu and sigma^2 over the images that count; also mu and sigma^2.

    `x`, `plus` (or None) and y (n, ..., C); gamma, beta, mu, sigma^2 (C,); `counted` (n,), 1 or 0, or None where all count.
    """
    kinds = tuple(jax.ShapeDtypeStruct(shape, x.dtype) for shape in (x.shape, x.shape[-1:], x.shape[-1:]))
    call = jax.ffi.ffi_call("deltarule_norm_forward", kinds, vmap_method="sequential")
    y, mu, variance = call(x, gamma, beta, _given(counted, x), _given(plus, x), epsilon=np.float32(epsilon), relu=relu)
    return y, mu, variance


def norm_backward(x: jax.Array, gamma: jax.Array, beta: jax.Array, counted: jax.Array | None, mu: jax.Array, variance: jax.Array,
                  y: jax.Array | None, dy: jax.Array, epsilon: float,
                  relu: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """dL/dx (n, ..., C), dL/dgamma and dL/dbeta (C,), dL/dplus from dL/dy, mu and sigma^2 being those of `norm_forward`.

    `y` is given where something was added before the ReLU; without it there is no dL/dplus.
    """
    shapes = x.shape, x.shape[-1:], x.shape[-1:], (0,) if y is None else x.shape
    kinds = tuple(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes)
    call = jax.ffi.ffi_call("deltarule_norm_backward", kinds, vmap_method="sequential")
    dx, dgamma, dbeta, dplus = call(x, gamma, beta, _given(counted, x), mu, variance, _given(y, x), dy, epsilon=np.float32(epsilon),
                                    relu=relu)
    return dx, dgamma, dbeta, None if y is None else dplus


def _given(counted: jax.Array | None, x: jax.Array) -> jax.Array:
    return jnp.zeros(0, x.dtype) if counted is None else counted.astype(x.dtype)
