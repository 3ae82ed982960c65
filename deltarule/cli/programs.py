"""Compiled programs kept between processes, so that the second run of a command starts at once."""

from pathlib import Path

from deltarule.cache import cache_folder

MOST_PROGRAMS = 1000
WORTH_KEEPING = 0.05    # seconds of compilation


def keep_programs() -> None:
    """Let JAX keep what it compiles in the cache folder; where there is none nothing is kept, and nothing is said."""
    folder = cache_folder("programs")
    if folder is None:
        return
    try:
        _forget_oldest(folder)
    except OSError:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[:max(0, len(files) - MOST_PROGRAMS)]:
        file.unlink(missing_ok=True)
