"""Gates over time and the gradient against the lag: what is drawn is what the trace holds; closed forms of the lag; mistakes."""

import numpy as np
import pytest

import deltarule as dr
from deltarule import figures
from deltarule.errors import DataError, DeltaruleError
from deltarule.glass.through_time import factor_a_step

T = 6
X = np.random.default_rng(0).normal(size=(3, T, 2))
X[1, 4:] = 9.0
SHOWN = {dr.LSTM: ("input_gate", "candidate", "forget_gate", "cell", "output_gate", "state"),
         dr.GRU: ("reset_gate", "candidate", "update_gate", "state"), dr.SimpleRNN: ("preactivation", "state")}
NETS = {kind: dr.Network([dr.Masked(9.0), kind(5, return_sequences=True), dr.Bidirectional(kind(3)), dr.Dense(1)], (T, 2))
        for kind in SHOWN}
PATHS = {dr.LSTM: "lstm_1", dr.GRU: "gru_1", dr.SimpleRNN: "simple_rnn_1"}


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_gates_are_those_of_the_trace(kind):
    """Row 1 has two steps of padding, in which nothing but the state is drawn, on grey ground."""
    trace = NETS[kind].trace(X)
    for path, units, padding in ((PATHS[kind], [4, 1], [4, 5]), ("bidirectional_1/backward", [2], [4, 5])):
        fig = figures.gates(trace, path, 1, units=units, marks=[0, 3])
        assert len(fig.axes) == len(SHOWN[kind])
        for ax, name in zip(fig.axes, SHOWN[kind], strict=True):
            lines = ax.get_lines()
            assert len(lines) == len(units) + 2
            for line, unit in zip(lines, units, strict=False):
                expected = trace[path].taps[name][1, :, unit].copy()
                if name != "state":
                    expected[4:] = np.nan
                np.testing.assert_array_equal(line.get_ydata(), expected, err_msg=name)
            assert sorted(round(patch.get_x() + 0.5) for patch in ax.patches) == padding
            assert name.replace("_", " ").split()[0][:3] in ax.get_ylabel()
            assert name.endswith("_gate") == (ax.get_ylim() == (-0.05, 1.05))
    chosen = figures.gates(trace, PATHS[kind], 0)
    h = trace[PATHS[kind]].taps["state"][0]
    named = [text.get_text() for text in chosen.legends[0].get_texts()]
    assert named == [f"unit {unit}" for unit in range(5) if unit != h.std(axis=0).argmin()]


def test_the_mask_is_shown():
    trace = NETS[dr.GRU].trace(X)
    for path in ("gru_1", "bidirectional_1/backward"):
        np.testing.assert_array_equal(trace[path].taps["mask"], [[1] * 6, [1] * 4 + [0] * 2, [1] * 6])


def test_a_linear_network_multiplies_the_gradient_by_its_spectral_radius():
    """W is 0.9 times a rotation: |dL/dh_t| = 0.9^(T - t) |dL/dh_T| exactly; read backwards too."""
    for reverse in (False, True):
        net = dr.Network([dr.SimpleRNN(5, activation="linear", reverse=reverse), dr.Dense(1)], (30, 2), dtype="float64", seed=2)
        net.params["simple_rnn_1"]["recurrent"]["weights"] *= 0.9
        norms = net.trace(np.random.default_rng(0).normal(size=(7, 30, 2)), np.ones((7, 1))).by_lag("simple_rnn_1")
        np.testing.assert_allclose(norms / norms[0], 0.9 ** np.arange(30), rtol=1e-10)
        assert factor_a_step(norms) == pytest.approx(0.9, rel=1e-10)


def test_the_spectral_norm_bounds_a_network_of_tanh():
    net = dr.Network([dr.SimpleRNN(5, recurrent_weights="normal"), dr.Dense(1)], (20, 2), dtype="float64", seed=3)
    norms = net.trace(np.random.default_rng(0).normal(size=(7, 20, 2)), np.ones((7, 1))).by_lag("simple_rnn_1")
    stretch = np.linalg.norm(net.params["simple_rnn_1"]["recurrent"]["weights"], 2)
    assert np.all(norms <= norms[0] * stretch ** np.arange(20) * (1 + 1e-12))
    assert norms[-1] < 0.9 * norms[0] * stretch**19


def test_the_cell_of_an_lstm_hands_back_what_its_forget_gate_lets_through():
    """Without W the only way from c_t to c_T is the forget gate, sigmoid(2) at every step."""
    net = dr.Network([dr.LSTM(4, forget_bias=2.0, weights="zeros", recurrent_weights="zeros"), dr.Dense(1)], (12, 2), dtype="float64")
    norms = net.trace(np.ones((3, 12, 2)), np.ones((3, 1))).by_lag("lstm_1")
    np.testing.assert_allclose(norms / norms[0], (1 / (1 + np.exp(-2.0))) ** np.arange(12), rtol=1e-10)


def test_the_lag_is_drawn_relative_to_the_last_step():
    fig = figures.gradient_lag({"a": [4.0, 2.0, 1.0], "b": [3.0, 6.0, 0.0]})
    ax = fig.axes[0]
    assert ax.get_yscale() == "log"
    assert [line.get_ydata().tolist() for line in ax.get_lines()] == [[1.0, 0.5, 0.25], [1.0, 2.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a, x 0.5 a step", "b, x 2 a step"]
    assert np.isnan(factor_a_step(np.array([1.0])))


def test_mistakes():
    trace = NETS[dr.LSTM].trace(X)
    for arguments, options, message in (
        ((X, "lstm_1"), {}, r"gates expected what net\.trace\(x\) returns, received ndarray"),
        ((trace, "dense_1"), {}, r"dense_1 \(Dense\) is not a recurrent layer; lstm_1, bidirectional_1/forward, bidirectional_1/backward"),
        ((trace, "bidirectional_1"), {}, r"bidirectional_1 \(Bidirectional\) is not a recurrent layer; lstm_1, bidirectional_1/forward"),
        ((trace, "lstm_1", 3), {}, r"there are 3 rows in the trace, numbered from 0; received 3"),
        ((trace, "lstm_1"), {"units": [5]}, r"lstm_1 has 5 units, numbered from 0; received unit 5"),
        ((trace, "lstm_1"), {"units": [0.5]}, r"unit expected a whole number from 0 on, received 0\.5"),
        ((trace, "lstm_1"), {"marks": [6]}, r"lstm_1 has 6 steps, numbered from 0; received mark 6"),
    ):
        with pytest.raises(DeltaruleError, match=message):
            figures.gates(*arguments, **options)
    with pytest.raises(DeltaruleError, match=r"by_lag follows the states of a recurrent layer; dense_1 is a Dense"):
        trace.by_lag("dense_1")
    with pytest.raises(DeltaruleError, match=r"bidirectional_1 is a Bidirectional; ask bidirectional_1/forward or"):
        trace.by_lag("bidirectional_1")
    with pytest.raises(DeltaruleError, match=r"by_lag needs targets; write net\.trace\(x, y\)"):
        trace.by_lag("lstm_1")
    for curve in ([], [0.0, 1.0], [1.0, np.nan]):
        with pytest.raises(DataError, match=r"a expected the sizes that trace\.by_lag\(path\) gives, \(T,\), the first above 0; received"):
            figures.gradient_lag({"a": curve})
