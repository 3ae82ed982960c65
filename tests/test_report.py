"""The report: well-formed, self-contained, safe against what users call their columns; and the figures in it."""

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import deltarule as dr
from deltarule import metrics
from deltarule.data import Dataset, Finding, Labels, Preprocessor, TargetScaler
from deltarule.examination import Examination, examine, wilson
from deltarule.glass import evaluation
from deltarule.glass.inline import inline_svg
from deltarule.glass.treatment import treatments
from deltarule.model import Model
from deltarule.report import Record, report
from deltarule.report.markup import escaped, join, table, tag

EVIL = "<script>alert('x')</script> & \"$\\frac$\" \x1b[31m"
DATE = "1 April 2026"


class Page(HTMLParser):
    """Parses a page and complains about every element that is not closed in its turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.attributes, self.text = [], Counter(), [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements[name] += 1
        self.attributes += attributes
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements[name] += 1
        self.attributes += attributes

    def handle_endtag(self, name):
        assert self.open
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def record(classes=3, rows=41, name="stars.csv", names=None, findings=(), notes=(), curves=None):
    """A record as `train` makes it, with weights that were never trained; classes None: regression."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    names = names or tuple(f"class {k}" for k in range(classes or 0))
    y = np.arange(rows, dtype=np.int32) % classes if classes else (100 + 5 * x[:, 0]).astype(np.float32)
    data = Dataset(x, y, ("a", f"b {EVIL}"), names or None, f"kind {EVIL}", name, f"source {EVIL}")
    network = dr.Network([dr.Dense(classes or 1, "softmax" if classes else "linear")], (2,), seed=0)
    labels, scaler = (Labels(names), None) if classes else (None, TargetScaler.fit(y))
    about = {"target": data.target_name, "choices": [["loss", f"cross {EVIL}", "because"]]}
    model = Model(network, Preprocessor.fit(x, data.feature_names), labels, scaler, about)
    history = dr.History(curves or {"loss": [1.0, 0.5, 0.4], "val_loss": [1.1, 0.7, 0.8]}, kept_epoch=2, planned=3, seconds=1.0, steps=3)
    return Record(model, history, examine(model, x, y)[0], data, (rows, rows), "at random", findings, notes,
                  f"deltarule train {EVIL}", {"deltarule": "1", "JAX": "2"})


@pytest.fixture(scope="module")
def classes():
    return record(findings=(Finding("warning", f"title {EVIL}", "evidence", "remedy"),), notes=(f"note {EVIL}",))


@pytest.mark.parametrize("kind", ["classes", "two", "many", "number", "one row", "no epochs"])
def test_page_is_well_formed_and_needs_nothing_else(kind, classes):
    made = {"classes": lambda: classes, "two": lambda: record(2), "many": lambda: record(31, 62), "number": lambda: record(None),
            "one row": lambda: _of_rows(classes, 1),
            "no epochs": lambda: dataclasses.replace(classes, history=dr.History({"loss": []}))}[kind]()
    text = report(made, DATE)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
    assert not {"script", "link", "img", "iframe", "object", "base"} & page.elements.keys()
    assert not re.search(r"https?://|@import|src=|javascript:", text)
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "xlink:href"))
    ids = Counter(value for name, value in page.attributes if name == "id")
    assert max(ids.values(), default=1) == 1
    assert {value[1:] for name, value in page.attributes if name == "xlink:href"} <= set(ids)
    assert set(re.findall(r"url\(#(.*?)\)", text)) <= set(ids)
    assert made.examination.sentence in "".join(page.text).replace("\ufffd[31m", "\x1b[31m")


