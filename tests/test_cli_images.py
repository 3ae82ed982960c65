"""Folders of images on the command line: trained on, examined, reported with pictures, predicted, and refused in one line."""

import base64
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from test_cli import FILES, contents, refused, run

import deltarule as dr
from deltarule import automatic
from deltarule.automatic import Problem, build, choose
from deltarule.data import Dataset, Preprocessor, read_images
from deltarule.errors import DataError, DeltaruleError, ModelFileError, ShapeError
from deltarule.glass.treatment import treatments
from deltarule.report.pictures import data_uri, examples


def shapes(root, n=14, side=12, seed=2):
    """Noisy discs and bars in colour, n of each; their shades and places vary."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    for name in ("bar", "disc"):
        (root / name).mkdir(parents=True)
        for i in range(n):
            y, x = rng.uniform(4, side - 4, 2)
            shape = np.hypot(rows - y, columns - x) < 3.5 if name == "disc" else np.abs(columns - x) < 1
            image = 60 + rng.normal(0, 15, (side, side, 3)) + rng.integers(90, 180, 3) * shape[..., None]
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of images, of which two are no good, and what was said when a model was trained on it."""
    folder = tmp_path_factory.mktemp("images")
    root = shapes(folder / "shapes")
    (root / "bar" / "bad.png").write_bytes(b"")
    (root / "disc" / "notes.txt").write_text("x")
    return folder, run("train", root, "--epochs", 25, "--out", folder / "run")


def model_of(work):
    return work[0] / "run" / "model.safetensors"


# -------------------------------------------------------------------------------------------------------------------- train

def test_train_says_what_it_found_and_why_it_chose_a_convolutional_network(work):
    folder, (status, out, err) = work
    assert (status, err) == (0, "")
    told = " ".join(out.split())
    for expected in ("shapes: 28 images, 12 x 12 x 3 (height x width x channels), target 'class' (one of 2 classes)",
                     "2 class folders with 28 images (bar 14, disc 14)",
                     "note 1 file left out: bar/bad.png: it is damaged, or no PNG, JPEG or TIFF",
                     "note 1 file of other kinds left out: 1 .txt",
                     "2 classes (22 images of 12 x 12 x 3)", "12 x 12 x 3 - conv 16 relu, pool - 64 relu - 1 sigmoid",
                     "each convolution sees 3 x 3 of them, everywhere with the same weights, and one pooling of 2 x 2 brings 12 x 12 down "
                     "to 6 x 6; dropout 0.5 checks overfitting to 22 images", "too few images to hold any out for validation",
                     "On 6 images never seen in training", "always answering the commonest class, bar, is right in 50.0%", "images"):
        assert expected in told
    assert sorted(contents(folder / "run")) == FILES
    model = dr.load(model_of(work))
    assert [row.layer for row in model.network.summary().rows if row.parameters] == ["Conv2D", "Dense", "Dense"]
    assert model.about["test"]["accuracy"] > model.about["test"]["baseline"]["accuracy"]


def test_the_report_shows_pictures_with_what_was_named(work):
    folder, _ = work
    text = (folder / "run" / "report.html").read_text()
    _, test = read(folder / "shapes").split(seed=0)
    model = dr.load(model_of(work))
    assert not re.search(r"https?://|@import|javascript:", text)
    shown = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', text)
    assert len(shown) == 6
    assert len(re.findall("<img ", text)) == 6
    for content, alt in shown:
        file, named, sure, true = re.fullmatch(r"(.*): named (.*) with (.*)%, true class (.*)", alt).groups()
        row = test.files.index(file)
        p = model.predict_proba(test.x[row:row + 1])[0]
        assert named == model.predict(test.x[row:row + 1])[0]
        assert true == file.split("/")[0]
        assert float(sure) == pytest.approx(100 * p.max(), abs=0.051)
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) / 255
        np.testing.assert_allclose(drawn, test.x[row], atol=0.51 / 255)
    assert "Images tested" in text
    assert "deltarule predict model.safetensors NEW_IMAGES" in text
    assert "no test image stands in the training part" in text or "test images that were trained on" in text
    assert "What is done to each image before the network sees it" in text


def read(root):
    with pytest.warns(UserWarning, match=r"bad\.png"):
        return read_images(root)


