"""Scenes of coloured shapes and what can be said about them, made by a rule, so that the right caption of every image is known.

One or two shapes stand on a grey ground. The caption names the larger one first and says where it stands, seen from the other:
"a red circle left of a blue square". All colours, shapes and sides are equally frequent.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from deltarule.checks import checked_number
from deltarule.data import splitting

COLOURS = {"red": (0.85, 0.15, 0.15), "green": (0.15, 0.65, 0.2), "blue": (0.2, 0.3, 0.9), "yellow": (0.95, 0.85, 0.2)}
SHAPES = ("circle", "square", "triangle")
SIDES = {"left of": (0.0, -1.0), "right of": (0.0, 1.0), "above": (-1.0, 0.0), "below": (1.0, 0.0)}     # (rows, columns) to go
FINE = 4            # points along a side of a pixel at which it is looked whether a shape is there


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """Images x (n, size, size, 3) float32 from 0 to 1, a caption for each, and where the shapes stand.

    `centres` (n, 2, 2) holds row and column of the shape named first and of the other, in pixels; NaN where there is no other.
    `colours` and `shapes` are the words for them.
    """

    colours: ClassVar[tuple[str, ...]] = tuple(COLOURS)
    shapes: ClassVar[tuple[str, ...]] = SHAPES

    x: np.ndarray
    captions: tuple[str, ...]
    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, rows: Any) -> "Scenes":
        """The scenes of these numbers (m,), or of a mask of booleans (n,)."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return Scenes(self.x[chosen], tuple(self.captions[i] for i in chosen), self.centres[chosen])

    def split(self, test: float = 0.2, seed: int = 0) -> tuple["Scenes", "Scenes"]:
        """Two parts at random, `(train, test)`, the second about the share `test`. Raises DataError where one side would be empty.

        >>> [len(part) for part in scenes(5).split()]
        [4, 1]
        """
        train, held = splitting.random_rows(len(self), test, seed)
        return self.subset(train), self.subset(held)


def scenes(n: int = 1000, size: int = 24, noise: float = 0.03, single: float = 0.2, seed: int = 0) -> Scenes:
    """n scenes of `size` x `size` pixels, a share `single` of them with one shape, with normal noise of this standard deviation.

    The radius of the first shape is 0.16 to 0.2 of the size, that of the other 0.09 to 0.12. Raises DeltaruleError for settings out of
    range.

    >>> some = scenes(3, seed=4)
    >>> some.x.shape, some.captions[0]
    ((3, 24, 24, 3), '...')
    """
    checked_number("n", n, 1, whole=True)
    checked_number("size", size, 16, whole=True)
    checked_number("noise", noise, 0)
    checked_number("single", single, 0, most=1)
    rng = np.random.default_rng(seed)
    x, captions, centres = np.empty((n, size, size, 3), np.float32), [], np.full((n, 2, 2), np.nan)
    for i in range(n):
        ground = rng.uniform(0.35, 0.65)
        image = np.full((size, size, 3), ground) + noise * rng.standard_normal((size, size, 3))
        names = [f"a {colour} {shape}" for colour, shape in zip(rng.choice(list(COLOURS), 2), rng.choice(SHAPES, 2), strict=True)]
        side = str(rng.choice(list(SIDES)))
        both = rng.random() >= single
        radii = size * np.array([rng.uniform(0.16, 0.2), rng.uniform(0.09, 0.12)])
        centres[i] = _places(rng, size, radii, np.array(SIDES[side]))
        if not both:
            centres[i, 0], centres[i, 1] = rng.uniform(radii[0] + 1, size - radii[0] - 1, 2), np.nan
        for name, centre, radius in list(zip(names, centres[i], radii, strict=True))[:1 + both]:
            _, colour, shape = name.split()
            cover = _cover(shape, centre, radius, size)[..., None]
            image = cover * np.array(COLOURS[colour]) * rng.uniform(0.85, 1.05) + (1 - cover) * image
        x[i] = np.clip(image, 0, 1)
        captions.append(f"{names[0]} {side} {names[1]}" if both else names[0])
    return Scenes(x, tuple(captions), centres)


def _places(rng: np.random.Generator, size: int, radii: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Two centres (row, column): the first on this side of the other, apart from it, and more so than on any other side."""
    low, high = radii + 1, size - radii - 1
    while True:
        one, other = (rng.uniform(a, b, 2) for a, b in zip(low, high, strict=True))
        way = one - other
        along, across = way @ side, np.abs(way).sum() - np.abs(way @ side)
        if along > radii.sum() + 1 and across < 0.6 * along:
            return np.stack([one, other])


def _cover(shape: str, centre: np.ndarray, radius: float, size: int) -> np.ndarray:
    """The share of every pixel that a shape covers (size, size)."""
    points = (np.arange(size * FINE) + 0.5) / FINE - 0.5
    r, c = points[:, None] - centre[0], points[None, :] - centre[1]
    if shape == "circle":
        inside = r**2 + c**2 <= radius**2
    elif shape == "square":
        inside = np.maximum(np.abs(r), np.abs(c)) <= 0.886 * radius      # of the area of the circle
    else:       # a triangle on its base, 1.6 radii high
        inside = (r <= 0.8 * radius) & (np.abs(c) <= 0.625 * (r + 0.8 * radius) * 1.1)
    return inside.reshape(size, FINE, size, FINE).mean(axis=(1, 3))
