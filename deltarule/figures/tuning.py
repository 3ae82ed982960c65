"""How a setting does on rows held out: the curve that a choice of hyper-parameters is made from."""

from typing import Any

import numpy as np

from deltarule.figures.frame import SMALL, colour, limits, panel
from deltarule.trials import Trials, shown

LINES = 7       # more colours cannot be told apart: then only the best are drawn


def metric_against(trials: Trials, along: str, ax: Any = None) -> Any:
    """The held-out value of each trial (mean over the seeds, bars: their spread) against the setting `along`; the best is ringed.

    One line for each choice of the other settings, at most seven, the best. Trials that diverged are crosses at the upper edge. Returns a
    matplotlib figure.
    """
    ax = panel(ax, width=5.0, height=3.4)
    lines: dict[str, list[Any]] = {}
    for trial in trials:
        others = ", ".join(f"{name} {shown(value)}" for name, value in trial.settings.items() if name != along)
        lines.setdefault(others, []).append(trial)
    finite = np.array([trial.mean for trial in trials if np.isfinite(trial.mean)])
    for k, (others, group) in enumerate(list(lines.items())[:LINES]):
        group = sorted(group, key=lambda trial: trial.settings[along])
        good = [trial for trial in group if np.isfinite(trial.mean)]
        place, mean = [trial.settings[along] for trial in good], [trial.mean for trial in good]
        ax.errorbar(place, mean, yerr=[0.0 if np.isnan(trial.spread) else trial.spread for trial in good], color=colour(k), marker="o",
                    markersize=4, linewidth=1.5, capsize=2.5, elinewidth=1.0, label=others or None)
        broken = [trial.settings[along] for trial in group if not np.isfinite(trial.mean)]
        ax.plot(broken, np.full(len(broken), 0.97), "x", color=colour(k), transform=ax.get_xaxis_transform(), clip_on=False)
    values = np.array(sorted({trial.settings[along] for trial in trials}), float)
    if values.min() > 0 and values.max() >= 10 * values.min():
        ax.set_xscale("log")
    if finite.size:
        best = trials[0]
        ax.plot(best.settings[along], best.mean, "o", markersize=11, markerfacecolor="none", color="0.15", markeredgewidth=1.3, zorder=5)
        low, high = limits(finite, 0.15)
        if finite.min() > 0 and finite.max() > 30 * finite.min():
            ax.set_yscale("log")
        else:
            ax.set_ylim(min(low, ax.get_ylim()[0]), max(high, ax.get_ylim()[1]))
    ax.set_xlabel(along.replace("_", " "))
    ax.set_ylabel(f"{trials.monitor.replace('val_', 'held-out ').replace('_', ' ')}")
    if len(lines) > 1:
        ax.legend(frameon=False, fontsize=SMALL)
    return ax.figure
