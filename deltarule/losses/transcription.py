"""The loss of transcription: which labels come in a sequence, in which order, where nobody says at which steps."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from deltarule.checks import check_number
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.losses.base import Array, Loss, Output, name_of, needs_output
from deltarule.ops.ctc import ctc
from deltarule.spec import register


@register
@dataclass(frozen=True)
class CTC(Loss):
    """L = -ln p(labels), summed over all ways to say them in T steps with repetitions and blanks (Graves et al. 2006).

    For a softmax in every step, (batch, T, K); one of the K is the blank, which says nothing. Targets (batch, L): whole numbers from 0
    to K - 1, filled up with the blank behind the last label. dL/da is the softmax less the probability, given the labels, that the
    step says this. Steps of padding (`Masked`) do not count. `ctc_decode` reads the labels from the outputs. Raises DeltaruleError for a
    blank below 0.

    >>> a = jnp.zeros((1, 2, 3))
    >>> round(float(CTC().rows(Output(None, a, "softmax"), jnp.array([[1]]))[0]), 4)       # p = 3/9
    1.0986
    """

    counts_steps: ClassVar[bool] = True

    blank: int = 0

    def __post_init__(self) -> None:
        check_number(self, "blank", least=0, whole=True)

    def takes_classes(self, output: Output) -> bool:
        """Always."""
        return True

    def check(self, output: Output, y: np.ndarray) -> None:
        """A softmax in every step, and labels that can be said in so many steps."""
        needs_output(self, output, ("softmax", "log_softmax"))
        shape = tuple(output.h.shape)
        if len(shape) != 3 or y.ndim != 2 or not y.shape[1]:
            raise ShapeError(f"{name_of(self)} expected outputs (n, steps, K) and labels (n, L), received outputs "
                             f"(n, {', '.join(map(str, shape[1:]))}) and targets {y.shape}")
        _, T, K = shape
        if self.blank >= K:
            raise DeltaruleError(f"{name_of(self)} has the blank {self.blank} and the network {K} outputs, numbered from 0")
        if y.dtype.kind not in "iu" or (y.size and (y.min() < 0 or y.max() >= K)):
            wrong = y.flat[0] if y.dtype.kind not in "iu" else y.min() if y.min() < 0 else y.max()
            raise DataError(f"{name_of(self)} expected labels as whole numbers from 0 to {K - 1}, received {wrong:g} of type {y.dtype}")
        real = y != self.blank
        gap = np.flatnonzero(np.any(real[:, 1:] & ~real[:, :-1], axis=1))
        if gap.size:
            raise DataError(f"row {gap[0]} of the labels has a blank ({self.blank}) before a label; blanks only fill up behind the last")
        needed = real.sum(axis=1) + np.sum((y[:, 1:] == y[:, :-1]) & real[:, 1:], axis=1)
        steps = np.full(len(y), T) if output.mask is None else output.mask.sum(axis=1)
        row = int(np.argmax(needed - steps)) if len(y) else 0
        if len(y) and needed[row] > steps[row]:
            raise DataError(f"row {row} of the labels needs {needed[row]} steps (one for each label, and a blank between equal ones), "
                            f"the network gives {steps[row]}{' that are no padding' if steps[row] < T else ''}")

    def rows(self, output: Output, y: Array) -> Array:
        """-ln p(labels)."""
        labels = y.astype(jnp.int32)
        mask = jnp.ones(output.a.shape[:2], bool) if output.mask is None else output.mask
        return ctc(output.a, labels, jnp.sum(labels != self.blank, axis=1, dtype=jnp.int32), jnp.int32(self.blank), mask)
