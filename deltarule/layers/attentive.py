"""A recurrent layer that looks at a memory before every step: what to look at follows from what it has said so far (lecture row 41)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.layers.attention import check_sequence
from deltarule.layers.layer import Layer
from deltarule.layers.recurrent import STATES, Gates
from deltarule.layers.scope import Array, Scope, Tree
from deltarule.ops.cells import LSTMCell
from deltarule.spec import register

HALVED = (0.5, 0.5, 0.5, 1.0)       # gates whose sigmoid the cell works out as a tanh


@register
@dataclass(frozen=True)
class AttentiveLSTM(Layer):
    """A_tp = softmax_p(v tanh(m_p W_m + h_(t-1) W_h + b)), z_t = sum_p A_tp m_p; then an LSTM takes its step on x_t and z_t.

    The decoder of "Show, attend and tell" (Xu et al. 2015; attention of Bahdanau et al. 2015): before each word it looks at the places m_p
    of the memory of an `EncoderDecoder`, and h_0 and c_0 are tanh of a dense layer on their mean. Shapes: x (batch, T, inputs), memory
    (batch, places, d) -> h of every step (batch, T, units). With `size` k of the attention (by default the units): `attention/memory`
    W_m (d, k), `attention/state` W_h (units, k), b (k,) and `attention/score` v (k, 1); `weights` (inputs + d, 4 units), `recurrent`
    (units, 4 units) and `bias` as in `LSTM`; `initial` (d, 2 units). A trace shows "attention" (batch, 1, T, places), the gates, "cell" and
    "state". Raises DeltaruleError for settings out of range and where there is no memory, ShapeError for inputs that are no sequences.

    >>> import deltarule as dr
    >>> decoder = [dr.Embedding(9, 4), dr.AttentiveLSTM(5), dr.Dense(9, "softmax")]
    >>> dr.Network(dr.EncoderDecoder(dr.Conv2D(3, 3), decoder, source=(8, 8, 1), target=(6,))).output_shape
    (6, 9)
    """

    units: int
    size: int | None = None
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "units", least=1, whole=True)
        if self.size is not None:
            check_number(self, "size", least=1, whole=True)
        check_number(self, "forget_bias")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h of every step."""
        inputs = check_sequence(self, x)[-1]
        m, mask = scope.memory
        U, W, b = self._gates(scope, inputs + m.shape[-1], x.dtype)
        look, v = self._looking(scope, m)
        p = x @ U[:inputs]
        p = p + jnp.broadcast_to(b, p.shape)
        hidden = jnp.asarray(0 if mask is None else jnp.where(mask, 0, jnp.finfo(x.dtype).min), x.dtype)     # added to the scores
        names = ("attention", *LSTMCell.names, "state")
        probes = {name: jnp.swapaxes(probe[:, 0] if name == "attention" else probe, 0, 1)
                  for name in names if (probe := scope.probe(name)) is not None}

        def step(states: tuple[Array, Array], at: Any) -> tuple[tuple[Array, Array], dict[str, Array]]:
            p_t, probe = at
            taps: dict[str, Array] = {}

            def tap(name: str, value: Array) -> Array:
                taps[name] = value + probe[name] if name in probe else value
                return taps[name]

            e = (look(states[0]) @ v)[..., 0]                                       # (n, places)
            A = tap("attention", jax.nn.softmax(e + jnp.broadcast_to(hidden, e.shape), axis=-1))
            z = jnp.einsum("np,npd->nd", A, m)
            (h, c), _ = LSTMCell().step(states, p_t, z @ U[inputs:] + states[0] @ W, tap)
            h = tap("state", h)
            return (h, c), taps if scope.watched else {"state": h}

        (last_h, last_c), every = lax.scan(step, self._first(scope, m, mask), (jnp.swapaxes(p, 0, 1), probes))
        if scope.carried is not None:
            scope.carry({"h": last_h, "c": last_c, "begun": jnp.ones_like(scope.carried["begun"])})
        h = jnp.swapaxes(every["state"], 0, 1)
        for name in names if scope.watched else ():
            value = jnp.swapaxes(every[name], 0, 1)
            scope.tap(name, value[:, None] if name == "attention" else value, probed=True)
        return scope.tap("activation", h)

    def _gates(self, scope: Scope, width: int, dtype: Any) -> tuple[Array, Array, Array]:
        """Weights of inputs, of the state and bias of the four gates side by side, those of the gates halved."""
        units, glorot = self.units, initializers.initializer("glorot_uniform")
        U = scope.param("weights", Gates(glorot, 4), (width, 4 * units))
        W = (scope / "recurrent").param("weights", Gates(initializers.initializer("orthogonal"), 4), (units, 4 * units))
        forget = self.forget_bias * np.repeat([0.0, 1.0, 0.0, 0.0], units)
        b = scope.param("bias", lambda rng, shape: np.zeros(shape) + forget, (4 * units,))
        half = jnp.asarray(np.repeat(HALVED, units), dtype)
        return U * jnp.broadcast_to(half, U.shape), W * jnp.broadcast_to(half, W.shape), b * half

    def _looking(self, scope: Scope, m: Array) -> tuple[Callable[[Array], Array], Array]:
        """tanh(m W_m + h W_h + b) (n, places, k) as a function of h, and v (k, 1)."""
        k, here, glorot = self.size or self.units, scope / "attention", initializers.initializer("glorot_uniform")
        a = m @ (here / "memory").param("weights", glorot, (m.shape[-1], k))
        a = a + jnp.broadcast_to(here.param("bias", initializers.Zeros(), (k,)), a.shape)
        W_h = (here / "state").param("weights", glorot, (self.units, k))
        v = (here / "score").param("weights", glorot, (k, 1))
        return lambda h: jnp.tanh(a + jnp.broadcast_to((h @ W_h)[:, None], a.shape)), v

    def _first(self, scope: Scope, m: Array, mask: Array | None) -> tuple[Array, Array]:
        """h_0 and c_0 from the mean of the memory; or the states carried on from the steps before."""
        real = jnp.ones(m.shape[:2], m.dtype) if mask is None else mask.astype(m.dtype)
        mean = jnp.einsum("np,npd->nd", real, m) / jnp.maximum(jnp.sum(real, axis=1), 1)[:, None]
        here = scope / "initial"
        a = mean @ here.param("weights", initializers.initializer("glorot_uniform"), (m.shape[-1], 2 * self.units))
        a = jnp.tanh(a + jnp.broadcast_to(here.param("bias", initializers.Zeros(), (2 * self.units,)), a.shape))
        h, c = a[:, :self.units], a[:, self.units:]
        carried = scope.carried
        if carried is None:
            return h, c
        return jnp.where(carried["begun"], carried["h"], h), jnp.where(carried["begun"], carried["c"], c)

    def beginning(self, n: int, dtype: str) -> Tree:
        """What is carried into the first step of n sequences: nothing yet, in the form of the states (n, units)."""
        return {**{name: np.zeros((n, self.units), dtype) for name in STATES}, "begun": np.zeros((), bool)}
