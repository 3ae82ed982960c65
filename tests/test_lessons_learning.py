"""The lessons of networks and learning: every number as expected, and the decisive ones worked out again by other means."""


import numpy as np
import pytest
from oracles import dense_forward, numeric_gradient

import deltarule as dr
from deltarule.lessons import (
    approximation,
    backpropagation,
    bending,
    capacity,
    catalogue,
    gradient_descent,
    gradient_noise,
    regularization,
    trask,
)

slow = pytest.mark.slow
DEMANDED = [    # of each lesson: what the mission asks it to show
    ("backpropagation", ["engine beside textbook: gradients", "engine beside finite differences: gradients",
                         "textbook beside finite differences: gradients", "float32 beside textbook, relative: gradients"]),
    ("gradient-descent", ["updates an epoch", "loss above the least after equal work, batch against mini-batch"]),
    ("gradient-noise", ["slope of log noise over log m"]),
    ("overfitting", ["gap at the end, relative to the gap at the best epoch", "test loss without early stopping, relative to with"]),
    ("hyper-parameters", ["mean gain in test accuracy over the default", "mean gain, in standard errors",
                          "parts on which the default was better", "its test accuracy above the default's"]),
    ("trask", [f"mean error at step {step:,}" for step in range(0, 60_000, 10_000)]),
    ("approximation", [f"root mean square error of {name}" for name in ("x^2", "sin x", "|x|", "Heaviside")]),
    ("bending", ["two curves: separable at the input", "two curves: separable in dense_1", "spiral: separable at the input",
                 "spiral: separable in dense_3"]),
    pytest.param("capacity", ["four times as many units always do better"], marks=slow),
    pytest.param("regularization", ["gap with nothing", *(f"gap with {name}, relative to nothing" for name in (
        "L1, 0.001", "L2, 0.01", "dropout, 0.5", "batch normalization", "augmentation"))], marks=slow),
]


@pytest.mark.parametrize(("name", "demanded"), DEMANDED)
def test_every_number_is_as_expected(result, name, demanded):
    found = result(name)
    assert [check for check in found.checks if not check.passed] == []
    assert set(demanded) <= set(found.numbers)
    assert found.figures.keys() == found.captions.keys() != set()
    assert all(max(figure.get_size_inches()) <= 11.5 for figure in found.figures.values())


def test_backpropagation_beside_finite_differences_of_another_forward_pass():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    net = dr.Network(backpropagation.LAYERS, input_shape=3, seed=1, dtype="float64")
    trace = net.trace(x, y, loss="quadratic")
    params = {name: {key: np.array(value) for key, value in layer.items()} for name, layer in net.params.items()}
    chain = {name: layer.activation for name, layer in zip(backpropagation.NAMES, backpropagation.LAYERS, strict=True)}
    for name, layer in params.items():
        for key, values in layer.items():
            measured = numeric_gradient(lambda _: np.sum((dense_forward(params, chain, x) - y) ** 2) / 10, values, 1e-5)
            assert np.abs(trace[name].gradients[key] - measured).max() < 1e-10


def test_backpropagation_notices_a_coarse_difference(monkeypatch):
    monkeypatch.setattr(backpropagation, "STEP", 0.1)
    result = catalogue.run("backpropagation")
    assert not result.passed
    assert result.to_json()["failed"] == ["engine beside finite differences: gradients", "textbook beside finite differences: gradients"]


def test_trask_beside_the_lines_of_the_lecture(result):
    """l1, l2, the deltas and the two updates as they stand on the slide."""
    sigma = lambda a: 1 / (1 + np.exp(-a))      # noqa: E731
    rng = np.random.RandomState(1)
    syn0, syn1 = 2 * rng.random_sample((3, 4)) - 1, 2 * rng.random_sample((4, 1)) - 1
    found = {}
    for step in range(50_001):
        l1 = sigma(trask.X @ syn0)
        l2 = sigma(l1 @ syn1)
        if step % 10_000 == 0:
            found[f"mean error at step {step:,}"] = f"{np.mean(np.abs(trask.Y - l2)):.12g}"
        delta_2 = (trask.Y - l2) * l2 * (1 - l2)
        delta_1 = (delta_2 @ syn1.T) * l1 * (1 - l1)
        syn1 += l1.T @ delta_2
        syn0 += trask.X.T @ delta_1
    numbers = result("trask").numbers
    assert {name: numbers[name] for name in found} == found
    assert found["mean error at step 50,000"] == "0.00351012256786"


def test_gradient_descent_of_the_textbook_ends_where_algebra_says():
    """On a quadratic loss theta_k - theta* = (1 - eta H)^k (theta_0 - theta*)."""
    rng = np.random.default_rng(11)
    x = rng.uniform(-1, 1, 13)
    y = 2 * x + 1 + rng.normal(size=13)
    run = dr.textbook.descend(gradient_descent.gradient, {"w": np.zeros(1), "b": np.zeros(1)}, x, y, eta=0.05, epochs=17)
    design = np.stack([x, np.ones(13)], axis=1)
    best = np.linalg.lstsq(design, y)[0]
    shrink = np.linalg.matrix_power(np.eye(2) - 0.05 * 2 * design.T @ design / 13, 17)
    np.testing.assert_allclose([run.theta["w"][0], run.theta["b"][0]], best - shrink @ best, rtol=1e-12)


