"""Light curves of generated stars of five classes, as a telescope on the ground takes them: at night, with weather and noise.

Periods, amplitudes and shapes lie in the ranges of the literature:

- eclipsing: two stars of the main sequence, periods 0.3 to 10 days (Prsa et al. 2011), sizes by Kepler's law;
- Cepheid: 2 to 40 days around 4.5, ranges 0.35 to 1.1 mag in V, fast rise, with the bump of Hertzsprung (Soszynski et al. 2008);
- RR Lyrae: three of four pulsate in the fundamental mode, 0.4 to 0.8 days, steep, of larger range where the period is shorter (the diagram
  of Bailey); the others in the first overtone, 0.25 to 0.42 days, nearly even (Smith 1995; Soszynski et al. 2014);
- flare: a dwarf with flares of the template of Davenport et al. (2014), whose energies follow a power law (Hawley et al. 2014), and spots;
- quiet: nothing but the noise of the measurement.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from deltarule.checks import checked_number
from deltarule.data import starlight
from deltarule.data.sequences import Sequences
from deltarule.data.starlight import Array

CLASSES = ("eclipsing", "Cepheid", "RR Lyrae", "flare", "quiet")
NIGHTS, SEASON = (7, 14), (20.0, 45.0)      # clear nights, and the days from the first to the last
HOURS, CADENCE = (3.0, 6.0), 20.0           # of a night, and minutes between two measurements
CLOUDS = 0.15                               # share of the measurements that are lost
BRIGHT, FAINT = 10.0, 15.0                  # magnitudes of the stars
NOISE = 0.005                               # mag: of one measurement of the brightest; 10 times that of the faintest
DRIFT = 0.008                               # mag: how much the zero point differs from night to night
OUTLIERS = 0.01                             # share of the measurements with five times the noise
SEEN, STEPS_SEEN = 4.0, 4                   # a star is known as variable where so many measurements stand out by so many sigma


class Star(NamedTuple):
    """How a star's magnitude changes with time in days, its period (NaN: none), and the range of its magnitudes."""

    change: Callable[[Array], Array]
    period: float
    amplitude: float


def light_curves(n: int = 1000, seed: int = 0, noise: float = 1.0) -> Sequences:
    """Magnitudes of n stars over some weeks: `times` in days, `values` in magnitudes (larger is fainter), y their classes.

    The classes eclipsing, Cepheid, RR Lyrae, flare and quiet come equally often. Curves have some 60 to 200 steps, at irregular times.
    `facts` holds period (days, NaN for flare and quiet), amplitude (the range in magnitudes, without noise) and sigma (of one
    measurement). A star that varies is drawn until it is seen to: 4 measurements or more stand out by 4 sigma. `noise` multiplies the
    noise of the measurements. Raises DeltaruleError for n or seed out of range and a negative noise.

    >>> stars = light_curves(5)
    >>> stars.lengths.tolist(), [stars.class_names[k] for k in stars.y]
    ([99, 115, 132, 87, 162], ['RR Lyrae', 'quiet', 'flare', 'eclipsing', 'Cepheid'])
    """
    checked_number("n", n, 1, whole=True)
    checked_number("noise", noise, 0)
    rng = np.random.default_rng(checked_number("seed", seed, 0, whole=True))
    y = rng.permutation(np.arange(n) % len(CLASSES)).astype(np.int32)
    times, values, facts = [], [], []
    for kind in y:
        t = _nights(rng)
        usual = rng.uniform(BRIGHT, FAINT)
        sigma = NOISE * 10 ** (0.2 * (usual - BRIGHT))
        star = _star(CLASSES[kind], rng, t, sigma)
        times.append(t)
        values.append((usual + star.change(t) + noise * _errors(rng, t, sigma))[:, None])
        facts.append((star.period, star.amplitude, sigma))
    named = dict(zip(("period", "amplitude", "sigma"), np.array(facts).T, strict=True))
    return Sequences(tuple(times), tuple(values), y, CLASSES, ("magnitude",), "days", "class",
                     tuple(f"star {i}" for i in range(n)), "light curves",
                     f"generated: {n} stars of five classes, noise {noise:g}, seed {seed}", facts=named)


def _nights(rng: np.random.Generator) -> Array:
    """The times of the measurements (T,), in days from the first night's midnight on."""
    season = rng.uniform(*SEASON)
    nights = np.sort(rng.choice(int(season), rng.integers(NIGHTS[0], NIGHTS[1] + 1), replace=False))
    parts = []
    for night in nights:
        hours = rng.uniform(*HOURS)
        begin = rng.uniform(-hours, 0) + rng.uniform(-1, 1)
        minutes = np.arange(0, 60 * hours, CADENCE)
        minutes = minutes + rng.uniform(-3, 3, minutes.shape)
        parts.append(night + begin / 24 + minutes[rng.uniform(size=minutes.shape) > CLOUDS] * starlight.MINUTE)
    return np.concatenate(parts)


