"""Ready networks: their parameter counts against published and hand-worked ones, their form, and that they learn, are saved and seen."""

import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import flatten
from deltarule.spec import from_json, to_json

RNG = np.random.default_rng(0)
SMALL = {       # one of each, small
    "mlp": lambda **options: dr.models.mlp((6, 5, 1), 3, (7, 5), dropout=0.1, **options),
    "convnet": lambda **options: dr.models.convnet((8, 8, 1), 3, (4, (3, 5)), (7,), **options),
    "lenet5": lambda **options: dr.models.lenet5((16, 16, 2), 3, activation="relu", pool="max", **options),
    "resnet": lambda **options: dr.models.resnet((8, 8, 2), 3, 1, (4, 6), **options),
    "unet": lambda **options: dr.models.unet((8, 12, 1), 3, 2, 4, **options),
}
SEQUENCES = {"language_model", "transformer", "sequence_classifier", "captioner"}     # see test_generation.py, test_translation.py
CASES = pytest.mark.parametrize("make", SMALL.values(), ids=list(SMALL))


def data(net, n=24):
    """Bright and dark images, and masks of what is bright."""
    level = RNG.integers(0, 3, n)
    x = 0.3 * RNG.normal(size=(n, *net.input_shape)) + level.reshape(-1, 1, 1, 1)
    if len(net.output_shape) == 3:
        return x.astype("float32"), np.clip(np.rint(x[..., 0]), 0, 2).astype(int)
    return x.astype("float32"), level


def test_every_model_is_covered():
    import types
    assert {name for name, value in vars(dr.models).items() if isinstance(value, types.FunctionType)} == set(SMALL) | SEQUENCES


@CASES
def test_contract(make, tmp_path):
    """JSON leads back; the seed decides the first weights; summary and trace see all of it; training lowers the loss; file and back."""
    net = make()
    assert from_json(json.loads(json.dumps(to_json(net.layer)))) == net.layer
    assert net.seed == 0
    one, other = flatten(make(seed=1).params), flatten(net.params)
    assert any(not np.array_equal(value, one[path]) for path, value in other.items())
    assert net.summary().parameters == sum(value.size for value in other.values())
    x, y = data(net)
    trace = net.trace(x[:3], y[:3])
    *_, last = trace
    np.testing.assert_allclose(last.activation, net.predict(x[:3]), atol=1e-5)
    assert all(np.abs(layer.delta).max() > 0 for layer in trace if layer.delta is not None)
    before = net.evaluate(x, y)["loss"]
    net.fit(x, y, optimizer=dr.Adam(0.003), epochs=15, batch_size=8, progress=False)
    assert net.evaluate(x, y)["loss"] < 0.9 * before
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(dr.load(tmp_path / "net.safetensors").predict(x), net.predict(x))
    assert dr.figures.network(net).axes


def kinds(net):
    """The classes of the layers in order, for reading beside the paper."""
    return " ".join(type(visit.layer).__name__ for visit in net.plan.visits if not isinstance(visit.layer, dr.Sequential))


def test_mlp():
    net = dr.models.mlp(784, 10, (30,), activation="sigmoid")
    assert net.layer == dr.Sequential([dr.Dense(30, "sigmoid"), dr.Dense(10, "softmax")])
    assert net.summary().parameters == 784 * 30 + 30 + 30 * 10 + 10
    assert dr.models.mlp((32, 32, 3), 1, (), output="linear").summary().parameters == 3072 + 1
    assert kinds(SMALL["mlp"]()) == "Flatten Dense Dropout Dense Dropout Dense"


def test_convnet_is_the_lectures():
    net = dr.models.convnet((28, 28, 1), 10, (16, 32), (128,))
    assert kinds(net) == "Conv2D Conv2D MaxPool2D Conv2D Conv2D MaxPool2D Flatten Dense Dense"
    convolutions = 9 * 16 + 16 + 9 * 16 * 16 + 16 + 9 * 16 * 32 + 32 + 9 * 32 * 32 + 32
    assert net.summary().parameters == convolutions + 7 * 7 * 32 * 128 + 128 + 128 * 10 + 10
    assert net.output.activation == "softmax"
    pair = dr.models.convnet((28, 28, 1), 10, [(32, 64)], 128)
    assert pair.summary().parameters == 9 * 32 + 32 + 9 * 32 * 64 + 64 + 14 * 14 * 64 * 128 + 128 + 1290
    assert kinds(dr.models.convnet((8, 8, 1), 3, 4, (), dropout=0.2)) == "Conv2D Conv2D MaxPool2D Dropout Flatten Dense"


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 1)])
def test_lenet5_has_the_published_number_of_parameters(shape):
    """LeCun et al. 1998, section II.B, with all connections in C3: C1 156, C3 2,416, C5 48,120, F6 10,164, and 850 for ten classes."""
    net = dr.models.lenet5(shape)
    by_layer = [sum(value.size for value in layer.values()) for layer in net.params.values()]
    assert by_layer == [156, 2416, 48120, 10164, 850]
    assert net.summary().parameters == 61706
    assert kinds(net) == "Conv2D AveragePool2D Conv2D AveragePool2D Flatten Dense Dense Dense"
    assert [tuple(visit.output_shape[1:]) for visit in net.plan.visits[1:5]] == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16)]


