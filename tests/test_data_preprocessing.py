"""Fitted on the training part, applied to the rest, stored exactly; scikit-learn's scaler and plain NumPy are the oracles."""

import datetime
import json
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import StandardScaler

from deltarule.data import Labels, Preprocessor, TargetScaler, wine
from deltarule.data.columns import Column, as_texts, moments
from deltarule.errors import DataError, ModelFileError, ShapeError


def through_json(thing):
    return type(thing).from_json(json.loads(json.dumps(thing.to_json())))


FRAME = pl.DataFrame({
    "mag": [1.0, None, 3.0, 8.0, 8.0], "band": ["V", "R", "V", None, "B"], "seen": [True, False, True, True, False],
    "night": [datetime.date(1970, 1, d) for d in (1, 2, 3, 4, 5)], "field": [7, 7, 7, 7, 7],
})


# -------------------------------------------------------------------------------------------------------------------- arrays

def test_columns_are_standardized_as_scikit_learn_does():
    train, test = wine().split()
    pre = Preprocessor.fit(train.x)
    oracle = StandardScaler().fit(train.x.astype(np.float64))
    np.testing.assert_allclose(pre.transform(train.x), oracle.transform(train.x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pre.transform(test.x), oracle.transform(test.x), rtol=1e-6, atol=1e-6)
    assert pre.transform(test.x).dtype == np.float32
    assert through_json(pre) == pre
    np.testing.assert_array_equal(through_json(pre).transform(test.x), pre.transform(test.x))


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 11), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)))
def test_any_array_comes_back_from_json_to_the_bit(x):
    pre = through_json(Preprocessor.fit(x))
    z = pre.transform(x)
    constant = np.ptp(x, axis=0) == 0
    np.testing.assert_allclose(z[:, constant], 0, atol=1e-6)
    assert (np.abs(z.mean(axis=0)) < 1e-3).all()
    np.testing.assert_array_equal(z, Preprocessor.fit(x).transform(x))


def test_large_offsets_are_subtracted_before_rounding():
    seconds = 1.7e9 + np.arange(11.0)[:, None]  # float32 would make them all equal
    z = Preprocessor.fit(seconds).transform(seconds)
    np.testing.assert_allclose(z[:, 0], (np.arange(11) - 5) / np.sqrt(10), rtol=1e-6)
    whole = Preprocessor.fit(seconds.astype(np.int64)).transform(seconds.astype(np.int64))
    np.testing.assert_array_equal(whole, z)


def test_rows_are_treated_in_pieces_alike():
    x = np.random.default_rng(0).normal(3, 2, (9001, 2)).astype(np.float32)
    mean, scale = moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(scale, x.std(axis=0, dtype=float), rtol=1e-9)
    np.testing.assert_allclose(Preprocessor.fit(x).transform(x), (x - mean) / scale, rtol=1e-5, atol=1e-5)


def test_units_may_be_kept():
    x = np.array([[1.0, 500.0], [2.0, 700.0]])
    np.testing.assert_array_equal(Preprocessor.fit(x, standardize=False).transform(x), x)
    images = np.full((3, 5, 5, 1), 7, np.uint8)
    np.testing.assert_array_equal(Preprocessor.fit(images, standardize=False).transform(images), images)


def test_images_share_one_offset_and_range():
    images = np.random.default_rng(0).integers(3, 244, (7, 5, 3, 1)).astype(np.uint8)
    pre = Preprocessor.fit(images)
    z = pre.transform(images)
    np.testing.assert_allclose(z, (images - images.min()) / np.ptp(images).astype(float), rtol=1e-6)
    assert z.shape == images.shape
    assert (pre.output_names, pre.feature_names, pre.kinds, pre.output_shape) == ((), (), {}, (5, 3, 1))
    assert through_json(pre) == pre
    constant = np.full((2, 3, 5), 4.0)
    np.testing.assert_array_equal(Preprocessor.fit(constant).transform(constant), 0)


