"""The model file: what goes in comes out, bit for bit; anything else, however it was made, is one line of ModelFileError."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import deltarule
from deltarule import modelfile
from deltarule.errors import DeltaruleError, ModelFileError
from deltarule.modelfile import DTYPES, read_model, write_model

HEADER = {"architecture": {"class": "Dense", "units": 3}, "classes": ["größer", 'a"b'], "rate": 0.1, "seed": None, "scaled": True}
ARRAYS = {
    "dense_1/weights": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "dense_1/bias": np.array([0.1, -0.0, 5e-324]),
    "steps": np.array(7),
    "none": np.zeros((0, 3), np.float16),
    "mask": np.array([True, False, True]),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("model") / "m.safetensors"


@pytest.fixture(scope="module")
def good(path):
    """The bytes of a good file."""
    write_model(path, HEADER, ARRAYS)
    return path.read_bytes()


def same(left, right):
    """The same names, dtypes, shapes and bits."""
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and left[name].shape == right[name].shape and left[name].tobytes() == right[name].tobytes()
        for name in left)


def refusal(path, data=None):
    """Why the file is refused: the text of the error after the file's name."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 600
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert str(path) in text
    return text.removeprefix(f"{path} ")


def attempt(path, data):
    """What the file holds, or None where it is refused."""
    path.write_bytes(data)
    try:
        return read_model(path)
    except ModelFileError:
        assert refusal(path)
        return None


def sealed(table, payload=b"", metadata=None, edit=lambda text: text, digest=None):
    """A file with any table, whose digest is right: an attacker can compute it. Built from the format's description alone."""
    texts = {"format": "deltarule", "format_version": "1", "deltarule_version": "0", "header": "{}"} | (metadata or {})
    texts = {key: text for key, text in texts.items() if text is not None}
    plain = json.dumps(table | {"__metadata__": texts}, sort_keys=True, separators=(",", ":")).encode()
    texts["sha256"] = digest or hashlib.sha256(plain + payload).hexdigest()
    text = edit(json.dumps(table | {"__metadata__": texts}).encode())
    return len(text).to_bytes(8, "little") + text + payload


def tensor(dtype="F32", shape=(), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


# What goes in comes out.


def test_round_trip(path, good):
    header, arrays = read_model(path)
    assert header == HEADER
    assert same(arrays, ARRAYS)
    assert list(arrays) == sorted(ARRAYS)
    for array in arrays.values():
        array[...] = 1  # writable, and nobody else's
    assert same(read_model(path)[1], ARRAYS)
    assert path.read_bytes() == good


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
arrays_of_any_kind = st.sampled_from(list(DTYPES.values())).flatmap(lambda dtype: hnp.arrays(
    dtype, shapes, elements={"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None))
names = st.from_regex(r"[A-Za-z0-9_-]{1,7}(/[a-z0-9_.-]?[a-z0-9]){0,3}", fullmatch=True)
json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=10)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.dictionaries(names, arrays_of_any_kind, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_header_and_any_arrays_come_back(path_of_examples, header, arrays):
    size = write_model(path_of_examples, header, arrays)
    assert size == path_of_examples.stat().st_size
    loaded_header, loaded = read_model(path_of_examples)
    assert loaded_header == header
    assert same(loaded, arrays)


@pytest.fixture(scope="module")
def path_of_examples(tmp_path_factory):
    return tmp_path_factory.mktemp("examples") / "m.safetensors"


def test_equal_models_give_equal_bytes(path_of_examples, good):
    """In another order, and from another process (whose hashes differ)."""
    write_model(path_of_examples, dict(reversed(HEADER.items())), dict(reversed(ARRAYS.items())))
    assert path_of_examples.read_bytes() == good
    program = "import sys; from test_modelfile import ARRAYS, HEADER, write_model; write_model(sys.argv[1], HEADER, ARRAYS)"
    subprocess.run([sys.executable, "-c", program, path_of_examples], env=child_environment() | {"PYTHONHASHSEED": "7"}, check=True)
    assert path_of_examples.read_bytes() == good


def child_environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(modelfile.__file__).parents[1]), str(Path(__file__).parent)])}


