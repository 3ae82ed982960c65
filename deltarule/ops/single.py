"""A layer of neurons for a single row, in a C++ kernel where it serves: the prediction of one example (lecture row 16).

Reading the weights is all that takes time. XLA hands programs with more than about a thousand operations over to another thread, which it
has to wake first; one that has its products, biases and activations in kernels runs at once.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from deltarule import kernels
from deltarule.ops import native
from deltarule.ops.activations import activation as named


def neurons(x: jax.Array, W: jax.Array, b: jax.Array | None, activation: str) -> jax.Array:
    """h = g(x W + b). Shapes: x (1, inputs), W (inputs, units), b (units,) or None, h (1, units).

    >>> neurons(jnp.ones((1, 512)), jnp.ones((512, 512)), -jnp.ones(512), "relu")[0, :3].tolist()
    [511.0, 511.0, 511.0]
    """
    if not native.runs(x.dtype, *kernels.DENSE):
        return _as_it_stands(x, W, b, activation)
    if activation in kernels.BENT:
        return _in_one_pass(x, W, b, activation)
    return named(activation)(_in_one_pass(x, W, b, "linear"))


def _as_it_stands(x: jax.Array, W: jax.Array, b: jax.Array | None, activation: str) -> jax.Array:
    a = x @ W
    return named(activation)(a if b is None else a + jnp.broadcast_to(b, a.shape))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _in_one_pass(x: jax.Array, W: jax.Array, b: jax.Array | None, activation: str) -> jax.Array:
    return kernels.dense_row(x, W, b, activation)


@_in_one_pass.defjvp
def _slope(activation: str, given: tuple[Any, ...], towards: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    """Of the equation as it stands, for layers that ask for slopes in the midst of a prediction."""
    return _in_one_pass(*given, activation), jax.jvp(functools.partial(_as_it_stands, activation=activation), given, towards)[1]
