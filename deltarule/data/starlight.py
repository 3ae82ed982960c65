"""How stars vary: the brightness of pulsating, eclipsing and flaring stars, by the formulas of the field.

Phases count periods: 0 and 1 are the same. Magnitudes are larger where a star is fainter; 2.5 log10 of a ratio of fluxes.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

SUNS = 4.208        # solar radii: the distance of two bodies of one solar mass together that circle in one day (Kepler's third law)
MINUTE = 1 / 1440   # in days
BUMP = 0.05         # width of the bump of a Cepheid, in periods


def pulsation(phase: ArrayLike, rise: float, steep: float = 0.0) -> Array:
    """Magnitudes of a pulsation of range 1: faintest (1/2) at phase 0, brightest (-1/2) at phase `rise`, then fading for the rest.

    Brightness rises and falls as half a cosine; with `steep` above 0 it falls as that share of exp(-3 u), u from 0 to 1: fast at first, as
    RR Lyrae stars do. Shapes broadcast.

    >>> pulsation([0.0, 0.25, 0.5, 1.0], rise=0.25).round(3).tolist()
    [0.5, -0.5, -0.25, 0.5]
    """
    phase = np.asarray(phase) % 1
    up = 0.5 - 0.5 * np.cos(np.pi * phase / rise)
    u = (phase - rise) / (1 - rise)
    down = (1 - steep) * (0.5 + 0.5 * np.cos(np.pi * u)) + steep * (np.exp(-3 * u) - np.exp(-3.0)) / (1 - np.exp(-3.0))
    return np.asarray(0.5 - np.where(phase < rise, up, down))


def bump(phase: ArrayLike, period: float, rise: float) -> Array:
    """The second maximum of a Cepheid, height 1: on the falling branch at periods of 6 days, at the maximum at 10, before it at 14.

    Shape of `phase`. Source: the progression of Hertzsprung (1926), with the periods that Bono, Marconi and Stellingwerf (2000) give.

    >>> bump([0.25, 0.6], period=6.0, rise=0.25).round(3).tolist()
    [0.0, 1.0]
    """
    place = rise + 0.35 * (10 - period) / 4
    away = (np.asarray(phase) - place + 0.5) % 1 - 0.5
    return np.asarray(np.exp(-0.5 * (away / BUMP) ** 2))


def overlap(distance: ArrayLike, r1: float, r2: float) -> Array:
    """The area that two discs of radii r1 and r2 share when their middles are `distance` apart; the shape of `distance`.

    >>> (overlap([0.0, 3.0], 1.0, 2.0) / np.pi).tolist()
    [1.0, 0.0]
    """
    d = np.maximum(np.asarray(distance, float), 1e-12)
    angle1 = np.arccos(np.clip((d**2 + r1**2 - r2**2) / (2 * d * r1), -1, 1))
    angle2 = np.arccos(np.clip((d**2 + r2**2 - r1**2) / (2 * d * r2), -1, 1))
    return np.asarray(r1**2 * (angle1 - np.sin(2 * angle1) / 2) + r2**2 * (angle2 - np.sin(2 * angle2) / 2))


def eclipses(phase: ArrayLike, r1: float, r2: float, cosine: float, light1: float, tides: float = 0.0) -> Array:
    """Magnitudes of two stars in a circle around one another, 0 where neither is hidden and nothing is drawn out by tides.

    The stars are evenly bright discs of radii r1 and r2, in units of their distance; `cosine` is that of the inclination; star 1 gives
    the share `light1` of the light and is behind at phase 0. `tides` is half the range in magnitudes of their drawn-out shape, which is
    brightest from the side. Shapes broadcast.

    >>> eclipses([0.0, 0.25, 0.5], r1=0.1, r2=0.2, cosine=0.0, light1=0.75).round(4).tolist()
    [1.5051, 0.0, 0.0701]
    """
    theta = 2 * np.pi * np.asarray(phase)
    hidden = overlap(np.sqrt(np.sin(theta)**2 + (cosine * np.cos(theta))**2), r1, r2) / np.pi
    behind1 = np.cos(theta) > 0
    flux = 1 - hidden * np.where(behind1, light1 / r1**2, (1 - light1) / r2**2)
    return np.asarray(0 - 2.5 * np.log10(flux) + tides * np.cos(2 * theta))


def flare(t: ArrayLike) -> Array:
    """The flux of a flare of height 1 at times t from its peak, in units of its width at half height; the shape of t.

    A rise by a polynomial from t = -1 on, and two exponentials. Source: Davenport et al. (2014), the template of 885 flares of GJ 1243.

    >>> flare([-2.0, 0.0, 3.0]).round(3).tolist()
    [0.0, 1.0, 0.138]
    """
    t = np.asarray(t, float)
    before, after = np.clip(t, -1, 0), np.maximum(t, 0)
    up = 1 + 1.941 * before - 0.175 * before**2 - 2.246 * before**3 - 1.125 * before**4
    down = 0.6890 * np.exp(-1.600 * after) + 0.3030 * np.exp(-0.2783 * after)
    return np.asarray(np.where(t < -1, 0.0, np.where(t < 0, up, down / 0.992)))
