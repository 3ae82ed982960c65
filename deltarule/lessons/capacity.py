"""A wider hidden layer can do more: the error on a wiggly function falls as the number of hidden units grows.

A network with one hidden layer can come as close as one likes to any continuous function on a closed interval, given enough units
(Cybenko 1989; Hornik, Stinchcombe and White 1989). The theorem says that good weights exist. How many units are needed, and whether
training finds the weights, is seen by trying: each unit is one smooth step, and every bend of the function costs some.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (21,)
EQUATIONS = ("f(x) = b2 + sum_j w2_j tanh(w1_j x + b1_j)      j = 1 ... units",)
PARTS = ("dr.Network.fit", "dr.Adam", "dr.CosineDecay", "dr.initializers.Uniform")

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
STARTS = (0, 2)                     # the better of two starts is shown
STEPS, RATE = 2000, 0.02
SPREAD = dr.initializers.Uniform(-10, 10)       # steep steps, anywhere on the interval


def teach(board: Board) -> None:
    """The same function, the same training, seven widths."""
    x = np.linspace(-1, 1, 100)[:, None]
    y = wiggly(x)
    nets = {width: fitted(x, y, width) for width in WIDTHS}
    errors = np.array([rms(net, x, y) for net in nets.values()])
    constant = float(np.std(y))
    board.say(f"A constant has the root mean square error {constant:.3f}. Trained networks of one hidden layer:")
    board.table(["hidden units", "parameters", "root mean square error"],
                [[width, 3 * width + 1, f"{error:.4f}"] for width, error in zip(WIDTHS, errors, strict=True)])
    board.number("four times as many units always do better", bool((errors[2:] < errors[:-2]).all()), equals(True))
    board.number("error with 64 units, relative to a constant", float(errors[-1] / constant), at_most(0.05))
    board.number("error with one unit, relative to a constant", float(errors[0] / constant), at_least(0.5))
    slope = np.polyfit(np.log(WIDTHS), np.log(errors), 1)[0]
    board.number("slope of log error over log width", float(slope), at_most(-0.7))
    board.figure("error", _error(errors, constant), "error against width, both axes logarithmic")
    board.figure("fits", _fits(nets, x, y), "what 4, 8 and 64 units make of the function")


def wiggly(x: np.ndarray) -> np.ndarray:
    """Two waves on top of each other, about ten bends."""
    return np.sin(6 * x) + np.sin(15 * x) / 2


def fitted(x: np.ndarray, y: np.ndarray, width: int) -> dr.Network:
    """The better of two trained networks."""
    nets = []
    for seed in STARTS:
        net = dr.Network([dr.Dense(width, "tanh", weights=SPREAD, bias=SPREAD), dr.Dense(1)], input_shape=1, seed=seed)
        net.fit(x, y, loss="mse", optimizer=dr.Adam(dr.CosineDecay(RATE)), epochs=STEPS, batch_size=None, progress=False)
        nets.append(net)
    return min(nets, key=lambda net: rms(net, x, y))


def rms(net: dr.Network, x: np.ndarray, y: np.ndarray) -> float:
    """The root mean square error."""
    return float(np.sqrt(np.mean((net.predict(x) - y) ** 2)))


def _error(errors: np.ndarray, constant: float) -> object:
    fig, (ax,) = dr.figures.panels(width=5.0, height=3.3)
    ax.loglog(WIDTHS, errors, "o-", color=dr.figures.BLUE, markersize=6, label="trained network")
    ax.axhline(constant, color="0.4", linestyle="--", linewidth=1.2, label="best constant")
    ax.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    ax.minorticks_off()
    ax.set_xlabel("hidden units")
    ax.set_ylabel("root mean square error")
    ax.legend(frameon=False)
    return fig


def _fits(nets: dict[int, dr.Network], x: np.ndarray, y: np.ndarray) -> object:
    fig, axes = dr.figures.panels(columns=3, width=3.0, height=2.6)
    fine = np.linspace(-1, 1, 501)[:, None]
    for ax, width in zip(axes, (4, 8, 64), strict=True):
        ax.plot(x, y, ".", color="0.4", markersize=4, label="data")
        ax.plot(fine, nets[width].predict(fine), color=dr.figures.BLUE, linewidth=1.8, label="network")
        ax.set_title(f"{width} hidden units", fontsize=10)
        ax.set_xlabel("x")
    axes[0].set_ylabel("y")
    axes[0].legend(frameon=False, fontsize=8)
    return fig
