"""The trace: every a, h, delta and gradient by name, against the equations and against finite differences."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import EXAMPLES, rows, rows_for

import deltarule as dr
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.scope import flatten, unflatten
from deltarule.training.epochs import Rows, Stopping, advance, start
from deltarule.training.prepare import watched_rows
from deltarule.training.step import Learner

RNG = np.random.default_rng(7)


def mean_loss(net, x, y):
    return net.evaluate(x, y, loss="quadratic")["loss"]


@pytest.mark.parametrize(("layer", "shape"), EXAMPLES.values(), ids=[cls.__name__ for cls in EXAMPLES])
def test_gradients_and_deltas_of_every_layer_against_differences(layer, shape):
    """Gradients of the mean loss, and for every tap: a shift of it moves the loss as its delta says."""
    layer = dataclasses.replace(layer, rate=0.0) if isinstance(layer, dr.Dropout) else layer
    net = dr.Network([layer, dr.Flatten(), dr.Dense(2, "tanh")], shape, seed=3, dtype="float64")
    x, y = rows_for(layer, shape, 5).astype(float), rows((2,), 5, seed=1).astype(float)
    trace = net.trace(x, y, loss="quadratic")
    assert trace.loss == pytest.approx(mean_loss(net, x, y), rel=1e-12)
    np.testing.assert_allclose(trace.losses, 0.5 * np.sum((net.predict(x) - y) ** 2, axis=1), rtol=1e-12)
    start, rng = {path: value.copy() for path, value in flatten(net.params).items()}, np.random.default_rng(0)
    for path, W in start.items():
        owner, _, name = path.rpartition("/")
        seen = next(trace[layer_path] for layer_path in trace.layers if path.startswith(layer_path + "/") or owner == layer_path)
        gradient = seen.gradients[path[len(seen.path) + 1:]]
        index = tuple(rng.integers(0, size) for size in W.shape)
        values = []
        for shift in (1e-6, -1e-6):
            moved = {other: value.copy() for other, value in start.items()}
            moved[path][index] += shift
            net.params = unflatten(moved)
            values.append(mean_loss(net, x, y))
        net.params = unflatten(start)
        assert gradient[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9), (name, index)
    last = list(trace)[-1]
    np.testing.assert_allclose(last.delta, (last.activation - y) * (1 - last.activation ** 2), atol=1e-14)
    np.testing.assert_allclose(trace["flatten_1"].delta, last.delta @ last.parameters["weights"].T, atol=1e-14)


@settings(max_examples=8)
@given(st.integers(1, 7), st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["tanh", "sigmoid", "relu", "softplus", "linear"])),
                                   min_size=1, max_size=3), st.integers(2, 5))
def test_a_chain_of_dense_layers_obeys_the_four_equations(inputs, hidden, classes):
    with jax.enable_x64(True):
        net = dr.Network([*(dr.Dense(units, g) for units, g in hidden), dr.Dense(classes, "softmax")], inputs, seed=1, dtype="float64")
        x, y = RNG.normal(size=(3, inputs)), RNG.integers(0, classes, 3)
        trace = net.trace(x, y)
        layers = list(trace)
        np.testing.assert_allclose(layers[-1].delta, layers[-1].activation - np.eye(classes)[y], atol=1e-14)
        for layer, following in itertools.pairwise(layers):
            slope = np.asarray(dr.activations.derivative(layer.layer.activation)(layer.preactivation))
            np.testing.assert_allclose(layer.delta, slope * (following.delta @ following.parameters["weights"].T), atol=1e-13)
        for layer in layers:
            W, b = layer.parameters["weights"], layer.parameters["bias"]
            np.testing.assert_allclose(layer.preactivation, layer.input @ W + b, atol=1e-13)
            np.testing.assert_allclose(layer.gradients["weights"], layer.input.T @ layer.delta / 3, atol=1e-14)
            np.testing.assert_allclose(layer.gradients["bias"], layer.delta.mean(axis=0), atol=1e-14)
        np.testing.assert_array_equal(layers[0].input, x)
        np.testing.assert_array_equal(trace.output, layers[-1].activation)


@pytest.fixture(scope="module")
def composite():
    net = dr.Network([dr.Flatten(), dr.Residual([dr.Dense(7, "relu"), dr.Dense(6, dr.ParametricReLU())]),
                      dr.Parallel([dr.Dense(3), dr.Dense(2, dr.LeakyReLU(0.1))]), dr.Dense(3), dr.Activation("softmax")], (2, 3), seed=2)
    return net, net.trace(rows((2, 3), 5), [0, 1, 2, 0, 1])


def test_layers_inside_composites_have_their_paths_in_the_order_of_the_run(composite):
    _, trace = composite
    assert trace.layers == ("flatten_1", "residual_1/body/dense_1", "residual_1/body/dense_2", "parallel_1/dense_1", "parallel_1/dense_2",
                            "dense_1", "activation_1")
    body = trace["residual_1/body"]
    np.testing.assert_array_equal(body.input, trace["flatten_1"].activation)
    np.testing.assert_array_equal(body.activation, trace["residual_1/body/dense_2"].activation)
    np.testing.assert_allclose(trace["residual_1"].activation, body.input + body.activation, atol=1e-6)
    merged = np.concatenate([trace["parallel_1/dense_1"].activation, trace["parallel_1/dense_2"].activation], axis=1)
    np.testing.assert_array_equal(trace["parallel_1"].activation, merged)
    assert set(trace["residual_1/body/dense_2"].gradients) == {"weights", "bias", "slope/s"}
    np.testing.assert_allclose(trace["activation_1"].delta, trace.output - np.eye(3)[[0, 1, 2, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(trace["dense_1"].delta, trace["activation_1"].delta, atol=1e-6)
    assert {"parallel_1/dense_2/preactivation", "residual_1/activation"} <= set(trace.taps)
    assert repr(trace["dense_1"]) == "LayerTrace('dense_1', Dense: preactivation (5, 3), activation (5, 3))"


def test_one_example_alone_and_averages(composite):
    net, trace = composite
    one = trace.example(3)
    np.testing.assert_allclose(one["dense_1"].gradients["weights"], np.outer(one["dense_1"].input[0], trace["dense_1"].delta[3]), atol=1e-6)
    together = np.mean([trace.example(i)["dense_1"].gradients["weights"] for i in range(5)], axis=0)
    np.testing.assert_allclose(together, trace["dense_1"].gradients["weights"], atol=1e-6)
    for name in ("input", "activation", "preactivation", "delta"):
        np.testing.assert_allclose(trace["dense_1"].mean(name), getattr(trace["dense_1"], name).mean(axis=0))
    assert len(trace) == 5
    np.testing.assert_allclose(net.trace(rows((2, 3), 5)).output, trace.output, atol=1e-6)


@dataclasses.dataclass(frozen=True)
class Gated(dr.Layer):
    """A user's own layer: h = x * sigmoid(x w), its gate shown by name."""

    def __call__(self, x, scope):
        w = scope.param("weights", dr.initializers.Normal(1.0), (x.shape[-1],))
        gate = scope.tap("gate", jax.nn.sigmoid(x * w[None]))
        return x * gate


