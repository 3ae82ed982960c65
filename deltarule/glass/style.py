"""One look for all figures: colours that colour-blind readers tell apart (Okabe, Ito 2008), thin frames, no pyplot state."""

from typing import Any

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, "#000000")


def figure(columns: int = 1, rows: int = 1, width: float = 4.2, height: float = 3.0) -> tuple[Any, list[Any]]:
    """A matplotlib figure with `rows * columns` axes, each about `width` x `height` inches; the axes come as a flat list."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = [fig.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    return fig, [styled(ax) for ax in axes]


def styled(ax: Any) -> Any:
    """Axes with the frame and the grid of all figures."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax
