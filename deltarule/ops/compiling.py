"""How a function is compiled: thoroughly, or quickly where it will run for a moment only.

On a CPU most of the time that a small network takes to train is XLA's: 2.0 s to compile an epoch that then runs for 0.02 s. Without
LLVM's optimisations and XLA's fusion emitters it is 0.5 s, and the loops (not the matrix products) run about four times slower.
"""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

# Without the fusion emitters (an option that later versions do not know) the compiler needs a quarter of the memory.
LEAN: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
QUICK: dict[str, Any] = LEAN | {"xla_backend_optimization_level": 0}


COMPILING = 0.02    # seconds: finding a known program takes less


class Compiled:
    """A jitted function in three forms: `quick=True` asks for the one that compiles fast, `lean=True` for the one that does so in little
    memory and is slower in large loops alone (on a CPU; elsewhere there is only one).
    """

    def __init__(self, function: Callable[..., Any], static: Sequence[str]):
        functools.update_wrapper(self, function)
        self.thorough = jax.jit(function, static_argnames=tuple(static))
        self.quick = jax.jit(function, static_argnames=tuple(static), compiler_options=QUICK)
        self.lean = jax.jit(function, static_argnames=tuple(static), compiler_options=LEAN) if LEAN else self.thorough
        self.known: set[Any] = set()        # kinds of arguments that `ready` has seen

    def __call__(self, *arguments: Any, quick: bool = False, lean: bool = False) -> Any:
        """The function's value."""
        return self._form(quick, lean)(*arguments)

    def ready(self, *arguments: Any, quick: bool = False, lean: bool = False) -> None:
        """Compile for arguments like these, where that has not been done; what the compiler used is given back before they run."""
        leaves, form = jax.tree.flatten(arguments)
        kind = quick, lean, form, *((getattr(leaf, "shape", leaf), getattr(leaf, "dtype", None)) for leaf in leaves)
        if kind in self.known:
            return
        self.known.add(kind)
        clock = time.perf_counter()
        self._form(quick, lean).lower(*arguments).compile()
        if time.perf_counter() - clock > COMPILING:
            give_back()

    def _form(self, quick: bool, lean: bool) -> Any:
        if jax.default_backend() != "cpu":
            return self.thorough
        return self.quick if quick else self.lean if lean else self.thorough

    def programs(self) -> int:
        """How many programs have been compiled so far."""
        forms: tuple[Any, ...] = (self.thorough, self.quick, *([self.lean] if LEAN else []))
        return sum(form._cache_size() for form in forms)


def compiled(*static: str) -> Callable[[Callable[..., Any]], Compiled]:
    """Decorator: compile a function; the named arguments are part of the program.

    >>> @compiled("power")
    ... def raised(x, power):
    ...     return x ** power
    >>> float(raised(3.0, 2)), float(raised(3.0, 2, quick=True)), raised.programs()
    (9.0, 9.0, 2)
    """
    return lambda function: Compiled(function, static)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Once:
    """A tree in which one array may stand in several places: a compiled program that returns this writes it to memory once, not for each.

    >>> @compiled()
    ... def both(x):
    ...     h = x + 1
    ...     return Once.of({"a": (x, h), "b": h})
    >>> both(1.0).arrays, both(1.0).tree["b"]
    ([Array(1., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True)], Array(2., dtype=float32, weak_type=True))
    """

    arrays: list[Any]
    places: tuple[int, ...] = dataclasses.field(metadata={"static": True})      # of every leaf among the arrays
    form: Any = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, tree: Any) -> "Once":
        """The tree with each array once."""
        leaves, form = jax.tree.flatten(tree)
        arrays = {id(leaf): leaf for leaf in leaves}
        numbers = {which: number for number, which in enumerate(arrays)}
        return cls([*arrays.values()], tuple(numbers[id(leaf)] for leaf in leaves), form)

    @property
    def tree(self) -> Any:
        """The tree again."""
        return jax.tree.unflatten(self.form, [self.arrays[place] for place in self.places])


def give_back() -> None:
    """Memory that is free goes back to the system: the compiler's, which the C library keeps, and arrays that JAX holds until asked."""
    gc.collect(0)
    with contextlib.suppress(OSError, AttributeError):      # only the GNU C library has this function
        ctypes.CDLL(None).malloc_trim(0)


def precision(dtype: str) -> contextlib.AbstractContextManager[None]:
    """Within it JAX computes in float64 where dtype is "float64"; for "float32" nothing changes.

    >>> with precision("float64"):
    ...     print(jax.numpy.zeros(1, "float64").dtype)
    float64
    """
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()
