"""Losses for classes, of whole rows or in every step or pixel: cross-entropies, the hinge, the perceptron rule."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.losses.base import (
    Array,
    Loss,
    Output,
    along_last,
    from_zero_to_one,
    name_of,
    needs_output,
    same_shape,
    shown,
)
from deltarule.ops.rows import row_means, row_sums
from deltarule.spec import register


@register
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """L = -sum_k t_k ln y_hat_k for a softmax output, worked out as logsumexp(a) - sum_k t_k a_k: dL/da = y_hat - t.

    Targets: class numbers (batch, ...) or one-hot (batch, ..., K); where there are steps or pixels between, the loss of a row is their
    mean. Label smoothing s replaces t by (1 - s) t + s / K (Szegedy et al. 2016). `class_weights` (K,) multiply the terms of the classes,
    for masks of which little is an object. Lecture row 14. Raises DeltaruleError for weights that are not positive or not K.

    >>> a = jnp.array([[2.0, 0.0, 0.0]])
    >>> round(float(CrossEntropy().rows(Output(None, a, "softmax"), jnp.array([0]))[0]), 4)
    0.2395
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise DeltaruleError(f"CrossEntropy expected label_smoothing from 0 up to but not 1, received {self.label_smoothing!r}")
        object.__setattr__(self, "class_weights", tuple(map(float, self.class_weights)))
        if not all(0 < weight < math.inf for weight in self.class_weights):
            raise DeltaruleError(f"CrossEntropy expected class_weights to be finite numbers above 0, received {self.class_weights!r}")

    def takes_classes(self, output: Output) -> bool:
        """Always."""
        return True

    def check(self, output: Output, y: np.ndarray) -> None:
        """Whole class numbers in range, or rows that sum to one, and a softmax output."""
        needs_output(self, output, ("softmax", "log_softmax"))
        if self.class_weights and len(self.class_weights) != output.h.shape[-1]:
            raise DeltaruleError(f"{name_of(self)} has {len(self.class_weights)} class_weights for {output.h.shape[-1]} outputs; "
                                 "give one for each class")
        check_classes(self, output, y)

    def rows(self, output: Output, y: Array) -> Array:
        """-sum t ln softmax(a)."""
        a, K = output.a, output.a.shape[-1]
        t = one_of_each(y, a)
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * t + self.label_smoothing / K
        if self.class_weights:
            t = t * along_last(jnp.asarray(self.class_weights, a.dtype), a.ndim)
        return row_means(-jnp.sum(t * jax.nn.log_softmax(a), axis=-1), output.mask)


@register
@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """L = -sum_k (y ln y_hat + (1 - y) ln(1 - y_hat)) for a sigmoid output, worked out as softplus(a) - y a: dL/da = y_hat - y.

    Shapes: y and y_hat (batch, ..., K), y from 0 to 1; each output is a yes-or-no question of its own. Where there are steps or pixels
    between, the loss of a row is their mean. `positive_weight` multiplies the first term, for masks of which little is an object.
    Lecture row 14. Raises DeltaruleError for a weight that is not above 0.

    >>> round(float(BinaryCrossEntropy().rows(Output(None, jnp.array([[0.0]]), "sigmoid"), jnp.array([[1.0]]))[0]), 4)
    0.6931
    """

    positive_weight: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "positive_weight", above=0)

    def check(self, output: Output, y: np.ndarray) -> None:
        """Targets from 0 to 1, and a sigmoid output."""
        needs_output(self, output, ("sigmoid",))
        same_shape(output, y, self)
        from_zero_to_one(y, self)

    def rows(self, output: Output, y: Array) -> Array:
        """softplus(a) - y a, and where yes weighs w: (1 - y) softplus(a) + w y softplus(-a)."""
        a, w = output.a, self.positive_weight
        L = jax.nn.softplus(a) - y * a if w == 1 else (1 - y) * jax.nn.softplus(a) + w * y * jax.nn.softplus(-a)
        return row_means(jnp.sum(L, axis=-1), output.mask)


