"""Adaline learns by the delta rule, and the learning rate decides whether it arrives.

A linear neuron, y_hat = w x + b, has a smooth loss, the mean squared error. Gradient descent goes down its slope in steps of the
learning rate eta. Too small a rate takes for ever, a good one arrives, and beyond a sharp limit every step overshoots by more than
the last. The limit is 2 / lambda_max, where lambda_max is the largest curvature of the loss.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (4,)
EQUATIONS = ("y_hat = w x + b,   L(w, b) = 1/n sum_i (y_i - y_hat_i)^2", "w <- w - eta dL/dw,   b <- b - eta dL/db",
             "H = 2/n sum_i (x_i, 1)^T (x_i, 1),   eta < 2 / lambda_max(H)")
PARTS = ("dr.Dense", "dr.SGD", "dr.Network.fit", "dr.losses.SquaredError", "dr.textbook.adaline", "dr.figures.decision_regions")

EPOCHS = 80
NAMES = "too small", "good", "diverging"


def teach(board: Board) -> None:
    """Iris by the delta rule at three rates; then the limit of the rate, from the curvature and by search."""
    x, y = flowers()
    limit = 2 / curvature(x)
    board.say("A hundred iris flowers, setosa (-1) and versicolor (1), by the lengths of sepal and petal, standardized. The "
              "neuron starts at zero and sees all flowers in every step.")
    board.number("lambda_max, the largest eigenvalue of H", curvature(x), near(2 + 2 * np.corrcoef(x.T)[0, 1], 1e-9))
    board.say("(For two standardized inputs it is 2 + 2 r, where r is their correlation.) The limit of the rate is "
              f"therefore 2 / lambda_max = {limit:.4f}. Three rates, {EPOCHS} epochs each, by the network and by the "
              "textbook:")
    rates = dict(zip(NAMES, (limit / 400, limit / 2, 1.03 * limit), strict=True))
    nets, curves = {}, {}
    for name, eta in rates.items():
        nets[name], curves[name] = trained(x, y, eta)
    runs = {name: dr.textbook.adaline(x, y, eta, EPOCHS) for name, eta in rates.items()}
    right = {name: float(np.mean(np.sign(net.predict(x)[:, 0]) == y)) for name, net in nets.items()}
    foretold = {name: closed_form(x, y, eta) for name, eta in rates.items()}
    board.table(["rate", "eta", "loss at the start", f"after {EPOCHS} epochs", "foretold", "flowers right"],
                [[name, rates[name], runs[name].losses[0], curves[name][-1], foretold[name], f"{right[name]:.0%}"] for name in NAMES])
    board.say("The loss is foretold by taking it apart along the eigenvectors of H: along each of them an epoch multiplies "
              "the distance from the minimum by 1 - eta lambda. Above the limit that factor is below -1 for the largest "
              "lambda.")
    board.number("losses differ from the foretold, relatively, by", max(abs(curves[name][-1] / foretold[name] - 1) for name in NAMES),
                 at_most(1e-9))
    apart = max(float(np.abs(weights(nets[name]) - np.append(runs[name].w, runs[name].b)).max()) for name in NAMES)
    board.number("network and textbook differ by", apart, at_most(1e-10))
    best, least = least_squares(x, y)
    board.number("good rate: distance from the least-squares solution", float(np.abs(weights(nets["good"]) - best).max()), at_most(1e-3))
    board.number("good rate: share of flowers right", right["good"], equals(1.0))
    left = (curves["too small"][-1] - least) / (1 - least)
    board.number("too small a rate: share of the way that is left", left, at_least(1 / 3))
    grown = curves["diverging"][-1] / runs["diverging"].losses[0]
    board.number("diverging rate: loss at the end over loss at the start", grown, at_least(100))
    find_limit(board, x, y, limit)
    board.figure("rates", draw(x, y, nets["good"], curves, limit), "left: the loss at three rates; middle: the loss after 30 "
                 "epochs over the rate, with the limit; right: the neuron learnt at the good rate")


def find_limit(board: Board, x: np.ndarray, y: np.ndarray, limit: float) -> None:
    """The limit by halving an interval: does the loss still grow after 100 epochs?"""
    board.say("The limit again, without any eigenvalue: halve the interval between a rate that works and one that does not. "
              "A rate does not work when the loss is still growing after 100 epochs.")
    low, high = 0.1, 2.0
    while high - low > 1e-8:
        middle = (low + high) / 2
        losses = dr.textbook.adaline(x, y, middle, 100).losses
        low, high = (low, middle) if losses[-1] > losses[-2] + 1e-12 else (middle, high)
    board.number("the limit found by search", low, near(limit, 1e-6))
    board.say("The factor before the sum counts. With the loss 1/(2n) sum (y - y_hat)^2 all curvatures are halved and the "
              "limit doubles: one and a half times the limit above is a good rate there.")
    _, halved = trained(x, y, 1.5 * limit, loss="quadratic")
    board.number("loss 1/(2n): 1.5 times the limit of the mean arrives at", halved[-1], near(least_squares(x, y)[1] / 2, 1e-6))


def flowers() -> tuple[np.ndarray, np.ndarray]:
    """Sepal and petal length of setosa and versicolor, each with mean 0 and deviation 1, and -1 or 1 for the species."""
    iris = dr.data.iris()
    x = np.asarray(iris.x, float)[:100, [0, 2]]
    return (x - x.mean(axis=0)) / x.std(axis=0), np.where(iris.y[:100] == 0, -1.0, 1.0)


def curvature(x: np.ndarray) -> float:
    """lambda_max of the second derivatives of the mean squared error."""
    extended = np.column_stack([x, np.ones(len(x))])
    return float(np.linalg.eigvalsh(2 / len(x) * extended.T @ extended)[-1])


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Where all roads should lead: w and b of the least mean squared error, and this error."""
    extended = np.column_stack([x, np.ones(len(x))])
    best = np.linalg.lstsq(extended, y)[0]
    return best, float(np.mean((y - extended @ best) ** 2))


