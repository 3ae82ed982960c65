"""Sequences that never end: a network that goes on where it stopped, piece after piece."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from deltarule.data.arrays import as_array
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.layers.layer import Layer
from deltarule.layers.parts import pieces
from deltarule.layers.recurrent import STATES
from deltarule.layers.scope import CARRIED, Array, Tree
from deltarule.network import Network
from deltarule.ops.compiling import compiled, precision
from deltarule.training import prepare
from deltarule.training.carrying import beginning


class Stream:
    """A network that keeps the states of its recurrent layers from one call to the next, as if all pieces were one sequence.

    Called with a piece x (n, steps, ...) of any number of steps, it returns what `predict` would for these steps: (n, steps, ...), or of
    the last step alone where the network gives only that. Row i goes on where row i of the piece before ended. `states` holds them by
    layer, (h,) or for an LSTM (h, c), each (n, units): keep them to go on another time, `Stream(net, states)`. `reset` begins anew. The
    network may be trained in between. Raises DeltaruleError for networks that need more than states (convolutions, attention,
    Bidirectional), ShapeError for pieces and states that do not fit.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.LSTM(5, return_sequences=True), dr.Dense(2)], input_shape=(100, 3))
    >>> x, stream = np.random.default_rng(0).normal(size=(4, 100, 3)), dr.Stream(net)
    >>> y = np.concatenate([stream(x[:, :30]), stream(x[:, 30:])], axis=1)
    >>> np.allclose(y, net.predict(x), atol=1e-6), [state.shape for state in stream.states["lstm_1"]]
    (True, [(4, 5), (4, 5)])
    """

    def __init__(self, net: Network, states: Mapping[str, Any] | None = None):
        if not isinstance(net, Network):
            raise DeltaruleError(f"Stream expected a Network, received {type(net).__name__}")
        self.net = net
        self._carried: Tree | None = None
        self._beginning(1)      # can it go on?
        if states is not None:
            self._carried = self._taken(states)

    @property
    def states(self) -> dict[str, tuple[np.ndarray, ...]]:
        """The states of every recurrent layer by its path: (h,), or (h, c), each (n, units); empty before the first piece."""
        return {path: _states(values) for path, values in (self._carried or {}).items()}

    def __call__(self, x: Any) -> np.ndarray:
        """The outputs for the next piece x (n, steps, ...)."""
        net, given = self.net, as_array(x, "x")
        if given.ndim != 1 + len(net.input_shape) or given.shape[2:] != net.input_shape[1:] or not given.shape[1]:
            expected = ", ".join(map(str, ("n", "steps", *net.input_shape[1:])))
            raise ShapeError(f"Stream expected a piece ({expected}) of at least one step, received shape {given.shape}")
        features = prepare.inputs(given, given.shape[1:], net.dtype, parts=pieces(net.parts, given.shape[1:]))
        carried = self._beginning(len(features)) if self._carried is None else self._carried
        held = len(next(iter(carried.values()))["h"])
        if held != len(features):
            raise ShapeError(f"Stream holds the states of {held} sequences, received a piece of {len(features)}; reset() begins anew")
        with precision(net.dtype):
            h, after = _onward(net.layer, net.dtype, net.params, {**net.state, CARRIED: carried}, features)
            self._carried = jax.tree.map(np.asarray, after)
            return np.asarray(h)

    def reset(self) -> None:
        """Forget the states: the next piece is the first."""
        self._carried = None

    def _beginning(self, n: int) -> Tree:
        net = self.net
        with precision(net.dtype):
            found: Tree = beginning(net.layer, net.plan.visits, net.input_shape, net.dtype, n)[CARRIED]
        return found

    def _taken(self, states: Mapping[str, Any]) -> Tree:
        """States from outside, checked."""
        if not isinstance(states, Mapping):
            raise DeltaruleError(f"Stream expected the states by layer, as .states holds them, received {type(states).__name__}")
        wanted = {path: [value.shape[1] for value in _states(values)] for path, values in self._beginning(1).items()}
        try:
            received = {path: [np.shape(state) for state in group] if isinstance(group, (tuple, list)) else np.shape(group)
                        for path, group in states.items()}
        except ValueError:
            raise ShapeError("Stream expected states that are arrays (n, units), received lists of different lengths; hand on what .states "
                             "holds") from None
        n = next((shape[0] for group in received.values() if isinstance(group, list) for shape in group if shape), 0)
        if received != {path: [(n, units) for units in group] for path, group in wanted.items()}:
            expected = "; ".join(f"{path}: {', '.join(f'(n, {units})' for units in group)}" for path, group in wanted.items())
            raise ShapeError(f"Stream expected the states of every recurrent layer ({expected}), received {received}; "
                             "hand on what .states holds")
        return {path: {**{name: np.asarray(state, self.net.dtype) for name, state in zip(STATES, group, strict=False)},
                       "begun": np.ones((), bool)} for path, group in states.items()}


def _states(values: Tree) -> tuple[np.ndarray, ...]:
    return tuple(values[name] for name in STATES if name in values)


@compiled("layer", "dtype")
def _onward(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array) -> tuple[Array, Tree]:
    """The outputs of a piece, and what is carried on."""
    output, after = forward(layer, params, state, x, dtype=dtype)
    return output.h, after[CARRIED]
