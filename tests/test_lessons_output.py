"""The lessons on activations, losses, outputs and metrics: all numbers hold, and the decisive ones are worked out again by other means."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax

import deltarule as dr
from deltarule.lessons import dying_relu, linear_depth, losses, vanishing_gradients

DEMANDED = {        # the numbers that the lectures' table asks for
    "activations": ["sigmoid at -10", "sigmoid at 0", "sigmoid at 10", "g against textbook", "g' against textbook",
                    "g' against differences"],
    "linear-depth": ["deep minus one layer, largest", "trained linear network minus its product", "the linear network fails",
                     "accuracy, ReLU"],
    "vanishing-gradients": ["first to last, sigmoid", "first to last, tanh", "first to last, ReLU", "deltas against textbook, relative"],
    "dying-relu": ["ReLU, share dead after training", "leaky ReLU, share dead", "parametric ReLU, share dead",
                   "ReLU, share dead at rate 30"],
    "relu-speed": [f"rate {rate}, {what}" for rate in ("0.001", "0.01") for what in
                   ("tanh over ReLU", "sigmoid over tanh", "sigmoid over ReLU")],
    "losses": ["values against textbook", "deltas against textbook", "class numbers and one-hot rows agree"],
    "softmax": ["all positive", "sums to one, largest deviation", "predicted class is the largest a", "softmax at 1e4"],
    "layers": ["weights of 32x32x3 into 100 units", "formula and network agree for L = 0 ... 4"],
    "metrics": [f"{what}, difference" for what in ("accuracy", "precision", "recall", "F1", "area under ROC", "average precision",
                                                   "ROC curve", "precision-recall curve", "calibration curve")],
    "problem-first": ["exit status of the command", "the command says what it chose and why", "diabetes, loss", "breast_cancer, loss"],
}
SLOW = ("dying-relu", "relu-speed", "problem-first")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DEMANDED])
def test_every_number_is_as_expected_and_the_demanded_ones_are_there(as_demanded, name):
    as_demanded(name, DEMANDED[name])


def test_the_sigmoid_of_the_activations_lesson(result):
    numbers = result("activations").numbers
    assert [numbers[f"sigmoid at {a}"] for a in (-10, 0, 10)] == pytest.approx(expit([-10.0, 0.0, 10.0]), rel=1e-14)
    assert numbers["slope of the sigmoid at 10"] == pytest.approx(4.5395807735951673e-05, rel=1e-11)
    titles = [ax.get_title() for ax in result("activations").figures["functions"].axes]
    assert len(titles) == 12
    assert {"sigmoid", "tanh", "relu", "leaky_relu", "softmax of (a, 0)"} <= set(titles)


def test_no_straight_line_parts_the_moons(result):
    """Every direction and every threshold: the deep linear network is no better than the best of them, the ReLU network is."""
    moons = dr.data.two_moons(200, noise=0.1)
    best = 0.0
    for angle in np.linspace(0, 2 * np.pi, 721):
        order = np.argsort(moons.x @ np.array([np.cos(angle), np.sin(angle)]))
        zeros_below = np.concatenate([[0], np.cumsum(moons.y[order] == 0)])
        ones_below = np.concatenate([[0], np.cumsum(moons.y[order] == 1)])
        best = max(best, float(np.max(zeros_below + (moons.y == 1).sum() - ones_below)) / len(moons))
    numbers = result("linear-depth").numbers
    assert 0.8 < numbers["accuracy, linear"] <= best < 0.92 < numbers["accuracy, ReLU"]


def test_the_product_of_two_linear_layers():
    net = dr.Network([dr.Dense(3), dr.Dense(2)], input_shape=2, dtype="float64")
    net.params = {"dense_1": {"weights": np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]), "bias": np.array([1.0, 0.0, 2.0])},
                  "dense_2": {"weights": np.array([[1.0, 0.0], [3.0, 1.0], [0.0, 2.0]]), "bias": np.array([5.0, -1.0])}}
    W, b = linear_depth.composed(net)
    assert W.tolist() == [[7.0, 2.0], [3.0, -1.0]]      # multiplied by hand
    assert b.tolist() == [6.0, 3.0]


def test_sigmoids_lose_the_error_from_other_first_weights_too():
    x = np.random.default_rng(1).standard_normal((100, vanishing_gradients.UNITS))
    y = (x[:, :1] > 0).astype(float)
    layers = [dr.Dense(vanishing_gradients.UNITS, "sigmoid", bias=0.0) for _ in range(vanishing_gradients.LAYERS)]
    for seed in (1, 2, 3):
        trace = dr.Network([*layers, dr.Dense(1, "sigmoid")], vanishing_gradients.UNITS, seed=seed, dtype="float64").trace(x, y)
        sizes = [np.linalg.norm(trace[f"dense_{k}"].delta) for k in (1, vanishing_gradients.LAYERS)]
        assert 1e-8 < sizes[0] / sizes[1] < 4 * 0.25 ** (vanishing_gradients.LAYERS - 1)


@pytest.mark.slow
def test_all_units_are_off_at_the_bad_bias(result):
    moons = dr.data.two_moons(200, noise=0.1)
    net = dr.Network([dr.Dense(dying_relu.UNITS, "relu", weights="he_normal"), dr.Dense(1, "sigmoid")], input_shape=2, seed=0)
    assert np.all(moons.x @ net.params["dense_1"]["weights"] + dying_relu.BAD_BIAS < 0)
    numbers = result("dying-relu").numbers
    assert numbers["ReLU, accuracy"] == np.mean(moons.y == 0) == 0.5


def test_nielsens_unit_in_plain_numbers(result):
    numbers = result("losses").numbers
    for w, b in ((0.6, 0.9), (2.0, 2.0)):
        for name, squared in (("squared error", True), ("cross-entropy", False)):
            u, c = w, b
            for _ in range(300):
                y_hat = expit(u + c)
                delta = y_hat * (y_hat * (1 - y_hat) if squared else 1)
                u, c = u - 0.15 * delta, c - 0.15 * delta
            assert numbers[f"{name} from w = {w:g}, last output"] == pytest.approx(expit(u + c), rel=1e-10)


def test_the_cross_entropy_that_the_lesson_shows(result):
    rng = np.random.default_rng(0)
    x, _ = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    net = dr.Network([dr.Dense(3, "softmax", bias=0.5)], input_shape=5, dtype="float64")
    a = x @ net.params["dense_1"]["weights"] + 0.5
    mean = -log_softmax(a, axis=1)[np.arange(7), [0, 1, 2, 1, 0, 2, 2]].mean()
    line = next(line for line in result("losses").text.splitlines() if line.split()[:1] == ["cross_entropy"])
    assert float(line.split()[2]) == pytest.approx(mean, rel=1e-5)


def test_scores_of_the_metrics_lesson_by_hand(result):
    found = result("metrics")
    (right_0, alarms), (missed, right_1) = found.numbers["confusion table, as in scikit-learn"]
    scores = (right_1 / (right_1 + alarms), right_1 / (right_1 + missed))
    line = next(line for line in found.text.splitlines() if line.split()[:1] == ["malignant"])
    assert [float(cell) for cell in line.split()[1:3]] == pytest.approx(scores, rel=1e-5)
    assert found.numbers["accuracy of the network"] == pytest.approx((right_0 + right_1) / (right_0 + alarms + missed + right_1))
    assert list(found.figures) == ["confusion", "roc", "precision-recall", "calibration"]


@pytest.mark.slow
def test_the_network_for_numbers_is_as_good_as_linear_regression(result):
    from sklearn.linear_model import LinearRegression
    train, test = dr.data.diabetes().split(test=0.2, seed=0)
    line = LinearRegression().fit(train.x, train.y).predict(test.x)
    share = np.sqrt(np.mean((line - test.y) ** 2)) / np.std(test.y)
    assert result("problem-first").numbers["diabetes, error, simplest answer = 1"] < 1.15 * share


@pytest.mark.slow
def test_the_reasons_of_the_command_are_shown(result):
    text = result("problem-first").text
    for reason in ("3 classes (142 rows of 13 numbers)", "13 - 32 relu - 3 softmax", "cross entropy (the outputs are probabilities",
                   "30 - 64 relu - 1 sigmoid", "10 - 64 relu - 1 linear"):
        assert reason in text


def failed(name):
    return dr.lessons.run(name).to_json()["failed"]


def test_another_learning_rate_misses_the_published_numbers(monkeypatch):
    monkeypatch.setattr(losses, "ETA", 0.3)
    assert failed("losses") == ["squared error from w = 0.6, last output", "squared error from w = 2, last output"]


def test_a_wrong_softmax_is_found(monkeypatch):
    right = dr.textbook.softmax
    monkeypatch.setattr(dr.textbook, "softmax", lambda a: right(1.001 * a))
    assert failed("softmax") == ["against textbook", "Jacobian against differences", "two classes against the sigmoid"]


def test_a_wrong_formula_of_the_layer_is_found(monkeypatch):
    right = dr.textbook.forward
    monkeypatch.setattr(dr.textbook, "forward", lambda layers, x: right([layer._replace(b=None) for layer in layers], x + 1e-3))
    assert failed("layers") == ["a of every unit against textbook"]
