"""Networks that say something about every pixel."""

from collections.abc import Sequence

from deltarule.errors import ShapeError
from deltarule.layers import Conv2D, ConvTranspose2D, Layer, MaxPool2D, Skip
from deltarule.models.settings import image_shape, whole_number
from deltarule.network import Network


def unet(input_shape: Sequence[int] = (64, 64, 1), classes: int = 2, depth: int = 3, width: int = 16, *, output: str = "softmax",
         seed: int = 0) -> Network:
    """Down by pooling, up by transposed convolution, at each size a skip from the way down to the way up (Ronneberger et al. 2015).

        level(0) = C(F)                level(d) = C(F), [x, Up(level(d - 1)(Pool(x)))], C(F),  with twice the F inside

    where C(F) is Conv ReLU Conv ReLU with F filters, Up a 2 x 2 transposed convolution of stride 2, Pool the maximum of 2 x 2, and F =
    `width` outside; a 1 x 1 convolution and `output` end it. As in the paper, but for padding "same": masks are as large as images.
    The paper's network is depth 4, width 64. Shapes: images (height, width, channels) -> (height, width, classes), probabilities of the
    classes of each pixel with output "softmax"; "sigmoid" for one yes or no each, "linear" for numbers. Targets are masks of class numbers
    (n, height, width). Raises ShapeError unless height and width are divisible by 2^depth, DeltaruleError for settings out of range.

    >>> unet((64, 64, 1), classes=2).output_shape
    (64, 64, 2)
    >>> unet((16, 16, 1), classes=2, depth=4, width=64).summary().parameters        # 31 million
    31030658
    """
    height, wide, channels = image_shape("unet", input_shape)
    depth, F = whole_number("unet", "depth", depth), whole_number("unet", "width", width)
    if height % 2**depth or wide % 2**depth:
        raise ShapeError(f"unet of depth {depth} expected height and width divisible by {2**depth}, received {height} x {wide}; "
                         f"pad the images, or use less depth")
    last = Conv2D(whole_number("unet", "classes", classes), 1, output)
    return Network([*_level(depth, F), last], (height, wide, channels), seed)


def _level(depth: int, F: int) -> list[Layer]:
    convolutions: list[Layer] = [Conv2D(F, 3, "relu", padding="same"), Conv2D(F, 3, "relu", padding="same")]
    if depth == 0:
        return convolutions
    inside = Skip([MaxPool2D(2), *_level(depth - 1, 2 * F), ConvTranspose2D(F, 2, stride=2)])   # type: ignore[arg-type]
    return [*convolutions, inside, *convolutions]
