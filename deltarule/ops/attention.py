"""Attention: every query takes a mean of the values, weighed by how well their keys fit it (Vaswani et al. 2017; lecture row 39).

Shapes: queries Q (n, heads, T, d_k), keys K (n, heads, S, d_k), values V (n, heads, S, d_v), output O (n, heads, T, d_v). A mask is
True where a query may look and has four axes, each of them full or 1: (n, 1, 1, S) hides padding. A query that may look at nothing
gets zeros. The weights of long sequences would fill the memory (T x S for each head and example): there a few queries at a time are
worked out, and once more on the way back, so that the whole matrix never stands. The result is the same.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule import kernels
from deltarule.ops import native

Array = Any

LONG = 512 * 512    # weights (T S) from which queries are taken in turns
QUERIES = 128       # in one turn
WHOLE = 16          # numbers in the widest vector of a processor


class Kept(NamedTuple):
    """What attention keeps of n sequences: keys (n heads, size, room), values (n heads, room, width), which of the places are real (n,
    room), and at which the next step comes ().
    """

    keys: Array
    values: Array
    real: Array
    place: Array


def attention(Q: Array, K: Array, V: Array, causal: bool = False, mask: Array | None = None) -> Array:
    """O = softmax(Q K^T / sqrt(d_k)) V; with `causal` query t looks at keys 0 ... t only.

    >>> Q, K, V = jnp.zeros((1, 1, 2, 1)), jnp.ones((1, 1, 2, 1)), jnp.array([[[[2.0], [4.0]]]])
    >>> attention(Q, K, V)[0, 0, :, 0].tolist(), attention(Q, K, V, causal=True)[0, 0, :, 0].tolist()
    ([3.0, 3.0], [2.0, 3.0])
    """
    if jax.default_backend() == "gpu" and Q.dtype == jnp.float32 and K.shape == V.shape:
        return fused(Q, K, V, causal, mask)
    if Q.shape[-2] * K.shape[-2] > LONG:
        return in_turns(Q, K, V, causal, mask)
    return attention_weights(Q, K, causal, mask) @ V


def attention_of_steps(Q: Array, K: Array, V: Array, causal: bool = False, mask: Array | None = None) -> Array:
    """The same as `attention` with the steps before the heads: Q (n, T, heads, d_k), K (n, S, heads, d_k), V and O (n, S or T, heads, d_v).

    So a product of weights leaves them. On a CPU, where there are C++ kernels and the mask hides keys alone, the weights of a few queries
    at a time stay in the cache, forward and back; nothing is transposed.

    >>> Q, K, V = jnp.zeros((1, 2, 1, 1)), jnp.ones((1, 2, 1, 1)), jnp.array([[[[2.0]], [[4.0]]]])
    >>> attention_of_steps(Q, K, V, causal=True)[0, :, 0, 0].tolist()
    [2.0, 3.0]
    """
    keys_alone = mask is None or mask.shape[1:3] == (1, 1)
    if keys_alone and native.runs(Q.dtype):
        seen = None if mask is None else jnp.broadcast_to(mask[:, 0, 0], (Q.shape[0], K.shape[1]))
        return _in_cache(Q, K, V, seen, causal)[0]
    return _as_it_stands(Q, K, V, mask, causal)


def _as_it_stands(Q: Array, K: Array, V: Array, mask: Array | None, causal: bool) -> Array:
    Q, K, V = (jnp.swapaxes(x, 1, 2) for x in (Q, K, V))
    return jnp.swapaxes(attention(Q, K, V, causal, mask), 1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _in_cache(Q: Array, K: Array, V: Array, seen: Array | None, causal: bool) -> tuple[Array, Array]:
    """O and log Z; errors come back through O alone."""
    return kernels.attention_forward(Q, K, V, seen, causal)


def _forward(Q: Array, K: Array, V: Array, seen: Array | None, causal: bool) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    O, log_Z = _in_cache(Q, K, V, seen, causal)
    return (O, log_Z), (Q, K, V, seen, log_Z)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _gradients(Q: Array, K: Array, V: Array, seen: Array | None, log_Z: Array, dO: Array, causal: bool) -> tuple[Array, Array, Array]:
    return kernels.attention_backward(Q, K, V, seen, log_Z, dO, causal)


def _gradients_backward(causal: bool, kept: tuple[Any, ...], found: Any) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    Q, K, V, seen, log_Z, dO = kept
    mask = None if seen is None else seen[:, None, None, :]

    def gradients(Q: Array, K: Array, V: Array, dO: Array) -> Any:
        return jax.vjp(lambda Q, K, V: _as_it_stands(Q, K, V, mask, causal), Q, K, V)[1](dO)

    dQ, dK, dV, ddO = jax.vjp(gradients, Q, K, V, dO)[1](found)
    return dQ, dK, dV, None, jnp.zeros_like(log_Z), ddO


_in_cache.defvjp(_forward, lambda causal, kept, errors: (*_gradients(*kept, errors[0], causal), None))
_gradients.defvjp(lambda *given: (_gradients(*given), given[:6]), _gradients_backward)


def attention_weights(Q: Array, K: Array, causal: bool = False, mask: Array | None = None, first: Array | int = 0) -> Array:
    """A = softmax(Q K^T / sqrt(d_k)) (n, heads, T, S): rows that sum to 1, or to 0 where nothing may be looked at.

    `first` is the place of the first query in the sequence, which `causal` counts from.

    >>> Q = jnp.zeros((1, 1, 2, 1))
    >>> attention_weights(Q, Q, mask=jnp.array([[[[True, False], [False, False]]]]))[0, 0].tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    scores = Q @ jnp.swapaxes(K, -1, -2) * np.asarray(1 / math.sqrt(K.shape[-1]), Q.dtype)
    visible = _visible(scores.shape, causal, mask, first)
    if visible is None:
        return jax.nn.softmax(scores, axis=-1)
    scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    E = jnp.where(visible, jnp.exp(scores - lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))), 0)
    Z = jnp.sum(E, axis=-1, keepdims=True)
    return E / jnp.where(Z > 0, Z, 1)


