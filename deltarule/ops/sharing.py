"""Memory that NumPy and JAX share on a CPU: training rows where they lie, and weights that no prediction has to copy."""

import dataclasses
import math
import operator
from typing import Any

import jax
import numpy as np

from deltarule import kernels

LINE = 64       # JAX shares memory that begins at such an address; NumPy's large arrays begin 16 bytes behind one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shared:
    """Rows of `shape` (n, *row): the flat `values` from number `lead` on."""

    values: Any
    lead: Any
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def at(self, which: jax.Array) -> jax.Array:
        """The rows of these numbers, int32 (b,): (b, *row)."""
        return kernels.take_rows(self.values, self.lead, self.shape, which)


class _Lines:
    """The memory of an array in whole lines. What lies in them before and behind the array is there to be read, by nobody."""

    def __init__(self, array: np.ndarray):
        self.array, self.lead = array, array.ctypes.data % LINE
        size = -(-(self.lead + array.nbytes) // LINE) * LINE
        self.__array_interface__ = {"data": (array.ctypes.data - self.lead, True), "shape": (size // array.itemsize,),
                                    "typestr": array.dtype.str, "version": 3}


def shared(x: np.ndarray) -> Shared | np.ndarray:
    """The rows x (n, *row) without a copy where the kernels are ready, as they are elsewhere; x must stay as it is meanwhile.

    >>> rows = shared(np.arange(6, dtype=np.float32).reshape(3, 2, 1))
    >>> rows.shape
    (3, 2, 1)
    """
    usable = jax.default_backend() == "cpu" and x.flags.c_contiguous and not x.ctypes.data % x.itemsize
    if not usable or not kernels.kernels(*kernels.DENSE).ready:
        return x
    lines = _Lines(x)
    return Shared(np.asarray(lines), np.int32(lines.lead // x.itemsize), x.shape)


class Lent:
    """Trees of NumPy arrays that JAX reads again and again where they are: what is changed in place is seen, as what is replaced is.

    Arrays that do not begin at a line are handed on as they are, and every program copies them. A copy of this object lends anew.

    >>> lent, weights = Lent(), {"bias": aligned(np.zeros(3, np.float32))}
    >>> before = lent(weights)[0]["bias"]
    >>> weights["bias"][1] = 5
    >>> lent(weights)[0]["bias"].tolist(), lent(weights)[0]["bias"] is before
    ([0.0, 5.0, 0.0], True)
    """

    def __init__(self) -> None:
        self.kept: tuple[Any, ...] = *jax.tree.flatten(None), None

    def __call__(self, *trees: Any) -> tuple[Any, ...]:
        """The trees as JAX takes them fastest. The arrays must stay as they are until the program that reads them has ended."""
        leaves, form = jax.tree.flatten(trees)
        kept, known, lent = self.kept
        if form != known or not all(map(operator.is_, leaves, kept)):
            lent = jax.tree.unflatten(form, [_lent(leaf) for leaf in leaves])
            self.kept = leaves, form, lent
        found: tuple[Any, ...] = lent
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Lent, ()


def _lent(array: Any) -> Any:
    """The same memory as a JAX array, or the array itself where that cannot be."""
    if jax.default_backend() != "cpu" or not isinstance(array, np.ndarray) or array.ctypes.data % LINE or not array.flags.c_contiguous:
        return array
    lent = jax.device_put(array)
    return lent if lent.unsafe_buffer_pointer() == array.ctypes.data else array


def aligned(array: np.ndarray) -> np.ndarray:
    """The array at an address divisible by 64, copied only if it is not: JAX on a CPU then works on it without a slower copy of its own.

    >>> aligned(np.ones((2, 3), np.float32)).ctypes.data % 64
    0
    """
    return array if array.ctypes.data % LINE == 0 and array.flags.c_contiguous else owned(array)


def owned(array: Any) -> np.ndarray:
    """A copy, which may be changed, at such an address."""
    copy = room(array.shape, array.dtype)
    copy[...] = array
    return copy


def room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array at such an address, its numbers as memory had them."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    return memory[begin:begin + size].view(dtype).reshape(shape)
