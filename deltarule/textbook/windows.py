"""Where a sliding window stands: output sizes, padding, the slices of the input that it covers (lecture rows 28 and 30).

Everything holds for 1, 2 and 3 axes of space; inputs are (n, *space, channels).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook.arrays import Array, expect_known, expect_whole

Sides = tuple[int, int]             # the padding before and after, along one axis


def output_size(size: int, kernel: int, stride: int = 1, padding: Sides = (0, 0), dilation: int = 1, rounding: str = "floor") -> int:
    """H_out = (H - k + 2P) / S + 1, rounded by "floor" or by "ceil" (Baron gives both); 2P is the sum of the two sides.

    A kernel of k values, D apart, covers D (k - 1) + 1 positions, which then stands for k. Raises DeltaruleError where the
    window does not fit once, or for sizes that are not whole numbers from 1 on.

    >>> output_size(28, 3), output_size(5, 2, stride=2), output_size(5, 2, stride=2, rounding="ceil"), output_size(9, 3, dilation=3)
    (26, 2, 3, 3)
    """
    for name, value in (("size", size), ("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        expect_whole(name, value)
    expect_known("rounding", rounding, ("floor", "ceil"))
    covered = dilation * (kernel - 1) + 1
    free = size - covered + sum(padding)
    if free < 0:
        raise DeltaruleError(f"a window over {covered} positions does not fit into {size} with padding {tuple(padding)}: "
                             "the output would have no position; use a smaller kernel or dilation, or more padding")
    return (free // stride if rounding == "floor" else math.ceil(free / stride)) + 1


class Windows(NamedTuple):
    """The positions of a window over the `space` of an input: all tuples have one entry for each axis."""

    space: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Sides, ...]      # as given, and where "ceil" lets the last window stick out, as much more behind
    output: tuple[int, ...]

    def positions(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """For every output position: its index, and the slices of the padded input that its window covers."""
        for o in np.ndindex(*self.output):
            starts = [i * s for i, s in zip(o, self.stride, strict=True)]
            window = [slice(start, start + d * (k - 1) + 1, d) for start, k, d in zip(starts, self.kernel, self.dilation, strict=True)]
            yield (slice(None), *o), (slice(None), *window)

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """x (n, *space, channels) with its borders of `value`."""
        return np.pad(x, [(0, 0), *self.padding, (0, 0)], constant_values=value)

    def crop(self, padded: Array) -> Array:
        """The inverse of `pad`."""
        inner = [slice(before, before + size) for (before, _), size in zip(self.padding, self.space, strict=True)]
        return padded[(slice(None), *inner)]


def windows(space: Sequence[int], kernel: Sequence[int], stride: int | Sequence[int], padding: Any = "valid",
            dilation: int | Sequence[int] = 1, rounding: str = "floor") -> Windows:
    """The windows over `space`. Numbers hold for all axes; tuples give one for each.

    `padding`: "valid" none; "same" so that H_out = ceil(H / S), one more behind where it is odd; "full" every position that
    touches the input; a number P for every side; or for each axis P or (before, after). Raises DeltaruleError for anything else
    and where a window does not fit, ShapeError for tuples of another length.

    >>> windows((5,), (3,), stride=2, padding="same")
    Windows(space=(5,), kernel=(3,), stride=(2,), dilation=(1,), padding=((1, 1),), output=(3,))
    """
    axes = len(space)
    stride, dilation = _for_each("stride", stride, axes), _for_each("dilation", dilation, axes)
    sides, output = [], []
    for H, k, S, D, P in zip(space, kernel, stride, dilation, _for_each("padding", padding, axes), strict=True):
        for name, value in (("kernel", k), ("stride", S), ("dilation", D)):
            expect_whole(name, value)
        covered = D * (k - 1) + 1
        before, after = _sides(P, H, S, covered)
        size = output_size(H, k, S, (before, after), D, rounding)
        sticks_out = (size - 1) * S + covered - (H + before + after)
        sides.append((before, after + max(0, sticks_out)))
        output.append(size)
    return Windows(tuple(space), tuple(kernel), stride, dilation, tuple(sides), tuple(output))


def _sides(padding: Any, H: int, S: int, covered: int) -> Sides:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        both = max(0, (math.ceil(H / S) - 1) * S + covered - H)
        return both // 2, both - both // 2
    if padding == "full":
        return covered - 1, covered - 1
    if isinstance(padding, str):
        expect_known("padding", padding, ("valid", "same", "full"))
    before, after = padding if isinstance(padding, tuple) else (padding, padding)
    expect_whole("padding", before, least=0)
    expect_whole("padding", after, least=0)
    return before, after


def _for_each(name: str, value: Any, axes: int) -> tuple[Any, ...]:
    """One value for each axis."""
    if not isinstance(value, (tuple, list)):
        return (value,) * axes
    if len(value) != axes:
        raise ShapeError(f"{name} expected one number or {axes}, one for each axis of space, received {value!r}")
    return tuple(value)
