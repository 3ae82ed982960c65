"""What a unit sees, measured: the gradient of its value with respect to every place of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.glass.reach import has_space
from deltarule.layers.forward import forward
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Plan, Tree, unflatten
from deltarule.ops.compiling import compiled, precision
from deltarule.training import prepare

ROWS = 64           # images that go through the network at a time
BRIGHT = 1e4        # of the one pixel that every maximum is to choose


@compiled("layer", "path", "dtype")
def gradient_of_unit(layer: Layer, path: str, dtype: str, params: Tree, state: Tree, x: Array, place: Array, share: Array) -> Array:
    """d (sum_c share_c a[place, c]) / dx for each row of x: (n, *input_shape). `place` counts the places of the layer's output."""
    def value(x: Array) -> Array:
        a = values(layer, path, dtype, params, state, x)
        a = a.reshape(a.shape[0], -1, a.shape[-1]) if a.ndim > 2 else a[..., None]
        return jnp.sum(jnp.take(a, place, axis=1) @ share)

    return jax.grad(value)(x)


def values(layer: Layer, path: str, dtype: str, params: Tree, state: Tree, x: Array) -> Array:
    """The pre-activation of the layer at `path`; its output where it has none."""
    taps: dict[str, Array] = {}
    seen: dict[str, tuple[Array, Array]] = {}
    forward(layer, params, state, x, dtype=dtype, taps=taps, seen=seen)
    return taps.get(f"{path}/preactivation" if path else "preactivation", seen[path][1])


@dataclass(frozen=True)
class Sight:
    """Measures what single units of the layer at `path` see."""

    layer: Layer
    path: str
    input_shape: tuple[int, ...]
    dtype: str
    params: Tree
    state: Tree
    plan: Plan

    def generic(self, unit: tuple[int, ...]) -> np.ndarray:
        """True for every place of the input at which the gradient of the unit is not zero, for generic weights, in float64.

        A gradient that is not zero proves that the unit sees the place. Noise finds all of them but those that lose in a maximum; a place
        that is still open then gets an image in which it alone is bright, once on black and once on noise.
        """
        rng = np.random.default_rng(0)
        params = unflatten({path: _generic(shape, rng) for path, (_, shape) in self.plan.params.items()})
        state = unflatten({path: init(rng, shape).astype(float) for path, (init, shape) in self.plan.state.items()})
        space = self.input_shape[:-1]
        noise = self._pull("float64", params, state, unit, rng.uniform(0.5, 1.5, (ROWS, *self.input_shape)))
        found = np.any(noise != 0, axis=(0, -1), keepdims=True).reshape(space)
        for back, bright in ((0.0, 1.0), (1.0, BRIGHT)):
            for places in np.array_split(np.argwhere(~found), math.ceil((~found).sum() / ROWS)) if not found.all() else ():
                x = np.zeros((ROWS, *self.input_shape)) + back * rng.uniform(0.5, 1.5, self.input_shape)
                each = (np.arange(len(places)), *places.T)
                x[each] = bright * rng.uniform(0.5, 1.5, self.input_shape[-1])
                found[tuple(places.T)] |= self._pull("float64", params, state, unit, x)[each].any(axis=-1)
        return found

    def effective(self, unit: tuple[int, ...], x: Any) -> np.ndarray:
        """sqrt(mean over rows and channels of (d sum_c a[unit, c] / dx)^2), with the network's own weights: (height, width)."""
        features = prepare.inputs(x, self.input_shape, self.dtype).astype(self.dtype)
        total = np.zeros(self.input_shape[:-1])
        for start in range(0, len(features), ROWS):
            part = features[start:start + ROWS]
            more = (1 << (len(part) - 1).bit_length()) - len(part)
            filled = np.concatenate([part, np.repeat(part[:1], more, axis=0)])
            pulls = self._pull(self.dtype, self.params, self.state, unit, filled, fair=True)[:len(part)]
            total += np.sum(np.square(pulls, dtype=float), axis=(0, -1))
        return np.sqrt(total / (len(features) * self.input_shape[-1]))

    def _pull(self, dtype: str, params: Tree, state: Tree, unit: tuple[int, ...], x: np.ndarray, fair: bool = False) -> np.ndarray:
        shape = next(visit.output_shape[1:] for visit in self.plan.visits if visit.path == self.path)
        space, C = (shape[:-1], shape[-1]) if has_space(shape) else (shape, 1)
        share = np.ones(C) if fair else np.random.default_rng(1).uniform(0.5, 1.5, C)
        with precision(dtype):
            place = np.int32(np.ravel_multi_index(unit, space))
            return np.asarray(gradient_of_unit(self.layer, self.path, dtype, params, state, x.astype(dtype), place, share.astype(dtype),
                                               quick=True))


def _generic(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Positive numbers, whose sum over the inputs of a unit is about one; biases, and all that is not a weight, are small."""
    return rng.uniform(0.5, 1.5, shape) / max(1, math.prod(shape[:-1])) if len(shape) > 1 else rng.uniform(0.5, 1.5, shape) * 1e-3
