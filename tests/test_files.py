"""Files are written whole or not at all: every failure leaves what was there, and nothing else, in the folder."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deltarule import files
from deltarule.errors import DeltaruleError
from deltarule.files import read_bytes, shown, writable_folder, write_atomically


def error_of(call, *arguments):
    """The text of the DeltaruleError that the call raises: one printable line."""
    with pytest.raises(DeltaruleError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert text.isprintable()
    assert caught.value.__context__ is None or caught.value.__suppress_context__  # no trace of the cause below it
    return text


def failing(number):
    def fail(*_arguments, **_options):
        raise OSError(number, os.strerror(number))
    return fail


def content(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def in_child(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    """The program, run by another Python with the path as its argument."""
    return subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])})


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("data", [b"", b"\x00\xff", "", "größer\r\n", "x" * 1_000_003])
def test_what_is_written_is_read(tmp_path, data):
    path = tmp_path / "file"
    for _ in range(2):  # as a new file, then in place of the old one
        assert write_atomically(path, data) is None
        assert read_bytes(path, 2_000_000) == (data.encode() if isinstance(data, str) else data)
    assert list(content(tmp_path)) == ["file"]


def test_paths_may_be_text_relative_or_long(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["plain", "ä" * 120, "-", ".hidden"]:  # 240 bytes: the temporary name must not be longer than the system allows
        write_atomically(name, name)
        assert read_bytes(name, 1000) == name.encode()


def test_file_and_then_folder_reach_the_disk_around_the_renaming(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watched_replace(source, target):
        steps.append("rename")
        assert Path(source).parent == Path(target).parent
        assert Path(source).read_bytes() == b"new"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_atomically(tmp_path / "file", b"new")
    assert steps == ["file", "rename", "folder"]


@pytest.mark.parametrize(("number", "cause"), [
    (errno.ENOSPC, "no space left on the disk; free some or choose another place"),
    (errno.EDQUOT, "the disk quota is used up"),
    (errno.EACCES, "permission denied"),
    (errno.EPERM, "permission denied"),
    (errno.EROFS, "the file system is read-only"),
    (errno.EIO, "the disk reports an error"),
    (errno.ENODEV, os.strerror(errno.ENODEV)),
])
@pytest.mark.parametrize("function", ["open", "fsync", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_alone(old, monkeypatch, function, number, cause):
    monkeypatch.setattr(os, function, failing(number))
    assert error_of(write_atomically, old, b"new").startswith(f"cannot write {old}: {cause}")
    assert content(old.parent) == {"model.bin": b"old"}


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interruption_leaves_the_old_file_alone(old, monkeypatch, function, interruption):
    def interrupt(*_arguments):
        raise interruption
    monkeypatch.setattr(os, function, interrupt)
    with pytest.raises(interruption):
        write_atomically(old, b"new")
    assert content(old.parent) == {"model.bin": b"old"}


def test_a_folder_that_cannot_be_synchronized_is_no_failure(old, monkeypatch):
    fsync = os.fsync
    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not supported")
        fsync(descriptor)
    monkeypatch.setattr(os, "fsync", only_files)
    write_atomically(old, b"new")
    assert content(old.parent) == {"model.bin": b"new"}


def test_a_write_that_the_system_cuts_short(old):
    """A real failure in the middle of the bytes: the process may write no more than 5,000 to one file."""
    program = ("import resource, signal, sys; from deltarule.errors import DeltaruleError; from deltarule.files import write_atomically\n"
               "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
               "try: write_atomically(sys.argv[1], b'n' * 200_003)\n"
               "except DeltaruleError as error: print(error)\n")
    assert in_child(program, old).stdout == f"cannot write {old}: larger than the system allows a file to be\n"
    assert content(old.parent) == {"model.bin": b"old"}


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    """SIGKILL between the bytes and the renaming: the old file stands, the temporary one remains and disturbs nobody."""
    path = tmp_path / "file"
    write_atomically(path, b"old")
    program = ("import os, signal, sys; from deltarule.files import write_atomically\n"
               "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
               "write_atomically(sys.argv[1], b'new')")
    assert in_child(program, path).returncode == -signal.SIGKILL
    assert sorted(content(tmp_path).values()) == [b"new", b"old"]
    assert path.read_bytes() == b"old"
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    contents = [letter * 100_003 for letter in (b"a", b"b", b"c")]
    writers = [threading.Thread(target=lambda data=data: [write_atomically(path, data) for _ in range(5)]) for data in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert list(content(tmp_path)) == ["file"]
    assert path.read_bytes() in contents


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(old, mode):
    old.chmod(mode)
    write_atomically(old, b"new")
    assert stat.S_IMODE(old.stat().st_mode) == mode
    assert old.read_bytes() == b"new"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_a_private_file_is_never_readable_by_others_meanwhile(old, monkeypatch):
    modes = []
    chmod = os.chmod
    def watched(path, mode):
        modes.append(stat.S_IMODE(os.stat(path).st_mode))
        chmod(path, mode)
    old.chmod(0o600)
    monkeypatch.setattr(os, "chmod", watched)
    write_atomically(old, b"new")
    assert modes == [0o600]


def test_a_write_protected_file_is_not_replaced(old, monkeypatch):
    old.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, how: not (how == os.W_OK and os.stat(path).st_mode & 0o222 == 0))  # root may do all
    assert error_of(write_atomically, old, b"new").startswith(f"cannot write {old}: permission denied")
    assert content(old.parent) == {"model.bin": b"old"}


def test_a_symbolic_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "dangling").symlink_to("real/other")
    write_atomically(tmp_path / "link", b"new")
    write_atomically(tmp_path / "dangling", b"first")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert content(tmp_path / "real") == {"file": b"new", "other": b"first"}


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name, cause in [("missing/file", "its folder does not exist; create it first"),
                        ("file/inside", "a part of this path is a file, not a folder"),
                        ("folder", "it is a folder, expected a file"),
                        ("loop", "its symbolic links run in a circle"),
                        ("pipe", "it is a device or a pipe, expected a file"),
                        ("n" * 300, "the name is too long; choose a shorter one")]:
        path = tmp_path / name
        assert error_of(write_atomically, path, b"new") == f"cannot write {path}: {cause}"
    assert error_of(write_atomically, f"{tmp_path}/new/", b"") == f"cannot write {tmp_path}/new/: it is a folder, expected a file"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "loop", "pipe"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_device_is_not_replaced_by_a_file():
    assert error_of(write_atomically, os.devnull, b"new") == f"cannot write {os.devnull}: it is a device or a pipe, expected a file"
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("call", [lambda path: write_atomically(path, b""), writable_folder, lambda path: read_bytes(path, 10), shown])
@pytest.mark.parametrize(("path", "text"), [
    (3, "a path must be text or a pathlib.Path, received int"),
    (None, "a path must be text or a pathlib.Path, received NoneType"),
    ("", "a path must not be empty"),
    ("a\0b", r"the path 'a\x00b' has a character that no file name can have"),
    ("a\ud800", r"the path 'a\ud800' has a character that no file name can have"),
])
def test_what_is_no_path(call, path, text):
    assert error_of(call, path) == text


def test_errors_about_odd_names_are_one_line(tmp_path):
    path = tmp_path / "two\nlines" / os.fsdecode(b"\xff")
    assert error_of(write_atomically, path, b"") == f"cannot write {str(path)!r}: its folder does not exist; create it first"


def test_text_that_is_not_unicode(old):
    assert error_of(write_atomically, old, "ab\ud800") == rf"cannot write {old}: character 2 of the text ('\ud800') is not valid Unicode"
    assert old.read_bytes() == b"old"


def test_a_folder_is_created_and_proved(tmp_path):
    folder = tmp_path / "runs" / "first"
    for _ in range(2):
        assert writable_folder(str(folder)) == folder
        assert content(folder) == {}


def test_folders_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    for name, cause in [("file", "a file of this name is in the way; choose another name"),
                        ("file/inside", "a part of this path is a file, not a folder")]:
        assert error_of(writable_folder, tmp_path / name) == f"cannot use the folder {tmp_path / name}: {cause}"
    for function, number, cause in [("fsync", errno.ENOSPC, "no space left"), ("open", errno.EACCES, "permission denied"),
                                    ("mkdir", errno.EROFS, "the file system is read-only")]:
        with monkeypatch.context() as patched:
            patched.setattr(os, function, failing(number))
            folder = tmp_path / "new" if function == "mkdir" else tmp_path
            assert error_of(writable_folder, folder).startswith(f"cannot use the folder {folder}: {cause}")
    assert content(tmp_path) == {"file": b"old"}


def test_places_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345678901")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, cause in [("missing", "it does not exist"), ("file/inside", "a part of this path is a file, not a folder"),
                        ("folder", "it is a folder, expected a file"), ("pipe", "it is a device or a pipe, expected a file"),
                        ("file", "it has 11 bytes, more than the 10 allowed")]:
        assert error_of(read_bytes, tmp_path / name, 10) == f"cannot read {tmp_path / name}: {cause}"
    assert read_bytes(tmp_path / "file", 11) == b"12345678901"
    monkeypatch.setattr("builtins.open", failing(errno.EACCES))
    assert error_of(read_bytes, tmp_path / "file", 11).startswith(f"cannot read {tmp_path / 'file'}: permission denied")


def test_a_file_that_grows_while_it_is_read_stays_within_the_limit(old, monkeypatch):
    class Small:
        st_size = 1
    monkeypatch.setattr(os, "fstat", lambda _descriptor: Small)
    assert error_of(read_bytes, old, 2) == f"cannot read {old}: it has 3 bytes, more than the 2 allowed"
