"""Recording while learning: what is written down of a step is what a trace of that step shows, and nothing else changes."""

import numpy as np
import pytest

import deltarule as dr
from deltarule.errors import DeltaruleError, DivergenceError
from deltarule.layers.scope import flatten
from deltarule.training import recording
from deltarule.training.recording import QUANTITIES

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(23, 3)), RNG.integers(0, 2, 23)


def network():
    return dr.Network([dr.Dense(5, "tanh"), dr.Dropout(0.0), dr.Dense(2, "softmax")], 3, seed=4)


def train(net, **options):
    return net.fit(X, Y, optimizer=dr.SGD(0.3), batch_size=5, shuffle=False, progress=False, **{"epochs": 6, **options})


@pytest.fixture(scope="module")
def recorded():
    net = network()
    return net, train(net, record=dr.Record(3, QUANTITIES)).recording


def test_recording_changes_nothing(recorded):
    plain = network()
    history = train(plain)
    for path, value in flatten(plain.params).items():
        np.testing.assert_array_equal(value, flatten(recorded[0].params)[path])
    assert history.recording is None


def test_each_record_is_what_a_trace_of_that_step_shows(recorded):
    """30 steps of 5, 5, 5, 5, 3 rows: every third is traced again from its own recorded weights."""
    _, record = recorded
    assert record.steps.tolist() == list(range(0, 30, 3))
    net, following = network(), network()
    for i, step in enumerate(record.steps):
        batch = slice(5 * (step % 5), min(5 * (step % 5) + 5, 23))
        net.params = record.params[i]
        trace = net.trace(X[batch], Y[batch])
        assert record["loss"][""][i] == pytest.approx(trace.loss, rel=1e-5)
        for layer in ("dense_1", "dense_2"):
            W, gradient = trace[layer].parameters["weights"], trace[layer].gradients["weights"]
            assert record["weight_norm"][f"{layer}/weights"][i] == pytest.approx(rms(W), rel=1e-5)
            assert record["gradient_norm"][f"{layer}/weights"][i] == pytest.approx(rms(gradient), rel=1e-4)
            assert record["update_ratio"][f"{layer}/weights"][i] == pytest.approx(0.3 * rms(gradient) / rms(W), rel=1e-4)
            if len(X[batch]) == 5:
                assert record["delta_norm"][layer][i] == pytest.approx(rms(trace[layer].delta), rel=1e-4)
                h = trace[layer].activation
                low, high = record["activation_range"][layer][i]
                assert (low, high) == pytest.approx((h.min(), h.max()), rel=1e-5)
                counts = np.histogram(h, 24, (low, high))[0]
                assert np.abs(record["activation_histogram"][layer][i] * h.size - counts).sum() <= 2     # values on an edge
        if i == 0:
            following.fit(X[:15], Y[:15], optimizer=dr.SGD(0.3), batch_size=5, shuffle=False, epochs=1, progress=False)
            np.testing.assert_allclose(record.params[1]["dense_1"]["weights"], following.params["dense_1"]["weights"], rtol=1e-5)


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def test_a_full_buffer_is_fetched_in_time(recorded, monkeypatch):
    monkeypatch.setattr(recording, "MOST_RECORDS", 2)
    again = train(network(), record=dr.Record(3, QUANTITIES)).recording
    assert again.steps.tolist() == recorded[1].steps.tolist()
    for quantity in recorded[1]:
        for path, values in recorded[1][quantity].items():
            np.testing.assert_array_equal(again[quantity][path], values)


def test_a_stream_of_batches_is_recorded_too(recorded):
    batches = [(X[i:i + 5], Y[i:i + 5]) for i in range(0, 23, 5)]
    net = network()
    history = net.fit(batches, optimizer=dr.SGD(0.3), epochs=6, progress=False, record=dr.Record(3, "loss"))
    assert list(history.recording) == ["loss"]
    np.testing.assert_allclose(history.recording["loss"][""][:4], recorded[1]["loss"][""][:4], rtol=1e-4)


def test_what_was_recorded_before_a_divergence_is_kept():
    net = dr.Network([dr.Dense(1)], 3)
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, X[:, :1], optimizer=dr.SGD(1e9), batch_size=5, epochs=30, progress=False, record=dr.Record(1, "loss"))
    losses = caught.value.run.history.recording["loss"][""]
    assert len(losses) >= 3
    assert np.all(losses[1:] > losses[:-1])


def test_frame_figure_and_words(recorded):
    _, record = recorded
    assert repr(record) == "Recording of 10 steps: " + ", ".join(record)
    frame = record.to_frame()
    assert frame["step"].to_list() == record.steps.tolist()
    assert "delta_norm dense_1" in frame.columns
    figure = record.plot()
    labels = ["loss of the batch", "rms W", "rms step / rms W", "rms dL/dW", "rms delta = dL/da"]
    assert [ax.get_ylabel() for ax in figure.axes][:5] == labels
    line = next(line for line in figure.axes[4].get_lines() if line.get_label() == "dense_1")
    np.testing.assert_array_equal(line.get_ydata(), record["delta_norm"]["dense_1"])


def test_a_goal_ends_the_training():
    table = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    net = dr.Network([dr.Dense(1, "step", weights="zeros")], 2)
    history = net.fit(table, table[:, :1] * table[:, 1:], optimizer=dr.SGD(1.0), batch_size=1, shuffle=False, epochs=50,
                      monitor="accuracy", goal=1.0, progress=False)
    assert history.stopped == "goal"
    assert history["accuracy"][-1] == 1.0
    assert max(history["accuracy"][:-1]) < 1.0
    assert history.summary == f"kept epoch {len(history.epochs)} of {len(history.epochs)} (goal reached, 50 planned)"
    np.testing.assert_array_equal(net.predict(table), table[:, :1] * table[:, 1:])
    falling = train(network(), epochs=40, goal=0.5)
    assert falling.stopped == "goal"
    assert falling["loss"][-1] <= 0.5 < falling["loss"][-2]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.Record(0), r"Record expected a whole number from 1 on for every, received 0"),
    (lambda: dr.Record(bins=True), r"Record expected a whole number from 1 on for bins, received True"),
    (lambda: dr.Record(5, "delta"), r"Record cannot record 'delta'; it knows loss, weight_norm, .*"),
    (lambda: dr.Record(5, ()), r"Record expected at least one quantity of loss, "),
    (lambda: train(network(), goal="low"), r"goal expected the value of the monitored curve at which to stop, received 'low'"),
    (lambda: train(network(), epochs=1, record=dr.Record(1, "loss")).recording["deltas"], r"'deltas' was not recorded; recorded: loss"),
    (lambda: train(network(), epochs=1, record=dr.Record(1, "loss")).recording.params, r"'weights' was not recorded"),
    (lambda: train(network(), record=5), r"record expected a Record, such as Record\(every=10\), received 5"),
])
def test_mistakes(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()
