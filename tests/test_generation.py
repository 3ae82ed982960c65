"""Writing with a language model, text and its windows, and the figure of attention."""

import itertools
import json
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

import deltarule as dr
from deltarule import generation
from deltarule.cli import main
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.generation import chosen
from deltarule.layers.forward import forward
from deltarule.layers.scope import flatten, unflatten
from deltarule.training.carrying import cache

NET = dr.models.language_model(5, 6, width=8, heads=2, blocks=1, seed=3)


def by_hand(net, prompt, length):
    """The most probable number, again and again, from the plain predictions for the last steps."""
    written = list(prompt)
    for _ in range(length):
        seen = written[-net.input_shape[0]:]
        row = np.zeros((1, *net.input_shape), int)
        row[0, :len(seen)] = seen
        written.append(int(net.predict(row)[0, len(seen) - 1].argmax()))
    return written


@pytest.mark.parametrize("prompt", [[2], [0, 1, 2, 3, 4, 3, 2, 1, 0]])
def test_greedy_writing_is_that_of_the_predictions(prompt):
    """Also where what is written becomes longer than the network's rows."""
    assert dr.generate(NET, prompt, 12, temperature=0).tolist() == by_hand(NET, prompt, 12)


def test_draws_have_the_models_probabilities_and_come_from_the_seed():
    p = NET.predict(np.array([[3, 1, 0, 0, 0, 0]]))[0, 1]
    drawn = dr.generate(NET, np.tile([3, 1], (4000, 1)), 1)
    assert drawn.shape == (4000, 3)
    share = np.bincount(drawn[:, 2], minlength=5) / 4000
    assert np.all(np.abs(share - p) < 4 * np.sqrt(p * (1 - p) / 4000))
    one, two, other = (dr.generate(NET, [3], 30, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_top_k_and_top_p_keep_what_they_say():
    a = np.random.default_rng(0).normal(0, 2, size=(17, 11)).astype("float32")
    for top_k, top_p in ((3, 1.0), (11, 0.7), (2, 0.9), (11, 1e-6)):
        kept = np.isfinite(chosen(jnp.asarray(a), top_k, top_p))
        for row, which in zip(a, kept, strict=True):
            p = np.exp(row) / np.exp(row).sum()
            order = np.argsort(-p)
            fewest = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1
            assert set(np.flatnonzero(which)) == set(order[:min(top_k, fewest)])
    assert set(dr.generate(NET, np.tile([3, 1], (200, 1)), 1, top_k=1)[:, 2]) == {dr.generate(NET, [3, 1], 1, temperature=0)[2]}


def test_a_model_that_has_learnt_a_pattern_writes_it():
    text = "abcd" * 100
    letters = dr.data.Characters.fit(text)
    x, y = dr.data.windows(letters.encode(text), 8, step=3)
    net = dr.models.language_model(len(letters), 8, width=16, heads=2, blocks=1, rotary=True)
    net.fit(x, y, optimizer=dr.Adam(0.01), epochs=10, progress=False)
    assert letters.decode(dr.generate(net, letters.encode("cd"), 20)) == "cdabcdabcdabcdabcdabcd"


def test_text_is_read_encoded_and_cut(tmp_path):
    (tmp_path / "poem.txt").write_bytes("\ufeffzwölf\r\nBoxkämpfer\n".encode())
    text = dr.data.read_text(tmp_path / "poem.txt")
    assert text == "zwölf\nBoxkämpfer\n"
    letters = dr.data.Characters.fit(text)
    assert letters.decode(letters.encode(text)) == text
    x, y = dr.data.windows(letters.encode(text), 5, step=2)
    assert x.shape == y.shape == (6, 5)
    for k in range(6):
        assert letters.decode(x[k]) == text[2 * k:2 * k + 5]
        assert letters.decode(y[k]) == text[2 * k + 1:2 * k + 6]


def test_classifier_of_sequences_learns_which_number_is_there():
    x = np.random.default_rng(0).integers(0, 4, (600, 6))
    y = (x == 2).any(axis=1).astype(int)
    net = dr.models.sequence_classifier(4, 6, 2, width=16, heads=2, blocks=1)
    net.fit(x[:500], y[:500], optimizer=dr.Adam(0.01), epochs=10, progress=False)
    assert net.evaluate(x[500:], y[500:])["accuracy"] > 0.95


def test_attention_is_drawn_head_by_head():
    trace = NET.trace(np.arange(5).repeat(6).reshape(5, 6))
    path = "transformer_encoder_1/attention"
    figure = dr.figures.attention(trace, path, row=2, tokens="abcdef")
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == ["head 0", "head 1"]
    for head, ax in enumerate(panels):
        np.testing.assert_allclose(ax.images[0].get_array(), trace[path].taps["attention"][2, head])
        assert [label.get_text() for label in ax.get_yticklabels()] == list("abcdef")
        assert ax.get_xlabel() == "looked at"
    assert bar.get_ylabel() == "attention weight"


def test_attention_to_a_memory_names_both_sides():
    net = dr.models.transformer(5, 5, 4, 3, width=8, heads=2, blocks=1)
    trace = net.trace({"source": [[0, 1, 2, 3]], "target": [[0, 1, 2]]})
    ax = dr.figures.attention(trace, "decoder/transformer_decoder_1/cross", tokens="xyz", memory="abcd").axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == list("abcd")
    assert [label.get_text() for label in ax.get_yticklabels()] == list("xyz")
    with pytest.raises(DeltaruleError, match=r"memory expected 4 words, one for each step, received 3"):
        dr.figures.attention(trace, "decoder/transformer_decoder_1/cross", tokens="xyz", memory="abc")


PLAIN = dr.Network([dr.Dense(3)], 3)
ALL_WAYS = dr.Network([dr.Embedding(5, 4), dr.TransformerEncoder(2), dr.Dense(5, "softmax")], 6)
TRACE = NET.trace(np.zeros((1, 6)))


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: dr.generate(5, [1], 1), DeltaruleError, r"generate expected a Network, received int"),
    (lambda: dr.generate(PLAIN, [1], 1), DeltaruleError, r"generate needs a language model: Embedding\(K, \.\.\.\) first"),
    (lambda: dr.generate(ALL_WAYS, [1], 1), DeltaruleError, r"needs a causal network, in this one early outputs change with later inputs"),
    (lambda: dr.generate(NET, [], 1), ShapeError, r"prompt expected whole numbers of shape \(P,\) or \(n, P\)"),
    (lambda: dr.generate(NET, [5], 1), DataError, r"prompt holds 5; the model's vocabulary are whole numbers from 0 to 4"),
    (lambda: dr.generate(NET, [1], 0), DeltaruleError, r"length expected a whole number of at least 1, received 0"),
    (lambda: dr.generate(NET, [1], 1, temperature=-1), DeltaruleError, r"temperature expected a finite number of at least 0, received -1"),
    (lambda: dr.generate(NET, [1], 1, top_k=6), DeltaruleError, r"top_k expected a whole number of at least 1 and at most 5, received 6"),
    (lambda: dr.generate(NET, [1], 1, top_p=0), DeltaruleError, r"top_p expected a finite number above 0 and at most 1, received 0"),
    (lambda: dr.generate(NET, [1], 1, seed=-1), DeltaruleError, r"seed expected a whole number"),
    (lambda: dr.data.windows([0, 1, 2], 3), DataError, r"the sequence has 3 steps; windows of 3 and what comes next need 4 at least"),
    (lambda: dr.data.windows([0.5, 1], 1), ShapeError, r"windows expected whole numbers of shape \(n,\), received float64 of shape \(2,\)"),
    (lambda: dr.data.windows([0, 1, 2], 1, step=0), DeltaruleError, r"step expected a whole number from 1 on, received 0"),
    (lambda: dr.models.language_model(5, 0), DeltaruleError, r"language_model expected length to be a whole number from 1 on, received 0"),
    (lambda: dr.models.sequence_classifier(5, 4, 0), DeltaruleError,
     r"sequence_classifier expected classes to be a whole number from 1 on, received 0"),
    (lambda: dr.figures.attention(3, "x"), DeltaruleError, r"attention expected what net\.trace\(x\) returns, received int"),
    (lambda: dr.figures.attention(TRACE, "dense_1"), DeltaruleError,
     r"dense_1 \(Dense\) has no attention weights; transformer_encoder_1/attention has"),
    (lambda: dr.figures.attention(TRACE, "dense_1", row=1), DeltaruleError, r"there are 1 rows in the trace, numbered from 0; received 1"),
    (lambda: dr.figures.attention(TRACE, "transformer_encoder_1/attention", tokens="ab"), DeltaruleError,
     r"tokens expected 6 words, one for each step, received 2"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_text_files_that_are_none(tmp_path):
    (tmp_path / "empty").write_text("")
    (tmp_path / "bytes").write_bytes(b"ab\xff")
    with pytest.raises(DataError, match=r"empty is empty, expected text"):
        dr.data.read_text(tmp_path / "empty")
    with pytest.raises(DataError, match=r"bytes is not text in UTF-8 \(byte 2\); save it in that encoding"):
        dr.data.read_text(tmp_path / "bytes")


def test_one_program_writes_any_number_of_steps_below_the_rows_length():
    from deltarule.generation import _write
    dr.generate(NET, [1], 2)
    before = _write._cache_size()
    dr.generate(NET, [4, 2], 3, temperature=0.5, seed=9)
    assert _write._cache_size() == before


def test_a_saved_model_writes_text_again(tmp_path, capsys):
    letters = dr.data.Characters("abcde")
    net = dr.models.language_model(5, 6, width=8, heads=2, blocks=1, seed=3)
    net.symbols = letters
    text = dr.write(net, "ab", 12, temperature=0.7, top_k=4, seed=5)
    assert text == letters.decode(dr.generate(net, [0, 1], 12, temperature=0.7, top_k=4, seed=5))
    net.save(tmp_path / "model.safetensors")
    assert dr.write(dr.load(tmp_path / "model.safetensors"), "ab", 12, temperature=0.7, top_k=4, seed=5) == text
    assert main(["write", str(tmp_path / "model.safetensors"), "ab", "--length", "9"]) == 0
    assert capsys.readouterr().out == dr.write(net, "ab", 9, temperature=0.8) + "\n"
    assert main(["write", str(tmp_path / "model.safetensors"), "ab", "--length", "9", "--seed", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == dr.write(net, "ab", 9, temperature=0.8, seed=2)
    assert main(["write", str(tmp_path / "model.safetensors"), "xy"]) == 2
    assert "holds 'x' at place 0, which is not among the 5 known characters" in capsys.readouterr().err


def test_a_table_does_not_write(tmp_path, capsys):
    model, _ = dr.Model.train(dr.data.iris(), epochs=1, progress=False)
    model.save(tmp_path / "iris.safetensors")
    assert main(["write", str(tmp_path / "iris.safetensors"), "a"]) == 2
    assert "holds a model of a table or of images, which does not write" in capsys.readouterr().err


def with_symbols(symbols):
    net = dr.models.language_model(5, 6, width=8, heads=2, blocks=1)
    net.symbols = symbols
    return net


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dr.write(5, "a"), r"write expected a Network, received int"),
    (lambda: dr.write(with_symbols(None), "a"), r"write needs to know what the network's numbers stand for; set net\.symbols"),
    (lambda: dr.write(with_symbols(dr.data.Characters("abc")), "a"),
     r"net\.symbols holds 3 different symbols, the network's vocabulary 5; set the one that it was trained with"),
    (lambda: dr.write(with_symbols(dr.data.Characters("abcde")), ""), r"write expected a prompt of at least one character, received ''"),
])
def test_mistakes_of_writing(make, message):
    with pytest.raises(DeltaruleError, match=message):
        make()


@dataclass(frozen=True)
class Shift(dr.Layer):
    """h_t = x_t + x_(t-1): a layer of one's own that looks back, and keeps nothing."""

    def __call__(self, x, scope):
        return x + jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]