@dataclasses.dataclass(frozen=True)
class Silent(dr.Layer):
    """A user's own layer that shows nothing itself."""

    def __call__(self, x, scope):
        return 2.0 * x


def test_a_users_own_layer_shows_what_it_taps_and_a_silent_one_its_output():
    net = dr.Network([Gated(), Silent(), dr.Dense(2)], 3, seed=1)
    x = rows((3,), 5)
    trace = net.trace(x, np.zeros((5, 2)))
    gate = trace["gated_1"].taps["gate"]
    np.testing.assert_allclose(gate, 1 / (1 + np.exp(-x * net.params["gated_1"]["weights"])), rtol=1e-5)
    np.testing.assert_allclose(trace["gated_1"].activation, x * gate, rtol=1e-6)
    np.testing.assert_allclose(trace["gated_1"].deltas["gate"], x * trace["silent_1"].delta * 2, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(trace["silent_1"].activation, 2 * x * gate, rtol=1e-6)
    np.testing.assert_allclose(trace["gated_1"].mean("gate"), gate.mean(axis=0))


@dataclasses.dataclass(frozen=True)
class Twice(dr.Layer):
    """The same dense layer two times."""

    inner: dr.Layer

    def __call__(self, x, scope):
        return self.inner(self.inner(x, scope / "shared"), scope / "shared")


def test_a_layer_used_twice_is_seen_twice():
    net = dr.Network([Twice(dr.Dense(3, "tanh"))], 3, seed=1)
    trace = net.trace(rows((3,), 5), rows((3,), 5, seed=2))
    first, second = trace["twice_1/shared"], trace["twice_1/shared#2"]
    np.testing.assert_array_equal(second.input, first.activation)
    np.testing.assert_allclose(first.gradients["weights"], (first.input.T @ first.delta + second.input.T @ second.delta) / 5, atol=1e-6)
    np.testing.assert_array_equal(first.gradients["weights"], second.gradients["weights"])


def test_dropout_after_the_output_keeps_the_loss_on_the_preactivation():
    net = dr.Network([dr.Dense(2, "softmax"), dr.Dropout(0.5)], 3)
    trace = net.trace(rows((3,), 5), [0, 1, 0, 1, 1])
    np.testing.assert_allclose(trace["dense_1"].delta, trace.output - np.eye(2)[[0, 1, 0, 1, 1]], atol=1e-6)
    assert "activation" not in trace["dropout_1"].deltas


def test_training_without_a_trace_is_the_program_that_it_would_be_without_taps():
    """The compiled epoch of a network whose layers tap is, text for text, that of one whose layers do not."""
    @dataclasses.dataclass(frozen=True)
    class Dense(dr.Layer):
        units: int
        tapping: bool

        def __call__(self, x, scope):
            W = scope.param("weights", dr.initializers.Zeros(), (x.shape[-1], self.units))
            a = x @ W
            return scope.tap("preactivation", a) if self.tapping else a

    def program(tapping, record=None):
        net = dr.Network([Dense(5, tapping), Dense(2, tapping)], 3)
        if tapping:
            net.trace(rows((3,), 7), rows((2,), 7))
        learner = Learner(net.layer, dr.losses.loss("mse"), dr.SGD(0.1), batch_size=7, record=record)
        data = Rows(rows((3,), 7), rows((2,), 7), None)
        now = start(learner, net.params, net.state)
        ends = Stopping(np.int32(9), np.float32(-np.inf))
        bounds = np.int32(0), np.int32(1), np.int32(1), np.bool_(True), ends
        text = advance.thorough.lower(learner, (1, 1.0), now, data, watched_rows(data, None, 0, "float32"),
                                      np.zeros((1, 1, 7), np.int32), np.uint32(0), *bounds).as_text()
        return text.replace("tapping=True", "").replace("tapping=False", "")

    assert program(True) == program(False)


def test_explanations_hold_the_numbers_of_the_trace(composite):
    _net, trace = composite
    hidden = trace["parallel_1/dense_2"]
    told = trace.explain("parallel_1/dense_2", unit=1, example=2, weight=4, learning_rate=0.5)
    assert told["a_1"] == pytest.approx(hidden.preactivation[2, 1])
    assert told["h_1"] == pytest.approx(hidden.activation[2, 1])
    assert told["delta_1"] == pytest.approx(hidden.delta[2, 1])
    slope = hidden.input[2, 4] * hidden.delta[2, 1]
    assert told["dL/dW_4,1"] == pytest.approx(slope)
    assert told["W_4,1"] == pytest.approx(hidden.parameters["weights"][4, 1] - 0.5 * slope)
    output = trace.explain("activation_1", 1, 2)
    assert output["delta_1"] == pytest.approx(trace.output[2, 1])
    assert "y_hat_1 - y_1" in str(output)
    with pytest.raises(DeltaruleError, match=r"there is no 'a_9' here; there are a_1, h_1"):
        told["a_9"]


def test_explanations_in_words_and_formulas():
    net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(1)], 2)
    net.params = {"dense_1": {"weights": np.array([[0.5, -1.0], [0.25, 2.0]], "float32"), "bias": np.array([0.1, 0.0], "float32")},
                  "dense_2": {"weights": np.array([[2.0], [-1.0]], "float32"), "bias": np.zeros(1, "float32")}}
    told = net.trace([[1.0, -2.0]], [[0.5]], loss="quadratic").explain("dense_1", 0, learning_rate=0.1, weight=1)
    h = np.tanh(0.1)
    delta = (1 - h ** 2) * 2 * (2 * h + np.tanh(5) - 0.5)
    assert str(told) == "\n".join([
        "dense_1, unit 0, example 0",
        "the weighted sum of its inputs", "  a_0 = sum_i x_i W_i,0 + b_0", "      = 1 * 0.5 + (-2) * 0.25 + 0.1",
        "      = 0.1", "its activation", "  h_0 = tanh(a_0)", "      = tanh(0.1)", "      = 0.09967",
        "its delta, dL/da, from the deltas of dense_2", "  delta_0 = g'(a_0) sum_k W_0,k delta_k",
        f"          = 0.9901 (2 * {delta / 2 / (1 - h ** 2):.4g})", f"          = 0.9901 * {delta / (1 - h ** 2):.4g}",
        f"          = {delta:.4g}",
        "the gradient of the weight from input 1", "  dL/dW_1,0 = x_1 delta_0", f"            = -2 * {delta:.4g}",
        f"            = {-2 * delta:.4g}",
        "its new value after one step of gradient descent on this example, eta = 0.1", "  W_1,0 = W_1,0 - eta dL/dW_1,0",
        f"        = 0.25 - 0.1 * ({-2 * delta:.4g})", f"        = {0.25 + 0.2 * delta:.4g}"])
    assert told.latex.count("$$") == 10
    assert r"\begin{aligned} a_{0} &= \sum_i x_i W_{i,0} + b_{0} \\" in told.latex
    assert told._repr_markdown_().startswith("**dense_1, unit 0, example 0**")
    wide = dr.Network([dr.Dense(1)], 9).trace(np.ones((1, 9)))
    assert "[5 smaller terms: " in str(wide.explain("dense_1"))


