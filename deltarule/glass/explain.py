"""The lecture's equations with the numbers in them: how one unit came to its value, its delta, and one weight's update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.glass.trace_table import function_of
from deltarule.layers.activation import ActivationLayer, LeakyReLU, ParametricReLU
from deltarule.layers.dense import Dense
from deltarule.ops import activations

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace, Trace

MOST_TERMS = 4      # of a sum that are written out: the largest; the others are added up


@dataclass(frozen=True)
class Equation:
    """One quantity, line by line: the formula, with numbers, and its value. `heading` says what it is."""

    heading: str
    symbol: str
    lines: tuple[str, ...]          # each follows "symbol ="
    latex_symbol: str
    latex_lines: tuple[str, ...]
    value: float

    @property
    def text(self) -> str:
        """The equation as plain text."""
        indent = " " * len(self.symbol)
        return "\n".join(f"  {self.symbol if i == 0 else indent} = {line}" for i, line in enumerate(self.lines))

    @property
    def latex(self) -> str:
        """The equation as an aligned LaTeX block."""
        body = r" \\ ".join(f"{self.latex_symbol if i == 0 else ''} &= {line}" for i, line in enumerate(self.latex_lines))
        return rf"\begin{{aligned}} {body} \end{{aligned}}"


@dataclass(frozen=True)
class Explanation:
    """The equations of one unit for one example. Printing it shows text; `latex` is one display formula for each equation."""

    title: str
    equations: tuple[Equation, ...]

    def __getitem__(self, symbol: str) -> float:
        """The value of a quantity by its symbol, such as "a_3" or "delta_3"."""
        for equation in self.equations:
            if equation.symbol == symbol:
                return equation.value
        raise DeltaruleError(f"there is no {symbol!r} here; there are {', '.join(equation.symbol for equation in self.equations)}")

    @property
    def text(self) -> str:
        """All equations as plain text."""
        return "\n".join([self.title, *(f"{equation.heading}\n{equation.text}" for equation in self.equations)])

    @property
    def latex(self) -> str:
        """All equations as LaTeX, one display formula each."""
        return "\n\n".join(f"$${equation.latex}$$" for equation in self.equations)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return f"**{self.title}**\n\n{self.latex}"


def explain(trace: Trace, path: str, unit: int, example: int, weight: int | None, learning_rate: float) -> Explanation:
    """The equations of `unit` of the layer at `path` for `example`; see `Trace.explain`."""
    layer = trace[path]
    if not isinstance(layer.layer, (Dense, ActivationLayer)) and not hasattr(layer.layer, "function"):
        known = [other.path for other in trace if isinstance(other.layer, Dense)]
        raise DeltaruleError(f"explain writes out dense layers and activations; {path} is a {type(layer.layer).__name__}; "
                             f"it can explain {', '.join(known) or 'no layer of this network'}")
    if layer.activation.ndim != 2:
        raise ShapeError(f"explain expected a layer with activations (n, units), {path} has {layer.activation.shape}")
    units, inputs = layer.activation.shape[1], layer.input.shape[1]
    if not 0 <= unit < units:
        raise DeltaruleError(f"{path} has {units} units, numbered from 0; received unit {unit}")
    if weight is not None and not 0 <= weight < inputs:
        raise DeltaruleError(f"{path} has {inputs} inputs, numbered from 0; received weight {weight}")
    equations = [*_forward(layer, unit, example)]
    if layer.deltas is not None:
        delta = _delta(trace, layer, unit, example)
        equations.append(delta)
        if isinstance(layer.layer, Dense):
            equations += _update(layer, unit, example, weight, delta.value, learning_rate)
    return Explanation(f"{path}, unit {unit}, example {example}", tuple(equations))


def _forward(layer: LayerTrace, j: int, i: int) -> list[Equation]:
    """a_j = sum_i x_i W_ij + b_j and h_j = g(a_j)."""
    equations = []
    a, h = float(layer.preactivation[i, j]), float(layer.activation[i, j])
    if isinstance(layer.layer, Dense):
        x, W = layer.input[i], layer.parameters["weights"][:, j]
        terms = [(float(p), float(q)) for p, q in zip(x, W, strict=True)]
        b = float(layer.parameters["bias"][j]) if "bias" in layer.parameters else None
        shown, latex = _sum(terms, b)
        bias, latex_bias = ("", "") if b is None else (f" + b_{j}", f" + b_{{{j}}}")
        equations.append(Equation("the weighted sum of its inputs", f"a_{j}", (f"sum_i x_i W_i,{j}{bias}", shown, _n(a)), f"a_{{{j}}}",
                                  (rf"\sum_i x_i W_{{i,{j}}}{latex_bias}", latex, _n(a)), a))
    name = _name(layer)
    latex_name = rf"\mathrm{{{_latex(name)}}}"
    equations.append(Equation("its activation" + (", among all units" if "softmax" in name else ""), f"h_{j}",
                              (f"{name}(a_{j})", f"{name}({_n(a)})", _n(h)), f"h_{{{j}}}",
                              (f"{latex_name}(a_{{{j}}})", f"{latex_name}({_n(a)})", _n(h)), h))
    return equations


def _delta(trace: Trace, layer: LayerTrace, j: int, i: int) -> Equation:
    """delta_j: y_hat_j - y_j at an output that pairs with its loss, g'(a_j) sum_k W_jk delta_k in a hidden layer, else g'(a_j) dL/dh_j."""
    delta, heading = float(layer.delta[i, j]), "its delta, dL/da"
    symbol, latex_symbol = f"delta_{j}", rf"\delta_{{{j}}}"
    of_h = (layer.deltas or {}).get("activation")
    if of_h is None:
        target = _target(trace, layer, j, i)
        h = float(layer.activation[i, j])
        if target is not None and np.isclose(h - target, delta, rtol=1e-4, atol=1e-6):
            return Equation(heading, symbol, (f"y_hat_{j} - y_{j}", f"{_n(h)} - {_n(target)}", _n(delta)), latex_symbol,
                            (rf"\hat y_{{{j}}} - y_{{{j}}}", f"{_n(h)} - {_n(target)}", _n(delta)), delta)
        return Equation(heading, symbol, ("dL/da", _n(delta)), latex_symbol, (rf"\partial L / \partial a_{{{j}}}", _n(delta)), delta)
    slope, back = _slope(layer, j, i), float(of_h[i, j])
    if slope is None or not np.isclose(slope * back, delta, rtol=1e-3, atol=1e-7):
        return Equation(heading, symbol, (f"sum_k dL/dh_k dh_k/da_{j}", _n(delta)), latex_symbol,
                        (rf"\sum_k \frac{{\partial L}}{{\partial h_k}} \frac{{\partial h_k}}{{\partial a_{{{j}}}}}", _n(delta)), delta)
    following = _following(trace, layer, i)
    if following is not None:
        terms = [(float(p), float(q)) for p, q in zip(following.parameters["weights"][j], following.delta[i], strict=True)]
        if np.isclose(sum(p * q for p, q in terms), back, rtol=1e-3, atol=1e-7):
            shown, latex = _sum(terms, None)
            return Equation(f"its delta, dL/da, from the deltas of {following.path}", symbol,
                            (f"g'(a_{j}) sum_k W_{j},k delta_k", f"{_n(slope)} ({shown})", f"{_n(slope)} * {_signed(back)}", _n(delta)),
                            latex_symbol, (rf"g'(a_{{{j}}}) \sum_k W_{{{j},k}} \delta_k", rf"{_n(slope)} \left( {latex} \right)",
                             rf"{_n(slope)} \cdot {_signed(back)}", _n(delta)), delta)
    return Equation(heading, symbol, (f"g'(a_{j}) dL/dh_{j}", f"{_n(slope)} * {_signed(back)}", _n(delta)), latex_symbol,
                    (rf"g'(a_{{{j}}}) \, \partial L / \partial h_{{{j}}}", rf"{_n(slope)} \cdot {_signed(back)}", _n(delta)), delta)


def _update(layer: LayerTrace, j: int, example: int, weight: int | None, delta: float, eta: float) -> list[Equation]:
    """dL/dW_ij = x_i delta_j, and W_ij <- W_ij - eta dL/dW_ij: one step of gradient descent on this example."""
    x = layer.input[example]
    i = int(np.argmax(np.abs(x))) if weight is None else weight
    slope, W = float(x[i]) * delta, float(layer.parameters["weights"][i, j])
    symbol, latex = f"dL/dW_{i},{j}", rf"\frac{{\partial L}}{{\partial W_{{{i},{j}}}}}"
    numbers = f"{_n(float(x[i]))} * {_signed(delta)}"
    equations = [Equation(f"the gradient of the weight from input {i}", symbol, (f"x_{i} delta_{j}", numbers, _n(slope)), latex,
                          (rf"x_{{{i}}} \, \delta_{{{j}}}", numbers.replace("*", r"\cdot"), _n(slope)), slope)]
    numbers, after = f"{_n(W)} - {_n(eta)} * {_signed(slope)}", W - eta * slope
    equations.append(Equation(f"its new value after one step of gradient descent on this example, eta = {_n(eta)}", f"W_{i},{j}",
                              (f"W_{i},{j} - eta dL/dW_{i},{j}", numbers, _n(after)), f"W_{{{i},{j}}}",
                              (rf"W_{{{i},{j}}} - \eta {latex}", numbers.replace("*", r"\cdot"), _n(after)), after))
    return equations


def _following(trace: Trace, layer: LayerTrace, example: int) -> LayerTrace | None:
    """The dense layer that reads exactly this layer's activations, if there is one."""
    paths = trace.layers
    for path in paths[paths.index(layer.path) + 1:]:
        other = trace[path]
        if isinstance(other.layer, Dense) and other.input.shape == layer.activation.shape \
                and np.array_equal(other.input[example], layer.activation[example]):
            return other
    return None


