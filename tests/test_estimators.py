"""`Classifier` and `Regressor`: scikit-learn's own contract, repeated rows as the oracle of weights, its MLP as that of accuracy."""

import pickle

import jax
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import deltarule as dr
from deltarule.data import Preprocessor, TargetScaler
from deltarule.errors import DataError, DeltaruleError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(29, 3))
Y = X @ [1.0, -2.0, 0.5] + 7.0
SIDE = (Y > 7.0).astype(int)
SMALL = {"hidden": (5,), "learning_rate": 0.05, "epochs": 30, "random_state": 0}     # settings and shapes are shared: little is compiled


def classifier(**changes):
    return dr.Classifier(**SMALL | changes)


def regressor(**changes):
    return dr.Regressor(**SMALL | changes)


# ------------------------------------------------------------------------------------------------- scikit-learn's own contract

@pytest.mark.slow
@parametrize_with_checks([dr.Classifier(), dr.Regressor()])
def test_scikit_learns_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")      # otherwise one check would skip itself
    check(estimator)


def test_settings_are_stored_untouched_and_cloned():
    given = {"hidden": [7], "activation": "tanh", "dropout": 0.1, "learning_rate": 0.1, "l1": 1.0, "l2": 2.0, "batch_size": 3, "epochs": 5,
             "patience": 11, "validation": 0.3, "class_weight": {0: 2.0}, "random_state": 13, "progress": None}
    estimator = dr.Classifier(**given)
    assert estimator.get_params() == given
    assert clone(estimator).get_params() == given
    assert estimator.set_params(epochs=17).epochs == 17
    given.pop("class_weight")
    assert dr.Regressor(**given).get_params() == given


def test_it_works_in_pipelines_searches_and_meta_estimators():
    pipeline = Pipeline([("scale", StandardScaler()), ("net", classifier())])
    assert pipeline.fit(X, SIDE).score(X, SIDE) > 0.9
    assert cross_val_score(pipeline, X, SIDE, cv=2).shape == (2,)
    search = GridSearchCV(classifier(), {"l2": np.array([0.0, 10.0], np.float32)}, cv=2, n_jobs=1).fit(X, SIDE)
    assert search.best_params_ == {"l2": 0.0}
    voting = VotingClassifier([("a", classifier()), ("b", LogisticRegression())], voting="soft").fit(X, SIDE)
    assert voting.score(X, SIDE) > 0.9
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(X, SIDE)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)


