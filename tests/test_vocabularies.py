"""Vocabularies: what is encoded comes back, byte pairs against the algorithm written out, and that they are saved with the network."""

import re
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltarule as dr
from deltarule.data import BytePairs, Characters, Words
from deltarule.errors import DataError, DeltaruleError, ShapeError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
RHYME = "the cat sat on the mat, the cat sat on the hat; that was that. " * 5
PAIRS = BytePairs.train(RHYME, size=290)


# ------------------------------------------------------------------------------------------------------------------ round trips

@given(TEXTS.filter(bool))
def test_characters_come_back(text):
    letters = Characters.fit(text)
    assert letters.decode(letters.encode(text)) == text
    assert len(letters) == len(set(text)) == letters.encode(text).max() + 1
    assert Characters.fit([text, text[:1]]) == letters


def test_characters_are_those_of_texts():
    with pytest.raises(DeltaruleError, match="a vocabulary reads text, received int"):
        Characters.fit([3, 4])


@given(TEXTS)
def test_byte_pairs_know_every_text(text):
    assert PAIRS.decode(PAIRS.encode(text)) == text


@given(TEXTS.filter(lambda text: re.search(r"\S", text)))
def test_words_come_back_but_for_the_space_between_them(text):
    words = Words.fit(text)
    numbers = words.encode(text)
    np.testing.assert_array_equal(words.encode(words.decode(numbers)), numbers)
    assert re.sub(r"\s", "", words.decode(numbers)) == re.sub(r"\s", "", text)


def test_words_of_a_usual_text_come_back_whole():
    words = Words.fit(RHYME, first=("<begin>", "<end>"))
    assert words.decode(words.encode(RHYME)) == RHYME.strip()
    assert words.words[:6] == ("<begin>", "<end>", "the", "cat", "on", "sat")
    assert words.encode("<begin> the cat. <end>").tolist() == [0, 2, 3, words.words.index("."), 1]


def test_rare_words_are_left_out_and_become_the_unknown():
    words = Words.fit([RHYME, "a zebra"], most=4, first=("<unknown>",), unknown="<unknown>")
    assert len(words) == 4
    assert words.decode(words.encode("the zebra sat")) == "the <unknown> <unknown>"


# ------------------------------------------------------------------------------------------------------------------- byte pairs

def merged(parts, pair):
    """The parts with every occurrence of the pair joined, from the left."""
    result = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result


def learnt_by_hand(text, count):
    """Sennrich et al. 2016, figure 1: join the most frequent pair, again and again; words keep the blank before them."""
    words = {word: [bytes([byte]) for byte in word.encode()] for word in re.findall(r" ?[a-z]+| ?[^\sa-z]+|\s", text)}
    often = Counter(re.findall(r" ?[a-z]+| ?[^\sa-z]+|\s", text))
    for _ in range(count):
        pairs = Counter()
        for word, parts in words.items():
            for pair in pairwise(parts):
                pairs[pair] += often[word]
        pair = pairs.most_common(1)[0][0]
        words = {word: merged(parts, pair) for word, parts in words.items()}
    return sum(often[word] * len(parts) for word, parts in words.items())


def test_byte_pairs_shorten_the_text_as_the_algorithm_does():
    """Which of two equally frequent pairs comes first is free, how much each merge saves is not."""
    for size in (257, 260, 270):
        assert len(BytePairs.train(RHYME, size).encode(RHYME)) == learnt_by_hand(RHYME, size - 256)


def test_byte_pairs_are_encoded_by_their_merges_in_order():
    pairs = BytePairs(((97, 98), (98, 99), (256, 99)))          # ab, bc, abc
    assert [pairs.token(i) for i in (256, 257, 258)] == [b"ab", b"bc", b"abc"]
    assert pairs.encode("abcbcab").tolist() == [258, 257, 256]
    assert pairs.decode([258, 257, 99]) == "abcbcc"


def test_the_same_bytes_joined_in_another_way_are_no_new_number():
    pairs = BytePairs(((97, 98), (98, 99), (256, 99), (97, 257)))
    assert len(pairs) == 259
    assert pairs.encode("abc").tolist() == [258]


def test_half_a_character_is_shown_as_such():
    numbers = PAIRS.encode("ü")
    assert len(numbers) == 2
    assert PAIRS.decode(numbers[:1]) == "\N{REPLACEMENT CHARACTER}"


