"""GELU with the bias before it in one pass, and its own backward pass, in C++ kernels where they serve (lecture row 10)."""

from typing import Any

import jax
import jax.numpy as jnp

from deltarule import kernels
from deltarule.ops import native


def biased_gelu(a: jax.Array, b: jax.Array) -> jax.Array:
    """h = z Phi(z), z = a + b (Hendrycks and Gimpel 2016). Shapes: a and h (..., C), b (C,).

    Backwards da = dh (Phi(z) + z phi(z)) and db, its sum over all rows, with the normal distribution Phi and its density phi.

    >>> biased_gelu(jnp.array([[-10000.0, 0.0, 10000.0]]), jnp.zeros(3)).tolist()
    [[-0.0, 0.0, 10000.0]]
    """
    return _in_one_pass(a, b) if native.runs(a.dtype) else _as_it_stands(a, b)


def _as_it_stands(a: jax.Array, b: jax.Array) -> jax.Array:
    return jax.nn.gelu(a + jnp.broadcast_to(b, a.shape), approximate=False)


@jax.custom_vjp
def _in_one_pass(a: jax.Array, b: jax.Array) -> jax.Array:
    return kernels.gelu_forward(a, b)


@jax.custom_vjp
def _gradients(a: jax.Array, b: jax.Array, dh: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    return kernels.gelu_backward(a, b, dh)


def _gradients_backward(kept: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    return jax.vjp(lambda a, b, dh: jax.vjp(_as_it_stands, a, b)[1](dh), *kept)[1](found)


_in_one_pass.defvjp(lambda a, b: (_in_one_pass(a, b), (a, b)), lambda kept, dh: _gradients(*kept, dh))
_gradients.defvjp(lambda *given: (_gradients(*given), given), _gradients_backward)
