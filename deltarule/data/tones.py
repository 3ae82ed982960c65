"""Generated sounds: sums of damped sinusoids, as strings, bells, drums and reeds give them, alone or one after the other.

A sound is p(t) = sum_k A_k exp(-t / tau_k) sin(2 pi f_k t + phi_k), t in seconds, f in hertz. What makes the classes different is which
partials f_k there are, how loud each is, and how fast it dies away (Fletcher and Rossing 1998, The Physics of Musical Instruments).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.checks import checked_number
from deltarule.data.dataset import Dataset
from deltarule.errors import DataError
from deltarule.spec import nearest

Array = NDArray[Any]

CLASSES = ("pluck", "bell", "drum", "buzz")
HARMONICS = np.arange(1.0, 25.0)
BELL = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.0])              # hum, prime, tierce, quint, nominal ... of a church bell
BELL_LOUD = np.array([0.6, 0.8, 1.0, 0.4, 1.0, 0.5, 0.5, 0.3])
DRUM = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156])        # zeros of Bessel functions: a round membrane
LOWEST, HIGHEST = 110.0, 440.0                                          # Hz, of the fundamental


def partials(kind: str, frequency: float, damping: float, character: float = 0.5) -> tuple[Array, Array, Array]:
    """Frequencies (Hz), amplitudes and damping times (s) of the partials of a sound of this class, each (k,); amplitudes sum to 1.

    `damping` is the time in seconds in which the sound at `frequency` falls to 1/e; `character` from 0 to 1 is where a string is
    plucked, how hard a bell or a drum is hit, how sharp a reed buzzes. Raises DataError for another class.

    >>> f, A, tau = partials("bell", 200.0, damping=0.5)
    >>> f[:3].tolist(), tau[:3].round(2).tolist()
    ([100.0, 200.0, 240.0], [0.71, 0.5, 0.46])
    """
    if kind == "pluck":         # a string pulled aside at one place: A_k goes with sin(k pi place) / k^2, heard through the bridge as 1 / k
        ratio, loud, fall = HARMONICS, np.abs(np.sin(np.pi * HARMONICS * (0.1 + 0.3 * character))) / HARMONICS, 1.0
    elif kind == "bell":
        ratio, loud, fall = BELL, BELL_LOUD * BELL ** (character - 0.5), 0.5
    elif kind == "drum":
        ratio, loud, fall = DRUM, DRUM ** (-1.5 + character), 0.7
    elif kind == "buzz":        # a reed: many harmonics, nearly equally loud, which die together when the breath ends
        ratio, loud, fall = HARMONICS, HARMONICS ** (-0.9 + 0.5 * character), 0.0
    else:
        raise DataError(f"there is no sound {kind!r}{nearest(str(kind), CLASSES)}")
    return frequency * ratio, loud / loud.sum(), damping * ratio ** -fall


def sound(t: ArrayLike, f: ArrayLike, A: ArrayLike, tau: ArrayLike, phi: ArrayLike = 0.0, rate: float = math.inf) -> Array:
    """p(t) = sum_k A_k exp(-t / tau_k) sin(2 pi f_k t + phi_k) for times t (T,) in seconds from 0 on, 0 before; partials (k,).

    Partials from half the sample `rate` on are left out: they would be heard as other ones.

    >>> sound([0.0, 0.25], [1.0], [1.0], [1e9]).round(6).tolist()
    [0.0, 1.0]
    """
    t, f = np.asarray(t)[:, None], np.asarray(f)
    waves = np.asarray(A) * (f < rate / 2) * np.exp(-np.maximum(t, 0) / np.asarray(tau)) * np.sin(2 * np.pi * f * t + np.asarray(phi))
    return np.asarray(np.where(t[:, 0] >= 0, waves.sum(axis=1), 0.0))


def damped_tones(n: int = 1000, seed: int = 0, *, rate: int = 4000, seconds: float = 0.25, noise: float = 0.02) -> Dataset:
    """Sounds of four classes, pluck, bell, drum and buzz, equally often: x (n, rate * seconds, 1), y their classes.

    `rate` is the number of samples in a second (Hz). Fundamentals are drawn from 110 to 440 Hz, evenly in pitch, and so are loudness,
    damping and the beginning, within the first tenth; neither pitch nor loudness gives a class away. `noise` is the standard deviation
    of white noise, the loudest sounds reaching 1. Raises DeltaruleError for values out of range.

    >>> data = damped_tones(3)
    >>> data.x.shape, data.class_names
    ((3, 1000, 1), ('pluck', 'bell', 'drum', 'buzz'))
    """
    rng, samples = _checked(n, seed, rate, seconds, noise)
    y = rng.permutation(np.arange(n) % len(CLASSES)).astype(np.int32)
    x = np.empty((n, samples, 1), np.float32)
    t = np.arange(samples) / rate
    for row, kind in zip(x, y, strict=True):
        begin = rng.uniform(0, 0.1 * seconds)
        row[:, 0] = rng.uniform(0.3, 1) * _one(rng, CLASSES[kind], t - begin, LOWEST * (HIGHEST / LOWEST) ** rng.uniform(), rate)
    x += noise * rng.normal(size=x.shape)
    return Dataset(x, y, (), CLASSES, "sound", "damped tones", f"generated: {n} sounds of {seconds:g} s at {rate} Hz, seed {seed}",
                   (f"sample rate {rate} Hz",))


def melodies(n: int = 1000, seed: int = 0, *, rate: int = 4000, seconds: float = 1.0, notes: int = 5, longest: int = 5,
             noise: float = 0.02) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plucked notes one after the other, at no fixed times: x (n, rate * seconds, 1) float32, y (n, longest) int32, and their numbers (n,).

    y holds the notes 1 to `notes`, from 220 Hz upwards by two semitones each, filled up with 0 behind the last: what `CTC` is to find
    without being told when each sounds. There are 1 to `longest` notes, the same may come twice; each goes on sounding under the next.
    Raises DeltaruleError for values out of range.

    >>> x, y, lengths = melodies(2, seconds=0.5)
    >>> x.shape, y.shape, (y > 0).sum(axis=1).tolist() == lengths.tolist()
    ((2, 2000, 1), (2, 5), True)
    """
    rng, samples = _checked(n, seed, rate, seconds, noise)
    for name, value in (("notes", notes), ("longest", longest)):
        checked_number(name, value, 1, whole=True)
    t = np.arange(samples) / rate
    x, y = np.zeros((n, samples, 1), np.float32), np.zeros((n, longest), np.int32)
    lengths = rng.integers(1, longest + 1, n)
    for row, word, count in zip(x, y, lengths, strict=True):
        word[:count] = rng.integers(1, notes + 1, count)
        gaps = rng.uniform(0.5, 1.5, count + 1)                 # from the beginning to the first note, ..., from the last to the end
        begins = seconds * np.cumsum(gaps)[:-1] / gaps.sum()
        for note, begin in zip(word[:count], begins, strict=True):
            row[:, 0] += rng.uniform(0.5, 1) * _one(rng, "pluck", t - begin, 220 * 2 ** (2 * (note - 1) / 12), rate)
    x += noise * rng.normal(size=x.shape)
    return x, y, lengths


def _one(rng: np.random.Generator, kind: str, t: Array, frequency: float, rate: int) -> Array:
    """A sound of this class with damping, character and phases drawn, of at most 1."""
    low, high = {"pluck": (0.08, 0.3), "bell": (0.15, 0.6), "drum": (0.04, 0.12), "buzz": (0.1, 0.4)}[kind]
    f, A, tau = partials(kind, frequency, rng.uniform(low, high), rng.uniform())
    return sound(t, f, A, tau, rng.uniform(0, 2 * np.pi, f.shape), rate)


def _checked(n: int, seed: int, rate: int, seconds: float, noise: float) -> tuple[np.random.Generator, int]:
    """The generator and the number of samples."""
    checked_number("n", n, 1, whole=True)
    checked_number("rate", rate, 4 * HIGHEST)
    checked_number("seconds", seconds, 0.05)
    checked_number("noise", noise, 0)
    return np.random.default_rng(checked_number("seed", seed, 0, whole=True)), round(rate * seconds)
