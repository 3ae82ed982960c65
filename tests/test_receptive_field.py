"""Receptive fields: the closed form, published numbers, and what the gradient shows, pixel for pixel (lecture row 31)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_layers import EXAMPLES

import deltarule as dr
from deltarule.errors import DeltaruleError, ShapeError


def net_of(layers, shape):
    try:
        return dr.Network(layers, shape)
    except ShapeError:
        assume(False)


def closed_form(windows):
    """(size, stride, start) by the sums of Araujo, Norris and Sim (2019) for (k, S, D, P) of each layer."""
    size, jump, start = 1, 1, 0.0
    for k, S, D, P in windows:
        covered = D * (k - 1) + 1
        start += ((covered - 1) / 2 - P) * jump
        size += (covered - 1) * jump
        jump *= S
    return size, jump, start


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=5))
def test_chains_of_convolutions_against_the_closed_form(windows):
    net = net_of([dr.Conv1D(1, k, stride=S, dilation=D, padding=P) for k, S, D, P in windows], (150, 1))
    field = net.receptive_field(f"conv1d_{len(windows)}")
    assert (field.size[0], field.stride[0], field.start[0]) == closed_form(windows)
    assert field.centre(2)[0] == field.start[0] + 2 * field.stride[0] if field.units[0] > 2 else True


def vgg16():
    layers = []
    for convolutions in (2, 2, 3, 3, 3):
        layers += [dr.Conv2D(1, 3, "relu", padding="same")] * convolutions + [dr.MaxPool2D(2)]
    return dr.Network(layers, (224, 224, 3)).receptive_field("max_pool2d_5")


def alexnet():
    pool, conv = dr.MaxPool2D(3, stride=2), dr.Conv2D(1, 3, "relu", padding="same")
    layers = [dr.Conv2D(1, 11, "relu", stride=4), pool, dr.Conv2D(1, 5, "relu", padding="same"), pool, conv, conv, conv, pool]
    return dr.Network(layers, (231, 231, 3)).receptive_field("max_pool2d_3")


@pytest.mark.parametrize(("build", "size"), [(alexnet, 195), (vgg16, 212)])
def test_published_fields(build, size):
    """Araujo, Norris and Sim, Computing receptive fields of convolutional neural networks, Distill 2019, table 1."""
    field = build()
    assert field.size == (size, size)
    assert field.stride == (32, 32)


PADDING = st.sampled_from(["valid", "same", 1, ((2, 0),)])
SMALL = st.integers(1, 3)
CONVOLUTIONS = st.builds(dr.Conv1D, st.just(2), SMALL, stride=SMALL, dilation=SMALL, padding=st.one_of(PADDING, st.just("full")),
                         padding_mode=st.sampled_from(["zeros", "reflect", "circular"]), rounding=st.sampled_from(["floor", "ceil"]),
                         activation=st.sampled_from(["relu", "tanh", "linear"]))
OTHERS = st.one_of(
    st.builds(dr.MaxPool1D, st.integers(2, 3), SMALL, rounding=st.sampled_from(["floor", "ceil"])),
    st.builds(dr.AveragePool1D, st.integers(2, 3), SMALL, padding=st.sampled_from(["valid", "same"])),
    st.builds(dr.ConvTranspose1D, st.just(2), st.integers(1, 4), stride=SMALL),
    st.builds(dr.UpSample, st.integers(1, 3), st.sampled_from(["nearest", "linear"])),
    st.builds(dr.Pad, st.just(((1, 2),)), st.sampled_from(["zeros", "reflect", "circular"])), st.just(dr.Crop(((1, 0),))),
    st.builds(dr.AdaptiveMaxPool, st.integers(2, 4)), st.builds(dr.Residual, st.just(dr.Conv1D(2, 3, padding="same", dilation=2))),
    st.just(dr.Residual(dr.Conv1D(2, 3, stride=2, padding="same"), dr.Conv1D(2, 1, stride=2))),
    st.just(dr.Skip([dr.MaxPool1D(3, 1, "same"), dr.Conv1D(1, 3, padding="same")])),
    st.just(dr.Parallel([dr.Conv1D(2, 1), dr.MaxPool1D(3, 1, "same"), [dr.Conv1D(1, 3, padding="same"), dr.BatchNorm()]])))


@settings(max_examples=20)
@given(CONVOLUTIONS, OTHERS, CONVOLUTIONS, st.integers(11, 17))
def test_analytic_is_measured_along_one_axis(first, other, last, steps):
    net = net_of([first, other, last], (steps, 2))
    field = net.receptive_field("")
    for unit in {0, field.units[0] // 3, field.units[0] - 1}:
        np.testing.assert_array_equal(field.pixels(unit), field.measured(unit), str(unit))


@settings(max_examples=8)
@given(st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL), st.sampled_from(["valid", "same", (1, (0, 2))]))
def test_analytic_is_measured_in_images(kernel, stride, dilation, padding):
    net = net_of([dr.Conv2D(3, kernel, "relu", stride, padding, dilation), dr.MaxPool2D((2, 1)), dr.Conv2D(2, (2, 3))], (13, 11, 2))
    field = net.receptive_field("conv2d_2")
    for unit in {(0, 0), (field.units[0] - 1, field.units[1] // 2), field.unit()}:
        np.testing.assert_array_equal(field.pixels(unit), field.measured(unit))


def test_analytic_is_measured_in_ready_networks():
    for net in (dr.models.unet((8, 8, 1), 2, depth=2, width=2), dr.models.resnet((8, 8, 1), 2, 1, (2, 3)), dr.models.lenet5()):
        deepest = [visit.path for visit in net.plan.visits if isinstance(visit.layer, dr.Conv2D)][-1]
        field = net.receptive_field(deepest)
        for unit in {(0, 0), field.unit()}:
            np.testing.assert_array_equal(field.pixels(unit), field.measured(unit))
    vector = dr.Network([dr.Flatten(), dr.Skip(dr.Dense(1))], (3, 1)).receptive_field("")
    assert [vector.pixels((unit,)).sum() for unit in range(4)] == [1, 1, 1, 3]


SPATIAL = {cls: example for cls, example in EXAMPLES.items() if len(example[1]) > 1 and cls is not dr.TimeDistributed}


@pytest.mark.parametrize(("layer", "shape"), SPATIAL.values(), ids=[cls.__name__ for cls in SPATIAL])
def test_analytic_is_measured_for_every_layer(layer, shape):
    field = dr.Network(layer, shape).receptive_field("")
    for unit in {tuple(0 for _ in field.units), field.unit(), tuple(n - 1 for n in field.units)}:
        np.testing.assert_array_equal(field.pixels(unit), field.measured(unit))


def test_the_box_cuts_out_what_the_unit_depends_on():
    net = dr.Network([dr.Conv2D(3, 3, "relu"), dr.MaxPool2D(2), dr.Conv2D(2, 3, padding="same", dilation=2)], (17, 13, 1), seed=1)
    field = net.receptive_field("conv2d_2")
    assert field.size == (12, 12)
    box, rng = field.of((3, 2)), np.random.default_rng(0)
    assert box == (slice(2, 14), slice(0, 12))
    x = rng.normal(size=(1, 17, 13, 1)).astype("float32")
    other = rng.normal(size=x.shape).astype("float32")
    other[(0, *box)] = x[(0, *box)]
    np.testing.assert_allclose(net.predict(other)[0, 3, 2], net.predict(x)[0, 3, 2], rtol=1e-5)
    assert np.abs(net.predict(other) - net.predict(x)).max() > 0.1
    gaps = dr.Network([dr.Conv1D(1, 3, dilation=2)], (9, 1)).receptive_field("conv1d_1")
    assert gaps.pixels(1).nonzero()[0].tolist() == [1, 3, 5]


def test_dense_units_behind_flatten_see_the_whole_image_and_concatenated_vectors_their_own_branch():
    net = dr.Network([dr.Conv2D(2, 3, stride=2), dr.Flatten(), dr.Dense(3, "relu"), dr.Dense(2)], (8, 7, 1))
    field = net.receptive_field("dense_2")
    assert (field.size, field.stride, field.start) == ((7, 7), (0, 0), (3.0, 3.0))      # a stride of 2 never reaches the last row
    np.testing.assert_array_equal(field.pixels(1), field.measured(1))
    flat = net.receptive_field("flatten_1")
    assert flat.of(9) == (slice(2, 5), slice(2, 5))
    half = dr.Network([dr.Parallel([[dr.Crop(((0, 4),)), dr.Flatten()], [dr.Crop(((4, 0),)), dr.Flatten()]])], (7, 1))
    assert half.receptive_field("").of(5) == (slice(6, 7),)
    np.testing.assert_array_equal(half.receptive_field("").measured(5), half.receptive_field("").pixels(5))


def test_effective_field_of_one_filter_is_the_filter_itself():
    net = dr.Network([dr.Conv2D(2, 3)], (7, 6, 1), seed=1)
    found = net.receptive_field("conv2d_1").effective(np.zeros((70, 7, 6, 1)), (2, 1))
    expected = np.zeros((7, 6))
    expected[2:5, 1:4] = np.abs(net.params["conv2d_1"]["weights"].sum(axis=-1)[..., 0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_effective_field_is_smaller_than_the_theoretical_one_and_strongest_in_the_middle():
    """Luo et al. 2016: nearly a Gaussian, whose width grows as the square root of the depth."""
    widths = []
    for depth in (4, 16):
        net = dr.Network([dr.Conv1D(8, 3, padding="same")] * depth, (65, 1), seed=2)
        power = net.receptive_field(f"conv1d_{depth}").effective(np.zeros((1, 65, 1))) ** 2
        place = np.arange(65)
        mean = np.sum(place * power) / power.sum()
        widths.append(np.sqrt(np.sum((place - mean) ** 2 * power) / power.sum()))
        assert abs(mean - 32) < 3
    assert 1.3 < widths[1] / widths[0] < 3


def test_the_summary_shows_the_fields_of_networks_with_windows():
    net = dr.Network([dr.Conv2D(2, 3), dr.MaxPool2D(2), dr.Flatten(), dr.Dense(2)], (8, 9, 1))
    lines = str(net.summary()).splitlines()
    assert lines[0].split("  ")[-3:] == ["receptive field", "parameters", "multiply-adds"]
    assert [row.receptive_field for row in net.summary().rows] == [(3, 3), (4, 4), (4, 4), (8, 8)]
    assert "4 x 4" in lines[4]
    assert "receptive" not in str(dr.Network([dr.Flatten(), dr.Dense(2)], (8, 9, 1)).summary())
    assert "receptive" not in str(dr.Network([dr.Dense(16), dr.Reshape((4, 4, 1)), dr.Conv2D(1, 3)], 7).summary())


@dataclasses.dataclass(frozen=True)
class Own(dr.Layer):
    def __call__(self, x, scope):
        return 2 * x


def test_layers_of_ones_own_say_what_they_see():
    @dataclasses.dataclass(frozen=True)
    class Told(Own):
        sees = "each"

        def __call__(self, x, scope):
            return 3 * x

    layers = [dr.Conv2D(2, 3), Told(), dr.Conv2D(2, 3)]
    assert dr.Network(layers, (9, 9, 1)).receptive_field("conv2d_2").size == (5, 5)
    untold = dr.Network([dr.Conv2D(2, 3), Own(), dr.Conv2D(2, 3)], (9, 9, 1))
    assert untold.receptive_field("conv2d_1").size == (3, 3)
    assert [row.receptive_field for row in untold.summary().rows] == [(3, 3), None, None]
    with pytest.raises(DeltaruleError, match=r"what the units of own_1 see is not known: Own is a layer of your own; give the class Own "
                                             r"sees = 'each' where a value depends on its own place alone, sees = 'all' where it dep"):
        untold.receptive_field("conv2d_2")


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: dr.Network([dr.Dense(2)], 3).receptive_field("dense_1"),
     r"a receptive field is a part of an image; this network takes rows of shape \(3,\)"),
    (lambda: dr.Network([dr.Conv1D(2, 3)], (5, 1)).receptive_field("conv1d_2"),
     r"there is no layer 'conv1d_2' in this network; it has conv1d_1; did you mean 'conv1d_1'\?"),
    (lambda: dr.Network([dr.Conv1D(2, 3)], (5, 1)).receptive_field("conv1d_1").of(3),
     r"conv1d_1 has units \(3,\) in space, each numbered from 0; received unit 3"),
    (lambda: dr.Network([dr.Conv2D(2, 3)], (5, 5, 1)).receptive_field("conv2d_1").of(0.5), r"received unit 0\.5"),
    (lambda: dr.Network([dr.Conv1D(2, 1, padding=2)], (5, 1)).receptive_field("conv1d_1").of(0),
     r"unit \(0,\) of conv1d_1 sees nothing of the input, only padding"),
])
def test_errors(ask, message):
    with pytest.raises(DeltaruleError, match=message):
        ask()


def test_what_is_not_worked_out_is_said():
    net = dr.Network([dr.TimeDistributed([dr.Conv1D(3, 2), dr.GlobalMaxPool()])], (3, 5, 2))
    with pytest.raises(DeltaruleError, match=r"what the units of time_distributed_1 see is not worked out for TimeDistributed; ask for a"):
        net.receptive_field("time_distributed_1")