@dataclass(frozen=True)
class Wrapped(dr.Layer):
    """The same with a layer inside: of its parts alone nobody could tell."""

    layer: dr.Layer

    def __call__(self, x, scope):
        return self.layer(Shift()(x, scope / "shift"), scope / "layer")


def writer(*layers, T=8):
    return dr.Network([dr.Embedding(5, 8), *layers, dr.Dense(5, "softmax")], (T,), seed=1)


WRITERS = {
    "learnt places": writer(dr.Positions(), dr.TransformerEncoder(2, causal=True), dr.LayerNorm()),
    "places for longer rows": writer(dr.Positions(longest=11), dr.MultiHeadAttention(4, causal=True)),
    "sinusoidal places": writer(dr.Positions("sinusoidal"), dr.TransformerEncoder(2, causal=True)),
    "rotary": writer(dr.TransformerEncoder(2, causal=True, rotary=True), dr.TransformerEncoder(4, causal=True, rotary=True)),
    "recurrent": writer(dr.LSTM(8, return_sequences=True, initial="learnt"), dr.GRU(7, return_sequences=True),
                        dr.SimpleRNN(7, return_sequences=True)),
    "padding": dr.Network([dr.Masked(0), dr.Embedding(5, 8), dr.TransformerEncoder(2, causal=True), dr.LSTM(8, return_sequences=True),
                           dr.Dense(5, "softmax")], (8,), seed=1),
    "both": writer(dr.GRU(8, return_sequences=True), dr.Residual(dr.MultiHeadAttention(2, size=6, causal=True, rotary=True)),
                   dr.Dropout(0.5), dr.Parallel([dr.Dense(4, "relu"), dr.LSTM(4, return_sequences=True)])),
}
OWN = {"a layer of one's own": writer(dr.MultiHeadAttention(2, causal=True), Shift()),
       "one that holds a layer": writer(Wrapped(dr.Dense(8)))}


