"""The equations of one unit of a recurrent layer: every number is the textbook's, and the written sums give it."""

import re

import numpy as np
import pytest
from twins import theta_of

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DeltaruleError, ShapeError

X, Y = np.random.default_rng(0).normal(size=(3, 6, 2)), np.ones((3, 1))


def traced(kind, **options):
    net = dr.Network([kind(3, initial="learnt", **options), dr.Dense(1)], (6, 2), dtype="float64", seed=1)
    params = next(iter(net.params.values()))
    for name in ("initial", "initial_cell"):
        if name in params:
            params[name] = np.random.default_rng(5).normal(size=3)
    return net.trace(X, Y, loss="quadratic"), params


def behind(trace, T=6):
    """dL/dh (n, T, units) of the outputs: all of it at the last step."""
    errors = np.zeros((3, T, 3))
    errors[:, -1] = trace["dense_1"].delta @ trace.params["dense_1"]["weights"].T
    return errors


def first(params, name):
    return np.tile(params[name], (3, 1))


@pytest.mark.parametrize(("unit", "step", "example"), [(2, 3, 0), (0, 0, 1), (1, 5, 2)])
def test_lstm(unit, step, example):
    trace, params = traced(dr.LSTM)
    theta = theta_of(params, "ifog", 3)
    run = textbook.lstm_forward(theta, X, first(params, "initial"), first(params, "initial_cell"))
    told = trace.explain("lstm_1", unit=unit, step=step, example=example)
    place = example, step, unit
    for symbol, values in (("i", run.i), ("f", run.f), ("o", run.o), ("g", run.g), ("c", run.c), ("h", run.h)):
        assert told[f"{symbol}_{unit}"] == pytest.approx(values[place], rel=1e-9)
    gradient = textbook.lstm_backward(theta, run, behind(trace))
    every = [trace.explain("lstm_1", unit, n, step=t) for n in range(3) for t in range(6)]
    for gate in "ifog":         # dL/db is the sum of the deltas over all steps and examples
        assert sum(each[f"delta^{gate}_{unit}"] for each in every) == pytest.approx(gradient[f"b_{gate}"][unit], rel=1e-9), gate
    assert written(told, f"i_{unit}") == pytest.approx(told[f"i_{unit}"], abs=2e-3)
    assert f"lstm_1, unit {unit}, step {step}, example {example}" in told.text


