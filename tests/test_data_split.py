"""Every split keeps its promise: whole, disjoint, neither side empty, and what belongs together stays together."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.data import Dataset, iris, wine
from deltarule.data.splitting import cells, folds, group_rows, random_rows, stratified_rows, time_rows
from deltarule.errors import DataError, ShapeError

SHARES = st.floats(0.01, 0.99)


def check(rows, n):
    train, test = rows
    assert len(train)
    assert len(test)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


@given(st.integers(2, 101), SHARES, st.integers(0, 5))
def test_random(n, test, seed):
    rows = random_rows(n, test, seed)
    check(rows, n)
    assert len(rows[1]) == min(max(round(n * test), 1), n - 1)
    np.testing.assert_array_equal(rows[1], random_rows(n, test, seed)[1])


def test_seeds_differ():
    assert random_rows(97, 0.3, 0)[1].tolist() != random_rows(97, 0.3, 1)[1].tolist()


@given(st.lists(st.integers(2, 23), min_size=1, max_size=7), SHARES, st.integers(0, 5))
def test_stratified(counts, test, seed):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = stratified_rows(classes, test, seed)
    check(rows, len(classes))
    share = np.bincount(classes[rows[1]], minlength=len(counts))
    ideal = np.array(counts) * min(max(round(len(classes) * test), 1), len(classes) - 1) / len(classes)
    assert (share >= 1).all()
    assert (share < counts).all()
    assert (np.abs(share - np.clip(ideal, 1, np.array(counts) - 1)) <= 1).all()


def test_stratified_size_is_exact_where_it_can_be():
    classes = np.repeat([0, 1, 2], [47, 31, 19])
    assert len(stratified_rows(classes, 0.2, 0)[1]) == round(97 * 0.2)


@given(st.lists(st.integers(0, 11), min_size=2, max_size=59).filter(lambda g: len(set(g)) > 1), SHARES, st.integers(0, 5))
def test_group(groups, test, seed):
    groups = np.array(groups)
    rows = group_rows(groups, test, seed)
    check(rows, len(groups))
    assert not set(groups[rows[0]]) & set(groups[rows[1]])


def test_group_share_is_near_the_wanted_one():
    groups = np.repeat(np.arange(101), 3)
    assert abs(len(group_rows(groups, 0.2, 0)[1]) - 0.2 * 303) <= 3


@given(st.lists(st.integers(0, 11), min_size=2, max_size=59).filter(lambda t: len(set(t)) > 1), SHARES)
def test_time(times, test):
    times = np.array(times)
    rows = time_rows(times, test)
    check(rows, len(times))
    assert times[rows[0]].max() < times[rows[1]].min()


@given(st.integers(2, 211), st.integers(1, 3), st.integers(0, 5))
def test_cells(n, axes, seed):
    points = np.random.default_rng(seed).normal(size=(n, axes))
    cell = cells(points)
    per_axis = int(np.clip((n / 10) ** (1 / axes), 2, 10))
    assert cell.min() >= 0
    assert cell.max() < per_axis**axes
    assert cell[points.argmin(axis=0)[0]] < per_axis ** (axes - 1)  # the lowest point along the first axis lies in the first layer


@given(st.integers(2, 7), st.integers(7, 61), st.integers(0, 5), st.sampled_from(["rows", "classes", "groups"]))
def test_folds(k, n, seed, kind):
    labels = np.random.default_rng(seed).integers(0, 5, n)
    if kind == "groups":
        labels[:7] = np.arange(7)
    pairs = folds(n, k, seed, **({} if kind == "rows" else {kind: labels}))
    assert len(pairs) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(n))
    for train, test in pairs:
        check((train, test), n)
        if kind == "groups":
            assert not set(labels[train]) & set(labels[test])
        if kind == "classes":
            spread = np.bincount(labels[test], minlength=5) - np.bincount(labels, minlength=5) / k
            assert (np.abs(spread) < 1).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: random_rows(10, 0, 0), r"test is 0, expected a share of the rows between 0 and 1"),
    (lambda: random_rows(10, 1.0, 0), r"test is 1.0"),
    (lambda: random_rows(1, 0.5, 0), r"a split needs at least 2 rows, received 1"),
    (lambda: stratified_rows(np.array([0, 0, 4]), 0.5, 0), r"class 4 has a single row"),
    (lambda: group_rows(np.array(["a", "a"]), 0.5, 0), r"all rows are in one group \(a\).*leave the other empty"),
    (lambda: time_rows(np.array([3, 3]), 0.5), r"all times are equal \(3\)"),
    (lambda: folds(10, 11, 0), r"k is 11, expected from 2 to 10: there are 10 rows"),
    (lambda: folds(10, 3, 0, groups=np.arange(10) % 2), r"k is 3, expected from 2 to 2: there are 2 groups"),
])
def test_impossible_splits(call, message):
    with pytest.raises(DataError, match=message):
        call()


# ------------------------------------------------------------------------------------------------------------------- Dataset

def table(n=60):
    rng = np.random.default_rng(0)
    x = pl.DataFrame({"mag": rng.normal(size=n), "star": [f"s{i % 7}" for i in range(n)], "year": 2000 + np.arange(n) % 13,
                      "ra": rng.uniform(size=n), "dec": rng.uniform(size=n)})
    aside = pl.DataFrame({"night": [f"n{i // 6}" for i in range(n)]})
    return Dataset(x, np.arange(n, dtype=np.int32) % 2, tuple(x.columns), ("no", "yes"), "variable", "stars", "made here", aside=aside)


def test_auto_is_stratified_for_classes_and_random_for_numbers():
    train, test = iris().split(0.2)
    np.testing.assert_array_equal(np.bincount(test.y), [10, 10, 10])
    numbers = Dataset(iris().x, iris().x[:, 0], iris().feature_names, None, "length", "iris", "")
    np.testing.assert_array_equal(numbers.split(0.2, seed=3)[1].x, numbers.x[random_rows(150, 0.2, 3)[1]])
    assert numbers.problem == "regression"
    assert len(train) == 120


def test_a_group_column_leaves_the_features():
    train, test = table().split(0.3, "group:star")
    assert train.feature_names == ("mag", "year", "ra", "dec")
    assert list(train.x.columns) == ["mag", "year", "ra", "dec"]
    assert not set(train.aside["star"]) & set(test.aside["star"])
    assert set(train.aside["night"]) | set(test.aside["night"]) == {f"n{i}" for i in range(10)}
    assert "column 'star' only decides the groups; it is not a feature" in test.notes


def test_a_column_set_aside_may_decide():
    train, test = table().split(0.3, "group:night")
    assert train.feature_names == table().feature_names
    assert not set(train.aside["night"]) & set(test.aside["night"])


def test_time_and_blocks_keep_their_columns():
    train, test = table().split(0.3, "time:year")
    assert train.x["year"].max() < test.x["year"].min()
    train, test = table(200).split(0.3, "blocks:ra,dec")
    whole = table(200)
    cell = dict(zip(whole.x["mag"], cells(whole.x.select("ra", "dec").to_numpy()), strict=True))
    assert not {cell[mag] for mag in train.x["mag"]} & {cell[mag] for mag in test.x["mag"]}
    assert train.feature_names == whole.feature_names


def test_arrays_split_by_values_given():
    data = wine()
    groups = np.arange(178) // 11
    train, test = data.split(0.25, "group", by=groups)
    assert len(train) + len(test) == 178
    assert train.x.shape[1] == 13
    early, late = data.split(0.25, "time", by=data.x[:, 0])
    assert early.x[:, 0].max() < late.x[:, 0].min()
    named = data.split(0.25, "group:magnesium")[0]
    assert named.x.shape[1] == 12
    assert "magnesium" not in named.feature_names
    assert len(data.split(0.25, "blocks", by=data.x[:, :2])[1])
    names = np.array([f"g{g}" for g in groups], dtype=object)
    index = Dataset(np.arange(178.0)[:, None], data.y, ("row",), data.class_names, "class", "wine", "")
    train, test = index.split(0.25, "group", by=names)
    assert not set(names[train.x[:, 0].astype(int)]) & set(names[test.x[:, 0].astype(int)])


def test_kfold():
    for how in ("auto", "random", "group:star", "blocks:ra,dec"):
        parts = table().kfold(3, how)
        assert sum(len(test) for _, test in parts) == 60
    assert parts[0][0].feature_names == table().feature_names
    with pytest.raises(DataError, match="kfold cannot divide by time"):
        table().kfold(3, "time:year")


@pytest.mark.parametrize(("how", "by", "error", "message"), [
    ("shuffled", None, DataError, r"how is 'shuffled', expected one of auto, random, stratified, group:COLUMN"),
    ("group", None, DataError, r"a split by group needs either a column, how='group:COLUMN', or its values, by=array"),
    ("group:star", [1], DataError, r"a split by group needs either"),
    ("group:stra", None, DataError, r"stars has no column 'stra'; did you mean 'star' or 'ra'\?"),
    ("group:star,year", None, DataError, r"a split by group takes one column, received star, year"),
    ("time:star", None, DataError, r"column 'star' holds text \('s0'\), expected numbers or dates"),
    ("blocks:star,ra", None, DataError, r"column 'star' holds text \('s0'\), expected numbers"),
    ("random:star", None, DataError, r"a random split looks at no column"),
    ("time", np.ones(7), ShapeError, r"by has shape \(7,\), expected \(60,\): one value per row"),
    ("blocks", np.ones((7, 2)), ShapeError, r"by has shape \(7, 2\), expected \(60, axes\)"),
    ("time", np.full(60, np.nan), DataError, r"by holds values that are not finite"),
    ("group", ["a", None] * 30, DataError, r"by has 30 missing values; remove those rows"),
    ("time", np.ones(60), DataError, r"all times are equal"),
])
def test_split_errors(how, by, error, message):
    with pytest.raises(error, match=message):
        table().split(0.3, how, by=by)


def test_gaps_cannot_decide():
    data = table()
    gap = data.x.with_columns(star=pl.when(pl.col("mag") > 0).then(pl.col("star")))
    with pytest.raises(DataError, match=r"column 'star' has \d+ missing values, so group cannot be decided by it"):
        Dataset(gap, data.y, data.feature_names, data.class_names, "variable", "stars", "").split(how="group:star")


def test_a_class_seen_once_and_numbers_cannot_be_stratified():
    y = np.array([0] * 9 + [1])
    data = Dataset(np.ones((10, 2)), y, ("a", "b"), ("usual", "rare"), "kind", "toy", "")
    with pytest.raises(DataError, match=r"class 'rare' of target 'kind' has a single row, so it cannot be both learnt and tested"):
        data.split()
    with pytest.raises(DataError, match=r"target 'kind' is a number, so there are no classes to stratify; use how='random'"):
        Dataset(np.ones((10, 2)), y, ("a", "b"), None, "kind", "toy", "").split(how="stratified")
    with pytest.raises(DataError, match=r"'a' is the only feature"):
        Dataset(np.arange(10.0)[:, None], y, ("a",), None, "kind", "toy", "").split(how="group:a")


def test_subset_by_rows_and_mask():
    data = table()
    np.testing.assert_array_equal(data.subset(np.arange(60) % 3 == 0).y, data.y[::3])
    assert data.subset([5, 2]).x["star"].to_list() == ["s5", "s2"]
    assert data.subset([5, 2]).aside["night"].to_list() == ["n0", "n0"]
    assert data.is_table
    assert not iris().is_table
    assert len(data.subset(range(7))) == 7


@pytest.mark.parametrize(("x", "y", "names", "classes", "error", "message"), [
    (np.ones((3, 2)), np.ones(5), ("a", "b"), None, ShapeError, r"toy: x holds 3 rows and y has shape \(5,\), expected \(3,\)"),
    (np.ones((3, 2)), np.ones((3, 1)), ("a", "b"), None, ShapeError, r"y has shape \(3, 1\), expected \(3,\)"),
    (np.ones((3, 2)), np.ones(3), ("a",), None, ShapeError, r"x has 2 columns and there are 1 feature names"),
    (np.ones((3, 2)), np.ones(3), ("a", "b"), ("no", "yes"), DataError, r"y holds float64, expected class indices"),
    (np.ones((3, 2)), np.array([0, 1, 2]), ("a", "b"), ("no", "yes"), DataError, r"y holds 0 to 2, expected class indices from 0 to 1"),
])
def test_a_dataset_fits_together(x, y, names, classes, error, message):
    with pytest.raises(error, match=message):
        Dataset(x, y, names, classes, "target", "toy", "")
