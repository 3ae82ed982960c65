"""A small change of the weights makes a small change of the output, and the derivatives foretell it.

A perceptron does not learn by small steps: a small change of a weight leaves its output as it is, or turns it over. The output of a
sigmoid neuron changes a little, by nearly the sum of derivatives times changes. This is the first order of Taylor's series. What it
leaves out is of second order: halve the change, and the error of the prediction falls to a quarter.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals, near

ROWS = (8,)
EQUATIONS = ("delta output ~ sum_j (d output / d w_j) delta w_j + (d output / d b) delta b", "error of this ~ (size of the change)^2",
             "sigmoid neuron: d output / d w_j = y (1 - y) x_j,   d output / d b = y (1 - y)")
PARTS = ("dr.Network.trace", "dr.Network.predict", "dr.Dense")

SIZES = 0.5 ** np.arange(1, 11)      # of the change: 1/2, 1/4, ... 1/1024
X = np.array([[0.8, -0.5, 0.3]])     # one example


def teach(board: Board) -> None:
    """A neuron against the formula, a network of two layers against its own small changes, and a perceptron, which has none."""
    neuron = dr.Network([dr.Dense(1, "sigmoid")], input_shape=3, seed=1, dtype="float64")
    y = neuron.predict(X)[0, 0]
    by_hand = y * (1 - y) * X[0]
    found = output_derivatives(neuron)["dense_1"]
    board.say("One sigmoid neuron first: the derivatives of its output, from the trace of the network, beside y (1 - y) x_j.")
    board.table(["", "w_1", "w_2", "w_3", "b"], [["trace", *found["weights"][:, 0], found["bias"][0]], ["formula", *by_hand, y * (1 - y)]])
    board.number("trace differs from y (1 - y) x_j by", np.abs(found["weights"][:, 0] - by_hand).max(), at_most(1e-12))

    board.say("Now a network with a hidden layer. All weights and biases are moved along one random direction, by smaller "
              "and smaller steps; the output's real change stands beside the predicted one.")
    net = dr.Network([dr.Dense(5, "sigmoid"), dr.Dense(1, "sigmoid")], input_shape=3, seed=2, dtype="float64")
    real, predicted = changes(net, direction(net))
    errors = np.abs(real - predicted)
    board.table(["size of the change", "real change", "predicted", "error"],
                [[f"1/{round(1 / size)}", *row] for size, *row in zip(SIZES, real, predicted, errors, strict=True)])
    board.say("From line to line the error falls to about a quarter. On logarithmic axes the points lie on a line; its "
              "slope is the power.")
    slope = np.polyfit(np.log(SIZES[3:]), np.log(errors[3:]), 1)[0]
    board.number("slope of the error against the size of the change", slope, near(2.0, 0.05))
    board.number("error shrinks, at the last halving, by", errors[-2] / errors[-1], near(4.0, 0.05))

    perceptron = dr.Network([dr.Dense(1, "step")], input_shape=3, seed=1, dtype="float64")
    board.say("The same neuron with a step in place of the sigmoid: as its bias moves, the output takes two values and "
              "nothing between.")
    shifts = np.linspace(-3, 3, 61)
    jumps, glides = ([shifted(model, shift) for shift in shifts] for model in (perceptron, neuron))
    board.number("values that the perceptron's output takes", sorted(set(np.round(jumps, 12).astype(int))), equals([0, 1]))
    board.number("values that the sigmoid neuron's output takes", len(set(glides)), equals(61))
    board.figure("change", draw(shifts, jumps, glides, found["bias"][0], errors), "left: the output as the bias moves, and the "
                 "prediction, a tangent; right: the error of the prediction falls as the square of the change")


def output_derivatives(net: dr.Network) -> dict[str, dict[str, np.ndarray]]:
    """d output / d parameter by layer. The loss |output - y| with y = -1 is output + 1, so its gradients are those of the output."""
    trace = net.trace(X, [[-1.0]], loss="absolute_error")
    return {layer.path: layer.gradients or {} for layer in trace}


def direction(net: dr.Network) -> dict[str, dict[str, np.ndarray]]:
    """A random direction of length 1 through all parameters."""
    rng = np.random.default_rng(0)
    drawn = {path: {name: rng.normal(size=value.shape) for name, value in layer.items()} for path, layer in net.params.items()}
    length = np.sqrt(sum(np.sum(value ** 2) for layer in drawn.values() for value in layer.values()))
    return {path: {name: value / length for name, value in layer.items()} for path, layer in drawn.items()}


def changes(net: dr.Network, d: dict[str, dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The real and the predicted change of the output for parameters + size * d, for every size."""
    start, before = net.params, net.predict(X)[0, 0]
    gradients = output_derivatives(net)
    per_size = sum(float(np.sum(gradients[path][name] * d[path][name])) for path in d for name in d[path])
    real = []
    for size in SIZES:
        net.params = {path: {name: value + size * d[path][name] for name, value in layer.items()} for path, layer in start.items()}
        real.append(net.predict(X)[0, 0] - before)
    net.params = start
    return np.array(real), SIZES * per_size


def shifted(net: dr.Network, shift: float) -> float:
    """The output with the bias moved by `shift`."""
    start = net.params["dense_1"]
    net.params["dense_1"] = {"weights": start["weights"], "bias": start["bias"] + shift}
    output = float(net.predict(X)[0, 0])
    net.params["dense_1"] = start
    return output


def draw(shifts: np.ndarray, jumps: list[float], glides: list[float], slope: float, errors: np.ndarray) -> Any:
    """The outputs over the moved bias with the tangent, and the errors on logarithmic axes."""
    fig, (left, right) = dr.figures.panels(columns=2, width=4.3, height=3.3)
    left.step(shifts, jumps, where="mid", color=dr.figures.RED, linewidth=1.5, label="perceptron")
    left.plot(shifts, glides, color=dr.figures.BLUE, linewidth=1.8, label="sigmoid neuron")
    here = glides[len(glides) // 2]
    left.plot(shifts[15:46], here + slope * shifts[15:46], color="0.25", linestyle="--", linewidth=1.2, label="prediction")
    left.plot([0], [here], "o", color="0.25", markersize=5)
    left.set_xlabel("change of the bias")
    left.set_ylabel("output")
    left.legend(frameon=False, fontsize=9, loc="upper left")
    right.loglog(SIZES, errors, "o", color=dr.figures.BLUE, markersize=5.5, label="measured")
    right.loglog(SIZES, errors[-1] * (SIZES / SIZES[-1]) ** 2, color="0.35", linewidth=1.2, label="slope 2")
    right.set_xlabel("size of the change")
    right.set_ylabel("error of the prediction")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    return fig
