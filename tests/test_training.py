"""Training: the compiled epochs against a loop in NumPy, determinism, batches, stopping, divergence, interruption, streams."""

import dataclasses

import jax
import numpy as np
import pytest

import deltarule as dr
from deltarule.errors import DataError, DeltaruleError, DivergenceError, ShapeError
from deltarule.layers.scope import flatten
from deltarule.training import epochs as epochs_module
from deltarule.training.fit import Settings, batch_orders

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(67, 5)), RNG.normal(size=(67, 2))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def small(seed=0, dtype="float64"):
    return dr.Network([dr.Dense(7, "tanh"), dr.Dense(2)], 5, seed=seed, dtype=dtype)


def classifier(seed=0, **options):
    return dr.Network([dr.Dense(11, "relu"), dr.Dense(3, "softmax")], 5, seed=seed, **options)


def same(one, two):
    one, two = flatten(one), flatten(two)
    return one.keys() == two.keys() and all(np.array_equal(one[path], two[path]) for path in one)


def textbook_gradients(params, x, y, w):
    """The four equations of backpropagation for tanh - linear and L = 1/n sum w_i 1/2 |h - y|^2."""
    W1, b1, W2, b2 = (params[layer][name] for layer in ("dense_1", "dense_2") for name in ("weights", "bias"))
    h = np.tanh(x @ W1 + b1)
    delta2 = (h @ W2 + b2 - y) * w[:, None] / len(x)
    delta1 = (1 - h**2) * (delta2 @ W2.T)
    return {"dense_1": {"weights": x.T @ delta1, "bias": delta1.sum(0)}, "dense_2": {"weights": h.T @ delta2, "bias": delta2.sum(0)}}


def test_the_summary_is_asked_for_once(monkeypatch):
    """It looks for the receptive field of every layer, which takes longer than an epoch of a small network."""
    net, images = dr.Network([dr.Conv2D(2, 3), dr.Flatten(), dr.Dense(1)], (4, 4, 1)), RNG.normal(size=(3, 4, 4, 1))
    asked = []
    monkeypatch.setattr(dr.Network, "summary", lambda net, whole=dr.Network.summary: asked.append(net) or whole(net))
    for _ in range(3):
        net.fit(images, np.zeros((3, 1)), epochs=1)
    assert len(asked) == 1


@pytest.mark.parametrize("weights", [None, RNG.uniform(0.2, 3, 67)], ids=["plain", "weighted"])
@pytest.mark.parametrize("batch_size", [1, 13, 67])
def test_epochs_are_the_textbooks(batch_size, weights):
    """Three epochs of mini-batches (13 does not divide 67), single examples and the whole set, to 1e-10 in float64."""
    net = small()
    params = jax.tree.map(np.array, net.params)
    net.fit(X, Y, loss="quadratic", optimizer=dr.SGD(0.1), epochs=3, batch_size=batch_size, sample_weight=weights)
    w = np.ones(67) if weights is None else weights / weights.mean()
    for epoch in range(3):
        order = np.asarray(batch_orders(Settings(3, seed=0), epoch, 1, 1, 67, batch_size))[0].reshape(-1)[:67]
        assert sorted(order) == list(range(67))
        for begin in range(0, 67, batch_size):
            rows = order[begin:begin + batch_size]
            gradient = textbook_gradients(params, X[rows], Y[rows], w[rows])
            params = jax.tree.map(lambda theta, g: theta - 0.1 * g, params, gradient)
    for path, value in flatten(net.params).items():
        np.testing.assert_allclose(value, flatten(params)[path], rtol=1e-10, atol=1e-12)


def test_penalties_are_their_gradients():
    net = small()
    before = jax.tree.map(np.array, net.params)
    net.fit(X, Y, loss="quadratic", optimizer=dr.SGD(0.1), epochs=1, batch_size=None, l1=0.03, l2=0.2)
    gradient = textbook_gradients(before, X, Y, np.ones(67))
    for layer in ("dense_1", "dense_2"):
        W = before[layer]["weights"]
        np.testing.assert_allclose(net.params[layer]["weights"], W - 0.1 * (gradient[layer]["weights"] + 0.03 * np.sign(W) + 0.2 * W))
        np.testing.assert_allclose(net.params[layer]["bias"], before[layer]["bias"] - 0.1 * gradient[layer]["bias"], atol=1e-12)


