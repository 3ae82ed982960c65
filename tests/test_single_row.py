"""A layer of neurons for a single row: the kernel and the JAX form against NumPy in double precision, and what a prediction makes of it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import kernels, network
from deltarule.layers.forward import forward
from deltarule.ops import native, single

READY = kernels.kernels(*kernels.DENSE).ready
needed = pytest.mark.skipif(not READY, reason="no C++ compiler: test_kernels.py has checked that this is said")
BENT = {"linear": lambda a: a, "relu": lambda a: np.maximum(a, 0), "tanh": np.tanh, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


def drawn(seed, inputs, units, bias):
    rng = np.random.default_rng(seed)
    x, W, b = rng.normal(size=(1, inputs)), rng.normal(0, 2 / np.sqrt(inputs), (inputs, units)), rng.normal(size=units)
    return tuple(None if values is None else values.astype("float32") for values in (x, W, b if bias else None))


def expected(x, W, b, activation):
    return BENT[activation](x.astype(float) @ W.astype(float) + (0 if b is None else b.astype(float)))


def test_the_kernel_takes_these_activations():
    assert tuple(BENT) == kernels.BENT


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(kernels.BENT), st.booleans(), st.booleans(), st.integers(0, 10**6))
@example(1, 1, "sigmoid", True, True, 0)
@example(1, 17, "relu", False, True, 0)
@example(67, 1, "tanh", True, True, 0)
def test_any_layer_is_the_equation_in_double_precision(inputs, units, activation, bias, serves, seed):
    x, W, b = drawn(seed, inputs, units, bias)
    with pytest.MonkeyPatch.context() as patch:
        if not serves:
            patch.setattr(native, "runs", lambda *given: False)
        h = single.neurons(*(None if values is None else jnp.asarray(values) for values in (x, W, b)), activation)
    assert (h.shape, h.dtype) == ((1, units), "float32")
    np.testing.assert_allclose(h, expected(x, W, b, activation), rtol=2e-6, atol=1e-5)


@needed
@pytest.mark.parametrize(("inputs", "units"), [(2051, 1033), (3, 10**6 + 7)], ids=str)
def test_weights_read_by_several_threads_give_the_same_bits_every_time(inputs, units):
    x, W, b = drawn(1, inputs, units, True)
    layer = jax.jit(lambda *given: kernels.dense_row(*given, "relu"))
    every = {np.asarray(layer(x, W, b)).tobytes() for _ in range(30)}
    assert len(every) == 1
    np.testing.assert_allclose(np.frombuffer(every.pop(), "float32")[None], expected(x, W, b, "relu"), rtol=2e-6, atol=2e-5)


@needed
def test_what_is_not_a_number_stays_so_and_without_inputs_there_is_the_bias():
    W = jnp.array([[1.0, jnp.nan, -1.0]])
    for activation in kernels.BENT:
        assert np.isnan(kernels.dense_row(jnp.ones((1, 1)), W, None, activation)).tolist() == [[False, True, False]]
    assert kernels.dense_row(jnp.ones((1, 0)), jnp.ones((0, 3)), jnp.arange(3.0)).tolist() == [[0, 1, 2]]


@needed
@pytest.mark.parametrize("activation", kernels.BENT)
def test_slopes_and_members_of_an_ensemble(activation):
    """Also where a layer asks for slopes in the midst of a prediction."""
    x, W, b = drawn(2, 5, 7, True)
    found, plain = (jax.grad(lambda x, W, b, f=f: jnp.sum(jnp.sin(f(x, W, b, activation))), (0, 1, 2))(x, W, b)
                    for f in (single.neurons, single._as_it_stands))
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    together = jax.vmap(lambda W: single.neurons(x, W, b, activation))(jnp.stack([W, -W, 2 * W]))
    for member, weights in zip(together, (W, -W, 2 * W), strict=True):
        np.testing.assert_array_equal(member, single.neurons(x, weights, b, activation))


def test_products_are_counted():
    assert kernels.multiply_adds({"target_name": "deltarule_dense_row"}, [(1, 30), (30, 7), (7,)]) == 210


@pytest.mark.parametrize(("activation", "bias"), [("elu", True), ("elu", False), ("tanh", True), ("softmax", False)])
def test_one_row_is_predicted_as_it_is_among_others(activation, bias):
    net = dr.Network([dr.Dense(257, activation, use_bias=bias), dr.Dense(3, "softmax")], input_shape=(300,))
    x = np.random.default_rng(0).normal(size=(3, 300)).astype("float32")
    assert net._fewest_rows == 1        # small networks predict 64 rows as fast
    np.testing.assert_allclose(np.concatenate([net.predict(row[None]) for row in x]), net.predict(x), rtol=1e-4, atol=1e-6)


@needed
def test_the_kernel_predicts_single_rows_in_single_precision_alone():
    net = dr.Network([dr.Dense(5, "relu"), dr.Dense(2, dr.LeakyReLU())], input_shape=(4,))

    def used(rows, dtype="float32", **options):
        x = np.zeros((rows, 4), dtype)
        return str(jax.make_jaxpr(lambda x: forward(net.layer, net.params, net.state, x, **options)[0].h)(x)).count("deltarule_dense_row")

    assert used(1, plain=True) == 1     # not the layer whose activation is a layer
    assert used(2, plain=True) == used(1) == used(1, taps={}) == 0
    predicting = network._predict.thorough.lower(net.layer, "float32", net.params, net.state, np.zeros((1, 4), "float32")).as_text()
    assert predicting.count("@deltarule_dense_row") == 1
    double = dr.Network([dr.Dense(400, "relu"), dr.Dense(2)], input_shape=(300,), dtype="float64")
    x = np.random.default_rng(1).normal(size=(1, 300))
    first, second = double.params["dense_1"], double.params["dense_2"]
    np.testing.assert_allclose(double.predict(x), np.maximum(x @ first["weights"], 0) @ second["weights"], rtol=1e-12)


@needed
def test_a_layer_may_ask_for_slopes_in_the_midst_of_a_prediction():
    @dataclass(frozen=True)
    class Slope(dr.Layer):
        """h = d/dx sum tanh(x W)."""

        def __call__(self, x, scope):
            return jax.grad(lambda x: jnp.sum(dr.Dense(400, "tanh", use_bias=False)(x, scope / "inner")))(x)

    net = dr.Network([Slope()], input_shape=(300,))
    W = net.params["slope_1"]["inner"]["weights"].astype(float)
    x = np.random.default_rng(3).normal(size=(1, 300)).astype("float32")
    np.testing.assert_allclose(net.predict(x), (1 - np.tanh(x @ W) ** 2) @ W.T, rtol=1e-4, atol=1e-5)
