"""The pooling kernels as JAX functions: float32, two dimensions, channels last."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Sizes of image, window and output; padding before the image, which never counts; steps between windows."""

    space: Pair
    window: Pair
    output: Pair
    before: Pair
    stride: Pair

    def numbers(self, n: int, channels: int) -> np.ndarray:
        """As the kernels take it, for n images."""
        return np.array([n, *self.space, channels, *self.window, *self.output, *self.before, *self.stride], np.int64)


def pool_forward(x: jax.Array, at: Geometry, largest: bool) -> tuple[jax.Array, jax.Array]:
    """y = the largest value of every window, or their mean: (n, *space, C) to (n, *output, C).

    The second value says which value of each window was the largest; for the mean it is empty.
    """
    shape = (x.shape[0], *at.output, x.shape[-1])
    kinds = jax.ShapeDtypeStruct(shape, x.dtype), jax.ShapeDtypeStruct(shape if largest else (0,), jnp.uint8)
    y, which = jax.ffi.ffi_call("deltarule_pool_forward", kinds, vmap_method="sequential")(x, geometry=at.numbers(x.shape[0], x.shape[-1]))
    return y, which


def pool_backward(which: jax.Array | None, dy: jax.Array, at: Geometry) -> jax.Array:
    """dL/dx (n, *space, C) from dL/dy: to the value of each window that `which` names, or without it in equal parts to all."""
    n, C = dy.shape[0], dy.shape[-1]
    call = jax.ffi.ffi_call("deltarule_pool_backward", jax.ShapeDtypeStruct((n, *at.space, C), dy.dtype), vmap_method="sequential")
    which = jnp.zeros(0, jnp.uint8) if which is None else which
    return call(which, dy, geometry=at.numbers(n, C))