def test_strided_and_big_endian_arrays_are_stored_by_value(path_of_examples):
    base = np.arange(35, dtype=np.int32).reshape(5, 7)
    arrays = {"transposed": base.T, "strided": base[::2, 1::3], "reversed": base[::-1], "big": np.array([1.5, -2.0], ">f8"),
              "fortran": np.asfortranarray(base), "broadcast": np.broadcast_to(np.float32(3), (2, 3))}
    write_model(path_of_examples, {}, arrays)
    for name, array in read_model(path_of_examples)[1].items():
        np.testing.assert_array_equal(array, arrays[name])
        assert (array.shape, array.dtype) == (arrays[name].shape, arrays[name].dtype.newbyteorder("="))


def test_the_library_reads_the_file_too(path, good):
    """It is a plain safetensors file: any program that knows the format can read the arrays."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        assert same({name: file.get_tensor(name) for name in file.keys()}, ARRAYS)  # noqa: SIM118
        metadata = file.metadata()
    assert metadata.keys() == {"format", "format_version", "deltarule_version", "header", "sha256"}
    assert (metadata["format"], metadata["format_version"], metadata["deltarule_version"]) == ("deltarule", "1", deltarule.__version__)
    assert json.loads(metadata["header"]) == HEADER
    assert int.from_bytes(good[:8], "little") % 8 == 0


def test_a_file_that_another_program_copied_tensor_by_tensor_is_still_good(path_of_examples, path, good):
    from safetensors import safe_open
    from safetensors.numpy import load, save

    with safe_open(path, framework="np") as file:
        path_of_examples.write_bytes(save(load(good), file.metadata()))
    header, arrays = read_model(path_of_examples)
    assert header == HEADER
    assert same(arrays, ARRAYS)


def test_the_digest_is_what_the_description_says(path_of_examples):
    payload = np.array([1.5, 2.5]).tobytes()
    path_of_examples.write_bytes(sealed({"a": tensor("F64", [2], 0, 16)}, payload, {"header": '{"units": 2}'}))
    header, arrays = read_model(path_of_examples)
    assert header == {"units": 2}
    assert same(arrays, {"a": np.array([1.5, 2.5])})


def test_a_model_without_content(path_of_examples):
    write_model(path_of_examples, {}, {})
    assert read_model(path_of_examples) == ({}, {})


# What cannot be saved.


def deep(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(("header", "arrays", "why"), [
    ({"a": float("nan")}, {}, "has a header that is not plain JSON (Out of range float values are not JSON compliant"),
    ({"a": {1, 2}}, {}, "has a header that is not plain JSON (Object of type set is not JSON serializable)"),
    ({"a": np.float32(1)}, {}, "has a header that is not plain JSON (Object of type float32 is not JSON serializable)"),
    ({"a": deep(100_000)}, {}, "has a header that is not plain JSON ("),
    ({"a": deep(100)}, {}, "has a header nested deeper than 100 levels"),
    ({1: "a"}, {}, "has a header that JSON would change; expected text as keys, and lists instead of tuples"),
    ({"a": (1, 2)}, {}, "has a header that JSON would change"),
    ([1], {}, "has a header that is not a JSON object but [1]"),
    ({}, {"": np.zeros(2)}, "has a tensor named ''; expected at most 200 letters, digits and _ . / -"),
    ({}, {"../../x": np.zeros(2)}, "has a tensor named '../../x'; expected"),
    ({}, {"__metadata__": np.zeros(2)}, "has a tensor named '__metadata__'; expected"),
    ({}, {"x\n": np.zeros(2)}, r"has a tensor named 'x\n'; expected"),
    ({}, {3: np.zeros(2)}, "has a tensor named 3; expected"),
    ({}, {"x" * 201: np.zeros(2)}, "has a tensor named 'xxxx"),
    ({}, {"x": [1.0]}, "has the tensor 'x' as list, expected a NumPy array"),
    ({}, {"x": np.zeros(2, complex)}, "has the tensor 'x' of dtype complex128, expected bool, an integer or float16 to float64"),
    ({}, {"x": np.array(["a"])}, "has the tensor 'x' of dtype <U1, expected"),
    ({}, {"x": np.array([None])}, "has the tensor 'x' of dtype object, expected"),
    ({}, {"x": np.array([1, np.nan], np.float16)}, "has numbers that are not finite (NaN or infinite) in the tensor 'x'"),
    ({}, {"x": np.array(-np.inf)}, "has numbers that are not finite (NaN or infinite) in the tensor 'x'"),
])
def test_what_a_model_file_cannot_hold(path, good, header, arrays, why):
    with pytest.raises(ModelFileError) as caught:
        write_model(path, header, arrays)
    text = str(caught.value)
    assert text.startswith(f"cannot save {path}: the model {why}")
    assert text.isprintable()
    assert path.read_bytes() == good
    assert os.listdir(path.parent) == [path.name]


def test_a_header_as_deep_as_allowed(path_of_examples):
    write_model(path_of_examples, {"a": deep(99)}, {})
    assert read_model(path_of_examples)[0] == {"a": deep(99)}


def test_a_disk_that_is_full_keeps_the_old_model(path, good, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeltaruleError, match=r"^cannot write .*m\.safetensors: no space left on the disk; free some or choose another"):
        write_model(path, {}, {})
    assert path.read_bytes() == good
    assert os.listdir(path.parent) == [path.name]


# Accidents.


def test_no_single_byte_may_change(path_of_examples, good):
    """Every byte of the file, altered in two ways: letters change their case, digits become other digits."""
    for position in range(len(good)):
        for flip in (1, 32):
            data = bytearray(good)
            data[position] ^= flip
            assert refusal(path_of_examples, bytes(data))


def test_no_truncation_and_no_addition(path_of_examples, good):
    for length in range(len(good)):
        assert refusal(path_of_examples, good[:length])
    assert refusal(path_of_examples, good[:-1]).startswith("is truncated: its tensors need ")
    assert refusal(path_of_examples, good[:100]).startswith("is truncated: it has 100 bytes, its table alone needs ")
    assert refusal(path_of_examples, good + b"\0").startswith("is too long: its tensors need ")
    assert refusal(path_of_examples, good[:5]) == "is no model file: it has only 5 bytes"
    assert refusal(path_of_examples, b"") == "is no model file: it has only 0 bytes"


edits = st.lists(st.tuples(st.sampled_from(["flip", "cut", "insert", "copy"]), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=9)),
                 min_size=1, max_size=4)


@given(edits)
@settings(max_examples=400, deadline=None)
def test_a_damaged_file_is_refused_or_unchanged(path_of_examples, good, edits):
    data = bytearray(good)
    for kind, where, until, new in edits:
        begin, end = sorted((int(where * len(data)), int(until * len(data))))
        if kind == "flip":
            data[begin:begin + len(new)] = bytes(a ^ b for a, b in zip(data[begin:begin + len(new)], new, strict=False))
        elif kind == "cut":
            del data[begin:min(end, begin + 99)]
        else:
            data[begin:begin] = new if kind == "insert" else data[begin:end]
    loaded = attempt(path_of_examples, bytes(data))
    if loaded is not None:
        assert loaded[0] == HEADER
        assert same(loaded[1], ARRAYS)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda text: len(text).to_bytes(8, "little") + text)
       | st.binary(max_size=200).map(lambda text: (len(text) + 1).to_bytes(8, "little") + b"{" + text))
@settings(max_examples=200, deadline=None)
def test_other_bytes_are_refused(path_of_examples, data):
    assert refusal(path_of_examples, data)


def test_files_of_other_kinds(path_of_examples, tmp_path):
    from safetensors.numpy import save

    assert refusal(path_of_examples, save({"x": np.zeros(3)})) == "was not written by deltarule; expected a file saved by it"
    assert refusal(path_of_examples, save({"x": np.zeros(3)}, {"format": "pt"})).startswith("was not written by deltarule")
    assert refusal(path_of_examples, b"PK\x03\x04" + b"zip" * 99).startswith("is no model file: it announces a table of ")
    assert refusal(path_of_examples, b"epoch,loss\n1,0.5\n").startswith("is no model file: it announces a table of ")
    assert refusal(tmp_path) == f"cannot read {tmp_path}: it is a folder, expected a file"
    assert refusal(tmp_path / "no") == f"cannot read {tmp_path / 'no'}: it does not exist"
    with pytest.raises(ModelFileError, match=r"^a path must be text or a pathlib\.Path, received int$"):
        read_model(3)


# Attacks: every file here has a right digest.


ZEROS = bytes(16)
ONE = {"a": tensor()}


@pytest.mark.parametrize(("data", "why"), [
    (sealed(ONE, ZEROS[:4], {"format": "other"}), "was not written by deltarule; expected a file saved by it"),
    (sealed(ONE, ZEROS[:4], {"format": None}), "was not written by deltarule"),
    (sealed(ONE, ZEROS[:4], {"format_version": "2"}),
     "was written by a newer deltarule (file format 2, this version reads 1); upgrade deltarule"),
    (sealed({"a": 1}, b"", {"format_version": "12", "new": "x"}), "was written by a newer deltarule (file format 12, this version"),
    *[(sealed(ONE, ZEROS[:4], {"format_version": version}), f"has the file format {version!r}, expected a whole number")
      for version in ["", "0", "-1", "1.0", "01", " 1", "١", "1\n"]],
    (sealed(ONE, ZEROS[:4], {"format_version": None}), "has the file format '', expected a whole number"),
    (sealed(ONE, ZEROS[:4], {"format_version": 1}), "has metadata that is not text"),
    (sealed(ONE, ZEROS[:4], {"extra": ["x"]}), "has metadata that is not text"),
    (sealed(ONE, ZEROS[:4], {"extra": "x"}), "has the metadata ['deltarule_version', 'extra', "),
    (sealed(ONE, ZEROS[:4], {"header": None}), "has the metadata ['deltarule_version', 'format', "),
    (sealed(ONE, ZEROS[:4], digest="0" * 64), "was altered or damaged after it was written (its SHA-256 is another one); take an intact"),
    (sealed(ONE, ZEROS[:4], {"deltarule_version": "\ud800"}), "is refused by the safetensors library ("),
    (sealed(ONE, ZEROS[:4], {"header": "[]"}), "has a header that is not a JSON object but []"),
    (sealed(ONE, ZEROS[:4], {"header": "{"}), "has a header that is not valid JSON ("),
    (sealed(ONE, ZEROS[:4], {"header": '{"a": NaN}'}), "has a header that is not valid JSON ('NaN' is not a finite number)"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a": -Infinity}'}), "has a header that is not valid JSON ('-Infinity' is not a finite number)"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a": 1e999}'}), "has a header that is not valid JSON ('1e999' is not a finite number)"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a": ' + "9" * 9999 + "}"}), "has a header that is not valid JSON (Exceeds the limit"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a": {"b": 1, "b": 2}}'}), "has a header that is not valid JSON (the key 'b' occurs twice)"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a":' + "[" * 100 + "]" * 100 + "}"}), "has a header nested deeper than 100 levels"),
    (sealed(ONE, ZEROS[:4], {"header": '{"a":' * 200 + "1" + "}" * 200}), "has a header nested deeper than 100 levels"),
    (sealed(ONE, ZEROS[:4], {"header": "[" * 100_000}), "has a header that is not valid JSON ("),
    (sealed(ONE, ZEROS[:4], edit=lambda text: text.replace(b'"a"', b'"a":' + json.dumps(tensor()).encode() + b',"a"')),
     "has a table that is not valid JSON (the key 'a' occurs twice)"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: text.replace(b'"a"', b'"a":' + json.dumps(tensor()).encode() + b',"\\u0061"')),
     "has a table that is not valid JSON (the key 'a' occurs twice)"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: b" " + text), "is no model file: its table does not begin with '{'"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: b"\xef\xbb\xbf" + text), "is no model file: its table does not begin with '{'"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: b""), "is no model file: its table does not begin with '{'"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: text + b"\0"), "has a table that is not valid JSON (Extra data"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: text.replace(b'"a"', '"ä"'.encode())), "is no model file, or damaged: its table is not"),
    (sealed(ONE, ZEROS[:4], edit=lambda text: b'{"a":' * 100_000), "has a table that is not valid JSON ("),
    ((2**64 - 1).to_bytes(8, "little") + b"{}", "is no model file: it announces a table of 18446744073709551615 bytes, more than"),
    ((2**24 + 1).to_bytes(8, "little") + b"{}", "is no model file: it announces a table of 16777217 bytes"),
    ((2**24).to_bytes(8, "little") + b"{}", "is truncated: it has 10 bytes, its table alone needs 16777224"),
    *[(sealed({name: tensor()}, ZEROS[:4]), f"has a tensor named {name!r}; expected at most 200 letters")
      for name in ["", "../../x", "/etc/x", "a..b", "a b", "a\\b", "a\0", "ä", "a\n", "C:x"]],
    (sealed({"a" * 201: tensor()}, ZEROS[:4]), "has a tensor named 'aaaa"),
    (sealed({f"t{n}": tensor(begin=0, end=0, shape=[0]) for n in range(10_001)}), "has 10001 tensors, more than the 10000 allowed"),
    *[(sealed({"a": entry}, ZEROS[:4]), "has the tensor 'a' described as ")
      for entry in [1, None, [], {}, {"dtype": "F32", "shape": []}, tensor() | {"more": 1}]],
    *[(sealed({"a": tensor(dtype=code)}, ZEROS[:4]), f"has the tensor 'a' of dtype {code!r}, expected one of F64, F32")
      for code in ["F33", "f32", "BF16", "C64", "F8_E4M3", "", 4, None, ["F32"]]],
    *[(sealed({"a": tensor() | {"shape": shape}}, ZEROS[:4]), "has the tensor 'a' with the impossible shape ")
      for shape in [[-1], [1.0], [True], ["1"], 1, None, {}, [[1]], [2**64], [0, 2**33, 2**33], [2**33, 2**33], [1] * 33, [10**400]]],
    *[(sealed({"a": tensor() | {"data_offsets": offsets}}, ZEROS[:4]), "has the tensor 'a' of shape [] and dtype F32 at the bytes ")
      for offsets in [[0], [0, 4, 8], [4, 0], [-4, 0], [0, 3], [0, 5], [0, 2**64], [0.0, 4.0], [False, 4], "04", None, [0, 4.0]]],
    (sealed({"a": tensor(shape=[2**32 + 1])}, ZEROS[:4]), "has the tensor 'a' of shape [4294967297] and dtype F32 at the bytes [0, 4], "),
    (sealed({"a": tensor(), "b": tensor()}, ZEROS[:4]), "has the tensor 'b' at byte 0, expected at 4: gap or overlap"),
    (sealed({"a": tensor(shape=[2], end=8), "b": tensor(begin=4, end=8)}, ZEROS[:8]),
     "has the tensor 'b' at byte 4, expected at 8: gap or overlap"),
    (sealed({"a": tensor(), "b": tensor(begin=8, end=12)}, ZEROS[:12]), "has the tensor 'b' at byte 8, expected at 4: gap or overlap"),
    (sealed({"a": tensor(begin=4, end=8)}, ZEROS[:8]), "has the tensor 'a' at byte 4, expected at 0: gap or overlap"),
    (sealed({"a": tensor(), "z": tensor(shape=[0], begin=2, end=2)}, ZEROS[:4]), "has the tensor 'z' at byte 2, expected at 4: gap or"),
    (sealed(ONE, ZEROS[:3]), "is truncated: its tensors need 4 bytes, 3 are there"),
    (sealed(ONE, ZEROS[:5]), "is too long: its tensors need 4 bytes, 5 are there"),
    (sealed({}, ZEROS[:5]), "is too long: its tensors need 0 bytes, 5 are there"),
    (sealed(ONE, np.float32(np.nan).tobytes()), "has numbers that are not finite (NaN or infinite) in the tensor 'a'"),
    (sealed({"a": tensor("F16", [2])}, np.array([0, np.inf], np.float16).tobytes()), "has numbers that are not finite"),
    (sealed({"a": tensor("BOOL", [4])}, b"\0\1\2\1"), "has truth values other than 0 and 1 in the tensor 'a'"),
])
def test_an_attack_is_refused(path_of_examples, data, why):
    assert refusal(path_of_examples, data).startswith(why)


def test_metadata_must_be_an_object(path_of_examples):
    for text in [b"{}", b'{"__metadata__":[]}', b'{"__metadata__":"deltarule"}', b'{"__metadata__":{}}']:
        assert refusal(path_of_examples, len(text).to_bytes(8, "little") + text).startswith("was not written by deltarule")


anything = st.sampled_from([-1, 0, 1, 2, 3, 4, 5, 8, 2**31, 2**63, 2**64, 1.0, True, None, "F32", "F64", "U8", [], [0], [2], [0, 4], {}])
entries = st.fixed_dictionaries({
    "dtype": st.sampled_from([*DTYPES, "BF16"]) | anything,
    "shape": st.lists(st.integers(0, 3), max_size=3) | st.lists(anything, max_size=3) | anything,
    "data_offsets": st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted) | st.lists(anything, max_size=3) | anything})


@given(st.dictionaries(st.sampled_from(["a", "b", "c/d", "..", ""]), entries, max_size=3), st.binary(max_size=16))
@settings(max_examples=300, deadline=None)
def test_a_forged_table_is_refused_or_consistent(path_of_examples, table, payload):
    loaded = attempt(path_of_examples, sealed(table, payload))
    if loaded is not None:
        arrays = loaded[1]
        assert arrays.keys() == table.keys()
        assert sum(array.nbytes for array in arrays.values()) == len(payload)
        for name, array in arrays.items():
            assert (list(array.shape), array.dtype) == (table[name]["shape"], DTYPES[table[name]["dtype"]])


@given(st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3)), max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_sound_table_with_a_right_digest_loads(path_of_examples, tensors):
    """The other side: the checks above refuse for the reason they name, not everything."""
    table, position = {}, 0
    for number, (code, shape) in enumerate(tensors):
        end = position + math.prod(shape) * DTYPES[code].itemsize
        table[f"t{number}"] = tensor(code, shape, position, end)
        position = end
    path_of_examples.write_bytes(sealed(table, bytes(position)))
    arrays = read_model(path_of_examples)[1]
    assert same(arrays, {f"t{number}": np.zeros(shape, DTYPES[code]) for number, (code, shape) in enumerate(tensors)})


def test_a_file_too_large_is_not_read(path_of_examples, monkeypatch):
    path_of_examples.write_bytes(sealed(ONE, ZEROS[:4]))
    monkeypatch.setattr(modelfile, "MAX_FILE", 100)
    assert refusal(path_of_examples).endswith(" bytes, more than the 100 allowed")


@pytest.mark.parametrize("function", ["read_bytes", "_load"])
def test_a_file_that_does_not_fit_into_memory(path_of_examples, monkeypatch, function):
    def full(*_arguments):
        raise MemoryError
    path_of_examples.write_bytes(sealed(ONE, ZEROS[:4]))
    monkeypatch.setattr(modelfile, function, full)
    assert refusal(path_of_examples) == "does not fit into memory"


# Crashes.


CRASHES = """
import os, random, signal, sys, time
import numpy as np
from deltarule.modelfile import read_model, write_model

