"""Attention, embeddings and transformer blocks: against the textbook, and what must not change the result (lecture row 39)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_twins import drawn, of_the_engine, of_the_textbook

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.ops import attention as ops

RNG = np.random.default_rng(3)
SIZES = {"Q": (2, 3, 7, 5), "K": (2, 3, 11, 5), "V": (2, 3, 11, 5)}
PADDING = np.arange(11) < np.array([11, 4])[:, None, None, None]       # (n, 1, 1, S)
SOME = RNG.random((2, 1, 7, 11)) < 0.5
SOME[..., 0] = True
FORMS = {"plain": lambda Q, K, V, causal, mask: ops.attention_weights(Q, K, causal, mask) @ V,
         "in turns": lambda Q, K, V, causal, mask: ops.in_turns(Q, K, V, causal, mask, queries=3), "fused": ops.fused}


def whole_mask(causal, mask):
    visible = np.ones((2, 3, 7, 11), bool) if mask is None else np.broadcast_to(mask, (2, 3, 7, 11))
    return visible & (np.tri(7, 11, dtype=bool) if causal else True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("causal", "mask"), [(False, None), (True, None), (False, PADDING), (True, SOME)],
                         ids=["all", "causal", "padding", "causal and a mask for each query"])
def test_every_form_is_the_textbooks_forward_and_backward(form, causal, mask):
    """To 1e-10 in float64 and 1e-5 in float32, which alone JAX's kernel takes."""
    Q, K, V = (RNG.normal(size=shape) for shape in SIZES.values())
    dO = RNG.normal(size=(2, 3, 7, 5))
    run = textbook.attention_forward(Q, K, V, whole_mask(causal, mask))
    expected = textbook.attention_backward(run, dO)
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        if form == "fused" and dtype == "float64":
            continue
        with jax.enable_x64(dtype == "float64"):
            q, k, v, dh = (jnp.asarray(x, dtype) for x in (Q, K, V, dO))
            hidden = None if mask is None else jnp.asarray(mask)
            O, back = jax.vjp(lambda q, k, v, hidden=hidden: FORMS[form](q, k, v, causal, hidden), q, k, v)
            found = back(dh)
        np.testing.assert_allclose(O, run.O, rtol=tolerance, atol=tolerance)
        for name, gradient in zip("QKV", found, strict=True):
            assert gradient.dtype == dtype
            np.testing.assert_allclose(gradient, expected[name], rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_a_query_that_may_look_at_nothing_gets_zeros_and_sends_nothing_back(form):
    Q, K, V = (jnp.asarray(RNG.normal(size=shape), "float32") for shape in SIZES.values())
    mask = jnp.asarray(np.arange(11) < np.array([11, 0])[:, None, None, None])
    O, back = jax.vjp(lambda *given: FORMS[form](*given, False, mask), Q, K, V)
    assert not np.any(O[1])
    assert np.all(np.abs(O[0]).max(axis=-1) > 0)
    for gradient in back(jnp.ones_like(O)):
        assert np.all(np.isfinite(gradient))
        assert not np.any(gradient[1])


def test_long_sequences_take_turns_and_never_hold_the_whole_matrix():
    T = 600
    x = jax.ShapeDtypeStruct((1, 1, T, 4), "float32")
    loss = jax.grad(lambda Q, K, V: jnp.sum(ops.attention(Q, K, V, causal=True) ** 2), (0, 1, 2))
    assert T * T > ops.LONG

    def largest(program):
        sizes = [np.prod(v.aval.shape) for equation in program.eqns for v in equation.outvars]
        inner = [getattr(value, "jaxpr", value) for equation in program.eqns for value in equation.params.values()]
        return max([*sizes, *(largest(one) for one in inner if hasattr(one, "eqns"))], default=0)

    assert largest(jax.make_jaxpr(loss)(x, x, x).jaxpr) <= T * ops.QUERIES
    Q, K, V = (jnp.asarray(RNG.normal(size=(1, 1, T, 4)), "float32") for _ in range(3))
    np.testing.assert_allclose(ops.attention(Q, K, V, True), ops.attention_weights(Q, K, True) @ V, atol=1e-5)


@pytest.mark.parametrize(("layer", "shape"), [
    (dr.MultiHeadAttention(2), (3, 4)), (dr.MultiHeadAttention(2, size=4, rotary=True), (4, 3)),
    (dr.TransformerEncoder(2, hidden=3, causal=True, activation="tanh"), (3, 4)), (dr.Positions("sinusoidal"), (3, 5)),
    (dr.Embedding(4, 3), (5,)), ([dr.Embedding(4, 6), dr.Positions(longest=9), dr.TransformerEncoder(3, rotary=True)], (5,))],
    ids=lambda value: str(value)[:40])
def test_layers_are_the_textbooks(layer, shape):
    layers = layer if isinstance(layer, list) else [layer]
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn([*layers, dr.Flatten()], 1, dtype, shape)
            value, gradient = of_the_engine(net, x, y, training=True)
        expected_value, expected = of_the_textbook(net, x, y, True)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)


