"""Saliency, inputs that excite a unit, patches: against finite differences, completeness, NumPy and closed forms."""

import jax
import numpy as np
import pytest
from oracles import numeric_gradient
from scipy.ndimage import zoom

import deltarule as dr
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.seeing import METHODS

RNG = np.random.default_rng(3)


def convnet(activation="tanh", last="softmax", dtype="float64", shape=(9, 7, 2), pool=None):
    layers = [dr.Conv2D(5, 3, activation), pool or dr.MaxPool2D(2), dr.Conv2D(4, 2, activation), dr.Flatten(), dr.Dense(3, last)]
    return dr.Network(layers, shape, seed=1, dtype=dtype)


def logits(net, x):
    """a of the last layer, from the trace."""
    return net.trace(x)["dense_1"].preactivation


NET, X = convnet(), RNG.normal(size=(5, 9, 7, 2))


def test_the_gradient_against_finite_differences_of_the_logit():
    maps = dr.saliency(NET, X, target=[0, 1, 2, 0, 1])
    assert maps.shape == (5, 9, 7)
    for row in (1, 4):
        slope = numeric_gradient(lambda x: logits(NET, x[None])[0, 1], X[row].copy())
        np.testing.assert_allclose(maps[row], slope.sum(axis=-1), atol=1e-8)


def test_without_a_target_the_predicted_class_is_explained():
    predicted = NET.predict(X).argmax(axis=1)
    assert len(set(predicted)) > 1
    for method in METHODS:
        np.testing.assert_array_equal(dr.saliency(NET, X, method=method), dr.saliency(NET, X, predicted, method))


@pytest.mark.parametrize(("activation", "steps", "tolerance"), [("tanh", 64, 1e-4), ("relu", 256, 1e-2)])
@pytest.mark.parametrize("baseline", [0.0, RNG.normal(size=(9, 7, 2))])
def test_integrated_gradients_are_complete(activation, steps, tolerance, baseline):
    """They sum to f(x) - f(baseline) (Sundararajan, Taly and Yan 2017, proposition 1); kinks of a ReLU cost one step each."""
    net = convnet(activation, pool=dr.AveragePool2D(2))
    maps = dr.saliency(net, X, 2, "integrated_gradients", steps=steps, baseline=baseline)
    before = logits(net, np.broadcast_to(baseline, (1, 9, 7, 2)))[0, 2]
    expected = logits(net, X)[:, 2] - before
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), expected, atol=tolerance * np.abs(expected).max())


def test_integrated_gradients_of_a_linear_network_are_weights_times_inputs():
    net = dr.Network([dr.Dense(3)], 4, seed=2)
    x = RNG.normal(size=(6, 4)).astype("float32")
    maps = dr.saliency(net, x, 1, "integrated_gradients", steps=3)
    np.testing.assert_allclose(maps, x * net.params["dense_1"]["weights"][:, 1], rtol=1e-5)
    np.testing.assert_allclose(dr.saliency(net, x, 1, "occlusion"), maps, rtol=1e-4, atol=1e-6)


def test_smoothgrad_without_noise_is_the_gradient_and_with_noise_the_mean_of_gradients():
    gradient = dr.saliency(NET, X, 0)
    np.testing.assert_allclose(dr.saliency(NET, X, 0, "smoothgrad", noise=0.0, samples=3), gradient, atol=1e-14)
    one = dr.saliency(NET, X[:1], 0, "smoothgrad", noise=0.2, samples=2, seed=5)
    with jax.enable_x64(True):
        noise = np.stack([jax.random.normal(key, (9, 7, 2), "float64") for key in jax.random.split(jax.random.key(5), 2)])
    noisy = X[:1] + 0.2 * np.ptp(X[0]) * noise
    np.testing.assert_allclose(one[0], dr.saliency(NET, noisy, 0).mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(one, dr.saliency(NET, X, 0, "smoothgrad", noise=0.2, samples=2, seed=5)[:1], atol=1e-14)


def test_grad_cam_against_numpy():
    """alpha by finite differences of the layers behind, the maps from the trace."""
    net = dr.Network([dr.Conv2D(5, 3, "relu"), dr.MaxPool2D(2), dr.Conv2D(4, 2, "relu"), dr.GlobalAveragePool(), dr.Dense(3, "softmax")],
                     (10, 8, 1), seed=3, dtype="float64")
    x = RNG.normal(size=(2, 10, 8, 1))
    A, W = net.trace(x)["conv2d_2"].activation, net.params["dense_1"]["weights"]
    P, Q = A.shape[1:3]
    coarse = np.maximum(np.einsum("npqc,c->npq", A, W[:, 2] / (P * Q)), 0)
    found = dr.saliency(net, x, 2, "grad_cam")
    expected = np.stack([zoom(each, (10 / P, 8 / Q), order=1, mode="nearest", grid_mode=True) for each in coarse])
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-12)
    first = dr.saliency(net, x, 2, "grad_cam", layer="conv2d_1")
    assert first.shape == (2, 10, 8)
    assert first.min() >= 0
    assert not np.allclose(first, found)


