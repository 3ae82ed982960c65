"""Recurrent networks over whole sequences, with backpropagation through time written out by hand (lecture rows 37 and 38).

What the inputs contribute to all steps is one product before the loop, p = x U + b; the loop holds only what depends on the state; the
gradients of all steps are one product each behind the backward loop. A cell is the equation of one step and its derivative. Gates are
worked out with one tanh: sigmoid(a) = (1 + tanh(a / 2)) / 2, the halves multiplied into the weights beforehand.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

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


class Sequences(NamedTuple):
    """What the loop runs over, steps first: p (T, n, gates units), W (units, gates units), d (gates units,), states before the first.

    `kept` (n, units) multiplies h_(t-1) in the product with W (recurrent dropout), `mask` (T, n) is False where there is no step. d, kept
    and mask are None where there is nothing of the kind.
    """

    p: jax.Array
    W: jax.Array
    d: jax.Array | None
    states: States
    kept: jax.Array | None
    mask: jax.Array | None


def recurrent(cell: Cell, given: Sequences, reverse: bool = False) -> States:
    """The states after every step, (T, n, units) each: h, and for an LSTM c. Where the mask is False they stay as they were.

    With `reverse` the last step is the first. Backwards, from the last step to the first: the errors of a step go through its equation
    to p, q and the states before; dL/dh_(t-1) also gets dL/dq_t W^T, and dL/dW = sum_t h_(t-1)^T dL/dq_t is one product for all steps.

    >>> p, W = jnp.array([[[1.0]], [[2.0]], [[3.0]]]), jnp.eye(1)
    >>> recurrent(SimpleCell("linear"), Sequences(p, W, None, (jnp.zeros((1, 1)),), None, None))[0][:, 0, 0].tolist()
    [1.0, 3.0, 6.0]
    >>> mask = jnp.array([[True], [False], [True]])
    >>> recurrent(SimpleCell("linear"), Sequences(p, W, None, (jnp.zeros((1, 1)),), None, mask))[0][:, 0, 0].tolist()
    [1.0, 1.0, 4.0]
    """
    return _in_one_loop(cell, reverse, given)


def watched(cell: Cell, given: Sequences, reverse: bool, probes: Mapping[str, jax.Array]) -> tuple[States, dict[str, jax.Array]]:
    """The same loop left to JAX's derivatives, and every value that the cell taps, (T, n, units) each, by name; "state" is h.

    `probes`, zeros of the same shape by name, are added to these values inside the loop: their gradients are the deltas.
    """
    def step(states: States, at: Any) -> tuple[States, Any]:
        probe, p, mask = at
        taps: dict[str, jax.Array] = {}

        def tap(name: str, value: jax.Array) -> jax.Array:
            taps[name] = value + probe[name] if name in probe else value
            return taps[name]

        h, *others = _stepped(cell, given, states, p, mask, tap)[0]
        after = (tap("state", h), *others)
        return after, (after, taps)

    return lax.scan(step, given.states, (dict(probes), given.p, given.mask), reverse=reverse)[1]


def _stepped(cell: Cell, given: Sequences, before: States, p: jax.Array, mask: jax.Array | None, tap: Tap) -> tuple[States, Any]:
    """One step, or none where the mask is False."""
    q = _kept(given, before[0]) @ given.W
    q = q if given.d is None else q + jnp.broadcast_to(given.d, q.shape)
    after, kept = cell.step(before, p, q, tap)
    return (after if mask is None else tuple(jnp.where(mask[:, None], a, b) for a, b in zip(after, before, strict=True))), kept


def _kept(given: Sequences, h: jax.Array) -> jax.Array:
    """h_(t-1) as W sees it."""
    return h if given.kept is None else h * jnp.broadcast_to(given.kept, h.shape)


def _silent(name: str, value: jax.Array) -> jax.Array:
    return value


def _forward(cell: Cell, reverse: bool, given: Sequences) -> tuple[States, Any]:
    def step(states: States, at: Any) -> tuple[States, Any]:
        p, mask = at
        after, kept = _stepped(cell, given, states, p, mask, _silent)
        return after, (after, kept)

    return lax.scan(step, given.states, (given.p, given.mask), reverse=reverse)[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _in_one_loop(cell: Cell, reverse: bool, given: Sequences) -> States:
    return _forward(cell, reverse, given)[0]


def _forward_and_keep(cell: Cell, reverse: bool, given: Sequences) -> tuple[States, Any]:
    states, kept = _forward(cell, reverse, given)
    return states, (given, states, kept)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(cell: Cell, reverse: bool, given: Sequences, states: States, kept: Any, errors: States) -> Sequences:
    """The errors of all that was given, from those of the states after every step."""
    def step(later: States, at: Any) -> tuple[States, Any]:
        error, before, after, kept, mask = at
        error = tuple(e + l for e, l in zip(error, later, strict=True))
        real = error if mask is None else tuple(jnp.where(mask[:, None], e, jnp.zeros_like(e)) for e in error)
        (dh, *others), dp, dq = cell.back(real, before, after, kept)
        earlier = (dh + _kept(given, dq @ W_T), *others)
        if mask is not None:
            earlier = tuple(e + jnp.where(mask[:, None], jnp.zeros_like(held), held) for e, held in zip(earlier, error, strict=True))
        return earlier, (dp, dq)

    W_T = given.W.T
    before = tuple(jnp.concatenate([after[1:], first[None]] if reverse else [first[None], after[:-1]])
                   for first, after in zip(given.states, states, strict=True))
    nothing = tuple(jnp.zeros_like(state) for state in given.states)
    first, (dp, dq) = lax.scan(step, nothing, (errors, before, states, kept, given.mask), reverse=not reverse)
    through = None if given.kept is None else jnp.broadcast_to(given.kept, before[0].shape)
    dW = jnp.einsum("tnh,tnk->hk", before[0] if through is None else before[0] * through, dq)
    dkept = None if given.kept is None else jnp.sum(before[0] * (dq @ W_T), axis=0)
    return Sequences(dp, dW, None if given.d is None else jnp.sum(dq, axis=(0, 1)), first, dkept, None)


def _backward(cell: Cell, reverse: bool, found: Any, errors: States) -> tuple[Sequences]:
    return (_gradients(cell, reverse, *found, errors),)


def _keep_given(cell: Cell, reverse: bool, given: Sequences, states: States, kept: Any, errors: States) -> tuple[Sequences, Any]:
    return _gradients(cell, reverse, given, states, kept, errors), (given, states, kept, errors)


def _gradients_backward(cell: Cell, reverse: bool, found: Any, wanted: Sequences) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    given, states, kept, errors = found

    def gradients(given: Sequences, errors: States) -> Sequences:
        def run(free: Sequences) -> States:
            return _forward(cell, reverse, free._replace(mask=given.mask))[0]

        return jax.vjp(run, given._replace(mask=None))[1](errors)[0]

    of_given, of_errors = jax.vjp(lambda free, errors: gradients(free._replace(mask=given.mask), errors), given._replace(mask=None),
                                  errors)[1](wanted._replace(mask=None))
    return of_given, jax.tree.map(jnp.zeros_like, states), jax.tree.map(jnp.zeros_like, kept), of_errors


_in_one_loop.defvjp(_forward_and_keep, _backward)
_gradients.defvjp(_keep_given, _gradients_backward)


def _parts(values: jax.Array, number: int) -> list[jax.Array]:
    """The last axis in equal parts."""
    size = values.shape[-1] // number
    return [values[..., i * size:(i + 1) * size] for i in range(number)]
