"""The report of a training run: one page that holds everything and needs nothing, no network and no file beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deltarule.data.audit import Finding
from deltarule.data.dataset import Dataset
from deltarule.examination import Examination
from deltarule.glass.treatment import treatments
from deltarule.model import Model
from deltarule.report.markup import Html, escaped, join, table, tag
from deltarule.report.pictures import pictures
from deltarule.report.style import STYLE
from deltarule.training.history import History

MOST_CLASSES = 25       # in a confusion table; of more only the commonest confusions are listed
MOST_COLUMNS = 40       # of which the treatment is listed


@dataclass(frozen=True)
class Record:
    """Everything that a report tells: the trained model, how it learnt, on what, and how its examination went.

    `data` is the whole data set, `rows` how many of it trained and tested, `split` how they were divided; `command` and
    `versions` let a reader repeat it. `test` are the test images, of which examples are shown.
    """

    model: Model
    history: History
    examination: Examination
    data: Dataset
    rows: tuple[int, int]
    split: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    command: str
    versions: dict[str, str]
    test: Dataset | None = None


def report(record: Record, date: str) -> str:
    """The report as one HTML page; `date` is printed as it is given."""
    title = f"Predicting {record.data.target_name} from {record.data.name}"
    head = join(tag("meta", charset="utf-8"), tag("meta", name="generator", content="deltarule"),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("title", f"{title} - training report"), tag("style", Html(STYLE)))
    shown = record.test is not None and record.test.files and record.examination.classes
    examples = pictures(record.examination, record.test) if shown and record.test else Html("")
    parts = (_learning(record), _answers(record.examination), examples, _data(record), _choices(record), _network(record), _repeat(record))
    body = join(_header(record, title), tag("main", *parts),
                tag("footer", f"Made by deltarule {record.versions.get('deltarule', '')} on {date}."))
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), tag("body", body), lang="en") + "\n"


# ------------------------------------------------------------------------------------------------------------- the result

def _header(record: Record, title: str) -> Html:
    tiles = _class_tiles(record) if record.examination.classes else _number_tiles(record)
    return tag("header", tag("p", "Training report", class_="kicker"), tag("h1", title),
               tag("p", record.examination.sentence, class_="lead"), tag("div", *tiles, class_="tiles"))


def _class_tiles(record: Record) -> list[Html]:
    exam = record.examination
    scores, (low, high), names = exam.scores, exam.interval, exam.classes or ()
    weakest = min((k for k, rows in enumerate(scores["support"]) if rows), key=lambda k: scores["recall"][k])
    found = f"{scores['recall'][weakest]:.1%} of its {scores['support'][weakest]} {exam.unit}s found"
    return [
        _tile("Accuracy", f"{scores['accuracy']:.1%}", f"95% interval {low:.1%} to {high:.1%}",
              f"commonest class alone: {exam.baseline['accuracy']:.1%}", (scores["accuracy"], exam.baseline["accuracy"])),
        _tile("F1, mean of the classes", f"{scores['macro']['f1']:.3f}", f"precision {scores['macro']['precision']:.3f}, "
              f"recall {scores['macro']['recall']:.3f}"),
        _tile("Weakest class", *((names[weakest], found) if scores["recall"][weakest] < 1 else
                                 ("none", f"all {exam.unit}s of all classes found"))),
        _rows_tile(record),
    ]


def _number_tiles(record: Record) -> list[Html]:
    scores, base = record.examination.scores, record.examination.baseline
    return [
        _tile("Root mean square error", f"{scores['rmse']:.4g}", f"in units of {record.examination.target}",
              f"mean of the training part alone: {base['rmse']:.4g}"),
        _tile("Mean absolute error", f"{scores['mae']:.4g}", "", f"mean alone: {base['mae']:.4g}"),
        _tile("R2, variance explained", f"{scores['r2']:.3f}", "1 is perfect", f"mean alone: {base['r2']:.3f}", (scores["r2"], 0.0)),
        _rows_tile(record),
    ]


def _rows_tile(record: Record) -> Html:
    trained, tested = record.rows
    return _tile(f"{record.examination.unit.capitalize()}s tested", f"{tested:,}", f"never seen in training; {trained:,} were trained on")


def _tile(name: str, value: str, comment: str, baseline: str = "", bar: tuple[float, float] | None = None) -> Html:
    """A number with its name, what to know about it, the baseline, and a bar from 0 to 1 on which the baseline is a tick."""
    track = Html("")
    if bar:
        share, tick = (f"{100 * min(max(value, 0.0), 1.0):.1f}%" for value in bar)
        track = tag("div", tag("i", style=f"width:{share}"), tag("b", style=f"left:{tick}"), class_="bar")
    long = " long" if len(value) > 9 else ""
    return tag("div", tag("p", name, class_="name"), tag("p", value, class_="value" + long), track,
               *([tag("p", baseline, class_="baseline")] if baseline else []), *([tag("p", comment)] if comment else []), class_="tile")


# ------------------------------------------------------------------------------------------------------------ how it learnt

def _learning(record: Record) -> Html:
    history = record.history
    watched = [name for name in history if not name.startswith("val_")][:2]
    figures = [_curve(history, name) for name in watched] if history.epochs else []
    held = "val_loss" in history
    unit = record.examination.unit
    caption = (f"Validation {unit}s were held out of the training part to see when to stop; the test {unit}s play no part in these curves."
               if held else f"No {unit}s were held out for validation, so these curves show how well the training {unit}s were learnt.")
    if record.model.scaler is not None:
        caption += " The target was scaled to spread 1 for training: errors here are in units of its standard deviation."
    return _section("How it learnt", tag("p", f"The network {history.summary}; {history.seconds:.1f} s of training ({history.pace})."),
                    tag("div", *figures, class_="figures"), tag("p", caption, class_="caption"))


def _curve(history: History, name: str) -> Html:
    from deltarule.glass.curves import learning_curves

    curves = {key: history[key] for key in (name, f"val_{name}") if key in history}
    one = History(curves, history.kept_epoch, history.planned, history.stopped)
    return _figure(learning_curves(one), f"curve-{name}", f"{name.replace('_', ' ')} over the epochs", "")


# ------------------------------------------------------------------------------------------------------ right and wrong answers

def _answers(exam: Examination) -> Html:
    return _class_answers(exam) if exam.classes else _number_answers(exam)


def _class_answers(exam: Examination) -> Html:
    from deltarule.glass import evaluation

    names, scores = exam.classes or (), exam.scores
    figures = []
    if scores["roc_auc"] is not None:
        figures.append(_figure(evaluation.roc_figure(exam.y, exam.outputs, names), "roc", "ROC curve",
                               "The nearer to the upper left corner, the better the classes are told apart; guessing is the dotted line."))
        if len(names) == 2 or min(scores["support"]) < 0.5 * max(scores["support"]):
            figures.append(_figure(evaluation.precision_recall_figure(exam.y, exam.outputs, names), "pr", "precision-recall curve",
                                   "How many of those named are right (precision) as more of them are found (recall)."))
    figures.append(_figure(evaluation.calibration_figure(exam.y, exam.outputs), "calibration", "calibration",
                           "On the dotted line probabilities mean what they say; below it the network is too sure, above not enough."))
    confusion = (_confusion if len(names) <= MOST_CLASSES else _confusions)(scores["confusion_table"], names)
    scale = tag("p", f"Precision: of the {exam.unit}s named as this class, the share that is. Recall: of the {exam.unit}s of this class, "
                "the share that was found. F1 is their harmonic mean.", class_="caption")
    return _section("What it gets right and wrong", tag("div", tag("div", confusion), tag("div", _class_table(exam), scale), class_="pair"),
                    tag("div", *figures, class_="figures"))


def _confusion(counts: list[list[int]], names: Sequence[str]) -> Html:
    """The confusion table, coloured by the share of each row."""
    def cell(i: int, j: int) -> Html:
        share = counts[i][j] / max(sum(counts[i]), 1)
        colour = "0,114,178" if i == j else "230,159,0"
        strong = (" right" if i == j else " wrong") if share > 0.5 else ""
        title = f"{counts[i][j]} of {sum(counts[i])} rows of {names[i]} were named {names[j]} ({share:.0%})"
        text = str(counts[i][j]) if counts[i][j] else "·"
        depth = max(share, 0.06) if counts[i][j] else 0
        return tag("td", text, class_="n" + strong, style=f"background:rgba({colour},{depth:.2f})", title=title)

    header = tag("tr", tag("th", "true \\ predicted"), *(tag("th", name, class_="n") for name in names))
    rows = [tag("tr", tag("th", name), *(cell(i, j) for j in range(len(names)))) for i, name in enumerate(names)]
    return join(tag("div", tag("table", tag("thead", header), tag("tbody", *rows), class_="confusion"), class_="scroll"),
                tag("p", "Rows are the true classes, columns what the network named. Blue is right, orange is wrong; the colour is "
                    "as strong as the share of the true class.", class_="caption"))


def _confusions(counts: list[list[int]], names: Sequence[str]) -> Html:
    """Of many classes only the commonest confusions."""
    wrong = sorted(((n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j), reverse=True)[:20]
    return table(("true", "predicted", "rows"), [(names[i], names[j], str(n)) for n, i, j in wrong], numeric=2)


def _class_table(exam: Examination) -> Html:
    columns = [exam.scores[name] for name in ("precision", "recall", "f1", "support")]
    rows = [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", f"{n:,}") for name, p, r, f, n in zip(exam.classes or (), *columns, strict=True)]
    mean = exam.scores["macro"]
    rows.append(("mean of the classes", f"{mean['precision']:.3f}", f"{mean['recall']:.3f}", f"{mean['f1']:.3f}", f"{len(exam.y):,}"))
    return table(("class", "precision", "recall", "F1", "test rows" if exam.unit == "row" else f"{exam.unit}s"), rows, numeric=1)


def _number_answers(exam: Examination) -> Html:
    from deltarule.glass import evaluation

    return _section("What it gets right and wrong", tag("div",
                    _figure(evaluation.predicted_figure(exam.y, exam.outputs, exam.target), "predicted", "predicted against true",
                            "Each point is a test row; on the dotted line the prediction is exact."),
                    _figure(evaluation.residual_figure(exam.y, exam.outputs, exam.target), "residuals", "residuals",
                            "What is left over: a trend or a widening band is something the network has not learnt."), class_="figures"))


# ------------------------------------------------------------------------------------------------------- data, choices, network

def _data(record: Record) -> Html:
    data, (trained, tested) = record.data, record.rows
    classes = f"{len(data.class_names)} classes" if data.class_names else "a number"
    shape = " x ".join(map(str, data.x.shape[1:]))
    inputs = f"images, {shape} (height x width x channels)" if data.files else \
        f"sequences, {shape} (steps x channels): {', '.join(data.channels)}" if data.channels else f"{shape} columns"
    facts = [("Source", data.source), (f"{data.unit.capitalize()}s", f"{trained + tested:,}: {trained:,} to train on, {tested:,} to test"),
             ("Division", record.split), ("Inputs", inputs), ("Target", f"{data.target_name}, {classes}")]
    parts = [tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in facts))]
    if record.notes:
        parts += [tag("h3", "Notes"), tag("ul", *(tag("li", note) for note in record.notes))]
    parts += [tag("h3", "Audit"), _findings(record.findings, data.unit)]
    return _section("The data", *parts, _treatments(record))


def _findings(findings: Sequence[Finding], unit: str) -> Html:
    if not findings and unit != "row":
        return tag("p", f"Nothing suspicious: no test {unit} stands in the training part, no class is rare.")
    if not findings:
        return tag("p", "Nothing suspicious: no test row stands in the training part, no column gives the target away, "
                   "no class is rare, no column is constant or repeated.")
    return join(*(tag("div", tag("p", tag("span", finding.level, class_=f"badge {finding.level}"), " ", tag("b", finding.title)),
                      tag("p", finding.evidence + "."), tag("p", "What to do: " + finding.remedy + "."), class_="finding")
                  for finding in findings))


def _treatments(record: Record) -> Html:
    rows = treatments(record.model.preprocessor)
    more = [(f"and {len(rows) - MOST_COLUMNS} more", "", "")] if len(rows) > MOST_COLUMNS else []
    what = "image" if record.model.preprocessor.pictures else "column"
    return tag("details", tag("summary", f"What is done to each {what} before the network sees it"),
               table((what if what == "column" else "", "kind", "treatment"), rows[:MOST_COLUMNS] + more),
               tag("p", f"Fitted on the training {record.data.unit}s alone and stored in the model file, which takes raw values.",
                   class_="caption"))


def _choices(record: Record) -> Html:
    rows = [(what, choice, why) for what, choice, why in record.model.about.get("choices", [])]
    return _section("What was chosen, and why", table(("", "choice", "because"), rows, class_="choices"))


def _network(record: Record) -> Html:
    summary = record.model.network.summary()
    rows = [("input", "", _shape(summary.input_shape), "", "")]
    rows += [(row.path, row.layer, _shape(row.output_shape), f"{row.parameters:,}", f"{row.multiply_adds:,}") for row in summary.rows]
    rows += [("total", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")]
    return _section("The network", table(("layer", "kind", "output", "parameters", "multiply-adds"), rows, numeric=3))


def _repeat(record: Record) -> Html:
    recipe = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return _section("How to repeat it", tag("pre", record.command), tag("p", f"Seed {record.model.network.seed}; with {recipe}. The same "
                    "command with the same versions gives the same weights, bit for bit, on the same kind of machine."),
                    tag("p", "The model file takes raw, unscaled inputs:"),
                    tag("pre", f"deltarule predict model.safetensors {'NEW_IMAGES' if record.data.files else 'NEW.csv'}"))


def _section(title: str, *content: str) -> Html:
    return tag("section", tag("h2", title), *content)


def _figure(fig: Any, name: str, label: str, caption: str) -> Html:
    from deltarule.glass.inline import inline_svg

    return tag("figure", Html(inline_svg(fig, name, label)), *([tag("figcaption", escaped(caption))] if caption else []))


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
