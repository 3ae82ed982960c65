"""The equations of convolution and pooling with the numbers in them: against the trace, NumPy and a hand-made example."""

import re

import numpy as np
import pytest

import deltarule as dr
from deltarule.errors import DeltaruleError


def trace_of(*layers, shape=(7, 6, 4), classes=3, seed=1):
    net = dr.Network([*layers, dr.Flatten(), dr.Dense(classes, "softmax")], shape, seed=seed, dtype="float64")
    return net.trace(np.random.default_rng(seed).normal(size=(3, *shape)), np.arange(3) % classes)


@pytest.mark.parametrize("layer", [
    dr.Conv2D(4, 3, "tanh"), dr.Conv2D(4, (2, 3), "relu", padding="same", stride=2, use_bias=False),
    dr.Conv2D(6, 2, "sigmoid", groups=2, dilation=(2, 1)), dr.Conv2D(4, 3, padding=1, padding_mode="circular"),
    dr.Conv2D(4, 3, dr.ParametricReLU(0.3))])
def test_a_convolution_is_told_with_the_numbers_of_the_trace(layer):
    trace = trace_of(layer)
    conv, alone = trace["conv2d_1"], trace.example(2)["conv2d_1"]
    P, Q, M = conv.activation.shape[1:]
    for p, q, m in ((0, 0, 1), (P - 1, Q // 2, M - 1)):
        unit = f"{p},{q},{m}"
        told = trace.explain("conv2d_1", (p, q, m), example=2, weight=(1, 0, 1), learning_rate=0.5)
        assert told[f"a_{unit}"] == pytest.approx(conv.preactivation[2, p, q, m])
        assert told[f"h_{unit}"] == pytest.approx(conv.activation[2, p, q, m])
        assert told[f"delta_{unit}"] == pytest.approx(conv.delta[2, p, q, m])
        assert told[f"dL/dW_1,0,1,{m}"] == pytest.approx(alone.gradients["weights"][1, 0, 1, m])
        assert told[f"W_1,0,1,{m}"] == pytest.approx(conv.parameters["weights"][1, 0, 1, m] - 0.5 * alone.gradients["weights"][1, 0, 1, m])
        for line in (equation.lines[1] for equation in told.equations if equation.symbol.startswith(("a_", "dL/dW_"))):
            value = sum(float(p or 1) * float(q) for p, q in _terms(line))
            name = f"a_{unit}" if line in told.equations[0].lines else f"dL/dW_1,0,1,{m}"
            assert value == pytest.approx(told[name], rel=5e-3, abs=5e-3), line


def _terms(line):
    """The products and numbers of "1 * 2 + (-3) * 4 + [5 smaller terms: 6] + 7"."""
    for term in line.split(" + "):
        smaller = re.fullmatch(r"\[\d+ smaller terms?: (.*)\]", term)
        numbers = [smaller.group(1)] if smaller else [part.strip("()") for part in term.split(" * ")]
        yield (numbers[0], numbers[1]) if len(numbers) == 2 else (None, numbers[0])


def test_one_dimension_word_for_word():
    net = dr.Network([dr.Conv1D(1, 3, "relu", stride=2, padding=1)], (4, 1))
    net.params["conv1d_1"] = {"weights": np.array([-1.0, 0.5, 2.0], "float32")[:, None, None], "bias": np.array([0.25], "float32")}
    trace = net.trace([[[1.0], [2.0], [4.0], [8.0]]], [[[1.0], [0.0]]], loss=dr.losses.SquaredError("sum"))
    told = trace.explain("conv1d_1", (1, 0), learning_rate=0.1, weight=(1, 0))
    assert str(told) == "\n".join([
        "conv1d_1, unit (1, 0), example 0",
        "the weighted sum of the window it sees", "  a_1,0 = sum_ic x_1+i,c W_i,c,0 + b_0",
        "        = 2 * (-1) + 4 * 0.5 + 8 * 2 + 0.25", "        = 16.25",
        "its activation", "  h_1,0 = relu(a_1,0)", "        = relu(16.25)", "        = 16.25",
        "its delta, dL/da", "  delta_1,0 = g'(a_1,0) dL/dh_1,0",
        "            = 1 * 32.5", "            = 32.5",
        "the gradient of the weight (1, 0) of map 0, from every place where it is used", "  dL/dW_1,0,0 = sum_p x_2p,0 delta_p,0",
        "              = 1 * 7.5 + 4 * 32.5", "              = 137.5",
        "its new value after one step of gradient descent on this example, eta = 0.1", "  W_1,0,0 = W_1,0,0 - eta dL/dW_1,0,0",
        "          = 0.5 - 0.1 * 137.5", "          = -13.25"])
    first = net.trace([[[1.0], [2.0], [4.0], [8.0]]]).explain("conv1d_1", (0, 0))
    assert "of which 1 is padding" in str(first)
    assert "x_i-1,c" in str(first)
    assert r"\sum_{ic} x_{1+i,c} W_{i,c,0} + b_{0}" in told.latex


def test_a_map_alone_stands_for_its_strongest_unit():
    trace = trace_of(dr.Conv2D(4, 3, "relu"))
    a = trace["conv2d_1"].preactivation[1, ..., 2]
    p, q = np.unravel_index(np.abs(a).argmax(), a.shape)
    assert trace.explain("conv2d_1", 2, 1).title == f"conv2d_1, unit ({p}, {q}, 2), example 1"


@pytest.mark.parametrize(("pool", "word", "value"), [(dr.MaxPool2D(3, stride=2), "max", np.max), (dr.AveragePool2D(3, 2), "mean", np.mean)])
def test_pooling_is_told_with_its_window(pool, word, value):
    trace = trace_of(pool, shape=(7, 5, 2))
    layer = next(iter(trace))
    told = trace.explain(layer.path, (1, 0, 1), example=1)
    window = layer.input[1, 2:5, 0:3, 1]
    assert told["h_1,0,1"] == pytest.approx(value(window))
    assert told["delta_1,0,1"] == pytest.approx(layer.delta[1, 1, 0, 1])
    assert f"{word} x_2..4,0..2,1" in str(told)
    top, left = np.unravel_index(window.argmax(), (3, 3))
    assert (f"goes back to x_{top + 2},{left},1" if word == "max" else "each of the 9 values gets 1/9 of it") in str(told)


@pytest.mark.parametrize(("ask", "message"), [
    (lambda trace: trace.explain("conv2d_1", (9, 0, 0)),
     r"conv2d_1 has units \(5, 4, 4\), each numbered from 0: name a place and a map, such as \(2, 2, 2\), or a map alone; received unit"),
    (lambda trace: trace.explain("conv2d_1", 4), r"received unit 4"),
    (lambda trace: trace.explain("conv2d_1", 0, weight=3),
     r"a map of conv2d_1 has weights \(3, 3, 4\), each numbered from 0: name a place of the kernel and a channel; received weight 3"),
    (lambda trace: trace.explain("flatten_1", 0),
     r"explain writes out dense, recurrent, attention and convolutional .*; flatten_1 is a Flatten; it can explain conv2d_1, dense_1"),
])
def test_errors(ask, message):
    with pytest.raises(DeltaruleError, match=message):
        ask(trace_of(dr.Conv2D(4, 3)))
