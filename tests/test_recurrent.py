"""Recurrent layers: against the textbook, JAX's own derivatives and closed forms; padding, states, dropout, taps, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from test_twins import drawn, of_the_engine, of_the_textbook
from twins import theta_of

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.forward import forward
from deltarule.ops import native
from deltarule.ops import recurrent as ops
from deltarule.ops.compiling import QUICK
from deltarule.ops.noise import step_key

KINDS = (dr.SimpleRNN, dr.LSTM, dr.GRU)
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
CELLS = (ops.SimpleCell(g="tanh"), ops.SimpleCell(g="relu"), ops.LSTMCell(), ops.GRUCell())


def sequences(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# --- the equations

@EACH_KIND
@pytest.mark.parametrize("training", [False, True])
def test_against_the_textbook(kind, training):
    """Three layers, both ways, every step and the last: values and gradients; predicting the loop with taps runs, training the fast one."""
    layers = [kind(3, return_sequences=True, initial="learnt"), dr.Bidirectional(kind(2, return_sequences=True)),
              kind(3, reverse=True), dr.Dense(2, "tanh")]
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        with jax.enable_x64(dtype == "float64"):
            net, x, y = drawn(layers, 3, dtype, (5, 2))
            value, gradient = of_the_engine(net, x, y, training)
        expected_value, expected = of_the_textbook(net, x, y, training)
        np.testing.assert_allclose(value, expected_value, rtol=tolerance)
        assert set(gradient) == set(expected)
        largest = max(np.max(np.abs(slope)) for slope in expected.values())
        for path, slope in expected.items():
            np.testing.assert_allclose(gradient[path], slope, rtol=10 * tolerance, atol=tolerance * max(largest, 1), err_msg=path)


def given_to(cell, masked=True, T=4, n=3, units=2):
    rng = np.random.default_rng(7)
    width, states = cell.gates * units, 2 if isinstance(cell, ops.LSTMCell) else 1

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    mask = jnp.asarray([[True, True, False], [True, False, False], [True, True, False], [False, True, False]]).T if masked else None
    return ops.Sequences(draw(n, T, 5), draw(5, width), draw(width), draw(units, width), draw(width),
                         tuple(draw(n, units) for _ in range(states)), draw(n, units), mask)


@pytest.mark.parametrize(("cell", "reverse"), [*zip(CELLS, [False, True, True, False], strict=True)], ids=["tanh", "relu", "lstm", "gru"])
def test_hand_derived_is_derived_by_jax(cell, reverse):
    """The errors of everything that goes in, from errors of every state, with mask and recurrent dropout."""
    with jax.enable_x64(True):
        given = given_to(cell)

        def total(run, free):
            states = run(free._replace(mask=given.mask))
            return sum(jnp.sum(jnp.sin(state + k) * jnp.arange(1.0, 1 + state.size).reshape(state.shape)) for k, state in enumerate(states))

        free = given._replace(mask=None)
        ways = (lambda all: ops.recurrent(cell, all, reverse), lambda all: ops.watched(cell, all, reverse, {})[0])
        by_hand, by_jax = (jax.jit(jax.grad(lambda free, run=run: total(run, free)), compiler_options=QUICK)(free) for run in ways)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), by_hand, by_jax)


@pytest.mark.parametrize("cell", CELLS[1:], ids=["relu", "lstm", "gru"])
def test_second_derivatives_against_differences(cell):
    with jax.enable_x64(True):
        given = given_to(cell, T=4)
        run = jax.jit(lambda free: ops.recurrent(cell, free._replace(mask=given.mask)))
        check_grads(run, (given._replace(mask=None),), order=2, modes=["rev"], atol=1e-5, rtol=1e-5)


def test_forget_bias_and_orthogonal_gates():
    params = dr.Network(dr.LSTM(5), (7, 3)).params
    np.testing.assert_array_equal(params["bias"], np.repeat([0, 1, 0, 0], 5))
    for W in np.split(params["recurrent"]["weights"], 4, axis=1):
        np.testing.assert_allclose(W.T @ W, np.eye(5), atol=1e-6)


def test_dense_works_step_by_step():
    """No layer around it is needed: Dense behind a recurrent layer is its head at every step."""
    net = dr.Network([dr.GRU(5, return_sequences=True), dr.Dense(2)], (7, 3))
    x = sequences(4, 7, 3)
    h = net.layer.layers[0].run(net.params["gru_1"], x)[0]
    np.testing.assert_allclose(net.predict(x)[:, 6], h[:, 6] @ net.params["dense_1"]["weights"], atol=1e-6)


# --- what a trace shows

@EACH_KIND
def test_taps_change_nothing_and_gates_are_the_textbooks(kind):
    net, x = dr.Network(kind(3), (5, 2), seed=2), sequences(4, 5, 2)
    seen = net.trace(x)[""]
    np.testing.assert_allclose(seen.output, net.predict(x), atol=1e-6)
    params = jax.tree.map(lambda value: np.asarray(value, float), net.params)
    if kind is dr.LSTM:
        run = textbook.lstm_forward(theta_of(params, "ifog", 3), x)
        names = {"input_gate": run.i, "forget_gate": run.f, "output_gate": run.o, "candidate": run.g, "cell": run.c, "state": run.h}
    elif kind is dr.GRU:
        run = textbook.gru_forward(theta_of(params, "rzh", 3), x, reset_after=True)
        names = {"reset_gate": run.r, "update_gate": run.z, "candidate": run.h_tilde, "state": run.h}
    else:
        theta = {"U": params["weights"], "W": params["recurrent"]["weights"], "b": params["bias"], "V": np.eye(3), "c": np.zeros(3)}
        run = textbook.rnn_forward(theta, x)
        names = {"preactivation": run.a, "state": run.h}
    assert set(names) | {"activation"} == set(seen.taps)
    for name, expected in names.items():
        np.testing.assert_allclose(seen.taps[name], expected, atol=1e-6, err_msg=name)


def test_deltas_inside_the_loop():
    """delta_t of the lecture for the plain network; for gates, dL/db is the sum over steps of their delta times their slope."""
    x, y = sequences(4, 5, 2).astype(float), sequences(4, 3, seed=1).astype(float)
    seen = (plain := dr.Network(dr.SimpleRNN(3), (5, 2), dtype="float64")).trace(x, y, loss="quadratic")[""]
    theta = {"U": plain.params["weights"], "W": plain.params["recurrent"]["weights"], "b": plain.params["bias"], "V": np.eye(3),
             "c": np.zeros(3)}
    run = textbook.rnn_forward(theta, x)
    errors = np.zeros_like(run.h)
    errors[:, -1] = run.h[:, -1] - y
    np.testing.assert_allclose(seen.delta, textbook.rnn_backward(theta, run, errors)["delta"], atol=1e-12)
    for kind, gates in ((dr.LSTM, ("input_gate", "forget_gate", "output_gate", "candidate")),
                        (dr.GRU, ("reset_gate", "update_gate", "candidate"))):
        seen = dr.Network(kind(3), (5, 2), dtype="float64").trace(x, y, loss="quadratic")[""]
        slopes = [1 - s**2 if name == "candidate" else s * (1 - s) for name in gates for s in [seen.taps[name]]]
        bias = np.concatenate([(seen.deltas[name] * g).sum(axis=(0, 1)) for name, g in zip(gates, slopes, strict=True)])
        np.testing.assert_allclose(seen.gradients["bias"], bias / 4, atol=1e-12)


@pytest.mark.parametrize("by_kernels", [True, False])
def test_the_summary_counts_every_product_of_every_step(by_kernels, monkeypatch):
    """T steps of inputs U and h W for each gate; queries, keys, values, scores, means and output of attention: both forms count alike."""
    if not by_kernels:
        monkeypatch.setattr(native, "runs", lambda dtype: False)
    T, f, u, heads, size = 11, 5, 7, 2, 3
    attended = T * f * 3 * heads * size + 2 * heads * T * T * size + T * heads * size * f
    for layer, expected in ((dr.SimpleRNN(u), T * (f + u) * u), (dr.LSTM(u, initial="learnt", dropout=0.1), 4 * T * (f + u) * u),
                            (dr.GRU(u, recurrent_dropout=0.1), 3 * T * (f + u) * u), (dr.Bidirectional(dr.LSTM(u)), 8 * T * (f + u) * u),
                            (dr.MultiHeadAttention(heads, size=size), attended)):
        for layers in ([layer], [dr.Masked(), layer]):
            assert dr.Network(layers, (T, f)).summary().multiply_adds == expected


# --- sequences of unequal length

def test_padding_gives_zeros_and_an_empty_row_the_initial_state():
    x, lengths = dr.data.pad([[1.0, 2.0, 3.0], [4.0]])
    assert lengths.tolist() == [3, 1]
    net = dr.Network([dr.Masked(), dr.LSTM(3, return_sequences=True)], (3, 1))
    h = net.predict(x)
    np.testing.assert_array_equal(np.all(h != 0, axis=-1), [[True, True, True], [True, False, False]])
    np.testing.assert_array_equal(h[1, 1:], 0)
    for pool in (dr.LSTM(3), dr.GlobalAveragePool(), dr.GlobalMaxPool()):
        net = dr.Network([dr.Masked(), pool], (3, 1))
        assert np.all(forward(net.layer, net.params, {}, (0 * x).astype("float32"))[0].h == 0)
        with pytest.raises(DataError, match=r"x holds nothing but padding \(0\) in row 0; leave out sequences without a step"):
            net.predict(0 * x)


@pytest.mark.parametrize(("given", "message"), [
    (([],), r"pad expected at least one sequence, received none"),
    (([[1.0], []],), r"sequence 1 expected the shape \(steps, features\) with at least one step, received \(0, 1\)"),
    (([[[1.0, 2.0]], [[1.0]]],), r"sequence 1 has 1 features, sequence 0 has 2; all need the same"),
    (([[1.0], [2.0, 0.0]],), r"step 1 of sequence 1 holds 0 only and would be taken for padding; choose another value"),
    (([[1.0, 2.0]], 0.0, 1), r"sequence 0 has 2 steps, more than steps=1"),
])
def test_sequences_that_cannot_be_padded(given, message):
    with pytest.raises(DataError, match=message):
        dr.data.pad(*given)


# --- states, dropout, learning

@EACH_KIND
@pytest.mark.parametrize("reverse", [False, True])
def test_states_carry_a_sequence_on(kind, reverse):
    layer = kind(3, return_sequences=True, reverse=reverse)
    net, x = dr.Network([layer], (6, 2), dtype="float64"), sequences(4, 6, 2)
    params, states, found = next(iter(net.params.values())), None, []
    for piece in [x[:, 2:], x[:, :2]] if reverse else [x[:, :2], x[:, 2:]]:
        h, states = layer.run(params, piece, states)
        found.append(h)
    np.testing.assert_allclose(np.concatenate(found[::-1] if reverse else found, axis=1), net.predict(x), atol=1e-12)


def test_one_mask_for_a_whole_sequence():
    """Inputs of ones are 0 or 2 at all steps; a state that is only handed on becomes m^5: 0 or 32."""
    key, ones = step_key(3, 0), np.ones((31, 5, 7), "float32")
    copied = {"weights": np.eye(7), "bias": np.zeros(7), "recurrent": {"weights": np.zeros((7, 7))}}
    h = forward(dr.SimpleRNN(7, dropout=0.5, activation="linear", return_sequences=True), copied, {}, ones, key=key, training=True)[0].h
    assert set(np.unique(h)) == {0, 2}
    assert np.all(h == h[:, :1])
    assert 0.4 < np.mean(h > 0) < 0.6
    handed_on = {"weights": np.zeros((7, 7)), "bias": np.zeros(7), "recurrent": {"weights": np.eye(7)}, "initial": np.ones(7)}
    layer = dr.SimpleRNN(7, recurrent_dropout=0.5, activation="linear", initial="learnt")
    h = forward(layer, handed_on, {}, ones, key=key, training=True)[0].h
    assert set(np.unique(h)) == {0, 32}
    assert 0.4 < np.mean(h > 0) < 0.6
    np.testing.assert_array_equal(forward(layer, handed_on, {}, ones)[0].h, 1)


def test_a_network_learns_saves_and_loads(tmp_path):
    """Which of two steps was the larger, in sequences of unequal length; dropout on."""
    rng = np.random.default_rng(0)
    rows = [rng.uniform(0.1, 1, size=(T, 1)) for T in rng.integers(2, 6, size=300)]
    x, _ = dr.data.pad(rows)
    y = np.array([[float(row[0, 0] > row[-1, 0])] for row in rows])
    net = dr.Network([dr.Masked(), dr.GRU(8, dropout=0.05, recurrent_dropout=0.05), dr.Dense(1, "sigmoid")], x.shape[1:], seed=1)
    net.fit(x, y, epochs=60, optimizer=dr.Adam(0.02))
    assert net.evaluate(x, y)["accuracy"] > 0.93
    net.save(tmp_path / "sequences.safetensors")
    np.testing.assert_array_equal(dr.load(tmp_path / "sequences.safetensors").predict(x), net.predict(x))
    assert net.receptive_field("gru_1").size == (5,)
    assert dr.figures.network(net)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.LSTM(0), r"LSTM expected units to be a whole number of at least 1, received 0"),
    (lambda: dr.GRU(3, initial=np.zeros(3)), r"GRU has no initial array\(\[0\., 0\., 0\.\]\)"),
    (lambda: dr.GRU(3, return_sequences="yes"), r"GRU expected return_sequences to be True or False, received 'yes'"),
    (lambda: dr.GRU(3, reverse=1), r"GRU expected reverse to be True or False, received 1"),
    (lambda: dr.GRU(3, initial="ones"), r"GRU has no initial 'ones'; known: learnt, zeros"),
    (lambda: dr.GRU(3, dropout=1.0), r"GRU\.dropout expected a rate from 0 up to but not 1, received 1\.0"),
    (lambda: dr.GRU(3, recurrent_dropout=-0.1), r"GRU\.recurrent_dropout expected a rate from 0 up to but not 1, received -0\.1"),
    (lambda: dr.LSTM(3, recurrent_weights="orthogonl"), r"unknown initializer 'orthogonl'; did you mean 'orthogonal'"),
    (lambda: dr.LSTM(3, forget_bias=None), r"LSTM expected forget_bias to be a finite number"),
    (lambda: dr.SimpleRNN(3, activation="tahn"), r"SimpleRNN has no activation 'tahn'; did you mean 'tanh'"),
    (lambda: dr.Bidirectional(dr.Dense(3)), r"Bidirectional expected a recurrent layer such as LSTM\(5\), received Dense\(units=3\)"),
    (lambda: dr.Bidirectional(dr.GRU(3), "mean"), r"Bidirectional merges by 'sum' or 'concatenate', received 'mean'"),
    (lambda: dr.Masked(None), r"Masked expected value to be a finite number, received None"),
])
def test_mistakes_in_settings(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@pytest.mark.parametrize(("layers", "shape", "message"), [
    ([dr.LSTM(3)], (5,), r"LSTM expected sequences \(steps, channels\), received inputs of shape \(5,\); .* others x\[\.\.\., None\]"),
    ([dr.LSTM(3)], (5, 5, 2), r"LSTM expected sequences \(steps, channels\), received inputs of shape \(5, 5, 2\)"),
    ([dr.GRU(3), dr.GRU(3)], (5, 2), r"GRU expected sequences .* shape \(3,\); a recurrent layer before it needs return_sequences=True"),
])
def test_shapes_that_do_not_fit(layers, shape, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network(layers, shape)


def test_states_and_sequences_that_do_not_fit():
    layer = dr.LSTM(3)
    params = dr.Network(layer, (5, 2)).params
    with pytest.raises(ShapeError, match=r"LSTM expected states of shapes \[\(4, 3\), \(4, 3\)\], received \[\(4, 3\)\]; hand on what run"):
        layer.run(params, np.zeros((4, 5, 2)), (np.zeros((4, 3)),))
    with pytest.raises(ShapeError, match=r"LSTM expected states of shapes \[\(4, 3\), \(4, 3\)\], received \[\(4, 3\)\]"):
        layer.run(params, np.zeros((4, 5, 2)), np.zeros((4, 3)))
    with pytest.raises(ShapeError, match=r"LSTM expected a mask of shape \(4, 5\), received \(4, 4\)"):
        layer.run(params, np.zeros((4, 5, 2)), mask=np.ones((4, 4), bool))
    with pytest.raises(DeltaruleError, match=r"run expected the parameters of this layer, such as .*\['lstm_1'\], received lstm_1"):
        layer.run({"lstm_1": params}, np.zeros((4, 5, 2)))
    for shape in ((4, 0, 2), (0, 5, 2)):
        with pytest.raises(ShapeError, match=rf"LSTM expected at least one sequence of at least one step, received x \({shape[0]}, "):
            layer.run(params, np.zeros(shape))
    with pytest.raises(ShapeError, match=r"LSTM expected states of shapes .*, received lists of different lengths"):
        layer.run(params, np.zeros((4, 5, 2)), ([[1.0], [2.0, 3.0]], np.zeros((4, 3))))
    with pytest.raises(ShapeError, match=r"LSTM expected sequences x \(n, steps, inputs\), received lists of different lengths"):
        layer.run(params, [[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]])
    with pytest.raises(ShapeError, match=r"LSTM expected sequences x \(n, steps, inputs\), received list that holds no numbers"):
        layer.run(params, [[["a", "b"]]])
