"""The lecture's equations with the numbers in them: how one unit came to its value, its delta, and one weight's update."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.glass.equations import Equation, Explanation, escaped, number, signed, summed
from deltarule.glass.explain_attention import explain_look
from deltarule.glass.explain_images import explain_place, explains
from deltarule.glass.explain_recurrent import explain_step
from deltarule.glass.trace_table import function_of
from deltarule.layers.activation import ActivationLayer, LeakyReLU, ParametricReLU
from deltarule.layers.attention import MultiHeadAttention
from deltarule.layers.dense import Dense
from deltarule.layers.recurrent import Recurrent
from deltarule.ops import activations

if TYPE_CHECKING:
    from deltarule.glass.trace import LayerTrace, Trace


def explain(trace: Trace, path: str, unit: Any, example: int, weight: Any, learning_rate: float, step: int | None = None) -> Explanation:
    """The equations of `unit` of the layer at `path` for `example`; see `Trace.explain`."""
    layer = trace[path]
    if isinstance(layer.layer, Recurrent):
        if weight is not None:
            raise DeltaruleError(f"the weights of {path} are those of all its steps, so that no single step updates them; leave out weight")
        return explain_step(layer, unit, example, step)
    if isinstance(layer.layer, MultiHeadAttention):
        return explain_look(layer, unit, example, weight, step)
    if step is not None:
        layer = _at(layer, step)
    if explains(layer.layer):
        return explain_place(trace, layer, unit, example, weight, learning_rate, _activated)
    if not isinstance(layer.layer, (Dense, ActivationLayer)) and not hasattr(layer.layer, "function"):
        known = [other.path for other in trace if isinstance(other.layer, (Dense, Recurrent, MultiHeadAttention)) or explains(other.layer)]
        raise DeltaruleError("explain writes out dense, recurrent, attention and convolutional layers, pooling and activations; "
                             f"{path} is a {type(layer.layer).__name__}; "
                             f"it can explain {', '.join(known) or 'no layer of this network'}")
    if layer.activation.ndim != 2:
        cure = "; name a step, such as step=0" if layer.activation.ndim == 3 else ""
        raise ShapeError(f"explain expected a layer with activations (n, units), {path} has {layer.activation.shape}{cure}")
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
    return Explanation(f"{path}, unit {unit}, {'' if step is None else f'step {step}, '}example {example}", tuple(equations))


def _at(layer: LayerTrace, step: int) -> LayerTrace:
    """A layer that works step by step, at one step alone. Raises DeltaruleError for a layer without steps and a step that is not there."""
    if layer.activation.ndim != 3 or layer.input.ndim != 3 or layer.input.shape[1] != layer.activation.shape[1]:
        raise DeltaruleError(f"step is for layers that work step by step; {layer.path} ({type(layer.layer).__name__}) gives "
                             f"{layer.activation.shape[1:]}; leave out step")
    if not 0 <= step < layer.activation.shape[1]:
        raise DeltaruleError(f"{layer.path} has {layer.activation.shape[1]} steps, numbered from 0; received step {step}")
    taps, deltas = ({name: value[:, step] for name, value in group.items()} for group in (layer.taps, layer.deltas or {}))
    return dataclasses.replace(layer, input=layer.input[:, step], output=layer.output[:, step], taps=taps,
                               deltas=None if layer.deltas is None else deltas)


def _forward(layer: LayerTrace, j: int, i: int) -> list[Equation]:
    """a_j = sum_i x_i W_ij + b_j and h_j = g(a_j)."""
    equations = []
    if isinstance(layer.layer, Dense):
        a = float(layer.preactivation[i, j])
        x, W = layer.input[i], layer.parameters["weights"][:, j]
        terms = [(float(p), float(q)) for p, q in zip(x, W, strict=True)]
        b = float(layer.parameters["bias"][j]) if "bias" in layer.parameters else None
        shown, latex = summed(terms, b)
        bias, latex_bias = ("", "") if b is None else (f" + b_{j}", f" + b_{{{j}}}")
        equations.append(Equation("the weighted sum of its inputs", f"a_{j}", (f"sum_i x_i W_i,{j}{bias}", shown, number(a)), f"a_{{{j}}}",
                                  (rf"\sum_i x_i W_{{i,{j}}}{latex_bias}", latex, number(a)), a))
    return [*equations, _activated(layer, (j,), i)[0]]


def _activated(layer: LayerTrace, place: tuple[int, ...], i: int) -> tuple[Equation, float | None]:
    """h = g(a) of the unit at a place, and g'(a)."""
    function, unit = _name(layer), ",".join(map(str, place))
    a, h = float(layer.preactivation[(i, *place)]), float(layer.activation[(i, *place)])
    latex_name = rf"\mathrm{{{escaped(function)}}}"
    return Equation("its activation" + (", among all units" if "softmax" in function else ""), f"h_{unit}",
                    (f"{function}(a_{unit})", f"{function}({number(a)})", number(h)), f"h_{{{unit}}}",
                    (f"{latex_name}(a_{{{unit}}})", f"{latex_name}({number(a)})", number(h)), h), _slope(layer, place, i)


