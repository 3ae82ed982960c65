"""The product of weights with every step of sequences, and its own backward pass, in C++ kernels where they serve."""

from typing import Any

import jax

from deltarule import kernels
from deltarule.ops import native

FEW = 256       # rows (n T) below which a plain product is as fast


def steps_product(x: jax.Array, W: jax.Array) -> jax.Array:
    """a = x W for every step. Shapes: x (n, T, C), W (C, F), a (n, T, F).

    Backwards dx = da W^T, and dW = sum over all steps of x^T da: on a CPU the kernel that finds the gradient of a convolution's weights,
    here of one pixel, reads x and da as they lie.

    >>> import jax.numpy as jnp
    >>> steps_product(jnp.ones((1, 2, 3)), jnp.ones((3, 1)))[0, :, 0].tolist()
    [3.0, 3.0]
    """
    return _product(x, W) if x.shape[0] * x.shape[1] >= FEW and native.runs(x.dtype) else x @ W


@jax.custom_vjp
def _product(x: jax.Array, W: jax.Array) -> jax.Array:
    return x @ W


@jax.custom_vjp
def _weight_gradient(x: jax.Array, da: jax.Array) -> jax.Array:
    """dW (C, F); the kernel is faster where the first of its two sizes is the larger one."""
    if x.shape[-1] < da.shape[-1]:
        return _weight_gradient(da, x).T
    T = x.shape[1]
    whole = kernels.Geometry((1, T), (1, 1), (1, T), (0, 0), (1, 1), (1, 1), (1, 1))
    return kernels.backward(x[:, None], None, None, None, da[:, None], whole, bias=False)[1][0, 0]


_product.defvjp(lambda x, W: (x @ W, (x, W)), lambda kept, da: (da @ kept[1].T, _weight_gradient(kept[0], da)))


def _backward(kept: tuple[jax.Array, jax.Array], found: jax.Array) -> tuple[Any, ...]:
    """x^T da is linear in both."""
    x, da = kept
    return da @ found.T, x @ found


_weight_gradient.defvjp(lambda x, da: (_weight_gradient(x, da), (x, da)), _backward)
