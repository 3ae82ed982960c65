"""Ensemble: the same network from many starts, trained side by side as one program. Where its members disagree, the data left it open."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule import modelfile
from deltarule.arguments import pair, settings_of, sized
from deltarule.augment import as_augmentations
from deltarule.checks import checked_number
from deltarule.errors import DeltaruleError, DivergenceError, ModelFileError
from deltarule.files import StrPath
from deltarule.layers.forward import forward, real_steps
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Tree, draw, flatten
from deltarule.losses import Loss, Output
from deltarule.network import PREDICT_ROWS, PROBES, Network
from deltarule.network import restore as restore_network
from deltarule.ops.compiling import compiled, precision
from deltarule.ops.sharing import Lent
from deltarule.optimizers import optimizer as resolve_optimizer
from deltarule.rowwise import metric
from deltarule.spec import to_json
from deltarule.training import prepare
from deltarule.training.epochs import Rows, Watched
from deltarule.training.fit import Run, Settings
from deltarule.training.history import History
from deltarule.training.many import Members, fit_many, stacked
from deltarule.training.progress import Progress
from deltarule.training.step import Learner
from deltarule.training.stream import is_stream


class Ensemble:
    """Networks like `net` with first weights, orders of rows and noise of their own, trained as one program.

    Member i is what `Network.fit` makes of `net` with the seed `net.seed + i`. The prediction is the mean over the members; their standard
    deviation, the spread, grows where no data say how to go on, in regression as in the probabilities of classes (Lakshminarayanan,
    Pritzel and Blundell 2017). It is the error of the fit, not the noise of targets. Raises DeltaruleError for members below 1.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(7, "tanh"), dr.Dense(1)], input_shape=(1,))
    >>> x = np.linspace(-1, 1, 23)[:, None]
    >>> mean, spread = dr.Ensemble(net, members=3).fit(x, np.sin(x), epochs=2).predict(x, spread=True)
    >>> mean.shape, spread.shape
    ((23, 1), (23, 1))
    """

    def __init__(self, net: Network, members: int = 16):
        if not isinstance(net, Network):
            raise DeltaruleError(f"Ensemble expected a Network, of which all members are copies, received {type(net).__name__}")
        checked_number("members", members, 1, whole=True)
        self.members: list[Network] = [reseeded(net, (net.seed + i) % 2**32) for i in range(members)]

    @property
    def first(self) -> Network:
        """The first member, whose architecture is that of all."""
        return self.members[0]

    @property
    def histories(self) -> list[History | None]:
        """How the last training went, member by member; None before."""
        return [member.history for member in self.members]

    def __repr__(self) -> str:
        return f"Ensemble({self.first!r}, members={len(self.members)})"

    def __len__(self) -> int:
        return len(self.members)

    # --------------------------------------------------------------- learning

    def fit(self, x: Any, y: Any = None, *, loss: str | Loss = "auto", optimizer: Any = "adam", epochs: int = 20,
            batch_size: int | None = 32, validation: Any = None, metrics: Sequence[str] | str = "auto", sample_weight: Any = None,
            class_weight: Any = None, l1: float = 0.0, l2: float = 0.0, patience: int | None = 10, monitor: str = "auto",
            goal: float | None = None, keep: str = "auto", shuffle: bool = True, augment: Any = None, progress: bool | None = None,
            on_segment: Callable[[History], None] | None = None) -> "Ensemble":
        """Train all members on rows x (n, *input_shape) with targets y, or on a `Dataset`; arguments as in `Network.fit`.

        A fraction as validation holds out the same rows for all, those of the first member's seed. Every member has its own patience and
        keeps its own best epoch (`histories`). `on_segment` gets the mean of their curves. Returns the ensemble, after Ctrl-C early.
        Raises DivergenceError, which says which member met a number that is not finite; all then hold the last good weights.
        """
        given = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size, "validation": validation,
                 "metrics": metrics, "sample_weight": sample_weight, "class_weight": class_weight, "l1": l1, "l2": l2,
                 "patience": patience, "monitor": monitor, "goal": goal, "keep": keep, "shuffle": shuffle, "augment": augment}
        job = prepared(self.first, x, y, given, len(self.members))
        members = Members([member.seed for member in self.members], [member.epochs_trained for member in self.members],
                          stacked([member.params for member in self.members]), stacked([member.state for member in self.members]))
        try:
            runs = job.run(members, progress, on_segment)
        except DivergenceError as error:
            self._take(error.run, job)
            raise
        self._take(runs, job)
        return self

    # ------------------------------------------------------------------ using

    def outputs(self, x: Any) -> np.ndarray:
        """What each member says: (members, n, *output_shape) for inputs (n, *input_shape). Raises as `Network.predict` does."""
        return self._outputs(prepare.inputs(x, self.first.input_shape, self.first.dtype, parts=self.first.parts))

    def predict(self, x: Any, spread: bool = False) -> Any:
        """The mean over the members (n, *output_shape), of classes the mean probability; with `spread` the pair (mean, spread).

        The spread (n, *output_shape) is the members' standard deviation, zero for a single one. Raises as `Network.predict` does.
        """
        outputs = self.outputs(x)
        mean = self._mean(outputs)
        return (mean, _spread(outputs)) if spread else mean

    def spread(self, x: Any) -> np.ndarray:
        """The standard deviation over the members (n, *output_shape): the error bars of `predict`."""
        return _spread(self.outputs(x))

    def evaluate(self, x: Any, y: Any = None, *, loss: str | Loss = "auto", metrics: Sequence[str] | str = "auto",
                 sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics of the mean prediction, as `Network.evaluate` gives them for a single network.

        >>> import deltarule as dr
        >>> ensemble = dr.Ensemble(dr.Network([dr.Dense(3, "softmax")], input_shape=(2,)), members=5)
        >>> sorted(ensemble.evaluate(np.zeros((4, 2)), np.array([0, 1, 2, 0])))
        ['accuracy', 'loss']
        """
        x, y = pair(x, y)
        learner = self.first._learner(self.first._loss(loss), metrics)
        rows = self.first._rows(x, y, learner.loss, sample_weight, None)
        with precision(self.first.dtype):
            net = self.first
            output = _as_output(self._mean(self._outputs(rows.x)), net.output.activation)
            if net.output.mask is not None:
                output = output._replace(mask=real_steps(net.layer, net.dtype, net.params, net.state, rows.x, quick=True))
            weights = np.ones(len(rows.x)) if rows.weights is None else np.asarray(rows.weights, float)
            values = [learner.loss.rows(output, rows.y), *(metric(name)(output.h, rows.y, output.mask) for name in learner.metrics)]
            means = [float(np.average(np.asarray(value, float), weights=weights)) for value in values]
        return dict(zip(("loss", *learner.metrics), means, strict=True))

    # ----------------------------------------------------------------- saving

    def save(self, path: StrPath) -> None:
        """Write all members to one safetensors file, whole or not at all; `dr.load` reads it. Raises as `Network.save` does."""
        net = self.first
        header = {"architecture": to_json(net.layer), "input_shape": list(net.input_shape), "dtype": net.dtype, "extra": {},
                  "members": [{"seed": member.seed, "training": member.training, "epochs_trained": member.epochs_trained}
                              for member in self.members]}
        header |= {} if net.symbols is None else {"symbols": to_json(net.symbols)}
        rows = prepare.probes(PROBES, net.input_shape, net.dtype, net.parts)
        arrays = {f"{kind}/{path}": value for kind in ("params", "state")
                  for path, value in flatten(stacked([getattr(member, kind) for member in self.members])).items()}
        modelfile.write_model(path, header, arrays | {"probes/inputs": rows, "probes/outputs": self._outputs(rows)})

    # ---------------------------------------------------------------- private

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        net, params, state = self.first, stacked([member.params for member in self.members]), stacked([m.state for m in self.members])
        most = max(PREDICT_ROWS // len(self.members), 64)
        with precision(net.dtype):
            parts = [np.asarray(_predict(net.layer, net.dtype, params, state, part, quick=len(part) <= 64))[:, :count]
                     for part, count in prepare.chunks(x, most, min(net._fewest_rows, most))]
        return np.concatenate(parts, axis=1)

    def _mean(self, outputs: np.ndarray) -> np.ndarray:
        if self.first.output.activation == "log_softmax":       # the mean probability, as everywhere
            return np.log(np.mean(np.exp(outputs.astype(float)), axis=0)).astype(outputs.dtype)
        return outputs.mean(axis=0, dtype=float).astype(outputs.dtype)

    def _take(self, runs: Sequence[Run], job: "Job") -> None:
        for member, run in zip(self.members, runs, strict=True):
            member._take(run)
            member.training = prepare.recipe(job.learner, job.settings.epochs, len(job.rows.x), member.seed)


@dataclasses.dataclass(frozen=True)
class Job:
    """A training that is ready to run, for any number of members: what is learnt, how long, from which rows, measured on which."""

    learner: Learner
    settings: Settings
    rows: Rows
    watched: Watched

    def run(self, members: Members, progress: bool | None = None, on_segment: Callable[[History], None] | None = None,
            tolerant: bool = False) -> list[Run]:
        """Train the members; progress is shown, and told to `on_segment`, as in `Network.fit`."""
        with precision(self.learner.dtype), Progress(self.settings.epochs, self.learner.steps, progress) as shown:
            def report(history: History, done: int) -> None:
                shown(history, done)
                if on_segment is not None:
                    on_segment(history)

            return fit_many(self.learner, self.settings, members, self.rows, self.watched, report, tolerant)


def prepared(net: Network, x: Any, y: Any, given: dict[str, Any], members: int) -> Job:
    """The training of so many networks like this one, from the arguments of `Network.fit`, checked as they are there."""
    if is_stream(x, y):
        raise DeltaruleError("many networks train on rows that are at hand: give arrays x and y or a Dataset, not an iterable of batches")
    x, y = pair(x, y)
    learner = net._learner(net._loss(given["loss"], fresh=True), given["metrics"], optimizer=resolve_optimizer(given["optimizer"]),
                           l1=given["l1"], l2=given["l2"], augment=as_augmentations(given["augment"]),
                           masks=prepare.masks(net.input_shape, net.output_shape))
    settings = settings_of(net.seed, net.epochs_trained, given["epochs"], given["patience"], given["monitor"], given["keep"],
                           given["shuffle"], given["validation"] is not None, given["goal"])
    rows = net._rows(x, y, learner.loss, given["sample_weight"], given["class_weight"])
    rows, held = net._validation(given["validation"], rows, learner.loss)
    learner = sized(learner, len(rows.x), given["batch_size"])
    with precision(net.dtype):
        prepare.check_augmented(learner, rows, net.output)
        watched = prepare.watched_rows(rows, held, net.seed, net.dtype)
    return Job(net._planned(learner, members * learner.batch_size * learner.steps, settings.epochs), settings, rows, watched)


def reseeded(net: Network, seed: int) -> Network:
    """A network of the same architecture with the first weights of another seed, untrained."""
    twin = copy.copy(net)
    twin._lent = Lent()
    twin.seed, twin.training, twin.epochs_trained, twin.memory, twin.history = seed, {}, 0, None, None
    twin.params, twin.state = draw(net.plan.params, seed, net.dtype), draw(net.plan.state, seed, net.dtype)
    return twin


def restore(header: dict[str, Any], arrays: dict[str, np.ndarray], path: str) -> Ensemble:
    """The ensemble from the parts of a model file; `path` is for messages. Every member is checked as a single network is."""
    descriptions = header["members"]
    count = len(descriptions) if isinstance(descriptions, list) else 0
    if not count or not all(isinstance(description, dict) for description in descriptions):
        raise ModelFileError(f"{path} lacks a part of the model's description: its members")
    for name, array in arrays.items():
        if name != "probes/inputs" and array.shape[:1] != (count,):
            raise ModelFileError(f"{path} holds {name} for another number of members than the {count} it describes")
    members = [restore_network(header | description, {name: array if name == "probes/inputs" else array[i].copy()
                                                      for name, array in arrays.items()}, path)
               for i, description in enumerate(descriptions)]
    ensemble = Ensemble(members[0], 1)
    ensemble.members = members
    return ensemble


def _spread(outputs: np.ndarray) -> np.ndarray:
    return outputs.std(axis=0, dtype=float).astype(outputs.dtype)


def _as_output(h: np.ndarray, activation: str | None) -> Output:
    """A mean prediction as losses take it: they work on the pre-activation a, here one that gives h."""
    p = np.clip(h, np.finfo(h.dtype).tiny, None)
    a = h
    if activation in ("softmax", "exponential"):
        a = np.log(p)
    elif activation == "sigmoid":
        a = np.log(p) - np.log(np.clip(1 - h, np.finfo(h.dtype).tiny, None))
    return Output(jnp.asarray(h), jnp.asarray(a), activation)


@compiled("layer", "dtype")
def _predict(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array) -> Array:
    """(members, rows, ...)."""
    return jax.vmap(lambda params, state: forward(layer, params, state, x, dtype=dtype)[0].h)(params, state)
