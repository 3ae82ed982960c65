"""Connectionist temporal classification: against all paths written out, against the textbook, against differences, and as a loss."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltarule as dr
from deltarule import textbook
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.losses import CTC, Output
from deltarule.metrics import edit_distance, label_error_rate
from deltarule.ops.ctc import ctc
from deltarule.spec import from_json, to_json

SIZES = st.tuples(st.sampled_from([1, 5]), st.just(3), st.integers(0, 1000))        # few shapes: each is compiled


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def collapsed(path, blank):
    """What a path says: repetitions are one label, blanks none (Graves et al. 2006, section 3.1)."""
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def all_labellings(y, blank=0):
    """The probability of everything that can be said, every path written out."""
    found = {}
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        said = collapsed(path, blank)
        found[said] = found.get(said, 0.0) + np.prod(y[np.arange(len(y)), path])
    return found


def drawn(size, scale=2.0):
    T, K, seed = size
    return np.random.default_rng(seed).normal(0, scale, (T, K))


def padded(labels, blank=0, width=6):
    return np.array([[*row, *[blank] * (width - len(row))] for row in labels], np.int32)


@jax.jit
def both(a, labels, lengths, blank, mask):
    return ctc(a, labels, lengths, blank, mask), jax.grad(lambda a: jnp.sum(ctc(a, labels, lengths, blank, mask)))(a)


def losses(a, labels, blank=0, rows=32, mask=None):
    """The engine's losses and gradients in float64, of at most so many rows."""
    n, spare = len(a), rows - len(a)
    mask = np.ones(a.shape[:2], bool) if mask is None else mask
    with jax.enable_x64(True):
        wide = np.concatenate([a, np.zeros((spare, *a.shape[1:]))])
        value, slope = both(wide, padded([*labels, *[()] * spare], blank), np.array([*map(len, labels), *[0] * spare], np.int32),
                            np.int32(blank), np.concatenate([mask, np.ones((spare, a.shape[1]), bool)]))
        return np.asarray(value)[:n], np.asarray(slope)[:n]


@given(SIZES, st.data())
def test_every_labelling_has_the_probability_of_its_paths(size, choose):
    """All labellings of a sequence at once, as a batch of labels of unequal length; the engine, and the textbook."""
    a = drawn(size)
    blank = choose.draw(st.integers(0, size[1] - 1))
    found = all_labellings(softmax(a), blank)
    labels = list(found)[:32]
    given = losses(np.stack([a] * len(labels)), labels, blank)[0]
    np.testing.assert_allclose(np.exp(-given), [found[one] for one in labels], rtol=1e-10)
    for one in labels[:4]:
        assert np.exp(-textbook.ctc(softmax(a), one, blank).loss) == pytest.approx(found[one], rel=1e-12)
    assert sum(found.values()) == pytest.approx(1)


@given(SIZES, st.data())
def test_the_gradient_is_the_textbooks_and_that_of_differences(size, choose):
    a = drawn(size)
    label = choose.draw(st.sampled_from(sorted(all_labellings(softmax(a)))))
    found = textbook.ctc(softmax(a), label)
    delta = losses(a[None], [label])[1][0]
    np.testing.assert_allclose(delta, found.delta, atol=1e-11)
    moves = 1e-6 * np.eye(a.size).reshape(a.size, *a.shape)
    value = losses(np.concatenate([a + moves, a - moves]), [label] * (2 * a.size))[0]
    np.testing.assert_allclose(delta.ravel(), (value[:a.size] - value[a.size:]) / 2e-6, atol=1e-7)


@given(SIZES, st.data())
def test_the_two_passes_meet_in_every_step(size, choose):
    """Equation 14 of the paper: sum_s alpha_t(s) beta_t(s) / y_t(l'_s) is p at every t; and every step says something."""
    y = softmax(drawn(size))
    label = choose.draw(st.sampled_from(sorted(all_labellings(y))))
    found = textbook.ctc(y, label)
    extended = [0, *(part for one in label for part in (one, 0))]
    np.testing.assert_allclose((found.alpha * found.beta / y[:, extended]).sum(axis=1), np.exp(-found.loss), rtol=1e-10)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1, rtol=1e-10)


def test_long_sequences_and_large_numbers_stay_finite():
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.normal(0, 40, (2, 300, 5)).astype("float32"))
    y = jnp.asarray(rng.integers(1, 5, (2, 40)).astype("int32"))
    value, slope = jax.value_and_grad(lambda a: jnp.sum(CTC().rows(Output(None, a, "softmax"), y)))(a)
    assert np.isfinite(float(value))
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(np.asarray(slope).sum(axis=2), 0, atol=1e-3)


