"""The equations of one unit of a recurrent layer at one step, with the numbers in them (lecture rows 37 and 38)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deltarule.errors import DeltaruleError
from deltarule.glass.equations import Equation, Explanation, escaped, number, signed, summed
from deltarule.glass.through_time import Steps, steps_of
from deltarule.layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from deltarule.textbook.activations import activation

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace

GATES = {LSTM: ("input_gate", "forget_gate", "output_gate", "candidate"), GRU: ("reset_gate", "update_gate", "candidate"),
         SimpleRNN: ("preactivation",)}
LETTERS = {"input_gate": "i", "forget_gate": "f", "output_gate": "o", "reset_gate": "r", "update_gate": "z"}


@dataclass(frozen=True)
class _Unit:
    """One unit j at step t of example n, what its step began with, and where the step after it is (None behind the last)."""

    layer: LayerTrace
    j: int
    t: int
    n: int
    before: Steps
    later: int | None

    def tap(self, name: str) -> float:
        """A tapped value of this unit."""
        return float(self.layer.taps[name][self.n, self.t, self.j])

    def delta(self, name: str) -> float:
        """dL/d(value)."""
        assert self.layer.deltas is not None
        return float(self.layer.deltas[name][self.n, self.t, self.j])

    def weights(self, name: str, gate: int) -> np.ndarray:
        """The column of this unit in U ("weights") or W ("recurrent/weights") of a gate, or its number of a bias (1,)."""
        value = self.layer.parameters[name]
        return np.asarray(value.reshape(-1, value.shape[-1])[:, gate * self.layer.taps["state"].shape[-1] + self.j], float)

    @property
    def x(self) -> np.ndarray:
        """x_t."""
        return np.asarray(self.layer.input[self.n, self.t], float)

    @property
    def h(self) -> np.ndarray:
        """h_(t-1)."""
        return self.before.h[self.n, self.t]


def explain_step(layer: LayerTrace, unit: int, example: int, step: int | None) -> Explanation:
    """The equations of `unit` at `step` (default: the last that is run and no padding) of a recurrent layer.

    Raises DeltaruleError for units and steps that are not there, and for steps of padding.
    """
    T, units = layer.taps["state"].shape[1:]
    before = steps_of(layer)
    kind: Recurrent = layer.layer       # type: ignore[assignment]
    order = [t for t in (range(T)[::-1] if kind.reverse else range(T)) if not before.padding[example, t]]
    if not 0 <= unit < units:
        raise DeltaruleError(f"{layer.path} has {units} units, numbered from 0; received unit {unit}")
    if step is None:
        step = order[-1] if order else 0
    if not 0 <= step < T:
        raise DeltaruleError(f"{layer.path} has {T} steps, numbered from 0; received step {step}")
    if step not in order:
        raise DeltaruleError(f"step {step} of example {example} is padding: the states stay as they are")
    place = order.index(step)
    one = _Unit(layer, unit, step, example, before, order[place + 1] if place + 1 < len(order) else None)
    equations = {LSTM: _lstm, GRU: _gru, SimpleRNN: _simple}[type(kind)](one)
    return Explanation(f"{layer.path}, unit {unit}, step {step}, example {example}", tuple(equations))


def _simple(one: _Unit) -> Iterator[Equation]:
    """a_t = x_t U + h_(t-1) W + b, h_t = g(a_t); dL/dh_t from this step and the next, delta_t = g'(a_t) dL/dh_t."""
    j, g = one.j, one.layer.layer.activation        # type: ignore[attr-defined]
    a, h = one.tap("preactivation"), one.tap("state")
    shown, latex, _ = _weighted(one, 0, "")
    yield Equation("the weighted sum of the inputs and of the states before", f"a_{j}", (*shown, number(a)),
                   f"a_{{{j}}}", (*latex, number(a)), a)
    name = rf"\mathrm{{{escaped(g)}}}"
    yield Equation("its state", f"h_{j}", (f"{g}(a_{j})", f"{g}({number(a)})", number(h)), f"h_{{{j}}}",
                   (f"{name}(a_{{{j}}})", f"{name}({number(a)})", number(h)), h)
    if one.layer.deltas is None:
        return
    back, delta = one.delta("state"), one.delta("preactivation")
    yield _through_time(one, back)
    slope = float(activation(g)[1](np.array(a)))
    numbers = f"{number(slope)} * {signed(back)}"
    yield Equation("its delta, dL/da", f"delta_{j}", (f"g'(a_{j}) dL/dh_{j}", numbers, number(delta)), rf"\delta_{{{j}}}",
                   (rf"g'(a_{{{j}}}) \, \partial L / \partial h_{{{j}}}", numbers.replace("*", r"\cdot"), number(delta)), delta)


