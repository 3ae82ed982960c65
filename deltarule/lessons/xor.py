"""XOR lies beyond one neuron, and two hidden units solve it.

The decision line of a neuron is where w x + b = 0. No line has (0, 1) and (1, 0) on one side and (0, 0) and (1, 1) on the other. In a
better representation of the input one line is enough: the two new features AND(not x1, x2) and AND(x1, not x2). They may be given
by hand, or found by training, as the hidden layer of a network.
"""

import itertools
from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (6,)
EQUATIONS = ("decision line: w_1 x_1 + w_2 x_2 + b = 0", "XOR(x1, x2) = OR(AND(not x1, x2), AND(x1, not x2))")
PARTS = ("dr.Dense", "dr.Network.trace", "dr.Network.fit", "dr.figures.decision_regions")

X = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)                               # in the order of the lecture
XOR = np.array([0, 1, 1, 0])
LECTURE = [[0, 0, 1, 1, 0, 0], [1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 0]]
BY_HAND = {"dense_1": {"weights": np.array([[-1.0, 1.0], [1.0, -1.0]]), "bias": np.array([-0.5, -0.5])},
           "dense_2": {"weights": np.array([[1.0], [1.0]]), "bias": np.array([-0.5])}}
SEEDS, ETA, EPOCHS = 10, 1.0, 500


def teach(board: Board) -> None:
    """The lecture's table from a network set by hand, the best of one neuron, and a network that finds the features itself."""
    by_hand = lectures_table(board)
    one_neuron(board)
    learnt = two_hidden_units(board)
    board.figure("regions", draw(by_hand, learnt), "the regions of both networks; numbered the line of each hidden unit: "
                 "XOR is 0 between the two lines and 1 beyond them")


def lectures_table(board: Board) -> dr.Network:
    """Two neurons make the new features, a third takes their OR."""
    board.say("The table of the lecture, from a network of perceptrons whose weights are set by hand: unit 0 computes "
              "AND(not x1, x2) with weights -1, 1 and bias -1/2, unit 1 computes AND(x1, not x2) with weights 1, -1 and "
              "bias -1/2, and the output takes their OR.")
    net = dr.Network([dr.Dense(2, "step"), dr.Dense(1, "step")], input_shape=2, dtype="float64")
    net.params = BY_HAND
    hidden = net.trace(X)["dense_1"].activation
    table = np.column_stack([X, 1 - X, hidden]).astype(int)
    xor = net.predict(X)[:, 0].astype(int)
    board.table(["x1", "x2", "not x1", "not x2", "AND(not x1, x2)", "AND(x1, not x2)", "OR of both"],
                [[*map(str, row), str(value)] for row, value in zip(table, xor, strict=True)])
    board.number("table of the lecture, row by row", table, equals(LECTURE))
    board.number("OR of both", xor, equals(XOR))
    return net


def one_neuron(board: Board) -> None:
    """Of all 16 truth tables of two inputs, those that a line can make, and how near they come to XOR."""
    board.say("What can one neuron do? For two inputs there are 16 truth tables. A linear program looks for weights for "
              "each.")
    possible = [truth for truth in itertools.product([0, 1], repeat=4) if line_exists(truth)]
    missing = [truth for truth in itertools.product([0, 1], repeat=4) if truth not in possible]
    board.number("truth tables that one neuron can make, of 16", len(possible), equals(14))
    board.number("those it cannot", [list(truth) for truth in missing], equals([XOR.tolist(), (1 - XOR).tolist()]))
    board.number("most rows of XOR that one neuron gets right, of 4", max(int(np.sum(truth == XOR)) for truth in possible), equals(3))


def two_hidden_units(board: Board) -> dr.Network:
    """A 2-2-1 network trained from ten seeds, and the same with four hidden units."""
    board.say("A network of two tanh units and a sigmoid output learns from the four examples: gradient descent, eta = "
              f"{ETA:g}, {EPOCHS} epochs, from {SEEDS} random starts.")
    runs = [trained(2, seed) for seed in range(SEEDS)]
    board.table(["seed", "loss", "rows right, of 4"], [[str(seed), loss, rows_right(net)] for seed, (net, loss) in enumerate(runs)])
    learnt = [rows_right(net) == 4 for net, _ in runs]
    best = min(runs, key=lambda run: run[1])[0]
    board.number("a 2-2-1 network learns XOR", (best.predict(X)[:, 0] > 0.5).astype(int), equals(XOR))
    board.number("its largest error", float(np.abs(best.predict(X)[:, 0] - XOR).max()), at_most(0.1))
    board.number("seeds that learn it, of 10", sum(learnt), at_least(1))
    stuck = [loss for (_, loss), good in zip(runs, learnt, strict=True) if not good]
    board.number("mean loss of the others", float(np.mean(stuck)), near(np.log(2) / 2, 0.01))
    board.say("Those are caught where the loss is nearly flat, at (ln 2) / 2: two rows are right, and for the other two the "
              "output is 1/2. Two hidden units are the fewest that can do it; with four, more starts succeed:")
    board.number("seeds that learn it with four hidden units, of 10", sum(rows_right(trained(4, seed)[0]) == 4 for seed in range(SEEDS)),
                 at_least(sum(learnt) + 1))
    h = best.trace(X)["dense_1"].activation
    board.table(["x1 x2", "unit 0", "unit 1", "output"],
                [[f"{int(a)} {int(b)}", *row, float(y)] for (a, b), row, y in zip(X, h, best.predict(X)[:, 0], strict=True)])
    board.say("These are the features that the best of the 2-2-1 networks found. In the plane of its hidden units one line "
              "separates the classes.")
    board.number("XOR separable in the hidden units", line_exists(XOR, h), equals(True))
    return best


def trained(hidden: int, seed: int) -> tuple[dr.Network, float]:
    """A network of so many tanh units after training on the four examples, and its loss."""
    net = dr.Network([dr.Dense(hidden, "tanh"), dr.Dense(1, "sigmoid")], input_shape=2, seed=seed, dtype="float64")
    history = net.fit(X, XOR[:, None], optimizer=dr.SGD(ETA), batch_size=None, epochs=EPOCHS, progress=False)
    return net, history["loss"][-1]


def rows_right(net: dr.Network) -> int:
    """How many of the four answers are right."""
    return int(np.sum((net.predict(X)[:, 0] > 0.5) == XOR))


def line_exists(truth: Any, x: np.ndarray = X) -> bool:
    """Whether weights w, b exist with s (w x + b) >= 1 for all examples, s = 1 for yes and -1 for no."""
    from scipy.optimize import linprog

    rows = np.where(truth, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    return bool(linprog(np.zeros(3), A_ub=-rows, b_ub=-np.ones(len(x)), bounds=(None, None)).status == 0)


def draw(by_hand: dr.Network, learnt: dr.Network) -> Any:
    """Both networks' regions side by side."""
    fig, axes = dr.figures.panels(columns=2, width=4.2, height=3.7)
    for ax, net, title in zip(axes, (by_hand, learnt), ("perceptrons set by hand", "2-2-1 network, trained"), strict=True):
        dr.figures.decision_regions(net, X, XOR, ax=ax, features=["x1", "x2"], title=title)
    return fig