def test_pickle_joblib_and_model_file_give_the_same_predictions(tmp_path):
    fitted = classifier().fit(X, np.where(SIDE, "giant", "dwarf"))
    expected = fitted.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), expected)
    joblib.dump(fitted, tmp_path / "net.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "net.joblib").predict_proba(X), expected)
    fitted.save(tmp_path / "net.safetensors")
    model = dr.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert model.predict(X).tolist() == fitted.predict(X).tolist()
    assert fitted.network_.training["rows"] == 29
    assert fitted.network_ is fitted.model_.network
    assert (fitted.n_iter_, len(fitted.loss_curve_), fitted.loss_curve_[-1]) == (30, 30, fitted.history_["loss"][-1])


def test_what_is_not_fitted_says_so(tmp_path):
    for call in (lambda e: e.predict(X), lambda e: e.save(tmp_path / "a"), lambda e: e.score(X, Y)):
        with pytest.raises(NotFittedError, match="This Regressor instance is not fitted yet"):
            call(regressor())


# ----------------------------------------------------------------------------------------------------------- weights of rows

@given(st.lists(st.integers(1, 5), min_size=11, max_size=11))
def test_standardization_with_whole_weights_is_that_of_repeated_rows(counts):
    rng = np.random.default_rng(1)
    x, w = rng.normal(5, 2, (11, 2)), np.array(counts, float)
    weighted, repeated = Preprocessor.fit(x, weights=w), Preprocessor.fit(x.repeat(counts, axis=0))
    np.testing.assert_allclose(weighted.transform(x, "float64"), repeated.transform(x, "float64"), rtol=1e-10, atol=1e-12)
    mag = [1.0, None, 3.0, 8.0, 8.0, None, -1.0, 2.5, 0.0, 4.0, 9.0]
    frame = pl.DataFrame({"mag": mag, "band": [*"VRVBB", None, *"VRUUU"]})
    long = frame[np.arange(11).repeat(counts)]
    a, b = Preprocessor.fit(frame, weights=w), Preprocessor.fit(long)
    assert a.columns[0].fill == b.columns[0].fill
    np.testing.assert_allclose(a.transform(frame, "float64"), b.transform(frame, "float64"), rtol=1e-10, atol=1e-12)
    scaler, oracle = TargetScaler.fit(x, w), TargetScaler.fit(x.repeat(counts, axis=0))
    np.testing.assert_allclose(scaler.inverse(x, "float64"), oracle.inverse(x, "float64"))


def test_the_heaviest_categories_are_kept():
    texts = [f"level {j:03d}" for j in range(101)]
    weights = np.ones(101)
    weights[17] = 0.5
    levels = Preprocessor.fit(pl.DataFrame({"a": texts}), weights=weights).columns[0].levels
    assert set(texts) - set(levels) == {"level 017"}


@pytest.mark.parametrize("class_weight", [None, "balanced", {1: 3.0}])
def test_a_row_of_weight_two_counts_like_two_rows(class_weight):
    w = np.arange(29) % 3
    weighted = classifier(class_weight=class_weight).fit(X, SIDE, sample_weight=w)
    repeated = classifier(class_weight=class_weight).fit(X.repeat(w, axis=0), SIDE.repeat(w))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9)
    assert not np.allclose(weighted.predict_proba(X), classifier(class_weight=class_weight).fit(X, SIDE).predict_proba(X))


def test_weights_of_rows_of_a_table_and_several_outputs():
    frame = pl.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "V", "R")})
    y = np.stack([Y, -3 * Y + X[:, 0]], axis=1)
    w = np.arange(29) % 3
    weighted = regressor().fit(frame, y, sample_weight=pd.Series(w))
    repeated = regressor().fit(frame[np.arange(len(X)).repeat(w)], y.repeat(w, axis=0))
    assert weighted.predict(frame).shape == (29, 2)
    np.testing.assert_allclose(weighted.predict(frame), repeated.predict(frame), rtol=1e-9)


def test_class_weights_move_the_decision():
    noisy = RNG.permutation(SIDE)
    assert (classifier(class_weight={0: 1000.0}).fit(X, noisy).predict(X) == 0).all()
    assert (classifier(class_weight={1: 1000.0}).fit(X, noisy).predict(X) == 1).all()


# -------------------------------------------------------------------------------------------------------- inputs and targets

@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [1.0, 2.0], [-1, 7]])
def test_labels_of_any_kind_come_back_as_they_were(labels):
    y = np.array(labels)[SIDE]
    fitted = classifier().fit(X, y)
    assert fitted.classes_.tolist() == labels
    assert fitted.classes_.dtype == fitted.predict(X).dtype == y.dtype
    assert fitted.score(X, y) > 0.9
    np.testing.assert_array_equal(fitted.predict_proba(X), classifier().fit(X, SIDE).predict_proba(X))


def test_tables_may_hold_text_gaps_dates_and_truth_values():
    mag = np.where(np.arange(29) == 3, np.nan, X[:, 0])
    band = np.array(["V", "R", None], object)[np.arange(29) % 3]
    frame = pd.DataFrame({"mag": mag, "band": band, "seen": X[:, 1] > 0, "night": pd.date_range("2026-01-01", periods=29)})
    y = np.where((band == "V") ^ (X[:, 1] > 0), "a", "b")
    fitted = dr.Classifier(random_state=0).fit(frame, pd.Series(y))
    assert fitted.score(frame, y) == 1.0
    assert fitted.feature_names_in_.tolist() == ["mag", "band", "seen", "night"]
    polars = pl.DataFrame({"mag": mag, "band": band.tolist(), "seen": frame["seen"].to_numpy(), "night": frame["night"].to_numpy()})
    np.testing.assert_array_equal(fitted.predict_proba(polars), fitted.predict_proba(frame))
    with pytest.raises(DataError, match="fitted on a DataFrame with text, received ndarray; give a DataFrame with the columns mag, band"):
        fitted.predict(frame.to_numpy())
    with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
        fitted.predict(frame[["band", "mag", "seen", "night"]])


