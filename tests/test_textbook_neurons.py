"""The textbook's neuron, perceptron, Adaline and spiking neuron: numbers of the lectures, closed forms, bounds."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special

from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.textbook import (
    SpikingNeuron,
    adaline,
    adaline_loss,
    firing_rate,
    neuron,
    numeric_gradient,
    perceptron,
    perceptron_rule,
    perceptron_threshold,
    simulate,
    widrow_hoff,
)

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
GATES = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "nand": [1, 1, 1, 0]}
BINARY_OR_BIPOLAR = pytest.mark.parametrize("output", ["binary", "bipolar"])
FORM = pytest.mark.parametrize("form", ["bias", "threshold"])


def targets(y, output):
    return np.array(y) if output == "binary" else 2 * np.array(y) - 1


def test_neuron_is_its_formula():
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(7, 3)), rng.normal(size=3), 0.7
    expected = [special.expit(sum(w_i * x_i for w_i, x_i in zip(w, row, strict=True)) + b) for row in x]
    np.testing.assert_allclose(neuron(x, w, b, "sigmoid"), expected, rtol=1e-13)


@pytest.mark.parametrize(("threshold", "going"), [
    (5, {(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)}),                      # good weather decides
    (3, {(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 1, 1)}),           # or a friend and an easy way
])
def test_gouda_cheese_festival(threshold, going):
    x = np.array(list(itertools.product((0, 1), repeat=3)))
    expected = [float(tuple(row) in going) for row in x.tolist()]
    assert perceptron_threshold(x, [6, 2, 2], threshold).tolist() == expected
    assert perceptron(x, [6, 2, 2], b=-threshold).tolist() == expected
    assert perceptron(x, [6, 2, 2], -threshold, "bipolar").tolist() == [2 * value - 1 for value in expected]


def test_a_sum_at_the_threshold_does_not_fire():
    assert perceptron_threshold([[1.0, 1.0]], [2, 3], 5).tolist() == perceptron([[1.0, 1.0]], [2, 3], -5).tolist() == [0.0]


@FORM
@BINARY_OR_BIPOLAR
@pytest.mark.parametrize("gate", GATES)
def test_rule_learns_gates(gate, form, output):
    y = targets(GATES[gate], output)
    run = perceptron_rule(CORNERS, y, form=form, output=output)
    assert run.converged
    assert run.mistakes == len(run.path) > 0
    assert run.threshold == -run.b
    assert perceptron(CORNERS, run.w, run.b, output).tolist() == y.tolist()
    assert perceptron_threshold(CORNERS, run.w, run.threshold, output).tolist() == y.tolist()
    np.testing.assert_array_equal(run.path[-1][0], run.w)


@FORM
@BINARY_OR_BIPOLAR
@pytest.mark.parametrize("eta", [0.1, 1.0])
def test_xor_never_converges(form, output, eta):
    run = perceptron_rule(CORNERS, targets([0, 1, 1, 0], output), eta, form, output, epochs=500)
    assert not run.converged
    assert run.epochs == 500
    assert run.mistakes >= 500                              # at least one in every pass


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 5]), st.sampled_from(["binary", "bipolar"]), st.sampled_from([0.125, 1.0, 4.0]))
def test_mistakes_are_within_the_bound_of_novikoff(seed, inputs, output, eta):
    """(R / gamma)^2 with the bias as one more weight: R the length of the longest (x, 1), gamma the margin of one separating plane."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=inputs + 1)
    plane /= np.linalg.norm(plane)
    extended = np.hstack([rng.normal(size=(31, inputs)), np.ones((31, 1))])
    margins = np.abs(extended @ plane)
    assume(margins.min() > 0.02)
    y = targets((extended @ plane > 0).astype(int), output)
    bound = (np.linalg.norm(extended, axis=1).max() / margins.min()) ** 2
    run = perceptron_rule(extended[:, :-1], y, eta, output=output, epochs=10_000)
    other = perceptron_rule(extended[:, :-1], y, eta, "threshold", output, epochs=10_000)
    assert run.converged
    assert run.mistakes <= bound
    assert (run.w.tolist(), run.b, run.mistakes) == (other.w.tolist(), other.b, other.mistakes)


def test_rule_starts_where_it_is_told():
    run = perceptron_rule(CORNERS, GATES["and"], w=[2.0, 1.0], b=-2.0)
    assert (run.mistakes, run.epochs, run.path) == (0, 1, [])
    assert perceptron_rule(CORNERS, GATES["and"], w=[2.0, 1.0], b=-0.5).path[0][1] == -1.5


def line(seed=0, n=23, inputs=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, inputs))
    return x, x @ rng.normal(size=inputs) + 0.5 + 0.1 * rng.normal(size=n)


def test_adaline_reaches_least_squares():
    x, y = line()
    run = adaline(x, y, eta=0.2, epochs=400)
    best = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)[0]
    np.testing.assert_allclose([*run.w, run.b], best, rtol=1e-8)
    assert len(run.losses) == 401
    assert all(later <= earlier + 1e-15 for earlier, later in itertools.pairwise(run.losses))


def test_adaline_step_is_the_gradient_of_its_loss():
    x, y = line(1)
    theta = {"w": np.array([0.3, -0.2, 0.1]), "b": np.array(0.4)}
    slope = numeric_gradient(lambda theta: adaline_loss(x, y, theta["w"], float(theta["b"])), theta)
    run = adaline(x, y, eta=0.05, epochs=1, w=theta["w"], b=0.4)
    np.testing.assert_allclose((theta["w"] - run.w) / 0.05, slope["w"], rtol=1e-7)
    np.testing.assert_allclose((0.4 - run.b) / 0.05, slope["b"], rtol=1e-7, atol=1e-9)
    assert run.losses[0] == adaline_loss(x, y, theta["w"], 0.4)


