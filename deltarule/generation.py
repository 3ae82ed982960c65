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
from deltarule.layers.scope import CARRIED, Array, Tree
from deltarule.losses import Output
from deltarule.network import Network
from deltarule.ops.compiling import precision
from deltarule.training.carrying import cache, endless, followed


def generate(net: Network, prompt: Any, length: int, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
             seed: int = 0, beams: int = 1) -> np.ndarray:
    """The prompt, continued by `length` whole numbers drawn from p(next) = softmax(a / temperature) of a causal language model.

    `prompt` (P,) or (n, P) holds whole numbers of the vocabulary, P from 1 on; returned are (P + length,) or (n, P + length), int32. The
    model sees at most the last T of them, T being the length of its rows. `temperature` 0 takes the most probable; `top_k` draws among
    the k most probable only, `top_p` among the fewest that together have at least this probability (Holtzman et al. 2020).

    Up to T only the new step is worked out: attention keeps keys and values, recurrent layers their states. Beyond T, and where a layer of
    one's own is not known to do with that, every step runs the whole window again, T times the work; a network whose only memory are
    recurrent layers sees all that was written and goes on step by step for ever.

    With `beams` B > 1 nothing is drawn: the B most probable continuations are kept in every step, and the best of them is returned;
    temperature, top_k and top_p do not apply. Raises DeltaruleError for settings out of range and a network that is no causal language
    model, ShapeError or DataError for a prompt that does not fit.

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
    checked_number("beams", beams, 1, whole=True)
    if beams > 1 and (temperature != 1.0 or top_k is not None or top_p is not None):
        raise DeltaruleError(f"generate with beams={beams} draws nothing; leave out temperature, top_k and top_p, or give beams=1")
    key = np.array([valid_seed(seed), 0], np.uint32)
    rows, P = np.atleast_2d(tokens), tokens.shape[-1]
    T, end = net.input_shape[0], P + length
    written = np.zeros((len(rows), max(T, 1 << (end - 1).bit_length())), np.int32)     # few sizes, few programs
    written[:, :P] = rows
    settings = vocabulary if top_k is None else int(top_k), 1.0 if top_p is None else float(top_p), T
    kept, begin = cache(net.plan.visits, len(rows) * beams, net.dtype), P
    if kept is not None:
        begin = end if endless(net.plan.visits) else max(P, min(T, end))
    with precision(net.dtype):
        if beams > 1:
            written = _best(net, written, kept, (P, begin, end), int(beams))
            return np.asarray(written)[:, :end].reshape(*tokens.shape[:-1], end)
        if kept is not None and begin > P:
            written = _write_on(net.layer, net.dtype, net.params, {**net.state, **kept}, written, np.int32(P), np.int32(begin), key,
                                np.float32(temperature), settings[:2])
        if begin < end:
            written = _write(net.layer, net.dtype, net.params, net.state, written, np.int32(begin), np.int32(end), key,
                             np.float32(temperature), settings)
    return np.asarray(written)[:, :end].reshape(*tokens.shape[:-1], end)


def write(net: Network, prompt: str, length: int = 200, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
          seed: int = 0) -> str:
    """The prompt and what the network writes on: `length` characters, or whatever its numbers stand for. Settings as in `generate`.

    The network needs its vocabulary, `net.symbols`, which is saved and loaded with it. Raises DeltaruleError for a network without one,
    DataError for a prompt that holds what it does not know, and what `generate` raises.

    >>> import deltarule as dr
    >>> net = dr.models.language_model(4, 8, width=8, heads=2, blocks=1)
    >>> net.symbols = dr.data.Characters("abc ")
    >>> len(dr.write(net, "a cab", 10))
    15
    """
    if not isinstance(net, Network):
        raise DeltaruleError(f"write expected a Network, received {type(net).__name__}")
    if not hasattr(net.symbols, "decode"):
        raise DeltaruleError("write needs to know what the network's numbers stand for; set net.symbols, such as "
                             "dr.data.Characters.fit(text)")
    if len(net.symbols) != net.vocabulary:
        raise DeltaruleError(f"net.symbols holds {len(net.symbols)} different symbols, the network's vocabulary {net.vocabulary}; "
                             "set the one that it was trained with")
    if not isinstance(prompt, str) or not prompt:
        raise DeltaruleError(f"write expected a prompt of at least one character, received {prompt!r}")
    written = generate(net, net.symbols.encode(prompt), length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    text: str = net.symbols.decode(written)
    return text


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
    rows, draws = written.shape[0], _draws(key, written)

    def write(p: Array, written: Array) -> Array:
        start = jnp.maximum(p - T, 0)
        window = lax.dynamic_slice(written, (jnp.zeros_like(start), start), (rows, T))
        output, _ = forward(layer, params, state, window, dtype=dtype)
        a = lax.dynamic_index_in_dim(_scores(output), p - start - 1, axis=1, keepdims=False)            # (n, K), at the last step
        return lax.dynamic_update_slice(written, _drawn(a, draws[p], temperature, top_k, top_p)[:, None], (jnp.zeros_like(p), p))

    return lax.fori_loop(begin, end, write, written)


@functools.partial(jax.jit, static_argnames=("layer", "dtype", "settings"))
def _write_on(layer: Layer, dtype: str, params: Tree, state: Tree, written: Array, begin: Array, end: Array, key: Array, temperature: Array,
              settings: tuple[int, float]) -> Array:
    """The same step by step from the first on, with what the layers keep in the state; steps before `begin` are given."""
    draws = _draws(key, written)

    def write(p: Array, now: tuple[Array, Tree]) -> tuple[Array, Tree]:
        written, state = now
        zero = jnp.zeros_like(p)
        output, state = forward(layer, params, state, lax.dynamic_slice(written, (zero, p - 1), (written.shape[0], 1)), dtype=dtype)
        given = lax.dynamic_slice(written, (zero, p), (written.shape[0], 1))
        drawn = _drawn(_scores(output)[:, 0], draws[p], temperature, *settings)[:, None]
        return lax.dynamic_update_slice(written, jnp.where(p < begin, given, drawn), (zero, p)), state

    return lax.fori_loop(jnp.ones_like(begin), end, write, (written, state))[0]


def _best(net: Network, written: np.ndarray, kept: Tree | None, steps: tuple[int, int, int], B: int) -> Array:
    """The most probable of the B continuations of `written` (n, steps) kept in every step: from P on with `kept`, then by windows."""
    P, begin, end = map(np.int32, steps)
    beams: tuple[Array, Array] = np.repeat(written[:, None], B, axis=1), np.asarray(alike(len(written), B))
    if kept is not None and begin > P:
        beams = _most_probable_on(net.layer, net.dtype, net.params, net.state, kept, *beams, P, begin)
    if begin < end:
        beams = _most_probable(net.layer, net.dtype, net.params, net.state, *beams, begin, end, net.input_shape[0])
    return beams[0][:, 0]


@functools.partial(jax.jit, static_argnames=("layer", "dtype", "T"))
def _most_probable(layer: Layer, dtype: str, params: Tree, state: Tree, written: Array, score: Array, begin: Array, end: Array,
                   T: int) -> tuple[Array, Array]:
    """The B most probable of all that may follow `written` (n, B, steps), whose ln p is `score` (n, B), in steps begin ... end - 1."""
    n, B, steps = written.shape

    def write(p: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        written, score = now
        start = jnp.maximum(p - T, 0)
        window = lax.dynamic_slice_in_dim(written.reshape(n * B, steps), start, T, axis=1)
        output, _ = forward(layer, params, state, window, dtype=dtype)
        a = lax.dynamic_index_in_dim(_scores(output), p - start - 1, axis=1, keepdims=False)
        score, beam, word = extended(score, jax.nn.log_softmax(a).reshape(n, B, -1))
        return lax.dynamic_update_index_in_dim(jnp.take_along_axis(written, beam[..., None], axis=1), word, p, axis=2), score

    return lax.fori_loop(begin, end, write, (written, score))


@functools.partial(jax.jit, static_argnames=("layer", "dtype"))
def _most_probable_on(layer: Layer, dtype: str, params: Tree, state: Tree, kept: Tree, written: Array, score: Array, begin: Array,
                      end: Array) -> tuple[Array, Array]:
    """The same step by step from the first on, with what the layers keep of every beam; steps before `begin` are given."""
    n, B, _ = written.shape
    same = jnp.broadcast_to(jnp.arange(B, dtype=jnp.int32), (n, B))

    def write(p: Array, now: tuple[Array, Array, Tree]) -> tuple[Array, Array, Tree]:
        written, score, kept = now
        last = lax.dynamic_slice_in_dim(written, p - 1, 1, axis=2).reshape(n * B, 1)
        output, after = forward(layer, params, {**state, **kept}, last, dtype=dtype)
        better, beam, word = extended(score, jax.nn.log_softmax(_scores(output)[:, 0]).reshape(n, B, -1))
        given = lax.dynamic_index_in_dim(written, p, axis=2, keepdims=False)
        score, beam, word = (jnp.where(p < begin, one, other) for one, other in ((score, better), (same, beam), (given, word)))
        written = lax.dynamic_update_index_in_dim(jnp.take_along_axis(written, beam[..., None], axis=1), word, p, axis=2)
        return written, score, followed({CARRIED: after[CARRIED]}, beam)

    return lax.fori_loop(jnp.ones_like(begin), end, write, (written, score, kept))[:2]


def alike(n: int, B: int) -> Array:
    """The scores (n, B) of beams that are all alike at first: one counts."""
    return jnp.broadcast_to(jnp.where(jnp.arange(B) == 0, 0.0, -jnp.inf).astype(jnp.float32), (n, B))


def extended(score: Array, ln_p: Array) -> tuple[Array, Array, Array]:
    """The B best of all beams (n, B) with every word behind them, ln p (n, B, K): their scores, beams and words, the best first.

    >>> score, beam, word = extended(jnp.array([[0.0, -1.0]]), jnp.array([[[-3.0, -2.0], [-0.5, -9.0]]]))
    >>> score.tolist(), beam.tolist(), word.tolist()
    ([[-1.5, -2.0]], [[1, 0]], [[0, 1]])
    """
    n, B, K = ln_p.shape
    score, best = lax.top_k((score[..., None] + ln_p).reshape(n, B * K), B)
    return score, best // K, (best % K).astype(jnp.int32)


def _scores(output: Output) -> Array:
    """Pre-activations of the softmax (n, steps, K)."""
    return (jnp.log(output.h) if output.a is None else output.a).astype(jnp.float32)


def _draws(key: Array, written: Array) -> Array:
    """A number from 0 to 1 for every place and row (steps, n), which depends on the key and the place alone."""
    rows, steps = written.shape
    return jax.vmap(lambda p: jax.random.uniform(jax.random.fold_in(jax.random.wrap_key_data(key), p), (rows,)))(jnp.arange(steps))


def _drawn(a: Array, u: Array, temperature: Array, top_k: int, top_p: float) -> Array:
    """One number for each row of a (n, K): the first whose probability, with those of all before it, exceeds u (n,)."""
    likely = chosen(a / jnp.maximum(temperature, 1e-6), top_k, top_p)
    summed = jnp.cumsum(jax.nn.softmax(likely, axis=-1), axis=-1)
    drawn = jnp.sum(summed <= u[:, None] * summed[:, -1:], axis=-1)
    return jnp.where(temperature > 0, drawn, jnp.argmax(a, axis=-1)).astype(jnp.int32)


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
    if not _causal(net.layer, net.input_shape, K):
        raise DeltaruleError("generate needs a causal network, in this one early outputs change with later inputs; "
                             "write TransformerEncoder(..., causal=True)")
    return K, given.astype(np.int32)


@functools.lru_cache(maxsize=64)
def _causal(layer: Layer, input_shape: tuple[int, ...], vocabulary: int) -> bool:
    """Whether what comes later leaves the outputs before it as they are, tried on two rows, with first weights."""
    T = input_shape[0]
    x = np.random.default_rng(0).integers(0, vocabulary, (2, T))
    x[1, :T // 2] = x[0, :T // 2]
    one, two = Network(layer, input_shape).predict(x)[:, :T // 2]
    return bool(np.allclose(one, two, rtol=1e-4, atol=1e-6))
