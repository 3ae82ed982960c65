"""Generated galaxies of five classes, E, S0, Sa+Sb, Sc+Sd and Irr, as images under noise (lecture row 36, Poleski).

The classes are those of Storrie-Lombardi, Lahav, Sodre and Storrie-Lombardi (1992), in the shares of their table. Every property
follows the Hubble sequence on average and scatters about it, so that the classes overlap as real ones do.
"""

import math

import numpy as np

from deltarule.data.dataset import Dataset
from deltarule.data.galaxy_light import Array, Galaxies, images, seen_ratio
from deltarule.data.storrie_lombardi import CLASSES, storrie_lombardi
from deltarule.errors import DataError

STAGES = ((-5.0, -5.0), (-3.0, 0.0), (0.0, 4.0), (4.0, 8.0), (9.0, 10.0))       # on the sequence of Hubble and de Vaucouleurs, by class
BRIGHT, FAINT = 11.8, 13.7      # magnitudes
ZERO_POINT = 25.0               # magnitude of one count
SKY, READ_NOISE = 200.0, 5.0    # counts in a pixel: the mean of the sky, which is subtracted, and the deviation of the electronics
BRIGHTNESS = 150.0              # counts in a pixel: mean surface brightness within the radius of half the light, at S0/a
CLUMPS = 12                     # at most
ROWS = 250                      # galaxies that are made at a time