def test_the_trace_shows_every_head_and_watching_changes_nothing():
    net, x, y = drawn([dr.MultiHeadAttention(3, size=2, causal=True), dr.Flatten()], 2, "float32", (5, 7))
    trace = net.trace(x, y, loss="quadratic")
    layer, p = trace["multi_head_attention_1"], {symbol: net.params["multi_head_attention_1"][name]["weights"] for symbol, name in
                                                 (("W_Q", "query"), ("W_K", "key"), ("W_V", "value"), ("W_O", "output"))}
    run = textbook.multi_head_forward(p, x, 3, mask=np.tri(5, dtype=bool))
    for name, expected in (("queries", run.heads.Q), ("keys", run.heads.K), ("values", run.heads.V), ("attention", run.heads.A)):
        np.testing.assert_allclose(layer.taps[name], expected, rtol=1e-4, atol=1e-5)
        assert layer.deltas[name].shape == expected.shape
    np.testing.assert_allclose(trace.output, net.predict(x), atol=1e-6)
    A, dA = layer.taps["attention"], layer.deltas["attention"]
    np.testing.assert_allclose(layer.deltas["queries"], (A * (dA - np.sum(A * dA, -1, keepdims=True))) @ layer.taps["keys"] / np.sqrt(2),
                               atol=1e-5)


@pytest.mark.parametrize("layers", [[dr.MultiHeadAttention(2, causal=True)], [dr.TransformerEncoder(2, causal=True, rotary=True)] * 2],
                         ids=["attention", "two blocks"])
def test_future_steps_change_nothing(layers):
    net, x, _ = drawn([dr.Positions("sinusoidal"), *layers], 4, "float32", (7, 8))
    other = x.copy()
    other[:, 4:] += 1
    last = "multi_head_attention_1" if len(layers) == 1 else "transformer_encoder_2"
    one, two = (net.trace(rows)[last].activation for rows in (x, other))
    np.testing.assert_array_equal(one[:, :4], two[:, :4])
    assert np.all(np.abs(one - two)[:, 4:].max(axis=-1) > 1e-4)
    np.testing.assert_array_equal(net.predict(x)[:, :4], net.predict(other)[:, :4])
    assert net.receptive_field(last).of(3) == (slice(0, 4),)


