"""The trace: every quantity of the lectures on a network, by name, from one forward and one backward pass.

The deltas come from the same backward pass as the gradients: a zero is added to every tapped value (a probe), and the
gradient with respect to that zero is dL/d(value). Nothing of this is in the program that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass.through_time import gradient_by_lag
from deltarule.glass.trace_table import TraceTable, trace_table
from deltarule.layers.forward import forward, zero_probes
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree, Visit, flatten, unused
from deltarule.losses import Loss, Output
from deltarule.ops.compiling import Once, compiled
from deltarule.spec import nearest


class Passed(NamedTuple):
    """What one forward and backward pass leaves: each by path."""

    taps: dict[str, Array]
    seen: dict[str, tuple[Array, Array]]
    output: Array
    losses: Array | None = None
    deltas: dict[str, Array] | None = None
    gradients: Tree | None = None


@compiled("layer", "dtype")
def watch(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array) -> Once:
    """`Passed` of the forward pass with everything that is tapped."""
    taps: dict[str, Array] = {}
    seen: dict[str, tuple[Array, Array]] = {}
    output, _ = forward(layer, params, state, x, dtype=dtype, taps=taps, seen=seen)
    return Once.of(Passed(taps, seen, output.h))


@compiled("layer", "loss", "dtype")
def watch_both_ways(layer: Layer, loss: Loss, dtype: str, params: Tree, state: Tree, x: Array, y: Array) -> Once:
    """`Passed` forward and backward: taps, the delta of each row at each of them, and the gradients of the mean loss.

    With L = sum_i loss_i, the gradient of a probe is d loss_i / d tap_i for each row i, since no row touches another.
    """
    n = x.shape[0]
    beyond: set[str] = set()        # the output h, where the loss is worked out on a: dL/dh is not in the pass

    def total(params: Tree, probes: dict[str, Array]) -> tuple[Array, tuple[Any, ...]]:
        taps: dict[str, Array] = {}
        seen: dict[str, tuple[Array, Array]] = {}
        output, _ = forward(layer, params, state, x, dtype=dtype, taps=taps, seen=seen, probes=probes)
        losses = loss.rows(output, y)
        if output.a is not None and works_on_a(loss, output, y):
            beyond.update(path for path, tap in taps.items() if tap is output.h)
        return jnp.sum(losses), (taps, seen, output.h, losses)

    probes = zero_probes(layer, params, state, x, dtype=dtype)
    (_, (taps, seen, h, losses)), (summed, deltas) = jax.value_and_grad(total, (0, 1), has_aux=True)(params, probes)
    deltas = {path: delta for path, delta in deltas.items() if path not in beyond}
    return Once.of(Passed(taps, seen, h, losses, deltas, jax.tree.map(lambda gradient: gradient / n, summed)))


def works_on_a(loss: Loss, output: Output, y: Array) -> bool:
    """Whether the loss is worked out on the output's pre-activation alone, as the cross-entropies are: then the pass holds no dL/dh."""
    try:
        jax.eval_shape(lambda h: loss.rows(Output(h, None, output.activation), y), output.h)
    except (AttributeError, TypeError):
        return True
    return False