def test_examples_are_ordered_and_few():
    rng = np.random.default_rng(1)
    outputs, y = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    wrong, right = examples(y, outputs)
    assert (len(wrong), len(right)) == (24, 12)
    named, sure = outputs.argmax(1), outputs.max(1)
    missed = np.flatnonzero(named != y)
    assert set(wrong) == set(missed[np.argsort(-sure[missed])[:24]])
    assert (np.diff(sure[wrong]) <= 0).all()
    assert (named[right] == y[right]).all()
    assert np.bincount(y[right]).tolist() == [4, 4, 4]
    for k in range(3):
        assert sure[[i for i in right if y[i] == k]].min() >= np.sort(sure[(named == y) & (y == k)])[-4]


def test_pictures_of_measurements_and_of_many_bands_are_stretched():
    def drawn(image, bounded):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri(image, bounded).split(",")[1]))))

    ramp = np.linspace(900, 1100, 100, dtype=np.float32).reshape(10, 10, 1)
    low, high = np.percentile(ramp, (1, 99))
    np.testing.assert_array_equal(drawn(ramp, False), np.round(255 * np.clip((ramp[..., 0] - low) / (high - low), 0, 1)))
    np.testing.assert_array_equal(drawn(np.full((5, 7, 1), 3.0), False), 0)
    bands = np.stack([np.zeros((5, 7)), np.ones((5, 7))], axis=-1)
    np.testing.assert_array_equal(drawn(bands, True), 128)
    assert drawn(np.zeros((300, 150, 3)), True).shape == (128, 64, 3)


def test_json_quiet_and_the_same_bits_again(work, tmp_path):
    folder, _ = work
    status, out, err = run("train", folder / "shapes", "--epochs", 25, "--json", "--out", tmp_path)
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["data"]["rows"] == 28
    assert told["data"]["notes"][0].startswith("1 file left out: bar/bad.png")
    assert contents(tmp_path)["model.safetensors"] == contents(folder / "run")["model.safetensors"]
    assert told["command"].endswith("shapes --epochs 25 --seed 0")


def test_size_channels_filters_and_hidden_are_taken_as_given(work, tmp_path):
    folder, _ = work
    words = ("--size", "8x10", "--channels", 1, "--filters", "3,5", "--hidden", "none", "--epochs", 1, "--json")
    told = json.loads(run("train", folder / "shapes", *words, "--out", tmp_path)[1])
    assert told["choices"][1]["choice"] == "8 x 10 x 1 - conv 3 relu, pool - conv 5 relu, pool - 1 sigmoid"
    assert told["choices"][1]["why"] == "given"
    assert "28 images turned into grey" in told["data"]["notes"]
    assert any(note.startswith("28 images of another size brought to 8 x 10") for note in told["data"]["notes"])
    model = dr.load(tmp_path / "model.safetensors")
    assert model.network.input_shape == (8, 10, 1)
    status, out, err = run("predict", tmp_path / "model.safetensors", folder / "shapes")
    assert status == 0
    assert "28 images turned into grey" in err
    grey = read_images_quietly(folder / "shapes", (8, 10), 1)
    assert [row["prediction"] for row in csv.DictReader(io.StringIO(out))] == model.predict(grey.x).tolist()
    flat = json.loads(run("train", folder / "shapes", "--filters", "none", "--epochs", 1, "--json", "--out", tmp_path)[1])
    assert flat["choices"][1]["choice"] == "12 x 12 x 3 - 32 relu - 1 sigmoid"


def read_images_quietly(root, *options):
    with pytest.warns(UserWarning, match="left out"):
        return read_images(root, *options)


def test_large_images_are_reduced(tmp_path):
    shapes(tmp_path / "large", n=5, side=120)
    told = json.loads(run("train", tmp_path / "large", "--filters", "2,2,2,2", "--epochs", 1, "--json", "--out", tmp_path / "run")[1])
    assert told["data"]["notes"] == ["all images are 120 x 120; they are reduced to 96 x 96; size= chooses another"]


# ------------------------------------------------------------------------------------------ predict, evaluate, inspect, check

