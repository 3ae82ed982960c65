"""Attention: every step of a sequence asks, and takes from all the others what answers its question.

A recurrent network carries all it knows from step to step. Attention looks directly: each step sends a query, each offers a key and a
value, and what a step receives is the mean of the values, weighed by how well their keys fit its query (Vaswani et al. 2017). Nothing in
this knows of an order; places are told by vectors that are added to the inputs. The task: write a sequence backwards. What each head
looks at can be read from its weights.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (39,)
EQUATIONS = ("A = softmax(Q K^T / sqrt(d)),   O = A V                  Q = x W_Q, K = x W_K, V = x W_V",
             "head_i = A_i V_i,   h = (head_1, ..., head_H) W_O        several heads look at several things",
             "m = x + attention(norm(x)),   h = m + MLP(norm(m))       the block of a transformer")
PARTS = ("dr.MultiHeadAttention", "dr.TransformerEncoder", "dr.Embedding", "dr.Positions", "dr.figures.attention",
         "dr.textbook.attention_forward")

T, DIGITS, ROWS_OF_DATA = 8, 10, 4000


def teach(board: Board) -> None:
    """One example by hand; then a small transformer that reverses sequences, and what its heads look at; the same without places."""
    _by_hand(board)
    x, test = digits(ROWS_OF_DATA, seed=0), digits(1000, seed=1)
    seen = {tuple(row) for row in x}
    new = test[[tuple(row) not in seen for row in test]]
    net = reverser(places=True)
    board.say(f"Reversal: rows of {T} digits drawn at random, {len(x):,} to learn from and {len(new):,} others to be tested on. The "
              f"network is one block with two heads, {net.summary().parameters:,} weights. Step t must find the digit in step {T - 1} - t: "
              "by its place alone, whatever the digits are.")
    net.fit(x, x[:, ::-1], optimizer=dr.Adam(dr.OneCycle(0.01)), epochs=20, batch_size=64, progress=False)
    right = net.predict(new).argmax(axis=-1) == new[:, ::-1]
    board.number("share of new sequences reversed without a mistake", right.all(axis=1).mean(), at_least(0.99))
    trace = net.trace(new)
    A = trace["transformer_encoder_1/attention"].taps["attention"]                          # (n, heads, T, T)
    board.number("largest difference of a row of weights from the sum 1", float(np.abs(A.sum(axis=-1) - 1).max()), at_most(1e-5))
    best = A.mean(axis=0).max(axis=0).argmax(axis=-1)                                       # of the head that looks most sharply
    board.say("Where does each step look? The step that has the largest weight, on average over the new sequences, in the head that looks "
              "more sharply:")
    board.table(["step", *map(str, range(T))], [["looks at", *best.tolist()], ["has to copy", *range(T - 1, -1, -1)]])
    board.number("steps that look at the one they have to copy", int(np.sum(best == np.arange(T)[::-1])), at_least(T - 1))
    board.figure("heads", dr.figures.attention(trace, "transformer_encoder_1/attention", row=0, tokens=[str(k) for k in new[0]]),
                 "the weights of both heads for one sequence: a line is a step that looks, a column the step that it looks at; bright on "
                 "the diagonal from lower left to upper right means that the sequence is read backwards")

    board.say("Without places, attention cannot tell one order from another: shuffled inputs give the same outputs, shuffled.")
    blind = reverser(places=False)
    order = np.random.default_rng(2).permutation(T)
    board.number("without places, shuffling the inputs shuffles the outputs: largest difference",
                 float(np.abs(blind.predict(new[:, order]) - blind.predict(new)[:, order]).max()), at_most(1e-5))
    board.number("the same of the network with places", float(np.abs(net.predict(new[:, order]) - net.predict(new)[:, order]).max()),
                 at_least(0.5))
    causal = dr.Network([dr.MultiHeadAttention(2, causal=True)], (T, 4), seed=0)
    z = np.random.default_rng(3).normal(size=(1, T, 4))
    board.say("A language model must not look ahead. With causal=True the weights above the diagonal are exactly zero:")
    above = np.triu(causal.trace(z)["multi_head_attention_1"].taps["attention"][0], 1)
    board.number("weights on later steps that are not zero", int(np.count_nonzero(above)), equals(0))


def _by_hand(board: Board) -> None:
    """Two steps, two features: every number of softmax(Q K^T / sqrt(d)) V can be worked out on paper."""
    Q, K, V = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 4.0]])
    board.say("By hand: queries (2, 0) and (0, 0), keys (1, 0) and (0, 1), values (1, 0) and (0, 4). The scores of the first query are "
              "2 / sqrt 2 = 1.4142 and 0, its weights exp(1.4142) / (exp(1.4142) + 1) = 4.1133 / 5.1133 = 0.8044 and 0.1956; it takes "
              "0.8044 (1, 0) + 0.1956 (0, 4) = (0.8044, 0.7823). The second query asks for nothing and gets the plain mean, (0.5, 2).")
    run = dr.textbook.attention_forward(Q, K, V)
    net = dr.Network(dr.MultiHeadAttention(1, size=2), (2, 6), seed=0, dtype="float64")
    for k, name in enumerate(("query", "key", "value")):
        net.params[name]["weights"] = np.eye(6)[:, 2 * k:2 * k + 2]        # cuts Q, K and V out of rows that hold them side by side
    net.params["output"]["weights"] = np.eye(2, 6)
    trace = net.trace(np.concatenate([Q, K, V], axis=1)[None])
    A, O = trace[""].taps["attention"][0, 0], trace.output[0, :, :2]
    board.table(["", "weights", "output"], [[f"query {t}", np.round(run.A[t], 4).tolist(), np.round(run.O[t], 4).tolist()] for t in (0, 1)])
    by_hand = np.array([[0.8044, 0.7823], [0.5, 2.0]])
    board.number("textbook, largest difference from the numbers by hand", float(np.abs(run.O - by_hand).max()), at_most(1e-4))
    board.number("layer, largest difference from the textbook",
                 float(max(np.abs(O - run.O).max(), np.abs(A - run.A).max())), at_most(1e-12))


def reverser(places: bool) -> dr.Network:
    """A transformer of one block; without places the positions are left out."""
    layers: list[dr.Layer] = [dr.Embedding(DIGITS, 32), *([dr.Positions()] if places else []), dr.TransformerEncoder(2, hidden=64),
                              dr.LayerNorm(), dr.Dense(DIGITS, "softmax")]
    return dr.Network(layers, (T,), seed=0)


def digits(n: int, seed: int) -> np.ndarray:
    """Rows of T digits drawn at random (n, T)."""
    return np.random.default_rng(seed).integers(0, DIGITS, (n, T))