def test_named_arrays_accept_tables_by_name():
    data = wine()
    pre = Preprocessor.fit(data.x, data.feature_names)
    shuffled = pl.DataFrame(data.x, schema=list(data.feature_names)).select(reversed(data.feature_names)).with_columns(colour=pl.lit("red"))
    z, notes = pre.transform_with_notes(shuffled)
    np.testing.assert_array_equal(z, pre.transform(data.x))
    assert notes == ["column not used: 'colour'"]
    assert pre.kinds["alcohol"] == "number"
    assert pre.output_names == data.feature_names
    with pytest.raises(DataError, match=r"column missing: 'hue'; the table has 'proline', .* and 5 more$"):
        pre.transform(shuffled.drop("hue"))
    with pytest.raises(DataError, match=r"x holds 1 value that is not finite \(first: nan in row 1, column 'a'\)"):
        Preprocessor.fit([[1.0], [2.0]], ["a"]).transform(pl.DataFrame({"a": [1.0, None]}))


@pytest.mark.parametrize(("x", "error", "message"), [
    (np.ones((5, 3)), ShapeError, r"x has shape \(5, 3\), expected \(n, 2\) as in training"),
    (np.ones((5, 2, 1)), ShapeError, r"x has shape \(5, 2, 1\), expected \(n, 2\)"),
    (np.ones(2), ShapeError, r"x has shape \(2,\), expected \(rows, features\)"),
    (np.ones((0, 2)), DataError, r"nothing to learn from"),
    ([[1.0, np.nan]], DataError, r"x holds 1 value that is not finite \(first: nan in row 0, column 1\)"),
    ([["a", 1.0]], DataError, r"x holds text in column 0 \(first: 'a' in row 0\)"),
    (pl.DataFrame({"a": [1.0], "b": [2.0]}), DataError,
     r"trained on an array of shape \(n, 2\) without column names; received a DataFrame, pass its numbers: x.to_numpy\(\)"),
    ([[1e300, 0.0]], DataError, r"row 0 of x holds a value too far from those of the training part"),
])
def test_arrays_that_do_not_fit(x, error, message):
    with pytest.raises(error, match=message):
        Preprocessor.fit([[1.0, 2.0], [3.0, 5.0]]).transform(x)


def test_fits_that_cannot_be():
    with pytest.raises(ShapeError, match=r"x has 2 columns and there are 1 feature names; give one name per column"):
        Preprocessor.fit(np.ones((3, 2)), ["a"])
    with pytest.raises(DataError, match=r"column 1 holds numbers too large to be squared \(up to 1e\+200\); use other units"):
        Preprocessor.fit([[1.0, 1e200], [1.0, -1e200]])
    with pytest.raises(DataError, match=r"column 'a' has no values; leave it out"):
        Preprocessor.fit(pl.DataFrame({"a": [None, None]}))
    with pytest.raises(DataError, match=r"column 'a' is of type List\(Int64\), expected numbers, booleans, dates or text"):
        Preprocessor.fit(pl.DataFrame({"a": [[1], [2]]}))
    with pytest.raises(DataError, match=r"x has no rows"):
        Preprocessor.fit(pl.DataFrame({"a": []}))
    with pytest.raises(DataError, match=r"column 'a' holds inf in row 1, expected finite numbers"):
        Preprocessor.fit(pl.DataFrame({"a": [1.0, math.inf]}))


# -------------------------------------------------------------------------------------------------------------------- tables

