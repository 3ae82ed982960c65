"""From the outputs of a network trained with `CTC` to labels; how far off they are says `metrics.label_error_rate`."""

from typing import Any

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.data.padding import as_lengths
from deltarule.errors import DataError, ShapeError

Labels = tuple[int, ...]


def ctc_decode(outputs: Any, beam: int | None = None, blank: int = 0, lengths: Any = None) -> list[Labels]:
    """The labels that probabilities (n, T, K) say, one tuple for each row.

    `lengths` (n,) are the steps that count of each, where sequences were filled up (`dr.data.pad`); None: all.
    Without `beam` the best path: the most probable of each step, repetitions and blanks left out. With it prefix beam search: so many
    beginnings are kept from step to step, each with the probability of all its paths; with a wide beam the most probable labels, which
    the best path may miss (Graves et al. 2006, section 3.2; Hannun et al. 2014). Raises ShapeError for another shape, DataError for
    numbers that are no probabilities or lengths, DeltaruleError for settings out of range.

    >>> p = np.array([[[0.6, 0.4], [0.6, 0.4]]])            # nothing: 0.36; "1": 0.16 + 2 x 0.24
    >>> ctc_decode(p), ctc_decode(p, beam=4)
    ([()], [(1,)])
    """
    p = as_array(outputs, "outputs").astype(float)
    if p.ndim != 3 or 0 in p.shape:
        raise ShapeError(f"ctc_decode expected probabilities of shape (n, steps, K), received {p.shape}")
    if p.min() < 0 or not np.allclose(p.sum(axis=-1), 1, atol=1e-3):
        raise DataError("ctc_decode expected probabilities that sum to 1 in every step; give what net.predict returns")
    if beam is not None:
        checked_number("beam", beam, 1, whole=True)
    checked_number("blank", blank, 0, p.shape[2] - 1, whole=True)
    rows = p if lengths is None else [row[:T] for row, T in zip(p, as_lengths(lengths, *p.shape[:2]), strict=True)]
    return [_best_path(row, blank) if beam is None else _beam(row, beam, blank) for row in rows]


def _best_path(p: np.ndarray, blank: int) -> Labels:
    path = p.argmax(axis=1)
    new = np.append(True, path[1:] != path[:-1])
    return tuple(int(label) for label in path[new] if label != blank)


def _beam(p: np.ndarray, beam: int, blank: int) -> Labels:
    """Beginnings with two probabilities each: of the paths that end in a blank, and of those that end in their last label."""
    kept: dict[Labels, tuple[float, float]] = {(): (1.0, 0.0)}
    for step in p:
        grown: dict[Labels, tuple[float, float]] = {}

        def add(prefix: Labels, in_blank: float, in_label: float, grown: dict[Labels, tuple[float, float]] = grown) -> None:
            one, two = grown.get(prefix, (0.0, 0.0))
            grown[prefix] = one + in_blank, two + in_label

        for prefix, (in_blank, in_label) in kept.items():
            whole = in_blank + in_label
            add(prefix, whole * step[blank], in_label * step[prefix[-1]] if prefix else 0.0)
            for label in np.flatnonzero(step):
                if label != blank:
                    again = bool(prefix) and label == prefix[-1]
                    add((*prefix, int(label)), 0.0, (in_blank if again else whole) * step[label])
        largest = sorted(grown.items(), key=lambda item: -sum(item[1]))[:beam]
        scale = sum(largest[0][1]) or 1.0                                # only ratios matter: long sequences stay in range
        kept = {prefix: (one / scale, two / scale) for prefix, (one, two) in largest}
    return max(kept.items(), key=lambda item: sum(item[1]))[0]