def test_a_table_of_numbers_is_an_array_with_names():
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    fitted, plain = regressor().fit(frame, Y), regressor().fit(X, Y)
    np.testing.assert_allclose(fitted.predict(frame), plain.predict(X), rtol=1e-12)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(fitted.predict(X), fitted.predict(frame))
    gaps = frame.with_columns(a=pl.Series([None] + [0.0] * 28))
    assert np.isfinite(fitted.predict(gaps)).all()
    unnamed = regressor().fit(pd.DataFrame(X), Y)       # columns 0, 1, 2
    np.testing.assert_allclose(unnamed.predict(X), plain.predict(X), rtol=1e-9)
    assert not hasattr(unnamed, "feature_names_in_")


def test_constant_columns_and_constant_targets():
    x = np.column_stack([X, np.full(29, 1e9)])[:, 1:]
    assert np.isfinite(regressor().fit(x, Y).predict(x)).all()
    np.testing.assert_allclose(regressor().fit(X, np.full(29, 4.0)).predict(X), 4.0, atol=0.3)


def test_a_column_of_targets_is_one_output():
    np.testing.assert_array_equal(regressor().fit(X, Y[:, None]).predict(X), regressor().fit(X, Y).predict(X))


@pytest.mark.parametrize(("settings", "message"), [
    ({"hidden": 3.5}, r"hidden expected whole numbers of units from 1 on, received \(3.5,\)"),
    ({"hidden": (5, 0)}, r"hidden expected whole numbers of units from 1 on, received \(5, 0\)"),
    ({"activation": "rulu"}, r"unknown activation 'rulu'; did you mean 'relu'"),
    ({"dropout": 1.0}, r"Classifier expected dropout to be a finite number of at least 0 and below 1, received 1.0"),
    ({"learning_rate": 0}, r"Classifier expected learning_rate to be a finite number above 0, received 0"),
    ({"l1": None}, r"Classifier expected l1 to be a finite number of at least 0, received None"),
    ({"l2": -1.0}, r"Classifier expected l2 to be a finite number of at least 0, received -1.0"),
    ({"batch_size": 0}, r"Classifier expected batch_size to be a whole number of at least 1, received 0"),
    ({"epochs": 2.5}, r"Classifier expected epochs to be a whole number of at least 1, received 2.5"),
    ({"patience": 0}, r"Classifier expected patience to be a whole number of at least 1, received 0"),
    ({"validation": 1.0}, r"Classifier expected validation to be a finite number of at least 0 and below 1, received 1.0"),
    ({"class_weight": "even"}, r"class_weight expected 'balanced' or a dict of class number to weight, received 'even'"),
    ({"class_weight": {2: 1.0}}, r"class_weight names the class 2, which y does not hold; classes: \[0, 1\]"),
    ({"random_state": -1}, r"random_state expected a whole number from 0 to 2\*\*32 - 1 or None, received -1"),
    ({"random_state": True}, r"random_state expected a whole number from 0 to 2\*\*32 - 1 or None, received True"),
])
def test_settings_out_of_range(settings, message):
    with pytest.raises(DeltaruleError, match=message):
        classifier(**settings).fit(X, SIDE)


