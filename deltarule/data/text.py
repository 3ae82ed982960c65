"""Text: characters as whole numbers and back, and a long text cut into rows to learn from."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.data.arrays import as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.files import StrPath, read_bytes

LARGEST = 2**30     # bytes of a text file


def read_text(path: StrPath) -> str:
    """The text of a file in UTF-8, with line ends as \\n. Raises DataError for an empty file and for bytes that are no UTF-8."""
    try:
        text = read_bytes(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 (byte {error.start}); save it in that encoding") from None
    if not text:
        raise DataError(f"{path} is empty, expected text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Characters:
    """A vocabulary of characters, each with a whole number from 0 on, in the order of Unicode.

    >>> letters = Characters.fit("hello")
    >>> letters.characters, letters.encode("hole").tolist(), letters.decode([1, 0, 2, 2, 3])
    ('ehlo', [1, 3, 2, 0], 'hello')
    """

    characters: str

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str) or not self.characters or len(set(self.characters)) != len(self.characters):
            raise DeltaruleError(f"Characters expected a text of different characters, received {self.characters!r}; "
                                 "for those of a text write Characters.fit(text)")

    @classmethod
    def fit(cls, text: str) -> "Characters":
        """The characters that occur in a text. Raises DeltaruleError for an empty text."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the characters, int32 (n,). Raises DataError, naming character and place, for one that is not known."""
        number = {character: i for i, character in enumerate(self.characters)}
        for place, character in enumerate(text):
            if character not in number:
                raise DataError(f"the text holds {character!r} at place {place}, which is not among the {len(self)} known characters")
        return np.array([number[character] for character in text], np.int32)

    def decode(self, numbers: Any) -> str:
        """The text of these numbers (n,). Raises ShapeError for another shape, DataError for a number out of range."""
        given = as_array(numbers, "numbers")
        if given.ndim != 1:
            raise ShapeError(f"decode expected numbers of shape (n,), received {given.shape}")
        wrong = given[(given < 0) | (given >= len(self)) | (given != np.rint(given))]
        if wrong.size:
            raise DataError(f"numbers holds {wrong[0]:g}, expected whole numbers from 0 to {len(self) - 1}")
        return "".join(self.characters[i] for i in given.astype(int))

    def to_json(self) -> str:
        """The vocabulary as JSON text, to be kept beside the model.

        >>> Characters.from_json(Characters("ab").to_json())
        Characters(characters='ab')
        """
        return json.dumps({"characters": self.characters})

    @classmethod
    def from_json(cls, text: str) -> "Characters":
        """The inverse of `to_json`. Raises DataError for anything else."""
        try:
            return cls(json.loads(text)["characters"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"expected the JSON text that Characters.to_json wrote, received {text[:40]!r}") from None


def windows(numbers: Any, length: int, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A long sequence cut into rows x (n, length), and y (n, length): the same shifted by one, what comes next in every step.

    Rows begin `step` apart, by default `length`: then none overlap. Raises DataError for a sequence that is too short.

    >>> x, y = windows([0, 1, 2, 3, 4, 5, 6], length=3)
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """
    given = as_array(numbers, "numbers")
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ShapeError(f"windows expected whole numbers of shape (n,), received {given.dtype} of shape {given.shape}")
    for name, value in (("length", length), ("step", length if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DeltaruleError(f"{name} expected a whole number from 1 on, received {value!r}")
    if len(given) <= length:
        raise DataError(f"the sequence has {len(given)} steps; windows of {length} and what comes next need {length + 1} at least")
    both = np.lib.stride_tricks.sliding_window_view(given.astype(np.int32), length + 1)[::step or length]
    return both[:, :-1].copy(), both[:, 1:].copy()
