"""The cells of recurrent networks: the equation of one step, and its derivative (lecture rows 37 and 38).

A step adds what the inputs contribute, p = x U + b, to what comes through the state, q = h_(t-1) W + d. Gates are worked out with one
tanh: sigmoid(a) = (1 + tanh(a / 2)) / 2, the halves multiplied into the weights beforehand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

States = tuple[jax.Array, ...]      # (h,), or (h, c) of an LSTM: (n, units) each
Tap = Callable[[str, jax.Array], jax.Array]

SLOPES: dict[str, Callable[[jax.Array], jax.Array]] = {     # g'(a), from h = g(a)
    "tanh": lambda h: 1 - h * h, "sigmoid": lambda h: h * (1 - h), "relu": lambda h: (h > 0).astype(h.dtype), "linear": jnp.ones_like,
}
_G: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": lambda a: jnp.maximum(a, 0), "linear": lambda a: a,
}


@dataclass(frozen=True)
class Cell:
    """One step: `step(states, p, q, tap)` with q = h_(t-1) W + d returns the new states and what the way back needs.

    `back(dstates, before, after, kept)` returns the errors of the old states (without what comes through W), of p and of q. `names` are
    those of the values that `tap` sees, (n, units) each.
    """

    gates: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ()

    @property
    def kernel(self) -> str:
        """Its name among the C++ kernels."""
        raise NotImplementedError

    def step(self, states: States, p: jax.Array, q: jax.Array, tap: Tap) -> tuple[States, Any]:
        """The equation of one step."""
        raise NotImplementedError

    def back(self, errors: States, before: States, after: States, kept: Any) -> tuple[States, jax.Array, jax.Array]:
        """Its derivative."""
        raise NotImplementedError


@dataclass(frozen=True)
class SimpleCell(Cell):
    """h = g(p + q); delta = g'(a) dL/dh (Elman 1990)."""

    g: str = "tanh"
    names: ClassVar[tuple[str, ...]] = ("preactivation",)

    @property
    def kernel(self) -> str:
        """That of the activation."""
        return self.g

    def step(self, states: States, p: jax.Array, q: jax.Array, tap: Tap) -> tuple[States, Any]:
        """h = g(a), a = p + q."""
        return (_G[self.g](tap("preactivation", p + q)),), ()

    def back(self, errors: States, before: States, after: States, kept: Any) -> tuple[States, jax.Array, jax.Array]:
        """delta = g'(a) dL/dh."""
        delta = errors[0] * SLOPES[self.g](after[0])
        return (jnp.zeros_like(delta),), delta, delta


@dataclass(frozen=True)
class LSTMCell(Cell):
    """c = f c + i g, h = o tanh(c), with the gates i, f, o and the candidate g side by side in p and q, those of the gates halved.

    Backwards dc = dL/dc + dL/dh o (1 - tanh(c)^2), and each gate gets its share times its slope (Hochreiter and Schmidhuber 1997; forget
    gate: Gers, Schmidhuber and Cummins 2000).
    """

    gates: ClassVar[int] = 4
    names: ClassVar[tuple[str, ...]] = ("input_gate", "forget_gate", "output_gate", "candidate", "cell")

    @property
    def kernel(self) -> str:
        """Of this name."""
        return "lstm"

    def step(self, states: States, p: jax.Array, q: jax.Array, tap: Tap) -> tuple[States, Any]:
        """c = f c + i g, h = o tanh(c)."""
        t = jnp.tanh(p + q)
        s = (1 + t) / 2
        i, f, o, g = (tap(name, value) for name, value in zip(self.names, (*_parts(s, 4)[:3], _parts(t, 4)[3]), strict=False))
        c = tap("cell", f * states[1] + i * g)
        return (o * jnp.tanh(c), c), t

    def back(self, errors: States, before: States, after: States, kept: Any) -> tuple[States, jax.Array, jax.Array]:
        """delta of the four, and what goes to c_(t-1): dc f."""
        (dh, dc), t = errors, kept
        i, f, o, _ = _parts((1 + t) / 2, 4)
        g, tanh_c = _parts(t, 4)[3], jnp.tanh(after[1])
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        slope = 1 - t * t
        shares = jnp.concatenate([dc * g / 2, dc * before[1] / 2, dh * tanh_c / 2, dc * i], axis=-1)
        delta = shares * slope
        return (jnp.zeros_like(dh), dc * f), delta, delta


@dataclass(frozen=True)
class GRUCell(Cell):
    """h = z h + (1 - z) h~, h~ = tanh(p_h + r q_h), with r, z and h~ side by side, the gates r and z halved (Cho et al. 2014).

    The reset gate is applied to the product q_h = h_(t-1) W_h + d_h, as cuDNN does, so that a step needs one product.
    """

    gates: ClassVar[int] = 3
    names: ClassVar[tuple[str, ...]] = ("reset_gate", "update_gate", "candidate")

    @property
    def kernel(self) -> str:
        """Of this name."""
        return "gru"

    def step(self, states: States, p: jax.Array, q: jax.Array, tap: Tap) -> tuple[States, Any]:
        """h = z h + (1 - z) h~."""
        units = q.shape[-1] // 3
        t = jnp.tanh(p[..., :2 * units] + q[..., :2 * units])
        r, z = (tap(name, value) for name, value in zip(self.names, _parts((1 + t) / 2, 2), strict=False))
        q_h = q[..., 2 * units:]
        candidate = tap("candidate", jnp.tanh(p[..., 2 * units:] + r * q_h))
        return (z * states[0] + (1 - z) * candidate,), (t, candidate, q_h)

    def back(self, errors: States, before: States, after: States, kept: Any) -> tuple[States, jax.Array, jax.Array]:
        """delta of the three; to q_h goes delta_h r."""
        (dh,), (t, candidate, q_h) = errors, kept
        r, z = _parts((1 + t) / 2, 2)
        delta_h = dh * (1 - z) * (1 - candidate * candidate)
        gated = jnp.concatenate([delta_h * q_h, dh * (before[0] - candidate)], axis=-1) * (1 - t * t) / 2
        return (dh * z,), jnp.concatenate([gated, delta_h], axis=-1), jnp.concatenate([gated, delta_h * r], axis=-1)


def _parts(values: jax.Array, number: int) -> list[jax.Array]:
    """The last axis in equal parts."""
    size = values.shape[-1] // number
    return [values[..., i * size:(i + 1) * size] for i in range(number)]
