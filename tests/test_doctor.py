"""The doctor: every rule finds its fault and is silent on the healthy twin; what learns well gets nothing serious; nothing is changed."""

import dataclasses
import json

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import deltarule as dr
from deltarule.glass import doctor
from deltarule.glass.findings import Finding, Findings, paragraph
from deltarule.glass.trial import constant_loss, of_any_rate, rate_of, take_steps, trial_orders
from deltarule.losses import LOSSES, Gaussian, SquaredError
from deltarule.losses import loss as resolve_loss
from deltarule.spec import to_json
from deltarule.training.epochs import Rows, Watched
from deltarule.training.step import Learner

ROWS, INPUTS, UNITS, CLASSES = 61, 5, 7, 3


def inputs(rows=ROWS, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, INPUTS)).astype("float32")


def labels(x):
    return np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6])


def classifier(seed=0, activation="tanh", **options):
    return dr.Network([dr.Dense(UNITS, activation), dr.Dense(CLASSES, "softmax")], INPUTS, seed, **options)


def regressor(*layers):
    return dr.Network(list(layers) or [dr.Dense(UNITS, "tanh"), dr.Dense(1)], INPUTS)


def found(findings):
    """{(where, what): severity} of findings."""
    return {(finding.where, finding.what): finding.severity for finding in findings}


X = inputs()
Y = labels(X)
Z = (X[:, :1] * X[:, 1:2] + X[:, 2:3]).astype("float32")


@pytest.fixture(scope="module")
def healthy():
    net = classifier()
    net.fit(X, Y, optimizer=dr.Adam(0.03), batch_size=None, epochs=200, progress=False)
    return net


def changed(net, **arrays):
    """A network like this one with other parameters, such as dense_1_weights=...; its past stays with it."""
    twin = dr.Network(net.layer, net.input_shape, net.seed)
    twin.params = {layer: {name: np.asarray(arrays.get(f"{layer}_{name}", value), "float32") for name, value in values.items()}
                   for layer, values in net.params.items()}
    twin.training, twin.epochs_trained, twin.history = net.training, net.epochs_trained, net.history
    return twin


def test_a_network_that_learnt_nothing_is_told_so(healthy):
    """The healthy one with its hidden layer cut off gives a constant answer, which is no better than the best one."""
    cut = changed(healthy, dense_2_weights=np.zeros((UNITS, CLASSES)), dense_2_bias=np.zeros(CLASSES))
    assert found(cut.doctor(X, Y))["training", "nothing learnt"] == "serious"
    assert ("training", "nothing learnt") not in found(classifier().doctor(X, Y))       # not trained yet


# ------------------------------------------------------------------------------------------------------ what is well

def test_healthy_networks_are_told_so(healthy):
    findings = healthy.doctor(X, Y)
    assert found(findings) == {}
    assert findings.ok
    assert findings.serious == ()
    assert "61 rows, trained for 200 epochs, loss 0.0" in findings.seen
    assert str(findings).startswith("examined: 61 rows")
    assert "nothing found; looked for: saturated units" in str(findings)
    assert set(findings.looked_for) == set(doctor.RULES)
    assert "not trained yet" in classifier().doctor(X, Y).seen
    assert found(classifier().doctor(X, Y)) == {}


@pytest.mark.parametrize("factor", [1, 16])
def test_the_digits_demo_has_nothing_serious(factor):
    digits = dr.data.digits()
    net = dr.Network([dr.Dense(30, "sigmoid"), dr.Dense(10, "softmax")], 64)
    net.fit(digits.x * factor, digits.y, epochs=20, progress=False)
    findings = net.doctor(digits.x * factor, digits.y)
    assert findings.ok
    assert (("inputs", "unscaled columns") in found(findings)) == (factor == 16)


@pytest.mark.parametrize("name", ["digits", "two_moons", "iris", "diabetes", "wine"])
def test_what_train_makes_has_nothing_serious(name):
    train, test = dr.data.load(name).split()
    model, _ = dr.Model.train(train, progress=False)
    (x, y), held = ((model.preprocessor.transform(part.x), model.encoded(part.y)) for part in (train, test))
    findings = model.network.doctor(x, y, validation=held)
    assert findings.ok, findings
    assert f"on {len(test)} validation rows" in findings.seen


