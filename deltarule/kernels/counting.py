"""How much a kernel has to do: multiplications, each with its addition, as the summary of a network counts them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Shapes = Sequence[tuple[int, ...]]


def multiply_adds(call: dict[str, Any], given: Shapes) -> int:
    """Those of one call, from the parameters of its `ffi_call` and the shapes it was given; 0 for kernels without products.

    >>> shapes = (2, 7, 3), (3, 20), (20,), (5, 20)             # x, U, b and W of an LSTM of 5 units: 7 steps for each of 2 sequences
    >>> multiply_adds({"target_name": "deltarule_recurrent_forward"}, shapes) == 2 * 7 * (3 * 20 + 5 * 20)
    True
    """
    count = _COUNTS.get(call["target_name"])
    return 0 if count is None else count(call, given)


def _convolution(call: dict[str, Any], given: Shapes) -> int:
    geometry = dict(call["attributes"])["geometry"]
    n, _, _, C, kh, kw, F, P, Q, *_ = np.asarray(getattr(geometry, "val", geometry)).tolist()
    return int(n * P * Q * kh * kw * C * F)


def _recurrent(call: dict[str, Any], given: Shapes) -> int:
    (n, T, inputs), _, _, (units, columns) = given[:4]
    return n * T * (inputs + units) * columns


def _attention(call: dict[str, Any], given: Shapes) -> int:
    (n, T, heads, d), (_, S, _, _), (*_, e) = given[:3]
    return n * heads * T * S * (d + e)


def _dense(call: dict[str, Any], given: Shapes) -> int:
    inputs, units = given[1]
    return inputs * units


_COUNTS: dict[str, Callable[[dict[str, Any], Shapes], int]] = {
    "deltarule_conv_forward": _convolution, "deltarule_conv_backward": _convolution, "deltarule_recurrent_forward": _recurrent,
    "deltarule_attention_forward": _attention, "deltarule_dense_row": _dense,
}
