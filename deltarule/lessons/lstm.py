"""LSTM and GRU: gates decide what is written into a memory, what is kept and what is read.

A long short-term memory carries a cell beside its state. The cell is not multiplied by a matrix from step to step but by a forget gate of
its own, a number between 0 and 1: where that is 1, what was written stays, and the error comes back as it went. The gated recurrent unit
does the same with two gates and no cell. Layers of them are stacked, read sequences both ways, and take sequences of unequal length.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, near

ROWS = (38,)
EQUATIONS = ("LSTM:  i, f, o = sigmoid(x_t U + h_(t-1) W + b)    g = tanh(x_t U + h_(t-1) W + b)    weights of their own for each",
             "       c_t = f c_(t-1) + i g    h_t = o tanh(c_t)", "GRU:   r, z = sigmoid(x_t U + h_(t-1) W + b)",
             "       h~ = tanh(x_t U + b + r (h_(t-1) W + d))    h_t = z h_(t-1) + (1 - z) h~")
PARTS = ("dr.LSTM", "dr.GRU", "dr.Bidirectional", "dr.Masked", "dr.data.pad", "dr.figures.gates", "dr.figures.gradient_lag",
         "dr.textbook.lstm_forward", "dr.textbook.gru_forward")

LSTM_BY_HAND = {"i_0": 0.5, "f_0": 0.8808, "o_0": 0.7311, "g_0": 0.7616, "c_0": 1.2616, "h_0": 0.6225}
GRU_BY_HAND = {"r_0": 0.5, "z_0": 0.7311, "q_0": 1.0, "h~_0": 0.9051, "h_0": 0.6090}
T, MARKED = 40, 0.15        # steps, and the share of them that is marked


def teach(board: Board) -> None:
    """One step by hand; the textbook; what gates do to the gradient; a memory at work; both ways; unequal lengths."""
    _by_hand(board)
    _against_the_textbook(board)
    _gradient(board)
    _at_work(board)
    _both_ways(board)
    _unequal_lengths(board)


def _by_hand(board: Board) -> None:
    """One LSTM unit and one GRU unit, one step from a given past."""
    board.say("By hand, an LSTM of one unit: x = 1, before it h = 0 and c = 1. What comes to its gates: input 0, forget 2, output 1, "
              "candidate 1. So i = sigmoid 0 = 0.5, f = sigmoid 2 = 0.8808, o = sigmoid 1 = 0.7311, g = tanh 1 = 0.7616; c = 0.8808 x 1 + "
              "0.5 x 0.7616 = 1.2616 and h = 0.7311 tanh 1.2616 = 0.6225. And a GRU: x = 1, before it h = 0.5, r = 0.5, z = 0.7311, what "
              "the state says to the candidate q = 2 x 0.5 = 1: h~ = tanh 1.5 = 0.9051 and h = 0.7311 x 0.5 + 0.2689 x 0.9051 = 0.6090.")
    lstm = dr.Network([dr.LSTM(1, initial="learnt")], (1, 1), dtype="float64")
    lstm.params["lstm_1"] = {"weights": np.array([[0.0, 2.0, 1.0, 1.0]]), "recurrent": {"weights": np.zeros((1, 4))}, "bias": np.zeros(4),
                             "initial": np.zeros(1), "initial_cell": np.ones(1)}
    gru = dr.Network([dr.GRU(1, initial="learnt")], (1, 1), dtype="float64")
    gru.params["gru_1"] = {"weights": np.array([[0.0, 1.0, 1.0]]), "bias": np.zeros(3), "initial": np.array([0.5]),
                           "recurrent": {"weights": np.array([[0.0, 0.0, 2.0]]), "bias": np.zeros(1)}}
    for net, path, by_hand in ((lstm, "lstm_1", LSTM_BY_HAND), (gru, "gru_1", GRU_BY_HAND)):
        told = net.trace([[[1.0]]]).explain(path)
        board.equation(*str(told).splitlines())
        apart = max(abs(told[symbol] - value) for symbol, value in by_hand.items())
        board.number(f"{path}: largest difference from the numbers by hand", apart, at_most(1e-4))


def _against_the_textbook(board: Board) -> None:
    """Every gate of every step of three units."""
    x = np.random.default_rng(0).normal(size=(4, 6, 2))
    apart = {}
    for kind, gates, run_of in ((dr.LSTM, "ifog", _lstm), (dr.GRU, "rzh", _gru)):
        net = dr.Network(kind(3), (6, 2), seed=1, dtype="float64")
        seen = net.trace(x)[""]
        theta = {f"{name}_{gate}": part for name, values in (("U", net.params["weights"]), ("W", net.params["recurrent"]["weights"]),
                                                             ("b", net.params["bias"]))
                 for gate, part in zip(gates, np.split(values, len(gates), axis=-1), strict=True)}
        apart[kind.__name__] = max(float(np.abs(seen.taps[name] - values).max()) for name, values in run_of(theta, net, x).items())
    board.say("All gates, cells and states of three units over six steps, beside the textbook's equations in NumPy:")
    for name, value in apart.items():
        board.number(f"{name}, largest difference from the textbook", value, at_most(1e-12))


def _lstm(theta: dict[str, np.ndarray], net: dr.Network, x: np.ndarray) -> dict[str, np.ndarray]:
    run = dr.textbook.lstm_forward(theta, x)
    return {"input_gate": run.i, "forget_gate": run.f, "output_gate": run.o, "candidate": run.g, "cell": run.c, "state": run.h}


def _gru(theta: dict[str, np.ndarray], net: dr.Network, x: np.ndarray) -> dict[str, np.ndarray]:
    run = dr.textbook.gru_forward({**theta, "d_h": net.params["recurrent"]["bias"]}, x, reset_after=True)
    return {"reset_gate": run.r, "update_gate": run.z, "candidate": run.h_tilde, "state": run.h}


def _gradient(board: Board) -> None:
    """Forget gates that stand at sigmoid(1), (3) and (5): what is left of the error after 99 steps."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 100, 2)), rng.normal(size=(20, 1))
    curves, apart = {}, []
    for bias in (1.0, 3.0, 5.0):
        layer = dr.LSTM(16, forget_bias=bias, weights="zeros", recurrent_weights="zeros")
        net = dr.Network([layer, dr.Dense(1)], (100, 2), dtype="float64")
        norms = net.trace(x, y).by_lag("lstm_1")
        f = 1 / (1 + np.exp(-bias))
        curves[f"LSTM, f = {f:.3f}"] = norms
        apart.append(float(np.abs(norms / norms[0] / f ** np.arange(100) - 1).max()))
    plain = dr.Network([dr.SimpleRNN(16), dr.Dense(1)], (100, 2), dtype="float64").trace(x, y).by_lag("simple_rnn_1")
    board.say("The way back along the cell has no matrix in it: dL/dc_(t-1) = f dL/dc_t, and what comes through the gates besides. With "
              "the gates left alone (no weights, only the forget gate's bias) the error after k steps is f^k of what it was:")
    board.number("largest relative difference from f^lag", max(apart), at_most(1e-9))
    board.number("f = sigmoid 5: left after 99 steps, relative to that of a plain network", float(curves["LSTM, f = 0.993"][-1] / plain[-1]
                 * plain[0] / curves["LSTM, f = 0.993"][0]), at_least(1000))
    board.figure("lag", dr.figures.gradient_lag({**curves, "plain, tanh": plain}), "the size of dL/dc_t (plain: dL/dh_t) against the steps "
                 "that the error has come back")


