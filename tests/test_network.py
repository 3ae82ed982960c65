"""Network: prediction, evaluation, summary, saving and loading."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_forward, numeric_gradient

import deltarule as dr
from deltarule import modelfile
from deltarule.errors import DataError, DeltaruleError, ModelFileError, ShapeError
from deltarule.layers.scope import flatten

X = np.random.default_rng(0).normal(size=(37, 5)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 37)
NET = dr.Network([dr.Dense(7, "tanh"), dr.Dense(3, "softmax")], 5, seed=2)


@given(st.integers(1, 5000))
def test_any_number_of_rows_is_predicted_alike(n):
    """Rows go through in filled-up powers of two and in chunks; each answer is that of its row alone."""
    x = np.resize(X, (n, 5))
    h = NET.predict(x)
    assert h.shape == (n, 3)
    np.testing.assert_allclose(h, np.resize(dense_forward(NET.params, {"dense_1": "tanh", "dense_2": "softmax"}, X), (n, 3)),
                               rtol=1e-4, atol=1e-6)


def test_inputs_of_many_kinds():
    import jax.numpy as jnp
    import pandas
    import polars
    expected = NET.predict(X)
    for x in (jnp.asarray(X), X.tolist(), X.astype(float), pandas.DataFrame(X), polars.DataFrame(X)):
        np.testing.assert_allclose(NET.predict(x), expected, rtol=1e-5)
    data = dr.data.iris()
    net = dr.Network([dr.Dense(3, "softmax")], 4)
    assert net.fit(data, epochs=2)["loss"][-1] == pytest.approx(net.evaluate(data)["loss"], rel=1e-5)


def test_images_of_bytes_stay_bytes_until_they_are_used():
    images = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 1)).astype(np.uint8)
    y = images[:, 0, 0, 0].astype(float)[:, None] / 255
    as_bytes, as_floats = (dr.Network([dr.Flatten(), dr.Dense(1)], (4, 4, 1)) for _ in range(2))
    for net, x in ((as_bytes, images), (as_floats, images.astype("float32"))):
        net.fit(x, y, optimizer=dr.SGD(1e-6), epochs=2)
    np.testing.assert_allclose(as_bytes.params["dense_1"]["weights"], as_floats.params["dense_1"]["weights"], rtol=1e-5)


def test_float64_gradient_of_the_whole_network_against_differences():
    """dL/dW of one step of gradient descent, softmax and cross-entropy, to 1e-7."""
    net = dr.Network([dr.Dense(7, "silu"), dr.Dense(3, "softmax")], 5, dtype="float64")
    start = {path: value.copy() for path, value in flatten(net.params).items()}
    net.fit(X, LABELS, optimizer=dr.SGD(1.0), epochs=1, batch_size=None)
    after = flatten(net.params)
    params = {layer: {name: start[f"{layer}/{name}"].copy() for name in ("weights", "bias")} for layer in ("dense_1", "dense_2")}

    def loss(_):
        p = dense_forward(params, {"dense_1": "silu", "dense_2": "softmax"}, X)
        return -np.mean(np.log(p[np.arange(37), LABELS]))

    for path, value in start.items():
        layer, name = path.split("/")
        np.testing.assert_allclose(value - after[path], numeric_gradient(loss, params[layer][name]), atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_and_load_is_exact(tmp_path, dtype):
    net = dr.Network([dr.Dense(7, dr.ParametricReLU()), dr.Residual([dr.Dense(7, "tanh")]), dr.Dropout(0.2), dr.Dense(3, "softmax")], 5,
                     seed=9, dtype=dtype)
    net.fit(X, LABELS, epochs=2, optimizer=dr.Adam(dr.WarmupCosine(0.01, 1)))
    net.save(tmp_path / "net.safetensors")
    loaded = dr.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert loaded.layer == net.layer
    assert (loaded.training, loaded.seed, loaded.epochs_trained, loaded.dtype) == (net.training, 9, 2, dtype)
    assert loaded.evaluate(X, LABELS) == net.evaluate(X, LABELS)
    first = (tmp_path / "net.safetensors").read_bytes()
    net.save(tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == first


def test_a_network_pickles():
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(NET)).predict(X), NET.predict(X))


def changed(tmp_path, change):
    """A valid file whose description or arrays were changed and whose digest is right again."""
    path = tmp_path / "net.safetensors"
    NET.save(path)
    header, arrays = modelfile.read_model(path)
    change(header, arrays)
    modelfile.write_model(path, header, arrays)
    return path


@pytest.mark.parametrize(("change", "message"), [
    (lambda header, arrays: header.pop("architecture"), r"lacks a part of the model's description: 'architecture'"),
    (lambda header, arrays: header["architecture"].update({"class": "os.system"}), r"cannot be rebuilt: unknown class 'os\.system'"),
    (lambda header, arrays: header["architecture"]["layers"][0].update(units=9), r"holds params that do not fit its architecture"),
    (lambda header, arrays: arrays.pop("params/dense_1/bias"), r"holds params that do not fit its architecture"),
    (lambda header, arrays: arrays["params/dense_1/bias"].__iadd__(0.5), r"gives other outputs for its probe rows than when it was"),
    (lambda header, arrays: header.update(input_shape="abc"), r"cannot be rebuilt|lacks a part"),
    (lambda header, arrays: header.update(dtype="float16"), r"cannot be rebuilt: dtype expected"),
])
def test_a_file_that_was_tampered_with_is_refused(tmp_path, change, message):
    path = changed(tmp_path, change)
    with pytest.raises(ModelFileError, match=message):
        dr.load(path)


def test_summary_counts_parameters_and_multiply_adds():
    net = dr.Network([dr.Flatten(), dr.Residual([dr.Dense(11, "relu"), dr.Dense(12)]), dr.Parallel([dr.Dense(3), dr.Dense(2)])], (3, 4))
    rows = {row.path: row for row in net.summary().rows}
    assert list(rows) == ["flatten_1", "residual_1/body/dense_1", "residual_1/body/dense_2", "parallel_1/dense_1", "parallel_1/dense_2"]
    assert rows["residual_1/body/dense_1"].parameters == 12 * 11 + 11
    assert rows["residual_1/body/dense_1"].multiply_adds == 12 * 11
    assert rows["residual_1/body/dense_2"].output_shape == (12,)
    assert net.summary().parameters == sum(value.size for value in flatten(net.params).values())
    assert str(net.summary()).splitlines()[-1].split() == ["total", "352", "324"]


def test_settings_survive_json():
    net = dr.Network([dr.Dense(3, "softmax")], 5)
    net.fit(X, LABELS, epochs=1, loss=dr.losses.CrossEntropy(0.1), optimizer=dr.SGD(dr.StepDecay(0.1), momentum=0.9, clip_norm=1.0))
    assert json.loads(json.dumps(net.training)) == net.training
    assert net.evaluate(X, LABELS)["loss"] != net.evaluate(X, LABELS, loss="cross_entropy")["loss"]


@pytest.mark.parametrize(("x", "kind", "message"), [
    (X[:, :4], ShapeError, r"x has shape \(37, 4\), the network expects \(n, 5\)"),
    (X[0], ShapeError, r"x has shape \(5,\), expected \(rows, features\)"),
    (X[:0], DataError, r"nothing to learn from"),
    (np.where(np.arange(37)[:, None] == 3, np.nan, X), DataError, r"x holds 5 values that are not finite \(first: nan in row 3, col"),
    ([["a"] * 5], DataError, r"x holds text in column 0"),
])
def test_mistakes_in_predict(x, kind, message):
    with pytest.raises(kind, match=message):
        NET.predict(x)


def test_mistakes_in_evaluate():
    with pytest.raises(DeltaruleError, match=r"expected targets y beside x"):
        NET.evaluate(X)
    with pytest.raises(ShapeError, match=r"y has shape \(3,\) for 37 rows of x"):
        NET.evaluate(X, [0, 1, 2])
    with pytest.raises(ModelFileError, match=r"cannot read .*nowhere\.safetensors: it does not exist"):
        dr.load("nowhere.safetensors")