def _through_time(one: _Unit, back: float) -> Equation:
    """dL/dh_t = (through the output of this step) + sum_k W_jk delta_k(t+1)."""
    j, latex = one.j, rf"\partial L / \partial h_{{{one.j}}}"
    if one.later is None:
        return Equation("the error of its state, from the layer behind", f"dL/dh_{j}", (number(back),), latex, (number(back),), back)
    assert one.layer.deltas is not None
    W = one.layer.parameters["recurrent/weights"][j].astype(float)
    delta = one.layer.deltas["preactivation"][one.n, one.later].astype(float)
    shown, shown_latex = summed(list(zip(W.tolist(), delta.tolist(), strict=True)), None)
    behind = back - float(W @ delta)
    behind = 0.0 if abs(behind) < 1e-5 * float(np.abs(W) @ np.abs(delta)) else behind
    return Equation("the error of its state: from the layer behind at this step, and back through time from the deltas of the next step",
                    f"dL/dh_{j}", (f"behind + sum_k W_{j},k delta_k(t+1)", f"{number(behind)} + {shown}", number(back)),
                    latex, (rf"\mathrm{{behind}} + \sum_k W_{{{j},k}} \delta_k^{{(t+1)}}", f"{number(behind)} + {shown_latex}",
                            number(back)), back)


def _lstm(one: _Unit) -> Iterator[Equation]:
    """i, f, o and g; c_t = f c_(t-1) + i g, h_t = o tanh(c_t)."""
    j = one.j
    yield from (_gate(one, k, name, LETTERS.get(name, "g")) for k, name in enumerate(GATES[LSTM]))
    i, f, o, g, c, h = (one.tap(name) for name in (*GATES[LSTM], "cell", "state"))
    kept = float(one.before.c[one.n, one.t, j])
    numbers = f"{number(f)} * {signed(kept)} + {number(i)} * {signed(g)}"
    yield Equation("its cell: what is kept and what is written", f"c_{j}", (f"f_{j} c_{j}(t-1) + i_{j} g_{j}", numbers, number(c)),
                   f"c_{{{j}}}",
                   (rf"f_{{{j}}} \, c_{{{j}}}^{{(t-1)}} + i_{{{j}}} \, g_{{{j}}}", numbers.replace("*", r"\cdot"), number(c)), c)
    yield Equation("its state: what is read", f"h_{j}", (f"o_{j} tanh(c_{j})", f"{number(o)} * tanh({number(c)})", number(h)), f"h_{{{j}}}",
                   (rf"o_{{{j}}} \tanh(c_{{{j}}})", rf"{number(o)} \cdot \tanh({number(c)})", number(h)), h)
    yield from _errors(one, GATES[LSTM], ("cell", "c"))


def _gru(one: _Unit) -> Iterator[Equation]:
    """r, z; q = h_(t-1) W + d, h~ = tanh(x_t U + b + r q), h_t = z h_(t-1) + (1 - z) h~."""
    j = one.j
    yield from (_gate(one, k, name, LETTERS[name]) for k, name in enumerate(GATES[GRU][:2]))
    r, z, candidate, h = (one.tap(name) for name in (*GATES[GRU], "state"))
    d, b = float(one.weights("recurrent/bias", 0)[0]), float(one.weights("bias", 2)[0])
    W, U = one.weights("recurrent/weights", 2), one.weights("weights", 2)
    q = float(one.h @ W) + d
    shown, latex = summed(list(zip(one.h.tolist(), W.tolist(), strict=True)), d)
    yield Equation("what the states before say to its candidate", f"q_{j}", (f"sum_k h_k(t-1) W^h_k,{j} + d_{j}", shown, number(q)),
                   f"q_{{{j}}}", (rf"\sum_k h_k^{{(t-1)}} W^h_{{k,{j}}} + d_{{{j}}}", latex, number(q)), q)
    shown, latex = summed(list(zip(one.x.tolist(), U.tolist(), strict=True)), b)
    a = float(one.x @ U) + b + r * q
    yield Equation("its candidate; the reset gate decides how much of that counts", f"h~_{j}",
                   (f"tanh(sum_k x_k U^h_k,{j} + b^h_{j} + r_{j} q_{j})", f"tanh({shown} + {number(r)} * {signed(q)})",
                    f"tanh({number(a)})", number(candidate)), rf"\tilde h_{{{j}}}",
                   (rf"\tanh\left(\sum_k x_k U^h_{{k,{j}}} + b^h_{{{j}}} + r_{{{j}}} q_{{{j}}}\right)",
                    rf"\tanh\left({latex} + {number(r)} \cdot {signed(q)}\right)", rf"\tanh({number(a)})", number(candidate)), candidate)
    kept = float(one.h[j])
    numbers = f"{number(z)} * {signed(kept)} + (1 - {number(z)}) * {signed(candidate)}"
    in_latex = rf"z_{{{j}}} \, h_{{{j}}}^{{(t-1)}} + (1 - z_{{{j}}}) \, \tilde h_{{{j}}}"
    yield Equation("its state: what is kept and what is new", f"h_{j}", (f"z_{j} h_{j}(t-1) + (1 - z_{j}) h~_{j}", numbers, number(h)),
                   f"h_{{{j}}}", (in_latex, numbers.replace("*", r"\cdot"), number(h)), h)
    yield from _errors(one, GATES[GRU], ("state", "h"))