@dataclass(frozen=True, repr=False)
class LayerTrace:
    """What one layer received, did and is to blame for. Arrays have the examples first: (n, ...).

    `taps` holds every tapped value by name ("preactivation", "activation", and for some layers gates or attention weights),
    `deltas` the derivative of each example's loss with respect to it, `gradients` and `parameters` the layer's own.
    """

    path: str
    layer: Layer
    input: np.ndarray
    output: np.ndarray
    taps: dict[str, np.ndarray]
    deltas: dict[str, np.ndarray] | None
    parameters: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray] | None
    inner: tuple[str, ...] = field(default=())

    @property
    def preactivation(self) -> np.ndarray:
        """a, before the activation function: (n, units). Raises DeltaruleError for layers that have none."""
        return self._tap("preactivation", self.taps)

    @property
    def activation(self) -> np.ndarray:
        """h = g(a), what the layer hands on: (n, units)."""
        return self.taps.get("activation", self.output)

    @property
    def delta(self) -> np.ndarray:
        """delta = dL/da of each example (n, units); for layers without a pre-activation dL/dh.

        Raises DeltaruleError in a trace without targets, and for layers made of layers: ask those.
        """
        deltas = self._need(self.deltas, "delta")
        return deltas["preactivation"] if "preactivation" in deltas else self._tap("activation", deltas, "delta")

    def mean(self, name: str = "activation") -> np.ndarray:
        """The average over the examples of "input", "activation", "preactivation", "delta" or any tap: (units,)."""
        if name == "input":
            return self.input.mean(axis=0)
        if name in ("delta", "activation", "preactivation"):
            return np.asarray(getattr(self, name).mean(axis=0))
        return np.asarray(self._tap(name, self.taps).mean(axis=0))

    def _tap(self, name: str, taps: dict[str, np.ndarray], what: str = "") -> np.ndarray:
        if name in taps:
            return taps[name]
        if self.inner:
            raise DeltaruleError(f"{self.path or 'the network'} is made of layers and has no {what or name} of its own; "
                                 f"ask one of them: {', '.join(self.inner[:4])}")
        raise DeltaruleError(f"{self.path or 'the network'} ({type(self.layer).__name__}) has no {what or name}; "
                             f"it shows {', '.join(taps) or 'nothing'}{nearest(name, taps)}")

    def _need(self, value: Any, what: str) -> Any:
        if value is None:
            raise DeltaruleError(f"{what} needs targets; write net.trace(x, y)")
        return value

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value.shape}" for name, value in self.taps.items())
        return f"LayerTrace({self.path!r}, {type(self.layer).__name__}: {shown})"


