"""Table files: what each column is taken for, and one line, with file, line and column, for everything that is wrong."""

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.data import read_columns, read_table, target_values
from deltarule.data.delimited import read_raw
from deltarule.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="stars.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path
    return write_file


def lines(header, rows):
    return "\n".join([header, *rows]) + "\n"


MIXED = lines("mag,band,seen,night,kind", [
    "4.5,V,true,2020-01-02,dwarf", ",R,false,2020-01-03,giant", "NA,V,TRUE,2020-01-05,dwarf", "-1e1,?,,2020-01-07,giant",
])


def test_columns_find_their_types(write):
    data = read_table(write(MIXED))
    assert data.x.schema == {"mag": pl.Float64, "band": pl.String, "seen": pl.Boolean, "night": pl.Date}
    assert data.x.rows() == [
        (4.5, "V", True, datetime.date(2020, 1, 2)), (None, "R", False, datetime.date(2020, 1, 3)),
        (None, "V", True, datetime.date(2020, 1, 5)), (-10.0, None, None, datetime.date(2020, 1, 7)),
    ]
    assert (data.target_name, data.class_names, data.y.tolist(), data.y.dtype) == ("kind", ("dwarf", "giant"), [0, 1, 0, 1], np.int32)
    assert data.notes[0] == "no target was named, so it is the last column, 'kind'"
    assert "column 'mag' has 2 missing values (first: line 3)" in data.notes
    assert "column 'seen' has 1 missing value (first: line 5)" in data.notes
    assert data.name == "stars.csv"
    assert data.source.endswith("stars.csv: 4 rows, 5 columns")


@pytest.mark.parametrize(("text", "name"), [
    (MIXED.replace(",", "\t"), "stars.tsv"), (MIXED.replace(",", ";"), "stars.csv"), (MIXED.replace(",", "|"), "stars.txt"),
    (MIXED.replace("\n", "\r\n"), "stars.csv"), ("\ufeff" + MIXED, "STARS.CSV"), (MIXED.replace(",", " , "), "stars.csv"),
    ("\n\n" + MIXED + "\n  \n", "stars.csv"), (MIXED.replace("V", '"V"'), "stars.csv"),
     (MIXED.replace("V", '"V"').replace(",", ";"), "s.txt"),
], ids=["tab", "semicolon", "bar", "crlf", "bom", "spaces", "blank lines", "quotes", "quotes and semicolons"])
def test_every_way_to_write_a_table(write, text, name):
    assert read_table(write(text, name)).x.equals(read_table(write(MIXED)).x)


def test_spaces_separate_and_a_file_without_header(write):
    data = read_table(write(lines("  1.5   2  10", ["2.5 3\t11", "3.5  4 12 "]), "numbers.txt"), problem="regression")
    assert data.x.rows() == [(1.5, 2), (2.5, 3), (3.5, 4)]
    assert data.feature_names == ("column_1", "column_2")
    assert data.notes[0].startswith("the first line holds numbers, so there is no header")
    np.testing.assert_array_equal(data.y, [10, 11, 12])


def test_decimal_commas_between_semicolons(write):
    data = read_table(write(lines("a;y", ["1,5;2", "-0,25;3", "1,5e3;5"])))
    assert data.x["a"].to_list() == [1.5, -0.25, 1500.0]


def test_a_quoted_cell_may_hold_separators_and_lines(write):
    path = write(lines("name,a,y", ['"Ann, B.",1,2.5', '"two\nlines",2,3.5', '"say ""hi""",3,4']))
    data = read_table(path, target="y")
    assert data.x["name"].to_list() == ["Ann, B.", "two\nlines", 'say "hi"']
    with pytest.raises(DataError, match=r"stars.csv, line 5, column 'y': inf is not finite"):  # the second record takes two lines
        read_table(write(lines("name,a,y", ['"Ann, B.",1,2.5', '"two\nlines",2,3.5', '"z",3,inf'])), target="y")


