"""Sequences of unequal length with one answer each, such as the light curves of stars: as they are, as padded arrays, as a table."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.data import splitting
from deltarule.data.dataset import Dataset
from deltarule.errors import DataError, ShapeError

if TYPE_CHECKING:
    import polars as pl


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """n sequences, each with its times (T_i,) and values (T_i, channels), and what is to be predicted for each.

    `times` rise from step to step. `y` (n,) holds class numbers where there are `class_names`, else numbers; None where nothing is known.
    `names` (n,) say which sequence is which; `facts` holds more numbers of each, (n,), such as the true period. Made by `read_sequences`
    from a table, by `light_curves` and `damped_tones`. Raises ShapeError where the parts do not fit together.

    >>> two = Sequences((np.array([0.0, 2.0, 3.0]), np.array([5.0])), (np.ones((3, 1)), np.zeros((1, 1))), np.array([0, 1]), ("a", "b"),
    ...                 value_names=("mag",))
    >>> len(two), two.lengths.tolist()
    (2, [3, 1])
    """

    times: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    y: np.ndarray | None
    class_names: tuple[str, ...] | None = None
    value_names: tuple[str, ...] = ("value",)
    time_name: str = "time"
    target_name: str = "class"
    names: tuple[str, ...] = ()
    name: str = "sequences"
    source: str = ""
    notes: tuple[str, ...] = ()
    facts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.times) != len(self.values) or (self.y is not None and len(self.y) != len(self.times)):
            raise ShapeError(f"Sequences expected as many times as values and answers, received {len(self.times)}, {len(self.values)} and "
                             f"{len(self.times) if self.y is None else len(self.y)}")
        for i, (t, v) in enumerate(zip(self.times, self.values, strict=True)):
            if t.ndim != 1 or not len(t) or v.shape != (len(t), len(self.value_names)):
                raise ShapeError(f"sequence {i} expected times (steps,) and values (steps, {len(self.value_names)}) of at least one step, "
                                 f"received {t.shape} and {v.shape}")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def lengths(self) -> np.ndarray:
        """The number of steps of each, (n,)."""
        return np.array([len(times) for times in self.times])

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the columns of `padded`."""
        return (f"{self.time_name} since the step before", *self.value_names, "there")

    def subset(self, rows: Any) -> "Sequences":
        """The sequences of these numbers (m,), or of a mask of booleans (n,)."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return dataclasses.replace(
            self, times=tuple(self.times[i] for i in chosen), values=tuple(self.values[i] for i in chosen),
            y=None if self.y is None else self.y[chosen], names=tuple(self.names[i] for i in chosen) if self.names else (),
            facts={key: fact[chosen] for key, fact in self.facts.items()})

    def first_steps(self, steps: int) -> "Sequences":
        """The same, each cut behind its first `steps` steps."""
        return dataclasses.replace(self, times=tuple(times[:steps] for times in self.times),
                                   values=tuple(values[:steps] for values in self.values))

    def split(self, test: float = 0.2, seed: int = 0) -> tuple["Sequences", "Sequences"]:
        """Two parts at random, `(train, test)`, every class in its share on both sides. Raises DataError where one side would be empty."""
        if self.y is not None and self.class_names is not None:
            train, held = splitting.stratified_rows(self.y, test, seed)
        else:
            train, held = splitting.random_rows(len(self), test, seed)
        return self.subset(train), self.subset(held)

    def padded(self, steps: int | None = None) -> np.ndarray:
        """x (n, T, 2 + channels) float64: time since the step before (0 in the first), the values, and 1, for "this step is there".

        What fills up is 0, so that `Masked(0)` finds it: no real step has a 0 in the last column. T is the longest length, or `steps`.
        Raises DataError for a sequence longer than `steps`.

        >>> t, v = np.array([0.0, 2.0]), np.array([[5.0], [6.0]])
        >>> Sequences((t, t[:1]), (v, v[:1]), None).padded().tolist()
        [[[0.0, 5.0, 1.0], [2.0, 6.0, 1.0]], [[0.0, 5.0, 1.0], [0.0, 0.0, 0.0]]]
        """
        lengths = self.lengths
        most = int(lengths.max()) if steps is None else steps
        if lengths.max() > most:
            raise DataError(f"sequence {self._named(int(lengths.argmax()))} has {lengths.max()} steps, more than steps={most}; cut it, or "
                            "allow for more")
        x = np.zeros((len(self), most, 2 + len(self.value_names)))
        for row, times, values in zip(x, self.times, self.values, strict=True):
            row[:len(times)] = np.column_stack([np.diff(times, prepend=times[0]), values, np.ones(len(times))])
        return x

    def dataset(self, steps: int | None = None) -> Dataset:
        """The `Dataset` with x as in `padded`, as `Model.train` takes it. Raises DataError without y, or for too long sequences."""
        if self.y is None:
            raise DataError(f"{self.name} has nothing to predict; name the column with the answers (label)")
        return Dataset(self.padded(steps), self.y, (), self.class_names, self.target_name, self.name, self.source, self.notes,
                       channels=self.channels)

    def table(self) -> "pl.DataFrame":
        """The long form, one row for each step: the columns name, time, those of the values and, where it is known, the answer."""
        import polars as pl

        lengths, names = self.lengths, self.names or tuple(map(str, range(len(self))))
        columns: dict[str, Any] = {"name": np.repeat(np.array(names), lengths), self.time_name: np.concatenate(self.times)}
        stacked = np.concatenate(self.values)
        columns |= {name: stacked[:, j] for j, name in enumerate(self.value_names)}
        if self.y is not None:
            answers = self.y if self.class_names is None else np.array(self.class_names)[self.y]
            columns[self.target_name] = np.repeat(answers, lengths)
        return pl.DataFrame(columns)

    def _named(self, i: int) -> str:
        return repr(self.names[i]) if self.names else str(i)


def some_names(names: Sequence[str]) -> str:
    """The first few names, quoted, and how many there are beyond them."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
