"""The lessons on images: every number as expected, and the decisive ones worked out again by other means."""

import numpy as np
import pytest
from scipy.signal import correlate
from sklearn import metrics as sk

import deltarule as dr
from deltarule.lessons import conv1d, galaxies, pooling

slow = pytest.mark.slow
DEMANDED = [    # of each lesson: what the mission asks it to show
    pytest.param("pooling", ["max pooling, window by window", "average pooling, window by window",
                             "error at the map below max pooling, row by row", "maxima of 2 x 2 that stay the same",
                             "answers changed by one pixel with max, 2 x 2, relative to no pooling"], marks=slow),
    ("conv1d", ["accuracy on new signals", "they differ by", "steps that change place 11 of conv1d_3"]),
    pytest.param("galaxies", ["published, network: right answers", "published, automatic: right answers",
                              "generated, 13 numbers: accuracy above that", "generated: what the images add to the accuracy"], marks=slow),
]


@pytest.mark.parametrize(("name", "demanded"), DEMANDED)
def test_every_number_is_as_expected(result, name, demanded):
    found = result(name)
    assert [check for check in found.checks if not check.passed] == []
    assert set(demanded) <= set(found.numbers)
    assert found.figures.keys() == found.captions.keys() != set()
    assert all(max(figure.get_size_inches()) <= 11.5 for figure in found.figures.values())


# ------------------------------------------------------------------- pooling

def test_pooling_the_way_back_beside_finite_differences():
    """A nudge of each value of the map, weighted by the errors; the tie is broken by hand, since there the maximum has a corner."""
    layer, by_hand = pooling.POOLS["average"]
    nudged = pooling.MAP[None, :, :, None] + 1e-3 * np.eye(16).reshape(16, 4, 4, 1)
    net = dr.Network(layer, (4, 4, 1), dtype="float64")
    slopes = (net.predict(nudged).reshape(16, 4) - by_hand) @ pooling.ERRORS / 1e-3
    np.testing.assert_allclose(pooling.errors_of(layer, by_hand).ravel(), slopes, atol=1e-9)
    np.testing.assert_allclose(slopes, pooling.ROUTED["average"], atol=1e-9)
    without_tie = np.where(np.arange(16) == 9, -0.1, 0).reshape(4, 4)
    net = dr.Network(dr.MaxPool2D(2), (4, 4, 1), dtype="float64")
    slopes = (net.predict(nudged + without_tie[None, :, :, None]).reshape(16, 4) - pooling.POOLS["max"][1]) @ pooling.ERRORS / 1e-3
    np.testing.assert_allclose(slopes, pooling.ROUTED["max"], atol=1e-9)


def test_pooling_survival_of_maxima_by_drawing_windows():
    """(w - 1) / (w + 1): of two windows one step apart, from the place of the largest of their w (w + 1) values."""
    rng = np.random.default_rng(1)
    for w in (2, 4):
        strip = rng.normal(size=(40_000, w, w + 1))
        column = strip.reshape(len(strip), -1).argmax(axis=1) % (w + 1)
        assert np.mean((column > 0) & (column < w)) == pytest.approx((w - 1) / (w + 1), abs=0.01)


def test_pooling_notices_a_wrong_route(monkeypatch):
    monkeypatch.setattr(pooling, "errors_of", lambda layer, by_hand: np.zeros((4, 4)))
    monkeypatch.setattr(pooling, "_random_maps", lambda board: None)
    monkeypatch.setattr(pooling, "_networks", lambda board: None)
    assert dr.lessons.run("pooling").to_json()["failed"] == [
        "error at the map below max pooling, row by row", "error at the map below average pooling, row by row",
        "engine and textbook agree on the way back"]


# -------------------------------------------------------------------- conv1d

def test_conv1d_shapes_hold_the_same_values():
    for shape in conv1d.SHAPES.values():
        assert sorted(shape) == sorted(conv1d.VALUES)
    assert len({tuple(shape) for shape in conv1d.SHAPES.values()}) == 3
    x, y = conv1d.signals(400, seed=2)
    assert x.shape == (400, conv1d.STEPS, 1)
    means = np.array([x[y == k].sum(axis=(1, 2)).mean() for k in range(3)])
    assert np.ptp(means) < 0.6                                                      # of about 9: the light does not tell


def test_conv1d_all_places_beside_scipy():
    net = dr.Network(conv1d.LAYERS, input_shape=(conv1d.STEPS, 1), seed=3, dtype="float64")
    x = conv1d.signals(1, seed=4)[0]
    h = x[0]
    for name in conv1d.NAMES:
        W, b = (np.asarray(net.params[name][part]) for part in ("weights", "bias"))
        h = np.stack([np.maximum(correlate(h, W[:, :, m], mode="valid")[:, 0] + b[m], 0) for m in range(len(b))], axis=1)
        np.testing.assert_allclose(net.trace(x)[name].activation[0], h, atol=1e-12)
    assert h.shape == (conv1d.STEPS - 6, 6)


def test_conv1d_draws_the_cone(result):
    ax = result("conv1d").figures["connections"].axes[0]
    filled = [points for points in ax.collections if not np.allclose(points.get_facecolor()[0, :3], 1)]
    places = np.array([points.get_offsets()[0] for points in filled])
    assert [int(np.sum(places[:, 1] == level)) for level in range(4)] == [7, 5, 3, 1]
    assert len(ax.lines) == 3 * (11 + 9 + 7)


# ------------------------------------------------------------------ galaxies

@slow
def test_galaxies_tables_beside_scikit_learn(result):
    """The drawn tables, worked out again from the rows that they count."""
    found = result("galaxies")
    drawn = {ax.get_title(): {tuple(map(int, text.get_position())): int(text.get_text()) for text in ax.texts}
             for ax in found.figures["confusion"].axes}
    baseline = found.numbers["generated: the commonest class alone"]
    for name, key in (("generated, 13 numbers", "generated, 13 numbers"), ("generated, images", "generated, images")):
        cells = drawn[name]
        y = np.repeat([i for _, i in cells], list(cells.values()))
        assigned = np.repeat([j for j, _ in cells], list(cells.values()))
        assert len(y) == galaxies.GALAXIES // 2
        assert found.numbers[f"{key}: accuracy above that"] == pytest.approx(sk.accuracy_score(y, assigned) - baseline)
        assert found.numbers[f"{key}: within one class"] == pytest.approx(np.mean(np.abs(y - assigned) <= 1))


def test_galaxies_turned_in_eight_ways():
    x = np.arange(2 * 5 * 5, dtype=float).reshape(2, 5, 5, 1)
    eight = galaxies.turned(x)
    assert eight.shape == (16, 5, 5, 1)
    first = eight[::2]
    assert len({image.tobytes() for image in first}) == 8                           # all different
    assert all(np.array_equal(np.sort(image, axis=None), np.sort(x[0], axis=None)) for image in first)
