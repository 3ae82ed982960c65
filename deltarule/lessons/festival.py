"""A perceptron decides: shall we go to the cheese festival in Gouda?

Three questions are answered by 0 or 1: is the weather good, does a friend come along, is the way easy? Each has a weight that says
how much it matters, and the neuron says yes when the weighted sum exceeds a threshold. Taken to the other side the threshold
becomes a bias, b = -threshold: the same decisions, written as every later neuron is.
"""

import itertools

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import equals

ROWS = (2,)
EQUATIONS = ("y = 1 if sum_j w_j x_j > threshold, else 0", "y = 1 if sum_j w_j x_j + b > 0, else 0      with b = -threshold")
PARTS = ("dr.Dense", "dr.Network.predict", "dr.textbook.perceptron", "dr.textbook.perceptron_threshold")

WEIGHTS = np.array([6.0, 2.0, 2.0])     # weather, friend, way
DECISIONS = {5: [0, 0, 0, 0, 1, 1, 1, 1], 3: [0, 0, 0, 1, 1, 1, 1, 1]}     # worked out by hand, inputs in counting order


def teach(board: Board) -> None:
    """All eight inputs under both thresholds, in both forms, in the textbook and as a network."""
    x = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    sums = x @ WEIGHTS
    net = dr.Network([dr.Dense(1, "step")], input_shape=3)
    answers = {}
    for threshold in (5, 3):
        net.params = {"dense_1": {"weights": WEIGHTS[:, None], "bias": np.array([-float(threshold)])}}
        answers[threshold] = [dr.textbook.perceptron_threshold(x, WEIGHTS, threshold), dr.textbook.perceptron(x, WEIGHTS, -threshold),
                              net.predict(x)[:, 0]]
    board.table(["weather friend way", "sum", "threshold 5", "threshold 3"],
                [[" ".join(f"{int(v)}" for v in row), total, int(answers[5][2][i]), int(answers[3][2][i])]
                 for i, (row, total) in enumerate(zip(x, sums, strict=True))])
    board.say("With threshold 5 the weather alone decides; with threshold 3 a friend and an easy way together outweigh bad weather.")
    for threshold, expected in DECISIONS.items():
        board.number(f"decisions with threshold {threshold}", answers[threshold][2].astype(int), equals(expected))
    agree = all(np.array_equal(first, other) for first, *others in answers.values() for other in others)
    board.number("both forms agree", agree, equals(True))
    board.figure("sums", _figure(x, sums), "the weighted sum of each input against the two thresholds: what lies above says yes")


def _figure(x: np.ndarray, sums: np.ndarray) -> object:
    fig, (ax,) = dr.figures.panels(width=5.2, height=3.2)
    ax.bar(range(8), sums, color=[dr.figures.BLUE if total > 5 else dr.figures.SKY if total > 3 else "0.8" for total in sums])
    for threshold in (5, 3):
        ax.axhline(threshold, color="0.25", linestyle="--" if threshold == 5 else ":", linewidth=1.2)
        ax.text(-0.45, threshold + 0.15, f"threshold {threshold}", fontsize=9)
    ax.set_xticks(range(8), ["".join(f"{int(v)}" for v in row) for row in x])
    ax.set_xlabel("weather, friend, way")
    ax.set_ylabel("weighted sum 6, 2, 2")
    return fig
