"""The data sets: equal to scikit-learn's, true to their formulas, and IDX files believed in nothing."""

import gzip
import hashlib
import importlib
import importlib.util
import io
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deltarule import data
from deltarule.data import breast_cancer, circles, diabetes, digits, iris, mnist, read_idx, spiral, two_moons, wine, xor
from deltarule.errors import DataError

mnist_module = importlib.import_module("deltarule.data.mnist")


# ---------------------------------------------------------------------------------------------------------------- real tables

@pytest.mark.parametrize(("ours", "loader", "factor"), [
    (digits, sklearn.datasets.load_digits, 16), (iris, sklearn.datasets.load_iris, 1), (wine, sklearn.datasets.load_wine, 1),
    (breast_cancer, sklearn.datasets.load_breast_cancer, 1),
    (diabetes, lambda: sklearn.datasets.load_diabetes(scaled=False), 1),
], ids=["digits", "iris", "wine", "breast_cancer", "diabetes"])
@pytest.mark.parametrize("bundled", [True, False], ids=["file", "loader"])
def test_equal_to_scikit_learn(ours, loader, factor, bundled, monkeypatch):
    if not bundled:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    mine, theirs = ours(), loader()
    np.testing.assert_array_equal(mine.x, (theirs.data / factor).astype(np.float32))
    np.testing.assert_array_equal(mine.y, theirs.target)
    assert list(mine.feature_names) == list(theirs.feature_names)
    assert (mine.x.dtype, mine.name) == (np.float32, ours.__name__)
    if mine.class_names is None:
        assert mine.y.dtype == np.float32
    else:
        assert mine.y.dtype == np.int32
        assert [str(name) for name in theirs.target_names] == list(mine.class_names)
    assert "scikit-learn" in mine.source


def test_importing_data_loads_no_slow_library():
    code = ("import sys, jax, optax; before = set(sys.modules); import deltarule.data as d; d.wine().split(); "
            "print(sorted({'sklearn', 'polars', 'pandas', 'matplotlib', 'urllib.request'} & set(sys.modules) - before))")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_by_name():
    assert set(data.names()) == {"digits", "iris", "wine", "breast_cancer", "diabetes", "two_moons", "circles", "spiral", "xor"}
    for name in data.names():
        assert data.load(name).name == name
    with pytest.raises(DataError, match=r"there is no data set 'two_moon'; did you mean 'two_moons'\?"):
        data.load("two_moon")


# ---------------------------------------------------------------------------------------------------------------------- toys

@given(st.integers(4, 101), st.integers(0, 3))
def test_moons_and_circles_lie_on_their_curves(n, seed):
    moons = two_moons(n, noise=0.0, seed=seed)
    center = np.where(moons.y[:, None] == 0, [[0, 0]], [[1, 0.5]])
    np.testing.assert_allclose(np.hypot(*(moons.x - center).T), 1, atol=1e-6)
    assert ((moons.x[:, 1] - center[:, 1]) * np.where(moons.y == 0, 1, -1) > -1e-6).all()
    rings = circles(n, noise=0.0, seed=seed)
    np.testing.assert_allclose(np.hypot(*rings.x.T), np.where(rings.y == 0, 1, 0.5), atol=1e-6)
    for toy in (moons, rings):
        assert toy.x.shape == (n, 2)
        assert np.abs(np.diff(np.bincount(toy.y))).max() <= 1


@given(st.integers(14, 101), st.integers(2, 7))
def test_spiral_arms(n, classes):
    arms = spiral(n, classes, noise=0.0)
    radius = np.hypot(*arms.x.T)
    assert radius.max() == pytest.approx(1)
    angle = np.arctan2(arms.x[:, 0], arms.x[:, 1]) - 4 * radius
    expected = 2 * np.pi * arms.y / classes
    moved = radius > 1e-6
    np.testing.assert_allclose(np.cos(angle - expected)[moved], 1, atol=1e-5)
    assert len(np.unique(arms.y)) == classes == len(arms.class_names)


