"""Saliency: how much each place of an input counts for one output of the network, by five methods.

All explain f = a_target, the pre-activation of one output (before a softmax, whose other classes would speak too), row by row. Rows of
a batch do not touch each other, so that one backward pass of their sum gives the gradient of each.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.layers.forward import forward, zero_probes
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree
from deltarule.ops.compiling import compiled


def score(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array, **watching: Any) -> Array:
    """f(x) = a_target for each row: (n,). Of a network without a last activation it is the output itself."""
    output, _ = forward(layer, params, state, x, dtype=dtype, **watching)
    a = output.h if output.a is None else output.a
    return jnp.take_along_axis(a, target[:, None], axis=1)[:, 0]


@compiled("layer", "dtype")
def scores(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array) -> Array:
    """f(x), compiled."""
    return score(layer, dtype, params, state, x, target)


@compiled("layer", "dtype")
def gradient(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array) -> Array:
    """df/dx (Simonyan, Vedaldi and Zisserman 2014): (n, *input_shape)."""
    return _slope(layer, dtype, params, state, x, target)


@compiled("layer", "dtype")
def integrated_gradients(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array, baseline: Array,
                         shares: Array) -> Array:
    """(x - x') mean over shares s of df/dx at x' + s (x - x') (Sundararajan, Taly and Yan 2017); `baseline` x' has the shape of x."""
    def along(total: Array, share: Array) -> tuple[Array, None]:
        return total + _slope(layer, dtype, params, state, baseline + share * (x - baseline), target), None

    total, _ = lax.scan(along, jnp.zeros_like(x), shares)
    return (x - baseline) * total / shares.shape[0]


@compiled("layer", "dtype", "samples")
def smoothgrad(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array, spread: Array, key: Array,
               samples: int) -> Array:
    """mean over noise of df/dx at x + noise, the spread (n,) of each row its own (Smilkov et al. 2017). All rows see the same noise."""
    def once(total: Array, key: Array) -> tuple[Array, None]:
        noise = jax.random.normal(key, x.shape[1:], x.dtype)
        noisy = x + jnp.einsum("n,...->n...", spread, noise)
        return total + _slope(layer, dtype, params, state, noisy, target), None

    total, _ = lax.scan(once, jnp.zeros_like(x), jax.random.split(key, samples))
    return total / samples


@compiled("layer", "dtype", "path")
def grad_cam(layer: Layer, dtype: str, path: str, params: Tree, state: Tree, x: Array, target: Array) -> Array:
    """relu(sum_c alpha_c A_c), alpha_c = mean over places of df/dA_c, for the maps A of the layer at `path` (Selvaraju et al. 2017).

    The maps are stretched to the size of the image, straight between neighbours: (n, *space).
    """
    name = f"{path}/activation" if path else "activation"

    def total(probes: dict[str, Array]) -> tuple[Array, Array]:
        taps: dict[str, Array] = {}
        f = score(layer, dtype, params, state, x, target, taps=taps, probes=probes)
        return jnp.sum(f), taps[name]

    slopes, A = jax.grad(total, has_aux=True)(zero_probes(layer, params, state, x, dtype=dtype))
    space = tuple(range(1, A.ndim - 1))
    alpha = jnp.mean(slopes[name], axis=space)
    maps = jnp.maximum(jnp.einsum("n...c,nc->n...", A, alpha), 0)
    return jax.image.resize(maps, (x.shape[0], *x.shape[1:-1]), "linear")


@compiled("layer", "dtype")
def occlusion(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array, baseline: Array, masks: Array) -> Array:
    """mean over the masks on a place of f(x) - f(x with the baseline under the mask) (Zeiler and Fergus 2014).

    `masks` (m, *input_shape) are 1 where the input is covered and 0 elsewhere. Returns (n, *input_shape).
    """
    f = score(layer, dtype, params, state, x, target)

    def cover(total: Array, mask: Array) -> tuple[Array, None]:
        on = jnp.broadcast_to(mask, x.shape)
        lost = f - score(layer, dtype, params, state, x + on * (baseline - x), target)
        return total + jnp.einsum("n,...->n...", lost, mask), None

    total, _ = lax.scan(cover, jnp.zeros_like(x), masks)
    return total / jnp.broadcast_to(jnp.maximum(jnp.sum(masks, axis=0), 1), x.shape)


def windows(shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """Masks (m, *shape) with a box of ones each, `stride` apart; the last box of an axis ends where the axis ends.

    >>> windows((3, 1), (2, 1), (1, 1))[:, :, 0].astype(int).tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    begins = [sorted({*range(0, H - k + 1, S), H - k}) for H, k, S in zip(shape, size, stride, strict=True)]
    corners = np.stack(np.meshgrid(*begins, indexing="ij"), axis=-1).reshape(-1, len(shape))
    masks = np.zeros((len(corners), *shape))
    for mask, corner in zip(masks, corners, strict=True):
        mask[tuple(slice(a, a + k) for a, k in zip(corner, size, strict=True))] = 1
    return masks


def _slope(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array, target: Array) -> Array:
    """df/dx for each row."""
    return jax.grad(lambda x: jnp.sum(score(layer, dtype, params, state, x, target)))(x)
