"""Convolution layers: the textbook's sum and XLA's convolution, their gradients, what the lectures say of them, every error text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import EXAMPLES
from test_twins import of_the_engine, of_the_textbook
from twins import run

import deltarule as dr
from deltarule import kernels, textbook
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import flatten
from deltarule.ops import convolution as ops
from deltarule.ops.activated import ACTIVATIONS, convolve_activated
from deltarule.ops.compiling import QUICK

LAYERS = {1: dr.Conv1D, 2: dr.Conv2D, 3: dr.Conv3D}
TRANSPOSED = {1: dr.ConvTranspose1D, 2: dr.ConvTranspose2D, 3: dr.ConvTranspose3D}
N = 3


@st.composite
def geometries(draw):
    """(windows, channels, maps) of a convolution whose kernel fits."""
    axes = draw(st.sampled_from([1, 2, 2, 3]))

    def per_axis(values):
        return tuple(draw(values) for _ in range(axes))

    kernel, dilation, stride = per_axis(st.integers(1, 3)), per_axis(st.integers(1, 2)), per_axis(st.integers(1, 3))
    padding = per_axis(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    space = tuple(max(1, D * (k - 1) + 1 - sum(P)) + draw(st.integers(0, 4)) for k, D, P in zip(kernel, dilation, padding, strict=True))
    groups, c, m = draw(st.sampled_from([(1, 2, 3), (1, 1, 5), (2, 3, 2), (3, 1, 1), (3, 1, 2)]))
    return ops.Windows(space, kernel, stride, padding, dilation, groups), groups * c, groups * m


def arrays(at, C, M, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (N, *at.space, C), (*at.kernel, C // at.groups, M), (N, *at.output, M)
    return [rng.normal(size=shape).astype("float32").astype(float) for shape in shapes]


def all_three(x, K, dy, at):
    """y, dL/dx, dL/dK and the transposed convolution of dy, as one program."""
    y, back = jax.vjp(lambda x, K: ops.convolve(x, K, at.stride, at.padding, at.dilation, at.groups), x, K)
    return y, *back(dy), ops.convolve_transposed(dy, K, at.space, at.stride, at.padding, at.dilation, at.groups)


def compiled(function, *values, static=()):
    return jax.jit(function, static_argnums=static, compiler_options=QUICK)(*values)


@settings(max_examples=15)
@given(geometries(), st.integers(0, 10**6), st.sampled_from([("float64", 1e-10), ("float32", 1e-5)]), st.sampled_from([2**19, 1]))
def test_convolution_is_the_textbooks_forward_and_backward(geometry, seed, precision, cache):
    (at, C, M), (dtype, tolerance) = geometry, precision
    x, K, dy = arrays(at, C, M, seed)
    said = {"stride": at.stride, "padding": at.padding, "dilation": at.dilation, "groups": at.groups}
    back = textbook.convolve_backward(x, K, dy, **said)
    before, ops.CACHE = ops.CACHE, cache            # 1: the images go through one at a time
    try:
        with jax.enable_x64(dtype == "float64"):
            found = compiled(all_three, *(jnp.asarray(value, dtype) for value in (x, K, dy)), at, static=3)
    finally:
        ops.CACHE = before
    for value, expected in zip(found, (textbook.convolve(x, K, **said), back["x"], back["K"], back["x"]), strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


@settings(max_examples=7)
@given(geometries(), st.integers(0, 10**6))
def test_convolution_is_xlas_and_its_transpose_the_adjoint(geometry, seed):
    """XLA's values and gradients; <convolve(x), y> = <x, convolve_transposed(y)> = <K, dL/dK of y>."""
    at, C, M = geometry

    def both(x, K, dy, at):
        y, back = jax.vjp(lambda x, K: ops._xla(x, K, at), x, K)
        return all_three(x, K, dy, at), (y, *back(dy))

    with jax.enable_x64(True):
        x, K, dy = map(jnp.asarray, arrays(at, C, M, seed))
        found, expected = compiled(both, x, K, dy, at, static=3)
    for value, xlas in zip(found, (*expected, expected[1]), strict=True):
        np.testing.assert_allclose(value, xlas, rtol=1e-10, atol=1e-10)
    one = np.vdot(found[0], dy)
    np.testing.assert_allclose([np.vdot(x, found[3]), np.vdot(K, found[2])], [one, one], rtol=1e-10, atol=1e-10)


