"""The C++ kernels against the textbook's sums, in one program after another, batched, and where there is no compiler."""

import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule import kernels, textbook
from deltarule.kernels import building

RNG = np.random.default_rng(11)
CASES = [   # n, (H, W), C, F, kernel, stride, dilation, (top, left): sizes that fill vectors and blocks, and sizes that do not
    (2, (5, 7), 1, 3, (3, 3), (1, 1), (1, 1), (0, 0)),
    (3, (7, 5), 3, 17, (3, 2), (2, 1), (1, 2), (1, 2)),
    (1, (11, 13), 7, 16, (5, 3), (1, 2), (1, 1), (2, 1)),
    (2, (6, 6), 17, 70, (2, 2), (3, 2), (2, 1), (1, 0)),
    (5, (3, 2), 2, 5, (3, 2), (1, 1), (1, 1), (2, 1)),
]
READY = kernels.kernels().ready


def drawn(case):
    n, size, C, F, kernel, stride, dilation, (top, left) = case
    sizes = zip(size, (top, left), kernel, dilation, stride, strict=True)
    out = tuple((side + 2 * pad - (k - 1) * d - 1) // s + 1 for side, pad, k, d, s in sizes)
    x, K, b = RNG.normal(size=(n, *size, C)), RNG.normal(size=(*kernel, C, F)), RNG.normal(size=F)
    return x, K, b, kernels.Geometry(size, kernel, out, (top, left), stride, dilation)


def single(*arrays):
    return [jnp.asarray(array, "float32") for array in arrays]


def close(given, expected, what):
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-6 * max(1, np.max(np.abs(expected))) * np.sqrt(expected.size), err_msg=what)


def test_there_are_kernels_where_there_is_a_compiler():
    """A compiler is one that can say its version: CXX=/bin/false, which stands for none, cannot."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    found = next((path for name in candidates if (path := shutil.which(name))), None)
    works = found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    assert works == READY, kernels.kernels().sentence
    assert ("ready" in kernels.kernels().sentence) == READY


@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize("case", CASES if READY else [], ids=str)
def test_forward_and_backward_are_the_textbooks(case, relu):
    x, K, b, where = drawn(case)
    padding = [(side, side) for side in where.before]
    a = textbook.convolve(x, K, b, stride=where.stride, padding=padding, dilation=where.dilation)
    h = np.maximum(a, 0) if relu else a
    assert h.shape[1:3] == where.output
    x32, K32, b32, h32 = single(x, K, b, h)
    close(kernels.forward(x32, K32, b32, where, relu)[0], h, "h")
    dh = RNG.normal(size=h.shape)
    expected = textbook.convolve_backward(x, K, dh * (a > 0) if relu else dh, stride=where.stride, padding=padding, dilation=where.dilation)
    (d32,), on = single(dh), h32 if relu else None
    dx, dK, db = kernels.backward(x32, K32, on, None, d32, where)
    for given, name in ((dx, "x"), (dK, "K"), (db, "b")):
        close(given, expected[name], f"dL/d{name}")
    np.testing.assert_array_equal(kernels.backward(None, K32, on, None, d32, where)[0], dx)
    np.testing.assert_array_equal(kernels.backward(x32, None, on, None, d32, where)[1], dK)


@pytest.mark.skipif(not READY, reason="no C++ compiler: the test above has checked that this is said")
def test_members_of_an_ensemble_one_after_the_other():
    x, K, b, where = drawn(CASES[0])
    x32, K32, b32 = single(x, np.stack([K, 2 * K, -K]), np.stack([b, b, b]))
    together = jax.jit(jax.vmap(lambda K, b: kernels.forward(x32, K, b, where)[0]))(K32, b32)
    for i in range(3):
        np.testing.assert_array_equal(together[i], kernels.forward(x32, K32[i], b32[i], where)[0])


@pytest.mark.skipif(not READY, reason="no C++ compiler: the test above has checked that this is said")
def test_inside_a_compiled_loop_with_many_threads_at_work():
    """Hundreds of calls inside one program: nobody waits for ever, and the sums of threads are the same every time."""
    x, K, b, where = drawn((31, (9, 8), 3, 19, (3, 3), (1, 1), (1, 1), (1, 1)))
    x32, K32, b32 = single(x, K, b)

    @jax.jit
    def many(K):
        def step(K, _):
            h, _ = kernels.forward(x32, K, b32, where, True)
            _, dK, _ = kernels.backward(x32, None, h, None, h, where)
            return K - 1e-5 * dK, jnp.sum(h)
        return jax.lax.scan(step, K, None, length=200)

    (first, sums), (again, _) = many(K32), many(K32)
    np.testing.assert_array_equal(first, again)
    assert np.all(np.diff(sums) < 0)


def test_without_a_compiler_or_turned_off_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("DELTARULE_KERNELS", "off")
    off = "the C++ kernels are turned off (DELTARULE_KERNELS=off); convolutions run in their JAX form"
    assert building.kernels.__wrapped__() == (False, off)
    monkeypatch.delenv("DELTARULE_KERNELS")
    monkeypatch.setattr(building, "_passing_folder", lambda: tmp_path / "empty")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "no C++ compiler (c++, g++ or clang++) was found: convolutions run in their JAX form" in building.kernels.__wrapped__().sentence
    (tmp_path / "c++").write_text("#!/bin/sh\necho 'line 1: error: no headers' >&2\nexit 1\n")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert "did not compile (c++: line 1: error: no headers)" in building.kernels.__wrapped__().sentence
    (tmp_path / "c++").write_text("#!/bin/sh\nexit 3\n")
    assert "did not compile (c++: exit status 3)" in building.kernels.__wrapped__().sentence


def test_compiling_by_hand_says_one_line():
    done = subprocess.run([sys.executable, "-m", "deltarule.kernels"], capture_output=True, text=True, check=True,
                          env={**os.environ, "DELTARULE_KERNELS": "off"})
    assert done.stdout == "deltarule: the C++ kernels are turned off (DELTARULE_KERNELS=off); convolutions run in their JAX form\n"
