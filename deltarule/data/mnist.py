"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes and Burges 1998), read from their original IDX files.

An IDX file is a big-endian header (two zero bytes, a byte for the type, a byte for the number of axes, then each length in four
bytes) followed by the values. The reader believes none of it: sizes are compared with what the file really holds.
"""

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from deltarule.data.dataset import Dataset
from deltarule.errors import DataError

SHA256 = {
    "train-images-idx3-ubyte.gz": "db8f937d487057fb14a9f0fbe97f0bc8d311ab41b750d41e1ff37c43b9e55e19",
    "train-labels-idx1-ubyte.gz": "51fc562b6747b666fbf6e84ce29d43c3cb5f9c388c664d43b33f02095313405a",
    "t10k-images-idx3-ubyte.gz": "cfeddb84311ecf044fc6a5b0f6ee8a24d265d4e83e388400186eb114082f4209",
    "t10k-labels-idx1-ubyte.gz": "e41c74e484045d39b462a7790a4af51301bd9b0b24f0154798d713ec68c45920",
}
ADDRESSES = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
SECONDS = 30.0  # without an answer
MOST_BYTES = 2**30  # that an IDX file may hold
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def mnist(folder: str | os.PathLike[str] | None = None, flat: bool = True) -> tuple[Dataset, Dataset]:
    """The 60,000 training and 10,000 test images as `(train, test)`: x float32 in 0 ... 1, `(n, 784)` or, not flat, `(n, 28, 28, 1)`.

    The four IDX files (as they are or gzipped) are looked for in `folder` and `folder/mnist`, else in the folder named by the
    environment variable DELTARULE_DATA, else in the user's cache, where they are downloaded to and checked by SHA-256.
    Raises DataError for files that are missing, damaged or do not fit together, and where there is no network.
    """
    place = _place(folder)
    return _part(place, "train", flat), _part(place, "t10k", flat)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in the machine's byte order.

    Raises DataError, naming the file, for a wrong header, a size that the header does not announce, more than 1 GiB, and
    damaged compression.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "labels"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    >>> read_idx(file)
    array([5, 0, 4], dtype=uint8)
    """
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _values(cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if zipped else raw, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; fetch it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _values(stream: IO[bytes], file: str) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or magic[3] == 0:
        raise DataError(f"{file} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, expected 00 00, a type and the number "
                        f"of axes")
    dtype, axes = np.dtype(DTYPES[magic[2]]), magic[3]
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise DataError(f"{file} is truncated inside its header; fetch it again")
    shape = tuple(int.from_bytes(lengths[i:i + 4], "big") for i in range(0, 4 * axes, 4))
    size = math.prod(shape) * dtype.itemsize
    if size > MOST_BYTES:
        raise DataError(f"{file} announces an array of shape {shape}, {size} bytes; at most {MOST_BYTES} are read")
    data = stream.read(size + 1)
    if len(data) < size:
        raise DataError(f"{file} is truncated: its header announces {size} bytes of values, it holds {len(data)}; fetch it again")
    if len(data) > size:
        raise DataError(f"{file} holds more than the {size} bytes of values that its header announces; fetch it again")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _part(place: Path, part: str, flat: bool) -> Dataset:
    image_file, label_file = _file(place, f"{part}-images-idx3-ubyte"), _file(place, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise DataError(f"{image_file} holds {images.dtype} of shape {images.shape}, expected uint8 of shape (n, 28, 28)")
    if labels.shape != (len(images),) or labels.dtype != np.uint8 or (len(labels) and labels.max() > 9):
        raise DataError(f"{label_file} holds {labels.dtype} of shape {labels.shape}, expected the digits 0 to 9 of {len(images)} images")
    x = (images / np.float32(255)).reshape((-1, 784) if flat else (-1, 28, 28, 1))
    names = tuple(f"pixel_{row}_{column}" for row in range(28) for column in range(28)) if flat else ()
    name = "mnist" if part == "train" else "mnist (test part)"
    return Dataset(x, labels.astype(np.int32), names, tuple("0123456789"), "digit", name,
                   f"MNIST database of handwritten digits (LeCun, Cortes and Burges 1998), {place}",
                   ("each row is an image of 28 x 28 pixels, row by row; inks 0 ... 255 were divided by 255",))


def _file(place: Path, stem: str) -> Path:
    """The gzipped file, or the plain one where that is there."""
    return place / stem if (place / stem).is_file() else place / f"{stem}.gz"


def _place(folder: str | os.PathLike[str] | None) -> Path:
    """The folder that holds the four files."""
    named = folder if folder is not None else os.environ.get("DELTARULE_DATA")
    if named:
        for place in (Path(named), Path(named) / "mnist"):
            if all(_file(place, name.removesuffix(".gz")).is_file() for name in SHA256):
                return place
        if folder is not None:
            raise DataError(f"{named} does not hold MNIST: expected {_wanted()} in it or in its folder mnist")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deltarule" / "mnist"
    for name, digest in SHA256.items():
        if not (cache / name).is_file():
            _download(name, digest, cache)
    return cache


def _download(name: str, digest: str, cache: Path) -> None:
    """Fetch one file into the cache: whole and with the right digest, or not at all."""
    import urllib.request

    reasons = []
    for address in ADDRESSES:
        try:
            with urllib.request.urlopen(address + name, timeout=SECONDS) as answer:
                data = answer.read(MOST_BYTES)
        except OSError as error:  # URLError and timeouts are among them
            reasons.append(str(error))
            continue
        if hashlib.sha256(data).hexdigest() == digest:
            _write(data, cache / name)
            return
        reasons.append(f"what {address} sent has another SHA-256")
    raise DataError(f"MNIST could not be downloaded ({'; '.join(reasons)}); put {_wanted()} into a folder mnist and set DELTARULE_DATA to "
                    f"the folder that holds it")


def _write(data: bytes, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
        os.replace(part.name, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}; set DELTARULE_DATA to a folder that holds mnist") from None


def _wanted() -> str:
    return ", ".join(SHA256)
