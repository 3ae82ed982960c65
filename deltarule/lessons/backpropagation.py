"""Backpropagation: the error of every unit, found from the output back, gives all gradients in one sweep.

The forward pass keeps a and h of every unit. At the output delta = dL/da is known at once (BP1). A hidden unit is to
blame for what it did to the units above it: its delta is their deltas, weighted by the connections and by its own slope g'(a)
(BP2). The gradients then cost nothing more: delta for a bias (BP3), delta times what came in for a weight (BP4).
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most

ROWS = (17,)
EQUATIONS = ("a^l = h^(l-1) W^l + b^l      h^l = g(a^l)      h^0 = x",
             "BP1  delta^L = dL/dh g'(a^L)", "BP2  delta^l = g'(a^l) (delta^(l+1) (W^(l+1))^T)",
             "BP3  dL/db^l = delta^l      BP4  dL/dW^l = (h^(l-1))^T delta^l")
PARTS = ("dr.Network.trace", "dr.figures.network", "dr.textbook.forward", "dr.textbook.backward", "dr.textbook.numeric_gradient")

LAYERS = [dr.Dense(4, "tanh", bias=dr.initializers.Normal(0.5)), dr.Dense(3, "sigmoid", bias=dr.initializers.Normal(0.5)),
          dr.Dense(2, "sigmoid", bias=dr.initializers.Normal(0.5))]
NAMES = ("dense_1", "dense_2", "dense_3")
STEP = 1e-5     # of the central differences


def teach(board: Board) -> None:
    """One small network three times over: on the engine, by the textbook's equations, by finite differences."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    net = dr.Network(LAYERS, input_shape=3, seed=1, dtype="float64")
    trace = net.trace(x, y, loss="quadratic")

    board.say("Three inputs, layers of 4, 3 and 2 units, the quadratic loss. What the first of five examples does at every unit:")
    board.table(["layer", "unit", "a", "h = g(a)", "delta"],
                [[layer.path, j, f"{layer.preactivation[0, j]:.4f}", f"{layer.activation[0, j]:.4f}", f"{layer.delta[0, j]:.5f}"]
                 for layer in trace for j in range(layer.delta.shape[1])])
    board.say("How one hidden unit came to these numbers, and how one of its weights would be moved:")
    board.equation(*str(trace.explain("dense_2", unit=1)).splitlines())

    board.say("The same quantities three times over: the engine (automatic differentiation), the textbook (the four equations in "
              f"NumPy), and central differences of the loss, (L(w + {STEP:g}) - L(w - {STEP:g})) / {2 * STEP:g}, which know of neither:")
    layers = [dr.textbook.Layer(trace[name].parameters["weights"], trace[name].parameters["bias"], layer.activation)
              for name, layer in zip(NAMES, LAYERS, strict=True)]
    run = dr.textbook.forward(layers, x)
    back = dr.textbook.backward(layers, run, y, "quadratic")
    measured = dr.textbook.numeric_gradient(
        lambda theta: dr.textbook.cost(dr.textbook.with_parameters(layers, theta), x, y, "quadratic"), dr.textbook.parameters(layers), STEP)
    board.number("engine beside textbook: a, h, delta", difference(units(trace), textbook_units(run, back)), at_most(1e-10))
    board.number("engine beside textbook: gradients", difference(gradients(trace), back.gradient), at_most(1e-10))
    board.number("engine beside finite differences: gradients", difference(gradients(trace), measured), at_most(1e-10))
    board.number("textbook beside finite differences: gradients", difference(measured, back.gradient), at_most(1e-10))

    single = dr.Network(LAYERS, input_shape=3, seed=1)
    single.params = net.params
    short = single.trace(x, y, loss="quadratic")
    board.say("The same network in float32, seven digits instead of sixteen:")
    board.number("float32 beside textbook, relative: a, h, delta", relative(units(short), textbook_units(run, back)), at_most(1e-5))
    board.number("float32 beside textbook, relative: gradients", relative(gradients(short), back.gradient), at_most(1e-5))
    board.figure("units", dr.figures.network(net, trace=trace, deltas=True),
                 "one example going forward and coming back: the activation h inside each unit, its delta above it in green; "
                 "lines are weights, blue above zero and orange below, as wide as |w|")


def units(trace: Any) -> dict[str, np.ndarray]:
    """a, h and delta of every layer, as the engine saw them."""
    return {f"{what}{l}": values for l, name in enumerate(NAMES, 1) for what, values in
            (("a", trace[name].preactivation), ("h", trace[name].activation), ("delta", trace[name].delta))}


def textbook_units(run: Any, back: Any) -> dict[str, np.ndarray]:
    """The same of the textbook."""
    return {f"{what}{l}": values[l] for l in (1, 2, 3) for what, values in (("a", run.a), ("h", run.h), ("delta", back.delta))}


def gradients(trace: Any) -> dict[str, np.ndarray]:
    """The gradients of the mean loss under the textbook's names."""
    return {f"{short}{l}": trace[name].gradients[long]
            for l, name in enumerate(NAMES, 1) for short, long in (("W", "weights"), ("b", "bias"))}


def difference(found: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference of any number in `found`."""
    return max(float(np.abs(found[name] - other[name]).max()) for name in found)


def relative(found: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference of any array, relative to the largest number in it."""
    return max(float(np.abs(found[name] - other[name]).max() / np.abs(other[name]).max()) for name in found)
