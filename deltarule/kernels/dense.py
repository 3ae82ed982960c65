"""The kernel of a layer of neurons for a single row as a JAX function: float32."""

import jax
import jax.numpy as jnp
import numpy as np

BENT = ("linear", "relu", "tanh", "sigmoid")        # the activations that it takes, in its order


def dense_row(x: jax.Array, W: jax.Array, b: jax.Array | None, activation: str = "linear") -> jax.Array:
    """h = g(x W + b), g one of BENT: (1, inputs), (inputs, units), (units,) or None to (1, units)."""
    kind = jax.ShapeDtypeStruct((1, W.shape[1]), x.dtype)
    call = jax.ffi.ffi_call("deltarule_dense_row", kind, vmap_method="sequential")
    return call(x, W, jnp.zeros(0, x.dtype) if b is None else b, activation=np.int64(BENT.index(activation)))
