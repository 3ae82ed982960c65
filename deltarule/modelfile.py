"""The model file: arrays and a description in one safetensors file, which can hold no code and is checked before it is used.

    8 bytes     length n of the table, little-endian
    n bytes     the table as ASCII JSON, filled with blanks to a multiple of 8: for each tensor its dtype,
                shape and data_offsets, and under "__metadata__" five texts
    the rest    the bytes of the tensors, little-endian, one after the other without gaps

The five texts: `format` is "deltarule"; `format_version` counts the versions of this layout; `deltarule_version`
wrote the file; `header` is the model's description as JSON; `sha256` is the digest of the table without
`sha256` itself (as JSON with sorted keys, no blanks, ASCII) followed by the rest of the file.

The digest finds accidents. It cannot stop malice, since anyone can compute it; so every other check holds for
a file whose digest is right, and holds before the safetensors library sees it. That library reads
what its specification (https://github.com/huggingface/safetensors#format) forbids, such as a key that occurs
twice, and what we do not want, such as a tensor named "../../x".

Equal models give equal bytes: no date, no random order.
"""

import hashlib
import json
import math
import re
import reprlib
from typing import Any, NoReturn

import numpy as np

from deltarule import __version__
from deltarule.errors import DeltaruleError, ModelFileError
from deltarule.files import StrPath, read_bytes, shown, write_atomically

FORMAT_VERSION = 1
MAX_FILE = 2**34  # bytes
MAX_TABLE = 2**24  # bytes
MAX_TENSORS = 10_000
MAX_AXES = 32
MAX_DEPTH = 100  # of the description's nesting

NAME = re.compile(r"(?!/)(?!.*\.\.)(?!__metadata__$)[A-Za-z0-9_./-]{1,200}")
TEXTS = {"format", "format_version", "deltarule_version", "header", "sha256"}
DTYPES = {code: np.dtype(name) for code, name in [
    ("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2"), ("I64", "<i8"), ("I32", "<i4"), ("I16", "<i2"), ("I8", "i1"),
    ("U64", "<u8"), ("U32", "<u4"), ("U16", "<u2"), ("U8", "u1"), ("BOOL", "?")]}


