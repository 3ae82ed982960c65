"""The check before training: every line says "ok" where all is well and something else where its fault is; network and data stay."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

import deltarule as dr
from deltarule.cli import main
from deltarule.preflight import Check, Checks, learning, table
from deltarule.training import prepare

ROWS, INPUTS, UNITS, CLASSES = 211, 5, 23, 3
X = np.random.default_rng(0).normal(size=(ROWS, INPUTS)).astype("float32")
Y = np.digitize(X[:, 0] * X[:, 1] + X[:, 2], [-0.6, 0.6])
Z = (X[:, :1] * X[:, 1:2] + X[:, 2:3]).astype("float32")


def classifier(hidden="tanh"):
    return dr.Network([dr.Dense(UNITS, hidden), dr.Dense(CLASSES, "softmax")], INPUTS)


def regressor():
    return dr.Network([dr.Dense(UNITS, "tanh"), dr.Dense(1)], INPUTS)


def verdicts(checks):
    return {check.what: check.verdict for check in checks}


@pytest.fixture(scope="module")
def healthy():
    return dr.check(classifier(), X, Y)


@pytest.fixture(scope="module")
def healthy_numbers():
    return dr.check(regressor(), X, Z)


# ------------------------------------------------------------------------------------------------------ what is well

def test_where_all_is_well_every_line_says_so(healthy):
    assert verdicts(healthy) == dict.fromkeys(
        ["missing values", "input scale", "constant columns", "equal columns", "target given away", "repeated rows", "label balance",
         "loss at the start", "learning rates", "one batch", "labels shuffled", "baseline to beat", "rows per parameter"], "ok")
    assert healthy.ok
    assert healthy.seen == "211 rows, 169 to learn from and 42 held out; loss cross entropy"
    assert healthy.summary == "0 problems and 0 warnings in 13 checks"
    assert "ln 3 is 1.1, up to 2 times that is usual" in healthy["loss at the start"].evidence
    assert "learnt by heart" in healthy["one batch"].evidence
    assert healthy["label balance"].evidence.startswith("3 classes of")


def test_numbers_to_predict_are_looked_at_as_such(healthy_numbers):
    assert set(verdicts(healthy_numbers).values()) == {"ok"}
    assert "label balance" not in verdicts(healthy_numbers)
    assert f"spread {Z.std():.3g}" in healthy_numbers["target scale"].evidence
    assert f"the variance of the targets is {Z.var():.3g}" in healthy_numbers["loss at the start"].evidence


def test_the_numbers_are_there_for_later_steps(healthy, healthy_numbers):
    train, _ = prepare.held_out(0.2, X, Y, 0)
    assert healthy.numbers["loss_at_start"] == pytest.approx(classifier().evaluate(X[train], Y[train])["loss"], rel=1e-5)
    rates = healthy.numbers["rates"]
    assert rates["lowest"] <= 1e-3 <= rates["suggested"] <= rates["highest"] < 10
    assert list(healthy.numbers["baselines"]) == ["majority", "logistic regression", "this network after 200 steps"]
    assert list(healthy_numbers.numbers["baselines"]) == ["mean", "ridge regression", "this network after 200 steps"]


def test_the_same_seed_says_the_same_and_nothing_is_changed(healthy):
    net, x, y = classifier(), X.copy(), Y.copy()
    before = jax.tree.map(np.copy, net.params)
    assert str(dr.check(net, x, y)) == str(healthy)
    jax.tree.map(np.testing.assert_array_equal, before, net.params)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert (net.training, net.epochs_trained) == ({}, 0)


def test_a_trained_network_is_checked_with_its_first_weights(healthy):
    net = classifier()
    net.fit(X, Y, epochs=1, progress=False)
    assert str(dr.check(net, X, Y)) == str(healthy)


# ------------------------------------------------------------------------------------------------------- faulty data

def test_missing_values_are_counted_and_left_out():
    x = X.copy()
    x[[3, 5], 1], x[7, 2] = np.nan, np.inf
    checks = dr.check(regressor(), x, Z)
    assert checks["missing values"].verdict == "problem"
    assert checks["missing values"].evidence == "3 inputs in column 1, 2 not finite; 3 of 211 rows were left out here"
    assert checks.seen.startswith("208 rows")
    good, missing = table.finite_rows(X, np.where(np.arange(ROWS) == 4, np.nan, 1.0))
    assert good.sum() == ROWS - 1
    assert missing.evidence == "0 inputs, 1 targets not finite; 1 of 211 rows were left out here"


def test_scale_of_inputs():
    assert table.input_scale(X).verdict == "ok"
    wide = X * np.array([1, 50, 1, 1, 1])
    assert table.input_scale(wide).verdict == "warning"
    assert "beyond 10: column 1" in table.input_scale(wide).evidence
    assert table.input_scale(X + 1e5).verdict == "problem"
    assert table.input_scale(X / 100).verdict == "warning"
    assert table.input_scale((255 * np.random.default_rng(0).random((7, 3, 3, 1))).astype("uint8")).verdict == "warning"


def test_constant_equal_and_telling_columns():
    x = np.c_[X[:, :2], np.ones(ROWS), X[:, 0], Y].astype("float32")
    checks = dr.check(classifier(), x, Y)
    assert checks["constant columns"].evidence == "1 column with one value only: 'x2'"
    assert checks["equal columns"].evidence == "1 column repeated: 'x3' = 'x0'"
    assert "'x4' alone predicts 'y' in 100.0 %" in checks["target given away"].evidence
    assert checks["target given away"].verdict == "warning"


def test_repeated_rows():
    assert table.repeated_rows(X, Y).verdict == "ok"
    x, y = X.copy(), Y.copy()
    x[1], y[1] = x[0], y[0]
    assert (table.repeated_rows(x, y).verdict, table.repeated_rows(x, y).evidence) == ("note", "1 of 211 rows repeat another")
    x[100:150], y[100:150] = x[50:100], y[50:100]
    assert table.repeated_rows(x, y).verdict == "warning"
    y[1] = y[0] + 1
    assert "51 of 211 rows repeat another; 2 equal rows have different targets" in table.repeated_rows(x, y).evidence


def test_balance_of_labels_and_scale_of_targets():
    rare = np.where(np.arange(ROWS) < 3, 1, 0)
    checks = dr.check(classifier(), X, rare)
    assert checks["label balance"].verdict == "warning"
    assert "of '0'" in checks["label balance"].evidence
    same = dr.check(classifier(), X, np.zeros(ROWS, int))
    assert same["label balance"].verdict == "problem"
    assert "one batch" not in verdicts(same)        # there is nothing to learn
    assert table.target_scale(Z).verdict == "ok"
    assert table.target_scale(Z + 300).verdict == table.target_scale(Z / 99).verdict == "warning"
    assert table.target_scale(np.ones((7, 1))).verdict == "problem"


# -------------------------------------------------------------------------------------------------- what learning shows

def scaled(net, factor):
    net.params = jax.tree.map(lambda values: (factor * values).astype("float32"), net.params)
    return net


def test_weights_that_are_far_too_large_or_zero():
    checks = dr.check(scaled(classifier(), 40), X, Y)
    assert checks["loss at the start"].verdict == "warning"
    assert dr.check(scaled(regressor(), 40), X, Z)["loss at the start"].verdict == "warning"
    still = dr.check(scaled(classifier("relu"), 0), X, Y)     # only the last bias can move
    assert still["one batch"].verdict == "problem"
    assert still["labels shuffled"].verdict == "warning"
    assert not still.ok


def test_a_network_that_knows_too_much_at_the_start():
    net = classifier()
    net.fit(X, Y, optimizer=dr.Adam(0.03), epochs=60, progress=False)
    knowing = classifier()
    knowing.params = net.params
    assert dr.check(knowing, X, Y)["loss at the start"].verdict == "warning"


def test_labels_in_the_wrong_order_teach_nothing():
    checks = dr.check(classifier(), X, np.random.default_rng(1).permutation(Y))
    assert checks["labels shuffled"].verdict == "warning"
    assert "no better" in checks["labels shuffled"].evidence
    assert checks["baseline to beat"].verdict in ("warning", "note")
    assert checks["one batch"].verdict == "ok"      # a few rows can be learnt by heart all the same


def test_a_linear_model_cannot_learn_what_is_not_linear():
    net = dr.Network([dr.Dense(1)], INPUTS)
    checks = dr.check(net, X, (X[:, :1] * X[:, 1:2]).astype("float32"))
    assert checks["one batch"].verdict in ("warning", "problem")


def test_rates():
    tried = dr.check(classifier(), X, Y, optimizer=dr.SGD(77.0))["learning rates"]
    assert tried.verdict == "warning"
    assert "GradientDescent is usable from" in tried.evidence
    assert "77, which was to be used, is above" in tried.evidence
    assert "is below" in dr.check(classifier(), X, Y, optimizer=dr.SGD(1e-6))["learning rates"].evidence


def test_the_baselines_are_those_of_scikit_learn(healthy, healthy_numbers):
    train, held = prepare.held_out(0.2, X, Y, 0)
    x = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    told = healthy.numbers["baselines"]
    assert told["majority"] == np.mean(Y[held] == np.bincount(Y[train]).argmax())
    assert told["logistic regression"] == pytest.approx(LogisticRegression().fit(x[train], Y[train]).score(x[held], Y[held]), abs=0.03)
    train, held = prepare.held_out(0.2, X, Z, 0)
    x = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    told = healthy_numbers.numbers["baselines"]
    assert told["mean"] == pytest.approx(np.mean((Z[held] - Z[train].mean()) ** 2), rel=1e-5)
    ridge = Ridge().fit(x[train], Z[train]).predict(x[held]).reshape(-1, 1)
    assert told["ridge regression"] == pytest.approx(np.mean((Z[held] - ridge) ** 2), rel=1e-4)


def test_rows_per_parameter():
    assert learning.rows_per_parameter(100, 10).verdict == "ok"
    assert learning.rows_per_parameter(10, 100).verdict == "note"
    assert "10 rows for 100 parameters: 0.1 for each" in learning.rows_per_parameter(10, 100).evidence


def test_yes_or_no_one_hot_and_dropout_in_float64():
    net = dr.Network([dr.Dense(UNITS, "tanh"), dr.Dropout(0.1), dr.Dense(1, "sigmoid")], INPUTS, dtype="float64")
    checks = dr.check(net, X, (Z > 0).astype(float))
    assert "ln 2 is 0.693" in checks["loss at the start"].evidence
    assert checks["label balance"].evidence.startswith("2 classes")
    assert checks.ok
    one_hot = dr.check(classifier(), X, np.eye(CLASSES, dtype="float32")[Y], loss=dr.losses.CrossEntropy(0.1))
    assert one_hot["one batch"].verdict == "ok"


def test_many_rows_are_sampled():
    x, y = np.tile(X, (13, 1)) + np.float32(0.01) * np.arange(13 * ROWS, dtype="float32")[:, None] % 1, np.tile(Y, 13)
    checks = dr.check(classifier(), x, y)
    assert checks.seen.startswith("2,000 of 2,743 rows")
    assert checks["rows per parameter"].evidence.startswith("2,743 rows")


# ---------------------------------------------------------------------------------------------------- report and errors

def test_the_report_is_a_table_and_plain_json(healthy):
    told = json.loads(json.dumps(healthy.to_json(), allow_nan=False))
    assert (told["ok"], told["problems"], told["warnings"], len(told["checks"])) == (True, 0, 0, 13)
    assert told["checks"][0] == {"verdict": "ok", "what": "missing values", "evidence": "none: every number is finite", "next_step": ""}
    lines = str(healthy).splitlines()
    assert lines[0].startswith("checked: 211 rows")
    assert lines[-1] == healthy.summary
    assert max(map(len, lines)) <= 110
    assert repr(healthy) == str(healthy)
    assert healthy[0].what == "missing values"
    one = Checks([Check("problem", "a", "b"), Check("warning", "c", "d", "e")], "f", {})
    assert one.summary == "1 problem and 1 warning in 2 checks"
    assert [check.what for check in one.warnings] == ["c"]


def test_mistakes_are_told():
    expected = r"check expected x \(n, ...\) and y \(n, ...\) of the same length, received \(211, 5\) and \(3,\)"
    with pytest.raises(dr.ShapeError, match=expected):
        dr.check(classifier(), X, Y[:3])
    with pytest.raises(dr.DataError, match="check expected at least 10 rows of finite numbers, received 9"):
        dr.check(classifier(), X[:9], Y[:9])
    with pytest.raises(dr.ShapeError, match=r"x has shape \(211, 4\), the network expects \(n, 5\)"):
        dr.check(classifier(), X[:, :4], Y)
    with pytest.raises(dr.DeltaruleError, match="expected class numbers from 0 to 2 for 3 outputs, received 3"):
        dr.check(classifier(), X, Y + 1)
    with pytest.raises(dr.DeltaruleError, match="unknown optimizer 'adm'; did you mean 'adam'"):
        dr.check(classifier(), X, Y, optimizer="adm")
    with pytest.raises(dr.DeltaruleError, match="a verdict is 'ok', 'note', 'warning' or 'problem', received 'good'"):
        Check("good", "a", "b")
    with pytest.raises(dr.DeltaruleError, match="there is no check 'b' here; there are a"):
        Checks([Check("ok", "a", "b")], "c", {})["b"]


# ------------------------------------------------------------------------------------------------------ the command line

def run(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """A table with a gap, a category, a constant column and a target."""
    file = tmp_path_factory.mktemp("check") / "stars.csv"
    bands = ["" if i == 4 else "VR"[i % 2] for i in range(ROWS)]
    lines = [f"{x[0]:.3f},{x[1]:.3f},{band},7,{'giant' if x[0] > 0 else 'dwarf'}" for band, x in zip(bands, X, strict=True)]
    file.write_text("\n".join(["mag,colour,band,telescope,kind", *lines]) + "\n")
    return file


def test_the_command_prints_the_table(stars):
    status, out, err = run("check", stars, "--target", "kind", "--hidden", "7")
    assert (status, err) == (0, "")
    text = " ".join(out.split())
    for expected in ("stars.csv: 211 rows, target 'kind', classification", "- 7 relu - 1 sigmoid, binary cross entropy",
                     "note missing values 1 in the columns 'band' (1)", "'telescope'", "'mag' alone predicts 'kind'",
                     "logistic regression"):
        assert expected in text
    assert out.splitlines()[-1].endswith("checks")


def test_the_command_as_json(stars):
    status, out, err = run("check", stars, "--target", "kind", "--hidden", "7", "--json", "--drop", "telescope")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["data"]["rows"] == ROWS
    assert told["network"].endswith("- 7 relu - 1 sigmoid")
    assert {check["what"]: check["verdict"] for check in told["checks"]}["constant columns"] == "ok"
    assert told["numbers"]["rates"]["lowest"] > 0


def test_the_command_checks_numbers_and_data_sets_too():
    status, out, _ = run("check", "diabetes", "--hidden", "none")
    assert status == 0
    assert "ridge regression" in " ".join(out.split())


@pytest.mark.parametrize(("words", "message"), [
    (["nonsense"], "there is no data set and no file 'nonsense'"),
    (["wine", "--target", "colour"], "--target is for table files"),
    (["wine", "--hidden", "a"], "--hidden expected whole numbers of units"),
    (["wine", "--activation", "rely"], "did you mean 'relu'"),
    (["missing.csv"], "missing.csv"),
    ([], "Missing argument"),
])
def test_mistakes_on_the_command_line_are_one_line(words, message):
    status, out, err = run("check", *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
