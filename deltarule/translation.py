"""Answering: an encoder reads a source once, its decoder writes step by step what is most probable (lecture rows 39 and 41)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.checks import checked_number
from deltarule.errors import DeltaruleError
from deltarule.generation import alike, extended
from deltarule.layers.composition import Sequential
from deltarule.layers.encoder_decoder import EncoderDecoder
from deltarule.layers.forward import merged, output_of
from deltarule.layers.scope import Array, Memory, Pass, Scope, Tree
from deltarule.network import Network
from deltarule.ops.compiling import precision
from deltarule.training import prepare
from deltarule.training.carrying import cache, followed

ROWS = 2048         # sequences, times beams, that are written at a time


def translate(net: Network, source: Any, *, start: int, stop: int | None = None, beams: int = 1, power: float = 0.0) -> np.ndarray:
    """What the decoder says to each source: whole numbers (n, T), int32, from the first word on; behind `stop` only `stop`.

    `net` is an `EncoderDecoder`, such as `dr.models.transformer`, `source` (n, *source) what its encoder reads; the decoder begins with
    `start`. With `beams` 1 the most probable word is taken in every step; with B beams the B most probable beginnings are kept, and in the
    end the sentence with the largest sum_t ln p_t / length^power (Sutskever et al. 2014; Wu et al. 2016): power 0 takes the most probable
    one, 1 the mean of its words, which is fairer to long ones. Only the new word is worked out: attention keeps keys and values, recurrent
    layers their states; with layers of one's own every step runs the decoder again. Raises DeltaruleError for another network and settings
    out of range, ShapeError or DataError for a source that does not fit.

    >>> import deltarule as dr
    >>> net = dr.models.transformer(5, 7, source_length=4, target_length=3, width=8, heads=2, blocks=1)
    >>> dr.translate(net, [[1, 2, 3, 4]], start=0, stop=1, beams=2).shape
    (1, 3)
    """
    both, path, K = _speaker(net)
    for name, value in (("start", start), ("stop", stop)):
        if value is not None:
            checked_number(name, value, 0, most=K - 1, whole=True)
    checked_number("beams", beams, 1, most=ROWS, whole=True)
    checked_number("power", power, 0)
    x = prepare.one_part(source, net.parts[0], net.dtype, "source")
    settings = Settings(both, path, net.dtype, int(start), -1 if stop is None else int(stop), int(beams))
    decoder = "/".join((*path, "decoder"))
    visits = [visit for visit in net.plan.visits if f"{visit.path}/".startswith(f"{decoder}/")]
    with precision(net.dtype):
        parts = [np.asarray(_search(settings, net.params, net.state, part, cache(visits, len(part) * beams, net.dtype) or {},
                                    np.float32(power)))[:count]
                 for part, count in prepare.chunks(x, max(1, ROWS // beams), 1)]
    return np.concatenate(parts)


class Settings(NamedTuple):
    """What is part of the compiled search: the layer and its path, numbers and sizes; `stop` -1 is never said."""

    both: EncoderDecoder
    path: tuple[str, ...]
    dtype: str
    start: int
    stop: int
    beams: int


class Beams(NamedTuple):
    """Beginnings of sentences, the best first: `written` (n, B, 1 + T) from start on, ln p (n, B), whether they have stopped (n, B); and
    what the decoder keeps of them, empty where it reads all of them in every step.
    """

    step: Array
    written: Array
    score: Array
    done: Array
    kept: Tree


@functools.partial(jax.jit, static_argnames=("settings",))
def _search(settings: Settings, params: Tree, state: Tree, source: Array, kept: Tree, power: Array) -> Array:
    """The best sentence (n, T) for each source."""
    both, path, dtype, start, stop, B = settings
    (T,), n = both.target, source.shape[0]
    scope = Scope(Pass(params, state, dtype=dtype), path)
    memory = Memory(*(None if m is None else jnp.repeat(m, B, axis=0) for m in both.remember(source.astype(dtype), scope)))

    def ahead(beams: Beams) -> tuple[Array, Tree]:
        """ln p of the next word (n, B, K), and what is kept."""
        run = Pass(params, {**state, **beams.kept}, dtype=dtype, memory=memory)
        seen = lax.dynamic_slice_in_dim(beams.written, beams.step, 1, axis=2) if beams.kept else beams.written[..., :T]
        output = output_of(both.decoder(seen.reshape(n * B, -1).astype(dtype), Scope(run, path) / "decoder"), run)
        a = output.a[:, 0] if beams.kept else lax.dynamic_index_in_dim(output.a, beams.step, axis=1, keepdims=False)
        return jax.nn.log_softmax(a.astype(jnp.float32)).reshape(n, B, -1), merged(beams.kept, run.new_state)

    def further(beams: Beams) -> Beams:
        """Every beginning with every word behind it, and the best B of them; who has stopped goes on with stop, at no cost."""
        ln_p, kept = ahead(beams)
        K = ln_p.shape[-1]
        silent = jnp.broadcast_to(jnp.where(jnp.arange(K) == stop, 0.0, -jnp.inf), ln_p.shape)
        ln_p = jnp.where(beams.done[..., None], silent, ln_p)
        score, beam, word = extended(beams.score, ln_p)
        written = lax.dynamic_update_index_in_dim(jnp.take_along_axis(beams.written, beam[..., None], axis=1), word, beams.step + 1, axis=2)
        done = jnp.take_along_axis(beams.done, beam, axis=1) | (word == stop)
        return Beams(beams.step + 1, written, score, done, followed(kept, beam) if kept and B > 1 else kept)

    begun = Beams(jnp.int32(0), jnp.full((n, B, 1 + T), max(stop, 0), jnp.int32).at[..., 0].set(start),
                  alike(n, B), jnp.zeros((n, B), bool), kept)
    found = lax.while_loop(lambda beams: (beams.step < T) & ~jnp.all(beams.done), further, begun)
    words = found.written[..., 1:]
    length = jnp.minimum(1 + jnp.sum(jnp.cumsum(words == stop, axis=-1) == 0, axis=-1), T).astype(jnp.float32)     # with its stop
    best = jnp.argmax(found.score / length ** power, axis=-1)
    return jnp.take_along_axis(words, best[:, None, None], axis=1)[:, 0]


def _speaker(net: Any) -> tuple[EncoderDecoder, tuple[str, ...], int]:
    """The EncoderDecoder that the network is, its path, and the size of its vocabulary."""
    if not isinstance(net, Network):
        raise DeltaruleError(f"translate expected a Network, received {type(net).__name__}")
    both, path = net.layer, tuple[str, ...]()
    if isinstance(both, Sequential) and len(both.layers) == 1:
        path, (both,) = tuple(both.children), both.layers
    K = net.parts[-1].vocabulary
    if not isinstance(both, EncoderDecoder) or net.output_shape != (*both.target, K) or net.output.activation != "softmax":
        raise DeltaruleError("translate needs an EncoderDecoder alone, whose decoder has Embedding(K, ...) first and Dense(K, 'softmax') "
                             "last, for every step of its target")
    if not _causal(net):
        raise DeltaruleError("translate needs a causal decoder, in this one early outputs change with later words; use TransformerDecoder, "
                             "or MultiHeadAttention(causal=True)")
    return both, path, int(K)       # type: ignore[arg-type]


def _causal(net: Network) -> bool:
    """Whether later words leave the outputs before them as they are, tried on two rows."""
    middle, K, (T,) = net.parts[1].begin, net.parts[1].vocabulary, net.parts[1].shape
    rows = np.repeat(prepare.probes(1, net.input_shape, net.dtype, net.parts), 2, axis=0)
    later = rows[1, middle + T // 2:]
    later[:] = (later + 1) % K
    one, two = net.predict(rows)[:, :T // 2]
    return bool(np.allclose(one, two, rtol=1e-4, atol=1e-6))
