"""The convolution kernels against the textbook's sums, in whole numbers, so that nothing is rounded and equal means equal."""

import os
import shutil
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule import kernels, textbook
from deltarule.kernels import building

READY = kernels.kernels().ready
needed = pytest.mark.skipif(not READY, reason="no C++ compiler: the first test has checked that this is said")
INSTEAD = "convolution, pooling, normalization, recurrent layers, attention and Adam run in their JAX form"


class Case(NamedTuple):
    """A convolution, and the window of a max pooling behind it."""

    n: int
    space: tuple[int, int]
    C: int
    F: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    pool: tuple[int, int] = (1, 1)

    @property
    def output(self):
        sides = zip(self.space, self.kernel, self.stride, self.dilation, self.padding, strict=True)
        return tuple((H + sum(P) - (k - 1) * D - 1) // S + 1 for H, k, S, D, P in sides)

    @property
    def geometry(self):
        before = tuple(P[0] for P in self.padding)
        return kernels.Geometry(self.space, self.kernel, self.output, before, self.stride, self.dilation, self.pool)


CASES = {
    "neighbouring columns of a kernel of 3": Case(2, (4, 37), 3, 3, (3, 3), padding=((1, 1), (1, 1))),
    "neighbouring columns of a kernel of 5": Case(2, (5, 21), 4, 2, (5, 5), padding=((3, 0), (1, 4))),
    "neighbouring columns behind whole vectors": Case(1, (4, 9), 5, 33, (2, 3), padding=((0, 0), (2, 0))),
    "one channel": Case(2, (4, 29), 1, 70, (3, 2), padding=((0, 1), (1, 0))),
    "one channel, all places of a kernel of 3": Case(2, (9, 11), 1, 17, (3, 3), stride=(2, 1), padding=((3, 2), (1, 2))),
    "one channel, all places of a kernel of 5": Case(2, (6, 13), 1, 3, (5, 5), stride=(1, 2), padding=((0, 4), (2, 1))),
    "one channel, no row that is whole": Case(2, (2, 7), 1, 3, (3, 3), padding=((1, 0), (0, 0))),
    "few channels": Case(3, (7, 9), 1, 6, (5, 5), padding=((1, 3), (4, 0))),
    "few channels, padding beyond the kernel": Case(2, (6, 5), 2, 17, (3, 5), dilation=(2, 1), padding=((7, 1), (6, 8))),
    "pixels between the windows": Case(2, (11, 14), 3, 5, (2, 3), stride=(3, 5)),
    "strides and dilations that miss each other": Case(2, (9, 12), 3, 7, (3, 2), stride=(2, 4), dilation=(2, 2), padding=((2, 1), (3, 0))),
    "a long sequence": Case(2, (1, 800), 2, 16, (1, 3), padding=((0, 0), (1, 1))),
    "a long sequence, many filters, pooled": Case(1, (1, 331), 3, 70, (1, 4), stride=(1, 2), pool=(1, 5)),
    "rows and columns of padding alone": Case(2, (2, 3), 2, 3, (3, 3), padding=((6, 7), (8, 5))),
    "errors taken as they are": Case(3, (4, 5), 17, 64, (1, 1)),
    "pooled windows that leave a rest": Case(2, (9, 13), 3, 6, (3, 3), pool=(2, 4), padding=((1, 0), (0, 1))),
    "the largest window": Case(1, (11, 27), 1, 17, (2, 2), pool=(10, 25)),
    "pairs of outputs and one left over": Case(2, (6, 13), 16, 17, (3, 3), padding=((1, 1), (1, 1))),
    "pairs of outputs, padding beyond a kernel of 5": Case(2, (5, 9), 9, 16, (5, 5), padding=((5, 2), (6, 0))),
    "pairs of outputs, a band of rows after the other": Case(1, (20, 331), 33, 8, (3, 3)),
    "pairs of outputs, a stretch of a sequence after the other": Case(1, (1, 401), 70, 16, (1, 3), pool=(1, 3)),
    "pairs of outputs, short rows together": Case(2, (8, 8), 8, 64, (3, 3), padding=((1, 1), (1, 1))),
    "three rows of a kernel at once": Case(2, (7, 13), 16, 16, (3, 3), padding=((1, 1), (1, 1)), pool=(2, 3)),
    "three rows of a kernel at once, padding beyond them": Case(2, (2, 21), 9, 11, (3, 3), padding=((5, 4), (0, 2))),
    "three rows of a kernel of 5 columns": Case(1, (6, 11), 8, 9, (3, 5), padding=((0, 1), (2, 2))),
    "two pixels that count as one, and one left over": Case(2, (7, 13), 1, 6, (5, 5), padding=((2, 2), (2, 2)), pool=(2, 2)),
    "two pixels that count as one, a kernel of 3": Case(2, (8, 11), 1, 6, (3, 3), padding=((0, 1), (0, 1))),
    "three pixels that count as one, few channels": Case(2, (5, 22), 3, 5, (2, 4), padding=((0, 0), (3, 1)), pool=(1, 3)),
    "four pixels that count as one, and one left over": Case(1, (6, 17), 17, 3, (3, 3), padding=((1, 1), (1, 1))),
    "four pixels that count as one, in a row of three": Case(2, (6, 5), 2, 1, (3, 3)),
    "pixels that count as one and move by two": Case(2, (9, 20), 2, 4, (3, 5), stride=(1, 2), dilation=(2, 1), padding=((1, 0), (2, 6))),
    "one value": Case(1, (1, 1), 1, 1, (1, 1)),
}


@st.composite
def convolutions(draw):
    def pair(values):
        return draw(values), draw(values)

    kernel = pair(st.integers(1, 5))
    stride, dilation = draw(st.sampled_from([((1, 1), (1, 1)), (pair(st.integers(1, 6)), pair(st.integers(1, 3)))]))
    padding = pair(st.tuples(st.integers(0, 7), st.integers(0, 7)))
    space = tuple(max(1, D * (k - 1) + 1 - sum(P)) + draw(st.integers(0, 7)) for k, D, P in zip(kernel, dilation, padding, strict=True))
    C, F = draw(st.sampled_from([1, 3, 6, 8, 16, 17, 33])), draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 16, 17, 64, 70]))
    case = Case(draw(st.integers(1, 3)), space, C, F, kernel, stride, dilation, padding)
    return case._replace(pool=tuple(draw(st.integers(1, min(3, size))) for size in case.output))