def test_parquet(tmp_path):
    frame = pl.DataFrame({"mag": [1.5, None, float("nan"), 2.5], "band": pl.Series(["V", "R", "V", None], dtype=pl.Categorical),
                          "price": pl.Series(["1.5", "2.5", "3.5", "4.5"]).cast(pl.Decimal(5, 2)), "list": [[1], [2], [3], [4]],
                          "kind": [1, 2, 1, 2]})
    frame.write_parquet(tmp_path / "stars.parquet")
    data = read_table(tmp_path / "stars.parquet")
    assert data.x.to_dict(as_series=False) == {"mag": [1.5, None, None, 2.5], "band": ["V", "R", "V", None], "price": [1.5, 2.5, 3.5, 4.5]}
    assert "column 'mag' has 2 missing values (first: row 2)" in data.notes
    assert any(note.startswith("column 'list' is left out: its type List(Int64)") for note in data.notes)
    assert data.class_names == ("1", "2")
    frame.with_columns(mag=pl.lit(float("inf"))).write_parquet(tmp_path / "inf.parquet")
    with pytest.raises(DataError, match=r"inf.parquet, row 1, column 'mag': inf is not finite"):
        read_table(tmp_path / "inf.parquet")


def test_columns_that_teach_nothing_are_set_aside(write):
    rows = [f"{i},id{i},,{i % 3},{'ab'[i % 2]}" for i in range(53)]
    data = read_table(write(lines(",name,empty,m,kind", rows)))
    assert data.feature_names == ("m",)
    assert data.aside.columns == ["column_1", "name", "empty"]
    assert "column 'column_1' is left out: it has no name and counts the rows" in data.notes
    assert "column 'name' is left out: its 53 different texts in 53 rows name the rows instead of describing them" in data.notes
    assert "column 'empty' is left out: it has no values" in data.notes
    with pytest.raises(DataError, match=r"has no column left to learn from: .*'name' is left out"):
        read_table(write(lines("name,kind", [f"id{i},{'ab'[i % 2]}" for i in range(53)])))


def test_dropped_columns_are_not_read_but_may_decide_a_split(write):
    rows = [f"{i % 7},{'?' if i == 3 else i},{i}{'x' if i % 9 == 0 else ''},{i % 5 + 0.5}" for i in range(35)]
    data = read_table(write(lines("group,a,odd,y", rows)), target="y", drop=["group", "odd"])
    assert data.feature_names == ("a",)
    assert data.aside["group"].dtype == pl.Int64
    assert data.aside["odd"].dtype == pl.String
    train, test = data.split(how="group:group")
    assert not set(train.aside["group"]) & set(test.aside["group"])


@pytest.mark.parametrize(("values", "problem", "classes"), [
    ([0, 1] * 3, "classification", ("0", "1")),
    (["1.0", "2.0"] * 5, "classification", ("1", "2")),
    ([3, 10, 2] * 10, "classification", ("2", "3", "10")),
    (list(range(20)) * 10, "classification", tuple(map(str, range(20)))),
    (list(range(21)) * 10, "regression", None),
    ([0, 1, 2] * 9, "regression", None),
    ([0.5, 1.5] * 20, "regression", None),
    (["b", "a"] * 3, "classification", ("a", "b")),
    (["true", "False"] * 3, "classification", ("false", "true")),
])
def test_the_problem_follows_from_the_target(write, values, problem, classes):
    data = read_table(write(lines("a,y", [f"{i * 0.5},{value}" for i, value in enumerate(values)])), target="y")
    assert data.problem == problem
    assert data.class_names == classes
    if classes and classes[0] in "0123":
        assert [data.class_names[i] for i in data.y] == [str(int(float(value))) for value in values]
        assert any("taken as classes; problem=regression would" in note for note in data.notes)


def test_the_problem_may_be_given(write):
    path = write(lines("a,y", [f"{i},{i % 2 + 1}" for i in range(10)]))
    np.testing.assert_array_equal(read_table(path, problem="regression").y, np.arange(10) % 2 + 1)
    halves = write(lines("a,y", [f"{i},{i % 2 + 0.5}" for i in range(10)]))
    assert read_table(halves, problem="classification").class_names == ("0.5", "1.5")


GOOD = [f"{i},{'xy'[i % 2]},{i * 0.5}" for i in range(1, 11)]


