"""The convolution kernels as JAX functions: float32, two dimensions, channels last."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Sizes of image, kernel and output; zeros before the image; steps between windows and between the values of one window."""

    space: Pair
    kernel: Pair
    output: Pair
    before: Pair = (0, 0)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)

    def numbers(self, n: int, channels: int, filters: int) -> np.ndarray:
        """As the kernels take it, for n images."""
        sizes = n, *self.space, channels, *self.kernel, filters, *self.output
        return np.array([*sizes, *self.before, *self.stride, *self.dilation], np.int64)


def forward(x: jax.Array, K: jax.Array, b: jax.Array, at: Geometry, relu: bool = False) -> jax.Array:
    """h[p, q, f] = g(b[f] + sum_ijc x[p s + i d - top, q s + j d - left, c] K[i, j, c, f]) with g the identity or ReLU.

    `x` (n, *space, C), `K` (*kernel, C, F), `b` (F,), h (n, *output, F); what lies outside the image is zero.
    """
    n, (C, F) = x.shape[0], K.shape[2:]
    call = jax.ffi.ffi_call("deltarule_conv_forward", jax.ShapeDtypeStruct((n, *at.output, F), x.dtype), vmap_method="sequential")
    return call(x, K, b, geometry=at.numbers(n, C, F), relu=relu)


def backward(x: jax.Array | None, K: jax.Array | None, h: jax.Array | None, dh: jax.Array,
             at: Geometry) -> tuple[jax.Array, jax.Array, jax.Array]:
    """dL/dx, dL/dK and dL/db from dL/dh (n, *output, F), in one pass over the images.

    With delta = dL/dh, or zero where the ReLU was off in `h`: dK[i, j, c, f] = sum delta[p, q, f] x[p s + i d - top, q s + j d - left, c],
    db = sum delta, and dx is the convolution of delta, its pixels a stride apart, with the kernel turned round. Without `x`
    there is no dK and no db, without `K` no dx (they come back empty); without `h` there was no ReLU.
    """
    if K is None and x is None:
        raise ValueError("backward needs x, K or both")
    n, F = dh.shape[0], dh.shape[-1]
    C = x.shape[-1] if x is not None else K.shape[2]        # type: ignore[union-attr]
    shapes = (n, *at.space, C) if K is not None else (0,), (*at.kernel, C, F) if x is not None else (0,), (F,) if x is not None else (0,)
    empty = jnp.zeros(0, dh.dtype)
    call = jax.ffi.ffi_call("deltarule_conv_backward", tuple(jax.ShapeDtypeStruct(shape, dh.dtype) for shape in shapes),
                            vmap_method="sequential")
    dx, dK, db = call(*(empty if value is None else value for value in (x, K, h)), dh, geometry=at.numbers(n, C, F), relu=h is not None,
                      wants_dx=K is not None, wants_dK=x is not None)
    return dx, dK, db


def multiply_adds(call: dict[str, Any]) -> int:
    """Multiplications, each with its addition, of one call of a kernel, from the parameters of its `ffi_call`; 0 for other calls."""
    if not call["target_name"].startswith("deltarule_conv"):
        return 0
    geometry = dict(call["attributes"])["geometry"]
    n, _, _, C, kh, kw, F, P, Q, *_ = np.asarray(getattr(geometry, "val", geometry)).tolist()
    return int(n * P * Q * kh * kw * C * F)