def test_xor():
    table = xor()
    assert table.x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert table.y.tolist() == [0, 1, 1, 0]
    noisy = xor(101, noise=0.1)
    assert ((noisy.x > 0.5).sum(axis=1) % 2 == noisy.y).mean() > 0.99


def test_noise_has_its_size_and_its_seed():
    clean, noisy = two_moons(2003, noise=0.0), two_moons(2003, noise=0.3, seed=5)
    assert np.std(noisy.x - clean.x) == pytest.approx(0.3, rel=0.05)
    np.testing.assert_array_equal(noisy.x, two_moons(2003, noise=0.3, seed=5).x)
    assert (noisy.x != two_moons(2003, noise=0.3, seed=6).x).any()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: two_moons(1), r"n is 1, expected at least 2 points, one per class"),
    (lambda: xor(3), r"n is 3, expected at least 4 points"),
    (lambda: circles(10, noise=-0.1), r"noise is -0.1, expected 0 or more"),
    (lambda: spiral(10, classes=1), r"classes is 1, expected at least 2 arms"),
])
def test_toys_that_cannot_be(call, message):
    with pytest.raises(DataError, match=message):
        call()


# ----------------------------------------------------------------------------------------------------------------- IDX files

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx(array):
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(st.sampled_from(sorted(CODES)).flatmap(lambda name: hnp.arrays(name, hnp.array_shapes(max_dims=4, max_side=5))), st.booleans())
def test_idx_comes_back(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(array), mtime=0) if zipped else idx(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


WHOLE = idx(np.arange(30, dtype=np.uint8).reshape(2, 3, 5))


@pytest.mark.parametrize(("content", "message"), [
    (b"", r"is not an IDX file: it begins with nothing, expected 00 00"),
    (b"\0\0\x08", r"is not an IDX file: it begins with 00 00 08"),
    (b"PK\x03\x04" + WHOLE, r"is not an IDX file: it begins with 50 4b 03 04"),
    (b"\0\0\x07\x01" + WHOLE[4:], r"is not an IDX file"),
    (b"\0\0\x08\x00", r"is not an IDX file"),
    (WHOLE[:11], r"is truncated inside its header; fetch it again"),
    (WHOLE[:-1], r"is truncated: its header announces 30 bytes of values, it holds 29"),
    (WHOLE + b"\0", r"holds more than the 30 bytes of values that its header announces"),
    (b"\0\0\x0e\x03" + b"\xff" * 12, r"announces an array of shape \(4294967295, 4294967295, 4294967295\), \d+ bytes; at most 1073741824"),
    (gzip.compress(WHOLE, mtime=0)[:-9], r"is damaged: Compressed file ended"),
    (gzip.compress(WHOLE, mtime=0)[:-8] + bytes(8), r"is damaged: CRC check failed"),
    (b"\x1f\x8bnonsense", r"is damaged: "),
    (gzip.compress(idx(np.zeros(11, np.uint8)) + bytes(10**7), mtime=0), r"holds more than the 11 bytes"),
])
def test_idx_files_are_not_believed(tmp_path, content, message):
    path = tmp_path / "digits-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"digits-idx " + message) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_idx_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere")


# --------------------------------------------------------------------------------------------------------------------- MNIST

def small_mnist(zipped=True, images=(11, 7), labels=(11, 7)):
    """The four files of a tiny MNIST, by name."""
    rng = np.random.default_rng(0)
    files = {}
    for part, image_count, label_count in zip(("train", "t10k"), images, labels, strict=True):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (image_count, 28, 28)).astype(np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(label_count) % 10).astype(np.uint8))
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()} if zipped else files


