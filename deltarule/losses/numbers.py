"""Losses for numbers: errors squared, absolute or bounded, quantiles, counts, and a mean with its spread."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.losses.base import Array, Loss, Output, cure, name_of, needs_output, same_shape, shown
from deltarule.ops.rows import row_means, row_sums
from deltarule.spec import register


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
        squares = jnp.square(output.h - y)
        if self.form == "mean":
            return row_means(squares, output.mask)
        return row_sums(squares, output.mask) * (0.5 if self.form == "half" else 1.0)


@register
@dataclass(frozen=True)
class AbsoluteError(Loss):
    """Mean absolute error 1/K sum_k |h_k - y_k|: its minimum is the median. Shapes: h and y (batch, K).

    >>> float(AbsoluteError().rows(Output(jnp.array([[1.0, -3.0]])), jnp.zeros((1, 2)))[0])
    2.0
    """

    def rows(self, output: Output, y: Array) -> Array:
        """Mean of |e|."""
        return row_means(jnp.abs(output.h - y), output.mask)


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
        return row_means(jnp.where(e <= self.delta, 0.5 * e * e, self.delta * (e - 0.5 * self.delta)), output.mask)


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
                             f"{shown(output.h.shape)}; end it with Dense({q})")
        if y.shape != (n, 1):
            raise ShapeError(f"{name_of(self)} expected targets of shape (n, 1), received {shown(y.shape)}" + cure(y.shape, (n, 1)))

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
        return row_sums(output.h - y * ln_r + jax.lax.lgamma(y + 1), output.mask)


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
                             f"the network gives {shown(output.h.shape)}; end it with Dense(2 * K)")
        if y.shape != expected:
            raise ShapeError(f"{name_of(self)} expected targets of shape {shown(expected)} for outputs of shape {shown(output.h.shape)} "
                             f"(means and log-variances), received {shown(y.shape)}" + cure(y.shape, expected))

    def rows(self, output: Output, y: Array) -> Array:
        """1/2 sum (s + (y - m)^2 exp(-s) + ln 2 pi)."""
        m, s = jnp.split(output.h, 2, axis=-1)
        return 0.5 * jnp.sum(s + jnp.square(y - m) * jnp.exp(-s) + float(np.log(2 * np.pi)), axis=-1)