def test_the_limit_of_the_rate_is_two_over_the_largest_eigenvalue():
    x, y = line(2)
    extended = np.hstack([x, np.ones((len(x), 1))])
    limit = 2 / np.linalg.eigvalsh(2 / len(x) * extended.T @ extended).max()
    below, above = adaline(x, y, 0.98 * limit, 300).losses, adaline(x, y, 1.02 * limit, 300).losses
    assert below[-1] < below[0]
    assert above[-1] > 1e3 * above[0]


def test_widrow_hoff_is_adaline_one_example_at_a_time():
    x, y = line(3)
    w, b = np.zeros(3), 0.0
    for x_i, y_i in zip(x, y, strict=True):
        one = adaline(x_i[None], [y_i], eta=0.05 / 2, epochs=1, w=w, b=b)          # the factor 2 of the derivative
        w, b = one.w, one.b
    run = widrow_hoff(x, y, eta=0.05, epochs=1)
    np.testing.assert_allclose([*run.w, run.b], [*w, b], rtol=1e-12)
    assert widrow_hoff(x, y, 0.05, 30).losses[-1] < 0.02


@pytest.mark.parametrize("I", [1.6, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("cell", [SpikingNeuron(), SpikingNeuron(tau=20.0, R=8.0, V_reset=-70.0, V_th=-54.0, refractory=0.0)])
def test_simulated_firing_rate_is_the_closed_form(cell, I):
    spikes = simulate(cell, I, duration=1000.0, dt=0.02).spikes
    rate = 1000 / np.mean(np.diff(spikes)) if len(spikes) > 1 else 0.0
    assert rate == pytest.approx(firing_rate(cell, I), rel=0.01)


def test_below_the_rheobase_the_membrane_relaxes_without_a_spike():
    cell = SpikingNeuron()
    run = simulate(cell, 1.4, duration=100.0)
    assert run.spikes.size == 0
    assert firing_rate(cell, 1.4) == firing_rate(cell, cell.rheobase) == 0.0
    np.testing.assert_allclose(run.V, -65 + 14 * (1 - np.exp(-run.t / 10)), atol=0.01)
    assert simulate(cell, 2.0, duration=1000.0).spikes[0] == pytest.approx(10 * np.log(20 / 5), abs=0.02)


def test_currents_may_change_and_the_refractory_time_is_kept():
    run = simulate(SpikingNeuron(), np.repeat([0.0, 1e3], 500), duration=10.0)
    assert run.spikes[0] > 5.0
    np.testing.assert_allclose(np.diff(run.spikes), 2.0, atol=0.03)             # one step to fire, two ms to rest


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: neuron([[1.0, 2.0]], [1.0]), ShapeError, r"^w has shape \(1,\), expected \(2,\); nothing is broadcast here$"),
    (lambda: neuron([1.0, 2.0], [1.0]), ShapeError, r"^x expected the shape \(n, inputs\), received \(2,\); reshape it to that many axes$"),
    (lambda: neuron([[1.0]], [1.0], f="sofplus"), DeltaruleError, r"^unknown activation 'sofplus'; did you mean 'softplus'\?$"),
    (lambda: perceptron([[1.0]], [1.0], 0, "bipolr"), DeltaruleError, r"^unknown output 'bipolr'; did you mean 'bipolar'\?$"),
    (lambda: perceptron_rule(CORNERS, [0, 1, 1]), ShapeError, r"^y has shape \(3,\), expected \(4,\); nothing is broadcast"),
    (lambda: perceptron_rule(CORNERS, [-1, 1, 1, 1]), DataError, r"^a binary perceptron expected targets 0 and 1, received \[-1\.0"),
    (lambda: perceptron_rule(CORNERS, [0, 1, 1, 1], output="bipolar"), DataError, r"expected targets -1 and 1, received \[0\.0, 1\.0\]"),
    (lambda: perceptron_rule(CORNERS, [0, 1, 1, 1], eta=0), DeltaruleError, r"^eta expected a finite number above 0, received 0$"),
    (lambda: perceptron_rule(CORNERS, [0, 1, 1, 1], form="biased"), DeltaruleError, r"^unknown form 'biased'; did you mean 'bias'\?$"),
    (lambda: perceptron_rule(CORNERS, [0, 1, 1, 1], epochs=0), DeltaruleError, r"^epochs expected .* at least 1, received 0$"),
    (lambda: adaline(CORNERS, [0, 1, 1, 1], -0.1, 3), DeltaruleError, r"^eta expected a finite number above 0, received -0\.1$"),
    (lambda: widrow_hoff(CORNERS, [0, 1, 1, 1], float("nan"), 3), DeltaruleError, r"^eta expected .* received nan$"),
    (lambda: adaline(CORNERS, [0, 1, 1, 1], 0.1, 2.5), DeltaruleError, r"^epochs expected a whole number of at least 1, received 2\.5$"),
    (lambda: SpikingNeuron(tau=0.0), DeltaruleError, r"^tau expected a finite number above 0, received 0\.0$"),
    (lambda: SpikingNeuron(refractory=-1.0), DeltaruleError, r"^refractory expected a time of at least 0 ms, received -1\.0$"),
    (lambda: SpikingNeuron(V_th=-70.0), DeltaruleError, r"^V_th expected a potential above V_rest and V_reset, received -70\.0; raise"),
    (lambda: simulate(SpikingNeuron(), 2.0, 10.0, dt=10.0), DeltaruleError, r"^dt expected a step well below tau = 10 ms, received 10\.0$"),
    (lambda: simulate(SpikingNeuron(), [1.0, 2.0], 1.0, 0.1), DeltaruleError, r"^I expected a number or 10 currents, .* shape \(2,\)$"),
])
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()