@pytest.mark.parametrize(("kind", "stretch", "expected"), [
    (dr.SimpleRNN, 0.8, "vanishing errors through time"), (dr.SimpleRNN, 1.3, "exploding errors through time"), (dr.SimpleRNN, 1.0, None),
    (dr.LSTM, 0.8, "vanishing errors through time")])
def test_errors_through_time(kind, stretch, expected):
    """A linear recurrence of spectral radius 0.8, 1 or 1.3 over 50 steps; an LSTM whose forget gates let 0.8 through."""
    x = np.random.default_rng(0).normal(size=(ROWS, 50, 2)).astype("float32")
    path, options, factor = ("simple_rnn_1", {"activation": "linear"}, stretch) if kind is dr.SimpleRNN else \
        ("lstm_1", {"forget_bias": float(np.log(4)), "weights": "zeros"}, 0)
    net = dr.Network([kind(5, **options), dr.Dense(1)], (50, 2), seed=1)
    net.params[path]["recurrent"]["weights"] *= np.float32(factor)
    findings = found(net.doctor(x, x[:, 0, :1]))
    assert {what for where, what in findings if where == path and "through time" in what} == ({expected} if expected else set())
    if expected:
        grave = "serious" if stretch > 1 else "warning" if kind is dr.SimpleRNN else "note"
        assert findings[path, expected] == grave
        text = str(net.doctor(x, x[:, 0, :1]))
        assert f"x {stretch:.2g} in each of 49 steps back" in " ".join(text.split())
        assert ("after 31 a thousandth is left" in " ".join(text.split())) == (stretch < 1)      # 0.8^31 < 0.001 < 0.8^30


def test_a_recurrent_network_that_remembers_is_not_serious():
    """The first of ten steps, learnt by a GRU."""
    x = np.random.default_rng(0).normal(size=(200, 10, 1)).astype("float32")
    net = dr.Network([dr.GRU(8), dr.Dense(1)], (10, 1))
    net.fit(x, x[:, 0], optimizer=dr.Adam(0.02), epochs=40, progress=False)
    assert net.evaluate(x, x[:, 0])["loss"] < 0.1
    assert net.doctor(x, x[:, 0]).ok


def test_nothing_is_changed(healthy):
    before = jax.tree.map(np.copy, (healthy.params, healthy.state))
    recipe, epochs, x = dict(healthy.training), healthy.epochs_trained, X.copy()
    first, second = (str(healthy.doctor(X, Y, learning_rate=5.0)) for _ in range(2))
    assert first == second
    jax.tree.map(np.testing.assert_array_equal, before, (healthy.params, healthy.state))
    assert (healthy.training, healthy.epochs_trained) == (recipe, epochs)
    np.testing.assert_array_equal(X, x)


def test_composites_own_layers_float64_dropout_streams_and_one_row():
    @dataclasses.dataclass(frozen=True)
    class Scaled(dr.Layer):
        def __call__(self, x, scope):
            return x * scope.param("factors", dr.initializers.Ones(), x.shape[-1:])[None]

    net = dr.Network([Scaled(), dr.Residual([dr.Dense(UNITS, "relu"), dr.Dropout(0.2), dr.Dense(INPUTS)]),
                      dr.Parallel([dr.Dense(2), dr.Dense(1, "tanh")])], INPUTS, dtype="float64")
    y = np.repeat(Z, 3, axis=1).astype("float64")
    net.fit([(X, y)] * 2, epochs=3, optimizer=dr.SGD(0.01), progress=False)
    findings = net.doctor(X, y)
    assert findings.ok
    assert "trained for 3 epochs" in findings.seen
    assert net.doctor(X[:1], y[:1]).seen.startswith("1 rows, trained for 3 epochs")


def test_lbfgs_and_schedules_have_no_rate_to_try():
    net = regressor(dr.Dense(1))
    for optimizer in (dr.LBFGS(), dr.SGD(dr.CosineDecay(0.1))):
        net.training = {"loss": to_json(SquaredError()), "optimizer": to_json(optimizer), "batch_size": 7, "epochs": 2, "rows": ROWS}
        assert "learning rate" not in net.doctor(X, Z).looked_for
    assert "learning rate" in net.doctor(X, Z, learning_rate=0.1).looked_for


# --------------------------------------------------------------------------------------------------- inside the network

