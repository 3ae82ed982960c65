"""The strict world of the tests: no silent broadcasting, no silent change of dtype, the same random cases every time."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ["DELTARULE_CACHE"] = "off"       # tests compile for themselves and leave nothing behind

import atexit
import fcntl
import functools
import tempfile
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
from scipy.special import expit

import deltarule as dr
from deltarule.kernels import building

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile("deltarule", derandomize=True, database=None, deadline=None, max_examples=25)
hypothesis.settings.load_profile("deltarule")

if "DELTARULE_TESTS" not in os.environ:     # the first process of a run: its folder is that of all, and goes with it
    _folder = tempfile.TemporaryDirectory(prefix="deltarule-tests-")
    atexit.register(_folder.cleanup)
    os.environ["DELTARULE_TESTS"] = _folder.name


def _compiled_once(compiler, flags, source, library, compile=building._compile):
    """The processes of a run share the kernels: who comes second waits for the first."""
    with open(library.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return "" if library.exists() else compile(compiler, flags, source, library)


building._passing_folder = lambda: Path(os.environ["DELTARULE_TESTS"])
building._compile = _compiled_once


@pytest.fixture(autouse=True, scope="module")
def _programs_are_given_back():
    """Each compiled program maps some memory, and a process may map only so much: those of a file of tests end with it."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def result():
    """The result of a lesson by name; each is run once for all tests."""
    from deltarule import lessons

    return functools.cache(lessons.run)


@pytest.fixture(scope="session")
def as_demanded(result):
    """Check a lesson: all numbers hold, those that are demanded are there, and no figure is larger than `largest` (inches)."""
    def check(name, demanded, largest=(9.4, 6.7)):
        found = result(name)
        assert found.passed, found.text
        assert set(demanded) <= set(found.numbers)
        assert found.figures
        for figure in found.figures.values():
            assert all(size <= limit for size, limit in zip(figure.get_size_inches(), largest, strict=True))

    return check


@pytest.fixture(scope="session")
def sigmoid_net():
    """Three sigmoid units and one, with biases that are not zero."""
    net = dr.Network([dr.Dense(3, "sigmoid"), dr.Dense(1, "sigmoid")], input_shape=(2,), seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    net.params = {name: {key: rng.normal(size=value.shape) * 2 for key, value in layer.items()} for name, layer in net.params.items()}
    net.params["dense_2"]["bias"] = -expit(net.params["dense_1"]["bias"]) @ net.params["dense_2"]["weights"]     # h = 0.5 at x = 0
    return net


@pytest.fixture(scope="session")
def cloud():
    rng = np.random.default_rng(3)
    return rng.normal(size=(29, 2)), rng.integers(0, 2, 29)
