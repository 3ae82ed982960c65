"""Files are written whole or not at all, and read strictly; nothing here knows about networks."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from deltarule.errors import DeltaruleError

StrPath = str | os.PathLike[str]

CAUSES = {
    errno.ENOSPC: "no space left on the disk; free some or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EFBIG: "larger than the system allows a file to be",
    errno.EACCES: "permission denied; choose a place you may use or change its permissions",
    errno.EPERM: "permission denied; choose a place you may use or change its permissions",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a file of this name is in the way; choose another name",
    errno.EISDIR: "it is a folder, expected a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "its symbolic links run in a circle",
    errno.EIO: "the disk reports an error",
}


def write_atomically(path: StrPath, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to the file `path`, so that at any moment either the old file or the whole new one is there.

    The bytes go to a hidden temporary file in the same folder, reach the disk (fsync), and take the place
    of `path` in one step. On any failure, Ctrl-C included, the temporary file is removed and the old file is
    untouched; only a killed process can leave one behind (`.NAME.….tmp`, safe to delete). A replaced file keeps its
    permissions, a new one follows the umask. A symbolic link is followed: the file it points to is
    replaced and the link stays. Raises DeltaruleError where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/history.csv", "epoch,loss\\n")
    ...     read_bytes(f"{folder}/history.csv", limit=100)
    b'epoch,loss\\n'
    """
    text = _checked(path)
    content = _utf8(data, path) if isinstance(data, str) else data
    with _in_words(f"cannot write {shown(path)}", missing="its folder does not exist; create it first"):
        if not os.path.basename(text):
            raise IsADirectoryError(errno.EISDIR, "ends in a slash")
        target = os.path.realpath(text)
        folder, name = os.path.split(target)
        mode = _replaceable(target)
        temporary = _temporary(folder, name)
        try:
            _write_new(temporary, content, mode)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)


def writable_folder(path: StrPath) -> Path:
    """The folder `path`, created if needed and proved writable by a small file that is removed again.

    Called before a long training, so that the results will have a place. Raises DeltaruleError otherwise.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writable_folder(f"{folder}/runs/first").name
    'first'
    """
    text = _checked(path)
    with _in_words(f"cannot use the folder {shown(path)}"):
        os.makedirs(text, exist_ok=True)
        probe = _temporary(text, "probe")
        try:
            _write_new(probe, b"probe", None)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)
    return Path(text)


def read_bytes(path: StrPath, limit: int) -> bytes:
    """The whole content of the regular file `path`, at most `limit` bytes.

    Raises DeltaruleError where it is missing, a folder or a device, unreadable, or larger.

    >>> read_bytes("nowhere.safetensors", limit=100)
    Traceback (most recent call last):
        ...
    deltarule.errors.DeltaruleError: cannot read nowhere.safetensors: it does not exist
    """
    text = _checked(path)
    with _in_words(f"cannot read {shown(path)}"):
        _require_regular(os.stat(text).st_mode)  # before opening: a pipe would wait for a writer
        with open(text, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= limit else b""
    if max(size, len(data)) > limit:
        raise DeltaruleError(f"cannot read {shown(path)}: it has {max(size, len(data))} bytes, more than the {limit} allowed")
    return data


def shown(path: StrPath) -> str:
    """`path` as it stands in an error message: always one printable line.

    >>> shown("model.safetensors"), shown("two\\nlines")
    ('model.safetensors', "'two\\\\nlines'")
    """
    text = _checked(path)
    return text if text.isprintable() else repr(text)


def _checked(path: StrPath) -> str:
    """The path as text that the file system can take."""
    if not isinstance(path, (str, os.PathLike)):
        raise DeltaruleError(f"a path must be text or a pathlib.Path, received {type(path).__name__}")
    text = os.fsdecode(path)
    if not text:
        raise DeltaruleError("a path must not be empty")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise DeltaruleError(f"the path {text!r} has a character that no file name can have")
    return text


def _utf8(text: str, path: StrPath) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DeltaruleError(f"cannot write {shown(path)}: character {error.start} of the text ({text[error.start]!r}) "
                             "is not valid Unicode") from None


@contextlib.contextmanager
def _in_words(doing: str, missing: str = "it does not exist") -> Iterator[None]:
    """Turn an OSError into one line: what was being done and why it failed; `missing` says it for a path that is not there."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            cause = missing
        else:
            cause = CAUSES.get(error.errno or 0) or error.strerror or str(error)
        raise DeltaruleError(f"{doing}: {cause}") from None


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is a device or a pipe, expected a file")


def _replaceable(target: str) -> int | None:
    """The permissions of the file to be replaced, None where there is none; OSError where it must stay."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    _require_regular(mode)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "write-protected")
    return stat.S_IMODE(mode) & 0o777


def _temporary(folder: str, name: str) -> str:
    return os.path.join(folder, f".{name[:40]}.{secrets.token_hex(8)}.tmp")


def _write_new(path: str, data: bytes, mode: int | None) -> None:
    """Create `path`, which must not exist, and bring `data` to the disk; `mode` None follows the umask."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o666 if mode is None else mode)) as file:
        if mode is not None:
            os.chmod(path, mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Bring the renaming to the disk, where the system can; the new file is in place and whole in any case."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