def test_the_learning_rate_of_the_training_is_that_of_the_explained_step():
    net = dr.Network([dr.Dense(1)], 2)
    net.fit(np.ones((4, 2)), np.ones((4, 1)), optimizer=dr.SGD(0.03), epochs=1, progress=False)
    assert "eta = 0.03" in str(net.trace(np.ones((1, 2)), np.ones((1, 1))).explain("dense_1"))


def test_the_table_and_the_figure(composite):
    net, trace = composite
    table = {row.path: row for row in trace.table().rows}
    dense = trace["dense_1"]
    assert table["dense_1"].preactivation == pytest.approx(np.sqrt(np.mean(dense.preactivation ** 2)))
    assert table["dense_1"].delta == pytest.approx(np.sqrt(np.mean(dense.delta ** 2)))
    assert table["dense_1"].gradient == pytest.approx(np.sqrt(np.mean(dense.gradients["weights"] ** 2)))
    silent = np.mean(np.all(trace["residual_1/body/dense_1"].activation == 0, axis=0))
    assert table["residual_1/body/dense_1"].silent == pytest.approx(silent)
    header = "layer kind shape rms a rms h rms delta rms dL/dW rms W saturated silent"
    assert " ".join(str(trace.table()).splitlines()[0].split()) == header
    assert trace.table().to_frame().height == 7
    assert "Trace of 5 examples" in repr(trace)
    figure = trace.plot()
    assert len(figure.axes) == 7 * 3 + 1
    assert len(net.trace(rows((2, 3), 5)).plot().axes) == 7 * 2
    flat = dr.Network([dr.Dense(3, "sigmoid", weights=dr.initializers.Constant(40.0))], 2).trace([[1.0, 1.0], [-1.0, -1.0]])
    assert flat.table().rows[0].saturated == 1.0