path, rounds, chance = sys.argv[1], int(sys.argv[2]), random.Random(1)
model = lambda number: ({"number": number}, {"a": np.full(200_003, number, np.float32), "b": np.full((7, 11), number)})
begin = time.perf_counter()
write_model(path, *model(0))
duration = time.perf_counter() - begin
begin = time.perf_counter()
read_model(path)
duration = max(duration, time.perf_counter() - begin)
for _ in range(rounds):
    child = os.fork()
    if child == 0:
        for number in range(1, 10_000):
            write_model(path, *model(number))
        os._exit(0)
    time.sleep(chance.uniform(0.5, 4) * duration)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    header, arrays = read_model(path)
    assert header.keys() == {"number"} and all((array == header["number"]).all() for array in arrays.values()), header
    print(header["number"])
"""


def test_a_killed_process_never_harms_the_file(tmp_path):
    """A process that saves over a good file again and again is killed at 20 random moments: each time the file is whole."""
    done = subprocess.run([sys.executable, "-c", CRASHES, tmp_path / "m.safetensors", "20"], env=child_environment(),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 20
    assert any(int(number) > 0 for number in done.stdout.split())  # some were killed after a save ...
    assert len(os.listdir(tmp_path)) > 1  # ... and some while writing: the temporary file is still there
