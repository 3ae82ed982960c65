"""Images of atom lattices as a scanning transmission electron microscope takes them, made by a formula, with the truth beside them.

A focused beam is moved over a crystal line by line. Where it looks down a column of atoms many electrons are scattered, the more the
heavier the atoms (annular dark field); each column shows as a bright spot on an uneven background, and only so many electrons are
counted. So the true places are known, as they never are for an image of the laboratory.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from deltarule.data import splitting
from deltarule.errors import DataError
from deltarule.spec import nearest

HEAVY, LIGHT = 1, 2         # the sorts of atoms, and their classes in masks with two sorts
DARK = 0.2                  # counts of the empty background, in those of a heavy column
DISORDER = 0.02             # how far atoms stand from their sites, in spacings
RADIUS = 0.35               # of an atom in the mask, in spacings


@dataclasses.dataclass(frozen=True, eq=False)
class Micrographs:
    """Images with their masks and the atoms in them; every image has as many atoms as it has.

    `x` (n, height, width, 1) float32, each image with mean 0 and standard deviation 1; `y` (n, height, width) int32, 0 where there is no
    atom; `centres`, for each image an array (atoms, 2) of the rows and columns of the atoms in pixels, which are not whole numbers: pixel
    (3, 5) reaches from (2.5, 4.5) to (3.5, 5.5); `sorts`, for each image (atoms,), 1 for heavy and 2 for light atoms.
    """

    x: np.ndarray
    y: np.ndarray
    centres: tuple[np.ndarray, ...]
    sorts: tuple[np.ndarray, ...]
    source: str

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, rows: Any) -> "Micrographs":
        """The images of these numbers (m,), or of a mask of booleans (n,).

        >>> len(atoms(3, size=32).subset([0, 2]))
        2
        """
        chosen = np.arange(len(self))[np.asarray(rows)]
        return dataclasses.replace(self, x=self.x[chosen], y=self.y[chosen], centres=tuple(self.centres[i] for i in chosen),
                                   sorts=tuple(self.sorts[i] for i in chosen))

    def split(self, test: float = 0.2, seed: int = 0) -> tuple["Micrographs", "Micrographs"]:
        """Two parts at random, `(train, test)`, the second about the share `test`. Raises DataError where one side would be empty.

        >>> [len(part) for part in atoms(5, size=32).split()]
        [4, 1]
        """
        train, held = splitting.random_rows(len(self), test, seed)
        return self.subset(train), self.subset(held)


def atoms(n: int, size: int = 64, seed: int = 0, *, lattice: str = "mixed", spacing: Any = (7.0, 10.0), width: float = 1.4,
          contrast: float = 0.4, defects: float = 0.03, strain: float = 0.02, dose: float = 30.0, background: float = 1.0,
          jitter: float = 0.3, two_sorts: bool = False) -> Micrographs:
    """Micrographs of n crystals: x (n, size, size, 1), masks y (n, size, size), and the true centres of the atoms.

    All lengths are in pixels. Every image has its own lattice, turned by any angle and shifted by any amount:

    - lattice: "square" (like rock salt from above), "hexagonal" (a honeycomb, like boron nitride or molybdenum disulfide), or "mixed":
      either. In both, heavy and light atoms take turns.
    - spacing: the distance of neighbours, a number or a range to draw from; strain: standard deviation of the entries of the strain tensor.
    - width: standard deviation of the Gaussian spot of a column; contrast: how bright a light column is beside a heavy one (0.4 is about
      titanium beside strontium: brightness grows with the 1.7th power of the atomic number).
    - defects: the chance that a site is empty (vacancy), the same that it holds the other sort, and the same that a light atom sits in
      the gap beside it (interstitial).
    - dose: electrons counted in the middle of a heavy column; their number is Poisson distributed. background: how much brighter than
      nothing it may get, in heavy columns; a slope over the image and two blots of contamination.
    - jitter: standard deviation of the shift of each scan line along its direction, a row of the image.

    The mask holds a disc of 0.35 spacings around every atom: 1, or, with `two_sorts`, 1 for heavy and 2 for light atoms. Centres are those
    of the atoms inside of the image. Raises DataError for values out of range and an unknown lattice.

    >>> crystals = atoms(2, size=32, seed=1)
    >>> crystals.x.shape, crystals.y.shape, crystals.centres[0].shape
    ((2, 32, 32, 1), (2, 32, 32), (10, 2))
    """
    _check(n, size, lattice, spacing, {"width": width, "dose": dose},
           {"contrast": contrast, "strain": strain, "background": background, "jitter": jitter, "defects": defects})
    rng = np.random.default_rng(seed)
    x, y = np.empty((n, size, size, 1), np.float32), np.empty((n, size, size), np.int32)
    centres, sorts = [], []
    for i in range(n):
        apart = rng.uniform(*np.broadcast_to(spacing, 2))
        kind = lattice if lattice != "mixed" else str(rng.choice(list(LATTICES)))
        places, sort = _crystal(rng, kind, size, apart, strain, defects)
        signal = _spots(places, np.where(sort == HEAVY, 1.0, contrast), size, width, jitter * rng.normal(size=size))
        counts = rng.poisson(dose * (DARK + background * _uneven(rng, size) + signal)).astype(float)
        x[i, :, :, 0] = (counts - counts.mean()) / max(counts.std(), 1e-6)
        y[i] = _discs(places, sort if two_sorts else np.ones_like(sort), size, RADIUS * apart)
        inside = ((places > -0.5) & (places < size - 0.5)).all(axis=1)
        centres.append(places[inside])
        sorts.append(sort[inside])
    return Micrographs(x, y, tuple(centres), tuple(sorts), f"made by a formula: {lattice} lattices of heavy and light atoms, seed {seed}")


# Each lattice, for neighbours at distance 1: its two vectors (rows), the places of a heavy and a light atom, and the gap between atoms.
LATTICES = {
    "square": (np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0.5, 0.5])),
    "hexagonal": (np.array([[1.5, math.sqrt(3) / 2], [1.5, -math.sqrt(3) / 2]]), np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([2.0, 0.0])),
}


def _crystal(rng: np.random.Generator, kind: str, size: int, apart: float, strain: float, defects: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) and sorts (m,) of the atoms in and around an image: a turned, shifted and strained lattice with its defects."""
    vectors, basis, gap = LATTICES[kind]
    reach = math.ceil(size / apart) + 3             # half a diagonal of the image is 0.71 sizes: there is room for shift and strain
    numbers = np.arange(-reach, reach + 1)
    cells = np.stack(np.meshgrid(numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 2) @ vectors
    cells = cells[np.linalg.norm(cells, axis=1) < reach]
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    epsilon = strain * rng.normal(size=(2, 2))
    deform = apart * turn @ (np.eye(2) + (epsilon + epsilon.T) / 2)
    sites = np.concatenate([cells + basis[0], cells + basis[1], cells + gap])
    sort = np.repeat([HEAVY, LIGHT, LIGHT], len(cells))
    chance = rng.uniform(size=len(sites))
    is_gap = np.arange(len(sites)) >= 2 * len(cells)
    swapped = ~is_gap & (chance >= defects) & (chance < 2 * defects)
    sort = np.where(swapped, HEAVY + LIGHT - sort, sort)
    there = np.where(is_gap, chance < defects, chance >= defects)
    places = sites @ deform + size / 2 + rng.uniform(-apart, apart, 2) + DISORDER * apart * rng.normal(size=sites.shape)
    near = ((places > -apart) & (places < size - 1 + apart)).all(axis=1)
    return places[there & near], sort[there & near]


def _spots(places: np.ndarray, brightness: np.ndarray, size: int, width: float, shifts: np.ndarray) -> np.ndarray:
    """Gaussian spots on (size, size) pixels, each drawn in a window of 4 widths; row r was scanned shifts[r] pixels to the right."""
    reach = math.ceil(4 * width) + 1
    window = np.arange(-reach, reach + 1)
    rows = np.rint(places[:, 0]).astype(int)[:, None] + window          # (m, k)
    columns = np.rint(places[:, 1]).astype(int)[:, None] + window
    moved = shifts[np.clip(rows, 0, size - 1)]
    across = columns[:, None, :] + moved[:, :, None] - places[:, 1, None, None]         # (m, k, k)
    along = (rows - places[:, :1])[:, :, None]
    values = brightness[:, None, None] * np.exp(-(along**2 + across**2) / (2 * width**2))
    inside = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None, :]
    pixels = (rows[:, :, None] * size + columns[:, None, :])[inside]
    return np.bincount(pixels, values[inside], minlength=size * size).reshape(size, size)


