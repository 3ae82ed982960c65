"""Ensembles: each member against the same network trained alone, mean and spread against NumPy, files, mistakes, honest error bars."""

import json

import jax
import numpy as np
import pytest
from test_training import same

import deltarule as dr
from deltarule import modelfile
from deltarule.cli import main
from deltarule.errors import DataError, DeltaruleError, DivergenceError, ModelFileError, ShapeError
from deltarule.layers.scope import flatten
from deltarule.training import many

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(67, 5)), RNG.normal(size=(67, 2))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
WEIGHTS = RNG.uniform(0.2, 3, 67)


def classifier(seed=0, **options):
    return dr.Network([dr.Dense(11, "relu"), dr.Dropout(0.3), dr.Dense(3, "softmax")], 5, seed=seed, **options)


def regressor(seed=0, dtype="float64"):
    return dr.Network([dr.Dense(7, "tanh"), dr.BatchNorm(), dr.Dense(2)], 5, seed=seed, dtype=dtype)


def images(seed=0):
    return dr.Network([dr.Conv2D(3, 3, "relu"), dr.Flatten(), dr.Dense(3, "softmax")], (7, 7, 1), seed=seed)


PICTURES = RNG.normal(size=(67, 7, 7, 1)).astype("float32")
CASES = {
    "classes, dropout, validation": (classifier, X, LABELS, {"validation": (X[:20], LABELS[:20]), "optimizer": dr.Adam(0.02)}),
    "numbers, batch norm, penalties": (regressor, X, Y, {"l1": 0.01, "l2": 0.1, "batch_size": 13, "optimizer": dr.RMSprop(0.01)}),
    "weights, momentum": (regressor, X, Y, {"sample_weight": WEIGHTS, "optimizer": dr.SGD(0.05, momentum=0.8), "shuffle": False}),
    "the whole set, a schedule": (regressor, X, Y, {"batch_size": None, "optimizer": dr.Adam(dr.CosineDecay(0.1))}),
    "L-BFGS": (lambda seed: dr.Network([dr.Dense(3, "tanh"), dr.Dense(2)], 5, seed=seed, dtype="float64"), X, Y, {"optimizer": "lbfgs"}),
    "images": (images, PICTURES, LABELS, {"optimizer": dr.Adam(0.01)}),
    "augmented": (lambda seed: dr.Network([dr.Flatten(), dr.Dense(3, "softmax")], (7, 7, 1), seed=seed), PICTURES, LABELS,
                  {"augment": dr.augment.Noise(0.5), "optimizer": dr.Adam(0.01)}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_the_network_trained_alone(case):
    """Weights, states, curves and the epoch that was kept, for each of three seeds."""
    build, x, y, options = CASES[case]
    ensemble = dr.Ensemble(build(seed=41), members=3).fit(x, y, epochs=5, **options)
    for i, member in enumerate(ensemble.members):
        alone = build(seed=41 + i)
        history = alone.fit(x, y, epochs=5, **options)
        close = {"rtol": 1e-8, "atol": 1e-9} if alone.dtype == "float64" else {"rtol": 1e-3, "atol": 1e-5}
        for kind in ("params", "state"):
            for path, value in flatten(getattr(alone, kind)).items():
                np.testing.assert_allclose(flatten(getattr(member, kind))[path], value, **close, err_msg=path)
        assert member.history.summary == history.summary
        for name, curve in history.items():
            np.testing.assert_allclose(member.history[name], curve, **close)
        assert member.training == alone.training
        assert member.epochs_trained == alone.epochs_trained


def test_members_stop_and_keep_on_their_own():
    noise = RNG.integers(0, 3, 67)
    options = {"validation": (X[:20], noise[:20]), "epochs": 200, "patience": 5, "optimizer": dr.Adam(0.03)}
    ensemble = dr.Ensemble(classifier(dtype="float64"), members=5).fit(X[20:], noise[20:], **options)
    histories = ensemble.histories
    assert len({len(history.epochs) for history in histories}) > 1
    for i, history in enumerate(histories):
        assert history.stopped == "early"
        assert history.kept_epoch == int(np.argmin(history["val_loss"])) + 1 == len(history.epochs) - 5
        alone = classifier(seed=i, dtype="float64")
        assert alone.fit(X[20:], noise[20:], **options).summary == history.summary
        assert ensemble.members[i].evaluate(X[:20], noise[:20])["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_a_goal_is_reached_by_each_on_its_own():
    ensemble = dr.Ensemble(classifier(), members=3).fit(X, LABELS, monitor="accuracy", goal=0.7, epochs=200, optimizer=dr.Adam(0.01))
    for history in ensemble.histories:
        assert history.stopped == "goal"
        assert history["accuracy"][-1] >= 0.7 > max(history["accuracy"][:-1], default=0)


def test_segments_do_not_change_the_result(monkeypatch):
    results = []
    for seconds in (1e-9, 0.5, 100.0):
        monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", seconds)
        ensemble = dr.Ensemble(classifier(), members=3).fit(X, LABELS, epochs=9, batch_size=5, validation=0.2, patience=2)
        results.append(([member.params for member in ensemble.members], [dict(history) for history in ensemble.histories]))
    for params, curves in results[1:]:
        assert all(same(one, other) for one, other in zip(params, results[0][0], strict=True))
        assert curves == results[0][1]


def test_a_second_training_goes_on_and_compiles_nothing():
    ensemble = dr.Ensemble(classifier(), members=3).fit(X, LABELS, epochs=3)
    before = many.advance_many.programs()
    ensemble.fit(X, LABELS, epochs=2)
    assert many.advance_many.programs() == before
    alone = classifier(seed=2)
    alone.fit(X, LABELS, epochs=3)
    alone.fit(X, LABELS, epochs=2)
    assert ensemble.members[2].epochs_trained == 5
    for path, value in flatten(alone.params).items():
        np.testing.assert_allclose(flatten(ensemble.members[2].params)[path], value, rtol=1e-3, atol=1e-5)


def test_ctrl_c_returns_what_was_learnt(monkeypatch):
    monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", 1e-9)

    def interrupt(history):
        if len(history.epochs) == 3:
            raise KeyboardInterrupt

    ensemble = dr.Ensemble(classifier(), members=3).fit(X, LABELS, epochs=50, on_segment=interrupt)
    reference = dr.Ensemble(classifier(), members=3).fit(X, LABELS, epochs=3)
    assert [(history.stopped, len(history.epochs)) for history in ensemble.histories] == [("interrupted", 3)] * 3
    assert all(same(one.params, other.params) for one, other in zip(ensemble.members, reference.members, strict=True))


def test_divergence_names_the_member_and_leaves_good_weights():
    ensemble = dr.Ensemble(dr.Network([dr.Dense(7, "relu"), dr.Dense(2)], 5, seed=11), members=4)
    ensemble.members[2].params["dense_1"]["weights"] *= np.float32(1e15)
    with pytest.raises(DivergenceError, match=r"^member 2 \(seed 13\): training met a number that is not finite in epoch 1, step \d+: .*; "
                                              r"the last good weights were restored$") as caught:
        ensemble.fit(X, Y, optimizer=dr.SGD(0.01), epochs=5, batch_size=8)
    assert caught.value.report["member"] == 2
    assert ensemble.histories[2].stopped == "diverged"
    assert all(np.isfinite(value).all() for member in ensemble.members for value in flatten(member.params).values())


def test_mean_and_spread_are_those_of_the_members():
    ensemble = dr.Ensemble(classifier(), members=5).fit(X, LABELS, epochs=3)
    each = np.stack([member.predict(X) for member in ensemble.members])
    mean, spread = ensemble.predict(X, spread=True)
    np.testing.assert_allclose(ensemble.outputs(X), each, atol=1e-6)
    np.testing.assert_allclose(mean, each.mean(0), atol=1e-6)
    np.testing.assert_allclose(spread, each.std(0), atol=1e-6)
    assert np.array_equal(ensemble.predict(X), mean)
    assert np.array_equal(ensemble.spread(X), spread)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-6)
    assert not dr.Ensemble(classifier(), members=1).spread(X).any()
    p = each.mean(0)[np.arange(67), LABELS]
    measured = ensemble.evaluate(X, LABELS, sample_weight=WEIGHTS)
    assert measured["loss"] == pytest.approx(-np.average(np.log(p), weights=WEIGHTS), rel=1e-5)
    assert measured["accuracy"] == pytest.approx(np.average(each.mean(0).argmax(1) == LABELS, weights=WEIGHTS), rel=1e-5)


def test_many_rows_go_through_in_parts():
    ensemble = dr.Ensemble(classifier(), members=7)
    x = RNG.normal(size=(1511, 5))
    np.testing.assert_allclose(ensemble.outputs(x)[6], ensemble.members[6].predict(x), atol=1e-6)


@pytest.mark.parametrize(("last", "y", "loss"), [
    (dr.Dense(2, "sigmoid"), (Y > 0).astype(float), lambda h, y: -np.sum(y * np.log(h) + (1 - y) * np.log(1 - h), 1)),
    (dr.Dense(2, "exponential"), np.rint(np.exp(Y)), lambda h, y: None),
    (dr.Dense(2), Y, lambda h, y: np.mean((h - y)**2, 1)),
    (dr.Dense(3, "log_softmax"), LABELS, lambda h, y: -h[np.arange(67), y]),
], ids=["sigmoid", "exponential", "linear", "log_softmax"])
def test_the_loss_of_the_mean(last, y, loss):
    """As worked out from the mean by the formula, or, where that is long, by the same loss for a network with this very output."""
    ensemble = dr.Ensemble(dr.Network([dr.Dense(7, "tanh"), last], 5, dtype="float64"), members=3)
    h = ensemble.predict(X)
    found = ensemble.evaluate(X, y)["loss"]
    rows = loss(h, y)
    if rows is None:
        constant = [dr.Dense(2, "exponential", weights="zeros", use_bias=False)]
        one = dr.Network(constant, 5)
        assert dr.Ensemble(one, 3).evaluate(X, y)["loss"] == pytest.approx(one.evaluate(X, y)["loss"])
        rows = dr.losses.Poisson().rows(dr.losses.Output(h, np.log(h), "exponential"), y)
    assert found == pytest.approx(np.mean(np.asarray(rows)), rel=1e-9)
    if last.activation == "log_softmax":
        np.testing.assert_allclose(np.exp(h), np.exp(ensemble.outputs(X)).mean(0), rtol=1e-12)


def test_a_certain_mistake_costs_a_finite_loss():
    ensemble = dr.Ensemble(dr.Network([dr.Dense(2, "softmax")], 1), members=3)
    for member in ensemble.members:
        member.params["dense_1"]["weights"] = np.array([[500.0, -500.0]], "float32")
    assert 80 < ensemble.evaluate(np.ones((3, 1)), np.ones(3, int))["loss"] < 100


def test_error_bars_grow_where_there_are_no_data():
    """sin 3x seen on two pieces of the line: between and beyond them the members disagree more; where data are, the truth is inside."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-2, -0.7, 60), rng.uniform(0.7, 2, 60)])[:, None]
    y = np.sin(3 * x) + rng.normal(scale=0.05, size=x.shape)
    net = dr.Network([dr.Dense(50, "tanh"), dr.Dense(50, "tanh"), dr.Dense(1)], input_shape=1)
    ensemble = dr.Ensemble(net, members=8).fit(x, y, optimizer=dr.Adam(dr.CosineDecay(0.01)), epochs=150)
    seen, gap, beyond = (np.linspace(*ends, 41)[:, None] for ends in ((-1.8, -0.9), (-0.4, 0.4), (2.5, 3.5)))
    typical = float(np.median(ensemble.spread(seen)))
    assert np.median(ensemble.spread(gap)) > 4 * typical
    assert np.median(ensemble.spread(beyond)) > 4 * typical
    mean, spread = ensemble.predict(gap, spread=True)
    assert np.mean(np.abs(mean - np.sin(3 * gap)) < 3 * spread) > 0.8


# ----------------------------------------------------------------------- files

def test_a_file_gives_the_ensemble_back(tmp_path):
    net = regressor()
    net.symbols = {"unit": "mm"}
    ensemble = dr.Ensemble(net, members=3).fit(X, Y, epochs=2)
    ensemble.save(tmp_path / "many.safetensors")
    loaded = dr.load(tmp_path / "many.safetensors")
    assert isinstance(loaded, dr.Ensemble)
    assert np.array_equal(loaded.predict(X), ensemble.predict(X))
    assert [(one.seed, one.epochs_trained, one.training, one.symbols) for one in loaded.members] == \
        [(one.seed, one.epochs_trained, one.training, one.symbols) for one in ensemble.members]
    assert loaded.evaluate(X, Y) == ensemble.evaluate(X, Y)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "many.safetensors").read_bytes()
    loaded.members[1].save(tmp_path / "one.safetensors")
    assert np.array_equal(dr.load(tmp_path / "one.safetensors").predict(X), ensemble.members[1].predict(X))


@pytest.mark.parametrize(("change", "message"), [
    (lambda header, arrays: header.update(members=header["members"][:2]), r"for another number of members than the 2 it describes"),
    (lambda header, arrays: header.update(members=[]), r"lacks a part of the model's description: its members"),
    (lambda header, arrays: header.update(members=[1, 2, 3]), r"lacks a part of the model's description: its members"),
    (lambda header, arrays: header["members"][1].pop("seed"), r"lacks a part of the model's description: 'seed'"),
    (lambda header, arrays: arrays.pop("params/dense_1/bias"), r"holds params that do not fit its architecture"),
    (lambda header, arrays: arrays.update({"params/dense_2/bias": arrays["params/dense_2/bias"] + 1}), r"gives other outputs"),
], ids=range(6))
def test_files_that_do_not_fit_are_refused(change, message, tmp_path):
    dr.Ensemble(regressor(), members=3).save(tmp_path / "many.safetensors")
    header, arrays = modelfile.read_model(tmp_path / "many.safetensors")
    change(header, arrays)
    modelfile.write_model(tmp_path / "wrong.safetensors", header, arrays)
    with pytest.raises(ModelFileError, match=message):
        dr.load(tmp_path / "wrong.safetensors")


def test_the_command_line_says_what_it_does_not_take(tmp_path, capsys):
    dr.Ensemble(regressor(), members=3).save(tmp_path / "many.safetensors")
    assert main(["inspect", str(tmp_path / "many.safetensors"), "--json"]) == 2
    assert "holds an ensemble of 3 networks, which this command does not take; in Python deltarule.load opens it" in capsys.readouterr().err


# -------------------------------------------------------------------- mistakes

@pytest.mark.parametrize("members", [0, -1, 2.5, True, "many"])
def test_members_are_counted(members):
    with pytest.raises(DeltaruleError, match=r"^members expected a whole number of at least 1, received"):
        dr.Ensemble(classifier(), members=members)


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: dr.Ensemble([classifier()]), DeltaruleError, r"Ensemble expected a Network, of which all members are copies, received list"),
    (lambda: dr.Ensemble(classifier(), 2).fit([(X, LABELS)]), DeltaruleError, r"give arrays x and y or a Dataset, not an iterable"),
    (lambda: dr.Ensemble(classifier(), 2).fit(X[:, :4], LABELS), ShapeError, r"x has shape \(67, 4\), the network expects \(n, 5\)"),
    (lambda: dr.Ensemble(classifier(), 2).fit(X, LABELS, epochs=0), DeltaruleError, r"epochs expected a whole number from 1 on"),
    (lambda: dr.Ensemble(classifier(), 2).fit(X, LABELS, monitor="val_loss"), DeltaruleError, r"monitor 'val_loss' is not measured here"),
    (lambda: dr.Ensemble(classifier(), 2).predict([[np.nan] * 5]), DataError, r"x"),
])
def test_mistakes_are_answered_in_one_line(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_dataset_will_do():
    data = dr.data.iris()
    ensemble = dr.Ensemble(dr.Network([dr.Dense(3, "softmax")], 4), members=2).fit(data, epochs=2)
    assert json.dumps(ensemble.evaluate(data))
    assert jax.tree.leaves(ensemble.members[0].params)[0].flags.writeable