def test_a_table_becomes_numbers():
    pre = Preprocessor.fit(FRAME)
    assert pre.output_names == ("mag", "mag missing", "band=B", "band=R", "band=V", "band=other", "seen", "night", "field")
    assert pre.kinds == {"mag": "number", "band": "category", "seen": "boolean", "night": "date", "field": "number"}
    z, notes = pre.transform_with_notes(FRAME)
    known = np.array([1.0, 3.0, 8.0, 8.0])
    filled = np.array([1.0, np.median(known), 3.0, 8.0, 8.0])
    np.testing.assert_allclose(z[:, 0], (filled - known.mean()) / known.std(), rtol=1e-6)
    np.testing.assert_array_equal(z[:, 1], [0, 1, 0, 0, 0])
    np.testing.assert_array_equal(z[:, 2:6], [[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    np.testing.assert_array_equal(z[:, 6], [1, 0, 1, 1, 0])
    np.testing.assert_allclose(z[:, 7], np.arange(-2, 3) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(z[:, 8], 0)
    assert notes == []
    assert (z.dtype, z.shape) == (np.float32, (5, 9))
    assert pre.output_shape == (9,)
    again = through_json(pre)
    assert again == pre
    np.testing.assert_array_equal(again.transform(FRAME), z)


def test_the_order_of_columns_is_free_and_pandas_is_as_good():
    pre = Preprocessor.fit(FRAME)
    np.testing.assert_array_equal(pre.transform(FRAME.select(reversed(FRAME.columns))), pre.transform(FRAME))
    frame = pd.DataFrame({"mag": [1.0, np.nan, 3.0, 8.0, 8.0], "band": ["V", "R", "V", None, "B"], "seen": [True, False, True, True, False],
                          "night": pd.to_datetime(["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04", "1970-01-05"]), "field": 7})
    np.testing.assert_array_equal(pre.transform(frame), pre.transform(FRAME))
    assert Preprocessor.fit(frame) == pre
    np.testing.assert_array_equal(pre.transform(frame.astype({"mag": "Float64"})), pre.transform(FRAME))


def test_what_training_had_not_shown_is_noted():
    pre = Preprocessor.fit(FRAME)
    new = pl.DataFrame({"band": ["Q", "V", "U", "Q"], "seen": [True, None, False, True], "mag": [None, 1.0, float("nan"), 2.0],
                        "night": [datetime.datetime(1970, 1, 3, 12)] * 4, "field": [7.0, None, None, 9.0], "extra": [1, 2, 3, 4]})
    z, notes = pre.transform_with_notes(new)
    assert notes == [
        "column not used: 'extra'",
        "column 'band': 'Q', 'U' (3 rows) not among the categories learnt, coded as 'other'",
        "column 'seen': 1 row without a value, which the training part did not have; filled with 1",
        "column 'field': 2 rows without a value, which the training part did not have; filled with 7",
    ]
    np.testing.assert_array_equal(z[:, 5], [1, 0, 1, 1])
    np.testing.assert_array_equal(z[:, 1], [1, 0, 1, 0])
    np.testing.assert_array_equal(z[:, 6], [1, 1, 0, 1])
    np.testing.assert_allclose(z[:, 7], 0.5 / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(z[:, 8], [0, 0, 0, 2])
    plain = Preprocessor.fit(pl.DataFrame({"band": ["V", "R"]}))
    assert plain.transform_with_notes(pl.DataFrame({"band": [None, "V"]}))[1] == [
        "column 'band': 1 row without a value, which the training part did not have; coded as 'other'"]
    np.testing.assert_array_equal(plain.transform(pl.DataFrame({"band": pl.Series([None], dtype=pl.String)})), [[0, 0, 1]])


def test_numbers_match_categories_as_they_are_written():
    pre = Preprocessor.fit(pl.DataFrame({"code": ["1", "2", "x"]}))
    for codes in ([1, 2], [1.0, 2.0]):
        np.testing.assert_array_equal(pre.transform(pl.DataFrame({"code": codes})), [[1, 0, 0, 0], [0, 1, 0, 0]])
    assert as_texts(pl.Series([True, None])) == ["true", None]


def test_rare_categories_share_a_code():
    texts = [f"k{i % 150}" for i in range(300)] + [f"k{i}" for i in range(50, 150)]
    pre = Preprocessor.fit(pl.DataFrame({"kind": texts}))
    assert len(pre.output_names) == 101
    assert set(pre.columns[0].levels) == {f"k{i}" for i in range(50, 150)}
    assert pre.transform(pl.DataFrame({"kind": ["k0"]}))[0].argmax() == 100


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: f.drop("mag"), r"column missing: 'mag'; the table has 'band', 'seen', 'night', 'field'"),
    (lambda f: f.rename({"band": "bands"}), r"column missing: 'band'; did you mean 'bands'\?"),
    (lambda f: f.drop("mag", "seen").rename({"band": "Band"}), r"columns missing: 'mag', 'band', 'seen'; the table has"),
    (lambda f: f.drop("mag", "seen"), r"columns missing: 'mag', 'seen'; the table has"),
    (lambda f: f.with_columns(mag=pl.lit("faint")), r"column 'mag' holds text \('faint' in row 0\), expected numbers"),
    (lambda f: f.with_columns(mag=pl.col("night")), r"column 'mag' holds dates \('1970-01-01' in row 0\), expected numbers"),
    (lambda f: f.with_columns(night=pl.lit(3)), r"column 'night' holds numbers \('3' in row 0\), expected dates"),
    (lambda f: f.with_columns(mag=pl.lit(-math.inf)), r"column 'mag' holds -inf in row 0, expected finite numbers"),
    (lambda f: f.with_columns(mag=pl.lit(1e300)), r"row 0 of x holds a value too far from those of the training part"),
    (lambda f: f.clear(), r"x has no rows"),
    (lambda f: np.ones((3, 5)), r"the model was trained on a table with columns 'mag', 'band', 'seen', 'night', 'field'; received ndarray"),
    (lambda f: pd.DataFrame({0: [1]}), r"x has a column called 0, expected text; write x.columns = x.columns.astype\(str\)"),
    (lambda f: pd.DataFrame([[1, 2]], columns=["a", "a"]), r"x has two columns called 'a'; rename one of them"),
    (lambda f: pd.DataFrame({"mag": [1.0, "a"]}, dtype=object), r"column 'mag' of x mixes types; give every column one type"),
])
def test_tables_that_do_not_fit(change, message):
    with pytest.raises(DataError, match=message) as caught:
        Preprocessor.fit(FRAME).transform(change(FRAME))
    assert "\n" not in str(caught.value)


def test_many_columns_are_not_all_listed():
    pre = Preprocessor.fit(pl.DataFrame({f"c{i}": [1.0, 2.0] for i in range(11)}))
    with pytest.raises(DataError, match=r"columns missing: 'c0', 'c1', .*'c7' and 3 more; the table has 'a'"):
        pre.transform(pl.DataFrame({"a": [1]}))


@pytest.mark.parametrize("damage", [
    lambda d: d.pop("form"), lambda d: d.update(form="pickle"), lambda d: d.update(shape=[3]), lambda d: d.update(shape="ab"),
    lambda d: d["columns"][0].update(kind="code"), lambda d: d["columns"][0].update(mean=math.nan),
     lambda d: d["columns"][0].update(scale=0.0),
    lambda d: d["columns"][0].update(mean="1"), lambda d: d["columns"][0].update(extra=1), lambda d: d["columns"].append(3),
    lambda d: d.update(columns=None),
])
def test_a_damaged_description_is_refused(damage):
    description = json.loads(json.dumps(Preprocessor.fit(FRAME).to_json()))
    damage(description)
    with pytest.raises(ModelFileError, match=r"the preprocessing of the model file is damaged"):
        Preprocessor.from_json(description)


def test_column_names_of_outputs():
    assert Column("a").output_names == ("a",)
    assert Column("a", flagged=True).output_names == ("a", "a missing")
    assert Column("a", "category", flagged=True, levels=("x",)).output_names == ("a=x", "a=other")


# ------------------------------------------------------------------------------------------------------------------- targets

@given(hnp.arrays(np.float64, st.one_of(st.tuples(st.integers(2, 11)), st.tuples(st.integers(2, 11), st.integers(1, 3))),
                  elements=st.floats(-1e6, 1e6)))
def test_targets_there_and_back(y):
    scaler = TargetScaler.fit(y)
    z = scaler.transform(y)
    assert (z.shape, z.dtype) == (y.shape, np.float32)
    np.testing.assert_allclose(scaler.inverse(z), y, rtol=1e-5, atol=1e-6 * np.abs(y).max() + 1e-30)
    assert through_json(scaler) == scaler


def test_targets_are_standard_scores():
    y = np.array([[1.0, 100.0], [2.0, 100.0], [6.0, 100.0]])
    z = TargetScaler.fit(y).transform(y)
    np.testing.assert_allclose(z[:, 0], (y[:, 0] - 3) / np.std([1, 2, 6]), rtol=1e-6)
    np.testing.assert_array_equal(z[:, 1], 0)
    column = TargetScaler.fit(y[:, 0])
    np.testing.assert_allclose(column.inverse(np.zeros((5, 1))), np.full((5, 1), 3.0))
    np.testing.assert_allclose(column.transform(y[:, :1]), z[:, :1])


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: TargetScaler.fit([1.0, np.nan]), DataError, r"y holds 1 value that is not finite"),
    (lambda: TargetScaler.fit(np.ones((2, 3, 5))), ShapeError, r"y has shape \(2, 3, 5\), expected \(n,\) or \(n, outputs\)"),
    (lambda: TargetScaler.fit([1.0, 2.0]).transform(np.ones((5, 2))), ShapeError,
     r"shape \(5, 2\) have 2 outputs, expected 1 as in training"),
    (lambda: TargetScaler.fit(np.ones((5, 2))).inverse(np.ones(7)), ShapeError, r"shape \(7,\) have 1 output, expected 2 as in training"),
    (lambda: TargetScaler.from_json({"mean": [1.0]}), ModelFileError, r"the target scale of the model file is damaged \(KeyError"),
    (lambda: TargetScaler.from_json({"mean": [1.0], "scale": [0.0]}), ModelFileError, r"damaged \(impossible values\)"),
    (lambda: TargetScaler.from_json({"mean": [1.0], "scale": [1.0, 2.0]}), ModelFileError, r"damaged \(impossible values\)"),
])
def test_targets_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -------------------------------------------------------------------------------------------------------------------- labels