def test_saturated_units(healthy):
    wild = changed(classifier(), dense_1_weights=100 * classifier().params["dense_1"]["weights"])
    assert found(wild.doctor(X, Y))["dense_1", "saturated tanh units"] == "serious"
    evidence = next(iter(wild.doctor(X, Y))).evidence
    assert "within 2% of the ends" in evidence
    assert ("dense_1", "saturated tanh units") not in found(healthy.doctor(X, Y))
    decided = changed(healthy, dense_1_weights=4 * healthy.params["dense_1"]["weights"], dense_1_bias=4 * healthy.params["dense_1"]["bias"])
    assert found(decided.doctor(X, Y)).get(("dense_1", "saturated tanh units")) in ("note", "warning")      # it still answers well


def test_outputs_stuck_at_the_wrong_end():
    net = regressor(dr.Dense(1, "sigmoid"))
    y = (X[:, :1] > 0).astype("float32")
    stuck = changed(net, dense_1_weights=np.zeros((INPUTS, 1)), dense_1_bias=[9.0])
    findings = stuck.doctor(X, y, loss="squared_error")
    (finding,) = (finding for finding in findings if "stuck" in finding.what)
    assert (finding.severity, finding.where) == ("serious", "output")
    assert f"{np.mean(y == 0):.0%} of the outputs" in finding.evidence
    assert "binary_cross_entropy" in finding.remedy
    right = changed(net, dense_1_weights=[[90.0], *[[0.0]] * (INPUTS - 1)])
    assert not any("stuck" in finding.what for finding in right.doctor(X, y, loss="squared_error"))
    assert not any("stuck" in finding.what for finding in stuck.doctor(X, y))       # cross entropy gets out of there


def test_dead_units():
    net = classifier(activation="relu")
    some = changed(net, dense_1_bias=[-99.0] * 3 + [0.0] * 4)
    (finding,) = (finding for finding in some.doctor(X, Y) if finding.what == "dead relu units")
    assert (finding.severity, finding.where, finding.evidence) == ("warning", "dense_1", "3 of 7 units are zero for all 61 rows")
    every = changed(net, dense_1_bias=[-99.0] * 7)
    assert found(every.doctor(X, Y))["dense_1", "dead relu units"] == "serious"
    assert ("dense_1", "dead relu units") not in found(net.doctor(X, Y))
    assert ("dense_1", "dead relu units") not in found(net.doctor(X[:2], Y[:2]))    # of two rows half are silent anyway


def test_vanishing_and_exploding_deltas():
    deep = regressor(*[dr.Dense(UNITS, "sigmoid")] * 9, dr.Dense(1))
    (finding,) = (finding for finding in deep.doctor(X, Z) if finding.what == "vanishing deltas")
    assert (finding.severity, finding.where) == ("serious", "dense_1")
    assert "over 10 layers" in finding.evidence
    assert "vanishing deltas" not in {finding.what for finding in regressor().doctor(X, Z)}
    linear = dr.Network([dr.Dense(UNITS), dr.Dense(UNITS), dr.Dense(1)], INPUTS)
    assert not any("deltas" in finding.what for finding in linear.doctor(X, Z))
    loud = changed(linear, **{f"dense_{i}_weights": 99 * linear.params[f"dense_{i}"]["weights"] for i in (2, 3)})
    assert found(loud.doctor(X, Z))["dense_1", "exploding deltas"] == "warning"


def test_units_that_are_all_the_same():
    net = classifier()
    for start in (np.zeros((INPUTS, UNITS)), np.full((INPUTS, UNITS), 0.5), np.arange(INPUTS)[:, None] * np.ones((1, UNITS))):
        twins = changed(net, dense_1_weights=start, dense_2_weights=np.ones((UNITS, 1)) * [[0.1, 0.2, -0.3]])
        assert found(twins.doctor(X, Y))["dense_1", "its units are all the same"] == "serious"
    uneven = changed(net, dense_1_weights=np.full((INPUTS, UNITS), 0.5))       # told apart by the weights behind them
    assert ("dense_1", "its units are all the same") not in found(uneven.doctor(X, Y))
    softmax_alone = dr.Network([dr.Dense(CLASSES, "softmax", weights="zeros")], INPUTS)
    assert found(softmax_alone.doctor(X, Y)) == {}      # logistic regression may start at zero