def test_occlusion_against_direct_differences():
    maps = dr.saliency(NET, X, 1, "occlusion", window=(3, 2), stride=(3, 2), baseline=0.5)
    total, count = np.zeros((9, 7)), np.zeros((9, 7))
    for top in (0, 3, 6):
        for left in (0, 2, 4, 5):
            box = slice(top, top + 3), slice(left, left + 2)
            covered = X[2:3].copy()
            covered[(0, *box)] = 0.5
            total[box] += logits(NET, X[2:3])[0, 1] - logits(NET, covered)[0, 1]
            count[box] += 1
    np.testing.assert_allclose(maps[2], total / count, atol=1e-12)


def test_sequences_tables_volumes_and_images_without_channels():
    for layers, shape, maps in [
            ([dr.Conv1D(3, 3, "relu"), dr.GlobalMaxPool(), dr.Dense(2, "softmax")], (11, 2), (11,)),
            ([dr.Dense(5, "relu"), dr.Dense(1, "sigmoid")], (6,), (6,)),
            ([dr.Conv3D(2, 2, "relu"), dr.Flatten(), dr.Dense(2, "softmax")], (3, 3, 2, 1), (3, 3, 2)),
            ([dr.Flatten(), dr.Dense(2, "softmax")], (4, 3), (4, 3))]:
        net = dr.Network(layers, shape, seed=1)
        x = RNG.normal(size=(3, *shape)).astype("float32")
        for method in ("occlusion", "grad_cam"):
            if method != "grad_cam" or any(isinstance(layer, (dr.Conv1D, dr.Conv3D)) for layer in layers):
                found = dr.saliency(net, x, method=method)
                assert found.shape == (3, *maps), method
                assert np.isfinite(found).all()
        with pytest.raises(DeltaruleError):
            dr.saliency(net, x, 7)


def test_rows_do_not_depend_on_their_neighbours_and_bytes_are_taken():
    net = convnet(dtype="float32", shape=(9, 7, 1))
    x = RNG.integers(0, 255, (37, 9, 7, 1)).astype("uint8")
    for method in METHODS:
        maps = dr.saliency(net, x, 0, method)
        np.testing.assert_allclose(maps[34], dr.saliency(net, x[34:35], 0, method)[0], rtol=1e-4, atol=1e-4 * np.abs(maps[34]).max())


# ------------------------------------------------------------------ maximize


def test_the_input_that_excites_a_linear_filter_most_is_the_filter():
    """Cauchy and Schwarz: w x is largest on a sphere where x is w, and is there |w| times the radius."""
    net = dr.Network([dr.Conv2D(4, (3, 5), "relu")], (9, 11, 2), seed=2)
    best = dr.maximize(net, "conv2d_1", smooth=0.0, norm=2.0)
    assert best.shape == (4, 9, 11, 2)
    W = net.params["conv2d_1"]["weights"]
    for m in range(4):
        expected = np.zeros((9, 11, 2))
        expected[3:6, 3:8] = 2 * W[..., m] / np.linalg.norm(W[..., m])
        np.testing.assert_allclose(best[m], expected, atol=1e-3)
        a = net.trace(best[m][None])["conv2d_1"].preactivation[0, 3, 3, m]
        assert a == pytest.approx(2 * np.linalg.norm(W[..., m]), rel=1e-4)