def _errors(rng: np.random.Generator, t: Array, sigma: float) -> Array:
    """What the measurement adds: noise, outliers, and the drift of the zero point, one number for a night."""
    night = np.floor(t + 0.5).astype(int)
    drift = DRIFT * rng.normal(size=night.max() - night.min() + 1)[night - night.min()]
    wide = np.where(rng.uniform(size=t.shape) < OUTLIERS, 5.0, 1.0)
    return np.asarray(drift + sigma * wide * rng.normal(size=t.shape))


def _star(kind: str, rng: np.random.Generator, t: Array, sigma: float) -> Star:
    """A star of this class, whose variation shows at these times."""
    if kind == "quiet":
        return Star(np.zeros_like, math.nan, 0.0)
    least = SEEN * math.hypot(sigma, DRIFT)
    while True:
        star = {"eclipsing": _eclipsing, "Cepheid": _cepheid, "RR Lyrae": _rr_lyrae, "flare": _flaring}[kind](rng, t)
        change = star.change(t)
        if np.sum(np.abs(change - np.median(change)) > least) >= STEPS_SEEN:
            return star


def _eclipsing(rng: np.random.Generator, t: Array) -> Star:
    """Two stars of the main sequence, R = M^0.8 and L = M^3.5 in those of the sun, far enough apart to be round."""
    while True:
        period = 10 ** rng.uniform(math.log10(0.3), 1.0)
        mass1 = rng.uniform(0.7, 2.5)
        mass2 = mass1 * rng.uniform(0.3, 1.0)
        distance = starlight.SUNS * (mass1 + mass2) ** (1 / 3) * period ** (2 / 3)
        r1, r2 = mass1**0.8 / distance, mass2**0.8 / distance
        if r1 + r2 < 0.8:
            break
    light1 = mass1**3.5 / (mass1**3.5 + mass2**3.5)
    cosine = rng.uniform(0, 0.9 * (r1 + r2))
    tides = 1.3 * (light1 * mass2 / mass1 * r1**3 + (1 - light1) * mass1 / mass2 * r2**3)
    start = rng.uniform()

    def change(times: Array) -> Array:
        return starlight.eclipses(times / period + start, r1, r2, cosine, light1, tides)

    whole = change(period * np.linspace(0, 1, 1001))
    return Star(change, period, float(np.ptp(whole)))


def _cepheid(rng: np.random.Generator, t: Array) -> Star:
    period = float(np.clip(10 ** rng.normal(0.65, 0.28), 2, 40))
    amplitude, rise, start = rng.uniform(0.35, 1.1), rng.uniform(0.2, 0.35), rng.uniform()
    second = rng.uniform(0.08, 0.2) if 6 <= period <= 14 else 0.0

    def change(times: Array) -> Array:
        phase = times / period + start
        return amplitude * (starlight.pulsation(phase, rise, 0.2) - second * starlight.bump(phase, period, rise))

    return Star(change, period, float(np.ptp(change(period * np.linspace(0, 1, 1001)))))


def _rr_lyrae(rng: np.random.Generator, t: Array) -> Star:
    if rng.uniform() < 0.75:
        period = float(np.clip(rng.normal(0.57, 0.08), 0.4, 0.8))
        amplitude = float(np.clip(1.25 - 2.8 * (period - 0.45) + rng.normal(0, 0.12), 0.3, 1.4))
        rise, steep = rng.uniform(0.12, 0.2), rng.uniform(0.5, 0.9)
    else:
        period, amplitude = rng.uniform(0.25, 0.42), rng.uniform(0.3, 0.55)
        rise, steep = rng.uniform(0.38, 0.48), 0.0
    start = rng.uniform()
    return Star(lambda times: amplitude * starlight.pulsation(times / period + start, rise, steep), period, amplitude)


def _flaring(rng: np.random.Generator, t: Array) -> Star:
    """Flares at random times, 2 to 6 in a day; N(higher than f) goes with f^-0.8, from a tenth of the star's flux to ten times."""
    first, last = t[0] - 0.5, t[-1] + 0.5
    peaks = rng.uniform(first, last, rng.poisson(rng.uniform(2, 6) * (last - first)))
    heights = np.minimum(0.1 * rng.uniform(size=peaks.shape) ** (-1 / 0.8), 10.0)
    widths = starlight.MINUTE * np.exp(rng.uniform(np.log(4), np.log(25), peaks.shape))
    spots, turn, start = rng.uniform(0, 0.02), 10 ** rng.uniform(-0.3, 1.0), rng.uniform(0, 2 * np.pi)

    def change(times: Array) -> Array:
        flux = 1 + np.sum(heights * starlight.flare((times[..., None] - peaks) / widths), axis=-1)
        return np.asarray(spots * np.sin(2 * np.pi * times / turn + start) - 2.5 * np.log10(flux))

    return Star(change, math.nan, float(np.ptp(change(t))))
