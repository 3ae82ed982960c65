"""The adding problem: two numbers, far apart in a hundred, are to be added. LSTM and GRU solve it, a plain network does not.

A hundred random numbers pass by, two of them marked: one in the first half, one in the second. At the end their sum is wanted. Between
a marked number and the answer lie up to a hundred steps, over which a plain network's error fades to nothing, so that it learns only to
answer 1, the mean, with a squared error of 1/6. Gates can hold the sum meanwhile.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, near

ROWS = (38,)
EQUATIONS = ("x_t = (number from 0 to 1, marked or not),   t = 1 ... 100,   y = sum of the two marked numbers",
             "always answering 1:   E (1 - y)^2 = 2 / 12 = 1/6 = 0.1667")
PARTS = ("dr.data.adding", "dr.LSTM", "dr.GRU", "dr.SimpleRNN", "dr.Adam", "dr.OneCycle", "dr.figures.gates", "dr.figures.gradient_lag")

SEQUENCES, BATCH, EPOCHS, UNITS = 5000, 64, 20, 64
KINDS = {"LSTM": dr.LSTM, "GRU": dr.GRU, "plain": dr.SimpleRNN}
SOLVED, GOAL = 0.01, 0.003      # of the squared error: what is asked for; on the training sequences, where training stops


def teach(board: Board) -> None:
    """The same training for three kinds of units; how far back their errors reach; what the gates of the LSTM do at the marked steps."""
    train, test = dr.data.adding(SEQUENCES, seed=0), dr.data.adding(1000, seed=1)
    x, y, x_new, wanted = np.asarray(train.x), train.y[:, None], np.asarray(test.x), test.y[:, None]
    board.say(f"{SEQUENCES:,} sequences to learn from, {len(x_new):,} others to test; {UNITS} units and one output; "
              f"{-(-SEQUENCES // BATCH)} steps of {BATCH} sequences in an epoch, with a rate that would rise to 0.02 and fall again over "
              f"{EPOCHS} epochs, gradients clipped to length 1; training stops when the error on the training sequences is {GOAL}. Over "
              "five seeds the LSTM needed 8 to 13 epochs, the GRU 5 or 6; the plain network stayed at 0.16 with each of four.")
    board.number("squared error of always answering 1", float(np.mean((wanted - 1) ** 2)), near(1 / 6, 0.02))
    curves, traces = {}, {}
    for name, kind in KINDS.items():
        net = learner(kind, seed=0)
        history = train_it(net, x, y, validation=(x_new, wanted))
        error = net.evaluate(x_new, wanted)["loss"]
        curves[name], traces[name] = history["val_loss"], net.trace(x_new, wanted)
        board.number(f"{name}: squared error on new sequences", error, at_least(0.1) if name == "plain" else at_most(SOLVED))
    board.say("The plain network does not solve it at smaller rates either: with 0.001, 0.003 and 0.005 in place of 0.02 its error stayed "
              "at 0.158 to 0.160 over 12 epochs.")
    board.table(["epoch", *curves], [[epoch, *(f"{curve[epoch - 1]:.4f}" if epoch <= len(curve) else "" for curve in curves.values())]
                                     for epoch in range(1, EPOCHS + 1)])
    board.figure("learning", _learning(curves), f"squared error on new sequences by epoch; dotted: always answering 1; dashed: {SOLVED}")
    board.say("How far back an error reaches after training. The plain network has learnt nothing that would hold it:")
    lags = {name: trace.by_lag(trace.layers[0]) for name, trace in traces.items()}
    for name, norms in lags.items():
        board.number(f"{name}: left of the error after 50 steps", float(norms[50] / norms[0]),
                     at_most(0.01) if name == "plain" else at_least(0.05))
    board.figure("lag", dr.figures.gradient_lag(lags), "the size of dL/dh_t (LSTM: dL/dc_t) against the steps that the error has come back")
    _gates(board, traces["LSTM"], x_new, wanted)


def learner(kind: Any, seed: int) -> dr.Network:
    """64 units, whose last state is read by one linear output."""
    return dr.Network([kind(UNITS), dr.Dense(1)], (100, 2), seed=seed)


def train_it(net: dr.Network, x: np.ndarray, y: np.ndarray, **options: Any) -> dr.History:
    """The recipe, the same for all."""
    return net.fit(x, y, optimizer=dr.Adam(dr.OneCycle(0.02), clip_norm=1.0), epochs=EPOCHS, batch_size=BATCH, monitor="loss", goal=GOAL,
                   keep="last", patience=None, progress=False, **options)


def _gates(board: Board, trace: dr.Trace, x: np.ndarray, wanted: np.ndarray) -> None:
    """The cells move at the marked steps."""
    cell, marked = trace["lstm_1"].taps["cell"], x[:, :, 1] == 1
    change = np.abs(np.diff(cell, axis=1)).mean(axis=-1)                    # (n, 99), by the step that changed it
    at, between = float(change[marked[:, 1:]].mean()), float(change[~marked[:, 1:]].mean())
    board.say("The cells of the LSTM stay as they are while nothing is marked, and jump where something is:")
    board.number("change of a cell at a marked step, relative to that at others", at / between, at_least(3))
    correlation = np.abs(np.corrcoef(cell[:, -1], wanted, rowvar=False)[-1, :-1])
    board.number("cell that follows the sum best: correlation at the last step", float(correlation.max()), at_least(0.9))
    units = sorted(np.argsort(-correlation)[:3].tolist())
    board.figure("gates", dr.figures.gates(trace, "lstm_1", 0, units=units, marks=np.flatnonzero(marked[0]).tolist()),
                 "gates, candidate, cell and state of the three units whose cells follow the sum best, for one new sequence; dotted: the "
                 "marked steps")


def _learning(curves: dict[str, list[float]]) -> object:
    fig, (ax,) = dr.figures.panels(width=5.6, height=3.4)
    for (name, curve), colour, marker in zip(curves.items(), (dr.figures.BLUE, dr.figures.GREEN, dr.figures.RED), "os^", strict=True):
        ax.semilogy(np.arange(1, len(curve) + 1), curve, color=colour, marker=marker, markersize=5, label=name)
    ax.axhline(1 / 6, color="0.4", linestyle=":", linewidth=1)
    ax.axhline(SOLVED, color="0.4", linestyle="--", linewidth=1)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_ylabel("squared error, new sequences")
    ax.legend(frameon=False)
    return fig
