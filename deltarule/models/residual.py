"""Residual networks."""

from collections.abc import Sequence

from deltarule.layers import Activation, BatchNorm, Conv2D, Dense, GlobalAveragePool, Layer, Residual
from deltarule.models.settings import image_shape, whole_number, whole_numbers
from deltarule.network import Network


def resnet(input_shape: Sequence[int] = (32, 32, 3), classes: int = 10, blocks: int = 3, widths: Sequence[int] | int = (16, 32, 64), *,
           seed: int = 0) -> Network:
    """Conv BatchNorm ReLU, [h = ReLU(s(x) + f(x))] x 3n, global average, Softmax; f = Conv BatchNorm ReLU Conv BatchNorm (He et al. 2016).

    The form for small images of the paper's section 4.2: n = `blocks` residual blocks at each of the `widths`, the first block of every
    width but the first halves the image by a stride of 2; 6n + 2 layers with weights for three widths, so that n = 3 is ResNet-20.
    Where sizes differ the shortcut s is a projection, a 1 x 1 convolution of stride 2 with BatchNorm (the paper's option B; its option A,
    zeros for the new channels, saves 2,752 of 272,474 parameters). As there, zeros
    surround the images on all sides, with a stride as well (padding "same" would put them behind alone), and weights start from HeNormal.
    Shapes: images (height, width, channels) -> (classes,). Raises DeltaruleError or ShapeError for settings out of range.

    >>> resnet().summary().parameters       # the paper: 0.27 million
    272474
    """
    shape = image_shape("resnet", input_shape)
    sizes = whole_numbers("resnet", "widths", widths)
    layers: list[Layer] = [*_normed(sizes[0], 3, 1), Activation("relu")]
    before = sizes[0]
    for stage, F in enumerate(sizes):
        for block in range(whole_number("resnet", "blocks", blocks)):
            stride = 2 if stage > 0 and block == 0 else 1
            f = [*_normed(F, 3, stride), Activation("relu"), *_normed(F, 3, 1)]
            layers += [Residual(f, _normed(F, 1, stride) if stride > 1 or before != F else None), Activation("relu")]  # type: ignore[arg-type]
            before = F
    return Network([*layers, GlobalAveragePool(), Dense(whole_number("resnet", "classes", classes), "softmax")], shape, seed)


def _normed(filters: int, kernel: int, stride: int) -> list[Layer]:
    """A convolution without bias, and BatchNorm, which has one."""
    return [Conv2D(filters, kernel, stride=stride, padding=kernel // 2, use_bias=False, weights="he_normal"), BatchNorm()]
