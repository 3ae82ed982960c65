"""Recurrent networks: what a unit did at one step is among its inputs at the next.

A sequence is read step by step with the same three matrices: U for what comes in, W for the state of the step before, V for what goes out.
Unrolled in time this is a deep network whose layers share their weights, and backpropagation goes through it from the last step to the
first. There every step multiplies the error by W and by the slopes: after many steps it has faded or exploded, which is why plain recurrent
networks hardly learn what lies far back.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (37,)
EQUATIONS = ("a_t = x_t U + h_(t-1) W + b,   h_t = g(a_t),   o_t = h_t V + c                the same U, W, V at every step",
             "dL/dh_t = dL/do_t V^T + delta_(t+1) W^T,   delta_t = g'(a_t) dL/dh_t          from the last step back to the first",
             "dL/dU = sum_t x_t^T delta_t,   dL/dW = sum_t h_(t-1)^T delta_t",
             "|delta_(t-k)| <= |W|^k |delta_t|                                              |W|: how much W stretches at most")
PARTS = ("dr.SimpleRNN", "dr.Stream", "dr.Network.trace", "dr.figures.gradient_lag", "dr.SGD", "dr.textbook.rnn_forward",
         "dr.textbook.rnn_backward", "dr.textbook.numeric_gradient")

BY_HAND = {     # one unit, x = (1, 0, -1), U = 1, W = 1/2, V = 2, y = 1
    "a": [1.0, 0.3808, -0.8183], "h": [0.7616, 0.3634, -0.6741], "dL/dh": [-0.5559, -1.2811, -4.6966], "delta": [-0.2335, -1.1119, -2.5621],
}
GRADIENTS_BY_HAND = {"dL/dU": 2.3286, "dL/dW": -1.7779, "dL/dV": 1.5831}
STEPS, UNITS, RADII = 100, 16, (0.9, 1.0, 1.1)
ETA, DESCENT = 1e-4, 4000


def teach(board: Board) -> None:
    """Three steps by hand; a network against textbook and differences; the gradient over a hundred steps; clipping; pieces."""
    _by_hand(board)
    _against_the_textbook(board)
    _why_it_is_hard(board)
    _clipping(board)
    net = dr.Network([dr.SimpleRNN(UNITS, return_sequences=True), dr.Dense(1)], (STEPS, 2), seed=0)
    x = np.random.default_rng(3).normal(size=(4, STEPS, 2))
    stream = dr.Stream(net)
    board.say("The state is all that the network knows of the past. Who keeps it may read a sequence in pieces:")
    pieces = np.concatenate([stream(piece) for piece in np.split(x, [7, 50, 51], axis=1)], axis=1)
    board.number("read in four pieces and at once, largest difference", float(np.abs(pieces - net.predict(x)).max()), at_most(1e-5))


def _by_hand(board: Board) -> None:
    """One unit and three steps."""
    net = dr.Network([dr.SimpleRNN(1), dr.Dense(1)], (3, 1), dtype="float64")
    net.params = {"simple_rnn_1": {"weights": np.eye(1), "recurrent": {"weights": np.array([[0.5]])}, "bias": np.zeros(1)},
                  "dense_1": {"weights": np.array([[2.0]]), "bias": np.zeros(1)}}
    trace: Any = net.trace([[[1.0], [0.0], [-1.0]]], [[1.0]], loss="quadratic")
    unit = trace["simple_rnn_1"]
    found = {"a": unit.preactivation, "h": unit.taps["state"], "dL/dh": unit.deltas["state"], "delta": unit.delta}
    board.say("By hand: one unit, tanh, U = 1, W = 1/2, V = 2, no biases, x = (1, 0, -1). Forward: a_1 = 1, h_1 = tanh 1 = 0.7616; a_2 = 0 "
              "+ 0.7616/2 = 0.3808, h_2 = 0.3634; a_3 = -1 + 0.3634/2 = -0.8183, h_3 = -0.6741. The answer o = 2 h_3 = -1.3483 should be "
              "1, so dL/do = -2.3483. Back: dL/dh_3 = 2 (-2.3483) = -4.6966, delta_3 = (1 - h_3^2) (-4.6966) = -2.5621; through W, dL/dh_2 "
              "= -2.5621/2 = -1.2811, delta_2 = (1 - h_2^2) (-1.2811) = -1.1119; dL/dh_1 = -0.5559, delta_1 = -0.2335. All steps share the "
              "weights: dL/dW = h_1 delta_2 + h_2 delta_3 = -0.8468 - 0.9311 = -1.7779, dL/dU = delta_1 - delta_3 = 2.3286.")
    board.table(["step", *found], [[t + 1, *(float(np.round(values[0, t, 0], 4)) for values in found.values())] for t in range(3)])
    apart = max(float(np.abs(values[0, :, 0] - BY_HAND[name]).max()) for name, values in found.items())
    board.number("trace, largest difference from the numbers by hand", apart, at_most(1e-4))
    gradients = {"dL/dU": unit.gradients["weights"], "dL/dW": unit.gradients["recurrent/weights"],
                 "dL/dV": trace["dense_1"].gradients["weights"]}
    board.number("its gradients, largest difference from those by hand",
                 max(abs(float(value.item()) - GRADIENTS_BY_HAND[name]) for name, value in gradients.items()), at_most(1e-4))
    board.equation(*str(trace.explain("simple_rnn_1", step=1)).splitlines())


def _against_the_textbook(board: Board) -> None:
    """Three units that answer at every one of five steps: trace, textbook, finite differences."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 5, 2)), rng.normal(size=(4, 5, 2))
    net = dr.Network([dr.SimpleRNN(3, return_sequences=True), dr.Dense(2)], (5, 2), seed=1, dtype="float64")
    trace: Any = net.trace(x, y, loss="mse")
    first, last = net.params["simple_rnn_1"], net.params["dense_1"]
    theta = {"U": first["weights"], "W": first["recurrent"]["weights"], "b": first["bias"], "V": last["weights"], "c": last["bias"]}
    run = dr.textbook.rnn_forward(theta, x)
    back = dr.textbook.rnn_backward(theta, run, 2 * (run.o - y) / y.size)
    own, out = trace["simple_rnn_1"].gradients, trace["dense_1"].gradients
    mine = {"U": own["weights"], "W": own["recurrent/weights"], "b": own["bias"], "V": out["weights"], "c": out["bias"]}
    measured = dr.textbook.numeric_gradient(lambda changed: float(np.mean((dr.textbook.rnn_forward(changed, x).o - y) ** 2)), theta, 1e-5)
    board.say("A network of three units that answers at each of five steps: its gradients by the engine (whose loop is derived by hand), "
              "by the textbook's equations above, and by differences of the loss, which know of neither:")
    for name, expected in (("textbook", back), ("finite differences", measured)):
        board.number(f"gradients beside {name}, largest difference", max(float(np.abs(mine[k] - expected[k]).max()) for k in theta),
                     at_most(1e-10 if name == "textbook" else 1e-8))