def test_values_that_are_not_finite(healthy):
    broken = changed(healthy, dense_2_bias=[np.nan, 0.0, 0.0])
    (finding,) = broken.doctor(X, Y)
    assert (finding.severity, finding.where) == ("serious", "dense_2/preactivation")
    assert finding.evidence == "NaN or infinite in 61 of 61 rows, first in row 0"


# --------------------------------------------------------------------------------------------------- around the network

def test_learning_rates(healthy):
    net = classifier()
    high = found(net.doctor(X, Y, learning_rate=300.0))
    assert high["learning rate", "too high"] == "serious"
    assert ("warning", "huge steps") in {(severity, what) for (_, what), severity in high.items()}
    (finding,) = (finding for finding in net.doctor(X, Y, learning_rate=1e-5) if finding.where == "learning rate")
    assert (finding.severity, finding.what) == ("warning", "too low")
    assert "20 steps from these weights at 1e-05 take the loss from" in finding.evidence
    assert finding.remedy == "train with a learning rate of 0.01"
    assert "tiny steps" in {finding.what for finding in net.doctor(X, Y, learning_rate=1e-9)}
    for rate in (3e-3, 3e-2):
        assert not any(where == "learning rate" for where, _ in found(net.doctor(X, Y, learning_rate=rate)))
    assert not any(where == "learning rate" for where, _ in found(healthy.doctor(X, Y, learning_rate=1e-4)))     # nothing left to win


def test_unscaled_inputs():
    net = classifier()
    scale = np.ones(INPUTS, "float32")
    scale[[1, 3]] = 50, 5000
    findings = net.doctor(X * scale, Y)
    (finding,) = (finding for finding in findings if finding.where == "inputs")
    assert (finding.severity, finding.what) == ("serious", "unscaled columns")
    assert "columns 1, 3 lie far from mean 0 and spread 1; column 3: mean" in finding.evidence
    shifted = X + np.array([0, 0, 30, 0, 0], "float32")
    assert found(net.doctor(shifted, Y))["inputs", "unscaled columns"] == "warning"
    assert found(net.doctor(X / 100, Y))["inputs", "tiny inputs"] == "warning"
    faint = X * np.array([1, 1, 1, 1, 1e-3], "float32")
    assert found(net.doctor(faint, Y))["inputs", "faint columns"] == "note"
    rare = X.copy()
    rare[:, 4] = np.arange(ROWS) == 7      # a pixel that is seldom lit is no fault
    for x in (X, rare):
        assert not any(where == "inputs" for where, _ in found(net.doctor(x, Y)))


def test_class_imbalance_and_forgotten_classes(healthy):
    x = inputs(1009)
    y = labels(x)
    few = np.concatenate([np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:23]])
    blind = changed(healthy, dense_2_bias=healthy.params["dense_2"]["bias"] - [0, 0, 99])
    (finding,) = (finding for finding in blind.doctor(x[few], y[few]) if finding.what == "classes of very different size")
    assert finding.severity == "serious"
    assert "23 of class 2, which is predicted 0 times" in finding.evidence
    assert found(healthy.doctor(x[few], y[few]))["targets", "classes of very different size"] == "warning"
    assert found(blind.doctor(X, Y))["output", "classes that are never predicted"] == "warning"


def test_collapsed_predictions(healthy):
    dull = changed(healthy, dense_2_weights=np.zeros((UNITS, CLASSES)), dense_2_bias=[0.0, 1.0, 0.0])
    (finding,) = (finding for finding in dull.doctor(X, Y) if finding.what == "collapsed predictions")
    assert finding.severity == "serious"
    assert finding.evidence == f"class 1 for all 61 rows; it is right for {np.mean(Y == 1):.0%}"
    assert ("output", "collapsed predictions") not in found(dull.doctor(X, np.full(ROWS, 1)))
    net = regressor()
    net.fit(X, Z, epochs=1, progress=False)
    assert ("output", "collapsed predictions") not in found(net.doctor(X, Z))
    flat = changed(net, dense_2_weights=np.zeros((UNITS, 1)))
    assert found(flat.doctor(X, Z))["output", "collapsed predictions"] == "serious"
    flat.epochs_trained = 0
    assert ("output", "collapsed predictions") not in found(flat.doctor(X, Z))


