"""Adam's averages of gradients and their squares, and the direction that they give."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from deltarule import kernels
from deltarule.ops import native

MANY = 2**14        # numbers from which on one pass over the memory is worth a call of the kernel


class Decays(NamedTuple):
    """How fast both averages forget, and what keeps the direction finite; numbers, or arrays of no axes."""

    beta1: Any
    beta2: Any
    epsilon: Any


def direction(g: jax.Array, m: jax.Array, s: jax.Array, decays: Decays, t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """d = m' / (sqrt(s') + epsilon) in step t = 1, 2, ..., and the averages m and s with g in them, all of one shape.

    m' = m / (1 - beta1^t) and s' = s / (1 - beta2^t) (Kingma and Ba 2015, algorithm 1). On a CPU a kernel does it in one pass over large
    arrays of float32.

    >>> d, m, s = direction(jnp.full(2, 3.0), jnp.zeros(2), jnp.zeros(2), Decays(0.9, 0.999, 1e-8), jnp.asarray(1))
    >>> bool(jnp.allclose(d, 1.0)), bool(jnp.allclose(m, 0.3)), bool(jnp.allclose(s, 0.009))
    (True, True, True)
    """
    beta1, beta2, epsilon = decays
    t = t.astype(g.dtype)
    gain, share = 1 / (1 - beta1**t), 1 / jnp.sqrt(1 - beta2**t)     # m' = gain m, sqrt(s') = share sqrt(s)
    if g.size >= MANY and native.runs(g.dtype, *kernels.DENSE):
        settings = (beta1, 1 - beta1, beta2, 1 - beta2, gain, share, epsilon)
        return kernels.adam_direction(g, m, s, jnp.stack([jnp.asarray(value, g.dtype) for value in settings]))
    m = (1 - beta1) * g + beta1 * m
    s = (1 - beta2) * (g * g) + beta2 * s
    return m * gain / (jnp.sqrt(s) * share + epsilon), m, s
