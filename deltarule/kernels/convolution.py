"""The convolution kernels as JAX functions: float32, two dimensions, channels last."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]
ACTIVATIONS = ("linear", "relu", "tanh")        # in the order of the kernels
WINDOW = 250        # the largest pooled window: its positions are numbered in one byte


class Geometry(NamedTuple):
    """Sizes of image, kernel and output; zeros before the image; steps between windows and between the values of one window.

    `pool` is the window of the pooling that follows, its stride as well: (1, 1) is none.
    """

    space: Pair
    kernel: Pair
    output: Pair
    before: Pair = (0, 0)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pool: Pair = (1, 1)

    @property
    def pooled(self) -> Pair:
        """Size of the output behind the pooling."""
        return self.output[0] // self.pool[0], self.output[1] // self.pool[1]

    def numbers(self, n: int, channels: int, filters: int) -> np.ndarray:
        """As the kernels take it, for n images."""
        sizes = n, *self.space, channels, *self.kernel, filters, *self.output
        return np.array([*sizes, *self.before, *self.stride, *self.dilation, *self.pool], np.int64)


def forward(x: jax.Array, K: jax.Array, b: jax.Array | None, at: Geometry, activation: str = "linear",
            average: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
    """h[p, q, f] = g(b[f] + sum_ijc x[p s + i d - top, q s + j d - left, c] K[i, j, c, f]), pooled where wanted, g one of ACTIVATIONS.

    `x` (n, *space, C), `K` (*kernel, C, F), `b` (F,) or None for zeros, h (n, *pooled, F); what lies outside the image is zero. The
    second value says of each pooled window which of its values was the largest (255: its ReLU was off); without pooling, and where windows
    are averaged, it is empty. The third value (n, *output, F) is what was averaged, where there is an activation; else empty.
    """
    n, (C, F) = x.shape[0], K.shape[2:]
    shape, pooled = (n, *at.pooled, F), at.pool != (1, 1)
    kept = (n, *at.output, F) if pooled and average and activation != "linear" else (0,)
    kinds = (jax.ShapeDtypeStruct(shape, x.dtype), jax.ShapeDtypeStruct(shape if pooled and not average else (0,), jnp.uint8),
             jax.ShapeDtypeStruct(kept, x.dtype))
    call = jax.ffi.ffi_call("deltarule_conv_forward", kinds, vmap_method="sequential")
    h, which, whole = call(x, K, jnp.zeros(0, K.dtype) if b is None else b, geometry=at.numbers(n, C, F),
                           activation=np.int64(ACTIVATIONS.index(activation)), averages=average)
    return h, which, whole


def backward(x: jax.Array | None, K: jax.Array | None, h: jax.Array | None, which: jax.Array | None, dh: jax.Array, at: Geometry,
             bias: bool = True, activation: str = "relu", average: bool = False) -> tuple[jax.Array, jax.Array, jax.Array]:
    """dL/dx, dL/dK and dL/db from dL/dh (n, *pooled, F), in one pass over the images.

    With delta = dL/dh g'(a), at the places that `which` names of each pooled window, or in equal parts where windows are averaged:
    dK[i, j, c, f] = sum delta[p, q, f] x[p s + i d - top, q s + j d - left, c], db = sum delta, and dx is the convolution of delta, its
    pixels a stride apart, with the kernel turned round. Without `x` there is no dK and no db, without `K` no dx, without
    `bias` no db (they come back empty). `h` are the outputs of `forward`, or what was averaged; without `h` there was no activation (a
    ReLU that was off is seen in `which`).
    """
    if K is None and x is None:
        raise ValueError("backward needs x, K or both")
    n, F = dh.shape[0], dh.shape[-1]
    C = x.shape[-1] if x is not None else K.shape[2]        # type: ignore[union-attr]
    shapes = ((n, *at.space, C) if K is not None else (0,), (*at.kernel, C, F) if x is not None else (0,),
              (F,) if x is not None and bias else (0,))
    call = jax.ffi.ffi_call("deltarule_conv_backward", tuple(jax.ShapeDtypeStruct(shape, dh.dtype) for shape in shapes),
                            vmap_method="sequential")
    x, K, h = (jnp.zeros(0, dh.dtype) if value is None else value for value in (x, K, h))
    which = jnp.zeros(0, jnp.uint8) if which is None else which
    dx, dK, db = call(x, K, h, which, dh, geometry=at.numbers(n, C, F), activation=np.int64(ACTIVATIONS.index(activation)),
                      averages=average)
    return dx, dK, db
