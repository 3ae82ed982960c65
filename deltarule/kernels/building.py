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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax

from deltarule.cache import abilities, cache_folder

FOLDER = Path(__file__).parent
LIBRARIES = {       # each from the source of this name; its functions are known to JAX under "deltarule_" + name
    "convolution": ("conv_forward", "conv_backward"),
    "taking": ("take_rows",),
    "dense": ("dense_row",),
    "pooling": ("pool_forward", "pool_backward"),
    "normalization": ("norm_forward", "norm_backward"),
    "recurrent": ("recurrent_forward", "recurrent_backward", "recurrent_inputs"),
    "attention": ("attention_forward", "attention_backward", "attention_onward"),
    "adam": ("adam_direction",),
    "rows": ("layer_norm_forward", "layer_norm_backward", "gelu_forward", "gelu_backward"),
}
DENSE = ("taking", "dense", "adam")     # what networks without images and sequences need: they need not wait for the rest
HEADERS = ("vectors.h", "functions.h", "lines.h", "neighbours.h", "behind.h", "winograd.h", "products.h")
COMPILERS = ("c++", "g++", "clang++")           # tried in this order, where CXX names none
INSTEAD = "convolution, pooling, normalization, recurrent layers, attention and Adam run in their JAX form"
PATIENCE = 300      # seconds for the compiler


class Kernels(NamedTuple):
    """Whether the kernels are there, and a sentence that says so."""

    ready: bool
    sentence: str


@functools.cache
def kernels(*sources: str) -> Kernels:
    """Compile, load and register the kernels of these sources (of all, where none is named), once in a process; says what came of it."""
    if os.environ.get("DELTARULE_KERNELS") == "off":
        return Kernels(False, f"the C++ kernels are turned off (DELTARULE_KERNELS=off); {INSTEAD}")
    chosen = os.environ.get("CXX")
    compiler = next((found for name in ((chosen,) if chosen else COMPILERS) if (found := shutil.which(name))), None)
    name, flags = instruction_set()
    folder = cache_folder("kernels") or _passing_folder()
    libraries = {source: folder / f"{source}-{_digest(source, flags)}.so" for source in sources or LIBRARIES}
    missing = {source: library for source, library in libraries.items() if not library.exists()}
    sentence = f"the C++ kernels are ready ({name})"
    if missing:
        if compiler is None:
            return Kernels(False, f"no C++ compiler (c++, g++ or clang++) was found: {INSTEAD}, more slowly; everything else is the same")
        began = time.perf_counter()
        with ThreadPoolExecutor(len(missing)) as at_once:
            failures = [*at_once.map(lambda source: _compile(compiler, flags, source, missing[source]), missing)]
        if any(failures):
            return Kernels(False, f"the C++ kernels did not compile ({next(filter(None, failures))}): {INSTEAD}, more slowly")
        sentence += f", compiled in {time.perf_counter() - began:.1f} s"
    try:
        for source, library in libraries.items():
            _load(source, library)
    except (OSError, AttributeError) as error:
        return Kernels(False, f"the C++ kernels could not be loaded ({error}): {INSTEAD}, more slowly")
    return Kernels(True, sentence)


@functools.cache
def _load(source: str, library: Path) -> None:
    loaded = ctypes.cdll.LoadLibrary(str(library))
    for target in LIBRARIES[source]:
        jax.ffi.register_ffi_target(f"deltarule_{target}", jax.ffi.pycapsule(getattr(loaded, target)), platform="cpu")


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


def _digest(source: str, flags: tuple[str, ...]) -> str:
    """Changes with the source, the flags and the headers that it is compiled against."""
    text = b"".join((FOLDER / name).read_bytes() for name in (*HEADERS, f"{source}.cc"))
    return hashlib.sha256(text + " ".join(flags).encode() + jax.__version__.encode()).hexdigest()[:16]


def _compile(compiler: str, flags: tuple[str, ...], source: str, library: Path) -> str:
    """Compile to a temporary name and move it into place; returns what went wrong, in one line, or nothing."""
    hidden, path = library.with_suffix(f".{os.getpid()}.tmp"), str(FOLDER / f"{source}.cc")
    what = f"{source}.cc, {Path(compiler).name}"
    command = [compiler, "-std=c++17", "-O3", "-fPIC", "-shared", *flags, f"-I{jax.ffi.include_dir()}", path, "-o", str(hidden)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode == 0:
            os.replace(hidden, library)
            return ""
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        return f"{what}: {next((line for line in said if 'error' in line), said[-1])}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{what}: {error}"
    finally:
        hidden.unlink(missing_ok=True)
