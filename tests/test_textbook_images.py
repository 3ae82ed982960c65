"""The textbook's convolution and pooling: SciPy, XLA, differences, the lectures' numbers."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook import (
    average_pool,
    average_pool_backward,
    convolve,
    convolve_backward,
    global_average_pool,
    global_average_pool_backward,
    max_pool,
    max_pool_backward,
    numeric_gradient,
    output_size,
)

AXES = pytest.mark.parametrize("axes", [1, 2, 3])


def assert_gradient(function, theta, gradient):
    """Every entry of the gradient against central differences."""
    for name, slope in numeric_gradient(function, theta).items():
        np.testing.assert_allclose(gradient[name], slope, rtol=1e-6, atol=1e-7, err_msg=name)


def per_axis(draw, axes, *values):
    return tuple(draw(st.sampled_from(values)) for _ in range(axes))


@st.composite
def settings_of_a_convolution(draw, axes):
    """(size, kernel, settings) for which at least one position fits."""
    kernel, dilation = per_axis(draw, axes, 1, 2, 3), per_axis(draw, axes, 1, 2)
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilation, strict=True))
    padding = draw(st.sampled_from(["valid", "same", "full", 1, tuple((i, 2 - i) for i in range(axes))]))
    return size, kernel, {"stride": per_axis(draw, axes, 1, 2, 3), "dilation": dilation, "padding": padding,
                          "groups": draw(st.sampled_from([1, 2])), "rounding": draw(st.sampled_from(["floor", "ceil"]))}


def arrays(seed, size, kernel, groups, n=2, C=2, M=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *size, C)), rng.normal(size=(*kernel, C // groups, M)), rng.normal(size=M)


def sides(padding, H, S, covered):
    """The padding before and after, from the definition of each word."""
    if padding == "same":
        total = max(0, (-(-H // S) - 1) * S + covered - H)
        return (total // 2, total - total // 2)
    if padding in ("valid", "full"):
        return (0, 0) if padding == "valid" else (covered - 1, covered - 1)
    return padding if isinstance(padding, tuple) else (padding, padding)


def convolved_by_scipy(x, K, b, stride, dilation, padding, groups, rounding):
    """Dilation by zeros inside the kernel, stride by leaving positions out, one correlation for each channel and map."""
    axes = x.ndim - 2
    wide = np.zeros((*(d * (k - 1) + 1 for k, d in zip(K.shape[:axes], dilation, strict=True)), *K.shape[axes:]))
    wide[tuple(slice(None, None, d) for d in dilation)] = K
    borders = []
    for i, (H, S, covered) in enumerate(zip(x.shape[1:-1], stride, wide.shape, strict=False)):
        before, after = sides(padding[i] if isinstance(padding, tuple) else padding, H, S, covered)
        beyond = -(H + before + after - covered) % S if rounding == "ceil" else 0
        borders.append((before, after + beyond))
    x = np.pad(x, [(0, 0), *borders, (0, 0)])
    C, M = x.shape[-1] // groups, K.shape[-1] // groups
    maps = [sum(np.stack([signal.correlate(row[..., m // M * C + c], wide[..., c, m], "valid", "direct") for row in x]) for c in range(C))
            for m in range(K.shape[-1])]
    return np.stack(maps, axis=-1)[(slice(None), *(slice(None, None, s) for s in stride))] + b


@AXES
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_convolution_is_scipys_and_its_gradient_that_of_differences(axes, data, seed):
    size, kernel, settings = data.draw(settings_of_a_convolution(axes))
    x, K, b = arrays(seed, size, kernel, settings["groups"], n=2 if axes < 3 else 1)
    y = convolve(x, K, b, **settings)
    np.testing.assert_allclose(y, convolved_by_scipy(x, K, b, **settings), rtol=1e-12, atol=1e-13)
    dy = np.random.default_rng(seed + 1).normal(size=y.shape)
    gradient = convolve_backward(x, K, dy, **settings)
    along = dict(zip("xKb", (np.random.default_rng(seed + 2).normal(size=value.shape) for value in (x, K, b)), strict=True))

    def loss(t):            # along one random direction through everything: quick in three dimensions
        return np.sum(dy * convolve(x + t * along["x"], K + t * along["K"], b + t * along["b"], **settings))

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert sum(np.sum(gradient[name] * along[name]) for name in along) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("size", "kernel", "settings"), [
    ((7,), (3,), {"stride": 2, "padding": "same", "dilation": 2}),
    ((5, 3), (2, 3), {"stride": (2, 1), "padding": ((0, 1), (2, 0)), "groups": 2, "rounding": "ceil"}),
    ((3, 2, 3), (2, 1, 3), {"padding": 1, "stride": (1, 2, 2)}),
])
def test_every_entry_of_the_gradient(size, kernel, settings):
    x, K, b = arrays(0, size, kernel, settings.get("groups", 1), n=1)
    dy = np.random.default_rng(1).normal(size=convolve(x, K, b, **settings).shape)
    assert_gradient(lambda theta: float(np.sum(dy * convolve(theta["x"], theta["K"], theta["b"], **settings))),
                    {"x": x, "K": K, "b": b}, convolve_backward(x, K, dy, **settings))


@pytest.mark.parametrize(("axes", "settings"), [
    (1, {"stride": 2, "dilation": 3}), (2, {"padding": "same", "stride": 2}), (2, {"groups": 2, "padding": 2}), (3, {"padding": "same"}),
])
def test_convolution_is_xlas(axes, settings):
    x, K, _ = arrays(axes, (11, 7, 5)[:axes], (3, 2, 3)[:axes], settings.get("groups", 1))
    letters = "DHW"[:axes]
    P = settings.get("padding", "valid")
    with jax.enable_x64(True):
        expected = jax.lax.conv_general_dilated(
            x, K, [settings.get("stride", 1)] * axes, P.upper() if isinstance(P, str) else [(P, P)] * axes,
            rhs_dilation=[settings.get("dilation", 1)] * axes, feature_group_count=settings.get("groups", 1),
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"))
    np.testing.assert_allclose(convolve(x, K, **settings), expected, rtol=1e-12, atol=1e-13)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3))
def test_output_size_counts_the_positions(H, k, S, P, D):
    covered = D * (k - 1) + 1
    starts = [start for start in range(0, H + 2 * P, S) if start + covered <= H + 2 * P]
    if not starts:
        with pytest.raises(DeltaruleError, match=r"does not fit into .* the output would have no position"):
            output_size(H, k, S, (P, P), D)
    else:
        assert output_size(H, k, S, (P, P), D) == len(starts)
        left_over = starts[-1] + covered < H + 2 * P            # the ceiling lets one more window stick out
        assert output_size(H, k, S, (P, P), D, "ceil") == len(starts) + left_over


def test_numbers_of_the_lecture():
    assert output_size(32, 3, padding=(1, 1)) == 32             # the 3x3 kernel that keeps the size
    image, K = np.ones((1, 32, 32, 3)), np.ones((3, 3, 3, 64))
    assert convolve(image, K).shape == (1, 30, 30, 64)
    assert convolve(image, K)[0, 0, 0].sum() == 1728            # Baron: 3 * 3 * 3 * 64 weights, each of them used once
    assert max_pool(image, 2).shape == (1, 16, 16, 3)


def test_shifting_the_input_shifts_the_maps():
    x, K, _ = arrays(3, (11, 13), (3, 3), 1)
    np.testing.assert_array_equal(convolve(np.roll(x, 2, axis=1), K)[:, 2:], convolve(x, K)[:, :-2])


POOLS = pytest.mark.parametrize(("pool", "backward"), [(max_pool, max_pool_backward), (average_pool, average_pool_backward)])


def pooled_by_loops(reduce, x, window, stride, sides, output):
    """One window after the other, over the values that are there."""
    y = np.empty((len(x), *output, x.shape[-1]))
    for o in np.ndindex(*output):
        spans = [(i * s - before, i * s - before + k) for i, s, k, (before, _) in zip(o, stride, window, sides, strict=True)]
        inside = tuple(slice(max(0, start), min(size, stop)) for (start, stop), size in zip(spans, x.shape[1:-1], strict=True))
        y[(slice(None), *o)] = reduce(x[(slice(None), *inside)], axis=tuple(range(1, x.ndim - 1)))
    return y


@AXES
@POOLS
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_pooling_over_what_is_there_and_its_gradient(axes, pool, backward, data, seed):
    window = per_axis(data.draw, axes, 2, 3)
    stride = tuple(data.draw(st.integers(1, k)) for k in window)
    size = tuple(k + data.draw(st.integers(0, 3)) for k in window)
    padding = data.draw(st.sampled_from(["valid", "same", 1]))
    rounding = data.draw(st.sampled_from(["floor", "ceil"])) if padding == "valid" else "floor"
    x = np.random.default_rng(seed).normal(size=(2, *size, 3))
    y = pool(x, window, stride, padding, rounding)
    around = [sides(padding, H, S, k) for H, S, k in zip(size, stride, window, strict=True)]
    np.testing.assert_allclose(y, pooled_by_loops(np.max if pool is max_pool else np.mean, x, window, stride, around, y.shape[1:-1]),
                               rtol=1e-13, atol=1e-15)
    dy, along = np.random.default_rng(seed + 1).normal(size=y.shape), np.random.default_rng(seed + 2).normal(size=x.shape)
    above, below = (np.sum(dy * pool(x + t * along, window, stride, padding, rounding)) for t in (1e-7, -1e-7))
    slope = np.sum(backward(x, dy, window, stride, padding, rounding) * along)
    assert slope == pytest.approx((above - below) / 2e-7, rel=1e-6, abs=1e-5)


@POOLS
def test_every_entry_of_the_gradient_of_pooling(pool, backward):
    x = np.random.default_rng(5).permutation(np.arange(140.0)).reshape(2, 7, 5, 2)
    dy = np.random.default_rng(6).normal(size=pool(x, (3, 2), 2, ((1, 0), (0, 1)), "ceil").shape)
    slope = numeric_gradient(lambda x: float(np.sum(dy * pool(x, (3, 2), 2, ((1, 0), (0, 1)), "ceil"))), x, step=1e-3)
    np.testing.assert_allclose(backward(x, dy, (3, 2), 2, ((1, 0), (0, 1)), "ceil"), slope, rtol=1e-6, atol=1e-8)


def test_pooling_a_four_by_four_map():
    x = np.array([[1, 3, 2, 1], [4, 6, 5, 0], [3, 1, 1, 2], [0, 2, 4, 9]], float)[None, :, :, None]
    assert max_pool(x, 2)[0, :, :, 0].tolist() == [[6, 5], [3, 9]]
    assert average_pool(x, 2)[0, :, :, 0].tolist() == [[3.5, 2], [1.5, 4]]
    assert global_average_pool(x).tolist() == [[2.75]]
    np.testing.assert_array_equal(max_pool(x, 3, 1, "same")[0, :, :, 0], ndimage.maximum_filter(x[0, :, :, 0], 3, mode="nearest"))


def test_equal_values_give_the_error_to_the_first():
    assert max_pool_backward(np.ones((1, 2, 2, 1)), np.full((1, 1, 1, 1), 7.0), 2)[0, :, :, 0].tolist() == [[7, 0], [0, 0]]


def test_ceiling_may_stick_out():
    x = np.arange(5.0).reshape(1, 5, 1)
    assert max_pool(x, 2)[0, :, 0].tolist() == [1, 3]
    assert max_pool(x, 2, rounding="ceil")[0, :, 0].tolist() == [1, 3, 4]
    assert average_pool(x, 2, rounding="ceil")[0, :, 0].tolist() == [0.5, 2.5, 4]


def test_gradient_of_the_global_average():
    x, dy = np.random.default_rng(7).normal(size=(2, 3, 5, 2)), np.random.default_rng(8).normal(size=(2, 2))
    np.testing.assert_allclose(global_average_pool_backward(x, dy), numeric_gradient(
        lambda x: float(np.sum(dy * global_average_pool(x))), x), rtol=1e-6, atol=1e-9)


X, K = np.ones((2, 5, 3)), np.ones((3, 3, 7))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: convolve(X[0], K), ShapeError, r"^convolution expected x \(n, \*space, C\) .* received \(5, 3\) and \(3, 3, 7\)$"),
    (lambda: convolve(X, K[:, :2]), ShapeError, r"^K has shape \(3, 2, 7\), expected a depth of 3 for 3 channels in 1 group$"),
    (lambda: convolve(X, K, groups=2), ShapeError, r"^groups expected a divisor of the 3 channels and the 7 kernels, received 2$"),
    (lambda: convolve(X, K, groups=0), DeltaruleError, r"^groups expected a whole number of at least 1, received 0$"),
    (lambda: convolve(X, K, np.ones(3)), ShapeError, r"^b has shape \(3,\), expected \(7,\); nothing is broadcast here$"),
    (lambda: convolve(X, K, dilation=3), DeltaruleError, r"^a window over 7 positions does not fit into 5 with padding \(0, 0\): the"),
    (lambda: convolve(X, K, stride=0), DeltaruleError, r"^stride expected a whole number of at least 1, received 0$"),
    (lambda: convolve(X, K, stride=(1, 2)), ShapeError, r"^stride expected one number or 1, one for each axis of space, received"),
    (lambda: convolve(X, K, padding="sam"), DeltaruleError, r"^unknown padding 'sam'; did you mean 'same'\?$"),
    (lambda: convolve(X, K, padding=-1), DeltaruleError, r"^padding expected a whole number of at least 0, received -1$"),
    (lambda: convolve(X, K, rounding="up"), DeltaruleError, r"^unknown rounding 'up'; known: ceil, floor$"),
    (lambda: convolve_backward(X, K, X), ShapeError, r"^dL/dy has shape \(2, 5, 3\), expected \(2, 3, 7\)"),
    (lambda: max_pool(X[0], 2), ShapeError, r"^pooling expected x \(n, \*space, channels\) .* received \(5, 3\)$"),
    (lambda: global_average_pool(X[0]), ShapeError, r"^pooling expected x"),
    (lambda: max_pool(X, (2, 2)), ShapeError, r"^window expected one number or 1, one for each axis of space, received \(2, 2\)$"),
    (lambda: max_pool(X, 7), DeltaruleError, r"^a window over 7 positions does not fit into 5"),
    (lambda: max_pool(X, 2, padding=2), DeltaruleError, r"^a pooling window covers padding only; use padding below the window"),
    (lambda: average_pool(X, 1, 3, rounding="ceil"), DeltaruleError, r"^a pooling window covers padding only"),
    (lambda: average_pool_backward(X, X, 2), ShapeError, r"^dL/dy has shape \(2, 5, 3\), expected \(2, 2, 3\)"),
    (lambda: global_average_pool_backward(X, X), ShapeError, r"^dL/dy has shape \(2, 5, 3\), expected \(2, 3\)"),
    (lambda: output_size(0, 3), DeltaruleError, r"^size expected a whole number of at least 1, received 0$"),
])
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()
