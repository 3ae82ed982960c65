"""From a problem to a network: architecture, loss, optimizer and metrics, each with the reason (lecture row 26).

Look at the data and the problem first, then choose the architecture that fits the data, the loss that fits the problem,
and the metrics that say whether it is solved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.layers import GRU, Conv1D, Conv2D, Dense, Dropout, Flatten, GlobalMaxPool, Layer, Masked, MaxPool1D, MaxPool2D
from deltarule.network import Network
from deltarule.optimizers import Adam, Optimizer

SMALL = 300         # rows below which the whole set is one batch and nothing is held out for validation
PATIENCE = 20
WIDE = 50           # inputs from which a classifier gets one wide hidden layer
KERNEL, POOL = 3, 2 # of the convolutions and the poolings between them
SMALLEST = 4        # pixels to which images are pooled down at least
FIRST, MOST = 16, 64    # filters of the first convolution; they double with every pooling, up to the most
FEW_IMAGES = 100    # below which none is held out for validation
LONG = 400          # steps from which sequences are read by convolutions
ALONG, WIDTH = (32, 64, 64), 5      # filters and kernel of those


@dataclass(frozen=True)
class Problem:
    """What is to be learnt: rows of `input_shape`, `classes` (None: regression of `outputs` numbers), the smallest class's share.

    `sequences`: rows are steps x channels, as a `Preprocessor` of sequences gives them.
    """

    rows: int
    input_shape: tuple[int, ...]
    classes: int | None = None
    outputs: int = 1
    rarest: float = 1.0
    sequences: bool = False

    @property
    def unit(self) -> str:
        """What a row is called."""
        return "sequences" if self.sequences else "images" if len(self.input_shape) == 3 else "rows"


@dataclass(frozen=True)
class Choices:
    """How it will be learnt. `reasons` holds (what, choice, why) for everything that was chosen, in the order of the lecture."""

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    loss: str
    optimizer: Optimizer
    batch_size: int
    epochs: int
    patience: int
    validation: float | None
    metrics: tuple[str, ...]
    filters: tuple[int, ...] = ()
    recurrent: tuple[int, ...] = ()
    reasons: tuple[tuple[str, str, str], ...] = field(default=(), compare=False)


def choose(problem: Problem, *, hidden: Sequence[int] | None = None, filters: Sequence[int] | None = None,
           recurrent: Sequence[int] | None = None, activation: str = "relu", dropout: float | None = None,
           learning_rate: float | None = None, l2: float = 0.0, batch_size: int | None = None, epochs: int | None = None,
           patience: int | None = None, validation: float | None = None) -> Choices:
    """The choices for a problem; what is given is taken as it is, the rest is chosen from the size and kind of the data.

    Images (height, width, channels) get blocks of a convolution and a pooling, one for each of `filters`, before the hidden layers.
    Sequences get GRU layers of `recurrent` units or, where they are long, convolutions. Raises DeltaruleError for units or filters that
    are no whole numbers from 1 on, and for filters or recurrent units where they have no place.

    >>> choices = choose(Problem(rows=1437, input_shape=(64,), classes=10))
    >>> choices.loss, choices.hidden
    ('cross_entropy', (256,))
    >>> for what, choice, why in choices.reasons[:2]:
    ...     print(f"{what}: {choice} ({why})")
    problem: 10 classes (1,437 rows of 64 numbers)
    architecture: 64 - 256 relu - 10 softmax (room to spare for 1,437 rows; early stopping and dropout check overfitting)
    >>> choose(Problem(rows=500, input_shape=(32, 32, 3), classes=3)).filters
    (16, 32, 64)
    """
    n = problem.rows
    maps = () if recurrent and filters is None else _filters(problem, filters)
    cells = _recurrent(problem, recurrent, maps, filters)
    sizes = tuple(hidden) if hidden is not None else () if cells else _hidden(problem, maps)
    if any(isinstance(units, bool) or not isinstance(units, int) or units < 1 for units in sizes):
        raise DeltaruleError(f"hidden expected whole numbers of units from 1 on, received {sizes}")
    usual = _usual(n, bool(maps or cells))
    rate = learning_rate if learning_rate is not None else usual["rate"]
    size = batch_size if batch_size is not None else usual["batch"]
    dropped = dropout if dropout is not None else _dropout(problem, maps)
    held = validation if validation is not None else usual["held"]
    passes = epochs if epochs is not None else usual["epochs"]
    loss, output, why_loss = _loss(problem)
    wait = patience if patience is not None else usual["patience"]
    metrics = ("accuracy",) if problem.classes else ("absolute_error",)
    shape, unit = " x ".join(map(str, problem.input_shape)), problem.unit if maps or problem.sequences else "rows"
    blocks = [f"conv {count} {activation}, pool" for count in maps] + [f"GRU {units}" for units in cells]
    layers = " - ".join([shape, *blocks, *(f"{units} {activation}" for units in sizes), output])
    given = (hidden is not None or bool(cells)) and (filters is not None or not maps) and (recurrent is not None or not cells)
    why = "given" if given else _why_sequences(maps) if problem.sequences and (maps or cells) else \
        _why_filters(problem, maps, dropped) if maps else _why_hidden(problem, dropped)
    reasons = (
        ("problem", f"{problem.classes} classes" if problem.classes else f"regression of {_numbers(problem.outputs)}",
         f"{n:,} images of {shape}" if unit == "images" else f"{n:,} {unit} of {shape} numbers"),
        ("architecture", layers, why),
        ("loss", loss.replace("_", " "), why_loss),
        ("metrics", *_why_metrics(problem)),
        ("optimizer", f"Adam, learning rate {rate:g}", "adapts the step of every weight, so that one rate suits most problems"),
        ("batch", "the whole set" if size >= n else f"{size} {unit}",
         f"so few {unit} that every step can see them all" if size >= n else
         f"many small steps in an epoch, each averaged over its {unit}"),
        ("training", f"up to {passes} epochs",
         f"best on the {held:.0%} of {unit} held out is kept; stops {wait} epochs after it" if held else
         f"no {unit} are held out for validation" if validation is not None else f"too few {unit} to hold any out for validation"),
    )
    return Choices(sizes, activation, dropped, loss, Adam(rate), size, passes, wait, held, metrics, maps, cells, reasons)


def build(problem: Problem, choices: Choices, seed: int = 0, dtype: str = "float32") -> Network:
    """The network of these choices, with its first weights.

    >>> problem = Problem(100, (4,), classes=3)
    >>> build(problem, choose(problem, hidden=(5,)))
    Network(Sequential(layers=(Dense(units=5, activation='relu'), Dense(units=3, activation='softmax'))), input_shape=(4,), seed=0)
    """
    layers: list[Layer] = []
    if problem.sequences:
        layers += _along(choices)
    for filters in () if problem.sequences else choices.filters:
        layers += [Conv2D(filters, KERNEL, choices.activation, padding="same"), MaxPool2D(POOL)]
    if len(problem.input_shape) > 1 and not (problem.sequences and layers):
        layers.append(Flatten())
    for units in choices.hidden:
        layers.append(Dense(units, choices.activation))
        if choices.dropout:
            layers.append(Dropout(choices.dropout))
    layers.append(Dense(_outputs(problem), _loss(problem)[1].split()[-1]))
    return Network(layers, problem.input_shape, seed, dtype)


def options(choices: Choices) -> dict[str, Any]:
    """The choices as arguments of `Network.fit`."""
    return {"loss": choices.loss, "optimizer": choices.optimizer, "epochs": choices.epochs, "batch_size": choices.batch_size,
            "patience": choices.patience, "metrics": choices.metrics}


def _along(choices: Choices) -> list[Layer]:
    """What reads a sequence and gives one vector: recurrent layers, the last one's last step, or convolutions and the largest answers."""
    layers: list[Layer] = []
    if choices.recurrent:
        layers.append(Masked())
        layers += [GRU(units, return_sequences=i < len(choices.recurrent) - 1) for i, units in enumerate(choices.recurrent)]
    for i, filters in enumerate(choices.filters):
        layers.append(Conv1D(filters, WIDTH, choices.activation, padding="same"))
        layers.append(MaxPool1D(POOL) if i < len(choices.filters) - 1 else GlobalMaxPool())
    return layers