def closed_form(x: np.ndarray, y: np.ndarray, eta: float) -> float:
    """least + sum_i lambda_i / 2 (z_i (1 - eta lambda_i)^epochs)^2, where z_i is the way to go along eigenvector i from w = b = 0."""
    extended = np.column_stack([x, np.ones(len(x))])
    lambdas, directions = np.linalg.eigh(2 / len(x) * extended.T @ extended)
    best, least = least_squares(x, y)
    z = directions.T @ best
    return least + float(np.sum(lambdas / 2 * (z * (1 - eta * lambdas) ** EPOCHS) ** 2))


def trained(x: np.ndarray, y: np.ndarray, eta: float, loss: str = "mean_squared_error") -> tuple[dr.Network, list[float]]:
    """A linear neuron after the epochs, and its loss after each."""
    net = dr.Network([dr.Dense(1, weights="zeros")], input_shape=2, dtype="float64")
    history = net.fit(x, y[:, None], loss=loss, optimizer=dr.SGD(eta), batch_size=None, epochs=EPOCHS, progress=False)
    return net, history["loss"]


def weights(net: dr.Network) -> np.ndarray:
    """w_1, w_2, b."""
    return np.append(net.params["dense_1"]["weights"][:, 0], net.params["dense_1"]["bias"])


def draw(x: np.ndarray, y: np.ndarray, net: dr.Network, curves: dict[str, list[float]], limit: float) -> Any:
    """Loss curves, loss against rate, decision line."""
    fig, (left, middle, right) = dr.figures.panels(columns=3, width=3.0, height=3.1)
    styles = (dr.figures.SKY, ":"), (dr.figures.BLUE, "-"), (dr.figures.RED, "--")
    for (name, curve), (colour, line) in zip(curves.items(), styles, strict=True):
        left.semilogy(range(1, EPOCHS + 1), curve, color=colour, linestyle=line, linewidth=1.8, label=name)
    left.set_xlabel("epoch")
    left.set_ylabel("mean squared error")
    left.legend(frameon=False, fontsize=9)
    rates = np.linspace(0.02, 1.12, 111) * limit
    middle.semilogy(rates, [dr.textbook.adaline(x, y, eta, 30).losses[-1] for eta in rates], color=dr.figures.BLUE, linewidth=1.8)
    middle.axvline(limit, color="0.3", linestyle="--", linewidth=1)
    middle.text(limit * 0.98, 20, "2 / lambda_max", rotation=90, ha="right", va="center", fontsize=9, color="0.3")
    middle.set_xlabel("learning rate eta")
    middle.set_ylabel("error after 30 epochs")
    dr.figures.decision_regions(net, x, y, ax=right, lines=False, names=["setosa", "versicolor"],
                                features=["sepal length (scaled)", "petal length (scaled)"])
    return fig