def _uneven(rng: np.random.Generator, size: int) -> np.ndarray:
    """A background from 0 to 1, (size, size): a slope in any direction, and two broad blots."""
    row, column = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi)
    ground = 0.5 * (row * np.cos(angle) + column * np.sin(angle))
    for _ in range(2):
        middle, broad = rng.uniform(0, 1, 2), rng.uniform(0.1, 0.3)
        ground = ground + rng.uniform(0, 1) * np.exp(-((row - middle[0])**2 + (column - middle[1])**2) / (2 * broad**2))
    ground = ground - ground.min()
    return np.asarray(ground / max(float(ground.max()), 1.0))


def _discs(places: np.ndarray, classes: np.ndarray, size: int, radius: float) -> np.ndarray:
    """The class of the nearest atom within the radius, 0 where there is none: (size, size)."""
    if not len(places):
        return np.zeros((size, size), np.int32)
    from scipy.spatial import KDTree

    pixels = np.indices((size, size)).reshape(2, -1).T
    _, which = KDTree(places).query(pixels, distance_upper_bound=radius)
    return np.append(classes, 0)[which].reshape(size, size)


def _check(n: int, size: int, lattice: str, spacing: Any, positive: dict[str, float], shares: dict[str, float]) -> None:
    for name, count, least in (("n", n, 1), ("size", size, 8)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
            raise DataError(f"{name} is {count!r}, expected a whole number from {least} on")
    if lattice not in (*LATTICES, "mixed"):
        raise DataError(f"there is no lattice {lattice!r}{nearest(str(lattice), (*LATTICES, 'mixed'))}")
    ends = [spacing, spacing] if np.ndim(spacing) == 0 else list(spacing)
    if len(ends) != 2 or not 3 <= ends[0] <= ends[1] <= size:
        raise DataError(f"spacing is {spacing!r}, expected the least and the largest distance of neighbours, from 3 to {size} pixels")
    for name, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value!r}, expected a finite number above 0")
    for name, value in shares.items():
        most = {"defects": 0.5, "strain": 0.2}.get(name, math.inf)
        if not (math.isfinite(value) and 0 <= value <= most):
            raise DataError(f"{name} is {value!r}, expected " + ("0 or more" if most == math.inf else f"a number from 0 to {most}"))
