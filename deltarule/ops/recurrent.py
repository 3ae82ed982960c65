"""Recurrent networks over whole sequences, with backpropagation through time written out by hand (lecture rows 37 and 38).

On a CPU all of it is a C++ kernel where there is one (kernels/recurrent.cc). In JAX, what the inputs contribute to all steps is one
product before the loop, p = x U + b, and the loop holds only what depends on the state. Either way the gradients of the weights are
one product each for all steps, behind the backward loop.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deltarule import kernels
from deltarule.ops import native
from deltarule.ops.cells import SLOPES, Cell, GRUCell, LSTMCell, SimpleCell, States, Tap

__all__ = ["SLOPES", "Cell", "GRUCell", "LSTMCell", "Sequences", "SimpleCell", "States", "recurrent", "watched"]


class Sequences(NamedTuple):
    """What the loop runs over: x (n, T, inputs), U (inputs, gates units), b (gates units,), W (units, gates units), d (gates units,).

    `states` (n, units) each are those before the first step, `kept` (n, units) multiplies h_(t-1) in the product with W (recurrent
    dropout), `mask` (n, T) is False where there is no step. d, kept and mask are None where there is nothing of the kind.
    """

    x: jax.Array
    U: jax.Array
    b: jax.Array
    W: jax.Array
    d: jax.Array | None
    states: States
    kept: jax.Array | None
    mask: jax.Array | None


def recurrent(cell: Cell, given: Sequences, reverse: bool = False) -> States:
    """The states after every step, (n, T, units) each: h, and for an LSTM c. Where the mask is False they stay as they were.

    With `reverse` the last step is the first. Backwards, from the last step to the first: the errors of a step go through its equation
    to p, q and the states before; dL/dh_(t-1) also gets dL/dq_t W^T, and dL/dW = sum_t h_(t-1)^T dL/dq_t is one product for all steps.

    >>> x, one, h = jnp.array([[[1.0], [2.0], [3.0]]]), jnp.eye(1), jnp.zeros((1, 1))
    >>> recurrent(SimpleCell("linear"), Sequences(x, one, h[0], one, None, (h,), None, None))[0][0, :, 0].tolist()
    [1.0, 3.0, 6.0]
    >>> mask = jnp.array([[True, False, True]])
    >>> recurrent(SimpleCell("linear"), Sequences(x, one, h[0], one, None, (h,), None, mask))[0][0, :, 0].tolist()
    [1.0, 1.0, 4.0]
    """
    return _in_one_loop(cell, reverse, given)


def watched(cell: Cell, given: Sequences, reverse: bool, probes: Mapping[str, jax.Array]) -> tuple[States, dict[str, jax.Array]]:
    """The same loop left to JAX's derivatives, and every value that the cell taps, (n, T, units) each, by name; "state" is h.

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

    along = {name: _turned(probe) for name, probe in probes.items()}, _inputs(given), _turned(given.mask)
    states, taps = lax.scan(step, given.states, along, reverse=reverse)[1]
    return tuple(_turned(state) for state in states), {name: _turned(value) for name, value in taps.items()}


def _turned(values: Any) -> Any:
    """The steps first, as loops in JAX need them, or behind the batch again."""
    return None if values is None else jnp.swapaxes(values, 0, 1)


def _inputs(given: Sequences) -> jax.Array:
    """p = x U + b of all steps: (T, n, gates units)."""
    p = _turned(given.x) @ given.U
    return p + jnp.broadcast_to(given.b, p.shape)


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


def _in_jax(cell: Cell, reverse: bool, given: Sequences) -> tuple[States, Any]:
    """The states after every step, and what the way back needs of the cell, steps first."""
    def step(states: States, at: Any) -> tuple[States, Any]:
        p, mask = at
        after, kept = _stepped(cell, given, states, p, mask, _silent)
        return after, (after, kept)

    states, kept = lax.scan(step, given.states, (_inputs(given), _turned(given.mask)), reverse=reverse)[1]
    return tuple(_turned(state) for state in states), kept


