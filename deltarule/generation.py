"""Writing: a causal language model continues a sequence, one step at a time, in one compiled loop."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.arguments import valid_seed
from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree
from deltarule.network import Network
from deltarule.ops.compiling import precision


def generate(net: Network, prompt: Any, length: int, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
             seed: int = 0) -> np.ndarray:
    """The prompt, continued by `length` whole numbers drawn from p(next) = softmax(a / temperature) of a causal language model.

    `prompt` (P,) or (n, P) holds whole numbers of the vocabulary, P from 1 on; returned are (P + length,) or (n, P + length), int32. The
    model sees at most the last T of them, T being the length of its rows. `temperature` 0 takes the most probable; `top_k` draws among
    the k most probable only, `top_p` among the fewest that together have at least this probability (Holtzman et al. 2020). Every step
    runs the whole window again; keys and values are not kept. Raises DeltaruleError for settings out of range and a network that
    is no causal language model, ShapeError or DataError for a prompt that does not fit.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Embedding(5, 4), dr.TransformerEncoder(2, causal=True), dr.Dense(5, "softmax")], input_shape=(8,))
    >>> dr.generate(net, [1, 2], 10).shape
    (12,)
    """
    vocabulary, tokens = _checked(net, prompt)
    checked_number("length", length, 1, whole=True)
    checked_number("temperature", temperature, 0)
    if top_k is not None:
        checked_number("top_k", top_k, 1, most=vocabulary, whole=True)
    if top_p is not None:
        checked_number("top_p", top_p, most=1, above=0)
    key = np.array([valid_seed(seed), 0], np.uint32)
    rows, P = np.atleast_2d(tokens), tokens.shape[-1]
    written = np.zeros((len(rows), max(P + length, net.input_shape[0])), np.int32)
    written[:, :P] = rows
    with precision(net.dtype):
        settings = vocabulary if top_k is None else int(top_k), 1.0 if top_p is None else float(top_p), net.input_shape[0]
        written = np.asarray(_write(net.layer, net.dtype, net.params, net.state, written, np.int32(P), np.int32(P + length), key,
                                    np.float32(temperature), settings))
    return written[:, :P + length].reshape(*tokens.shape[:-1], P + length)


def chosen(a: Array, top_k: int, top_p: float) -> Array:
    """a (n, K) with -infinity for all but the `top_k` largest, and but the fewest whose probabilities reach `top_p` together.

    >>> chosen(jnp.log(jnp.array([[0.5, 0.3, 0.2]])), top_k=3, top_p=0.6).tolist()
    [[-0.6931471824645996, -1.2039728164672852, -inf]]
    """
    K = a.shape[-1]
    if top_k >= K and top_p >= 1:
        return a
    order = jnp.argsort(-a, axis=-1)
    place = jnp.argsort(order, axis=-1)                                 # 0 for the largest
    p = jnp.take_along_axis(jax.nn.softmax(a, axis=-1), order, axis=-1)
    before = jnp.take_along_axis(jnp.cumsum(p, axis=-1) - p, place, axis=-1)     # the probability of all that are larger
    return jnp.where((place < top_k) & (before < top_p), a, -jnp.inf)


@functools.partial(jax.jit, static_argnames=("layer", "dtype", "settings"))
def _write(layer: Layer, dtype: str, params: Tree, state: Tree, written: Array, begin: Array, end: Array, key: Array,
           temperature: Array, settings: tuple[int, float, int]) -> Array:
    """Steps begin ... end - 1 of `written` (n, steps), each drawn from what stands before it; settings: top_k, top_p, T."""
    top_k, top_p, T = settings
    rows = written.shape[0]

    def write(p: Array, written: Array) -> Array:
        start = jnp.maximum(p - T, 0)
        window = lax.dynamic_slice(written, (jnp.zeros_like(start), start), (rows, T))
        output, _ = forward(layer, params, state, window, dtype=dtype)
        a = jnp.log(output.h) if output.a is None else output.a
        a = lax.dynamic_index_in_dim(a, p - start - 1, axis=1, keepdims=False)            # (n, K), at the last step that is written
        a = a.astype(jnp.float32)
        likely = chosen(a / jnp.maximum(temperature, 1e-6), top_k, top_p)
        drawn = jax.random.categorical(jax.random.fold_in(jax.random.wrap_key_data(key), p), likely)
        token = jnp.where(temperature > 0, drawn, jnp.argmax(a, axis=-1)).astype(jnp.int32)
        return lax.dynamic_update_slice(written, token[:, None], (jnp.zeros_like(p), p))

    return lax.fori_loop(begin, end, write, written)


def _checked(net: Any, prompt: Any) -> tuple[int, np.ndarray]:
    """The size of the vocabulary, and the prompt as whole numbers (P,) or (n, P)."""
    if not isinstance(net, Network):
        raise DeltaruleError(f"generate expected a Network, received {type(net).__name__}")
    K = net.vocabulary
    if K is None or len(net.input_shape) != 1 or net.output_shape != (*net.input_shape, K) or net.output.activation != "softmax":
        raise DeltaruleError("generate needs a language model: Embedding(K, ...) first, and Dense(K, 'softmax') last, for every step")
    given = as_array(prompt, "prompt")
    if given.ndim not in (1, 2) or not given.size:
        raise ShapeError(f"prompt expected whole numbers of shape (P,) or (n, P), at least one each, received {given.shape}")
    wrong = given[(given < 0) | (given >= K) | (given != np.rint(given))]
    if wrong.size:
        raise DataError(f"prompt holds {wrong[0]:g}; the model's vocabulary are whole numbers from 0 to {K - 1}")
    if not _causal(net, K):
        raise DeltaruleError("generate needs a causal network, in this one early outputs change with later inputs; "
                             "write TransformerEncoder(..., causal=True)")
    return K, given.astype(np.int32)


def _causal(net: Network, vocabulary: int) -> bool:
    """Whether what comes later leaves the outputs before it as they are, tried on two rows."""
    T = net.input_shape[0]
    x = np.random.default_rng(0).integers(0, vocabulary, (2, T))
    x[1, :T // 2] = x[0, :T // 2]
    one, two = net.predict(x)[:, :T // 2]
    return bool(np.allclose(one, two, rtol=1e-4, atol=1e-6))
