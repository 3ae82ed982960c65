"""Why activations must be non-linear: a deep linear network is one matrix.

A layer without an activation function multiplies by a matrix and adds a vector. The product of matrices is a matrix again, so any
number of such layers does what one layer does, and its decision is a straight line. One bend, the ReLU, between the layers is enough
to tell the two moons apart.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (11,)
EQUATIONS = ("h1 = x W1 + b1,   h2 = h1 W2 + b2,   h3 = h2 W3 + b3",
             "h3 = x (W1 W2 W3) + ((b1 W2 + b2) W3 + b3) = x W + b")
PARTS = ("dr.Network", "dr.Dense", "dr.Network.fit", "dr.Network.predict", "dr.data.two_moons", "dr.figures.decision_regions")


def teach(board: Board) -> None:
    """A random linear network and its product; then the moons with linear layers, with ReLUs, and by logistic regression."""
    _one_matrix(board)
    _moons(board)


def _one_matrix(board: Board) -> None:
    rng = np.random.default_rng(0)
    deep = dr.Network([dr.Dense(7), dr.Dense(11), dr.Dense(5), dr.Dense(3)], input_shape=2, dtype="float64")
    deep.params = {path: {name: rng.normal(size=value.shape) for name, value in layer.items()} for path, layer in deep.params.items()}
    W, b = composed(deep)
    x = rng.normal(size=(100, 2))
    board.say(f"Four linear layers, 2 - 7 - 11 - 5 - 3, with random weights and biases: {deep.summary().parameters} parameters. Multiplied "
              f"out they are one matrix W of shape {W.shape} and one vector b: {W.size + b.size} parameters.")
    flat = dr.Network([dr.Dense(3)], input_shape=2, dtype="float64")
    flat.params = {"dense_1": {"weights": W, "bias": b}}
    board.number("deep minus one layer, largest", np.abs(deep.predict(x) - flat.predict(x)).max(), at_most(1e-10))
    four = (2 + 1) * 7 + (7 + 1) * 11 + (11 + 1) * 5 + (5 + 1) * 3
    board.number("parameters of the four layers", deep.summary().parameters, equals(four))
    board.number("parameters of the one", flat.summary().parameters, equals((2 + 1) * 3))


def _moons(board: Board) -> None:
    from sklearn.linear_model import LogisticRegression

    moons = dr.data.two_moons(200, noise=0.1)
    x, y = np.asarray(moons.x, np.float64), moons.y[:, None].astype(np.float64)
    board.say("The moons reach into each other: no straight line parts them. Two networks of the same size learn them, one with linear "
              "layers, one with ReLUs.")
    nets = {}
    for g in ("linear", "relu"):
        nets[g] = dr.Network([dr.Dense(16, g), dr.Dense(16, g), dr.Dense(1, "sigmoid")], input_shape=2, dtype="float64")
        nets[g].fit(x, y, optimizer=dr.SGD(0.1), epochs=200, batch_size=20, progress=False)
    right = {g: float(np.mean((net.predict(x) > 0.5) == y)) for g, net in nets.items()}
    line = LogisticRegression(C=np.inf).fit(x, moons.y).score(x, moons.y)
    board.table(["who", "accuracy"], [["16 - 16 - 1, linear", right["linear"]], ["16 - 16 - 1, ReLU", right["relu"]],
                                      ["logistic regression (scikit-learn), no hidden layer", line]])
    W, b = composed(nets["linear"])
    probabilities = dr.textbook.sigmoid(x @ W + b)
    board.number("trained linear network minus its product", np.abs(nets["linear"].predict(x) - probabilities).max(), at_most(1e-10))
    board.number("accuracy, linear", right["linear"], near(line, 0.02))
    board.number("the linear network fails", right["linear"] < 0.92, equals(True))
    board.number("accuracy, ReLU", right["relu"], at_least(0.99))
    board.say("Depth has bought the linear network nothing: it decides like logistic regression, which has no hidden layer at all.")
    fig, axes = dr.figures.panels(columns=2, width=4.3, height=3.6)
    for ax, (g, net) in zip(axes, nets.items(), strict=True):
        dr.figures.decision_regions(net, x, moons.y, lines=False, ax=ax, title=f"16 - 16 - 1, {g}: {right[g]:.1%} right")
    board.figure("moons", fig, "the decision of the deep linear network is a straight line, that of the ReLU network a bent one")


def composed(net: dr.Network) -> tuple[np.ndarray, np.ndarray]:
    """The one matrix and the one bias of a chain of linear layers."""
    inputs = net.input_shape[0]
    W, b = np.eye(inputs), np.zeros(inputs)
    for layer in net.params.values():
        W, b = W @ layer["weights"], b @ layer["weights"] + layer["bias"]
    return W, b
