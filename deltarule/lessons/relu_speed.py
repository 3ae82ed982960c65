"""ReLU learns faster than tanh and sigmoid in deep networks.

LeCun, Bengio and Hinton (2015) write that in networks with many layers the ReLU typically learns much faster than tanh or the sigmoid.
Here one network of six hidden layers is trained on handwritten digits until its loss is 0.1, with each of the three, from five
different first weights and with two learning rates, and the epochs are counted.
"""

from typing import NamedTuple

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least

ROWS = (13,)
EQUATIONS = ("epochs until L = - 1/n sum_i ln y_hat(true class of i) <= 0.1",)
PARTS = ("dr.Network.fit", "dr.Dense", "dr.Adam", "dr.History", "dr.data.digits")

ACTIVATIONS = ("relu", "tanh", "sigmoid")
RATES, SEEDS = (0.001, 0.01), 5
LEADS = (1.25, 1.0)         # of ReLU over tanh that is expected at each rate
LAYERS, UNITS = 6, 30
GOAL, MOST = 0.1, 60        # the loss to reach, and the epochs after which it is given up


class Race(NamedTuple):
    """Epochs to the goal of each seed, MOST + 1 where it was not reached, and the loss curve of the first seed."""

    epochs: list[int]
    curve: list[float]


def teach(board: Board) -> None:
    """Epochs to the same loss for three activations and two learning rates."""
    digits = dr.data.digits().subset(range(400))
    x, y = np.asarray(digits.x) - 0.5, digits.y
    board.say(f"{len(y)} digits, {LAYERS} hidden layers of {UNITS} units, Adam, batches of 25. The first weights are those that suit each "
              f"activation. Beyond {MOST} epochs the run is given up.")
    races = {(g, rate): _race(g, rate, x, y) for rate in RATES for g in ACTIVATIONS}
    board.table(["activation", "learning rate", f"epochs, seeds 0 to {SEEDS - 1}", "median"],
                [[g, rate, ", ".join(_count(n) for n in race.epochs), _count(_median(race))] for (g, rate), race in races.items()])
    median = {key: _median(race) for key, race in races.items()}
    for rate, lead in zip(RATES, LEADS, strict=True):
        relu, tanh, sigmoid = (median[g, rate] for g in ACTIVATIONS)
        board.number(f"rate {rate:g}, tanh over ReLU", tanh / relu, at_least(lead))
        board.number(f"rate {rate:g}, sigmoid over tanh", sigmoid / tanh, at_least(2.0))
        board.number(f"rate {rate:g}, sigmoid over ReLU", sigmoid / relu, at_least(3.0))
    board.say("The sigmoid is far behind at both rates: its errors vanish on their way back. At the small rate ReLU is clearly ahead of "
              "tanh too; at the large rate the two are about equal, for these first weights keep tanh in its middle. How much faster ReLU "
              "is depends on the network and its start.")
    board.figure("curves", _figure(races), "the loss over the epochs, first weights of seed 0, at a small and at a ten times larger rate")


def _race(g: str, rate: float, x: np.ndarray, y: np.ndarray) -> Race:
    epochs, curves = [], []
    for seed in range(SEEDS):
        net = dr.Network([*[dr.Dense(UNITS, g) for _ in range(LAYERS)], dr.Dense(10, "softmax")], input_shape=64, seed=seed)
        history = net.fit(x, y, optimizer=dr.Adam(rate), epochs=MOST, batch_size=25, monitor="loss", goal=GOAL, progress=False)
        epochs.append(len(history.epochs) if history["loss"][-1] <= GOAL else MOST + 1)
        curves.append(history["loss"])
    return Race(epochs, curves[0])


def _median(race: Race) -> int:
    return int(np.median(race.epochs))


def _count(epochs: int) -> str:
    return f"over {MOST}" if epochs > MOST else str(epochs)


def _figure(races: dict[tuple[str, float], Race]) -> object:
    fig, axes = dr.figures.panels(columns=2, width=4.2, height=3.4)
    for ax, rate in zip(axes, RATES, strict=True):
        for g, colour, style in zip(ACTIVATIONS, (dr.figures.BLUE, dr.figures.GREEN, dr.figures.RED), ("-", "--", "-."), strict=True):
            curve = races[g, rate].curve
            ax.semilogy(range(1, len(curve) + 1), curve, color=colour, linestyle=style, label=g)
        ax.axhline(GOAL, color="0.4", linestyle=":", linewidth=1)
        ax.set_title(f"Adam, learning rate {rate:g}", fontsize=10)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss on the training rows")
        ax.set_xlim(0, MOST)
        ax.set_ylim(0.03, 4)
        ax.set_yticks([0.1, 1.0], ["0.1", "1"])
    axes[0].legend(frameon=False, fontsize=9)
    return fig
