"""Connectionist temporal classification: the probability of a labelling summed over all its alignments, forwards and backwards.

The labels l (L,) with a blank before, between and behind them are l' (2 L + 1,). alpha_t(s) is the logarithm of the probability of all
paths that have read l'_1 ... l'_s by step t, beta_t(s) that of all ways to finish from there; one scan over the steps each. Before the
first step all paths stand at the first blank, and in a step of padding they stay where they are.
Source: Graves, Fernandez, Gomez and Schmidhuber (2006), equations 5 to 16, in logarithms.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = Any

NEVER = -1e30       # the logarithm of no probability, finite so that differences of two stay numbers


@jax.custom_vjp
def ctc(a: Array, labels: Array, lengths: Array, blank: Array, mask: Array) -> Array:
    """-ln p(labels | a), (n,): pre-activations a (n, T, K) of a softmax, whole numbers labels (n, L) of which `lengths` (n,) count.

    `mask` (n, T) is False for steps that only fill up: the loss is that of the others alone. The gradient is derived by hand:
    dL/da = softmax(a) - the probability, given the labels, that step t says k.

    >>> a = jnp.zeros((1, 2, 3))        # two steps, all nine paths equally probable; three of them say "1": 11, 1-, -1
    >>> round(float(jnp.exp(-ctc(a, jnp.array([[1]]), jnp.array([1]), jnp.int32(0), jnp.ones((1, 2), bool)))[0]), 6)
    0.333333
    """
    return _forward(a, labels, lengths, blank, mask)[0]


def _forward(a: Array, labels: Array, lengths: Array, blank: Array, mask: Array) -> tuple[Array, tuple[Array, ...]]:
    """The loss (n,), and what the backward pass goes on with: ln y, l', where one may be stepped over, which s end, ln y(l'), alpha."""
    n, L = labels.shape
    log_y = jax.nn.log_softmax(a, axis=-1)
    places = jnp.arange(2 * L + 1, dtype=jnp.int32)[None]
    extended = jnp.full((n, 2 * L + 1), blank, labels.dtype).at[:, 1::2].set(labels)                      # l'
    before = jnp.pad(extended, ((0, 0), (2, 0)), constant_values=-1)[:, :-2]
    over = (extended != blank) & (extended != before)                       # s may follow s - 2: no blank, and not the same label
    said = jnp.take_along_axis(log_y, extended[:, None, :], axis=2)         # ln y_t(l'_s), (n, T, S)
    ends = (places == 2 * lengths[:, None]) | (places == 2 * lengths[:, None] - 1)
    none = jnp.asarray(NEVER, a.dtype)

    def step(alpha: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        said_t, there = now
        after = _sum(alpha, _shifted(alpha, 1), jnp.where(over, _shifted(alpha, 2), none)) + said_t
        alpha = jnp.where(there, after, alpha)
        return alpha, alpha

    first = jnp.where(jnp.broadcast_to(places == 0, extended.shape), jnp.zeros_like(none), none)
    last, alphas = lax.scan(step, first, (jnp.moveaxis(said, 1, 0), mask.T[..., None]))                    # alphas (T, n, S)
    log_p = jax.nn.logsumexp(jnp.where(ends, last, none), axis=1)
    return -log_p, (log_y, extended, over, ends, said, alphas, mask)


def _backward(kept: tuple[Array, ...], slope: Array) -> tuple[Array, None, None, None, None]:
    """dL/da = (y - posterior) dL/dloss, and 0 in steps of padding."""
    log_y, extended, over, ends, said, alphas, mask = kept
    none = jnp.asarray(NEVER, log_y.dtype)
    over_next = jnp.pad(over, ((0, 0), (0, 2)))[:, 2:]

    def step(beta: Array, following: tuple[Array, Array]) -> tuple[Array, Array]:
        said_next, there = following
        onward = beta + said_next
        before = _sum(onward, _shifted(onward, -1), jnp.where(over_next, _shifted(onward, -2), none))
        beta = jnp.where(there, before, beta)
        return beta, beta

    last = jnp.where(ends, jnp.zeros_like(none), none)
    _, rest = lax.scan(step, last, (jnp.moveaxis(said[:, 1:], 1, 0), mask.T[1:, :, None]), reverse=True)
    betas = jnp.concatenate([rest, last[None]])
    share = jax.nn.softmax(alphas + betas, axis=2)      # of the paths that are at s: exp(alpha + beta) / p, and p is their sum in each step
    which = jax.nn.one_hot(extended, log_y.shape[-1], dtype=log_y.dtype)                                 # (n, S, K)
    posterior = jnp.einsum("tns,nsk->ntk", share, which)
    delta = jnp.where(mask[..., None], jnp.exp(log_y) - posterior, jnp.zeros_like(log_y))
    return delta * slope[:, None, None], None, None, None, None


ctc.defvjp(_forward, _backward)


def _shifted(x: Array, by: int) -> Array:
    """x (n, S) moved to the right by 1 or 2 places, to the left where `by` is negative; nothing comes in."""
    wide = jnp.pad(x, ((0, 0), (max(by, 0), max(-by, 0))), constant_values=NEVER)
    return wide[:, :x.shape[1]] if by > 0 else wide[:, -by:]


def _sum(x: Array, y: Array, z: Array) -> Array:
    """ln(exp x + exp y + exp z)."""
    return jnp.logaddexp(jnp.logaddexp(x, y), z)
