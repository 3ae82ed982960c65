"""Each rule of the audit speaks where it should and is silent where it should be."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from deltarule.data import Dataset, audit, breast_cancer, diabetes, digits, iris, wine


def dataset(x, y, classes=("no", "yes")):
    names = tuple(x.columns) if isinstance(x, pl.DataFrame) else tuple(f"f{j}" for j in range(x.shape[1])) if x.ndim == 2 else ()
    y = np.asarray(y)
    return Dataset(x, y.astype(np.int32) if classes else y.astype(np.float32), names, classes, "target", "toy", "made here")


def noise(n=200, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, columns)).astype(np.float32), rng.integers(0, 2, n)


def titles(data, test=0.25):
    return [finding.title for finding in audit(*data.split(test))]


def by_title(data, title):
    return [finding for finding in audit(*data.split(0.25)) if finding.title == title]


GIVEN_AWAY = "a column gives the target away"


def test_silence_on_ordinary_data():
    x, y = noise()
    assert titles(dataset(x, y)) == []
    assert titles(dataset(x, x @ np.arange(5.0), None)) == []


@pytest.mark.parametrize("source", [wine, iris, digits, breast_cancer, diabetes])
def test_real_data_give_nothing_away(source):
    for seed in range(3):
        assert GIVEN_AWAY not in [finding.title for finding in audit(*source().split(0.2, seed=seed))]


def test_rows_in_both_parts():
    x, y = noise()
    train, test = dataset(x, y).split(0.25)
    mixed = dataclasses.replace(test, x=np.concatenate([train.x[:7], test.x[7:]]))
    finding, = audit(train, mixed)
    assert finding.level == "warning"
    assert finding.evidence == f"7 of {len(test)} test rows (14.0 %) have exactly the features of a training row"
    one = dataclasses.replace(test, x=np.concatenate([train.x[:1], test.x[1:]]))
    assert [f.level for f in audit(train, one)] == ["note"]
    frame = pl.DataFrame({"a": ["x", None, "y", "z"], "b": [1.0, 2.0, None, 4.0]})
    table = dataset(frame, [0, 0, 1, 1])
    repeated = [f for f in audit(table.subset([0, 1]), table.subset([1, 2, 0])) if f.title == "test rows that were trained on"]
    assert repeated[0].evidence.startswith("2 of 3 test rows (66.7 %)")
    zero = dataset(np.array([[0.0, 1.0]], np.float32), [0])
    minus = dataset(np.array([[-0.0, 1.0]], np.float32), [0])
    assert "test rows that were trained on" in [f.title for f in audit(zero, minus)]


@pytest.mark.parametrize("column", [
    lambda y, rng: y, lambda y, rng: 3 - 5 * y, lambda y, rng: y + rng.uniform(-0.4, 0.4, len(y)),
    lambda y, rng: np.where(y == 1, rng.integers(0, 3, len(y)) * 2, rng.integers(0, 3, len(y)) * 2 + 1),
], ids=["copy", "scaled", "noisy", "codes"])
def test_a_column_that_gives_a_class_away(column):
    x, y = noise()
    x[:, 3] = column(y, np.random.default_rng(1))
    finding, = by_title(dataset(x, y), GIVEN_AWAY)
    assert finding.level == "warning"
    assert finding.evidence.startswith("'f3' alone predicts 'target' in 100.0 % of the training rows, the best other column in ")
    assert "ask when 'f3' becomes known" in finding.remedy


def test_two_copies_are_both_named_and_an_easy_problem_is_not_accused():
    x, y = noise(columns=11)
    x[:, 2] = y
    x[:, 5] = -y
    assert len(by_title(dataset(x, y), GIVEN_AWAY)) == 2
    blobs = x[:, :3] + 20 * y[:, None]
    assert by_title(dataset(blobs, y), GIVEN_AWAY) == []
    assert by_title(dataset(x[:12], y[:12] * 0 + np.arange(12) % 2), GIVEN_AWAY) == []  # too few rows to say


def test_identifiers_and_good_features_are_not_accused():
    x, y = noise()
    frame = pl.DataFrame({"id": [f"star {i}" for i in range(200)], "a": x[:, 0]})
    assert by_title(dataset(frame, y), GIVEN_AWAY) == []
    x[:, 1] = np.where(np.arange(200) % 20 == 0, 1 - y, y)  # right in 95 % of the rows
    assert by_title(dataset(x, y), GIVEN_AWAY) == []


def test_text_that_gives_a_class_away():
    x, y = noise()
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "verdict": np.where(y == 1, "ill", "well")})
    finding, = by_title(dataset(frame, y), GIVEN_AWAY)
    assert finding.evidence.startswith("'verdict' alone predicts")
    holes = frame.with_columns(verdict=pl.when(pl.lit(y) == 1).then(pl.lit("ill")))  # filled in for the ill only
    assert len(by_title(dataset(holes, y), GIVEN_AWAY)) == 1


def test_a_column_that_gives_a_number_away():
    x, _ = noise()
    y = np.random.default_rng(2).normal(size=200)
    x[:, 2] = 32 - 1.8 * y
    finding, = by_title(dataset(x, y, None), GIVEN_AWAY)
    assert finding.evidence.startswith("'f2' and 'target' have the correlation 1.00000, the best other column 0.")
    x[:, 2] += np.random.default_rng(3).normal(size=200) * 0.1
    assert by_title(dataset(x, y, None), GIVEN_AWAY) == []


def test_suspects_are_judged_on_all_rows():
    x, y = noise(5000)
    x[:, 3] = y
    assert len(by_title(dataset(x, y), GIVEN_AWAY)) == 1
    wrong = np.arange(5000) % 100 < 1  # right in 99 %
    x[wrong, 3] = 1 - y[wrong]
    assert by_title(dataset(x, y), GIVEN_AWAY) == []


def test_classes_of_different_size_and_few_rows():
    x, _ = noise(221)
    rare = dataset(x, np.arange(221) < 20)
    finding, = audit(*rare.split(0.25))
    assert (finding.level, finding.title) == ("warning", "classes of very different size")
    assert finding.evidence == "151 training rows of 'no', 15 of 'yes'"
    few = by_title(dataset(x[:40], np.arange(40) < 12), "classes with few rows")
    assert few[0].evidence == "fewer than 10 training rows: 'yes' (9)"
    assert titles(dataset(x, np.arange(221) < 30)) == []


def test_idle_columns():
    x, y = noise()
    x[:, 1], x[:, 4] = 7, x[:, 0]
    constant, equal = audit(*dataset(x, y).split(0.25))
    assert (constant.level, constant.title, constant.evidence) == ("note", "constant columns", "1 column with one value only: 'f1'")
    assert (equal.level, equal.title, equal.evidence) == ("note", "equal columns", "1 column repeated: 'f4' = 'f0'")
    many = np.zeros((200, 9), np.float32)
    many[:, :2] = x[:, 2:4]
    assert by_title(dataset(many, y), "constant columns")[0].evidence == (
        "7 columns with one value only: 'f2', 'f3', 'f4', 'f5', 'f6' and 2 more")
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 2], "t": ["same"] * 200, "none": [None] * 200, "flag": y == 2})
    assert by_title(dataset(frame, y), "constant columns")[0].evidence.startswith("3 columns with one value only: 't', 'none', 'flag'")


def test_images_and_dates():
    x, y = noise(200, 12)
    images = np.concatenate([x, y[:, None], np.zeros((200, 2))], axis=1).reshape(200, 5, 3, 1).astype(np.float32)
    found = audit(*dataset(images, y).split(0.25))
    assert found[0].evidence.startswith("'x12' alone predicts")
    assert found[1].title == "constant columns"
    days = pl.DataFrame({"day": pl.Series(np.arange(200)).cast(pl.Date), "a": x[:, 0]})
    assert titles(dataset(days, y)) == []


def test_warnings_come_first():
    x, y = noise()
    x[:, 1], x[:, 3] = 7, y
    assert [finding.level for finding in audit(*dataset(x, y).split(0.25))] == ["warning", "note"]
