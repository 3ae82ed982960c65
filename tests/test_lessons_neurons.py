"""The lessons on neurons: every number they promise is there and holds, and the decisive ones are worked out again by other means."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import nnls
from scipy.special import expit
from scipy.stats import norm

import deltarule as dr
from deltarule.lessons import adaline, firing_rate, logistic, one_vs_all, perceptron, small_changes, visual_cortex, xor
from deltarule.lessons.expectations import shown

DEMANDED = {
    "neuron": ["network differs from the formula by", "textbook differs from the formula by"],
    "perceptron": ["gates learnt, of 6", "separable by linear programming: XOR", "XOR: converged after 1,000 passes",
                   "mistakes within (R / gamma)^2"],
    "adaline": ["good rate: share of flowers right", "too small a rate: share of the way that is left",
                "diverging rate: loss at the end over loss at the start", "the limit found by search"],
    "logistic": ["coefficients differ from scikit-learn's by", "decision at 0.5: answers that differ from scikit-learn's"],
    "xor": ["table of the lecture, row by row", "a 2-2-1 network learns XOR", "seeds that learn it, of 10"],
    "one-vs-all": [f"{kind}, {layers}: accuracy" for kind in ("one-vs-all", "softmax") for layers in ("one layer", "hidden layer")],
    "small-changes": ["slope of the error against the size of the change"],
    "firing-rate": ["largest relative difference from the closed form"],
    "visual-cortex": ["explained by Gabor functions, mean of the random filters", "the same for the trained filters"],
}
SLOW = ("one-vs-all", "visual-cortex")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DEMANDED])
def test_every_number_is_as_expected_and_the_demanded_ones_are_there(as_demanded, name):
    as_demanded(name, DEMANDED[name], largest=(9.1, 6.3))


# -------------------------------------------------------------------- neuron


def test_neuron_steepness_and_shift_are_those_of_the_logistic_function(result):
    numbers = result("neuron").numbers
    step = 1e-6
    for w in (0.5, 5.0):
        slope = (expit(w * step) - expit(-w * step)) / (2 * step)
        assert numbers[f"slope at w = {w:g}"] == pytest.approx(slope, abs=1e-5)
    assert expit(numbers["middle at b = -4"] - 4) == pytest.approx(0.5, abs=1e-9)


def test_neuron_sees_a_wrong_textbook(monkeypatch):
    right = dr.textbook.neuron
    monkeypatch.setattr(dr.textbook, "neuron", lambda x, w, b, f: right(x, w, b + 1e-9, f=f))
    found = dr.lessons.run("neuron")
    assert [check.name for check in found.checks if not check.passed] == ["textbook differs from the formula by"]
    assert "NOT as expected" in found.text


# ---------------------------------------------------------------- perceptron


def test_xor_has_a_certificate_that_no_line_separates_it():
    """Positive multiples of all conditions s (w x + b) > 0 add up to 0 > 0 (Gordan's theorem)."""
    extended = np.column_stack([perceptron.X, np.ones(4)])
    signs = np.where(perceptron.XOR, 1.0, -1.0)[:, None]
    assert np.array_equal((signs * extended).sum(axis=0), np.zeros(3))
    assert not perceptron.separable(perceptron.X, perceptron.XOR)


@pytest.mark.parametrize("gap", [1.0, 0.05])
def test_perceptron_margin_is_that_of_the_least_distance_problem(gap):
    """min |v| with rows v >= 1 by non-negative least squares (Lawson, Hanson 1974, chapter 23)."""
    x, y = perceptron.separable_set(gap)
    rows = np.where(y, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    E, f = np.vstack([rows.T, np.ones(len(rows))]), np.array([0.0, 0.0, 0.0, 1.0])
    r = E @ nnls(E, f)[0] - f
    v = -r[:3] / r[3]
    assert (rows @ v).min() == pytest.approx(1, abs=1e-8)
    assert perceptron.margin(x, y) == pytest.approx(1 / np.linalg.norm(v), rel=1e-6)


def test_perceptron_mistakes_stay_within_the_bound_in_other_orders_too():
    x, y = perceptron.separable_set(0.2)
    bound = ((x ** 2).sum(axis=1) + 1).max() / perceptron.margin(x, y) ** 2
    for seed in range(7):
        order = np.random.default_rng(seed).permutation(len(y))
        run = dr.textbook.perceptron_rule(x[order], y[order], epochs=10_000)
        assert run.converged
        assert 1 <= run.mistakes <= bound


# ------------------------------------------------------------------- adaline


def test_adaline_limit_is_that_of_the_numerical_second_derivatives(result):
    x, y = adaline.flowers()

    def slope(theta):
        return dr.textbook.numeric_gradient(lambda t: dr.textbook.adaline_loss(x, y, t[:2], t[2]), theta, step=1e-3)

    steps = 1e-3 * np.eye(3)
    H = np.array([(slope(step) - slope(-step)) / 2e-3 for step in steps])
    assert result("adaline").numbers["the limit found by search"] == pytest.approx(2 / np.linalg.eigvalsh(H)[-1], rel=1e-6)


@pytest.mark.parametrize(("factor", "grows"), [(0.999, False), (1.001, True)])
def test_adaline_turns_from_falling_to_growing_at_the_limit(result, factor, grows):
    x, y = adaline.flowers()
    eta = factor * result("adaline").numbers["the limit found by search"]
    extended, theta, losses = np.column_stack([x, np.ones(len(x))]), np.zeros(3), []
    for _ in range(500):
        error = extended @ theta - y
        losses.append(np.mean(error ** 2))
        theta = theta - eta * 2 / len(y) * extended.T @ error
    assert (losses[-1] > losses[100]) == grows


# ------------------------------------------------------------------ logistic


def test_logistic_coefficients_are_those_of_newtons_method(result):
    x, y = logistic.tumours()
    extended, theta = np.column_stack([x, np.ones(len(x))]), np.zeros(3)
    for _ in range(25):                                             # iteratively reweighted least squares
        p = expit(extended @ theta)
        theta = theta - np.linalg.solve(extended.T * (p * (1 - p)) @ extended, extended.T @ (p - y))
    line = next(line.split() for line in result("logistic").text.splitlines() if line.split()[:2] == ["sigmoid", "neuron"])
    np.testing.assert_allclose([float(value) for value in line[2:]], theta, rtol=1e-4)
    assert result("logistic").numbers["sum of the probabilities"] == pytest.approx(expit(extended @ theta).sum(), abs=1e-3)


# ----------------------------------------------------------------------- xor


def test_xor_no_neuron_of_a_fine_grid_gets_more_than_three_rows_right():
    values = np.linspace(-2, 2, 17)
    w_1, w_2, b = np.meshgrid(values, values, values)
    answers = np.stack([w_1 * x_1 + w_2 * x_2 + b > 0 for x_1, x_2 in xor.X], axis=-1)
    assert (answers == xor.XOR).sum(axis=-1).max() == 3
    assert len(np.unique(answers.reshape(-1, 4), axis=0)) == 14


def test_xor_the_lectures_table_is_logic(result):
    table = np.array(result("xor").numbers["table of the lecture, row by row"]).astype(bool)
    x_1, x_2, not_1, not_2, first, second = table.T
    assert np.array_equal(not_1, ~x_1)
    assert np.array_equal(not_2, ~x_2)
    assert np.array_equal(first, not_1 & x_2)
    assert np.array_equal(second, x_1 & not_2)
    assert np.array_equal(first | second, x_1 ^ x_2)


def test_xor_tells_how_many_starts_succeed(result):
    """A start that succeeds has all rows right and a small loss, as the lesson's table shows."""
    rows = [line.split() for line in result("xor").text.splitlines() if len(line.split()) == 3 and line.split()[0].isdigit()]
    assert [row[0] for row in rows] == [str(seed) for seed in range(10)]
    assert sum(row[2] == "4" for row in rows) == result("xor").numbers["seeds that learn it, of 10"]
    assert all((float(row[1]) < 0.05) == (row[2] == "4") for row in rows)


# ---------------------------------------------------------------- one-vs-all


def test_traffic_best_guess_is_the_likeliest_class():
    x, y = one_vs_all.traffic(101, seed=3)
    assert np.array_equal(np.bincount(y), [101] * 4)
    likelihood = norm.logpdf(x[:, None], one_vs_all.MEAN, one_vs_all.SPREAD).sum(axis=2)
    assert np.array_equal(one_vs_all.best_guess(x), likelihood.argmax(axis=1))
    assert 0.9 < np.mean(one_vs_all.best_guess(x) == y) < 1


@pytest.mark.slow
def test_one_layer_of_softmax_is_ahead_of_one_vs_all(result):
    numbers = result("one-vs-all").numbers
    assert numbers["softmax, one layer: accuracy"] > numbers["one-vs-all, one layer: accuracy"] + 0.01
    assert f"the best possible{' ' * 17}" in result("one-vs-all").text
    best = np.mean(one_vs_all.best_guess(one_vs_all.traffic(1000, seed=1)[0]) == one_vs_all.traffic(1000, seed=1)[1])
    assert all(numbers[name] <= best + 0.01 for name in DEMANDED["one-vs-all"])
    assert shown(float(best)) in result("one-vs-all").text


# ------------------------------------------------------------- small changes


def test_small_changes_derivatives_are_those_of_finite_differences():
    net = dr.Network([dr.Dense(5, "sigmoid"), dr.Dense(1, "sigmoid")], input_shape=3, seed=2, dtype="float64")

    def output(weights):
        return expit(expit(small_changes.X @ weights["W1"] + weights["b1"]) @ weights["W2"] + weights["b2"])[0, 0]

    first, second = net.params["dense_1"], net.params["dense_2"]
    expected = dr.textbook.numeric_gradient(output, {"W1": first["weights"], "b1": first["bias"], "W2": second["weights"],
                                                     "b2": second["bias"]})
    found = small_changes.output_derivatives(net)
    for layer, number in (("dense_1", 1), ("dense_2", 2)):
        np.testing.assert_allclose(found[layer]["weights"], expected[f"W{number}"], atol=1e-9)
        np.testing.assert_allclose(found[layer]["bias"], expected[f"b{number}"], atol=1e-9)


def test_small_changes_sees_wrong_derivatives(monkeypatch):
    """With derivatives that are one per cent off, the error falls with the change itself, not with its square."""
    right = small_changes.output_derivatives
    monkeypatch.setattr(small_changes, "output_derivatives", lambda net: {
        path: {name: 1.01 * value for name, value in layer.items()} for path, layer in right(net).items()})
    found = dr.lessons.run("small-changes")
    failed = [check.name for check in found.checks if not check.passed]
    assert failed == ["trace differs from y (1 - y) x_j by", "slope of the error against the size of the change",
                      "error shrinks, at the last halving, by"]


# --------------------------------------------------------------- firing rate


@pytest.mark.parametrize("current", [1.6, 2.0, 4.3])
def test_firing_rate_closed_form_is_that_of_an_ode_solver(current):
    neuron = dr.textbook.SpikingNeuron()

    def crossing(t, V):
        return V[0] - neuron.V_th

    crossing.terminal = True
    run = solve_ivp(lambda t, V: (-(V - neuron.V_rest) + neuron.R * current) / neuron.tau, (0, 1000), [neuron.V_reset], events=crossing,
                    rtol=1e-10, atol=1e-10)
    rate = 1000 / (run.t_events[0][0] + neuron.refractory)
    assert firing_rate.closed_form(neuron, current) == pytest.approx(rate, rel=1e-6)


def test_firing_rate_sees_a_neuron_that_is_too_slow(monkeypatch):
    right = dr.textbook.simulate
    slow = dr.textbook.SpikingNeuron(tau=10.5)
    monkeypatch.setattr(dr.textbook, "simulate", lambda neuron, I, duration: right(slow, I, duration, dt=0.05))
    found = dr.lessons.run("firing-rate")
    assert [check.name for check in found.checks if not check.passed] == ["largest relative difference from the closed form"]


# ------------------------------------------------------------- visual cortex


def test_visual_cortex_fit_finds_a_gabor_function_and_not_noise():
    rng = np.random.default_rng(0)
    W = visual_cortex.gabor(1.0, 0.4, -0.3, np.radians(37), 2.0, 2.5, 0.14, 0.8)
    share, parameters = visual_cortex.fit_gabor(W + 0.01 * rng.normal(size=W.shape))
    assert share > 0.995
    assert np.degrees(parameters[3]) % 180 == pytest.approx(37, abs=2)
    assert visual_cortex.fit_gabor(rng.normal(size=W.shape))[0] < 0.6


@pytest.mark.slow
def test_visual_cortex_trained_filters_are_far_more_oriented_than_random_ones(result):
    numbers = result("visual-cortex").numbers
    random, trained = (numbers[name] for name in DEMANDED["visual-cortex"])
    assert trained > 0.75 > random + 0.3
    assert numbers["they differ by at most, in degrees"] < 15