def test_it_excites_more_than_any_row_of_the_same_norm_and_stays_in_the_receptive_field():
    net = convnet("relu")
    best = dr.maximize(net, "conv2d_2", (1, 0, 2), smooth=0.0)
    field = net.receptive_field("conv2d_2")
    inside = field.pixels((1, 0))
    assert np.linalg.norm(best) == pytest.approx(0.5 * np.sqrt(2 * inside.sum()))
    assert np.linalg.norm(best[~inside]) < 0.02 * np.linalg.norm(best)
    rows = RNG.normal(size=(500, 9, 7, 2)) * inside[..., None]
    rows *= np.linalg.norm(best) / np.sqrt(np.sum(rows ** 2, axis=(1, 2, 3), keepdims=True))
    assert net.trace(best[None])["conv2d_2"].preactivation[0, 1, 0, 2] > 1.2 * net.trace(rows)["conv2d_2"].preactivation[:, 1, 0, 2].max()


def test_smoothing_makes_neighbours_alike_and_jitter_asks_for_what_may_be_moved():
    net = convnet("relu", shape=(15, 15, 1))

    def roughness(x):
        return np.sum(np.diff(x, axis=0) ** 2) + np.sum(np.diff(x, axis=1) ** 2)

    plain = dr.maximize(net, "dense_1", 1, smooth=0.0)
    assert roughness(dr.maximize(net, "dense_1", 1, smooth=0.2)) < 0.8 * roughness(plain)
    shifts = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    moved = [np.mean(logits(net, np.stack([np.roll(x, shift, (0, 1)) for shift in shifts]))[:, 1])
             for x in (plain, dr.maximize(net, "dense_1", 1, smooth=0.0, jitter=2))]
    assert moved[1] > 1.2 * moved[0]
    np.testing.assert_array_equal(plain, dr.maximize(net, "dense_1", 1, smooth=0.0))
    table = dr.Network([dr.Dense(3)], 5)
    assert dr.maximize(table, "dense_1", [2, 0]).shape == (2, 5)


# --------------------------------------------------------------- top patches


def test_the_strongest_patches_are_the_largest_activations_of_the_trace():
    net = dr.Network([dr.Conv2D(4, 3, "relu", padding="same"), dr.MaxPool2D(2), dr.Conv2D(5, 3, padding="same")], (12, 8, 2), seed=4)
    x = RNG.normal(size=(50, 12, 8, 2)).astype("float32")
    found = dr.top_patches(net, "conv2d_2", 3, x, 7)
    a = net.trace(x)["conv2d_2"].preactivation[..., 3]
    strongest = a.max(axis=(1, 2))
    np.testing.assert_array_equal(found.rows, np.argsort(-strongest)[:7])
    np.testing.assert_allclose(found.values, strongest[found.rows], rtol=1e-5)
    np.testing.assert_allclose(a[(found.rows, *found.units.T)], found.values, rtol=1e-5)
    field = net.receptive_field("conv2d_2")
    assert found.images.shape == (7, 8, 8, 2) == (7, *field.size, 2)
    for patch, row, unit in zip(found.images, found.rows, found.units, strict=True):
        seen = x[row][field.of(tuple(unit))]
        assert np.linalg.norm(patch) == pytest.approx(np.linalg.norm(seen), rel=1e-5)
        wide = np.pad(x[row], ((8, 8), (8, 8), (0, 0)))
        low = [int(c - 3.5) + 8 for c in field.centre(tuple(unit))]
        np.testing.assert_array_equal(patch, wide[low[0]:low[0] + 8, low[1]:low[1] + 8])
    assert dr.top_patches(convnet(), "dense_1", 2, X, 3).images.shape == (3, 8, 6, 2)       # all that it sees