def test_predict_names_the_files_with_class_and_probability(work):
    folder, _ = work
    status, out, err = run("predict", model_of(work), folder / "shapes", "--proba")
    assert status == 0
    assert err == (f"deltarule: note: 1 file left out: {folder / 'shapes' / 'bar' / 'bad.png'}: it is damaged, or no PNG, JPEG or TIFF\n")
    model, data = dr.load(model_of(work)), read(folder / "shapes")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["image", "prediction", "probability", "p(bar)", "p(disc)"]
    assert [row["image"] for row in rows] == [str(folder / "shapes" / file) for file in data.files]
    assert [row["prediction"] for row in rows] == model.predict(data.x).tolist()
    p = np.float32([[row["p(bar)"], row["p(disc)"]] for row in rows])
    np.testing.assert_allclose(p, model.predict_proba(data.x), rtol=1e-5)
    np.testing.assert_array_equal(p.max(axis=1), np.float32([row["probability"] for row in rows]))


def test_predict_single_files_of_any_kind_and_arrays(work, tmp_path):
    folder, _ = work
    first = folder / "shapes" / "disc" / "00.png"
    pixels = np.asarray(Image.open(first))
    np.save(tmp_path / "one.npy", pixels)
    Image.fromarray(np.repeat(np.repeat(pixels, 2, 0), 2, 1)).save(tmp_path / "twice.tif")
    told = json.loads(run("predict", model_of(work), first, tmp_path / "one.npy", tmp_path / "twice.tif", "--json")[1])
    assert told["image"] == [str(first), str(tmp_path / "one.npy"), str(tmp_path / "twice.tif")]
    assert len({*told["prediction"]}) == 1
    assert told["probability"][0] == told["probability"][1]
    assert told["probability"][2] == pytest.approx(told["probability"][0], abs=0.1)     # averaged over neighbours on the way back
    assert told["notes"] == ["1 image of another size brought to 12 x 12; aspects are kept, and what is left gets the mean of the edge"]
    alone = json.loads(run("predict", model_of(work), tmp_path / "one.npy", "--json")[1])
    assert alone["probability"] == pytest.approx(told["probability"][:1], rel=1e-6)      # one row has a program of its own
    np.save(tmp_path / "batch.npy", np.stack([pixels, 255 - pixels]))
    batch = json.loads(run("predict", model_of(work), tmp_path / "batch.npy", "--json")[1])
    assert (batch["rows"], batch["prediction"][0]) == (2, told["prediction"][0])


def test_a_loaded_model_takes_raw_arrays_of_bytes_words_and_floats(work):
    folder, _ = work
    model, data = dr.load(model_of(work)), read(folder / "shapes")
    raw = np.stack([np.asarray(Image.open(folder / "shapes" / file)) for file in data.files])
    expected = model.predict_proba(data.x)
    np.testing.assert_array_equal(model.predict_proba(raw), expected)
    np.testing.assert_allclose(model.predict_proba(raw.astype(np.uint16) * 257), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(raw / 255), expected, atol=1e-5)
    with pytest.raises(DataError, match="x holds int64, expected uint8, uint16 or floats: the range of an image in int64 is unknown"):
        model.predict(raw.astype(np.int64))
    with pytest.raises(ShapeError, match=r"x has shape \(28, 12, 11, 3\), expected \(n, 12, 12, 3\) as in training"):
        model.predict(raw[:, :, :11])


def test_evaluate_a_folder_with_the_classes_of_the_model(work, tmp_path):
    new = shapes(tmp_path / "new", n=6, seed=9)
    told = json.loads(run("evaluate", model_of(work), new, "--json")[1])["result"]
    data = read_images(new)
    assert told["accuracy"] == pytest.approx(np.mean(dr.load(model_of(work)).predict(data.x) == np.array(data.class_names)[data.y]))
    assert "On 12 images of" in " ".join(run("evaluate", model_of(work), new)[1].split())
    shutil.rmtree(new / "bar")
    assert json.loads(run("evaluate", model_of(work), new, "--json")[1])["result"]["support"] == [0, 6]
    (new / "disc").rename(new / "disk")
    assert "holds the class folder 'disk', which the model does not know; did you mean 'disc'?" in refused("evaluate", model_of(work), new)


