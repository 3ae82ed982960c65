"""Figures of filters, feature maps, receptive fields and saliency: what is drawn is what the network holds."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

import deltarule as dr
from deltarule import figures
from deltarule.errors import DataError, DeltaruleError, ShapeError

LAYERS = [dr.Conv2D(5, 3, "tanh"), dr.SpatialDropout(0.2), dr.Conv2D(4, 2), dr.Flatten(), dr.Dense(3, "softmax")]
NET = dr.Network(LAYERS, (9, 7, 1), seed=1)
X = np.random.default_rng(0).uniform(size=(3, 9, 7, 1)).astype("float32")


def drawn(fig, n):
    return [np.asarray(ax.images[0].get_array()) for ax in fig.axes[:n]]


def test_filters_are_the_kernels():
    K = NET.params["conv2d_1"]["weights"]
    for m, image in enumerate(drawn(figures.filters(NET, "conv2d_1"), 5)):
        np.testing.assert_allclose(image, K[:, :, 0, m])
    K = NET.params["conv2d_2"]["weights"]
    for m, image in enumerate(drawn(figures.filters(NET, "conv2d_2", channel=3), 4)):
        np.testing.assert_allclose(image, K[:, :, 3, m])
    fig = figures.filters(NET, "conv2d_2")
    for m, image in enumerate(drawn(fig, 4)):
        c = np.square(K[..., m]).sum(axis=(0, 1)).argmax()
        assert fig.axes[m].get_title() == f"{m} (of {c})"
        np.testing.assert_allclose(image, K[:, :, c, m])


def test_filters_of_colours_sequences_and_volumes():
    colour = dr.Network([dr.Conv2D(2, 3)], (5, 5, 3), seed=1)
    K = colour.params["conv2d_1"]["weights"][..., 1]
    np.testing.assert_allclose(drawn(figures.filters(colour, "conv2d_1"), 2)[1], 0.5 + 0.5 * K / np.abs(K).max(), rtol=1e-5)
    line = dr.Network([dr.Conv1D(3, 5)], (9, 2))
    np.testing.assert_allclose(drawn(figures.filters(line, "conv1d_1"), 3)[2], line.params["conv1d_1"]["weights"][..., 2].T)
    volume = dr.Network([dr.Conv3D(2, 3)], (5, 5, 5, 1))
    np.testing.assert_allclose(drawn(figures.filters(volume, "conv3d_1"), 2)[1], volume.params["conv3d_1"]["weights"][1, :, :, 0, 1])


def test_feature_maps_are_the_activations_of_one_row():
    trace = NET.trace(X)
    for m, image in enumerate(drawn(figures.feature_maps(trace, "conv2d_1", 2), 5)):
        np.testing.assert_allclose(image, trace["conv2d_1"].activation[2, :, :, m], rtol=1e-6)
    line = dr.Network([dr.Conv1D(3, 5, "relu")], (9, 1)).trace(X[:, :, 0])
    fig = figures.feature_maps(line, "conv1d_1", 1)
    np.testing.assert_allclose(drawn(fig, 1)[0], line["conv1d_1"].activation[1].T, rtol=1e-6)
    assert (fig.axes[0].get_xlabel(), fig.axes[0].get_ylabel()) == ("step", "feature map")


def test_saliency_lies_over_the_image_and_tells_the_sign():
    maps = np.zeros((2, 9, 7))
    maps[0, 2, 3], maps[0, 4, 4], maps[1, 5, 5] = 4.0, -2.0, -1.0
    fig = figures.saliency(X[:2], {"gradient": maps, "grad_cam": np.abs(maps)}, ["a", "b"])
    assert len(fig.axes) == 2 * 3 + 1
    assert [fig.axes[k].get_ylabel() for k in (0, 2, 4)] == ["input", "gradient", "grad cam"]
    assert [ax.get_title() for ax in fig.axes[:2]] == ["a", "b"]
    first = drawn(fig, 3)[2]
    assert first[2, 3, 2] > 2 * first[2, 3, 0]                          # blue where it speaks for the class
    assert first[4, 4, 0] > 1.3 * first[4, 4, 2]                        # red where it speaks against it
    np.testing.assert_allclose(first[0, 0], first[0, 0, 0])             # grey where there is nothing
    assert fig.axes[-1].get_ylabel() == "share of the map's largest value"
    assert len(figures.saliency(np.repeat(X, 3, axis=-1), np.ones((3, 9, 7))).axes) == 7
    assert figures.saliency(X[..., 0], np.zeros((3, 9, 7))).axes[3].get_ylabel() == "saliency"


def test_receptive_fields_are_framed():
    field = NET.receptive_field("conv2d_2")
    fig = figures.receptive_field(field, unit=(1, 2))
    frame = next(patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle))
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (1.5, 0.5, 4, 4)
    assert (drawn(fig, 1)[0] < 1).sum() == 16
    effective = figures.receptive_field(field, X, (1, 2))
    values = field.effective(X, (1, 2))
    np.testing.assert_allclose(drawn(effective, 1)[0], values / values.max())
    line = dr.Network([dr.Conv1D(3, 3, dilation=2)], (9, 1)).receptive_field("conv1d_1")
    fig = figures.receptive_field(line, unit=1)
    assert fig.axes[0].get_title() == "conv1d_1, unit 1: 5"
    assert drawn(fig, 1)[0].shape == (1, 9)


def test_letters_are_readable():
    for fig in (figures.filters(NET, "conv2d_2"), figures.feature_maps(NET.trace(X), "conv2d_1"), figures.saliency(X, np.ones((3, 9, 7))),
                figures.receptive_field(NET.receptive_field("conv2d_2"), X)):
        assert min(text.get_fontsize() for text in fig.findobj(lambda artist: hasattr(artist, "get_fontsize"))) >= 8


def test_spatial_dropout_is_as_invisible_as_dropout():
    from deltarule.figures.frame import with_activation

    taps = dict.fromkeys((f"{visit.path}/activation" for visit in NET.plan.visits), X)
    assert with_activation(NET, taps) == ["conv2d_1", "conv2d_2", "dense_1"]


@pytest.mark.parametrize(("ask", "kind", "message"), [
    (lambda: figures.filters(NET, "dense_1"), DeltaruleError, r"dense_1 has no kernels to draw; conv2d_1, conv2d_2 have some"),
    (lambda: figures.filters(NET, "conv2d_1", channel=1), DeltaruleError, r"conv2d_1 has 1 input channel, numbered from 0; received ch"),
    (lambda: figures.filters(3, "conv2d_1"), DeltaruleError, r"filters draws a Network, received int"),
    (lambda: figures.feature_maps(NET.trace(X), "dense_1"), ShapeError, r"dense_1 has no feature maps \(\*space, channels\), its activati"),
    (lambda: figures.feature_maps(NET.trace(X), "conv2d_1", 3), DeltaruleError, r"there are 3 rows in the trace, numbered from 0; receive"),
    (lambda: figures.feature_maps(NET, "conv2d_1"), DeltaruleError, r"feature_maps expected what net\.trace\(x\) returns, received Networ"),
    (lambda: figures.saliency(np.ones((2, 3)), np.ones((2, 3))), ShapeError, r"saliency expected images \(n, height, width\), with 1 or 3"),
    (lambda: figures.saliency(X, np.ones((3, 9, 6))), ShapeError, r"the maps 'saliency' expected shape \(3, 9, 7\), one for each image, r"),
    (lambda: figures.saliency(X, np.full((3, 9, 7), np.nan)), DataError, r"the maps 'saliency' hold values that are not finite"),
    (lambda: figures.saliency(X, np.ones((3, 9, 7)), ["a"]), DeltaruleError, r"titles expected 3 words, one for each image, received 1"),
    (lambda: figures.receptive_field(NET), DeltaruleError, r"receptive_field draws what net\.receptive_field\(path\) returns, received Ne"),
    (lambda: figures.receptive_field(dr.Network([dr.Conv3D(2, 3)], (5, 5, 5, 1)).receptive_field("conv3d_1")), ShapeError,
     r"receptive_field draws images and sequences; of volumes ask field\.of\(unit\)"),
])
def test_mistakes(ask, kind, message):
    with pytest.raises(kind, match=message):
        ask()
