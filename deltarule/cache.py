"""The folder in which compiled things are kept between processes, and the kind of processor that they are for."""

import hashlib
import os
import platform
from pathlib import Path


def cache_folder(kind: str) -> Path | None:
    """A writable folder for things of one kind, in the user's cache folder or in DELTARULE_CACHE; None where there is none ("off").

    What is compiled is for one kind of processor, so each has a folder of its own: a home shared by several machines is safe.
    """
    chosen = os.environ.get("DELTARULE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "deltarule")
    if chosen == "off":
        return None
    folder = Path(chosen) / kind / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def abilities() -> str:
    """The instruction sets of the processor, as far as the system tells: a line of names, on Linux that of /proc/cpuinfo."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), platform.processor())
    except OSError:
        return platform.processor()     # only Linux has that file


def processor() -> str:
    """A short name for the kind of processor: its architecture and a digest of its abilities."""
    return f"{platform.machine()}-{hashlib.sha256(abilities().encode()).hexdigest()[:8]}"
