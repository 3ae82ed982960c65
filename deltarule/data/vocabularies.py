"""Vocabularies: text as whole numbers, by characters, by words or by pieces of words, and back.

A network keeps the one that its numbers stand for: `net.symbols = letters` before `net.save`, and `dr.load(...).symbols` has it again.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.checks import checked_number
from deltarule.data.arrays import as_array
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.spec import register

PIECE = re.compile(r"<\w+>|\w+|[^\w\s]")        # a name in brackets, a word, or a single mark
BYTES = 256
LONGEST = 2**12     # bytes that one number may stand for


@register
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
    def fit(cls, text: str | Iterable[str]) -> "Characters":
        """The characters that occur in a text, or in several. Raises DeltaruleError for an empty text and what is no text."""
        return cls("".join(sorted({character for part in _texts(text) for character in part})))

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
        return "".join(self.characters[i] for i in _known(numbers, len(self)))


@register
@dataclass(frozen=True)
class Words:
    """A vocabulary of words, each with its place in `words` as number; punctuation marks and names in <brackets> are words too.

    A word that is not among them gets the number of the word `unknown`, where there is one. Raises DeltaruleError for words that
    occur twice or are several, and for an `unknown` that is no word.

    >>> words = Words.fit("the cat, the dog", first=("<end>",))
    >>> words.words, words.encode("the dog <end>").tolist(), words.decode([1, 3, 2, 1, 4])
    (('<end>', 'the', ',', 'cat', 'dog'), [1, 4, 0], 'the cat, the dog')
    """

    words: tuple[str, ...]
    unknown: str | None = None

    def __post_init__(self) -> None:
        given: Any = self.words
        if isinstance(given, str) or not given:
            raise DeltaruleError(f"Words expected a tuple of words, received {given!r}; for those of a text write Words.fit(text)")
        object.__setattr__(self, "words", tuple(self.words))
        for word in self.words:
            if not isinstance(word, str) or not PIECE.fullmatch(word):
                raise DeltaruleError(f"Words expected single words or punctuation marks, received {word!r}")
        if len(set(self.words)) != len(self.words):
            raise DeltaruleError(f"Words holds {Counter(self.words).most_common(1)[0][0]!r} twice; every word needs a number of its own")
        if self.unknown is not None and self.unknown not in self.words:
            raise DeltaruleError(f"unknown={self.unknown!r} is not among the words; write Words.fit(text, first=({self.unknown!r},), ...)")

    @classmethod
    def fit(cls, text: str | Iterable[str], most: int | None = None, *, first: tuple[str, ...] = (),
            unknown: str | None = None) -> "Words":
        """The words of a text, or of several, the most frequent first (equals in the order of Unicode).

        `most` is the largest number of words; those in `first`, such as "<begin>" and "<end>", come before all others.
        """
        counts: Counter[str] = Counter()
        for part in _texts(text):
            counts.update(PIECE.findall(part))
        if most is not None:
            checked_number("most", most, len(first) + 1, whole=True)
        ranked = sorted((word for word in counts if word not in first), key=lambda word: (-counts[word], word))
        return cls((*first, *ranked)[:most], unknown)

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, text: str) -> np.ndarray:
        """The numbers of the words, int32 (n,). Raises DataError, naming the word, for one that is not known where `unknown` is not set."""
        pieces = PIECE.findall(_text(text))
        for place, piece in enumerate(pieces):
            if piece not in self._numbers and self.unknown is None:
                raise DataError(f"the text holds {piece!r} as word {place + 1}, which is not among the {len(self)} known words; "
                                "write Words.fit(..., unknown=...) to allow for it")
        return np.array([self._numbers[piece if piece in self._numbers else str(self.unknown)] for piece in pieces], np.int32)

    def decode(self, numbers: Any) -> str:
        """The words of these numbers (n,), a blank between two but none before . , ; : ! ?

        Raises ShapeError for another shape, DataError for a number out of range.
        """
        return re.sub(r" (?=[.,;:!?])", "", " ".join(self.words[i] for i in _known(numbers, len(self))))


@register
@dataclass(frozen=True)
class BytePairs:
    """Byte-pair encoding (Sennrich, Haddow and Birch 2016) on bytes, as in GPT-2: frequent words become one number, rare ones a few.

    The numbers 0 to 255 are the bytes; each pair of numbers in `merges` that follow one another is joined to the next number. So every
    text can be encoded, and nothing is unknown. `train` and `encode` need the library tokenizers (pip install 'deltarule[text]'),
    `decode` does not. Raises DeltaruleError where merges are no pairs of numbers known before.

    >>> pairs = BytePairs.train("low lower lowest slow slower " * 9, size=260)
    >>> [pairs.token(number).decode() for number in range(256, len(pairs))]
    ['lo', 'low', 'lowe', ' s']
    >>> pairs.encode("slow flow").tolist(), pairs.decode(pairs.encode("slow flow"))
    ([115, 257, 32, 102, 257], 'slow flow')
    """

    merges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "merges", tuple(tuple(pair) for pair in self.merges))
        _ = self._tokens                # refuses merges that make no sense

    @functools.cached_property
    def _tokens(self) -> tuple[bytes, ...]:
        return _joined(self.merges)

    @classmethod
    def train(cls, text: str | Iterable[str], size: int) -> "BytePairs":
        """The vocabulary of about `size` numbers that shortens this text, or these texts, most; fewer where no pair occurs twice.

        Raises DeltaruleError for a size below 256 and where the library is missing, DataError for no text.
        """
        checked_number("size", size, BYTES, whole=True)
        parts = _texts(text)
        if not any(parts):
            raise DataError("BytePairs.train expected some text, received none")
        tokenizers = _library()
        trained = tokenizers.Tokenizer(tokenizers.models.BPE())
        trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trained.train_from_iterator(parts, tokenizers.trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, max_token_length=LONGEST // 4, initial_alphabet=sorted(_letters()), show_progress=False))
        return cls(_merges(trained))

    def __len__(self) -> int:
        return len(self._tokens)

    def token(self, number: int) -> bytes:
        """The bytes that a number stands for, not always whole characters. Raises DataError for a number out of range."""
        return self._tokens[_known([number], len(self))[0]]

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text, int32 (n,). Raises DeltaruleError where the library is missing."""
        return np.array(self._encoder.encode(_text(text)).ids, np.int32)

    def decode(self, numbers: Any) -> str:
        """The text of these numbers (n,), with the replacement character where bytes form no character.

        Raises ShapeError for another shape, DataError for a number out of range.
        """
        return b"".join(self._tokens[i] for i in _known(numbers, len(self))).decode("utf-8", errors="replace")

    @functools.cached_property
    def _encoder(self) -> Any:
        """The library's encoder for these merges."""
        tokenizers, letters = _library(), _letters()
        names = ["".join(letters[byte] for byte in token) for token in self._tokens]
        encoder = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={name: i for i, name in enumerate(names)},
                                                             merges=[(names[a], names[b]) for a, b in self.merges]))
        encoder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return encoder


