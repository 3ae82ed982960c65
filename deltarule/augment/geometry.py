"""Augmentations that move pixels: shift, rotate, scale, flip, crop. Masks move with their images.

Each is a map from the places of the new image to those of the old one. Maps that follow each other are multiplied first and the image is
sampled once: faster than one pass each, sharper, and nothing that leaves the frame on the way is lost. Whole shifts and flips do not
interpolate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.augment.augmentation import Augmentation, Examples, space_of
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import Array, path_number
from deltarule.ops import noise
from deltarule.ops.sampling import BORDERS, places, sample
from deltarule.spec import nearest, register

Space = tuple[int, ...]
FLOAT = jnp.float32     # of all places, also in networks of float64


class Map(NamedTuple):
    """Where the pixel o of each new image is taken from, p = A o + t, both measured from the middle: A (n, axes, axes), t (n, axes)."""

    A: Array
    t: Array

    def after(self, then: "Map") -> "Map":
        """This map first, then `then`: the new image is looked up through `then`, what that asks for through this one."""
        A = jnp.sum(self.A[:, :, :, None] * then.A[:, None, :, :], axis=2)
        return Map(A, jnp.sum(self.A * then.t[:, None, :], axis=2) + self.t)


class Geometric(Augmentation):
    """Base of the augmentations that move pixels: `map` is the equation. `border` says what is outside, None where it is never seen."""

    border: Any = None
    exact = False       # True: every pixel goes to a pixel

    def map(self, key: Array, n: int, space: Space) -> Map:
        """A random map for each of n examples."""
        raise NotImplementedError(f"{type(self).__name__} must define map(self, key, n, space)")

    def axes(self) -> tuple[int, ...]:
        """For how many axes of space it is meant."""
        return 1, 2, 3

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """h[o] = x[A o + t], between pixels by linear interpolation; masks take the nearest pixel."""
        return _sampled([(self, key)], examples)


@register
@dataclass(frozen=True)
class Shift(Geometric):
    """h[o] = x[o - s], s whole and uniform from -most to most along each axis of space: exact, nothing is blurred.

    On images the same as padding by `most` and cutting a window of the old size out at random (He et al. 2016, section 4.2).
    Shapes: (n, *space, channels) -> the same; `most` is a number or a tuple with one for each axis. `border`: "zeros", or "edge",
    the outermost pixels repeated. Raises DeltaruleError for other settings, ShapeError for rows without space or shifts as large as they.

    >>> import numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Flatten(), dr.Dense(2, "softmax")], input_shape=(8, 8, 1))
    >>> _ = net.fit(np.zeros((4, 8, 8, 1)), np.array([0, 1, 0, 1]), epochs=1, augment=dr.augment.Shift(2))
    """

    most: Any = 1
    border: str = "zeros"
    exact = True

    def __post_init__(self) -> None:
        if isinstance(self.most, list):
            object.__setattr__(self, "most", tuple(self.most))
        for most in self.most if isinstance(self.most, tuple) else (self.most,):
            if isinstance(most, bool) or not isinstance(most, int) or most < 0:
                raise DeltaruleError(f"Shift expected most to be whole numbers of pixels from 0 on, received {self.most!r}")
        _check_border(self)

    def _most(self, space: Space) -> Space:
        most = self.most if isinstance(self.most, tuple) else (self.most,) * len(space)
        if len(most) != len(space) or any(k >= H for k, H in zip(most, space, strict=True)):
            raise ShapeError(f"Shift expected most below the size of each axis of {space}, received {self.most!r}")
        return most

    def _shifts(self, key: Array, n: int, space: Space) -> Array:
        """s, whole numbers (n, axes)."""
        most = jnp.asarray(self._most(space), jnp.int32)[None]
        drawn = noise.bits(key, (n, len(space))) % (2 * most + 1).astype(jnp.uint32)
        return drawn.astype(jnp.int32) - most

    def map(self, key: Array, n: int, space: Space) -> Map:
        """p = o - s."""
        return Map(_diagonal(jnp.ones((n, len(space)), FLOAT)), -self._shifts(key, n, space).astype(FLOAT))

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """A window of the padded image."""
        space = space_of(self, examples.x, *self.axes())
        most, s = self._most(space), self._shifts(key, len(examples.x), space)

        def moved(values: Array) -> Array:
            wide = jnp.pad(values, ((0, 0), *((k, k) for k in most), (0, 0)), mode=BORDERS[self.border])

            def window(one: Array, s: Array) -> Array:
                return lax.dynamic_slice(one, [*(k - s[a] for a, k in enumerate(most)), jnp.int32(0)], values.shape[1:])

            return jax.vmap(window)(wide, s)

        return _moved(examples, moved, moved)


@register
@dataclass(frozen=True)
class Rotate(Geometric):
    """h[o] = x[R o], R = (cos r, sin r; -sin r, cos r) about the middle, the angle r uniform from -degrees to degrees.

    Shapes: images (n, height, width, channels) -> the same; `border` as in `Shift`. Raises DeltaruleError for settings out of range,
    ShapeError for anything but images.

    >>> Rotate(15)
    Rotate(degrees=15)
    """

    degrees: float = 15.0
    border: str = "zeros"

    def __post_init__(self) -> None:
        check_number(self, "degrees", least=0, most=180)
        _check_border(self)

    def axes(self) -> tuple[int, ...]:
        """Images only."""
        return (2,)

    def map(self, key: Array, n: int, space: Space) -> Map:
        """p = R o."""
        r = jnp.radians(_uniform(key, n, -self.degrees, self.degrees))
        cos, sin = jnp.cos(r), jnp.sin(r)
        return Map(jnp.stack([jnp.stack([cos, sin], -1), jnp.stack([-sin, cos], -1)], axis=1), jnp.zeros((n, 2), FLOAT))


@register
@dataclass(frozen=True)
class Scale(Geometric):
    """h[o] = x[o / s] about the middle: as large as before times s, uniform from `low` to `high`; what sticks out is lost.

    Shapes: (n, *space, channels) -> the same; `border` as in `Shift`. Raises DeltaruleError unless 0 < low <= high, ShapeError
    for rows without space.

    >>> Scale(0.8, 1.2)
    Scale(low=0.8, high=1.2)
    """

    low: float = 0.9
    high: float = 1.1
    border: str = "zeros"

    def __post_init__(self) -> None:
        check_number(self, "low", above=0)
        check_number(self, "high", least=self.low)
        _check_border(self)

    def map(self, key: Array, n: int, space: Space) -> Map:
        """p = o / s."""
        s = _uniform(key, n, self.low, self.high)
        return Map(_diagonal(jnp.broadcast_to(1 / s[:, None], (n, len(space)))), jnp.zeros((n, len(space)), FLOAT))


@register
@dataclass(frozen=True)
class Flip(Geometric):
    """h[i, j] = x[i, W - 1 - j] for half of the examples, left and right exchanged; with `vertical` also x[H - 1 - i, j] for half.

    Shapes: (n, *space, channels) -> the same. Sequences run backwards. Only for what means the same in the mirror: cats, galaxies, not
    digits. Raises DeltaruleError where neither is asked for, ShapeError for rows without space and `vertical` on sequences.

    >>> Flip(vertical=True)
    Flip(vertical=True)
    """

    horizontal: bool = True
    vertical: bool = False
    exact = True

    def __post_init__(self) -> None:
        if not (isinstance(self.horizontal, bool) and isinstance(self.vertical, bool) and (self.horizontal or self.vertical)):
            raise DeltaruleError("Flip expected horizontal, vertical or both to be True, received "
                                 f"horizontal={self.horizontal!r}, vertical={self.vertical!r}")

    def axes(self) -> tuple[int, ...]:
        """Upside down takes two axes."""
        return (2, 3) if self.vertical else (1, 2, 3)

    def _flipped(self, key: Array, n: int, space: Space) -> Array:
        """Whether each example is flipped along each axis (n, axes)."""
        asked = [False] * len(space)
        asked[-1] = self.horizontal
        if self.vertical:
            asked[-2] = True
        return noise.bernoulli(key, 0.5, (n, len(space))) & jnp.asarray(asked)[None]

    def map(self, key: Array, n: int, space: Space) -> Map:
        """p = -o along the axes that are flipped."""
        flipped = self._flipped(key, n, space)
        return Map(_diagonal(jnp.where(flipped, -1.0, 1.0).astype(FLOAT)), jnp.zeros((n, len(space)), FLOAT))

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """The image, or its mirror image."""
        space = space_of(self, examples.x, *self.axes())
        flipped = self._flipped(key, len(examples.x), space)

        def moved(values: Array) -> Array:
            for a, asked in enumerate(([self.vertical] if len(space) > 1 else []) + [self.horizontal], start=max(0, len(space) - 2)):
                if asked:
                    values = jnp.where(flipped[:, a].reshape(-1, *[1] * (values.ndim - 1)), jnp.flip(values, axis=a + 1), values)
            return values

        return _moved(examples, moved, moved)


@register
@dataclass(frozen=True)
class RandomCrop(Geometric):
    """A window of height x width pixels at a random place, enlarged to the size of the image: h[o] = x[s + (o + 1/2) height / H - 1/2].

    (For a random window of the padded image, the other thing that is called cropping, see `Shift`.) Shapes: images
    (n, H, W, channels) -> the same (Szegedy et al. 2015, section 6, with windows of one size). Raises DeltaruleError for sizes below 1,
    ShapeError for anything but images and for windows larger than they.

    >>> RandomCrop(24, 24)
    RandomCrop(height=24, width=24)
    """

    height: int
    width: int
    border = "edge"     # the outermost half of a pixel

    def __post_init__(self) -> None:
        for field in ("height", "width"):
            check_number(self, field, least=1, whole=True)

    def axes(self) -> tuple[int, ...]:
        """Images only."""
        return (2,)

    def map(self, key: Array, n: int, space: Space) -> Map:
        """p = s + (o + 1/2) height / H - 1/2, from the middle: o height / H + s - (H - height) / 2."""
        free = [H - size for H, size in zip(space, (self.height, self.width), strict=True)]
        if min(free) < 0:
            raise ShapeError(f"RandomCrop cuts windows of {self.height} x {self.width} out of images of {space[0]} x {space[1]}; "
                             "choose smaller ones")
        drawn = noise.bits(key, (n, 2)) % jnp.asarray([k + 1 for k in free], jnp.uint32)[None]
        t = drawn.astype(FLOAT) - jnp.asarray([k / 2 for k in free], FLOAT)[None]
        return Map(_diagonal(jnp.broadcast_to(jnp.asarray([self.height / space[0], self.width / space[1]], FLOAT)[None], (n, 2))), t)


# ---------------------------------------------------------------------------------------------------------- one after the other

def augmented(steps: tuple[Augmentation, ...], examples: Examples, key: Array) -> Examples:
    """The examples after all augmentations, in order; each draws from a key of its own, by its place in the list.

    Neighbours that move pixels are one map, where any of them interpolates.

    >>> import deltarule as dr
    >>> x = jnp.ones((3, 5, 5, 1))
    >>> augmented((dr.augment.Rotate(30), dr.augment.Shift(1), dr.augment.Noise(0.1)), Examples(x), noise.step_key(0, 0)).x.shape
    (3, 5, 5, 1)
    """
    keyed = [(step, noise.for_layer(key, path_number(f"augment/{number}"))) for number, step in enumerate(steps)]
    for run in _runs(keyed):
        if len(run) > 1 and not all(step.exact for step, _ in run):
            examples = _sampled(run, examples)
        else:
            for step, own in run:
                examples = step(examples, own)
    return examples._replace(x=lax.optimization_barrier(examples.x)) if steps else examples


def _runs(keyed: list[tuple[Any, Array]]) -> Iterator[list[tuple[Any, Array]]]:
    """Neighbours that move pixels and have the same border outside, together; all others alone."""
    run: list[tuple[Any, Array]] = []
    for step, key in keyed:
        borders = {other.border for other, _ in run} | {getattr(step, "border", None)} - {None}
        if run and not (isinstance(step, Geometric) and len(borders - {None}) <= 1):
            yield run
            run = []
        if isinstance(step, Geometric):
            run.append((step, key))
        else:
            yield [(step, key)]
    if run:
        yield run


def _sampled(run: list[tuple[Geometric, Array]], examples: Examples) -> Examples:
    """The images, and their masks, at the places where the product of the maps leads."""
    n = len(examples.x)
    maps = [step.map(key, n, space_of(step, examples.x, *step.axes())) for step, key in run]
    whole = maps[0]
    for then in maps[1:]:
        whole = whole.after(then)
    border = next((step.border for step, _ in run if step.border), "zeros")
    p = lax.optimization_barrier(places(whole.A, whole.t, examples.x.shape[1:-1]))
    return _moved(examples, lambda x: sample(x, p, border), lambda y: sample(y, p, border, nearest=True))


def _moved(examples: Examples, move: Any, move_mask: Any) -> Examples:
    """x moved, and y with it where it is a mask: (n, *space) or (n, *space, K)."""
    x, y = move(examples.x), examples.y
    if examples.masks:
        y = move_mask(y) if y.ndim == x.ndim else move_mask(y[..., None])[..., 0]
    return examples._replace(x=x, y=y)


def _uniform(key: Array, n: int, low: float, high: float) -> Array:
    return low + (high - low) * noise.uniform(key, (n,))


def _diagonal(values: Array) -> Array:
    """(n, axes) -> (n, axes, axes)."""
    return values[:, :, None] * jnp.eye(values.shape[1], dtype=values.dtype)[None]


def _check_border(step: Geometric) -> None:
    if step.border not in BORDERS:
        raise DeltaruleError(f"{type(step).__name__} has no border {step.border!r}{nearest(str(step.border), BORDERS)}")
