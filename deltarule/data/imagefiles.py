"""One image file becomes an array (height, width, channels) of float32, or one line that says why it cannot.

PNG, JPEG and TIFF are read by Pillow, NPY by NumPy, FITS by astropy where it is installed. What the numbers mean:

- bytes and 16-bit integers are divided by the largest value of their type, 255 or 65,535, so that they lie in 0 ... 1;
- floats, and whatever a FITS file holds, are measurements and stay as they are; none may be NaN or infinite;
- palettes become their colours, transparent pixels are laid over white, and a photo is turned upright as its EXIF tag says;
- of a file with several pages the first is read. Pillow keeps 8 of the 16 bits of a colour PNG or TIFF.
"""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data.arrays import all_finite, unit_range
from deltarule.errors import DataError, DeltaruleError
from deltarule.files import shown

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FITS = (".fits", ".fit", ".fts")
ENDINGS = (*PICTURES, ".npy", *FITS)
FORMATS = ("PNG", "JPEG", "TIFF")
MOST_PIXELS = 100_000_000                   # of one image: a file of a few bytes can claim to hold any number
MOST_CHANNELS = 8                           # an array with more values at its end does not have its channels there
TURNED = (5, 6, 7, 8)                       # EXIF orientations that exchange height and width
LUMA = (0.299, 0.587, 0.114)                # of red, green and blue (ITU-R BT.601)


@dataclasses.dataclass(frozen=True)
class Look:
    """What the head of an image file says: its size, its channels, and what is worth a note ("pages", "transparent" or "")."""

    height: int
    width: int
    channels: int
    remark: str = ""


def look(path: Path) -> Look:
    """The head of an image file, without its pixels. Raises DataError, whose text is the reason alone, where it is no image.

    Raises DeltaruleError for an image of more pixels than are allowed, and for a FITS file where astropy is missing.
    """
    with _reasons(path):
        if path.suffix.lower() == ".npy":
            found = Look(*_shape(_array(path).shape))
        elif path.suffix.lower() in FITS:
            with _fits(path) as shape_and_data:
                found = Look(*_shape(shape_and_data[0]))
        else:
            with _opened(path) as picture:
                found = _look_at(picture)
    if found.height * found.width > MOST_PIXELS:
        raise DeltaruleError(_too_large(path, f"{found.height:,} x {found.width:,}"))
    return found


def read(path: Path) -> np.ndarray:
    """The image (height, width, channels), float32. Raises DataError, whose text is the reason alone, where it cannot be read."""
    with _reasons(path):
        if path.suffix.lower() == ".npy":
            array = unit_range(np.asarray(_array(path)), "it")
        elif path.suffix.lower() in FITS:
            with _fits(path) as (shape, data):
                array = np.asarray(data, np.float32)
                array = array if len(shape) == 2 else np.moveaxis(array, 0, -1)
        else:
            with _opened(path) as picture:
                array = _pixels(picture)
        array = array.reshape(_shape(array.shape))
        if not all_finite(array):
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            count = int((~np.isfinite(array)).sum())
            values = "1 value that is" if count == 1 else f"{count:,} values that are"
            raise DataError(f"it holds {values} not finite (first: {array[first]} at {first})")
        return array


