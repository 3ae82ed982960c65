"""Show, attend and tell: a network says what it sees, and for every word it looks at the place that the word is about.

A convolutional network turns the image into a grid of places; an LSTM says one word after the other. Before each word it weighs all
places, by what they show and by what it has said so far, and takes their weighted mean (Xu et al. 2015). Nobody tells it where to look: the
captions alone teach it. The scenes are generated, so that the right caption of each is known: the larger shape first, and where it stands.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals

COLOURS, SHAPES = dr.data.Scenes.colours, dr.data.Scenes.shapes
ROWS = (41,)
EQUATIONS = ("m_p = CNN(image) at place p,   A_tp = softmax_p(v tanh(m_p W_m + h_(t-1) W_h + b))      where to look before word t",
             "z_t = sum_p A_tp m_p                                                      what is seen there",
             "h_t, c_t = LSTM(word_(t-1), z_t; h_(t-1), c_(t-1)),   p(word_t) = softmax(h_t V + c)")
PARTS = ("dr.models.captioner", "dr.AttentiveLSTM", "dr.EncoderDecoder", "dr.data.scenes", "dr.data.Words", "dr.translate",
         "dr.figures.attended")

SCENES, NEW, EPOCHS, SHOWN = 8000, 1000, 16, 3
START, STOP = "<start>", "<stop>"


def teach(board: Board) -> None:
    """Train on scenes of most pairs of shapes; caption new scenes, and pairs never seen; where it looked; its mistakes."""
    scenes = dr.data.scenes(SCENES + NEW, seed=0)
    words = dr.data.Words.fit(scenes.captions, first=(START, STOP))
    steps = 1 + max(len(caption.split()) for caption in scenes.captions)
    y = np.stack([numbers(words, caption, steps) for caption in scenes.captions])
    start, stop = 0, 1
    foreign = np.array([unseen(caption) for caption in scenes.captions])
    training, new = np.flatnonzero(~foreign)[:-NEW], np.flatnonzero(~foreign)[-NEW:]
    net = dr.models.captioner(scenes.x.shape[1:], len(words), steps, seed=0)
    board.say(f"{len(training):,} scenes of {scenes.x.shape[1]} x {scenes.x.shape[2]} pixels to learn from: one or two of three shapes, in "
              f"four colours, on four sides of one another, such as {max(scenes.captions[:9], key=len)!r}. One in ten pairs of coloured "
              f"shapes never occurs among them. The network has {net.summary().parameters:,} weights and {len(words)} words, two for "
              "start and stop.")
    x = {"source": scenes.x, "target": dr.data.shifted(y, start)}
    net.fit({name: part[training] for name, part in x.items()}, y[training], optimizer=dr.Adam(dr.WarmupCosine(0.004)), epochs=EPOCHS,
            batch_size=64, progress=False)

    said = {name: dr.translate(net, scenes.x[rows], start=start, stop=stop, beams=3) for name, rows in
            (("new scenes", new), ("pairs never seen", np.flatnonzero(foreign)))}
    right = {name: np.all(said[name] == y[rows], axis=1) for name, rows in (("new scenes", new), ("pairs never seen", foreign))}
    usual = np.unique(y[training], axis=0, return_counts=True)[1].max() / len(training)
    board.number("share of the most frequent caption", float(usual), at_most(0.05))
    board.number("new scenes: share of captions right to the word", float(right["new scenes"].mean()), at_least(0.95))
    board.number("pairs of shapes never seen together: share right", float(right["pairs never seen"].mean()), at_least(0.9))
    every = {"colours": COLOURS, "shapes": SHAPES, "sides": ("left", "right", "above", "below")}
    board.table(["words", "right where they are due"],
                [[name, f"{_share(words, known, y[new], said['new scenes']):.1%}"] for name, known in every.items()])
    _looking(board, net, scenes.subset(new), said["new scenes"], right["new scenes"], words)


def _looking(board: Board, net: dr.Network, scenes: dr.data.Scenes, said: np.ndarray, right: np.ndarray, words: dr.data.Words) -> None:
    """How near to the shape that is named the network looks, and the pictures of it: captions that are right, and all kinds of wrong."""
    trace = net.trace({"source": scenes.x, "target": dr.data.shifted(said, 0)})
    A = trace["decoder/attentive_lstm_1"].taps["attention"][:, 0]                                       # (n, T, places)
    board.number("largest difference of the weights of a word from the sum 1", float(np.abs(A.sum(axis=-1) - 1).max()), at_most(1e-5))
    side = round(A.shape[-1] ** 0.5)
    cell = scenes.x.shape[1] / side
    row, column = (np.repeat(np.arange(side), side) + 0.5) * cell - 0.5, (np.tile(np.arange(side), side) + 0.5) * cell - 0.5
    two = ~np.isnan(scenes.centres[:, 1, 0])
    looked = np.stack([A @ row, A @ column], axis=-1)                                                  # (n, T, 2): the middle of the light
    length = np.sum(said != 1, axis=1)
    nearer = []
    for named, word in ((0, np.full(len(said), 1)), (0, np.full(len(said), 2)), (1, length - 2), (1, length - 1)):
        at = np.take_along_axis(looked, word[:, None, None], axis=1)[:, 0]
        own, other = (np.linalg.norm(at - scenes.centres[:, which], axis=1) for which in (named, 1 - named))
        nearer.append(float(np.mean((own < other)[two & right])))
    board.say("Does it look at what it names? In scenes of two shapes, the middle of what it looks at should be nearer to the shape that "
              "is named than to the other; by chance it is in one half of them.")
    board.table(["while it says", "nearer to what it names"],
                [[name, f"{share:.0%}"] for name, share in zip(("the first colour", "the first shape", "the second colour",
                                                               "the second shape"), nearer, strict=True)])
    board.say("It looks at a shape when its colour is due. One look tells the kind of shape too: while it says that, it may look ahead.")
    board.number("nearer to what is named while it says a colour", float(np.mean(nearer[::2])), at_least(0.9))
    board.number("captions of which every word is drawn", len(np.flatnonzero(right & two)[:SHOWN]), equals(SHOWN))
    for name, rows in (("right", np.flatnonzero(right & two)[:SHOWN]), ("wrong", np.flatnonzero(~right)[:SHOWN])):
        if len(rows):
            captions = [spoken(words, said[i]) for i in rows]
            notes = [f"right caption: {scenes.captions[i]}" for i in rows] if name == "wrong" else None
            board.figure(name, dr.figures.attended(scenes.x[rows], captions, A[rows], notes),
                         f"captions that are {name}: the scene, and where the network looked before each word, bright where its weights "
                         "are large")


def numbers(words: dr.data.Words, caption: str, steps: int) -> np.ndarray:
    """The words of a caption as numbers (steps,), filled up with stop."""
    found = words.encode(caption)
    return np.concatenate([found, np.full(steps - len(found), 1)])


def spoken(words: dr.data.Words, said: np.ndarray) -> str:
    """The caption up to its stop."""
    return words.decode(said[said != 1])


def unseen(caption: str) -> bool:
    """Whether this pair of coloured shapes is kept for the test: one in ten, each shape and colour in as many as any other."""
    kinds = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    named = [number for part in caption.split(" a ") for number, kind in enumerate(kinds) if kind in part]
    return len(named) == 2 and (3 * named[0] + named[1]) % 10 == 0


def _share(words: dr.data.Words, known: tuple[str, ...], truth: np.ndarray, said: np.ndarray) -> float:
    due = np.isin(truth, [words.encode(word)[0] for word in known])
    return float(np.mean((said == truth)[due]))
