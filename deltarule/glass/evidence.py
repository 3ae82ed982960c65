"""What the doctor looks at: a trace, the data, the loss beside that of a constant answer, a few trial steps, the last training."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.glass.trace import LayerTrace, Trace
from deltarule.glass.trace_table import TraceRow
from deltarule.losses import BinaryCrossEntropy, CrossEntropy, Loss
from deltarule.training.history import History

FEWEST = 20         # rows below which a share of rows says too little: one row silences half of all healthy ReLUs
HARDLY_LEARNT = 0.5     # of the loss of a constant answer: above it, what looks unhealthy is likely to be the reason


@dataclass(frozen=True)
class Rates:
    """Trials of `steps` steps from the present weights: `losses` after them, by what the rate was multiplied with (0.1, 1, 10 ...).

    `movement` is that of the rate itself, see `Trial`; `planned` is how many steps a whole training has.
    """

    rate: float
    steps: int
    planned: int
    losses: dict[float, float]
    movement: dict[str, float]


@dataclass(frozen=True)
class Evidence:
    """All that the rules look at. x (n, ...) and y (n, ...) are the rows of the trace, y as the loss takes it.

    `activation` is that of the network's output, `constant` the loss of the best constant answer, `held` the loss on validation
    rows, `epochs` how many the network was trained. What is not known is None.
    """

    trace: Trace
    x: np.ndarray
    y: np.ndarray
    loss: Loss
    activation: str | None
    epochs: int
    constant: float | None = None
    held: float | None = None
    rates: Rates | None = None
    history: History | None = None

    @functools.cached_property
    def layers(self) -> tuple[LayerTrace, ...]:
        """The layers that are not made of layers, in the order in which they are run."""
        return tuple(self.trace)

    @functools.cached_property
    def table(self) -> tuple[TraceRow, ...]:
        """The statistics of each of them."""
        return self.trace.table().rows

    @property
    def struggles(self) -> bool:
        """Whether the loss is above half of that of a constant answer: the network has hardly learnt, or is not trained yet.

        Where that is not known, it is not said.
        """
        return bool(self.constant) and not self.trace.loss < HARDLY_LEARNT * (self.constant or 0.0)

    @functools.cached_property
    def classes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """True and predicted class numbers (n,) of a classification of whole rows, else None."""
        h, y = self.trace.output, self.y
        if h.ndim != 2:
            return None
        if isinstance(self.loss, CrossEntropy):
            return (y if y.ndim == 1 else y.argmax(axis=1)), h.argmax(axis=1)
        if isinstance(self.loss, BinaryCrossEntropy) and h.shape[1] == 1 and set(np.unique(y)) <= {0.0, 1.0}:
            return y[:, 0].astype(int), (h[:, 0] > 0.5).astype(int)
        return None

    def is_output(self, layer: LayerTrace) -> bool:
        """Whether what the layer hands on is what the network gives."""
        return np.array_equal(layer.activation, self.trace.output)


def where(path: str) -> str:
    """A layer's path, in words where it is empty: the whole network is that layer."""
    return path or "network"


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0.25), percent(0.004)
    ('25%', '0.4%')
    """
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"


def listed(items: Any, most: int = 5) -> str:
    """The first few of them, and how many more there are.

    >>> listed([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    texts = [str(item) for item in items]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