def test_float32_is_as_good_as_it_can_be():
    rng = np.random.default_rng(1)
    a = rng.normal(0, 2, (7, 60, 5))
    labels = [tuple(rng.integers(1, 5, count)) for count in range(7)]
    one = CTC().rows(Output(None, jnp.asarray(a, "float32"), "softmax"), jnp.asarray(padded(labels)))
    np.testing.assert_allclose(one, losses(a, labels)[0], rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------------------- padding

@given(st.lists(st.booleans(), min_size=5, max_size=5).filter(any), st.integers(0, 99), st.data())
def test_steps_of_padding_change_neither_the_loss_nor_the_gradient(there, seed, choose):
    """Padding before, between and behind: the paths written out and the textbook are those of the real steps alone."""
    a, there = drawn((5, 3, seed)), np.array(there)
    found = all_labellings(softmax(a[there]))
    label = choose.draw(st.sampled_from(sorted(found)))
    value, slope = losses(a[None], [label], mask=there[None])
    assert np.exp(-value[0]) == pytest.approx(found[label], rel=1e-10)
    np.testing.assert_allclose(slope[0][there], textbook.ctc(softmax(a[there]), label).delta, atol=1e-11)
    np.testing.assert_array_equal(slope[0][~there], 0)


LENGTHS = np.array([7, 3, 5, 1])
LABELS = [(1, 2, 1), (2,), (1, 1), ()]


def padded_net(steps):
    layers = [dr.Masked(9.0), dr.Bidirectional(dr.GRU(4, return_sequences=True)), dr.Dense(3, "softmax")]
    return dr.Network(layers, input_shape=(steps, 2), dtype="float64", seed=3)


def test_a_network_hears_and_learns_the_same_from_padded_sequences():
    """Four sequences at once, filled up, against each alone in a network of its length: loss, gradient, a step of training, labels."""
    rng, one, y = np.random.default_rng(0), padded_net(9), padded(LABELS)
    sequences = [rng.normal(size=(T, 2)) for T in LENGTHS]
    x, lengths = dr.data.pad(sequences, value=9.0, steps=9)
    trace = one.trace(x, y, loss="ctc")
    alone, p = [], []
    for i, sequence in enumerate(sequences):
        net = padded_net(len(sequence))
        alone.append(net.trace(sequence[None], padded([LABELS[i]], width=max(1, len(LABELS[i]))), loss="ctc"))
        p.append(net.predict(sequence[None]))
        assert alone[-1].losses[0] == pytest.approx(-np.log(all_labellings(p[-1][0])[LABELS[i]]), rel=1e-9)
    np.testing.assert_allclose(trace.losses, [each.losses[0] for each in alone], rtol=1e-9)
    assert one.evaluate(x, y, loss="ctc")["loss"] == pytest.approx(np.mean(trace.losses))
    gradient = np.mean([each["dense_1"].gradients["weights"] for each in alone], axis=0)
    np.testing.assert_allclose(trace["dense_1"].gradients["weights"], gradient, atol=1e-12)
    before = one.params["dense_1"]["weights"].copy()
    for beam in (None, 8):
        assert dr.ctc_decode(one.predict(x), beam, lengths=lengths) == [dr.ctc_decode(row, beam)[0] for row in p]
    one.fit(x, y, loss="ctc", optimizer=dr.SGD(0.5), epochs=1, batch_size=None, progress=False)
    np.testing.assert_allclose(one.params["dense_1"]["weights"], before - 0.5 * gradient, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------------------ decoding

@given(SIZES)
def test_the_best_path_and_the_widest_beam(size):
    y = softmax(drawn(size))
    found = all_labellings(y)
    assert dr.ctc_decode(y[None])[0] == collapsed(y.argmax(axis=1), 0)
    best = dr.ctc_decode(y[None], beam=1000)[0]
    assert found[best] == pytest.approx(max(found.values()))


def test_a_narrow_beam_is_at_least_as_good_as_the_best_path_mostly_and_long_sequences_stay_in_range():
    rng = np.random.default_rng(0)
    y = softmax(rng.normal(0, 1, (20, 8, 3)))
    p = [all_labellings(row) for row in y]
    beam, path = (np.mean([found[said] for found, said in zip(p, dr.ctc_decode(y, beam=width), strict=True)]) for width in (8, None))
    assert beam > 1.2 * path
    assert len(dr.ctc_decode(softmax(rng.normal(0, 3, (1, 3000, 4))), beam=3)[0]) > 100


@given(st.text("ab", max_size=5), st.text("ab", max_size=5), st.text("ab", max_size=5))
def test_edit_distance_is_one(x, y, z):
    """A distance, and the shortest chain of single edits, found by searching."""
    assert (edit_distance(x, y) == 0) == (x == y)
    assert edit_distance(x, y) == edit_distance(y, x) <= edit_distance(x, z) + edit_distance(z, y)
    reached, steps = {x}, 0
    while y not in reached and steps < 3:
        near = {t[:i] + c + t[j:] for t in reached for i in range(len(t) + 1) for j in (i, i + 1) for c in ("", "a", "b") if j <= len(t)}
        reached, steps = reached | near, steps + 1
    assert edit_distance(x, y) == steps if y in reached else edit_distance(x, y) > steps


def test_label_error_rate_counts_all_rows_together():
    assert label_error_rate([(1, 2, 3), ()], [(1, 3), (2, 2)]) == pytest.approx(3 / 4)


# ----------------------------------------------------------------------------------------------------------------------- learning

def spoken(n, seed):
    """Labels 1 to 3, each held for one to three steps after a pause of none to two, as noisy one-hot inputs."""
    rng = np.random.default_rng(seed)
    x, y = 0.15 * rng.normal(size=(n, 20, 4)), np.zeros((n, 4), np.int32)
    for row, word in zip(x, y, strict=True):
        at, last = 0, 0
        for i in range(rng.integers(1, 5)):
            word[i] = rng.integers(1, 4)
            at += rng.integers(0, 3) + (word[i] == last)
            held = rng.integers(1, 4)
            row[at:at + held, word[i]] += 1
            at, last = at + held, word[i]
    return x.astype("float32"), y


def test_a_network_learns_to_write_down_what_it_hears(tmp_path):
    x, y = spoken(300, 0)
    net = dr.Network([dr.Bidirectional(dr.GRU(12, return_sequences=True)), dr.Dense(4, "softmax")], input_shape=(20, 4))
    history = net.fit(x, y, loss="ctc", optimizer=dr.Adam(0.02), epochs=30, validation=0.1, progress=False)
    assert not any("accuracy" in name for name in history.curves)
    x, y = spoken(100, 1)
    true = [tuple(int(label) for label in row if label) for row in y]
    assert label_error_rate(dr.ctc_decode(net.predict(x)), true) < 0.1
    net.save(tmp_path / "model.safetensors")
    assert dr.load(tmp_path / "model.safetensors").evaluate(x, y)["loss"] == pytest.approx(net.evaluate(x, y)["loss"], rel=1e-5)
    assert from_json(to_json(CTC(2))) == CTC(2)


NET = dr.Network([dr.Dense(3, "softmax")], input_shape=(4, 2))


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: NET.evaluate(np.zeros((2, 4, 2)), np.array([[1, 1, 2], [1, 1, 1]]), loss="ctc"), DataError,
     r"row 1 of the labels needs 5 steps \(one for each label, and a blank between equal ones\), the network gives 4"),
    (lambda: NET.evaluate(np.zeros((2, 4, 2)), np.array([[1, 2], [0, 1]]), loss="ctc"), DataError,
     r"row 1 of the labels has a blank \(0\) before a label; blanks only fill up behind the last"),
    (lambda: NET.evaluate(np.zeros((1, 4, 2)), np.array([[3]]), loss="ctc"), DataError,
     r"ctc expected labels as whole numbers from 0 to 2, received 3 of type int"),
    (lambda: NET.evaluate(np.zeros((1, 4, 2)), np.array([[0.5]]), loss="ctc"), DataError, r"from 0 to 2, received 0\.5 of type float"),
    (lambda: NET.evaluate(np.zeros((2, 4, 2)), np.array([1, 2]), loss="ctc"), ShapeError,
     r"ctc expected outputs \(n, steps, K\) and labels \(n, L\), received outputs \(n, 4, 3\) and targets \(2,\)"),
    (lambda: NET.evaluate(np.zeros((1, 4, 2)), np.array([[1]]), loss=CTC(3)), DeltaruleError, r"has the blank 3 and the network 3 outputs"),
    (lambda: dr.Network([dr.Dense(3)], input_shape=(4, 2)).evaluate(np.zeros((1, 4, 2)), np.array([[1]]), loss="ctc"), DeltaruleError,
     r"ctc needs 'softmax' or 'log_softmax' at the network's output"),
    (lambda: CTC(-1), DeltaruleError, r"CTC expected blank to be a whole number of at least 0, received -1"),
    (lambda: dr.ctc_decode(np.ones((2, 3))), ShapeError, r"ctc_decode expected probabilities of shape \(n, steps, K\), received \(2, 3\)"),
    (lambda: dr.ctc_decode(np.ones((1, 2, 3))), DataError, r"ctc_decode expected probabilities that sum to 1 in every step"),
    (lambda: dr.ctc_decode(np.ones((1, 2, 1)), beam=0), DeltaruleError, r"beam expected a whole number of at least 1, received 0"),
    (lambda: dr.ctc_decode(np.ones((1, 2, 1)), blank=1), DeltaruleError, r"blank expected a whole number .*, received 1"),
    (lambda: padded_net(4).evaluate([[[1.0, 1]] * 4, [[1, 1]] * 2 + [[9, 9]] * 2], np.array([[1, 2, 1]] * 2), loss="ctc"), DataError,
     r"row 1 of the labels needs 3 steps \(one for .*\), the network gives 2 that are no padding"),
    (lambda: dr.ctc_decode(np.ones((2, 3, 1)), lengths=[3]), ShapeError,
     r"lengths has shape \(1,\), expected one length for each of the 2 sequences: \(2,\)"),
    (lambda: dr.ctc_decode(np.ones((2, 3, 1)), lengths=[3, 4]), DataError,
     r"sequence 1 has the length 4, expected a whole number from 1 to 3"),
    (lambda: label_error_rate([()], []), DeltaruleError, r"label_error_rate expected as many rows said as true, received 1 and 0"),
    (lambda: label_error_rate([()], [()]), DeltaruleError, r"label_error_rate expected at least one true label, received none"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
