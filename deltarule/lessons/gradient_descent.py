"""Batch, mini-batch and stochastic gradient descent: the same data and the same work, three ways down.

An epoch is one pass over all examples. Batch descent looks at all of them before it takes one step, stochastic descent takes
a step after each, mini-batches lie between. The step after few examples goes only roughly downhill, but there are many more of them for
the same work. Far from the minimum that wins; near it the path of few examples keeps wandering.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (19,)
EQUATIONS = ("y_hat = w x + b      L = 1/n sum_i (y_hat_i - y_i)^2", "w <- w - (eta/m) sum_i dL_i/dw      over the m examples of a batch")
PARTS = ("dr.Network.fit", "dr.SGD", "dr.Record", "dr.figures.loss_surface", "dr.textbook.descend")

N, EPOCHS, ETA = 60, 40, 0.05
KINDS = {"batch": None, "mini-batch": 10, "stochastic": 1}      # how many examples make up one step


def teach(board: Board) -> None:
    """Three descents on the two parameters of one linear neuron, each recorded step by step."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(N, 1))
    y = 2 * x + 1 + rng.normal(scale=0.5, size=(N, 1))
    (w, b), (least,), *_ = np.linalg.lstsq(np.hstack([x, np.ones((N, 1))]), y[:, 0])
    least = least / N
    board.say(f"{N} points on a line with noise, eta = {ETA}, {EPOCHS} epochs. No line does better than w = {w:.3f}, b = {b:.3f}, with "
              f"the loss {least:.4f} (least squares, in closed form).")
    paths, extra = {}, {}
    for kind, size in KINDS.items():
        net = start()
        history = net.fit(x, y, loss="mse", optimizer=dr.SGD(ETA), epochs=EPOCHS, batch_size=size,
                          record=dr.Record(every=1, quantities=("weights",)), progress=False)
        paths[kind] = [*history.recording.params, net.params]
        extra[kind] = np.array(history["loss"]) - least
    updates = [(len(path) - 1) // EPOCHS for path in paths.values()]
    board.table(["examples a step", "updates an epoch", "above the least loss: epoch 1", f"epoch {EPOCHS}"],
                [[f"{size or N} ({kind})", count, f"{extra[kind][0]:.4f}", f"{extra[kind][-1]:.6f}"]
                 for (kind, size), count in zip(KINDS.items(), updates, strict=True)])
    board.number("updates an epoch", updates, equals([1, 6, 60]))
    board.number("loss above the least after equal work, batch against mini-batch", extra["batch"][-1] / extra["mini-batch"][-1],
                 at_least(10.0))
    board.number("batch descent: every epoch lowers the loss", bool((np.diff(extra["batch"]) < 0).all()), equals(True))

    exact = dr.textbook.descend(gradient, {"w": np.zeros(1), "b": np.zeros(1)}, x[:, 0], y[:, 0], eta=ETA, epochs=EPOCHS)
    difference = np.abs(points(paths["batch"]) - [[theta["w"][0], theta["b"][0]] for theta in exact.path]).max()
    board.number("batch path beside the textbook's, largest difference", float(difference), at_most(1e-10))

    spread = {kind: float(points(paths[kind])[-5 * updates[i]:].std(axis=0).max()) for i, kind in enumerate(KINDS)}
    board.say("In the last five epochs the descents on few examples no longer get anywhere: they wander around the minimum, single "
              f"examples by {spread['stochastic']:.4f}, mini-batches of 10 by {spread['mini-batch']:.4f} (standard deviation of w or b).")
    board.number("single examples wander more than mini-batches, times", spread["stochastic"] / spread["mini-batch"], at_least(2.0))
    board.figure("paths", _paths(x, y, paths), f"the loss over w and b and the three descents of {EPOCHS} epochs: few straight steps, more "
                 "steps, many erratic ones")
    board.figure("curves", _curves(extra), "how far the loss is above the least one, after the same number of examples looked at")


def start() -> dr.Network:
    """A linear neuron with w = b = 0."""
    return dr.Network(dr.Dense(1, weights="zeros"), input_shape=1, seed=0, dtype="float64")


def points(path: list[dict[str, np.ndarray]]) -> np.ndarray:
    """(w, b) of every step: (steps, 2)."""
    return np.array([[theta["weights"][0, 0], theta["bias"][0]] for theta in path])


def gradient(theta: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """dL/dw and dL/db of the mean squared error, by hand."""
    e = theta["w"] * x + theta["b"] - y
    return {"w": np.array([np.mean(2 * e * x)]), "b": np.array([np.mean(2 * e)])}


def _paths(x: np.ndarray, y: np.ndarray, paths: dict[str, list[dict[str, np.ndarray]]]) -> object:
    fig, axes = dr.figures.panels(columns=3, width=3.0, height=3.0)
    for ax, (kind, path) in zip(axes, paths.items(), strict=True):
        dr.figures.loss_surface(start(), x, y, loss="mse", path=path, ax=ax)
        ax.set_title(f"{kind}: {len(path) - 1:,} steps", fontsize=10)
        ax.set_xlabel("w")
        ax.set_ylabel("b")
    return fig


def _curves(extra: dict[str, np.ndarray]) -> object:
    fig, (ax,) = dr.figures.panels(width=5.2, height=3.2)
    for (kind, curve), colour in zip(extra.items(), (dr.figures.BLUE, dr.figures.GREEN, dr.figures.RED), strict=True):
        ax.semilogy(range(1, EPOCHS + 1), curve, color=colour, marker="o", markersize=3, label=kind)
    ax.set_xlabel(f"epoch ({N} examples each)")
    ax.set_ylabel("loss above the least")
    ax.set_xticks(range(0, EPOCHS + 1, 10))
    ax.legend(frameon=False)
    return fig
