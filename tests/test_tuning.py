"""Sweeps and searches: each trial against Network.fit, the ranking, files, Ctrl-C, mistakes, the figure."""

import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.errors import DataError, DeltaruleError
from deltarule.layers.scope import flatten
from deltarule.searching import _draw, _rounds
from deltarule.trials import Trial, Trials, ranked, sign_of
from deltarule.tuning import lots

RNG = np.random.default_rng(0)
X = RNG.normal(size=(97, 5))
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
HELD = X[:30], Y[:30]


def net(seed=0, dtype="float64"):
    return dr.Network([dr.Dense(7, "tanh"), dr.Dense(3, "softmax")], 5, seed=seed, dtype=dtype)


def build(width, activation="tanh"):
    return dr.Network([dr.Dense(width, activation), dr.Dense(3, "softmax")], 5)


@pytest.fixture(scope="module")
def swept():
    return dr.sweep(net(), X[30:], Y[30:], validation=HELD, learning_rate=[0.01, 0.3, 1e200], momentum=[0.0, 0.8], l2=[0.02], l1=[0, 0.01],
                    seeds=[4, 9], epochs=6, optimizer="sgd", patience=2)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("search") / "results.json"
    options = {"validation": HELD, "trials": 4, "epochs": 6, "halving": 2, "width": [3, 11], "learning_rate": dr.LogUniform(0.01, 0.1),
               "l2": [0.0, 0.01], "file": file}
    return options, dr.search(build, X[30:], Y[30:], **options)


def test_each_trial_is_the_network_trained_alone(swept):
    """Weights, held-out value, kept epoch and recipe, for settings that went well."""
    good = [trial for trial in swept if np.isfinite(trial.mean)]
    assert len(good) == 8
    for trial in good[:3] + good[-1:]:
        for seed, network, value, kept in zip((4, 9), trial.networks, trial.values, trial.kept, strict=True):
            alone = net(seed)
            rule = dr.SGD(trial.settings["learning_rate"], momentum=trial.settings["momentum"])
            history = alone.fit(X[30:], Y[30:], validation=HELD, epochs=6, patience=2, optimizer=rule, l2=0.02, l1=trial.settings["l1"])
            for path, weights in flatten(alone.params).items():
                np.testing.assert_allclose(flatten(network.params)[path], weights, rtol=1e-7, atol=1e-9)
            assert value == pytest.approx(min(history["val_loss"]), rel=1e-7)
            assert (kept, network.seed) == (history.kept_epoch, seed)
            assert network.training == alone.training


def test_the_best_comes_first_and_what_diverged_last(swept):
    means = [trial.mean for trial in swept]
    assert means == sorted(means)
    assert [trial.settings["learning_rate"] for trial in swept[-4:]] == [1e200] * 4
    assert means[-4:] == [np.inf] * 4
    assert all(np.isfinite(weights).all() for weights in flatten(swept[-1].networks[0].params).values())
    best = swept.best
    assert best is swept[0].networks[int(np.argmin(swept[0].values))]
    assert best.evaluate(*HELD)["loss"] == pytest.approx(min(swept[0].values), rel=1e-7)
    assert swept[0].spread == pytest.approx(np.std(swept[0].values, ddof=1))


def test_the_table_says_it_all(swept):
    lines = str(swept).splitlines()
    assert lines[0].split() == ["learning_rate", "momentum", "l2", "l1", "epochs", "val_loss", "spread", "kept", "epoch"]
    assert len(lines) == 2 + 12 + 1
    assert lines[-1] == "12 trials, 2 seeds each, 144 epochs in all, 30 rows held out"
    assert lines[-2].split()[0] == "1e+200"
    assert "diverged" in lines[-2]
    frame = swept.to_frame()
    assert frame["learning_rate"].to_list() == [trial.settings["learning_rate"] for trial in swept]
    assert frame["val_loss"].to_list()[:8] == [trial.mean for trial in swept[:8]]


def test_the_figure_has_a_line_for_each_of_the_other_settings(swept):
    figure = swept.plot()
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("learning rate", "held-out loss", "log")
    assert len(ax.get_legend_handles_labels()[1]) == 4
    assert swept.plot("momentum").axes[0].get_xscale() == "linear"
    with pytest.raises(DeltaruleError, match=r"there is no setting of numbers 'momentun' to draw along; did you mean 'momentum'\?"):
        swept.plot("momentun")


def test_accuracy_is_better_the_larger():
    trials = [Trial({"l2": value}, (value,), 5) for value in (0.5, 0.9, 0.7)]
    assert [trial.mean for trial in ranked(trials, "val_accuracy")] == [0.9, 0.7, 0.5]
    assert [trial.mean for trial in ranked(trials, "val_loss")] == [0.5, 0.7, 0.9]
    assert [sign_of(name) for name in ("loss", "val_loss", "accuracy", "val_iou", "val_dice", "val_squared_error")] == [1, 1, -1, -1, -1, 1]
    chosen = dr.sweep(net(), X, Y, validation=0.3, learning_rate=[0.001, 0.1], seeds=1, epochs=4, monitor="val_accuracy")
    assert chosen[0].mean >= chosen[1].mean
    assert chosen.best.history["val_accuracy"][chosen[0].kept[0] - 1] == chosen[0].mean


