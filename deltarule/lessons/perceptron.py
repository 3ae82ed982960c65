"""The perceptron learning rule corrects each mistake, and ends whenever a line can do the task.

Example by example the perceptron answers. A right answer changes nothing; after a wrong one the weights move by eta (y - y_hat) x.
When the classes can be separated by a line, the number of mistakes is bounded, whatever the order of the examples (Novikoff 1962).
When they cannot, as in XOR, the rule never ends.
"""

from typing import Any

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (3,)
EQUATIONS = ("y_hat = 1 if w x + b > 0, else 0 (binary) or -1 (bipolar)", "w_j <- w_j + eta (y - y_hat) x_j,   b <- b + eta (y - y_hat)",
             "threshold form: theta <- theta - eta (y - y_hat)", "mistakes <= (R / gamma)^2,   R = max |(x, 1)|,   gamma the margin")
PARTS = ("dr.Dense", "dr.Network.fit", "dr.losses.Perceptron", "dr.textbook.perceptron_rule")

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0]}
XOR = [0, 1, 1, 0]
LOW = {"binary": 0.0, "bipolar": -1.0}                  # what stands for "no"
OUTPUT = {"binary": "step", "bipolar": "sign"}          # the activation of the network
ETA, EPOCHS = 0.1, 100


def teach(board: Board) -> None:
    """The gates learnt, XOR proved beyond reach, and the bound on the mistakes."""
    learn_gates(board)
    refuse_xor(board)
    bound_mistakes(board)


def learn_gates(board: Board) -> None:
    """AND, OR and NAND, binary and bipolar, by the threshold form, the bias form and the network."""
    board.say("AND, OR and NAND, each with binary and with bipolar output, from small random weights, so that no sum is "
              "exactly zero: by the textbook with a threshold, by the textbook with a bias, and by a network of one unit "
              "that takes one example at a time.")
    rows, learnt, apart = [], 0, 0.0
    for output in OUTPUT:
        for gate, truth in GATES.items():
            y = np.where(truth, 1.0, LOW[output])
            net = one_neuron(output)
            start = {"w": net.params["dense_1"]["weights"][:, 0], "b": float(net.params["dense_1"]["bias"][0])}
            bias, threshold = (dr.textbook.perceptron_rule(X, y, ETA, form, output, EPOCHS, **start) for form in ("bias", "threshold"))
            history = net.fit(X, y[:, None], optimizer=dr.SGD(ETA), batch_size=1, shuffle=False, epochs=EPOCHS,
                              monitor="accuracy", goal=1.0, progress=False)
            found = np.append(net.params["dense_1"]["weights"][:, 0], net.params["dense_1"]["bias"])
            for run in (bias, threshold):
                apart = max(apart, float(np.abs(found - np.append(run.w, run.b)).max()))
            right = history.stopped == "goal" and bias.converged and threshold.converged and np.array_equal(net.predict(X)[:, 0], y)
            learnt += right
            rows.append([f"{gate}, {output}", *(round(float(v), 3) for v in found), bias.mistakes, bias.epochs])
    board.table(["gate", "w_1", "w_2", "b", "mistakes", "passes"], rows)
    board.say("The last pass is the one without a mistake. The bias is minus the threshold all along, so the two forms are "
              "one rule.")
    board.number("gates learnt, of 6", learnt, equals(6))
    board.number("network, threshold and bias form differ by", apart, at_most(1e-12))


def refuse_xor(board: Board) -> None:
    """No line separates XOR: shown by linear programming, by the rule coming back to where it was, and by the network."""
    board.say("XOR would need b <= 0, w_1 + b > 0, w_2 + b > 0 and w_1 + w_2 + b <= 0. The middle two add up to w_1 + w_2 + "
              "2 b > 0, the outer two to the contrary. A linear program, which looks through all weights, says the same; it "
              "finds weights for the gates.")
    board.number("separable by linear programming: AND, OR, NAND", [separable(X, truth) for truth in GATES.values()], equals([True] * 3))
    board.number("separable by linear programming: XOR", separable(X, XOR), equals(False))
    board.say("The rule itself, started at zero with eta = 1, keeps to whole numbers. After each pass:")
    passes = [dr.textbook.perceptron_rule(X, XOR, epochs=k) for k in range(1, 9)]
    states = [[*run.w.astype(int).tolist(), int(run.b)] for run in passes]
    board.table(["pass", "w_1", "w_2", "b", "mistakes so far"], [[k, *state, run.mistakes]
                for k, (state, run) in enumerate(zip(states, passes, strict=True), 1)])
    board.say("Once a pass ends where an earlier one ended, all that follows repeats itself: the mistakes go on for ever.")
    board.number("XOR: the weights come back to where they were", len({tuple(state) for state in states}) < len(states), equals(True))
    board.number("XOR: converged after 1,000 passes", dr.textbook.perceptron_rule(X, XOR, epochs=1000).converged, equals(False))
    history = one_neuron("binary").fit(X, np.array(XOR)[:, None], optimizer=dr.SGD(ETA), batch_size=1, shuffle=False, epochs=1000,
                                       monitor="accuracy", goal=1.0, progress=False)
    board.number("XOR: how the network's 1,000 passes ended", history.stopped, equals("finished"))
    board.number("XOR: most examples right after any pass, of 4", round(4 * max(history["accuracy"])), at_most(3))


