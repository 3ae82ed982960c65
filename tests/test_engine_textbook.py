"""The engine against the textbook, and both against finite differences, on random networks (mission row 17).

float64 to 1e-10, float32 to 1e-5 relative. Nothing is compiled as a whole, and all layers have one width, so that JAX's small programs
are made only once. A loss joins by a line in LOSSES, an activation by being in the textbook.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import losses as engine
from deltarule import textbook
from deltarule.layers.forward import forward
from deltarule.training.step import Batch, Learner, objective

INPUTS, WIDTH, N = 3, 4, 5          # the width is even, for means and log-variances
LEVELS = (0.1, 0.2, 0.6, 0.9)
HIDDEN = sorted(textbook.ACTIVATIONS)
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def yes_or_no(r):
    return (r > 0).astype(float)


def one_hot(r):
    return np.eye(WIDTH)[np.argmax(r, axis=1)]


LOSSES = {      # the engine's loss: (output activations, targets from random numbers r (N, WIDTH), the textbook's loss)
    engine.SquaredError("mean"): ("linear tanh relu gelu softmax log_softmax", lambda r: r, textbook.loss("squared_error")),
    engine.SquaredError("sum"): ("linear silu elu leaky_relu", lambda r: r, textbook.loss("sum_squared_error")),
    engine.SquaredError("half"): ("sigmoid softplus exponential", lambda r: r, textbook.loss("quadratic")),
    engine.AbsoluteError(): ("linear", lambda r: r, textbook.loss("mae")),
    engine.Huber(0.5): ("linear", lambda r: r, textbook.loss("huber", delta=0.5)),
    engine.Quantile(LEVELS): ("linear", lambda r: r[:, :1], textbook.loss("quantile", quantiles=LEVELS)),
    engine.Poisson(): ("exponential softplus", lambda r: np.floor(4 * np.abs(r)), textbook.loss("poisson")),
    engine.Gaussian(): ("linear", lambda r: r[:, :2], textbook.loss("gaussian")),
    engine.CrossEntropy(): ("softmax log_softmax", one_hot, textbook.loss("cross_entropy")),
    engine.CrossEntropy(0.1): ("softmax", one_hot, textbook.loss("cross_entropy", label_smoothing=0.1)),
    engine.BinaryCrossEntropy(): ("sigmoid", yes_or_no, textbook.loss("binary_cross_entropy")),
    engine.Dice(0.3): ("sigmoid", yes_or_no, textbook.loss("dice", smooth=0.3)),
    engine.Jaccard(): ("sigmoid", yes_or_no, textbook.loss("jaccard")),
    engine.LOSSES["binary_cross_entropy_dice"]: ("sigmoid", yes_or_no, textbook.loss("binary_cross_entropy_dice")),
    engine.Hinge(): ("linear", lambda r: 2 * yes_or_no(r) - 1, textbook.loss("hinge")),
    engine.Perceptron(): ("step", yes_or_no, textbook.loss("perceptron")),
}
CASES = [(loss, g) for loss, (outputs, *_) in LOSSES.items() for g in outputs.split()]


def draw(seed, hidden, g):
    """Layers, inputs and random numbers, exact in float32, no pre-activation near a corner of g or so large that exp(a) is hopeless."""
    rng = np.random.default_rng(seed)
    sizes = [INPUTS, *[WIDTH] * (len(hidden) + 1)]

    def normal(scale, *shape):
        return rng.normal(scale=scale, size=shape).astype("float32").astype(float)

    while True:
        x, r = normal(1.0, N, INPUTS), normal(1.0, N, WIDTH)
        layers = [textbook.Layer(normal(m**-0.5, m, k), normal(0.3, k) if rng.random() < 0.8 else None, name)
                  for m, k, name in zip(sizes, sizes[1:], [*hidden, g], strict=False)]
        a = np.abs(np.concatenate([a.ravel() for a in textbook.forward(layers, x).a[1:]]))
        if a.min() > 1e-3 and a.max() < 6:
            return layers, x, r


def of_the_engine(layers, loss, x, y, dtype):
    """The engine's a and h of every layer, L, and dL/dtheta under the textbook's names, of the same network."""
    twin = dr.Sequential([dr.Dense(W.shape[1], g, use_bias=b is not None) for W, b, g in layers])
    learner = Learner(twin, loss, dr.SGD(0.1), dtype=dtype)
    names = {f"{letter}{l}": (f"dense_{l}", name) for l in range(1, len(layers) + 1) for letter, name in (("W", "weights"), ("b", "bias"))}
    theta = textbook.parameters(layers)
    with jax.enable_x64(dtype == "float64"):
        params = {}
        for name, value in theta.items():
            layer, kind = names[name]
            params.setdefault(layer, {})[kind] = jnp.asarray(value, dtype)
        batch = Batch(jnp.asarray(x, dtype), jnp.asarray(y, dtype), None, N)
        taps = {}
        output, _ = forward(twin, params, {}, batch.x, dtype=dtype, taps=taps)
        loss.check(output, y)
        value, slopes = jax.value_and_grad(lambda params: objective(learner, params, {}, batch, None)[0])(params)
        gradient = {name: np.asarray(slopes[names[name][0]][names[name][1]]) for name in theta}
        return {path: np.asarray(tap) for path, tap in taps.items()}, value, gradient


def assert_close(given, expected, dtype, what):
    """Equal to the tolerance of the dtype, relative to the largest entry."""
    assert given.dtype == dtype
    np.testing.assert_allclose(given, expected, rtol=0, atol=TOLERANCE[dtype] * np.max(np.abs(expected)), err_msg=what)


def compare(seed, hidden, loss, g, dtype):
    """Engine against textbook: every a and h, L and dL/dtheta; textbook against differences."""
    layers, x, r = draw(seed, hidden, g)
    _, targets, value = LOSSES[loss]
    y = targets(r)
    run = textbook.forward(layers, x)
    gradient = textbook.backward(layers, run, y, value).gradient
    taps, L, slopes = of_the_engine(layers, loss, x, y, dtype)
    assert float(L) == pytest.approx(textbook.cost(layers, x, y, value), rel=TOLERANCE[dtype])
    for l in range(1, len(layers) + 1):
        assert_close(taps[f"dense_{l}/preactivation"], run.a[l], dtype, f"a{l}")
        assert_close(taps[f"dense_{l}/activation"], run.h[l], dtype, f"h{l}")
    assert set(slopes) == set(gradient) - {"x"}
    for name in slopes:
        assert_close(slopes[name], gradient[name], dtype, f"dL/d{name}")
    return layers, x, y, value, gradient, slopes


def test_every_loss_and_every_activation_is_compared():
    assert {type(loss) for loss in engine.LOSSES.values()} - {engine.CTC} == {type(loss) for loss in LOSSES}
    assert {g for k in range(len(LOSSES)) for g in hidden_of(k)} == set(HIDDEN)


def hidden_of(k):
    """One to three hidden layers, all activations in turn."""
    return [HIDDEN[(3 * k + i) % len(HIDDEN)] for i in range(1 + k % 3)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", range(len(LOSSES)), ids=lambda k: str(list(LOSSES)[k]))
def test_every_loss(k, dtype):
    loss, (outputs, *_) = list(LOSSES.items())[k]
    compare(k, hidden_of(k), loss, outputs.split()[-1], dtype)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(HIDDEN), max_size=3), st.sampled_from(CASES))
def test_random_networks_and_differences(seed, hidden, case):
    compare(seed, hidden, *case, "float32")
    layers, x, y, value, gradient, slopes = compare(seed, hidden, *case, "float64")
    differences = textbook.numeric_gradient(lambda theta: textbook.cost(textbook.with_parameters(layers, theta), x, y, value),
                                            textbook.parameters(layers))
    for name, difference in differences.items():
        atol = 1e-6 * np.max(np.abs(difference)) + 1e-8
        np.testing.assert_allclose(gradient[name], difference, rtol=1e-5, atol=atol, err_msg=name)
        np.testing.assert_allclose(slopes[name], difference, rtol=1e-5, atol=atol, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bipolar_perceptron(dtype):
    layers, x, r = draw(3, [], "sign")
    y = 2 * yes_or_no(r) - 1
    gradient = textbook.backward(layers, textbook.forward(layers, x), y, "bipolar_perceptron").gradient
    _, L, slopes = of_the_engine(layers, engine.Perceptron(), x, y, dtype)
    assert float(L) == pytest.approx(textbook.cost(layers, x, y, "bipolar_perceptron"), rel=TOLERANCE[dtype])
    for name in slopes:
        assert_close(slopes[name], gradient[name], dtype, name)
