"""Metrics against scikit-learn, the printed galaxy table of 1992, and values by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve as sk_calibration_curve

from deltarule.data import storrie_lombardi
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.metrics import (
    ROWWISE,
    accuracy,
    accuracy_within,
    average_precision,
    calibration_curve,
    classification_report,
    cohen_kappa,
    confusion_table,
    dice,
    expected_calibration_error,
    iou,
    log_loss,
    mae,
    metric,
    precision_recall_curve,
    precision_recall_f1,
    r2,
    regression_report,
    rmse,
    roc_auc,
    roc_curve,
    table_report,
)

# Storrie-Lombardi, Lahav, Sodre and Storrie-Lombardi 1992, table 2: E, S0, Sa+Sb, Sc+Sd, Irr; rows true, columns assigned
ANN = np.array([[203, 77, 25, 1, 5], [109, 229, 240, 7, 2], [12, 85, 1281, 218, 15], [1, 4, 304, 415, 36], [0, 0, 53, 69, 126]])
ESO = np.array([[197, 87, 17, 5, 5], [184, 218, 155, 28, 2], [106, 12, 791, 664, 38], [22, 11, 24, 631, 72], [22, 9, 31, 42, 144]])


def labels_of(table):
    """The rows (true, assigned) that the table counts."""
    rows, columns = np.indices(table.shape)
    return np.repeat(rows.ravel(), table.ravel()), np.repeat(columns.ravel(), table.ravel())


def random_classes(seed, n, classes):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, classes)).round(1)                  # rounded, so that scores tie
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    p = np.exp(a + 0.8 * np.eye(classes)[y])
    return y, p / p.sum(axis=1, keepdims=True)


SIZES = given(seed=st.integers(0, 10_000), n=st.sampled_from([13, 101]), classes=st.sampled_from([2, 3, 7]))


class TestGalaxies:
    def test_the_network(self):
        y, assigned = labels_of(ANN)
        table = confusion_table(y, assigned, classes=5)
        np.testing.assert_array_equal(table, ANN)
        assert table.sum() == 3517
        assert accuracy(y, assigned) == 2254 / 3517
        assert cohen_kappa(table) == pytest.approx(0.4703, abs=5e-5)
        scores = precision_recall_f1(table)
        np.testing.assert_allclose(scores["per_class"]["recall"], [0.653, 0.390, 0.795, 0.546, 0.508], atol=5e-4)
        np.testing.assert_allclose(scores["per_class"]["precision"], [0.625, 0.580, 0.673, 0.585, 0.685], atol=5e-4)
        assert scores["macro"]["recall"] == pytest.approx(0.578, abs=5e-4)
        assert scores["weighted"]["recall"] == pytest.approx(2254 / 3517)
        assert scores["per_class"]["support"].tolist() == [311, 587, 1611, 760, 248]

    def test_the_automatic_catalogue(self):
        y, assigned = labels_of(ESO)
        assert accuracy(y, assigned) == 1981 / 3517
        assert cohen_kappa(ESO) == pytest.approx(sk.cohen_kappa_score(y, assigned), abs=1e-12)

    def test_from_the_tables_alone(self):
        """What scikit-learn says of the rows that the tables count."""
        for table in (ANN, ESO):
            y, assigned = labels_of(table)
            report = table_report(table)
            assert report["rows"] == 3517
            assert report["accuracy"] == pytest.approx(sk.accuracy_score(y, assigned), abs=1e-12)
            assert report["kappa"] == pytest.approx(sk.cohen_kappa_score(y, assigned), abs=1e-12)
            for average, ours in ((None, report), ("macro", report["macro"]), ("weighted", report["weighted"])):
                theirs = sk.precision_recall_fscore_support(y, assigned, average=average)
                for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
                    np.testing.assert_allclose(ours[name], value, rtol=1e-12)
            assert report["baseline"] == pytest.approx(1611 / 3517)
            assert accuracy_within(table) == pytest.approx(np.mean(np.abs(y - assigned) <= 1), abs=1e-12)
            assert accuracy_within(table, 0) == pytest.approx(report["accuracy"], abs=1e-12)
            assert accuracy_within(table, 4) == 1.0
        assert accuracy_within(ANN) == pytest.approx(0.964, abs=5e-4)

    def test_the_data_set_holds_the_printed_tables(self):
        tables = storrie_lombardi()
        np.testing.assert_array_equal(tables.network, ANN)
        np.testing.assert_array_equal(tables.automatic, ESO)
        assert tables.class_names == ("E", "S0", "Sa+Sb", "Sc+Sd", "Irr")
        assert "1992" in tables.source

    def test_the_report_names_the_baseline(self):
        y, assigned = labels_of(ANN)
        report = classification_report(y, np.eye(5)[assigned])
        assert report["baseline"] == pytest.approx(0.458, abs=5e-4)
        assert report["confusion_table"] == ANN.tolist()


@SIZES
def test_tables_and_shares(seed, n, classes):
    y, p = random_classes(seed, n, classes)
    predicted = np.minimum(p.argmax(axis=1), classes - 2)       # the last class is never predicted: 0/0
    table = confusion_table(y, predicted, classes)
    np.testing.assert_array_equal(table, sk.confusion_matrix(y, predicted))
    assert accuracy(y, predicted) == pytest.approx(sk.accuracy_score(y, predicted))
    if classes > 2:
        assert cohen_kappa(table) == pytest.approx(sk.cohen_kappa_score(y, predicted), abs=1e-12)
    scores = precision_recall_f1(table)
    for average, ours in ((None, scores["per_class"]), ("macro", scores["macro"]), ("weighted", scores["weighted"])):
        theirs = sk.precision_recall_fscore_support(y, predicted, average=average, zero_division=0.0)
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            np.testing.assert_allclose(ours[name], value, rtol=1e-12)


@SIZES
def test_curves_and_areas(seed, n, classes):
    y, p = random_classes(seed, n, classes)
    binary, score = (y == 0).astype(int), p[:, 0]
    pairs = zip(roc_curve(binary, score), sk.roc_curve(binary, score, drop_intermediate=False), strict=True)
    pairs = [*pairs, *zip(precision_recall_curve(binary, score), sk.precision_recall_curve(binary, score), strict=True)]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert roc_auc(binary, score) == pytest.approx(sk.roc_auc_score(binary, score))
    assert average_precision(binary, score) == pytest.approx(sk.average_precision_score(binary, score))
    one_hot = np.eye(classes)[y]
    assert roc_auc(y, p) == pytest.approx(sk.roc_auc_score(one_hot, p, average="macro"))
    assert average_precision(y, p) == pytest.approx(sk.average_precision_score(one_hot, p, average="macro"))


@SIZES
def test_probabilities(seed, n, classes):
    y, p = random_classes(seed, n, classes)
    assert log_loss(y, p) == pytest.approx(sk.log_loss(y, p))
    binary, probability = (y == 0).astype(int), p[:, 0]
    assert log_loss(binary, probability) == pytest.approx(sk.log_loss(binary, probability))
    predicted, observed, rows = calibration_curve(binary, probability, bins=5)
    true, mean = sk_calibration_curve(binary, probability, n_bins=5)
    np.testing.assert_allclose(predicted, mean)
    np.testing.assert_allclose(observed, true)
    assert rows.sum() == n


@SIZES
def test_expected_calibration_error_by_its_formula(seed, n, classes):
    y, p = random_classes(seed, n, classes)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    error = 0.0
    for lower in np.arange(11) / 11:
        inside = (confidence > lower) & (confidence <= lower + 1 / 11)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(y, p, bins=11) == pytest.approx(error, abs=1e-12)


def test_the_ends_of_the_bins():
    predicted, observed, rows = calibration_curve([0, 1, 1, 0], [0.0, 0.5, 0.50001, 1.0], bins=2)
    assert rows.tolist() == [2, 2]
    assert observed.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(predicted, [0.25, 0.750005])


def test_certain_errors_cost_a_finite_loss():
    assert log_loss([1], [0.0]) == pytest.approx(-np.log(np.finfo(float).eps))
    assert log_loss([1], [1.0]) == pytest.approx(0.0, abs=1e-15)


def test_chance_and_one_class():
    assert cohen_kappa([[7, 0], [0, 0]]) == 0.0                 # 0/0
    assert cohen_kappa([[3, 3], [5, 5]]) == pytest.approx(0.0, abs=1e-15)
    assert roc_auc([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]) == 0.5


@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(13,), (13, 1), (11, 3)]))
def test_numbers(seed, shape):
    rng = np.random.default_rng(seed)
    y, prediction = rng.normal(size=(2, *shape))
    assert rmse(y, prediction) == pytest.approx(sk.root_mean_squared_error(y, prediction))
    assert mae(y, prediction) == pytest.approx(sk.mean_absolute_error(y, prediction))
    assert r2(y, prediction) == pytest.approx(sk.r2_score(y, prediction))
    report = regression_report(y, prediction)
    assert report["baseline"] == pytest.approx(np.mean(y.std(axis=0)))
    assert {name: report[name] for name in ("rmse", "mae", "r2")} == {"rmse": rmse(y, prediction), "mae": mae(y, prediction),
                                                                    "r2": r2(y, prediction)}


@pytest.mark.parametrize(("prediction", "score"), [([3.0, 3.0], 1.0), ([3.0, 4.0], 0.0)])
def test_r2_of_a_constant_target(prediction, score):
    assert r2([3.0, 3.0], prediction) == score == sk.r2_score([3.0, 3.0], prediction)


@given(seed=st.integers(0, 10_000), classes=st.sampled_from([2, 3, 5]), shape=st.sampled_from([(7,), (2, 5, 3)]))
def test_regions(seed, classes, shape):
    rng = np.random.default_rng(seed)
    y, predicted = rng.integers(0, classes, (2, *shape))
    flat = y.ravel(), predicted.ravel()
    assert iou(y, predicted, classes) == pytest.approx(sk.jaccard_score(*flat, average="macro"))
    assert dice(y, predicted, classes) == pytest.approx(sk.f1_score(*flat, average="macro"))
    masks = y > 0, predicted > 0
    assert iou(*masks) == pytest.approx(sk.jaccard_score(*(mask.ravel() for mask in masks), zero_division=0))
    assert dice(*masks) == pytest.approx(sk.f1_score(*(mask.ravel() for mask in masks), zero_division=0))


def test_regions_of_nothing():
    empty = np.zeros((3, 4), bool)
    assert iou(empty, empty) == dice(empty, empty) == 0.0
    assert iou(empty, ~empty) == 0.0
    assert iou(~empty, ~empty) == dice(~empty, ~empty) == 1.0


def plain(value):
    """Whether a report holds nothing but what JSON knows."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    return all(map(plain, value)) if isinstance(value, list) else value is None or type(value) in (int, float, str)