def _at_work(board: Board) -> None:
    """Hold the number of the last marked step: when to write and when to keep must be learnt."""
    (x, y), (new, wanted) = _marked(2000, 0), _marked(500, 1)
    board.say(f"At work: {T} steps of random numbers, some of them marked; at every step the number of the last marked one is wanted. An "
              "LSTM of four units learns it:")
    net = dr.Network([dr.LSTM(4, return_sequences=True), dr.Dense(1)], (T, 2), seed=0)
    net.fit(x, y, optimizer=dr.Adam(dr.OneCycle(0.03), clip_norm=1.0), batch_size=50, epochs=10, progress=False)
    board.number("squared error, relative to the variance", net.evaluate(new, wanted)["loss"] / float(wanted.var()), at_most(0.02))
    trace = net.trace(new)
    forget, marked = trace["lstm_1"].taps["forget_gate"], new[:, :, 1] == 1
    board.say("Its forget gates close where a step is marked, to let the new number in, and open again to keep it:")
    board.number("forget gate, mean over the marked steps", float(forget[marked].mean()), at_most(0.35))
    board.number("forget gate, mean over the others", float(forget[~marked].mean()), at_least(0.5))
    board.figure("gates", dr.figures.gates(trace, "lstm_1", 0, marks=np.flatnonzero(marked[0]).tolist()),
                 "gates, candidate, cell and state of the four units for one new sequence; dotted: the marked steps")