def _recurrent(problem: Problem, given: Sequence[int] | None, maps: tuple[int, ...], filters: Sequence[int] | None) -> tuple[int, ...]:
    """Units of the recurrent layers; none where there are no sequences, or convolutions."""
    if given is None:
        return (32 if problem.rows < 5_000 else 64,) if problem.sequences and filters is None and not maps else ()
    units = tuple(given)
    if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in units):
        raise DeltaruleError(f"recurrent expected whole numbers of units from 1 on, received {units}")
    if units and not problem.sequences:
        raise DeltaruleError(f"recurrent expected sequences, received rows of shape {problem.input_shape}; leave recurrent out")
    if units and maps:
        raise DeltaruleError("recurrent and filters exclude one another; leave one of them out")
    return units


def _filters(problem: Problem, given: Sequence[int] | None) -> tuple[int, ...]:
    """Filters of the convolutions: a block for every halving of the smaller side that leaves at least SMALLEST pixels, at most four."""
    shape = problem.input_shape
    if problem.sequences:
        shape = (shape[0], shape[0], 1)                 # both sides are the steps
        if given is None:
            return ALONG if shape[0] >= LONG else ()
    if given is not None:
        filters = tuple(given)
        if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in filters):
            raise DeltaruleError(f"filters expected whole numbers from 1 on, received {filters}")
        if filters and (len(shape) != 3 or min(shape[:2]) < POOL ** len(filters)):
            raise DeltaruleError(f"filters expected images (height, width, channels) of at least {POOL ** len(filters)} pixels a side, "
                                 f"received rows of shape {shape}; leave filters out or take fewer")
        return filters
    if len(shape) != 3 or min(shape[:2]) < POOL * SMALLEST:
        return ()
    blocks = min(4, int(math.log2(min(shape[:2]) / SMALLEST)))
    return tuple(min(FIRST * 2 ** block, MOST) for block in range(blocks))


