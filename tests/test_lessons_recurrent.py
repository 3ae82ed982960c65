"""The lessons on recurrent networks: all numbers hold, and the decisive ones are worked out again by other means."""

import math

import numpy as np
import pytest

import deltarule as dr
from deltarule.lessons import adding_problem, lstm, recurrent
from deltarule.lessons.board import Board

DEMANDED = {        # the numbers that the lectures' table asks for
    "recurrent": ["trace, largest difference from the numbers by hand", "gradients beside textbook, largest difference",
                  "linear: largest relative difference from radius^lag", "tanh: the bound |W|^lag holds at every lag"],
    "lstm": ["lstm_1: largest difference from the numbers by hand", "LSTM, largest difference from the textbook",
             "GRU, largest difference from the textbook", "squared error, both ways", "alone and padded, largest difference"],
    "adding-problem": [f"{name}: squared error on new sequences" for name in ("LSTM", "GRU", "plain")],
}
SLOW = ("adding-problem",)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DEMANDED])
def test_every_number_is_as_expected_and_the_demanded_ones_are_there(as_demanded, name):
    as_demanded(name, DEMANDED[name])


def test_the_three_steps_by_hand_are_those_of_pythons_own_tanh():
    """x = (1, 0, -1), U = 1, W = 1/2, V = 2, y = 1, one step after the other."""
    a1, h1 = 1.0, math.tanh(1.0)
    a2 = h1 / 2
    h2 = math.tanh(a2)
    a3 = -1 + h2 / 2
    h3 = math.tanh(a3)
    back3 = 2 * (2 * h3 - 1)
    delta3 = (1 - h3**2) * back3
    delta2 = (1 - h2**2) * delta3 / 2
    delta1 = (1 - h1**2) * delta2 / 2
    for name, values in (("a", (a1, a2, a3)), ("h", (h1, h2, h3)), ("dL/dh", (delta2 / 2, delta3 / 2, back3)),
                         ("delta", (delta1, delta2, delta3))):
        assert recurrent.BY_HAND[name] == pytest.approx(values, abs=5e-5)
    gradients = {"dL/dU": delta1 - delta3, "dL/dW": h1 * delta2 + h2 * delta3, "dL/dV": h3 * (2 * h3 - 1)}
    told = recurrent.GRADIENTS_BY_HAND
    assert told == pytest.approx(gradients, abs=5e-5)


def test_the_gates_by_hand_are_those_of_pythons_own_exponential():
    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    c = sigmoid(2) * 1 + sigmoid(0) * math.tanh(1)
    told = lstm.LSTM_BY_HAND, lstm.GRU_BY_HAND
    assert told[0] == pytest.approx({"i_0": 0.5, "f_0": sigmoid(2), "o_0": sigmoid(1), "g_0": math.tanh(1), "c_0": c,
                                     "h_0": sigmoid(1) * math.tanh(c)}, abs=5e-5)
    candidate = math.tanh(1 + 0.5 * 1)
    assert told[1] == pytest.approx({"r_0": 0.5, "z_0": sigmoid(1), "q_0": 1.0, "h~_0": candidate,
                                     "h_0": sigmoid(1) * 0.5 + (1 - sigmoid(1)) * candidate}, abs=5e-5)


def test_a_wrong_textbook_is_seen(monkeypatch):
    right = dr.textbook.lstm_forward
    monkeypatch.setattr(dr.textbook, "lstm_forward", lambda theta, x: right({**theta, "b_f": theta["b_f"] + 0.01}, x))
    board = Board()
    lstm._against_the_textbook(board)
    assert [check.passed for check in board.checks] == [False, True]


def test_who_reads_one_way_cannot_beat_the_floor():
    """A quarter of the variance of the unseen step, 1/3 / 4, at 19 of 20 steps: by drawing."""
    x = np.random.default_rng(0).uniform(-1, 1, (100_000, 20))
    unseen = np.pad(x, ((0, 0), (0, 1)))[:, 1:] / 2
    assert np.mean(unseen**2) == pytest.approx(19 / 20 / 12, rel=0.01)


def test_the_adding_lesson_in_short_runs_through_and_fails_honestly(monkeypatch):
    """Six steps on 100 sequences solve nothing, and the lesson says so."""
    for name, value in (("SEQUENCES", 100), ("EPOCHS", 3), ("UNITS", 4)):
        monkeypatch.setattr(adding_problem, name, value)
    board = Board()
    adding_problem.teach(board)
    passed = {check.name: check.passed for check in board.checks}
    assert passed["squared error of always answering 1"]
    assert passed["plain: squared error on new sequences"]
    assert not passed["LSTM: squared error on new sequences"]
    assert not passed["GRU: squared error on new sequences"]
    assert list(board.figures) == ["learning", "lag", "gates"]
