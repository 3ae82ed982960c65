"""A layer bends space: what no line separates at the input, a line separates in the last hidden layer.

A dense layer turns, stretches and shifts the plane, and tanh then squeezes it, smoothly and without tearing. The last layer can only draw
a line. So all that the hidden layers do is to bend the plane until a line is enough (Olah 2014). Here every hidden layer has
two units: the bent plane can be drawn as it is.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (22,)
EQUATIONS = ("h^l = tanh(h^(l-1) W^l + b^l)      two numbers in, two numbers out",
             "separable: some w, b with s_i (w h_i + b) >= 1 for all i, s_i = +1 or -1")
PARTS = ("dr.figures.bending", "dr.Network.trace", "dr.Dense")


def teach(board: Board) -> None:
    """Two curves need one bent layer; a spiral, wound around itself, takes three."""
    study(board, "two curves", *two_curves(), hidden=1, seed=0)
    board.say("")
    study(board, "spiral", *spiral(), hidden=3, seed=0)


def study(board: Board, name: str, x: np.ndarray, y: np.ndarray, hidden: int, seed: int) -> None:
    """Train a network of two-unit layers, then ask before and after the hidden layers whether a line is enough."""
    net = dr.Network([*[dr.Dense(2, "tanh")] * hidden, dr.Dense(1, "sigmoid")], input_shape=2, seed=seed)
    net.fit(x, y[:, None], optimizer=dr.Adam(0.03), epochs=3000, batch_size=None, monitor="loss", goal=0.05, progress=False)
    trace = net.trace(x)
    places = {"input": x} | {path: trace[path].activation for path in trace.layers[:-1]}
    layers = "one hidden layer" if hidden == 1 else f"{hidden} hidden layers"
    board.say(f"{name}: {layers} of two units. The best line through each plane (logistic regression):")
    board.table(["plane", "right side of the line", "separable by a line"],
                [[place, f"{accuracy(h, y):.1%}", separable(h, y)] for place, h in places.items()])
    last = trace.layers[-2]
    board.number(f"{name}: separable at the input", separable(x, y), equals(False))
    board.number(f"{name}: separable in {last}", separable(places[last], y), equals(True))
    board.number(f"{name}: accuracy of a line at the input", accuracy(x, y), at_most(0.9))
    board.number(f"{name}: accuracy of a line in {last}", accuracy(places[last], y), equals(1.0))
    fig = dr.figures.bending(net, x, y.astype(int), most=hidden)
    fig.set_size_inches(min(9.0, 3.2 * (1 + hidden)), 3.3 if hidden == 1 else 2.4)
    board.figure(name.replace(" ", "-"), fig, f"{name}: the plane, its grid and the points, before the first layer and after each")


def two_curves() -> tuple[np.ndarray, np.ndarray]:
    """Two parabolas, one above the other: 100 points each, x (200, 2), y (200,)."""
    t = np.linspace(-1, 1, 100)
    low = np.stack([t, 0.8 * t**2 - 0.45], axis=1)
    return np.concatenate([low, low + np.array([0, 0.45])]), np.repeat([0.0, 1.0], 100)


def spiral() -> tuple[np.ndarray, np.ndarray]:
    """Two arms of one turn each: 60 points each, x (120, 2), y (120,)."""
    t = np.linspace(0.2, 1, 60)
    arm = 2 * t[:, None] * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], axis=1)
    return np.concatenate([arm, -arm]), np.repeat([0.0, 1.0], 60)


def accuracy(h: np.ndarray, y: np.ndarray) -> float:
    """The share of points on the right side of the line that logistic regression finds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    line = make_pipeline(StandardScaler(), LogisticRegression(C=1e4, max_iter=10_000))
    return float(line.fit(h, y).score(h, y))


def separable(h: np.ndarray, y: np.ndarray) -> bool:
    """Whether some line has each class on its own side: whether a linear program has a solution (no training involved)."""
    from scipy.optimize import linprog

    signs = np.where(y > 0.5, 1.0, -1.0)[:, None]
    conditions = -signs * np.hstack([h, np.ones((len(h), 1))])        # -s (w h + b) <= -1
    return bool(linprog(np.zeros(3), A_ub=conditions, b_ub=-np.ones(len(h)), bounds=(None, None)).status == 0)