def _joined(merges: tuple[tuple[int, ...], ...]) -> tuple[bytes, ...]:
    """The bytes of every number: single bytes, then what is joined; the same bytes joined in another way are no new number."""
    tokens = dict.fromkeys(bytes([byte]) for byte in range(BYTES))
    known = list(tokens)
    for i, pair in enumerate(merges):
        if len(pair) != 2 or not all(type(number) is int and 0 <= number < len(known) for number in pair):
            raise DeltaruleError(f"merge {i} of BytePairs expected two whole numbers from 0 to {len(known) - 1}, received {pair!r}")
        token = known[pair[0]] + known[pair[1]]
        if len(token) > LONGEST:
            raise DeltaruleError(f"merge {i} of BytePairs joins {len(token)} bytes, more than the {LONGEST} that a number may stand for")
        if token not in tokens:
            tokens[token] = None
            known.append(token)
    return tuple(known)


def _merges(trained: Any) -> tuple[tuple[int, int], ...]:
    """What the library has learnt, with our numbers instead of its letters."""
    byte = {letter: i for i, letter in enumerate(_letters())}
    numbers = {bytes([i]): i for i in range(BYTES)}
    pairs = []
    for names in json.loads(trained.to_str())["model"]["merges"]:
        left, right = (bytes(byte[letter] for letter in name) for name in names)
        pairs.append((numbers[left], numbers[right]))
        numbers.setdefault(left + right, len(numbers))
    return tuple(pairs)


def _letters() -> list[str]:
    """The letter by which the library knows each byte: itself where it can be printed, else those from U+0100 on, in order (GPT-2)."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("\u00a1"), ord("\u00ac") + 1), *range(ord("\u00ae"), ord("\u00ff") + 1)}
    others = iter(range(BYTES, 2 * BYTES))
    return [chr(byte if byte in plain else next(others)) for byte in range(BYTES)]


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise DeltaruleError("BytePairs needs the library tokenizers; pip install 'deltarule[text]'") from None
    return tokenizers


def _texts(text: Any) -> list[str]:
    """One text or several as a list."""
    return [_text(part) for part in (text if isinstance(text, (list, tuple, Iterator)) else (text,))]


def _text(text: Any) -> str:
    """The text, where it is one that UTF-8 can hold."""
    if not isinstance(text, str):
        raise DeltaruleError(f"a vocabulary reads text, received {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the text holds half a character ({text[error.start]!r} at place {error.start}), which no text file can") from None
    return text


def _known(numbers: Any, size: int) -> list[int]:
    """Whole numbers of a vocabulary of this size, as a list."""
    given = as_array(numbers, "numbers")
    if given.ndim != 1:
        raise ShapeError(f"decode expected numbers of shape (n,), received {given.shape}")
    wrong = given[(given < 0) | (given >= size) | (given != np.rint(given))]
    if wrong.size:
        raise DataError(f"numbers holds {wrong[0]:g}, expected whole numbers from 0 to {size - 1}")
    return [int(number) for number in given]