def whole(rng, *shape):
    return rng.integers(-4, 5, shape).astype(float)


def single(*arrays):
    return [None if array is None else jnp.asarray(array, "float32") for array in arrays]


def expect_the_textbooks(case, bias, relu, seed=0):
    """h, dL/dx, dL/dK and dL/db, and the same when dL/dx or dL/dK is not wanted."""
    rng = np.random.default_rng(seed)
    x, K, b = whole(rng, case.n, *case.space, case.C), whole(rng, *case.kernel, case.C, case.F), whole(rng, case.F) if bias else None
    said = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    a = textbook.convolve(x, K, b, **said)
    g = np.maximum(a, 0) if relu else a
    pooled = case.pool != (1, 1)
    h = textbook.max_pool(g, case.pool) if pooled else g
    dh = whole(rng, *h.shape)
    delta = (textbook.max_pool_backward(g, dh, case.pool) if pooled else dh) * (a > 0 if relu else 1)
    expected = textbook.convolve_backward(x, K, delta, **said)

    x32, K32, b32, h32, d32 = single(x, K, b, h, dh)
    found, which, _ = kernels.forward(x32, K32, b32, case.geometry, "relu" if relu else "linear")
    np.testing.assert_array_equal(found, h)
    kept = h32 if relu and not pooled else None, which if pooled else None
    dx, dK, db = kernels.backward(x32, K32, *kept, d32, case.geometry, bias)
    np.testing.assert_array_equal(dx, expected["x"])
    np.testing.assert_array_equal(dK, expected["K"])
    np.testing.assert_array_equal(db, expected["b"] if bias else [])
    np.testing.assert_array_equal(kernels.backward(None, K32, *kept, d32, case.geometry)[0], dx)
    np.testing.assert_array_equal(kernels.backward(x32, None, *kept, d32, case.geometry)[1], dK)


