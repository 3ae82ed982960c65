"""Attention: every position looks at every other, with weights that are kept (Vaswani et al. 2017; lecture row 39).

Shapes: queries Q (..., T, d_k), keys K (..., S, d_k), values V (..., S, d_v). A mask, broadcast to (..., T, S), is True where a query
may look.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.activations import softmax
from deltarule.textbook.arrays import Array, Gradient, Parameters, expect_names, expect_shape, expect_whole, floats


class AttentionRun(NamedTuple):
    """All that attention computed: `Q`, `K`, `V`, the attention weights `A` (..., T, S), rows that sum to 1, and `O` = A V."""

    Q: Array
    K: Array
    V: Array
    A: Array
    O: Array


def attention_forward(Q: ArrayLike, K: ArrayLike, V: ArrayLike, mask: ArrayLike | None = None) -> AttentionRun:
    """A = softmax(Q K^T / sqrt(d_k)), O = A V (Vaswani et al. 2017, equation 1).

    Where the mask is False the score is -infinity, so that the weight is 0. Raises ShapeError where arrays do not fit,
    DeltaruleError where a query may look at nothing.

    >>> run = attention_forward([[0.0], [0.0]], [[1.0], [5.0]], [[2.0], [4.0]], mask=np.tri(2, dtype=bool))
    >>> run.A, run.O[:, 0]
    (array([[1. , 0. ], [0.5, 0.5]]), array([2., 3.]))
    """
    Q, K, V = floats("Q", Q), floats("K", K), floats("V", V)
    if min(Q.ndim, K.ndim, V.ndim) < 2 or Q.shape[-1] != K.shape[-1] or K.shape[:-1] != V.shape[:-1] or Q.shape[:-2] != K.shape[:-2]:
        raise ShapeError(f"attention expected Q (..., T, d_k), K (..., S, d_k) and V (..., S, d_v), "
                         f"received {Q.shape}, {K.shape} and {V.shape}")
    d_k = K.shape[-1]
    S = Q @ np.swapaxes(K, -1, -2) / math.sqrt(d_k)
    if mask is not None:
        S = np.where(_visible(mask, S.shape), S, -np.inf)
    A = softmax(S)
    return AttentionRun(Q, K, V, A, A @ V)


def attention_backward(run: AttentionRun, dO: ArrayLike) -> Gradient:
    """dL/dV = A^T dO, dL/dA = dO V^T, dL/dS = A (dA - sum_s A dA), dL/dQ = dS K / sqrt(d_k), dL/dK = dS^T Q / sqrt(d_k).

    `dO` is dL/dO (..., T, d_v); the result holds "Q", "K" and "V". Raises ShapeError where `dO` does not fit.

    >>> gradient = attention_backward(attention_forward([[0.0]], [[1.0], [5.0]], [[2.0], [4.0]]), [[1.0]])
    >>> gradient["V"][:, 0], gradient["Q"]
    (array([0.5, 0.5]), array([[2.]]))
    """
    Q, K, V, A, O = run
    dO = expect_shape("dL/dO", floats("dL/dO", dO), O.shape)
    d_k = K.shape[-1]
    dV = np.swapaxes(A, -1, -2) @ dO
    dA = dO @ np.swapaxes(V, -1, -2)
    dS = A * (dA - np.sum(A * dA, axis=-1, keepdims=True))             # the Jacobian of softmax, row by row
    dQ = dS @ K / math.sqrt(d_k)
    dK = np.swapaxes(dS, -1, -2) @ Q / math.sqrt(d_k)
    return {"Q": dQ, "K": dK, "V": dV}


class MultiHeadRun(NamedTuple):
    """All that multi-head attention computed.

    `x` (n, T, d) and `memory` (n, S, d) went in; `heads` holds Q, K, V, A and O of all heads (n, heads, ...); `joined` (n, T, heads d_v)
    are their outputs side by side; `y` (n, T, d).
    """

    x: Array
    memory: Array
    heads: AttentionRun
    joined: Array
    y: Array


def multi_head_forward(theta: Parameters, x: ArrayLike, heads: int, memory: ArrayLike | None = None,
                       mask: ArrayLike | None = None) -> MultiHeadRun:
    """head_i = attention(x W_Q,i, m W_K,i, m W_V,i), y = (head_1, ..., head_h) W_O (Vaswani et al. 2017, section 3.2.2).

    `x` (n, T, d) asks, `memory` (n, S, d) is looked at: x itself unless given (self-attention). theta: "W_Q", "W_K" (d, heads d_k),
    "W_V" (d, heads d_v), the heads side by side, "W_O" (heads d_v, d). `mask` is broadcast to (n, heads, T, S). Raises ShapeError where
    arrays do not fit, DeltaruleError for heads below 1 or a query that may look at nothing.

    >>> theta = {name: np.eye(2) for name in ("W_Q", "W_K", "W_V", "W_O")}
    >>> run = multi_head_forward(theta, [[[1.0, 0.0], [0.0, 1.0]]], heads=2)
    >>> run.heads.A.shape, run.y.shape
    ((1, 2, 2, 2), (1, 2, 2))
    """
    expect_whole("heads", heads)
    expect_names(theta, ("W_Q", "W_K", "W_V", "W_O"))
    x = floats("x", x, "n, T, d")
    memory = x if memory is None else floats("memory", memory, "n, S, d")
    for name, source in (("W_Q", x), ("W_K", memory), ("W_V", memory)):
        if theta[name].shape[0] != source.shape[-1] or theta[name].shape[1] % heads:
            raise ShapeError(f"{name} has shape {theta[name].shape}, expected ({source.shape[-1]}, a multiple of the {heads} heads)")
    Q = _split(x @ theta["W_Q"], heads)
    K = _split(memory @ theta["W_K"], heads)
    V = _split(memory @ theta["W_V"], heads)
    run = attention_forward(Q, K, V, mask)
    joined = _join(run.O)
    if theta["W_O"].shape[0] != joined.shape[-1]:
        raise ShapeError(f"W_O has shape {theta['W_O'].shape}, expected ({joined.shape[-1]}, d) for the joined heads")
    return MultiHeadRun(x, memory, run, joined, joined @ theta["W_O"])


def multi_head_backward(theta: Parameters, run: MultiHeadRun, dy: ArrayLike) -> Gradient:
    """The way back: through W_O, through every head, through W_Q, W_K and W_V.

    `dy` is dL/dy (n, T, d); the result holds the names of theta, "x" and "memory", summed over the examples; where x is its own memory,
    dL/dx is the sum of the two. Raises ShapeError where `dy` does not fit.

    >>> theta = {name: np.eye(2) for name in ("W_Q", "W_K", "W_V", "W_O")}
    >>> run = multi_head_forward(theta, [[[1.0, 0.0], [0.0, 1.0]]], heads=2)
    >>> sorted(multi_head_backward(theta, run, np.ones((1, 2, 2))))
    ['W_K', 'W_O', 'W_Q', 'W_V', 'memory', 'x']
    """
    dy = expect_shape("dL/dy", floats("dL/dy", dy), run.y.shape)
    heads = run.heads.A.shape[1]
    d = attention_backward(run.heads, _split(dy @ theta["W_O"].T, heads))
    dQ, dK, dV = _join(d["Q"]), _join(d["K"]), _join(d["V"])
    return {
        "W_O": np.einsum("nti,ntj->ij", run.joined, dy),
        "W_Q": np.einsum("nti,ntj->ij", run.x, dQ),
        "W_K": np.einsum("nsi,nsj->ij", run.memory, dK),
        "W_V": np.einsum("nsi,nsj->ij", run.memory, dV),
        "x": dQ @ theta["W_Q"].T,
        "memory": dK @ theta["W_K"].T + dV @ theta["W_V"].T,
    }


def positional_encoding(T: int, d: int) -> Array:
    """PE(t, 2i) = sin(t / 10000^(2i/d)), PE(t, 2i+1) = cos(t / 10000^(2i/d)): (T, d) (Vaswani et al. 2017, section 3.5).

    Raises DeltaruleError unless T and d are whole numbers from 1 on.

    >>> positional_encoding(2, 4).round(3)
    array([[0.   , 1.   , 0.   , 1.   ], [0.841, 0.54 , 0.01 , 1.   ]])
    """
    expect_whole("T", T)
    expect_whole("d", d)
    t, k = np.arange(T)[:, None], np.arange(d)[None, :]
    angle = t / 10000 ** (2 * (k // 2) / d)
    return np.where(k % 2 == 0, np.sin(angle), np.cos(angle))


def _visible(mask: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    visible = np.asarray(mask, bool)
    try:
        visible = np.broadcast_to(visible, shape)
    except ValueError:
        raise ShapeError(f"the mask has shape {visible.shape}, expected one that broadcasts to (..., T, S) = {shape}") from None
    if not visible.any(axis=-1).all():
        raise DeltaruleError("the mask hides everything from a query; let each query look at one position at least")
    return visible


def _split(x: Array, heads: int) -> Array:
    """(n, T, heads d) to (n, heads, T, d)."""
    n, T, width = x.shape
    return np.swapaxes(x.reshape(n, T, heads, width // heads), 1, 2)


def _join(x: Array) -> Array:
    """(n, heads, T, d) to (n, T, heads d): the inverse of `_split`."""
    n, heads, T, d = x.shape
    return np.swapaxes(x, 1, 2).reshape(n, T, heads * d)
