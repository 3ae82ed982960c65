"""A sigmoid neuron is logistic regression: it learns the probability of a class.

The sigmoid turns the weighted sum into a number between 0 and 1, read as p(y = 1 given x). Training maximizes the probability of the
answers in the data, which is the same as minimizing the cross-entropy. Statisticians have long called this model logistic
regression; the neuron finds their coefficients. Above 0.5 it predicts class 1.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals, near

ROWS = (5,)
EQUATIONS = ("a = w x + b,   y_hat = sigmoid(a) = 1 / (1 + exp(-a)) = p(y = 1 given x)",
             "L = -1/n sum_i (y_i ln y_hat_i + (1 - y_i) ln(1 - y_hat_i))",
             "predict 1 if y_hat > 0.5, that is if a > 0")
PARTS = ("dr.Dense", "dr.LBFGS", "dr.Network.fit", "dr.losses.BinaryCrossEntropy", "dr.figures.decision_regions")


def teach(board: Board) -> None:
    """Tumours by two measurements: the neuron's coefficients beside scikit-learn's, and what they mean."""
    from sklearn.linear_model import LogisticRegression

    x, y = tumours()
    board.say("569 tumours are benign (1) or malignant (0). Two measurements of their cells, the mean radius and the mean "
              "texture, standardized, tell a good deal, yet not all: the classes overlap.")
    net = dr.Network([dr.Dense(1, "sigmoid")], input_shape=2, dtype="float64")
    net.fit(x, y[:, None], optimizer=dr.LBFGS(), epochs=60, progress=False)
    neuron = np.append(net.params["dense_1"]["weights"][:, 0], net.params["dense_1"]["bias"])
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y)
    reference = np.append(model.coef_[0], model.intercept_)
    board.table(["", "w radius", "w texture", "b"], [["sigmoid neuron", *neuron], ["LogisticRegression", *reference]])
    board.number("coefficients differ from scikit-learn's by", np.abs(neuron - reference).max(), at_most(1e-3))
    p = net.predict(x)[:, 0]
    board.number("probabilities differ from scikit-learn's by", np.abs(p - model.predict_proba(x)[:, 1]).max(), at_most(1e-3))
    board.number("decision at 0.5: answers that differ from scikit-learn's", np.sum((p > 0.5) != model.predict(x)), equals(0))
    a = x @ neuron[:2] + neuron[2]
    board.number("answers where p > 0.5 and a > 0 disagree", np.sum((p > 0.5) != (a > 0)), equals(0))
    board.say("At the minimum the derivative with respect to b is zero, and that is the mean of y_hat - y. So the "
              "probabilities must add up to the number of benign tumours.")
    board.number("sum of the probabilities", p.sum(), near(float(y.sum()), 1e-3))
    board.say("And they can be taken at their word. The tumours sorted into five groups by p:")
    rows = []
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        group = (p >= low) & (p <= low + 0.2)
        rows.append([f"{low:g} to {low + 0.2:g}", int(group.sum()), float(p[group].mean()), float(y[group].mean())])
    board.table(["p from the neuron", "tumours", "mean p", "share that is benign"], rows)
    board.say(f"{np.mean((p > 0.5) == y):.1%} of the tumours are on their side of the line.")
    board.figure("neuron", draw(net, x, y, a, p), "left: the plane with the line y_hat = 0.5; right: the sigmoid over the weighted sum, "
                 "with each tumour at its a and at its class")


def tumours() -> tuple[np.ndarray, np.ndarray]:
    """Mean radius and mean texture with mean 0 and deviation 1 (569, 2), and 1 for benign (569,)."""
    data = dr.data.breast_cancer()
    x = np.asarray(data.x, float)[:, :2]
    return (x - x.mean(axis=0)) / x.std(axis=0), data.y


def draw(net: dr.Network, x: np.ndarray, y: np.ndarray, a: np.ndarray, p: np.ndarray) -> Any:
    """Decision regions and the sigmoid."""
    fig, (left, right) = dr.figures.panels(columns=2, width=4.4, height=3.6)
    dr.figures.decision_regions(net, x, y, ax=left, lines=False, names=["malignant", "benign"],
                                features=["mean radius (scaled)", "mean texture (scaled)"])
    order = np.argsort(a)
    right.plot(a[order], p[order], color="0.25", linewidth=1.6, label="y_hat = sigmoid(a)")
    rng = np.random.default_rng(0)
    for label, colour, name in ((0, dr.figures.BLUE, "malignant"), (1, dr.figures.ORANGE, "benign")):
        height = label + rng.uniform(-0.04, 0.04, int(np.sum(y == label)))
        right.scatter(a[y == label], height, s=9, color=colour, alpha=0.5, linewidths=0, label=name)
    right.axhline(0.5, color="0.4", linestyle=":", linewidth=1)
    right.axvline(0.0, color="0.4", linestyle=":", linewidth=1)
    right.set_xlim(-10, 8)
    right.set_xlabel("weighted sum a = w x + b")
    right.set_ylabel("p(benign)")
    right.legend(frameon=False, fontsize=9, loc=(0.02, 0.6))
    return fig
