"""deltarule trace and deltarule doctor on saved models."""

import json
import re

import numpy as np
import pytest

import deltarule as dr
from deltarule.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("see")
    assert main(["train", "wine", "--epochs", "12", "--hidden", "5", "--quiet", "--out", str(folder / "wine")]) == 0
    assert main(["train", "diabetes", "--epochs", "2", "--hidden", "none", "--quiet", "--out", str(folder / "diabetes")]) == 0
    return folder


def said(capsys, *arguments):
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr()


def test_the_table_of_all_rows_is_that_of_the_trace(models, capsys):
    model, wine = dr.load(models / "wine/model.safetensors"), dr.data.wine()
    out = said(capsys, "trace", models / "wine/model.safetensors", "wine").out
    expected = model.trace(wine.x, wine.y)
    assert f"178 rows of wine: loss {expected.loss:.4g}" in out
    assert str(expected.table()) in out


def test_one_row_and_one_unit_with_figures_and_arrays(models, capsys, tmp_path):
    model, wine = dr.load(models / "wine/model.safetensors"), dr.data.wine()
    answer = json.loads(said(capsys, "trace", models / "wine/model.safetensors", "wine", "--row", 17, "--layer", "dense_2", "--unit", 1,
                             "--save", tmp_path / "new", "--json").out)
    expected = model.trace(wine.x[17:18], wine.y[17:18])
    assert answer["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert [layer["path"] for layer in answer["layers"]] == list(expected.layers)
    assert answer["explanation"]["text"] == str(expected.explain("dense_2", 1))
    with np.load(tmp_path / "new/trace.npz") as arrays:
        np.testing.assert_allclose(arrays["dense_2.delta of preactivation"], expected["dense_2"].delta, atol=1e-6)
        np.testing.assert_allclose(arrays["dense_1.gradient of weights"], expected["dense_1"].gradients["weights"], atol=1e-6)
    assert all((tmp_path / "new" / name).read_bytes()[:4] == b"\x89PNG" for name in ("trace.png", "network.png"))


def test_a_table_file_and_a_regression(models, capsys, tmp_path):
    diabetes = dr.data.diabetes()
    header = ",".join([*diabetes.feature_names, diabetes.target_name])
    np.savetxt(tmp_path / "d.csv", np.column_stack([diabetes.x, diabetes.y])[:50], delimiter=",", header=header, comments="", fmt="%.9g")
    model = dr.load(models / "diabetes/model.safetensors")
    answer = json.loads(said(capsys, "trace", models / "diabetes/model.safetensors", tmp_path / "d.csv", "--json").out)
    assert answer["loss"] == pytest.approx(model.trace(diabetes.x[:50], diabetes.y[:50]).loss, rel=1e-4)
    assert answer["rows"] == 50
    assert answer["explanation"] is None


def test_the_doctor_speaks_and_writes_json(models, capsys):
    out = said(capsys, "doctor", models / "wine/model.safetensors", "wine").out
    assert out.startswith("examined: 178 rows, trained for")
    answer = json.loads(said(capsys, "doctor", models / "wine/model.safetensors", "wine", "--json").out)
    assert answer == json.loads(json.dumps(dr.load(models / "wine/model.safetensors").doctor(dr.data.wine().x, dr.data.wine().y).to_json()))


@pytest.mark.parametrize(("arguments", "message"), [
    (["trace", "wine", "wine", "--row", "178"], r"--row expected a number from 0 to 177, received 178"),
    (["trace", "wine", "wine", "--layer", "dense_3"], r"there is no layer 'dense_3' in this network; it has dense_1, .*did you mean"),
    (["trace", "wine", "wine", "--layer", "dense_2", "--unit", "3"], r"dense_2 has 3 units, numbered from 0; received unit 3"),
    (["trace", "wine", "iris"], r"the model does not fit iris"),
    (["doctor", "wine", "nothing.csv"], r"nothing\.csv"),
])
def test_mistakes(models, capsys, arguments, message):
    command, model, *rest = arguments
    assert main([command, str(models / model / "model.safetensors"), *rest]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