def test_overfitting(healthy):
    held = inputs(31, seed=1)
    other = (labels(held) + 1) % CLASSES
    findings = healthy.doctor(X, Y, validation=(held, other))
    assert found(findings) == {("training", "overfitting"): "serious"}
    assert "on 31 validation rows" in findings.seen
    assert found(healthy.doctor(X, Y, validation=(X[:31], Y[:31]))) == {}
    sick = dr.History({"loss": [1.0, 0.5, 0.1], "val_loss": [1.0, 0.6, 0.9]}, kept_epoch=3)
    kept = dr.History({"loss": [1.0, 0.5], "val_loss": [1.0, 0.6]}, kept_epoch=2)
    net = changed(healthy)
    net.history = sick
    assert found(net.doctor(X, Y)) == {("training", "the validation loss rises"): "warning"}
    net.history = dataclasses.replace(sick, kept_epoch=2)
    assert found(net.doctor(X, Y)) == {("training", "the validation loss rises"): "note"}
    net.history = kept
    assert found(net.doctor(X, Y)) == {}


def test_a_fraction_is_what_fit_held_out(healthy):
    findings = healthy.doctor(X, Y, validation=0.2)
    assert findings.seen.startswith("49 rows")
    assert "on 12 validation rows" in findings.seen


def test_fit_leaves_its_history(healthy):
    assert classifier().history is None
    assert healthy.history.kept_epoch == 200


@pytest.mark.parametrize(("activation", "y", "what", "severity"), [
    ("sigmoid", 3 * Z, "targets out of reach", "serious"),
    ("tanh", 3 * Z, "targets out of reach", "serious"),
    ("relu", Z, "targets out of reach", "serious"),
    ("linear", Y[:, None], "class numbers fitted as a quantity", "warning"),
])
def test_losses_that_do_not_fit(activation, y, what, severity):
    net = regressor(dr.Dense(1, activation))
    assert found(net.doctor(X, y, loss="squared_error"))["output", what] == severity
    fitting = {"sigmoid": Z > 0, "tanh": np.sign(Z), "relu": np.abs(Z), "linear": Z}[activation]
    findings = net.doctor(X, fitting.astype("float32"), loss="squared_error")
    assert not any(where == "output" for where, _ in found(findings))


def test_outputs_that_say_something_else():
    single = dr.Network([dr.Dense(1, "softmax")], INPUTS)
    assert found(single.doctor(X, np.zeros(ROWS, int)))["output", "softmax of a single unit"] == "serious"
    several = dr.Network([dr.Dense(CLASSES, "sigmoid")], INPUTS)
    one_hot = np.eye(CLASSES, dtype="float32")[Y]
    assert found(several.doctor(X, one_hot)) == {("output", "sigmoid outputs for classes that exclude each other"): "note"}
    one_hot[0] = 1
    assert found(several.doctor(X, one_hot)) == {}


# ------------------------------------------------------------------------------------------------------------ its tools

def test_a_trial_is_training_at_that_rate(healthy):
    """Against Optax stepped by hand at that very rate: the update is proportional to it."""
    learner = Learner(healthy.layer, resolve_loss("cross_entropy"), dr.Adam(0.7), quick=True)
    y, rate, steps = Y.astype("int32"), 0.05, 4
    orders = trial_orders(np.arange(ROWS), 11, 5, seed=3)
    watched = Watched(X, y, np.full((1, ROWS), 1 / ROWS, "float32"))
    trial = take_steps(of_any_rate(learner), classifier().params, {}, Rows(X, y, None), watched, orders, steps, rate)
    rule, params = optax.adam(rate), classifier().params
    memory = rule.init(params)

    def mean_loss(params, x, y):
        a = jax.numpy.tanh(x @ params["dense_1"]["weights"] + params["dense_1"]["bias"][None]) @ params["dense_2"]["weights"]
        a = a + params["dense_2"]["bias"][None]
        return -jax.numpy.mean(jax.nn.log_softmax(a)[np.arange(len(y)), y])

    gradient, moved = jax.jit(jax.grad(mean_loss)), 0.0
    with jax.numpy_dtype_promotion("standard"):
        for order in orders[:steps]:
            update, memory = rule.update(gradient(params, X[order], y[order]), memory, params)
            moved += np.sqrt(np.mean(update["dense_1"]["weights"] ** 2) / np.mean(params["dense_1"]["weights"] ** 2)) / steps
            params = optax.apply_updates(params, update)
    assert trial.loss == pytest.approx(float(mean_loss(params, X, y)), rel=1e-4)
    assert trial.movement["dense_1/weights"] == pytest.approx(moved, rel=1e-3)