@pytest.mark.parametrize(("ask", "kind", "message"), [
    (lambda _, trace: trace["dense_7"], DeltaruleError,
     r"there is no layer 'dense_7' in this network; it has .*; did you mean 'dense_1'\?"),
    (lambda _, trace: trace["residual_1/body"].delta, DeltaruleError,
     r"is made of layers and has no delta of its own; ask one of them: resid"),
    (lambda _, trace: trace["flatten_1"].preactivation, DeltaruleError,
     r"flatten_1 \(Flatten\) has no preactivation; it shows activation"),
    (lambda _, trace: trace["dense_1"].mean("gates"), DeltaruleError,
     r"dense_1 \(Dense\) has no gates; it shows preactivation, activation"),
    (lambda net, _: net.trace(rows((2, 3), 5))["dense_1"].delta, DeltaruleError, r"delta needs targets; write net.trace\(x, y\)"),
    (lambda net, _: net.trace(rows((2, 3), 5)).loss, DeltaruleError, r"losses need targets; write net.trace\(x, y\)"),
    (lambda net, _: net.trace(rows((2, 3), 5), np.zeros((5, 2))), ShapeError,
     r"class numbers of shape \(n,\) or one-hot rows of shape"),
    (lambda net, _: net.trace(rows((2, 3), 5), [0, 1]), ShapeError, r"y has shape \(2,\) for 5 rows of x"),
    (lambda net, _: net.trace(rows((3, 2), 5)), ShapeError, r"x has shape \(5, 3, 2\), the network expects \(n, 2, 3\)"),
    (lambda net, _: net.trace(np.full((1, 2, 3), np.nan)), DataError, r"not finite"),
    (lambda _, trace: trace.example(5), DeltaruleError, r"there are 5 examples, numbered from 0; received 5"),
    (lambda _, trace: trace.explain("dense_1", 0, example=5), DeltaruleError, r"there are 5 examples"),
    (lambda _, trace: trace.explain("dense_1", unit=3), DeltaruleError, r"dense_1 has 3 units, numbered from 0; received unit 3"),
    (lambda _, trace: trace.explain("dense_1", weight=5), DeltaruleError, r"dense_1 has 5 inputs, numbered from 0; received weight 5"),
    (lambda _, trace: trace.explain("flatten_1"), DeltaruleError,
     r"explain writes out dense, recurrent, attention and convolutional layers, pooling and activations; flatten_1 is a Flatten"),
])
def test_mistakes(composite, ask, kind, message):
    with pytest.raises(kind, match=message):
        ask(*composite)


def test_what_one_layer_hands_to_the_next_is_in_memory_once():
    net = dr.Network([dr.Conv2D(3, 3, "relu"), dr.MaxPool2D(2), dr.Flatten(), dr.Dense(2, "softmax")], input_shape=(6, 6, 1))
    trace = net.trace(np.ones((5, 6, 6, 1)), np.zeros(5, int))
    maps, pooled, dense = trace["conv2d_1"], trace["max_pool2d_1"], trace["dense_1"]
    assert np.shares_memory(maps.activation, maps.output)
    assert np.shares_memory(maps.output, pooled.input)
    assert np.shares_memory(dense.output, trace.output)
    assert not np.shares_memory(maps.preactivation, maps.activation)
