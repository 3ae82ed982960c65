"""Losses for masks: how little of two regions overlaps, by the measures of Dice and of Jaccard, and sums of losses.

Cross-entropy asks every pixel; where objects are small most pixels are background, and a network that finds nothing is right almost
everywhere. The overlap of a region with its truth does not depend on how much background there is.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.losses.base import Array, Loss, Output, from_zero_to_one, loss, name_of, needs_output, same_shape, shown
from deltarule.losses.classes import check_classes, one_of_each
from deltarule.ops.rows import real
from deltarule.spec import register


@dataclass(frozen=True)
class Overlap(Loss):
    """Base of Dice and Jaccard, which differ in what the mismatch of p and t is divided by.

    p is the prediction and t the truth, 0 to 1 in each pixel. Outputs (batch, *space, K), sums over space, mean over the K:
    with "sigmoid" K masks, targets of the shape of the outputs; with "softmax" the regions of K classes, targets class numbers
    (batch, *space) or one-hot. A row (batch, P) of a "sigmoid" output without space is one mask of P pixels. `smooth` pixels are counted as
    matching in every region, so that a region that is empty, and predicted so, costs 0. The mismatch is taken from the pre-activation, with
    1 - p as sigmoid(-a) or as the sum of the other classes: nothing is lost where the network is nearly right.
    """

    smooth: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "smooth", above=0)

    def takes_classes(self, output: Output) -> bool:
        """With a softmax output."""
        return output.activation in ("softmax", "log_softmax")

    def check(self, output: Output, y: np.ndarray) -> None:
        """Masks from 0 to 1 with a sigmoid output, classes of pixels with a softmax output."""
        needs_output(self, output, ("sigmoid", "softmax", "log_softmax"))
        if output.activation == "sigmoid":
            same_shape(output, y, self)
            from_zero_to_one(y, self)
        elif len(output.h.shape) == 2:
            raise ShapeError(f"{name_of(self)} expected classes of pixels, outputs (n, height, width, K), the network gives "
                             f"{shown(output.h.shape)}; for classes of whole rows take 'cross_entropy'")
        else:
            check_classes(self, output, y)

    def rows(self, output: Output, y: Array) -> Array:
        """The mean over the K regions of mismatch over size."""
        a = output.a
        if output.activation == "sigmoid":
            t, p, q = y, jax.nn.sigmoid(a), jax.nn.sigmoid(-a)
        else:
            t, p = one_of_each(y, a), jax.nn.softmax(a)
            q = p @ (1 - jnp.eye(a.shape[-1], dtype=a.dtype))       # 1 - p as the sum of the others
        pixels = (len(a), -1, a.shape[-1] if a.ndim > 2 else 1)
        p, q, t = (real(values, output.mask).reshape(pixels) for values in (p, q, t))
        return jnp.mean(self.regions(p, q, t), axis=-1)

    def regions(self, p: Array, q: Array, t: Array) -> Array:
        """The loss of each region, (batch, K), of p, q = 1 - p and t, (batch, P, K)."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Dice(Overlap):
    """1 - (2 sum p t + s) / (sum p^2 + sum t^2 + s), worked out as sum (p - t)^2 / (sum p^2 + sum t^2 + s) (Milletari et al. 2016).

    Shapes and `smooth` s: see `Overlap`. Raises DeltaruleError for smooth not above 0 and targets that are no masks.

    >>> a, y = jnp.array([[0.0, 0.0, 40.0, -40.0]]), jnp.array([[1.0, 0.0, 1.0, 0.0]])
    >>> round(float(Dice(smooth=0.5).rows(Output(None, a, "sigmoid"), y)[0]), 4)          # 0.5 / (1.5 + 2 + 0.5)
    0.125
    """

    def regions(self, p: Array, q: Array, t: Array) -> Array:
        """sum (p - t)^2 / (sum p^2 + sum t^2 + s)."""
        e = (1 - t) * p - t * q                             # p - t
        return jnp.sum(e * e, axis=1) / (jnp.sum(p * p + t * t, axis=1) + self.smooth)


@register
@dataclass(frozen=True)
class Jaccard(Overlap):
    """1 - (I + s) / (U + s), intersection I = sum p t and union U = sum (p + t - p t), worked out as (U - I) / (U + s) (Rahman, Wang 2016).

    Shapes and `smooth` s: see `Overlap`. Raises DeltaruleError for smooth not above 0 and targets that are no masks.

    >>> a, y = jnp.array([[0.0, 0.0, 40.0, -40.0]]), jnp.array([[1.0, 0.0, 1.0, 0.0]])
    >>> round(float(Jaccard(smooth=0.5).rows(Output(None, a, "sigmoid"), y)[0]), 4)       # 1 / (2.5 + 0.5)
    0.3333
    """

    def regions(self, p: Array, q: Array, t: Array) -> Array:
        """sum (p (1 - t) + t (1 - p)) / (sum (t + p (1 - t)) + s)."""
        added, missed = p * (1 - t), q * t
        return jnp.sum(added + missed, axis=1) / (jnp.sum(t + added, axis=1) + self.smooth)


@register
@dataclass(frozen=True)
class Combined(Loss):
    """sum_i w_i L_i: several losses at once, such as cross-entropy, which is steep everywhere, and Dice, which counts what is wanted.

    `losses` are names or losses, `weights` one number for each (default: all 1). Raises DeltaruleError where they do not fit together.

    >>> a, y = jnp.zeros((1, 4)), jnp.array([[1.0, 0.0, 1.0, 0.0]])
    >>> both = Combined(("binary_cross_entropy", "dice"), (1.0, 10.0))
    >>> round(float(both.rows(Output(None, a, "sigmoid"), y)[0]), 4)                      # 4 ln 2 + 10 (1 / 4)
    5.2726
    """

    losses: tuple[Loss, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.losses, (str, Loss)) or not self.losses:
            raise DeltaruleError(f"Combined expected several losses, such as ('binary_cross_entropy', 'dice'), received {self.losses!r}")
        object.__setattr__(self, "losses", tuple(loss(given) for given in self.losses))
        object.__setattr__(self, "weights", tuple(map(float, self.weights or (1.0,) * len(self.losses))))
        if len(self.weights) != len(self.losses):
            raise DeltaruleError(f"Combined has {len(self.losses)} losses and {len(self.weights)} weights; give one for each")

    def takes_classes(self, output: Output) -> bool:
        """Where one of the losses does."""
        return any(value.takes_classes(output) for value in self.losses)

    def check(self, output: Output, y: np.ndarray) -> None:
        """What each of them asks for."""
        for value in self.losses:
            value.check(output, y)

    def rows(self, output: Output, y: Array) -> Array:
        """sum_i w_i L_i."""
        return sum((w * value.rows(output, y) for w, value in zip(self.weights[1:], self.losses[1:], strict=True)),
                   self.weights[0] * self.losses[0].rows(output, y))
