"""The command line on tables of sequences, from training to predictions, and its answers to missing and wrong options."""

import json

import numpy as np
import polars as pl
import pytest

from deltarule.cli import main


def table(path, n, seed, label=True):
    """Sequences that rise or fall, under noise, of 4 to 9 steps."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        kind = i % 2
        t = np.cumsum(rng.uniform(0.5, 1.5, rng.integers(4, 10)))
        for time, value in zip(t, rng.normal() + (2 * kind - 1) * t + 0.1 * rng.normal(size=len(t)), strict=True):
            rows.append((f"s{i}", time, value, ("falls", "rises")[kind]))
    frame = pl.DataFrame(rows, schema=["name", "t", "v", "kind"], orient="row")
    (frame if label else frame.drop("kind")).write_csv(path)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    curves = table(folder / "curves.csv", 60, 0)
    assert main(["train", curves, "--target", "kind", "--id", "name", "--time", "t", "--out", str(folder / "run"), "--epochs", "12",
                 "--quiet"]) == 0
    return folder


def test_a_table_of_sequences_is_learnt_and_reported(trained, capsys):
    page = (trained / "run" / "report.html").read_text()
    for text in ("60: 48 to train on, 12 to test", "sequences, 9 x 3 (steps x channels): t since the step before, v, there", "GRU 32",
                 "no test sequence stands in the training part", "(value - mean of the sequence)"):
        assert text in page
    assert main(["inspect", str(trained / "run" / "model.safetensors")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "--target kind --id name --time t" in told
    assert "inputs sequences 9 x 3 (steps x channels) t since the step before" in told


def test_new_sequences_are_predicted_by_name(trained, tmp_path, capsys):
    new = table(tmp_path / "new.csv", 20, 1, label=False)
    assert main(["predict", str(trained / "run" / "model.safetensors"), new]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,prediction"
    said = dict(line.split(",") for line in lines[1:])
    assert list(said) == [f"s{i}" for i in range(20)]
    assert np.mean([said[f"s{i}"] == ("falls", "rises")[i % 2] for i in range(20)]) >= 0.9


def test_sequences_with_answers_are_evaluated(trained, tmp_path, capsys):
    answered = table(tmp_path / "answered.csv", 20, 2)
    assert main(["evaluate", str(trained / "run" / "model.safetensors"), answered, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["accuracy"] >= 0.9


def test_sequences_of_one_row_are_answered_too(trained, tmp_path, capsys):
    """Such a table cannot be learnt from, but it can be asked about."""
    model, one = str(trained / "run" / "model.safetensors"), tmp_path / "one.csv"
    one.write_text("name,t,v,kind\na,1,-7,falls\nb,2,7,rises\n")
    assert main(["predict", model, str(one)]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["name", "a", "b"]
    assert main(["evaluate", model, str(one)]) == 0
    assert "On 2 sequences" in capsys.readouterr().out


def test_what_goes_on_inside_is_traced(trained, capsys):
    assert main(["trace", str(trained / "run" / "model.safetensors"), str(trained / "curves.csv"), "--row", "3", "--layer", "gru_1",
                 "--step", "2"]) == 0
    told = capsys.readouterr().out
    assert "traced          row 3 of" in told
    assert "gru_1, unit 0, step 2" in told


def test_numbers_are_learnt_from_sequences(tmp_path, capsys):
    frame = pl.read_csv(table(tmp_path / "plain.csv", 40, 0)).with_columns(pl.col("v").mean().over("name").alias("level"))
    frame.write_csv(tmp_path / "levels.csv")
    assert main(["train", str(tmp_path / "levels.csv"), "--target", "level", "--id", "name", "--time", "t", "--values", "v",
                 "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    assert "On 8 sequences never seen in training the prediction of level is off by" in " ".join(capsys.readouterr().out.split())


def test_times_may_be_those_since_the_row_before(tmp_path, capsys):
    """The same sequences in both ways of writing: the same network, the same predictions of new ones."""
    said = []
    for write in (lambda frame: frame, lambda frame: frame.with_columns(pl.col("t").diff().over("name").fill_null(pl.col("t")))):
        for name, n, seed in (("curves", 40, 0), ("new", 12, 1)):
            write(pl.read_csv(table(tmp_path / "plain.csv", n, seed))).write_csv(tmp_path / f"{name}.csv")
        options = ["--differences"] if said else []
        assert main(["train", str(tmp_path / "curves.csv"), "--target", "kind", "--id", "name", "--time", "t", "--epochs", "3", "--quiet",
                     "--out", str(tmp_path / "run"), *options]) == 0
        capsys.readouterr()
        assert main(["predict", str(tmp_path / "run" / "model.safetensors"), str(tmp_path / "new.csv"), "--proba"]) == 0
        said.append([line.split(",")[2:] for line in capsys.readouterr().out.splitlines()[1:]])
    probabilities = np.array(said, float)
    assert probabilities.shape == (2, 12, 2)
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-3)


def test_sequences_are_checked_before_training(trained, capsys):
    curves = str(trained / "curves.csv")
    assert main(["check", curves, "--target", "kind", "--id", "name", "--time", "t", "--recurrent", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["rows"] == 60
    assert "GRU 8" in found["network"]
    assert not [check for check in found["checks"] if check["verdict"] == "problem"]
    assert main(["check", curves, "--target", "kind", "--time", "t"]) == 2
    assert "--time is for tables of sequences; name with --id" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "message"), [
    (["--target", "kind", "--differences"], "--differences is for tables of sequences; name with --id"),
    (["--target", "kind", "--id", "name", "--differences"],
     "--differences says that a column holds the time since the row before; name it with --time"),
    (["--target", "kind", "--time", "t"],
     "--time is for tables of sequences; name with --id the column that says which rows belong together"),
    (["--target", "kind", "--values", "v"], "--values is for tables of sequences; name with --id"),
    (["--id", "name"], "--target is missing: which column says what each sequence is?"),
    (["--target", "kind", "--id", "nmae"], "has no column 'nmae'; did you mean 'name'?"),
    (["--target", "kind", "--id", "name", "--drop", "v"], "--drop is for tables of rows; name the columns that are measured with --values"),
    (["--target", "kind", "--id", "v"], "no value of 'v' occurs twice, so every sequence would have one row"),
    (["--target", "kind", "--id", "name", "--recurrent", "x"], "--recurrent expected whole numbers of units separated by commas"),
])
def test_mistakes(trained, capsys, options, message):
    assert main(["train", str(trained / "curves.csv"), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_sequences_are_for_files_and_models_of_them(trained, tmp_path, capsys):
    assert main(["train", "iris", "--id", "name"]) == 2
    assert "--id is for table files that hold sequences, one row for each step; iris is none" in capsys.readouterr().err
    (tmp_path / "other.csv").write_text("name,v\na,1\na,2\n")
    assert main(["predict", str(trained / "run" / "model.safetensors"), str(tmp_path / "other.csv")]) == 2
    assert "has no column 't'" in capsys.readouterr().err