def test_other_platforms_use_their_own_convolution():
    at = ops.Windows((7, 5), (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 2), 1)
    x, K, dy = (value.astype("float32") for value in arrays(at, 2, 3))
    on_cpu = "deltarule_conv_forward" if kernels.kernels().ready else "dot_general"
    for platform, own, other in (("cuda", "stablehlo.convolution", "dot_general"), ("cpu", on_cpu, "stablehlo.convolution")):
        text = jax.jit(all_three, static_argnums=3).trace(x, K, dy, at).lower(lowering_platforms=(platform,)).as_text()
        assert own in text
        assert other not in text


@pytest.mark.parametrize(("space", "kernel", "dtype"), [((7, 5), (3, 2), "float32"), ((11,), (3,), "float32"), ((7, 5), (3, 2), "float64"),
                                                        ((3, 4, 5), (2, 1, 3), "float32")], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bias_and_activation_in_one_pass_are_those_apart(space, kernel, dtype, activation):
    """Values, gradients by x, K and b, and the second derivative."""
    axes = len(space)
    at = ops.Windows(space, kernel, (2,) * axes, ((1, 0),) * axes, (1,) * axes, 1)
    with jax.enable_x64(dtype == "float64"):
        x, K, dh = (jnp.asarray(value, dtype) for value in arrays(at, 2, 3))
        b = jnp.asarray([0.3, -0.2, 0.1], dtype)

        def together(x, K, b):
            return convolve_activated(x, K, b, at.stride, at.padding, at.dilation, activation)

        def apart(x, K, b):
            y = ops._xla(x, K, at)
            a = y + jnp.broadcast_to(b, y.shape)
            return {"linear": a, "relu": jnp.maximum(a, 0), "tanh": jnp.tanh(a)}[activation]

        def everything(x, K, b, h):
            def energy(x, K, b):
                return jnp.sum(jnp.sin(h(x, K, b)) * dh)
            slope = jax.grad(energy, (0, 1, 2))(x, K, b)
            only_K = jax.grad(energy, 1)(x, K, b)
            curved = jax.grad(lambda K: jnp.sum(jnp.square(jax.grad(energy, 1)(x, K, b))))(K)
            return h(x, K, b), *slope, only_K, curved

        own, others = compiled(lambda x, K, b: (everything(x, K, b, together), everything(x, K, b, apart)), x, K, b)
    for value, expected in zip(map(np.asarray, own), map(np.asarray, others), strict=True):
        tolerance = (1e-5 if dtype == "float32" else 1e-10) * np.max(np.abs(expected))
        np.testing.assert_allclose(value, expected, rtol=0, atol=max(tolerance, 1e-12))


def test_a_watched_layer_gives_what_an_unwatched_one_gives():
    net = dr.Network([dr.Conv2D(5, 3, "relu", padding="same"), dr.Flatten(), dr.Dense(2, "softmax")], (6, 7, 3), seed=1)
    x = np.random.default_rng(0).normal(size=(4, 6, 7, 3)).astype("float32")
    trace = net.trace(x, np.array([0, 1, 1, 0]))
    np.testing.assert_allclose(trace.output, net.predict(x), rtol=1e-4, atol=1e-6)
    layer = trace["conv2d_1"]
    np.testing.assert_array_equal(layer.activation, np.maximum(layer.preactivation, 0))
    np.testing.assert_allclose(layer.gradients["bias"], layer.delta.sum(axis=(1, 2)).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_second_derivatives_and_members_of_an_ensemble():
    at = ops.Windows((7, 5), (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 2), 1)

    def second(convolve, x, K, at):
        def energy(x, K):
            return jnp.sum(jnp.square(jax.grad(lambda K: jnp.sum(jnp.sin(convolve(x, K, at))))(K)))
        return jax.grad(energy, (0, 1))(x, K)

    def found(x, K, at):
        gradient = jax.grad(lambda K: jnp.sum(jnp.sin(ops._maps(x, K, at))))
        members = jnp.stack([K, 2 * K, -K])
        return (second(ops._maps, x, K, at), jax.vmap(gradient)(members)), (second(ops._xla, x, K, at), jax.lax.map(gradient, members))

    with jax.enable_x64(True):
        x, K, _ = map(jnp.asarray, arrays(at, 2, 3))
        own, others = compiled(found, x, K, at, static=2)
    for value, expected in zip(jax.tree.leaves(own), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


PADDINGS = [("valid", "zeros"), ("same", "zeros"), ("full", "zeros"), (1, "zeros"), ("same", "reflect"), ("same", "circular"),
            (2, "reflect")]


@pytest.mark.parametrize(("padding", "mode"), PADDINGS)
@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_layers_are_their_equation(padding, mode, rounding):
    layer = dr.Conv2D(5, (3, 2), "tanh", stride=(2, 3), padding=padding, padding_mode=mode, rounding=rounding)
    net = dr.Network([layer], (7, 8, 3), seed=1, dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3))
    net.params["conv2d_1"]["bias"][:] = np.arange(5) / 7
    expected, _ = run(layer, net.params["conv2d_1"], {}, x)
    assert net.output_shape == expected.shape[1:]
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [*LAYERS.values(), *TRANSPOSED.values(), dr.SeparableConv2D])
def test_layers_learn_by_the_textbooks_gradients(kind):
    layer, shape = EXAMPLES[kind]
    net = dr.Network([layer, dr.Flatten(), dr.Dense(2, "tanh")], shape, seed=5, dtype="float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, *shape)), rng.normal(size=(N, 2))
    with jax.enable_x64(True):
        loss, gradient = of_the_engine(net, x, y, training=True)
    expected_loss, expected = of_the_textbook(net, x, y, training=True)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    assert set(gradient) == set(expected)
    for path, slope in expected.items():
        np.testing.assert_allclose(gradient[path], slope, rtol=1e-9, atol=1e-10, err_msg=path)


def test_output_sizes_of_the_lecture():
    """H_out = (H - k + 2 P) / S + 1, rounded down or up (row 28)."""
    for H, k, S, P in [(28, 3, 1, 0), (28, 3, 2, 0), (28, 5, 3, 2), (32, 3, 1, 1), (11, 4, 4, 1)]:
        for rounding, rounded in (("floor", np.floor), ("ceil", np.ceil)):
            net = dr.Network(dr.Conv1D(2, k, stride=S, padding=P, rounding=rounding), (H, 1))
            assert net.output_shape[0] == rounded((H - k + 2 * P) / S) + 1
    assert dr.Network(dr.Conv2D(2, 3, padding="full"), (5, 7, 1)).output_shape == (7, 9, 2)
    assert dr.Network(dr.Conv2D(2, 3, stride=2, padding="same"), (5, 8, 1)).output_shape == (3, 4, 2)
    assert dr.Network(dr.ConvTranspose2D(2, 3, stride=2, padding="same"), (5, 8, 1)).output_shape == (10, 16, 2)


def test_parameters_and_multiply_adds():
    """3 x 3 x 3 x 64 = 1,728 weights (row 28), each used at every position; XLA and matrix products count alike."""
    summary = dr.Network(dr.Conv2D(64, 3, padding="same", use_bias=False), (32, 32, 3)).summary()
    assert (summary.parameters, summary.multiply_adds) == (1_728, 32 * 32 * 1_728)
    assert dr.Network(dr.Conv2D(6, 3, groups=3), (5, 7, 3)).summary().multiply_adds == 3 * 5 * 9 * 6
    assert dr.Network(dr.Conv2D(6, 3, groups=2), (5, 7, 4)).summary().multiply_adds == 3 * 5 * 9 * 2 * 6
    assert dr.Network(dr.ConvTranspose2D(5, 3, stride=2), (5, 7, 4)).summary().multiply_adds == 5 * 7 * 9 * 4 * 5
    net = dr.Network(dr.SeparableConv2D(64, 3), (32, 32, 3))
    assert {path: value.shape for path, value in flatten(net.params).items()} == {
        "depthwise/weights": (3, 3, 1, 3), "pointwise/weights": (1, 1, 3, 64), "pointwise/bias": (64,)}


def test_groups_start_as_kernels_of_their_own():
    """The fans of a unit end at its group: Glorot's r for 9 inputs and 9 outputs, however many channels there are."""
    K = dr.Network(dr.Conv2D(997, 3, groups=997), (3, 3, 997)).params["weights"]
    assert np.abs(K).max() == pytest.approx(np.sqrt(6 / 18), rel=1e-3)
    K = dr.Network(dr.Conv2D(50, 3, "relu"), (3, 3, 97)).params["weights"]
    assert K.std() == pytest.approx(np.sqrt(2 / (9 * 97)), rel=0.02)
    np.testing.assert_array_equal(dr.Network(dr.Conv1D(3, 2, weights="zeros", bias="ones"), (5, 1)).predict(np.ones((1, 5, 1))), 1)


def test_shifting_the_input_shifts_the_maps():
    """Row 29, all around with circular padding."""
    net = dr.Network(dr.Conv2D(3, 3, "relu", padding="same", padding_mode="circular"), (7, 11, 2))
    x = np.random.default_rng(0).normal(size=(2, 7, 11, 2)).astype("float32")
    moved = net.predict(np.roll(x, (2, -3), (1, 2)))
    np.testing.assert_allclose(moved, np.roll(net.predict(x), (2, -3), (1, 2)), rtol=1e-5, atol=1e-6)


def test_a_small_network_learns_the_digits():
    digits = dr.data.digits()
    x = np.asarray(digits.x, "float32").reshape(-1, 8, 8, 1)
    x, held = x / x.max(), np.arange(len(x)) % 5 == 0
    net = dr.Network([dr.Conv2D(8, 3, "relu", padding="same"), dr.Conv2D(16, 3, "relu", stride=2), dr.Flatten(), dr.Dense(10, "softmax")],
                     (8, 8, 1), seed=0)
    history = net.fit(x[~held], digits.y[~held], loss="cross_entropy", optimizer=dr.Adam(5e-3), epochs=6, batch_size=50)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert np.mean(net.predict(x[held]).argmax(axis=1) == digits.y[held]) > 0.9


def test_the_second_call_compiles_nothing():
    step = jax.jit(lambda x, K: ops.convolve(x, K, (1, 1), ((1, 1), (1, 1)), (1, 1)), compiler_options=QUICK)
    x, K = jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 2))
    step(x, K)
    step(2 * x, K)
    assert step._cache_size() == 1


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.Conv2D(0, 3), r"^Conv2D expected filters to be a whole number from 1 on, received 0$"),
    (lambda: dr.Conv2D(True, 3), r"^Conv2D expected filters to be a whole number from 1 on, received True$"),
    (lambda: dr.Conv2D(5, 0), r"^Conv2D expected kernel to be a whole number from 1 on, received 0$"),
    (lambda: dr.Conv2D(5, (3, 3, 3)), r"^Conv2D expected kernel as one value or a tuple of 2, one for each axis of space, "
                                      r"received \(3, 3, 3\)$"),
    (lambda: dr.Conv1D(5, 3, stride=0), r"^Conv1D expected stride to be a whole number from 1 on, received 0$"),
    (lambda: dr.Conv3D(5, 3, dilation=(1, 2, 1.5)), r"^Conv3D expected dilation to be a whole number from 1 on, received \(1, 2, 1\.5\)$"),
    (lambda: dr.Conv2D(5, 3, padding="sam"), r"^Conv2D has no padding 'sam'; did you mean 'same'\?$"),
    (lambda: dr.ConvTranspose2D(5, 3, padding="full"), r"^ConvTranspose2D has no padding 'full'; known: same, valid$"),
    (lambda: dr.SeparableConv2D(5, 3, padding="vali"), r"^SeparableConv2D has no padding 'vali'; did you mean 'valid'\?$"),
    (lambda: dr.Conv2D(5, 3, padding=-1), r"^Conv2D expected padding to be whole numbers from 0 on, .* received -1$"),
    (lambda: dr.Conv2D(5, 3, padding_mode="reflekt"), r"^Conv2D has no padding_mode 'reflekt'; did you mean 'reflect'\?$"),
    (lambda: dr.Conv2D(5, 3, rounding="up"), r"^Conv2D has no rounding 'up'; known: ceil, floor$"),
    (lambda: dr.Conv2D(5, 3, groups=0), r"^Conv2D expected groups to be a whole number from 1 on, received 0$"),
    (lambda: dr.Conv2D(5, 3, groups=2), r"^Conv2D cannot share 5 filters among 2 groups; choose groups that divide filters$"),
    (lambda: dr.Conv2D(5, 3, "rleu"), r"^unknown activation 'rleu'; did you mean 'relu'"),
    (lambda: dr.ConvTranspose1D(5, 3, 7), r"^ConvTranspose1D expected an activation by name or as an object .* received 7$"),
    (lambda: dr.Conv2D(5, 3, weights="hee"), r"^unknown initializer 'hee'"),
    (lambda: dr.Conv2D(5, 3, bias="zeroes"), r"^unknown initializer 'zeroes'; did you mean 'zeros'"),
])
def test_mistakes_in_settings(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (dr.Conv2D(5, 3), (784,), r"^Conv2D expected images \(height, width, channels\), received inputs of shape \(784,\); reshape"),
    (dr.Conv2D(5, 3), (28, 28), r"^Conv2D expected images .* \(28, 28\); add the axis of channels with x\[\.\.\., None\]"),
    (dr.ConvTranspose1D(5, 3), (28,), r"^ConvTranspose1D expected sequences .* \(28,\); add the axis of channels with x\[\.\.\., None\]"),
    (dr.SeparableConv2D(5, 3), (28, 28), r"^SeparableConv2D expected images .* \(28, 28\); add the axis of channels"),
    (dr.Conv2D(5, 5), (4, 7, 1), r"^Conv2D has a kernel over 5 values, the input has 4 with padding \(0, 0\) along an axis: the output "
                                 r"would have no value; use a smaller kernel or dilation, padding='same', or fewer layers"),
    (dr.Conv1D(5, 3, dilation=3), (6, 1), r"^Conv1D has a kernel over 7 values, the input has 6"),
    (dr.Conv2D(6, 3, groups=3), (7, 7, 4), r"^Conv2D cannot share 4 channels among 3 groups; choose groups that divide the channels"),
    (dr.Conv1D(2, 3, padding=4, padding_mode="reflect"), (4, 1), r"^Conv1D cannot take 4 values of reflect padding from an input of 4; "
                                                                 r"use at most 3, or padding_mode='zeros'"),
    (dr.Conv1D(2, 3, padding=5, padding_mode="circular"), (4, 1), r"^Conv1D cannot take 5 values of circular padding .* use at most 4"),
    (dr.ConvTranspose1D(2, 3, padding=2), (1, 1), r"^ConvTranspose1D cuts \(2, 2\) off an output of 3 values; use less padding"),
])
def test_inputs_that_do_not_fit(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network([layer], shape)


def test_lists_are_tuples_and_architectures_are_files():
    layer = dr.Conv2D(5, [3, 2], padding=[[1, 0], 2])
    assert layer == dr.Conv2D(5, (3, 2), padding=((1, 0), 2))
    assert hash(layer) == hash(dr.spec.from_json(dr.spec.to_json(layer)))
    assert repr(layer) == "Conv2D(filters=5, kernel=(3, 2), padding=((1, 0), 2))"