@pytest.mark.parametrize(("text", "options", "message"), [
    ("", {}, r"stars.csv is empty, expected a header line and rows$"),
    (" \n\n", {}, r"stars.csv is empty"),
    ("a,b\n", {}, r"stars.csv has a header but no rows$"),
    ('"a","b"\n', {}, r"stars.csv has a header but no rows$"),
    ("a\n1\n2\n", {}, r"has one column \('a'\), expected at least one feature and a target"),
    (b"\x89PNG\0\0\1", {}, r"stars.csv is a binary file, expected text"),
    (b"a,b\n1,2\n3,caf\xe9\n", {}, r"stars.csv, line 3: byte 0xe9 is not UTF-8 text; save the file with UTF-8 encoding"),
    (lines("a,b,y", [*GOOD, "1,2", "3,4,5"]), {}, r"stars.csv, line 12: 2 values where the first line has 3; give every line"),
    (lines("a,b,y", ["", *GOOD, "1,2,3,4"]), {}, r"stars.csv, line 13: 4 values where the first line has 3"),
    (lines("a,b,y", ['1,"x",2', '2,"y"']), {}, r"stars.csv, line 3: 2 values where the first line has 3"),
    (lines("a,b,y", ["1,x,2", '2,"y,3']), {}, r"stars.csv, line 3: the quotes do not match"),
    (lines("a,b,a", GOOD), {}, r"stars.csv has two columns called 'a'; rename one of them"),
    (lines("a,b,y", GOOD), {"target": "z"}, r"stars.csv has no column 'z'; known: a, b, y"),
    (lines("mass,b,y", GOOD), {"target": "mas"}, r"has no column 'mas'; did you mean 'mass'\?"),
    (lines("a,b,y", GOOD), {"drop": ["c"]}, r"has no column 'c'"),
    (lines("a,b,y", GOOD), {"target": "y", "drop": ["y"]}, r"column 'y' is the target, so it cannot be dropped"),
    (lines("a,b,y", GOOD), {"problem": "classes"}, r"problem is 'classes', expected 'classification' or 'regression'"),
    (lines("a,b,y", GOOD), {"target": "b", "problem": "regression"},
     r"line 2, column 'b': target holds 'y', expected numbers for regression"),
    (lines("a,y", ["1,3", "2,3"]), {}, r"stars.csv: target 'y' is constant, every row holds 3; choose another target"),
    (lines("a,y", ["1,3", "2,", "3,NaN"]), {}, r"line 3, column 'y': the target is missing \(2 of 3 rows\); remove those rows"),
    (lines("a,y", ["1,p", "2,q", "3,p"]), {}, r"line 3, column 'y': class 'q' is seen once, so it cannot be both learnt and tested"),
    (lines("a,y", ["1,0", "2,1", "3,0"]), {}, r"class '1' is seen once.*or choose problem=regression"),
    (lines("a,y", ["1,0.5", "2,-inf", "3,1"]), {}, r"line 3, column 'y': -inf is not finite; write a number or leave the cell empty"),
    (lines("a,y", ["1,0.5", "1e999,2", "3,1"]), {}, r"line 3, column 'a': inf is not finite"),
    (lines("a,y", ["1,0.5", "2,1e300", "3,1"]), {}, r"line 3, column 'y': 1e\+300 is too large for float32; use other units"),
    (lines("a,b,y", [*GOOD, "faint,x,1.5"]), {},
     r"stars.csv, line 12, column 'a': 'faint' is text where numbers were expected; write a number"),
    (lines("a,b,y", [*GOOD, "1,x,bright"]), {}, r"stars.csv, line 12, column 'y': 'bright' is text where numbers were expected"),
    (lines("a,b,y", [",,1.5", ",,2"]), {}, r"has no column left to learn from: .*'a' is left out: it has no values"),
])
def test_what_is_wrong_is_told_in_one_line(write, text, options, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(text), **options)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, write):
    write("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"there is no file .*star.csv; did you mean 'stars.csv'\?"):
        read_table(tmp_path / "star.csv")
    with pytest.raises(DataError, match=r"there is no file .*no_folder/star.csv$"):
        read_table(tmp_path / "no_folder" / "star.csv")
    with pytest.raises(DataError, match=r"is a folder, expected a table file \(.csv, .tsv, .txt, .parquet\)"):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"stars.xlsx ends in '.xlsx', expected a table file"):
        read_table(write("x", "stars.xlsx"))
    with pytest.raises(DataError, match=r"stars.parquet is not a Parquet file that can be read: "):
        read_table(write(b"PAR1 nonsense PAR1", "stars.parquet"))
    pl.DataFrame({"a": [], "b": []}).write_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"none.parquet has columns but no rows"):
        read_table(tmp_path / "none.parquet")


