"""What is taken as an array of numbers, and the line that is said about everything else."""

import datetime

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deltarule.data import all_finite, as_array, as_features, one_hot
from deltarule.data.arrays import is_frame, is_missing
from deltarule.errors import DataError, ShapeError

TABLE = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])


@pytest.mark.parametrize("value", [
    TABLE, TABLE.tolist(), tuple(map(tuple, TABLE)), list(TABLE), jnp.asarray(TABLE), pd.DataFrame(TABLE), pl.DataFrame(TABLE,
     orient="row"),
    TABLE.astype(object), pd.DataFrame(TABLE).astype("Float64"), np.asfortranarray(TABLE),
], ids=["numpy", "lists", "tuples", "arrays", "jax", "pandas", "polars", "objects", "nullable", "fortran"])
def test_every_kind_of_table_gives_the_same_numbers(value):
    np.testing.assert_array_equal(as_array(value), TABLE)
    features = as_features(value)
    np.testing.assert_array_equal(features, TABLE)
    assert features.dtype == np.float32
    assert as_features(value, "float64").dtype == np.float64


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"])
def test_kind_of_number_is_kept(dtype):
    array = np.ones((3, 2), dtype)
    assert as_array(array) is array
    assert as_array(pl.Series([True, False])).dtype == bool
    assert as_array([1, 2]).dtype.kind == "i"


def test_bfloat16_widens_exactly():
    half = as_array(jnp.array([1.5, -0.25], jnp.bfloat16))
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, [1.5, -0.25])


def test_columns_of_mixed_numeric_types():
    mixed = pd.DataFrame({"count": [1, 2], "flag": [True, False]})
    np.testing.assert_array_equal(as_array(mixed), [[1, 1], [2, 0]])
    gaps = as_array(pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}))
    assert gaps[0, 0] == 1
    assert np.isnan(gaps[1, 0])
    assert np.isnan(as_array([[1.0, None]])[0, 1])
    assert as_array([2**70, 1]).dtype == float
    assert as_array(pd.DataFrame({"a": [], "b": []}, dtype=object)).shape == (0, 2)


@pytest.mark.parametrize(("value", "message"), [
    (pd.DataFrame({"mag": [1.0, 2.0], "band": ["V", "R"]}),
     r"x holds text in column 'band' \(first: 'V' in row 0\); read tables with read_table"),
    (pl.DataFrame({"mag": [1.0, 2.0], "band": ["V", "R"]}), r"x holds text in column 'band' \(first: 'V' in row 0\)"),
    ([[1, 2], [3, "four"]], r"x holds text in column 1 \(first: 'four' in row 1\).*Classifier"),
    (np.array(["a", "b"]), r"x holds text \(first: 'a' in row 0\)"),
    ([[1, 2], [3]], r"x is ragged: its rows have different lengths"),
    (np.array([[1, 2], [3]], dtype=object), r"x is ragged: row 0 holds a list"),
    (scipy.sparse.eye(3), r"x is a sparse matrix; make it dense first: x.toarray\(\)"),
    (np.ma.masked_array([1, 2], [True, False]), r"x is a masked array.*filled"),
    (np.array([1j, 2]), r"x holds complex numbers; give real and imaginary part"),
    ([[1, 2j]], r"complex numbers"),
    (np.array([1, 2j], dtype=object), r"x holds complex numbers \(first: 2j in row 1\)"),
    (np.array(["2020-01-01"], "M8[D]"), r"x holds dates or times; turn them into numbers first"),
    ([datetime.date(2020, 1, 1)], r"x holds dates or times \(first: 2020-01-01 in row 0\)"),
    (np.zeros(2, [("a", float), ("b", int)]), r"x holds \[\('a', '<f8'\), \('b', '<i8'\)\], expected numbers"),
    ("table.csv", r"x must be an array, a table or a list of numbers, received str"),
    (None, r"received NoneType"),
    ({"a": [1]}, r"received dict"),
    ([{"a": 1}], r"x holds a dict \(row 0\), expected numbers"),
])
def test_what_is_not_numbers_is_named(value, message):
    with pytest.raises(DataError, match=message) as caught:
        as_array(value)
    assert "\n" not in str(caught.value)