def test_without_positions_the_order_goes_through_unchanged():
    order = RNG.permutation(7)
    net, x, _ = drawn([dr.TransformerEncoder(2)] * 2, 5, "float32", (7, 6))
    np.testing.assert_allclose(net.predict(x[:, order]), net.predict(x)[:, order], atol=1e-5)
    placed, _, _ = drawn([dr.Positions("sinusoidal"), dr.TransformerEncoder(2)], 5, "float32", (7, 6))
    assert np.abs(placed.predict(x[:, order]) - placed.predict(x)[:, order]).max() > 1e-2


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = RNG.normal(size=(2, 1, 8)).astype("float32")
    Q, K = (np.asarray(ops.rotary(jnp.asarray(np.repeat(z, 9, axis=0)))) for z in (q, k))
    scores = Q @ K.T
    for distance in range(-8, 9):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(scores[0]) > 0.1
    np.testing.assert_allclose(np.linalg.norm(Q, axis=1), np.linalg.norm(q), rtol=1e-5)


def test_equal_steps_share_their_attention_and_dropout_falls_on_what_is_added():
    net = dr.Network([dr.MultiHeadAttention(2)], (5, 4))
    A = net.trace(np.ones((1, 5, 4)))["multi_head_attention_1"].taps["attention"]
    np.testing.assert_allclose(A, 0.2, atol=1e-6)
    block = dr.TransformerEncoder(2, dropout=0.5)
    net = dr.Network([block], (5, 4))
    assert net.plan.random
    x = jnp.asarray(RNG.normal(size=(50, 5, 4)), "float32")
    from deltarule.ops.noise import step_key
    trained = forward(net.layer, net.params, {}, x, key=step_key(0, 0), training=True)[0].h
    untouched = np.mean(np.isclose(trained, x, atol=1e-7))
    assert 0.2 < untouched < 0.3                        # both parts dropped


def test_whole_numbers_stay_exact_are_checked_and_saved(tmp_path):
    net = dr.Network([dr.Embedding(50_000, 3), dr.Flatten(), dr.Dense(2, "softmax")], 4)
    x = np.array([[49_999, 0, 1, 2], [3, 49_998, 5, 6]])
    E = net.params["embedding_1"]["weights"]
    np.testing.assert_array_equal(net.trace(x)["embedding_1"].activation, E[x])
    before = E.copy()
    net.fit(x, np.array([0, 1]), epochs=2, progress=False)
    changed = np.flatnonzero(np.any(net.params["embedding_1"]["weights"] != before, axis=1))
    assert set(changed) <= set(x.ravel().tolist())
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(dr.load(tmp_path / "net.safetensors").predict(x), net.predict(x))


def test_explain_writes_out_score_weight_and_what_is_taken():
    net, x, y = drawn([dr.MultiHeadAttention(2, size=3, causal=True), dr.Flatten()], 6, "float32", (4, 5))
    trace = net.trace(x, y, loss="quadratic")
    layer = trace["multi_head_attention_1"]
    Q, K, V, A, dA = (value[1, 1].astype(float) for value in (*(layer.taps[name] for name in ("queries", "keys", "values", "attention")),
                                                              layer.deltas["attention"]))
    found = trace.explain("multi_head_attention_1", unit=(1, 2), example=1, step=2, weight=1)
    e = K @ Q[2] / np.sqrt(3)
    assert found["e_2,1"] == pytest.approx(e[1], rel=1e-5)
    assert found["A_2,1"] == pytest.approx(np.exp(e[1]) / np.exp(e[:3]).sum(), rel=1e-4)
    assert found["o_2,2"] == pytest.approx(A[2] @ V[:, 2], rel=1e-5)
    assert found["dL/de_2,1"] == pytest.approx(A[2, 1] * (dA[2, 1] - A[2] @ dA[2]), rel=1e-4)
    by_keys = layer.deltas["queries"][1, 1, 2]         # dL/dq = sum_s dL/de_s k_s / sqrt(d)
    every = [trace.explain("multi_head_attention_1", 1, 1, s, step=2)[f"dL/de_2,{s}"] for s in range(4)]
    np.testing.assert_allclose(np.array(every) @ K / np.sqrt(3), by_keys, rtol=1e-3, atol=1e-6)
    assert every[3] == 0
    assert "0, since it may not look there" in str(trace.explain("multi_head_attention_1", 1, 1, 3, step=2))
    heaviest = trace.explain("multi_head_attention_1", example=1)
    assert f"looking at {layer.taps['attention'][1, 0, 3].argmax()}" in heaviest.title
    assert r"\frac" not in heaviest.latex
    for wrong, message in (((2, 0), "has 2 heads"), ((0, 3), "has 3 features in a head"), ((0, 0.5), "received 0.5")):
        with pytest.raises(DeltaruleError, match=message):
            trace.explain("multi_head_attention_1", wrong)
    with pytest.raises(DeltaruleError, match=r"has 4 steps, numbered from 0; received 4"):
        trace.explain("multi_head_attention_1", step=4)


