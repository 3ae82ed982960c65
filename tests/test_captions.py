"""Scenes with their captions, the layer that looks before it speaks, and what it looked at (lecture row 41)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_twins import drawn, of_the_engine, of_the_textbook

import deltarule as dr
from deltarule.data.scenes import COLOURS, SHAPES, SIDES
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import Memory, Pass, Scope

RNG = np.random.default_rng(7)
LAYER = dr.EncoderDecoder(dr.Conv2D(3, 2, "tanh"), [dr.AttentiveLSTM(4, size=5), dr.Dense(2)], (3, 4, 2), (3, 5))
SCENES = dr.data.scenes(400, seed=2)


def test_the_layer_is_the_textbooks_forward_and_backward():
    """Values and gradients, through the memory into the convolution too: 1e-10 in float64, 1e-5 in float32."""
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn([LAYER, dr.Flatten()], 1, dtype, (39,))
            value, gradient = of_the_engine(net, x, y, training=True)
        expected_value, expected = of_the_textbook(net, x, y, True)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            assert np.any(slope)
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)


def test_the_trace_shows_where_it_looked_and_watching_changes_nothing():
    net, x, y = drawn([LAYER, dr.Flatten()], 3, "float32", (39,))
    trace = net.trace(x, y, loss="quadratic")
    layer = trace["encoder_decoder_1/decoder/attentive_lstm_1"]
    A = layer.taps["attention"]
    assert A.shape == (3, 1, 3, 6)
    np.testing.assert_allclose(A.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(trace.output, net.predict(x), atol=1e-6)
    np.testing.assert_allclose(layer.taps["state"], layer.taps["output_gate"] * np.tanh(layer.taps["cell"]), atol=1e-6)
    assert {"attention", "cell", "forget_gate", "state"} <= set(layer.deltas)
    m = trace["encoder_decoder_1/encoder"].activation.reshape(3, 6, 3)
    shifted = layer.deltas["attention"][:, 0, -1]                 # at the last step its delta is dL/dz . m_p
    U = net.params["encoder_decoder_1"]["decoder"]["attentive_lstm_1"]["weights"][5:]
    gates = np.concatenate([layer.deltas[name][:, -1] * slope[:, -1] for name, slope in (
        (name, layer.taps[name] * (1 - layer.taps[name])) for name in ("input_gate", "forget_gate", "output_gate"))]
        + [layer.deltas["candidate"][:, -1] * (1 - layer.taps["candidate"][:, -1]**2)], axis=1)
    np.testing.assert_allclose(shifted, np.einsum("nd,npd->np", gates @ U.T, m), rtol=1e-3, atol=1e-5)


def test_padding_of_the_memory_is_never_looked_at():
    layer, x = dr.AttentiveLSTM(3), jnp.asarray(RNG.normal(size=(2, 4, 5)), "float32")
    net = dr.Network(dr.EncoderDecoder(dr.Dense(6), layer, (2, 1), (4, 5)))
    m = jnp.asarray(RNG.normal(size=(2, 7, 6)), "float32")
    real = jnp.asarray(np.arange(7) < np.array([4, 4])[:, None])
    params = net.params["decoder"]
    masked, short = (layer(x, Scope(Pass(params, memory=memory))) for memory in (Memory(m, real), Memory(m[:, :4])))
    np.testing.assert_allclose(masked, short, atol=1e-6)


def test_scenes_are_what_their_captions_say():
    for i, caption in enumerate(SCENES.captions):
        words = caption.split()
        first, rest = words[1:3], words[3:]
        names = [first] + ([rest[-2:]] if rest else [])
        for (colour, shape), centre in zip(names, SCENES.centres[i], strict=False):
            assert shape in SHAPES
            pixel = SCENES.x[i][tuple(np.rint(centre).astype(int))]
            nearest = min(COLOURS, key=lambda name, pixel=pixel: np.abs(np.array(COLOURS[name]) - pixel).sum())
            assert nearest == colour
        if rest:
            side = " ".join(rest[:-3])
            way = SCENES.centres[i, 0] - SCENES.centres[i, 1]
            assert max(SIDES, key=lambda name, way=way: way @ np.array(SIDES[name])) == side
        else:
            assert np.all(np.isnan(SCENES.centres[i, 1]))
    assert 0.12 < np.mean([" " not in caption[2:].replace(" ", "", 1) for caption in SCENES.captions]) < 0.28
    assert SCENES.x.min() >= 0
    assert SCENES.x.max() <= 1
    counts = {word: sum(word in caption.split() for caption in SCENES.captions) for word in (*COLOURS, *SHAPES)}
    assert min(counts.values()) > 100


def test_one_seed_one_set_of_scenes():
    again = dr.data.scenes(400, seed=2)
    np.testing.assert_array_equal(again.x, SCENES.x)
    assert again.captions == SCENES.captions
    assert dr.data.scenes(400, seed=3).captions != SCENES.captions
    part = SCENES.subset(np.array([True, False] * 200))
    assert part.captions == SCENES.captions[::2]
    train, test = SCENES.split(0.25, seed=1)
    assert len(train) + len(test) == 400
    assert len(dr.data.scenes(2, size=48).x[0]) == 48


def test_a_captioner_learns_to_name_what_is_there():
    """Two colours of a single shape: after a few epochs the caption is right, and it looked at the shape while it named the colour."""
    scenes = dr.data.scenes(1200, size=16, single=1.0, seed=0)
    scenes = scenes.subset(np.array([caption.split()[1] in ("red", "blue") for caption in scenes.captions]))
    words = dr.data.Words.fit(scenes.captions, first=("<start>",))
    y = np.stack([words.encode(caption) for caption in scenes.captions])
    net = dr.models.captioner((16, 16, 3), len(words), 3, filters=(8, 16), units=16, width=8)
    x = {"source": scenes.x, "target": dr.data.shifted(y, 0)}
    net.fit({name: part[:400] for name, part in x.items()}, y[:400], optimizer=dr.Adam(0.01), epochs=12, progress=False)
    said = dr.translate(net, scenes.x[400:], start=0)
    assert np.mean(said[:, 1] == y[400:, 1]) > 0.97


def test_every_word_stands_over_what_was_looked_at():
    images, A = np.ones((2, 12, 12, 3)), np.zeros((2, 3, 9))
    A[:, 1, 4] = 1
    figure = dr.figures.attended(images, ["a red circle", "a square"], A, ["", "right caption: a circle"])
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == ["", "a", "red", "circle", "", "a", "square"]
    lit = np.asarray(shown[2].images[0].get_array())[..., 0]
    assert np.all(lit[4:8, 4:8] == 1)
    assert lit.max() == 1
    assert np.sum(lit > 0.5) == 16
    assert any("right caption: a circle" in text.get_text() for ax in figure.axes for text in ax.texts)
    for wrong, kind, message in ((lambda: dr.figures.attended(images[..., :1], ["a", "a"], A), ShapeError, r"attended expected images"),
                                 (lambda: dr.figures.attended(images, ["a", "a"], A[..., :7]), ShapeError, r"attended cannot lay 7 places"),
                                 (lambda: dr.figures.attended(images, ["a"], A), DeltaruleError, r"attended expected 2 captions"),
                                 (lambda: dr.figures.attended(images, ["a b c d", "a"], A), DeltaruleError, r"received 2 of up to 4")):
        with pytest.raises(kind, match=message):
            wrong()


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: dr.data.scenes(0), DeltaruleError, r"n expected a whole number of at least 1, received 0"),
    (lambda: dr.data.scenes(5, size=8), DeltaruleError, r"size expected a whole number of at least 16, received 8"),
    (lambda: dr.data.scenes(5, noise=-1), DeltaruleError, r"noise expected a finite number of at least 0, received -1"),
    (lambda: dr.data.scenes(5, single=2), DeltaruleError, r"single expected a finite number of at least 0 and at most 1, received 2"),
    (lambda: dr.AttentiveLSTM(0), DeltaruleError, r"AttentiveLSTM expected units to be a whole number of at least 1, received 0"),
    (lambda: dr.AttentiveLSTM(3, size=0), DeltaruleError, r"AttentiveLSTM expected size to be a whole number of at least 1, received 0"),
    (lambda: dr.Network(dr.AttentiveLSTM(3), (4, 2)), DeltaruleError, r"the network looks at a memory, and there is none here"),
    (lambda: dr.models.captioner((24, 24), 9, 5), ShapeError, r"captioner expected input_shape=\(height, width, channels\), received"),
    (lambda: dr.models.captioner((24, 24, 3), 0, 5), DeltaruleError, r"captioner expected vocabulary to be a whole number from 1 on"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
