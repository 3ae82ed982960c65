"""Progress of a run, on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from deltarule.training.history import History

LINE_SECONDS = 5.0


class Progress:
    """Shows where training stands. `shown` None: a bar where standard error is a terminal; True: lines elsewhere too; False: nothing.

    >>> with Progress(epochs=3, steps=10, shown=False) as progress:
    ...     progress(History({"loss": [0.5]}, planned=3), 0)
    """

    def __init__(self, epochs: int, steps: int, shown: bool | None = None):
        terminal = sys.stderr.isatty()
        self.epochs, self.steps = epochs, steps
        self.lines = bool(shown) and not terminal
        self.bar: Any = None
        self.task: Any = None
        self.wanted = terminal and shown is not False
        self.last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.wanted:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self.bar = Progress(TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[curves]}"),
                                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))
            self.bar.start()
            self.task = self.bar.add_task("epoch", total=self.epochs, curves="compiling")
        return self

    def __call__(self, history: History, done: int) -> None:
        """Show the standing after a segment; `done` steps of the current epoch are finished."""
        finished = len(history.epochs)
        if self.bar is not None:
            self.bar.update(self.task, completed=finished + done / self.steps, curves=latest(history))
        elif self.lines and time.monotonic() - self.last_line > LINE_SECONDS:
            self.last_line = time.monotonic()
            print(f"epoch {finished} of {self.epochs}: {latest(history)}", file=sys.stderr, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, text: str) -> None:
        """One line, where progress is shown at all."""
        if self.wanted or self.lines:
            print(text, file=sys.stderr, flush=True)


def latest(history: History) -> str:
    """The newest value of each curve.

    >>> latest(History({"loss": [0.5, 0.25], "val_accuracy": [0.9, 0.95]}))
    'loss 0.25  val_accuracy 0.95'
    """
    return "  ".join(f"{name} {curve[-1]:.4g}" for name, curve in history.items() if curve)