def test_same_seed_same_bits_and_another_seed_differs():
    nets = [dr.Network([dr.Dense(7, "relu"), dr.Dropout(0.3), dr.Dense(3, "softmax")], 5, seed=seed) for seed in (4, 4, 5)]
    histories = [net.fit(X, LABELS, epochs=7, validation=0.2) for net in nets]
    assert same(nets[0].params, nets[1].params)
    assert dict(histories[0]) == dict(histories[1])
    assert not same(nets[0].params, nets[2].params)


def test_streams_of_randomness_do_not_shift_each_other():
    """Adding a validation set changes neither first weights nor the order of the batches: the weights after training are equal."""
    with_validation, without = small(), small()
    with_validation.fit(X, Y, epochs=3, validation=(X[:9], Y[:9]), keep="last")
    without.fit(X, Y, epochs=3)
    assert same(with_validation.params, without.params)


def test_segments_do_not_change_the_result(monkeypatch):
    """One epoch at a time, parts of epochs, or all at once: the same bits."""
    results = []
    for seconds in (1e-9, 0.5, 100.0):
        monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", seconds)
        net = classifier()
        history = net.fit(X, LABELS, epochs=9, batch_size=5, validation=0.2)
        results.append((net.params, dict(history)))
    for params, curves in results[1:]:
        assert same(params, results[0][0])
        assert curves == results[0][1]


def test_the_second_call_compiles_nothing():
    net = classifier()
    net.fit(X, LABELS, epochs=3)
    before = epochs_module.advance.programs()
    net.fit(X, LABELS, epochs=3)
    classifier(seed=1).fit(X, LABELS, epochs=3)
    assert epochs_module.advance.programs() == before


def test_curves_are_measured_in_predict_mode_at_the_end_of_the_epoch():
    net = dr.Network([dr.Dense(31, "relu"), dr.Dropout(0.5), dr.Dense(3, "softmax")], 5)
    held_x, held_y = X[:20], LABELS[:20]
    history = net.fit(X[20:], LABELS[20:], epochs=5, validation=(held_x, held_y), keep="last", patience=None)
    for prefix, x, y in (("", X[20:], LABELS[20:]), ("val_", held_x, held_y)):
        measured = net.evaluate(x, y)
        assert history[prefix + "loss"][-1] == pytest.approx(measured["loss"], rel=1e-5)
        assert history[prefix + "accuracy"][-1] == pytest.approx(measured["accuracy"], rel=1e-6)


def test_curves_of_many_rows_are_measured_in_chunks():
    n = 2500
    x = RNG.normal(size=(n, 5)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    net = dr.Network([dr.Dense(2, "softmax")], 5)
    history = net.fit(x, y, epochs=1, validation=(x[:1300], y[:1300]), keep="last")
    probability = net.predict(x)
    assert history["accuracy"][0] == pytest.approx(np.mean(probability.argmax(1) == y), abs=1e-6)
    assert history["val_loss"][0] == pytest.approx(-np.mean(np.log(probability[np.arange(1300), y[:1300]])), rel=1e-4)


def test_early_stopping_keeps_the_best_epoch_and_says_so():
    net = classifier()
    noise = RNG.integers(0, 3, 40)      # labels that cannot be learnt: validation gets worse
    history = net.fit(X[:27], noise[:27], validation=(X[27:40], noise[27:]), epochs=400, patience=5, optimizer=dr.Adam(0.05))
    best = int(np.argmin(history["val_loss"])) + 1
    assert history.stopped == "early"
    assert history.kept_epoch == best
    assert len(history.epochs) == best + 5
    assert history.summary == f"kept epoch {best} of {best + 5} (stopped early, 400 planned)"
    assert net.evaluate(X[27:40], noise[27:])["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_monitor_accuracy_looks_for_the_largest():
    history = classifier().fit(X, LABELS, validation=0.3, epochs=12, monitor="val_accuracy", patience=None)
    assert history.kept_epoch == int(np.argmax(history["val_accuracy"])) + 1


def test_validation_fraction_is_stratified_and_held_out():
    net = classifier()
    net.fit(X, LABELS, validation=0.25, epochs=1)
    assert net.training["rows"] == 67 - 17
    y = np.array([0] * 40 + [1] * 20)
    from deltarule.training.prepare import held_out
    train, held = held_out(0.25, X[:60], y, seed=3)
    assert (np.bincount(y[held]) == [10, 5]).all()
    assert sorted([*train, *held]) == list(range(60))


def test_class_weights_are_sample_weights():
    one, two = classifier(), classifier()
    weights = {0: 1.0, 1: 2.0, 2: 5.0}
    one.fit(X, LABELS, class_weight=weights, epochs=4)
    two.fit(X, LABELS, sample_weight=[weights[label] for label in LABELS], epochs=4)
    assert same(one.params, two.params)
    balanced, by_hand = classifier(), classifier()
    balanced.fit(X, LABELS, class_weight="balanced", epochs=4)
    by_hand.fit(X, LABELS, sample_weight=67 / (3 * np.bincount(LABELS))[LABELS], epochs=4)
    for path, value in flatten(balanced.params).items():
        np.testing.assert_allclose(value, flatten(by_hand.params)[path], rtol=1e-5, atol=1e-6)


def test_lbfgs_takes_the_whole_set_and_converges():
    x = np.linspace(-1, 1, 50)[:, None]
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], 1, seed=1, dtype="float64")
    history = net.fit(x, x**2, optimizer=dr.LBFGS(), epochs=300)
    assert net.training["batch_size"] == 50
    assert np.sqrt(history["loss"][-1]) < 1e-3


