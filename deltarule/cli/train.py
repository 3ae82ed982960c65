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
from deltarule.cli.opening import is_data_set, open_data
from deltarule.cli.output import print_json, result_folder, together
from deltarule.cli.text import INDENT, columns, note, one_line, say, show_examination
from deltarule.data import Dataset, Finding, audit
from deltarule.errors import DataError, DeltaruleError
from deltarule.examination import Examination, examine
from deltarule.files import write_atomically
from deltarule.model import Model
from deltarule.ops.activations import activation as known_activation
from deltarule.training.history import History

FEWEST_ROWS = 10
SPLITS = ("auto", "random", "stratified", "group", "time", "blocks")
NETWORK, DATA, TRAINING, OUTPUT = "The network", "The data", "Training", "Output"


def train(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="DATASET_OR_FILE", show_default=False,
        help="digits, iris, wine, breast_cancer, diabetes, mnist, two_moons, circles, spiral, or a .csv, .tsv, .txt or .parquet file.")],
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="What to predict (default: the last column).", rich_help_panel=DATA)] = None,
    problem: Annotated[str | None, typer.Option(metavar="KIND", help="classification or regression (default: seen from the target).",
                                                rich_help_panel=DATA)] = None,
    drop: Annotated[str | None, typer.Option(metavar="COLUMNS", help="Columns to leave out, separated by commas.", rich_help_panel=DATA)] = None,
    split: Annotated[str, typer.Option(metavar="HOW", rich_help_panel=DATA,
        help="How test rows are set apart: auto, random, stratified, group:COLUMN, time:COLUMN or blocks:COLUMN,COLUMN.")] = "auto",
    test: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of the rows kept for the test (default: 0.2).", rich_help_panel=DATA)] = None,
    data_dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the MNIST files are.", rich_help_panel=DATA)] = None,
    hidden: Annotated[str | None, typer.Option(metavar="UNITS", rich_help_panel=NETWORK,
        help="Units of the hidden layers, such as 64,64; 'none' for no hidden layer.")] = None,
    activation: Annotated[str, typer.Option(metavar="NAME", help="Activation of the hidden layers.", rich_help_panel=NETWORK)] = "relu",
    dropout: Annotated[float | None, typer.Option(min=0.0, max=1.0, metavar="RATE", help="Share of hidden units switched off in each step.",
                                                  rich_help_panel=NETWORK)] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Step size of Adam.", rich_help_panel=TRAINING)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Passes over the training rows, at most.", rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Rows in each step.", rich_help_panel=TRAINING)] = None,
    patience: Annotated[int | None, typer.Option(min=1, metavar="N", rich_help_panel=TRAINING,
                                                 help="Epochs without improvement after which training stops.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Decides the split, the first weights and the order of rows.",
                                      rich_help_panel=TRAINING)] = 0,
    out: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the three files go (default: runs/NAME).", rich_help_panel=OUTPUT)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.", rich_help_panel=OUTPUT)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result in one line only.", rich_help_panel=OUTPUT)] = False,
) -> int:
    """Train a network on a data set or a table file, test it on rows it never saw, and write model, report and history.

    Architecture, loss and everything else that is not given is chosen from the data, and the reasons are printed. The folder
    then holds model.safetensors, report.html (open it in a browser) and history.csv.
    """
    given = {"hidden": _units(hidden), "dropout": dropout, "learning_rate": _rate(learning_rate), "epochs": epochs, "batch_size": batch_size,
             "patience": patience}
    known_activation(activation)
    loud = not (json or quiet)
    data, train_part, test_part, how = _divided(source, target, problem, _names(drop), data_dir, split, test, seed)
    findings = audit(train_part, test_part)
    choices = automatic.choose(Model.problem(train_part), activation=activation, **given)       # type: ignore[arg-type]
    folder = result_folder(out or f"runs/{Path(data.name).stem}")
    if loud:
        _show_plan(data, how, findings, choices)
    figures = threading.Thread(target=_prepare_figures, daemon=True)
    figures.start()     # matplotlib takes about as long to import as the first compilation, which leaves Python free

    model, history = Model.train(train_part, choices, seed=seed, progress=False if quiet else None)
    if not history.epochs:
        raise KeyboardInterrupt
    answer = int(np.bincount(train_part.y).argmax()) if data.class_names else float(np.mean(train_part.y, dtype=np.float64))
    exam, notes = examine(model, test_part.x, test_part.y, answer)
    notes = [*data.notes, *(f"in the test part: {text}" for text in notes)]
    command, versions = _command(context), _versions()
    model.about |= {"command": command, "split": how, "seed": seed, "versions": versions, "baseline": answer, "test": exam.to_json()}
    figures.join()
    record = (model, history, exam, data, (len(train_part), len(test_part)), how, findings, tuple(notes), command, versions)
    files = _write(folder, record)
    if json:
        print_json(_as_json(data, train_part, test_part, how, findings, notes, choices, history, exam, files, command, versions))
    elif quiet:
        print(one_line(f"{exam.sentence} {files['report']}"))
    else:
        _show_result(history, exam, files)
    if history.stopped == "interrupted":
        note(f"interrupted after {len(history.epochs)} epochs; what was learnt until then was kept and written")
        return INTERRUPTED
    return 0


# ---------------------------------------------------------------------------------------------------------------- the data

