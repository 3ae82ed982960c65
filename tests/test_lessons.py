"""The lessons as a whole: their list, their form, the board, the command line, and the page made from them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import deltarule as dr
from deltarule.cli import main
from deltarule.errors import DeltaruleError
from deltarule.lessons import catalogue
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, between, equals, near, plain, shown
from deltarule.lessons.pages import lectures_page
from deltarule.lessons.topics import TOPICS

NETWORK = dr.Network([dr.Dense(1)], 1)
DOCS = Path(__file__).parent.parent / "docs"


def test_every_row_has_a_lesson_and_every_lesson_a_row():
    taught = {row for name in dr.lessons.names() for row in dr.lessons.lesson(name).rows}
    assert taught == set(TOPICS) == set(range(1, 42))


@pytest.mark.parametrize("name", dr.lessons.names())
def test_lessons_have_one_form(name):
    lesson = dr.lessons.lesson(name)
    assert lesson.title[0].isupper()
    assert lesson.title[-1] in ".?"
    assert "\n" not in lesson.title
    assert 100 < len(lesson.idea) < 900
    assert lesson.equations
    for part in lesson.parts:
        value = dr
        for step in part.removeprefix("dr.").split("."):
            value = getattr(NETWORK if value is dr.Network else value, step)
    source = (Path(dr.__file__).parent / "lessons" / f"{name.replace('-', '_')}.py").read_text()
    imported = set(re.findall(r"^\s*(?:from|import) (deltarule\S*)", source, re.MULTILINE))
    helpers = {f"deltarule.lessons.{part}" for part in ("board", "expectations", "handwriting")}
    assert imported <= {"deltarule"} | helpers, "lessons use the public face"
    assert not re.search(r"\b(net|network|dr|model|trace)\._", source)
    assert len(source.splitlines()) <= 200


def test_expectations():
    assert near(1.0, 0.1).holds(1.05)
    assert not near(1.0, 0.1).holds(1.2)
    assert not near(1.0, 0.1).holds(np.nan)
    assert at_least(3).holds(np.float32(3))
    assert not at_least(3).holds(2.9)
    assert not at_least(3).holds(np.nan)
    assert at_most(3).holds(3)
    assert not at_most(3).holds(np.nan)
    assert between(1, 2).holds(1.5)
    assert not between(1, 2).holds(2.1)
    assert equals([1, 0]).holds(np.array([1, 0]))
    assert not equals([1, 0]).holds([1, 1])
    assert equals(True).holds(np.bool_(True))
    assert plain((np.int64(3), np.array([0.5]))) == [3, [0.5]]
    assert [shown(value) for value in (3.14159265, np.nan, 12345, "word")] == ["3.14159", "not finite", "12,345", "word"]


def test_the_board_writes_at_once_and_keeps_everything():
    written = []
    board = Board(written.append)
    board.table(["unit", "a"], [["first", 0.25], ["second", 12.0]])
    board.number("right", 0.5, at_least(0.4))
    board.number("wrong", 0.3, at_least(0.4))
    assert written == board.lines
    assert written[-2:] == ["  right  0.5  (expected: at least 0.4)", "  wrong  0.3  (expected: at least 0.4)  <- NOT as expected"]
    assert [check.passed for check in board.checks] == [True, False]
    with pytest.raises(DeltaruleError, match=r"the lesson has two numbers called 'right'; give them different names"):
        board.number("right", 1, equals(1))


def test_a_result_in_python(tmp_path):
    result = dr.lessons.run("festival")
    assert result.passed
    assert result.numbers["decisions with threshold 3"] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert result.expected["both forms agree"] == "yes"
    assert list(result.figures) == ["sums"]
    (path,) = result.save(tmp_path / "new", "svg")
    assert Path(path).name == "festival-sums.svg"
    assert Path(path).read_text().startswith("<?xml")
    assert repr(result).startswith("Result('festival': 3 of 3 numbers as expected, 1 figure")


def test_a_wrong_number_fails_the_lesson(monkeypatch, capsys):
    from deltarule.lessons import festival
    monkeypatch.setattr(festival, "DECISIONS", {5: [1] * 8, 3: [0, 0, 0, 1, 1, 1, 1, 1]})
    result = dr.lessons.run("festival")
    assert not result.passed
    assert result.to_json()["failed"] == ["decisions with threshold 5"]
    assert main(["lesson", "festival"]) == 1
    assert "1 not as expected: decisions with threshold 5" in capsys.readouterr().out


def test_the_command_line_lists_runs_and_saves(tmp_path, capsys):
    assert main(["lessons"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in dr.lessons.names())
    assert listed.startswith("Neurons\n")
    assert all(dr.lessons.lesson(name).title in listed for name in dr.lessons.names())
    assert main(["lessons", "--json"]) == 0
    assert [lesson["name"] for lesson in json.loads(capsys.readouterr().out)["lessons"]] == list(catalogue.NAMES)
    assert main(["lesson", "festival", "--json", "--save", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"name", "rows", "numbers", "expected", "passed"} <= set(answer)
    assert answer["rows"] == [2]
    assert answer["passed"]
    assert [Path(path).read_bytes()[:4] for path in answer["saved"]] == [b"\x89PNG"]
    assert main(["lesson", "festival"]) == 0
    assert "all 3 numbers as expected" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["lesson", "xorr"], r"unknown lesson 'xorr'; the command deltarule lessons lists all; did you mean 'xor'\?"),
    (["lesson"], r"Missing argument 'NAME'"),
    (["lesson", "festival", "--save", "FILE"], r"--save expected a folder, .*file\.txt is a file"),
])
def test_mistakes_on_the_command_line(arguments, message, tmp_path, capsys):
    (tmp_path / "file.txt").write_text("")
    assert main([str(tmp_path / "file.txt") if given == "FILE" else given for given in arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_unknown_lessons_in_python():
    with pytest.raises(DeltaruleError, match=r"unknown lesson 'backprop'; .*did you mean 'backpropagation'"):
        dr.lessons.run("backprop")


@pytest.mark.slow
def test_all_lessons_hold_and_the_page_is_what_make_docs_writes():
    results = [dr.lessons.run(name) for name in dr.lessons.names()]
    assert [result.name for result in results if not result.passed] == []
    assert (DOCS / "lectures.md").read_text() == lectures_page(results), "run make docs"
    drawn = {f"{result.name}-{name}.png" for result in results for name in result.figures}
    assert {path.name for path in (DOCS / "figures").iterdir()} == drawn