@SIZES
def test_reports_are_plain_and_consistent(seed, n, classes):
    y, p = random_classes(seed, n, classes)
    report = classification_report(y, p)
    assert plain(report)
    assert report["rows"] == n
    assert report["accuracy"] == sk.accuracy_score(y, p.argmax(axis=1))
    assert report["log_loss"] == log_loss(y, p)
    assert report["calibration_error"] == expected_calibration_error(y, p)
    assert sum(report["support"]) == n
    target, scores = (y, p[:, 1]) if classes == 2 else (np.eye(classes)[y], p)
    assert report["roc_auc"] == pytest.approx(sk.roc_auc_score(target, scores))
    assert report["average_precision"] == pytest.approx(sk.average_precision_score(target, scores))
    if classes == 2:
        for single in (p[:, 1], p[:, 1:]):
            assert classification_report(y, single)["confusion_table"] == report["confusion_table"]


def test_a_class_that_does_not_occur_leaves_the_curves_out():
    y, p = random_classes(3, 29, 3)
    report = classification_report(y[y != 2], p[y != 2])
    assert report["roc_auc"] is None
    assert report["average_precision"] is None
    assert report["support"][2] == 0
    assert plain(report)


def test_regression_report_is_plain():
    assert plain(regression_report(np.arange(5), np.arange(5) + 0.5))