# ------------------------------------------------------------------ divergence

def test_divergence_names_the_place_and_restores_the_last_good_weights():
    x = X.copy()
    net = dr.Network([dr.Dense(7, "relu"), dr.Dense(2)], 5)
    with pytest.raises(DivergenceError, match=r"not finite in epoch \d+, step \d+: .*likely cause: .*learning rate is too high"
                                              r".*the last good weights were restored") as caught:
        net.fit(x, Y, optimizer=dr.SGD(1e3), epochs=50, batch_size=8)
    report = caught.value.report
    assert set(report) == {"epoch", "step", "layer", "quantity", "row", "cause"}
    assert all(np.isfinite(value).all() for value in flatten(net.params).values())
    assert caught.value.run.history.stopped == "diverged"


def test_divergence_finds_layer_quantity_and_row():
    """One row among good ones drives a learnt exponential beyond float32: row, layer and quantity are named, and the first bad step."""
    x, y = np.ones((64, 1), "float32"), np.ones((64, 1), "float32")
    x[41] = 200.0
    net = dr.Network({"scale": dr.Dense(1, "exponential", weights=1.0), "out": dr.Dense(1)}, 1)
    with pytest.raises(DivergenceError) as caught:
        net.fit(x, y, optimizer=dr.SGD(1e-6), epochs=2, batch_size=4)
    order = np.asarray(batch_orders(Settings(2, seed=0), 0, 1, 1, 64, 4))[0]
    step = int(np.flatnonzero((order == 41).any(axis=1))[0])
    report = caught.value.report
    assert (report["epoch"], report["step"], report["layer"], report["quantity"], report["row"]) == (1, step + 1, "scale", "activation", 41)
    clean = dr.Network({"scale": dr.Dense(1, "exponential", weights=1.0), "out": dr.Dense(1)}, 1)
    if step:
        clean.fit([(x[rows], y[rows]) for rows in order[:step]], optimizer=dr.SGD(1e-6), epochs=1)
    for path, value in flatten(net.params).items():
        np.testing.assert_allclose(value, flatten(clean.params)[path], rtol=1e-6)


def test_large_inputs_are_named_as_the_cause():
    with pytest.raises(DivergenceError, match=r"likely cause: inputs as large as .*; standardize them"):
        dr.Network([dr.Dense(7, "relu"), dr.Dense(2)], 5).fit(X * 1e6, Y, optimizer=dr.SGD(0.1), epochs=5)


# ----------------------------------------------------------------- interruption

def test_ctrl_c_returns_what_was_learnt(monkeypatch):
    monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", 1e-9)
    net = classifier()

    def interrupt(history):
        if len(history.epochs) == 3:
            raise KeyboardInterrupt

    history = net.fit(X, LABELS, epochs=50, on_segment=interrupt)
    assert history.stopped == "interrupted"
    assert len(history.epochs) == 3
    reference = classifier()
    reference.fit(X, LABELS, epochs=3)
    assert same(net.params, reference.params)


# ---------------------------------------------------------------------- streams