def test_inspect_check_trace_and_doctor(work, tmp_path):
    folder, _ = work
    status, out, _ = run("inspect", model_of(work))
    assert status == 0
    for expected in ("trained on 22 images of shapes", "images 12 x 12 x 3, as files or arrays", "12 x 12 (height x width), aspect kept",
                     "3, colour", "bytes / 255, 16-bit integers / 65535, floats as they are", "bar, disc", "test 6 images:"):
        assert expected in " ".join(out.split())
    assert json.loads(run("inspect", model_of(work), "--json")[1])["preprocessing"]["pictures"] is True
    status, out, err = run("check", folder / "shapes", "--size", 8, "--filters", 2, "--hidden", 3)
    assert (status, err) == (0, "")
    assert "shapes: 28 images" in out
    assert "8 x 8 x 3 - conv 2 relu, pool - 3 relu - 1 sigmoid" in out
    assert "one batch" in out
    assert not any(word in out for word in ("constant columns", "equal columns", "target given away"))
    assert "28 rows of" in run("trace", model_of(work), folder / "shapes")[1]
    assert "28 rows" in run("doctor", model_of(work), folder / "shapes")[1]


# ---------------------------------------------------------------------------------------------------------------- bad input

@pytest.mark.parametrize(("words", "expected"), [
    (["shapes", "--target", "class"], "--target is for table files; shapes is a folder of images, whose classes are its sub-folders"),
    (["shapes", "--problem", "regression"], "--problem is for table files"),
    (["shapes", "--drop", "a"], "--drop is for table files"),
    (["shapes", "--data-dir", "."], "--data-dir says where the MNIST files are; shapes does not need it"),
    (["shapes", "--split", "group:night"], "shapes has no column 'night'"),
    (["shapes", "--size", "big"], "--size expected a whole number of pixels such as 64, or height and width such as 48x64, received 'big'"),
    (["shapes", "--size", "8x8x3"], "received '8x8x3'"),
    (["shapes", "--size", "0"], "--size expected"),
    (["shapes", "--channels", "9"], "channels expected 1 (grey) or 3 (colour), received 9"),
    (["shapes", "--filters", "a"], "--filters expected whole numbers of filters separated by commas, such as 64,64, or none, received 'a'"),
    (["shapes", "--filters", "2,2,2,2"], "filters expected images (height, width, channels) of at least 16 pixels a side, received "
                                         "rows of shape (12, 12, 3); leave filters out or take fewer"),
    (["wine", "--size", "8"], "--size is for folders of images; wine is none"),
    (["wine", "--channels", "1"], "--channels is for folders of images; wine is none"),
    (["wine", "--filters", "8"], "filters expected images (height, width, channels) of at least 2 pixels a side, received rows of shape "
                                 "(13,)"),
    (["few"], "few has 4 images, expected at least 10"),
    (["shapes/disc"], "shapes/disc holds 14 images but no folders"),
    (["lost"], "there is no data set and no file 'lost'"),
    (["empty"], "empty holds nothing; expected one folder of images for each class"),
])
def test_train_refuses_in_one_line(words, expected, work, tmp_path, monkeypatch):
    shutil.copytree(work[0] / "shapes", tmp_path / "shapes")
    shapes(tmp_path / "few", n=2)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert expected in refused("train", *words)
    assert not (tmp_path / "runs").exists()


def test_predict_and_evaluate_refuse_in_one_line(work, tmp_path):
    folder, _ = work
    table, image = tmp_path / "wine" / "model.safetensors", folder / "shapes" / "disc" / "00.png"
    assert run("train", "wine", "--epochs", 1, "--quiet", "--out", tmp_path / "wine")[0] == 0
    assert "holds images, and the model was not trained on image files but on arrays of shape (n, 13)" in refused("predict", table, image)
    assert "holds images, and the model was not trained" in refused("evaluate", table, folder / "shapes")
    assert "holds images, and the model was not trained" in refused("predict", table, folder / "shapes")
    (tmp_path / "a.csv").write_text("a\n1\n")
    assert "predict expected one table or array file, received 2" in refused("predict", table, tmp_path / "a.csv", tmp_path / "a.csv")
    assert "a.csv is no image file; expected .png" in refused("predict", model_of(work), tmp_path / "a.csv")
    assert "none.png: it does not exist" in refused("predict", model_of(work), tmp_path / "none.png")
    assert "the model was trained on images" in refused("evaluate", model_of(work), tmp_path / "a.csv")
    assert "the model was trained on images; wine is no folder" in refused("evaluate", model_of(work), "wine")
    assert "no image of these files can be read" in refused("predict", model_of(work), folder / "shapes" / "bar" / "bad.png")