class TestRowwise:
    def test_class_numbers_and_one_hot(self):
        y, p = random_classes(5, 31, 7)
        right = (p.argmax(axis=1) == y).astype(np.float32)
        score = jnp.asarray(p, jnp.float32)
        np.testing.assert_array_equal(ROWWISE["accuracy"](score, jnp.asarray(y, jnp.int32)), right)
        np.testing.assert_array_equal(ROWWISE["accuracy"](score, jnp.asarray(y, jnp.uint8)), right)
        np.testing.assert_array_equal(ROWWISE["accuracy"](score, jnp.asarray(np.eye(7)[y], jnp.float32)), right)
        assert right.mean() == pytest.approx(accuracy(y, p.argmax(axis=1)))

    @pytest.mark.parametrize("shape", [((5,), (5,)), ((5, 1), (5,)), ((5, 1), (5, 1))])
    @pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32, jnp.bool_])
    def test_a_single_output_is_class_one_above_a_half(self, shape, dtype):
        prediction = jnp.array([0.1, 0.51, 0.5, 0.9, 0.7], jnp.float32).reshape(shape[0])
        target = jnp.array([0, 1, 1, 1, 0]).astype(dtype).reshape(shape[1])
        assert ROWWISE["accuracy"](prediction, target).tolist() == [1.0, 1.0, 0.0, 1.0, 0.0]

    def test_steps_of_a_sequence_are_averaged(self):
        prediction = jax.nn.one_hot(jnp.array([[0, 1, 2], [2, 2, 2]]), 5)                               # (2, 3, 5)
        assert ROWWISE["accuracy"](prediction, jnp.array([[0, 1, 2], [2, 0, 0]])).tolist() == pytest.approx([1.0, 1 / 3])

    @pytest.mark.parametrize("K", [3, 5])
    def test_regions_of_each_image_are_scikit_learns(self, K):
        rng = np.random.default_rng(K)
        p, y = rng.dirichlet(np.ones(K), (11, 2, 3)), rng.integers(0, K, (11, 2, 3))
        for name, theirs in (("iou", sk.jaccard_score), ("dice", sk.f1_score)):
            expected = [theirs(true.ravel(), q.argmax(-1).ravel(), average="macro") for true, q in zip(y, p, strict=True)]
            score = jnp.asarray(p, jnp.float32)
            for target in (y.astype(np.int32), y.astype(np.uint8), np.eye(K, dtype=np.float32)[y]):
                np.testing.assert_allclose(jax.jit(metric(name))(score, jnp.asarray(target)), expected, rtol=1e-6)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.bool_])
    def test_masks_of_each_image_are_scikit_learns(self, dtype):
        rng = np.random.default_rng(0)
        p, y = rng.uniform(size=(13, 3, 5, 1)), rng.integers(0, 2, (13, 3, 5))
        p[0], y[0] = 0.1, 0                                 # nothing there and nothing found
        p[1] = 0.1                                          # nothing found
        for name, theirs in (("iou", sk.jaccard_score), ("dice", sk.f1_score)):
            expected = [theirs(true.ravel(), q.ravel() > 0.5, zero_division=1) for true, q in zip(y[1:], p[1:], strict=True)]
            for shape in (y.shape, p.shape):
                ours = metric(name)(jnp.asarray(p, jnp.float32), jnp.asarray(y.reshape(shape)).astype(dtype))
                np.testing.assert_allclose(ours, [1.0, *expected], rtol=1e-6)

    @pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 3, 2)])
    def test_errors_of_numbers(self, shape):
        rng = np.random.default_rng(0)
        prediction, target = rng.normal(size=(2, *shape)).astype(np.float32)
        axes = tuple(range(1, len(shape)))
        for name, power in (("absolute_error", 1), ("squared_error", 2)):
            values = jax.jit(metric(name))(jnp.asarray(prediction), jnp.asarray(target))
            np.testing.assert_allclose(values, np.mean(abs(prediction - target) ** power, axis=axes), rtol=1e-5)

    @pytest.mark.parametrize(("name", "shapes", "text"), [
        ("accuracy", ((5, 3), (3,)), r"^accuracy of predictions \(5, 3\) expected class numbers \(5,\) or targets \(5, 3\), received"),
        ("accuracy", ((5,), (5, 1)), r"^accuracy of predictions \(5,\) expected targets \(5,\), received \(5, 1\); reshape the targets$"),
        ("iou", ((5, 3), (5,)), r"^iou compares regions of images and expected predictions \(n, \.\.\., K\), received \(5, 3\)$"),
        ("dice", ((5, 4, 3), (5, 3)), r"^dice of predictions \(5, 4, 3\) expected class numbers \(5, 4\) or targets \(5, 4, 3\), received"),
        ("squared_error", ((5, 1), (5,)),
         r"^squared_error expected targets of the shape of the predictions \(5, 1\), received \(5,\); reshape the targets$"),
        ("absolute_error", ((5,), (5, 1)), r"^absolute_error expected targets of the shape of the predictions \(5,\), received \(5, 1\)"),
    ])
    def test_shape_errors(self, name, shapes, text):
        with pytest.raises(ShapeError, match=text):
            metric(name)(jnp.zeros(shapes[0]), jnp.zeros(shapes[1]))

    def test_names(self):
        with pytest.raises(DeltaruleError, match=r"^unknown metric 'acuracy'; did you mean 'accuracy'\?$"):
            metric("acuracy")
        with pytest.raises(DeltaruleError, match=r"^a metric is named by a string, received None; write for example 'accuracy'$"):
            metric(None)


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: confusion_table([0, 1], [0], 2), ShapeError, r"^y and predicted must have the same shape, received \(2,\) and \(1,\)$"),
    (lambda: confusion_table([0, 2], [0, 1], 2), DataError, r"^y must hold the class numbers 0 to 1 as integers, received 0 to 2$"),
    (lambda: confusion_table([0, 1], [-1, 1], 2), DataError, r"^predicted must hold the class numbers 0 to 1 as integers, received -1"),
    (lambda: confusion_table([0.0, 1.0], [0, 1], 2), DataError, r"^y must hold the class numbers 0 to 1 as integers, received float64$"),
    (lambda: confusion_table([[0, 1]], [0], 2), ShapeError, r"^y must have shape \(n,\), received \(1, 2\); give class numbers"),
    (lambda: accuracy([], []), DataError, r"^no rows to evaluate; give at least one$"),
    (lambda: accuracy([1], [1, 2]), ShapeError, r"^y and predicted must have the same shape"),
    (lambda: precision_recall_f1([[1, 2]]), ShapeError, r"^a confusion table must be square \(classes, classes\), received \(1, 2\)$"),
    (lambda: table_report([1, 2]), ShapeError, r"^a confusion table must be square \(classes, classes\), received \(2,\)$"),
    (lambda: table_report([[0.5, 0.5], [0, 1]]), DataError, r"^a confusion table must hold counts, whole numbers from 0 on; for shares m"),
    (lambda: accuracy_within([[1, -1], [0, 1]]), DataError, r"^a confusion table must hold counts, whole numbers from 0 on"),
    (lambda: accuracy_within([[1, 0], [0, 1]], steps=-1), DataError, r"^steps is -1, expected a whole number from 0 on$"),
    (lambda: cohen_kappa([[0, 0], [0, 0]]), DataError, r"^the confusion table is empty; evaluate at least one row$"),
    (lambda: roc_curve([1, 1], [0.1, 0.2]), DataError, r"^a ROC curve needs both classes, received 2 of class 1 and 0 of class 0; eval"),
    (lambda: roc_curve([0, 1], [0.1, np.nan]), DataError, r"^scores must be finite, received NaN or infinity; look for diverg"),
    (lambda: precision_recall_curve([0, 0], [0.1, 0.2]), DataError, r"^a precision-recall curve needs class 1, received none in 2 rows"),
    (lambda: roc_auc([0, 1], np.zeros((2, 1))), ShapeError, r"^scores must have shape \(n,\) or \(n, classes\), received \(2, 1\)$"),
    (lambda: log_loss([0, 1], [[0.5, 0.5], [0.9, 0.2]]), DataError, r"^the probabilities of a row must sum to 1, .* sums to 1\.1;"),
    (lambda: log_loss([0, 1], [1.5, 0.5]), DataError, r"^probabilities must lie between 0 and 1; give the output of softmax or sigmoid$"),
    (lambda: log_loss([0, 1], [np.nan, 0.5]), DataError, r"^probabilities must lie between 0 and 1"),
    (lambda: log_loss([0], np.zeros((1, 2, 2))), ShapeError,
     r"^probabilities must have shape \(n, classes\), or \(n,\) for class 1 of two, received \(1, 2, 2\)$"),
    (lambda: log_loss([0, 1, 1], [0.5, 0.5]), ShapeError, r"^y and probabilities must have as many rows, received 3 and 2$"),
    (lambda: calibration_curve([0, 1], np.full((2, 3), 1 / 3)), ShapeError,
     r"^a calibration curve is for one class: give its probability \(n,\), received \(2, 3\)$"),
    (lambda: calibration_curve([0, 1], [0.5, 0.5], bins=0), DeltaruleError, r"^calibration needs bins .* received 0$"),
    (lambda: expected_calibration_error([0, 1], [0.5, 0.5], bins=1.5), DeltaruleError, r"^calibration needs bins .* received 1\.5$"),
    (lambda: rmse([1.0, 2.0], [[1.0], [2.0]]), ShapeError, r"^y and prediction must have the same shape, received \(2,\) and \(2, 1\)$"),
    (lambda: mae(np.zeros((2, 2, 2)), np.zeros((2, 2, 2))), ShapeError, r"^y must have shape \(n,\) or \(n, outputs\), received \(2, 2"),
    (lambda: r2([1.0, np.inf], [1.0, 2.0]), DataError, r"^y and prediction must be finite, received NaN or infinity; clean the targets"),
    (lambda: iou([[0, 1]], [0, 1]), ShapeError, r"^y and predicted must have the same shape, received \(1, 2\) and \(2,\)$"),
    (lambda: dice([[0, 1]], [[0.2, 0.9]]), DataError, r"^predicted must hold the class numbers 0 to 1 as integers, received float64$"),
    (lambda: iou([[0, 2]], [[0, 1]]), DataError, r"^y must hold the class numbers 0 to 1 as integers, received 0 to 2$"),
    (lambda: rmse([], []), DataError, r"^no rows to evaluate; give at least one$"),
])
def test_errors(make, kind, text):
    with pytest.raises(kind, match=text):
        make()
