"""Sequences that go on: any cutting into pieces gives what the whole gives; learning piece by piece is the textbook's; mistakes."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.forward import forward

T, INPUTS = 7, 2


def sequences(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def network(kind, sequence=True, **options):
    layers = [dr.Masked(9.0), dr.Dense(3, "tanh"), kind(4, return_sequences=True, initial="learnt"), dr.LayerNorm(),
              dr.Residual([kind(4, return_sequences=True, dropout=0.1)]), kind(3, return_sequences=sequence), dr.Dense(2)]
    net = dr.Network(layers, (T, INPUTS), dtype="float64", **options)
    for path in ("gru_1", "lstm_1", "simple_rnn_1"):
        for name in ("initial", "initial_cell"):
            if name in net.params.get(path, {}):
                net.params[path][name] = sequences(4, seed=3)
    return net


NETS = [network(dr.SimpleRNN), network(dr.LSTM), network(dr.LSTM, sequence=False), network(dr.GRU, sequence=False)]
CUTS = [(), (1,), (4,), (3, 6), (1, 4), (1, 2, 3)]     # into pieces of 1, 3, 4, 6 and 7 steps: a program for each


@functools.partial(jax.jit, static_argnums=0)
def whole_sequences(layer, params, x):
    return forward(layer, params, {}, x, dtype="float64")[0].h


@settings(max_examples=15)
@given(st.sampled_from(NETS), st.sampled_from(CUTS), st.integers(0, 99))
def test_however_a_sequence_is_cut_the_whole_comes_out(net, cuts, seed):
    """Row 1 ends with padding, row 2 is padding alone; steps are cut anywhere, and the states at the end are those of one piece."""
    x = sequences(3, T, INPUTS, seed=seed)
    x[1, 4:], x[2] = 9.0, 9.0
    stream, once = dr.Stream(net), dr.Stream(net)
    parts = [stream(part) for part in np.split(x, cuts, axis=1)]
    with jax.enable_x64(True):
        whole = np.asarray(whole_sequences(net.layer, net.params, x))
    np.testing.assert_allclose(np.concatenate(parts, axis=1) if whole.ndim == 3 else parts[-1], whole, atol=1e-12)
    np.testing.assert_allclose(once(x), whole, atol=1e-12)
    assert sorted(stream.states) == sorted(once.states) != []
    for path, group in once.states.items():
        np.testing.assert_allclose(stream.states[path], group, atol=1e-12)


def test_states_can_be_kept_and_forgotten():
    net, x = network(dr.LSTM), sequences(3, T, INPUTS)
    first = dr.Stream(net)
    assert first.states == {}
    begun = first(x[:, :3])
    again = dr.Stream(net, first.states)
    np.testing.assert_array_equal(again(x[:, 3:]), first(x[:, 3:]))
    first.reset()
    np.testing.assert_array_equal(first(x[:2, :3]), begun[:2])
    assert [state.shape for state in first.states["lstm_2"]] == [(2, 3), (2, 3)]


def test_characters_go_on():
    net = dr.Network([dr.Embedding(5, 3), dr.GRU(4, return_sequences=True), dr.Dense(5, "softmax")], (6,))
    x, stream = np.random.default_rng(0).integers(0, 5, (2, 6)), dr.Stream(net)
    found = np.concatenate([stream(x[:, [t]]) for t in range(6)], axis=1)
    np.testing.assert_allclose(found, net.predict(x), atol=1e-6)
    with pytest.raises(DataError, match=r"x holds 5 in row 0, position 0; its Embedding expected whole numbers from 0 to 4"):
        stream([[5], [0]])


# --- learning piece by piece

@pytest.mark.parametrize("learnt", [False, True])
def test_training_goes_on_from_piece_to_piece_as_in_the_textbook(learnt):
    """Two epochs of gradient descent on three pieces, the state of one the beginning of the next, no gradient through it."""
    x, y = sequences(5, 6, 2), sequences(5, 6, 1, seed=1)
    layers = [dr.SimpleRNN(3, return_sequences=True, initial="learnt" if learnt else "zeros"), dr.Dense(1)]
    net = dr.Network(layers, (2, 2), dtype="float64", seed=4)
    first, last = net.params["simple_rnn_1"], net.params["dense_1"]
    theta = {"U": first["weights"], "W": first["recurrent"]["weights"], "b": first["bias"], "V": last["weights"], "c": last["bias"]}
    h_first, eta = np.zeros(3), 0.3
    for _ in range(2):
        h = np.tile(h_first, (5, 1))
        for k in range(3):
            piece, target = x[:, 2 * k:2 * k + 2], y[:, 2 * k:2 * k + 2]
            run = textbook.rnn_forward(theta, piece, h0=h)
            gradient = textbook.rnn_backward(theta, run, 2 * (run.o - target) / target.size)
            theta, h = {name: value - eta * gradient[name] for name, value in theta.items()}, run.h[:, -1]
            if k == 0 and learnt:
                h_first = h_first - eta * gradient["h0"].sum(axis=0)
    history = net.fit(dr.data.pieces(x, y, 2), stateful=True, optimizer=dr.SGD(eta), epochs=2, loss="mse", validation=(x[:, :2], y[:, :2]),
                      keep="last", progress=False)
    for path, value in (("weights", theta["U"]), ("bias", theta["b"])):
        np.testing.assert_allclose(net.params["simple_rnn_1"][path], value, atol=1e-10)
    np.testing.assert_allclose(net.params["simple_rnn_1"]["recurrent"]["weights"], theta["W"], atol=1e-10)
    np.testing.assert_allclose(net.params["dense_1"]["weights"], theta["V"], atol=1e-10)
    if learnt:
        np.testing.assert_allclose(net.params["simple_rnn_1"]["initial"], h_first, atol=1e-10)
    assert net.state == {}
    assert history["val_loss"][-1] == pytest.approx(net.evaluate(x[:, :2], y[:, :2])["loss"])


def test_what_a_piece_cannot_see_is_learnt_through_the_states():
    """The sum of the last two steps, learnt from pieces of one step: only a carried state knows the step before."""
    x = np.random.default_rng(0).uniform(-1, 1, (64, 60, 1)).astype("float32")
    y = x + np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    found = {}
    for stateful in (True, False):
        net = dr.Network([dr.SimpleRNN(8, return_sequences=True, activation="linear"), dr.Dense(1)], (1, 1), seed=0)
        net.fit(dr.data.pieces(x, y, 1), stateful=stateful, optimizer=dr.Adam(0.01), epochs=10, progress=False)
        found[stateful] = float(np.mean((dr.Stream(net)(x) - y)[:, 1:] ** 2))
    assert found[False] > 0.25
    assert found[True] < 0.1


# --- mistakes

@pytest.mark.parametrize(("layers", "message"), [
    ([dr.Conv1D(3, 2), dr.GRU(3)], r"conv1d_1 \(Conv1D\) looks at several steps at once, as far as is known"),
    ([dr.Bidirectional(dr.GRU(3))], r"bidirectional_1/backward \(GRU\) reads from the last step to the first, so this network"),
    ([dr.Positions(), dr.LSTM(3)], r"positions_1 \(Positions\) counts the steps from the first on, so this network cannot go on"),
    ([dr.GRU(3, return_sequences=True), dr.GlobalAveragePool()], r"pool_1 \(GlobalAveragePool\) looks at several steps at once"),
    ([dr.MultiHeadAttention(2, causal=True), dr.GRU(3)], r"^multi_head_attention_1 \(MultiHeadAttention\) looks at several steps at once, "
     r"as far as is known, so this network cannot go on from piece to piece; it can with SimpleRNN, LSTM, GRU and layers that work step by "
     r"step$"),
    ([dr.GRU(4, return_sequences=True), dr.TransformerEncoder(2, causal=True)], r"encoder_1/attention \(MultiHeadAttention\) looks at"),
    ([dr.GRU(4, return_sequences=True), dr.AttentionPooling(3)], r"attention_pooling_1 \(AttentionPooling\) looks at several steps"),
    ([dr.TransformerEncoder(2, causal=True)], r"there is no recurrent layer in this network, so nothing goes on from one piece to the"),
    ([dr.Dense(3)], r"there is no recurrent layer in this network, so nothing goes on from one piece to the next"),
])
def test_networks_that_cannot_go_on(layers, message):
    net = dr.Network(layers, (5, 2))
    with pytest.raises(DeltaruleError, match=message):
        dr.Stream(net)
    with pytest.raises(DeltaruleError, match=message):
        net.fit([(np.zeros((3, 5, 2)), np.zeros((3, *net.output_shape)))], stateful=True)


def test_pieces_and_states_that_do_not_fit():
    net = network(dr.LSTM)
    stream = dr.Stream(net)
    with pytest.raises(DeltaruleError, match=r"Stream expected a Network, received LSTM"):
        dr.Stream(dr.LSTM(3))
    with pytest.raises(ShapeError, match=r"Stream expected a piece \(n, steps, 2\) of at least one step, received shape \(4, 0, 2\)"):
        stream(np.zeros((4, 0, 2)))
    with pytest.raises(ShapeError, match=r"Stream expected a piece \(n, steps, 2\) of at least one step, received shape \(4, 5, 3\)"):
        stream(np.zeros((4, 5, 3)))
    stream(np.zeros((4, 5, 2)))
    with pytest.raises(ShapeError, match=r"Stream holds the states of 4 sequences, received a piece of 3; reset\(\) begins anew"):
        stream(np.zeros((3, 5, 2)))
    states = stream.states
    with pytest.raises(ShapeError, match=r"expected the states of every recurrent layer \(lstm_1: \(n, 4\), \(n, 4\); .*hand on what"):
        dr.Stream(net, {**states, "lstm_2": states["lstm_2"][:1]})
    with pytest.raises(ShapeError, match=r"received \{'lstm_1': \(4, 4\)\}; hand on"):
        dr.Stream(net, {"lstm_1": states["lstm_1"][0]})
    with pytest.raises(ShapeError, match=r"Stream expected states that are arrays \(n, units\), received lists of different lengths; hand"):
        dr.Stream(net, {**states, "lstm_1": ([[1.0], [2.0, 3.0]], states["lstm_1"][1])})
    with pytest.raises(DeltaruleError, match=r"Stream expected the states by layer, as \.states holds them, received list"):
        dr.Stream(net, [states["lstm_1"]])
    with pytest.raises(ShapeError, match=r"received \{'lstm_1': \[\(4, 4\), \(4, 4\)\]\}; hand on"):
        dr.Stream(net, {"lstm_1": states["lstm_1"]})


def test_training_that_cannot_go_on():
    net = dr.Network([dr.GRU(3, return_sequences=True), dr.Dense(1)], (2, 1))
    with pytest.raises(DeltaruleError, match=r"stateful=True goes on from batch to batch: give a list of batches \(x, y\) in order"):
        net.fit(np.zeros((4, 2, 1)), np.zeros((4, 2, 1)), stateful=True)
    with pytest.raises(DataError, match=r"stateful=True expected batches of one size, received one of 3 rows, the first had 4"):
        net.fit([(np.zeros((n, 2, 1)), np.zeros((n, 2, 1))) for n in (4, 3)], stateful=True, progress=False)


@pytest.mark.parametrize(("x", "y", "steps", "message"), [
    ((3, 6, 1), (3, 6, 1), 0, r"steps expected a whole number of at least 1, received 0"),
    ((3, 6, 1), (3, 6, 1), 7, r"pieces of 7 steps cannot be cut out of sequences of 6; give fewer steps"),
    ((3, 6, 1), (3, 1), 2, r"expected sequences x \(n, T, \.\.\.\) with a target for each step, .* received \(3, 6, 1\) and \(3, 1\)"),
])
def test_pieces_that_cannot_be_cut(x, y, steps, message):
    with pytest.raises(DeltaruleError, match=message):
        dr.data.pieces(np.zeros(x), np.zeros(y), steps)
