"""Compiled programs kept between processes, so that the second run of a command starts at once."""

import hashlib
import os
import platform
from pathlib import Path

MOST_PROGRAMS = 1000
WORTH_KEEPING = 0.05    # seconds of compilation


def keep_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, or in DELTARULE_CACHE ("off": nowhere).

    Programs are for one kind of processor, so each has a folder of its own: a home shared by several machines is safe.
    Where the folder cannot be used nothing is kept, and nothing is said.
    """
    chosen = os.environ.get("DELTARULE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "deltarule")
    if chosen == "off":
        return
    folder = Path(chosen) / "programs" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
        _forget_oldest(folder)
    except OSError:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
    """A short name for the kind of processor: its architecture and a digest of its abilities."""
    abilities = platform.processor()
    try:
        with open("/proc/cpuinfo") as file:
            abilities = next((line for line in file if line.startswith(("flags", "Features"))), abilities)
    except OSError:
        pass    # only Linux has that file
    return f"{platform.machine()}-{hashlib.sha256(abilities.encode()).hexdigest()[:8]}"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:max(0, len(files) - MOST_PROGRAMS)]:
        file.unlink(missing_ok=True)