@given(st.integers(1, 13), st.integers(1, 17), st.integers(1, 7))
def test_orders_of_a_trial_use_every_row_before_any_twice(rows, batch, steps):
    orders = trial_orders(np.arange(rows) + 100, batch, steps, seed=0)
    assert orders.shape == (steps, min(batch, rows))
    counts = np.bincount(orders.ravel() - 100, minlength=rows)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy", "squared_error", "sum_squared_error", "quadratic",
                                  "absolute_error"])
def test_the_loss_of_a_constant_answer_is_the_least_that_any_reaches(name):
    """Against SciPy's search over constant answers."""
    rng, n = np.random.default_rng(7), 23
    y = {"cross_entropy": rng.integers(0, 3, n),
         "binary_cross_entropy": rng.integers(0, 2, (n, 2)).astype(float)}.get(name, rng.normal(size=(n, 2)))

    def of_constant(a):
        if name == "cross_entropy":
            return np.log(np.exp(a).sum()) - np.mean(a[y])
        if name == "binary_cross_entropy":
            return np.sum(np.mean(np.log1p(np.exp(a)) - y * a, axis=0))
        e = a - y
        total = np.sum(np.mean(e**2, axis=0))
        return {"squared_error": total / 2, "sum_squared_error": total, "quadratic": total / 2, "absolute_error": np.mean(np.abs(e))}[name]

    start = np.zeros(3 if name == "cross_entropy" else 2)
    best = minimize(of_constant, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert constant_loss(LOSSES[name], y) == pytest.approx(best.fun, rel=1e-5)
    if name == "cross_entropy":
        assert constant_loss(LOSSES[name], np.eye(3)[y]) == pytest.approx(best.fun, rel=1e-5)      # one-hot says the same


def test_losses_without_a_formula_and_optimizers_without_a_rate():
    assert constant_loss(Gaussian(), Z) is None
    assert constant_loss(SquaredError(), np.full((4, 1), 2.0)) == 0
    assert rate_of(dr.LBFGS()) is None
    assert rate_of(dr.SGD(dr.CosineDecay(0.1))) is None
    assert rate_of(dr.AdamW(0.02)) == 0.02


def test_findings_are_a_sequence_with_the_gravest_first():
    note, grave = Finding("note", "a", "b", "c", "d"), Finding("serious", "e", "f", "g", "h")
    findings = Findings([note, grave], "seen", ["rule"])
    assert list(findings) == [grave, note]
    assert findings[1] is note
    assert findings.serious == (grave,)
    assert not findings.ok
    assert json.loads(json.dumps(findings.to_json())) == {
        "ok": False, "seen": "seen", "looked_for": ["rule"],
        "findings": [{"severity": "serious", "where": "e", "what": "f", "evidence": "g", "remedy": "h"},
                     {"severity": "note", "where": "a", "what": "b", "evidence": "c", "remedy": "d"}]}
    assert str(findings).splitlines() == ["examined: seen", "serious  e: f", "         g", "         what to do: h",
                                          "note     a: b", "         c", "         what to do: d", "looked for: rule"]
    assert repr(findings) == str(findings)
    assert max(map(len, paragraph("ok", "word " * 99).splitlines())) <= 110


def test_mistakes_are_told(healthy):
    with pytest.raises(dr.DeltaruleError, match="a finding is 'serious', 'warning' or 'note', received 'bad'"):
        Finding("bad", "a", "b", "c", "d")
    for rate in (0, -0.1, np.nan, "fast"):
        with pytest.raises(dr.DeltaruleError, match=r"^learning_rate expected a finite number above 0, received"):
            healthy.doctor(X, Y, learning_rate=rate)
    with pytest.raises(dr.ShapeError, match=r"x has shape \(61, 4\), the network expects \(n, 5\)"):
        healthy.doctor(X[:, :4], Y)
    with pytest.raises(dr.DeltaruleError, match="expected class numbers from 0 to 2 for 3 outputs, received 3"):
        healthy.doctor(X, Y + 1)
    with pytest.raises(dr.DeltaruleError, match="expected targets y beside x"):
        healthy.doctor(X)
