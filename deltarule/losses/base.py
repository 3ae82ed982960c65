"""What all losses share: the output that they look at, their table by name, and the comparison of shapes."""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.spec import nearest

Array = Any


class Output(NamedTuple):
    """What a network gave: the prediction h (batch, ...) and, where h = g(a) is its last act, the pre-activation a and the name g.

    `mask` (batch, steps) is False for the steps of h that only fill sequences up (`Masked`), None where all are real.
    """

    h: Array
    a: Array = None
    activation: str | None = None
    mask: Array | None = None


class Loss:
    """Base of all losses: `rows(output, y) -> (batch,)`, one loss for each row, in which steps of padding do not count.

    `check(output, y)` refuses targets that do not fit; `output` may hold shapes only (abstract arrays), and holds a mask where the loss
    `counts_steps`.
    """

    counts_steps: ClassVar[bool] = False

    def rows(self, output: Output, y: Array) -> Array:
        """The loss of each row, shape (batch,)."""
        raise NotImplementedError

    def check(self, output: Output, y: np.ndarray) -> None:
        """Raise ShapeError or DeltaruleError where targets `y` do not fit the network's output."""
        same_shape(output, y, self)

    def takes_classes(self, output: Output) -> bool:
        """Whether targets may be class numbers, which stay whole, instead of numbers of the shape of the output."""
        return False


LOSSES: dict[str, Loss] = {}        # by name: filled in `deltarule.losses`, where all are known


def loss(value: Any, activation: Any = None) -> Loss:
    """A loss by name or as it is; "auto" takes the one that fits the output activation.

    Raises DeltaruleError for an unknown name, offering the nearest.

    >>> loss("hinge"), loss("auto", "exponential"), loss("auto", "linear")
    (Hinge(), Poisson(), SquaredError(form='mean'))
    """
    if isinstance(value, Loss):
        return value
    if value == "auto":
        return LOSSES[{"softmax": "cross_entropy", "log_softmax": "cross_entropy", "sigmoid": "binary_cross_entropy",
                       "exponential": "poisson", "step": "perceptron", "sign": "perceptron"}.get(activation, "squared_error")]
    if not isinstance(value, str) or value not in LOSSES:
        raise DeltaruleError(f"unknown loss {value!r}{nearest(str(value), LOSSES)}")
    return LOSSES[value]


def name_of(value: Loss) -> str:
    """The name under which messages speak of a loss.

    >>> from deltarule.losses import SquaredError
    >>> name_of(SquaredError("half"))
    'quadratic'
    """
    return next((name for name, known in LOSSES.items() if known == value), type(value).__name__)


def needs_output(value: Loss, output: Output, allowed: tuple[str, ...]) -> None:
    """Refuse an output activation that the loss cannot work with, naming the cure."""
    if output.activation not in allowed:
        given = f"{output.activation!r}" if output.activation else "no activation at its end"
        last = f"Conv2D(K, 1, {allowed[0]!r})" if len(output.h.shape) == 4 else f"Dense(K, {allowed[0]!r})"
        raise DeltaruleError(f"{name_of(value)} needs {' or '.join(repr(name) for name in allowed)} at the network's output, "
                             f"which has {given}; end the network with {last}")


def same_shape(output: Output, y: np.ndarray, value: Loss) -> None:
    """Refuse targets whose shape is not exactly that of the outputs: nothing is ever broadcast."""
    shape = tuple(output.h.shape)
    if y.shape != shape:
        raise ShapeError(f"{name_of(value)} compares targets and outputs one to one: targets have shape {shown(y.shape)}, "
                         f"outputs {shown(shape)}" + cure(y.shape, shape))


def from_zero_to_one(y: np.ndarray, value: Loss) -> None:
    """Refuse targets outside of 0 to 1."""
    if y.size and not (np.min(y) >= 0 and np.max(y) <= 1):
        wrong = np.min(y) if np.min(y) < 0 else np.max(y)
        raise DeltaruleError(f"{name_of(value)} expected targets from 0 to 1, received {wrong:g}")


def along_last(values: Array, axes: int) -> Array:
    """Values (K,) along the last of so many axes."""
    return values.reshape((1,) * (axes - 1) + (-1,))


def shown(shape: tuple[int, ...]) -> str:
    """A shape with the number of rows written as n."""
    return "(" + ", ".join(["n", *map(str, shape[1:])]) + ("," if len(shape) == 1 else "") + ")"


def cure(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to do about targets of another shape than expected, where it can be guessed."""
    if len(given) == 1 and tuple(expected[1:]) == (1,):
        return "; write y[:, None]"
    if len(given) == 1 and len(expected) == 2:
        return f"; for class numbers write deltarule.data.one_hot(y, {expected[1]}), or take the loss 'cross_entropy'"
    if len(given) == 2 and len(expected) > 2:
        return "; put Flatten() before the last layers, or let the last recurrent layer give its last step alone"
    if len(given) > 1 and given == tuple(expected[:-1]):
        return "; for a class number in every place take the loss 'cross_entropy', with a 'softmax' output"
    return f"; the last layer needs {given[-1]} units" if len(given) == 2 and len(expected) == 2 else ""
