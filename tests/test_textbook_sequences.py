"""The textbook's recurrent networks, attention and normalization: scalar loops, SciPy, closed forms, differences."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.textbook import (
    attention_backward,
    attention_forward,
    batch_norm,
    batch_norm_predict,
    gru_backward,
    gru_forward,
    layer_norm,
    lstm_backward,
    lstm_forward,
    multi_head_backward,
    multi_head_forward,
    norm_backward,
    numeric_gradient,
    positional_encoding,
    rnn_backward,
    rnn_forward,
    running_statistics,
)

SEEDS = st.integers(0, 10**6)
VARIANT = pytest.mark.parametrize("reset_after", [False, True])


def assert_gradient(function, theta, gradient):
    """Every entry of the gradient against central differences."""
    for name, slope in numeric_gradient(function, theta).items():
        np.testing.assert_allclose(gradient[name], slope, rtol=1e-6, atol=1e-7, err_msg=name)


def draw(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(scale=0.7, size=shape) for name, shape in shapes.items()}


def gates(seed, letters, inputs, units, **more):
    shapes = {"U": (inputs, units), "W": (units, units), "b": (units,)}
    return draw(seed, **{f"{letter}_{k}": shape for k in letters for letter, shape in shapes.items()}, **more)


def preactivation(theta, k, x, h, j, W=True):
    """a_j of gate k for one example, one sum after the other."""
    from_state = sum(h[i] * theta[f"W_{k}"][i, j] for i in range(len(h))) if W else 0.0
    return sum(x[i] * theta[f"U_{k}"][i, j] for i in range(len(x))) + from_state + theta[f"b_{k}"][j]


# --- recurrent networks

@given(SEEDS, st.sampled_from([1, 2, 5]), st.sampled_from(["tanh", "sigmoid", "relu", "linear"]))
def test_rnn_is_its_equations_and_its_gradient_that_of_differences(seed, T, g):
    theta = draw(seed, U=(2, 3), W=(3, 3), b=(3,), V=(3, 2), c=(2,), x=(2, T, 2), h0=(2, 3))
    run = rnn_forward(theta, theta["x"], theta["h0"], g)
    function = {"tanh": math.tanh, "sigmoid": special.expit, "relu": lambda a: max(0.0, a), "linear": lambda a: a}[g]
    renamed = {"U_": theta["U"], "W_": theta["W"], "b_": theta["b"]}
    for row in range(2):
        h = theta["h0"][row]
        for t in range(T):
            h = [function(preactivation(renamed, "", theta["x"][row, t], h, j)) for j in range(3)]
            np.testing.assert_allclose(run.h[row, t], h, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(run.o[row, t], np.dot(h, theta["V"]) + theta["c"], rtol=1e-12, atol=1e-14)
    do = draw(seed + 1, do=run.o.shape)["do"]
    gradient = rnn_backward(theta, run, do, g)
    assert_gradient(lambda theta: float(np.sum(do * rnn_forward(theta, theta["x"], theta["h0"], g).o)), theta, gradient)
    np.testing.assert_allclose(gradient["delta"].sum(axis=(0, 1)), gradient["b"], rtol=1e-12, atol=1e-14)


def test_gradient_of_a_linear_rnn_over_a_lag_is_a_power_of_w():
    theta = {"U": np.eye(1), "W": np.array([[0.9]]), "b": np.zeros(1), "V": np.eye(1), "c": np.zeros(1)}
    run = rnn_forward(theta, np.ones((1, 31, 1)), g="linear")
    last = np.zeros_like(run.o)
    last[:, -1] = 1
    np.testing.assert_allclose(rnn_backward(theta, run, last, "linear")["x"][0, :, 0], 0.9 ** np.arange(30, -1, -1), rtol=1e-12)
    np.testing.assert_allclose(run.o[0, -1, 0], (1 - 0.9**31) / (1 - 0.9), rtol=1e-12)


@given(SEEDS, st.sampled_from([1, 2, 5]))
def test_lstm_is_its_equations_and_its_gradient_that_of_differences(seed, T):
    theta = gates(seed, "ifog", 2, 3, x=(2, T, 2), h0=(2, 3), c0=(2, 3))
    run = lstm_forward(theta, theta["x"], theta["h0"], theta["c0"])
    for row in range(2):
        h, c = theta["h0"][row], theta["c0"][row]
        for t in range(T):
            a = {k: [preactivation(theta, k, theta["x"][row, t], h, j) for j in range(3)] for k in "ifog"}
            c = [special.expit(a["f"][j]) * c[j] + special.expit(a["i"][j]) * math.tanh(a["g"][j]) for j in range(3)]
            h = [special.expit(a["o"][j]) * math.tanh(c[j]) for j in range(3)]
            np.testing.assert_allclose(run.c[row, t], c, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(run.h[row, t], h, rtol=1e-12, atol=1e-14)
    dh = draw(seed + 1, dh=run.h.shape)["dh"]
    assert_gradient(lambda theta: float(np.sum(dh * lstm_forward(theta, theta["x"], theta["h0"], theta["c0"]).h)),
                    theta, lstm_backward(theta, run, dh))


def test_an_lstm_with_open_forget_gate_carries_its_cell_for_ever():
    theta = gates(0, "ifog", 2, 3)
    theta["b_f"], theta["b_i"], theta["b_o"] = np.full(3, 100.0), np.full(3, -100.0), np.full(3, 100.0)
    c0 = np.array([[0.3, -0.2, 0.1]])
    run = lstm_forward(theta, draw(1, x=(1, 101, 2))["x"], c0=c0)
    np.testing.assert_allclose(run.c[0], np.tile(c0, (101, 1)), rtol=1e-12)
    last = np.zeros_like(run.h)
    last[:, -1] = 1
    np.testing.assert_allclose(lstm_backward(theta, run, last)["c0"], 1 - np.tanh(c0) ** 2, rtol=1e-12)    # the error is carried too


@VARIANT
@given(seed=SEEDS, T=st.sampled_from([1, 2, 5]))
def test_gru_is_its_equations_and_its_gradient_that_of_differences(reset_after, seed, T):
    theta = gates(seed, "rzh", 2, 3, x=(2, T, 2), h0=(2, 3), **({"d_h": (3,)} if reset_after else {}))
    run = gru_forward(theta, theta["x"], theta["h0"], reset_after)
    W = theta["W_h"]
    for row in range(2):
        h = theta["h0"][row]
        for t in range(T):
            x = theta["x"][row, t]
            r, z = ([special.expit(preactivation(theta, k, x, h, j)) for j in range(3)] for k in "rz")
            if reset_after:
                inner = [r[j] * (sum(h[i] * W[i, j] for i in range(3)) + theta["d_h"][j]) for j in range(3)]
            else:
                inner = [sum(r[i] * h[i] * W[i, j] for i in range(3)) for j in range(3)]
            candidate = [math.tanh(preactivation(theta, "h", x, h, j, W=False) + inner[j]) for j in range(3)]
            h = [z[j] * h[j] + (1 - z[j]) * candidate[j] for j in range(3)]
            np.testing.assert_allclose(run.h[row, t], h, rtol=1e-12, atol=1e-14)
    dh = draw(seed + 1, dh=run.h.shape)["dh"]
    assert_gradient(lambda theta: float(np.sum(dh * gru_forward(theta, theta["x"], theta["h0"], reset_after).h)),
                    theta, gru_backward(theta, run, dh, reset_after))


# --- attention

@given(SEEDS, st.booleans())
def test_attention_is_its_equation_and_its_gradient_that_of_differences(seed, masked):
    theta = draw(seed, Q=(2, 3, 5), K=(2, 7, 5), V=(2, 7, 2))
    mask = np.random.default_rng(seed).random((2, 3, 7)) < 0.6 if masked else np.ones((3, 7), bool)
    mask[..., 0] = True
    run = attention_forward(**theta, mask=mask)
    scores = np.einsum("ntd,nsd->nts", theta["Q"], theta["K"]) / math.sqrt(5)
    weights = special.softmax(np.where(mask, scores, -1e300), axis=-1)
    np.testing.assert_allclose(run.A, weights, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(run.O, np.einsum("nts,nsd->ntd", weights, theta["V"]), rtol=1e-12, atol=1e-14)
    assert not run.A[~np.broadcast_to(mask, run.A.shape)].any()
    dO = draw(seed + 1, dO=run.O.shape)["dO"]
    assert_gradient(lambda theta: float(np.sum(dO * attention_forward(**theta, mask=mask).O)), theta, attention_backward(run, dO))


@given(SEEDS, st.sampled_from([1, 2, 3]), st.booleans())
def test_heads_are_attentions_side_by_side_and_their_gradient_that_of_differences(seed, heads, itself):
    theta = draw(seed, W_Q=(5, 2 * heads), W_K=(5, 2 * heads), W_V=(5, 3 * heads), W_O=(3 * heads, 5), x=(2, 3, 5), memory=(2, 7, 5))
    memory = theta["x"] if itself else theta["memory"]
    mask = np.tri(3, memory.shape[1], dtype=bool)
    run = multi_head_forward(theta, theta["x"], heads, None if itself else memory, mask)
    expected = 0
    for i in range(heads):
        q, v = slice(2 * i, 2 * i + 2), slice(3 * i, 3 * i + 3)
        head = attention_forward(theta["x"] @ theta["W_Q"][:, q], memory @ theta["W_K"][:, q], memory @ theta["W_V"][:, v], mask)
        np.testing.assert_allclose(run.heads.A[:, i], head.A, rtol=1e-12)
        expected = expected + head.O @ theta["W_O"][v]
    np.testing.assert_allclose(run.y, expected, rtol=1e-12, atol=1e-14)
    dy = draw(seed + 1, dy=run.y.shape)["dy"]
    gradient = multi_head_backward(theta, run, dy)
    if itself:
        del theta["memory"]
        gradient["x"] = gradient["x"] + gradient["memory"]

    def loss(theta):
        return float(np.sum(dy * multi_head_forward(theta, theta["x"], heads, theta.get("memory"), mask).y))

    assert_gradient(loss, theta, gradient)


def test_self_attention_does_not_know_the_order():
    theta = draw(0, W_Q=(5, 4), W_K=(5, 4), W_V=(5, 6), W_O=(6, 5))
    x, order = draw(1, x=(2, 7, 5))["x"], np.random.default_rng(2).permutation(7)
    np.testing.assert_allclose(multi_head_forward(theta, x[:, order], 2).y, multi_head_forward(theta, x, 2).y[:, order], rtol=1e-11)


def test_a_step_in_time_turns_each_pair_of_the_positional_encoding():
    pe, d = positional_encoding(50, 6), 6
    assert pe.shape == (50, 6)
    for i in range(3):
        omega = 10000 ** (-2 * i / d)
        turn = np.array([[math.cos(7 * omega), -math.sin(7 * omega)], [math.sin(7 * omega), math.cos(7 * omega)]])
        np.testing.assert_allclose(pe[7:, 2 * i:2 * i + 2], pe[:-7, 2 * i:2 * i + 2] @ turn, atol=1e-12)
    np.testing.assert_allclose(positional_encoding(3, 1)[:, 0], np.sin(np.arange(3)))


# --- normalization

@given(SEEDS, st.sampled_from([(7, 3), (5, 2, 3), (2, 3, 2, 3)]), st.sampled_from([batch_norm, layer_norm]), st.sampled_from([1e-5, 0.1]))
def test_normalization_and_its_gradient(seed, shape, norm, eps):
    theta = draw(seed, x=shape, gamma=(3,), beta=(3,))
    run = norm(**theta, eps=eps)
    axes = -1 if norm is layer_norm else tuple(range(len(shape) - 1))
    var = np.var(theta["x"], axis=axes, keepdims=True)
    expected = stats.zscore(theta["x"], axis=axes) * np.sqrt(var / (var + eps))
    np.testing.assert_allclose(run.x_hat, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(run.y, theta["gamma"] * expected + theta["beta"], rtol=1e-10, atol=1e-13)
    dy = draw(seed + 1, dy=shape)["dy"]
    assert_gradient(lambda theta: float(np.sum(dy * norm(**theta, eps=eps).y)), theta, norm_backward(run, theta["gamma"], dy))


def test_running_statistics_approach_those_of_the_data():
    rng = np.random.default_rng(0)
    mu, var = np.zeros(3), np.ones(3)
    for _ in range(300):
        run = batch_norm(rng.normal([1, -2, 5], [1, 2, 0.5], (64, 3)), np.ones(3), np.zeros(3))
        mu, var = running_statistics((mu, var), run, momentum=0.95)
    np.testing.assert_allclose(mu, [1, -2, 5], atol=0.15)
    np.testing.assert_allclose(var, [1, 4, 0.25], rtol=0.15)
    first, second = running_statistics(([1.0] * 3, [2.0] * 3), run, momentum=0.9)
    np.testing.assert_allclose(first, 0.9 + 0.1 * run.mu)
    np.testing.assert_allclose(second, 1.8 + 0.1 * run.var)


def test_prediction_equals_training_when_it_is_given_the_batch_itself():
    theta = draw(3, x=(7, 5, 3), gamma=(3,), beta=(3,))
    run = batch_norm(**theta)
    np.testing.assert_allclose(batch_norm_predict(**theta, mu=run.mu, var=run.var), run.y, rtol=1e-13)


THETA = draw(0, U=(2, 3), W=(3, 3), b=(3,), V=(3, 2), c=(2,))
LSTM, GRU = gates(0, "ifog", 2, 3), gates(0, "rzh", 2, 3, d_h=(3,))
HEADS = draw(0, W_Q=(5, 4), W_K=(5, 4), W_V=(5, 6), W_O=(6, 5))
X, S = np.ones((1, 7, 2)), np.ones((1, 7, 5))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: rnn_forward(THETA, X[0]), ShapeError, r"^x expected the shape \(n, T, inputs\), received \(7, 2\)"),
    (lambda: rnn_forward({"U": THETA["U"]}, X), DeltaruleError, r"^theta has no W, b, V, c; it holds U$"),
    (lambda: rnn_forward(THETA, S), ShapeError, r"^U has shape \(2, 3\), expected \(5, 3\); nothing is broadcast here$"),
    (lambda: rnn_forward(THETA, X, np.ones((2, 3))), ShapeError, r"^h0 has shape \(2, 3\), expected \(1, 3\)"),
    (lambda: rnn_forward(THETA, X, g="than"), DeltaruleError, r"^unknown activation 'than'; did you mean 'tanh'"),
    (lambda: rnn_backward(THETA, rnn_forward(THETA, X), X[:, 1:]), ShapeError, r"^dL/do has shape \(1, 6, 2\), expected \(1, 7, 2\)"),
    (lambda: lstm_forward(GRU, X), DeltaruleError, r"^theta has no U_i, W_i, b_i, .*; it holds U_r, "),
    (lambda: lstm_forward(LSTM, S), ShapeError, r"^U_i has shape \(2, 3\), expected \(5, 3\)"),
    (lambda: lstm_forward(LSTM, X, c0=np.ones(3)), ShapeError, r"^c0 has shape \(3,\), expected \(1, 3\)"),
    (lambda: lstm_backward(LSTM, lstm_forward(LSTM, X), X), ShapeError, r"^dL/dh has shape \(1, 7, 2\), expected \(1, 7, 3\)"),
    (lambda: gru_forward({**GRU, "W_z": np.ones((3, 2))}, X), ShapeError, r"^W_z has shape \(3, 2\), expected \(3, 3\)"),
    (lambda: gru_forward(gates(0, "rzh", 2, 3), X, reset_after=True), DeltaruleError, r"^theta has no d_h; it holds U_r"),
    (lambda: gru_backward(GRU, gru_forward(GRU, X), X), ShapeError, r"^dL/dh has shape \(1, 7, 2\), expected \(1, 7, 3\)"),
    (lambda: attention_forward(X, S, S), ShapeError, r"^attention expected Q .* received \(1, 7, 2\), \(1, 7, 5\) and"),
    (lambda: attention_forward(S, S, S, np.ones((7, 3))), ShapeError, r"^the mask has shape \(7, 3\), expected one that .* \(1, 7, 7\)$"),
    (lambda: attention_forward(S, S, S, ~np.eye(7, 7, 1, bool) & np.tri(7, k=-1, dtype=bool)), DeltaruleError,
     r"^the mask hides everything from a query; let each query look at one position at least$"),
    (lambda: attention_backward(attention_forward(S, S, S), X), ShapeError, r"^dL/dO has shape \(1, 7, 2\), expected \(1, 7, 5\)"),
    (lambda: multi_head_forward(HEADS, S, 0), DeltaruleError, r"^heads expected a whole number of at least 1, received 0$"),
    (lambda: multi_head_forward(HEADS, S, 3), ShapeError, r"^W_Q has shape \(5, 4\), expected \(5, a multiple of the 3 heads\)$"),
    (lambda: multi_head_forward(THETA, S, 1), DeltaruleError, r"^theta has no W_Q, W_K, W_V, W_O; it holds U, W, b, V, c$"),
    (lambda: multi_head_forward({**HEADS, "W_O": np.ones((5, 5))}, S, 2), ShapeError, r"^W_O has shape \(5, 5\), expected \(6, d\) for"),
    (lambda: multi_head_backward(HEADS, multi_head_forward(HEADS, S, 2), X), ShapeError, r"^dL/dy has shape \(1, 7, 2\)"),
    (lambda: positional_encoding(0, 4), DeltaruleError, r"^T expected a whole number of at least 1, received 0$"),
    (lambda: batch_norm([1.0, 2.0], 1, 0), ShapeError, r"^normalization expected x \(n, \.\.\., features\), received \(2,\); give"),
    (lambda: batch_norm(X, np.ones(3), np.ones(2)), ShapeError, r"^gamma has shape \(3,\), expected \(2,\)"),
    (lambda: layer_norm(X, np.ones(2), np.ones(2), eps=0.0), DeltaruleError, r"^eps expected a finite number above 0, received 0\.0$"),
    (lambda: norm_backward(batch_norm(X, np.ones(2), np.ones(2)), np.ones(2), S), ShapeError, r"^dL/dy has shape \(1, 7, 5\)"),
    (lambda: running_statistics(([0.0], [1.0]), batch_norm(X, np.ones(2), np.ones(2))), ShapeError, r"^mu has shape \(1,\), exp"),
    (lambda: running_statistics(([0.0], [1.0]), batch_norm(X, [1, 1], [0, 0]), 1.0), DeltaruleError, r"^momentum expected .* 1\.0$"),
    (lambda: batch_norm_predict(X, [1, 1], [0, 0], [0.0], [1, 1]), ShapeError, r"^mu has shape \(1,\), exp"),
])
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()