@pytest.mark.parametrize("name", WRITERS)
def test_step_by_step_the_scores_are_those_of_the_whole(name):
    net, tokens = WRITERS[name], np.random.default_rng(0).integers(0, 5, (3, 8))
    state, steps = cache(net.plan.visits, 3, "float32"), []
    for piece in (tokens[:, :1], tokens[:, 1:2], tokens[:, 2:7], tokens[:, 7:]):
        output, state = forward(net.layer, net.params, state, jnp.asarray(piece))
        steps.append(output.a)
    whole, _ = forward(net.layer, net.params, {}, jnp.asarray(tokens))
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole.a, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", WRITERS)
def test_with_the_cache_the_same_numbers_are_drawn(name, monkeypatch):
    net = WRITERS[name]
    options = {"temperature": 0.7, "top_k": 4, "top_p": 0.9, "seed": 3}
    found = dr.generate(net, [[1, 2], [4, 0]], 6, **options)
    monkeypatch.setattr(generation, "cache", lambda *given: None)
    np.testing.assert_array_equal(found, dr.generate(net, [[1, 2], [4, 0]], 6, **options))


@pytest.mark.parametrize("name", WRITERS)
def test_with_the_cache_the_same_beams_are_kept(name, monkeypatch):
    """Beams that change places take along what is kept of them; as far as the rows of the network go."""
    net = WRITERS[name]
    found = dr.generate(net, [[1, 2], [4, 0]], 6, beams=3)
    monkeypatch.setattr(generation, "cache", lambda *given: None)
    np.testing.assert_array_equal(found, dr.generate(net, [[1, 2], [4, 0]], 6, beams=3))


