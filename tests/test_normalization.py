"""Batch and layer normalization against the textbook, and what must not enter the statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DeltaruleError
from deltarule.layers.forward import forward

RNG = np.random.default_rng(5)


def drawn(layer, shape, n):
    """A network of the layer in float64 with random gamma, beta and running statistics, and rows for it."""
    net = dr.Network([layer], shape, dtype="float64")
    (name,) = net.params
    net.params[name] = {"gamma": RNG.normal(size=shape[-1]), "beta": RNG.normal(size=shape[-1])}
    if net.state:
        net.state[name] = {"mean": RNG.normal(size=shape[-1]), "variance": RNG.uniform(0.5, 2, shape[-1])}
    return net, net.params[name], RNG.normal(2, 3, size=(n, *shape))


@pytest.mark.parametrize(("shape", "n"), [((3,), 7), ((5, 2), 3), ((2, 3, 5), 2), ((1,), 2)])
def test_batch_norm_is_the_textbooks(shape, n):
    net, p, x = drawn(dr.BatchNorm(momentum=0.7), shape, n)
    old = net.state["batch_norm_1"]
    with jax.enable_x64(True):
        output, state = forward(net.layer, net.params, net.state, jnp.asarray(x), dtype="float64", training=True)
        still, unchanged = forward(net.layer, net.params, net.state, jnp.asarray(x), dtype="float64")
    run = textbook.batch_norm(x, p["gamma"], p["beta"])
    np.testing.assert_allclose(output.h, run.y, rtol=1e-10, atol=1e-10)
    mu, var = textbook.running_statistics((old["mean"], old["variance"]), run, 0.7)
    np.testing.assert_allclose(state["batch_norm_1"]["mean"], mu, rtol=1e-10)
    np.testing.assert_allclose(state["batch_norm_1"]["variance"], var, rtol=1e-10)
    expected = textbook.batch_norm_predict(x, p["gamma"], p["beta"], old["mean"], old["variance"])
    np.testing.assert_allclose(still.h, expected, rtol=1e-10, atol=1e-10)
    assert unchanged is net.state


@pytest.mark.parametrize(("shape", "n"), [((3,), 7), ((5, 2), 3), ((2, 3, 5), 1)])
def test_layer_norm_is_the_textbooks(shape, n):
    net, p, x = drawn(dr.LayerNorm(), shape, n)
    with jax.enable_x64(True):
        output, _ = forward(net.layer, net.params, {}, jnp.asarray(x), dtype="float64", training=True)
    np.testing.assert_allclose(output.h, textbook.layer_norm(x, p["gamma"], p["beta"]).y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", [dr.BatchNorm(), dr.LayerNorm()], ids=repr)
def test_gradients_in_training_are_the_textbooks(layer):
    net, p, x = drawn(layer, (3, 5), 7)
    dy = RNG.normal(size=x.shape)
    with jax.enable_x64(True):
        def total(params, x):
            return jnp.sum(forward(net.layer, params, net.state, x, dtype="float64", training=True)[0].h * dy)

        of_params, of_x = jax.grad(total, (0, 1))(net.params, jnp.asarray(x))
    forms = {dr.BatchNorm: textbook.batch_norm, dr.LayerNorm: textbook.layer_norm}
    expected = textbook.norm_backward(forms[type(layer)](x, p["gamma"], p["beta"]), p["gamma"], dy)
    np.testing.assert_allclose(of_x, expected["x"], rtol=1e-9, atol=1e-10)
    for name, gradient in next(iter(of_params.values())).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-9, atol=1e-10)


def test_rows_that_fill_up_the_last_batch_do_not_enter_the_statistics():
    """13 rows in batches of 5: the running statistics are those of batches of 5, 5 and 3 rows."""
    x = RNG.normal(3, 2, size=(13, 4))
    net = dr.Network([dr.BatchNorm(), dr.Dense(1)], 4, dtype="float64")
    net.fit(x, x[:, :1], optimizer=dr.SGD(1e-12), batch_size=5, shuffle=False, epochs=1, progress=False)
    statistics = np.zeros(4), np.ones(4)
    for begin in (0, 5, 10):
        run = textbook.batch_norm(x[begin:begin + 5], np.ones(4), np.zeros(4))
        statistics = textbook.running_statistics(statistics, run)
    np.testing.assert_allclose(net.state["batch_norm_1"]["mean"], statistics[0], rtol=1e-10)
    np.testing.assert_allclose(net.state["batch_norm_1"]["variance"], statistics[1], rtol=1e-10)


def test_statistics_are_saved_with_the_network_and_used_to_predict(tmp_path):
    x = RNG.normal(50, 10, size=(97, 3))
    net = dr.Network([dr.BatchNorm(), dr.Dense(5, use_bias=False), dr.BatchNorm(), dr.Activation("relu"), dr.Dense(1)], 3)
    history = net.fit(x, x[:, :1] / 50, epochs=60, optimizer=dr.Adam(0.02), progress=False)
    assert history["loss"][-1] < 0.02 < history["loss"][0]
    np.testing.assert_allclose(net.state["batch_norm_1"]["mean"], x.mean(axis=0), rtol=0.1)
    net.save(tmp_path / "n.safetensors")
    np.testing.assert_array_equal(dr.load(tmp_path / "n.safetensors").predict(x), net.predict(x))
    np.testing.assert_allclose(net.predict(x[:1]), net.predict(x)[:1], rtol=1e-5)       # alone or among others


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.BatchNorm(momentum=1.0), r"BatchNorm expected momentum from 0 up to but not 1, received 1\.0"),
    (lambda: dr.BatchNorm(epsilon=0), r"BatchNorm expected epsilon above 0, received 0"),
    (lambda: dr.LayerNorm(epsilon=-1.0), r"LayerNorm expected epsilon above 0, received -1\.0"),
])
def test_mistakes(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()