def test_batch_sizes_are_tried_one_after_another():
    swept = dr.sweep(net(), X[30:], Y[30:], validation=HELD, batch_size=[11, None], learning_rate=0.05, seeds=1, epochs=3)
    assert {trial.settings["batch_size"]: trial.networks[0].training["batch_size"] for trial in swept} == {11: 11, None: 67}
    assert [trial.settings["learning_rate"] for trial in swept] == [0.05, 0.05]


def test_many_networks_are_split_into_lots(monkeypatch):
    combinations = [{"l2": float(i), "batch_size": size} for size in (8, 16) for i in range(50)]
    parts = list(lots(net(), combinations, seeds=2))
    assert [len(part) for part in parts] == [25, 25, 25, 25]
    assert [one for part in parts for one in part] == combinations
    monkeypatch.setattr("deltarule.tuning.NUMBERS", 150)       # of weights: the network has 66
    assert [len(part) for part in lots(net(), combinations[:4], 1)] == [2, 2]


def test_ctrl_c_returns_what_was_learnt(monkeypatch):
    from deltarule.training import many
    moves = []

    def advance(crowd, real=many._Crowd.advance):
        if len(moves) == 3:
            raise KeyboardInterrupt
        moves.append(real(crowd))

    monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", 1e-9)
    monkeypatch.setattr(many._Crowd, "advance", advance)
    swept = dr.sweep(net(), X, Y, validation=0.3, learning_rate=[0.001, 0.1], seeds=1, epochs=50)
    assert not swept.complete
    assert [len(trial.networks[0].history.epochs) for trial in swept] == [1, 1]
    assert str(swept).endswith("; stopped by Ctrl-C, not all were run")
    searched = dr.search(build, X, Y, validation=0.3, width=[3, 5], trials=2, epochs=50)
    assert (len(searched), searched.complete) == (0, False)
    with pytest.raises(DeltaruleError, match=r"no trial was finished, so none is the best; let one finish before Ctrl-C"):
        searched.best  # noqa: B018


# ---------------------------------------------------------------------- search

def test_rounds_cost_the_same():
    assert list(_rounds(27, 54, 3)) == [(27, 6), (9, 18), (3, 54)]
    assert list(_rounds(10, 8, 2)) == [(10, 1), (5, 2), (3, 4), (2, 8)]
    assert list(_rounds(4, 100, None)) == [(4, 100)]


def test_what_is_drawn_is_new_and_within_the_space():
    space = {"width": [3, 5, 7], "rate": dr.LogUniform(1e-4, 1e-1), "units": dr.LogUniform(4, 64, whole=True)}
    drawn = list(_draw(space, 500, seed=1))
    rates = np.log10([settings["rate"] for settings in drawn])
    assert -4 <= rates.min() < -3.9 < -1.1 < rates.max() <= -1
    assert abs(rates.mean() + 2.5) < 0.15
    assert all(isinstance(settings["units"], int) and 4 <= settings["units"] <= 64 for settings in drawn)
    assert list(_draw(space, 50, seed=1)) == drawn[:50]
    assert len(list(_draw({"width": [3, 5, 7]}, 500, seed=1))) == 3


def test_the_last_round_is_what_fit_makes_of_its_settings(found):
    trials = found[1]
    assert [trial.epochs for trial in trials] == [6, 6, 3, 3]
    assert trials.cost == 4 * 3 + 2 * 6
    for trial in trials:
        alone = build(trial.settings["width"])
        history = alone.fit(X[30:], Y[30:], validation=HELD, epochs=trial.epochs, optimizer=dr.Adam(trial.settings["learning_rate"]),
                            l2=trial.settings["l2"])
        assert trial.mean == pytest.approx(min(history["val_loss"]), rel=1e-3)
    first = sorted(trials, key=lambda trial: min(trial.networks[0].history["val_loss"][:3]))
    assert {id(trial) for trial in first[:2]} == {id(trial) for trial in trials[:2]}
    assert trials.best.evaluate(*HELD)["loss"] == pytest.approx(trials[0].mean, rel=1e-4)


def test_a_search_goes_on_from_its_file(found, monkeypatch):
    options, trials = found
    monkeypatch.setattr("deltarule.searching.trained", lambda *given: pytest.fail("trained again"))
    again = dr.search(build, X[30:], Y[30:], **options)
    assert str(again) == str(trials)
    assert [trial.values for trial in again] == [trial.values for trial in trials]
    assert again.cost == trials.cost
    monkeypatch.undo()
    assert np.array_equal(again.best.predict(X), trials.best.predict(X))
    longer = dr.search(build, X[30:], Y[30:], **options | {"halving": None, "trials": 2, "epochs": 3})
    assert len(longer) == 2
    assert {trial.values for trial in longer} <= {tuple(one["values"]) for one in json.loads(options["file"].read_text())["trials"]}


