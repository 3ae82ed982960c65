"""Networks with two inputs: the memory between encoder and decoder, its masks, and rows made of parts (lecture rows 39 and 41)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_twins import drawn, of_the_engine, of_the_textbook

import deltarule as dr
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.layers.scope import Memory, Pass, Scope, flatten
from deltarule.ops.noise import step_key

RNG = np.random.default_rng(5)
DECODER = [dr.Embedding(7, 4), dr.Positions(), dr.TransformerDecoder(2, hidden=5, rotary=True), dr.LayerNorm(), dr.Dense(7, "softmax")]
ENCODER = [dr.Masked(), dr.Embedding(5, 6), dr.TransformerEncoder(3, hidden=5)]
NET = dr.Network(dr.EncoderDecoder(ENCODER, DECODER, source=(6,), target=3), seed=2)


def tokens(n, T, vocabulary, seed=0):
    return np.random.default_rng(seed).integers(1, vocabulary, (n, T))


@pytest.mark.parametrize(("layer", "shape"), [
    (dr.EncoderDecoder(dr.Dense(4, "tanh"), [dr.TransformerDecoder(2, hidden=3), dr.MultiHeadAttention(2, size=3, cross=True)],
                       (5, 2), (3, 4)), (22,)),
    (dr.EncoderDecoder([dr.Conv2D(3, 2, "tanh"), dr.Residual(dr.Conv2D(3, 1))], dr.TransformerDecoder(1, activation="tanh", rotary=True),
                       (3, 4, 2), (2, 4)), (32,)),
    (dr.EncoderDecoder(dr.GRU(4), dr.Residual(dr.MultiHeadAttention(1, cross=True)), (5, 2), (3, 4)), (22,)),
    (dr.AttentionPooling(3), (2, 3, 4)), (dr.TimeDistributed([dr.Conv1D(3, 2, "tanh"), dr.GlobalAveragePool()]), (3, 4, 2))],
    ids=lambda value: str(value)[:60])
def test_layers_are_the_textbooks(layer, shape):
    """Forward and backward, through the memory into the encoder too: 1e-10 in float64, 1e-5 in float32."""
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn([layer, dr.Flatten()], 1, dtype, shape)
            value, gradient = of_the_engine(net, x, y, training=True)
        expected_value, expected = of_the_textbook(net, x, y, True)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            assert np.any(slope) or "query" in path or "key" in path        # a memory of one place is looked at whatever is asked
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)


def test_attention_over_the_memory_is_a_loop_over_rows_heads_and_steps():
    x, m = RNG.normal(size=(3, 5, 4)).astype("float32"), RNG.normal(size=(3, 7, 2)).astype("float32")
    real = np.arange(7) < np.array([7, 2, 5])[:, None]
    layer = dr.MultiHeadAttention(2, size=3, cross=True)
    params = {name: {"weights": RNG.normal(size=shape).astype("float32")}
              for name, shape in (("query", (4, 6)), ("key", (2, 6)), ("value", (2, 6)), ("output", (6, 4)))}
    h = layer(jnp.asarray(x), Scope(Pass(params, memory=Memory(jnp.asarray(m), jnp.asarray(real)))))
    for row in range(3):
        for t in range(5):
            heads = []
            for head in range(2):
                part = slice(3 * head, 3 * head + 3)
                q, K, V = x[row, t] @ params["query"]["weights"][:, part], *(m[row, real[row]] @ params[name]["weights"][:, part]
                                                                             for name in ("key", "value"))
                e = np.exp(K @ q / np.sqrt(3))
                heads.append(e / e.sum() @ V)
            np.testing.assert_allclose(h[row, t], np.concatenate(heads) @ params["output"]["weights"], rtol=1e-4, atol=1e-5)


def test_the_trace_shows_what_every_step_looks_at():
    x = {"source": [[1, 2, 3, 4, 0, 0], [4, 0, 0, 0, 0, 0]], "target": tokens(2, 3, 7)}
    trace = NET.trace(x, tokens(2, 3, 7, seed=1))
    A = trace["decoder/transformer_decoder_1/cross"].taps["attention"]
    assert A.shape == (2, 2, 3, 6)
    np.testing.assert_allclose(A.sum(axis=-1), 1, rtol=1e-5)
    assert not np.any(A[0, ..., 4:])
    np.testing.assert_allclose(A[1, ..., 0], 1, rtol=1e-5)
    np.testing.assert_allclose(trace.output, NET.predict(x), atol=1e-6)
    causal = trace["decoder/transformer_decoder_1/attention"].taps["attention"]
    assert not np.any(np.triu(causal, 1))
    assert np.all(np.abs(trace["encoder/embedding_1"].delta[0]).max(axis=-1)[:4] > 0)     # the error reaches every real step
    assert not np.any(trace["encoder/embedding_1"].delta[0, 4:])


# --- padding

@settings(max_examples=10)
@given(st.integers(1, 6), st.integers(0, 99))
def test_padding_of_the_source_changes_no_translation(length, seed):
    """A source of `length` steps filled up, and the same network for sources of that length."""
    source, target = tokens(2, length, 5, seed), tokens(2, 3, 7, seed)
    short = dr.Network(dr.EncoderDecoder(ENCODER, DECODER, (length,), (3,)))
    short.params = NET.params
    filled = np.concatenate([source, np.zeros((2, 6 - length), int)], axis=1)
    np.testing.assert_allclose(NET.predict({"source": filled, "target": target}), short.predict({"source": source, "target": target}),
                               atol=1e-5)


def test_later_words_and_other_rows_change_nothing_and_the_source_does():
    source, target = tokens(3, 6, 5), tokens(3, 3, 7)
    h = NET.predict({"source": source, "target": target})
    later = target.copy()
    later[:, 2] = 1 + target[:, 2] % 6
    np.testing.assert_array_equal(NET.predict({"source": source, "target": later})[:, :2], h[:, :2])
    other = 1 + source % 4
    assert np.all(np.abs(NET.predict({"source": other, "target": target}) - h).max(axis=(1, 2)) > 1e-5)
    np.testing.assert_allclose(NET.predict({"source": source[1:2], "target": target[1:2]}), h[1:2], atol=1e-6)


# --- the same layer for every step

def test_time_distributed_is_the_layer_on_every_step_with_its_activation_and_statistics():
    frames = dr.Network([dr.TimeDistributed([dr.Conv2D(3, 2, "relu"), dr.Flatten(), dr.Dense(5, "softmax")])], (4, 3, 3, 2), seed=1)
    x = RNG.normal(size=(6, 4, 3, 3, 2)).astype("float32")
    one = dr.Network(frames.layer.layers[0].layer, (3, 3, 2))
    one.params = frames.params["time_distributed_1"]["layer"]
    np.testing.assert_allclose(frames.predict(x), np.stack([one.predict(x[:, t]) for t in range(4)], axis=1), rtol=1e-5, atol=1e-6)
    trace = frames.trace(x, tokens(6, 4, 5))                      # the softmax is known as the last act: cross-entropy
    inner = trace["time_distributed_1/layer/conv2d_1"]
    assert inner.delta.shape == (6, 4, 2, 2, 3)
    assert inner.input.shape == x.shape
    np.testing.assert_allclose(trace["time_distributed_1/layer/dense_1"].delta[2, 1],
                               (trace.output[2, 1] - np.eye(5)[tokens(6, 4, 5)[2, 1]]) / 4, atol=1e-6)
    norm = dr.Network([dr.Masked(9.0), dr.TimeDistributed(dr.BatchNorm())], (3, 2))
    z, _ = dr.data.pad([RNG.normal(size=(T, 2)) for T in (3, 1, 2)], value=9.0)
    _, state = forward(norm.layer, norm.params, norm.state, jnp.asarray(z, "float32"), training=True)
    real = z[np.any(z != 9, axis=-1)]
    momentum = dr.BatchNorm().momentum
    np.testing.assert_allclose(flatten(state)["time_distributed_1/layer/mean"], (1 - momentum) * real.mean(axis=0), rtol=1e-4)


def test_dropout_inside_of_time_distributed_differs_from_step_to_step():
    layer = dr.Sequential([dr.TimeDistributed(dr.Dropout(0.5))])
    h = np.asarray(forward(layer, {}, {}, jnp.ones((1, 2, 200)), key=step_key(0, 0), training=True)[0].h)
    assert 50 < np.sum(h[0, 0] != h[0, 1]) < 150


# --- rows of two parts

def test_parts_are_laid_side_by_side_learnt_from_and_saved(tmp_path):
    source, y = tokens(40, 6, 5), tokens(40, 3, 7)
    x = {"source": source, "target": dr.data.shifted(y, 0)}
    net = dr.Network(NET.layer, seed=1)
    assert [(part.name, part.shape, part.vocabulary, part.padding) for part in net.parts] \
        == [("source", (6,), 5, 0), ("target", (3,), 7, None)]
    rows = np.concatenate([source, x["target"]], axis=1)
    np.testing.assert_allclose(net.predict(x), net.predict(rows), rtol=1e-5)
    history = net.fit(x, y, validation=0.2, epochs=2, progress=False)
    assert set(history.curves) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    one, two = dr.Network(NET.layer, seed=1), dr.Network(NET.layer, seed=1)
    one.fit(rows, y, epochs=1, progress=False, shuffle=False, batch_size=20)
    two.fit([({name: part[:20] for name, part in x.items()}, y[:20]), (rows[20:], y[20:])], epochs=1, progress=False)
    for path, value in flatten(one.params).items():
        np.testing.assert_allclose(value, flatten(two.params)[path], atol=1e-5)
    net.save(tmp_path / "net.safetensors")
    again = dr.load(tmp_path / "net.safetensors")
    np.testing.assert_allclose(again.predict(x), net.predict(x), rtol=1e-5)
    assert net.evaluate(x, y) == pytest.approx(again.evaluate(x, y), rel=1e-5)


def test_an_image_may_be_the_source_and_bytes_stay_exact():
    decoder = [dr.Embedding(600, 4), dr.TransformerDecoder(1), dr.Dense(600, "softmax")]
    net = dr.Network([dr.EncoderDecoder([dr.Conv2D(4, 3, stride=2), dr.Activation("relu")], decoder, (8, 8, 3), 2)], 194)
    image = RNG.integers(0, 256, (5, 8, 8, 3)).astype("uint8")
    x = {"source": image, "target": [[599, 300]] * 5}
    trace = net.trace(x)
    np.testing.assert_array_equal(trace["encoder_decoder_1/encoder/conv2d_1"].input, image)
    np.testing.assert_array_equal(trace["encoder_decoder_1/decoder/embedding_1"].input, np.tile([599, 300], (5, 1)))
    assert trace["encoder_decoder_1/decoder/transformer_decoder_1/cross"].taps["attention"].shape == (5, 1, 2, 9)
    assert "multi_head" not in str(net.summary())
    assert net.summary().parameters == sum(value.size for value in flatten(net.params).values())


GOOD = {"source": tokens(2, 6, 5), "target": tokens(2, 3, 7)}
COUPLE = dr.EncoderDecoder(dr.Dense(4), dr.TransformerDecoder(2), (5, 2), (3, 4))


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: NET.predict(GOOD | {"source": [[1, 2, 5, 0, 0, 0]] * 2}), DataError,
     r"x\['source'\] holds 5 in row 0, position 2; its Embedding expected whole numbers from 0 to 4"),
    (lambda: NET.predict(np.full((2, 9), 6)), DataError, r"x\['source'\] holds 6 in row 0, position 0"),
    (lambda: NET.fit(GOOD | {"target": [[1, 2, 7]] * 2}, tokens(2, 3, 7)), DataError, r"x\['target'\] holds 7 in row 0, position 2"),
    (lambda: NET.predict(GOOD | {"source": [[1, 2, 3, 0, 0, 0], [0] * 6]}), DataError,
     r"x\['source'\] holds nothing but padding \(0\) in row 1; leave out sequences without a step"),
    (lambda: NET.predict({"source": GOOD["source"]}), DataError, r"x expected the parts source and target, received source"),
    (lambda: NET.predict(GOOD | {"source": tokens(3, 6, 5)}), ShapeError,
     r"x expected equally many rows in all parts, received 3 of source and 2 of target"),
    (lambda: NET.predict(GOOD | {"target": tokens(2, 4, 7)}), ShapeError, r"x\['target'\] has shape \(2, 4\), the network expects \(n,"),
    (lambda: NET.predict(GOOD | {"target": np.zeros((2, 0))}), DataError, r"x\['target'\] has shape \(2, 0\): nothing to learn from"),
    (lambda: dr.Network(COUPLE, 20), ShapeError,
     r"EncoderDecoder expected rows of 22 numbers, source \(5, 2\) and target \(3, 4\) side by side, received inputs of shape \(20,\)"),
    (lambda: dr.Network(dr.TransformerDecoder(2), (3, 4)), DeltaruleError,
     r"cross looks at a memory, and there is none here; put it into the decoder of EncoderDecoder\(encoder, decoder\)"),
    (lambda: dr.Network([dr.Dense(3)]), DeltaruleError, r"input_shape expected the shape of one row, such as .* received None"),
    (lambda: dr.EncoderDecoder(dr.Dense(4), dr.Dense(4), (5, 0), 3), DeltaruleError,
     r"EncoderDecoder expected source to be the shape of one input, such as .* received \(5, 0\)"),
    (lambda: dr.EncoderDecoder(dr.Dense(4), 3, 5, 3), DeltaruleError, r"EncoderDecoder expected a layer or a list of layers, received 3"),
    (lambda: dr.MultiHeadAttention(2, causal=True, cross=True), DeltaruleError, r"has no steps in common with the queries; leave out"),
    (lambda: dr.TransformerDecoder(2, dropout=1), DeltaruleError, r"TransformerDecoder expected dropout from 0 up to but not 1"),
    (lambda: dr.AttentionPooling(0), DeltaruleError, r"AttentionPooling expected size to be a whole number of at least 1, received 0"),
    (lambda: dr.Network(dr.TimeDistributed(dr.Dense(2)), (3,)), ShapeError, r"TimeDistributed expected sequences \(steps, \.\.\.\)"),
    (lambda: dr.data.shifted([1, 2], 0), ShapeError, r"shifted expected sequences of whole numbers \(n, T\), received y of shape \(2,\)"),
    (lambda: dr.data.shifted(np.zeros((3, 0), int), 0), DataError, r"y has shape \(3, 0\): expected at least one sequence of at least"),
    (lambda: dr.data.shifted([[1, 2.5]], 0), DataError, r"y holds 2\.5, expected whole numbers from 0 on"),
    (lambda: dr.data.shifted([[1, 2]], -1), DeltaruleError, r"start expected a whole number of at least 0, received -1"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
