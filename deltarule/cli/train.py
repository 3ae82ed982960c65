"""deltarule train: from data to a trained, examined, saved network and its report."""

import math
import platform
import shlex
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import deltarule
from deltarule import automatic
from deltarule.cli import INTERRUPTED
from deltarule.cli.opening import Steps, divided, open_data
from deltarule.cli.output import print_json, result_folder, together
from deltarule.cli.text import INDENT, names_in, note, one_line, say, show_examination, size_in, units_in
from deltarule.data import Dataset, Finding, audit
from deltarule.errors import DeltaruleError
from deltarule.examination import examine
from deltarule.files import write_atomically
from deltarule.layers import Dropout
from deltarule.model import Model
from deltarule.ops.activations import activation as known_activation
from deltarule.report import Record, report


def _option(panel: str, metavar: str | None, text: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **limits)


def train(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False, help=(
        "digits, iris, wine, breast_cancer, diabetes, mnist, two_moons, circles, spiral, a .csv, .tsv, .txt or .parquet file, or a folder "
        "with one folder of images for each class."))],
    target: Annotated[str | None, _option("The data", "COLUMN", "What to predict (default: the last column of the file).")] = None,
    problem: Annotated[str | None, _option("The data", "KIND", "classification or regression (default: seen from the target).")] = None,
    drop: Annotated[str | None, _option("The data", "COLUMNS", "Columns to leave out, separated by commas.")] = None,
    id: Annotated[str | None, _option("The data", "COLUMN", "For sequences, one row for each step: which rows belong together.")] = None,
    time: Annotated[str | None, _option("The data", "COLUMN", "When each step was: numbers or dates.")] = None,
    values: Annotated[str | None, _option("The data", "COLUMNS", "What was measured in each step (default: all numbers).")] = None,
    differences: Annotated[bool, _option("The data", None, "The times are those since the row before.", "--differences")] = False,
    split: Annotated[str, _option("The data", "HOW", "How the test rows are set apart: auto, random, stratified, group:COLUMN, "
                                                     "time:COLUMN or blocks:COLUMN,COLUMN.")] = "auto",
    test: Annotated[float | None, _option("The data", "SHARE", "Share of the rows kept for the test (default: 0.2).")] = None,
    data_dir: Annotated[str | None, _option("The data", "FOLDER", "Where the MNIST files are.")] = None,
    size: Annotated[str | None, _option("The data", "PIXELS", "Size of images: 64, or 48x64 for height x width.")] = None,
    channels: Annotated[int | None, _option("The data", "N", "Turn images into grey (1) or colour (3).")] = None,
    filters: Annotated[str | None, _option("The network", "FILTERS", "Filters of the convolutions, such as 16,32, or none.")] = None,
    hidden: Annotated[str | None, _option("The network", "UNITS", "Units of the hidden layers, such as 64,64, or none.")] = None,
    recurrent: Annotated[str | None, _option("The network", "UNITS", "Units of the GRU layers that read sequences, such as 32.")] = None,
    activation: Annotated[str, _option("The network", "NAME", "Activation of the hidden layers.")] = "relu",
    dropout: Annotated[float | None, _option("The network", "RATE", "Share of the hidden units switched off in each step.")] = None,
    learning_rate: Annotated[float | None, _option("Training", "RATE", "Step size of Adam.")] = None,
    epochs: Annotated[int | None, _option("Training", "N", "Passes over the training rows, at most.", min=1)] = None,
    batch_size: Annotated[int | None, _option("Training", "N", "Rows in each step.", min=1)] = None,
    patience: Annotated[int | None, _option("Training", "N", "Epochs without improvement after which training stops.", min=1)] = None,
    seed: Annotated[int, _option("Training", "N", "Decides split, first weights and order of rows.", min=0, max=2**32 - 1)] = 0,
    out: Annotated[str | None, _option("Output", "FOLDER", "Where the three files go (default: runs/NAME).")] = None,
    json: Annotated[bool, _option("Output", None, "Print one JSON object and nothing else.", "--json")] = False,
    quiet: Annotated[bool, _option("Output", None, "Print the result in one line only.", "--quiet")] = False,
) -> int:
    """Train a network on a data set, a table file or a folder of images, and test it on rows it never saw.

    A table of sequences: deltarule train curves.csv --target class --id star --time t

    Architecture, loss and everything else that is not given is chosen from the data, with reasons.
    The folder then holds model.safetensors, report.html (open it in a browser) and history.csv.
    """
    given = {"hidden": units_in(hidden), "filters": units_in(filters, "--filters", "filters"),
             "recurrent": units_in(recurrent, "--recurrent"), "dropout": dropout,
             "learning_rate": _rate(learning_rate), "epochs": epochs, "batch_size": batch_size, "patience": patience,
             "activation": activation}
    known_activation(activation)        # these raise for what no layer could take
    Dropout(dropout or 0.0)
    steps = Steps(id, time, names_in(values), differences)
    data, own_test = open_data(source, target, problem, names_in(drop), data_dir, size_in(size), channels, steps)
    train_part, test_part, how = divided(data, own_test, split, test, seed)
    findings = audit(train_part, test_part)
    choices = automatic.choose(Model.problem(train_part), **given)      # type: ignore[arg-type]
    folder = result_folder(out or f"runs/{Path(data.name).stem}")
    if not (json or quiet):
        _show_plan(data, how, findings, choices)
    figures = threading.Thread(target=_prepare_figures, daemon=True)
    figures.start()     # importing matplotlib takes about as long as the first compilation, which leaves Python free

    model, history = Model.train(train_part, choices, seed=seed, progress=False if quiet else None)
    if not history.epochs:
        raise KeyboardInterrupt
    answer = int(np.bincount(train_part.y).argmax()) if data.class_names else float(np.mean(train_part.y, dtype=np.float64))
    exam, notes = examine(model, test_part.x, test_part.y, answer)
    command, versions = _command(context), _versions()
    if data.channels:
        model.about["steps"] = steps.to_json() | {"values": list(data.channels[1:-1])}
    model.about |= {"command": command, "split": how, "versions": versions, "baseline": answer, "test": exam.to_json()}
    figures.join()
    record = Record(model, history, exam, data, (len(train_part), len(test_part)), how, findings,
                    (*data.notes, *(f"in the test part: {text}" for text in notes)), command, versions,
                    test_part if data.files else None)
    files = _write(folder, record)
    if json:
        print_json(_as_json(record, files))
    elif quiet:
        print(one_line(f"{exam.sentence} {files['report']}"))
    else:
        _show_result(record, files)
    if history.stopped == "interrupted":
        note(f"interrupted after {len(history.epochs)} epochs; what was learnt until then was kept and written")
        return INTERRUPTED
    return 0


