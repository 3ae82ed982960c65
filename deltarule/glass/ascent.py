"""Gradient ascent on the input: what a unit likes to see most (Erhan, Bengio, Courville and Vincent 2009), and where it saw it."""

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.glass.sight import values
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree
from deltarule.ops.compiling import compiled


@compiled("layer", "path", "dtype", "steps", "jitter")
def climb(layer: Layer, path: str, dtype: str, params: Tree, state: Tree, x: Array, units: tuple[Array, Array], norm: Array,
          rate: Array, smooth: Array, key: Array, steps: int, jitter: int) -> Array:
    """max a_unit(x) subject to |x| = norm, for each row its own unit and norm; the result has the shape of x (n, *input_shape).

    x <- x + eta norm g / |g|, g = da/dx, then every pixel goes the way `smooth` towards the mean of its neighbours (one step down on the
    square of the total variation), then x <- norm x / |x|; eta falls from `rate` to 0. With `jitter` the image is moved at random by up to
    so many pixels before each gradient and back after it. `units` are places and channels, (n,) each.
    """
    places, channels = units

    def total(x: Array) -> Array:
        a = values(layer, path, dtype, params, state, x)
        a = a.reshape(a.shape[0], -1, a.shape[-1]) if a.ndim > 2 else a[:, None]
        rows = jnp.arange(a.shape[0])
        return jnp.sum(a[rows, places, channels])

    def step(x: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        eta, key = now
        axes = tuple(range(1, x.ndim - 1))
        shift = jax.random.randint(key, (len(axes),), -jitter, jitter + 1) if jitter else None
        moved = x if shift is None else jnp.roll(x, shift, axes)
        g = _with_norm(jax.grad(total)(moved), norm)
        g = g if shift is None else jnp.roll(g, -shift, axes)
        x = x + eta * g
        if axes:
            x = (1 - smooth) * x + smooth * sum(_neighbours(x, axis) for axis in axes) / len(axes)
        return _with_norm(x, norm), None

    etas = rate * jnp.linspace(1, 0, steps, endpoint=False, dtype=dtype)
    return lax.scan(step, _with_norm(x, norm), (etas, jax.random.split(key, steps)))[0]


@compiled("layer", "path", "dtype")
def strongest(layer: Layer, path: str, dtype: str, params: Tree, state: Tree, x: Array, channel: Array) -> tuple[Array, Array]:
    """For each row the largest pre-activation in a channel of the layer at `path`, and the number of its place: (n,) each."""
    a = values(layer, path, dtype, params, state, x)
    a = jnp.take(a.reshape(a.shape[0], -1, a.shape[-1]) if a.ndim > 2 else a[:, None], channel, axis=-1)
    return jnp.max(a, axis=1), jnp.argmax(a, axis=1)


def _with_norm(x: Array, norm: Array) -> Array:
    """Every row brought to its norm; rows of zeros stay."""
    size = jnp.sqrt(jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)), keepdims=True))
    return x * (norm.reshape(size.shape) / jnp.maximum(size, jnp.finfo(x.dtype).tiny))


def _neighbours(x: Array, axis: int) -> Array:
    """The mean of the two neighbours along an axis; beyond the ends is the end itself."""
    H = x.shape[axis]
    at = [jnp.clip(jnp.arange(H) + step, 0, H - 1) for step in (-1, 1)]
    return (jnp.take(x, at[0], axis) + jnp.take(x, at[1], axis)) / 2