def bound_mistakes(board: Board) -> None:
    """Separable sets with wide and narrow gaps between the classes: mistakes beside the bound."""
    board.say("How many mistakes can there be? R is the length of the longest input (with the bias's 1), gamma the largest "
              "distance that a plane through the origin of (x, 1) can keep from all of them. Four sets of 61 points, with "
              "narrower and narrower gaps, learnt from zero with eta = 1:")
    rows, within, runs = [], [], {}
    for gap in (1.0, 0.5, 0.2, 0.05):
        x, y = separable_set(gap)
        run = dr.textbook.perceptron_rule(x, y, epochs=10_000)
        R, gamma = np.sqrt((x ** 2).sum(axis=1) + 1).max(), margin(x, y)
        bound = (R / gamma) ** 2
        within.append(run.converged and run.mistakes <= bound)
        rows.append([f"{gap:g}", float(gamma), float(R), round(bound, 1), run.mistakes, run.epochs])
        runs[gap] = x, y, run
    board.table(["gap", "gamma", "R", "(R / gamma)^2", "mistakes", "passes"], rows)
    board.number("mistakes within (R / gamma)^2", within, equals([True] * 4))
    board.say("The bound is a promise for the worst case; here far fewer corrections were needed.")
    board.figure("line", draw(*runs[0.2]), "the line after each correction, from pale to dark, and where it comes to rest")


def one_neuron(output: str) -> dr.Network:
    """A perceptron with small random weights and bias."""
    small = dr.initializers.Normal(0.05)
    return dr.Network([dr.Dense(1, OUTPUT[output], weights=small, bias=small)], input_shape=2, seed=0, dtype="float64")


def separable(x: np.ndarray, truth: Any) -> bool:
    """Whether weights w, b exist with s (w x + b) >= 1 for all examples, s = 1 for yes and -1 for no."""
    from scipy.optimize import linprog

    rows = np.where(truth, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    return bool(linprog(np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(x)), bounds=(None, None)).status == 0)


def margin(x: np.ndarray, truth: np.ndarray) -> float:
    """gamma = max over |u| = 1 of the least s u (x, 1); the shortest v with s v (x, 1) >= 1 has the length 1 / gamma."""
    from scipy.optimize import minimize

    rows = np.where(truth, 1.0, -1.0)[:, None] * np.column_stack([x, np.ones(len(x))])
    inside = {"type": "ineq", "fun": lambda v: rows @ v - 1, "jac": lambda v: rows}
    found = minimize(lambda v: v @ v / 2, np.array([1.0, 1.0, 0.0]), jac=lambda v: v, constraints=inside, method="SLSQP",
                     options={"ftol": 1e-12, "maxiter": 500})
    return float((rows @ found.x).min() / np.linalg.norm(found.x))


def separable_set(gap: float) -> tuple[np.ndarray, np.ndarray]:
    """61 points on both sides of the line x_1 + 2 x_2 = 1, none nearer to it than half the gap."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (400, 2))
    distance = (x @ [1.0, 2.0] - 1) / np.sqrt(5)
    x, distance = x[np.abs(distance) >= gap / 2][:61], distance[np.abs(distance) >= gap / 2][:61]
    return x, (distance > 0).astype(int)


def draw(x: np.ndarray, y: np.ndarray, run: Any) -> Any:
    """The points and the line w x + b = 0 after each update."""
    fig, (ax,) = dr.figures.panels(width=5.6, height=4.4)
    x_1 = np.array([-3.4, 3.4])
    for k, (w, b) in enumerate(run.path):
        done = k == len(run.path) - 1
        shade = 0.85 - 0.5 * k / len(run.path)
        if w[1] != 0:
            ax.plot(x_1, -(w[0] * x_1 + b) / w[1], color="black" if done else str(shade), linewidth=2 if done else 1,
                    label="the last line" if done else None)
    for label, colour, marker in ((0, dr.figures.BLUE, "o"), (1, dr.figures.ORANGE, "s")):
        ax.scatter(*x[y == label].T, color=colour, marker=marker, s=26, edgecolors="white", linewidths=0.6, zorder=3, label=f"y = {label}")
    ax.set_xlim(-3.4, 3.4)
    ax.set_ylim(-3.4, 4.9)
    ax.set_xlabel("x_1")
    ax.set_ylabel("x_2")
    ax.set_title(f"{run.mistakes} corrections in {run.epochs} passes", fontsize=10)
    ax.legend(fontsize=9, loc="upper right", framealpha=0.95, ncols=3)
    return fig
