"""Recurrent layers: the state of one step is an input of the next (lecture rows 37 and 38)."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from deltarule import initializers
from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.dropout import check_rate, dropped
from deltarule.layers.layer import Layer
from deltarule.layers.masking import steps_mask
from deltarule.layers.scope import Array, Pass, Scope, Tree
from deltarule.layers.space import check_images_of
from deltarule.ops import recurrent
from deltarule.ops.compiling import precision
from deltarule.ops.recurrent import Cell, GRUCell, LSTMCell, Sequences, SimpleCell, States
from deltarule.spec import nearest, register

_HELD = ("initial", "initial_cell")     # parameters: the learnt states before the first step
STATES = ("h", "c")     # what goes from one step to the next
GATED = dict.fromkeys(("activation", "recurrent_activation"),
                      "its gates are sigmoids and its candidate a tanh, which the kernels work out together; SimpleRNN takes an activation")


@dataclass(frozen=True)
class Recurrent(Layer):
    """Base of recurrent layers: what they share beside the equation of a step.

    Shapes: x (batch, steps, inputs) -> h of the last step (batch, units), or with `return_sequences` of every step (batch, steps, units),
    on which Dense works step by step. Behind `Masked`, steps of padding leave the state as it is and give zeros, and the last step is
    the last real one. With `reverse` the last step is the first.
    """

    units: int
    return_sequences: bool = False
    reverse: bool = False
    initial: str = "zeros"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    weights: Any = "glorot_uniform"
    recurrent_weights: Any = "orthogonal"
    bias: Any = "zeros"
    halved: ClassVar[tuple[float, ...]] = (1.0,)        # for each gate: 1/2 where its sigmoid is worked out as a tanh
    REFUSED: ClassVar[dict[str, str]] = {
        "stateful": "fit(dr.data.pieces(...), stateful=True) and dr.Stream carry states on",
        "return_state": "its method run returns the states"}

    def __post_init__(self) -> None:
        check_number(self, "units", least=1, whole=True)
        check_rate(f"{type(self).__name__}.dropout", self.dropout)
        check_rate(f"{type(self).__name__}.recurrent_dropout", self.recurrent_dropout)
        for field in ("return_sequences", "reverse"):
            if not isinstance(getattr(self, field), bool):
                raise DeltaruleError(f"{type(self).__name__} expected {field} to be True or False, received {getattr(self, field)!r}")
        if not isinstance(self.initial, str) or self.initial not in ("zeros", "learnt"):
            raise DeltaruleError(f"{type(self).__name__} has no initial {self.initial!r}{nearest(str(self.initial), ('zeros', 'learnt'))}")
        for init in (self.weights, self.recurrent_weights, self.bias):
            initializers.initializer(init)

    @property
    def cell(self) -> Cell:
        """The equation of one step."""
        raise NotImplementedError

    def __call__(self, x: Array, scope: Scope) -> Array:
        """h of the last step or of all."""
        self._check(x)
        mask = steps_mask(self, x, scope)
        states = self._loop(x, scope, self._first(scope, x), mask)
        if scope.carried is not None:
            last = {name: state[:, -1] for name, state in zip(STATES, states, strict=False)}
            scope.carry({**last, "begun": jnp.ones_like(scope.carried["begun"])})
        h = states[0]
        if self.return_sequences:
            h = h if mask is None else h * jnp.broadcast_to(mask[..., None], h.shape).astype(h.dtype)
        else:
            h, scope.mask = h[:, 0 if self.reverse else -1], None
        return scope.tap("activation", h)

    def run(self, params: Tree, x: Any, states: Any = None, mask: Any = None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """h of every step (n, steps, units) from given states, and the states at the end: (h,), for an LSTM (h, c), each (n, units).

        For sequences that go on: the states of one piece begin the next. `params` are the layer's own, net.params["lstm_1"]; `states`
        None begins as the layer does; `mask` (n, steps) is False for padding. Nothing is dropped out. Raises ShapeError for arrays
        that do not fit.

        >>> import deltarule as dr
        >>> net, x = dr.Network([dr.GRU(5)], input_shape=(7, 3)), np.ones((2, 7, 3))
        >>> h, states = net.layer.layers[0].run(net.params["gru_1"], x[:, :4])
        >>> h, states = net.layer.layers[0].run(net.params["gru_1"], x[:, 4:], states)
        >>> np.allclose(h[:, -1], net.predict(x), atol=1e-6)
        True
        """
        if "weights" not in params:
            raise DeltaruleError(f"run expected the parameters of this layer, such as net.params['lstm_1'], received {', '.join(params)}")
        dtype = np.asarray(params["weights"]).dtype.name
        with precision(dtype):
            x = jnp.asarray(_numbers(x, f"{type(self).__name__} expected sequences x (n, steps, inputs)"), dtype)
            self._check(x)
            if 0 in x.shape:
                raise ShapeError(f"{type(self).__name__} expected at least one sequence of at least one step, received x {x.shape}")
            if mask is not None and np.shape(mask) != x.shape[:2]:
                raise ShapeError(f"{type(self).__name__} expected a mask of shape {x.shape[:2]}, received {np.shape(mask)}")
            scope = Scope(Pass(params, dtype=dtype, mask=None if mask is None else jnp.asarray(mask, bool)))
            first = self._first(scope, x) if states is None else self._given(states, x)
            every = self._loop(x, scope, first, steps_mask(self, x, scope))
            return np.asarray(every[0]), tuple(np.asarray(state[:, 0 if self.reverse else -1]) for state in every)

    def _loop(self, x: Array, scope: Scope, first: States, mask: Array | None) -> States:
        """The states after every step, (n, T, units) each."""
        cell, units, inputs = self.cell, self.units, x.shape[-1]
        gates = cell.gates
        half = jnp.asarray(np.repeat(self.halved, units), x.dtype)
        U = scope.param("weights", Gates(initializers.initializer(self.weights), gates), (inputs, gates * units))
        W = (scope / "recurrent").param("weights", Gates(initializers.initializer(self.recurrent_weights), gates), (units, gates * units))
        b = scope.param("bias", self._bias_init(), (gates * units,))
        x = dropped(x, self.dropout, (len(x), 1, inputs), scope)
        kept = None
        if scope.training and self.recurrent_dropout:
            ones = jnp.ones((len(x), units), x.dtype)
            kept = dropped(ones, self.recurrent_dropout, ones.shape, scope / "recurrent")
        given = Sequences(x, U * jnp.broadcast_to(half, U.shape), b * half, W * jnp.broadcast_to(half, W.shape), self._product_bias(scope),
                          first, kept, mask)
        if not scope.watched:
            return recurrent.recurrent(cell, given, self.reverse)
        names = (*cell.names, "state")
        states, taps = recurrent.watched(cell, given, self.reverse, {name: probe for name in names
                                                                     if (probe := scope.probe(name)) is not None})
        for name in names:
            scope.tap(name, taps[name], probed=True)
        if mask is not None:
            scope.tap("mask", mask.astype(x.dtype), probed=True)
        return states

    def _first(self, scope: Scope, x: Array) -> States:
        """The states before the first step: zeros or learnt, the same for every sequence; or those carried on from the piece before."""
        shape, names, carried = (len(x), self.units), _HELD[:self._number_of_states], scope.carried
        if self.initial == "zeros":
            first = tuple(jnp.zeros(shape, x.dtype) for _ in names)
        else:
            first = tuple(jnp.broadcast_to(scope.param(name, initializers.Zeros(), (self.units,)), shape) for name in names)
        if carried is None:
            return first
        return tuple(jnp.where(carried["begun"], carried[name], one) for name, one in zip(STATES, first, strict=False))

    def beginning(self, n: int, dtype: str) -> Tree:
        """What is carried into the first piece of n sequences: nothing yet, in the form of the states (n, units)."""
        states = {name: np.zeros((n, self.units), dtype) for name in STATES[:self._number_of_states]}
        return {**states, "begun": np.zeros((), bool)}

    def _check(self, x: Array) -> None:
        """Refuse what is no sequences of channels."""
        if x.ndim == 2:
            raise ShapeError(f"{type(self).__name__} expected sequences (steps, channels), received inputs of shape {tuple(x.shape[1:])}; "
                             "a recurrent layer before it needs return_sequences=True, whole numbers an Embedding, others x[..., None]")
        check_images_of(self, x, 1)

    def _given(self, states: Any, x: Array) -> States:
        expected = [(len(x), self.units)] * self._number_of_states
        states = [_numbers(state, f"{type(self).__name__} expected states of shapes {expected}")
                  for state in (states if isinstance(states, (tuple, list)) else (states,))]
        shapes = [state.shape for state in states]
        if shapes != expected:
            raise ShapeError(f"{type(self).__name__} expected states of shapes {expected}, received {shapes}; hand on what run returned")
        return tuple(jnp.asarray(state, x.dtype) for state in states)

    @property
    def _number_of_states(self) -> int:
        return 1

    def _bias_init(self) -> Any:
        return initializers.initializer(self.bias)

    def _product_bias(self, scope: Scope) -> Array | None:
        """d of q = h W + d, where b does not do for it."""
        return None


def _numbers(value: Any, expected: str) -> np.ndarray:
    """The value as an array of numbers. Raises ShapeError, saying what was expected, for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ShapeError(f"{expected}, received lists of different lengths") from None
    if array.dtype.kind not in "buif" and array.dtype.name != "bfloat16":
        raise ShapeError(f"{expected}, received {type(value).__name__} that holds no numbers")
    return array


