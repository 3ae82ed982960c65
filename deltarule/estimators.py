"""The networks as scikit-learn estimators: the same engine and the same automatic choices behind `fit`, `predict` and `score`.

They work wherever scikit-learn takes an estimator: pipelines, cross-validation, grid search, calibration, voting.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from deltarule import automatic
from deltarule.automatic import SMALL, Choices, Problem
from deltarule.checks import check_number
from deltarule.data.arrays import is_frame
from deltarule.data.columns import as_polars
from deltarule.data.preprocessing import Labels, Preprocessor, TargetScaler
from deltarule.errors import DataError, DeltaruleError
from deltarule.files import StrPath
from deltarule.model import Model
from deltarule.network import Network
from deltarule.training import prepare
from deltarule.training.history import History

FLOATS = [np.float64, np.float32]
FEWEST = 16     # a small set is filled up to this many rows, or to the next power of two

_CHOSEN = ("activation", "dropout", "learning_rate", "batch_size", "epochs", "patience", "validation")    # and `hidden`
_LIMITS: dict[str, dict[str, Any]] = {
    "dropout": {"least": 0, "below": 1}, "learning_rate": {"above": 0}, "l1": {"least": 0}, "l2": {"least": 0},
    "batch_size": {"least": 1, "whole": True}, "epochs": {"least": 1, "whole": True}, "patience": {"least": 1, "whole": True},
    "validation": {"least": 0, "below": 1},
}


class _Estimator(BaseEstimator):
    """What both share: data are checked, a network is chosen and built, the inputs standardized, the network trained."""

    model_: Model
    choices_: Choices
    history_: History
    loss_curve_: list[float]
    n_iter_: int

    @property
    def network_(self) -> Network:
        """The network itself, with `summary`, `trace` and everything else that a `Network` can do."""
        return self.model_.network

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Train from scratch on X (n, features), an array or a pandas or polars DataFrame, and the targets y.

        y is (n,), for a regressor also (n, outputs). A row whose `sample_weight` (n,) is 2 counts like two rows, in the
        standardization too: below 300 rows, which are learnt as one batch in float64, the result is that of repeated rows up
        to rounding; where there are mini-batches it is so on average only. With a validation set `X_val`, `y_val` nothing is
        held out of X, and early stopping looks at that set. Raises DeltaruleError (a ValueError) or the
        errors of scikit-learn for what cannot be learnt from.
        """
        if (X_val is None) != (y_val is None):
            raise DeltaruleError(f"fit received {'y_val' if X_val is None else 'X_val'} alone; give both X_val and y_val, or neither")
        settings = _checked(self)
        x, y, weights = self._rows(X, y, sample_weight, first=True)
        target = self._numbers(y, fresh=True)
        given = _given(settings) | ({} if X_val is None else {"validation": 0.0})
        self.choices_, seed = automatic.choose(self._problem(x, target), **given), _seed(settings)
        dtype, total = "float64" if len(target) < SMALL else "float32", prepare.weights(weights, self._class_weight(), target)
        validation = None
        if self.choices_.validation:
            train, held = prepare.held_out(self.choices_.validation, x, target, seed)
            validation = x[held], target[held], _some(total, held)
            x, target, weights, total = x[train], target[train], _some(weights, train), _some(total, train)
        self._begin(x, target, weights, seed, dtype)
        if X_val is not None:
            x_val, y_val, _ = self._rows(X_val, y_val, None, first=False)
            numbers = self._numbers(y_val)
            validation = x_val, numbers, prepare.weights(None, self._class_weight(), numbers)
        if validation is not None:
            validation = (*self._encoded(*validation[:2]), validation[2])
        self._train(settings, x, target, total, validation=validation)
        return self

    def save(self, path: StrPath) -> None:
        """Write preprocessing, network and the meaning of its outputs to one file, for `dr.load` and the command line."""
        check_is_fitted(self, "model_")
        self.model_.save(path)

    # ---------------------------------------------------------------- private

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """One epoch on these rows; the first ones decide the standardization and, as part of a larger set, the choices."""
        settings, first = _checked(self), not hasattr(self, "model_")
        x, y, weights = self._rows(X, y, sample_weight, first)
        target = self._numbers(y)
        if first:
            problem = self._problem(x, target)
            self.choices_ = automatic.choose(dataclasses.replace(problem, rows=max(problem.rows, SMALL)), **_given(settings))
            self._begin(x, target, weights, _seed(settings), "float32")
        self._train(settings, x, target, prepare.weights(weights, self._class_weight(), target), epochs=1, resume=True)

    def _begin(self, x: Any, target: np.ndarray, weights: np.ndarray | None, seed: int, dtype: str) -> None:
        """The model before training, standardized on these rows."""
        preprocessor = Preprocessor.fit(x, weights=weights)
        problem = dataclasses.replace(self._problem(x, target), input_shape=preprocessor.output_shape)
        labels = Labels(tuple(self.classes_.tolist())) if problem.classes else None
        about = {"name": type(self).__name__, "source": "arrays given to fit", "target": "y", "rows": len(target),
                 "problem": "classification" if labels else "regression", "choices": [list(reason) for reason in self.choices_.reasons]}
        self.model_ = Model(automatic.build(problem, self.choices_, seed, dtype), preprocessor, labels,
                            None if labels else TargetScaler.fit(target, weights), about)
        self.loss_curve_, self.n_iter_ = [], 0

    def _train(self, settings: Self, x: Any, target: np.ndarray, weights: np.ndarray | None, **changes: Any) -> None:
        """Some epochs of training on these rows, and what is to be known of them."""
        inputs, y = self._encoded(x, target)
        options = automatic.options(self.choices_) | changes
        if options["batch_size"] >= len(target):
            options["batch_size"] = None
            if len(target) < SMALL:
                inputs, y, weights = _filled(inputs, y, weights)
        self.history_ = self.network_.fit(inputs, y, sample_weight=weights, l1=settings.l1, l2=settings.l2, progress=settings.progress,
                                          **options)
        self.network_.training["rows"] = len(target)
        self.loss_curve_ += self.history_["loss"]
        self.n_iter_ += len(self.history_.epochs)

    def _encoded(self, x: Any, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets as the network sees them."""
        return self.model_.preprocessor.transform(x, self.network_.dtype), self.model_.encoded(target)

    def _outputs(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes), or numbers in the target's units."""
        check_is_fitted(self, "model_")
        return self.model_.outputs(self._inputs(X, first=False))

    def _rows(self, X: Any, y: Any, sample_weight: Any, first: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Inputs (an array or a polars DataFrame), targets and weights, checked, without the rows of weight zero."""
        if y is None:
            raise DeltaruleError(f"{type(self).__name__} requires y to be passed, but the target y is None; give one target for each row")
        x, y = self._inputs(X, first), self._targets(y)
        check_consistent_length(x, y)
        weights = prepare.weights(sample_weight, None, y)
        if weights is not None and not weights.all():
            present = np.flatnonzero(weights)
            x, y, weights = x[present], y[present], weights[present]
        return x, y, weights

    def _inputs(self, X: Any, first: bool) -> Any:
        """X as an array of floats, or a DataFrame as polars; scikit-learn checks the number and the names of the features."""
        table = all(isinstance(name, str) for name in getattr(X, "columns", ())) if first else self.model_.preprocessor.form == "table"
        if table and is_frame(X):
            validate_data(self, X, reset=first, skip_check_array=True)
            return as_polars(X, "X")
        if first or not table:
            return validate_data(self, X, reset=first, dtype=FLOATS)
        if "category" in self.model_.preprocessor.kinds.values():
            raise DataError(f"{type(self).__name__} was fitted on a DataFrame with text, received {type(X).__name__}; "
                            f"give a DataFrame with the columns {', '.join(self.feature_names_in_)}")
        import polars as pl

        return pl.DataFrame(validate_data(self, X, reset=False, dtype=FLOATS), schema=list(self.feature_names_in_))

    def _class_weight(self) -> Any:
        """None, "balanced", or the weights by class number."""
        return None

    def _targets(self, y: Any) -> np.ndarray:
        """The targets as an array, checked."""
        raise NotImplementedError

    def _numbers(self, y: np.ndarray, fresh: bool = False) -> np.ndarray:
        """The targets as class numbers or numbers; `fresh` decides the classes."""
        raise NotImplementedError

    def _problem(self, x: Any, target: np.ndarray) -> Problem:
        """What is to be learnt from these rows."""
        raise NotImplementedError


class Classifier(ClassifierMixin, _Estimator):
    """A neural network that tells classes apart, as a scikit-learn estimator; what is None is chosen from size and kind of the data.

    - hidden: units of the hidden layers, such as (64, 64); () is logistic regression. activation: of these layers, by name.
    - dropout: share of units dropped in training. l1, l2: penalties on the weights.
    - learning_rate: of Adam. batch_size: rows for each update. epochs: at most this many passes over the data.
    - patience: epochs without improvement before stopping early. validation: share of the rows held out for that; 0: none.
    - class_weight: None, "balanced" (every class weighs the same), or {class: weight}, 1 for a class without.
    - random_state: a whole number gives the same result every time. progress: None shows a bar on a terminal, True lines, False nothing.

    Inputs are standardized inside; a DataFrame may hold text, dates and gaps. Below 300 rows the whole set is one batch and
    nothing is held out. After `fit`: `classes_`, `n_features_in_`, `feature_names_in_` (of a DataFrame), `n_iter_` (epochs),
    `loss_curve_`, `history_`, `choices_` (with reasons), `model_` (a `Model`), `network_` (the `Network`).
    Raises DeltaruleError (a ValueError) in `fit` for settings out of range.

    >>> import deltarule as dr
    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = dr.Classifier(epochs=50, random_state=0).fit(X[::2], y[::2])
    >>> bool(classifier.score(X[1::2], y[1::2]) > 0.9)
    True
    """

    classes_: np.ndarray

    def __init__(self, hidden: Sequence[int] | None = None, *, activation: str = "relu", dropout: float | None = None,
                 learning_rate: float | None = None, l1: float = 0.0, l2: float = 0.0, batch_size: int | None = None,
                 epochs: int | None = None, patience: int | None = None, validation: float | None = None,
                 class_weight: Mapping[Any, float] | str | None = None, random_state: int | None = None, progress: bool | None = False):
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.l1 = l1
        self.l2 = l2
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.class_weight = class_weight
        self.random_state = random_state
        self.progress = progress

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch on a part of the data; the first call needs all `classes`, and its X decides the standardization.

        X (n, features), y (n,). Weights are relative within a call. Nothing is held out. Raises DeltaruleError where
        `classes` are missing or others than before, DataError for a class that is not among them.
        """
        if not hasattr(self, "model_"):
            if classes is None:
                raise DeltaruleError("partial_fit expected classes=(all classes) in its first call, received None; give np.unique of all y")
            self.classes_ = _classes(np.unique(classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise DeltaruleError(f"partial_fit received classes={list(classes)}, its first call had {self.classes_.tolist()}; keep these")
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class (n,) for each row of X (n, features). Raises NotFittedError before `fit`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes) of the classes in the order of `classes_`, for X (n, features). Raises NotFittedError before `fit`."""
        return self._outputs(X)

    def _targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y", estimator=self), warn=True)
        check_classification_targets(y)
        return y

    def _numbers(self, y: np.ndarray, fresh: bool = False) -> np.ndarray:
        if fresh:
            values, numbers = np.unique(y, return_inverse=True)
            self.classes_ = _classes(values)
            return numbers.astype(np.int32)
        return Labels(tuple(self.classes_.tolist())).encode(y)

    def _problem(self, x: Any, target: np.ndarray) -> Problem:
        counts = np.bincount(target, minlength=len(self.classes_))
        return Problem(len(target), x.shape[1:], len(self.classes_), rarest=float(counts.min() / len(target)))

    def _class_weight(self) -> Any:
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        labels = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in labels]
        if unknown:
            raise DeltaruleError(f"class_weight names the class {unknown[0]!r}, which y does not hold; classes: {labels}")
        return {number: self.class_weight.get(label, 1.0) for number, label in enumerate(labels)}


class Regressor(RegressorMixin, _Estimator):
    """A neural network that predicts one or several numbers, as a scikit-learn estimator; see `Classifier` for settings and attributes.

    Targets are standardized inside as the inputs are; predictions come in the units of y.

    >>> import deltarule as dr
    >>> x = np.linspace(-2, 2, 101)[:, None]
    >>> regressor = dr.Regressor(random_state=0).fit(x, 100 + np.sin(2 * x[:, 0]))
    >>> bool(regressor.score(x, 100 + np.sin(2 * x[:, 0])) > 0.95)
    True
    """

    def __init__(self, hidden: Sequence[int] | None = None, *, activation: str = "relu", dropout: float | None = None,
                 learning_rate: float | None = None, l1: float = 0.0, l2: float = 0.0, batch_size: int | None = None,
                 epochs: int | None = None, patience: int | None = None, validation: float | None = None,
                 random_state: int | None = None, progress: bool | None = False):
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.l1 = l1
        self.l2 = l2
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.random_state = random_state
        self.progress = progress

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch on a part of the data: X (n, features), y (n,) or (n, outputs); the first call decides the standardization.

        Weights are relative within a call. Nothing is held out. Raises ShapeError where the number of outputs changes.
        """
        self._partial_fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers (n,) or (n, outputs) in the units of y, for X (n, features). Raises NotFittedError before `fit`."""
        return self._outputs(X)

    def __sklearn_tags__(self) -> Tags:
        """Says that y may be (n, outputs)."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Any) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        return y[:, 0] if y.shape[1:] == (1,) else y

    def _numbers(self, y: np.ndarray, fresh: bool = False) -> np.ndarray:
        return y

    def _problem(self, x: Any, target: np.ndarray) -> Problem:
        return Problem(len(target), x.shape[1:], None, 1 if target.ndim == 1 else target.shape[1])


def _checked(estimator: Any) -> Any:
    """A copy whose settings are within their limits and plain Python values, also where a grid search drew them from an array."""
    plain = copy.copy(estimator)
    for name, value in estimator.get_params(deep=False).items():
        setattr(plain, name, value.item() if isinstance(value, np.generic) else value)
    for name, limits in _LIMITS.items():
        if getattr(plain, name) is not None or name in ("l1", "l2"):
            check_number(plain, name, **limits)
    return plain


def _given(settings: Any) -> dict[str, Any]:
    """The settings as `automatic.choose` takes them."""
    hidden = None if settings.hidden is None else tuple(np.atleast_1d(settings.hidden).tolist())
    return {"hidden": hidden} | {name: getattr(settings, name) for name in _CHOSEN}


def _seed(settings: Any) -> int:
    """The seed of a training: `random_state` itself where it is a number, otherwise drawn."""
    state = settings.random_state
    if state is None or isinstance(state, np.random.RandomState):
        return int(check_random_state(state).randint(2**31 - 1))
    if isinstance(state, bool) or not isinstance(state, int) or not 0 <= state < 2**32:
        raise DeltaruleError(f"random_state expected a whole number from 0 to 2**32 - 1 or None, received {state!r}")
    return state


def _classes(values: np.ndarray) -> np.ndarray:
    if len(values) < 2:
        raise DataError(f"y holds one class only ({values.tolist()[0]!r}), expected at least two classes")
    return values


def _some(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[rows]


def _filled(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows, filled up to a power of two by rows of weight zero: sets of similar size share one compiled program."""
    n = len(x)
    which = np.zeros(max(FEWEST, 1 << (n - 1).bit_length()), int)
    which[:n] = np.arange(n)
    filled = np.zeros(len(which))
    filled[:n] = 1.0 if weights is None else weights
    return x[which], y[which], filled