def _marked(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x (n, T, 2), a number and whether it is marked (the first always is), and the number of the last marked step (n, T, 1)."""
    rng = np.random.default_rng(seed)
    value, marked = rng.uniform(-1, 1, (n, T)), rng.uniform(size=(n, T)) < MARKED
    marked[:, 0] = True
    last = np.maximum.accumulate(np.where(marked, np.arange(T), 0), axis=1)
    return np.stack([value, marked], axis=-1).astype("float32"), np.take_along_axis(value, last, axis=1)[..., None].astype("float32")


def _both_ways(board: Board) -> None:
    """The mean of the step before and the step after: who reads one way cannot know the second."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (2500, 20, 1)).astype("float32")
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    y = (padded[:, :-2] + padded[:, 2:]) / 2
    floor = 19 / 20 / 12
    board.say("Both ways: wanted is the mean of the step before and the step after. Who reads from left to right does not know the latter: "
              f"its squared error cannot fall below a quarter of the variance 1/3, at 19 of 20 steps, {floor:.4f}. Two layers, stacked:")
    for name, wrap in (("one way", lambda layer: layer), ("both ways", dr.Bidirectional)):
        layers: list[Any] = [wrap(dr.GRU(8, return_sequences=True)) for _ in range(2)]
        net = dr.Network([*layers, dr.Dense(1)], (20, 1), seed=0)
        net.fit(x[:2000], y[:2000], optimizer=dr.Adam(dr.OneCycle(0.03), clip_norm=1.0), batch_size=50, epochs=8, progress=False)
        board.number(f"squared error, {name}", net.evaluate(x[2000:], y[2000:])["loss"],
                     near(floor, 0.15 * floor) if name == "one way" else at_most(0.1 * floor))


def _unequal_lengths(board: Board) -> None:
    """Padding changes nothing: one sequence alone, and among longer ones."""
    rng = np.random.default_rng(3)
    rows = [rng.normal(size=(length, 2)) for length in (3, 7, 12)]
    x, lengths = dr.data.pad(rows, steps=20)
    layers = [dr.Masked(), dr.Bidirectional(dr.LSTM(5, return_sequences=True)), dr.GRU(5), dr.Dense(1)]
    net = dr.Network(layers, (20, 2), seed=0)
    board.say(f"Unequal lengths: sequences of {', '.join(map(str, lengths))} steps, filled up with zeros to 20. Behind Masked the states "
              "stay as they are where there is no step, and the way back begins at the last real one. Each sequence alone gives the same:")
    apart = []
    for row, together in zip(rows, net.predict(x), strict=True):
        alone = dr.Network(layers, row.shape, seed=0)
        apart.append(float(np.abs(alone.predict(row[None]) - together).max()))
    board.number("alone and padded, largest difference", max(apart), at_most(1e-6))
