"""Generated sounds: frequencies by Fourier's transform, damping by the envelope, notes at their places."""

import numpy as np
import pytest
from scipy.signal import find_peaks, hilbert
from scipy.special import jn_zeros

from deltarule import data
from deltarule.data import tones
from deltarule.errors import DataError, DeltaruleError

RATE = 8000
T = np.arange(RATE) / RATE


def heard(kind, frequency=200.0, damping=0.3):
    """The partials below 2000 Hz, and where the spectrum of the sound has its peaks."""
    f, A, tau = tones.partials(kind, frequency, damping)
    spectrum = np.abs(np.fft.rfft(tones.sound(T, f, A, tau, rate=RATE) * np.hanning(RATE)))
    peaks = find_peaks(spectrum, height=1e-3 * spectrum.max())[0]
    return f[f < 2000], peaks[peaks < 2000]


@pytest.mark.parametrize("kind", tones.CLASSES)
def test_the_spectrum_has_the_partials(kind):
    f, peaks = heard(kind, damping=1.0)
    loud = [place for place in f if np.abs(peaks - place).min() <= 1]
    assert len(loud) >= 0.7 * len(f)
    assert all(np.abs(f - peak).min() <= 2 for peak in peaks)


def test_strings_are_harmonic_and_membranes_are_those_of_bessel():
    f = tones.partials("pluck", 200.0, 0.3)[0]
    np.testing.assert_allclose(f / 200, np.arange(1, 25))
    zeros = np.sort(np.concatenate([jn_zeros(m, 3) for m in range(6)]))
    np.testing.assert_allclose(tones.DRUM, zeros[:7] / zeros[0], atol=0.002)


@pytest.mark.parametrize("tau", [0.05, 0.2, 0.7])
def test_a_partial_falls_to_1_over_e_in_its_damping_time(tau):
    envelope = np.abs(hilbert(tones.sound(T, [440.0], [1.0], [tau])))
    inside = slice(400, 4000)
    slope = np.polyfit(T[inside], np.log(envelope[inside]), 1)[0]
    assert -1 / slope == pytest.approx(tau, rel=0.02)


def test_high_partials_die_first_but_in_a_reed():
    for kind in tones.CLASSES:
        f, A, tau = tones.partials(kind, 200.0, 0.3)
        assert A.sum() == pytest.approx(1)
        assert tau[np.argmin(np.abs(f - 200))] == pytest.approx(0.3)
        assert np.all(np.diff(tau) < 0) != (kind == "buzz")


def test_what_cannot_be_sampled_is_left_out():
    np.testing.assert_array_equal(tones.sound(T, [5000.0, 300.0], [1.0, 1.0], [1.0, 1.0], rate=RATE),
                                  tones.sound(T, [300.0], [1.0], [1.0], rate=RATE))
    assert not tones.sound([-0.5, -1e-9], [3.0], [1.0], [1.0], [1.0]).any()


def test_classes_come_equally_often_and_loudness_does_not_give_them_away():
    made = data.damped_tones(400, seed=1)
    again = data.damped_tones(400, seed=1)
    np.testing.assert_array_equal(made.x, again.x)
    np.testing.assert_array_equal(np.bincount(made.y), [100] * 4)
    assert np.abs(made.x).max() < 1.2
    assert (made.x.dtype, made.x.shape) == (np.float32, (400, 1000, 1))
    loud = np.log(made.x[:, :, 0].std(axis=1))
    inside = np.mean([loud[made.y == k].std() for k in range(4)])
    assert np.ptp([loud[made.y == k].mean() for k in range(4)]) < 4 * inside


def test_notes_are_heard_in_their_order():
    x, y, lengths = data.melodies(40, seed=2, noise=0.0)
    assert x.shape == (40, 4000, 1)
    np.testing.assert_array_equal((y > 0).sum(axis=1), lengths)
    assert set(np.unique(lengths)) == {1, 2, 3, 4, 5}
    for row, word, count in zip(x[:, :, 0], y, lengths, strict=True):
        assert np.all(word[count:] == 0)
        if count == 1:
            spectrum = np.abs(np.fft.rfft(row * np.hanning(4000)))
            peak = find_peaks(spectrum, height=0.2 * spectrum.max())[0][0]            # the lowest partial that is loud
            assert 12 * np.log2(peak / 220) / 2 + 1 == pytest.approx(word[0], abs=0.3)


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: tones.partials("plukc", 200.0, 1.0), DataError, r"there is no sound 'plukc'; did you mean 'pluck'\?"),
    (lambda: data.damped_tones(0), DeltaruleError, r"n expected a whole number of at least 1, received 0"),
    (lambda: data.damped_tones(3, rate=1000), DeltaruleError, r"rate expected a finite number of at least 1760, received 1000"),
    (lambda: data.damped_tones(3, seconds=0), DeltaruleError, r"seconds expected a finite number of at least 0\.05, received 0"),
    (lambda: data.melodies(3, notes=0), DeltaruleError, r"notes expected a whole number of at least 1, received 0"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
