"""The lessons on sequences: all numbers hold, and the decisive ones are worked out again by other means."""

import math

import numpy as np
import pytest
import scipy.stats

import deltarule as dr
from deltarule.lessons import attention, language_model, light_curves, tones
from deltarule.lessons.board import Board


def test_attention_reverses_and_every_number_is_as_expected(result):
    found = result("attention")
    assert found.passed, found.text
    assert {"share of new sequences reversed without a mistake", "layer, largest difference from the textbook",
            "textbook, largest difference from the numbers by hand"} <= set(found.numbers)
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (9.4, 6.7), strict=True))


def test_the_numbers_by_hand_are_those_of_pythons_own_exponential():
    weight = math.exp(2 / math.sqrt(2))
    first = weight / (weight + 1)
    assert (round(first, 4), round(4 * (1 - first), 4)) == (0.8044, 0.7823)


def test_attention_sees_a_wrong_textbook(monkeypatch):
    right = dr.textbook.attention_forward
    monkeypatch.setattr(dr.textbook, "attention_forward", lambda Q, K, V: right(1.01 * np.asarray(Q), K, V))
    board = Board()
    attention._by_hand(board)
    assert [check.passed for check in board.checks] == [False, False]


@pytest.mark.slow
def test_the_language_model_learns_more_than_pairs_and_writes(result):
    found = result("language-model")
    assert found.passed, found.text
    assert {"held-out text, nats per character", "nats below those of the pairs",
            "share of its words that occur in the text"} <= set(found.numbers)
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (11, 6.7), strict=True))


def test_counts_of_characters_and_pairs_by_hand():
    single, pair = language_model.counted(np.array([0, 1, 0, 1]), np.array([[0, 1]]), np.array([[1, 1]]), 2)
    np.testing.assert_allclose(single, math.log(2))                                             # 3 of 6 each
    np.testing.assert_allclose(pair, -(math.log(3 / 4) + math.log(1 / 3)) / 2)                  # 01: 2 + 1 of 4; 11: 0 + 1 of 3


def test_light_curves_are_told_apart_and_every_number_is_as_expected(result):
    found = result("light-curves")
    assert found.passed, found.text
    assert min(found.numbers[f"{name}, accuracy on new stars"] for name in ("CNN", "GRU")) >= 0.95
    assert {"stars", "confusion", "mistake"} == set(found.figures)
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (9.4, 6.7), strict=True))


def test_the_statistics_of_light_curves_are_scipys():
    stars = dr.data.light_curves(7)
    for row, values in zip(light_curves.statistics(stars), stars.values, strict=True):
        m = values[:, 0]
        np.testing.assert_allclose(row, (m.mean(), m.std(), scipy.stats.skew(m), m.max() - m.min()))


@pytest.mark.slow
def test_tones_are_heard_and_notes_written_down(result):
    found = result("tones")
    assert found.passed, found.text
    assert {"sounds", "notes"} == set(found.figures)
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (9.4, 6.7), strict=True))


def test_tones_sees_a_wrong_textbook(monkeypatch):
    right = dr.textbook.ctc
    monkeypatch.setattr(dr.textbook, "ctc", lambda y, word: right(y, word)._replace(loss=1.01 * right(y, word).loss))
    board = Board()
    x, y, lengths = dr.data.melodies(2, rate=tones.RATE, seconds=tones.SECONDS, longest=tones.LONGEST)
    net = tones.writer(x.shape[1:])
    tones._by_the_textbook(board, net, x, [tuple(row[:n].tolist()) for row, n in zip(y, lengths, strict=True)], y)
    assert [check.passed for check in board.checks] == [False]
