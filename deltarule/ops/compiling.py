"""How a function is compiled: thoroughly, or quickly where it will run for a moment only.

On a CPU most of the time that a small network takes to train is XLA's: 2.0 s to compile an epoch that then runs for 0.02 s. Without
LLVM's optimisations and XLA's fusion emitters it is 0.5 s, and the loops (not the matrix products) run about four times slower.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False     # an option that later versions do not know


class Compiled:
    """A jitted function in two forms; `quick=True` asks for the one that compiles fast (on a CPU; elsewhere there is only one)."""

    def __init__(self, function: Callable[..., Any], static: Sequence[str]):
        functools.update_wrapper(self, function)
        self.thorough = jax.jit(function, static_argnames=tuple(static))
        self.quick = jax.jit(function, static_argnames=tuple(static), compiler_options=QUICK)

    def __call__(self, *arguments: Any, quick: bool = False) -> Any:
        """The function's value."""
        return (self.quick if quick and jax.default_backend() == "cpu" else self.thorough)(*arguments)

    def programs(self) -> int:
        """How many programs have been compiled so far."""
        forms: tuple[Any, ...] = (self.thorough, self.quick)
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


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Within it JAX computes in float64 where dtype is "float64"; for "float32" nothing changes.

    >>> with precision("float64"):
    ...     print(jax.numpy.zeros(1, "float64").dtype)
    float64
    """
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        yield
