"""Losses: how wrong a prediction is, one number for each row; training minimises their mean over the batch.

With a softmax or sigmoid output the loss is worked out on the pre-activation a (log-sum-exp), so that nothing
overflows and the output delta dL/da is exactly y_hat - y. Targets are compared with the outputs exactly,
before the first step: a shape that would broadcast is an error.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.spec import nearest, register

Array = Any


class Output(NamedTuple):
    """What a network gave: the prediction h (batch, ...) and, where h = g(a) is its last act, the pre-activation a and the name g."""

    h: Array
    a: Array = None
    activation: str | None = None


class Loss:
    """Base of all losses: `rows(output, y) -> (batch,)`, one loss for each row.

    `check(output, y)` refuses targets that do not fit; `output` may hold shapes only (abstract arrays).
    """

    def rows(self, output: Output, y: Array) -> Array:
        """The loss of each row, shape (batch,)."""
        raise NotImplementedError

    def check(self, output: Output, y: np.ndarray) -> None:
        """Raise ShapeError or DeltaruleError where targets `y` do not fit the network's output."""
        same_shape(output, y, self)


@register
@dataclass(frozen=True)
class SquaredError(Loss):
    """Squared error over the outputs of a row, in the three forms of the lectures (row 14), with e = h - y.

    "mean": 1/K sum_k e_k^2 (Heon);  "sum": sum_k e_k^2 (Poleski);  "half": 1/2 sum_k e_k^2, so that the mean over n rows
    is 1/(2n) sum ||y - h||^2 (Ibrahimli, Nielsen). Shapes: h and y (batch, K).

    >>> h, y = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])
    >>> [float(SquaredError(form).rows(Output(h), y)[0]) for form in ("mean", "sum", "half")]
    [2.5, 5.0, 2.5]
    """

    form: str = "mean"

    def __post_init__(self) -> None:
        if self.form not in ("mean", "sum", "half"):
            raise DeltaruleError(f"SquaredError expected form 'mean', 'sum' or 'half', received {self.form!r}")

    def rows(self, output: Output, y: Array) -> Array:
        """Sum, mean or half the sum of e^2."""
        squares = over_outputs(jnp.square(output.h - y))
        if self.form == "mean":
            return jnp.mean(squares, axis=-1)
        return jnp.sum(squares, axis=-1) * (0.5 if self.form == "half" else 1.0)


@register
@dataclass(frozen=True)
class AbsoluteError(Loss):
    """Mean absolute error 1/K sum_k |h_k - y_k|: its minimum is the median. Shapes: h and y (batch, K).

    >>> float(AbsoluteError().rows(Output(jnp.array([[1.0, -3.0]])), jnp.zeros((1, 2)))[0])
    2.0
    """

    def rows(self, output: Output, y: Array) -> Array:
        """Mean of |e|."""
        return jnp.mean(over_outputs(jnp.abs(output.h - y)), axis=-1)


