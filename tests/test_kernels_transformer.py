"""The kernels of a transformer against the textbook in double precision: attention, layer normalization, GELU, the product of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import kernels, textbook
from deltarule.layers.forward import forward
from deltarule.layers.scope import flatten
from deltarule.ops import attention, gelu, native, normalization, steps

needed = pytest.mark.skipif(not kernels.kernels().ready, reason="no C++ compiler: test_kernels.py has checked that this is said")
WIDTHS = [1, 3, 16, 17, 32, 40]


def close(given, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


def single(*arrays):
    return [None if array is None else jnp.asarray(array, "float32") for array in arrays]


def expect_the_textbooks(n, T, S, heads, d, e, causal, seen, seed=0):
    """O, dL/dQ, dL/dK and dL/dV, with the heads behind the steps."""
    rng = np.random.default_rng(seed)
    Q, K, V, dO = (rng.normal(size=shape) for shape in ((n, T, heads, d), (n, S, heads, d), (n, S, heads, e), (n, T, heads, e)))
    mask = np.ones((n, 1, T, S), bool) if seen is None else np.broadcast_to(seen[:, None, None], (n, 1, T, S))
    mask = mask & np.tri(T, S, dtype=bool) if causal else mask
    run = textbook.attention_forward(*(np.swapaxes(x, 1, 2) for x in (Q, K, V)), mask=mask)
    expected = textbook.attention_backward(run, np.swapaxes(dO, 1, 2))
    where = None if seen is None else jnp.asarray(seen)[:, None, None]
    O, back = jax.vjp(lambda Q, K, V: attention.attention_of_steps(Q, K, V, causal, where), *single(Q, K, V))
    close(np.swapaxes(O, 1, 2), run.O)
    for name, found in zip("QKV", back(*single(dO)), strict=True):
        close(np.swapaxes(found, 1, 2), expected[name])


@pytest.mark.parametrize("case", [(1, 1, 1, 1, 1, 1, False), (2, 5, 7, 3, 5, 11, False), (1, 37, 37, 2, 32, 32, True),
                                  (2, 97, 97, 1, 17, 3, True), (1, 33, 65, 2, 64, 40, False)], ids=str)
def test_attention_is_the_textbooks(case):
    expect_the_textbooks(*case, seen=None)


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.sampled_from(WIDTHS), st.sampled_from(WIDTHS),
       st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_any_attention_is_the_textbooks(n, T, S, heads, d, e, causal, masked, seed):
    seen = np.random.default_rng(seed).random((n, S)) > 0.4 if masked else None
    if masked:
        seen[:, 0] = True       # the textbook refuses queries that see nothing
    expect_the_textbooks(n, T, S, heads, d, e, causal, seen, seed)


def test_who_may_look_at_nothing_gets_and_gives_nothing():
    rng = np.random.default_rng(0)
    Q, K, V = single(*(rng.normal(size=(2, 5, 3, 7)) for _ in range(3)))
    mask = jnp.array([[False] * 5, [True] * 5])[:, None, None]
    O, back = jax.vjp(lambda *given: attention.attention_of_steps(*given, False, mask), Q, K, V)
    assert not np.any(O[0])
    assert np.all(O[1] != 0)
    for found in back(jnp.ones_like(O)):
        assert not np.any(found[0])


@needed
def test_what_is_not_a_number_stays_so():
    Q, K, V = single(np.ones((1, 3, 1, 2)), np.ones((1, 3, 1, 2)), np.ones((1, 3, 1, 2)))
    O = attention.attention_of_steps(Q.at[0, 1].set(jnp.nan), K, V)
    assert np.isnan(O[0]).all(axis=(1, 2)).tolist() == [False, True, False]
    rows = jnp.array([[1.0, 2.0], [jnp.nan, 0.0]], "float32")
    assert np.isnan(normalization.layer_norm(rows, jnp.ones(2), jnp.zeros(2), 1e-5)).tolist() == [[False, False], [True, True]]
    assert np.isnan(gelu.biased_gelu(rows, jnp.zeros(2))).tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (2, 5, 16), (3, 40, 17), (2, 64, 48)], ids=str)
def test_layer_norm_is_the_textbooks(shape):
    rng = np.random.default_rng(1)
    x, dy, gamma, beta = rng.normal(2, 3, shape), rng.normal(size=shape), rng.normal(size=shape[-1]), rng.normal(size=shape[-1])
    run = textbook.layer_norm(x, gamma, beta)
    expected = textbook.norm_backward(run, gamma, dy)
    y, back = jax.vjp(lambda *given: normalization.layer_norm(*given, 1e-5), *single(x, gamma, beta))
    close(y, run.y)
    for name, found in zip(("x", "gamma", "beta"), back(*single(dy)), strict=True):
        close(found, expected[name])


@pytest.mark.parametrize("C", [8, 17])
def test_whichever_thread_takes_a_row_its_last_bit_is_the_same(C):
    """The calling thread and its helpers once had code of their own, with roundings of its own."""
    rng = np.random.default_rng(0)
    x, gamma, beta = single(rng.normal(size=(896, C)), rng.normal(size=C), rng.normal(size=C))
    norm = jax.jit(lambda *given: normalization.layer_norm(*given, 1e-5))
    every = {np.asarray(norm(x, gamma, beta)).tobytes() for _ in range(200)}
    assert len(every) == 1


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (2, 40, 33)], ids=str)
def test_gelu_is_the_textbooks(shape):
    rng = np.random.default_rng(2)
    a, b, dh = rng.normal(0, 4, shape), rng.normal(size=shape[-1]), rng.normal(size=shape)
    h, back = jax.vjp(gelu.biased_gelu, *single(a, b))
    g, slope = textbook.activations.gelu(a + b), textbook.activations.gelu_prime(a + b)
    da, db = back(*single(dh))
    close(h, g)
    close(da, dh * slope)
    close(db, np.sum(dh * slope, axis=tuple(range(len(shape) - 1))))


@needed
def test_gelu_from_one_end_to_the_other():
    """Near the largest of float32 nothing overflows; the small values on the left have the accuracy of single precision."""
    a = np.concatenate([np.linspace(-9, 9, 20011), [-1e30, -1e4, -0.0, 1e4, 1e30]])
    found = kernels.gelu_forward(*single(a), None)
    expected = textbook.activations.gelu(a)
    np.testing.assert_allclose(found, expected, rtol=4e-6, atol=1e-12)


@pytest.mark.parametrize(("C", "F"), [(3, 5), (16, 7), (40, 17)])
def test_the_product_of_every_step(C, F):
    rng = np.random.default_rng(3)
    x, W, da = rng.normal(size=(3, 97, C)), rng.normal(size=(C, F)), rng.normal(size=(3, 97, F))
    a, back = jax.vjp(steps.steps_product, *single(x, W))
    dx, dW = back(*single(da))
    close(a, x @ W)
    close(dx, da @ W.T)
    close(dW, np.einsum("ntc,ntf->cf", x, da))


def second(function, *given):
    """Gradients of the square of a gradient, as one program."""
    every = tuple(range(len(given)))

    def energy(*given):
        return sum(jnp.sum(jnp.sin(found) ** 2) for found in jax.grad(lambda *g: jnp.sum(jnp.cos(function(*g))), every)(*given))

    return jax.jit(jax.grad(energy, every))(*given)


@needed
@pytest.mark.parametrize("name", ["attention", "layer norm", "gelu", "product"])
def test_derivatives_of_derivatives_and_members_of_an_ensemble(name, monkeypatch):
    """As the JAX forms give them."""
    rng = np.random.default_rng(4)
    function, shapes = {
        "attention": (lambda Q, K, V: attention.attention_of_steps(Q, K, V, True), [(2, 5, 2, 3)] * 3),
        "layer norm": (lambda x, gamma, beta: normalization.layer_norm(x, gamma, beta, 1e-5), [(2, 5, 3), (3,), (3,)]),
        "gelu": (gelu.biased_gelu, [(2, 5, 3), (3,)]),
        "product": (steps.steps_product, [(2, 128, 3), (3, 2)]),
    }[name]
    arrays = single(*(rng.normal(size=shape) for shape in shapes))
    members = [jnp.stack([array, array / 2, -array]) for array in arrays]
    found, together = second(function, *arrays), jax.jit(jax.vmap(function))(*members)
    monkeypatch.setattr(native, "runs", lambda dtype: False)
    jax.clear_caches()
    for one, other in zip(found, second(function, *arrays), strict=True):
        close(one, other, 1e-4)
    for i in range(3):
        close(together[i], function(*(member[i] for member in members)))


@needed
def test_a_whole_language_model_with_and_without_kernels(monkeypatch):
    net = dr.models.language_model(11, 37, width=24, heads=3, blocks=2, rotary=True)
    x = np.random.default_rng(5).integers(0, 11, (9, 37))

    def loss(params):
        return jnp.mean(jnp.square(forward(net.layer, params, {}, jnp.asarray(x), training=True)[0].a))

    found = jax.value_and_grad(loss)(net.params)
    monkeypatch.setattr(native, "runs", lambda dtype: False)
    expected = jax.value_and_grad(loss)(net.params)
    close(found[0], expected[0])
    for (path, one), other in zip(flatten(found[1]).items(), flatten(expected[1]).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * np.abs(other).max(), err_msg=path)


@settings(max_examples=8)
@given(st.integers(1, 3), st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 3), st.sampled_from(WIDTHS), st.booleans(),
       st.integers(0, 10**6))
def test_steps_that_come_behind_those_kept_are_the_textbooks(n, pieces, heads, size, masked, seed):
    """Piece after piece, with and without padding among them, as in one piece; also without kernels."""
    rng, T = np.random.default_rng(seed), sum(pieces)
    Q, K, V = (rng.normal(size=(n, T, heads, size)) for _ in range(3))
    seen = rng.random((n, T)) > 0.4 if masked else np.ones((n, T), bool)
    seen[:, 0] = True
    mask = seen[:, None, None] & np.tri(T, dtype=bool)
    expected = np.swapaxes(textbook.attention_forward(*(np.swapaxes(x, 1, 2) for x in (Q, K, V)), mask=mask).O, 1, 2)
    for serves in {native.runs(jnp.float32), False}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "runs", lambda dtype, serves=serves: serves)
            kept, found, first = attention.room_for(T + seed % 3, heads, size, n, "float32"), [], 0
            for steps_here in pieces:
                now = slice(first, first + steps_here)
                O, kept = attention.onward(*single(Q[:, now], K[:, now], V[:, now]), jnp.asarray(seen[:, now]), kept)
                found.append(O)
                first += steps_here
        close(np.concatenate(found, axis=1), expected)
        assert kept.place == T
        np.testing.assert_array_equal(kept.keys[..., :T], np.transpose(K, (0, 2, 3, 1)).reshape(n * heads, size, T).astype("float32"))


def test_steps_of_which_nothing_may_be_seen_give_nothing():
    Q = jnp.ones((2, 1, 3, 5))
    O, kept = attention.onward(Q, Q, Q, jnp.array([[False], [True]]), attention.room_for(4, 3, 5, 2, "float32"))
    assert np.asarray(O).tolist() == [np.zeros((1, 3, 5)).tolist(), np.ones((1, 3, 5)).tolist()]
    assert np.asarray(kept.real).sum(axis=1).tolist() == [0, 1]


@needed
def test_what_is_no_number_among_those_kept_is_not_lost():
    Q = jnp.ones((1, 3, 1, 2))
    O, _ = attention.onward(Q, Q.at[0, 1].set(jnp.nan), Q, jnp.ones((1, 3), bool), attention.room_for(3, 1, 2, 1, "float32"))
    assert np.isnan(O[0, :, 0, 0]).tolist() == [False, True, True]
