"""History: the curves of a training run, by name, one number for each epoch."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History(Mapping[str, list[float]]):
    """What happened in a call of `fit`: a dict of curves ("loss", "val_loss", "accuracy", ...) with a little knowledge.

    `kept_epoch` is the epoch (from 1) whose weights the network holds; `stopped` says why training ended:
    "finished", "early" (patience was over), "goal" (reached), "interrupted" (Ctrl-C) or "diverged". `recording` holds
    what was recorded of the steps, where `fit` was given a `Record`.

    >>> history = History({"loss": [0.9, 0.4, 0.5]}, kept_epoch=2, planned=3)
    >>> history["loss"], len(history.epochs), history.summary
    ([0.9, 0.4, 0.5], 3, 'kept epoch 2 of 3')
    """

    curves: dict[str, list[float]] = field(default_factory=dict)
    kept_epoch: int = 0
    planned: int = 0
    stopped: str = "finished"
    seconds: float = 0.0
    compile_seconds: float = 0.0
    step_seconds: float = 0.0       # spent on `steps` steps, the first call of the compiled program left out
    steps: int = 0
    recording: Any = None

    def __getitem__(self, name: str) -> list[float]:
        return self.curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    @property
    def epochs(self) -> list[int]:
        """The numbers of the finished epochs, from 1 on."""
        return list(range(1, 1 + max((len(curve) for curve in self.curves.values()), default=0)))

    @property
    def summary(self) -> str:
        """One line: which epoch's weights were kept, of how many, and why training ended."""
        done = len(self.epochs)
        reasons = {"early": f" (stopped early, {self.planned} planned)", "goal": f" (goal reached, {self.planned} planned)",
                   "interrupted": f" (interrupted, {self.planned} planned)",
                   "diverged": f" (diverged, {self.planned} planned)"}
        return f"kept epoch {self.kept_epoch} of {done}{reasons.get(self.stopped, '')}"

    @property
    def pace(self) -> str:
        """One line: how long compiling took and how long a step, for example "compile 1.1 s, 0.21 ms/step"."""
        each = self.step_seconds / max(self.steps, 1)
        unit, scale = ("us", 1e6) if each < 1e-4 else ("ms", 1e3)
        return f"compile {self.compile_seconds:.1f} s, {each * scale:.3g} {unit}/step"

    def rows(self) -> list[dict[str, float]]:
        """One dict for each epoch: its number and the values of all curves."""
        return [{"epoch": epoch, **{name: curve[epoch - 1] for name, curve in self.curves.items()}} for epoch in self.epochs]

    def to_csv(self) -> str:
        """The curves as CSV text, one line for each epoch.

        >>> print(History({"loss": [0.5]}).to_csv().strip())
        epoch,loss
        1,0.5
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *self.curves], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue()

    def to_frame(self) -> Any:
        """The curves as a polars DataFrame, one row for each epoch."""
        import polars

        return polars.DataFrame({"epoch": self.epochs, **self.curves})

    def plot(self) -> Any:
        """Training and validation curves as a matplotlib figure; save it with `.savefig("curves.png")`."""
        from deltarule.glass.curves import learning_curves

        return learning_curves(self)