def in_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image (height, width, 1 or 3) with so many channels: grey three times over, or the brightness 0.299 R + 0.587 G + 0.114 B.

    >>> in_channels(np.ones((2, 2, 3), np.float32), 1).shape
    (2, 2, 1)
    """
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    return (image @ np.array(LUMA, np.float32))[..., None]


def in_size(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (height, width, channels) at another size, with its aspect kept; what is left gets the mean of the edge.

    Every new pixel is the average of the old ones around it (Pillow's bilinear filter, which widens where an image becomes smaller).

    >>> in_size(np.ones((4, 8, 1), np.float32), (4, 4))[..., 0].tolist() == np.ones((4, 4)).tolist()
    True
    """
    from PIL import Image

    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    if inner != (height, width):
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, -1, 0)]
        image = np.stack([np.asarray(plane.resize(inner[::-1], Image.Resampling.BILINEAR)) for plane in planes], axis=-1)
    edge = np.ones(inner, bool)
    edge[1:-1, 1:-1] = False
    whole = np.broadcast_to(image[edge].mean(axis=0, dtype=np.float64).astype(np.float32), (*size, image.shape[-1])).copy()
    top, left = ((total - part) // 2 for total, part in zip(size, inner, strict=True))
    whole[top:top + inner[0], left:left + inner[1]] = image
    return whole


# ----------------------------------------------------------------------------------------------------------------- pictures

@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The picture in a file; its pixels are not read yet."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # the size is checked by `look`, odd tags do no harm
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as picture:
            yield picture       # given the path, Pillow 13 maps a TIFF into memory and mixes up the pixels of one that lies on its side


def _look_at(picture: Any) -> Look:
    turned = picture.format in ("JPEG", "MPO") and picture.getexif().get(0x0112) in TURNED     # Pillow turns a TIFF itself; a PNG
    # would have to be read whole for its tag, and such a photo is brought to size when it is read
    width, height = picture.size[::-1] if turned else picture.size
    pages = picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1
    remark = "pages" if pages else "transparent" if _transparent(picture) else ""
    return Look(height, width, 1 if _is_grey(picture) else 3, remark)


def _is_grey(picture: Any) -> bool:
    return picture.mode in ("1", "L", "LA", "La", "F", "I") or picture.mode.startswith("I;16")


def _transparent(picture: Any) -> bool:
    return picture.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in picture.info


def _pixels(picture: Any) -> np.ndarray:
    """The pixels of a picture, upright: (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps

    grey, transparent = _is_grey(picture), _transparent(picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "I":
        raise DataError("it holds signed or 32-bit integers, whose range is unknown; save it with 16 bits, or as floats in a .npy file")
    if picture.mode == "F" or picture.mode.startswith("I;16"):
        return unit_range(np.asarray(picture), "it")
    if transparent:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return unit_range(np.asarray(picture.convert("L" if grey else "RGB")), "it")


# ------------------------------------------------------------------------------------------------------------ arrays and FITS

def _array(path: Path) -> np.ndarray:
    """The array in a .npy file, whose numbers are read when they are asked for; pickled objects are refused."""
    return np.lib.format.open_memmap(path, mode="r")


@contextmanager
def _fits(path: Path) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Shape (height, width) or (height, width, planes), and data (planes first, as FITS has them), of the first image in a FITS file."""
    try:
        from astropy.io import fits
    except ImportError:
        raise DeltaruleError(f"{shown(path)} is a FITS file, which needs astropy to be read; pip install 'deltarule[fits]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*truncated")
        with open(path, "rb") as file, fits.open(file, memmap=False) as parts:
            part = next((part for part in parts if part.is_image and len(part.shape) in (2, 3)), None)
            if part is None:
                raise DataError("it holds no image of two axes, or of three with the planes first")
            shape = part.shape if len(part.shape) == 2 else (*part.shape[1:], part.shape[0])
            yield shape, _Later(part)


class _Later:
    """The data of a part of a FITS file, read when an array is made of it."""

    def __init__(self, part: Any):
        self._part = part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._part.data, dtype)


# ------------------------------------------------------------------------------------------------------------------- reasons

def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape with a channel axis. Raises DataError for another number of axes and for channels that do not stand last."""
    whole = (*shape, 1) if len(shape) == 2 else shape
    if len(whole) != 3 or 0 in whole:
        raise DataError(f"it has shape {tuple(shape)}, expected (height, width) or (height, width, channels)")
    if whole[2] > MOST_CHANNELS:
        raise DataError(f"it has shape {tuple(shape)}: {whole[2]} channels, expected at most {MOST_CHANNELS}; "
                        f"channels stand last, write np.moveaxis(image, 0, -1) where they stand first")
    return whole[0], whole[1], whole[2]


def _too_large(path: Path, size: str) -> str:
    return f"{shown(path)} has {size} pixels, more than the {MOST_PIXELS:,} allowed for one image; make it smaller or take it out"


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """What the readers raise becomes a DataError whose text is the reason, to be told after the name of the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except DeltaruleError:
        raise
    except Image.DecompressionBombError:
        raise DeltaruleError(_too_large(path, "too many")) from None
    except UnidentifiedImageError:
        raise DataError("it is damaged, or no PNG, JPEG or TIFF") from None
    except OSError as error:
        damaged = error.errno is None       # Pillow's own
        raise DataError(f"it is damaged: {error}" if damaged else f"it cannot be read: {error.strerror or error}") from None
    except Exception as error:      # whatever a hostile file can provoke in the readers
        if "Python objects" in str(error):
            raise DataError("it holds Python objects, which could run code; expected numbers") from None
        raise DataError(f"it is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None