@register
@dataclass(frozen=True)
class Huber(Loss):
    """e^2 / 2 where |e| <= delta, delta (|e| - delta/2) beyond: outliers pull linearly only (Huber 1964). Mean over outputs.

    >>> float(Huber(1.0).rows(Output(jnp.array([[3.0]])), jnp.zeros((1, 1)))[0])
    2.5
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise DeltaruleError(f"Huber expected delta above 0, received {self.delta!r}")

    def rows(self, output: Output, y: Array) -> Array:
        """Quadratic inside delta, linear outside."""
        e = jnp.abs(output.h - y)
        return jnp.mean(over_outputs(jnp.where(e <= self.delta, 0.5 * e * e, self.delta * (e - 0.5 * self.delta))), axis=-1)


@register
@dataclass(frozen=True)
class Quantile(Loss):
    """Pinball loss max(q e, (q - 1) e), e = y - h: its minimum is the q-quantile (Koenker, Bassett 1978).

    One output for each quantile: h (batch, Q), y (batch, 1). Mean over the quantiles.

    >>> round(float(Quantile((0.9,)).rows(Output(jnp.array([[0.0]])), jnp.ones((1, 1)))[0]), 4)
    0.9
    """

    quantiles: tuple[float, ...] = (0.5,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", tuple(self.quantiles))
        if not self.quantiles or not all(0 < q < 1 for q in self.quantiles):
            raise DeltaruleError(f"Quantile expected quantiles between 0 and 1, received {self.quantiles!r}")

    def check(self, output: Output, y: np.ndarray) -> None:
        """One column of targets, one output for each quantile."""
        n, q = output.h.shape[0], len(self.quantiles)
        if tuple(output.h.shape[1:]) != (q,):
            raise ShapeError(f"{name_of(self)} of {q} quantiles expected outputs of shape (n, {q}), the network gives "
                             f"{_n(output.h.shape)}; end it with Dense({q})")
        if y.shape != (n, 1):
            raise ShapeError(f"{name_of(self)} expected targets of shape (n, 1), received {_n(y.shape)}" + _cure(y.shape, (n, 1)))

    def rows(self, output: Output, y: Array) -> Array:
        """Mean pinball loss."""
        q = jnp.broadcast_to(jnp.asarray(self.quantiles, output.h.dtype), output.h.shape)
        e = jnp.broadcast_to(y, output.h.shape) - output.h
        return jnp.mean(jnp.maximum(q * e, (q - 1) * e), axis=-1)


@register
@dataclass(frozen=True)
class Poisson(Loss):
    """Negative log-likelihood of counts, r - y ln r + ln y!, for a rate r = h ("exponential" or "softplus" output). Sum over outputs.

    >>> round(float(Poisson().rows(Output(jnp.array([[1.0]]), jnp.array([[0.0]]), "exponential"), jnp.array([[2.0]]))[0]), 4)
    1.6931
    """

    def check(self, output: Output, y: np.ndarray) -> None:
        """Counts from zero on, and an output that is positive by construction."""
        needs_output(self, output, ("exponential", "softplus"))
        same_shape(output, y, self)
        if y.size and np.min(y) < 0:
            raise DeltaruleError(f"{name_of(self)} expected counts from 0 on, received {np.min(y):g}")

    def rows(self, output: Output, y: Array) -> Array:
        """r - y ln r + ln y!."""
        ln_r = output.a if output.activation == "exponential" else jnp.log(output.h)
        return jnp.sum(over_outputs(output.h - y * ln_r + jax.lax.lgamma(y + 1)), axis=-1)


@register
@dataclass(frozen=True)
class Gaussian(Loss):
    """Negative log-likelihood of a normal distribution whose mean and spread are both predicted (Nix, Weigend 1994).

    The output holds, for K targets, K means m and then K logarithms s of the variance: h (batch, 2K), y (batch, K);
    loss = 1/2 sum_k (s_k + (y_k - m_k)^2 exp(-s_k) + ln 2 pi).

    >>> round(float(Gaussian().rows(Output(jnp.array([[0.0, 0.0]])), jnp.zeros((1, 1)))[0]), 4)
    0.9189
    """

    def check(self, output: Output, y: np.ndarray) -> None:
        """Twice as many outputs as targets."""
        expected = (output.h.shape[0], output.h.shape[-1] // 2)
        if len(output.h.shape) != 2 or output.h.shape[-1] % 2:
            raise ShapeError(f"{name_of(self)} expected outputs of shape (n, 2K), mean and log-variance for K targets, "
                             f"the network gives {_n(output.h.shape)}; end it with Dense(2 * K)")
        if y.shape != expected:
            raise ShapeError(f"{name_of(self)} expected targets of shape {_n(expected)} for outputs of shape {_n(output.h.shape)} "
                             f"(means and log-variances), received {_n(y.shape)}" + _cure(y.shape, expected))

    def rows(self, output: Output, y: Array) -> Array:
        """1/2 sum (s + (y - m)^2 exp(-s) + ln 2 pi)."""
        m, s = jnp.split(output.h, 2, axis=-1)
        return 0.5 * jnp.sum(s + jnp.square(y - m) * jnp.exp(-s) + float(np.log(2 * np.pi)), axis=-1)


@register
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """L = -sum_k t_k ln y_hat_k for a softmax output, worked out as logsumexp(a) - sum_k t_k a_k: dL/da = y_hat - t.

    Targets: class numbers (batch,) or one-hot rows (batch, K). Label smoothing s replaces t by (1 - s) t + s / K
    (Szegedy et al. 2016). Lecture row 14.

    >>> a = jnp.array([[2.0, 0.0, 0.0]])
    >>> round(float(CrossEntropy().rows(Output(None, a, "softmax"), jnp.array([0]))[0]), 4)
    0.2395
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise DeltaruleError(f"CrossEntropy expected label_smoothing from 0 up to but not 1, received {self.label_smoothing!r}")

    def check(self, output: Output, y: np.ndarray) -> None:
        """Whole class numbers in range, or rows that sum to one, and a softmax output."""
        needs_output(self, output, ("softmax", "log_softmax"))
        shape, K = tuple(output.h.shape), output.h.shape[-1]
        if y.shape == shape:
            if y.size and (np.min(y) < 0 or not np.allclose(y.sum(axis=-1), 1, atol=1e-4)):
                raise DeltaruleError(f"{name_of(self)} expected target rows that are not negative and sum to 1")
        elif y.shape != shape[:-1]:
            raise ShapeError(f"{name_of(self)} expected class numbers of shape {_n(shape[:-1])} or one-hot rows of shape {_n(shape)}, "
                             f"received targets of shape {_n(y.shape)}" + ("; write y[:, 0]" if y.shape == (shape[0], 1) else ""))
        elif not np.issubdtype(y.dtype, np.integer):
            raise DeltaruleError(f"{name_of(self)} expected whole class numbers, received {y.dtype}; write y.astype(int) if they are whole")
        elif y.size and not (np.min(y) >= 0 and np.max(y) < K):
            wrong = np.min(y) if np.min(y) < 0 else np.max(y)
            raise DeltaruleError(f"{name_of(self)} expected class numbers from 0 to {K - 1} for {K} outputs, received {wrong}")

    def rows(self, output: Output, y: Array) -> Array:
        """-sum t ln softmax(a)."""
        a, K = output.a, output.a.shape[-1]
        t = y if y.ndim == a.ndim else (y[..., None] == _count_up(a, y.dtype)).astype(a.dtype)
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * t + self.label_smoothing / K
        return _over_steps(-jnp.sum(t * jax.nn.log_softmax(a), axis=-1))


