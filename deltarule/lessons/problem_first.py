"""The problem comes first: data and question decide the architecture, the loss and the metrics.

The lecture's order: look at the data and at what is asked; choose an architecture that fits the data, a loss that says what is wanted,
and metrics that say whether it is reached; tune after that. The command `deltarule train FILE` goes the same way and gives its reason
for every step. Here it does so for a table of three classes, and in Python for one of two classes and one of numbers.
"""

import csv
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (26,)
EQUATIONS = ("a number:     linear output,   mean squared error",
             "two classes:  sigmoid output,  binary cross-entropy,   y_hat = p(second class given x)",
             "K classes:    softmax output,  cross-entropy,          y_hat_k = p(class k given x)")
PARTS = ("dr.Model.train", "dr.Model.evaluate", "dr.load", "dr.data.read_table", "dr.data.Dataset", "dr.metrics.classification_report",
         "dr.metrics.regression_report")

EXPECTED = {        # what the lectures ask for: (loss, output)
    "wine": ("cross entropy", "3 softmax"), "breast_cancer": ("binary cross entropy", "1 sigmoid"),
    "diabetes": ("squared error", "1 linear"),
}


class Solved(NamedTuple):
    """A problem that was solved: what was chosen, each with its reason, and what came of it on rows never seen."""

    reasons: dict[str, tuple[str, str]]
    error: float            # share of wrong answers, or root mean square error
    baseline: float         # the same of always giving the commonest class, or the mean

    @property
    def share(self) -> float:
        """The error, that of the simplest answer being 1."""
        return self.error / self.baseline


def teach(board: Board) -> None:
    """The command on a file with its reasons, two more problems in Python, the three side by side."""
    with TemporaryDirectory() as folder:
        solved = {"wine": _by_command(board, Path(folder))}
    for data in (dr.data.breast_cancer(), dr.data.diabetes()):
        train, test = data.split(test=0.2, seed=0)
        model, _ = dr.Model.train(train, seed=0, progress=False)
        solved[data.name] = _examined(model, test)
    board.say("The same choices for two other problems, from Python: dr.Model.train(table). What is asked changes the output layer, the "
              "loss and the metrics; how many rows there are changes the size.")
    for what in ("problem", "architecture", "loss", "metrics"):
        board.table([what, "chosen", "because"], [[name, *problem.reasons[what]] for name, problem in solved.items()])
    for name, (loss, output) in EXPECTED.items():
        chosen = solved[name].reasons
        board.number(f"{name}, loss", chosen["loss"][0], equals(loss))
        board.number(f"{name}, output layer", chosen["architecture"][0].rpartition(" - ")[2], equals(output))
    board.say("On rows that were never seen, beside the simplest answer, always the commonest class or always the mean (the error is the "
              "share of wrong answers, or the root mean square error):")
    board.table(["data", "error", "of the simplest answer"], [[name, problem.error, problem.baseline] for name, problem in solved.items()])
    for name, most in (("wine", 0.2), ("breast_cancer", 0.2), ("diabetes", 0.85)):
        board.number(f"{name}, error, simplest answer = 1", solved[name].share, at_most(most))
    board.figure("errors", _figure(solved), "what is left of the error of the simplest answer")


def _by_command(board: Board, folder: Path) -> Solved:
    """Write a table as a file, train on it with the command, and load what it wrote."""
    wine, file = dr.data.wine(), folder / "wine.csv"
    growers = np.array(wine.class_names)[wine.y]
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*wine.feature_names, "grower"])
        table.writerows([*row, grower] for row, grower in zip(np.asarray(wine.x).tolist(), growers, strict=True))
    board.say(f"A table of {len(wine)} wines, 13 measurements and the grower. Which grower made a wine?")
    board.equation("deltarule train wine.csv --target grower")
    command = [sys.executable, "-m", "deltarule", "train", str(file), "--target", "grower", "--out", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    board.number("exit status of the command", done.returncode, equals(0))
    _, _, chosen = done.stdout.partition("chosen\n")
    board.equation(*chosen.partition("\ntraining")[0].splitlines())
    printed = " ".join(done.stdout.split())
    solved = _examined(dr.load(folder / "run" / "model.safetensors"), dr.data.read_table(file, "grower").split(test=0.2, seed=0)[1])
    said = all(f"{what} {choice} ({' '.join(why.split())})" in printed for what, (choice, why) in solved.reasons.items())
    board.number("the command says what it chose and why", said, equals(True))
    return solved


def _examined(model: Any, test: dr.data.Dataset) -> Solved:
    report = model.evaluate(test.x, test.y)
    reasons = {what: (choice, why) for what, choice, why in model.about["choices"]}
    if "rmse" in report:
        return Solved(reasons, report["rmse"], report["baseline"])
    return Solved(reasons, 1 - report["accuracy"], 1 - report["baseline"])


def _figure(solved: dict[str, Solved]) -> object:
    fig, (ax,) = dr.figures.panels(width=5.2, height=2.4)
    left = [problem.share for problem in solved.values()]
    ax.barh(range(3), [1.0] * 3, color="0.9")
    ax.barh(range(3), left, color=[dr.figures.BLUE, dr.figures.GREEN, dr.figures.ORANGE])
    for place, share in enumerate(left):
        ax.text(share + 0.01, place, f"{share:.0%}", va="center", fontsize=9)
    ax.set_yticks(range(3), list(solved))
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("error of the network, simplest answer = 1")
    return fig