def room_for(T: int, heads: int, size: int, n: int, dtype: str) -> Kept:
    """Room for the keys and values of T steps of n sequences, of which none is there yet; sizes rounded up for `onward`.

    >>> room = room_for(5, heads=2, size=3, n=4, dtype="float32")
    >>> room.keys.shape, room.values.shape
    ((8, 3, 16), (8, 16, 16))
    """
    room, width = (-(-number // WHOLE) * WHOLE for number in (T, size))
    return Kept(np.zeros((n * heads, size, room), dtype), np.zeros((n * heads, room, width), dtype), np.zeros((n, room), bool),
                np.zeros((), np.int32))


def onward(Q: Array, K: Array, V: Array, here: Array, kept: Kept) -> tuple[Array, Kept]:
    """Causal attention of steps that come behind those kept, and what is kept with them: Q, K, V and O (n, steps, heads, size).

    `here` (n, steps) is False for padding. On a CPU, where there are C++ kernels, keys and values are written into their place, and only
    what is there is looked at.

    >>> Q, V = jnp.zeros((1, 1, 1, 1)), jnp.array([[[[2.0]]]])
    >>> O, kept = onward(Q, Q, V, jnp.array([[True]]), room_for(2, 1, 1, 1, "float32"))
    >>> onward(Q, Q, 2 * V, jnp.array([[True]]), kept)[0].tolist()
    [[[[3.0]]]]
    """
    place, (n, steps, heads, size) = kept.place, Q.shape
    if native.runs(Q.dtype):
        O, keys, values, real = kernels.attention_onward(Q, K, V, here, *kept)
        return O, Kept(keys, values, real, place + steps)
    zero, rows = jnp.zeros_like(place), n * heads
    keys = lax.dynamic_update_slice(kept.keys, jnp.transpose(K, (0, 2, 3, 1)).reshape(rows, size, steps), (zero, zero, place))
    values = lax.dynamic_update_slice(kept.values, jnp.swapaxes(V, 1, 2).reshape(rows, steps, size), (zero, place, zero))
    real = lax.dynamic_update_slice(kept.real, here, (zero, place))
    seen = jnp.broadcast_to(real[:, None], (n, heads, real.shape[-1])).reshape(rows, 1, real.shape[-1])
    A = attention_weights(jnp.swapaxes(Q, 1, 2).reshape(rows, steps, size), jnp.swapaxes(keys, 1, 2), causal=steps > 1, mask=seen,
                          first=place)       # one step sees all that is there
    O = (A @ values)[..., :size].reshape(n, heads, steps, size)
    return jnp.swapaxes(O, 1, 2), Kept(keys, values, real, place + steps)


def in_turns(Q: Array, K: Array, V: Array, causal: bool = False, mask: Array | None = None, queries: int = QUERIES) -> Array:
    """The same as `attention`, a number of `queries` at a time; only Q, K and V are kept for the way back.

    >>> Q = jnp.arange(5.0).reshape(1, 1, 5, 1)
    >>> bool(jnp.allclose(in_turns(Q, Q, Q, True, queries=2), attention(Q, Q, Q, True), rtol=1e-6))
    True
    """
    T = Q.shape[-2]
    turns = -(-T // queries)

    def apart(x: Array) -> Array:
        """(n, heads, T, d) as (turns, n, heads, queries, d), with zeros behind the end."""
        x = jnp.pad(x, ((0, 0), (0, 0), (0, turns * queries - T), (0, 0)))
        return jnp.moveaxis(x.reshape(*x.shape[:2], turns, queries, x.shape[-1]), 2, 0)

    each_query = mask is not None and mask.shape[-2] > 1

    @jax.checkpoint
    def turn(given: tuple[Array, ...], K: Array, V: Array) -> Array:
        number, some, *own = given
        return attention_weights(some, K, causal, own[0] if own else mask, number * queries) @ V

    parts = (jnp.arange(turns), apart(Q), *([apart(mask)] if each_query else []))
    O = lax.map(lambda given: turn(given, K, V), parts)
    return jnp.moveaxis(O, 0, 2).reshape(*Q.shape[:2], turns * queries, V.shape[-1])[..., :T, :]


def fused(Q: Array, K: Array, V: Array, causal: bool = False, mask: Array | None = None) -> Array:
    """The same by JAX's own kernel, which graphics processors have; it wants the heads behind the steps, and d_k = d_v.

    >>> Q = jnp.arange(5.0).reshape(1, 1, 5, 1)
    >>> bool(jnp.allclose(fused(Q, Q, Q, True), attention(Q, Q, Q, True), rtol=1e-5))
    True
    """
    q, k, v = (jnp.swapaxes(x, 1, 2) for x in (Q, K, V))
    O = jnp.swapaxes(jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=causal), 1, 2)
    if mask is None:
        return O
    visible: Any = _visible((*Q.shape[:-1], K.shape[-2]), causal, mask, 0)
    return jnp.where(jnp.any(visible, axis=-1, keepdims=True), O, 0)


def rotary(x: Array, first: Array | int = 0) -> Array:
    """Each pair (x_2i, x_2i+1) at step t turned by the angle t / 10000^(2i/d): (..., T, d) to the same (Su et al. 2021).

    The product of a query at t and a key at s, both turned, depends on t - s alone. `first` is the place of the first step.

    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    >>> rotary(x).round(3).tolist()
    [[1.0, 0.0], [0.5400000214576721, 0.8410000205039978]]
    """
    T, d = x.shape[-2:]
    slowness = 10000 ** (2 * np.arange(d // 2)[None, :] / d)
    if isinstance(first, int):
        angle = (first + np.arange(T)[:, None]) / slowness
        cosine, sine = jnp.asarray(np.cos(angle), x.dtype), jnp.asarray(np.sin(angle), x.dtype)
    else:
        angle = (first + jnp.arange(T)).astype(x.dtype)[:, None] / jnp.asarray(slowness, x.dtype)
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
    cosine, sine = (jnp.broadcast_to(factor, (*x.shape[:-1], d // 2)) for factor in (cosine, sine))
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1).reshape(x.shape)


def sinusoids(T: int, d: int) -> np.ndarray:
    """PE(t, 2i) = sin(t / 10000^(2i/d)), PE(t, 2i+1) = cos(t / 10000^(2i/d)): (T, d) (Vaswani et al. 2017, section 3.5).

    >>> sinusoids(2, 2).round(3).tolist()
    [[0.0, 1.0], [0.841, 0.54]]
    """
    k = np.arange(d)
    angle = np.arange(T)[:, None] / 10000 ** (2 * (k // 2) / d)[None, :]
    return np.where(k % 2 == 0, np.sin(angle), np.cos(angle))


def _visible(shape: tuple[int, ...], causal: bool, mask: Array | None, first: Array | int) -> Array | None:
    """Where queries may look: the mask and the past, broadcast to (n, heads, T, S); None where everywhere."""
    if not causal:
        return None if mask is None else jnp.broadcast_to(mask, shape)
    T, S = shape[-2:]
    past = jnp.broadcast_to(jnp.arange(S)[None, :] <= first + jnp.arange(T)[:, None], shape)
    return past if mask is None else past & jnp.broadcast_to(mask, shape)
