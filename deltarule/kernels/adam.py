"""The kernel of Adam's averages and direction as a JAX function: float32, any shape."""

import jax


def adam_direction(g: jax.Array, m: jax.Array, s: jax.Array, settings: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The direction and the new averages, of the shape of g, in the places of g, m and s where these are not needed any more.

    `settings` (7,): beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon.
    """
    kind = jax.ShapeDtypeStruct(g.shape, g.dtype)
    call = jax.ffi.ffi_call("deltarule_adam_direction", (kind, kind, kind), vmap_method="broadcast_all",
                            input_output_aliases={0: 0, 1: 1, 2: 2})
    d, m, s = call(g, m, s, settings)
    return d, m, s