def _delta(trace: Trace, layer: LayerTrace, j: int, i: int) -> Equation:
    """delta_j: y_hat_j - y_j at an output that pairs with its loss, g'(a_j) sum_k W_jk delta_k in a hidden layer, else g'(a_j) dL/dh_j."""
    delta, heading = float(layer.delta[i, j]), "its delta, dL/da"
    symbol, latex_symbol = f"delta_{j}", rf"\delta_{{{j}}}"
    of_h = (layer.deltas or {}).get("activation")
    if of_h is None:
        target = _target(trace, layer, j, i)
        h = float(layer.activation[i, j])
        if target is not None and np.isclose(h - target, delta, rtol=1e-4, atol=1e-6):
            return Equation(heading, symbol, (f"y_hat_{j} - y_{j}", f"{number(h)} - {number(target)}", number(delta)), latex_symbol,
                            (rf"\hat y_{{{j}}} - y_{{{j}}}", f"{number(h)} - {number(target)}", number(delta)), delta)
        return Equation(heading, symbol, ("dL/da", number(delta)), latex_symbol,
                        (rf"\partial L / \partial a_{{{j}}}", number(delta)), delta)
    slope, back = _slope(layer, (j,), i), float(of_h[i, j])
    if slope is None or not np.isclose(slope * back, delta, rtol=1e-3, atol=1e-7):
        return Equation(heading, symbol, (f"sum_k dL/dh_k dh_k/da_{j}", number(delta)), latex_symbol,
                        (rf"\sum_k \frac{{\partial L}}{{\partial h_k}} \frac{{\partial h_k}}{{\partial a_{{{j}}}}}", number(delta)), delta)
    following = _following(trace, layer, i)
    if following is not None:
        terms = [(float(p), float(q)) for p, q in zip(following.parameters["weights"][j], following.delta[i], strict=True)]
        if np.isclose(sum(p * q for p, q in terms), back, rtol=1e-3, atol=1e-7):
            shown, latex = summed(terms, None)
            return Equation(f"its delta, dL/da, from the deltas of {following.path}", symbol,
                            (f"g'(a_{j}) sum_k W_{j},k delta_k", f"{number(slope)} ({shown})",
                             f"{number(slope)} * {signed(back)}", number(delta)),
                            latex_symbol, (rf"g'(a_{{{j}}}) \sum_k W_{{{j},k}} \delta_k", rf"{number(slope)} \left( {latex} \right)",
                             rf"{number(slope)} \cdot {signed(back)}", number(delta)), delta)
    return Equation(heading, symbol, (f"g'(a_{j}) dL/dh_{j}", f"{number(slope)} * {signed(back)}", number(delta)), latex_symbol,
                    (rf"g'(a_{{{j}}}) \, \partial L / \partial h_{{{j}}}", rf"{number(slope)} \cdot {signed(back)}", number(delta)), delta)


def _update(layer: LayerTrace, j: int, example: int, weight: int | None, delta: float, eta: float) -> list[Equation]:
    """dL/dW_ij = x_i delta_j, and W_ij <- W_ij - eta dL/dW_ij: one step of gradient descent on this example."""
    x = layer.input[example]
    i = int(np.argmax(np.abs(x))) if weight is None else weight
    slope, W = float(x[i]) * delta, float(layer.parameters["weights"][i, j])
    symbol, latex = f"dL/dW_{i},{j}", rf"\frac{{\partial L}}{{\partial W_{{{i},{j}}}}}"
    numbers = f"{number(float(x[i]))} * {signed(delta)}"
    equations = [Equation(f"the gradient of the weight from input {i}", symbol, (f"x_{i} delta_{j}", numbers, number(slope)), latex,
                          (rf"x_{{{i}}} \, \delta_{{{j}}}", numbers.replace("*", r"\cdot"), number(slope)), slope)]
    numbers, after = f"{number(W)} - {number(eta)} * {signed(slope)}", W - eta * slope
    equations.append(Equation(f"its new value after one step of gradient descent on this example, eta = {number(eta)}", f"W_{i},{j}",
                              (f"W_{i},{j} - eta dL/dW_{i},{j}", numbers, number(after)), f"W_{{{i},{j}}}",
                              (rf"W_{{{i},{j}}} - \eta {latex}", numbers.replace("*", r"\cdot"), number(after)), after))
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


def _slope(layer: LayerTrace, place: tuple[int, ...], i: int) -> float | None:
    """g'(a_j), None where the activation mixes units."""
    function, a = function_of(layer), layer.preactivation[(i, *place)]
    if isinstance(layer.layer, ActivationLayer):
        function = layer.layer
    if isinstance(function, str):
        return None if "softmax" in function else float(activations.derivative(function)(jnp.asarray(a)))
    if isinstance(function, LeakyReLU):
        return 1.0 if a > 0 else function.slope
    if isinstance(function, ParametricReLU):
        return 1.0 if a > 0 else float(layer.parameters.get("slope/s", layer.parameters.get("s"))[place[-1]])  # type: ignore[index]
    return None


def _name(layer: LayerTrace) -> str:
    function: Any = function_of(layer)
    return function if isinstance(function, str) else type(function or layer.layer).__name__
