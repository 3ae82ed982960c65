"""Convolutional networks for classes of images: the lecture's, and the one that began it, LeNet-5."""

from collections.abc import Sequence
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.layers import AveragePool2D, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D
from deltarule.models.settings import image_shape, whole_number, whole_numbers
from deltarule.network import Network
from deltarule.spec import nearest

POOLS = {"average": AveragePool2D, "max": MaxPool2D}


def convnet(input_shape: Sequence[int] = (28, 28, 1), classes: int = 10, filters: Sequence[Any] | int = (32, 64),
            hidden: Sequence[int] | int = (128,), *, dropout: float = 0.0, seed: int = 0) -> Network:
    """[Conv ReLU Conv ReLU Pool] x k, Flatten, Dense, Softmax: the lecture's network for images (Baron; lecture row 32).

    Shapes: images (height, width, channels) -> (classes,). `filters` holds one entry for each of the k blocks: the filters of both of its
    3 x 3 convolutions (padding "same"), or a tuple with those of each. Pooling takes the maximum of 2 x 2. `hidden` holds the units of the
    dense layers before the last; `dropout` acts after each block (half of it) and each hidden layer. Raises DeltaruleError or ShapeError
    for settings out of range and images too small to be halved k times.

    >>> net = convnet((28, 28, 1), 10, filters=(32, 64))
    >>> 9 * 32 + 32 + 288 * 32 + 32 + 288 * 64 + 64 + 576 * 64 + 64 + 7 * 7 * 64 * 128 + 128 + 128 * 10 + 10 == net.summary().parameters
    True
    """
    shape = image_shape("convnet", input_shape)
    blocks = filters if isinstance(filters, (tuple, list)) else (filters,)
    if not blocks:
        raise DeltaruleError(f"convnet expected filters for at least one block, received {filters!r}")
    layers: list[Layer] = []
    for block in blocks:
        each = whole_numbers("convnet", "filters", block)
        layers += [Conv2D(F, 3, "relu", padding="same") for F in (each * 2 if len(each) == 1 else each)]
        layers += [MaxPool2D(2), *([Dropout(dropout / 2)] if dropout else [])]
    layers.append(Flatten())
    for units in whole_numbers("convnet", "hidden", hidden, least=0):
        layers += [Dense(units, "relu"), *([Dropout(dropout)] if dropout else [])]
    return Network([*layers, Dense(whole_number("convnet", "classes", classes), "softmax")], shape, seed)


def lenet5(input_shape: Sequence[int] = (28, 28, 1), classes: int = 10, *, activation: str = "tanh", pool: str = "average",
           seed: int = 0) -> Network:
    """Conv 6, Pool, Conv 16, Pool, Flatten, Dense 120, Dense 84, Softmax, with 5 x 5 kernels: LeNet-5 (LeCun et al. 1998, figure 2).

    The modern form: every map of the second convolution sees all six of the first (the paper leaves out 900 of the 2,400 weights), pooling
    has no weights of its own, and softmax with cross-entropy is in place of distances to drawn prototypes. The paper's images are 32 x 32;
    smaller ones are surrounded by zeros ("same" padding of the first convolution), so that 28 x 28 gives the same sizes from there on.
    Shapes: images (height, width, channels) -> (classes,). `activation` "tanh" and `pool` "average" are the paper's; "relu" and "max"
    learn faster. Raises DeltaruleError or ShapeError for settings out of range.

    >>> lenet5().summary().parameters       # 156 + 2,416 + 48,120 + 10,164 + 850
    61706
    >>> lenet5((32, 32, 1)).summary().parameters
    61706
    """
    height, width, channels = image_shape("lenet5", input_shape)
    if pool not in POOLS:
        raise DeltaruleError(f"lenet5 has no pool {pool!r}{nearest(str(pool), POOLS)}")
    padding = "valid" if min(height, width) >= 32 else "same"
    return Network([Conv2D(6, 5, activation, padding=padding), POOLS[pool](2), Conv2D(16, 5, activation), POOLS[pool](2), Flatten(),
                    Dense(120, activation), Dense(84, activation), Dense(whole_number("lenet5", "classes", classes), "softmax")],
                   (height, width, channels), seed)
