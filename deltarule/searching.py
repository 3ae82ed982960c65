"""Search: structure and settings drawn at random, and more epochs for those that do well (successive halving)."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.arguments import pair, valid_seed
from deltarule.checks import check_number, checked_number
from deltarule.data.arrays import as_array
from deltarule.ensembles import reseeded
from deltarule.errors import DataError, DeltaruleError
from deltarule.files import StrPath, read_bytes, shown, write_atomically
from deltarule.layers.scope import path_number
from deltarule.network import Network
from deltarule.optimizers import optimizer as resolve_optimizer
from deltarule.spec import to_json
from deltarule.trials import Trial, Trials, ranked, sign_of
from deltarule.tuning import OPTIONS, Settings, checked, interrupted, lots, need_validation, seeds_of, split, trained

MOST_FILE = 2**28       # bytes of a file of results
DRAWS = 100             # for a choice that was not drawn yet


@dataclass(frozen=True)
class LogUniform:
    """Numbers from `low` to `high`, every power of ten as likely as the next; with `whole` rounded to whole ones.

    >>> round(LogUniform(1e-4, 1e-1).draw(np.random.default_rng(0)), 5)
    0.00814
    """

    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        check_number(self, "low", above=0)
        check_number(self, "high", above=self.low)

    def draw(self, rng: np.random.Generator) -> float:
        """One of them."""
        value = float(np.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return round(value) if self.whole else value


def search(build: Callable[..., Network], x: Any, y: Any = None, *, validation: Any = None, trials: int = 27, epochs: int = 54,
           halving: int | None = 3, seeds: int | Sequence[int] = 1, seed: int = 0, monitor: str = "val_loss",
           file: StrPath | None = None, progress: bool | None = None, **space: Any) -> Trials:
    """Choose structure and settings on rows held out: draw `trials` of them, and give the better ones more epochs.

    - build: a function that returns a Network; it is given the settings that it takes by name.
    - space: for every setting a list to draw from, or a `LogUniform(low, high)`. What `build` does not take belongs to the training:
      `optimizer`, `batch_size`, `l1`, `l2` and numbers of the optimizer. Other arguments of `Network.fit` are the same for all.
    - halving: of each round the best third (3) goes on to the next, with three times the epochs, the last with `epochs` of them: all rounds
      cost the same, and little is spent on what does badly (Jamieson and Talwalkar 2016). Each round trains from the start, as
      `Network.fit` would. None: plain random search, all with `epochs` (Bergstra and Bengio 2012).
    - seeds, monitor and validation: as in `sweep`. `seed` draws the settings and the rows held out.
    - file: where results are kept, as JSON; the same call goes on from there after Ctrl-C or a crash.

    Trials of one structure are trained as one program. Ctrl-C returns what was done so far. Returns the `Trials`, those of the last
    round first. Raises DeltaruleError for a space that does not fit. Lecture row 24.

    >>> import deltarule as dr
    >>> def build(width):
    ...     return dr.Network([dr.Dense(width, "tanh"), dr.Dense(3, "softmax")], input_shape=(4,))
    >>> found = dr.search(build, dr.data.iris(), validation=0.3, trials=3, epochs=3, width=[2, 5], learning_rate=dr.LogUniform(0.001, 0.1))
    >>> len(found), sorted(found[0].settings), found.cost
    (3, ['learning_rate', 'width'], 9)
    """
    need_validation(validation, "search")
    checked_number("trials", trials, 1, whole=True)
    checked_number("epochs", epochs, 1, whole=True)
    if halving is not None:
        checked_number("halving", halving, 2, whole=True)
    x, y = pair(x, y)
    choices, fixed = _space(build, space)
    options = {**OPTIONS, **fixed, "validation": validation, "monitor": monitor}
    task = _Task(build, x, y, options, valid_seed(seed), seeds_of(seeds, seed), progress, _taken(build))
    book = _Book(file, task, choices)
    drawn = list(_draw(choices, trials, seed))
    rounds = list(_rounds(len(drawn), epochs, halving))
    done: dict[str, Trial] = {}
    complete, kept = True, drawn
    try:
        for count, length in rounds:
            kept = kept[:count]
            for trial in task.run(kept, length, book):
                done[_key(trial.settings)] = trial
            kept = [trial.settings for trial in ranked([done[_key(settings)] for settings in kept], monitor)]
    except KeyboardInterrupt:
        complete = False
    return Trials(ranked(list(done.values()), monitor), monitor, task.rows, book.cost, complete, task.again)


@dataclass
class _Task:
    """What all trials share."""

    build: Callable[..., Network]
    x: Any
    y: Any
    options: Settings
    seed: int
    seeds: list[int]
    progress: bool | None
    taken: tuple[str, ...]
    rows: int = 0

    def run(self, chosen: Sequence[Settings], epochs: int, book: _Book) -> Iterator[Trial]:
        """Each trial with so many epochs, known from the file or trained. Raises KeyboardInterrupt after those that Ctrl-C left whole."""
        groups: dict[str, list[Settings]] = {}
        networks: dict[str, Network] = {}
        for settings in chosen:
            known = book.find(settings, epochs)
            if known is not None:
                self.rows = book.rows
                yield known
                continue
            net = self.network(settings)
            program = _key({"layer": net.layer, "dtype": net.dtype, "size": settings.get("batch_size"), "rule": settings.get("optimizer")})
            groups.setdefault(program, []).append(settings)
            networks[program] = net
        for program, group in groups.items():
            for lot in lots(networks[program], group, len(self.seeds)):
                found = self.train(networks[program], lot, epochs)
                finished = [trial for trial in found if not interrupted([trial], 1)]
                book.write(finished, self.rows)
                yield from finished
                if len(finished) < len(lot):
                    raise KeyboardInterrupt

    def train(self, net: Network, lot: Sequence[Settings], epochs: int) -> list[Trial]:
        """One program: these settings, which share structure, batch size and optimizer."""
        outside = {name: value for name, value in lot[0].items() if name not in self.taken}
        names = [name for name in outside if name not in ("batch_size", "optimizer")]
        options = {**self.options, **{name: value for name, value in outside.items() if name not in names}, "epochs": epochs}
        found, self.rows = trained(net, self.x, self.y, options, lot, names, self.seeds, self.progress)
        return found

    def network(self, settings: Settings) -> Network:
        """What `build` makes of the settings that it takes."""
        net = self.build(**{name: value for name, value in settings.items() if name in self.taken})
        if not isinstance(net, Network):
            raise DeltaruleError(f"build returned {type(net).__name__}, expected a Network")
        return reseeded(net, self.seed)

    def again(self, trial: Trial) -> Trial:
        """The trial with its networks, trained once more: the same seeds, the same result."""
        return self.train(self.network(trial.settings), [trial.settings], trial.epochs)[0]


class _Book:
    """The results so far, in a file where there is one: what is known need not be trained again."""

    def __init__(self, file: StrPath | None, task: _Task, choices: Settings):
        self.file, self.monitor, self.rows, self.cost = file, task.options["monitor"], 0, 0
        self.trials: dict[str, Trial] = {}
        self.search = _digest(task, choices)
        if file is not None and Path(file).exists():
            self._read(file)

    def find(self, settings: Settings, epochs: int) -> Trial | None:
        """The trial, where it is known."""
        found = self.trials.get(_key({"settings": settings, "epochs": epochs}))
        return None if found is None else replace(found, settings=settings)

    def write(self, trials: Sequence[Trial], rows: int) -> None:
        """Take note of finished trials; the file is written whole or not at all."""
        self.rows = rows
        for trial in trials:
            self.trials[_key({"settings": trial.settings, "epochs": trial.epochs})] = trial
            self.cost += trial.epochs * len(trial.values)
        if self.file is not None and trials:
            found = [{"settings": to_json(trial.settings), "epochs": trial.epochs, "kept": list(trial.kept),
                      "values": [value if math.isfinite(value) else None for value in trial.values]} for trial in self.trials.values()]
            text = json.dumps({"search": self.search, "rows": rows, "trials": found}, indent=1)
            write_atomically(self.file, text.encode())

    def _read(self, file: StrPath) -> None:
        try:
            content = json.loads(read_bytes(file, MOST_FILE))
            search, self.rows, trials = content["search"], int(content["rows"]), content["trials"]
            known = [(one["settings"], int(one["epochs"]), one["values"], tuple(map(int, one["kept"]))) for one in trials]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{shown(file)} holds no results of a search ({error}); give another file") from None
        if search != self.search:
            raise DataError(f"{shown(file)} holds the results of another search (other data, space, seeds or options); give another file, "
                            "or delete it")
        for settings, epochs, values, kept in known:
            numbers = tuple(sign_of(self.monitor) * math.inf if value is None else float(value) for value in values)
            self.trials[_key({"settings": settings, "epochs": epochs})] = Trial(settings, numbers, epochs, kept)
            self.cost += epochs * len(values)


def _space(build: Callable[..., Network], space: Settings) -> tuple[Settings, Settings]:
    """(what is drawn, what is the same for all), checked."""
    if not callable(build) or isinstance(build, Network):
        raise DeltaruleError("search expected a function that builds a Network from settings, such as "
                             f"lambda width: dr.Network([...]), received {type(build).__name__}")
    taken = _taken(build)
    missing = [name for name, parameter in inspect.signature(build).parameters.items()
               if parameter.default is parameter.empty and name in taken and name not in space]
    if missing:
        raise DeltaruleError(f"build takes {missing[0]}, of which the space says nothing; give for example {missing[0]}=[16, 32, 64]")
    structure = {name: _list(name, values) for name, values in space.items() if name in taken}
    rest = {name: value for name, value in space.items() if name not in taken}
    optimizers = rest["optimizer"] if isinstance(rest.get("optimizer"), (list, tuple)) else [rest.get("optimizer", OPTIONS["optimizer"])]
    for optimizer in optimizers:
        numbers, fixed = split({**{name: value for name, value in rest.items() if name != "optimizer"}, "optimizer": optimizer}, "search")
        for name, values in numbers.items():
            given = [values.low, values.high] if isinstance(values, LogUniform) else _list(name, values)
            checked(name, given, resolve_optimizer(optimizer))
            numbers[name] = values if isinstance(values, LogUniform) else given
    if len(optimizers) > 1:
        numbers["optimizer"] = list(optimizers)
    if not structure and not numbers:
        raise DeltaruleError("search expected something to choose, such as width=[16, 32, 64] or learning_rate=LogUniform(1e-4, 1e-1)")
    return {**structure, **numbers}, fixed


def _taken(build: Callable[..., Network]) -> tuple[str, ...]:
    """The settings that `build` takes by name."""
    return tuple(name for name, parameter in inspect.signature(build).parameters.items()
                 if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY))


def _list(name: str, values: Any) -> Any:
    """A list to draw from, or a LogUniform; a single value is a list of one."""
    if isinstance(values, LogUniform):
        return values
    found = list(values) if isinstance(values, (list, tuple, range, np.ndarray)) else [values]
    if not found:
        raise DeltaruleError(f"{name} expected at least one value, received an empty list")
    return [value.item() if isinstance(value, np.generic) else value for value in found]


def _draw(choices: Settings, trials: int, seed: int) -> Iterator[Settings]:
    """Different settings, at most so many as there are."""
    rng = np.random.default_rng((seed, path_number("search")))
    seen: set[str] = set()
    for _ in range(trials):
        for _ in range(DRAWS):
            settings = {name: values.draw(rng) if isinstance(values, LogUniform) else values[rng.integers(len(values))]
                        for name, values in choices.items()}
            if _key(settings) not in seen:
                seen.add(_key(settings))
                yield settings
                break


def _rounds(trials: int, epochs: int, halving: int | None) -> Iterator[tuple[int, int]]:
    """How many trials, and how many epochs each, round by round; the last has no more than `halving` trials.

    >>> list(_rounds(27, 54, 3)), list(_rounds(5, 10, None))
    ([(27, 6), (9, 18), (3, 54)], [(5, 10)])
    """
    counts = [trials]
    while halving is not None and counts[-1] > halving:
        counts.append(-(-counts[-1] // halving))
    for number, count in enumerate(counts):
        yield count, max(1, epochs // (halving or 1) ** (len(counts) - 1 - number))


def _key(settings: Settings) -> str:
    return json.dumps(to_json(settings), sort_keys=True)


def _digest(task: _Task, choices: Settings) -> str:
    """What a search depends on besides its drawn settings, as a short text: data, space, seeds, options."""
    digest = hashlib.sha256()
    fraction = isinstance(task.options["validation"], (int, float))
    held = () if fraction else pair(*task.options["validation"][:2]) if isinstance(task.options["validation"], (tuple, list)) else \
        pair(task.options["validation"], None)
    for values in (task.x, task.y, *held):
        digest.update(np.ascontiguousarray(as_array(values, "x")).tobytes())
    options = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in task.options.items()
               if name not in ("validation", "epochs")}
    digest.update(repr((sorted(choices.items(), key=str), task.seed, task.seeds, fraction and task.options["validation"],
                        sorted(options.items(), key=str))).encode())
    return digest.hexdigest()[:16]
