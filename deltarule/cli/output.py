"""Where results go: JSON on standard output, and a folder whose files appear all together or not at all."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.files import CAUSES, shown, writable_folder

# What the files of a training run begin with (the report within its first kilobyte), so that no other file is overwritten.
OURS = {"model.safetensors": b'{"__metadata__":{"deltarule_version":', "history.csv": b"epoch,",
        "report.html": b'<meta name="generator" content="deltarule">'}


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output, in plain ASCII."""
    print(json.dumps(value, allow_nan=False, indent=2))


def result_folder(path: str) -> Path:
    """The folder, created and proved writable, in which the three files of a run may be written.

    Raises DeltaruleError where it cannot be used, and where a file of these names is not deltarule's.
    """
    for name, beginning in OURS.items():
        file = Path(path) / name
        if file.is_dir():
            raise DeltaruleError(f"{shown(file)} is a folder, expected a file or nothing; choose another folder with --out")
        if file.is_file():
            with open(file, "rb") as stream:
                if beginning not in stream.read(1024):
                    raise DeltaruleError(f"{shown(file)} was not written by deltarule, so it is not overwritten; choose another folder "
                                         "with --out")
            if not os.access(file, os.W_OK):
                raise DeltaruleError(f"{shown(file)} is write-protected; choose another folder with --out")
    return writable_folder(path)


@contextlib.contextmanager
def together(folder: Path) -> Iterator[Path]:
    """A hidden folder for new files; when the block ends well they take their places in `folder`, else all stays as it was.

    Raises DeltaruleError where they cannot be written.
    """
    hidden = folder / f".new.{secrets.token_hex(8)}"
    try:
        hidden.mkdir()
        yield hidden
        for file in sorted(hidden.iterdir()):
            os.replace(file, (folder / file.name).resolve())
    except OSError as error:
        raise DeltaruleError(f"cannot write into {shown(folder)}: {CAUSES.get(error.errno or 0) or error.strerror or error}") from None
    except DeltaruleError as error:
        raise DeltaruleError(str(error).replace(str(hidden), str(folder))) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
