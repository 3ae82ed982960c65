"""Layers: their equations against NumPy, their names, their errors, and the contract that all of them keep."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import G, dense_forward

import deltarule as dr
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.layers.scope import flatten, unflatten
from deltarule.spec import REGISTRY, from_json, to_json

EXAMPLES = {    # one of every layer class, with the shape of a row that it takes
    dr.Dense: (dr.Dense(5, "tanh"), (7,)),
    dr.Activation: (dr.Activation("sigmoid"), (7,)),
    dr.LeakyReLU: (dr.LeakyReLU(0.2), (7,)),
    dr.ParametricReLU: (dr.ParametricReLU(0.3), (7,)),
    dr.Conv1D: (dr.Conv1D(5, 3, "tanh", stride=2, padding="same"), (7, 2)),
    dr.Conv2D: (dr.Conv2D(6, (3, 2), "tanh", dilation=(1, 2), groups=2, padding=((1, 0), 2), rounding="ceil", stride=2), (5, 7, 4)),
    dr.Conv3D: (dr.Conv3D(2, 2, padding=1, padding_mode="circular"), (3, 2, 3, 3)),
    dr.ConvTranspose1D: (dr.ConvTranspose1D(3, 3, stride=2, padding=((0, 1),)), (5, 2)),
    dr.ConvTranspose2D: (dr.ConvTranspose2D(3, (3, 2), "tanh", stride=2, padding="same"), (3, 2, 5)),
    dr.ConvTranspose3D: (dr.ConvTranspose3D(2, 2, use_bias=False), (2, 3, 2, 3)),
    dr.SeparableConv2D: (dr.SeparableConv2D(5, 3, "tanh", padding="full"), (3, 5, 2)),
    dr.Flatten: (dr.Flatten(), (2, 3, 5)),
    dr.Dropout: (dr.Dropout(0.5), (7,)),
    dr.BatchNorm: (dr.BatchNorm(), (7,)),
    dr.LayerNorm: (dr.LayerNorm(), (5, 7)),
    dr.GroupNorm: (dr.GroupNorm(3), (5, 2, 6)),
    dr.SpatialDropout: (dr.SpatialDropout(0.5), (5, 2, 3)),
    dr.Reshape: (dr.Reshape((3, 2)), (6,)),
    dr.MaxPool1D: (dr.MaxPool1D(2), (7, 3)),
    dr.MaxPool2D: (dr.MaxPool2D(3, stride=2, padding="same"), (7, 5, 3)),
    dr.MaxPool3D: (dr.MaxPool3D((1, 2, 3)), (2, 3, 5, 2)),
    dr.AveragePool1D: (dr.AveragePool1D(3, stride=2, padding=((1, 0),), rounding="ceil"), (7, 3)),
    dr.AveragePool2D: (dr.AveragePool2D(2), (7, 5, 3)),
    dr.AveragePool3D: (dr.AveragePool3D(2, stride=1), (2, 3, 5, 2)),
    dr.GlobalMaxPool: (dr.GlobalMaxPool(), (5, 3, 2)),
    dr.GlobalAveragePool: (dr.GlobalAveragePool(), (5, 3, 2)),
    dr.AdaptiveMaxPool: (dr.AdaptiveMaxPool((3, 2)), (5, 7, 2)),
    dr.AdaptiveAveragePool: (dr.AdaptiveAveragePool(3), (5, 7, 2)),
    dr.UpSample: (dr.UpSample((2, 3), "linear"), (3, 2, 5)),
    dr.Pad: (dr.Pad(((1, 2), 0), "reflect"), (3, 2, 5)),
    dr.Crop: (dr.Crop((1, (2, 0))), (5, 3, 2)),
    dr.Masked: (dr.Masked(-1.0), (3, 2)),
    dr.SimpleRNN: (dr.SimpleRNN(3, return_sequences=True, reverse=True, activation="sigmoid"), (5, 2)),
    dr.LSTM: (dr.LSTM(3, initial="learnt"), (5, 2)),
    dr.GRU: (dr.GRU(3, return_sequences=True), (5, 2)),
    dr.Bidirectional: (dr.Bidirectional(dr.LSTM(3, return_sequences=True)), (5, 2)),
    dr.Sequential: (dr.Sequential([dr.Dense(5, "relu"), dr.Dense(3)]), (7,)),
    dr.Residual: (dr.Residual([dr.Dense(5, "tanh"), dr.Dense(7)]), (7,)),
    dr.Skip: (dr.Skip([dr.Dense(5, "tanh"), dr.Dense(2)]), (7,)),
    dr.Parallel: (dr.Parallel([dr.Dense(3), dr.Dense(2, "relu")]), (7,)),
    dr.Embedding: (dr.Embedding(5, 3), (7,)),
    dr.Positions: (dr.Positions(longest=7), (5, 3)),
    dr.MultiHeadAttention: (dr.MultiHeadAttention(3, size=2, causal=True, rotary=True), (5, 7)),
    dr.TransformerEncoder: (dr.TransformerEncoder(2, hidden=5), (3, 6)),
    dr.TransformerDecoder: (dr.EncoderDecoder(dr.Dense(3, "tanh"), dr.TransformerDecoder(2, hidden=5), (5, 2), (3, 4)), (22,)),
    dr.AttentionPooling: (dr.AttentionPooling(5), (3, 2)),
    dr.EncoderDecoder: (dr.EncoderDecoder(dr.Conv2D(3, 2), dr.MultiHeadAttention(1, 2, cross=True), (3, 2, 2), (5, 2)), (22,)),
    dr.AttentiveLSTM: (dr.EncoderDecoder(dr.Conv1D(3, 2, "tanh"), dr.AttentiveLSTM(2, size=3), (4, 2), (3, 2)), (14,)),
    dr.TimeDistributed: (dr.TimeDistributed([dr.Conv1D(3, 2, "tanh"), dr.GlobalMaxPool()]), (3, 5, 2)),
}
CASES = pytest.mark.parametrize(("layer", "shape"), EXAMPLES.values(), ids=[cls.__name__ for cls in EXAMPLES])


def rows(shape, n=11, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype("float32")


def rows_for(layer, shape, n=11):
    """Rows that the layer takes: whole numbers for an Embedding."""
    return np.mod(np.rint(9 * rows(shape, n)), layer.vocabulary) if isinstance(layer, dr.Embedding) else rows(shape, n)


def test_every_registered_layer_is_covered():
    assert {cls for cls in REGISTRY.values() if issubclass(cls, dr.Layer) and cls.__module__.startswith("deltarule.")} == set(EXAMPLES)


@CASES
def test_contract(layer, shape):
    """JSON round trip, hash, repr that rebuilds, jit = eager, vmap over members = loop, prediction without randomness."""
    assert from_json(json.loads(json.dumps(to_json(layer)))) == layer
    assert hash(layer) == hash(from_json(to_json(layer)))
    assert eval(repr(layer), vars(dr).copy()) == layer
    net = dr.Network(layer, shape, seed=1)
    x = rows_for(layer, shape)

    def outputs(params):
        return forward(layer, params, net.state, jnp.asarray(x))[0].h

    eager = outputs(net.params)
    assert eager.shape == (11, *net.output_shape)
    np.testing.assert_allclose(net.predict(x), eager, rtol=1e-5, atol=1e-6)
    members = [dr.Network(layer, shape, seed=seed).params for seed in range(3)]
    if members[0]:
        together = jax.jit(jax.vmap(outputs))(jax.tree.map(lambda *leaves: np.stack(leaves), *members))
        alone = jax.jit(outputs)
        for params, found in zip(members, together, strict=True):
            np.testing.assert_allclose(found, alone(params), rtol=1e-5, atol=1e-6)


@CASES
def test_one_training_step_and_gradients_against_differences(layer, shape):
    net = dr.Network([layer, dr.Flatten(), dr.Dense(2, "tanh")], shape, seed=3, dtype="float64")
    x, y = rows_for(layer, shape, 5).astype(float), rows((2,), 5, seed=1).astype(float)
    before = {path: value.copy() for path, value in flatten(net.params).items()}
    rate = 1e-3
    predicting = dataclasses.replace(layer, rate=0.0) if isinstance(layer, (dr.Dropout, dr.SpatialDropout)) else layer
    twin = dr.Network([predicting, dr.Flatten(), dr.Dense(2, "tanh")], shape, seed=3, dtype="float64")
    state = twin.state
    twin.fit(x, y, loss="quadratic", optimizer=dr.SGD(rate), epochs=1, batch_size=None)
    after = flatten(twin.params)

    @jax.jit
    def loss(params):
        h = forward(twin.layer, params, state, jnp.asarray(x), dtype="float64", training=True)[0].h
        return 0.5 * jnp.mean(jnp.sum((h - y) ** 2, axis=1))

    rng = np.random.default_rng(0)
    for path, start in before.items():
        for _ in range(3):
            index = tuple(rng.integers(0, size) for size in start.shape)
            losses = []
            for shift in (1e-6, -1e-6):
                moved = {name: value.copy() for name, value in before.items()}
                moved[path][index] += shift
                with jax.enable_x64(True):
                    losses.append(float(loss(unflatten(moved))))
            slope = (losses[0] - losses[1]) / 2e-6
            assert (start[index] - after[path][index]) / rate == pytest.approx(slope, rel=1e-5, abs=1e-8)


@given(st.integers(1, 13), st.integers(1, 7), st.integers(1, 5), st.sampled_from(sorted(G)))
def test_dense_is_its_equation(inputs, hidden, outputs, activation):
    net = dr.Network([dr.Dense(hidden, activation), dr.Dense(outputs)], inputs, seed=inputs)
    x = rows((inputs,), 3)
    h = forward(net.layer, net.params, {}, jnp.asarray(x))[0].h
    np.testing.assert_allclose(h, dense_forward(net.params, {"dense_1": activation, "dense_2": "linear"}, x), rtol=1e-4, atol=1e-5)


def test_lecture_parameter_count():
    summary = dr.Network([dr.Flatten(), dr.Dense(100, use_bias=False)], (32, 32, 3)).summary()
    assert summary.parameters == summary.multiply_adds == 307_200


def test_dense_on_sequences_acts_on_the_last_axis():
    net = dr.Network(dr.Dense(2), (5, 3))
    x = rows((5, 3))
    expected = x.reshape(-1, 3) @ net.params["weights"]
    np.testing.assert_allclose(net.predict(x).reshape(-1, 2), expected, rtol=1e-5, atol=1e-6)


def test_residual_and_parallel_are_their_equations():
    x = rows((5,))
    net = dr.Network(dr.Residual(dr.Dense(5, "tanh")), (5,))
    f = np.tanh(x @ net.params["body"]["weights"])
    np.testing.assert_allclose(net.predict(x), x + f, rtol=1e-5, atol=1e-6)
    net = dr.Network(dr.Residual(dr.Dense(3, "tanh"), shortcut=dr.Dense(3)), (5,))
    assert from_json(to_json(net.layer)) == net.layer
    f, s = np.tanh(x @ net.params["body"]["weights"]), x @ net.params["shortcut"]["weights"]
    np.testing.assert_allclose(net.predict(x), s + f, rtol=1e-5, atol=1e-6)
    net = dr.Network(dr.Skip(dr.Dense(3, "tanh")), (5,))
    np.testing.assert_allclose(net.predict(x), np.hstack([x, np.tanh(x @ net.params["body"]["weights"])]), rtol=1e-5, atol=1e-6)
    for merge in ("sum", "concatenate"):
        net = dr.Network(dr.Parallel([dr.Dense(3), dr.Dense(3, "tanh")], merge), (5,))
        one, two = x @ net.params["dense_1"]["weights"], np.tanh(x @ net.params["dense_2"]["weights"])
        expected = one + two if merge == "sum" else np.concatenate([one, two], axis=1)
        np.testing.assert_allclose(net.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_leaky_and_parametric_slopes():
    x = np.array([[-2.0, 3.0]], "float32")
    np.testing.assert_allclose(dr.Network(dr.LeakyReLU(0.2), (2,)).predict(x), [[-0.4, 3.0]], rtol=1e-6)
    net = dr.Network(dr.ParametricReLU(0.25), (2,))
    net.params["slope"]["s"][:] = [0.5, 7.0]
    np.testing.assert_allclose(net.predict(x), [[-1.0, 3.0]], rtol=1e-6)


def test_dropout_keeps_the_mean_and_differs_by_step_layer_and_seed():
    from deltarule.ops.noise import step_key
    layer, x = dr.Sequential([dr.Dropout(0.3), dr.Dropout(0.3)]), jnp.ones((97, 101))

    def drawn(seed, step, which):
        taps = {}
        forward(layer, {}, {}, x, key=step_key(seed, step), training=True, taps=taps)
        return np.asarray(taps[f"dropout_{which}/activation"])

    first = drawn(0, 0, 1)
    assert set(np.unique(first).round(5)) == {0.0, np.float32(1 / 0.7).round(5)}
    assert first.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(first, drawn(0, 0, 1))
    for other in (drawn(1, 0, 1), drawn(0, 1, 1), drawn(0, 0, 2) / (first + (first == 0)) * first):
        assert np.mean((other > 0) == (first > 0)) < 0.8


def test_first_weights_depend_on_seed_and_name_only():
    plain = dr.Network([dr.Dense(5), dr.Dense(3)], (7,), seed=2)
    longer = dr.Network([dr.Dense(5), dr.Dropout(0.1), dr.Flatten(), dr.Dense(3), dr.Dense(2)], (7,), seed=2)
    for name in ("dense_1", "dense_2"):
        np.testing.assert_array_equal(plain.params[name]["weights"], longer.params[name]["weights"])
    assert not np.array_equal(plain.params["dense_1"]["weights"], dr.Network([dr.Dense(5)], (7,), seed=3).params["dense_1"]["weights"])


def test_own_layer_is_trained_saved_and_loaded(tmp_path):
    @dr.register
    @dataclasses.dataclass(frozen=True)
    class Squares(dr.Layer):
        units: int

        def __call__(self, x, scope):
            W = scope.param("weights", dr.initializers.Normal(0.3), (x.shape[-1], self.units))
            return scope.tap("activation", (x @ W) ** 2)

    try:
        net = dr.Network([Squares(3), dr.Dense(1)], (2,))
        x = rows((2,), 64)
        history = net.fit(x, (x[:, :1] * x[:, 1:]), optimizer=dr.Adam(0.03), epochs=60)
        assert history["loss"][-1] < 0.05 * history["loss"][0]
        net.save(tmp_path / "own.safetensors")
        np.testing.assert_array_equal(dr.load(tmp_path / "own.safetensors").predict(x), net.predict(x))
    finally:
        del REGISTRY["Squares"]
    with pytest.raises(DeltaruleError, match=r"unknown class 'Squares'.*must be registered"):
        dr.load(tmp_path / "own.safetensors")


def test_own_layer_works_without_registration_but_says_why_it_cannot_be_saved(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Halved(dr.Layer):
        def __call__(self, x, scope):
            return x / 2

    net = dr.Network([Halved(), dr.Dense(1)], (2,))
    assert net.predict(rows((2,))).shape == (11, 1)
    with pytest.raises(DeltaruleError, match=r"Halved is not registered.*decorate the class with @deltarule\.register"):
        net.save(tmp_path / "own.safetensors")


def test_names_chosen_by_the_user():
    net = dr.Network({"encoder": dr.Dense(3, "relu"), "decoder": dr.Dense(5)}, (5,))
    assert list(net.params) == ["encoder", "decoder"]
    assert from_json(to_json(net.layer)) == net.layer


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.Dense(0), r"Dense expected a whole number of units from 1 on, received 0"),
    (lambda: dr.Dense(3, "sigmiod"), r"unknown activation 'sigmiod'; did you mean 'sigmoid'"),
    (lambda: dr.Dense(3, 5), r"Dense expected an activation by name or as an object.*received 5"),
    (lambda: dr.Dense(3, weights="he"), r"unknown initializer 'he'"),
    (lambda: dr.Dropout(1.0), r"Dropout expected a rate from 0 up to but not 1, received 1\.0"),
    (lambda: dr.Sequential([]), r"Sequential expected at least one layer"),
    (lambda: dr.Sequential([dr.Dense]), r"expected a layer or a list of layers, received .*write Dense\(\.\.\.\)"),
    (lambda: dr.Sequential([dr.Dense(1)], ("a", "b")), r"Sequential expected 1 different names"),
    (lambda: dr.Sequential({"a/b": dr.Dense(1)}), r"names of layers are letters, digits"),
    (lambda: dr.Parallel([]), r"Parallel expected at least one branch"),
    (lambda: dr.Parallel([dr.Dense(1)], "mean"), r"Parallel merges by 'sum' or 'concatenate', received 'mean'"),
    (lambda: dr.Network([dr.Dense(2)], (0,)), r"input_shape expected the shape of one row"),
    (lambda: dr.Network([dr.Dense(2)], (3,), seed=-1), r"seed expected a whole number"),
    (lambda: dr.Network([dr.Dense(2)], (3,), dtype="int8"), r"dtype expected 'float32' or 'float64', received 'int8'"),
    (lambda: dr.Network([dr.Dense(2, "softmax"), dr.Activation("softmax")], (3,)), r"applies softmax to the output of a softmax"),
])
def test_mistakes_in_architectures(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize(("layers", "shape", "message"), [
    ([dr.Dense(3)], (28, 28, 1), r"Dense received images of shape \(28, 28, 1\); put Flatten\(\) before it"),
    ([dr.Residual(dr.Dense(3))], (5,), r"Residual adds its body to its input.*input \(5,\), body \(3,\)"),
    ([dr.Residual(dr.Dense(3), shortcut=dr.Dense(2))], (5,), r"Residual adds its body to its shortcut.*shortcut \(2,\), body \(3,\)"),
    ([dr.Skip(dr.MaxPool2D(2))], (4, 4, 1), r"Skip puts its body beside its input.*input \(4, 4, 1\), body \(2, 2, 1\)"),
    ([dr.Parallel([dr.Dense(3), dr.Dense(2)], "sum")], (5,), r"Parallel cannot merge branches of shapes \[\(3,\), \(2,\)\] by 'sum'"),
])
def test_shapes_that_do_not_fit(layers, shape, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network(layers, shape)


def test_unknown_class_and_field_in_json():
    with pytest.raises(DeltaruleError, match=r"unknown class 'Dens'; did you mean 'Dense'"):
        from_json({"class": "Dens"})
    with pytest.raises(DeltaruleError, match=r"Dense has no setting 'unit'; did you mean 'units'"):
        from_json({"class": "Dense", "unit": 3})
    with pytest.raises(DeltaruleError, match=r"Dense needs units; write Dense\(units\)"):
        from_json({"class": "Dense", "activation": "relu"})
    with pytest.raises(DeltaruleError, match=r"Quantile cannot be built from \['quantiles'\]: 'int' object is not iterable"):
        from_json({"class": "Quantile", "quantiles": 1})
    with pytest.raises(DeltaruleError, match=r"register expected a frozen dataclass, received str"):
        dr.register(str)
    with pytest.raises(DeltaruleError, match=r"fields of a layer must be numbers, strings, tuples or layers"):
        dr.Network([dr.Dense(3, weights=Unhashable())], (2,))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.LSTM(5, activation="relu"), r"^LSTM has no setting 'activation'; its gates are sigmoids and its candidate a tanh, which "
                                            r"the kernels work out together; SimpleRNN takes an activation$"),
    (lambda: dr.GRU(5, recurrent_activation="relu"), r"^GRU has no setting 'recurrent_activation'; its gates are sigmoids"),
    (lambda: dr.SimpleRNN(5, stateful=True), r"^SimpleRNN has no setting 'stateful'; fit\(.*\) and dr\.Stream carry states on$"),
    (lambda: dr.GRU(5, return_state=True), r"^GRU has no setting 'return_state'; its method run returns the states$"),
    (lambda: dr.GRU(5, return_sequence=True), r"^GRU has no setting 'return_sequence'; did you mean 'return_sequences'\?$"),
    (lambda: dr.Embedding(input_dim=3), r"^Embedding has no setting 'input_dim'; known: size, vocabulary, weights$"),
    (lambda: dr.Embedding(3), r"^Embedding needs size; write Embedding\(vocabulary, size\)$"),
    (lambda: dr.Dense(), r"^Dense needs units; write Dense\(units\)$"),
    (lambda: dr.Dense(5, "relu", activation="tanh"), r"^Dense received 'activation' twice, by its place and by its name; give it once$"),
    (lambda: dr.Dropout(0.5, 3), r"^Dropout expected at most 1 values \(rate\), received 2; name those that you set$"),
])
def test_settings_that_a_layer_does_not_have_or_lacks(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize("cls", REGISTRY.values(), ids=REGISTRY)
def test_a_setting_that_nothing_has_is_refused_by_everything_that_has_settings(cls):
    with pytest.raises(DeltaruleError, match=rf"^{cls.__name__} has no setting 'zzz'"):
        cls(zzz=1)


class Unhashable:
    __hash__ = None

    def __call__(self, rng, shape):
        return np.zeros(shape)