def _back_in_jax(cell: Cell, reverse: bool, given: Sequences, states: States, kept: Any, errors: States) -> Any:
    """dL/dp and dL/dq (n, T, gates units), dL/db and dL/dd, and the errors of the states before the first step."""
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
    turned = [tuple(_turned(value) for value in values)
              for values in (errors, _before(given.states, states, reverse), states)]
    nothing = tuple(jnp.zeros_like(state) for state in given.states)
    first, (dp, dq) = lax.scan(step, nothing, (*turned, kept, _turned(given.mask)), reverse=not reverse)
    return _turned(dp), _turned(dq), jnp.sum(dp, axis=(0, 1)), jnp.sum(dq, axis=(0, 1)), first


def _before(at_first: States, states: States, reverse: bool) -> States:
    """The states before every step, from those after every step."""
    return tuple(jnp.concatenate([after[:, 1:], first[:, None]] if reverse else [first[:, None], after[:, :-1]], axis=1)
                 for first, after in zip(at_first, states, strict=True))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _in_one_loop(cell: Cell, reverse: bool, given: Sequences) -> States:
    return _forward(cell, reverse, given)[0]


def _forward(cell: Cell, reverse: bool, given: Sequences) -> tuple[States, Any]:
    if native.runs(given.x.dtype):
        return kernels.recurrent_forward(cell.kernel, given, reverse)
    return _in_jax(cell, reverse, given)


def _forward_and_keep(cell: Cell, reverse: bool, given: Sequences) -> tuple[States, Any]:
    states, kept = _forward(cell, reverse, given)
    return states, (given, states, kept)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(cell: Cell, reverse: bool, given: Sequences, states: States, kept: Any, errors: States) -> Sequences:
    """The errors of all that was given, from those of the states after every step."""
    if native.runs(given.x.dtype):
        return Sequences(*kernels.recurrent_backward(cell.kernel, given, states, kept, errors, reverse))
    dp, dq, db, dd, first = _back_in_jax(cell, reverse, given, states, kept, errors)
    h = _before(given.states[:1], states[:1], reverse)[0]
    through = h if given.kept is None else h * jnp.broadcast_to(given.kept[:, None], h.shape)
    dkept = None if given.kept is None else jnp.sum(h * (dq @ given.W.T), axis=1)
    return Sequences(dp @ given.U.T, _for_all_steps(given.x, dp), db, _for_all_steps(through, dq), None if given.d is None else dd, first,
                     dkept, None)


def _for_all_steps(values: jax.Array, delta: jax.Array) -> jax.Array:
    """sum_t values_t^T delta_t: (n, T, k), (n, T, m) to (k, m)."""
    return values.reshape(-1, values.shape[-1]).T @ delta.reshape(-1, delta.shape[-1])


def _backward(cell: Cell, reverse: bool, found: Any, errors: States) -> tuple[Sequences]:
    return (_gradients(cell, reverse, *found, errors),)


def _keep_given(cell: Cell, reverse: bool, given: Sequences, states: States, kept: Any, errors: States) -> tuple[Sequences, Any]:
    return _gradients(cell, reverse, given, states, kept, errors), (given, states, kept, errors)


def _gradients_backward(cell: Cell, reverse: bool, found: Any, wanted: Sequences) -> tuple[Any, ...]:
    """Derivatives of derivatives are those of the equation as it stands."""
    given, states, kept, errors = found

    def gradients(given: Sequences, errors: States) -> Sequences:
        def run(free: Sequences) -> States:
            return _in_jax(cell, reverse, free._replace(mask=given.mask))[0]

        return jax.vjp(run, given._replace(mask=None))[1](errors)[0]

    of_given, of_errors = jax.vjp(lambda free, errors: gradients(free._replace(mask=given.mask), errors), given._replace(mask=None),
                                  errors)[1](wanted._replace(mask=None))
    return of_given, jax.tree.map(jnp.zeros_like, states), jax.tree.map(jnp.zeros_like, kept), of_errors


_in_one_loop.defvjp(_forward_and_keep, _backward)
_gradients.defvjp(_keep_given, _gradients_backward)
