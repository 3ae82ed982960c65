"""Softmax: from K pre-activations to the probabilities of K classes.

Each pre-activation is raised to exp(a), which is positive, and divided by the sum over all classes, so that they add up to one. The
predicted class is the largest, before as after. Adding the same number to all pre-activations changes nothing; subtracting the largest
first therefore gives the same answer without ever overflowing.
"""

import jax
import jax.numpy as jnp
import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (15,)
EQUATIONS = ("y_hat_i = exp(a_i) / sum_j exp(a_j) = exp(a_i - max a) / sum_j exp(a_j - max a)",
             "d y_hat_i / d a_j = y_hat_i (1_ij - y_hat_j)",
             "with a temperature T:  softmax(a / T)")
PARTS = ("dr.activations.softmax", "dr.activations.derivative", "dr.Dense", "dr.textbook.softmax",
         "dr.textbook.softmax_prime")


def teach(board: Board) -> None:
    """Its four properties on random layers, the largest numbers, the Jacobian, the sigmoid as a special case, and temperature."""
    rng = np.random.default_rng(0)
    a = 3 * rng.normal(size=(1000, 7))                                  # 1000 layers of 7 units
    with jax.enable_x64(True):
        p, moved = (np.asarray(dr.activations.softmax(values)) for values in (a, a + 100.0))
        jacobian = np.asarray(dr.activations.derivative("softmax")(jnp.asarray(a)))      # (1000, 7, 7)
    board.table(["unit", *map(str, range(7))], [["a", *a[0].round(2)], ["softmax(a)", *p[0].round(3)]])
    board.say("The lecture's three properties, on 1,000 random layers of 7 units:")
    board.number("all positive", bool((p > 0).all()), equals(True))
    board.number("sums to one, largest deviation", np.abs(p.sum(axis=1) - 1).max(), at_most(1e-14))
    board.number("predicted class is the largest a", bool((p.argmax(axis=1) == a.argmax(axis=1)).all()), equals(True))
    board.number("against textbook", np.abs(p - dr.textbook.softmax(a)).max(), at_most(1e-14))
    board.number("100 added to every unit, change", np.abs(p - moved).max(), at_most(1e-13))
    _large_numbers(board)
    board.say("Every probability depends on every unit. Raising one pre-activation takes from the other probabilities together what its "
              "own gains, so that the columns of the Jacobian add up to zero.")
    board.number("Jacobian against textbook", np.abs(jacobian - dr.textbook.softmax_prime(a)).max(), at_most(1e-14))
    board.number("Jacobian against differences", np.abs(jacobian - _differences(a)).max(), at_most(1e-9))
    board.number("columns of the Jacobian, sum", np.abs(jacobian.sum(axis=1)).max(), at_most(1e-14))
    board.say("Of two classes, softmax is the sigmoid of the difference: logistic regression.")
    difference = np.linspace(-5, 5, 11)
    two = dr.textbook.softmax(np.stack([difference, np.zeros(11)], axis=1))[:, 0]
    board.number("two classes against the sigmoid", np.abs(two - dr.textbook.sigmoid(difference)).max(), at_most(1e-15))
    board.say("Dividing a by a temperature T before keeps the order: near 0 the largest takes all, at large T all become alike.")
    board.figure("temperature", _temperatures(), "the same pre-activations at three temperatures: cold is decided, hot is even")


def _large_numbers(board: Board) -> None:
    """A network whose pre-activations reach 10,000, where the formula as it stands has no number."""
    net = dr.Network([dr.Dense(3, "softmax", use_bias=False)], input_shape=1)
    net.params["dense_1"]["weights"] = np.array([[1.0, 0.0, -1.0]], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(1e4 * np.array([1.0, 0.0, -1.0]))
        naive = e / e.sum()
    p = net.predict([[1e4]])[0]
    board.say("Pre-activations 10,000, 0 and -10,000: exp(10000) overflows, and infinity over infinity is not a number. With the largest "
              "subtracted first nothing overflows; the smaller probabilities are below every number that can be stored, and come out as 0.")
    board.table(["a", "10,000", "0", "-10,000"], [["the formula as it stands", *naive], ["the network", *p]])
    board.number("the formula as it stands fails at 1e4", bool(np.isnan(naive[0])), equals(True))
    board.number("softmax at 1e4", p, equals([1.0, 0.0, 0.0]))
    loss = net.evaluate([[1e4]], np.array([2]))["loss"]
    board.number("cross-entropy of the class at -1e4", loss, equals(20000.0))
    board.say("The loss is worked out from a, not from the probability 0, whose logarithm is infinite: it is a_max - a_y = 20,000.")


def _differences(a: np.ndarray, e: float = 1e-5) -> np.ndarray:
    """The Jacobian by moving one unit after the other."""
    softmax = dr.textbook.softmax
    return np.stack([(softmax(a + move) - softmax(a - move)) / (2 * e) for move in e * np.eye(a.shape[1])], axis=-1)


def _temperatures() -> object:
    a = np.array([2.0, 1.0, 0.5, -0.5, -2.0])
    fig, axes = dr.figures.panels(columns=3, width=2.8, height=2.8)
    for ax, T in zip(axes, (0.25, 1.0, 4.0), strict=True):
        p = dr.textbook.softmax(a / T)
        ax.bar(range(len(a)), p, color=dr.figures.BLUE)
        ax.set_xticks(range(len(a)), [f"{value:g}" for value in a])
        ax.set_ylim(0, 1.05)
        ax.set_title(f"T = {T:g}", fontsize=10)
        ax.set_xlabel("pre-activation a")
    axes[0].set_ylabel("probability softmax(a / T)")
    return fig
