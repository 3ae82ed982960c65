"""Overfitting: a network with more parameters than data learns the noise too, and only rows it never saw can tell.

With a few noisy points and a wide network the training loss falls towards zero. The loss on validation rows falls at first, then rises:
what is learnt from there on is noise. Early stopping keeps the weights of the best validation epoch and stops when there was
no better one for a while. The choice used the validation rows, so a third set, the test rows, has the last word.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (23,)
EQUATIONS = ("gap = validation loss - training loss", "early stopping: keep the weights of the epoch with the least validation loss")
PARTS = ("dr.Network.fit", "dr.History", "dr.figures.learning_curves")

POINTS, EPOCHS, PATIENCE, NOISE = 12, 2000, 100, 0.3
SPREAD = dr.initializers.Uniform(-6, 6)
LAYERS = [dr.Dense(100, "tanh", weights=SPREAD, bias=SPREAD), dr.Dense(1)]


def teach(board: Board) -> None:
    """The same network from the same start: trained to the end, and stopped early."""
    train, validation, test = rows(POINTS, seed=0), rows(100, seed=1), rows(1000, seed=2)
    nets, histories = {}, {}
    for name, patience, keep in (("to the end", None, "last"), ("stopped early", PATIENCE, "best")):
        nets[name] = dr.Network(LAYERS, input_shape=1, seed=0)
        histories[name] = nets[name].fit(*train, loss="mse", optimizer=dr.Adam(0.005), epochs=EPOCHS, batch_size=None,
                                         validation=validation, patience=patience, keep=keep, progress=False)
    board.say(f"{POINTS} points of sin 4x with noise, a network of 301 parameters. The noise alone costs a loss of {NOISE**2:.2f}.")
    losses = {name: [net.evaluate(*data)["loss"] for data in (train, validation, test)] for name, net in nets.items()}
    board.table(["training", "epochs", "weights of", "training loss", "validation loss", "test loss", "gap"],
                [[name, len(histories[name].epochs), f"epoch {histories[name].kept_epoch}", *(f"{loss:.4f}" for loss in losses[name]),
                  f"{losses[name][1] - losses[name][0]:.4f}"] for name in nets])
    whole, early = histories["to the end"], histories["stopped early"]
    gap = np.array(whole["val_loss"]) - np.array(whole["loss"])
    board.say("Trained to the end the network goes through every point, and the gap keeps growing:")
    board.number("training loss at the end, relative to the noise", losses["to the end"][0] / NOISE**2, at_most(0.1))
    board.number("gap at the end, relative to the gap at the best epoch", float(gap[-1] / gap[np.argmin(whole["val_loss"])]), at_least(2.0))
    board.number("validation loss at the end, relative to the least", whole["val_loss"][-1] / min(whole["val_loss"]), at_least(2.0))
    board.say(f"Early stopping with a patience of {PATIENCE} epochs; the history says: {early.summary}.")
    board.number("why training ended", early.stopped, equals("early"))
    board.number("kept epoch is that of the least validation loss", early.kept_epoch, equals(int(np.argmin(whole["val_loss"])) + 1))
    board.number("the network holds those weights: difference of its loss", abs(losses["stopped early"][1] - min(early["val_loss"])),
                 at_most(1e-6))
    board.number("test loss without early stopping, relative to with", losses["to the end"][2] / losses["stopped early"][2], at_least(2.0))
    board.figure("curves", _curves(whole, early), "both losses over the epochs: the training loss falls on, the validation loss turns")
    board.figure("fits", _fits(nets, train), "the two networks: early stopping keeps the smooth curve")


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n points of sin 4x with noise: x (n, 1), y (n, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 1))
    return x, np.sin(4 * x) + rng.normal(scale=NOISE, size=(n, 1))


def _curves(whole: dr.History, early: dr.History) -> object:
    fig, (ax,) = dr.figures.panels(width=5.6, height=3.4)
    ax.loglog(whole.epochs, whole["loss"], color=dr.figures.BLUE, linewidth=1.6, label="training")
    ax.loglog(whole.epochs, whole["val_loss"], color=dr.figures.ORANGE, linewidth=1.6, label="validation")
    ax.axhline(NOISE**2, color="0.5", linewidth=1, linestyle="--", label="noise of the data")
    ax.axvline(early.kept_epoch, color="0.3", linewidth=1, linestyle=":")
    ax.text(early.kept_epoch * 1.06, 0.97, f"kept: {early.kept_epoch}", transform=ax.get_xaxis_transform(), va="top", fontsize=8)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss (mean squared error)")
    ax.legend(frameon=False, loc="lower left")
    return fig


def _fits(nets: dict[str, dr.Network], train: tuple[np.ndarray, np.ndarray]) -> object:
    fig, axes = dr.figures.panels(columns=2, width=4.0, height=3.0)
    fine = np.linspace(-1, 1, 401)[:, None]
    for ax, (name, net) in zip(axes, nets.items(), strict=True):
        ax.plot(fine, np.sin(4 * fine), color="0.5", linestyle="--", linewidth=1.2, label="sin 4x")
        ax.plot(fine, net.predict(fine), color=dr.figures.BLUE, linewidth=1.8, label="network")
        ax.plot(*train, "o", color="0.15", markersize=5, label="training data")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("x")
        ax.set_ylim(-2.2, 2.2)
    axes[0].set_ylabel("y")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return fig