@pytest.mark.parametrize(("content", "message"), [
    ("no json", r"results\.json holds no results of a search \(Expecting value.*\); give another file"),
    ("{}", r"results\.json holds no results of a search \('search'\)"),
    ('{"search": "0", "rows": 3, "trials": []}', r"holds the results of another search \(other data, space, seeds or options\)"),
])
def test_files_of_another_search_are_refused(content, message, tmp_path):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=message):
        dr.search(build, X, Y, validation=0.3, width=[3], file=tmp_path / "results.json")


# -------------------------------------------------------------------- mistakes

@pytest.mark.parametrize(("given", "message"), [
    ({"l2": [0, 1], "validation": None}, r"sweep chooses settings on rows that are not learnt from: give validation=0\.2, or "),
    ({}, r"sweep expected at least one list of values, such as learning_rate=\["),
    ({"learning_rate": 0.1}, r"sweep expected at least one list of values"),
    ({"learning_rat": [0.1]}, r"sweep knows no setting 'learning_rat' of Adam or of fit; did you mean 'learning_rate'\?"),
    ({"momentum": [0.1]}, r"sweep knows no setting 'momentum' of Adam or of fit; known: "),
    ({"l2": [0, 1], "epochs": [5, 10]}, r"sweep does not vary epochs, which expected one value; it varies batch_size, beta1, "),
    ({"learning_rate": [0.1, 0.1]}, r"learning_rate holds 0\.1 more than once; give each value once, and seeds for repeated trainings"),
    ({"learning_rate": [0.1, -1]}, r"Adam expected learning_rate to be a finite number above 0, received -1"),
    ({"learning_rate": [0.1, "high"]}, r"learning_rate expected a list of numbers, received 'high' in it"),
    ({"learning_rate": []}, r"learning_rate expected at least one value, received an empty list"),
    ({"l1": [-1]}, r"l1 expected finite numbers from 0 on, received -1"),
    ({"l2": [0, 1], "seeds": 0}, r"seeds expected a whole number of at least 1, or a list of seeds, received 0"),
    ({"l2": [0, 1], "seeds": [3, 3]}, r"seeds expected different whole numbers, received \[3, 3\]"),
    ({"l2": [0, 1], "monitor": "val_acc"}, r"monitor 'val_acc' is not measured here"),
    ({"learning_rate": [1, 2], "optimizer": dr.Adam(dr.CosineDecay(0.1))}, r"the optimizer has the schedule CosineDecay\("),
    ({"batch_size": [0, 1]}, r"batch_size expected a whole number from 1 on, or None"),
])
def test_mistakes_in_a_sweep_are_answered_in_one_line(given, message):
    with pytest.raises(DeltaruleError, match=message) as caught:
        dr.sweep(net(), X, Y, **{"validation": 0.3, **given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("builder", "given", "message"), [
    (build, {"validation": None}, r"search chooses settings on rows that are not learnt from"),
    (build, {}, r"build takes width, of which the space says nothing; give for example width=\[16, 32, 64\]"),
    (build, {"width": []}, r"width expected at least one value, received an empty list"),
    (build, {"width": [3], "lr": [1]}, r"search knows no setting 'lr' of Adam or of fit"),
    (build, {"width": [3], "learning_rate": dr.LogUniform(0.1, 1), "optimizer": "lbfgs"}, r"no setting 'learning_rate' of LBFGS"),
    (net(), {}, r"search expected a function that builds a Network from settings, .* received Network"),
    (lambda width: width, {"width": [3]}, r"build returned int, expected a Network"),
    (lambda: net(), {}, r"search expected something to choose, such as width=\[16, 32, 64\]"),
    (build, {"width": [3], "trials": 0}, r"trials expected a whole number of at least 1, received 0"),
    (build, {"width": [3], "halving": 1}, r"halving expected a whole number of at least 2, received 1"),
    (build, {"width": [3], "epochs": 0}, r"epochs expected a whole number of at least 1, received 0"),
])
def test_mistakes_in_a_search_are_answered_in_one_line(builder, given, message):
    with pytest.raises(DeltaruleError, match=message) as caught:
        dr.search(builder, X, Y, **{"validation": 0.3, **given})
    assert "\n" not in str(caught.value)


def test_log_uniform_has_limits():
    with pytest.raises(DeltaruleError, match=r"LogUniform expected low to be a finite number above 0, received 0"):
        dr.LogUniform(0, 1)
    with pytest.raises(DeltaruleError, match=r"LogUniform expected high to be a finite number above 1, received 1"):
        dr.LogUniform(1, 1)


def test_no_trials_at_all():
    assert str(Trials((), "val_loss", 0, 0, complete=False)).endswith("stopped by Ctrl-C, not all were run")
    with pytest.raises(DeltaruleError, match=r"sweep expected a Network, received list"):
        dr.sweep([net()], X, Y, validation=0.3, l2=[0, 1])