@given(st.one_of(st.lists(st.text("aßZ 0", max_size=3), min_size=2, max_size=11), st.lists(st.integers(-5, 5), min_size=2, max_size=11),
                 st.lists(st.booleans(), min_size=2, max_size=11), st.lists(st.floats(-5, 5), min_size=2, max_size=11))
       .filter(lambda y: len(set(y)) > 1))
def test_labels_there_and_back(y):
    labels = through_json(Labels.fit(y))
    assert labels == Labels.fit(y)
    assert {type(value) for value in labels.values} == {type(y[0])}
    indices = labels.encode(y)
    assert indices.dtype == np.int32
    assert labels.decode(indices).tolist() == y
    assert list(labels.values) == sorted(set(y))


@pytest.mark.parametrize("y", [np.array(["b", "a"]), pd.Series(["b", "a"]), pl.Series(["b", "a"]), ["b", "a"], pd.Series(["b", "a"],
 dtype="category"),
                               np.array(["b", "a"], dtype=object), (np.str_("b"), np.str_("a"))])
def test_labels_from_everywhere(y):
    assert Labels.fit(y).values == ("a", "b")
    assert Labels.fit(y).encode(y).tolist() == [1, 0]


def test_labels_keep_their_type():
    assert Labels.fit(np.array([3, 1], np.uint8)).decode([0, 1]).dtype.kind == "i"
    assert Labels.fit(np.array([True, False])).decode(np.array([[0], [1]])).tolist() == [[False], [True]]
    assert Labels.fit([3, 1]).encode([1.0, 3.0]).tolist() == [0, 1]
    assert Labels.fit([10, 9]).names == ("9", "10")


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Labels.fit(["a", "a"]), DataError, r"y holds one class only \('a'\), expected at least two"),
    (lambda: Labels.fit([]), DataError, r"y holds nothing, expected text, numbers or booleans as classes"),
    (lambda: Labels.fit(["a", 1]), DataError, r"y mixes int and str, expected classes of one type"),
    (lambda: Labels.fit([1j, 2j]), DataError, r"y holds complex, expected text, numbers or booleans"),
    (lambda: Labels.fit([1.0, np.nan]), DataError, r"y has no class in row 1 \(nan\); remove that row"),
    (lambda: Labels.fit(["a", None]), DataError, r"y has no class in row 1 \(None\)"),
    (lambda: Labels.fit(pd.Series(["a", pd.NA], dtype=object)), DataError, r"y has no class in row 1 \(<NA>\)"),
    (lambda: Labels.fit([[0], [1]]), ShapeError, r"y has shape \(2, 1\), expected \(n,\).*ravel"),
    (lambda: Labels.fit(["a", "b"]).encode(["a", "c"]), DataError,
     r"y holds the class 'c' in row 1, which the model does not know; known: 'a', 'b'"),
    (lambda: Labels.fit(["0", "1"]).encode([0]), DataError, r"y holds the class 0 in row 0"),
    (lambda: Labels.fit([0, 1]).encode([True]), DataError, r"y holds the class True in row 0"),
    (lambda: Labels.fit(list(range(11))).encode([11]), DataError, r"known: 0, 1, .*9, \.\.\.$"),
    (lambda: Labels.from_json({"type": "object", "values": [1]}), ModelFileError,
     r"the class labels of the model file are damaged \(KeyError"),
])
def test_labels_that_cannot_be(call, error, message):
    with pytest.raises(error, match=message):
        call()
