"""The command line: what it writes, what it says, and that every mistake is one line, status 2, with nothing touched."""

import contextlib
import errno
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import deltarule as dr
from deltarule import data, modelfile
from deltarule.cli import main

FILES = ["history.csv", "model.safetensors", "report.html"]


def run(*words):
    """(status, standard output, standard error) of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def refused(*words):
    """The one line on standard error with which the command refuses."""
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("deltarule: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stars(rows=61, seed=1):
    """A table with gaps, categories, booleans and dates, as CSV lines."""
    rng = np.random.default_rng(seed)
    lines = ["mag,band,variable,night,kind"]
    for i in range(rows):
        giant = i % 2
        mag = "" if rng.random() < 0.1 else f"{rng.normal() + 4 * giant:.2f}"
        band, variable = rng.choice(["V", "R", ""]), rng.choice(["true", "false"])
        lines.append(f"{mag},{band},{variable},2024-0{1 + i % 9}-11,{'giant' if giant else 'dwarf'}")
    return lines


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with three trained models (wine, a table, a regression) and what the command said about them."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "stars.csv").write_text("\n".join(stars()) + "\n")
    said = {"wine": run("train", "wine", "--epochs", 3, "--out", folder / "wine"),
            "stars": run("train", folder / "stars.csv", "--epochs", 3, "--hidden", "5", "--json", "--out", folder / "stars"),
            "diabetes": run("train", "diabetes", "--epochs", 2, "--hidden", "none", "--quiet", "--out", folder / "diabetes")}
    return folder, said


# ------------------------------------------------------------------------------------------------------------------- train

def test_train_says_what_it_chose_and_why_and_writes_three_files(work):
    folder, said = work
    status, out, err = said["wine"]
    assert (status, err) == (0, "")
    for expected in ("178 rows, 13 columns", "every class in its share, seed 0", "nothing suspicious", "13 - 32 relu - 3 softmax",
                     "kept epoch 3 of 3", "On 36 rows never seen", "class_1, is right in 38.9%", "precision", "confusion",
                     "model.safetensors"):
        assert expected in " ".join(out.split())
    assert sorted(contents(folder / "wine")) == FILES
    history = (folder / "wine" / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,loss,accuracy"
    assert len(history) == 4
    assert "deltarule train wine --epochs 3 --seed 0" in (folder / "wine" / "report.html").read_text()


def test_train_as_json_is_one_object_that_agrees_with_the_saved_model(work):
    folder, said = work
    status, out, err = said["stars"]
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["data"]["rows"] == 61
    assert told["data"]["train_rows"] + told["data"]["test_rows"] == 61
    assert any("missing" in note for note in told["data"]["notes"])
    assert told["training"]["epochs"] == 3
    assert told["command"].endswith("stars.csv --hidden 5 --epochs 3 --seed 0")
    model = dr.load(told["files"]["model"])
    assert model.about["test"]["accuracy"] == told["result"]["accuracy"]
    _, test = data.read_table(folder / "stars.csv").split(seed=0)
    assert np.mean(model.predict(test.x) == np.array(test.class_names)[test.y]) == pytest.approx(told["result"]["accuracy"])


def test_quiet_says_the_result_in_one_line(work):
    folder, said = work
    status, out, err = said["diabetes"]
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    assert "is off by" in out
    assert str(folder / "diabetes" / "report.html") in out


def test_same_seed_same_bits(work, tmp_path):
    folder, _ = work
    assert run("train", "wine", "--epochs", 3, "--out", tmp_path)[0] == 0
    for name in ("model.safetensors", "history.csv"):
        assert (tmp_path / name).read_bytes() == (folder / "wine" / name).read_bytes()


def test_default_folder_is_named_after_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "wine", "--epochs", 3, "--quiet")[0] == 0
    assert sorted(contents(tmp_path / "runs" / "wine")) == FILES


def test_ctrl_c_keeps_what_was_learnt(tmp_path, monkeypatch):
    from deltarule.training.progress import Progress

    def interrupted(self, history, done):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "__call__", interrupted)
    status, _, err = run("train", "wine", "--epochs", 3, "--out", tmp_path, "--json")
    assert status == 130
    assert "interrupted after 1 epochs; what was learnt until then was kept and written" in err
    assert sorted(contents(tmp_path)) == FILES
    dr.load(tmp_path / "model.safetensors")


def test_ctrl_c_before_the_first_epoch_writes_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("deltarule.training.fit._advance", interrupted)
    assert run("train", "wine", "--out", tmp_path, "--json") == (130, "", "deltarule: interrupted; nothing was written\n")
    assert contents(tmp_path) == {}


# ---------------------------------------------------------------------------------------------------------- the other three

def test_predict_takes_raw_columns_in_any_order_and_ignores_others(work, tmp_path):
    folder, _ = work
    model, wine = dr.load(folder / "wine" / "model.safetensors"), data.wine()
    order = np.random.default_rng(2).permutation(13)
    table = np.column_stack([wine.x[:, order].astype(float), np.arange(178)])
    np.savetxt(tmp_path / "new.csv", table, fmt="%.9g", delimiter=",", comments="",
               header=",".join([*(wine.feature_names[j] for j in order), "bottle"]))
    status, out, err = run("predict", folder / "wine" / "model.safetensors", tmp_path / "new.csv", "--proba")
    assert status == 0
    assert err == "deltarule: note: column not used: 'bottle'\n"
    lines = out.splitlines()
    assert lines[0] == "prediction,p(class_0),p(class_1),p(class_2)"
    assert [line.split(",")[0] for line in lines[1:]] == model.predict(wine.x).tolist()
    p = np.array([line.split(",")[1:] for line in lines[1:]], np.float32)
    np.testing.assert_allclose(p, model.predict_proba(wine.x), rtol=1e-5, atol=1e-6)   # nine digits in the table


def test_predict_writes_a_file_or_json(work, tmp_path):
    folder, _ = work
    model, raw = folder / "stars" / "model.safetensors", folder / "stars.csv"
    status, out, err = run("predict", model, raw, "--out", tmp_path / "answers.csv")
    assert (status, out) == (0, "")
    assert "column not used: 'kind'" in err
    answers = (tmp_path / "answers.csv").read_text().splitlines()
    told = json.loads(run("predict", model, raw, "--json")[1])
    assert told["prediction"] == answers[1:]
    assert (told["rows"], answers[0], set(answers[1:])) == (61, "prediction", {"dwarf", "giant"})


def test_predict_notes_what_training_had_not_shown(work, tmp_path):
    folder, _ = work
    (tmp_path / "new.csv").write_text("mag,band,variable,night\n1.5,B,true,2024-01-11\n")
    status, _, err = run("predict", folder / "stars" / "model.safetensors", tmp_path / "new.csv")
    assert status == 0
    assert "'B' (1 row) not among the categories learnt" in err


def test_predict_of_numbers_has_no_probabilities(work):
    folder, _ = work
    model = folder / "diabetes" / "model.safetensors"
    assert "predicts numbers, which have no probabilities" in refused("predict", model, "x.csv", "--proba")


def test_array_files_and_bare_networks(tmp_path):
    net = dr.Network([dr.Flatten(), dr.Dense(2, "softmax")], (3, 5), seed=0)
    net.save(tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    status, out, _ = run("predict", tmp_path / "net.safetensors", tmp_path / "x.npy", "--json", "--proba")
    assert status == 0
    np.testing.assert_array_equal(np.float32([json.loads(out)[f"p({k})"] for k in range(2)]).T, net.predict(x))
    np.save(tmp_path / "wrong.npy", x[:, :2])
    assert "(7, 2, 5), expected (n, 3, 5)" in refused("predict", tmp_path / "net.safetensors", tmp_path / "wrong.npy")
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    assert "not an array file that can be read" in refused("predict", tmp_path / "net.safetensors", tmp_path / "pickle.npy")
    assert "give them as a .npy file" in refused("predict", tmp_path / "net.safetensors", "x.csv")
    flat = dr.Network([dr.Dense(2)], (2,), seed=0)
    flat.save(tmp_path / "flat.safetensors")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,5\n")
    out = run("predict", tmp_path / "flat.safetensors", tmp_path / "x.csv")[1].splitlines()
    assert out[0] == "prediction_1,prediction_2"
    np.testing.assert_array_equal(np.float32([line.split(",") for line in out[1:]]), flat.predict([[1.0, 2.0], [3.0, 5.0]]))
    assert run("inspect", tmp_path / "flat.safetensors")[0] == 0


def test_evaluate_a_file_with_the_baseline_of_the_training(work):
    folder, _ = work
    told = json.loads(run("evaluate", folder / "stars" / "model.safetensors", folder / "stars.csv", "--json")[1])["result"]
    model, whole = dr.load(folder / "stars" / "model.safetensors"), data.read_table(folder / "stars.csv")
    truth = np.array(whole.class_names)[whole.y]
    assert told["accuracy"] == pytest.approx(np.mean(model.predict(whole.x) == truth))
    assert told["rows"] == 61
    assert told["baseline"]["accuracy"] == pytest.approx(np.mean(truth == told["baseline"]["answer"]))


def test_evaluate_a_data_set(work):
    folder, _ = work
    status, out, err = run("evaluate", folder / "diabetes" / "model.safetensors", "diabetes")
    assert "On 442 rows of diabetes the prediction" in " ".join(out.split())     # they need not be new to the model
    assert status == 0
    assert "RMSE" in out
    assert "so this result flatters it" in err
    assert "does not fit iris: it predicts the classes class_0" in refused("evaluate", folder / "wine" / "model.safetensors", "iris")


def test_inspect_tells_everything_and_that_the_checks_passed(work):
    folder, _ = work
    path = folder / "stars" / "model.safetensors"
    status, out, _ = run("inspect", path)
    assert status == 0
    for expected in ("dense_1", "one of 2 categories ('R', 'V') or other", "missing:", "CrossEntropy", "deltarule train",
                     "SHA-256", "8 probe rows give the stored outputs", f"deltarule {dr.__version__}"):
        assert expected in out
    told = json.loads(run("inspect", path, "--json")[1])
    assert told["probes"] == "passed"
    assert told["sha256"] in out
    assert told["classes"] == ["dwarf", "giant"]
    assert [row["path"] for row in told["summary"]] == ["dense_1", "dense_2"]
    assert told["parameters"] == sum(row["parameters"] for row in told["summary"])


def test_version_and_help():
    assert run("--version") == (0, f"deltarule {dr.__version__}\n", "")
    for words in ([], ["--help"], ["train", "--help"], ["predict", "-h"]):
        status, out, err = run(*words)
        assert (status, err) == (0, "")
        assert "Usage: deltarule" in out


# ------------------------------------------------------------------------------------------------------------- bad input

TABLES = {
    "empty.csv": "",
    "two.csv": "a,b\n1.5,2.5\n2.5,3.5\n",
    "constant.csv": "a,b\n" + "".join(f"{i},7\n" for i in range(20)),
    "once.csv": "a,kind\n" + "".join(f"{i},{'x' if i < 10 else 'y'}\n" for i in range(20)) + "5,z\n",
    "infinite.csv": "a,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)) + "inf,x\n",
    "gap.csv": "a,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)) + "5,\n",
    "nan.csv": "a,b\n" + "".join(f"{i},{i}.5\n" for i in range(20)) + "5,NaN\n",
    "endless.csv": "a,b\n" + "".join(f"{i},{i}.5\n" for i in range(20)) + "5,-inf\n",
    "word.csv": "a,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)) + "five,x\n",
    "late.csv": "year,a,kind\n" + "".join(f"{2000 + i},{i % 7},{'x' if i < 32 else 'y'}\n" for i in range(40)),
    "ragged.csv": "a,kind\n1,x\n2\n",
}


@pytest.mark.parametrize(("words", "expected"), [
    (["nowhere.csv"], "there is no file nowhere.csv"),
    (["empty.csv"], "empty.csv is empty"),
    (["wines"], "there is no data set and no file 'wines'; did you mean 'wine'?; a table file ends in .csv"),
    (["qqq"], "the data sets are breast_cancer, circles"),
    (["two.csv"], "two.csv has 2 rows, expected at least 10"),
    (["xor"], "xor has 4 rows, expected at least 10"),
    (["gap.csv", "--target", "knid"], "has no column 'knid'; did you mean 'kind'?"),
    (["constant.csv"], "target 'b' is constant"),
    (["once.csv"], "class 'z' is seen once"),
    (["infinite.csv"], "line 22, column 'a': inf is not finite"),
    (["gap.csv"], "line 22, column 'kind': the target is missing"),
    (["nan.csv"], "line 22, column 'b': the target is missing"),
    (["endless.csv"], "line 22, column 'b': -inf is not finite"),
    (["word.csv"], "line 22, column 'a': 'five' is text where numbers were expected"),
    (["late.csv", "--split", "time:year"], "the training part holds only 'x' as 'kind'; choose another --split"),
    (["ragged.csv"], "ragged.csv, line 3"),
    (["wine", "--hidden", "abc"], "--hidden expected whole numbers of units separated by commas, such as 64,64, or none, received 'abc'"),
    (["wine", "--hidden", "8,0"], "--hidden expected whole numbers"),
    (["wine", "--epochs", "0"], "--epochs"),
    (["wine", "--epochs", "two"], "--epochs"),
    (["wine", "--seed", "-1"], "--seed"),
    (["wine", "--learning-rate", "0"], "--learning-rate expected a number above 0, such as 0.001, received 0.0"),
    (["wine", "--learning-rate", "nan"], "--learning-rate expected a number above 0"),
    (["wine", "--activation", "rleu"], "unknown activation 'rleu'; did you mean 'relu'"),
    (["wine", "--dropout", "1.5"], "rate from 0 up to but not 1, received 1.5"),
    (["wine", "--test", "1.5"], "test is 1.5, expected a share of the rows between 0 and 1"),
    (["wine", "--split", "sideways"], "--split is 'sideways', expected auto, random"),
    (["wine", "--split", "group"], "--split is 'group', expected auto, random"),
    (["wine", "--split", "group:grower"], "wine has no column 'grower'"),
    (["wine", "--target", "alcohol"], "--target is for table files; wine has the target 'class'"),
    (["wine", "--problem", "regression"], "--problem is for table files; wine is a classification problem"),
    (["wine", "--drop", "alcohol"], "--drop is for table files"),
    (["wine", "--data-dir", "."], "--data-dir says where the MNIST files are"),
    (["mnist", "--data-dir", "."], ". does not hold MNIST"),
    (["late.csv", "--problem", "guess"], "problem is 'guess', expected 'classification' or 'regression'"),
    (["late.csv", "--drop", "yaer"], "has no column 'yaer'; did you mean 'year'?"),
    (["wine", "--colour"], "No such option"),
    ([], "Missing argument 'SOURCE'"),
])
def test_train_refuses_in_one_line(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    assert expected in refused("train", *words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in TABLES]


@pytest.mark.parametrize(("table", "expected"), [
    ("mag,band,night\n1,V,2024-01-11\n", "column missing: 'variable'"),
    ("mag\n1\n", "columns missing: 'band', 'variable', 'night'"),
    ("mag,band,variable,night\nbright,V,true,2024-01-11\n", "line 2, column 'mag': 'bright' is text where numbers were expected"),
    ("mag,band,variable,night\ninf,V,true,2024-01-11\n", "inf is not finite"),
    ("mag,band,variable,night\n1e300,V,true,2024-01-11\n", "too far from those of the training part"),
    ("mag,band,variable,night\n1,V,maybe,2024-01-11\n", "where true or false was expected"),
    ("mag,band,variable,night\n", "new.csv"),
    ("", "new.csv is empty"),
])
def test_predict_refuses_in_one_line(table, expected, work, tmp_path):
    (tmp_path / "new.csv").write_text(table)
    (tmp_path / "answers.csv").write_text("old")
    model = work[0] / "stars" / "model.safetensors"
    assert expected in refused("predict", model, tmp_path / "new.csv", "--out", tmp_path / "answers.csv")
    assert (tmp_path / "answers.csv").read_text() == "old"


@pytest.mark.parametrize(("change", "expected"), [
    (lambda good: good[:-40], "is truncated"),
    (lambda good: good[:5], "it has only 5 bytes"),
    (lambda good: good[:-1] + bytes([good[-1] ^ 1]), "was altered or damaged"),
    (lambda good: good.replace(b'"format_version":"1"', b'"format_version":"2"'), "was written by a newer deltarule"),
    (lambda good: b"PK\3\4PK\3\4" + good[8:], "is no model file"),
])
@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect"])
def test_damaged_model_files_are_refused(change, expected, command, work, tmp_path):
    folder, _ = work
    good = (folder / "stars" / "model.safetensors").read_bytes()
    (tmp_path / "bad.safetensors").write_bytes(change(good))
    words = [tmp_path / "bad.safetensors"] + ([folder / "stars.csv"] if command != "inspect" else [])
    assert expected in refused(command, *words)


def test_a_model_that_answers_otherwise_than_when_saved_is_refused(work, tmp_path):
    header, arrays = modelfile.read_model(work[0] / "stars" / "model.safetensors")
    arrays["probes/outputs"] = arrays["probes/outputs"] + 0.25
    modelfile.write_model(tmp_path / "other.safetensors", header, arrays)
    assert "gives other outputs for its probe rows" in refused("inspect", tmp_path / "other.safetensors")


@pytest.mark.parametrize(("table", "words", "expected"), [
    ("mag,band,variable,night\n1,V,true,2024-01-11\n", [], "has no column 'kind'"),
    ("mag,band,variable,night,kind\n1,V,true,2024-01-11,nova\n", [], "holds the class 'nova'"),
    ("mag,band,variable,night,kind\n1,V,true,2024-01-11,\n", [], "missing values"),
    ("mag,band,variable,night,kind\n1,V,true,2024-01-11,dwarf\n", ["--target", "sort"], "has no column 'sort'"),
])
def test_evaluate_refuses_in_one_line(table, words, expected, work, tmp_path):
    (tmp_path / "new.csv").write_text(table)
    assert expected in refused("evaluate", work[0] / "stars" / "model.safetensors", tmp_path / "new.csv", *words)


def test_missing_model_and_other_files(work, tmp_path):
    assert "it does not exist" in refused("inspect", tmp_path / "none.safetensors")
    assert "a folder" in refused("inspect", tmp_path)
    model = work[0] / "stars" / "model.safetensors"
    assert "there is no file" in refused("predict", model, tmp_path / "none.csv")
    assert "cannot be read" in refused("predict", model, tmp_path / "none.npy")
    assert "holds no targets" in refused("evaluate", model, tmp_path / "none.npy")
    assert "No such command 'trian'. Did you mean 'train'" in refused("trian")


# --------------------------------------------------------------------------------------------------------------- the folder

def test_folder_that_cannot_be_written_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("deltarule.model.Model.train", None)    # would fail if it were called
    (tmp_path / "file").write_text("old")
    assert "is a file, not a folder" in refused("train", "wine", "--out", tmp_path / "file" / "run")
    assert "a file of this name is in the way" in refused("train", "wine", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_are_not_overwritten(name, tmp_path):
    (tmp_path / name).write_text("not ours")
    assert f"{name} was not written by deltarule, so it is not overwritten" in refused("train", "wine", "--out", tmp_path)
    assert contents(tmp_path) == {name: b"not ours"}
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert "is a folder, expected a file or nothing" in refused("train", "wine", "--out", tmp_path)


def test_disk_full_while_saving_leaves_the_old_files(work, tmp_path, monkeypatch):
    from deltarule.cli import train

    folder, _ = work
    old = contents(folder / "wine")
    for name, content in (old | {"mine.txt": b"mine"}).items():
        (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    draw = train.report

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    def draw_then_full(*arguments):
        page = draw(*arguments)                 # the model is on the disk already when the report no longer fits
        monkeypatch.setattr(os, "fsync", full)
        return page

    monkeypatch.setattr(train, "report", draw_then_full)
    err = refused("train", "wine", "--epochs", 3, "--seed", 1, "--out", tmp_path, "--json")
    assert "no space left on the disk" in err
    assert str(tmp_path / "report.html") in err
    assert contents(tmp_path) == before


def test_a_second_run_replaces_all_three_and_nothing_else(work, tmp_path):
    folder, _ = work
    for name, content in (contents(folder / "wine") | {"mine.txt": b"mine"}).items():
        (tmp_path / name).write_bytes(content)
    assert run("train", "wine", "--epochs", 3, "--seed", 1, "--quiet", "--out", tmp_path)[0] == 0
    after = contents(tmp_path)
    assert sorted(after) == sorted([*FILES, "mine.txt"])
    assert after["mine.txt"] == b"mine"
    assert all(after[name] != (folder / "wine" / name).read_bytes() for name in FILES)


# ------------------------------------------------------------------------------------------------------------ other failures

@pytest.mark.parametrize(("error", "status", "expected"), [
    (MemoryError(), 2, "not enough memory"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 2, "not enough memory"),
    (OSError(errno.EIO, "Input/output error", "disk"), 2, "disk: the disk reports an error"),
    (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
    (dr.DeltaruleError("two\nlines \x1b[31m"), 2, "two lines \\x1b[31m"),
])
def test_failures_beyond_the_data_are_one_line_too(error, status, expected, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("deltarule.cli.train.open_data", fail)
    assert run("train", "wine") == (status, "", f"deltarule: {expected}" + ("" if "memory" not in expected else MEMORY) + "\n")


MEMORY = " for these data and this network; take fewer rows, or a smaller --hidden or --batch-size"


@pytest.mark.parametrize("error", [TypeError("a bug"), RuntimeError("a bug")])
def test_a_bug_of_ours_is_not_hidden(error, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("deltarule.cli.train.open_data", fail)
    with pytest.raises(type(error), match="a bug"):
        run("train", "wine")


def test_as_a_process(work, tmp_path):
    """Status and streams of the real command: a mistake, a reader that has gone, a full standard output."""
    folder, _ = work

    def command(*words, **options):
        return subprocess.run([sys.executable, "-m", "deltarule", *map(str, words)], cwd=tmp_path, stderr=subprocess.PIPE, check=False,
                              **options)

    mistake = command("train", "nowhere.csv", stdout=subprocess.PIPE)
    assert (mistake.returncode, mistake.stdout) == (2, b"")
    assert mistake.stderr == b"deltarule: there is no file nowhere.csv\n"
    reading, writing = os.pipe()
    os.close(reading)
    gone = command("inspect", folder / "wine" / "model.safetensors", stdout=writing)
    os.close(writing)
    assert (gone.returncode, gone.stderr) == (0, b"")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as stream:
            full = command("--version", stdout=stream)
        assert full.returncode == 2
        assert full.stderr == b"deltarule: standard output: no space left on the disk; free some or choose another place\n"