def test_names_of_the_user_are_shown_and_never_executed(classes):
    text = report(classes, EVIL)
    page = Page(text)
    assert "<script" not in text
    assert "\x1b" not in text
    shown = "".join(page.text)
    for beginning in ("title ", "note ", "source ", "deltarule train ", "cross ", "b ", "Predicting kind "):
        assert beginning + EVIL.replace("\x1b", "\ufffd") in shown
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_page_tells_the_result_beside_the_baseline_and_how_to_repeat_it(classes):
    shown = "".join(Page(report(classes, DATE)).text)
    exam = classes.examination
    for expected in (f"{exam.scores['accuracy']:.1%}", f"commonest class alone: {exam.baseline['accuracy']:.1%}", "kept epoch 2 of 3", DATE,
                     "deltarule 1, JAX 2", "Seed 0", "dense_1", "Validation rows were held out"):
        assert expected in shown
    numbers = record(None)
    shown = "".join(Page(report(numbers, DATE)).text)
    assert f"mean of the training part alone: {numbers.examination.baseline['rmse']:.4g}" in shown
    assert "Nothing suspicious" in shown


def test_page_of_many_classes_lists_the_commonest_confusions():
    many = record(31, 62)
    counts = np.array(many.examination.scores["confusion_table"])
    np.fill_diagonal(counts, 0)
    shown = report(many, DATE)
    assert "confusion\"" not in shown
    assert shown.count("<td class=\"n\">" + str(counts.max()) + "</td>") >= 1


def test_same_record_gives_the_same_bytes_in_light_dark_and_print(classes):
    first, second = (report(classes, DATE) for _ in range(2))
    assert first == second
    assert "prefers-color-scheme: dark" in first
    assert "@media print" in first
    assert "@media (max-width" in first


def test_text_in_figures_is_text_and_colours_are_the_page_s():
    history = dr.History({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6]}, kept_epoch=1)
    svg = inline_svg(history.plot(), "curve", 'a "curve"')
    assert svg.startswith('<svg role="img" aria-label="a &quot;curve&quot;"')
    assert ">epoch</text>" in svg
    assert ">validation</text>" in svg
    assert "var(--blue)" in svg
    assert "#000000" not in svg
    assert "DejaVu" not in svg
    assert 'id="curve-figure_1"' in svg


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.text(max_size=10))
def test_markup_gives_back_any_text(text, value):
    page = Page(tag("p", text, title=value))
    assert "".join(page.text).replace("\r", "\n") == _seen(text)
    assert page.elements == {"p": 1}
    assert page.attributes == [("title", _seen(value))]


def test_markup_escapes_once_and_joins():
    assert escaped(escaped("<")) == "&lt;"
    assert join("<", tag("b", "x")) == "&lt;<b>x</b>"
    assert tag("i", class_="a", aria_label='"') == '<i class="a" aria-label="&quot;"></i>'
    assert table(("a", "b"), [("<", "1")], numeric=1).count('class="n"') == 2


# --------------------------------------------------------------------------------------------------------- the examination

@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (36, 36), (352, 359)])
def test_wilson_is_scipys_interval(right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_baseline_knows_the_training_answers_only():
    made = record(3, 41)
    exam, _ = examine(made.model, made.data.x, made.data.y, answer=2)
    assert exam.baseline == {"answer": "class 2", "accuracy": pytest.approx(np.mean(made.data.y == 2))}
    numbers = record(None, 41)
    exam, _ = examine(numbers.model, numbers.data.x, numbers.data.y, answer=90.0)
    y = numbers.data.y.astype(float)
    assert exam.baseline["rmse"] == pytest.approx(np.sqrt(np.mean((y - 90) ** 2)))
    assert exam.baseline["mae"] == pytest.approx(np.mean(np.abs(y - 90)))
    assert exam.sentence.startswith("On 41 rows never seen in training the prediction of kind")


def test_json_of_an_examination_is_plain():
    import json

    json.dumps(record(3).examination.to_json(), allow_nan=False)
    json.dumps(record(None).examination.to_json(), allow_nan=False)


# --------------------------------------------------------------------------------------------------------------- the figures

def test_figures_draw_the_curves_of_the_metrics():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 53)
    p1 = np.clip(0.3 * y + 0.7 * rng.random(53), 0, 1)
    p = np.stack([1 - p1, p1], axis=1)
    line = evaluation.roc_figure(y, p, ["no", "$yes"]).axes[0].lines[0]
    false, true, _ = metrics.roc_curve(y, p1)
    np.testing.assert_array_equal(line.get_xydata(), np.stack([false, true], axis=1))
    assert line.get_label() == rf"\$yes: area {metrics.roc_auc(y, p1):.3f}"
    line = evaluation.precision_recall_figure(y, p, ["no", "yes"]).axes[0].lines[0]
    precision, recall, _ = metrics.precision_recall_curve(y, p1)
    np.testing.assert_array_equal(line.get_xydata(), np.stack([recall, precision], axis=1)[::-1])
    line = evaluation.calibration_figure(y, p).axes[0].lines[1]
    assert np.all((line.get_xdata() >= 0.5) & (line.get_xdata() <= 1))