# ------------------------------------------------------------------------------------------------------------- the options

def _rate(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise DeltaruleError(f"--learning-rate expected a number above 0, such as 0.001, received {value}")
    return value


def _command(context: typer.Context) -> str:
    """The command that repeats this run: what differs from the defaults, and the seed, but not where the files go."""
    words = ["deltarule", "train", str(context.params["source"])]
    for parameter in context.command.params:
        name = str(parameter.name)
        if name not in ("source", "out", "json", "quiet", "data_dir", "seed") and context.params[name] != parameter.default:
            words += [f"--{name.replace('_', '-')}", str(context.params[name])]
    return shlex.join([*words, "--seed", str(context.params["seed"])])


def _versions() -> dict[str, str]:
    import jax

    return {"deltarule": deltarule.__version__, "JAX": jax.__version__, "NumPy": np.__version__, "Python": platform.python_version()}


# -------------------------------------------------------------------------------------------------------- report and files

def _prepare_figures() -> None:
    """Import what draws the report, and draw once, so that fonts are found."""
    from deltarule.glass.inline import inline_svg
    from deltarule.glass.style import figure

    inline_svg(figure()[0], "first", "")


def _write(folder: Path, record: Record) -> dict[str, str]:
    """Model, report and history, all or none; their paths."""
    with together(folder) as place:
        record.model.save(place / "model.safetensors")
        write_atomically(place / "report.html", report(record, f"{datetime.now():%d %B %Y, %H:%M}"))
        write_atomically(place / "history.csv", record.history.to_csv())
    return {"model": str(folder / "model.safetensors"), "report": str(folder / "report.html"), "history": str(folder / "history.csv")}


# ------------------------------------------------------------------------------------------------------------- what is said

def _show_plan(data: Dataset, how: str, findings: tuple[Finding, ...], choices: automatic.Choices) -> None:
    kind = f"one of {len(data.class_names)} classes" if data.class_names else "a number"
    shape = " x ".join(map(str, data.x.shape[1:])) + (
        " (height x width x channels)" if data.files else " (steps x channels)" if data.channels else " columns")
    say("data", f"{data.name}: {len(data):,} {data.unit}s, {shape}, target {data.target_name!r} ({kind})")
    say("", data.source)
    for text in data.notes:
        say("  note", text)
    say("split", how)
    if not findings:
        say("audit", "nothing suspicious")
    for finding in findings:
        say("audit", f"{finding.level}: {finding.title}: {finding.evidence}; what to do: {finding.remedy}")
    say("chosen")
    for what, choice, why in choices.reasons:
        say(f"  {what}"[:INDENT], f"{choice}  ({why})")


def _show_result(record: Record, files: dict[str, str]) -> None:
    if not (sys.stdout.isatty() and sys.stderr.isatty()):       # there the progress bar has said so
        say("training", f"{record.history.summary}; {record.history.pace}")
    show_examination(record.examination)
    for heading, path in zip(("written", "", ""), files.values(), strict=True):
        say(heading, path)


def _as_json(record: Record, files: dict[str, str]) -> dict[str, Any]:
    data, history = record.data, record.history
    return {
        "data": {"name": data.name, "source": data.source, "target": data.target_name, "problem": data.problem, "rows": len(data),
                 "train_rows": record.rows[0], "test_rows": record.rows[1], "split": record.split, "notes": list(record.notes),
                 "findings": [vars(finding) for finding in record.findings]},
        "choices": [dict(zip(("what", "choice", "why"), reason, strict=True)) for reason in record.model.about["choices"]],
        "training": {"epochs": len(history.epochs), "kept_epoch": history.kept_epoch, "stopped": history.stopped,
                     "seconds": history.seconds, "compile_seconds": history.compile_seconds},
        "result": record.examination.to_json(),
        "files": files,
        "command": record.command,
        "versions": record.versions,
    }