@pytest.mark.parametrize("name", [*sorted(set(WRITERS) - {"padding"}), *OWN])       # predict refuses rows of padding alone
def test_beyond_the_rows_of_the_network(name):
    """The last T steps are seen, however it began; recurrent states alone go on for ever."""
    net, prompt = (WRITERS | OWN)[name], [3, 1, 4]
    found = dr.generate(net, prompt, 14, temperature=0).tolist()
    if name != "recurrent":
        assert found == by_hand(net, prompt, 14)
        return
    stream, expected = dr.Stream(net), list(prompt)
    h = stream([expected])
    for _ in range(14):
        expected.append(int(h[0, -1].argmax()))
        h = stream([expected[-1:]])
    assert found == expected


def searched(net, prompt, length, B):
    """Beam search in plain Python without anything kept: every beam's whole text runs through a network of longer rows for every number."""
    whole = dr.Network(net.layer, (len(prompt) + length,))
    whole.params = net.params
    beams, moved = [(0.0, list(prompt))] * B, 0
    for P in range(len(prompt), len(prompt) + length):
        texts = np.array([text + [0] * (len(prompt) + length - P) for _, text in beams])
        ln_p = np.log(whole.predict(texts)[:, P - 1])
        alive = range(1 if len(prompt) == P else B)
        grown = sorted(((beams[b][0] + ln_p[b, k], b, [*beams[b][1], k]) for b in alive for k in range(5)), reverse=True)[:B]
        moved += [b for _, b, _ in grown] != list(range(B))
        beams = [(score, text) for score, _, text in grown]
    return beams[0][1], moved