@pytest.mark.parametrize(("ask", "kind", "message"), [
    (lambda: dr.saliency(NET, X, method="gradcam"), DeltaruleError, r"saliency has no method 'gradcam'; did you mean 'grad_cam'\?"),
    (lambda: dr.saliency(NET, X[:, :3]), ShapeError, r"x has shape \(5, 3, 7, 2\), the network expects \(n, 9, 7, 2\)"),
    (lambda: dr.saliency(NET, np.full((1, 9, 7, 2), np.nan)), DataError, r"x holds 126 values that are not finite"),
    (lambda: dr.saliency(NET, X, 3), DeltaruleError, r"target expected numbers of outputs from 0 to 2, received 3"),
    (lambda: dr.saliency(NET, X, [0, 1]), ShapeError, r"target expected the number of an output, or one for each of the 5 rows, received"),
    (lambda: dr.saliency(NET, X, 0.5), ShapeError, r"received float64 of shape \(\)"),
    (lambda: dr.saliency(NET, X, method="integrated_gradients", steps=0), DeltaruleError,
     r"steps expected a whole number of at least 1, received 0"),
    (lambda: dr.saliency(NET, X, method="integrated_gradients", baseline=[1.0, 2.0]), ShapeError,
     r"baseline expected a number or an input of shape \(9, 7, 2\), received shape \(2,\)"),
    (lambda: dr.saliency(NET, X, method="smoothgrad", noise=-1.0), DeltaruleError, r"noise expected a finite number of at least 0"),
    (lambda: dr.saliency(NET, X, method="occlusion", window=8), DeltaruleError,
     r"window expected whole numbers from 1 to the size of the input \(9, 7\), received 8"),
    (lambda: dr.saliency(NET, X, method="grad_cam", layer="dense_1"), DeltaruleError,
     r"grad_cam weighs feature maps \(\*space, channels\); dense_1 gives \(3,\); name a layer before Flatten"),
    (lambda: dr.saliency(dr.Network([dr.Dense(2)], 3), np.ones((1, 3)), method="grad_cam"), DeltaruleError,
     r"grad_cam weighs feature maps, and this network has no convolution; use another method"),
    (lambda: dr.saliency(dr.Network([dr.Conv1D(2, 3)], (5, 1)), np.ones((1, 5, 1))), ShapeError,
     r"saliency explains one row of outputs, \(classes,\); this network gives \(3, 2\)"),
    (lambda: dr.saliency("net", X), DeltaruleError, r"saliency looks into a Network, received str"),
    (lambda: dr.maximize(NET, "conv2d_3"), DeltaruleError, r"there is no layer 'conv2d_3' in this network; it has conv.*did you mean"),
    (lambda: dr.maximize(NET, "conv2d_1", 5), DeltaruleError,
     r"conv2d_1 has units \(7, 5, 5\), each numbered from 0: name a channel, or a place and a channel; received 5"),
    (lambda: dr.maximize(NET, "conv2d_1", []), DeltaruleError, r"unit expected at least one unit, received an empty list"),
    (lambda: dr.maximize(NET, "conv2d_1", norm=0), DeltaruleError, r"norm expected a finite number above 0, received 0"),
    (lambda: dr.maximize(NET, "conv2d_1", smooth=2), DeltaruleError, r"smooth expected a finite number of at least 0 and at most 1"),
    (lambda: dr.maximize(NET, "conv2d_1", seed=-1), DeltaruleError, r"seed expected a whole number from 0 to 2\*\*32 - 1, received -1"),
    (lambda: dr.saliency(NET, X, method="smoothgrad", seed="a"), DeltaruleError, r"seed expected a whole number .* received 'a'"),
    (lambda: dr.maximize(1, "conv2d_1"), DeltaruleError, r"maximize looks into a Network, received int"),
    (lambda: dr.top_patches(NET, "conv2d_1", 9, X), DeltaruleError, r"conv2d_1 has 5 channels, numbered from 0; received channel 9"),
    (lambda: dr.top_patches(NET, "conv2d_1", 1, X, 0), DeltaruleError, r"count expected a whole number of at least 1, received 0"),
    (lambda: dr.top_patches(dr.Network([dr.Dense(2)], 3), "dense_1", 1, np.ones((2, 3))), DeltaruleError,
     r"a receptive field is a part of an image"),
])
def test_errors(ask, kind, message):
    with pytest.raises(kind, match=message):
        ask()