def test_a_file_without_permission(write, monkeypatch):
    path = write("a,b\n1,2\n")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(DataError, match=r"stars.csv cannot be read: Permission denied$"):
        read_table(path)


def test_words_below_the_threshold_are_categories(write):
    rows = [f"{'bright' if i % 4 == 0 else i % 3},{i % 2}" for i in range(40)]  # 75 % numbers
    assert read_table(write(lines("a,y", rows))).x["a"].dtype == pl.String


def test_columns_for_a_model_are_read_as_it_knows_them(write):
    path = write(lines("field,mag,seen,night,note", ["01,4,true,2020-01-02,1", "02,,,2020-01-02 12:30:00,two"]))
    kinds = {"field": "category", "mag": "number", "seen": "boolean", "absent": "number"}
    frame = read_columns(path, kinds)
    assert frame.rows() == [("01", 4, True, "2020-01-02", "1"), ("02", None, None, "2020-01-02 12:30:00", "two")]
    assert read_columns(path).select("field", "mag").rows() == [(1, 4), (2, None)]
    with pytest.raises(DataError, match=r"line 3, column 'note': 'two' is text where numbers were expected"):
        read_columns(path, {"note": "number"})
    with pytest.raises(DataError, match=r"line 2, column 'mag': '4' where true or false was expected; write true, false"):
        read_columns(path, {"mag": "boolean"})
    with pytest.raises(DataError, match=r"line 2, column 'field': '01' where dates were expected; write YYYY-MM-DD"):
        read_columns(path, {"field": "date"})


def test_dates_with_times(write):
    frame = read_columns(write(lines("t,a", ["2020-01-02T10:00:00,1", "2020-01-02 10:00:00.5,2"])))
    assert frame["t"].to_list() == [datetime.datetime(2020, 1, 2, 10), datetime.datetime(2020, 1, 2, 10, 0, 0, 500000)]


def test_targets_of_a_trained_model():
    assert target_values(pl.Series("kind", ["q", "p"]), ("p", "q")).tolist() == [1, 0]
    assert target_values(pl.Series("kind", [True, False]), ("false", "true")).tolist() == [1, 0]
    assert target_values(pl.Series("kind", [3.0, 1.0]), ("1", "3")).tolist() == [1, 0]
    numbers = target_values(pl.Series("y", [3, 1]), None)
    assert (numbers.tolist(), numbers.dtype) == ([3.0, 1.0], np.float32)
    with pytest.raises(DataError, match=r"target 'kind' holds the class 'star' \(row 2\), "
                                        r"which the model does not know; did you mean 'stars'\?"):
        target_values(pl.Series("kind", ["stars", "star"]), ("stars", "dust"))
    with pytest.raises(DataError, match=r"target 'y' holds 1e\+300, too large for float32"):
        target_values(pl.Series("y", [1.0, 1e300]), None)
    with pytest.raises(DataError, match=r"target 'y' has 1 missing values; remove those rows"):
        target_values(pl.Series("y", [1.0, None]), None)
    with pytest.raises(DataError, match=r"target 'y' holds 'a', expected numbers, because the model predicts a number"):
        target_values(pl.Series("y", ["a"]), None)


CELLS = st.one_of(st.none(), st.integers(-10**6, 10**6), st.floats(-1e6, 1e6).map(lambda v: v + 0.0))


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=13), st.sampled_from([",", ";", "\t", "|"]),
       st.sampled_from(["", "NA", "?"]))
def test_numbers_come_back_exactly(tmp_path_factory, rows, separator, gap):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    text = [separator.join(gap if v is None else repr(v) for v in (*row, 0)) for row in rows]
    path.write_text(lines(separator.join(["a", "b", "c"]), text))
    frame = read_columns(path)
    for name, column in zip("ab", zip(*rows, strict=True), strict=True):
        assert frame[name].to_list() == list(column)
    assert read_raw(path).where(0, "a").endswith("t.csv, line 2, column 'a'")