def test_data_that_cannot_be_learnt_from():
    with pytest.raises(DataError, match=r"y holds one class only \(1\), expected at least two classes"):
        classifier().fit(X, np.ones(29, int))
    with pytest.raises(DataError, match=r"y holds one class only \(0\), expected at least two classes"):
        classifier().fit(X, SIDE, sample_weight=1 - SIDE)
    with pytest.raises(DeltaruleError, match="Classifier requires y to be passed, but the target y is None; give one target for each row"):
        classifier().fit(X, None)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regressor().fit(X, Y[1:])
    with pytest.raises(ShapeError, match=r"sample_weight has shape \(2,\), expected one weight for each of the 29 rows: \(29,\)"):
        regressor().fit(X, Y, sample_weight=[1.0, 2.0])
    with pytest.raises(DataError, match="weights of rows must be finite, not negative, and not all zero"):
        regressor().fit(X, Y, sample_weight=np.zeros(29))


# ----------------------------------------------------------------------------------------------------------------- training

def test_a_whole_number_as_random_state_gives_the_same_bits():
    a, b = (regressor(random_state=3).fit(X, Y).predict(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, regressor(random_state=4).fit(X, Y).predict(X))
    np.random.seed(5)
    first, second = (regressor(random_state=None).fit(X, Y).network_.seed for _ in range(2))
    assert first != second
    state = np.random.RandomState(5)
    assert regressor(random_state=state).fit(X, Y).network_.seed == first


def test_sets_of_similar_size_share_one_compiled_program(caplog):
    with jax.log_compiles():
        regressor().fit(X[:, :1], Y)
        assert "Compiling jit(advance)" in caplog.text
        caplog.clear()
        regressor().fit(X[:19, :1], Y[:19])
        assert "Compiling jit(advance)" not in caplog.text


def test_filling_up_changes_nothing():
    net = dr.Network([dr.Dense(5, "relu"), dr.Dense(1)], input_shape=(3,), seed=0, dtype="float64")
    scale = TargetScaler.fit(Y)
    net.fit(Preprocessor.fit(X).transform(X, "float64"), scale.transform(Y, "float64")[:, None], optimizer=dr.Adam(0.05), epochs=30,
            batch_size=None)
    fitted = regressor().fit(X, Y)
    expected = scale.inverse(net.predict(Preprocessor.fit(X).transform(X, "float64"))[:, 0], "float64")
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-9)


def test_early_stopping_looks_at_the_validation_set_given():
    noise = RNG.normal(size=29)
    settings = {"patience": 3, "epochs": 200}
    fitted = regressor(**settings).fit(X, noise, X_val=X[:11], y_val=-noise[:11])
    assert fitted.n_iter_ < 200
    assert fitted.history_.stopped == "early"
    curve = fitted.history_["val_loss"]
    assert fitted.history_.kept_epoch == 1 + int(np.argmin(curve)) == fitted.n_iter_ - 3
    z = fitted.model_.scaler.scale[0]
    assert min(curve) == pytest.approx(np.mean((fitted.predict(X[:11]) + noise[:11]) ** 2) / z**2)
    assert fitted.network_.training["rows"] == 29
    with pytest.raises(DeltaruleError, match="fit received X_val alone; give both X_val and y_val, or neither"):
        regressor().fit(X, Y, X_val=X)
    with pytest.raises(DeltaruleError, match="fit received y_val alone; give both"):
        regressor().fit(X, Y, y_val=Y)
    with pytest.raises(DataError, match="y holds the class 2 in row 0, which the model does not know; known: 0, 1"):
        classifier().fit(X, SIDE, X_val=X, y_val=np.full(29, 2))


def test_rows_are_held_out_where_asked_for():
    fitted = classifier(validation=0.3).fit(X, SIDE)
    assert fitted.network_.training["rows"] == 20
    assert {"val_loss", "val_accuracy"} <= set(fitted.history_)
    many = RNG.normal(size=(307, 3))
    whole = classifier(validation=0, epochs=1).fit(many, many[:, 0] > 0)
    assert whole.network_.training["rows"] == 307
    assert set(whole.history_) == {"loss", "accuracy"}
    assert whole.choices_.reasons[-1] == ("training", "up to 1 epochs", "no rows are held out for validation")


