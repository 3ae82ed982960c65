"""Sequences that go on from piece to piece: what recurrent layers carry from the end of one to the beginning of the next.

The states are part of the state of a network only while it works on pieces, under a name of their own; without them every sequence begins
where it begins.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from deltarule.errors import DeltaruleError
from deltarule.glass.reach import EACH, reach
from deltarule.layers import AttentiveLSTM, Bidirectional, Embedding, Layer, MultiHeadAttention, Positions
from deltarule.layers.forward import plan
from deltarule.layers.recurrent import Recurrent
from deltarule.layers.scope import CARRIED, Array, Tree, Visit

SHARED = ("begun", "there", "place")    # what is kept once for all sequences


def beginning(layer: Layer, visits: Sequence[Visit], input_shape: tuple[int, ...], dtype: str, n: int) -> Tree:
    """What the recurrent layers carry into the first piece of n sequences, as a part of the network's state.

    Raises DeltaruleError where a piece needs more of what came before than the states: layers that look at several steps at once, that
    count steps, or that read from the end.

    >>> from deltarule.layers import GRU, Dense, Sequential
    >>> net = Sequential([GRU(3, return_sequences=True), Dense(2)])
    >>> found = beginning(net, plan(net, (5, 1))[0].visits, (5, 1), "float32", 2)
    >>> found[CARRIED]["gru_1"]["h"].shape
    (2, 3)
    """
    recurrent = {visit.path: visit.layer for visit in visits if isinstance(visit.layer, Recurrent)}
    if not recurrent:
        raise DeltaruleError("there is no recurrent layer in this network, so nothing goes on from one piece to the next")
    longer = plan(layer, (input_shape[0] + 1, *input_shape[1:]), dtype)[0].visits
    paths = [visit.path for visit in visits]
    for visit, other in zip(visits, longer, strict=True):
        made_of_layers = any(path != visit.path and path.startswith(visit.path and visit.path + "/") for path in paths)
        if visit.input_shape == other.input_shape or made_of_layers:     # behind the last step, or known by its parts
            continue
        if why := _refused(visit):
            raise DeltaruleError(f"{visit.path or 'the network'} ({type(visit.layer).__name__}) {why}, so this network cannot go on from "
                                 "piece to piece; it can with SimpleRNN, LSTM, GRU and layers that work step by step")
        if paths.count(visit.path) > 1 and visit.path in recurrent:
            raise DeltaruleError(f"{visit.path} is used more than once, and can carry only one state; use two layers")
    return {CARRIED: {path: one.beginning(n, dtype) for path, one in recurrent.items()}}


def cache(visits: Sequence[Visit], n: int, dtype: str) -> Tree | None:
    """What all layers keep of n sequences that are written step by step, as a part of the network's state; None where one needs the whole.

    Recurrent layers keep their states, causal attention keys and values, positions the place; layers that work step by step keep nothing.
    Others, and composite layers of one's own, are not known to do with that.

    >>> from deltarule.layers import Dense, Embedding, MultiHeadAttention, Sequential
    >>> net = Sequential([Embedding(7, 6), MultiHeadAttention(2, causal=True), Dense(7)])
    >>> cache(plan(net, (5,))[0].visits, 3, "float32")[CARRIED]["multi_head_attention_1"]["values"].shape
    (6, 16, 16)
    """
    paths, kept = [visit.path for visit in visits], {}
    for visit in visits:
        layer: Any = visit.layer
        if isinstance(layer, AttentiveLSTM) or (isinstance(layer, Recurrent) and layer.return_sequences and not layer.reverse):
            kept[visit.path] = layer.beginning(n, dtype)
        elif isinstance(layer, MultiHeadAttention) and layer.causal:
            _, T, d = visit.input_shape
            kept[visit.path] = layer.beginning(n, T, d, dtype)
        elif isinstance(layer, Positions):
            kept[visit.path] = layer.beginning(visit.input_shape[1])
        elif any(path != visit.path and path.startswith(visit.path and visit.path + "/") for path in paths):
            if not type(layer).__module__.startswith("deltarule.") or isinstance(layer, Bidirectional):
                return None
        elif not isinstance(layer, Embedding) and reach(layer, visit.input_shape[1:]) != EACH:
            return None
    return {CARRIED: kept} if kept and len({*paths}) == len(paths) else None


def followed(kept: Tree, beam: Array) -> Tree:
    """What is kept of n B beams, for those that go on: the new beam b of text i follows the old one beam[i, b], (n, B).

    >>> import numpy as np
    >>> state = {"h": np.array([[0.0], [1.0], [2.0], [3.0]]), "begun": np.array(True)}
    >>> followed({CARRIED: {"gru_1": state}}, np.array([[1, 1], [0, 1]], "int32"))[CARRIED]["gru_1"]["h"].ravel().tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    n, B = beam.shape
    rows = (beam + jnp.broadcast_to(B * jnp.arange(n, dtype=beam.dtype)[:, None], beam.shape)).reshape(n * B)

    def of(name: str, value: Array) -> Array:
        return value if name in SHARED else jnp.take(value.reshape(n * B, -1), rows, axis=0, mode="clip").reshape(value.shape)

    return {CARRIED: {path: {name: of(name, value) for name, value in one.items()} for path, one in kept[CARRIED].items()}}


def endless(visits: Sequence[Visit]) -> bool:
    """Whether what is kept does not grow with the steps: recurrent states alone."""
    return not any(isinstance(visit.layer, (MultiHeadAttention, Positions)) for visit in visits)


def refuse_rows(stateful: bool) -> None:
    """Refuse to go on from batch to batch where batches are drawn from rows. Raises DeltaruleError, naming the cure."""
    if stateful:
        raise DeltaruleError("stateful=True goes on from batch to batch: give a list of batches (x, y) in order, such as "
                             "dr.data.pieces(x, y, steps=50)")


def anew(state: Tree) -> Tree:
    """The state with every sequence at its beginning."""
    return {**state, CARRIED: jax.tree.map(jnp.zeros_like, state[CARRIED])} if CARRIED in state else state


def whole(state: Tree) -> Tree:
    """The state without what is carried on: every sequence is whole."""
    return {name: value for name, value in state.items() if name != CARRIED}


def _refused(visit: Visit) -> str:
    """Why a layer cannot go on with its states alone; an empty text where it can."""
    if isinstance(visit.layer, Recurrent):
        return "reads from the last step to the first" if visit.layer.reverse else ""
    if isinstance(visit.layer, Positions):
        return "counts the steps from the first on"
    if isinstance(visit.layer, Embedding) or reach(visit.layer, visit.input_shape[1:]) == EACH:
        return ""
    return "looks at several steps at once, as far as is known"