def _usual(n: int, images: bool) -> dict[str, Any]:
    """Learning rate, batch size, share held out, epochs and patience for n rows."""
    if images:      # every epoch is dear, and small batches make it worth more
        return {"rate": 3e-3 if n < 5_000 else 1e-3, "batch": 16 if n < 1_000 else 32 if n < 10_000 else 128,
                "held": None if n < FEW_IMAGES else 0.15, "epochs": 60 if n < 5_000 else 30, "patience": PATIENCE // 2}
    whole = n < SMALL
    return {"rate": 1e-2 if whole else 3e-3 if n < 5_000 else 1e-3, "batch": n if whole else 32 if n < 10_000 else 128,
            "held": None if whole else 0.15, "epochs": 200 if n < 20_000 else 60, "patience": PATIENCE}


def _hidden(problem: Problem, filters: tuple[int, ...]) -> tuple[int, ...]:
    if filters:
        return (64,) if problem.rows < 1_000 else (128,)
    if problem.rows < SMALL:
        return (32,)
    if problem.classes is not None and math.prod(problem.input_shape) >= WIDE:
        return (256,)
    return (64,) if problem.rows < 1_000 else (64, 64)


def _dropout(problem: Problem, filters: tuple[int, ...]) -> float:
    """More where there are more weights for each row; a regression on many rows needs none."""
    if filters:
        return 0.5 if problem.rows < 1_000 else 0.3
    if problem.rows < SMALL or (problem.classes is None and problem.rows >= 1_000):
        return 0.0
    return 0.3 if problem.classes is not None and math.prod(problem.input_shape) >= WIDE else 0.2


def _outputs(problem: Problem) -> int:
    return problem.outputs if problem.classes is None else 1 if problem.classes == 2 else problem.classes


def _loss(problem: Problem) -> tuple[str, str, str]:
    """(loss, output layer, why)."""
    if problem.classes is None:
        return "squared_error", f"{problem.outputs} linear", "the mean of the target given the inputs has the smallest squared error"
    if problem.classes == 2:
        return "binary_cross_entropy", "1 sigmoid", "the output is the probability of the second class, and this is its likelihood"
    return "cross_entropy", f"{problem.classes} softmax", "the outputs are probabilities of the classes, and this is their likelihood"


def _why_filters(problem: Problem, filters: tuple[int, ...], dropout: float) -> str:
    height, width = problem.input_shape[:2]
    small = POOL ** len(filters)
    checked = f"; dropout {dropout:g} checks overfitting to {problem.rows:,} images" if dropout else ""
    return (f"neighbouring pixels belong together: each convolution sees {KERNEL} x {KERNEL} of them, everywhere with the same weights, "
            f"and {_poolings(len(filters))} of {POOL} x {POOL} {'brings' if len(filters) == 1 else 'bring'} {height} x {width} down to "
            f"{height // small} x {width // small}{checked}")


def _poolings(count: int) -> str:
    return "one pooling" if count == 1 else f"{count} poolings"


def _why_sequences(filters: tuple[int, ...]) -> str:
    if filters:
        return (f"long sequences: each convolution looks at {WIDTH} neighbouring steps, everywhere with the same weights, and the largest "
                "answer of every filter counts")
    return "a state goes from step to step and keeps what matters, over sequences of any length; padding is left out"


def _why_hidden(problem: Problem, dropout: float) -> str:
    n = f"{problem.rows:,} rows"
    if problem.rows < SMALL:
        return f"one hidden layer: {n} do not support more"
    return f"room to spare for {n}; early stopping {'and dropout check' if dropout else 'checks'} overfitting"


def _why_metrics(problem: Problem) -> tuple[str, str]:
    if problem.classes is None:
        return "RMSE, MAE, R2", "in units of the target, and as the share of its variance that is explained"
    if problem.rarest < 0.5 / problem.classes:
        return "accuracy, precision, recall, F1", f"the smallest class has {problem.rarest:.1%} of the rows: look at its recall too"
    return "accuracy, precision, recall, F1", "the classes are of similar size, so accuracy means what it says"


def _numbers(count: int) -> str:
    return "a number" if count == 1 else f"{count} numbers"
