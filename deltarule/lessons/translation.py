"""Encoder and decoder: one network reads a sentence, another writes its translation and looks back at it before every word.

The encoder turns every step of the source into a vector: the memory. The decoder sees what it has written so far, asks the memory with one
query for each step (cross-attention), and says what comes next (Vaswani et al. 2017). While it learns it is shown the true beginning of the
answer; afterwards it goes on from what it has said itself, most probable first, or keeps several beginnings at a time (beam search). The
task: dates as people write them become dates as computers sort them.
"""

import datetime

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

ROWS = (39,)
EQUATIONS = ("memory m = encoder(source),   h = decoder(what is written, m)",
             "A = softmax(Q K^T / sqrt(d)),   Q = x W_Q from the decoder,   K = m W_K, V = m W_V from the encoder",
             "ln p(y | source) = sum_t ln p(y_t | y_1 ... y_(t-1), source)     beams: the best B beginnings go on")
PARTS = ("dr.models.transformer", "dr.EncoderDecoder", "dr.TransformerDecoder", "dr.data.shifted", "dr.translate", "dr.figures.attention")

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
FORMS = (lambda day: f"{day.day} {MONTHS[day.month - 1]} {day.year}", lambda day: f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
         lambda day: f"{day.day}.{day.month}.{day.year}", lambda day: f"{MONTHS[day.month - 1][:3]} {day.day} {day.year}")
TRAINING, TEST, FILLER, START = 8000, 1000, "~", ">"


def teach(board: Board) -> None:
    """Train on some days of two centuries, translate others; what is looked at for every character; beams."""
    people, computers = dates(TRAINING + TEST, seed=0)
    letters, marks = (dr.data.Characters.fit("".join([extra, *texts])) for extra, texts in ((FILLER, people), (START, computers)))
    length = max(map(len, people))
    x = np.stack([letters.encode(text.ljust(length, FILLER)) for text in people])
    y = np.stack([marks.encode(text) for text in computers])
    start, filler = int(marks.encode(START)[0]), int(letters.encode(FILLER)[0])
    net = dr.models.transformer(len(letters), len(marks), length, y.shape[1], width=48, padding=filler)
    both = {"source": x, "target": dr.data.shifted(y, start)}
    board.say(f"{TRAINING:,} days from 1900 to 2099, each in one of four ways of writing, to learn from, and {TEST:,} other days to be "
              f"tested on: nobody has told the network what a month is. Sources are filled up to {length} characters with {FILLER!r}, "
              f"which nobody looks at. Encoder and decoder have two blocks each, together {net.summary().parameters:,} weights.")
    board.number("days of the test that were also learnt from", len(set(computers[:TRAINING]) & set(computers[TRAINING:])), equals(0))
    net.fit({name: part[:TRAINING] for name, part in both.items()}, y[:TRAINING], optimizer=dr.Adam(dr.WarmupCosine(0.004)), epochs=8,
            batch_size=64, progress=False)

    new, truth = x[TRAINING:], y[TRAINING:]
    greedy, beams = (dr.translate(net, new, start=start, beams=count) for count in (1, 4))
    board.table(["written by people", "translated", "right"],
                [[people[TRAINING + i], marks.decode(greedy[i]), "yes" if np.array_equal(greedy[i], truth[i]) else "no"] for i in range(6)])
    board.number("share of new days translated without a mistake, most probable character first",
                 float(np.all(greedy == truth, axis=1).mean()), at_least(0.99))
    board.number("with four beams", float(np.all(beams == truth, axis=1).mean()), at_least(0.99))
    foreign = dr.translate(net, np.roll(new, 1, axis=0), start=start)
    board.number("the same where each is given the source of another", float(np.all(foreign == truth, axis=1).mean()), at_most(0.01))
    _looked_at(board, net, {name: part[TRAINING:] for name, part in both.items()}, people[TRAINING:], computers[TRAINING:])


def _looked_at(board: Board, net: dr.Network, x: dict[str, np.ndarray], people: list[str], computers: list[str]) -> None:
    """The weights of the decoder on the memory: none on what fills up, and for the digits of the year on the year."""
    path = "decoder/transformer_decoder_{}/cross"
    trace = net.trace(x)
    A = np.concatenate([trace[path.format(block)].taps["attention"] for block in (1, 2)], axis=1)         # (n, heads of both, T, S)
    filled = np.array([[0.0] * len(text) + [1.0] * (A.shape[-1] - len(text)) for text in people])
    board.number("largest weight on characters that only fill up", float((A * filled[:, None, None]).max()), equals(0.0))
    year = np.array([[len(text) - 4 + digit for digit in range(4)] for text in people])                  # every form ends with the year
    share = np.stack([np.take_along_axis(A[:, :, digit], year[:, None, digit:digit + 1], axis=-1)[..., 0] for digit in range(4)], axis=-1)
    board.say("Where does the decoder look while it writes the year? Its four digits have to be copied from the end of the source. Of all "
              "heads, the one that looks most sharply at the digit to be copied gives it, on average over the new days:")
    board.number("weight on the digit of the year that is copied", float(share.mean(axis=0).max(axis=0).mean()), at_least(0.3))
    board.number("the same if all characters weighed alike", float(np.mean([1 / len(text) for text in people])), at_most(0.15))
    best = int(share.mean(axis=(0, 2)).argmax())
    block, row = 1 + best // (A.shape[1] // 2), max(range(6), key=lambda i: len(people[i]))
    board.figure("looks", dr.figures.attention(trace, path.format(block), row, tokens=list(computers[row]),
                                               memory=list(people[row].ljust(A.shape[-1], FILLER))),
                 f"what the heads of block {block} of the decoder look at while {people[row]!r} is translated: a line is a character that "
                 "is written, a column one of the source; nobody looks at what only fills the source up")


def dates(n: int, seed: int) -> tuple[list[str], list[str]]:
    """n different days as people write them, each in one of four ways, and as year-month-day."""
    rng = np.random.default_rng(seed)
    first, last = (datetime.date(*day).toordinal() for day in ((1900, 1, 1), (2099, 12, 31)))
    days = [datetime.date.fromordinal(int(day)) for day in rng.choice(np.arange(first, last + 1), n, replace=False)]
    return [FORMS[rng.integers(len(FORMS))](day) for day in days], [day.isoformat() for day in days]