def _divided(source: str, target: str | None, problem: str | None, drop: tuple[str, ...], folder: str | None, split: str,
             test: float | None, seed: int) -> tuple[Dataset, Dataset, Dataset, str]:
    """The whole data set, its training and test part, and how they were divided, in words."""
    kind, _, named = split.partition(":")
    if kind not in SPLITS or (kind in SPLITS[3:]) != bool(named):
        raise DeltaruleError(f"--split is {split!r}, expected auto, random, stratified, group:COLUMN, time:COLUMN or blocks:COLUMN,COLUMN")
    if folder is not None and source != "mnist":
        raise DeltaruleError(f"--data-dir says where the MNIST files are; {source} does not need it")
    data, test_part = open_data(source, target, problem, drop, folder)
    if len(data) < FEWEST_ROWS:
        raise DataError(f"{source} has {len(data)} rows, expected at least {FEWEST_ROWS}, so that some can be kept for the test")
    if test_part is not None:
        if test is not None or split != "auto":
            raise DataError(f"{source} has a test part of its own; leave out --test and --split")
        return data, data, test_part, "the test part that belongs to the data set"
    train_part, test_part = data.split(0.2 if test is None else test, split, seed)
    if kind == "auto":
        kind = "stratified" if data.class_names else "random"
    how = {"random": "at random", "stratified": "at random, every class in its share", "group": f"whole groups of {named!r}",
           "time": f"the latest rows by {named!r} test", "blocks": f"whole blocks over {named!r}"}[kind]
    if train_part.y.min() == train_part.y.max():
        only = data.class_names[int(train_part.y[0])] if data.class_names else f"{train_part.y[0]:g}"
        raise DataError(f"the training part holds one value of {data.target_name!r} only, {only!r}; choose another --split or --test")
    return data, train_part, test_part, f"{how}; seed {seed}"


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _units(text: str | None) -> tuple[int, ...] | None:
    if text is None or text.strip() == "none":
        return None if text is None else ()
    try:
        units = tuple(int(part) for part in text.split(","))
    except ValueError:
        units = (0,)
    if min(units) < 1:
        raise DeltaruleError(f"--hidden expected whole numbers of units separated by commas, such as 64,64, or none, received {text!r}")
    return units


def _rate(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise DeltaruleError(f"--learning-rate expected a number above 0, such as 0.001, received {value}")
    return value


# -------------------------------------------------------------------------------------------------------- report and files

def _prepare_figures() -> None:
    """Import what draws the report, and draw once, so that fonts are found."""
    from deltarule.glass.inline import inline_svg
    from deltarule.glass.style import figure

    inline_svg(figure()[0], "first", "")


def _write(folder: Path, record: tuple[Any, ...]) -> dict[str, str]:
    """Model, history and report, all or none; their paths."""
    from deltarule.report import Record, report

    whole = Record(*record)
    with together(folder) as place:
        whole.model.save(place / "model.safetensors")
        write_atomically(place / "history.csv", whole.history.to_csv())
        write_atomically(place / "report.html", report(whole, f"{datetime.now():%d %B %Y, %H:%M}"))
    return {name: str(folder / file) for name, file in
            (("model", "model.safetensors"), ("report", "report.html"), ("history", "history.csv"))}


def _command(context: typer.Context) -> str:
    """The command that repeats this run: what differs from the defaults, the seed, but not where the files go."""
    words = ["deltarule", "train", str(context.params["source"])]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name not in ("source", "out", "json", "quiet", "data_dir", "seed") and value != parameter.default:
            words += [f"--{str(parameter.name).replace('_', '-')}", str(value)]
    return shlex.join([*words, "--seed", str(context.params["seed"])])


def _versions() -> dict[str, str]:
    import jax

    return {"deltarule": deltarule.__version__, "JAX": jax.__version__, "NumPy": np.__version__, "Python": platform.python_version()}


# ------------------------------------------------------------------------------------------------------------- what is said

def _show_plan(data: Dataset, how: str, findings: tuple[Finding, ...], choices: automatic.Choices) -> None:
    kind = f"one of {len(data.class_names)} classes" if data.class_names else "a number"
    shape = " x ".join(map(str, data.x.shape[1:]))
    say("data", f"{data.name}: {len(data):,} rows, {shape} columns, target {data.target_name!r} ({kind})")
    say("", data.source)
    for text in data.notes:
        say("  note", text)
    say("split", how)
    if not findings:
        say("audit", "nothing suspicious")
    for i, finding in enumerate(findings):
        say("audit" if i == 0 else "", f"{finding.level}: {finding.title}: {finding.evidence}. {finding.remedy[0].upper()}{finding.remedy[1:]}.")
    say("chosen")
    for what, choice, why in choices.reasons:
        say(f"  {what}"[:INDENT - 1], f"{choice}  ({why})")


def _show_result(history: History, exam: Examination, files: dict[str, str]) -> None:
    if not (sys.stdout.isatty() and sys.stderr.isatty()):       # there the progress bar has said so
        say("training", f"{history.summary}; {history.pace}")
    show_examination(exam)
    print("\n".join(f"{'written' if i == 0 else '':<{INDENT}}{line}" for i, line in enumerate(columns([(path,) for path in files.values()]))))


def _as_json(data: Dataset, train_part: Dataset, test_part: Dataset, how: str, findings: tuple[Finding, ...], notes: list[str],
             choices: automatic.Choices, history: History, exam: Examination, files: dict[str, str], command: str,
             versions: dict[str, str]) -> dict[str, Any]:
    return {
        "data": {"name": data.name, "source": data.source, "target": data.target_name, "problem": data.problem, "rows": len(data),
                 "train_rows": len(train_part), "test_rows": len(test_part), "split": how, "notes": notes,
                 "findings": [vars(finding) for finding in findings]},
        "choices": [dict(zip(("what", "choice", "why"), reason, strict=True)) for reason in choices.reasons],
        "training": {"epochs": len(history.epochs), "kept_epoch": history.kept_epoch, "stopped": history.stopped, "seconds": history.seconds},
        "result": exam.to_json(),
        "files": files,
        "command": command,
        "versions": versions,
    }
