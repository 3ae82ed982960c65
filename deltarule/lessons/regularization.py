"""What helps against overfitting: L1, L2, dropout, batch normalization and augmentation, side by side.

Each makes it harder to learn the training rows by heart. L1 and L2 charge for large weights; dropout silences units at random; batch
normalization rescales every unit by the mean and spread of its batch, which is chiefly a help to speed; augmentation shows every digit
shifted anew in each epoch, so that there is nothing fixed to learn by heart. The gap between the losses tells how well it worked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most

ROWS = (23,)
EQUATIONS = ("gap = validation loss - training loss", "L1: L + l1 sum |w|      L2: L + l2/2 sum w^2",
             "dropout: h <- h m / (1 - p),  m = 0 with probability p",
             "batch normalization: a <- gamma (a - mean) / sqrt(variance + epsilon) + beta",
             "augmentation: x[i, j] <- x[i - s, j - t],  s and t drawn from -1, 0, 1 in every step")
PARTS = ("dr.Network.fit", "dr.Dropout", "dr.BatchNorm", "dr.Activation", "dr.augment.Shift", "dr.data.digits")

ROWS_TO_LEARN, BATCH, EPOCHS = 200, 25, 50
PLAIN = [dr.Dense(128, "relu"), dr.Dense(128, "relu"), dr.Dense(10, "softmax")]
DROPOUT = [dr.Dense(128, "relu"), dr.Dropout(0.5), dr.Dense(128, "relu"), dr.Dropout(0.5), dr.Dense(10, "softmax")]
BATCH_NORM = [dr.Dense(128, use_bias=False), dr.BatchNorm(), dr.Activation("relu"),
              dr.Dense(128, use_bias=False), dr.BatchNorm(), dr.Activation("relu"), dr.Dense(10, "softmax")]
HELPS: dict[str, tuple[Sequence[dr.Layer], dict[str, Any]]] = {
    "nothing": (PLAIN, {}), "L1, 0.001": (PLAIN, {"l1": 0.001}), "L2, 0.01": (PLAIN, {"l2": 0.01}), "dropout, 0.5": (DROPOUT, {}),
    "batch normalization": (BATCH_NORM, {}), "augmentation": (PLAIN, {"augment": dr.augment.Shift(1)})}


def teach(board: Board) -> None:
    """Six trainings of the same length on 200 digits, measured on 1,000 others."""
    x, y, validation = some_digits()
    losses, curves = {}, {}
    for name, (layers, options) in HELPS.items():
        net = dr.Network([dr.Flatten(), *layers], input_shape=(8, 8, 1), seed=0)
        history = net.fit(x, y, optimizer=dr.Adam(0.002), epochs=EPOCHS, batch_size=BATCH, validation=validation, patience=None,
                          keep="last", progress=False, **options)
        losses[name] = net.evaluate(x, y)["loss"], *net.evaluate(*validation).values()
        curves[name] = history
    gaps = {name: loss[1] - loss[0] for name, loss in losses.items()}
    board.say(f"{ROWS_TO_LEARN} digits, each shifted at random by up to one pixel; two hidden layers of 128 units; {EPOCHS} epochs. "
              "The losses are measured after training, without penalties and in predict mode:")
    board.table(["against overfitting", "training loss", "validation loss", "gap", "validation accuracy"],
                [[name, f"{train:.3f}", f"{held:.3f}", f"{gaps[name]:.3f}", f"{accuracy:.1%}"]
                 for name, (train, held, accuracy) in losses.items()])
    plain = gaps["nothing"]
    board.number("gap with nothing", plain, at_least(0.8))
    for name, most in (("L1, 0.001", 0.95), ("L2, 0.01", 0.9), ("dropout, 0.5", 0.9), ("augmentation", 0.6)):
        board.number(f"gap with {name}, relative to nothing", gaps[name] / plain, at_most(most))
    board.number("gap with batch normalization, relative to nothing", gaps["batch normalization"] / plain, at_most(1.0))
    board.say("Batch normalization does little for the gap. What it gives is speed; epochs until the training loss is below 0.1:")
    epochs = {name: int(np.argmax(np.array(curves[name]["loss"]) < 0.1)) + 1 for name in ("nothing", "batch normalization")}
    board.number("epochs without batch normalization, relative to with", epochs["nothing"] / epochs["batch normalization"],
                 at_least(1.2))
    board.say("The strongest help is more data, or what comes close to it: augmentation alone knows something about digits.")
    board.number("validation accuracy gained by augmentation", losses["augmentation"][2] - losses["nothing"][2], at_least(0.05))
    board.figure("gaps", _figure(losses, {name: history["val_loss"] for name, history in curves.items()}),
                 "left: the losses at the end, the gap between the dots; right: the validation loss over the epochs")


def some_digits() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """200 digits to learn from and 1,000 to validate, each shifted a little, as those of a camera would be."""
    digits = dr.data.digits()
    rng = np.random.default_rng(0)
    x, order = shifted(np.asarray(digits.x), rng), rng.permutation(len(digits.x))
    train, held = order[:ROWS_TO_LEARN], order[ROWS_TO_LEARN:ROWS_TO_LEARN + 1000]
    return x[train], digits.y[train], (x[held], digits.y[held])


def shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images (n, 64) as (n, 8, 8, 1), moved by -1, 0 or 1 pixels each way; what leaves the frame is lost."""
    wide = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(0, 3, size=(len(x), 2))
    return np.stack([image[i:i + 8, j:j + 8] for image, (i, j) in zip(wide, moves, strict=True)])[..., None]


def _figure(losses: dict[str, tuple[float, ...]], curves: dict[str, list[float]]) -> object:
    fig, (left, right) = dr.figures.panels(columns=2, width=4.5, height=3.2)
    places = np.arange(len(losses))[::-1]
    train, held = np.array([loss[:2] for loss in losses.values()]).T
    left.hlines(places, train, held, color="0.7", linewidth=3, zorder=1)
    left.plot(train, places, "o", color=dr.figures.BLUE, label="training")
    left.plot(held, places, "o", color=dr.figures.ORANGE, label="validation")
    left.set_yticks(places, list(losses))
    left.set_xlabel("loss at the end")
    left.set_xlim(-0.05, 1.1 * held.max())
    left.set_ylim(-0.5, len(losses) - 0.3)
    left.legend(frameon=False, fontsize=8, loc="lower right")
    colours = ("0.15", dr.figures.SKY, dr.figures.BLUE, dr.figures.GREEN, dr.figures.PURPLE, dr.figures.RED)
    for (name, curve), colour in zip(curves.items(), colours, strict=True):
        right.plot(range(1, EPOCHS + 1), curve, color=colour, linewidth=1.5, label=name)
    right.set_xlabel("epoch")
    right.set_ylabel("validation loss")
    right.set_ylim(0.5, 2.3)
    right.legend(frameon=False, fontsize=8)
    return fig