def test_there_are_kernels_where_there_is_a_compiler():
    """A compiler is one that can say its version: CXX=/bin/false, which stands for none, cannot."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    found = next((path for name in candidates if (path := shutil.which(name))), None)
    works = found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    assert works == READY, kernels.kernels().sentence
    assert ("ready" in kernels.kernels().sentence) == READY


@needed
@pytest.mark.parametrize(("bias", "relu"), [(True, False), (False, True)], ids=["bias", "relu"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_path_is_the_textbooks(case, bias, relu):
    expect_the_textbooks(case, bias, relu)


@needed
@settings(max_examples=30)
@given(convolutions(), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_any_convolution_is_the_textbooks(case, bias, relu, seed):
    expect_the_textbooks(case, bias, relu, seed)


@needed
def test_real_numbers_are_rounded_as_single_precision_is():
    case, rng = CASES["strides and dilations that miss each other"]._replace(C=33, F=17), np.random.default_rng(0)
    x, K = rng.normal(size=(2, *case.space, 33)), rng.normal(size=(*case.kernel, 33, 17))
    y = textbook.convolve(x, K, stride=case.stride, padding=case.padding, dilation=case.dilation)
    np.testing.assert_allclose(kernels.forward(*single(x, K, None), case.geometry)[0], y, rtol=0, atol=1e-6 * np.abs(y).max())


@needed
def test_no_images_have_no_gradient():
    case = CASES["one channel"]._replace(n=0)
    expect_the_textbooks(case, True, False)
    with pytest.raises(ValueError, match=r"^backward needs x, K or both$"):
        kernels.backward(None, None, None, None, jnp.zeros((1, *case.output, case.F)), case.geometry)


@needed
def test_members_of_an_ensemble_one_after_the_other():
    case = CASES["pooled windows that leave a rest"]
    rng = np.random.default_rng(1)
    x32, K32, b32 = single(rng.normal(size=(2, *case.space, case.C)), rng.normal(size=(3, *case.kernel, case.C, case.F)),
                           rng.normal(size=(3, case.F)))

    def both(K, b):
        h, which, _ = kernels.forward(x32, K, b, case.geometry, "relu")
        return h, *kernels.backward(x32, K, None, which, h, case.geometry)

    together = jax.jit(jax.vmap(both))(K32, b32)
    for i in range(3):
        for all_members, alone in zip(together, both(K32[i], b32[i]), strict=True):
            np.testing.assert_array_equal(all_members[i], alone)


@needed
def test_inside_a_compiled_loop_with_many_threads_at_work():
    """Hundreds of calls inside one program: nobody waits for ever, and the sums of threads are the same every time."""
    case, rng = Case(31, (9, 8), 3, 19, (3, 3), padding=((1, 1), (1, 1)), pool=(2, 2)), np.random.default_rng(11)
    x32, K32, b32 = single(rng.normal(size=(31, 9, 8, 3)), rng.normal(size=(3, 3, 3, 19)), rng.normal(size=19))

    @jax.jit
    def many(K):
        def step(K, _):
            h, which, _ = kernels.forward(x32, K, b32, case.geometry, "relu")
            _, dK, _ = kernels.backward(x32, None, None, which, h, case.geometry)
            return K - 1e-5 * dK, jnp.sum(h)
        return jax.lax.scan(step, K, None, length=200)

    (first, sums), (again, _) = many(K32), many(K32)
    np.testing.assert_array_equal(first, again)
    assert np.all(np.diff(sums) < 0)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Writes a script that stands for the only compiler there is, and says what came of it."""
    monkeypatch.delenv("DELTARULE_KERNELS", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(building, "_passing_folder", lambda: tmp_path / "empty")
    monkeypatch.setenv("PATH", str(tmp_path))

    def said(script=None):
        if script is not None:
            (tmp_path / "c++").write_text(f"#!/bin/sh\ncd {tmp_path}\nfor last; do :; done\n{script}\n")
            (tmp_path / "c++").chmod(0o755)
            monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
        found = building.kernels.__wrapped__()
        assert not found.ready
        return found.sentence

    return said


def test_without_a_compiler_or_turned_off_it_is_said(compiler, monkeypatch):
    assert compiler() == f"no C++ compiler (c++, g++ or clang++) was found: {INSTEAD}, more slowly; everything else is the same"
    monkeypatch.setenv("DELTARULE_KERNELS", "off")
    assert compiler() == f"the C++ kernels are turned off (DELTARULE_KERNELS=off); {INSTEAD}"


def test_what_does_not_compile_is_named(compiler):
    failing = "case $* in *pooling.cc*) echo 'line 1: error: no headers' >&2; exit 1;; esac\n: > $last"
    assert compiler(failing) == f"the C++ kernels did not compile (pooling.cc, c++: line 1: error: no headers): {INSTEAD}, more slowly"
    assert "did not compile (pooling.cc, c++: exit status 3)" in compiler("exit 3")


def test_all_are_compiled_at_once_and_what_cannot_be_loaded_is_said(compiler):
    """Each of the compilers waits until all are at work."""
    waiting = f""": > started.$$
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
      set -- started.*; [ $# = {len(building.LIBRARIES)} ] && : > $last && exit 0; sleep 1
    done
    exit 1"""
    said = compiler(waiting)
    assert said.startswith("the C++ kernels could not be loaded (")
    assert said.endswith(f"): {INSTEAD}, more slowly")


def test_compiling_by_hand_says_one_line():
    done = subprocess.run([sys.executable, "-m", "deltarule.kernels"], capture_output=True, text=True, check=True,
                          env={**os.environ, "DELTARULE_KERNELS": "off"})
    assert done.stdout == f"deltarule: the C++ kernels are turned off (DELTARULE_KERNELS=off); {INSTEAD}\n"