def test_resnet_has_the_published_size():
    """He et al. 2016, table 6: 20 layers 0.27M, 32 layers 0.46M, 56 layers 0.85M; layers with weights 6n + 2."""
    for blocks, millions in ((3, 0.27), (5, 0.46), (9, 0.85)):
        net = dr.models.resnet((32, 32, 3), 10, blocks)
        assert round(net.summary().parameters / 1e6, 2) == pytest.approx(millions, abs=0.011)
        weighted = [visit for visit in net.plan.visits if isinstance(visit.layer, (dr.Conv2D, dr.Dense)) and "shortcut" not in visit.path]
        assert len(weighted) == 6 * blocks + 2
    assert dr.models.resnet().summary().parameters == 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64)    # option A, and the projections
    shapes = [tuple(visit.output_shape[1:]) for visit in dr.models.resnet().plan.visits if isinstance(visit.layer, dr.Residual)]
    assert shapes == [(32, 32, 16)] * 3 + [(16, 16, 32)] * 3 + [(8, 8, 64)] * 3


def test_unet_has_the_published_size_and_skips():
    """Ronneberger et al. 2015, figure 1: 23 convolutional layers; 31.03 million parameters."""
    net = dr.models.unet((16, 16, 1), 2, depth=4, width=64)
    convolutions = [visit for visit in net.plan.visits if isinstance(visit.layer, (dr.Conv2D, dr.ConvTranspose2D))]
    assert len(convolutions) == 23
    sizes, before, expected = [64, 128, 256, 512, 1024], 1, 0
    for F in sizes:
        expected, before = expected + 9 * before * F + F + 9 * F * F + F, F
    for F in sizes[-2::-1]:
        expected += 4 * 2 * F * F + F + 9 * 2 * F * F + F + 9 * F * F + F
    assert net.summary().parameters == expected + 64 * 2 + 2 == 31_030_658
    outermost = next(visit for visit in net.plan.visits if isinstance(visit.layer, dr.Skip))
    assert tuple(outermost.output_shape[1:]) == (16, 16, 128)


def test_unet_sees_single_pixels_through_its_skips():
    """A mask that only the finest level can know: which single pixels are bright."""
    x = (RNG.uniform(size=(40, 8, 8, 1)) < 0.3).astype("float32")
    net = dr.models.unet((8, 8, 1), 2, depth=2, width=4)
    net.fit(x, x[..., 0].astype(int), optimizer=dr.Adam(0.01), epochs=40, batch_size=8, augment=dr.augment.Flip(vertical=True),
            progress=False)
    assert net.evaluate(x, x[..., 0].astype(int))["accuracy"] > 0.99


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: dr.models.unet((28, 28, 1), depth=4), ShapeError,
     r"unet of depth 4 expected height and width divisible by 16, received 28 x 28; pad the images, or use less depth"),
    (lambda: dr.models.unet((64, 64)), ShapeError, r"unet expected input_shape=\(height, width, channels\), received \(64, 64\)"),
    (lambda: dr.models.unet(depth=0), DeltaruleError, r"unet expected depth to be a whole number from 1 on, received 0"),
    (lambda: dr.models.lenet5(pool="mean"), DeltaruleError, r"lenet5 has no pool 'mean'; known: average, max"),
    (lambda: dr.models.lenet5((4, 4, 1)), ShapeError, r"Conv2D has a kernel over 5 values, the input has 2"),
    (lambda: dr.models.convnet(filters=()), DeltaruleError, r"convnet expected filters for at least one block, received \(\)"),
    (lambda: dr.models.convnet(filters=(8, 0)), DeltaruleError, r"convnet expected filters to be whole numbers from 1 on.*received 0"),
    (lambda: dr.models.convnet(classes=0), DeltaruleError, r"convnet expected classes to be a whole number from 1 on, received 0"),
    (lambda: dr.models.convnet((3, 3, 1)), ShapeError, r"MaxPool2D has a window of 2 over 1 values"),
    (lambda: dr.models.resnet(blocks=1.5), DeltaruleError, r"resnet expected blocks to be a whole number from 1 on, received 1\.5"),
    (lambda: dr.models.resnet(widths=()), DeltaruleError, r"resnet expected widths to be whole numbers from 1 on, .* received \(\)"),
    (lambda: dr.models.mlp(hidden=(3, "7")), DeltaruleError, r"mlp expected hidden to be whole numbers from 1 on.*received \(3, '7'\)"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