def write_model(path: StrPath, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    """Write the description `header` (plain JSON) and `arrays` (any shapes) to one file, whole or not at all; returns its size in bytes.

    Names are made of letters, digits and `_ . / -`; dtypes are bool, int8 to uint64 and float16 to float64, kept as they are.
    What would be written is read back first, so a file that exists can be loaded. Raises ModelFileError for what
    a model file cannot hold (numbers that are not finite, among others), DeltaruleError where `path` cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = write_model(f"{folder}/model.safetensors", {"units": 2}, {"dense_1/bias": np.zeros(2)})
    ...     read_model(f"{folder}/model.safetensors")
    ({'units': 2}, {'dense_1/bias': array([0., 0.])})
    """
    try:
        data = _encode(header, arrays)
        if _decode(data)[0] != header:
            raise ModelFileError("has a header that JSON would change; expected text as keys, and lists instead of tuples")
    except ModelFileError as error:
        raise ModelFileError(f"cannot save {shown(path)}: the model {error}") from None
    write_atomically(path, data)
    return len(data)


def read_model(path: StrPath) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays (sorted by name, writable, in memory of their own) that `write_model` put into `path`.

    Raises ModelFileError for anything else: missing, truncated, altered, foreign, hostile or from a newer version.

    >>> read_model("nowhere.safetensors")
    Traceback (most recent call last):
        ...
    deltarule.errors.ModelFileError: cannot read nowhere.safetensors: it does not exist
    """
    try:
        data = read_bytes(path, MAX_FILE)
    except DeltaruleError as error:
        raise ModelFileError(str(error)) from None
    except MemoryError:
        raise ModelFileError(f"{shown(path)} does not fit into memory") from None
    try:
        return _decode(data)
    except ModelFileError as error:
        raise ModelFileError(f"{shown(path)} {error}") from None
    except MemoryError:
        raise ModelFileError(f"{shown(path)} does not fit into memory") from None


# Writing. The texts of the errors below continue "the model ..." or "FILE ...".


def _encode(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    body = save({name: _storable(name, array) for name, array in arrays.items()})
    start = 8 + int.from_bytes(body[:8], "little")
    table, payload = json.loads(body[8:start]), memoryview(body)[start:]
    try:
        description = json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"has a header that is not plain JSON ({error})") from None
    table["__metadata__"] = {"format": "deltarule", "format_version": str(FORMAT_VERSION),
                             "deltarule_version": __version__, "header": description}
    table["__metadata__"]["sha256"] = _digest(table, payload)
    text = _canonical(table)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + payload


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """The array in C order and little-endian, as the file keeps it."""
    _check_name(name)
    if not isinstance(array, np.ndarray):
        raise ModelFileError(f"has the tensor {name!r} as {type(array).__name__}, expected a NumPy array")
    dtype = array.dtype.newbyteorder("<")
    if dtype not in DTYPES.values():
        raise ModelFileError(f"has the tensor {name!r} of dtype {array.dtype}, expected bool, an integer or float16 to float64")
    return np.asarray(array, dtype=dtype, order="C")


def _canonical(table: dict[str, Any]) -> bytes:
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode("ascii")


def _digest(table: dict[str, Any], payload: memoryview) -> str:
    texts = {key: text for key, text in table["__metadata__"].items() if key != "sha256"}
    digest = hashlib.sha256(_canonical(table | {"__metadata__": texts}))
    digest.update(payload)
    return digest.hexdigest()


# Reading.


def _decode(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every check, then the content."""
    table, payload = _split(data)
    texts = _check_texts(table.get("__metadata__"))
    _check_tensors({name: entry for name, entry in table.items() if name != "__metadata__"}, len(payload))
    if _digest(table, payload) != texts["sha256"]:
        raise ModelFileError("was altered or damaged after it was written (its SHA-256 is another one); take an intact copy")
    header = _parse(texts["header"], "header")
    _check_depth(header)
    arrays = _load(data)
    for name, array in arrays.items():
        _check_values(name, array)
    return header, arrays


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The table of the file and the bytes that follow it."""
    if len(data) < 8:
        raise ModelFileError(f"is no model file: it has only {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_TABLE:
        raise ModelFileError(f"is no model file: it announces a table of {length} bytes, more than the {MAX_TABLE} allowed")
    if 8 + length > len(data):
        raise ModelFileError(f"is truncated: it has {len(data)} bytes, its table alone needs {8 + length}")
    if data[8:9] != b"{" or length == 0:
        raise ModelFileError("is no model file: its table does not begin with '{'")
    try:
        text = data[8:8 + length].decode("ascii")
    except UnicodeDecodeError:
        raise ModelFileError("is no model file, or damaged: its table is not ASCII text") from None
    return _parse(text, "table"), memoryview(data)[8 + length:]


def _parse(text: str, what: str) -> dict[str, Any]:
    """The JSON object in `text`, with no key twice and no number that is not finite."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"has a {what} that is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"has a {what} that is not a JSON object but {reprlib.repr(value)}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise ValueError(f"the key {reprlib.repr(key)} occurs twice")
        keys.add(key)
    return dict(pairs)


def _not_finite(number: str) -> NoReturn:
    raise ValueError(f"{reprlib.repr(number)} is not a finite number")


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _not_finite(number)


def _check_texts(texts: Any) -> dict[str, str]:
    """The metadata: our format, a version that we can read, five texts."""
    if not isinstance(texts, dict) or texts.get("format") != "deltarule":
        raise ModelFileError("was not written by deltarule; expected a file saved by it")
    if not all(isinstance(text, str) for text in texts.values()):
        raise ModelFileError("has metadata that is not text")
    version = texts.get("format_version", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", version):
        raise ModelFileError(f"has the file format {reprlib.repr(version)}, expected a whole number")
    if int(version) > FORMAT_VERSION:
        raise ModelFileError(f"was written by a newer deltarule (file format {version}, this version reads {FORMAT_VERSION}); "
                             "upgrade deltarule")
    if texts.keys() != TEXTS:
        raise ModelFileError(f"has the metadata {reprlib.repr(sorted(texts))}, expected {', '.join(sorted(TEXTS))}")
    return texts


def _check_tensors(table: dict[str, Any], size: int) -> None:
    """Names, dtypes and shapes; and that the tensors fill the `size` bytes without gap or overlap."""
    if len(table) > MAX_TENSORS:
        raise ModelFileError(f"has {len(table)} tensors, more than the {MAX_TENSORS} allowed")
    position = 0
    for begin, end, name in sorted(_span(name, entry) for name, entry in table.items()):
        if begin != position:
            raise ModelFileError(f"has the tensor {name!r} at byte {begin}, expected at {position}: gap or overlap")
        position = end
    if position > size:
        raise ModelFileError(f"is truncated: its tensors need {position} bytes, {size} are there")
    if position < size:
        raise ModelFileError(f"is too long: its tensors need {position} bytes, {size} are there")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """First byte, byte after the last, and name of a tensor whose entry in the table is sound."""
    _check_name(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"has the tensor {name!r} described as {reprlib.repr(entry)}, expected dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ModelFileError(f"has the tensor {name!r} of dtype {reprlib.repr(code)}, expected one of {', '.join(DTYPES)}")
    if not _whole(shape) or len(shape) > MAX_AXES or math.prod(max(n, 1) for n in shape) > MAX_FILE:
        raise ModelFileError(f"has the tensor {name!r} with the impossible shape {reprlib.repr(shape)}")
    if not _whole(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * DTYPES[code].itemsize:
        raise ModelFileError(f"has the tensor {name!r} of shape {reprlib.repr(shape)} and dtype {code} at the bytes "
                             f"{reprlib.repr(offsets)}, which do not fit together")
    return offsets[0], offsets[1], name


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n <= MAX_FILE for n in numbers)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ModelFileError(f"has a tensor named {reprlib.repr(name)}; expected at most 200 letters, digits and _ . / -, "
                             "no '..' and no slash at the front")


def _check_depth(header: dict[str, Any]) -> None:
    """At most MAX_DEPTH lists and objects in one another, so that nothing that walks through them exhausts the stack."""
    level: list[Any] = [header]
    for _ in range(MAX_DEPTH):
        containers = [value for value in level if isinstance(value, (dict, list))]
        level = [item for value in containers for item in (value.values() if isinstance(value, dict) else value)]
    if any(isinstance(value, (dict, list)) for value in level):
        raise ModelFileError(f"has a header nested deeper than {MAX_DEPTH} levels")


def _load(data: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise ModelFileError(f"is refused by the safetensors library ({' '.join(str(error).split())[:200]})") from None
    return dict(sorted(arrays.items()))


def _check_values(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFileError(f"has numbers that are not finite (NaN or infinite) in the tensor {name!r}")
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise ModelFileError(f"has truth values other than 0 and 1 in the tensor {name!r}")
