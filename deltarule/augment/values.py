"""Augmentations that change values: noise, a square cut out, two examples mixed."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from deltarule.augment.augmentation import Augmentation, Examples, space_of
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import Array
from deltarule.ops import noise
from deltarule.spec import register

QUANTILES = 4096    # of the Beta distribution


@register
@dataclass(frozen=True)
class Noise(Augmentation):
    """h = x + std e, e drawn anew from N(0, 1) for every value. Shapes: (n, ...) -> the same, for rows of any shape.

    `std` is in the units of x: for images from 0 to 1 about 0.1, for bytes about 25 (Bishop 1995: for small noise the same as a penalty
    on steep outputs). Raises DeltaruleError for a negative `std`.

    >>> Noise(0.1)
    Noise()
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        check_number(self, "std", least=0)

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """h = x + std e."""
        x = examples.x
        return examples._replace(x=x + self.std * noise.normal(key, x.shape).astype(x.dtype))


@register
@dataclass(frozen=True)
class Cutout(Augmentation):
    """h = 0 within a square of `size` pixels around a random pixel, h = x elsewhere: no single part may decide (DeVries and Taylor 2017).

    The middle is uniform over the image, so that a part of the square often lies outside. Shapes: (n, *space, channels) -> the same, with
    1, 2 or 3 axes of space. Raises DeltaruleError for a size below 1, ShapeError for rows without space or smaller than the square.

    >>> Cutout(8)
    Cutout(size=8)
    """

    size: int

    def __post_init__(self) -> None:
        check_number(self, "size", least=1, whole=True)

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """h = x (1 - inside)."""
        x = examples.x
        space = space_of(self, x, 1, 2, 3)
        if self.size > max(space):
            raise ShapeError(f"Cutout covers {self.size} pixels, images of {' x '.join(map(str, space))} whole; choose a smaller size")
        first = (noise.bits(key, (len(x), len(space))) % jnp.asarray(space, jnp.uint32)[None]).astype(jnp.int32) - self.size // 2
        inside = jnp.ones((len(x), *[1] * (len(space) + 1)), bool)
        for a, H in enumerate(space):
            along = jnp.arange(H, dtype=jnp.int32)[None] - first[:, a][:, None]
            shape = [len(x)] + [H if a == b else 1 for b in range(len(space))] + [1]
            inside = inside & ((along >= 0) & (along < self.size)).reshape(shape)
        return examples._replace(x=jnp.where(inside, jnp.zeros((), x.dtype), x))


@register
@dataclass(frozen=True)
class Mixup(Augmentation):
    """h = l x + (1 - l) x', t = l y + (1 - l) y', another example (x', y') of the batch, l ~ Beta(alpha, alpha) (Zhang et al. 2018).

    Shapes: (n, ...) -> the same, targets too: one-hot or probabilities (n, K), or numbers; class numbers cannot be mixed, so write
    dr.data.one_hot(y). Each example keeps its own weight. l comes from 4,096 quantiles of its distribution.
    Raises DeltaruleError for an alpha not above 0 and for class numbers.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "softmax")], input_shape=(5,))
    >>> _ = net.fit(np.zeros((4, 5)), dr.data.one_hot([0, 1, 2, 0]), epochs=1, augment=[dr.augment.Mixup(0.2)])
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        check_number(self, "alpha", above=0)

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """h = l x + (1 - l) x'."""
        from scipy.stats import beta

        x, y, n = examples.x, examples.y, len(examples.x)
        if y is not None and not jnp.issubdtype(y.dtype, jnp.floating):
            raise DeltaruleError("Mixup mixes targets, and class numbers (integers) cannot be mixed; "
                                 "give one-hot targets: dr.data.one_hot(y)")
        count = jnp.asarray(n if examples.present is None else examples.present).astype(jnp.uint32)
        drawn = noise.bits(key, (n, 2))
        other = (drawn[:, 0] % count).astype(jnp.int32)
        quantiles = jnp.asarray(beta.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, self.alpha, self.alpha), x.dtype)
        share = quantiles[drawn[:, 1] % np.uint32(QUANTILES)]

        def mixed(values: Array) -> Array:
            own = share.reshape(n, *[1] * (values.ndim - 1)).astype(values.dtype)
            return own * values + (1 - own) * values[other]

        return examples._replace(x=mixed(x), y=y if y is None else mixed(y))
