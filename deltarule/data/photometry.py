"""Photometry: what a catalogue says of a galaxy, measured from its image (lecture row 36, Poleski).

Every number is worked out from the pixels alone, as a machine would do it: an ellipse is laid around the galaxy, the light within it
is counted, and thirteen numbers describe how the light is spread. Lengths are in pixels, surface brightnesses in magnitudes per square
pixel, magnitude = zero point - 2.5 log10(counts).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.data.arrays import all_finite, as_array
from deltarule.data.dataset import Dataset
from deltarule.data.galaxies import sky_noise
from deltarule.errors import DataError, ShapeError

Array = NDArray[Any]

MEASURES = ("magnitude", "half-light radius", "concentration", "mean surface brightness", "central surface brightness", "inner gradient",
            "outer gradient", "axis ratio", "asymmetry", "clumpiness", "Gini coefficient", "M20", "scatter over octants")
KRON = 2.5              # radii of the aperture, in units of the mean radius of the light
BLUR = 10               # pixels to which the weights of a blur are counted
ROWS = 500              # images that are measured at a time


def measure(counts: ArrayLike, noise: float, zero_point: float = 25.0) -> Array:
    """Thirteen numbers for each image, `(n, 13)`, in the order of `MEASURES`; `counts` `(n, height, width)`, the sky subtracted.

    `noise` is the deviation of an empty pixel, in counts. The ellipse has the centre and the axis ratio of the second moments of the
    light that stands out of the noise; the aperture reaches to 2.5 mean radii (Kron 1980). r_20, r_50, r_80 hold these percentages of
    the light in it.

    - magnitude, half-light radius r_50, axis ratio;
    - concentration 5 log10(r_80 / r_20); asymmetry under a turn by 180 degrees and clumpiness (Conselice 2003);
    - mean surface brightness within r_50 and central one within two pixels; gradients between a fourth of r_50, r_50 and twice r_50,
      in magnitudes for each r_50;
    - the Gini coefficient of the pixels, and M20, how far the brightest fifth of the light is spread (Lotz, Primack and Madau 2004);
    - scatter over octants: the deviation of the light in eight equal sectors, as a share of their mean.

    Raises ShapeError for another shape, DataError for counts that are not finite and a noise that is not positive.

    >>> y, x = np.mgrid[-20:21, -20:21]
    >>> disc = 900 * np.exp(-np.hypot(x, y / 0.5) / 4)
    >>> dict(zip(MEASURES, measure(disc[None], noise=1.0)[0].round(2).tolist()))["axis ratio"]
    0.5...
    """
    images = as_array(counts, "counts")
    if images.ndim != 3 or min(images.shape[1:]) < 8:
        raise ShapeError(f"counts has shape {images.shape}, expected (n, height, width) of at least 8 x 8 pixels")
    if not all_finite(images):
        raise DataError("counts holds values that are not finite; fill bad pixels, or leave those images out")
    if not (isinstance(noise, (int, float, np.number)) and 0 < noise < np.inf):
        raise DataError(f"noise is {noise!r}, expected the deviation of an empty pixel in counts, above 0")
    parts = [_measure(images[i:i + ROWS].astype(np.float32), noise, zero_point) for i in range(0, len(images), ROWS)]
    return np.concatenate(parts) if parts else np.empty((0, len(MEASURES)), np.float32)


def galaxy_catalogue(images: Dataset) -> Dataset:
    """A catalogue of the same galaxies: x `(n, 13)`, `measure`d from the noisy images of `galaxies`; y, names and order stay.

    Split with the same settings, images and catalogue have the same galaxies on both sides. Raises DataError unless the data set is one
    of `galaxies`; `photometry.measure` measures images of your own.

    >>> import deltarule.data as data
    >>> catalogue = data.galaxy_catalogue(data.galaxies(7))
    >>> catalogue.x.shape, catalogue.feature_names[1]
    ((7, 13), 'half-light radius')
    """
    if not isinstance(images, Dataset) or images.name != "galaxies":
        given = getattr(images, "name", type(images).__name__)
        raise DataError(f"galaxy_catalogue expected the data set of galaxies(...), received {given}; "
                        "photometry.measure measures images of your own")
    x = measure(np.sinh(np.asarray(images.x)[..., 0]) * sky_noise(), sky_noise())
    return Dataset(x, images.y, MEASURES, images.class_names, images.target_name, "galaxy_catalogue", images.source,
                   ("measured from the images; lengths in pixels, surface brightnesses in magnitudes per square pixel",))


def _measure(image: Array, noise: float, zero_point: float) -> Array:
    middle, ratio, angle = _ellipse(image, noise)
    x, y, u, v = _places(image, middle, ratio, angle)
    r = np.hypot(u, v)
    reach = _aperture(image, r, noise)
    inside = r <= reach[:, None, None]
    light = np.maximum((image * inside).sum(axis=(1, 2)), noise)
    r_20, r_50, r_80 = _radii(image, r, inside, light, (0.2, 0.5, 0.8))
    area = np.pi * ratio

    def brightness(counts: Array) -> Array:
        return zero_point - 2.5 * np.log10(np.maximum(counts, 0.1 * noise))

    def ring(radius: Array) -> Array:
        """Mean surface brightness around an ellipse."""
        near = np.abs(r - radius[:, None, None]) <= np.maximum(0.2 * radius, 0.8)[:, None, None]
        return brightness((image * near).sum(axis=(1, 2)) / np.maximum(near.sum(axis=(1, 2)), 1))

    centre = np.hypot(x, y) <= 2
    central = brightness((image * centre).sum(axis=(1, 2)) / centre.sum(axis=(1, 2)))
    at_half, gini_m20 = ring(r_50), _gini_m20(image, x, y, inside)
    asymmetry, clumpiness = _turned(image, middle, inside, light, noise), _clumpy(image, r, inside, r_50, light, noise)
    columns = (brightness(light), r_50, 5 * np.log10(r_80 / r_20), brightness(light / 2 / (area * r_50**2)), central,
               (at_half - ring(r_50 / 4)) / 0.75, ring(2 * r_50) - at_half, ratio, asymmetry, clumpiness, *gini_m20,
               _octants(image, u, v, inside))
    return np.stack(columns, axis=1).astype(np.float32)


def _ellipse(image: Array, noise: float) -> tuple[Array, Array, Array]:
    """Centre (n, 2), axis ratio (n,) and angle (n,), from the moments of what stands out of the noise, four times in a better window."""
    n, height, width = image.shape
    weight = _standing_out(image, noise)
    middle = np.full((n, 2), ((width - 1) / 2, (height - 1) / 2), np.float32)
    ratio, angle, long = np.ones(n, np.float32), np.zeros(n, np.float32), np.full(n, max(height, width) / 4, np.float32)
    for _ in range(4):
        x, y, u, v = _places(image, middle, ratio, angle)
        w = weight * (np.hypot(u, v) <= 3 * long[:, None, None]) + np.float32(1e-6)                 # never empty
        total = w.sum(axis=(1, 2))
        across, down, xx, yy, xy = ((w * part).sum(axis=(1, 2)) / total for part in (x, y, x * x, y * y, x * y))
        xx, yy, xy = xx - across**2, yy - down**2, xy - across * down
        half, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        middle = middle + np.stack([across, down], axis=1)
        ratio = np.clip(np.sqrt(np.maximum(half - apart, 0) / (half + apart)), 0.1, 1)
        angle, long = 0.5 * np.arctan2(2 * xy, xx - yy), np.maximum(np.sqrt(half + apart), 1.0)
    return middle, ratio, angle


def _places(image: Array, middle: Array, ratio: Array, angle: Array) -> tuple[Array, Array, Array, Array]:
    """Of every pixel, (n, height, width): to the right and down of the middle, along the long axis, and across it over the axis ratio."""
    down, across = np.mgrid[:image.shape[1], :image.shape[2]].astype(np.float32)
    x, y = across[None] - middle[:, 0, None, None], down[None] - middle[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return x, y, x * cos + y * sin, (y * cos - x * sin) / ratio[:, None, None]


def _standing_out(image: Array, noise: float) -> Array:
    """The light of the pixels that rise above one deviation of the noise once the image is smoothed a little, elsewhere 0."""
    smooth = _smoothed(image, np.ones(len(image)))
    return np.where(smooth > noise, smooth, 0)


def _aperture(image: Array, r: Array, noise: float) -> Array:
    """The radius of the aperture (n,): 2.5 mean radii of the light, found within what stands out of the noise."""
    seen = _standing_out(image, noise)
    mean = (seen * r).sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1e-6)
    return np.clip(KRON * mean, 4.0, max(image.shape[1:]) / 2)


def _radii(image: Array, r: Array, inside: Array, light: Array, shares: tuple[float, ...]) -> list[Array]:
    """The radii (n,) that hold these shares of the light, from the growth curve."""
    n = len(image)
    order = np.argsort(r.reshape(n, -1), axis=1)
    growth = np.cumsum(np.take_along_axis((image * inside).reshape(n, -1), order, axis=1), axis=1)
    reached = np.take_along_axis(r.reshape(n, -1), order, axis=1)
    first = [(growth >= share * light[:, None]).argmax(axis=1) for share in shares]
    return [np.maximum(reached[np.arange(n), k], 0.5) for k in first]


def _turned(image: Array, middle: Array, inside: Array, light: Array, noise: float) -> Array:
    """Asymmetry: the mean difference from the image turned by 180 degrees about the middle, less what noise alone would make."""
    n, height, width = image.shape
    rows = np.clip(np.rint(2 * middle[:, 1, None] - np.arange(height)), 0, height - 1).astype(int)
    columns = np.clip(np.rint(2 * middle[:, 0, None] - np.arange(width)), 0, width - 1).astype(int)
    turned = image[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    difference = (np.abs(image - turned) * inside).sum(axis=(1, 2))
    return (difference - 2 / np.sqrt(np.pi) * noise * inside.sum(axis=(1, 2))) / light


def _clumpy(image: Array, r: Array, inside: Array, r_50: Array, light: Array, noise: float) -> Array:
    """Clumpiness: what rises above the smoothed image outside half of r_50, less what noise alone would make.

    The Gaussian has a fourth of r_50 as its deviation, at least a pixel. Noise less its own smoothed form is normal, with the variance
    noise^2 (1 - 2 w_0 + sum w^2) for the weights w; the mean of its positive part is its deviation / sqrt(2 pi).
    """
    width = np.maximum(0.25 * r_50, 1.0)
    outer = inside & (r > 0.5 * r_50[:, None, None])
    above = np.maximum(image - _smoothed(image, width), 0) * outer
    row = _blur(2 * BLUR + 1, width)[:, BLUR]                                                       # the weights along one axis
    left = noise * np.sqrt((1 - 2 * row[:, BLUR] ** 2 + (row**2).sum(axis=1) ** 2) / (2 * np.pi))
    return (above.sum(axis=(1, 2)) - left * outer.sum(axis=(1, 2))) / light


def _gini_m20(image: Array, x: Array, y: Array, inside: Array) -> tuple[Array, Array]:
    """The Gini coefficient of the pixels in the aperture, and log10 of the brightest fifth's share of the second moment."""
    n = len(image)
    within, light, distance = (part.reshape(n, -1) for part in (inside, image * inside, x**2 + y**2))
    count, place = within.sum(axis=1), np.arange(1, within.shape[1] + 1)[None]
    rising = np.sort(np.where(within, np.abs(light), np.inf), axis=1)
    rising = np.where(place <= count[:, None], rising, 0)
    gini = ((2 * place - count[:, None] - 1) * rising).sum(axis=1) / np.maximum(rising.sum(axis=1) * (count - 1), 1e-6)
    order = np.argsort(np.where(within, -light, np.inf), axis=1)                                    # the brightest first
    falling, moments = (np.take_along_axis(part, order, axis=1) for part in (light, light * distance))
    fifth = np.cumsum(falling, axis=1) <= 0.2 * light.sum(axis=1, keepdims=True)
    share = (moments * fifth).sum(axis=1) / np.maximum(moments.sum(axis=1), 1e-6)
    return gini, np.log10(np.clip(share, 1e-3, 1))


def _octants(image: Array, u: Array, v: Array, inside: Array) -> Array:
    """The deviation of the light in eight sectors of equal area within the ellipse, as a share of their mean."""
    sector = np.clip(((np.arctan2(v, u) + np.pi) * (4 / np.pi)).astype(int), 0, 7)
    sums = np.stack([(image * (inside & (sector == k))).sum(axis=(1, 2)) for k in range(8)], axis=1)
    return sums.std(axis=1) / np.maximum(sums.mean(axis=1), 1e-6)


def _smoothed(image: Array, width: Array) -> Array:
    """The images (n, height, width) under a Gaussian of these standard deviations (n,), in pixels."""
    down, across = (_blur(size, width) for size in image.shape[1:])
    return down @ image @ across.swapaxes(1, 2)


def _blur(size: int, width: Array) -> Array:
    apart = (np.arange(size)[:, None] - np.arange(size)[None, :])[None] / width[:, None, None]
    weights = np.exp(-(apart**2) / 2).astype(np.float32)
    return weights / weights.sum(axis=2, keepdims=True)