def _why_it_is_hard(board: Board) -> None:
    """The gradient against the lag for spectral radii below, at and above 1, and with tanh."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, STEPS, 2)), rng.normal(size=(20, 1))
    curves, kept = {}, []
    for radius in RADII:
        norms = _lags("linear", radius, x, y)
        curves[f"linear, |W| = {radius:g}"] = norms
        kept.append(float(np.abs(norms / norms[0] / radius ** np.arange(STEPS) - 1).max()))
    curves["tanh, |W| = 1"] = saturating = _lags("tanh", 1.0, x, y)
    board.say(f"Over {STEPS} steps: W is a rotation times 0.9, 1 or 1.1 (its spectral radius, and as much as it stretches). A linear "
              f"network then multiplies the error by exactly that in every step: 0.9^{STEPS - 1} = {0.9 ** (STEPS - 1):.1e} of it arrives "
              f"at the first, or 1.1^{STEPS - 1} = {1.1 ** (STEPS - 1):,.0f} times of it. The slope of tanh, below 1, makes it fade even "
              "where W keeps all:")
    board.number("linear: largest relative difference from radius^lag", max(kept), at_most(1e-9))
    board.number("tanh: the bound |W|^lag holds at every lag", bool(np.all(saturating <= saturating[0] * (1 + 1e-12))), equals(True))
    board.number("tanh, |W| = 1: left of the error after 99 steps", float(saturating[-1] / saturating[0]), at_most(1e-3))
    board.figure("lag", dr.figures.gradient_lag(curves), "the size of dL/dh_t against the steps that the error has come back: straight "
                 "lines on this scale are powers of the spectral radius")


def _lags(activation: str, radius: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    net = dr.Network([dr.SimpleRNN(UNITS, activation=activation), dr.Dense(1)], x.shape[1:], seed=2, dtype="float64")
    net.params["simple_rnn_1"]["recurrent"]["weights"] *= radius       # orthogonal before
    return net.trace(x, y).by_lag("simple_rnn_1")


def _clipping(board: Board) -> None:
    """One weight w, an impulse 50 steps ago: h_T = w^49, dL/dw = 49 w^48 (w^49 - y)."""
    T, w, y = 50, 1.1, 0.5
    impulse, target = np.eye(T)[:1, :, None], np.array([[y]])

    def fresh() -> dr.Network:
        net = dr.Network([dr.SimpleRNN(1, activation="linear")], (T, 1), dtype="float64")
        net.params["simple_rnn_1"] = {"weights": np.eye(1), "recurrent": {"weights": np.array([[w]])}, "bias": np.zeros(1)}
        return net

    trace: Any = fresh().trace(impulse, target, loss="quadratic")
    slope = trace["simple_rnn_1"].gradients["recurrent/weights"].item()
    board.say(f"Explosions are met by clipping: a gradient longer than a given length is shortened to it, its direction stays (Pascanu, "
              f"Mikolov and Bengio 2013). One linear unit, w = {w}, x = (1, 0, 0, ...), {T} steps: h = w^{T - 1} = {w ** (T - 1):.1f} "
              f"should be {y}, and dL/dw = {T - 1} w^{T - 2} (w^{T - 1} - {y}) is a cliff:")
    exact = (T - 1) * w ** (T - 2) * (w ** (T - 1) - y)
    board.number("dL/dw", slope, near(exact, 1e-8 * exact))
    ends = {}
    for clip in (None, 1.0):
        net = fresh()
        try:
            net.fit(impulse, target, loss="quadratic", optimizer=dr.SGD(ETA, clip_norm=clip), epochs=DESCENT, progress=False)
            ends[clip] = float(net.predict(impulse).item())
        except dr.DivergenceError:
            ends[clip] = float("nan")
    board.number(f"times its own size by which w changes in the first step, eta = {ETA:g}", ETA * slope / w, at_least(20))
    board.number(f"{DESCENT} steps end in a finite number", bool(np.isfinite(ends[None])), equals(False))
    board.number(f"{DESCENT} steps with the gradient clipped to length 1 end at h =", ends[1.0], near(y, 0.02))
