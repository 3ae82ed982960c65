"""What a network looked at for every word that it said about an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.data.arrays import as_array
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.glass.evaluation import plain
from deltarule.glass.style import figure

DARK = 0.15         # of what is not looked at


def attended(images: ArrayLike, captions: Sequence[str], A: ArrayLike, notes: Sequence[str] | None = None) -> Any:
    """A line for each image: the image, and for every word of its caption the image lit where the network looked (Xu et al. 2015).

    Shapes: images (n, height, width, 3) from 0 to 1, A (n, T, places), the weights of T steps on places in rows like those of the image,
    such as the tap "attention" of an `AttentiveLSTM`; brightest is the largest weight of each word. `notes` are written under the lines.
    Returns a matplotlib figure. Raises ShapeError for arrays that do not fit, DeltaruleError for captions of more than T words.

    >>> fig = attended(np.ones((1, 8, 8, 3)), ["a circle"], np.full((1, 2, 16), 1 / 16))
    >>> [ax.get_title() for ax in fig.axes]
    ['', 'a', 'circle']
    """
    x, weights = as_array(images, "images"), as_array(A, "A")
    if x.ndim != 4 or x.shape[-1] != 3 or weights.ndim != 3 or len(weights) != len(x):
        raise ShapeError(f"attended expected images (n, height, width, 3) and A (n, T, places), received {x.shape} and {weights.shape}")
    (n, H, W, _), (_, T, places) = x.shape, weights.shape
    down = round((places * H / W) ** 0.5)
    if places % down or H % down or W % (places // down):
        raise ShapeError(f"attended cannot lay {places} places over images of {H} x {W} pixels")
    lines = [caption.split() for caption in captions]
    if len(lines) != n or max(map(len, lines)) > T:
        raise DeltaruleError(f"attended expected {n} captions of at most {T} words, received {len(lines)} of up to {max(map(len, lines))}")
    columns = 1 + max(map(len, lines))
    fig, axes = figure(columns, n, width=9.2 / columns, height=9.2 / columns + (0.35 if notes else 0.2))
    for i, words in enumerate(lines):
        for k, ax in enumerate(axes[i * columns:(i + 1) * columns]):
            ax.axis("off")
            if k > len(words):
                continue
            light = np.ones((H, W))
            if k:
                grid = weights[i, k - 1].reshape(down, places // down)
                light = DARK + (1 - DARK) * np.kron(grid / max(grid.max(), np.finfo(float).tiny), np.ones((H // down, W * down // places)))
                ax.set_title(plain(words[k - 1]), fontsize=9)
            ax.imshow(x[i] * light[..., None], interpolation="nearest", vmin=0, vmax=1)
        if notes:
            below = axes[i * columns]
            note = below.text(0, -0.08, notes[i], parse_math=False, transform=below.transAxes, va="top", fontsize=8)
            note.set_in_layout(False)       # it is wider than its image
    if notes:
        fig.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))        # room for the last of them
    return fig