@dataclass(frozen=True)
class Gates:
    """The weights of all gates side by side, each drawn for itself."""

    init: Any
    gates: int

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Weights of this shape, the gates along the last axis."""
        one = (*shape[:-1], shape[-1] // self.gates)
        return np.concatenate([self.init(rng, one) for _ in range(self.gates)], axis=-1)


@register
@dataclass(frozen=True)
class SimpleRNN(Recurrent):
    """h_t = g(x_t U + h_(t-1) W + b): the recurrent network of the lecture, whose V is the Dense layer behind it (row 37; Elman 1990).

    Shapes: x (batch, steps, inputs), U `weights` (inputs, units), W `recurrent/weights` (units, units), b (units,); h of the last step
    (batch, units), or with `return_sequences` of every step (batch, steps, units), on which Dense then works step by step. `reverse` runs
    from the last step to the first; `initial` "zeros" or "learnt" is h_0. `dropout` of the inputs and `recurrent_dropout` of h_(t-1) in the
    product with W draw one mask for each sequence, the same at all its steps (Gal and Ghahramani 2016). `activation` g: tanh, sigmoid,
    relu, linear. A trace shows "preactivation" and "state" of every step. States from one call to the next: `run`. Raises
    DeltaruleError for settings out of range, ShapeError for inputs that are no sequences.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.SimpleRNN(5, return_sequences=True), dr.Dense(2)], input_shape=(7, 3))
    >>> net.output_shape, net.params["simple_rnn_1"]["recurrent"]["weights"].shape
    ((7, 2), (5, 5))
    """

    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in recurrent.SLOPES:
            raise DeltaruleError(f"SimpleRNN has no activation {self.activation!r}{nearest(str(self.activation), recurrent.SLOPES)}")

    @property
    def cell(self) -> Cell:
        """h = g(a)."""
        return SimpleCell(g=self.activation)


@register
@dataclass(frozen=True)
class LSTM(Recurrent):
    """c_t = f c_(t-1) + i g, h_t = o tanh(c_t): gates that write, keep and read a cell (row 38; Hochreiter and Schmidhuber 1997).

    i, f, o = sigmoid(x_t U + h_(t-1) W + b) and g = tanh(...) of the same form, side by side in this order in U `weights` (inputs,
    4 units), W `recurrent/weights` (units, 4 units), b `bias` (4 units,). The bias of the forget gate begins at `forget_bias` (Gers et al.
    2000; Jozefowicz et al. 2015), W with one orthogonal matrix for each gate. A trace shows "input_gate", "forget_gate", "output_gate",
    "candidate", "cell" and "state" (batch, steps, units). Shapes, other settings and errors are those of `SimpleRNN`.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.LSTM(5), dr.Dense(2)], input_shape=(7, 3))
    >>> net.trace(np.zeros((2, 7, 3)))["lstm_1"].taps["forget_gate"].shape
    (2, 7, 5)
    """

    forget_bias: float = 1.0
    halved: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5, 1.0)
    REFUSED: ClassVar[dict[str, str]] = Recurrent.REFUSED | GATED

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "forget_bias")

    @property
    def cell(self) -> Cell:
        """c = f c + i g, h = o tanh(c)."""
        return LSTMCell()

    @property
    def _number_of_states(self) -> int:
        return 2

    def _bias_init(self) -> Any:
        init, forget = initializers.initializer(self.bias), np.repeat([0.0, 1.0, 0.0, 0.0], self.units)
        return lambda rng, shape: init(rng, shape) + self.forget_bias * forget


@register
@dataclass(frozen=True)
class GRU(Recurrent):
    """h_t = z h_(t-1) + (1 - z) h~, h~ = tanh(x_t U_h + b_h + r (h_(t-1) W_h + d)): one state, two gates (row 38; Cho et al. 2014).

    r, z = sigmoid(x_t U + h_(t-1) W + b); r, z and h~ stand side by side in U `weights` (inputs, 3 units), W `recurrent/weights`
    (units, 3 units), b `bias` (3 units,); d `recurrent/bias` (units,). The reset gate r is applied to the product with W_h, as in cuDNN,
    PyTorch and Keras, not to h_(t-1) as in the paper: then a step is one product. A trace shows "reset_gate", "update_gate", "candidate"
    and "state" (batch, steps, units). Shapes, other settings and errors are those of `SimpleRNN`.

    >>> import deltarule as dr
    >>> dr.Network([dr.GRU(5, return_sequences=True), dr.GRU(3)], input_shape=(7, 2)).output_shape
    (3,)
    """

    halved: ClassVar[tuple[float, ...]] = (0.5, 0.5, 1.0)
    REFUSED: ClassVar[dict[str, str]] = Recurrent.REFUSED | GATED

    @property
    def cell(self) -> Cell:
        """h = z h + (1 - z) h~."""
        return GRUCell()

    def _product_bias(self, scope: Scope) -> Array | None:
        d = (scope / "recurrent").param("bias", initializers.Zeros(), (self.units,))
        return jnp.concatenate([jnp.zeros(2 * self.units, d.dtype), d])


@register
@dataclass(frozen=True)
class Bidirectional(Layer):
    """Two of a recurrent layer, one from the first step on, the other from the last one back, each with weights of its own.

    Merged by "concatenate" (last axis) or "sum" (Schuster and Paliwal 1997; row 38). Shapes: those of the layer, with `return_sequences`
    step by step; else each gives what it holds at its own end. Behind `Masked` the way back begins at the last real step. Raises
    DeltaruleError for a layer that is not recurrent and an unknown merge.

    >>> import deltarule as dr
    >>> dr.Network([dr.Bidirectional(dr.LSTM(5))], input_shape=(7, 3)).output_shape
    (10,)
    """

    layer: Layer
    merge: str = "concatenate"

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            raise DeltaruleError(f"Bidirectional expected a recurrent layer such as LSTM(5), received {self.layer!r}")
        if self.merge not in ("sum", "concatenate"):
            raise DeltaruleError(f"Bidirectional merges by 'sum' or 'concatenate', received {self.merge!r}")

    def __call__(self, x: Array, scope: Scope) -> Array:
        """Both ways, merged."""
        layer: Any = self.layer
        mask = scope.mask
        there = layer(x, scope / "forward")
        scope.mask = mask
        back = dataclasses.replace(layer, reverse=not layer.reverse)(x, scope / "backward")
        return scope.tap("activation", there + back if self.merge == "sum" else jnp.concatenate([there, back], axis=-1))
