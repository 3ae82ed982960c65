"""Answers of an encoder and decoder: greedy by hand, beams against every sentence there is, stopping, and the model itself."""

import itertools

import numpy as np
import pytest

import deltarule as dr
from deltarule import translation
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.scope import CARRIED, flatten, unflatten
from deltarule.training.carrying import cache, followed

K, T, START, STOP = 3, 3, 0, 2


def speaker(seed, vocabulary=K, length=T, **settings):
    """A network with large random weights, so that sentences differ much in their probabilities."""
    net = dr.models.transformer(4, vocabulary, 5, length, width=8, heads=2, blocks=1, seed=seed, **settings)
    rng = np.random.default_rng(seed)
    net.params = unflatten({path: rng.normal(0, 0.9, value.shape).astype("float32") for path, value in flatten(net.params).items()})
    return net


NET = speaker(1)
SOURCE = np.array([[1, 2, 3, 0, 1], [3, 3, 2, 1, 0], [0, 1, 0, 1, 0]])


def sentences(net, source, stop):
    """ln p and length of every sentence that can be said to one source; behind the stop only the stop."""
    found = {}
    for words in itertools.product(range(K), repeat=T):
        length = words.index(stop) + 1 if stop in words else T
        sentence = words[:length] + (stop,) * (T - length)
        p = net.predict({"source": source[None], "target": dr.data.shifted([sentence], START)})[0]
        found[sentence] = float(np.sum(np.log(p[np.arange(length), sentence[:length]]))), length
    return found


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_with_all_beams_the_best_of_all_sentences_is_found(seed, power):
    net = speaker(seed)
    answers = dr.translate(net, SOURCE, start=START, stop=STOP, beams=K**T, power=power)
    for source, answer in zip(SOURCE, answers, strict=True):
        known = sentences(net, source, STOP)
        ranked = sorted(known, key=lambda sentence: -known[sentence][0] / known[sentence][1]**power)
        assert tuple(answer) == ranked[0]


def test_one_beam_takes_the_most_probable_word_every_time():
    net = speaker(6, vocabulary=6, length=7)
    answers = dr.translate(net, SOURCE, start=1)
    for source, answer in zip(SOURCE, answers, strict=True):
        written = [1]
        for t in range(7):
            row = np.array([written + [0] * (7 - len(written))])
            written.append(int(net.predict({"source": source[None], "target": row})[0, t].argmax()))
        assert answer.tolist() == written[1:]
    assert np.ptp(answers) > 0


def test_more_beams_find_no_less_probable_sentences_and_length_counts():
    net = speaker(5, vocabulary=6, length=7)
    source = np.random.default_rng(0).integers(0, 4, (60, 5))

    def ln_p(words):
        p = net.predict({"source": source, "target": dr.data.shifted(words, 0)})
        each = np.log(np.take_along_axis(p, words[..., None], axis=2)[..., 0])
        spoken = np.cumsum(words == 5, axis=1) - (words == 5) == 0
        return np.sum(each * spoken, axis=1), spoken.sum(axis=1)

    one, five = (dr.translate(net, source, start=0, stop=5, beams=beams) for beams in (1, 5))
    assert np.all(ln_p(five)[0] > ln_p(one)[0] - 1e-4)
    assert np.mean(ln_p(five)[0]) > np.mean(ln_p(one)[0]) + 0.01
    fair = dr.translate(net, source, start=0, stop=5, beams=5, power=1.0)
    assert ln_p(fair)[1].mean() >= ln_p(five)[1].mean()
    for words in (one, five, fair):
        assert np.all(np.diff((words == 5).astype(int), axis=1) >= 0)      # behind the stop only the stop


def test_a_transformer_learns_to_copy_sources_of_unequal_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, 1500)
    y = np.where(np.arange(5) < lengths[:, None], rng.integers(2, 6, (1500, 5)), 1)        # 1 stops
    x = np.where(y == 1, 0, y)                                                              # 0 fills up
    net = dr.models.transformer(6, 6, 5, 5, width=32, heads=2, blocks=1, padding=0)
    net.fit({"source": x[:1300], "target": dr.data.shifted(y[:1300], 0)}, y[:1300], optimizer=dr.Adam(0.005), epochs=15, progress=False)
    assert np.mean(np.all(dr.translate(net, x[1300:], start=0, stop=1) == y[1300:], axis=1)) > 0.97


