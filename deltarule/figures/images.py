"""Small images side by side: digits, or the weights of the first layer's units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deltarule.arguments import valid_seed
from deltarule.augment import Examples, as_augmentations
from deltarule.augment import augmented as augmented_examples
from deltarule.data.arrays import all_finite, as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import SIGNED, SMALL, check_whole
from deltarule.glass.evaluation import plain
from deltarule.glass.style import figure
from deltarule.ops.noise import step_key


def image_grid(images: ArrayLike, titles: Sequence[str] | None = None, columns: int = 8, *, size: float = 0.9, label: str = "") -> Any:
    """Images (n, height, width) or (n, height, width, 1) in a grid, all on one colour scale; (n, height, width, 3) in their own colours.

    Where there are negative values the scale is blue above zero and red below, centred on zero; otherwise dark is large. `titles` are n
    words, `label` names the quantity at the colour bar, `size` is the width of an image in inches. Returns a matplotlib figure.
    Raises ShapeError for other shapes, DeltaruleError for another number of titles.

    The weights of a dense layer over 28 x 28 images are drawn by `image_grid(W.T.reshape(-1, 28, 28))`.

    >>> len(image_grid(np.zeros((10, 5, 7)), columns=4).axes)
    11
    """
    values = as_array(images, "images")
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if not (values.ndim == 3 or (values.ndim == 4 and values.shape[-1] == 3)) or not values.size:
        raise ShapeError(f"image_grid expected images of shape (n, height, width), with 1 or 3 channels after it or none, "
                         f"received {values.shape}")
    if not all_finite(values):
        raise DataError("images holds values that are not finite; write np.nan_to_num(images) to draw them as zero")
    if titles is not None and len(titles) != len(values):
        raise DeltaruleError(f"titles expected {len(values)} words, one for each image, received {len(titles)}")
    check_whole("columns", columns, 1)
    columns = min(columns, len(values))
    rows = -(-len(values) // columns)
    height = size * values.shape[1] / values.shape[2] + (0 if titles is None else 0.2)
    fig, axes = figure(columns, rows, width=size, height=height)
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    shown, scale = _scaled(values)
    for i, ax in enumerate(axes):
        if i >= len(values):
            ax.remove()
            continue
        ax.grid(visible=False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        image = ax.imshow(shown[i], **scale)
        if titles is not None:
            ax.set_title(plain(str(titles[i])), fontsize=SMALL, pad=2)
    if values.ndim == 3:
        fig.set_figwidth(fig.get_figwidth() + 0.8)
        bar = fig.colorbar(image, ax=axes[:len(values)], shrink=min(1.0, 2.5 / fig.get_figheight()), aspect=15)
        bar.ax.tick_params(labelsize=SMALL)
        bar.set_label(label, fontsize=9)
    return fig


def _scaled(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The images as they are handed to matplotlib, and the colour scale of all of them."""
    if values.ndim == 4:
        whole = values.dtype.kind in "ui"
        return np.clip(values / 255 if whole else values, 0, 1), {}
    low, high = float(values.min()), float(values.max())
    if low < 0:
        most = max(-low, high)
        return values, {"cmap": SIGNED, "vmin": -most, "vmax": most}
    return values, {"cmap": "Greys", "vmin": low, "vmax": high if high > low else low + 1}


def augmented(x: ArrayLike, augment: Any, seed: int = 0, variants: int = 7, *, size: float = 0.9) -> Any:
    """What `fit(augment=...)` makes of images: each in its own row, first as it is, then as `variants` steps would see it.

    x (n, height, width) or (n, height, width, channels), `augment` one or a list of `dr.augment`. Values are drawn within the range of
    the originals. Returns a matplotlib figure. Raises DeltaruleError or ShapeError for images or augmentations that do not fit.

    >>> import deltarule as dr
    >>> len(augmented(np.zeros((3, 8, 8)), dr.augment.Shift(2), variants=4).axes)
    16
    """
    values = as_array(x, "x")
    if values.ndim not in (3, 4) or not values.size:
        raise ShapeError(f"augmented expected images of shape (n, height, width) or (n, height, width, channels), received {values.shape}")
    check_whole("variants", variants, 1)
    steps, top = as_augmentations(augment), 255 if values.dtype.kind in "ui" else 1
    images = (values if values.ndim == 4 else values[..., None]).astype(np.float32)
    many = [np.asarray(augmented_examples(steps, Examples(images), step_key(valid_seed(seed), step)).x) for step in range(variants)]
    shown = np.clip(np.stack([images, *many], axis=1), images.min(), images.max()) / np.float32(top if values.shape[-1] == 3 else 1)
    titles = ["original", *(f"step {step + 1}" for step in range(variants)), *[""] * ((len(images) - 1) * (variants + 1))]
    return image_grid(shown.reshape(-1, *images.shape[1:]), titles, variants + 1, size=size)
