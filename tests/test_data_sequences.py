"""Sequences from tables in long form, and batches of sequences of similar length."""

import numpy as np
import polars as pl
import pytest

from deltarule import data
from deltarule.errors import DataError

CURVES = """star,t,mag,colour,class
b,0.5,8.0,0.1,flare
a,2.5,7.1,0.2,quiet
b,0,9.0,0.3,flare
a,1.0,7.2,0.4,quiet
b,1,8.5,0.5,flare
07,3,6.0,0.6,flare
c,1,5.0,0.7,quiet
c,2,5.1,0.8,quiet
"""


def written(tmp_path, text, name="curves.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def read(tmp_path, text=CURVES, **options):
    return data.read_sequences(written(tmp_path, text), **({"id": "star", "time": "t", "label": "class"} | options))


def test_rows_of_one_id_become_a_sequence_sorted_by_time(tmp_path):
    curves = read(tmp_path)
    assert curves.names == ("b", "a", "07", "c")
    assert [times.tolist() for times in curves.times] == [[0, 0.5, 1], [1, 2.5], [3], [1, 2]]
    assert curves.values[0].tolist() == [[9.0, 0.3], [8.0, 0.1], [8.5, 0.5]]
    assert (curves.value_names, curves.class_names, curves.y.tolist()) == (("mag", "colour"), ("flare", "quiet"), [0, 1, 0, 1])
    assert (curves.target_name, curves.time_name, curves.name) == ("class", "t", "curves.csv")
    assert "1 of 4 sequences have one row only: '07'" in curves.notes
    assert curves.source.endswith("curves.csv: 8 rows, 4 sequences")


def test_values_can_be_chosen_and_the_rest_is_noted(tmp_path):
    curves = read(tmp_path, values=["colour"], label=None)
    assert (curves.value_names, curves.y) == (("colour",), None)
    assert "not used: 'mag', 'class'" in curves.notes


def test_without_times_rows_follow_one_another(tmp_path):
    curves = read(tmp_path, time=None, values=["mag"])
    assert [times.tolist() for times in curves.times] == [[0, 1, 2], [0, 1], [0], [0, 1]]
    assert curves.values[0][:, 0].tolist() == [8.0, 9.0, 8.5]


def test_times_may_be_differences(tmp_path):
    text = "star,dt,mag,class\na,0,1,x\na,0.5,2,x\nb,1,5,z\na,2,3,x\nb,0.25,6,z\nc,0,1,x\nd,0,1,z\n"
    curves = read(tmp_path, text, time="dt", differences=True)
    assert [times.tolist() for times in curves.times[:2]] == [[0, 0.5, 2.5], [1, 1.25]]


def test_dates_count_in_days(tmp_path):
    text = "star,t,mag,class\n" + "".join(f"{star},2026-0{month}-01,{month},{star}{star}\n" for star in "abab" for month in (1, 3))
    with pytest.raises(DataError, match=r"two rows at the time"):
        read(tmp_path, text)
    text = "".join(dict.fromkeys(text.splitlines(keepends=True))).replace("aa", "x").replace("bb", "z")
    curves = read(tmp_path, text + text.partition("\n")[2].replace("a,", "c,").replace("b,", "d,"))
    assert np.diff(curves.times[0]).tolist() == [31 + 28]


def test_numbers_are_predicted_as_numbers_and_parquet_is_read(tmp_path):
    frame = pl.DataFrame({"star": np.repeat(np.arange(30), 2), "t": np.tile([0, 1], 30), "mag": np.ones(60),
                          "period": np.repeat(np.linspace(0.1, 0.9, 30), 2)})
    frame.write_parquet(tmp_path / "curves.parquet")
    curves = data.read_sequences(tmp_path / "curves.parquet", id="star", time="t", label="period")
    assert curves.class_names is None
    np.testing.assert_allclose(curves.y, np.linspace(0.1, 0.9, 30), rtol=1e-6)


def test_what_is_written_is_read_again(tmp_path):
    stars = data.light_curves(10, seed=1)
    stars.table().sample(fraction=1.0, shuffle=True, seed=0).write_csv(tmp_path / "stars.csv")
    again = data.read_sequences(tmp_path / "stars.csv", id="name", time="days", label="class")
    order = [again.names.index(name) for name in stars.names]
    for one, two in zip(stars.values, again.subset(order).values, strict=True):
        np.testing.assert_array_equal(one, two)
    assert [again.class_names[k] for k in again.y[order]] == [stars.class_names[k] for k in stars.y]


@pytest.mark.parametrize(("change", "options", "message"), [
    (lambda text: text, {"id": "stra"}, r"has no column 'stra'; did you mean 'star'\?"),
    (lambda text: text, {"values": ["magn"]}, r"has no column 'magn'; did you mean 'mag'\?"),
    (lambda text: text, {"values": ["class"], "label": None}, r"column 'class' cannot be measured values, it holds no numbers"),
    (lambda text: text, {"values": ["star"]}, r"column 'star' is the id, so it cannot be among the values"),
    (lambda text: text, {"values": ["t"]}, r"column 't' is the time, so it cannot be among the values"),
    (lambda text: text, {"time": None, "differences": True}, r"differences=True says that the column of times .*; name it \(time\)"),
    (lambda text: text, {"id": "colour"}, r"no value of 'colour' occurs twice, so every sequence would have one row; name the"),
    (lambda text: text.replace("b,0,9", "b,0.5,9"), {},
     r"line 4, column 't': sequence 'b' has two rows at the time 0\.5 \(the other: line 2\); remove one, or take their mean"),
    (lambda text: text.replace("a,1.0,7.2", "a,1.0,"), {},
     r"line 5, column 'mag': the value is missing \(1 of 8 rows\); remove those rows or fill them"),
    (lambda text: text.replace("a,1.0", "a,"), {}, r"line 5, column 't': the time is missing \(1 of 8 rows\)"),
    (lambda text: text.replace("a,1.0", ",1.0"), {}, r"line 5, column 'star': the id is missing \(1 of 8 rows\)"),
    (lambda text: text.replace("0.4,quiet", "0.4,"), {}, r"line 5, column 'class': the label is missing \(1 of 8 rows\)"),
    (lambda text: text.replace("0.4,quiet", "0.4,flare"), {},
     r"line 5, column 'class': sequence 'a' is 'flare' here and 'quiet' before \(line 3\); each sequence needs one label"),
    (lambda text: text.replace("flare", "quiet"), {}, r"target 'class' is constant, every row holds 'quiet'"),
    (lambda text: text, {"time": "class", "label": None}, r"line 2, column 'class': the time is 'flare', expected a number or a date"),
    (lambda text: text.replace("b,0,9", "b,-1,9"), {"differences": True},
     r"line 4, column 't': the time since the row before is -1, expected 0 or more"),
    (lambda text: "star,kind\na,x\na,x\nb,z\n", {"time": None, "label": "kind"}, r"has no column of numbers left to be the values"),
])
def test_mistakes_in_tables(tmp_path, change, options, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, change(CURVES), **options)
