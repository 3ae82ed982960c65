"""A neuron is a weighted sum and an activation: bias shifts its curve, weights steepen it.

The inputs are weighted and summed, the bias is added, and an activation function makes the output of the sum. Drawn over its input,
a sigmoid neuron is a soft step. The bias moves the step to the left or to the right, the weight makes it steep or flat. All later
networks are made of this one part.
"""

import math

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, near

ROWS = (1,)
EQUATIONS = ("a = sum_i w_i x_i + b", "y = f(a)", "sigmoid: f(a) = 1 / (1 + exp(-a))")
PARTS = ("dr.Dense", "dr.Network.predict", "dr.textbook.neuron", "dr.figures.neuron")

FORMULAS = {"sigmoid": lambda a: 1 / (1 + math.exp(-a)), "tanh": math.tanh, "relu": lambda a: max(0.0, a)}     # f as the lecture has it


def teach(board: Board) -> None:
    """The formula against network and textbook, then what the weight and the bias do to one sigmoid neuron."""
    board.say("Seven random inputs of five numbers each go through one neuron: worked out with the formula, number by "
              "number, by a network of one unit in float64, and by the textbook.")
    formula_against_network(board)
    board.say("Now one input. The soft step has its middle, y = 1/2, where w x + b = 0, at x = -b / w. Its slope there is w "
              "f'(0) = w / 4. Both are looked for in the network's outputs.")
    weight_and_bias(board)
    board.figure("curves", dr.figures.neuron(), "the weight sets how steep the curve is, the bias where it rises")


def formula_against_network(board: Board) -> None:
    """The largest difference over all inputs, for three activations."""
    rng = np.random.default_rng(1)
    x, w, b = rng.normal(size=(7, 5)), rng.normal(size=5), 0.3
    rows, worst_network, worst_textbook = [], 0.0, 0.0
    for name, f in FORMULAS.items():
        y = np.array([f(sum(w_i * x_i for w_i, x_i in zip(w, row, strict=True)) + b) for row in x])
        net = dr.Network([dr.Dense(1, name)], input_shape=5, dtype="float64")
        net.params = {"dense_1": {"weights": w[:, None], "bias": np.array([b])}}
        from_network = np.abs(net.predict(x)[:, 0] - y).max()
        from_textbook = np.abs(dr.textbook.neuron(x, w, b, f=name) - y).max()
        rows.append([name, y[0], float(from_network), float(from_textbook)])
        worst_network, worst_textbook = max(worst_network, from_network), max(worst_textbook, from_textbook)
    board.table(["f", "y of the first input", "network - formula", "textbook - formula"], rows)
    board.number("network differs from the formula by", worst_network, at_most(1e-12))
    board.number("textbook differs from the formula by", worst_textbook, at_most(1e-12))


def weight_and_bias(board: Board) -> None:
    """Middle and slope of the soft step, measured on the outputs of a network."""
    net = dr.Network([dr.Dense(1, "sigmoid")], input_shape=1, dtype="float64")
    x = np.linspace(-8, 8, 16001)
    measured = {}
    for w, b in ((0.5, 0.0), (1.0, 0.0), (2.0, 0.0), (5.0, 0.0), (1.0, -4.0), (1.0, 2.0)):
        net.params = {"dense_1": {"weights": np.array([[w]]), "bias": np.array([b])}}
        y = net.predict(x[:, None])[:, 0]
        measured[w, b] = np.interp(0.5, y, x), np.gradient(y, x).max()
    board.table(["w and b", "middle of the step", "-b / w", "slope there", "w / 4"],
                [[f"w = {w:g}, b = {b:g}", round(float(middle), 6) + 0.0, -b / w + 0.0, float(slope), w / 4]
                 for (w, b), (middle, slope) in measured.items()])
    board.say("Four weights, one middle: the weight changes the slope alone. Three biases at w = 1, one slope: the bias "
              "shifts.")
    board.number("slope at w = 5", measured[5.0, 0.0][1], near(5 / 4, 1e-5))
    board.number("slope at w = 0.5", measured[0.5, 0.0][1], near(0.5 / 4, 1e-5))
    board.number("middle at b = -4", measured[1.0, -4.0][0], near(4.0, 1e-9))
    board.number("middle at b = 2", measured[1.0, 2.0][0], near(-2.0, 1e-9))
