"""Tasks that ask for memory: what comes early in a sequence decides what is wanted late, and how far apart the two are can be chosen.

Everything is drawn at random, so that nothing but the memory helps; what a network without memory can reach is known in closed form.
"""

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.dataset import Dataset

BLANK = 0       # of copying and reversing: nothing to read, nothing to say; the symbols are 1, 2, ...


def adding(n: int, length: int = 100, seed: int = 0) -> Dataset:
    """Sequences of random numbers of which two are marked: x (n, length, 2), y (n,) the sum of these two.

    The first channel is drawn evenly from 0 to 1; the second is 1 in one step of the first half and in one step of the second half,
    0 elsewhere. Who always answers 1 has the mean squared error 1/6: the bar for everything that remembers. The task of Hochreiter and
    Schmidhuber (1997) in the form of Arjovsky, Shah and Bengio (2016); the first drew from -1 to 1, scaled the sum and marked the ends
    too. Raises DeltaruleError for n below 1 and length below 2.

    >>> data = adding(3, length=6)
    >>> data.x.shape, data.x[0, :, 1].tolist()
    ((3, 6, 2), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    >>> bool((data.y == (data.x[:, :, 0] * data.x[:, :, 1]).sum(axis=1)).all())
    True
    """
    rng = _generator(n, seed)
    checked_number("length", length, 2, whole=True)
    x = np.zeros((n, length, 2), np.float32)
    x[:, :, 0] = rng.uniform(size=(n, length))
    rows, half = np.arange(n), length // 2
    first, second = rng.integers(0, half, n), rng.integers(half, length, n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    y = x[rows, first, 0] + x[rows, second, 0]
    return Dataset(x, y, (), None, "sum", "adding", f"made by a formula: {n} sequences of {length} numbers, two marked, seed {seed}")


def copying(n: int, delay: int = 100, seed: int = 0, *, symbols: int = 8, length: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Read `length` symbols, wait `delay` steps, then say them again: x and y, both int32 (n, delay + 2 length).

    Symbols are 1 to `symbols`, 0 is a blank, and symbols + 1 in x is the sign to begin, in the last step before the answer. In y
    everything but the answer is blank. A network that forgets and knows only when to speak reaches the cross-entropy
    length ln(symbols) / (delay + 2 length). Source: Hochreiter and Schmidhuber (1997) in the form of Arjovsky, Shah and Bengio (2016).
    Raises DeltaruleError for counts below 1.

    >>> x, y = copying(1, delay=3, length=2)
    >>> x.tolist(), y.tolist()
    ([[7, 6, 0, 0, 9, 0, 0]], [[0, 0, 0, 0, 0, 7, 6]])
    """
    rng = _generator(n, seed)
    for name, value in (("delay", delay), ("symbols", symbols), ("length", length)):
        checked_number(name, value, 1, whole=True)
    word = rng.integers(1, symbols + 1, (n, length))
    x, y = (np.full((n, delay + 2 * length), BLANK, np.int32) for _ in range(2))
    x[:, :length] = y[:, -length:] = word
    x[:, length + delay - 1] = symbols + 1
    return x, y


def reversing(n: int, length: int = 10, seed: int = 0, *, symbols: int = 8, shortest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Random words x and the same backwards y, both int32 (n, length): symbols 1 to `symbols`, filled up with 0 behind the last.

    Words have `shortest` to `length` symbols, every length equally often; by default all have `length`. Source: Sutskever, Vinyals and
    Le (2014) found that the order in which a sequence is read matters; the toy is common since. Raises DeltaruleError for counts below
    1 and `shortest` above `length`.

    >>> x, y = reversing(2, length=4, shortest=2)
    >>> x.tolist(), y.tolist()
    ([[5, 3, 3, 1], [1, 1, 2, 0]], [[1, 3, 3, 5], [2, 1, 1, 0]])
    """
    rng = _generator(n, seed)
    for name, value in (("length", length), ("symbols", symbols)):
        checked_number(name, value, 1, whole=True)
    least = length if shortest is None else checked_number("shortest", shortest, 1, length, whole=True)
    lengths = rng.integers(least, length + 1, n)[:, None]
    steps = np.arange(length)[None]
    x = np.where(steps < lengths, rng.integers(1, symbols + 1, (n, length)), BLANK)
    back = np.take_along_axis(x, np.maximum(lengths - 1 - steps, 0), axis=1)
    return x.astype(np.int32), np.where(steps < lengths, back, BLANK).astype(np.int32)


def _generator(n: int, seed: int) -> np.random.Generator:
    checked_number("n", n, 1, whole=True)
    return np.random.default_rng(checked_number("seed", seed, 0, whole=True))
