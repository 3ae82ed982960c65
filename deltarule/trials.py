"""Trials: networks that were trained with different settings, and how they did on rows held out, best first."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.network import Network
from deltarule.spec import nearest
from deltarule.training.fit import which_monitor


@dataclass(frozen=True)
class Trial:
    """One choice of settings, trained from one or several seeds.

    `values` are the held-out values of the monitored curve at the epoch that was kept, one for each seed (infinitely bad where training
    diverged); `epochs` how many were planned; `networks` the trained networks, empty where only the numbers were read from a file.
    """

    settings: dict[str, Any]
    values: tuple[float, ...]
    epochs: int
    kept: tuple[int, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def mean(self) -> float:
        """The mean of the held-out values over the seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Their standard deviation (of the sample); not a number for a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 and np.all(np.isfinite(self.values)) else float("nan")


@dataclass(frozen=True)
class Trials(Sequence[Trial]):
    """All trials, best first; print it to see the table.

    `monitor` names what was measured on the held-out rows, `rows` how many there were; `cost` is how many epochs were planned, over all
    networks; `complete` is False where Ctrl-C came first. Several seeds tell whether a difference between two rows is more than chance.
    """

    trials: tuple[Trial, ...]
    monitor: str
    rows: int
    cost: int
    complete: bool = True
    again: Callable[[Trial], Trial] | None = field(default=None, repr=False)      # trains a trial that has numbers only

    def __getitem__(self, number: Any) -> Any:
        return self.trials[number]

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def best(self) -> Network:
        """The network of the best trial, of several seeds the one that did best on the held-out rows. Raises DeltaruleError without any.

        Having been chosen by them it looks a little better on those rows than on new ones: test it on others.
        """
        if not self.trials:
            raise DeltaruleError("no trial was finished, so none is the best; let one finish before Ctrl-C")
        trial = self.trials[0]
        if not trial.networks and self.again is not None:
            trial = self.again(trial)
        return trial.networks[int(np.argmin(sign_of(self.monitor) * np.array(trial.values)))]

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that were varied."""
        return tuple(self.trials[0].settings) if self.trials else ()

    def rows_of_table(self) -> list[dict[str, Any]]:
        """One dict for each trial: its settings, epochs, mean, spread and seeds."""
        return [{**trial.settings, "epochs": trial.epochs, self.monitor: trial.mean, "spread": trial.spread, "seeds": len(trial.values)}
                for trial in self.trials]

    def to_frame(self) -> Any:
        """The table as a polars DataFrame, one row for each trial."""
        import polars

        return polars.DataFrame([{name: value if isinstance(value, (int, float, str, bool)) else repr(value) for name, value in row.items()}
                                 for row in self.rows_of_table()], infer_schema_length=None, strict=False)

    def __str__(self) -> str:
        seeds = max((len(trial.values) for trial in self.trials), default=1)
        header = [*self.names, "epochs", self.monitor, *(["spread"] if seeds > 1 else []), "kept epoch"]
        body = [self._cells(trial, seeds) for trial in self.trials]
        widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
                 for line in (header, ["-" * width for width in widths], *body)]
        seen = (f"{len(self)} trial{'s' * (len(self) != 1)}, {seeds} seed{'s' * (seeds != 1)} each, {self.cost} epochs in all, "
                f"{self.rows} rows held out")
        return "\n".join([*lines, seen + ("" if self.complete else "; stopped by Ctrl-C, not all were run")])

    def _cells(self, trial: Trial, seeds: int) -> list[str]:
        failed = sum(not np.isfinite(value) for value in trial.values)
        mean = "diverged" if failed else f"{trial.mean:.4g}"
        spread = ["" if np.isnan(trial.spread) else f"{trial.spread:.2g}"] if seeds > 1 else []
        kept = f"{statistics.median(trial.kept):g}" if trial.kept else ""
        return [*map(shown, trial.settings.values()), str(trial.epochs), mean, *spread, kept]

    def plot(self, along: str | None = None, ax: Any = None) -> Any:
        """The held-out value against one setting (the learning rate, or the one of most values), a line for each choice of the others.

        Bars are the spread over the seeds; the axis is logarithmic where the values are. Returns a matplotlib figure. Raises
        DeltaruleError for a setting that was not varied, or that has no numbers.
        """
        from deltarule.figures.tuning import metric_against

        return metric_against(self, self._along(along), ax)

    def _along(self, along: str | None) -> str:
        numbers = {name: len({trial.settings[name] for trial in self.trials}) for name in self.names
                   if all(is_number(trial.settings[name]) for trial in self.trials)}
        if along is None and numbers:
            return max(numbers, key=lambda name: (numbers[name] > 1, name == "learning_rate", numbers[name]))
        if along not in numbers:
            raise DeltaruleError(f"there is no setting of numbers {along!r} to draw along{nearest(str(along), numbers)}")
        return along


def ranked(trials: Sequence[Trial], monitor: str) -> tuple[Trial, ...]:
    """Best first: of the longest training first, of those the best mean.

    >>> [trial.mean for trial in ranked([Trial({}, (0.9,), 4), Trial({}, (0.7,), 4), Trial({}, (0.1,), 2)], "val_loss")]
    [0.7, 0.9, 0.1]
    """
    return tuple(sorted(trials, key=lambda trial: (-trial.epochs, sign_of(monitor) * trial.mean)))


def sign_of(monitor: str) -> float:
    """1.0 where a smaller value of the curve is better, else -1.0."""
    return which_monitor(monitor, (monitor,))[1]


def is_number(value: Any) -> bool:
    """Whether a setting is a number that can be drawn along an axis."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A setting as the table shows it."""
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