def put(files, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", ["", "mnist"])
def test_mnist_from_a_folder(tmp_path, monkeypatch, zipped, below):
    put(small_mnist(zipped), tmp_path / below)
    train, test = mnist(tmp_path)
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((11, 784), (7, 784), np.float32)
    pixels = read_idx(tmp_path / below / f"train-images-idx3-ubyte{'.gz' if zipped else ''}")
    np.testing.assert_array_equal(train.x, pixels.reshape(11, 784) / np.float32(255))
    assert test.y.tolist() == list(range(7))
    assert train.feature_names[29] == "pixel_1_1"
    monkeypatch.setenv("DELTARULE_DATA", str(tmp_path))
    images = mnist(flat=False)[0]
    assert images.x.shape == (11, 28, 28, 1)
    np.testing.assert_array_equal(images.x.reshape(11, 784), train.x)


@pytest.mark.parametrize(("files", "message"), [
    (small_mnist() | {"train-images-idx3-ubyte.gz": gzip.compress(idx(np.zeros((11, 5, 5), np.uint8)))},
     r"train-images.* holds uint8 of shape \(11, 5, 5\), expected uint8 of shape \(n, 28, 28\)"),
    (small_mnist(labels=(13, 7)), r"train-labels.* holds uint8 of shape \(13,\), expected the digits 0 to 9 of 11 images"),
    (small_mnist() | {"t10k-labels-idx1-ubyte.gz": gzip.compress(idx(np.full(7, 10, np.uint8)))},
     r"t10k-labels.* expected the digits 0 to 9"),
    ({}, r"does not hold MNIST: expected train-images-idx3-ubyte.gz, .* in it or in its folder mnist"),
])
def test_mnist_files_that_do_not_fit(tmp_path, files, message):
    put(files, tmp_path)
    with pytest.raises(DataError, match=message):
        mnist(tmp_path)


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A machine with an empty cache and no data folder, and a network that serves `files` by name."""
    files = {}
    asked = []

    def urlopen(address, timeout):
        assert timeout > 0
        asked.append(address)
        name = address.rpartition("/")[2]
        if name not in files:
            raise urllib.error.URLError("no route to host")
        return io.BytesIO(files[name])

    monkeypatch.delenv("DELTARULE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return files, asked, tmp_path / "cache" / "deltarule" / "mnist"


def test_mnist_is_downloaded_once(away, monkeypatch):
    files, asked, cache = away
    files.update(small_mnist())
    monkeypatch.setattr(mnist_module, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    assert len(mnist()[0]) == 11
    assert sorted(os.listdir(cache)) == sorted(files)
    assert asked[0] == "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"
    count = len(asked)
    assert len(mnist()[1]) == 7
    assert len(asked) == count == 4


def test_a_download_that_differs_is_not_kept(away):
    files, asked, cache = away
    files.update(small_mnist())  # not the real files, so not their digests
    with pytest.raises(DataError,
     match=r"MNIST could not be downloaded \(what https://storage.* sent has another SHA-256; what https://ossci"):
        mnist()
    assert not cache.exists()
    assert len(asked) == 2


def test_without_a_network_the_layout_is_told(away):
    with pytest.raises(DataError, match=r"MNIST could not be downloaded \(.*no route to host.*\); put train-images-idx3-ubyte.gz, "
                                        r".*t10k-labels-idx1-ubyte.gz into a folder mnist and set DELTARULE_DATA to"):
        mnist()


def test_a_cache_that_cannot_be_written(away, monkeypatch):
    files, _, cache = away
    files.update(small_mnist())
    monkeypatch.setattr(mnist_module, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where a folder should be")
    with pytest.raises(DataError,
     match=r"train-images-idx3-ubyte.gz cannot be written: .*; set DELTARULE_DATA to a folder that holds mnist"):
        mnist()


def test_the_true_mnist():
    folder = os.environ.get("DELTARULE_DATA")
    if not folder or not (Path(folder) / "mnist" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("DELTARULE_DATA names no folder that holds mnist/")
    train, test = mnist()
    assert (train.x.shape, test.x.shape) == ((60000, 784), (10000, 784))
    assert train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert float(train.x.mean(dtype=np.float64)) == pytest.approx(0.1307, abs=5e-5)  # the mean that every MNIST example divides by
