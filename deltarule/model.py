"""Model: a network with everything around it. Raw columns go in, named answers in the user's own units come out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deltarule import automatic, metrics, modelfile
from deltarule.automatic import Choices, Problem
from deltarule.data.dataset import Dataset
from deltarule.data.preprocessing import Labels, Preprocessor, TargetScaler
from deltarule.ensembles import Ensemble
from deltarule.ensembles import restore as restore_ensemble
from deltarule.errors import ModelFileError
from deltarule.files import StrPath
from deltarule.glass.findings import Findings
from deltarule.glass.trace import Trace
from deltarule.network import Network, restore
from deltarule.training.history import History


@dataclass
class Model:
    """A trained network, the preprocessing that its inputs need, and the meaning of its outputs.

    `labels` (classification) or `scaler` (regression) turn outputs into answers; `about` holds what a report wants to
    say: name, source, target, choices. One file holds all of it. A model of image files takes what `read_images` gives, or
    arrays of bytes, 16-bit integers or floats of the same shape; one of sequences takes `Sequences`.

    >>> import deltarule as dr
    >>> iris = dr.data.iris()
    >>> model, history = dr.Model.train(iris, epochs=30, seed=0)
    >>> model.predict(iris.x[:2]).tolist()
    ['setosa', 'setosa']
    """

    network: Network
    preprocessor: Preprocessor
    labels: Labels | None = None
    scaler: TargetScaler | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def train(cls, data: Dataset, choices: Choices | None = None, *, seed: int = 0, progress: bool | None = None,
              on_segment: Callable[[History], None] | None = None, **given: Any) -> tuple["Model", History]:
        """Train on a data set, with the automatic choices (`given` overrides some: hidden, epochs, learning_rate ...) or with `choices`.

        The preprocessing is fitted on the training rows alone; validation rows are held out first. Returns the model and the history.
        """
        problem = cls.problem(data)
        choices = choices or automatic.choose(problem, **given)
        model, train, held = cls.untrained(data, choices, seed=seed, problem=problem)
        x = model.preprocessor.transform(train.x)
        validation = (model.preprocessor.transform(held.x), model.encoded(held.y)) if held is not None else None
        history = model.network.fit(x, model.encoded(train.y), validation=validation, progress=progress, on_segment=on_segment,
                                    **automatic.options(choices))
        return model, history

    @classmethod
    def untrained(cls, data: Dataset, choices: Choices, *, seed: int = 0,
                  problem: Problem | None = None) -> tuple["Model", Dataset, Dataset | None]:
        """The model that `train` begins with, the rows that it will learn from, and the validation rows."""
        problem = problem or cls.problem(data)
        train, held = data.split(choices.validation, seed=seed) if choices.validation else (data, None)
        preprocessor = Preprocessor.fit(train.x, None if data.is_table else data.feature_names or None, pictures=bool(data.files),
                                        channels=data.channels)
        labels = Labels(data.class_names) if data.class_names else None
        network = automatic.build(Problem(len(train), preprocessor.output_shape, problem.classes, problem.outputs,
                                          sequences=bool(data.channels)), choices, seed)
        about = {"name": data.name, "source": data.source, "target": data.target_name, "rows": len(data), "problem": data.problem,
                 **({} if data.unit == "row" else {"unit": data.unit}),
                 "choices": [list(reason) for reason in choices.reasons]}
        return cls(network, preprocessor, labels, None if labels else TargetScaler.fit(train.y), about), train, held

    @staticmethod
    def problem(data: Dataset) -> Problem:
        """The problem that a data set poses, for `automatic.choose`."""
        shape = tuple(data.x.shape[1:])                 # what the network will see
        if data.is_table or data.channels:
            shape = Preprocessor.fit(data.x, channels=data.channels).output_shape
        if data.class_names is None:
            return Problem(len(data), shape, None, 1 if data.y.ndim == 1 else data.y.shape[1], sequences=bool(data.channels))
        counts = np.bincount(data.y, minlength=len(data.class_names))
        return Problem(len(data), shape, len(data.class_names), rarest=float(counts.min() / len(data)), sequences=bool(data.channels))

    # ------------------------------------------------------------------ using

    def predict(self, x: Any) -> np.ndarray:
        """Answers for raw inputs: class labels (n,), or numbers in the target's units (n,) or (n, k)."""
        return self.answers(self.outputs(x))

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities (n, classes) for raw inputs, in the order of `labels.values`."""
        return self.outputs(x)

    def evaluate(self, x: Any, y: np.ndarray) -> dict[str, Any]:
        """The report of `metrics.classification_report` or `regression_report`; y holds class indices, or numbers in the target's units."""
        outputs = self.outputs(x)
        if self.labels is None:
            return metrics.regression_report(y, outputs)
        return metrics.classification_report(y, outputs)

    def outputs(self, x: Any) -> np.ndarray:
        """Probabilities (n, classes), or numbers in the target's units."""
        return self.meaning(self.network.predict(self.preprocessor.transform(x, self.network.dtype)))

    def meaning(self, h: np.ndarray) -> np.ndarray:
        """What the outputs h of the network mean: probabilities (n, classes), or numbers in the target's units."""
        if self.labels is not None:
            return np.concatenate([1 - h, h], axis=1) if h.shape[1] == 1 else h
        values = h if self.scaler is None else self.scaler.inverse(h, self.network.dtype)
        return values[:, 0] if values.shape[1:] == (1,) else values

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Labels of the largest probabilities; numbers stay as they are."""
        return self.labels.decode(outputs.argmax(axis=1)) if self.labels is not None else outputs

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """Class indices or numbers in the form that the network's loss compares with its outputs."""
        if self.labels is None:
            scaled = self.scaler.transform(y, self.network.dtype) if self.scaler is not None else y
            return scaled[:, None] if scaled.ndim == 1 else scaled
        return y.astype(np.float32)[:, None] if self.network.output_shape == (1,) else y

    # ----------------------------------------------------------------- seeing

    def trace(self, x: Any, y: np.ndarray | None = None) -> Trace:
        """`Network.trace` for raw inputs; y as in `evaluate`."""
        return self.network.trace(self.preprocessor.transform(x, self.network.dtype), None if y is None else self.encoded(y))

    def doctor(self, x: Any, y: np.ndarray) -> Findings:
        """`Network.doctor` for raw inputs; y as in `evaluate`."""
        return self.network.doctor(self.preprocessor.transform(x, self.network.dtype), self.encoded(y))

    # ----------------------------------------------------------------- saving

    def save(self, path: StrPath) -> None:
        """Write network, preprocessing and meaning of the outputs to one file."""
        self.network.save(path, {"preprocessor": self.preprocessor.to_json(), "labels": self.labels and self.labels.to_json(),
                                 "scaler": self.scaler and self.scaler.to_json(), "about": self.about})


def load(path: StrPath) -> Network | Model | Ensemble:
    """What a model file holds: a `Network`, an `Ensemble`, or a `Model` where preprocessing was saved with it.

    Raises ModelFileError for a file that is missing, damaged, foreign, from a newer version, or whose probe rows give other outputs.
    """
    header, arrays = modelfile.read_model(path)
    if "members" in header:
        return restore_ensemble(header, arrays, str(path))
    network = restore(header, arrays, str(path))
    extra = header.get("extra") or {}
    if not extra:
        return network
    try:
        return Model(network, Preprocessor.from_json(extra["preprocessor"]), extra["labels"] and Labels.from_json(extra["labels"]),
                     extra["scaler"] and TargetScaler.from_json(extra["scaler"]), extra["about"])
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path} lacks a part of the model's description: {error}") from None
