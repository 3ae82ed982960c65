"""Pooling: the textbook, XLA's and SciPy's windows, the order of equal maxima, sizes, small shifts (row 30), and every error text."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from scipy import ndimage
from twins import run

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.ops.compiling import QUICK
from deltarule.ops.pooling import Window, average_pool, first_max, max_pool

N, CHANNELS = 3, 2
KINDS = {("max", 1): dr.MaxPool1D, ("max", 2): dr.MaxPool2D, ("max", 3): dr.MaxPool3D,
         ("average", 1): dr.AveragePool1D, ("average", 2): dr.AveragePool2D, ("average", 3): dr.AveragePool3D}


def with_way_back(layer, x, dy_of=np.cos):
    """(h, dL/dx) of a layer without parameters, where dL/dh is a function of position alone; one small program."""
    def both(x):
        h, back = jax.vjp(lambda x: forward(layer, {}, {}, x, dtype=str(x.dtype), training=True)[0].h, x)
        dh = jnp.asarray(dy_of(np.arange(h.size, dtype=float)).reshape(h.shape), h.dtype)
        return h, back(dh)[0], dh

    return jax.tree.map(np.asarray, jax.jit(both, compiler_options=QUICK)(x))


def expect_twin(layer, x):
    """A layer equals its twin, forward and backward, in float64 to 1e-10 and in float32 to 1e-5."""
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            h, dx, dh = with_way_back(layer, jnp.asarray(x, dtype))
        expected, back = run(layer, {}, {}, np.asarray(x, float), True)
        assert h.dtype == dx.dtype == dtype
        np.testing.assert_allclose(h, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(dx, back(np.asarray(dh, float))[0], rtol=tolerance, atol=tolerance)


@st.composite
def pools(draw):
    """A pooling layer and the space that it is put over."""
    kind, axes = draw(st.sampled_from(sorted(KINDS)))
    window = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    stride = draw(st.one_of(st.none(), st.integers(1, 3), st.tuples(*[st.integers(1, 3)] * axes)))
    pairs = st.tuples(*(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in window))
    padding = draw(st.one_of(st.sampled_from(["valid", "same"]), pairs))
    space = tuple(draw(st.sampled_from([3, 5, 7] if axes < 3 else [3, 5])) for _ in range(axes))
    return KINDS[kind, axes](window, stride, padding, draw(st.sampled_from(["floor", "ceil"]))), space


@settings(max_examples=40)
@given(pools(), st.integers(0, 10**6))
def test_pooling_is_the_textbooks_and_refuses_what_it_refuses(drawn, seed):
    """On whole numbers from -2 to 2, so that most windows hold equal maxima."""
    layer, space = drawn
    x = np.random.default_rng(seed).integers(-2, 3, (N, *space, CHANNELS))
    try:
        run(layer, {}, {}, x, True)
    except DeltaruleError:
        with pytest.raises(ShapeError, match=r"would cover padding only; use rounding='floor' or less padding"):
            dr.Network(layer, (*space, CHANNELS))
    else:
        expect_twin(layer, x)


@pytest.mark.parametrize("layer", [dr.GlobalMaxPool(), dr.GlobalAveragePool(), dr.AdaptiveMaxPool((2, 3)), dr.AdaptiveAveragePool((3, 4)),
                                   dr.AdaptiveMaxPool(5), dr.AdaptiveAveragePool(1)], ids=repr)
def test_global_and_adaptive_pooling_are_windows_of_their_own(layer):
    expect_twin(layer, np.random.default_rng(2).integers(-1, 2, (N, 5, 7, CHANNELS)))


@pytest.mark.parametrize("space", [(11,), (5, 3, 2)], ids=repr)
def test_global_pooling_in_one_and_three_dimensions(space):
    x = np.random.default_rng(2).integers(-1, 2, (N, *space, CHANNELS))
    expect_twin(dr.GlobalMaxPool(), x)
    expect_twin(dr.GlobalAveragePool(), x)


@pytest.mark.parametrize(("size", "stride", "before", "after"), [(2, 2, 0, 0), (3, 2, 1, 1), (3, 1, 0, 2), (2, 3, 0, 0)])
def test_windows_are_those_of_xla(size, stride, before, after):
    """lax.reduce_window and its own backward pass, in float64 and without equal maxima."""
    windows = (Window(size, stride, before, after),) * 2
    shape, strides, padding = (1, size, size, 1), (1, stride, stride, 1), ((0, 0), (before, after), (before, after), (0, 0))

    def compared(x):
        y, back = jax.vjp(lambda x: max_pool(x, windows), x)
        expected, expected_back = jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, shape, strides, padding), x)
        total = lax.reduce_window(x, 0.0, lax.add, shape, strides, padding)
        there = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, shape, strides, padding)
        return (y, back(jnp.cos(y))[0], average_pool(x, windows)), (expected, expected_back(jnp.cos(y))[0], total / there)

    with jax.enable_x64(True):
        ours, theirs = jax.jit(compared)(jnp.asarray(np.random.default_rng(3).permutation(13 * 11 * 2).reshape(1, 13, 11, 2) / 7.0))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_windows_are_scipys_filters():
    """Filters of 3 x 5 that look forward from each value, taken at every second place."""
    x = np.random.default_rng(4).normal(size=(17, 19))
    y, mean = (np.asarray(dr.Network(kind((3, 5), stride=2), (17, 19, 1), dtype="float64").predict(x[None, :, :, None]))[0, :, :, 0]
               for kind in (dr.MaxPool2D, dr.AveragePool2D))
    np.testing.assert_allclose(y, ndimage.maximum_filter(x, (3, 5))[1:-1:2, 2:-2:2], rtol=1e-12)
    np.testing.assert_allclose(mean, ndimage.uniform_filter(x, (3, 5))[1:-1:2, 2:-2:2], rtol=1e-10, atol=1e-12)


def test_the_first_of_equal_maxima_gets_the_error():
    x = np.zeros((1, 4, 4, 1), "float32")
    for windows, expected in ((Window(2, 2), [[1, 0, 1, 0], [0] * 4, [1, 0, 1, 0], [0] * 4]),
                              (Window(3, 1), [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4])):
        gradient = jax.jit(jax.grad(lambda x, at=(windows, windows): jnp.sum(max_pool(x, at))), compiler_options=QUICK)(x)
        np.testing.assert_array_equal(gradient[0, :, :, 0], expected)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(first_max(x, 1)))(np.ones((2, 3), "float32")), [[1, 0, 0]] * 2)


def test_the_lectures_kind_of_example():
    x = np.array([[1, 3, 2, 1], [4, 6, 6, 8], [3, 1, 1, 0], [1, 2, 2, 4]], float)[None, :, :, None]
    pooled = [np.asarray(dr.Network(layer, (4, 4, 1)).predict(x)).reshape(-1).tolist()
              for layer in (dr.MaxPool2D(2), dr.AveragePool2D(2), dr.GlobalMaxPool(), dr.GlobalAveragePool())]
    assert pooled == [[6, 8, 3, 4], [3.5, 4.25, 1.75, 1.75], [8], [2.8125]]


def test_pooling_does_not_mind_small_shifts():
    """Row 30: a bright pixel anywhere, shifted by s, leaves max pooling over k x k as it was in (k - s) / k of all places."""
    places = np.eye(24 * 24, dtype="float32").reshape(-1, 24, 24, 1)
    for k, s in ((2, 1), (3, 1), (4, 1), (4, 3)):
        inside = [r * 24 + c for r, c in itertools.product(range(24), range(24)) if c // k < 24 // k - 1]
        pooled = np.asarray(max_pool(jnp.asarray(places), (Window(k, k),) * 2)).reshape(len(places), -1)
        moved = pooled[[place + s for place in inside]]
        same = np.mean(np.all(moved == pooled[inside], axis=1))
        assert same == pytest.approx((k - s) / k, abs=1e-12)
    x = np.random.default_rng(0).normal(size=(1, 24, 24, 3)).astype("float32")
    shifted = np.roll(x, (2, 5), (1, 2))
    np.testing.assert_array_equal(dr.Network(dr.GlobalMaxPool(), (24, 24, 3)).predict(shifted),
                                  dr.Network(dr.GlobalMaxPool(), (24, 24, 3)).predict(x))


@given(st.integers(1, 31), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["floor", "ceil"]))
def test_output_sizes(H, k, S, before, after, rounding):
    """H_out = (H - k + P) / S + 1, rounded as asked; "same" is H / S, rounded up."""
    (same,) = dr.MaxPool1D(k, S, "same").windows((H,))
    assert (H + same.before + same.after - k) // S + 1 == -(-H // S)
    if max(before, after) < k <= H + before + after:
        expected = textbook.output_size(H, k, S, (before, after), rounding=rounding)
        layer = dr.MaxPool1D(k, S, ((before, after),), rounding)
        if (expected - 1) * S - before < H:
            (window,) = layer.windows((H,))
            assert (H + window.before + window.after - k) // S + 1 == expected
        else:
            with pytest.raises(ShapeError, match="padding only"):
                layer.windows((H,))


def test_members_of_an_ensemble_pool_together():
    x = np.random.default_rng(1).integers(0, 3, (5, N, 7, 6, CHANNELS)).astype("float32")

    def both(x, windows):
        y, back = jax.vjp(lambda x: max_pool(x, windows), x)
        return y, back(jnp.cos(y))[0]

    for windows in ((Window(2, 2),) * 2, (Window(3, 2, 1, 1),) * 2):
        together = jax.jit(jax.vmap(lambda x, at=windows: both(x, at)), compiler_options=QUICK)(x)
        alone = jax.jit(lambda x, at=windows: both(x, at), compiler_options=QUICK)
        for i in range(len(x)):
            for one, other in zip(together, alone(x[i]), strict=True):
                np.testing.assert_array_equal(one[i], other)


def test_numbers_that_are_not_finite_are_not_hidden():
    x = jnp.array([[[1.0], [np.nan], [-np.inf], [2.0]]])
    np.testing.assert_array_equal(max_pool(x, (Window(2, 2),))[0, :, 0], [np.nan, 2.0])
    np.testing.assert_array_equal(average_pool(x, (Window(2, 2),))[0, :, 0], [np.nan, -np.inf])


def test_lists_mean_tuples():
    layer = dr.MaxPool2D([2, 3], [1, 2], [[0, 1], 1])
    assert layer == dr.MaxPool2D((2, 3), (1, 2), ((0, 1), 1))
    assert hash(dr.AdaptiveMaxPool([2, 3])) == hash(dr.AdaptiveMaxPool((2, 3)))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.MaxPool2D(0), r"^MaxPool2D expected window to be a whole number from 1 on, received 0$"),
    (lambda: dr.MaxPool2D(2.5), r"MaxPool2D expected window to be a whole number from 1 on, received 2\.5"),
    (lambda: dr.MaxPool1D(2, stride=0), r"MaxPool1D expected stride to be a whole number from 1 on, received 0"),
    (lambda: dr.AveragePool3D(2, stride=(1, True, 2)), r"AveragePool3D expected stride to be a whole number from 1 on, received \(1, True"),
    (lambda: dr.MaxPool2D((2, 2, 2)), r"MaxPool2D expected window as one value or a tuple of 2, one for each axis of space, received \(2"),
    (lambda: dr.AveragePool1D(2, padding=(1, 0)), r"AveragePool1D expected padding as one value or a tuple of 1, one for each axis"),
    (lambda: dr.AveragePool2D(3, padding=-1), r"padding to be whole numbers from 0 on, for each axis one or a pair \(before, after\)"),
    (lambda: dr.AveragePool2D((3, 2), padding=2), r"AveragePool2D expected padding below the window of 2, received 2; a window over"),
    (lambda: dr.MaxPool2D(3, padding="full"), r"MaxPool2D has no padding 'full'; known: same, valid"),
    (lambda: dr.MaxPool2D(3, padding="smae"), r"MaxPool2D has no padding 'smae'; did you mean 'same'\?"),
    (lambda: dr.MaxPool2D(3, rounding="ceiling"), r"MaxPool2D has no rounding 'ceiling'; did you mean 'ceil'\?"),
    (lambda: dr.AdaptiveMaxPool(0), r"AdaptiveMaxPool expected size to be a whole number from 1 on, received 0"),
    (lambda: dr.AdaptiveAveragePool((3, "2")), r"AdaptiveAveragePool expected size to be a whole number from 1 on, received \(3, '2'\)"),
])
def test_mistakes_in_settings(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (dr.MaxPool2D(5), (28, 3, 1), r"^MaxPool2D has a window of 5 over 3 values with padding \(0, 0\); it does not fit once: use a smaller"),
    (dr.MaxPool1D(2, padding=1, rounding="ceil"), (5, 1),
     r"^MaxPool1D: the last window over 5 values with padding \(1, 1\) and stride 2 would cover padding only; use rounding='floor'"),
    (dr.MaxPool2D(2), (28, 28), r"MaxPool2D expected images \(height, width, channels\), received inputs of shape \(28, 28\); add the axis "
                                r"of channels with x\[\.\.\., None\]"),
    (dr.MaxPool1D(2), (28, 28, 1), r"MaxPool1D expected sequences \(steps, channels\), received inputs of shape \(28, 28, 1\); reshape"),
    (dr.AveragePool3D(2), (7,), r"AveragePool3D expected volumes \(depth, height, width, channels\), received inputs of shape \(7,\)"),
    (dr.GlobalMaxPool(), (7,), r"GlobalMaxPool expected sequences \(steps, channels\), images .*volumes .*received inputs of shape \(7,\)"),
    (dr.GlobalAveragePool(), (7,), r"GlobalAveragePool expected sequences .*received inputs of shape \(7,\); put it before Flatten"),
    (dr.AdaptiveMaxPool(2), (7,), r"AdaptiveMaxPool expected sequences .*received inputs of shape \(7,\)"),
    (dr.AdaptiveMaxPool((5, 2)), (4, 4, 1), r"AdaptiveMaxPool cannot make 5 values of 4; it makes maps smaller, UpSample makes them la"),
    (dr.AdaptiveAveragePool((2, 2)), (4, 1), r"AdaptiveAveragePool expected size as one value or a tuple of 1, one for each axis of space"),
])
def test_inputs_that_do_not_fit(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network(layer, shape)