def test_a_conversion_that_fails_is_told_in_one_line():
    class Stubborn:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("call detach() first\nand more")

    with pytest.raises(DataError, match=r"^y \(Stubborn\) cannot be read as an array of numbers: call detach\(\) first$"):
        as_array(Stubborn(), "y")


def test_features_that_fit_are_not_copied():
    x = np.ones((3, 2), np.float32)
    assert as_features(x) is x
    pixels = np.zeros((3, 5, 5, 1), np.uint8)
    assert as_features(pixels, keep_integers=True) is pixels
    assert as_features(pixels).dtype == np.float32
    assert as_features(np.ones((3, 2), np.int64), keep_integers=True).dtype == np.float32


@pytest.mark.parametrize(("value", "error", "message"), [
    (np.ones(3), ShapeError, r"x has shape \(3,\), expected \(rows, features\); write x\[:, None\].*x\[None\]"),
    (7.0, ShapeError, r"x has shape \(\), expected \(rows, features\)"),
    (np.ones((0, 3)), DataError, r"x has shape \(0, 3\): nothing to learn from"),
    (np.ones((3, 0)), DataError, r"x has shape \(3, 0\): nothing to learn from"),
    ([[1.0, np.nan], [np.inf, 2.0]], DataError,
     r"x holds 2 values that are not finite \(first: nan in row 0, column 1\); remove those rows or fill them"),
    ([[1.0, 2.0], [-np.inf, 2.0]], DataError,
     r"x holds 1 value that is not finite \(first: -inf in row 1, column 0\); remove the row or fill it"),
    (pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, np.nan]}), DataError, r"first: nan in row 1, column 'b'"),
    (np.full((2, 3, 5, 1), np.nan), DataError, r"x holds 30 values.*first: nan in row 0, position \(0, 0, 0\)"),
    ([[1.0, 1e300]], DataError, r"x holds 1 value too large for float32 \(first: 1e\+300 in row 0, column 1\); rescale"),
])
def test_features_that_cannot_be_learnt_from(value, error, message):
    with pytest.raises(error, match=message):
        as_features(value)


def test_large_finite_numbers_are_not_mistaken_for_infinity():
    assert all_finite(np.full((11, 3), 3e38, np.float32))  # their sum overflows
    assert not all_finite(np.array([np.inf, -np.inf, 0.0]))
    assert all_finite(np.array([1, 2]))


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(width=32)))
def test_finite_or_refused(x):
    if np.isfinite(x).all():
        np.testing.assert_array_equal(as_features(x), x.astype(np.float32))
    else:
        with pytest.raises(DataError, match=f"x holds {int((~np.isfinite(x)).sum())} value"):
            as_features(x)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=11))
def test_one_hot_is_undone_by_argmax(labels):
    table = one_hot(labels, 7)
    assert table.shape == (len(labels), 7)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table.sum(axis=1), 1)
    np.testing.assert_array_equal(table.argmax(axis=1), labels)
    assert one_hot(labels).shape == (len(labels), max(labels) + 1)


@pytest.mark.parametrize(("labels", "error", "message"), [
    ([0, 3], DataError, r"labels holds 3 in row 1, expected class indices from 0 to 2"),
    ([-1, 0], DataError, r"labels holds -1 in row 0"),
    ([0.0, 1.0], DataError, r"labels holds float64, expected integers; write labels.astype\(int\)"),
    ([[0], [1]], ShapeError, r"labels has shape \(2, 1\), expected \(n,\)"),
    ([], DataError, r"labels is empty"),
])
def test_one_hot_refuses(labels, error, message):
    with pytest.raises(error, match=message):
        one_hot(labels, 3)


def test_frames_and_gaps_are_recognised_without_their_libraries():
    assert is_frame(pd.DataFrame({"a": [1]}))
    assert is_frame(pl.DataFrame({"a": [1]}))
    assert not is_frame(pd.Series([1]))
    assert not is_frame(np.ones((2, 2)))
    assert all(map(is_missing, (None, float("nan"), pd.NA, pd.NaT)))
    assert not any(map(is_missing, (0, "", 1.5, False)))