def _target(trace: Trace, layer: LayerTrace, j: int, i: int) -> float | None:
    if trace.targets is None or layer.activation.shape != trace.output.shape:
        return None
    if trace.targets.ndim == 1:
        return float(trace.targets[i] == j)
    return float(trace.targets[i, j])


def _slope(layer: LayerTrace, j: int, i: int) -> float | None:
    """g'(a_j), None where the activation mixes units."""
    function, a = function_of(layer), layer.preactivation[i, j]
    if isinstance(layer.layer, ActivationLayer):
        function = layer.layer
    if isinstance(function, str):
        return None if "softmax" in function else float(activations.derivative(function)(jnp.asarray(a)))
    if isinstance(function, LeakyReLU):
        return 1.0 if a > 0 else function.slope
    if isinstance(function, ParametricReLU):
        return 1.0 if a > 0 else float(layer.parameters.get("slope/s", layer.parameters.get("s"))[j])  # type: ignore[index]
    return None


def _name(layer: LayerTrace) -> str:
    function: Any = function_of(layer)
    return function if isinstance(function, str) else type(function or layer.layer).__name__


def _sum(terms: Sequence[tuple[float, float]], bias: float | None) -> tuple[str, str]:
    """The products of a sum, the largest ones first where there are many, as text and as LaTeX."""
    order = range(len(terms))
    if len(terms) > MOST_TERMS + 1:
        order = sorted(order, key=lambda i: -abs(terms[i][0] * terms[i][1]))[:MOST_TERMS]     # type: ignore[assignment]
    shown = [f"{_signed(terms[i][0])} * {_signed(terms[i][1])}" for i in order]
    rest = len(terms) - len(shown)
    latex = [term.replace("*", r"\cdot") for term in shown]
    if rest:
        others = sum(p * q for i, (p, q) in enumerate(terms) if i not in set(order))
        shown.append(f"[{rest} smaller terms: {_n(others)}]" if rest > 1 else f"[1 smaller term: {_n(others)}]")
        latex.append(rf"\underbrace{{{_signed(others)}}}_{{{rest}\ \mathrm{{smaller\ terms}}}}")
    if bias is not None:
        shown.append(_signed(bias))
        latex.append(_signed(bias))
    return " + ".join(shown), " + ".join(latex)


def _n(value: float) -> str:
    return f"{value:.4g}"


def _signed(value: float) -> str:
    return f"({_n(value)})" if value < 0 else _n(value)


def _latex(name: str) -> str:
    return name.replace("_", r"\_")
