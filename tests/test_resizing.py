"""Images made larger, bordered and cut, groups of channels normalized, whole maps dropped: against SciPy, NumPy and the textbook."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from test_pooling import expect_twin
from twins import run

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.ops.compiling import QUICK
from deltarule.ops.noise import step_key

RNG = np.random.default_rng(7)
FACTOR, PAIR = st.integers(1, 3), st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def resizers(draw):
    """A layer that changes sizes, and the space that it is put over."""
    axes = draw(st.integers(1, 3))
    layer = draw(st.one_of(
        st.builds(dr.UpSample, st.one_of(FACTOR, st.tuples(*[FACTOR] * axes)), st.sampled_from(["nearest", "linear"])),
        st.builds(dr.Pad, st.one_of(st.integers(0, 2), st.tuples(*[PAIR] * axes)), st.sampled_from(["zeros", "reflect", "circular"])),
        st.builds(dr.Crop, st.one_of(st.integers(0, 1), st.tuples(*[PAIR] * axes)))))
    return layer, tuple(draw(st.sampled_from([5, 7] if axes < 3 else [5])) for _ in range(axes))


@settings(max_examples=30)
@given(resizers(), st.integers(0, 10**6))
def test_resizing_is_its_matrices_forward_and_backward(drawn, seed):
    layer, space = drawn
    expect_twin(layer, np.random.default_rng(seed).normal(size=(2, *space, 3)).astype("float32"))


@pytest.mark.parametrize(("mode", "order"), [("nearest", 0), ("linear", 1)])
def test_upsampling_is_scipys_zoom(mode, order):
    x = RNG.normal(size=(5, 7))
    y = dr.Network(dr.UpSample((2, 3), mode), (5, 7, 1), dtype="float64").predict(x[None, :, :, None])[0, :, :, 0]
    np.testing.assert_allclose(y, ndimage.zoom(x, (2, 3), order=order, mode="nearest", grid_mode=True), rtol=1e-10, atol=1e-12)


def test_linear_upsampling_keeps_ramps_straight():
    ramp = np.arange(7.0)[None, :, None]
    y = dr.Network(dr.UpSample(4, "linear"), (7, 1), dtype="float64").predict(ramp)[0, :, 0]
    np.testing.assert_allclose(np.diff(y)[2:-2], 0.25, rtol=1e-12)
    assert y[0] == 0
    assert y[-1] == 6


@pytest.mark.parametrize(("mode", "numpys"), [("zeros", "constant"), ("reflect", "reflect"), ("circular", "wrap")])
def test_borders_are_numpys_and_crop_takes_them_away(mode, numpys):
    x = RNG.normal(size=(2, 3, 5, 2)).astype("float32")
    border = ((1, 2), (0, 3))
    y = dr.Network(dr.Pad(border, mode), (3, 5, 2)).predict(x)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), *border, (0, 0)), mode=numpys))
    np.testing.assert_array_equal(dr.Network(dr.Crop(border), y.shape[1:]).predict(y), x)


def test_average_pooling_undoes_upsampling():
    x = RNG.normal(size=(2, 3, 5, 2)).astype("float32")
    there_and_back = dr.Network([dr.UpSample((2, 3)), dr.AveragePool2D((2, 3))], (3, 5, 2))
    np.testing.assert_allclose(there_and_back.predict(x), x, rtol=1e-6, atol=1e-6)


def normalized(groups, x):
    """GroupNorm without its learnt part, in float64."""
    return np.asarray(dr.Network(dr.GroupNorm(groups), x.shape[1:], dtype="float64").predict(x))


def test_one_group_is_layer_norm_over_the_image_and_one_for_each_channel_is_instance_norm():
    x = RNG.normal(3, 2, size=(3, 5, 7, 6))
    ones, zeros = np.ones(5 * 7 * 6), np.zeros(5 * 7 * 6)
    expected = textbook.layer_norm(x.reshape(3, -1), ones, zeros).y.reshape(x.shape)
    np.testing.assert_allclose(normalized(1, x), expected, rtol=1e-10, atol=1e-10)
    alone = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalized(6, x), alone, rtol=1e-10, atol=1e-10)
    pairs = np.concatenate([normalized(1, x[..., i:i + 2]) for i in (0, 2, 4)], axis=-1)
    np.testing.assert_allclose(normalized(3, x), pairs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (3, 5, 6)], ids=repr)
def test_group_norm_and_its_gradients_are_the_textbooks(shape):
    net = dr.Network(dr.GroupNorm(2), shape, dtype="float64")
    params = {"gamma": RNG.normal(size=6), "beta": RNG.normal(size=6)}
    x, dh = RNG.normal(2, 3, size=(2, 7, *shape))
    with jax.enable_x64(True):
        def both(params, x, dh):
            h, back = jax.vjp(lambda params, x: forward(net.layer, params, {}, x, dtype="float64", training=True)[0].h, params, x)
            return h, *back(dh)

        h, of_params, of_x = jax.jit(both, compiler_options=QUICK)(params, x, dh)
    expected, back = run(net.layer, params, {}, x, True)
    expected_x, expected_params = back(dh)
    np.testing.assert_allclose(h, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(of_x, expected_x, rtol=1e-9, atol=1e-10)
    for name, slope in expected_params.items():
        np.testing.assert_allclose(of_params[name], slope, rtol=1e-9, atol=1e-10)


def test_spatial_dropout_drops_whole_maps_and_keeps_the_mean():
    x = jnp.ones((97, 5, 3, 101))

    def drawn(step, training=True):
        return np.asarray(forward(dr.SpatialDropout(0.3), {}, {}, x, key=step_key(0, step), training=training)[0].h)

    first = drawn(0)
    np.testing.assert_array_equal(first, np.broadcast_to(first[:, :1, :1], first.shape))
    assert set(np.unique(first).round(5)) == {0.0, np.float32(1 / 0.7).round(5)}
    assert first.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(first, drawn(0))
    assert np.mean((drawn(1) > 0) == (first > 0)) < 0.7
    np.testing.assert_array_equal(drawn(0, training=False), x)


def test_reshape_is_the_inverse_of_flatten():
    x = RNG.normal(size=(3, 2, 5, 7)).astype("float32")
    np.testing.assert_array_equal(dr.Network([dr.Flatten(), dr.Reshape([2, 5, 7])], (2, 5, 7)).predict(x), x)
    assert dr.Reshape(70) == dr.Reshape((70,))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.UpSample(0), r"^UpSample expected factor to be a whole number from 1 on, received 0$"),
    (lambda: dr.UpSample((2, 1.5)), r"UpSample expected factor to be a whole number from 1 on, received \(2, 1\.5\)"),
    (lambda: dr.UpSample(2, "bilinear"), r"UpSample has no mode 'bilinear'; did you mean 'linear'\?"),
    (lambda: dr.Pad(-1), r"Pad expected padding to be whole numbers from 0 on, for each axis one or a pair \(before, after\), received -1"),
    (lambda: dr.Pad(1, "reflct"), r"Pad has no mode 'reflct'; did you mean 'reflect'\?"),
    (lambda: dr.Crop((1, (2, 3, 4))), r"Crop expected cropping to be whole numbers from 0 on, .*received \(1, \(2, 3, 4\)\)"),
    (lambda: dr.GroupNorm(0), r"GroupNorm expected groups to be a whole number of at least 1, received 0"),
    (lambda: dr.GroupNorm(2, epsilon=0), r"GroupNorm expected epsilon above 0, received 0"),
    (lambda: dr.SpatialDropout(1), r"SpatialDropout expected a rate from 0 up to but not 1, received 1"),
    (lambda: dr.Reshape((3, -1)), r"Reshape expected shape to be a whole number from 1 on, received \(3, -1\)"),
])
def test_mistakes_in_settings(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (dr.UpSample(2), (7,), r"^UpSample expected sequences \(steps, channels\), images .*received inputs of shape \(7,\); put it"),
    (dr.UpSample((2, 2)), (7, 3), r"UpSample expected factor as one value or a tuple of 1, one for each axis of space, received \(2, 2\)"),
    (dr.Pad(3, "reflect"), (7, 3, 1), r"Pad in mode 'reflect' can add at most 2 to a side of 3 values, received 3; use less padding or"),
    (dr.Pad(4, "circular"), (7, 3, 1), r"Pad in mode 'circular' can add at most 3 to a side of 3 values, received 4"),
    (dr.Pad(1), (7,), r"Pad expected sequences .*received inputs of shape \(7,\)"),
    (dr.Crop(((3, 4), 0)), (7, 3, 1), r"Crop takes 7 of 7 values away, and none are left; received cropping=\(\(3, 4\), 0\) for inputs of"),
    (dr.Crop(1), (7,), r"Crop expected sequences .*received inputs of shape \(7,\)"),
    (dr.GroupNorm(4), (5, 6), r"GroupNorm expected groups that divide the channels, received groups=4 for 6 channels"),
    (dr.SpatialDropout(0.5), (7,), r"SpatialDropout expected sequences .*received inputs of shape \(7,\)"),
    (dr.Reshape((2, 3)), (7,), r"Reshape cannot make \(2, 3\) of rows of shape \(7,\): 6 values of 7"),
])
def test_inputs_that_do_not_fit(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network(layer, shape)
