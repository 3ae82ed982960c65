"""One output for each class: one-vs-all asks four questions, softmax asks one.

Pedestrian, car, motorcycle or truck? A layer of four neurons has one output for each class, trained towards (1, 0, 0, 0),
(0, 1, 0, 0) and so on. With sigmoid outputs every neuron answers for itself whether it is its class or one of the others, one-vs-all.
With softmax the four outputs share one probability. The class with the largest output is predicted.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, near

ROWS = (7,)
EQUATIONS = ("one-vs-all: y_hat_c = sigmoid(a_c), a question of its own for each class c", "softmax: y_hat_c = exp(a_c) / sum_k exp(a_k)",
             "predicted class = argmax_c y_hat_c")
PARTS = ("dr.Dense", "dr.Adam", "dr.losses.BinaryCrossEntropy", "dr.losses.CrossEntropy", "dr.metrics.accuracy",
         "dr.figures.decision_regions")

CLASSES = ("pedestrian", "car", "motorcycle", "truck")
MEAN = np.array([[0.8, 1.70], [4.0, 1.55], [2.3, 1.40], [6.5, 2.6]])        # length and height in metres: made up, but plausible
SPREAD = np.array([[0.25, 0.15], [0.7, 0.20], [0.5, 0.20], [1.6, 0.6]])      # standard deviations, of the objects and of the camera


def teach(board: Board) -> None:
    """The same data for both kinds of outputs, without and with a hidden layer, beside scikit-learn and the best possible."""
    train_x, train_y = traffic(250, seed=0)
    test_x, test_y = traffic(1000, seed=1)
    best = dr.metrics.accuracy(test_y, best_guess(test_x))
    board.say("A camera measures length and height of what passes on a road, not without error. The data are generated: 250 "
              "of each class to learn from, 1,000 of each to test. As the formula behind them is known, so is the best that "
              "anyone can do: to choose the class under which the measurement is most likely.")
    nets = {(layers, output): trained(train_x, train_y, layers, output)
            for layers in ("one layer", "hidden layer") for output in ("sigmoid", "softmax")}
    accuracy = {key: dr.metrics.accuracy(test_y, net.predict(scaled(test_x)).argmax(axis=1)) for key, net in nets.items()}
    board.table(["test accuracy", "one-vs-all (sigmoid)", "softmax"],
                [[f"{layers} of neurons" if layers == "one layer" else "with 8 tanh units before it", accuracy[layers, "sigmoid"],
                  accuracy[layers, "softmax"]] for layers in ("one layer", "hidden layer")] + [["the best possible", best, best]])
    references = scikit_learn(train_x, train_y, test_x, test_y)
    board.number("one-vs-all, one layer: accuracy", accuracy["one layer", "sigmoid"], near(references[0], 0.01))
    board.number("softmax, one layer: accuracy", accuracy["one layer", "softmax"], near(references[1], 0.01))
    board.say("(Expected is what scikit-learn reaches on the same data.) With one layer softmax is better. Motorcycles lie "
              "between pedestrians and cars, cars between motorcycles and trucks: no single line parts such a class from "
              "all others. Softmax does not ask for that, only for a_c to be the largest of the four.")
    table = dr.metrics.confusion_table(test_y, nets["one layer", "sigmoid"].predict(scaled(test_x)).argmax(axis=1), 4)
    board.table(["one-vs-all, one layer", *(f"said {name}" for name in CLASSES)],
                [[f"is {name}", *row] for name, row in zip(CLASSES, table, strict=True)])
    for output, name in (("sigmoid", "one-vs-all"), ("softmax", "softmax")):
        board.number(f"{name}, hidden layer: accuracy", accuracy["hidden layer", output], at_least(best - 0.02))
    board.say("With a hidden layer the four questions need no straight lines any more, and both come near the best "
              "possible. A typical one of each class, and the four outputs:")
    for output in ("sigmoid", "softmax"):
        h = nets["hidden layer", output].predict(scaled(MEAN))
        board.table([output, *CLASSES, "sum"], [[name, *(round(float(v), 3) for v in row), round(float(row.sum()), 3)]
                                               for name, row in zip(CLASSES, h, strict=True)])
        board.number(f"{output}: distance from (1, 0, 0, 0), ... (0, 0, 0, 1)", float(np.abs(h - np.eye(4)).max()), at_most(0.1))
    board.figure("regions", draw(nets, train_x, train_y, accuracy),
                 "the answers of one layer and of two, over the plane of length and height")


def traffic(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and heights (4 each, 2) and classes (4 each,)."""
    y = np.repeat(np.arange(4), each)
    return MEAN[y] + SPREAD[y] * np.random.default_rng(seed).normal(size=(len(y), 2)), y


def scaled(x: np.ndarray) -> np.ndarray:
    """Metres to numbers around zero."""
    return (x - [3.4, 1.8]) / [2.4, 0.6]


def best_guess(x: np.ndarray) -> np.ndarray:
    """The class under which x is most likely, by the normal distributions that made it."""
    z = (x[:, None] - MEAN) / SPREAD
    return (-0.5 * z ** 2 - np.log(SPREAD)).sum(axis=2).argmax(axis=1)


def trained(x: np.ndarray, y: np.ndarray, layers: str, output: str) -> dr.Network:
    """Four outputs, one for each class, with one-hot targets."""
    hidden = [] if layers == "one layer" else [dr.Dense(8, "tanh")]
    net = dr.Network([*hidden, dr.Dense(4, output)], input_shape=2, seed=0, dtype="float64")
    net.fit(scaled(x), np.eye(4)[y], optimizer=dr.Adam(0.2), batch_size=None, epochs=500, progress=False)
    return net


def scikit_learn(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> list[float]:
    """The accuracies of logistic regression, one-vs-rest and multinomial."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(C=np.inf, max_iter=1000)
    return [float(each.fit(scaled(train_x), train_y).score(scaled(test_x), test_y)) for each in (OneVsRestClassifier(model), model)]


def draw(nets: dict[tuple[str, str], dr.Network], x: np.ndarray, y: np.ndarray, accuracy: dict[tuple[str, str], float]) -> Any:
    """The regions of the four networks; the axes are labelled in metres."""
    fig, axes = dr.figures.panels(columns=2, rows=2, width=4.3, height=3.1)
    few = np.arange(0, len(y), 5)
    for ax, ((layers, output), net) in zip(axes, nets.items(), strict=True):
        name = "one-vs-all" if output == "sigmoid" else "softmax"
        dr.figures.decision_regions(net, scaled(x)[few], y[few], ax=ax, names=CLASSES, lines=False,
                                    title=f"{name}, {layers}: {accuracy[layers, output]:.1%}")
        ax.set_xticks((np.arange(0, 11, 2) - 3.4) / 2.4, [str(m) for m in range(0, 11, 2)])
        ax.set_yticks((np.arange(1, 5) - 1.8) / 0.6, [str(m) for m in range(1, 5)])
        ax.set_xlabel("length (m)")
        ax.set_ylabel("height (m)")
    return fig