# ------------------------------------------------------------------------------------------------- preparation and the choices

def test_preparation_of_pictures_is_one_mean_and_one_deviation():
    x = np.random.default_rng(0).normal(7, 3, (9, 5, 4, 2)).astype(np.float32)
    pre = Preprocessor.fit(x, pictures=True)
    np.testing.assert_allclose(pre.transform(x), (x - x.mean(dtype=float)) / x.std(dtype=float), rtol=1e-4, atol=1e-5)
    assert Preprocessor.from_json(json.loads(json.dumps(pre.to_json()))) == pre
    assert Preprocessor.fit(np.full((2, 3, 3, 1), 0.5), pictures=True).transform(np.full((1, 3, 3, 1), 0.5)).max() == 0
    np.testing.assert_allclose(Preprocessor.fit(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), pictures=True).columns[0].mean, 0.5)
    assert [row[0] for row in treatments(pre)] == ["size", "channels", "raw values", "all values"]
    assert treatments(pre)[1][2] == "2"
    with pytest.raises(ModelFileError, match="the preprocessing of the model file is damaged"):
        Preprocessor.from_json({**pre.to_json(), "form": "array"})
    with pytest.raises(DataError, match="x holds 1 value that is not finite"):
        Preprocessor.fit(np.array([[[[np.nan]]]]), pictures=True)


@pytest.mark.parametrize(("shape", "filters", "left"), [
    ((7, 40, 3), (), None), ((8, 8, 1), (16,), (4, 4)), ((28, 28, 1), (16, 32), (7, 7)), ((32, 48, 3), (16, 32, 64), (4, 6)),
    ((64, 64, 3), (16, 32, 64, 64), (4, 4)), ((300, 200, 3), (16, 32, 64, 64), (18, 12)),
])
def test_blocks_by_the_size_of_the_images(shape, filters, left):
    problem = Problem(500, shape, classes=3)
    choices = choose(problem)
    assert choices.filters == filters
    network = build(problem, choices)
    assert network.output_shape == (3,)
    if left:
        kinds = {row.path: row.output_shape for row in network.summary().rows}
        assert kinds[f"max_pool2d_{len(filters)}"] == (*left, filters[-1])
        assert f"down to {left[0]} x {left[1]}" in choices.reasons[1][2]


def test_choices_by_the_number_of_images():
    few, some, many = (choose(Problem(n, (32, 32, 3), classes=5)) for n in (60, 600, 20_000))
    assert [choices.dropout for choices in (few, some, many)] == [0.5, 0.5, 0.3]
    assert [choices.hidden for choices in (few, some, many)] == [(64,), (64,), (128,)]
    assert [choices.validation for choices in (few, some, many)] == [None, 0.15, 0.15]
    assert [choices.batch_size for choices in (few, some, many)] == [16, 16, 128]
    assert choose(Problem(600, (32, 32, 3)), validation=0.0).reasons[-1][2] == "no images are held out for validation"
    assert "dropout" not in choose(Problem(600, (32, 32, 3), classes=2), dropout=0.0).reasons[1][2]
    assert choose(Problem(600, (6, 6, 1), classes=2)).filters == ()
    for wrong in ((0,), (2.5,), (True,)):
        with pytest.raises(DeltaruleError, match="filters expected whole numbers from 1 on, received"):
            choose(Problem(600, (32, 32, 3), classes=2), filters=wrong)
    assert automatic.choose(Problem(600, (64,), classes=10)).reasons[0][2] == "600 rows of 64 numbers"


def test_measurements_of_images_may_be_regressed_too():
    rng = np.random.default_rng(0)
    x = rng.random((40, 8, 8, 1)).astype(np.float32)
    data = Dataset(x, x.mean(axis=(1, 2, 3)), (), None, "brightness", "made", "", files=tuple(f"{i}.npy" for i in range(40)))
    model, history = dr.Model.train(data, epochs=2, progress=False)
    assert model.predict(x[:3]).shape == (3,)
    assert len(history.epochs) == 2