def test_gradient_descent_notices_a_wrong_gradient(monkeypatch):
    right = gradient_descent.gradient
    monkeypatch.setattr(gradient_descent, "gradient", lambda *arguments: {name: value / 2 for name, value in right(*arguments).items()})
    result = catalogue.run("gradient-descent")
    assert not result.passed
    assert result.to_json()["failed"] == ["batch path beside the textbook's, largest difference"]


def test_gradient_noise_beside_numpy(result):
    """sigma, and the noise of 64 other mini-batches of 64, from gradients written out by hand."""
    digits = dr.data.digits()
    x, y = digits.x[:1000].astype(float), digits.y[:1000]
    net = dr.Network(dr.Dense(10, "softmax"), input_shape=64, seed=0, dtype="float64")
    h = dense_forward({"": net.params}, {"": "softmax"}, x)
    each = (x[:, :, None] * (h - np.eye(10)[y])[:, None, :]).reshape(1000, -1)
    drawn = each[np.random.default_rng(3).integers(0, 1000, (64, 64))].mean(axis=1)
    noise = np.sqrt(np.mean(np.sum((drawn - each.mean(axis=0)) ** 2, axis=1)))
    line, dots, _ = result("gradient-noise").figures["noise"].axes[0].lines
    at = list(gradient_noise.SIZES).index(64)
    assert line.get_ydata()[at] == pytest.approx(np.sqrt(each.var(axis=0).sum() / 64), rel=1e-9)
    assert dots.get_ydata()[at] == pytest.approx(noise, rel=0.1)


def test_approximation_draws_the_functions(result):
    """Between the 50 points too the drawn curve follows the function, and three units are drawn."""
    axes = result("approximation").figures["fits"].axes
    for ax, (name, function), within in zip(axes, approximation.FUNCTIONS.items(), (1e-3, 1e-3, 0.06, 1e-3), strict=True):
        curves = {line.get_label(): line for line in ax.lines}
        assert len(curves) == 4
        x, y = curves["network"].get_data()
        inside = (np.abs(x) <= 1) & (np.abs(x) > (0.03 if name == "Heaviside" else 0))      # the jump lies between two points
        assert np.abs(y - function(x))[inside].max() < within


@slow
def test_capacity_draws_a_falling_error(result):
    figures = result("capacity").figures
    errors = figures["error"].axes[0].lines[0].get_ydata()
    assert len(errors) == 7
    assert errors[0] > 50 * errors[-1]
    fine, curve = figures["fits"].axes[2].lines[1].get_data()
    x = np.linspace(-1, 1, 100)
    np.testing.assert_allclose(np.interp(x, fine.ravel(), curve.ravel()), capacity.wiggly(x), atol=0.1)


def test_bending_draws_classes_that_a_support_vector_machine_separates(result):
    from sklearn.svm import SVC

    for figure in result("bending").figures.values():
        scores = []
        for ax, C in ((figure.axes[0], 10), (figure.axes[-1], 1e5)):
            drawn = [np.asarray(points.get_offsets()) for points in ax.collections[1:]]
            h, y = np.concatenate(drawn), np.repeat(range(len(drawn)), [len(points) for points in drawn])
            scores.append(SVC(kernel="linear", C=C).fit(h, y).score(h, y))
        assert scores[0] < 0.9
        assert scores[1] == 1.0


def test_separable_tells_and_from_xor():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    assert bending.separable(x, np.array([0, 0, 0, 1]))
    assert not bending.separable(x, np.array([0, 1, 1, 0]))


def test_overfitting_draws_the_best_epoch(result):
    found = result("overfitting")
    curves = {line.get_label(): line.get_ydata() for line in found.figures["curves"].axes[0].lines}
    assert int(np.argmin(curves["validation"])) + 1 == found.numbers["kept epoch is that of the least validation loss"]
    assert curves["validation"][-1] - curves["training"][-1] > 3 * (curves["validation"] - np.asarray(curves["training"]))[70]


def test_shifted_digits_move_by_at_most_one_pixel():
    rng = np.random.default_rng(5)
    image = np.zeros((8, 8))
    image[3, 4] = 1.0
    moved = regularization.shifted(np.repeat(image.reshape(1, 64), 211, axis=0), rng).reshape(-1, 8, 8)
    assert {tuple(place) for place in np.argwhere(moved)[:, 1:].tolist()} == {(i, j) for i in (2, 3, 4) for j in (3, 4, 5)}
    assert (moved.sum(axis=(1, 2)) == 1).all()
