"""From the class of every pixel to single objects: find them in a mask, take touching ones apart, compare them with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.data.arrays import all_finite, as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.spec import nearest

METHODS = ("components", "watershed")


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects of one image, in the order of their numbers, which run along the rows.

    `labels` (height, width): 0 for background, the number k from 1 on in the pixels of object k; `centres` (m, 2): row and column of the
    centres of mass, weighted with the probability, in pixels; `areas` (m,): pixels; `scores` (m,): mean probability.
    """

    labels: np.ndarray
    centres: np.ndarray
    areas: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def __repr__(self) -> str:
        return f"Instances({len(self)} objects in {self.labels.shape[0]} x {self.labels.shape[1]} pixels)"


def instances(masks: Any, method: str = "components", *, threshold: float = 0.5, min_size: int = 1, depth: float = 0.5) -> Any:
    """The single objects in masks or probabilities: `Instances` for one image (height, width), a list of them for (n, height, width).

    Masks hold truth values or 0 and 1, probabilities 0 to 1, as (n, height, width) or as a network gives them, (n, height, width, 1);
    pixels above `threshold` belong to an object. `method` says to which:

    - "components": pixels that touch at a side or a corner are one object.
    - "watershed": so are, in each component, the pixels around one maximum of the distance to the background, so that discs that
      touch come apart at their neck (Beucher, Lantuejoul 1979). A maximum counts if it is higher than the pass to a higher one by
      `depth` pixels (its dynamics, Grimaud 1992): more depth splits less.

    Objects of fewer than `min_size` pixels are dropped. Raises ShapeError for other shapes, DataError for other values, DeltaruleError for
    other methods and settings.

    >>> mask = np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 1]])
    >>> found = instances(mask)
    >>> found, found.labels.tolist()
    (Instances(2 objects in 2 x 5 pixels), [[1, 1, 0, 0, 0], [1, 1, 0, 0, 2]])
    >>> found.centres.tolist(), found.areas.tolist()
    ([[0.5, 0.5], [1.0, 4.0]], [4, 1])
    """
    values = as_array(masks, "masks")
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or not values.size:
        raise ShapeError(f"instances expected masks of shape (height, width), (n, height, width) or (n, height, width, 1), "
                         f"received {values.shape}" + ("; choose a class: masks[..., k]" if values.ndim == 4 else ""))
    if not all_finite(values) or values.min() < 0 or values.max() > 1:
        raise DataError(f"instances expected masks or probabilities from 0 to 1, received {values.min():g} to {values.max():g}")
    if method not in METHODS:
        raise DeltaruleError(f"there is no method {method!r}{nearest(str(method), METHODS)}")
    if not 0 <= threshold < 1:
        raise DeltaruleError(f"threshold expected a number from 0 up to but not 1, received {threshold!r}")
    for name, value in (("min_size", min_size), ("depth", depth)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value >= 0:
            raise DeltaruleError(f"{name} expected a number of pixels from 0 on, received {value!r}")
    images = values[None] if values.ndim == 2 else values
    found = [_instances(image.astype(float), method, threshold, min_size, depth) for image in images]
    return found[0] if values.ndim == 2 else found


def _instances(p: np.ndarray, method: str, threshold: float, min_size: int, depth: float) -> Instances:
    from scipy import ndimage

    mask = p > threshold
    if method == "components":
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
    else:
        inside = np.ones(p.shape) if mask.all() else ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
        labels = watershed(inside, mask, depth)
    sizes = np.bincount(labels.ravel(), minlength=1)
    kept = np.flatnonzero(sizes[1:] >= min_size) + 1
    number = np.zeros(len(sizes), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    labels = number[labels]
    mass, rows, columns = (np.bincount(labels.ravel(), (p * axis).ravel(), len(kept) + 1)[1:] for axis in (1, *np.indices(p.shape)))
    return Instances(labels, np.stack([rows, columns], axis=-1) / mass[:, None], sizes[kept], mass / sizes[kept])


def watershed(height: np.ndarray, mask: np.ndarray, depth: float) -> np.ndarray:
    """The hills of a landscape: every pixel of the mask belongs to the summit to which the steepest way up leads.

    The water sinks: pixels appear from the highest to the lowest. One without neighbours above the water is a new hill, any other belongs
    to that of its steepest neighbour; where hills meet is a pass. A hill that is less than `depth` higher than its pass to a higher one
    becomes a part of that. `height` and `mask` are (rows, columns); the result is int32, numbers from 1 on, 0 outside of the mask.

    >>> row = np.array([[1.0, 3.0, 1.0, 2.0, 1.0]])
    >>> watershed(row, row > 0, depth=0.5).tolist(), watershed(row, row > 0, depth=1.5).tolist()
    ([[1, 1, 1, 2, 2]], [[1, 1, 1, 1, 1]])
    """
    wide = mask.shape[1] + 2                                    # with a rim, so that every pixel has eight neighbours
    hill, level = [0] * (wide * (mask.shape[0] + 2)), np.pad(height, 1).ravel().tolist()
    beside = [(i * wide + j, 1 / np.hypot(i, j)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    summit, part_of = [np.inf], [0]                             # of each hill: its height, and the hill that it has become a part of

    def whole(k: int) -> int:
        while part_of[k] != k:
            k = part_of[k]
        return k

    rows, columns = np.nonzero(mask)
    order = np.argsort(-height[rows, columns], kind="stable")
    for at in ((rows + 1) * wide + columns + 1)[order].tolist():
        above = [((level[at + step] - level[at]) * nearness, hill[at + step]) for step, nearness in beside if hill[at + step]]
        if not above:
            summit.append(level[at])
            part_of.append(len(part_of))
            hill[at] = len(part_of) - 1
            continue
        hill[at] = max(above, key=lambda slope: slope[0])[1]
        around = {whole(k) for _, k in above}
        highest = max(around, key=lambda k: (summit[k], -k))
        for k in around - {highest}:
            if summit[k] - level[at] < depth:
                part_of[k] = highest
    kept = np.array([whole(k) for k in range(len(part_of))])
    return _in_order(kept[hill].reshape(-1, wide)[1:-1, 1:-1])


def _in_order(labels: np.ndarray) -> np.ndarray:
    """The labels numbered anew, from 1 on in the order in which they first occur along the rows; 0 stays 0."""
    known, first, which = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.where(known == 0, -1, first))
    number = np.empty(len(known), np.int32)
    number[order] = np.arange(len(known)) + (0 if 0 in known else 1)
    return number[which].reshape(labels.shape)


@dataclass(frozen=True, eq=False)
class Matching:
    """Found objects beside true ones. `pairs`, for each image (k, 2), holds the numbers of those that belong together, found and true,
    and `distances` how far apart they are, in pixels; `found` and `true` are how many there are, `right` and `seen` how many of them have a
    partner.
    """

    pairs: list[np.ndarray]
    distances: np.ndarray
    found: int
    true: int
    right: int
    seen: int

    @property
    def recall(self) -> float:
        """The share of the true objects that were found; 1 where there are none."""
        return self.seen / self.true if self.true else 1.0

    @property
    def precision(self) -> float:
        """The share of the found objects that are true; 1 where nothing was found."""
        return self.right / self.found if self.found else 1.0

    @property
    def mean_distance(self) -> float:
        """The mean distance of the pairs in pixels, NaN where there are none."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")

    def __repr__(self) -> str:
        return (f"Matching({self.seen} of {self.true} true objects found, recall {self.recall:.3f}; {self.right} of {self.found} found "
                f"are true, precision {self.precision:.3f}; mean distance {self.mean_distance:.2f} pixels)")


def match(found: Any, true: Any, within: float = 2.0, *, border: float = 0.0, shape: Sequence[int] = ()) -> Matching:
    """Which found object is which true one: pairs, one to one, at most `within` pixels apart; as many as can be, and then as close.

    `found` and `true` are centres (m, 2), or lists of them with one array for each image; `found` may also be `Instances`. What is closer
    than `border` pixels to the edge of an image of that `shape` (height, width) may be a partner but is not counted: whether an object
    that the edge cuts belongs to the image is a matter of taste. Raises ShapeError for other shapes, DeltaruleError for distances below 0.

    >>> matched = match([[5.0, 5.0], [9.0, 9.0]], [[5.0, 6.0], [20.0, 3.0], [30.0, 1.0]])
    >>> matched
    Matching(1 of 3 true objects found, recall 0.333; 1 of 2 found are true, precision 0.500; mean distance 1.00 pixels)
    >>> matched.pairs[0].tolist()
    [[0, 0]]
    """
    for name, value in (("within", within), ("border", border)):
        if not (np.isfinite(value) and value >= 0):
            raise DeltaruleError(f"{name} expected a distance in pixels from 0 on, received {value!r}")
    if border and len(shape) != 2:
        raise DeltaruleError(f"border needs the shape (height, width) of the images, received shape={shape!r}")
    one, other = _lists("found", found), _lists("true", true)
    if len(one) != len(other):
        raise ShapeError(f"found holds {len(one)} images and true {len(other)}; give one array of centres for each image")
    pairs, distances, counts = [], [], np.zeros(4, int)
    for a, b in zip(one, other, strict=True):
        apart = np.linalg.norm(a[:, None] - b[None], axis=-1)           # (found, true)
        i, j = _partners(apart, within)
        pairs.append(np.stack([i, j], axis=-1))
        distances.append(apart[i, j])
        counted = [_inside(centres, border, shape) for centres in (a, b)]
        counts += [counted[0].sum(), counted[1].sum(), counted[0][i].sum(), counted[1][j].sum()]
    return Matching(pairs, np.concatenate(distances), *map(int, counts))


def _partners(apart: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs: a pair too far apart costs more than all that are near together, so their number comes first."""
    from scipy.optimize import linear_sum_assignment

    far = (within + 1) * (min(apart.shape) + 1)
    i, j = linear_sum_assignment(np.where(apart <= within, apart, far))
    near = apart[i, j] <= within
    return i[near], j[near]


def _inside(centres: np.ndarray, border: float, shape: Sequence[int]) -> np.ndarray:
    if not border:
        return np.ones(len(centres), bool)
    inside = (centres >= border - 0.5) & (centres <= np.asarray(shape)[None] - 0.5 - border)
    return np.all(inside, axis=1)


def _lists(what: str, given: Any) -> list[np.ndarray]:
    """Centres (m, 2), one array for each image, from arrays, lists, `Instances`, or a list of any of them."""
    if isinstance(given, Instances):
        return [given.centres]
    many = isinstance(given, (list, tuple)) and len(given) and not all(np.ndim(item) == 1 and len(item) == 2 for item in given)
    arrays = [item.centres if isinstance(item, Instances) else np.asarray(item, float) for item in (given if many else [given])]
    arrays = [array if array.size else np.empty((0, 2)) for array in arrays]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 2:
            raise ShapeError(f"{what} expected centres of shape (m, 2), row and column, or one such array for each image, "
                             f"received {array.shape}")
    return arrays
