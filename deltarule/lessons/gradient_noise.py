"""The gradient of a mini-batch is the true gradient plus noise, which falls as 1/sqrt(m) with its size m.

A mini-batch of m examples drawn at random estimates the gradient over all n. Its error is that of a mean of m numbers:
sigma / sqrt(m), where sigma is how much the gradients of single examples differ. Four times the work halves the noise: this is why
small batches are good value.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, near

ROWS = (19,)
EQUATIONS = ("grad C = 1/n sum_x grad C_x      over all n examples", "grad C is about 1/m sum_x grad C_x      over a mini-batch of m",
             "noise(m) = rms |mini-batch gradient - grad C| = sigma / sqrt(m)      with replacement")
PARTS = ("dr.Network.trace", "dr.data.digits")

SIZES = 2 ** np.arange(11)      # m = 1, 2, 4, ..., 1024
DRAWS = 100                     # mini-batches of each size


def teach(board: Board) -> None:
    """The gradient of every digit from one trace, then the means of mini-batches drawn with replacement."""
    digits = dr.data.digits()
    x, y = np.asarray(digits.x[:1000], float), digits.y[:1000]
    net = dr.Network(dr.Dense(10, "softmax"), input_shape=64, seed=0, dtype="float64")
    layer = net.trace(x, y)[""]
    each = (layer.input[:, :, None] * layer.delta[:, None, :]).reshape(len(x), -1)      # dL_i/dW = x_i delta_i, one row an example
    full = each.mean(axis=0)
    board.say("1,000 digits, a softmax layer, 640 weights. The trace holds x and delta of each example, and so its own gradient x delta.")
    board.number("mean of the single gradients beside the gradient of the batch",
                 float(np.abs(full - gradient(layer)).max()), at_most(1e-12))

    rng = np.random.default_rng(0)
    noise = np.array([np.sqrt(np.mean([np.sum((each[rng.integers(0, len(x), m)].mean(axis=0) - full) ** 2) for _ in range(DRAWS)]))
                      for m in SIZES])
    sigma = np.sqrt(np.mean(np.sum((each - full) ** 2, axis=1)))
    length = float(np.linalg.norm(full))
    board.say(f"{DRAWS} mini-batches of each size, drawn with replacement; the length of the full gradient is {length:.3f}:")
    board.table(["m", "noise", "sigma / sqrt(m)"], [[m, f"{value:.4f}", f"{sigma / np.sqrt(m):.4f}"]
                                                    for m, value in zip(SIZES.tolist(), noise, strict=True)])
    slope = np.polyfit(np.log(SIZES), np.log(noise), 1)[0]
    board.number("slope of log noise over log m", float(slope), near(-0.5, 0.05))
    board.number("noise beside sigma / sqrt(m), largest relative difference", float(np.abs(noise * np.sqrt(SIZES) / sigma - 1).max()),
                 at_most(0.15))
    alone = gradient(net.trace(x[:16], y[:16])[""])
    board.number("one mini-batch of 16 traced alone beside the mean of its examples", float(np.abs(alone - each[:16].mean(axis=0)).max()),
                 at_most(1e-12))
    board.figure("noise", _figure(noise, sigma, length), "measured noise (dots) on the line sigma / sqrt(m), both axes logarithmic; to the "
                 "right of where it crosses the length of the full gradient, the gradient outweighs its noise")


def gradient(layer: Any) -> np.ndarray:
    """The gradient of the mean loss, all weights in one row."""
    return layer.gradients["weights"].reshape(-1)


def _figure(noise: np.ndarray, sigma: float, length: float) -> object:
    fig, (ax,) = dr.figures.panels(width=5.2, height=3.4)
    ax.loglog(SIZES, sigma / np.sqrt(SIZES), color=dr.figures.BLUE, linewidth=1.6, label="sigma / sqrt(m)")
    ax.loglog(SIZES, noise, "o", color=dr.figures.RED, markersize=6, label="measured")
    ax.axhline(length, color="0.4", linestyle="--", linewidth=1.2, label="length of the full gradient")
    ax.set_xticks(SIZES[::2], [f"{m:,}" for m in SIZES[::2]])
    ax.minorticks_off()
    ax.set_xlabel("examples in a mini-batch, m")
    ax.set_ylabel("noise of the gradient")
    ax.legend(frameon=False)
    return fig
