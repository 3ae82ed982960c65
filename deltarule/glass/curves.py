"""Figures of a training run."""

from typing import Any

from deltarule.glass.style import BLUE, ORANGE, figure


def learning_curves(history: Any) -> Any:
    """Training and validation curves over the epochs: the loss, and beside it the first metric where there is one.

    `history` is a `History`; returns a matplotlib figure. The epoch whose weights were kept is marked.
    """
    names = [name for name in history if not name.startswith("val_")][:2]
    fig, axes = figure(columns=max(len(names), 1))
    for ax, name in zip(axes, names, strict=False):
        marker = {"marker": "o", "markersize": 3} if len(history.epochs) < 20 else {}
        ax.plot(history.epochs, history[name], color=BLUE, label="training", **marker)
        if f"val_{name}" in history:
            ax.plot(history.epochs, history[f"val_{name}"], color=ORANGE, label="validation", **marker)
        if 0 < history.kept_epoch < len(history.epochs):
            ax.axvline(history.kept_epoch, color="0.5", linestyle=":", linewidth=1)
            ax.annotate(f"kept: {history.kept_epoch}", (history.kept_epoch, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                        textcoords="offset points", ha="center", fontsize=8, color="0.35")
        values = [value for curve in (name, f"val_{name}") for value in history.get(curve, [])]
        if name == "loss" and values and min(values) > 0 and max(values) > 30 * min(values):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")       # not 10 to a power: setting a formula takes longer than all the rest
            ax.minorticks_off()
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch")
        ax.set_ylabel(name.replace("_", " "))
        ax.legend(frameon=False)
    return fig
