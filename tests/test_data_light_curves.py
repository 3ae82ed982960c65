"""Generated stars: their light against geometry, integrals and published numbers, and the curves as a telescope takes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.constants import G
from scipy.signal import lombscargle
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from deltarule import data
from deltarule.data import starlight
from deltarule.data import variable_stars as made
from deltarule.errors import DataError, DeltaruleError, ShapeError

PHASES = np.linspace(0, 1, 2001)
STARS = data.light_curves(300, seed=1)


def of_class(name):
    return np.flatnonzero(STARS.y == made.CLASSES.index(name))


# ------------------------------------------------------------------------------------------------------------------ how stars vary

@given(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0, 2.2))
def test_overlap_of_two_discs_is_the_integral_of_their_chords(r1, r2, distance):
    """Chords along the line of the middles are intervals; their common part, summed over the height."""
    height = (np.arange(20000) + 0.5) / 20000 * min(r1, r2)
    half1, half2 = np.sqrt(r1**2 - height**2), np.sqrt(r2**2 - height**2)
    common = np.maximum(np.minimum(half1, distance + half2) - np.maximum(-half1, distance - half2), 0)
    assert float(starlight.overlap(distance, r1, r2)) == pytest.approx(2 * common.mean() * min(r1, r2), abs=1e-4)


@given(st.floats(0.05, 0.4), st.floats(0.1, 0.95), st.floats(0.1, 0.9))
def test_depths_of_central_eclipses(r1, ratio, light1):
    """The smaller star is hidden whole, and hides its own area of the larger one."""
    r2 = ratio * r1
    first, second = starlight.eclipses([0.0, 0.5], r1, r2, 0.0, light1)
    assert first == pytest.approx(-2.5 * np.log10(1 - light1 * ratio**2))
    assert second == pytest.approx(-2.5 * np.log10(light1))


@pytest.mark.parametrize(("r1", "r2", "cosine"), [(0.2, 0.1, 0.0), (0.15, 0.15, 0.1), (0.3, 0.2, 0.4)])
def test_eclipses_last_as_long_as_the_discs_touch(r1, r2, cosine):
    """First contact: sin^2 theta + cos^2 i cos^2 theta = (r1 + r2)^2."""
    contact = np.arcsin(np.sqrt(((r1 + r2)**2 - cosine**2) / (1 - cosine**2))) / (2 * np.pi)
    dark = starlight.eclipses(PHASES, r1, r2, cosine, 0.6) > 1e-9
    assert dark.mean() == pytest.approx(4 * contact, abs=0.003)
    assert starlight.eclipses([0.0, 0.25], 0.1, 0.1, 0.3, 0.5).tolist() == [0, 0]           # seen from so far above, none


def test_tides_make_two_waves_in_a_period():
    wave = starlight.eclipses(PHASES[:-1], 0.1, 0.1, 0.9, 0.5, tides=0.05)
    spectrum = np.abs(np.fft.rfft(wave)) / 1000
    assert spectrum.argmax() == 2
    assert spectrum[2] == pytest.approx(0.05)


def test_the_distance_of_two_suns_is_keplers():
    day, sun, radius = 86400.0, 1.98841e30, 6.957e8
    assert abs((G * sun * day**2 / (4 * np.pi**2)) ** (1 / 3) / radius - starlight.SUNS) < 1e-3


@pytest.mark.parametrize(("rise", "steep"), [(0.15, 0.9), (0.3, 0.2), (0.48, 0.0)])
def test_pulsations_rise_faster_than_they_fall(rise, steep):
    curve = starlight.pulsation(PHASES, rise, steep)
    assert np.ptp(curve) == pytest.approx(1, abs=1e-6)
    assert PHASES[curve.argmin()] == pytest.approx(rise, abs=0.001)
    assert curve[0] == curve[-1] == 0.5
    assert np.all(np.diff(curve[:round(2000 * rise) + 1]) <= 0)
    assert np.all(np.diff(curve[round(2000 * rise) + 1:]) >= 0)


def test_the_bump_moves_through_the_maximum_at_ten_days():
    places = [PHASES[starlight.bump(PHASES, period, 0.3).argmax()] for period in (6.0, 10.0, 13.0)]
    np.testing.assert_allclose(places, [0.65, 0.3, 0.0375], atol=0.001)


def test_a_flare_is_as_wide_as_its_unit_says():
    """Davenport et al. 2014: time is counted in widths at half height, which their fitted curve has but for a tenth."""
    t = np.linspace(-2, 30, 320001)
    flux = starlight.flare(t)
    assert flux.max() == pytest.approx(1)
    assert np.ptp(t[flux >= 0.5]) == pytest.approx(1, abs=0.1)
    assert flux[t < -1].max() == 0
    assert np.abs(np.diff(flux)).max() < 6e-3


# ---------------------------------------------------------------------------------------------------------------------- the curves

def test_the_same_seed_gives_the_same_stars():
    again, other = data.light_curves(300, seed=1), data.light_curves(300, seed=2)
    for one, two in zip(STARS.values, again.values, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(len(one) != len(two) for one, two in zip(STARS.values, other.values, strict=True))
    np.testing.assert_array_equal(np.bincount(STARS.y), [60] * 5)


def test_times_are_irregular_and_at_night():
    for times in STARS.times:
        gaps = np.diff(times)
        assert gaps.min() > 0
        assert np.unique(gaps.round(6)).size > 30
        assert np.all(np.abs((times + 0.5) % 1 - 0.5) < 7.5 / 24)
    assert STARS.lengths.min() >= 40
    assert STARS.lengths.max() > 1.5 * STARS.lengths.min()


def of_periodic_stars(kind, draw):
    """A star that varies, at even times over many periods."""
    rng = np.random.default_rng(draw)
    t = np.sort(rng.uniform(0, 60, 3000))
    return {"Cepheid": made._cepheid, "RR Lyrae": made._rr_lyrae, "eclipsing": made._eclipsing}[kind](rng, t), t


@pytest.mark.parametrize("kind", ["Cepheid", "RR Lyrae", "eclipsing"])
@pytest.mark.parametrize("draw", range(5))
def test_lomb_and_scargle_find_the_period(kind, draw):
    """Eclipses of similar stars repeat after half a period, which the periodogram then prefers."""
    star, t = of_periodic_stars(kind, draw)
    change = star.change(t)
    frequencies = np.arange(0.015, 8, 0.002)
    power = lombscargle(t, change - change.mean(), 2 * np.pi * frequencies)
    cycles = frequencies[power.argmax()] * star.period
    assert cycles == pytest.approx(round(cycles), abs=0.05)
    assert round(cycles) in ((1,) if kind != "eclipsing" else (1, 2, 4))


@pytest.mark.parametrize("kind", ["Cepheid", "RR Lyrae", "eclipsing"])
def test_curves_folded_with_the_true_period_are_smooth(kind):
    """Neighbours in phase differ by little more than the noise, neighbours in time of another night by the variation."""
    ratios = []
    for i in of_class(kind):
        t, m = STARS.times[i], STARS.values[i][:, 0]
        folded = m[np.argsort(t / STARS.facts["period"][i] % 1)]
        ratios.append(np.median(np.abs(np.diff(folded))) / STARS.facts["sigma"][i])
    assert np.median(ratios) < 3                # of the difference of two measurements: 0.95, and the drift of the nights


@pytest.mark.parametrize(("kind", "period", "amplitude"), [
    ("eclipsing", (0.3, 10), (0.03, 3)), ("Cepheid", (2, 40), (0.35, 1.4)), ("RR Lyrae", (0.2, 0.8), (0.3, 1.4))])
def test_periods_and_ranges_are_those_of_the_literature(kind, period, amplitude):
    rows = of_class(kind)
    for name, (low, high) in (("period", period), ("amplitude", amplitude)):
        values = STARS.facts[name][rows]
        assert low <= values.min() <= values.max() <= high


def test_rr_lyrae_stars_of_shorter_period_vary_more():
    """The diagram of Bailey, for those in the fundamental mode."""
    rows = of_class("RR Lyrae")
    period, amplitude = (STARS.facts[name][rows] for name in ("period", "amplitude"))
    assert np.corrcoef(period[period > 0.43], amplitude[period > 0.43])[0, 1] < -0.7


def test_flares_brighten_and_eclipses_darken():
    skew = {kind: np.median([np.mean((m - np.median(m))**3) / m.std()**3 for m in (STARS.values[i][:, 0] for i in of_class(kind))])
            for kind in ("eclipsing", "flare", "quiet")}
    assert skew["flare"] < -1
    assert skew["eclipsing"] > 0.5
    assert abs(skew["quiet"]) < 0.5


def test_noise_is_that_of_sigma():
    spread = [np.median(np.abs(np.diff(STARS.values[i][:, 0]))) / STARS.facts["sigma"][i] for i in of_class("quiet")]
    assert np.median(spread) == pytest.approx(0.6745 * np.sqrt(2), rel=0.12)
    still = data.light_curves(10, seed=3, noise=0.0)
    assert all(np.ptp(values) == 0 for values, k in zip(still.values, still.y, strict=True) if made.CLASSES[k] == "quiet")


def test_simple_statistics_do_not_tell_the_classes_apart():
    """Spread, skewness, range and level, in a forest: better than chance by far, yet one star in ten is taken for another."""
    stars = data.light_curves(1000, seed=5)
    features = [(m.std(), np.mean((m - m.mean())**3) / m.std()**3, np.ptp(m), np.median(m)) for m in (v[:, 0] for v in stars.values)]
    said = cross_val_predict(RandomForestClassifier(100, random_state=0), np.array(features), stars.y, cv=5)
    assert 0.5 < np.mean(said == stars.y) < 0.9


# ------------------------------------------------------------------------------------------------------------ sequences as data

def test_padded_rows_hold_differences_values_and_what_is_there():
    x, lengths = STARS.padded(210), STARS.lengths
    assert x.shape == (300, 210, 3)
    np.testing.assert_array_equal(x[:, :, 2].sum(axis=1), lengths)
    for i in (0, 7):
        np.testing.assert_allclose(STARS.times[i][0] + np.cumsum(x[i, :lengths[i], 0]), STARS.times[i], rtol=1e-12)
        np.testing.assert_array_equal(x[i, :lengths[i], 1], STARS.values[i][:, 0])
        assert not x[i, lengths[i]:].any()


def test_subsets_and_splits_keep_everything_together():
    train, test = STARS.split(0.25, seed=0)
    np.testing.assert_array_equal(np.bincount(test.y), [15] * 5)
    assert sorted(train.names + test.names) == sorted(STARS.names)
    for part in (train, test):
        i = STARS.names.index(part.names[3])
        np.testing.assert_array_equal(part.values[3], STARS.values[i])
        assert (part.y[3], part.facts["sigma"][3]) == (STARS.y[i], STARS.facts["sigma"][i])
    one, two = data.Sequences(STARS.times, STARS.values, None, value_names=("magnitude",)).split(0.5)
    assert (len(one), len(two)) == (150, 150)


def test_the_data_set_and_the_table():
    few = STARS.subset([4, 2])
    made_set = few.dataset(steps=200)
    assert (made_set.x.shape, made_set.unit, made_set.channels) == ((2, 200, 3), "sequence", few.channels)
    table = few.table()
    assert table.columns == ["name", "days", "magnitude", "class"]
    assert table.height == few.lengths.sum()
    assert table["name"].unique(maintain_order=True).to_list() == ["star 4", "star 2"]


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: data.light_curves(0), DeltaruleError, r"n expected a whole number of at least 1, received 0"),
    (lambda: data.light_curves(5, noise=-1), DeltaruleError, r"noise expected a finite number of at least 0, received -1"),
    (lambda: data.light_curves(5, seed=0.5), DeltaruleError, r"seed expected a whole number of at least 0, received 0.5"),
    (lambda: STARS.padded(20), DataError, r"sequence 'star \d+' has \d+ steps, more than steps=20; cut it, or allow for more"),
    (lambda: data.Sequences((), (np.ones((1, 1)),), None), ShapeError,
     r"expected as many times as values and answers, received 0, 1 and 0"),
    (lambda: data.Sequences((np.ones(2),), (np.ones((3, 1)),), None), ShapeError,
     r"sequence 0 expected times \(steps,\) and values \(steps, 1\) of at least one step, received \(2,\) and \(3, 1\)"),
    (lambda: data.Sequences((np.ones(1),), (np.ones((1, 1)),), None).dataset(), DataError, r"sequences has nothing to predict; name the"),
    (lambda: data.Dataset(np.ones((2, 3)), np.zeros(2), (), None, "y", "toy", "", channels=("a", "there")), ShapeError,
     r"toy: there are 2 channels of sequences, expected x of shape \(n, steps, 2\), received \(2, 3\)"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
