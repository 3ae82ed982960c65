"""Losses: how wrong a prediction is, and which error the output layer sends back.

The lectures write the squared error in three forms that differ by a factor; for classes they use the cross-entropy, with the class
as a one-hot row. The loss decides the delta of the output. The squared error of a sigmoid unit carries the slope g'(a), which is
nearly zero where the unit is badly wrong; the cross-entropy cancels that slope, and delta = y_hat - y.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals, near

ROWS = (14,)
EQUATIONS = ("squared error:  sum_k (y_hat_k - y_k)^2      1/K sum_k (...)      1/2 sum_k (...), over n rows 1/(2n) sum |y - y_hat|^2",
             "cross-entropy:  - sum_k y_k ln y_hat_k,   y_hat = softmax(a),   delta = y_hat - y",
             "binary:  - (y ln y_hat + (1 - y) ln(1 - y_hat)),   y_hat = sigmoid(a),   delta = y_hat - y",
             "squared error of a sigmoid:  delta = (y_hat - y) g'(a)")
PARTS = ("dr.losses", "dr.losses.SquaredError", "dr.losses.CrossEntropy", "dr.losses.BinaryCrossEntropy", "dr.data.one_hot",
         "dr.Network.trace", "dr.textbook.LOSSES")

ETA, EPOCHS = 0.15, 300                     # of Nielsen's example
STARTS = {0.6: 0.09, 2.0: 0.20}             # first weight: output after 300 epochs (Nielsen 2015, chapter 3)
BIASES = {0.6: 0.9, 2.0: 2.0}


def teach(board: Board) -> None:
    """Values and deltas of five losses against the textbook, one-hot rows, and the slow start of the squared error."""
    _values_and_deltas(board)
    _badly_wrong(board)


def _values_and_deltas(board: Board) -> None:
    rng = np.random.default_rng(0)
    x, numbers = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    classes = np.array([0, 1, 2, 1, 0, 2, 2])
    one_hot = dr.data.one_hot(classes).astype(np.float64)
    board.say(f"One layer of three units, seven rows. Class {classes[1]} as a one-hot row is {one_hot[1].astype(int).tolist()}. Loss and "
              "delta of every row, from the engine and from the textbook:")
    rows, apart = [], {"value": 0.0, "delta": 0.0}
    for name, g, y in (("sum_squared_error", "linear", numbers), ("mean_squared_error", "linear", numbers),
                       ("quadratic", "linear", numbers), ("quadratic", "sigmoid", one_hot),
                       ("binary_cross_entropy", "sigmoid", one_hot), ("cross_entropy", "softmax", one_hot)):
        net = dr.Network([dr.Dense(3, g, bias=0.5)], input_shape=5, dtype="float64")
        trace, oracle = net.trace(x, y, loss=name), dr.textbook.loss(name)
        a, h, delta = trace["dense_1"].preactivation, trace.output, trace["dense_1"].delta
        expected = oracle.prime(a, y) if oracle.outputs else dr.textbook.through(g, a, oracle.prime(h, y))
        apart["value"] = max(apart["value"], np.abs(trace.losses - oracle.rows(a if oracle.outputs else h, y)).max())
        apart["delta"] = max(apart["delta"], np.abs(delta - expected).max())
        rows.append([name, g, trace.loss, delta[0, 0]])
        if g == "softmax":
            by_number = net.trace(x, classes, loss=name).losses
            same = bool(np.allclose(by_number, trace.losses, rtol=0, atol=1e-14))
            delta_is_error = np.abs(delta - (h - y)).max()
    board.table(["loss", "output", "mean loss", "delta, row 1, unit 1"], rows)
    board.number("values against textbook", apart["value"], at_most(1e-10))
    board.number("deltas against textbook", apart["delta"], at_most(1e-10))
    board.number("sum over mean, three outputs", rows[0][2] / rows[1][2], near(3.0, 1e-12))
    board.number("sum over half", rows[0][2] / rows[2][2], near(2.0, 1e-12))
    board.number("softmax delta minus (y_hat - y)", delta_is_error, at_most(1e-14))
    board.number("class numbers and one-hot rows agree", same, equals(True))


def _badly_wrong(board: Board) -> None:
    """One sigmoid unit whose input is 1 and whose answer should be 0, from two starts, with both losses (Nielsen 2015, chapter 3)."""
    board.say(f"One sigmoid unit, input 1, target 0, {EPOCHS} steps with learning rate {ETA}. Started at w = 0.6, b = 0.9 it says 0.82, "
              "wrong; started at w = b = 2 it says 0.98, badly wrong. With the squared error it learns slowest where it is most wrong.")
    outputs: dict[tuple[str, float], np.ndarray] = {}
    for loss in ("quadratic", "binary_cross_entropy"):
        for w in STARTS:
            outputs[loss, w] = _learn(loss, w, BIASES[w])
    board.table(["start", "first output", "last, squared error", "last, cross-entropy"],
                [[f"w = {w:g}, b = {BIASES[w]:g}", round(outputs["quadratic", w][0], 2), round(outputs["quadratic", w][-1], 2),
                  round(outputs["binary_cross_entropy", w][-1], 2)] for w in STARTS])
    for w, published in STARTS.items():
        board.number(f"squared error from w = {w:g}, last output", outputs["quadratic", w][-1], near(published, 0.005))
        board.number(f"cross-entropy from w = {w:g}, last output", outputs["binary_cross_entropy", w][-1], at_most(0.02))
    y_hat = outputs["quadratic", 2.0][0]
    board.say(f"At the badly wrong start the delta is y_hat - y = {y_hat:.2f} with the cross-entropy and {y_hat * y_hat * (1 - y_hat):.3f} "
              "with the squared error: the flat end of the sigmoid swallows the rest.")
    board.number("first delta, cross-entropy over squared error", 1 / (y_hat * (1 - y_hat)), at_least(50))
    board.figure("slow-start", _figure(outputs), "the output of the unit, which should be 0: the squared error (orange) hardly moves a "
                 "badly wrong unit at first, the cross-entropy (blue) moves it fastest then")


def _learn(loss: str, w: float, b: float) -> np.ndarray:
    """The outputs of the unit before each of the EPOCHS steps, and at the end."""
    net = dr.Network([dr.Dense(1, "sigmoid")], input_shape=1, dtype="float64")
    net.params = {"dense_1": {"weights": np.array([[w]]), "bias": np.array([b])}}
    record = dr.Record(every=1, quantities=("weights",))
    history = net.fit([[1.0]], [[0.0]], loss=loss, optimizer=dr.SGD(ETA), epochs=EPOCHS, batch_size=1, record=record, progress=False)
    path = history.recording["weights"]
    before = dr.textbook.sigmoid(path["dense_1/weights"].reshape(-1) + path["dense_1/bias"].reshape(-1))
    return np.append(before, net.predict([[1.0]]))


def _figure(outputs: dict[tuple[str, float], np.ndarray]) -> object:
    fig, axes = dr.figures.panels(columns=2, width=4.2, height=3.2)
    for ax, w in zip(axes, STARTS, strict=True):
        for loss, colour, style in (("quadratic", dr.figures.ORANGE, "-"), ("binary_cross_entropy", dr.figures.BLUE, "--")):
            ax.plot(outputs[loss, w], color=colour, linestyle=style, label=loss.replace("_", " "))
        ax.set_title(f"start w = {w:g}, b = {BIASES[w]:g}", fontsize=10)
        ax.set_xlabel("epoch")
        ax.set_ylabel("output of the unit")
        ax.set_ylim(-0.02, 1.02)
    axes[0].legend(frameon=False, fontsize=9)
    return fig
