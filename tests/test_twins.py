"""Row 17: on random networks of every layer type the engine, the textbook's equations and finite differences agree.

Values and gradients to 1e-10 in float64 and 1e-5 relative in float32; differences to 1e-6.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import EXAMPLES
from twins import TWINS, run

import deltarule as dr
from deltarule.layers.scope import flatten, unflatten
from deltarule.losses import SquaredError
from deltarule.ops.compiling import QUICK
from deltarule.training.step import Batch, Learner, objective

WIDTH, N = 5, 3
SMOOTH = ["linear", "sigmoid", "tanh", "elu", "gelu", "silu", "softplus", "softmax"]
ACTIVATIONS = st.one_of(st.sampled_from(SMOOTH), st.just(dr.LeakyReLU(0.2)), st.just(dr.ParametricReLU(0.3)))
LEAVES = st.one_of(st.builds(dr.Dense, st.just(WIDTH), ACTIVATIONS, use_bias=st.booleans()),
                   st.builds(dr.Activation, st.sampled_from(SMOOTH)),
                   st.sampled_from([dr.LeakyReLU(0.1), dr.ParametricReLU(), dr.Flatten(), dr.Dropout(0.0), dr.BatchNorm(), dr.LayerNorm()]))
LAYERS = st.recursive(LEAVES, lambda inner: st.one_of(
    st.builds(dr.Residual, inner), st.builds(dr.Residual, inner, inner), st.builds(dr.Parallel, st.tuples(inner, inner), st.just("sum")),
    st.builds(lambda one: dr.Sequential([dr.Skip(one), dr.Dense(WIDTH, "tanh")]), inner),
    st.builds(lambda one, two: dr.Sequential([dr.Parallel((one, two)), dr.Dense(WIDTH, "tanh")]), inner, inner),
    st.builds(dr.Sequential, st.lists(inner, min_size=1, max_size=3))), max_leaves=4)


def test_every_layer_type_has_a_twin():
    assert set(TWINS) == set(EXAMPLES)


def drawn(layers, seed, dtype, shape=(WIDTH,)):
    """A network with random parameters and running statistics, inputs and targets, all exact in float32."""
    rng = np.random.default_rng(seed)
    net = dr.Network([*layers, dr.Dense(2, "tanh")], shape, dtype=dtype)

    def uniform(low, high, shape):
        return rng.uniform(low, high, shape).astype("float32").astype(dtype)

    net.params = unflatten({path: uniform(-1, 1, value.shape) for path, value in flatten(net.params).items()})
    net.state = unflatten({path: uniform(0.5, 1.5, value.shape) for path, value in flatten(net.state).items()})
    x = uniform(-2, 2, (N, *shape)).astype(float)
    if isinstance(layers[0], dr.Embedding):
        x = np.mod(np.rint(9 * x), layers[0].vocabulary)
    return net, x, uniform(-1, 1, (N, 2)).astype(float)


def of_the_engine(net, x, y, training):
    learner = Learner(net.layer, SquaredError("half"), dr.SGD(0.1), dtype=net.dtype)
    if not training:
        trace = net.trace(x, y, loss="quadratic")
        return trace.loss, {f"{layer.path}/{name}": value for layer in trace for name, value in layer.gradients.items()}
    batch = Batch(jnp.asarray(x, net.dtype), jnp.asarray(y, net.dtype), None, float(N))
    def loss(params):
        return objective(learner, params, net.state, batch, None)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss), compiler_options=QUICK)(net.params)
    return float(value), {path: np.asarray(slope) for path, slope in flatten(gradient).items()}


def of_the_textbook(net, x, y, training):
    h, back = run(net.layer, in_float64(net.params), in_float64(net.state), x, training)
    return 0.5 * np.mean(np.sum((h - y) ** 2, axis=1)), back((h - y) / N)[1]


def in_float64(tree):
    return jax.tree.map(lambda value: np.asarray(value, float), tree)


@settings(max_examples=15)
@given(st.lists(LAYERS, min_size=1, max_size=3), st.integers(0, 10**6), st.booleans())
def test_engine_textbook_and_differences_agree(layers, seed, training):
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn(layers, seed, dtype)
            value, gradient = of_the_engine(net, x, y, training)
        expected_value, expected = of_the_textbook(net, x, y, training)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            assert gradient[path].dtype == dtype
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)
    moved = flatten(in_float64(net.params))
    for path, W in moved.items():
        index = tuple(size // 2 for size in W.shape)
        losses = []
        for shift in (1e-6, -2e-6):
            W[index] += shift
            losses.append(of_the_textbook(dr_like(net, moved), x, y, training)[0])
        W[index] += 1e-6
        slope = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(expected[path][index], slope, rtol=1e-5, atol=2e-9 * max(largest, 1), err_msg=path)


class dr_like:
    """A network of the same layers with other parameters, for the textbook alone."""

    def __init__(self, net, flat):
        self.layer, self.params, self.state = net.layer, unflatten(flat), net.state


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
@settings(max_examples=2)
@given(layers=st.lists(LAYERS, max_size=2), seed=st.integers(0, 10**6))
def test_every_layer_type_below_random_ones(kind, layers, seed):
    """A layer of each type on rows of its own shape, whatever that is, and random layers above it: predict mode, both precisions."""
    example, shape = EXAMPLES[kind]
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn([example, dr.Flatten(), dr.Dense(WIDTH, "tanh"), *layers], seed, dtype, shape)
            value, gradient = of_the_engine(net, x, y, training=False)
        expected_value, expected = of_the_textbook(net, x, y, training=False)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)
