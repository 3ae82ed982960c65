"""Training rows where they lie: a program on a CPU takes its batches out of the user's own memory, without a copy of it."""

import dataclasses
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
