"""The product of rows with a matrix of few columns, and a backward pass that is fast for it."""

import jax
from jax import lax


def product(x: jax.Array, W: jax.Array) -> jax.Array:
    """a = x W. Shapes: x (n, C), W (C, F), a (n, F).

    Backwards dx = da W^T and dW = x^T da. Where F is small beside C the latter is found as (da^T x)^T: XLA on a CPU works out 512 rows of
    10 sums over 128 examples in 80 us, 10 rows of 512 sums in 6.

    >>> import jax.numpy as jnp
    >>> jax.grad(lambda W: product(jnp.ones((3, 16)), W).sum())(jnp.ones((16, 2)))[0].tolist()
    [3.0, 3.0]
    """
    (n, C), F = x.shape, W.shape[1]
    return _narrow(x, W) if 8 * F <= C and (F <= 16 or n * F <= 1024) and jax.default_backend() == "cpu" else x @ W


@jax.custom_vjp
def _narrow(x: jax.Array, W: jax.Array) -> jax.Array:
    return x @ W


def _backward(kept: tuple[jax.Array, jax.Array], da: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, W = kept
    return da @ W.T, lax.optimization_barrier(da.T @ x).T      # without the barrier XLA turns the product round again


_narrow.defvjp(lambda x, W: (x @ W, (x, W)), _backward)
