"""The textbook's activations, losses, backpropagation and gradient descent: SciPy, scikit-learn, differences, Trask's numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from deltarule import losses as engine_losses
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.ops import activations as engine_activations
from deltarule.textbook import (
    ACTIVATIONS,
    LOSSES,
    Layer,
    activation,
    backward,
    cost,
    descend,
    forward,
    gradient_step,
    loss,
    mean_loss,
    numeric_gradient,
    parameters,
    parametric_relu,
    parametric_relu_prime,
    parametric_relu_slope_prime,
    sign,
    step,
    through,
    with_parameters,
)

VALUES = {
    "linear": lambda a: a, "step": lambda a: np.heaviside(a, 1.0), "sign": lambda a: 2 * np.heaviside(a, 1.0) - 1,
    "sigmoid": special.expit, "tanh": np.tanh, "relu": lambda a: a * (a > 0), "leaky_relu": lambda a: np.maximum(a, 0.01 * a),
    "elu": lambda a: np.where(a > 0, a, special.expm1(np.minimum(a, 0))), "gelu": lambda a: a * (1 + special.erf(a / math.sqrt(2))) / 2,
    "silu": lambda a: a * special.expit(a), "softplus": lambda a: np.logaddexp(0, a), "exponential": np.exp,
    "softmax": lambda a: special.softmax(a, axis=-1), "log_softmax": lambda a: special.log_softmax(a, axis=-1),
}
COUPLED = ("softmax", "log_softmax")
A = np.random.default_rng(0).normal(scale=3.0, size=(7, 5))
EXTREME = np.array([-1e4, -100.0, -0.0, 0.0, 100.0, 1e4])


def assert_gradient(function, theta, gradient):
    """Every entry of the gradient against central differences."""
    for name, slope in numeric_gradient(function, theta).items():
        np.testing.assert_allclose(gradient[name], slope, rtol=1e-6, atol=1e-7, err_msg=name)


# --- activations

def test_every_activation_and_loss_of_the_engine_is_in_the_textbook():
    assert set(ACTIVATIONS) == set(engine_activations.ACTIVATIONS) == set(VALUES)
    assert set(LOSSES) - set(engine_losses.LOSSES) == {"bipolar_perceptron"}
    assert set(engine_losses.LOSSES) - set(LOSSES) == {"ctc"}                     # of whole sequences: textbook.ctc


@pytest.mark.parametrize("name", VALUES)
def test_values_and_derivatives(name):
    g, g_prime = activation(name)
    np.testing.assert_allclose(g(A), VALUES[name](A), rtol=1e-13, atol=1e-15)
    v = np.random.default_rng(1).normal(size=A.shape)
    slope = numeric_gradient(lambda a: float(np.sum(v * VALUES[name](a))), A)
    np.testing.assert_allclose(through(name, A, v), slope, rtol=1e-6, atol=1e-8)
    assert g_prime(A).shape == ((*A.shape, 5) if name in COUPLED else A.shape)


@pytest.mark.parametrize("name", COUPLED)
def test_jacobians_hold_i_before_j(name):
    g, g_prime = activation(name)
    a, e = A[0], 1e-6 * np.eye(5)
    columns = [(g(a + e[j]) - g(a - e[j])) / 2e-6 for j in range(5)]
    np.testing.assert_allclose(g_prime(a), np.stack(columns, axis=1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in VALUES if name != "exponential"])
def test_nothing_overflows_at_ten_thousand(name):
    g, g_prime = activation(name)
    np.testing.assert_allclose(g(EXTREME), VALUES[name](EXTREME), rtol=1e-12, atol=1e-15)
    assert np.isfinite(g_prime(EXTREME)).all()


def test_sigmoid_of_the_lecture_and_thresholds():
    assert activation("sigmoid")[0](np.array([-10.0, 0.0, 10.0])).tolist() == pytest.approx(
        [4.5397868702434395e-05, 0.5, 0.9999546021312976], rel=1e-14)
    assert step(np.array([1.9, 2.0, 2.1]), theta=2.0).tolist() == [0.0, 1.0, 1.0]
    assert sign(np.array([1.9, 2.0, 2.1]), theta=2.0).tolist() == [-1.0, 1.0, 1.0]


def test_parametric_relu_learns_its_slope():
    theta = {"a": A, "slope": np.linspace(0.1, 0.5, 5)}
    v = np.random.default_rng(2).normal(size=A.shape)
    gradient = {"a": v * parametric_relu_prime(A, theta["slope"]), "slope": np.sum(v * parametric_relu_slope_prime(A), axis=0)}
    assert_gradient(lambda theta: float(np.sum(v * parametric_relu(theta["a"], theta["slope"]))), theta, gradient)


# --- losses

RNG = np.random.default_rng(3)
H, Y = RNG.normal(size=(7, 4)), RNG.normal(size=(7, 4))
T = np.eye(4)[RNG.integers(0, 4, 7)]
B = RNG.integers(0, 2, (7, 4)).astype(float)
Q = (0.1, 0.5, 0.7, 0.9)

CASES = {   # (name, settings): (output, targets, what each row should be)
    ("squared_error", ()): (H, Y, np.mean((H - Y) ** 2, axis=1)),
    ("sum_squared_error", ()): (H, Y, np.sum((H - Y) ** 2, axis=1)),
    ("quadratic", ()): (H, Y, np.linalg.norm(H - Y, axis=1) ** 2 / 2),
    ("mae", ()): (H, Y, np.mean(np.abs(H - Y), axis=1)),
    ("huber", (("delta", 0.7),)): (H, Y, np.mean(special.huber(0.7, H - Y), axis=1)),
    ("quantile", (("quantiles", Q),)): (H, Y[:, :1], np.mean(np.where(Y[:, :1] > H, Q, np.subtract(1, Q)) * np.abs(H - Y[:, :1]), axis=1)),
    ("poisson", ()): (np.exp(H), 3 * T, -np.sum(stats.poisson.logpmf(3 * T, np.exp(H)), axis=1)),
    ("gaussian", ()): (H, Y[:, :2], -np.sum(stats.norm.logpdf(Y[:, :2], H[:, :2], np.exp(H[:, 2:] / 2)), axis=1)),
    ("hinge", ()): (H, 2 * B - 1, np.sum(np.clip(1 - (2 * B - 1) * H, 0, None), axis=1)),
    ("cross_entropy", ()): (H, T, -np.sum(T * special.log_softmax(H, axis=1), axis=1)),
    ("cross_entropy", (("label_smoothing", 0.1),)): (H, T, -np.sum((0.9 * T + 0.025) * special.log_softmax(H, axis=1), axis=1)),
    ("binary_cross_entropy", ()): (H, B, -np.sum(special.xlogy(B, special.expit(H)) + special.xlogy(1 - B, special.expit(-H)), axis=1)),
    ("dice", ()): (H, B, 1 - (2 * np.sum(special.expit(H) * B, axis=1) + 1) / (np.sum(special.expit(H) ** 2 + B, axis=1) + 1)),
    ("dice", (("smooth", 0.3),)): (H, B, 1 - (2 * np.sum(special.expit(H) * B, axis=1) + 0.3)
                                   / (np.sum(special.expit(H) ** 2 + B, axis=1) + 0.3)),
    ("jaccard", ()): (H, B, 1 - (np.sum(special.expit(H) * B, axis=1) + 1) / (np.sum(np.where(B > 0, 1, special.expit(H)), axis=1) + 1)),
    ("binary_cross_entropy_dice", ()): (H, B, np.sum(np.logaddexp(0, H) - B * H, axis=1) + 1
                                        - (2 * np.sum(special.expit(H) * B, axis=1) + 1) / (np.sum(special.expit(H) ** 2 + B, axis=1) + 1)),
    ("perceptron", ()): (H, B, np.sum(np.abs(H) * ((H >= 0) != B), axis=1)),
    ("bipolar_perceptron", ()): (H, 2 * B - 1, np.sum(2 * np.abs(H) * ((H >= 0) != B), axis=1)),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_and_derivatives_of_losses(case):
    output, y, expected = CASES[case]
    value = loss(case[0], **dict(case[1]))
    np.testing.assert_allclose(value.rows(output, y), expected, rtol=1e-12)
    assert mean_loss(value, output, y) == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(value.prime(output, y), numeric_gradient(lambda h: float(np.sum(value.rows(h, y))), output),
                               rtol=1e-6, atol=1e-8)


def test_every_loss_has_a_case():
    aliases = {"mean_squared_error": "squared_error", "mse": "squared_error", "absolute_error": "mae", "mean_absolute_error": "mae",
               "iou": "jaccard"}
    assert {aliases.get(name, name) for name in LOSSES} == {name for name, _ in CASES}
    assert all(LOSSES[alias] == LOSSES[aliases.get(name, name)] for name, alias in aliases.items())


def test_cross_entropies_are_scikit_learns():
    from sklearn.metrics import log_loss
    assert mean_loss(loss("cross_entropy"), H, T) == pytest.approx(log_loss(T, special.softmax(H, axis=1)), rel=1e-12)
    expected = log_loss(B[:, 0], special.expit(H[:, 0]))
    assert mean_loss(loss("binary_cross_entropy"), H[:, :1], B[:, :1]) == pytest.approx(expected, rel=1e-12)


def test_output_deltas_are_prediction_minus_target():
    np.testing.assert_allclose(loss("cross_entropy").prime(H, T), special.softmax(H, axis=1) - T, atol=1e-15)
    np.testing.assert_allclose(loss("binary_cross_entropy").prime(H, B), special.expit(H) - B, atol=1e-15)
    np.testing.assert_array_equal(loss("perceptron").prime(H, B), np.heaviside(H, 1) - B)
    np.testing.assert_array_equal(loss("bipolar_perceptron").prime(H, 2 * B - 1), 2 * np.heaviside(H, 1) - 2 * B)


# --- networks

OUTPUTS = [(name, g) for name in ("squared_error", "quadratic", "huber") for g in ("linear", "tanh", "softmax", "log_softmax")]
OUTPUTS += [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid"), ("poisson", "exponential")]
SMOOTH = [name for name in ACTIVATIONS if name not in ("step", "sign")]


def random_network(seed, hidden, g, outputs=3):
    rng = np.random.default_rng(seed)
    sizes = [5, *[7, 11, 2][:len(hidden)], outputs]
    return [Layer(rng.normal(scale=m**-0.5, size=(m, k)), rng.normal(scale=0.3, size=k) if rng.random() < 0.8 else None, name)
            for m, k, name in zip(sizes, sizes[1:], [*hidden, g], strict=False)]


@given(st.integers(0, 10**6), st.lists(st.sampled_from(SMOOTH), max_size=3), st.sampled_from(OUTPUTS))
def test_backpropagation_against_differences(seed, hidden, output):
    name, g = output
    layers = random_network(seed, hidden, g)
    rng = np.random.default_rng(seed + 1)
    x = rng.normal(size=(3, 5))
    y = np.eye(3)[rng.integers(0, 3, 3)] if g in ("softmax", "sigmoid", "exponential") else rng.normal(size=(3, 3))
    run = forward(layers, x)
    result = backward(layers, run, y, name)
    theta = {**parameters(layers), "x": x}
    assert set(result.gradient) == set(theta)
    assert_gradient(lambda theta: cost(with_parameters(layers, theta), theta["x"], y, name), theta, result.gradient)
    for l in range(1, len(layers) + 1):                     # BP3 and BP4, example by example
        each = np.einsum("ni,nj->nij", run.h[l - 1], result.delta[l])
        np.testing.assert_allclose(result.gradient[f"W{l}"], each.mean(axis=0), rtol=1e-12, atol=1e-15)


def test_delta_is_the_slope_of_each_examples_loss():
    layers = random_network(5, ["tanh", "sigmoid"], "linear")
    x, y = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 3))
    run = forward(layers, x)
    delta = backward(layers, run, y).delta[2]

    def total(a):                                           # the network from the pre-activations of layer 2 on
        return 3 * cost(layers[2:], special.expit(a), y)

    np.testing.assert_allclose(delta, numeric_gradient(total, run.a[2]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("numbers", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_trask(numbers):
    """Baron's toy network: two sigmoid layers without biases, NumPy's RandomState(1), update += l.T delta (a sum over 4 examples)."""
    random = np.random.RandomState(1)
    layers = [Layer(2 * random.random_sample((3, 4)) - 1), Layer(2 * random.random_sample((4, 1)) - 1)]
    X, y = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]]), np.array([[0], [1], [1], [0]])
    errors = []
    for k in range(10_000 * (numbers - 1) + 1):
        run = forward(layers, X)
        if k % 10_000 == 0:
            errors.append(np.mean(np.abs(y - run.h[2])))
        layers = gradient_step(layers, backward(layers, run, y, "quadratic").gradient, eta=4)
    published = [0.496410031903, 0.00858452565325, 0.00578945986251, 0.00462917677677, 0.00395876528027, 0.00351012256786]
    np.testing.assert_allclose(errors, published[:numbers], rtol=1e-10)


# --- descent

def slope_of_a_line(theta, x, y):
    error = theta["w"] * x + theta["b"] - y
    return {"w": np.mean(2 * error * x), "b": np.mean(2 * error)}


START = {"w": np.array(0.0), "b": np.array(0.0)}
X = np.random.default_rng(4).normal(size=13)


def test_batch_descent_follows_its_closed_form():
    eta, H = 0.1, np.array([[np.mean(X**2), np.mean(X)], [np.mean(X), 1.0]])        # of L = mean (w x + b - (2 x - 1))^2
    best = np.array([2.0, -1.0])
    run = slope_descent(X, 2 * X - 1, eta=eta, epochs=17)
    for k in (0, 1, 17):
        expected = best - np.linalg.matrix_power(np.eye(2) - 2 * eta * H, k) @ best
        np.testing.assert_allclose([run.path[k]["w"], run.path[k]["b"]], expected, rtol=1e-12, atol=1e-15)
    assert run.theta is run.path[-1]
    assert len(run.path) == 18


def test_momentum_follows_its_closed_form():
    eta, mu = 0.2, 0.7                                                              # L = theta^2 / 2, whose slope is theta
    run = descend(lambda theta, x, y: theta, {"theta": np.array(3.0)}, [0.0], [0.0], eta=eta, epochs=11, momentum=mu)
    step = np.array([[mu, -eta], [mu, 1 - eta]])                                    # (v, theta) to the next (v, theta)
    for k in (1, 2, 11):
        assert run.path[k]["theta"] == pytest.approx((np.linalg.matrix_power(step, k) @ [0.0, 3.0])[1], rel=1e-12)


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [13]), (5, [5, 5, 3]), (1, [1] * 13)])
@pytest.mark.parametrize("rng", [None, 0])
def test_each_epoch_sees_every_example_once(batch_size, sizes, rng):
    seen = []

    def gradient(theta, x, y):
        np.testing.assert_array_equal(y, -x)                                        # examples keep their targets
        seen.append(x)
        return slope_of_a_line(theta, x, y)

    x = np.arange(13.0)
    descend(gradient, START, x, -x, eta=1e-4, epochs=2, batch_size=batch_size, rng=None if rng is None else np.random.default_rng(rng))
    assert [len(batch) for batch in seen] == 2 * sizes
    first, second = np.split(np.concatenate(seen), 2)
    np.testing.assert_array_equal(np.sort(first), x)
    np.testing.assert_array_equal(np.sort(second), x)
    assert np.array_equal(first, x) == np.array_equal(first, second) == (rng is None)


def test_stochastic_descent_finds_the_line():
    run = slope_descent(X, 2 * X - 1, eta=0.1, epochs=60, batch_size=1, rng=np.random.default_rng(5))
    np.testing.assert_allclose([run.theta["w"], run.theta["b"]], [2, -1], rtol=1e-6)


def test_numeric_gradient_of_a_polynomial():
    theta = {"A": np.array([[1.0, 2.0, -1.0]]), "b": np.array(2.0)}
    gradient = numeric_gradient(lambda theta: float(np.sum(theta["A"] ** 3) * theta["b"]), theta)
    np.testing.assert_allclose(gradient["A"], 6 * theta["A"] ** 2, rtol=1e-8)
    np.testing.assert_allclose(gradient["b"], 8.0, rtol=1e-8)


def slope_descent(x, y, **settings):
    return descend(slope_of_a_line, START, x, y, **settings)


ONE = [Layer(np.ones((2, 1)), np.zeros(1), "linear")]


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: activation("reul"), DeltaruleError, r"^unknown activation 'reul'; did you mean 'relu'"),
    (lambda: activation("softmax")[0](np.float64(1.0)), ShapeError, r"^softmax expected the units on the last axis .* give an array of K"),
    (lambda: activation("log_softmax")[0](np.float64(1.0)), ShapeError, r"^softmax expected the units on the last axis"),
    (lambda: through("tanh", A, A[0]), ShapeError, r"^dL/dh has shape \(5,\), expected \(7, 5\); nothing is broadcast here$"),
    (lambda: loss("hubber"), DeltaruleError, r"^unknown loss 'hubber'; did you mean 'huber'\?$"),
    (lambda: loss("mse", form="rms").rows(H, Y), DeltaruleError, r"^unknown form 'rms'; known: half, mean, sum$"),
    (lambda: loss("mse", form="rms").prime(H, Y), DeltaruleError, r"^unknown form 'rms'"),
    (lambda: loss("mse").rows(H, Y[:, 0]), ShapeError, r"^y expected the shape \(n, K\), received \(7,\); reshape it"),
    (lambda: loss("hinge").prime(H, Y[:, :1]), ShapeError, r"^y has shape \(7, 1\), expected \(7, 4\); nothing is broadcast"),
    (lambda: loss("quantile").rows(H, Y[:, :1]), ShapeError, r"^the quantiles has shape \(1,\), expected \(4,\)"),
    (lambda: loss("quantile").rows(H[:, :1], Y), ShapeError, r"^y has shape \(7, 4\), expected \(7, 1\)"),
    (lambda: loss("gaussian").rows(H[:, :3], Y), ShapeError, r"^gaussian expected an even number of outputs, .* received 3$"),
    (lambda: loss("gaussian").prime(H, Y), ShapeError, r"^y has shape \(7, 4\), expected \(7, 2\)"),
    (lambda: forward([], [[1.0]]), DeltaruleError, r"^a network needs at least one layer, received none; give \[Layer"),
    (lambda: forward(ONE, [[1.0]]), ShapeError, r"^W1 has shape \(2, 1\), expected \(1, units\) for the 1 inputs of layer 1$"),
    (lambda: forward([Layer(np.ones((2, 3)), np.zeros(1))], [[1.0, 2.0]]), ShapeError, r"^b1 has shape \(1,\), expected \(3,\)"),
    (lambda: forward([Layer(np.ones((2, 3)), None, "tan")], [[1.0, 2.0]]), DeltaruleError, r"^unknown activation 'tan'; did you mean"),
    (lambda: cost(ONE, [[1.0, 2.0]], [1.0]), ShapeError, r"^y expected the shape \(n, outputs\), received \(1,\)"),
    (lambda: cost(ONE, [[1.0, 2.0]], [[1.0]], "cross_entropy"), DeltaruleError,
     r"^this loss needs 'softmax' or 'log_softmax' at the last layer, which has 'linear'$"),
    (lambda: gradient_step(ONE, {}, 0.0), DeltaruleError, r"^eta expected a finite number above 0, received 0\.0$"),
    (lambda: slope_descent(X, X[1:], eta=0.1, epochs=1), ShapeError, r"^x has 13 examples and y 12; give one target"),
    (lambda: slope_descent(X, X, eta=-1, epochs=1), DeltaruleError, r"^eta expected a finite number above 0, received -1$"),
    (lambda: slope_descent(X, X, eta=0.1, epochs=1, batch_size=0), DeltaruleError, r"^batch_size expected .* received 0$"),
    (lambda: slope_descent(X, X, eta=0.1, epochs=1, momentum=1.0), DeltaruleError, r"^momentum expected .* received 1\.0$"),
    (lambda: numeric_gradient(np.sum, X, step=0.0), DeltaruleError, r"^step expected a finite number above 0, received 0\.0$"),
])
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()