@register
@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, 1 - y h) for targets -1 and 1 (bipolar) and a linear output; sum over outputs. The loss of the support vector machine.

    >>> float(Hinge().rows(Output(jnp.array([[0.25]])), jnp.array([[1.0]]))[0])
    0.75
    """

    def check(self, output: Output, y: np.ndarray) -> None:
        """Targets -1 and 1 only."""
        same_shape(output, y, self)
        if y.size and not np.all(np.abs(y) == 1):
            given = np.unique(y)[:3].tolist()
            raise DeltaruleError(f"{name_of(self)} expected targets -1 and 1, received {given}; write 2 * y - 1 for 0 and 1")

    def rows(self, output: Output, y: Array) -> Array:
        """Sum of max(0, 1 - y h)."""
        return row_sums(jnp.maximum(0, 1 - y * output.h), output.mask)


@register
@dataclass(frozen=True)
class Perceptron(Loss):
    """(y_hat - y) a with y_hat = g(a) taken as given, so that dL/da = y_hat - y: the perceptron rule w <- w + eta (y - y_hat) x.

    For a "step" output with targets 0 and 1 (binary) or a "sign" output with targets -1 and 1 (bipolar); zero where the answer
    is right. Sum over outputs. Rosenblatt 1958, lecture row 3.

    >>> a = jnp.array([[0.5], [-2.0]])
    >>> Perceptron().rows(Output(jnp.array([[1.0], [0.0]]), a, "step"), jnp.array([[0.0], [0.0]])).tolist()
    [0.5, -0.0]
    """

    def check(self, output: Output, y: np.ndarray) -> None:
        """Targets that are the two values of the output's step."""
        needs_output(self, output, ("step", "sign"))
        same_shape(output, y, self)
        values = (0, 1) if output.activation == "step" else (-1, 1)
        if y.size and not np.isin(y, values).all():
            wrong = y[~np.isin(y, values)].flat[0]
            other = "bipolar output is Dense(K, 'sign')" if output.activation == "step" else "binary output is Dense(K, 'step')"
            raise DeltaruleError(f"{name_of(self)} expected targets {values[0]} and {values[1]} for {output.activation!r}, "
                                 f"received {wrong:g}; the {other}")

    def rows(self, output: Output, y: Array) -> Array:
        """Sum of (y_hat - y) a."""
        return row_sums((jax.lax.stop_gradient(output.h) - y) * output.a, output.mask)


def check_classes(value: Loss, output: Output, y: np.ndarray) -> None:
    """Refuse targets that are neither class numbers (n, ...) nor one-hot (n, ..., K) for outputs (n, ..., K)."""
    shape, K = tuple(output.h.shape), output.h.shape[-1]
    if y.shape == shape:
        if y.size and (np.min(y) < 0 or not np.allclose(y.sum(axis=-1), 1, atol=1e-4)):
            raise DeltaruleError(f"{name_of(value)} expected target rows that are not negative and sum to 1")
    elif y.shape != shape[:-1]:
        hint = "" if y.shape != (*shape[:-1], 1) else "; write y[:, 0]" if len(shape) == 2 else "; write y[..., 0]"
        raise ShapeError(f"{name_of(value)} expected class numbers of shape {shown(shape[:-1])} or one-hot rows of shape {shown(shape)}, "
                         f"received targets of shape {shown(y.shape)}{hint}")
    elif not np.issubdtype(y.dtype, np.integer):
        raise DeltaruleError(f"{name_of(value)} expected whole class numbers, received {y.dtype}; write y.astype(int) if they are whole")
    elif y.size and not (np.min(y) >= 0 and np.max(y) < K):
        wrong = np.min(y) if np.min(y) < 0 else np.max(y)
        raise DeltaruleError(f"{name_of(value)} expected class numbers from 0 to {K - 1} for {K} outputs, received {wrong}")


def one_of_each(y: Array, a: Array) -> Array:
    """Targets with one number for each class (batch, ..., K): one-hot rows as they are, class numbers (batch, ...) as one-hot."""
    if y.ndim == a.ndim:
        return y
    return (y[..., None] == along_last(jnp.arange(a.shape[-1], dtype=y.dtype), a.ndim)).astype(a.dtype)