def test_beams_of_recurrent_networks_go_on_beyond_the_rows():
    """Rows of 8, texts of 21: the beams change places, and their states, which know all that was written, go with them."""
    net = writer(dr.LSTM(8, return_sequences=True), dr.GRU(7, return_sequences=True), dr.SimpleRNN(7, return_sequences=True))
    net.params["dense_1"]["weights"] = 4 * net.params["dense_1"]["weights"]
    prompts = [[1, 2], [4, 0]]
    found = dr.generate(net, prompts, 19, beams=3).tolist()
    for prompt, text in zip(prompts, found, strict=True):
        expected, moved = searched(net, prompt, 19, 3)
        assert text == expected
        assert moved > 5
    assert found != dr.generate(net, prompts, 19, temperature=0).tolist()


def test_what_is_not_known_to_go_on_step_by_step_is_not_tried():
    for net in OWN.values():
        assert cache(net.plan.visits, 1, "float32") is None
    assert cache(writer(dr.MultiHeadAttention(2)).plan.visits, 1, "float32") is None
    assert cache(dr.Network([dr.Bidirectional(dr.GRU(3, return_sequences=True))], (4, 2)).plan.visits, 1, "float32") is None
    assert cache(dr.Network([dr.Dense(3)], (4, 2)).plan.visits, 1, "float32") is None


def test_texts_of_any_length_are_written_by_few_programs():
    net = writer(dr.TransformerEncoder(2, causal=True), T=16)
    dr.generate(net, [1], 3)
    programs = generation._write_on._cache_size()
    for P, length in ((1, 15), (7, 2), (13, 1)):
        assert dr.generate(net, [2] * P, length).shape == (P + length,)
    assert generation._write_on._cache_size() == programs


def test_with_all_beams_the_most_probable_continuation_is_found():
    """Against every continuation there is, also past the window; one beam is greedy."""
    K, net = 3, dr.models.language_model(3, 4, width=8, heads=2, blocks=1, seed=3)
    rng = np.random.default_rng(3)
    net.params = unflatten({path: rng.normal(0, 0.9, value.shape).astype("float32") for path, value in flatten(net.params).items()})

    def ln_p(text):
        total = 0.0
        for t in range(2, len(text)):
            window = text[max(0, t - 4):t]
            p = net.predict(np.array([[*window, *[0] * (4 - len(window))]]))[0, len(window) - 1]
            total += float(np.log(p[text[t]]))
        return total

    prompts = np.array([[1, 2], [0, 0]])
    found = dr.generate(net, prompts, 4, beams=K**4)
    for prompt, text in zip(prompts, found, strict=True):
        every = [(*prompt, *rest) for rest in itertools.product(range(K), repeat=4)]
        assert tuple(text) == max(every, key=ln_p)
    greedy = dr.generate(net, prompts, 4, temperature=0)
    assert all(ln_p(tuple(best)) >= ln_p(tuple(first)) - 1e-5 for best, first in zip(found, greedy, strict=True))
    with pytest.raises(DeltaruleError, match=r"generate with beams=2 draws nothing; leave out temperature, top_k and top_p"):
        dr.generate(net, [1], 2, beams=2, temperature=0.5)
    with pytest.raises(DeltaruleError, match=r"beams"):
        dr.generate(net, [1], 2, beams=0)
