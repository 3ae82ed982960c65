"""Generated galaxies: their light against integrals and formulas, what is measured of them against loops, and that classes overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.ndimage import map_coordinates
from scipy.special import gammainc, gammaincinv

from deltarule import data
from deltarule.data import photometry
from deltarule.data.galaxies import draw, sky_noise
from deltarule.data.galaxy_light import Galaxies, arm_factor, images, seen_ratio, sersic, sersic_b
from deltarule.errors import DataError, ShapeError

PLAIN = {"light": 1e5, "centre": (0.0, 0.0), "angle": 0.0, "bulge": 0.0, "bulge_index": 4.0, "bulge_radius": 4.0, "bulge_ratio": 1.0,
         "disc_radius": 8.0, "disc_ratio": 1.0, "arms": 2.0, "arm_contrast": 0.0, "pitch": 0.4, "phase": 0.0, "bar": 0.0,
         "bar_radius": 3.0, "bar_ratio": 0.4, "bar_angle": 0.0, "lopsided": 0.0, "clumps": (0.0,), "clump_places": ((0.0, 0.0),),
         "clump_sizes": (1.0,), "seeing": 0.6}


def picture(size=101, **changes):
    """The noiseless image of one galaxy, an exponential disc seen from above unless said otherwise."""
    return images(Galaxies(**{name: np.array([value]) for name, value in (PLAIN | changes).items()}), size)[0]


def from_middle(size):
    places = np.arange(size) - (size - 1) / 2
    return np.meshgrid(places, places)                              # to the right, down


# ------------------------------------------------------------------------------------------------------------------------ light

@given(st.floats(0.5, 8), st.floats(0.5, 20))
def test_sersic_holds_light_one_and_half_of_it_within_its_radius(n, r_e):
    ring = lambda r: 2 * np.pi * r * float(sersic(r, n, r_e))       # noqa: E731
    within, beyond = quad(ring, 0, r_e, limit=200)[0], quad(ring, r_e, np.inf, limit=200)[0]
    assert within == pytest.approx(0.5, abs=1e-6)
    assert beyond == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("n", [1.0, 2.5, 4.0, 7.0])
def test_b_is_that_of_the_published_series(n):
    """Ciotti and Bertin 1999, equation 18."""
    series = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2) + 131 / (1148175 * n**3) - 2194697 / (30690717750 * n**4)
    assert sersic_b(n) == pytest.approx(series, abs=5e-5)


def test_a_disc_from_the_side_and_from_above():
    assert seen_ratio(1.0, 0.2) == 1.0
    assert seen_ratio(0.0, 0.2) == pytest.approx(0.2)
    assert seen_ratio(np.cos(np.radians(60)), 0.0) == pytest.approx(0.5)


@given(st.floats(0.3, 30), st.integers(1, 4), st.floats(0.05, 0.7))
def test_arms_move_light_and_add_none(r, arms, pitch):
    around = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    assert arm_factor(r, around, arms, pitch, 0.3).mean() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("changes", [
    {}, {"disc_ratio": 0.2, "angle": 0.6}, {"bulge": 1.0, "bulge_index": 4.0}, {"bulge": 0.4, "bulge_ratio": 0.7, "bar": 0.2},
    {"arm_contrast": 0.9}, {"lopsided": 0.8}, {"clumps": (0.3,), "clump_places": ((1.0, -0.5),)}, {"centre": (0.8, -0.6)},
], ids=str)
def test_the_frame_catches_the_light(changes):
    """A frame of 201 pixels loses what lies beyond it: little of a disc, a few hundredths of a bulge of index 4."""
    beyond = 2 * np.pi * quad(lambda r: r * float(sersic(r, 4.0, 4.0)), 100, np.inf)[0] * (PLAIN | changes)["bulge"]
    caught = picture(201, **changes).sum() / PLAIN["light"]
    assert caught == pytest.approx(1 - beyond, abs=0.004)


def test_half_of_the_light_lies_within_the_radius():
    right, down = from_middle(201)
    for changes, r_e in (({"disc_radius": 9.0}, 9.0), ({"bulge": 1.0, "bulge_index": 2.0, "bulge_radius": 8.0}, 8.0)):
        image = picture(201, **changes)
        order = np.argsort(np.hypot(right, down), axis=None)
        growth = np.cumsum(image.ravel()[order]) / PLAIN["light"]
        assert np.hypot(right, down).ravel()[order][np.searchsorted(growth, 0.5)] == pytest.approx(r_e, rel=0.02)


@pytest.mark.parametrize("inclination", [0.0, 45.0, 70.0, 90.0])
def test_axis_ratio_and_direction_of_an_inclined_disc(inclination):
    ratio, angle = seen_ratio(np.cos(np.radians(inclination)), 0.2), 0.7
    image = picture(301, disc_ratio=ratio, angle=angle, disc_radius=12.0)
    right, down = from_middle(301)
    xx, yy, xy = ((image * part).sum() / image.sum() for part in (right**2, down**2, right * down))
    small, large = np.linalg.eigvalsh([[xx, xy], [xy, yy]]) - 0.6**2            # the seeing widens both axes by its variance
    assert np.sqrt(small / large) == pytest.approx(ratio, rel=0.02)
    if inclination:
        assert 0.5 * np.arctan2(2 * xy, xx - yy) == pytest.approx(angle, abs=0.01)


@pytest.mark.parametrize(("arms", "degrees"), [(2, 10.0), (2, 18.0), (3, 25.0), (2, 35.0)])
def test_the_pitch_angle_can_be_measured(arms, degrees):
    """The phase of the m-th wave around circles falls on a line over ln r, whose slope is 1 / tan(pitch)."""
    image = picture(201, arm_contrast=1.0, arms=float(arms), pitch=np.radians(degrees), disc_radius=40.0)
    radii, around = np.geomspace(15, 60, 80), np.linspace(0, 2 * np.pi, 360, endpoint=False)
    places = [100 + radii[:, None] * part(around) for part in (np.sin, np.cos)]
    wave = np.fft.fft(map_coordinates(image, places, order=3), axis=1)[:, arms]
    slope = -np.polyfit(np.log(radii), np.unwrap(np.angle(wave)) / arms, 1)[0]
    assert np.degrees(np.arctan(1 / slope)) == pytest.approx(degrees, abs=0.5)


# -------------------------------------------------------------------------------------------------------------------- the images

def test_the_same_arguments_give_the_same_galaxies():
    first, again, other = data.galaxies(23, seed=3), data.galaxies(23, seed=3), data.galaxies(23, seed=4)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert (first.x != other.x).mean() > 0.9
    assert (first.x.shape, first.x.dtype, first.y.dtype, first.problem) == ((23, 48, 48, 1), np.float32, np.int32, "classification")
    assert "seed 3" in first.source


def test_classes_come_in_the_shares_of_the_published_table():
    y = data.galaxies(701, size=16).y
    published = data.storrie_lombardi().network.sum(axis=1) / 3517
    np.testing.assert_allclose(np.bincount(y, minlength=5) / 701, published, atol=1 / 701)
    assert np.abs(np.diff(y)).mean() > 0.8                          # in no order


def test_noise_of_sky_and_light():
    clean, noisy = data.galaxies(300, seed=5, noise=0), data.galaxies(300, seed=5)
    counts, difference = (np.sinh(part) * sky_noise() for part in (clean.x, noisy.x))
    difference = difference - counts
    for low, high in ((0, 2), (50, 70), (300, 500)):
        here = (counts >= low) & (counts < high)
        assert here.sum() > 1000
        assert difference[here].mean() == pytest.approx(0, abs=1.5)
        assert difference[here].var() == pytest.approx(sky_noise() ** 2 + counts[here].mean(), rel=0.06)    # Poisson's is its mean
    doubled = np.sinh(data.galaxies(300, seed=5, noise=2.0).x) * sky_noise() - counts
    assert doubled.std() == pytest.approx(2 * difference.std(), rel=1e-3)


def test_another_size_shows_the_same_galaxies():
    large, small = (np.sinh(data.galaxies(40, size=size, seed=2, noise=0).x[..., 0]) for size in (64, 32))
    added = large.reshape(40, 32, 2, 32, 2).sum(axis=(2, 4)) / 4    # four pixels each, the same brightness
    np.testing.assert_allclose(added.sum(axis=(1, 2)), small.sum(axis=(1, 2)), rtol=0.05)
    alike = np.corrcoef(added.reshape(40, -1), small.reshape(40, -1))[:40, 40:]
    assert np.diag(alike).min() > 0.88                              # the atmosphere spreads light over as many pixels as before
    assert (np.diag(alike) > np.median(alike, axis=1)).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: data.galaxies(0), r"^n is 0, expected a whole number from 1 on$"),
    (lambda: data.galaxies(2.5), r"^n is 2\.5, expected a whole number from 1 on$"),
    (lambda: data.galaxies(5, size=8), r"^size is 8, expected a whole number from 16 on$"),
    (lambda: data.galaxies(5, seed=-1), r"^seed is -1, expected a whole number from 0 on$"),
    (lambda: data.galaxies(5, noise=-1), r"^noise is -1, expected 0 or more; 1 is that of the telescope$"),
    (lambda: data.galaxy_catalogue(data.wine()), r"^galaxy_catalogue expected the data set of galaxies\(\.\.\.\), received wine; phot"),
    (lambda: data.galaxy_catalogue(np.zeros((3, 48, 48, 1))), r"^galaxy_catalogue expected .*received ndarray; photometry\.measure"),
    (lambda: photometry.measure(np.zeros((3, 48, 48)), noise=0), r"^noise is 0, expected the deviation of an empty pixel in counts, above"),
    (lambda: photometry.measure(np.zeros((3, 48, 48)), noise="sky"), r"^noise is 'sky', expected the deviation of an empty pixel"),
    (lambda: photometry.measure(np.full((1, 48, 48), np.nan), noise=1.0), r"^counts holds values that are not finite; fill bad pixels"),
])
def test_mistakes(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize("shape", [(48, 48), (3, 48, 48, 1), (3, 5, 48)])
def test_images_of_another_shape(shape):
    with pytest.raises(ShapeError, match=r"^counts has shape \(.*\), expected \(n, height, width\) of at least 8 x 8 pixels$"):
        photometry.measure(np.zeros(shape), noise=1.0)


# ------------------------------------------------------------------------------------------------------------------ the catalogue

def measured(counts, noise=1.0):
    return dict(zip(photometry.MEASURES, photometry.measure(np.asarray(counts)[None], noise)[0].astype(float), strict=True))


def test_a_disc_by_its_formulas():
    """The mean radius of an exponential disc is 2 h, so that the aperture reaches to 5 h; gammainc(2, r / h) of its light lies within r."""
    light, h = 1e8, 12.0
    seen = measured(picture(301, light=light, disc_radius=h * sersic_b(1.0), disc_ratio=0.6, angle=0.4))
    caught = gammainc(2, 5.0)
    r_20, r_50, r_80 = h * gammaincinv(2, np.array([0.2, 0.5, 0.8]) * caught)
    assert seen["magnitude"] == pytest.approx(25 - 2.5 * np.log10(light * caught), abs=0.01)
    assert seen["half-light radius"] == pytest.approx(r_50, rel=0.01)
    assert seen["axis ratio"] == pytest.approx(0.6, abs=0.01)
    assert seen["concentration"] == pytest.approx(5 * np.log10(r_80 / r_20), abs=0.05)
    assert seen["outer gradient"] == pytest.approx(2.5 / np.log(10) * r_50 / h, rel=0.03)
    assert seen["inner gradient"] == pytest.approx(2.5 / np.log(10) * r_50 / h, rel=0.05)
    assert seen["mean surface brightness"] == pytest.approx(25 - 2.5 * np.log10(light * caught / 2 / (np.pi * 0.6 * r_50**2)), abs=0.03)
    assert abs(seen["asymmetry"]) < 0.003
    assert abs(seen["clumpiness"]) < 0.1       # smoothing cuts off the ridge of the inclined disc
    assert seen["scatter over octants"] < 0.03


def test_ellipticals_are_more_concentrated_and_clumps_are_seen():
    disc, bulge = measured(picture(light=1e7)), measured(picture(light=1e7, bulge=1.0, bulge_radius=6.0))
    assert bulge["concentration"] > disc["concentration"] + 0.5
    clumpy = measured(picture(light=1e7, clumps=(0.15,), clump_places=((1.0, 0.6),)))
    for name in ("asymmetry", "clumpiness", "M20", "scatter over octants"):
        assert clumpy[name] > disc[name] + 0.05, name


def test_gini_and_m20_by_loops():
    rng = np.random.default_rng(3)
    image = rng.gamma(1.0, size=(9, 11))
    inside, x, y = rng.uniform(size=image.shape) < 0.8, *np.meshgrid(np.arange(11) - 4.0, np.arange(9) - 3.0)
    gini, m20 = photometry._gini_m20(image[None], x[None], y[None], inside[None])
    values = sorted(image[inside])
    apart = sum(abs(one - two) for one in values for two in values)
    assert gini[0] == pytest.approx(apart / (2 * np.mean(values) * len(values) * (len(values) - 1)))
    total, so_far, moment = image[inside].sum(), 0.0, 0.0
    for value, far in sorted(zip(image[inside], (x**2 + y**2)[inside], strict=True), reverse=True):
        so_far += value
        if so_far > 0.2 * total:
            break
        moment += value * far
    assert m20[0] == pytest.approx(np.log10(moment / (image * (x**2 + y**2))[inside].sum()))


def test_noise_makes_neither_clumps_nor_asymmetry():
    """On average over many noisy images of one smooth disc, both are those of the image without noise."""
    image = picture(48, light=2e5, disc_radius=7.0)
    noisy = image[None] + np.random.default_rng(0).normal(0, 15, (200, 48, 48))
    clean, seen = (photometry.measure(counts, 15.0) for counts in (image[None], noisy))
    for name, off in (("asymmetry", 0.03), ("clumpiness", 0.01), ("magnitude", 0.05), ("half-light radius", 0.3)):
        k = photometry.MEASURES.index(name)
        corrected = clean[0, k] if name not in ("asymmetry", "clumpiness") else 0.0
        assert seen[:, k].mean() == pytest.approx(corrected, abs=off), name


def test_a_turn_changes_nothing_and_light_only_the_magnitudes():
    counts = np.sinh(data.galaxies(60, seed=8, noise=0).x[..., 0]) * sky_noise()
    first, turned = photometry.measure(counts, 15.0), photometry.measure(np.rot90(counts, axes=(1, 2)), 15.0)
    assert np.median(np.abs(turned - first) / first.std(axis=0)) < 1e-3
    brighter = photometry.measure(10 * counts, 150.0)
    magnitudes = [k for k, name in enumerate(photometry.MEASURES) if name == "magnitude" or name.endswith("brightness")]
    change = np.where(np.isin(np.arange(13), magnitudes), -2.5, 0.0)
    np.testing.assert_allclose(np.median(brighter - first, axis=0), change, atol=1e-4)


def test_the_catalogue_has_the_same_galaxies_on_both_sides_of_a_split():
    pictures = data.galaxies(200, seed=1)
    catalogue = data.galaxy_catalogue(pictures)
    assert catalogue.x.shape == (200, 13)
    assert np.isfinite(catalogue.x).all()
    assert catalogue.feature_names == photometry.MEASURES
    for pictured, listed in zip(pictures.split(0.3, seed=2), catalogue.split(0.3, seed=2), strict=True):
        np.testing.assert_array_equal(listed.x, data.galaxy_catalogue(pictured).x)
        np.testing.assert_array_equal(listed.y, pictured.y)


def test_empty_frames_are_measured_too():
    assert np.isfinite(photometry.measure(np.zeros((2, 32, 32)), 1.0)).all()
    assert np.isfinite(photometry.measure(np.random.default_rng(0).normal(0, 5, (50, 32, 48)), 5.0)).all()
    assert photometry.measure(np.zeros((0, 32, 32)), 1.0).shape == (0, 13)


# ----------------------------------------------------------------------------------------------------------------- the population

def test_the_sequence_of_hubble():
    """Along E, S0, Sa+Sb, Sc+Sd bulges shrink, arms open and clumps grow in number; discs point anywhere."""
    y = np.repeat(np.arange(5), 2000)
    made = draw(y, np.random.default_rng(0), 48)
    bulge = [made.bulge[y == k].mean() for k in range(5)]
    assert bulge == sorted(bulge, reverse=True)
    assert (bulge[0], bulge[4]) == (1.0, 0.0)
    assert np.degrees(made.pitch[y == 3].mean()) > np.degrees(made.pitch[y == 2].mean()) + 5
    assert (made.clumps[y == 3] > 0).sum() > 2 * (made.clumps[y == 2] > 0).sum()
    assert (made.bulge + made.bar + made.clumps.sum(axis=1))[y > 0].max() < 0.98     # the disc keeps some light
    cosine = np.sqrt(np.maximum(made.disc_ratio[y == 2] ** 2 - 0.04, 0) / 0.96)     # the thickness is 0.2, with a scatter of 0.04
    assert np.quantile(cosine, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_classes_overlap_and_can_be_learnt(seed):
    """A forest on the catalogue does about as well as the network of 1992 on its own (64%): far from the baseline, and from all."""
    from sklearn.ensemble import RandomForestClassifier

    train, test = data.galaxy_catalogue(data.galaxies(1600, seed=seed)).split(0.5, seed=0)
    forest = RandomForestClassifier(100, random_state=0).fit(train.x, train.y)
    baseline = np.bincount(test.y).max() / len(test)
    assert baseline == pytest.approx(0.458, abs=0.01)
    assert baseline + 0.1 < forest.score(test.x, test.y) < 0.8
    low, high = (np.array([np.quantile(train.x[train.y == k], share, axis=0) for k in range(5)]) for share in (0.1, 0.9))
    assert (low.max(axis=0) < high.min(axis=0)).sum() >= 8          # of 13 numbers alone, none tells the classes apart
