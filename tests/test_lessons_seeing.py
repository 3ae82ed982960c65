"""The lessons on convolutions and on what they see: all numbers hold, and the decisive ones are worked out again by other means."""

import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.signal import convolve2d

import deltarule as dr
from deltarule.lessons import convolution, hierarchy, shared_weights

DEMANDED = {        # the numbers that the lectures' table asks for
    "convolution": ["network, textbook and the count by hand agree", "all shapes agree", "largest difference from the direct sum",
                    "weights of 64 kernels of 3 x 3 x 3"],
    "shared-weights": ["shifting the input shifts the maps: largest difference", "weights of the convolution",
                       "convolution: accuracy at the new place"],
    "receptive-field": ["analytic and measured field are equal, pixel for pixel", "size of the field by dilations",
                        "the lecture's three layers with kernel 3 see"],
    "hierarchy": ["side of the receptive field, layer by layer", "the accuracy rises from convolution to convolution",
                  "filters that answer to their best direction more than twice as strongly as to their worst"],
}
SLOW = ("hierarchy",)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DEMANDED])
def test_every_number_is_as_expected_and_the_demanded_ones_are_there(as_demanded, name):
    as_demanded(name, DEMANDED[name])


def test_the_flipped_kernel_is_the_convolution_of_scipy():
    x, K = np.repeat([[1, 1, 1, 0, 0]], 4, axis=0), np.repeat([[1, 0, -1]], 3, axis=0)
    assert convolve2d(x, K, mode="valid").tolist() == [[0, -3, -3], [0, -3, -3]]
    assert correlate(x, K)[1:3, 1:4].tolist() == [[0, 3, 3], [0, 3, 3]]


def test_the_output_sizes_are_counted_window_by_window():
    for H, k, S, P, down, up in convolution.SIZES:
        starts = range(-P, H + P, S)
        assert sum(start + k <= H + P for start in starts) == down
        assert up == down + ((H + 2 * P - k) % S > 0)


def test_convolution_sees_a_wrong_textbook(monkeypatch):
    right = dr.textbook.convolve
    monkeypatch.setattr(dr.textbook, "convolve", lambda x, K, b, **settings: right(x, K, b + 1e-9, **settings))
    failed = [check.name for check in dr.lessons.run("convolution").checks if not check.passed]
    assert failed == ["largest difference from the direct sum"]


def test_the_figures_stand_where_the_lesson_says():
    for corner in (shared_weights.OLD, shared_weights.NEW):
        x, y = shared_weights.figures(50, corner, seed=3)
        ink = np.argwhere(x[..., 0] > 0.7)[:, 1:]
        assert corner <= ink.min()
        assert ink.max() < corner + 9
        assert set(np.unique(y)) == {0, 1}
    assert shared_weights.OLD + 9 <= shared_weights.NEW         # no pixel is inked both in training and later


def test_drawings_are_of_their_class_and_the_classifier_is_that_of_the_normal_equations():
    x, y = hierarchy.scenes(300, seed=5)
    assert x.shape == (300, hierarchy.SIDE, hierarchy.SIDE, 1)
    ink = (x[..., 0] > 0.5).sum(axis=(1, 2))
    names = list(hierarchy.OBJECTS)
    assert ink[y == names.index("circle")].mean() > 1.3 * ink[y == names.index("plus")].mean()
    assert hierarchy.distance(np.array([[3.0, 4.0], [0.0, -2.0]]), np.zeros(2), np.array([5.0, 0.0])).tolist() == [4.0, 2.0]
    h, truth = np.random.default_rng(0).normal(size=(100, 3)), np.random.default_rng(1).integers(0, 8, 100)
    A = np.column_stack([h, np.ones(100)])
    W = np.linalg.solve(A.T @ A, A.T @ np.eye(8)[truth])
    assert hierarchy.linear(h, truth, h, truth) == np.mean((A @ W).argmax(axis=1) == truth)
    apart = np.eye(8)[truth]
    assert hierarchy.selectivity(apart, truth) == pytest.approx(1)
    assert hierarchy.selectivity(h, truth) < 0.3