@pytest.mark.slow
def test_digits_are_read_as_well_as_by_scikit_learns_network():
    x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.4, stratify=load_digits().target, random_state=0)
    ours = dr.Classifier(random_state=0).fit(x, y).score(x_test, y_test)
    theirs = MLPClassifier(random_state=0).fit(x, y).score(x_test, y_test)
    assert ours > max(theirs - 0.01, 0.95)


# ------------------------------------------------------------------------------------------------------------- partial fits

def test_partial_fits_learn_from_parts():
    fitted = dr.Classifier(hidden=(7,), learning_rate=0.05, random_state=0)
    x = RNG.normal(size=(23 * 40, 3))
    y = np.where(x @ [1.0, -2.0, 0.5] > 0, "up", "down")
    for part in range(40):
        rows = slice(23 * part, 23 * (part + 1))
        assert fitted.partial_fit(x[rows], y[rows], classes=["up", "down"] if part == 0 else None) is fitted
    assert fitted.score(x, y) > 0.93
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 40
    assert fitted.classes_.tolist() == ["down", "up"]
    np.testing.assert_allclose(fitted.model_.preprocessor.columns[0].mean, x[:23, 0].mean())
    with pytest.raises(DeltaruleError, match=r"partial_fit received classes=\['up'\], its first call had \['down', 'up'\]; keep these"):
        fitted.partial_fit(x, y, classes=["up"])
    with pytest.raises(DataError, match="y holds the class 'left' in row 0, which the model does not know; known: 'down', 'up'"):
        fitted.partial_fit(x[:23], ["left"] * 23)
    with pytest.raises(DeltaruleError, match=r"partial_fit expected classes=\(all classes\) in its first call, received None"):
        classifier().partial_fit(X, SIDE)
    with pytest.raises(DataError, match=r"y holds one class only \(0\), expected at least two classes"):
        classifier().partial_fit(X, SIDE, classes=[0])


def test_the_optimizer_goes_on_between_partial_fits():
    once, twice = (dr.Network([dr.Dense(5, "tanh"), dr.Dense(1)], input_shape=(3,), seed=0) for _ in range(2))
    once.fit(X, Y[:, None], epochs=3, batch_size=7)
    for _ in range(3):
        twice.fit(X, Y[:, None], epochs=1, batch_size=7, resume=True)
    np.testing.assert_allclose(twice.predict(X), once.predict(X), rtol=1e-5)
    afresh = dr.Network([dr.Dense(5, "tanh"), dr.Dense(1)], input_shape=(3,), seed=0)
    for _ in range(3):
        afresh.fit(X, Y[:, None], epochs=1, batch_size=7)
    assert not np.allclose(afresh.predict(X), once.predict(X), rtol=1e-3)
    assert afresh.memory is None
    with pytest.raises(DeltaruleError, match="resume expected the optimizer of the call before, received GradientDescent; keep"):
        twice.fit(X, Y[:, None], optimizer="sgd", resume=True)


def test_partial_fits_of_a_regressor_go_on_after_fit_and_after_pickling():
    fitted = regressor().fit(X, Y)
    before = fitted.predict(X)
    again = pickle.loads(pickle.dumps(fitted.partial_fit(X, Y, sample_weight=np.ones(29))))
    np.testing.assert_array_equal(again.partial_fit(X, Y).predict(X), fitted.partial_fit(X, Y).predict(X))
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 32
    assert 0 < np.abs(fitted.predict(X) - before).max() < 1
    with pytest.raises(ValueError, match="X has 2 features, but Regressor is expecting 3 features"):
        fitted.partial_fit(X[:, :2], Y)
    with pytest.raises(ShapeError, match=r"targets of shape \(29, 2\) have 2 outputs, expected 1 as in training"):
        fitted.partial_fit(X, np.stack([Y, Y], axis=1))
    assert regressor().partial_fit(X, Y).predict(X).shape == (29,)
