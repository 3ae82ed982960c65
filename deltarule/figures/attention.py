"""What attention looks at: the weights of every head as a map, queries down, keys across."""

from collections.abc import Sequence
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.figures.frame import SMALL, UNSIGNED, check_row
from deltarule.glass.evaluation import plain
from deltarule.glass.style import figure
from deltarule.glass.trace import Trace

NAMED = 40      # steps, at most, that are named one by one
ACROSS = 4      # heads in a row


def attention(trace: Trace, path: str, row: int = 0, tokens: Sequence[Any] | None = None, memory: Sequence[Any] | None = None) -> Any:
    """The attention weights of every head of the layer at `path` for one row of a trace: a panel for each, on one scale from 0 to 1.

    A line is a step that looks, a column a step that is looked at; each line sums to 1. `tokens` are the words (or characters) of the T
    steps, `memory` those of the S steps of a memory that is looked at. Returns a matplotlib figure. Raises DeltaruleError for a layer
    without attention weights, a row that the trace lacks, and another number of words.

    >>> import deltarule as dr, numpy as np
    >>> net = dr.Network([dr.MultiHeadAttention(2)], (3, 4))
    >>> len(attention(net.trace(np.ones((1, 3, 4))), "multi_head_attention_1", tokens="abc").axes)
    3
    """
    check_row("attention", trace, row)
    layer = trace[path]
    if "attention" not in layer.taps:
        known = [other.path for other in trace if "attention" in other.taps]
        raise DeltaruleError(f"{path} ({type(layer.layer).__name__}) has no attention weights; {', '.join(known) or 'no layer here'} has")
    A = layer.taps["attention"][row]                                                        # (heads, T, S)
    heads, T, S = A.shape
    across = tokens if memory is None else memory
    for name, words, steps in (("tokens", tokens, T), ("tokens" if memory is None else "memory", across, S)):
        if words is not None and len(words) != steps:
            raise DeltaruleError(f"{name} expected {steps} words, one for each step, received {len(words)}")
    columns = min(heads, ACROSS)
    width, height = {1: (3.2, 3.2), 2: (3.2, 3.2), 3: (2.5, 3.0), 4: (2.1, 3.0)}[columns]
    fig, axes = figure(columns, -(-heads // columns), width, height)
    fig.set_figwidth(fig.get_figwidth() + 0.8)
    for head, ax in enumerate(axes):
        if head >= heads:
            ax.remove()
            continue
        ax.grid(visible=False)
        drawn = ax.imshow(A[head], vmin=0, vmax=1, cmap=UNSIGNED, interpolation="nearest", aspect="auto" if T != S else "equal")
        ax.set_title(f"head {head}", fontsize=10)
        ax.set_xlabel("looked at", fontsize=9)
        if head % columns == 0:
            ax.set_ylabel("looking", fontsize=9)
        ax.tick_params(labelsize=SMALL)
        if across is not None and S <= NAMED:
            words = [plain(str(token)) for token in across]
            ax.set_xticks(range(S), words, rotation=90 if max(map(len, words)) > 2 else 0)
        if tokens is not None and T <= NAMED:
            ax.set_yticks(range(T), [plain(str(token)) for token in tokens])
    bar = fig.colorbar(drawn, ax=axes[:heads], shrink=0.8, aspect=20)
    bar.set_label("attention weight", fontsize=9)
    bar.ax.tick_params(labelsize=SMALL)
    return fig