def test_a_stream_learns_as_the_whole_set_does():
    batches = [(X[i:i + 13], Y[i:i + 13]) for i in range(0, 67, 13)]     # the last has 2 rows
    streamed, resident = small(), small()
    history = streamed.fit(batches, loss="quadratic", optimizer=dr.SGD(0.1), epochs=3)
    resident.fit(X, Y, loss="quadratic", optimizer=dr.SGD(0.1), epochs=3, batch_size=13, shuffle=False)
    for path, value in flatten(streamed.params).items():
        np.testing.assert_allclose(value, flatten(resident.params)[path], rtol=1e-10)
    assert list(history) == ["loss"]
    assert len(history["loss"]) == 3


def test_a_stream_from_a_function_validates_and_stops():
    def batches():
        for i in range(0, 60, 20):
            yield X[i:i + 20], LABELS[i:i + 20], np.ones(20)

    net = classifier()
    history = net.fit(batches, validation=(X[60:], LABELS[60:]), epochs=4)
    assert list(history) == ["loss", "val_loss", "val_accuracy"]
    assert history.kept_epoch == int(np.argmin(history["val_loss"])) + 1


@pytest.mark.parametrize(("batches", "epochs", "message"), [
    ([], 1, r"the iterable of batches is empty"),
    (iter([(X, LABELS)]), 2, r"exhausted after epoch 1; give a list, or a function"),
    ([(X[:5], LABELS[:5]), (X, LABELS)], 1, r"a batch has 67 rows, the first had 5; make the first batch the largest"),
    ([X], 1, r"expected batches \(x, y\) or \(x, y, weights\), received ndarray"),
])
def test_mistakes_in_streams(batches, epochs, message):
    with pytest.raises(DeltaruleError, match=message):
        classifier().fit(batches, epochs=epochs)


def test_a_schedule_needs_to_know_the_number_of_batches():
    with pytest.raises(DeltaruleError, match=r"a schedule of learning rates needs the number of batches"):
        classifier().fit(iter([(X, LABELS)]), epochs=1, optimizer=dr.Adam(dr.CosineDecay(0.1)))
    with pytest.raises(DeltaruleError, match=r"a fraction cannot be held out of an iterable"):
        classifier().fit([(X, LABELS)], validation=0.2)
    with pytest.raises(DeltaruleError, match=r"batches carry their own weights"):
        classifier().fit([(X, LABELS)], sample_weight=np.ones(67))


# ---------------------------------------------------------------------- mistakes

@pytest.mark.parametrize(("arguments", "kind", "message"), [
    ({"x": X[:, :3]}, ShapeError, r"x has shape \(67, 3\), the network expects \(n, 5\)"),
    ({"x": X.reshape(67, 1, 5)}, ShapeError, r"the network expects \(n, 5\); reshape with x\.reshape\(-1, 5\)"),
    ({"y": LABELS[:60]}, ShapeError, r"y has shape \(60,\) for 67 rows of x"),
    ({"y": LABELS[:, None]}, ShapeError, r"write y\[:, 0\]"),
    ({"y": np.full(67, np.nan)}, DataError, r"y holds values that are not finite \(first in row 0\)"),
    ({"x": np.full((67, 5), np.inf)}, DataError, r"x holds 335 values that are not finite"),
    ({"y": None}, DeltaruleError, r"expected targets y beside x, or a Dataset, or an iterable of batches"),
    ({"epochs": 0}, DeltaruleError, r"epochs expected a whole number from 1 on, received 0"),
    ({"epochs": None}, DeltaruleError, r"epochs expected a whole number from 1 on, received None"),
    ({"batch_size": 0}, DeltaruleError, r"batch_size expected a whole number from 1 on, or None for the whole set, received 0"),
    ({"patience": -1}, DeltaruleError, r"patience expected a whole number from 1 on, received -1"),
    ({"keep": "first"}, DeltaruleError, r"keep expected 'best', 'last' or 'auto', received 'first'"),
    ({"monitor": "val_f1"}, DeltaruleError, r"monitor 'val_f1' is not measured here; measured: loss, accuracy"),
    ({"metrics": "acuracy"}, DeltaruleError, r"unknown metric 'acuracy'; did you mean 'accuracy'"),
    ({"optimizer": "adm"}, DeltaruleError, r"unknown optimizer 'adm'; did you mean 'adam'"),
    ({"validation": 1.5}, DeltaruleError, r"validation expected a fraction between 0 and 1 or a pair \(x, y\), received 1\.5"),
    ({"sample_weight": np.ones(5)}, ShapeError, r"sample_weight has shape \(5,\), expected one weight for each of the 67 rows"),
    ({"sample_weight": -np.ones(67)}, DataError, r"weights of rows must be finite, not negative, and not all zero"),
    ({"class_weight": {0: 1.0}}, DeltaruleError, r"class_weight names no weight for class 1"),
    ({"class_weight": "even"}, DeltaruleError, r"class_weight expected 'balanced' or a dict"),
])
def test_mistakes_in_fit(arguments, kind, message):
    with pytest.raises(kind, match=message):
        classifier().fit(**{"x": X, "y": LABELS, "epochs": 1} | arguments)


