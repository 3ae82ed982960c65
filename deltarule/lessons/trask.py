"""Trask's toy network learns XOR, and the real engine repeats its published numbers digit for digit.

The network of the lecture has three inputs (the third is always 1 and serves as bias), four hidden sigmoid units and one sigmoid
output. Its update adds the sum over the four examples of l.T delta, with the error y - l2. That is gradient descent on
the quadratic loss 1/(2n) sum (y - l2)^2 over all n = 4 rows with eta = 4: the mean of the loss is taken back by the rate.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (18,)
EQUATIONS = ("l1 = sigma(X syn0)      l2 = sigma(l1 syn1)", "delta_2 = (y - l2) * sigma'(l2)      delta_1 = (delta_2 syn1^T) * sigma'(l1)",
             "syn1 <- syn1 + l1^T delta_2      syn0 <- syn0 + X^T delta_1")
PARTS = ("dr.Dense", "dr.Network.fit", "dr.SGD", "dr.Record", "dr.textbook.backward", "dr.textbook.gradient_step")

X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
Y = np.array([[0.0], [1], [1], [0]])
PRINTED = {0: "0.496410031903", 10_000: "0.00858452565325", 20_000: "0.00578945986251",     # iamtrask.github.io, 12 July 2015
           30_000: "0.00462917677677", 40_000: "0.00395876528027", 50_000: "0.00351012256786"}
FINAL = (0.00260572, 0.99672209, 0.99701711, 0.00386759)       # l2 in the last of the 60,000 steps, same source
STEPS, ETA, BY_HAND = 60_000, 4.0, 10_000


def teach(board: Board) -> None:
    """Trask's 60,000 steps on the engine, from his first weights; the first 10,000 also with the textbook."""
    rng = np.random.RandomState(1)
    syn0, syn1 = 2 * rng.random_sample((3, 4)) - 1, 2 * rng.random_sample((4, 1)) - 1
    net = dr.Network([dr.Dense(4, "sigmoid", use_bias=False), dr.Dense(1, "sigmoid", use_bias=False)], input_shape=3, dtype="float64")
    net.params = {"dense_1": {"weights": syn0}, "dense_2": {"weights": syn1}}
    history = net.fit(X, Y, loss="quadratic", optimizer=dr.SGD(ETA), epochs=STEPS - 1, batch_size=None, metrics=["absolute_error"],
                      record=dr.Record(every=BY_HAND, quantities=("weights",)), progress=False)
    last = net.predict(X)       # the forward pass of the 60,000th step; what Trask prints comes before the update
    weights = dict(zip(history.recording.steps.tolist(), history.recording.params, strict=True))     # of each step, before its update

    board.say("The mean error |y - l2| before the update of every 10,000th step, all twelve digits that Trask printed:")
    for step, printed in PRINTED.items():
        net.params = weights[step]
        board.number(f"mean error at step {step:,}", f"{np.mean(np.abs(Y - net.predict(X))):.12g}", equals(printed))

    board.say("What the trained network answers (the targets are XOR of the first two inputs):")
    board.table(["input", "target", "l2"], [[" ".join(f"{int(v)}" for v in x), int(y[0]), f"{l2[0]:.8f}"]
                                            for x, y, l2 in zip(X, Y, last, strict=True)])
    board.number("largest difference to the printed l2", float(np.abs(last[:, 0] - FINAL).max()), at_most(5.1e-9))

    board.say(f"The textbook's four equations, in NumPy, for {BY_HAND:,} steps from the same start:")
    layers = [dr.textbook.Layer(syn0, None, "sigmoid"), dr.textbook.Layer(syn1, None, "sigmoid")]
    board.number("textbook, mean error at step 0", f"{error(layers):.12g}", equals(PRINTED[0]))
    layers = descend_by_hand(layers)
    board.number("textbook, mean error at step 10,000", f"{error(layers):.12g}", equals(PRINTED[BY_HAND]))
    engine = [weights[BY_HAND][name]["weights"] for name in ("dense_1", "dense_2")]
    board.number("largest difference of the weights, textbook beside engine",
                 max(float(np.abs(layer.W - W).max()) for layer, W in zip(layers, engine, strict=True)), at_most(1e-10))
    board.figure("error", _figure(history["absolute_error"]), "the mean error over the steps, both axes logarithmic, with the six "
                 "printed numbers as dots (step 0 drawn at 1): a plateau at 1/2, a fall, then a power of the number of steps")


def descend_by_hand(layers: list[dr.textbook.Layer]) -> list[dr.textbook.Layer]:
    """The layers after 10,000 steps: forward pass, backward pass, update."""
    for _ in range(BY_HAND):
        run = dr.textbook.forward(layers, X)
        layers = dr.textbook.gradient_step(layers, dr.textbook.backward(layers, run, Y, "quadratic").gradient, ETA)
    return layers


def error(layers: list[dr.textbook.Layer]) -> float:
    """The mean |y - l2| of the textbook's network."""
    return float(np.mean(np.abs(Y - dr.textbook.forward(layers, X).h[2])))


def _figure(errors: list[float]) -> object:
    fig, (ax,) = dr.figures.panels(width=5.6, height=3.4)
    ax.loglog(np.arange(1, STEPS), errors, color=dr.figures.BLUE, linewidth=1.6, label="engine, float64")
    ax.plot([max(step, 1) for step in PRINTED], [float(value) for value in PRINTED.values()], "o", color=dr.figures.RED, markersize=6,
            label="printed by Trask", clip_on=False)
    ax.set_xlabel("step of gradient descent")
    ax.set_ylabel("mean error |y - l2|")
    ax.legend(frameon=False)
    return fig
