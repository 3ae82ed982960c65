"""Network: an architecture and its parameters. Build it, train it, ask it, save it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from deltarule import modelfile
from deltarule.arguments import hashable, pair, refuse_for_stream, row_shape, settings_of, sized, valid_dtype, valid_record, valid_seed
from deltarule.augment import as_augmentations
from deltarule.data.arrays import as_array
from deltarule.errors import DeltaruleError, DivergenceError, ModelFileError
from deltarule.files import StrPath
from deltarule.glass.findings import Findings
from deltarule.glass.receptive_field import ReceptiveField, Walk, receptive_field
from deltarule.glass.sight import Sight
from deltarule.glass.summary import Summary, summarize
from deltarule.glass.trace import Trace, watch, watch_both_ways
from deltarule.layers.composition import as_layer
from deltarule.layers.forward import forward, plan, real_steps
from deltarule.layers.layer import Layer
from deltarule.layers.parts import parts, pieces
from deltarule.layers.scope import Array, Tree, draw, flatten, unflatten
from deltarule.losses import Loss
from deltarule.losses import loss as resolve_loss
from deltarule.ops.compiling import compiled
from deltarule.ops.compiling import precision as _precision
from deltarule.ops.sharing import Lent, aligned, owned
from deltarule.optimizers import optimizer as resolve_optimizer
from deltarule.rowwise import metric
from deltarule.spec import from_json, to_json
from deltarule.training import prepare
from deltarule.training.carrying import beginning, refuse_rows
from deltarule.training.epochs import Rows, Watched, measure
from deltarule.training.fit import Run, fit
from deltarule.training.history import History
from deltarule.training.lengths import at_length
from deltarule.training.progress import Progress
from deltarule.training.recording import Record
from deltarule.training.step import Learner
from deltarule.training.stream import first_batch, fit_stream, is_stream, needs_pair, number_of_batches

PREDICT_ROWS = 4096     # rows that go through the network at a time
LITTLE_WORK, VERY_LITTLE, LITTLE_TO_SEE, FEW_WEIGHTS = 10**9, 10**8, 10**7, 2**19    # multiply-adds (forward): compiling takes longer
LIGHT, LIGHT_ROWS = 50_000, 64      # networks of fewer multiply-adds run 64 rows as fast as one: one program serves all small calls
PROBES = 8              # rows whose outputs are stored with a model and checked when it is loaded


class Network:
    """A network: layers, and parameters as plain nested dicts of arrays.

    `layers` is a list of layers, a dict that names them, or one layer; `input_shape` is the shape of one row, such as
    (64,) or (28, 28, 1), which an `EncoderDecoder` knows by itself. The first weights depend on `seed` and each layer's path alone. `dtype`
    is "float32" or "float64". `symbols` may be set to the vocabulary that its whole numbers stand for (`dr.data.Characters` ...), or a dict
    of several: it is saved. Raises DeltaruleError or ShapeError where layers do not fit together.

    >>> import deltarule as dr
    >>> net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2, "softmax")], input_shape=(4,), seed=0)
    >>> print(net.summary())
    layer    kind   output shape  parameters  multiply-adds
    -------  -----  ------------  ----------  -------------
    input           (4,)
    dense_1  Dense  (3,)                  15             12
    dense_2  Dense  (2,)                   8              6
    -------  -----  ------------  ----------  -------------
    total                                 23             18
    >>> net.predict(np.zeros((5, 4))).shape
    (5, 2)
    """

    def __init__(self, layers: Layer | Sequence[Layer] | dict[str, Layer], input_shape: int | Sequence[int] | None = None,
                 seed: int = 0, dtype: str = "float32"):
        self.layer = as_layer(layers, "Network")
        self.input_shape = row_shape(input_shape, self.layer)
        self.seed, self.dtype = valid_seed(seed), valid_dtype(dtype)
        hashable(self.layer)
        with _precision(dtype):
            self.plan, self.output = plan(self.layer, self.input_shape, dtype)
        self.parts = parts(self.plan.visits)    # what its rows are made of: one part, or source and target
        self.vocabulary = self.parts[0].vocabulary if len(self.parts) == 1 else None    # whole numbers that the inputs are
        self.params, self.state = (draw(planned, self.seed, dtype) for planned in (self.plan.params, self.plan.state))
        self._lent = Lent()                     # params and state as JAX reads them, changed in place or not
        self.training: dict[str, Any] = {}      # the recipe of the last call of fit, as plain JSON
        self.epochs_trained = 0
        self.memory: Any = None                 # of the optimizer, kept by fit(resume=True)
        self.history: History | None = None     # of the last call of fit
        self.symbols: Any = None                # what its whole numbers stand for: a vocabulary, or several in a dict

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one row of predictions."""
        return tuple(self.output.h.shape[1:])

    def summary(self) -> Summary:
        """Layers, output shapes, parameters and multiply-adds; print it to see the table."""
        with _precision(self.dtype):
            return summarize(self.layer, self.plan, self.input_shape, self.dtype)

    def __repr__(self) -> str:
        return f"Network({self.layer!r}, input_shape={self.input_shape}, seed={self.seed})"

    # ------------------------------------------------------------------ using

    def predict(self, x: Any) -> np.ndarray:
        """Outputs (n, *output_shape) for inputs (n, *input_shape): NumPy, JAX, pandas, polars or nested lists.

        Raises ShapeError for another shape and DataError for values that are not finite.
        """
        return self._predict(prepare.inputs(x, self.input_shape, self.dtype, parts=self.parts))

    def evaluate(self, x: Any, y: Any = None, *, loss: str | Loss = "auto", metrics: Sequence[str] | str = "auto",
                 sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics on data, in predict mode: {"loss": ..., "accuracy": ...}. "auto" takes what `fit` used.

        >>> import deltarule as dr
        >>> net = dr.Network([dr.Dense(3, "softmax")], input_shape=(2,))
        >>> sorted(net.evaluate(np.zeros((4, 2)), np.array([0, 1, 2, 0])))
        ['accuracy', 'loss']
        """
        x, y = pair(x, y)
        learner = self._learner(self._loss(loss), metrics)
        rows = self._rows(x, y, learner.loss, sample_weight, None)
        with _precision(self.dtype):
            watched = prepare.watched_rows(rows, None, self.seed, self.dtype, most=len(rows.x))
            values = _measure(learner, self.params, self.state, jax.device_put(watched))[0]
        return dict(zip(("loss", *learner.metrics), map(float, values), strict=True))

    # ----------------------------------------------------------------- seeing

    def trace(self, x: Any, y: Any = None, *, loss: str | Loss = "auto") -> Trace:
        """Every quantity of one pass, by layer path: inputs, pre-activations, activations and, with y, deltas and gradients.

        Shapes as in `fit`; runs in predict mode, as one compiled pass. Raises ShapeError or DataError for data that do not fit.

        >>> import deltarule as dr
        >>> net = dr.Network([dr.Dense(1, "sigmoid", weights="zeros")], input_shape=(2,))
        >>> net.trace([[3.0, 4.0]], [[1.0]])["dense_1"].delta.tolist()
        [[-0.5]]
        """
        features = prepare.inputs(x, self.input_shape, self.dtype, parts=self.parts)
        quick = len(features) * self._multiply_adds <= LITTLE_TO_SEE
        with _precision(self.dtype):
            trees = self._lent(self.params, self.state)
            if y is None:
                passed, targets = watch(self.layer, self.dtype, *trees, features, quick=quick), None
            else:
                resolved = self._loss(loss)
                targets = prepare.targets(y, resolved, self.output, len(features), self.dtype)
                passed = watch_both_ways(self.layer, resolved, self.dtype, *trees, features, targets, quick=quick)

        def again(number: int) -> Trace:
            return self.trace(features[[number]], None if targets is None else targets[[number]], loss=loss)

        rate = self.training.get("optimizer", {}).get("learning_rate")
        return Trace(passed, self.params, self.plan.visits, targets, again, rate if isinstance(rate, (int, float)) else None)

    def receptive_field(self, path: str) -> ReceptiveField:
        """Which pixels of the input the units of the layer at `path` see: `.size`, `.stride`, `.of(unit)`, `.measured(unit)`.

        Raises DeltaruleError for an unknown layer, and where inputs have no space or a layer of one's own does not say what it sees.

        >>> import deltarule as dr
        >>> dr.Network([dr.Conv2D(8, 3, dilation=2), dr.Conv2D(8, 3)], input_shape=(28, 28, 1)).receptive_field("conv2d_2").size
        (7, 7)
        """
        sight = Sight(self.layer, path, self.input_shape, self.dtype, self.params, self.state, self.plan)
        return receptive_field(Walk(self.layer, self.plan.visits), path, sight)

    def doctor(self, x: Any, y: Any = None, *, validation: Any = None, loss: str | Loss = "auto",
               learning_rate: float | None = None) -> Findings:
        """What keeps the network from learning, as seen on rows x and y: findings with evidence and remedy; print them.

        Shapes as in `fit`. `validation` is that of `fit`: a pair (x, y), or the fraction that was held out. The learning rate tried is
        that of the last training (before any: Adam's). At most 2,000 rows are looked at; the network stays as it is. Raises
        ShapeError or DataError for data that do not fit, DeltaruleError for a learning rate that is none.

        >>> import deltarule as dr
        >>> net = dr.Network([dr.Dense(3, "relu", weights="zeros"), dr.Dense(2, "softmax")], input_shape=(4,))
        >>> x = np.random.default_rng(0).normal(size=(41, 4))
        >>> [(found.where, found.what) for found in net.doctor(x, (x[:, 0] > 0).astype(int)).serious]
        [('dense_1', 'dead relu units'), ('dense_1', 'its units are all the same')]
        """
        from deltarule.glass.doctor import Patient, examine, some_rows

        x, y = pair(x, y)
        resolved = self._loss(loss)
        rows, held = self._validation(validation, self._rows(x, y, resolved, None, None), resolved)
        rows = prepare.subset(rows, some_rows(len(rows.x), self.seed))
        held = held and prepare.subset(held, some_rows(len(held.x), self.seed))
        optimizer = resolve_optimizer(from_json(self.training["optimizer"]) if self.training else "adam")
        learner = self._planned(self._learner(resolved, (), optimizer=optimizer), len(rows.x), 1)
        with _precision(self.dtype):
            return examine(Patient(learner, self.params, self.state, rows, held, self.trace(rows.x, rows.y, loss=resolved),
                                   self.output.activation, self.training, self.epochs_trained, self.history, self.seed), learning_rate)

    # --------------------------------------------------------------- learning

    def fit(self, x: Any, y: Any = None, *, loss: str | Loss = "auto", optimizer: Any = "adam", epochs: int = 20,
            batch_size: int | None = 32, validation: Any = None, metrics: Sequence[str] | str = "auto",
            sample_weight: Any = None, class_weight: Any = None, l1: float = 0.0, l2: float = 0.0,
            patience: int | None = 10, monitor: str = "auto", goal: float | None = None, keep: str = "auto", shuffle: bool = True,
            augment: Any = None, record: Record | None = None, resume: bool = False, stateful: bool = False,
            progress: bool | None = None, on_segment: Callable[[History], None] | None = None) -> History:
        """Train on rows x (n, *input_shape) with targets y, on a `Dataset`, or on an iterable of batches (x, y).

        - loss: a name, a `Loss`, or "auto" (what fits the output: softmax, sigmoid, or linear).
        - optimizer: a name or an object such as `Adam(1e-3)`.
        - batch_size: rows for each update; 1 for single examples, None for the whole set. The last, smaller batch counts too.
        - validation: a fraction (stratified for class numbers), a pair (x, y), or a triple with weights.
        - sample_weight (n,), class_weight ("balanced" or {class: weight}); l1, l2: penalties on the weights.
        - patience: epochs without improvement of `monitor` before stopping early (with validation; None: never).
        - goal: stop when the monitored curve reaches it, such as monitor="accuracy", goal=1.0.
        - augment: one or a list of `dr.augment`: every example changed at random in each step, in order; never for measuring.
        - record: a `Record` of what to write down of every k-th step; the history then holds a `recording`.
        - keep: "best" (epoch by `monitor`) or "last"; "auto" is "best" with validation. `shuffle`: a new order every epoch.
        - resume: the optimizer goes on with what it remembers of earlier calls with resume=True, as in one long training.
        - stateful: batch after batch, sequence by sequence, recurrent layers go on where the batch before ended (see `dr.data.pieces`).
        - progress: None shows a bar on a terminal, True also prints lines elsewhere, False is silent.
        - on_segment: called with the history about twice a second.

        Both curves are measured in predict mode at the end of each epoch. Returns the `History`; Ctrl-C returns it early, with
        the best weights so far. Without `resume` the optimizer starts afresh in each call. Raises DivergenceError when a number
        stops being finite; the network then holds the last good weights.
        """
        learner = self._learner(self._loss(loss, fresh=True), metrics, optimizer=resolve_optimizer(optimizer), l1=l1, l2=l2,
                                record=valid_record(record), augment=as_augmentations(augment),
                                masks=prepare.masks(self.input_shape, self.output_shape))
        settings = settings_of(self.seed, self.epochs_trained, epochs, patience, monitor, keep, shuffle, validation is not None, goal)
        if streaming := is_stream(x, y):
            refuse_for_stream(sample_weight, class_weight, validation)
            rows, held, x = self._first_rows(x, learner.loss, validation)
            learner = sized(learner, len(rows.x), len(rows.x), number_of_batches(x, learner.optimizer))
            state = self.state | (self._beginning(len(rows.x)) if stateful else {})
        else:
            refuse_rows(stateful)
            x, y = pair(x, y)
            rows = self._rows(x, y, learner.loss, sample_weight, class_weight)
            rows, held = self._validation(validation, rows, learner.loss)
            learner = sized(learner, len(rows.x), batch_size)
        with _precision(self.dtype):
            prepare.check_augmented(learner, rows, self.output)
        learner = self._planned(learner, learner.batch_size * learner.steps, epochs)
        memory = self._memory(learner) if resume else None
        self.training = prepare.recipe(learner, epochs, len(rows.x), self.seed)
        with _precision(self.dtype), Progress(epochs, learner.steps, progress) as shown:
            def report(history: History, done: int) -> None:
                shown(history, done)
                if on_segment is not None:
                    on_segment(history)

            try:
                if streaming:
                    run = fit_stream(learner, settings, self.params, state, x, lambda batch: self._batch(batch, learner.loss),
                                     None if held is None else prepare.watched_rows(held, None, self.seed, self.dtype), report, memory)
                else:
                    watched = prepare.watched_rows(rows, held, self.seed, self.dtype)
                    run = fit(learner, settings, self.params, self.state, rows, watched, report, memory)
            except DivergenceError as error:
                self._take(error.run)
                raise
        self._take(run)
        self.memory = jax.tree.map(np.array, run.memory) if resume else None
        shown.say(f"{run.history.summary}; {run.history.pace}")
        return run.history

    # ----------------------------------------------------------------- saving

    def save(self, path: StrPath, extra: dict[str, Any] | None = None) -> None:
        """Write the network to one safetensors file, whole or not at all: architecture, weights, recipe, symbols, eight probe rows.

        The rows come with their outputs. `extra` is plain JSON kept under "extra" in the header. Raises DeltaruleError where the file
        cannot be written, or the class of a layer or a vocabulary is not registered.
        """
        header = {"architecture": to_json(self.layer), "input_shape": list(self.input_shape), "dtype": self.dtype, "seed": self.seed,
                  "training": self.training, "epochs_trained": self.epochs_trained, "symbols": to_json(self.symbols), "extra": extra or {}}
        probes = prepare.probes(PROBES, self.input_shape, self.dtype, self.parts)
        arrays = {f"params/{path}": np.asarray(value) for path, value in flatten(self.params).items()}
        arrays |= {f"state/{path}": np.asarray(value) for path, value in flatten(self.state).items()}
        arrays |= {"probes/inputs": probes, "probes/outputs": self._predict(probes)}
        modelfile.write_model(path, header, arrays)

    # ---------------------------------------------------------------- private

    def _predict(self, x: np.ndarray) -> np.ndarray:
        with _precision(self.dtype):
            trees = self._lent(self.params, self.state)
            parts = [np.asarray(_predict(self.layer, self.dtype, *trees, part, quick=len(part) <= LIGHT_ROWS))[:count]
                     for part, count in prepare.chunks(x, PREDICT_ROWS, self._fewest_rows)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    @functools.cached_property
    def _multiply_adds(self) -> int:
        return self.summary().multiply_adds

    @property
    def _fewest_rows(self) -> int:
        return LIGHT_ROWS if self._multiply_adds <= LIGHT else 1

    def _planned(self, learner: Learner, rows: int, epochs: int) -> Learner:
        """The learner for training of this length: only a schedule makes the program depend on it, and little work is compiled quickly."""
        scheduled = not isinstance(getattr(learner.optimizer, "learning_rate", 0.0), (int, float))
        work, weights = rows * epochs * self._multiply_adds, sum(np.size(W) for W in flatten(self.params).values())
        lean = work <= LITTLE_WORK or (len(self.input_shape) == 3 and not learner.augment and weights <= FEW_WEIGHTS)
        return dataclasses.replace(learner, epochs=epochs if scheduled else 1, quick=work <= VERY_LITTLE, lean=lean)

    def _loss(self, given: str | Loss, fresh: bool = False) -> Loss:
        if given == "auto" and self.training and not fresh:
            return from_json(self.training["loss"])
        return resolve_loss(given, self.output.activation)

    def _learner(self, loss: Loss, metrics: Sequence[str] | str, **options: Any) -> Learner:
        metrics = prepare.metrics(loss, self.output) if metrics == "auto" else metrics
        names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        for name in names:
            metric(name)
        options.setdefault("optimizer", resolve_optimizer("sgd"))
        return Learner(self.layer, loss, metrics=names, dtype=self.dtype, random=self.plan.random or bool(options.get("augment")),
                       **options)

    def _mask(self, x: np.ndarray, loss: Loss) -> Array | None:
        """Which steps of the outputs for x are no padding, (n, steps), where the loss counts them; None where all are."""
        if self.output.mask is None or not loss.counts_steps:
            return None
        with _precision(self.dtype):
            return real_steps(self.layer, self.dtype, self.params, self.state, x, quick=True)

    def _rows(self, x: Any, y: Any, loss: Loss, sample_weight: Any, class_weight: Any, what: tuple[str, str] = ("x", "y")) -> Rows:
        features = prepare.inputs(x, self.input_shape, self.dtype, what[0], self.parts)
        targets = prepare.targets(y, loss, self.output, len(features), self.dtype, what[1], self._mask(features, loss))
        weights = prepare.weights(sample_weight, class_weight, targets, len(self.output_shape) > 1)
        return Rows(features, targets, None if weights is None else weights.astype(self.dtype))

    def _validation(self, validation: Any, rows: Rows, loss: Loss) -> tuple[Rows, Rows | None]:
        if validation is None:
            return rows, None
        if isinstance(validation, (int, float)):
            train, held = prepare.held_out(validation, rows.x, rows.y, self.seed)
            return prepare.subset(rows, train), prepare.subset(rows, held)
        x, y, *weight = validation if isinstance(validation, (tuple, list)) else pair(validation, None)
        return rows, self._rows(x, y, loss, weight[0] if weight else None, None, ("validation x", "validation y"))

    def _batch(self, batch: Any, loss: Loss) -> Rows:
        x, y, weights = needs_pair(batch)
        given = self.input_shape if len(self.parts) > 1 else np.shape(x)[1:]
        output = None if given == self.input_shape else at_length(self.layer, self.input_shape, given, self.dtype)
        features = prepare.inputs(x, given if output else self.input_shape, self.dtype, parts=pieces(self.parts, given if output else None))
        targets = prepare.targets(y, loss, output or self.output, len(features), self.dtype, mask=self._mask(features, loss))
        return Rows(features, targets, None if weights is None else as_array(weights, "weights").astype(self.dtype))

    def _first_rows(self, batches: Any, loss: Loss, validation: Any) -> tuple[Rows, Rows | None, Any]:
        """The first batch, the validation rows, and the batches from the first on."""
        first, batches = first_batch(batches)
        rows = self._batch(first, loss)
        return rows, self._validation(validation, rows, loss)[1], batches

    def _beginning(self, n: int) -> Tree:
        """What recurrent layers carry into the first of the pieces of n sequences."""
        with _precision(self.dtype):
            return beginning(self.layer, self.plan.visits, self.input_shape, self.dtype, n)

    def _memory(self, learner: Learner) -> Any:
        """What the optimizer remembers of the call of fit before, None where there was none; another optimizer is refused."""
        with _precision(self.dtype):
            kinds = [str(jax.tree.structure(memory)) for memory in (self.memory, jax.eval_shape(learner.transform().init, self.params))]
        if self.memory is not None and kinds[0] != kinds[1]:
            raise DeltaruleError(f"resume expected the optimizer of the call before, received {type(learner.optimizer).__name__}; "
                                 "keep the optimizer, or leave out resume to start afresh")
        return self.memory

    def _take(self, run: Run) -> None:
        self.params, self.state = jax.tree.map(owned, (run.params, run.state))
        self.history, self.epochs_trained = run.history, self.epochs_trained + len(run.history.epochs)


def restore(header: dict[str, Any], arrays: dict[str, np.ndarray], path: str) -> Network:
    """The network from the parts of a model file; `path` is for messages."""
    try:
        net = Network(from_json(header["architecture"]), header["input_shape"], header["seed"], header["dtype"])
        net.training, net.symbols = dict(header["training"]), from_json(header.get("symbols"))
        net.epochs_trained = int(header["epochs_trained"])
        probes = arrays["probes/inputs"], arrays["probes/outputs"]
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path} lacks a part of the model's description: {error}") from None
    except DeltaruleError as error:
        raise ModelFileError(f"{path} cannot be rebuilt: {error}") from None
    for kind in ("params", "state"):
        expected = flatten(getattr(net, kind))
        stored = {name[len(kind) + 1:]: value for name, value in arrays.items() if name.startswith(kind + "/")}
        if {name: value.shape for name, value in stored.items()} != {name: value.shape for name, value in expected.items()}:
            raise ModelFileError(f"{path} holds {kind} that do not fit its architecture")
        setattr(net, kind, unflatten({name: aligned(stored[name]) for name in expected}))
    outputs = net.predict(probes[0])
    tolerance = 1e-4 if net.dtype == "float32" else 1e-8
    if outputs.shape != probes[1].shape or not np.allclose(outputs, probes[1], rtol=tolerance, atol=tolerance):
        raise ModelFileError(f"{path} gives other outputs for its probe rows than when it was saved; do not trust its predictions here")
    return net


@compiled("layer", "dtype")
def _predict(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array) -> Array:
    output, _ = forward(layer, params, state, x, dtype=dtype, plain=True)
    return output.h


@compiled("learner")
def _measure(learner: Learner, params: Tree, state: Tree, watched: Watched) -> Array:
    return measure(learner, params, state, watched)
