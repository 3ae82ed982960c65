"""Losses against their formulas in NumPy, against SciPy, and against the network that trains on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import deltarule as dr
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.losses import (
    CTC,
    LOSSES,
    AbsoluteError,
    BinaryCrossEntropy,
    Combined,
    CrossEntropy,
    Dice,
    Gaussian,
    Hinge,
    Huber,
    Jaccard,
    Loss,
    Output,
    Perceptron,
    Poisson,
    Quantile,
    SquaredError,
    loss,
    name_of,
)
from deltarule.spec import REGISTRY, from_json, to_json

RNG = np.random.default_rng(0)
A, Y = RNG.normal(size=(7, 3)) * 3, RNG.normal(size=(7, 3))
K = RNG.integers(0, 3, 7)
T = np.eye(3)[K]
P = special.softmax(A, axis=1)
S = special.expit(A)
Q = (0.1, 0.5, 0.9)

CASES = {   # loss: (output activation, targets, what each row should be)
    SquaredError("mean"): ("linear", Y, np.mean((A - Y) ** 2, axis=1)),
    SquaredError("sum"): ("linear", Y, np.sum((A - Y) ** 2, axis=1)),
    SquaredError("half"): ("linear", Y, np.sum((A - Y) ** 2, axis=1) / 2),
    AbsoluteError(): ("linear", Y, np.mean(np.abs(A - Y), axis=1)),
    Huber(0.7): ("linear", Y, np.mean(special.huber(0.7, A - Y), axis=1)),
    Quantile(Q): ("linear", Y[:, :1], np.mean([np.maximum(q * (Y[:, 0] - A[:, i]), (q - 1) * (Y[:, 0] - A[:, i]))
                                               for i, q in enumerate(Q)], axis=0)),
    Poisson(): ("exponential", T * 5, -np.sum(stats.poisson.logpmf(T * 5, np.exp(A)), axis=1)),
    CrossEntropy(): ("softmax", K, -np.log(P[np.arange(7), K])),
    CrossEntropy(0.1): ("softmax", T, -np.sum((0.9 * T + 0.1 / 3) * np.log(P), axis=1)),
    BinaryCrossEntropy(): ("sigmoid", T, -np.sum(T * np.log(S) + (1 - T) * np.log(1 - S), axis=1)),
    CrossEntropy(0.1, (0.5, 2.0, 3.0)): ("softmax", T, -np.sum((0.5, 2, 3) * (0.9 * T + 0.1 / 3) * np.log(P), axis=1)),
    BinaryCrossEntropy(2.5): ("sigmoid", T, -np.sum(2.5 * T * np.log(S) + (1 - T) * np.log(1 - S), axis=1)),
    Dice(0.3): ("sigmoid", T, 1 - (2 * np.sum(S * T, axis=1) + 0.3) / (np.sum(S**2 + T**2, axis=1) + 0.3)),
    Jaccard(0.3): ("sigmoid", T, 1 - (np.sum(S * T, axis=1) + 0.3) / (np.sum(S + T - S * T, axis=1) + 0.3)),
    Combined(("dice", BinaryCrossEntropy()), (0.5, 2)): (
        "sigmoid", T, 0.5 - 0.5 * (2 * np.sum(S * T, axis=1) + 1) / (np.sum(S**2 + T**2, axis=1) + 1)
        - 2 * np.sum(T * np.log(S) + (1 - T) * np.log(1 - S), axis=1)),
    Hinge(): ("linear", 2 * T - 1, np.sum(np.maximum(0, 1 - (2 * T - 1) * A), axis=1)),
    Perceptron(): ("step", T, np.sum(np.where((A >= 0) == (T > 0), 0, np.abs(A)), axis=1)),
}
H = {"step": (A >= 0).astype(float), "linear": A, "exponential": np.exp(A), "softmax": P, "sigmoid": S}


def test_every_loss_is_covered():
    registered = {cls for cls in REGISTRY.values() if issubclass(cls, Loss)}
    assert registered == {type(value) for value in CASES} | {Gaussian, CTC}      # that one has tests of its own
    assert registered == {type(value) for value in LOSSES.values()}


@pytest.mark.parametrize("value", CASES, ids=repr)
def test_rows_and_json(value):
    activation, y, expected = CASES[value]
    with jax.enable_x64(True):
        rows = value.rows(Output(jnp.asarray(H[activation]), jnp.asarray(A), activation), jnp.asarray(y))
    np.testing.assert_allclose(rows, expected, rtol=1e-10, atol=1e-12)
    assert from_json(to_json(value)) == value
    value.check(Output(H[activation], A, activation), y)


@pytest.mark.parametrize("value", CASES, ids=repr)
def test_gradient_of_the_reported_loss_against_differences(value):
    """For each loss the slope of the mean over the batch, with respect to the pre-activations."""
    activation, y, _ = CASES[value]
    g = {"linear": lambda a: a, "exponential": jnp.exp, "softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid,
         "step": lambda a: (a >= 0).astype(a.dtype)}[activation]
    with jax.enable_x64(True):
        def mean(a):
            return jnp.mean(value.rows(Output(g(a), a, activation), jnp.asarray(y)))

        delta = jax.grad(mean)(jnp.asarray(A))
        for index in [(0, 0), (3, 1), (6, 2)]:
            step = np.zeros_like(A)
            step[index] = 1e-6
            slope = (mean(jnp.asarray(A + step)) - mean(jnp.asarray(A - step))) / 2e-6
            assert float(delta[index]) == pytest.approx(float(slope), rel=1e-6, abs=1e-8)


def test_gaussian_is_scipys():
    m, s, y = A[:, :2], A[:, 1:], Y[:, :2]
    with jax.enable_x64(True):
        rows = Gaussian().rows(Output(jnp.asarray(np.concatenate([m, s], axis=1))), jnp.asarray(y))
    np.testing.assert_allclose(rows, -stats.norm.logpdf(y, m, np.exp(s / 2)).sum(axis=1), rtol=1e-10)


@pytest.mark.parametrize(("value", "h", "y"), [(CrossEntropy(), P, T), (CrossEntropy(), P, K), (BinaryCrossEntropy(), S, T)], ids=repr)
def test_output_delta_is_exactly_prediction_minus_target(value, h, y):
    activation = "softmax" if isinstance(value, CrossEntropy) else "sigmoid"
    with jax.enable_x64(True):
        delta = jax.grad(lambda a: jnp.sum(value.rows(Output(None, a, activation), jnp.asarray(y))))(jnp.asarray(A))
    np.testing.assert_allclose(delta, h - T, atol=1e-14)


@pytest.mark.parametrize(("value", "activation", "y"), [
    (CrossEntropy(), "softmax", np.array([1, 0])), (BinaryCrossEntropy(), "sigmoid", np.array([[0.0, 1.0], [1.0, 0.0]]))], ids=repr)
def test_no_overflow_at_ten_thousand(value, activation, y):
    a = jnp.array([[1e4, -1e4], [-1e4, 1e4]], jnp.float32)
    value_and_slope = jax.value_and_grad(lambda a: jnp.mean(value.rows(Output(None, a, activation), jnp.asarray(y, "int32" if y.ndim == 1
                                                                                                             else "float32"))))
    total, slope = value_and_slope(a)
    assert np.isfinite(total)
    assert np.isfinite(slope).all()
    assert float(total) == pytest.approx(2e4, rel=1e-6)


def test_softmax_output_is_not_squashed_twice():
    """A network that ends in softmax is trained on its pre-activations: the loss is that of its own probabilities."""
    net = dr.Network([dr.Dense(3, "softmax")], (2,))
    x, y = RNG.normal(size=(13, 2)), RNG.integers(0, 3, 13)
    expected = -np.mean(np.log(net.predict(x)[np.arange(13), y]))
    assert net.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-5)


N = Output(np.zeros((7, 3)), None, "linear")
ONE = Output(np.zeros((7, 1)), None, "linear")
SOFT = Output(np.zeros((7, 3)), None, "softmax")
SIGM = Output(np.zeros((7, 1)), None, "sigmoid")


@pytest.mark.parametrize(("value", "output", "y", "message"), [
    ("mse", ONE, np.zeros(7), r"targets have shape \(n,\), outputs \(n, 1\); write y\[:, None\]"),
    ("mse", N, np.zeros(7), r"targets have shape \(n,\), outputs \(n, 3\); for class numbers write deltarule\.data\.one_hot\(y, 3\)"),
    ("mse", N, np.zeros((7, 2)), r"targets have shape \(n, 2\), outputs \(n, 3\); the last layer needs 2 units"),
    ("mse", Output(np.zeros((7, 5, 3))), np.zeros((7, 3)), r"outputs \(n, 5, 3\); put Flatten\(\) before the last layers"),
    ("cross_entropy", SOFT, np.zeros((7, 1), int), r"received targets of shape \(n, 1\); write y\[:, 0\]"),
    ("cross_entropy", SOFT, np.zeros((7, 2)), r"expected class numbers of shape \(n,\) or one-hot rows of shape \(n, 3\)"),
    ("gaussian", ONE, np.zeros((7, 1)), r"expected outputs of shape \(n, 2K\).*end it with Dense\(2 \* K\)"),
    ("gaussian", Output(np.zeros((7, 4))), np.zeros(7), r"expected targets of shape \(n, 2\).*received \(n,\)"),
    ("quantile", N, np.zeros((7, 1)), r"quantile of 1 quantiles expected outputs of shape \(n, 1\), the network gives \(n, 3\)"),
    ("quantile", ONE, np.zeros(7), r"expected targets of shape \(n, 1\), received \(n,\); write y\[:, None\]"),
])
def test_shapes_are_compared_exactly(value, output, y, message):
    with pytest.raises(ShapeError, match=message):
        loss(value).check(output, y)

STEP = Output(np.zeros((7, 1)), None, "step")


@pytest.mark.parametrize(("value", "output", "y", "message"), [
    ("cross_entropy", SOFT, np.zeros(7), r"expected whole class numbers, received float64"),
    ("cross_entropy", SOFT, np.full(7, 3), r"expected class numbers from 0 to 2 for 3 outputs, received 3"),
    ("cross_entropy", SOFT, np.full(7, -1), r"received -1"),
    ("cross_entropy", SOFT, np.full((7, 3), 0.5), r"expected target rows that are not negative and sum to 1"),
    ("cross_entropy", N, K, r"cross_entropy needs 'softmax' or 'log_softmax' at the network's output, which has 'linear'"),
    ("binary_cross_entropy", Output(np.zeros((7, 1))), np.zeros((7, 1)), r"which has no activation at its end; end the network with"),
    ("binary_cross_entropy", SIGM, np.full((7, 1), 2.0), r"expected targets from 0 to 1, received 2"),
    ("poisson", Output(np.zeros((7, 1)), None, "exponential"), np.full((7, 1), -1.0), r"expected counts from 0 on, received -1"),
    ("poisson", ONE, np.zeros((7, 1)), r"poisson needs 'exponential' or 'softplus'"),
    ("perceptron", ONE, np.zeros((7, 1)), r"perceptron needs 'step' or 'sign' at the network's output, which has 'linear'"),
    ("perceptron", STEP, -np.ones((7, 1)), r"expected targets 0 and 1 for 'step', received -1; the bipolar output is Dense\(K, 'sign'\)"),
    ("perceptron", STEP._replace(activation="sign"), np.zeros((7, 1)), r"targets -1 and 1 for 'sign', received 0; the binary output is"),
    ("hinge", ONE, np.zeros((7, 1)), r"expected targets -1 and 1, received \[0\.0\]; write 2 \* y - 1"),
])
def test_values_are_checked(value, output, y, message):
    with pytest.raises(DeltaruleError, match=message):
        loss(value).check(output, y)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: SquaredError("rms"), r"SquaredError expected form 'mean', 'sum' or 'half', received 'rms'"),
    (lambda: Huber(0), r"Huber expected delta above 0, received 0"),
    (lambda: Quantile((0.5, 1.0)), r"Quantile expected quantiles between 0 and 1"),
    (lambda: CrossEntropy(1.0), r"CrossEntropy expected label_smoothing from 0 up to but not 1"),
    (lambda: CrossEntropy(class_weights=(1, 0)), r"CrossEntropy expected class_weights to be finite .*, received \(1\.0, 0\.0\)"),
    (lambda: BinaryCrossEntropy(0), r"BinaryCrossEntropy expected positive_weight to be a finite number above 0, received 0"),
    (lambda: Dice(0), r"Dice expected smooth to be a finite number above 0, received 0"),
    (lambda: Combined("dice"), r"Combined expected several losses, such as \('binary_cross_entropy', 'dice'\), received 'dice'"),
    (lambda: Combined(("dice", "mse"), (1, 2, 3)), r"Combined has 2 losses and 3 weights; give one for each"),
    (lambda: loss("cross_entrop"), r"unknown loss 'cross_entrop'; did you mean 'cross_entropy'"),
])
def test_mistakes_in_losses(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


def test_names():
    assert {name_of(value) for value in LOSSES.values()} <= set(LOSSES)
    assert loss("auto", "softmax") == CrossEntropy()
    assert loss("auto", "exponential") == Poisson()
    assert loss("auto", None) == SquaredError()
