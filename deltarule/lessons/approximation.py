"""Three hidden tanh units and a linear output fit four different functions, and each unit can be seen doing its part.

The network is told 50 points of x^2, sin x, |x| or the Heaviside step, and nothing about where they come from. Its output is a sum of
three shifted, stretched and scaled tanh curves. Smooth functions come out almost exactly; |x| has a kink, which smooth units
can only round off; a step is a tanh of enormous slope. The gradient also vanishes at
places where the fit is bad, so several starts are tried and the best is kept.
"""

from collections.abc import Callable

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most

ROWS = (20,)
EQUATIONS = ("h_j = tanh(w_j x + b_j)      j = 1, 2, 3", "y_hat = sum_j v_j h_j + c")
PARTS = ("dr.Network.fit", "dr.LBFGS", "dr.figures.fit_with_units")

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x^2": np.square, "sin x": np.sin, "|x|": np.abs, "Heaviside": lambda x: np.heaviside(x, 1.0)}
LARGEST = {"x^2": 0.001, "sin x": 0.001, "|x|": 0.02, "Heaviside": 0.001}      # the root mean square error that is allowed
STARTS, STEPS, ENOUGH = (3, 4, 5), 2000, 1e-14                                  # stop at a mean square error of 1e-14


def teach(board: Board) -> None:
    """Four functions, three starts each, trained with L-BFGS in float64."""
    x = np.linspace(-1, 1, 50)[:, None]
    best, rows = {}, []
    board.say("50 points from -1 to 1, a network of 10 parameters, L-BFGS. Root mean square error from each start:")
    for name, function in FUNCTIONS.items():
        nets = [fitted(x, function(x), seed) for seed in STARTS]
        errors = [rms(net, x, function(x)) for net in nets]
        best[name] = nets[int(np.argmin(errors))]
        rows.append([name, *(f"{error:.1e}" for error in errors)])
    board.table(["function", *(f"start {seed}" for seed in STARTS)], rows)
    board.say("Some starts get stuck on a saddle: the hidden weights have become zero, the gradient too. The best of the three is "
              "kept. (Bishop 2006, figure 5.3, shows the same four functions.)")
    for name, function in FUNCTIONS.items():
        board.number(f"root mean square error of {name}", rms(best[name], x, function(x)), at_most(LARGEST[name]))
    board.figure("fits", _figure(best, x), "data, the network's curve, and the three hidden units it is made of (dashed)")


def fitted(x: np.ndarray, y: np.ndarray, seed: int) -> dr.Network:
    """A network of three hidden units, trained from the start with this seed."""
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], input_shape=1, seed=seed, dtype="float64")
    net.fit(x, y, loss="mse", optimizer=dr.LBFGS(), epochs=STEPS, batch_size=None, monitor="loss", goal=ENOUGH, progress=False)
    return net


def rms(net: dr.Network, x: np.ndarray, y: np.ndarray) -> float:
    """The root mean square error."""
    return float(np.sqrt(np.mean((net.predict(x) - y) ** 2)))


def _figure(best: dict[str, dr.Network], x: np.ndarray) -> object:
    fig, axes = dr.figures.panels(columns=2, rows=2, width=4.2, height=2.9)
    for ax, (name, net) in zip(axes, best.items(), strict=True):
        dr.figures.fit_with_units(net, x, FUNCTIONS[name](x), ax=ax, title=f"{name}: error {rms(net, x, FUNCTIONS[name](x)):.1e}")
    return fig