def test_epochs_are_whole_numbers():
    ticks = dr.History({"loss": [1.0, 0.5, 0.4]}, kept_epoch=3, planned=3, seconds=1.0, steps=3).plot().axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, np.rint(ticks))


def test_figures_of_several_classes_name_the_worst():
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    p = np.eye(3)[[0, 1, 2, 0, 2, 1, 0]] * 0.8 + 0.2 / 3
    labels = [line.get_label() for line in evaluation.roc_figure(y, p, ["a", "b", "c"]).axes[0].lines]
    assert labels[0].startswith("all classes")
    assert labels[1].startswith(("worst class, b", "worst class, c"))
    assert len(evaluation.roc_figure(y, np.eye(3)[y], ["a", "b", "c"]).axes[0].lines) == 2     # nothing is worst: pooled and diagonal


def test_figures_of_numbers_show_every_point_or_a_thousand():
    y = np.arange(3001.0)
    for figure in (evaluation.predicted_figure, evaluation.residual_figure):
        assert len(figure(y, y + 1, "x_$").axes[0].collections[0].get_offsets()) == 1000
        assert len(figure(y[:7], y[:7] + 1).axes[0].collections[0].get_offsets()) == 7
    offsets = evaluation.residual_figure(y[:7], y[:7] + 2).axes[0].collections[0].get_offsets()
    np.testing.assert_array_equal(offsets, np.stack([y[:7] + 2, np.full(7, -2.0)], axis=1))


def test_confusion_figure_writes_the_counts():
    ax = evaluation.confusion_figure([[5, 0], [2, 3]], ["no", "yes"]).axes[0]
    assert sorted(text.get_text() for text in ax.texts) == ["2", "3", "5"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[1, 0], [0.4, 0.6]])


@given(st.text(max_size=60))
def test_any_name_can_be_drawn(name):
    from matplotlib.figure import Figure

    text = evaluation.plain(name)
    assert len(text.replace(r"\$", "$")) <= 24
    inline_svg(_labelled(Figure(), text), "name", name.encode("utf-8", "replace").decode())


def test_treatments_say_what_is_done_to_every_column():
    import polars as pl

    frame = pl.DataFrame({"mag": [1.0, None, 3.0], "band": ["V", "R", "V"], "on": [True, False, True]})
    told = [(name, kind) for name, kind, _ in treatments(Preprocessor.fit(frame))]
    assert told == [("mag", "number"), ("band", "category"), ("on", "boolean")]
    assert treatments(Preprocessor.fit(np.array([[1.0], [3.0]]), ["x"])) == [("x", "number", "(x - 2) / 1")]
    assert treatments(Preprocessor.fit(np.zeros((2, 3, 3, 1)))) == [("all values", "number", "(value - 0) / 1")]


def _of_rows(made, n):
    """The record with an examination of its first rows only: classes are missing then."""
    exam, _ = examine(made.model, made.data.x[:n], made.data.y[:n])
    assert isinstance(exam, Examination)
    assert exam.scores["roc_auc"] is None
    return dataclasses.replace(made, examination=exam)


def _seen(text):
    """What a reader sees of a text: characters that HTML cannot hold are replaced, line ends are one."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


def _labelled(fig, text):
    fig.add_subplot().set_xlabel(text)
    return fig
