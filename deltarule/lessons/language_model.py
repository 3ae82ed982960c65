"""A language model: a transformer that has read, says which character comes next, and so writes.

A text gives its own answers: what stands at a place is the target of all that stands before it. The model is the causal transformer: every
step looks back, none ahead, and all steps of a row learn at once. Its loss is the cross-entropy in nats per character: exp of it is the
number of characters among which it hesitates. Characters are drawn one after another from what it says, and each is read again: it writes.
"""

import math
import os
from pathlib import Path

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, between, equals

ROWS = (39,)
EQUATIONS = ("L = -1/T sum_t ln p(x_(t+1) | x_1, ..., x_t)                    nats per character",
             "p(next) = softmax(a / temperature)                              0: the most probable; 1: as learnt")
PARTS = ("dr.data.read_text", "dr.data.Characters", "dr.data.windows", "dr.models.language_model", "dr.write", "dr.figures.attention")

T, BATCH, STEPS = 64, 32, 300
WHOLE = 128, 600        # steps of a row and updates of the whole training
SEEN = 18               # characters in the figure
HELD_OUT = 600          # rows


def teach(board: Board) -> None:
    """The counts of letters and pairs as a bar to clear, a short training, what it writes and where it looks."""
    text, beginning = reading(board)
    letters = dr.data.Characters.fit(text)
    K, cut = len(letters), len(text) * 9 // 10
    numbers = letters.encode(text)
    train, held = numbers[:cut], numbers[cut:]
    x, y = dr.data.windows(held, T)
    x, y = x[:HELD_OUT], y[:HELD_OUT]
    board.say(f"{len(text):,} characters, {K} different ones; the last tenth is held out. Who knows nothing needs ln {K} = "
              f"{math.log(K):.3f} nats for each character; who has counted how often each occurs, or how often it follows the one before "
              "it, needs less. That is the bar for the network.")
    single, pair = counted(train, x, y, K)
    net = dr.models.language_model(K, T, width=128, heads=4, blocks=4, rotary=True)
    net.symbols = letters
    board.number("before learning, nats per character", net.evaluate(x, y)["loss"], between(math.log(K) - 0.1, math.log(K) + 1))
    trained(net, train, STEPS)
    loss = net.evaluate(x, y)["loss"]
    board.table(["what is known", "nats per character", "as if it hesitated among"],
                [[name, f"{value:.3f}", f"{math.exp(value):.1f}"] for name, value in
                 (("nothing", math.log(K)), ("frequency of each character", single), ("of each pair", pair), ("the transformer", loss))])
    board.number("held-out text, nats per character", loss, at_most(2.2))
    board.number("nats below those of the pairs", pair - loss, at_least(0.25))
    each = surprise(net, x, y)
    board.number("nats saved by context: first character of a row against the last ten", float(each[0] - each[-10:].mean()), at_least(0.5))
    board.figure("context", _figure(each, single, pair), "nats for each place of a row, mean of all held-out rows: the more characters the "
                 "model has read, the better it knows the next; lines: what the counts of characters and of pairs reach")

    board.say(f"{net.summary().parameters:,} weights, {STEPS} updates of {BATCH} rows. It writes, at temperature 0.8:")
    written = dr.write(net, beginning, 240, temperature=0.8, seed=1)
    board.equation(*written.splitlines())
    board.number("the same seed writes the same", dr.write(net, beginning, 240, temperature=0.8, seed=1) == written, equals(True))
    words = written[len(beginning):-1].split()[1:-1]
    known = set(text.split())
    board.number("share of its words that occur in the text", sum(word in known for word in words) / max(1, len(words)), at_least(0.4))
    short = dr.Network(net.layer, (SEEN,))
    short.params = net.params       # rotary: places are angles, so that rows may have any length
    line = x[:1, :SEEN]
    board.figure("heads", dr.figures.attention(short.trace(line), "transformer_encoder_1/attention",
                                               tokens=[repr(c)[1:-1] for c in letters.decode(line[0])]),
                 "where the four heads of the first block look, in held-out text: a line is a character that looks back, bright are the "
                 "characters that it looks at; none looks ahead")
    board.say("These are numbers of a short training. On the plays of Shakespeare (tinyshakespeare, 1.1 million characters), rows of "
              f"{WHOLE[0]} characters and {WHOLE[1]} updates bring the last tenth below 1.70 nats, in three minutes of processor time; "
              "tests/test_language_model.py holds it to that.")


def reading(board: Board) -> tuple[str, str]:
    """The text, how it is to be continued, and a sentence that says what it is."""
    folder = os.environ.get("DELTARULE_DATA")
    path = Path(folder) / "text" / "tinyshakespeare.txt" if folder else None
    if path is not None and path.exists():
        board.say("The text: plays of Shakespeare (tinyshakespeare).")
        return dr.data.read_text(path), "ROMEO:"
    from pydoc_data.topics import topics

    board.say("The text: the language reference of Python, as help() shows it. (Plays of Shakespeare take its place where the folder "
              "DELTARULE_DATA holds text/tinyshakespeare.txt.)")
    return "".join(c for _, topic in sorted(topics.items()) for c in topic if c.isascii()), "The "


def trained(net: dr.Network, numbers: np.ndarray, steps: int) -> None:
    """Learn from so many batches of rows that begin at equal distances, once through."""
    (length,), rows = net.input_shape, steps * BATCH
    x, y = dr.data.windows(numbers, length, step=max(1, (len(numbers) - length) // rows))
    net.fit(x[:rows], y[:rows], optimizer=dr.AdamW(dr.OneCycle(0.003, rise=0.1), weight_decay=0.1, clip_norm=1.0), epochs=1,
            batch_size=BATCH, progress=False)


def counted(train: np.ndarray, x: np.ndarray, y: np.ndarray, K: int) -> tuple[float, float]:
    """Nats per character of p(y) and of p(y | x) from counts, each begun at one."""
    single = np.bincount(train, minlength=K) + 1.0
    pairs = np.ones((K, K))
    np.add.at(pairs, (train[:-1], train[1:]), 1)
    return (float(-np.log(single / single.sum())[y].mean()), float(-np.log(pairs / pairs.sum(axis=1, keepdims=True))[x, y].mean()))


def surprise(net: dr.Network, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-ln p of what comes next, for every place of a row (T,), mean of the rows."""
    p = np.take_along_axis(net.predict(x), y[..., None], axis=-1)[..., 0]
    return np.asarray(-np.log(p).mean(axis=0))


def _figure(each: np.ndarray, single: float, pair: float) -> object:
    fig, (ax,) = dr.figures.panels(width=5.6, height=3.2)
    ax.plot(np.arange(1, len(each) + 1), each, color=dr.figures.BLUE, linewidth=1.6, label="transformer")
    ax.axhline(single, color="0.6", linewidth=1, linestyle=":", label="counts of characters")
    ax.axhline(pair, color=dr.figures.ORANGE, linewidth=1, linestyle="--", label="counts of pairs")
    ax.set_xlabel("characters read so far")
    ax.set_ylabel("nats per character")
    ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    return fig
