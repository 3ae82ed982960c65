"""Hyper-parameters tuned on rows held out: every combination at once, as one program."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deltarule.arguments import valid_seed
from deltarule.ensembles import Ensemble, prepared, reseeded
from deltarule.errors import DeltaruleError
from deltarule.network import Network
from deltarule.optimizers import Optimizer
from deltarule.optimizers import optimizer as resolve_optimizer
from deltarule.schedules import Schedule
from deltarule.spec import nearest
from deltarule.training.history import History
from deltarule.training.many import PENALTIES, Members, stacked, with_settings
from deltarule.training.prepare import recipe
from deltarule.trials import Trial, Trials, is_number, ranked, sign_of

OPTIONS = {name: parameter.default for name, parameter in inspect.signature(Ensemble.fit).parameters.items()
           if name not in ("self", "x", "y", "progress", "on_segment")}      # of a training, with their defaults
TOGETHER, NUMBERS = 64, 2**26       # networks in one program, and numbers in all their weights: more are trained one lot after another
Settings = dict[str, Any]


def sweep(net: Network, x: Any, y: Any = None, *, validation: Any = None, seeds: int | Sequence[int] = 3, monitor: str = "val_loss",
          progress: bool | None = None, **settings: Any) -> Trials:
    """Train `net` with every combination of the settings that are given as lists, all at once, and rank them on rows held out.

    - Lists: `learning_rate` and any other number of the optimizer (`momentum`, `beta1`, `clip_norm` ...), `l1`, `l2`, `batch_size`.
      `batch_size` changes the program: its values are trained one after another.
    - Other arguments of `Network.fit` (epochs, loss, optimizer, patience ...) are the same for all.
    - validation: a fraction, the same rows for all, or a pair (x, y); needed, since settings are not chosen on rows that are learnt from.
    - seeds: how many networks each combination is given, from the seed of `net` on, or a list of seeds; the spread over them tells
      which differences are more than chance.
    - monitor: the curve that decides, at the epoch that is kept: "val_loss", "val_accuracy" ...

    Each network is what `Network.fit` makes of these settings and this seed. One that diverges is said to, and comes last; Ctrl-C returns
    what was learnt so far. Test data are for later: `sweep(...).best.evaluate(test)`. Returns the `Trials`. Raises DeltaruleError for
    settings that there are none of, with the nearest name. Lecture row 24.

    >>> import deltarule as dr
    >>> wine = dr.data.iris()
    >>> net = dr.Network([dr.Dense(3, "softmax")], input_shape=(4,))
    >>> trials = dr.sweep(net, wine, validation=0.3, learning_rate=[0.001, 0.1], seeds=2, epochs=5)
    >>> trials[0].settings
    {'learning_rate': 0.1}
    """
    if not isinstance(net, Network):
        raise DeltaruleError(f"sweep expected a Network, received {type(net).__name__}")
    need_validation(validation, "sweep")
    numbers = seeds_of(seeds, net.seed)
    varied, fixed = split(settings, "sweep")
    for name, value in varied.items():
        if not isinstance(value, (list, tuple, np.ndarray, range)):
            varied[name] = [value]
    if not any(np.ndim(value) for value in settings.values()) or not varied:
        raise DeltaruleError("sweep expected at least one list of values, such as learning_rate=[0.001, 0.003, 0.01, 0.03]")
    options = {**OPTIONS, **fixed, "validation": validation, "monitor": monitor}
    optimizer = resolve_optimizer(options["optimizer"])
    for name, values in varied.items():
        varied[name] = checked(name, values, optimizer)
    combinations = [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]
    names = [name for name in varied if name != "batch_size"]
    done: list[Trial] = []
    complete, rows, cost = True, 0, 0
    try:
        for lot in lots(net, combinations, len(numbers)):
            size = {"batch_size": lot[0]["batch_size"]} if "batch_size" in lot[0] else {}
            found, rows = trained(net, x, y, {**options, **size}, lot, names, numbers, progress)
            done, cost = done + found, cost + len(lot) * len(numbers) * options["epochs"]
            if interrupted(found, len(lot)):
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        complete = False
    return Trials(ranked(done, monitor), monitor, rows, cost, complete)


def trained(net: Network, x: Any, y: Any, options: Settings, lot: Sequence[Settings], names: Sequence[str], seeds: Sequence[int],
            progress: bool | None) -> tuple[list[Trial], int]:
    """The trials of a lot of settings, trained as one program, and the number of rows held out.

    Of the settings those in `names` are numbers of the training; all else is in `net` and `options`, the same for all. A trial of which a
    network has no finished epoch, after Ctrl-C, is left out.
    """
    job = prepared(net, x, y, options, len(lot) * len(seeds))
    networks = [reseeded(net, seed) for _ in lot for seed in seeds]
    varied = {name: np.repeat(np.array([settings[name] for settings in lot], net.dtype), len(seeds)) for name in names}
    members = Members([one.seed for one in networks], [0] * len(networks), stacked([one.params for one in networks]),
                      stacked([one.state for one in networks]), varied)
    for one, run in zip(networks, job.run(members, progress, tolerant=True), strict=True):
        one._take(run)
    trials = []
    for i, settings in enumerate(lot):
        mine = tuple(networks[i * len(seeds):(i + 1) * len(seeds)])
        learner = with_settings(job.learner, {name: float(settings[name]) for name in names})
        for one in mine:
            one.training = recipe(learner, job.settings.epochs, len(job.rows.x), one.seed)
        if all(one.history.epochs or one.history.stopped == "diverged" for one in mine if one.history):
            trials.append(Trial(settings, tuple(held_out(one.history, job.settings.monitor) for one in mine), job.settings.epochs,
                                tuple(one.history.kept_epoch for one in mine if one.history), mine))
    return trials, int(np.count_nonzero(job.watched.weights[-1]))


def held_out(history: History | None, monitor: str) -> float:
    """The value of the curve at the epoch that was kept; infinitely bad where training diverged."""
    if history is None or history.stopped == "diverged" or not history.epochs:
        return sign_of(monitor) * float("inf")
    return history[monitor][history.kept_epoch - 1]


def lots(net: Network, combinations: Sequence[Settings], seeds: int) -> Iterable[Sequence[Settings]]:
    """The combinations in parts of one batch size, none too large for one program."""
    weights = sum(int(np.prod(shape)) for _, shape in net.plan.params.values())
    most = max(1, min(TOGETHER, NUMBERS // max(weights, 1)) // seeds)
    for size in dict.fromkeys(one.get("batch_size") for one in combinations):
        same = [one for one in combinations if one.get("batch_size") == size]
        count = -(-len(same) // most)           # lots of nearly the same size, so that most share one program
        each = -(-len(same) // count)
        yield from (same[begin:begin + each] for begin in range(0, len(same), each))


def interrupted(found: Sequence[Trial], expected: int) -> bool:
    """Whether Ctrl-C ended the training of these trials."""
    return len(found) < expected or any(one.history is not None and one.history.stopped == "interrupted"
                                        for trial in found for one in trial.networks)


# ------------------------------------------------------------------- what is asked for, checked


def split(settings: Settings, what: str) -> tuple[Settings, Settings]:
    """(hyper-parameters, other arguments of `fit`) among what was given by name. Raises DeltaruleError for an unknown name."""
    optimizer = resolve_optimizer(settings.get("optimizer", OPTIONS["optimizer"]))
    known = {*PENALTIES, "batch_size", *numbers_of(optimizer)}
    options = set(OPTIONS) - known - {"validation", "monitor"}
    single = options - {"metrics", "sample_weight", "class_weight", "augment"}
    for name in settings:
        if name not in known | options:
            raise DeltaruleError(f"{what} knows no setting {name!r} of {type(optimizer).__name__} or of fit"
                                 + (nearest(name, known | options) or f"; to be varied: {', '.join(sorted(known))}"))
        if name in single and isinstance(settings[name], (list, tuple, np.ndarray)):
            raise DeltaruleError(f"{what} does not vary {name}, which expected one value; it varies {', '.join(sorted(known))}")
    return {name: value for name, value in settings.items() if name in known}, \
        {name: value for name, value in settings.items() if name in options}


def numbers_of(optimizer: Optimizer) -> tuple[str, ...]:
    """The settings of an optimizer that may be varied without changing the program: its numbers that are not counts."""
    return tuple(field.name for field in dataclasses.fields(optimizer) if "float" in str(field.type))


def checked(name: str, values: Any, optimizer: Optimizer) -> list[Any]:
    """The values of one hyper-parameter as plain numbers, each different. Raises DeltaruleError for anything else."""
    found = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not found:
        raise DeltaruleError(f"{name} expected at least one value, received an empty list")
    for value in found:
        if not is_number(value) and not (name == "batch_size" and value is None):
            raise DeltaruleError(f"{name} expected a list of numbers, received {value!r} in it")
        if name in PENALTIES and not (np.isfinite(value) and value >= 0):
            raise DeltaruleError(f"{name} expected finite numbers from 0 on, received {value!r}")
        if name in numbers_of(optimizer):
            if isinstance(getattr(optimizer, name), Schedule):
                raise DeltaruleError(f"the optimizer has the schedule {getattr(optimizer, name)!r}, so {name} cannot be a list of numbers; "
                                     "give an optimizer without a schedule")
            dataclasses.replace(optimizer, **{name: value})      # which refuses what is out of range
    for value in found:
        if found.count(value) > 1:
            raise DeltaruleError(f"{name} holds {value!r} more than once; give each value once, and seeds for repeated trainings")
    return found


def need_validation(validation: Any, what: str) -> None:
    """Refuse to choose settings without rows held out. Raises DeltaruleError, naming the cure."""
    if validation is None:
        raise DeltaruleError(f"{what} chooses settings on rows that are not learnt from: give validation=0.2, or validation=(x, y)")


def seeds_of(seeds: Any, first: int) -> list[int]:
    """The seeds, from a count (from the first on) or a list. Raises DeltaruleError for what is neither."""
    if isinstance(seeds, bool) or (isinstance(seeds, (int, np.integer)) and seeds < 1) or isinstance(seeds, (str, float)):
        raise DeltaruleError(f"seeds expected a whole number of at least 1, or a list of seeds, received {seeds!r}")
    numbers = [(first + i) % 2**32 for i in range(seeds)] if isinstance(seeds, (int, np.integer)) else [valid_seed(seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers):
        raise DeltaruleError(f"seeds expected different whole numbers, received {seeds!r}")
    return numbers
