"""The C++ kernels are compiled once for the processor at hand, kept in the cache folder, and loaded into JAX.

They are optional: without a compiler the JAX forms serve, with the same results and the same tests. DELTARULE_KERNELS=off turns them off.
"""

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax

from deltarule.cache import abilities, cache_folder

FOLDER = Path(__file__).parent
SOURCES = ("convolution.cc",)
TARGETS = ("conv_forward", "conv_backward")     # functions of the library, under "deltarule_" + name in JAX
COMPILERS = ("c++", "g++", "clang++")           # tried in this order, where CXX names none
PATIENCE = 300      # seconds for the compiler


class Kernels(NamedTuple):
    """Whether the kernels are there, and a sentence that says so."""

    ready: bool
    sentence: str


@functools.cache
def kernels() -> Kernels:
    """Compile, load and register the kernels, once in a process; says what came of it."""
    if os.environ.get("DELTARULE_KERNELS") == "off":
        return Kernels(False, "the C++ kernels are turned off (DELTARULE_KERNELS=off); convolutions run in their JAX form")
    chosen = os.environ.get("CXX")
    compiler = next((found for name in ((chosen,) if chosen else COMPILERS) if (found := shutil.which(name))), None)
    name, flags = instruction_set()
    library = (cache_folder("kernels") or _passing_folder()) / f"kernels-{_digest(flags)}.so"
    sentence = f"the C++ kernels are ready ({name})"
    if not library.exists():
        if compiler is None:
            return Kernels(False, "no C++ compiler (c++, g++ or clang++) was found: convolutions run in their JAX form, more slowly; "
                                  "everything else is the same")
        began = time.perf_counter()
        failure = _compile(compiler, flags, library)
        if failure:
            return Kernels(False, f"the C++ kernels did not compile ({failure}): convolutions run in their JAX form, more slowly")
        sentence += f", compiled in {time.perf_counter() - began:.1f} s"
    try:
        loaded = ctypes.cdll.LoadLibrary(str(library))
        for target in TARGETS:
            jax.ffi.register_ffi_target(f"deltarule_{target}", jax.ffi.pycapsule(getattr(loaded, target)), platform="cpu")
    except (OSError, AttributeError) as error:
        return Kernels(False, f"the C++ kernels could not be loaded ({error}): convolutions run in their JAX form, more slowly")
    return Kernels(True, sentence)


@functools.cache
def _passing_folder() -> Path:
    """A folder of this process alone, for when nothing is to be kept."""
    folder = tempfile.TemporaryDirectory(prefix="deltarule-kernels-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def instruction_set() -> tuple[str, tuple[str, ...]]:
    """The widest vectors that this processor has, and the compiler's flags for them.

    >>> instruction_set()[0] in ("AVX-512", "AVX2", "NEON", "SSE2", "plain")
    True
    """
    words = abilities().split()
    if platform.machine().lower() in ("x86_64", "amd64"):
        if "avx512f" in words and "avx512vl" in words:
            return "AVX-512", ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mprefer-vector-width=512")
        if "avx2" in words and "fma" in words:
            return "AVX2", ("-mavx2", "-mfma")
        return "SSE2", ()
    return ("NEON", ()) if platform.machine().lower() in ("aarch64", "arm64") else ("plain", ())


def _digest(flags: tuple[str, ...]) -> str:
    """Changes with the source, the flags and the headers that it is compiled against."""
    sources = b"".join(path.read_bytes() for pattern in ("*.h", "*.cc") for path in sorted(FOLDER.glob(pattern)))
    return hashlib.sha256(sources + " ".join(flags).encode() + jax.__version__.encode()).hexdigest()[:16]


def _compile(compiler: str, flags: tuple[str, ...], library: Path) -> str:
    """Compile to a temporary name and move it into place; returns what went wrong, in one line, or nothing."""
    hidden = library.with_suffix(f".{os.getpid()}.tmp")
    sources = [str(FOLDER / name) for name in SOURCES]
    command = [compiler, "-std=c++17", "-O3", "-fPIC", "-shared", *flags, f"-I{jax.ffi.include_dir()}", *sources, "-o", str(hidden)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode == 0:
            os.replace(hidden, library)
            return ""
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        return f"{Path(compiler).name}: {next((line for line in said if 'error' in line), said[-1])}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{Path(compiler).name}: {error}"
    finally:
        hidden.unlink(missing_ok=True)