def galaxies(n: int = 1000, size: int = 48, seed: int = 0, noise: float = 1.0) -> Dataset:
    """Images of generated galaxies: x `(n, size, size, 1)`, y their classes E, S0, Sa+Sb, Sc+Sd and Irr.

    A pixel is x = arcsinh(counts / sigma), where the mean of the sky is subtracted and sigma, 15 counts, is the deviation of the empty
    sky (Lupton, Gunn and Szalay 1999: linear where it is dark, a logarithm where it is bright); counts = sigma sinh(x). With another
    `size` the same galaxies come in more or fewer pixels, the seeing being the same in pixels; `noise` multiplies the noise of sky,
    light and electronics, 0 for none. The same arguments give the same galaxies. `galaxy_catalogue` measures them. Raises DataError for
    n below 1, size below 16, and noise or seed below 0.

    >>> data = galaxies(7)
    >>> data.x.shape, data.class_names
    ((7, 48, 48, 1), ('E', 'S0', 'Sa+Sb', 'Sc+Sd', 'Irr'))
    """
    for name, value, least in (("n", n, 1), ("size", size, 16), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise DataError(f"{name} is {value!r}, expected a whole number from {least} on")
    if not (isinstance(noise, (int, float)) and 0 <= noise < math.inf):
        raise DataError(f"noise is {noise!r}, expected 0 or more; 1 is that of the telescope")
    population, observing = np.random.default_rng(seed).spawn(2)
    y = _classes(n, population)
    made = draw(y, population, size)
    x = np.empty((n, size, size, 1), np.float32)
    for first in range(0, n, ROWS):
        rows = slice(first, first + ROWS)
        counts = images(Galaxies(*(part[rows] for part in made)), size)
        x[rows, ..., 0] = np.arcsinh(_observed(counts, noise, observing) / sky_noise())
    return Dataset(x, y, (), CLASSES, "class", "galaxies",
                   f"generated: {n} galaxies in {size} x {size} pixels, noise {noise:g}, seed {seed}",
                   (f"a pixel is arcsinh(counts / {sky_noise():.4g}), the sky subtracted; magnitude = {ZERO_POINT:g} - 2.5 log10(counts)",))


def sky_noise() -> float:
    """The standard deviation of an empty pixel in counts: sqrt(sky + read noise^2).

    >>> sky_noise()
    15.0
    """
    return math.hypot(math.sqrt(SKY), READ_NOISE)


def draw(y: Array, rng: np.random.Generator, size: int) -> Galaxies:
    """The properties of galaxies of these classes `(n,)`, for frames of `size` pixels.

    The bulge's share falls along the sequence (after Simien and de Vaucouleurs 1986), and so does its Sersic index (Andredakis, Peletier
    and Balcells 1995); the arms open (Kennicutt 1981), and clumps of young stars grow in number. Two of three spirals have a bar.
    """
    n, (low, high) = len(y), np.array(STAGES)[y].T
    stage = rng.uniform(low, high)
    elliptical, irregular = y == 0, y == 4
    spiral = (y == 2) | (y == 3)
    scale = size / 48
    magnitude = np.maximum(BRIGHT, FAINT + np.log10(rng.uniform(size=n)) / 0.6)     # N(m) grows as 10^(0.6 m), as in a uniform space
    fainter = 0.08 * stage + rng.normal(0, 0.5, n)                                  # magnitudes of surface brightness
    light = 10 ** (0.4 * (ZERO_POINT - magnitude))
    radius = np.clip(np.sqrt(light / (2 * np.pi * BRIGHTNESS * 10 ** (-0.4 * fainter))), 4.0, 9.0)

    bulge = np.clip(bulge_share(stage) * 10 ** rng.normal(0, 0.15, n), 0, 0.85)
    bulge = np.where(elliptical, 1.0, np.where(irregular, 0.0, bulge))
    index = np.clip(np.interp(stage, [-5, -2, 2, 6], [4.0, 3.0, 2.2, 1.2]) * 10 ** rng.normal(0, 0.1, n), 0.7, 7.0)
    bulge_radius = radius * np.where(elliptical, 1.0, rng.uniform(0.25, 0.6, n))
    thickness = np.clip(np.where(irregular, rng.normal(0.4, 0.1, n), rng.normal(0.2, 0.04, n)), 0.1, 0.7)
    ratio = seen_ratio(rng.uniform(size=n), thickness)                              # the axis points anywhere: cos i is uniform
    round_ratio = np.clip(rng.normal(0.75, 0.15, n), 0.35, 1.0)
    bar = np.where(spiral | (y == 1), rng.uniform(0, 0.25, n) * (rng.uniform(size=n) < 0.67), 0.0) * (1 - bulge)
    bar = np.where(irregular, rng.uniform(0, 0.3, n), bar)

    number = np.minimum(rng.poisson(np.interp(stage, [-1, 1, 4, 8, 10], [0, 1, 4, 8, 7])), CLUMPS)
    each = np.interp(stage, [1, 8, 10], [0.01, 0.02, 0.035])[:, None] * rng.exponential(size=(n, CLUMPS))
    clumps = np.minimum(each, 0.08) * (np.arange(CLUMPS) < number[:, None])
    clumps *= np.minimum(1, (1 - bulge) / 2 / np.maximum(clumps.sum(axis=1), 1e-9))[:, None]      # at most half of what the bulge leaves
    far, around = np.minimum(rng.gamma(2.5, 0.4, (n, CLUMPS)), 2.2), rng.uniform(0, 2 * np.pi, (n, CLUMPS))
    return Galaxies(
        light=light * scale**2, centre=rng.uniform(-1, 1, (n, 2)) * scale, angle=rng.uniform(0, np.pi, n),
        bulge=bulge, bulge_index=index, bulge_radius=bulge_radius * scale,
        bulge_ratio=np.where(elliptical, round_ratio, np.maximum(ratio, 0.6)),
        disc_radius=1.2 * radius * scale, disc_ratio=ratio,
        arms=np.where(rng.uniform(size=n) < 0.8, 2.0, 3.0), arm_contrast=np.where(spiral, rng.beta(3, 2, n), 0.0),
        pitch=np.radians(np.clip(8 + 2 * stage + rng.normal(0, 4, n), 4, 40)), phase=rng.uniform(0, 2 * np.pi, n),
        bar=bar, bar_radius=radius * rng.uniform(0.3, 0.6, n) * scale, bar_ratio=rng.uniform(0.25, 0.45, n),
        bar_angle=rng.uniform(0, 2 * np.pi, n),
        lopsided=np.clip(np.interp(stage, [0, 5, 10], [0.05, 0.25, 0.75]) + rng.normal(0, 0.1, n), 0, 1) * (stage > 0),
        clumps=clumps, clump_places=np.stack([far * np.cos(around), far * np.sin(around)], axis=-1),
        clump_sizes=rng.uniform(0.3, 1.2, (n, CLUMPS)) * scale,
        seeing=np.clip(rng.normal(1.1, 0.15, n), 0.7, 1.6),
    )


def bulge_share(stage: Array) -> Array:
    """The mean share of the bulge in the light at a stage of the Hubble sequence, -5 to 7: 10^(-0.4 dm) (Simien and de Vaucouleurs 1986).

    dm = 0.324 t - 0.054 t^2 + 0.0047 t^3 magnitudes, with t = stage + 5; beyond Sd it stays as it is there.

    >>> bulge_share(np.array([-5.0, 1.0, 5.0])).round(2).tolist()
    [1.0, 0.39, 0.1]
    """
    t = np.clip(stage, -5, 7) + 5
    return 10 ** (-0.4 * (0.324 * t - 0.054 * t**2 + 0.0047 * t**3))


def _classes(n: int, rng: np.random.Generator) -> Array:
    """Class numbers `(n,)` in a random order, in the shares of the published table."""
    ends = np.cumsum(storrie_lombardi().network.sum(axis=1))
    return rng.permutation(np.searchsorted(ends, (np.arange(n) + 0.5) * ends[-1] / n)).astype(np.int32)


def _observed(counts: Array, noise: float, rng: np.random.Generator) -> Array:
    """The counts with Poisson noise of light and sky and normal noise of the electronics, less the mean of the sky."""
    if noise == 0:
        return counts
    photons = rng.poisson(np.maximum(counts, 0) + SKY) - SKY
    return counts + noise * (photons - counts + rng.normal(0, READ_NOISE, counts.shape))
