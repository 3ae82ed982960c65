"""The handwritten digits of the lessons on images: MNIST where it is at hand, else the small digits that come with the library."""

from typing import Any, NamedTuple

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board


class Digits(NamedTuple):
    """Images (n, 28, 28, 1) from 0 to 1 and what they show (n,), to learn from and to test."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(board: Board) -> Digits:
    """The images, and a sentence that says which they are."""
    try:
        train, test = dr.data.mnist(flat=False)
    except dr.DataError:
        train, test = dr.data.digits().split(test=0.2, seed=0)
        board.say(f"MNIST is not at hand (set DELTARULE_DATA to the folder that holds it), so the {len(train.x) + len(test.x):,} small "
                  "digits of 8 x 8 pixels that come with the library stand in for it, enlarged three times, with a border: 28 x 28.")
        return Digits(_enlarged(np.asarray(train.x)), np.asarray(train.y), _enlarged(np.asarray(test.x)), np.asarray(test.y))
    board.say(f"MNIST: {len(train.x):,} handwritten digits of 28 x 28 pixels to learn from and {len(test.x):,} by other writers to test.")
    return Digits(np.asarray(train.x), np.asarray(train.y), np.asarray(test.x), np.asarray(test.y))


def _enlarged(x: np.ndarray) -> np.ndarray:
    """(n, 64) -> (n, 28, 28, 1)."""
    large = np.kron(x.reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32))
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None].astype("float32")


def hardest(net: dr.Network, x: np.ndarray, y: np.ndarray, count: int = 24) -> Any:
    """A figure of the images whose true class got the smallest output, with the true and the predicted class."""
    h = net.predict(x)
    order = np.argsort(h[np.arange(len(y)), y])[:count]
    titles = [f"{y[i]}, read as {h[i].argmax()}" for i in order]
    return dr.figures.image_grid(x[order], titles, columns=8, size=1.0, label="ink")