def test_training_stops_where_nothing_occurs_twice():
    assert len(BytePairs.train("abcdefg", 300)) == 256


# -------------------------------------------------------------------------------------------------------------------- with a model

@pytest.mark.parametrize("symbols", [Characters("abc€"), Words(("<end>", "cat"), unknown="<end>"), PAIRS,
                                     {"from": Words(("le", "chat")), "to": Characters("\N{GRINNING FACE}")}], ids=str)
def test_the_vocabulary_is_saved_with_the_network(symbols, tmp_path):
    net = dr.Network([dr.Embedding(5, 2)], input_shape=(3,))
    net.symbols = symbols
    net.save(tmp_path / "model.safetensors")
    loaded = dr.load(tmp_path / "model.safetensors")
    assert loaded.symbols == symbols
    assert b"pickle" not in (tmp_path / "model.safetensors").read_bytes()


def test_a_network_without_vocabulary_has_none(tmp_path):
    dr.Network([dr.Dense(1)], input_shape=(3,)).save(tmp_path / "model.safetensors")
    assert dr.load(tmp_path / "model.safetensors").symbols is None


def test_a_loaded_vocabulary_decodes_without_the_library(tmp_path, monkeypatch):
    numbers = PAIRS.encode("the cat")
    again = BytePairs(PAIRS.merges)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert again.decode(numbers) == "the cat"
    with pytest.raises(DeltaruleError, match=r"BytePairs needs the library tokenizers; pip install 'deltarule\[text\]'"):
        again.encode("the cat")


def saved_with(symbols, tmp_path):
    net = dr.Network([dr.Dense(1)], input_shape=(3,))
    net.symbols = symbols
    net.save(tmp_path / "model.safetensors")


def test_what_is_no_vocabulary_is_not_saved(tmp_path):
    with pytest.raises(DeltaruleError, match=r"set is not registered, so a file that holds it could not be loaded again"):
        saved_with({"a", "b"}, tmp_path)


# --------------------------------------------------------------------------------------------------------------------- mistakes

@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: Characters("aa"), DeltaruleError, r"Characters expected a text of different characters, received 'aa'"),
    (lambda: Characters("ab").encode("abc"), DataError, r"the text holds 'c' at place 2, which is not among the 2 known"),
    (lambda: Characters("ab").decode([2]), DataError, r"numbers holds 2, expected whole numbers from 0 to 1"),
    (lambda: Characters("ab").decode([[0]]), ShapeError, r"decode expected numbers of shape \(n,\), received \(1, 1\)"),
    (lambda: Words("the cat"), DeltaruleError, r"Words expected a tuple of words, received 'the cat'; .* write Words\.fit\(text\)"),
    (lambda: Words(("the cat",)), DeltaruleError, r"Words expected single words or punctuation marks, received 'the cat'"),
    (lambda: Words(("a", "b", "a")), DeltaruleError, r"Words holds 'a' twice; every word needs a number of its own"),
    (lambda: Words(("a",), unknown="?"), DeltaruleError, r"unknown='\?' is not among the words"),
    (lambda: Words(("a", "b")).encode("a b zebra"), DataError, r"the text holds 'zebra' as word 3, which is not among the 2 known words"),
    (lambda: Words.fit(7), DeltaruleError, r"a vocabulary reads text, received int"),
    (lambda: Words.fit(" \n"), DeltaruleError, r"Words expected a tuple of words, received \(\)"),
    (lambda: Words.fit("a b", 1, first=("<end>",)), DeltaruleError, r"most expected a whole number of at least 2, received 1"),
    (lambda: BytePairs.train("ab", 255), DeltaruleError, r"size expected a whole number of at least 256, received 255"),
    (lambda: BytePairs.train("", 300), DataError, r"BytePairs\.train expected some text, received none"),
    (lambda: BytePairs(((97, 256),)), DeltaruleError,
     r"merge 0 of BytePairs expected two whole numbers from 0 to 255, received \(97, 256\)"),
    (lambda: BytePairs(((97, 97), *((i, i) for i in range(256, 300)))), DeltaruleError,
     r"merge 12 of BytePairs joins 8192 bytes, more than"),
    (lambda: PAIRS.encode("\ud800"), DataError, r"the text holds half a character \('\\ud800' at place 0\), which no text file can"),
    (lambda: PAIRS.token(9999), DataError, r"numbers holds 9999, expected whole numbers from 0 to 2\d\d"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
