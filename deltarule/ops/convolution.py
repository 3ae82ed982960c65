"""Convolution and its derivatives in 1, 2 and 3 dimensions, channels last (lecture row 28): a cross-correlation, without a flip.

One sum holds all of it, with o over the output, k over the kernel, c over the channels, m over the feature maps:

    T(x, K, y) = sum_nokcm  y[n, o, m]  x[n, o S + k D - P, c]  K[k, c, m]

Its derivative by y is the convolution of x with K, by x the transposed convolution of y, by K the gradient of the kernels. Each
of the three is the backward pass of the other two, so that nothing else is needed, and derivatives of derivatives come for free.

On a CPU they are matrix products over columns: the values under one row of the kernel, side by side. All rows at once (im2col) would
write the image again for every place of the kernel; one row at a time, a few images at a time, the columns stay in the cache. Where
the C++ kernels are ready they serve in place of the products (`native`). Other platforms have a convolution of their own, XLA's,
which on a CPU takes minutes inside a loop (jax issue 12868).
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.ops import native

Sizes = tuple[int, ...]
Sides = tuple[tuple[int, int], ...]     # the padding (before, after) of each axis
WIDTH = 128                             # columns may be so wide; as many axes of the kernel as fit lie side by side
CACHE = 2**19                           # numbers that the columns of a chunk of images may hold (2 MB in float32)


class Windows(NamedTuple):
    """Where the kernel stands: sizes of the input and of the kernel, S, P and D along each axis, and the number of groups."""

    space: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sides
    dilation: Sizes
    groups: int

    @property
    def output(self) -> Sizes:
        """H_out = floor((H + P_before + P_after - D (k - 1) - 1) / S) + 1 along each axis."""
        return tuple((H + sum(P) - D * (k - 1) - 1) // S + 1
                     for H, k, S, P, D in zip(self.space, self.kernel, self.stride, self.padding, self.dilation, strict=True))


def convolve(x: jax.Array, K: jax.Array, stride: Sizes, padding: Sides, dilation: Sizes, groups: int = 1) -> jax.Array:
    """y[n, o, m] = sum_kc x[n, o S + k D - P, c] K[k, c, m], x being 0 outside (Baron, "Convolution and Feature Maps"; row 28).

    Shapes: x (n, *space, C), K (*kernel, C / groups, M), y (n, *output, M). With `groups`, the channels and the maps are split into
    as many parts, each convolved on its own; groups = C is the depthwise convolution. dL/dx and dL/dK: see above, with y = dL/dy.
    A value that is not finite reaches every output whose window holds it; the C++ kernels, which multiply less, may let it reach the
    outputs beside these as well, at most three further along the last axis of space.

    >>> x = jnp.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1)
    >>> convolve(x, jnp.array([-1.0, 1.0]).reshape(2, 1, 1), (1,), ((0, 0),), (1,))[0, :, 0].tolist()
    [1.0, 2.0, 4.0]
    """
    return _maps(x, K, Windows(x.shape[1:-1], K.shape[:-2], stride, padding, dilation, groups))


def convolve_transposed(y: jax.Array, K: jax.Array, space: Sizes, stride: Sizes, padding: Sides, dilation: Sizes,
                        groups: int = 1) -> jax.Array:
    """x[n, o S + k D - P, c] += sum_m y[n, o, m] K[k, c, m]: every value of y paints the kernel; the adjoint of `convolve`.

    Shapes: y (n, *output, M), K (*kernel, C / groups, M), x (n, *space, C), where `convolve` leads from `space` to `output`.

    >>> y = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
    >>> convolve_transposed(y, jnp.array([1.0, 10.0]).reshape(2, 1, 1), (4,), (2,), ((0, 0),), (1,))[0, :, 0].tolist()
    [1.0, 10.0, 2.0, 20.0]
    """
    return _inputs(y, K, Windows(space, K.shape[:-2], stride, padding, dilation, groups))


def kernel_gradient(x: jax.Array, y: jax.Array, at: Windows) -> jax.Array:
    """K[k, c, m] = sum_no y[n, o, m] x[n, o S + k D - P, c], what `convolve` has for dL/dK where y = dL/dy.

    Shapes: x (n, *space, C), y (n, *output, M), K (*kernel, C / groups, M).

    >>> x, y = jnp.array([1.0, 2.0, 4.0]).reshape(1, 3, 1), jnp.array([1.0, 10.0]).reshape(1, 2, 1)
    >>> kernel_gradient(x, y, Windows((3,), (2,), (1,), ((0, 0),), (1,), 1))[:, 0, 0].tolist()
    [21.0, 42.0]
    """
    return _kernel(x, y, at)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _maps(x: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
    """dT/dy, the convolution."""
    return _where_it_runs(_maps_by_products, lambda x, K, at: native.maps(x, K, at)[0], _xla, x, K, at)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _inputs(y: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
    """dT/dx, the transposed convolution."""
    def by_xla(y: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
        x = jax.ShapeDtypeStruct((y.shape[0], *at.space, K.shape[-2] * at.groups), y.dtype)
        return jax.linear_transpose(lambda x: _xla(x, K, at), x)(y)[0]

    return _where_it_runs(_inputs_by_products, native.inputs, by_xla, y, K, at)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel(x: jax.Array, y: jax.Array, at: Windows) -> jax.Array:
    """dT/dK, the gradient of the kernels."""
    def by_xla(x: jax.Array, y: jax.Array, at: Windows) -> jax.Array:
        K = jax.ShapeDtypeStruct((*at.kernel, x.shape[-1] // at.groups, y.shape[-1]), x.dtype)
        return jax.linear_transpose(lambda K: _xla(x, K, at), K)(y)[0]

    return _where_it_runs(_kernel_by_products, native.kernel, by_xla, x, y, at)


_maps.defvjp(lambda x, K, at: (_maps(x, K, at), (x, K)),
             lambda at, xK, dy: (_inputs(dy, xK[1], at), _kernel(xK[0], dy, at)))
_inputs.defvjp(lambda y, K, at: (_inputs(y, K, at), (y, K)),
               lambda at, yK, dx: (_maps(dx, yK[1], at), _kernel(dx, yK[0], at)))
_kernel.defvjp(lambda x, y, at: (_kernel(x, y, at), (x, y)),
               lambda at, xy, dK: (_inputs(xy[1], dK, at), _maps(xy[0], dK, at)))


def _where_it_runs(by_products: Callable[..., jax.Array], by_kernels: Callable[..., jax.Array], by_xla: Callable[..., jax.Array],
                   one: jax.Array, other: jax.Array, at: Windows) -> jax.Array:
    on_cpu = by_kernels if native.serves(one.dtype, at.groups, len(at.space)) else by_products
    return lax.platform_dependent(one, other, cpu=lambda one, other: on_cpu(one, other, at),
                                  default=lambda one, other: by_xla(one, other, at))


def _xla(x: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
    space = "DHW"[-len(at.space):]
    return lax.conv_general_dilated(x, K, at.stride, at.padding, rhs_dilation=at.dilation, feature_group_count=at.groups,
                                    dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"))


def _maps_by_products(x: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
    """y = sum over the rows of the kernel of columns(x) K."""
    rows = _rows(at, K.shape[-2])

    def maps(x: jax.Array) -> jax.Array:
        columns = _columns(x, rows, at)
        return _joined(_sum(_product(column, _under(K, row, at)) for column, row in zip(columns, rows, strict=True)))

    return _in_chunks(maps, (x,), rows, at, x.shape[-1])


def _inputs_by_products(y: jax.Array, K: jax.Array, at: Windows) -> jax.Array:
    """x = sum over the rows of the kernel of the columns y K^T, each put back to where it was taken from."""
    rows, C = _rows(at, K.shape[-2]), K.shape[-2] * at.groups

    def inputs(y: jax.Array) -> jax.Array:
        y = _split(y, at)
        return _joined(_sum(_put_back(_product_back(y, _under(K, row, at)), row, at) for row in rows))

    return _in_chunks(inputs, (y,), rows, at, C)


def _kernel_by_products(x: jax.Array, y: jax.Array, at: Windows) -> jax.Array:
    """K = columns(x)^T y for each row of the kernel, summed over the chunks."""
    c, M = x.shape[-1] // at.groups, y.shape[-1]
    rows = _rows(at, c)

    def kernel(x: jax.Array, y: jax.Array) -> jax.Array:
        y = _split(y, at)
        return jnp.stack([_outer(column, y) for column in _columns(x, rows, at)])       # (rows, groups, places c, M / groups)

    K = _in_chunks(kernel, (x, y), rows, at, x.shape[-1], summed=True)
    K = K.reshape(len(rows), at.groups, len(rows[0]), c, M // at.groups)
    return jnp.moveaxis(K, 1, 3).reshape(*at.kernel, c, M)


def _rows(at: Windows, c: int) -> list[list[Sizes]]:
    """The places of the kernel in rows that lie side by side: the last axes, as many as fit into WIDTH, but one at least.

    In a depthwise convolution nothing is multiplied by matrices, and every place is a row of its own.
    """
    axes = len(at.kernel)
    fitting = [n for n in range(1, axes + 1) if math.prod(at.kernel[-n:]) * c <= WIDTH]
    length = 1 if c == 1 < at.groups else math.prod(at.kernel[-max(fitting, default=1):])
    places = list(itertools.product(*map(range, at.kernel)))
    return [places[i:i + length] for i in range(0, len(places), length)]


def _columns(x: jax.Array, rows: list[list[Sizes]], at: Windows) -> Iterator[jax.Array]:
    """For each row of the kernel the values under it: (n, *space, C) to (n, *output, groups, places c)."""
    padded = _split(jnp.pad(x, ((0, 0), *at.padding, (0, 0))), at)
    for row in rows:
        under = [padded[(slice(None), *(slice(k * D, k * D + (n - 1) * S + 1, S)
                                        for k, D, S, n in zip(place, at.dilation, at.stride, at.output, strict=True)))] for place in row]
        yield jnp.concatenate(under, axis=-1) if len(under) > 1 else under[0]


def _put_back(column: jax.Array, row: list[Sizes], at: Windows) -> jax.Array:
    """The adjoint of `_columns` for one row: (n, *output, groups, places c) to (n, *space, groups, c), zero where nothing was taken."""
    zero, whole = jnp.zeros((), column.dtype), (0, 0, 0)
    parts = []
    for place, values in zip(row, jnp.split(column, len(row), axis=-1), strict=True):
        first = [k * D - P[0] for k, D, P in zip(place, at.dilation, at.padding, strict=True)]
        after = [H - (f + (n - 1) * S + 1) for H, f, n, S in zip(at.space, first, at.output, at.stride, strict=True)]
        around = [(f, a, S - 1) for f, a, S in zip(first, after, at.stride, strict=True)]
        parts.append(lax.pad(values, zero, (whole, *around, whole, whole)))
    return _sum(parts)


def _under(K: jax.Array, row: list[Sizes], at: Windows) -> jax.Array:
    """The weights of one row of the kernel: (groups, places c, M / groups)."""
    weights = jnp.concatenate([K[place] for place in row])
    return jnp.moveaxis(_split(weights, at), 1, 0)


def _split(values: jax.Array, at: Windows) -> jax.Array:
    """The last axis as groups and what each holds."""
    return values.reshape(*values.shape[:-1], at.groups, values.shape[-1] // at.groups)


def _joined(values: jax.Array) -> jax.Array:
    """The inverse of `_split`."""
    return values.reshape(*values.shape[:-2], values.shape[-2] * values.shape[-1])


def _product(column: jax.Array, K: jax.Array) -> jax.Array:
    """columns K in each group: (n, *output, groups, c), (groups, c, m) to (n, *output, groups, m).

    Here and below one group is a plain product, and groups of one channel multiply numbers: on a CPU both are much faster so.
    """
    if K.shape[1] == 1 < K.shape[0]:
        whole = (*column.shape[:-1], K.shape[2])
        return jnp.broadcast_to(column, whole) * jnp.broadcast_to(K[:, 0], whole)
    if K.shape[0] == 1:
        return (column[..., 0, :] @ K[0])[..., None, :]
    return jnp.einsum("...gc,gcm->...gm", column, K)


def _product_back(y: jax.Array, K: jax.Array) -> jax.Array:
    """y K^T in each group: (n, *output, groups, m), (groups, c, m) to (n, *output, groups, c)."""
    if K.shape[1] == 1 < K.shape[0]:
        return jnp.sum(y * jnp.broadcast_to(K[:, 0], y.shape), axis=-1, keepdims=True)
    if K.shape[0] == 1:
        return (y[..., 0, :] @ K[0].T)[..., None, :]
    return jnp.einsum("...gm,gcm->...gc", y, K)


def _outer(column: jax.Array, y: jax.Array) -> jax.Array:
    """columns^T y in each group, summed over all positions: (n, *output, groups, c), (n, *output, groups, m) to (groups, c, m)."""
    column, y = (values.reshape(-1, *values.shape[-2:]) for values in (column, y))
    if column.shape[2] == 1 < column.shape[1]:
        return jnp.sum(jnp.broadcast_to(column, y.shape) * y, axis=0)[:, None]
    if column.shape[1] == 1:
        return (column[:, 0].T @ y[:, 0])[None]
    return jnp.einsum("rgc,rgm->gcm", column, y)


def _sum(values: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, values)


def _in_chunks(function: Callable[..., jax.Array], arrays: tuple[jax.Array, ...], rows: list[list[Sizes]], at: Windows, C: int,
               summed: bool = False) -> jax.Array:
    """The function's value for all images, a few at a time, so that their columns stay in the cache; in order, or summed."""
    n = arrays[0].shape[0]
    room = CACHE // (math.prod(at.output) * len(rows[0]) * C)
    m = max((m for m in range(1, n + 1) if n % m == 0 and m <= room), default=1)
    if m >= n:
        return function(*arrays)
    chunks = tuple(values.reshape(n // m, m, *values.shape[1:]) for values in arrays)
    if summed:
        zero = jnp.zeros_like(jax.eval_shape(function, *(values[0] for values in chunks)))
        return lax.scan(lambda total, chunk: (total + function(*chunk), None), zero, chunks)[0]
    values = lax.map(lambda chunk: function(*chunk), chunks)
    return values.reshape(n, *values.shape[2:])