class Trace:
    """Every quantity of one pass of examples through a network, by layer path: `trace["dense_1"].delta`.

    Made by `Network.trace`. `losses` (n,) are those of the examples, `loss` their mean; the deltas are those of each
    example's own loss, the gradients those of the mean loss: for a dense layer, gradients["weights"] is input^T delta / n.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2, "softmax")], input_shape=(4,), seed=0)
    >>> trace = net.trace(np.ones((5, 4)), np.array([0, 1, 0, 1, 1]))
    >>> trace.layers
    ('dense_1', 'dense_2')
    >>> hidden = trace["dense_1"]
    >>> hidden.preactivation.shape, hidden.delta.shape, hidden.gradients["weights"].shape
    ((5, 3), (5, 3), (4, 3))
    >>> np.allclose(hidden.gradients["weights"], hidden.input.T @ hidden.delta / 5)
    True
    """

    def __init__(self, passed: Once, params: Tree, visits: Sequence[Visit], targets: np.ndarray | None,
                 again: Callable[[int], Trace], learning_rate: float | None):
        self.params, self.targets, self.learning_rate = params, targets, learning_rate
        self._passed: Passed = jax.block_until_ready(passed).tree       # the weights that it reads may change from now on
        self._again = again
        self._kinds: dict[str, Layer] = {}      # in the order in which they were run, which the compiled pass does not keep
        for visit in visits:
            self._kinds[unused(visit.path, self._kinds)] = visit.layer

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of all layers that are not made of layers, in the order in which they were run."""
        return tuple(path for path in self._kinds if not self._inner(path))

    @property
    def output(self) -> np.ndarray:
        """What the network gave: (n, ...)."""
        return np.asarray(self._passed.output)

    @property
    def losses(self) -> np.ndarray:
        """The loss of each example (n,). Raises DeltaruleError in a trace without targets."""
        if self._passed.losses is None:
            raise DeltaruleError("losses need targets; write net.trace(x, y)")
        return np.asarray(self._passed.losses)

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    @property
    def taps(self) -> dict[str, np.ndarray]:
        """Every tapped value by its full path, such as "dense_1/preactivation"."""
        return {path: np.asarray(value) for path, value in self._passed.taps.items()}

    def __len__(self) -> int:
        return int(self._passed.output.shape[0])

    def __iter__(self) -> Iterator[LayerTrace]:
        return (self[path] for path in self.layers)

    def __getitem__(self, path: str) -> LayerTrace:
        if path not in self._kinds:
            raise DeltaruleError(f"there is no layer {path!r} in this network; it has {', '.join(self.layers)}"
                                 f"{nearest(str(path), self._kinds)}")
        plain = path.partition("#")[0]
        given, output = self._passed.seen[path]
        deltas, gradients = self._passed.deltas, self._passed.gradients
        return LayerTrace(path, self._kinds[path], np.asarray(given), np.asarray(output),
                          _below(path, self._passed.taps, self._inner(path)),
                          None if deltas is None else _below(path, deltas, self._inner(path)),
                          _below(plain, flatten(self.params), self._inner(path)),
                          None if gradients is None else _below(plain, flatten(gradients), self._inner(path)), self._inner(path))

    def example(self, number: int) -> Trace:
        """The trace of one example alone, its gradients included. Raises DeltaruleError for a number out of range."""
        if not 0 <= number < len(self):
            raise DeltaruleError(f"there are {len(self)} examples, numbered from 0; received {number}")
        return self._again(number)

    def explain(self, path: str, unit: Any = 0, example: int = 0, weight: Any = None, learning_rate: float | None = None,
                step: int | None = None) -> Any:
        """The lecture's equations for one unit with the numbers in them: forward value, delta, and one weight's update.

        `weight` is the number of the input whose weight is updated (default: the one with the largest gradient), `learning_rate` that of
        the step (default: of the last training, 0.1 before any). In a convolution or pooling `unit` is a place and a map (p, q, m), or a
        map alone, whose strongest unit is taken, and `weight` a place of the kernel and a channel (i, j, c). Of a recurrent layer `step`
        (default: the last) is explained: every gate, the cell and the state, and their deltas; of Dense behind one, this step. In attention
        `unit` is a head or (head, feature), `step` the one that looks, `weight` the one that it looks at (default: the heaviest).
        Printing shows text, `.latex` holds the formulas. Raises DeltaruleError for an unknown layer, unit, example, weight or step.
        """
        from deltarule.glass.explain import explain

        if not 0 <= example < len(self):
            raise DeltaruleError(f"there are {len(self)} examples, numbered from 0; received {example}")
        return explain(self, path, unit, example, weight, learning_rate or self.learning_rate or 0.1, step)

    def by_lag(self, path: str) -> np.ndarray:
        """How far back an error reaches in a recurrent layer: |dL/dh_t| for lag T - t = 0 ... T - 1 (T,), of an LSTM |dL/dc_t|.

        Root mean square over the examples, which should be without padding, of a network that answers at the last step; drawn by
        `dr.figures.gradient_lag`. Raises DeltaruleError for a layer that is not recurrent and a trace without targets.

        >>> import deltarule as dr
        >>> layer = dr.SimpleRNN(1, activation="linear", recurrent_weights=dr.initializers.Constant(0.5))
        >>> trace = dr.Network(layer, (4, 1)).trace(np.ones((1, 4, 1)), np.zeros((1, 1)), loss="mse")
        >>> norms = trace.by_lag("")
        >>> (norms / norms[0]).tolist()
        [1.0, 0.5, 0.25, 0.125]
        """
        return gradient_by_lag(self[path])

    def table(self) -> TraceTable:
        """One row for each layer: size of a, h, delta and gradient, and the share of silent or saturated units; print it."""
        return trace_table(self)

    def plot(self) -> Any:
        """Distributions of a, h and delta by layer, and the size of deltas and gradients over the depth: a matplotlib figure."""
        from deltarule.glass.trace_figure import trace_figure

        return trace_figure(self)

    def __repr__(self) -> str:
        return f"Trace of {len(self)} examples\n{self.table()}"

    def _inner(self, path: str) -> tuple[str, ...]:
        """The paths of the layers that this one is made of."""
        return tuple(other for other in self._kinds if other != path and (not path or other.startswith(path + "/")))


def _below(path: str, values: dict[str, Array], inner: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The values of one layer by name, without those of the layers that it is made of.

    A layer that is used twice taps "h" and then "h#2": its second visit is called "layer#2".
    """
    plain, _, visit = path.partition("#")
    mine: dict[str, np.ndarray] = {}
    for name, value in sorted(values.items(), key=lambda item: (not item[0].endswith("preactivation"), item[0])):
        whole, _, number = name.partition("#")
        if number == visit and (not plain or whole.startswith(plain + "/")) and not any(name.startswith(other + "/") for other in inner):
            mine[whole[len(plain) + 1:] if plain else whole] = np.asarray(value)
    return mine