@register
@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """L = -sum_k (y ln y_hat + (1 - y) ln(1 - y_hat)) for a sigmoid output, worked out as softplus(a) - y a: dL/da = y_hat - y.

    Shapes: y and y_hat (batch, K), y from 0 to 1; each output is a yes-or-no question of its own. Lecture row 14.

    >>> round(float(BinaryCrossEntropy().rows(Output(None, jnp.array([[0.0]]), "sigmoid"), jnp.array([[1.0]]))[0]), 4)
    0.6931
    """

    def check(self, output: Output, y: np.ndarray) -> None:
        """Targets from 0 to 1, and a sigmoid output."""
        needs_output(self, output, ("sigmoid",))
        same_shape(output, y, self)
        if y.size and not (np.min(y) >= 0 and np.max(y) <= 1):
            wrong = np.min(y) if np.min(y) < 0 else np.max(y)
            raise DeltaruleError(f"{name_of(self)} expected targets from 0 to 1, received {wrong:g}")

    def rows(self, output: Output, y: Array) -> Array:
        """softplus(a) - y a."""
        return jnp.sum(over_outputs(jax.nn.softplus(output.a) - y * output.a), axis=-1)


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
        return jnp.sum(over_outputs(jnp.maximum(0, 1 - y * output.h)), axis=-1)


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
        return jnp.sum(over_outputs((jax.lax.stop_gradient(output.h) - y) * output.a), axis=-1)


LOSSES: dict[str, Loss] = {
    "squared_error": SquaredError(), "mean_squared_error": SquaredError(), "mse": SquaredError(),
    "sum_squared_error": SquaredError("sum"), "quadratic": SquaredError("half"),
    "absolute_error": AbsoluteError(), "mean_absolute_error": AbsoluteError(), "mae": AbsoluteError(),
    "huber": Huber(), "quantile": Quantile(), "poisson": Poisson(), "gaussian": Gaussian(),
    "cross_entropy": CrossEntropy(), "binary_cross_entropy": BinaryCrossEntropy(), "hinge": Hinge(), "perceptron": Perceptron(),
}


def loss(value: Any, activation: Any = None) -> Loss:
    """A loss by name or as it is; "auto" takes the one that fits the output activation.

    Raises DeltaruleError for an unknown name, offering the nearest.

    >>> loss("cross_entropy"), loss("auto", "sigmoid"), loss("auto", "linear")
    (CrossEntropy(label_smoothing=0.0), BinaryCrossEntropy(), SquaredError(form='mean'))
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

    >>> name_of(SquaredError("half"))
    'quadratic'
    """
    return next((name for name, known in LOSSES.items() if known == value), type(value).__name__)


def needs_output(value: Loss, output: Output, allowed: tuple[str, ...]) -> None:
    """Refuse an output activation that the loss cannot work with, naming the cure."""
    if output.activation not in allowed:
        given = f"{output.activation!r}" if output.activation else "no activation at its end"
        raise DeltaruleError(f"{name_of(value)} needs {' or '.join(repr(name) for name in allowed)} at the network's output, "
                             f"which has {given}; end the network with Dense(K, {allowed[0]!r})")


def same_shape(output: Output, y: np.ndarray, value: Loss) -> None:
    """Refuse targets whose shape is not exactly that of the outputs: nothing is ever broadcast."""
    shape = tuple(output.h.shape)
    if y.shape != shape:
        raise ShapeError(f"{name_of(value)} compares targets and outputs one to one: targets have shape {_n(y.shape)}, "
                         f"outputs {_n(shape)}" + _cure(y.shape, shape))


def over_outputs(rows: Array) -> Array:
    """(batch, ...) as (batch, outputs)."""
    return rows.reshape(rows.shape[0], -1)


def _over_steps(rows: Array) -> Array:
    return rows if rows.ndim == 1 else jnp.mean(over_outputs(rows), axis=-1)


def _count_up(a: Array, dtype: Any) -> Array:
    """0 ... K-1 along the last axis, with as many axes as a."""
    return jnp.arange(a.shape[-1], dtype=dtype).reshape((1,) * (a.ndim - 1) + (-1,))


def _n(shape: tuple[int, ...]) -> str:
    """A shape with the number of rows written as n."""
    return "(" + ", ".join(["n", *map(str, shape[1:])]) + ("," if len(shape) == 1 else "") + ")"


def _cure(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(given) == 1 and tuple(expected[1:]) == (1,):
        return "; write y[:, None]"
    if len(given) == 1 and len(expected) == 2:
        return f"; for class numbers write deltarule.data.one_hot(y, {expected[1]}), or take the loss 'cross_entropy'"
    if len(given) == 2 and len(expected) > 2:
        return "; put Flatten() before the last layers"
    return f"; the last layer needs {given[-1]} units" if len(given) == 2 and len(expected) == 2 else ""