def _gate(one: _Unit, k: int, name: str, letter: str) -> Equation:
    """A gate, or the candidate of an LSTM, of its own weights: g(x_t U + h_(t-1) W + b)."""
    j, value = one.j, one.tap(name)
    function = "tanh" if name == "candidate" else "sigmoid"
    shown, latex, a = _weighted(one, k, f"^{letter}")
    inside = rf"\mathrm{{{function}}}\left("
    return Equation(f"its {name.replace('_', ' ')}", f"{letter}_{j}",
                    (*(f"{function}({line})" for line in shown), f"{function}({number(a)})", number(value)), f"{letter}_{{{j}}}",
                    (*(rf"{inside}{line}\right)" for line in latex), rf"{inside}{number(a)}\right)", number(value)), value)


def _weighted(one: _Unit, k: int, of: str) -> tuple[list[str], list[str], float]:
    """sum x U + sum h W + b of the gate of number k: the formula and the numbers, as text and as LaTeX, and the value."""
    j = one.j
    U, W, b = one.weights("weights", k), one.weights("recurrent/weights", k), float(one.weights("bias", k)[0])
    terms = [*zip(one.x.tolist(), U.tolist(), strict=True), *zip(one.h.tolist(), W.tolist(), strict=True)]
    shown, latex = summed(terms, b)
    formula = f"sum_k x_k U{of}_k,{j} + sum_k h_k(t-1) W{of}_k,{j} + b{of}_{j}"
    in_latex = rf"\sum_k x_k U{of}_{{k,{j}}} + \sum_k h_k^{{(t-1)}} W{of}_{{k,{j}}} + b{of}_{{{j}}}"
    return [formula, shown], [in_latex, latex], float(one.x @ U + one.h @ W) + b


def _errors(one: _Unit, gates: tuple[str, ...], state: tuple[str, str]) -> Iterator[Equation]:
    """dL/dc or dL/dh, and delta = dL/da of every gate: its error times its slope."""
    if one.layer.deltas is None:
        return
    name, letter = state
    error = one.delta(name)
    yield Equation(f"the error of its {name}, of this step and all that follow", f"dL/d{letter}_{one.j}", (number(error),),
                   rf"\partial L / \partial {letter}_{{{one.j}}}", (number(error),), error)
    for gate in gates:
        value, error = one.tap(gate), one.delta(gate)
        symbol = LETTERS.get(gate, "g" if name == "cell" else "h~")
        latex = r"\tilde h" if symbol == "h~" else symbol
        slope = 1 - value**2 if gate == "candidate" else value * (1 - value)
        formula = f"(1 - {symbol}_{one.j}^2)" if gate == "candidate" else f"{symbol}_{one.j} (1 - {symbol}_{one.j})"
        unit = f"{latex}_{{{one.j}}}"
        in_latex = rf"(1 - {unit}^2)" if gate == "candidate" else rf"{unit} (1 - {unit})"
        numbers, delta = f"{number(slope)} * {signed(error)}", slope * error
        yield Equation(f"the delta of its {gate.replace('_', ' ')}", f"delta^{symbol}_{one.j}",
                       (f"{formula} dL/d{symbol}_{one.j}", numbers, number(delta)), rf"\delta^{{{latex}}}_{{{one.j}}}",
                       (rf"{in_latex} \, \partial L / \partial {unit}", numbers.replace("*", r"\cdot"), number(delta)), delta)