@pytest.mark.parametrize(("unit", "step", "example"), [(2, 3, 0), (0, 0, 1)])
def test_gru(unit, step, example):
    trace, params = traced(dr.GRU)
    theta = theta_of(params, "rzh", 3)
    run = textbook.gru_forward(theta, X, first(params, "initial"), reset_after=True)
    told = trace.explain("gru_1", unit=unit, step=step, example=example)
    for symbol, values in (("r", run.r), ("z", run.z), ("h~", run.h_tilde), ("h", run.h)):
        assert told[f"{symbol}_{unit}"] == pytest.approx(values[example, step, unit], rel=1e-9)
    h_before = run.h[example, step - 1] if step else params["initial"]
    assert told[f"q_{unit}"] == pytest.approx(h_before @ theta["W_h"][:, unit] + theta["d_h"][unit], rel=1e-9, abs=1e-12)
    gradient = textbook.gru_backward(theta, run, behind(trace), reset_after=True)
    for symbol, gate in (("r", "r"), ("z", "z"), ("h~", "h")):
        total = sum(trace.explain("gru_1", unit, n, step=t)[f"delta^{symbol}_{unit}"] for n in range(3) for t in range(6))
        assert total == pytest.approx(gradient[f"b_{gate}"][unit], rel=1e-9)
    assert written(told, f"z_{unit}") == pytest.approx(told[f"z_{unit}"], abs=2e-3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("g", ["tanh", "relu", "sigmoid"])
def test_simple_rnn(g, reverse):
    trace, params = traced(dr.SimpleRNN, activation=g, reverse=reverse)
    theta = {"U": params["weights"], "W": params["recurrent"]["weights"], "b": params["bias"], "V": np.eye(3), "c": np.zeros(3)}
    run = textbook.rnn_forward(theta, X[:, ::-1] if reverse else X, first(params, "initial"), g)
    delta = textbook.rnn_backward(theta, run, behind(trace), g)["delta"]
    for t in range(6):
        place = 1, 5 - t if reverse else t, 2
        told = trace.explain("simple_rnn_1", unit=2, step=t, example=1)
        assert told["a_2"] == pytest.approx(run.a[place], rel=1e-9)
        assert told["h_2"] == pytest.approx(run.h[place], rel=1e-9)
        assert told["delta_2"] == pytest.approx(delta[place], rel=1e-9, abs=1e-15)
        assert written(told, "a_2") == pytest.approx(told["a_2"], abs=5e-3)
        if t != (0 if reverse else 5):
            assert written(told, "dL/dh_2", line=1) == pytest.approx(told["dL/dh_2"], abs=5e-3)
            assert "behind + sum_k W_2,k delta_k(t+1)\n          = 0 + " in told.text


def written(told, symbol, line=1):
    """The value of a written line, worked out by Python."""
    (equation,) = [equation for equation in told.equations if equation.symbol == symbol]
    text = re.sub(r"\[\d+ smaller terms?: ([^\]]*)\]", r"(\1)", equation.lines[line])
    return eval(text, {"sigmoid": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh})


def test_padding_is_stepped_over():
    """The cell before the step behind a gap is that before the gap; without a step the last real one is explained."""
    x = X.copy()
    x[0, 2:4], x[0, 5] = 9.0, 9.0
    net = dr.Network([dr.Masked(9.0), dr.LSTM(3), dr.Dense(1)], (6, 2), dtype="float64")
    trace = net.trace(x, Y)
    alone = dr.Network([dr.LSTM(3), dr.Dense(1)], (3, 2), dtype="float64")
    alone.params = net.params
    expected = alone.trace(x[:1, [0, 1, 4]], Y[:1]).explain("lstm_1", unit=1, step=2)
    found = trace.explain("lstm_1", unit=1)
    assert found.title == "lstm_1, unit 1, step 4, example 0"
    assert found.text.splitlines()[1:] == expected.text.splitlines()[1:]
    with pytest.raises(DeltaruleError, match=r"step 3 of example 0 is padding: the states stay as they are"):
        trace.explain("lstm_1", step=3, example=0)


def test_dense_step_by_step_and_both_ways():
    net = dr.Network([dr.Bidirectional(dr.GRU(2, return_sequences=True)), dr.Dense(3, "tanh")], (6, 2))
    trace = net.trace(X, np.ones((3, 6, 3)))
    told = trace.explain("dense_1", unit=1, example=2, step=4)
    layer = trace["dense_1"]
    assert told["a_1"] == layer.preactivation[2, 4, 1]
    assert told["h_1"] == layer.activation[2, 4, 1]
    assert told["delta_1"] == pytest.approx(layer.delta[2, 4, 1], rel=1e-5)
    assert told.title == "dense_1, unit 1, step 4, example 2"
    assert trace.explain("bidirectional_1/backward", unit=1)["h_1"] == trace["bidirectional_1/backward"].taps["state"][0, 0, 1]
    assert r"\tilde h_{1}" in trace.explain("bidirectional_1/forward", unit=1).latex


def test_mistakes():
    trace = traced(dr.LSTM)[0]
    every = dr.Network([dr.GRU(2, return_sequences=True), dr.Dense(3)], (6, 2)).trace(X)
    for call, message in (
        (lambda: trace.explain("lstm_1", unit=3), r"lstm_1 has 3 units, numbered from 0; received unit 3"),
        (lambda: trace.explain("lstm_1", step=6), r"lstm_1 has 6 steps, numbered from 0; received step 6"),
        (lambda: trace.explain("lstm_1", weight=1), r"the weights of lstm_1 are those of all its steps, .*; leave out weight"),
        (lambda: trace.explain("dense_1", step=1), r"step is for layers that work step by step; dense_1 \(Dense\) gives \(1,\)"),
        (lambda: every.explain("dense_1", step=6), r"dense_1 has 6 steps, numbered from 0; received step 6"),
    ):
        with pytest.raises(DeltaruleError, match=message):
            call()
    with pytest.raises(ShapeError, match=r"\(n, units\), dense_1 has \(3, 6, 3\); name a step, such as step=0"):
        every.explain("dense_1")