TOKENS = dr.Network([dr.Embedding(5, 3), dr.Flatten(), dr.Dense(2, "softmax")], 4)


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: TOKENS.predict([[0, 1, 2, 5]]), DataError,
     r"x holds 5 in row 0, position 3; its Embedding expected whole numbers from 0 to 4"),
    (lambda: TOKENS.fit([[0, 1, 2, 3], [0, -1, 2, 3]], [0, 1]), DataError, r"x holds -1 in row 1, position 1; its Embedding"),
    (lambda: TOKENS.predict([[0, 1.5, 2, 3]]), DataError, r"x holds 1\.5 in row 0, position 1; its Embedding"),
    (lambda: dr.Embedding(0, 3), DeltaruleError, r"Embedding expected vocabulary to be a whole number of at least 1 and at most 1\.67"),
    (lambda: dr.Embedding(5, 3, "norml"), DeltaruleError, r"unknown initializer 'norml'"),
    (lambda: dr.Positions("learned"), DeltaruleError, r"Positions are 'learnt' or 'sinusoidal', received 'learned'"),
    (lambda: dr.Positions(longest=0), DeltaruleError, r"Positions expected longest to be a whole number of at least 1, received 0"),
    (lambda: dr.Network([dr.Positions(longest=4)], (5, 3)), ShapeError,
     r"Positions has 4 places, received sequences of 5 steps; give longest=5, or shorter sequences"),
    (lambda: dr.MultiHeadAttention(0), DeltaruleError, r"MultiHeadAttention expected heads to be a whole number of at least 1, received 0"),
    (lambda: dr.MultiHeadAttention(2, causal=1), DeltaruleError, r"MultiHeadAttention expected causal to be True or False, received 1"),
    (lambda: dr.MultiHeadAttention(2, size=0.5), DeltaruleError, r"expected size to be a whole number of at least 1, received 0\.5"),
    (lambda: dr.Network([dr.MultiHeadAttention(3)], (5, 7)), ShapeError,
     r"MultiHeadAttention expected heads that divide the features, received heads=3 for 7 features; or give the size of a head"),
    (lambda: dr.Network([dr.MultiHeadAttention(2, rotary=True)], (5, 6)), ShapeError,
     r"turns pairs of features with rotary=True and needs an even size, received 3; give size=4"),
    (lambda: dr.Network([dr.MultiHeadAttention(1)], (5,)), ShapeError,
     r"MultiHeadAttention expected sequences \(steps, features\), received inputs of shape \(5,\); put Embedding before it"),
    (lambda: dr.Network([dr.TransformerEncoder(1)], (5, 5, 1)), ShapeError, r"TransformerEncoder expected sequences.*reshape the inputs"),
    (lambda: dr.TransformerEncoder(2, dropout=1.0), DeltaruleError,
     r"TransformerEncoder expected dropout from 0 up to but not 1, received 1\.0"),
    (lambda: dr.TransformerEncoder(2, hidden=0), DeltaruleError, r"TransformerEncoder expected hidden to be a whole number of at least 1"),
    (lambda: dr.TransformerEncoder(2, activation="gleu"), DeltaruleError, r"unknown activation 'gleu'; did you mean 'gelu'"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
