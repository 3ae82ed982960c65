"""Tasks that ask for memory: what they promise, and what can be reached without memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule import data
from deltarule.errors import DeltaruleError


@given(st.integers(1, 20), st.integers(2, 31), st.integers(0, 5))
def test_adding_marks_one_number_in_each_half(n, length, seed):
    made = data.adding(n, length, seed)
    values, marks = made.x[:, :, 0], made.x[:, :, 1]
    assert (made.x.shape, made.x.dtype, made.y.dtype, made.problem) == ((n, length, 2), np.float32, np.float32, "regression")
    np.testing.assert_array_equal(marks[:, :length // 2].sum(axis=1), np.ones(n))
    np.testing.assert_array_equal(marks[:, length // 2:].sum(axis=1), np.ones(n))
    assert set(np.unique(marks)) <= {0, 1}
    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(made.y, (values * marks).sum(axis=1), rtol=1e-6)


def test_adding_without_memory_has_the_error_one_sixth():
    """The sum of two even numbers has the variance 2 / 12; the standard error of 40000 squares is about 0.001."""
    y = data.adding(40000, 4, seed=1).y
    assert np.mean((y - 1.0)**2) == pytest.approx(1 / 6, abs=0.004)


def test_adding_marks_every_place_equally_often():
    places = data.adding(20000, 10, seed=2).x[:, :, 1].mean(axis=0)
    np.testing.assert_allclose(places, 0.2, atol=0.015)


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 9), st.integers(1, 7))
def test_copying_asks_for_the_word_after_the_delay(n, delay, symbols, length):
    x, y = data.copying(n, delay, 3, symbols=symbols, length=length)
    assert x.shape == y.shape == (n, delay + 2 * length)
    assert x.dtype == y.dtype == np.int32
    for read, said in zip(x, y, strict=True):
        begin = int(np.flatnonzero(read == symbols + 1)[0])
        assert begin == length + delay - 1
        np.testing.assert_array_equal(read[:length], said[begin + 1:])
        assert not read[length:begin].any()
        assert not read[begin + 1:].any()
        assert not said[:begin + 1].any()
        assert 1 <= read[:length].min() <= read[:length].max() <= symbols


@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 9), st.data())
def test_reversing_turns_words_round(n, length, symbols, draw):
    shortest = draw.draw(st.none() | st.integers(1, length))
    x, y = data.reversing(n, length, 4, symbols=symbols, shortest=shortest)
    assert x.shape == y.shape == (n, length)
    for read, said in zip(x, y, strict=True):
        word = [int(symbol) for symbol in read if symbol]
        assert [int(symbol) for symbol in said] == word[::-1] + [0] * (length - len(word))
        assert (shortest or length) <= len(word) <= length
        assert max(word) <= symbols


@pytest.mark.parametrize("make", [data.copying, data.reversing, lambda n, seed: (data.adding(n, seed=seed).x, data.adding(n, seed=seed).y)])
def test_the_seed_decides(make):
    for first, again in zip(make(5, seed=7), make(5, seed=7), strict=True):
        np.testing.assert_array_equal(first, again)
    assert (make(5, seed=7)[1] != make(5, seed=8)[1]).any()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: data.adding(0), "n expected a whole number of at least 1, received 0"),
    (lambda: data.adding(3, 1), "length expected a whole number of at least 2, received 1"),
    (lambda: data.adding(3, seed=-1), "seed expected a whole number of at least 0, received -1"),
    (lambda: data.copying(3, 2.5), "delay expected a whole number of at least 1, received 2.5"),
    (lambda: data.copying(3, symbols=0), "symbols expected a whole number of at least 1, received 0"),
    (lambda: data.reversing(3, True), "length expected a whole number of at least 1, received True"),
    (lambda: data.reversing(3, 4, shortest=5), "shortest expected a whole number of at least 1 and at most 4, received 5"),
])
def test_what_cannot_be_made(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()