def test_history_is_a_dict_with_a_frame_and_a_figure():
    history = classifier().fit(X, LABELS, validation=0.3, epochs=4, patience=None)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    frame = history.to_frame()
    assert frame.shape == (4, 5)
    assert frame["val_loss"].to_list() == history["val_loss"]
    lines = history.to_csv().splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy"
    assert len(lines) == 5
    axes = history.plot().axes
    assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy"]
    np.testing.assert_array_equal(axes[0].lines[1].get_ydata(), history["val_loss"])
    assert dataclasses.replace(history, stopped="interrupted").summary.endswith("(interrupted, 4 planned)")


@pytest.mark.parametrize(("steps", "each"), [(1, 1e-5), (7, 1e-3), (6000, 1e-4), (469, 0.05), (100_000, 1e-6)])
def test_python_looks_up_twice_a_second(steps, each):
    """Whatever a step takes, the calls cover every step of every epoch once, and none runs much longer than half a second."""
    from deltarule.training.fit import FIRST_STEPS, GROWTH, SEGMENT_SECONDS, Pace
    from deltarule.training.history import History
    pace, history, done, epoch, planned = Pace(steps), History(), 0, 0, 40
    for call in range(10_000):
        first, last, epochs = pace.bounds(done, planned - epoch)
        assert first == done
        assert first < last <= steps
        assert epochs == 1 or (first, last) == (0, steps)
        count = (last - first) * epochs
        assert count <= (max(1, min(SEGMENT_SECONDS / each * 1.01, GROWTH * history.steps)) if call else FIRST_STEPS)
        pace.learn(count, count * each, history)
        done = 0 if last == steps else last
        epoch += epochs if last == steps else 0
        if epoch >= planned:
            break
    assert epoch == planned
    assert history.step_seconds == pytest.approx(history.steps * each)


def test_orders_drawn_ahead_are_those_drawn_late():
    """However many epochs the program that runs leaves time for, and however many are asked for then."""
    from deltarule.training.fit import Orders

    class Running:
        def __init__(self, looks):
            self.looks = looks

        def is_ready(self):
            self.looks -= 1
            return self.looks < 0

    settings = Settings(7, seed=3, first_epoch=2)
    for looks in (0, 2, 100):
        drawn = Orders(settings, 4, 13, 5)
        drawn.of(0, 1)
        drawn.ahead(Running(looks))
        assert sorted(drawn.known) == list(range(1, 1 + min(looks, 4)))     # no more than one call can take
        for epoch, epochs in ((1, 4), (5, 2)):
            np.testing.assert_array_equal(drawn.of(epoch, epochs)[:epochs], batch_orders(settings, epoch, epochs, 4, 13, 5)[:epochs])
            drawn.ahead(Running(looks))
        assert not drawn.known      # nothing behind the last epoch


def test_the_less_there_is_to_do_the_faster_it_is_compiled():
    net = small()
    learner = net._learner(net._loss("quadratic", fresh=True), ())
    work = [net._planned(learner, rows, 1) for rows in (10**8 // net._multiply_adds, 10**9 // net._multiply_adds, 10**9)]
    assert [(each.quick, each.lean) for each in work] == [(True, True), (False, True), (False, False)]


def test_all_right_is_exactly_one():
    """A share of 1/200 for each row adds up to 0.9999992 in float32, and goal=1.0 would never be reached."""
    net = dr.Network([dr.Dense(2, "softmax")], input_shape=1)
    net.params["dense_1"]["weights"] = np.array([[-1.0, 1.0]], np.float32)
    labels = np.arange(200) % 2
    assert net.evaluate(2.0 * labels[:, None] - 1, labels)["accuracy"] == 1.0