def with_decoder(*layers):
    decoder = [dr.Embedding(6, 8), *layers, dr.Dense(6, "softmax")]
    return dr.Network(dr.EncoderDecoder([dr.Masked(0), dr.Embedding(4, 8), dr.GRU(8, return_sequences=True)], decoder, 5, 7), seed=2)


SPEAKERS = {
    "transformer": speaker(6, vocabulary=6, length=7),
    "padding and rotary": speaker(7, vocabulary=6, length=7, padding=0, rotary=True),
    "recurrent and attentive": with_decoder(dr.AttentiveLSTM(7), dr.GRU(8, return_sequences=True), dr.MultiHeadAttention(2, cross=True)),
    "attentive alone": with_decoder(dr.AttentiveLSTM(7)),
    "own": with_decoder(dr.Residual(dr.LSTM(8, return_sequences=True)), dr.TransformerDecoder(2)),
}


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("name", SPEAKERS)
def test_step_by_step_the_answers_are_those_of_the_whole(name, beams, monkeypatch):
    net, source = SPEAKERS[name], np.random.default_rng(3).integers(1, 4, (5, 5))
    source[1, 3:] = 0 if "padding" in name else 1
    kept = []
    monkeypatch.setattr(translation, "cache", lambda *given: kept.append(cache(*given)) or kept[-1])
    found = dr.translate(net, source, start=0, stop=5, beams=beams, power=0.5)
    assert all(kept)
    monkeypatch.setattr(translation, "cache", lambda *given: None)
    np.testing.assert_array_equal(found, dr.translate(net, source, start=0, stop=5, beams=beams, power=0.5))


def test_what_is_kept_follows_the_beams():
    kept = {CARRIED: {"lstm_1": {"h": np.arange(12.0).reshape(6, 2), "begun": np.array(True)},
                      "attention": {"keys": np.arange(48.0).reshape(12, 2, 2), "place": np.int32(3)}}}
    found = followed(kept, np.array([[2, 0, 0], [1, 1, 2]], "int32"))[CARRIED]
    rows = [2, 0, 0, 4, 4, 5]
    np.testing.assert_array_equal(found["lstm_1"]["h"], kept[CARRIED]["lstm_1"]["h"][rows])
    keys, after = (one["attention"]["keys"].reshape(6, 2, 2, 2) for one in (kept[CARRIED], found))
    np.testing.assert_array_equal(after, keys[rows])
    assert found["lstm_1"]["begun"]
    assert found["attention"]["place"] == 3


ALL_WAYS = dr.Network(dr.EncoderDecoder(dr.Embedding(4, 8), [dr.Embedding(3, 8), dr.TransformerEncoder(2), dr.Dense(3, "softmax")], 5, 4))


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: dr.translate(3, SOURCE, start=0), DeltaruleError, r"translate expected a Network, received int"),
    (lambda: dr.translate(dr.Network([dr.Dense(3)], 5), SOURCE, start=0), DeltaruleError, r"translate needs an EncoderDecoder alone"),
    (lambda: dr.translate(ALL_WAYS, SOURCE, start=0), DeltaruleError, r"translate needs a causal decoder, in this one early"),
    (lambda: dr.translate(NET, SOURCE, start=3), DeltaruleError, r"start expected a whole number of at least 0 and at most 2, received 3"),
    (lambda: dr.translate(NET, SOURCE, start=0, stop=-1), DeltaruleError, r"stop expected a whole number of at least 0 and at most 2"),
    (lambda: dr.translate(NET, SOURCE, start=0, beams=0), DeltaruleError, r"beams expected a whole number of at least 1 and at most 2048"),
    (lambda: dr.translate(NET, SOURCE, start=0, power=-1), DeltaruleError, r"power expected a finite number of at least 0, received -1"),
    (lambda: dr.translate(NET, SOURCE[:, :4], start=0), ShapeError, r"source has shape \(3, 4\), the network expects \(n, 5\)"),
    (lambda: dr.translate(NET, SOURCE + 1, start=0), DataError, r"source holds 4 in row 0, position 2; its Embedding expected whole"),
    (lambda: dr.translate(NET, SOURCE[:0], start=0), DataError, r"source has shape \(0, 5\): nothing to learn from"),
    (lambda: dr.models.transformer(4, 5, 0, 3), DeltaruleError, r"transformer expected source_length to be a whole number from 1 on"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
