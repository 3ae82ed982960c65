"""The networks as scikit-learn estimators: the same engine and the same automatic choices behind `fit`, `predict` and `score`.

They work wherever scikit-learn takes an estimator: pipelines, cross-validation, grid search, calibration, voting.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
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
FEWEST = 16         # rows that a small set is filled up to at least

Held = tuple[np.ndarray, np.ndarray, np.ndarray | None]     # x, y and weights of the validation rows, ready for the network


class _Estimator(BaseEstimator):
    """What both estimators share: checking, choosing, standardizing, training."""

    classes_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray
    model_: Model
    choices_: Choices
    history_: History
    loss_curve_: list[float]
    n_iter_: int

    @property
    def network_(self) -> Network:
        """The trained network, with `summary`, `trace` and everything else that a `Network` can do."""
        return self.model_.network

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Train from scratch on X (n, features), or a pandas or polars DataFrame, and y (n,); a regressor takes y (n, outputs) too.

        A row of `sample_weight` (n,) 2 counts like two rows, also in the standardization. For data below 300 rows, which are
        learnt as one batch in float64, the result is that of repeated rows up to rounding; where there are mini-batches it is so
        on average only. With a validation set X_val, y_val nothing is held out of X, and early stopping looks at that
        set. Raises DeltaruleError (a ValueError) or scikit-learn's own errors for what cannot be learnt from.
        """
        if (X_val is None) != (y_val is None):
            raise DeltaruleError(f"fit received {'y_val' if X_val is None else 'X_val'} alone; expected both X_val and y_val, or neither")
        plain = self._plain()
        x, target, weights = self._rows(X, y, sample_weight, first=True)
        given = plain._given() if X_val is None else plain._given() | {"validation": 0.0}
        self.choices_ = automatic.choose(self._problem(x, target), **given)
        seed = plain._seed()
        row_weights = prepare.weights(weights, self._class_weight(), target)
        train: Any = slice(None)
        held_x = held_y = held_weights = None
        if X_val is not None:
            held_x, held_y, _ = self._rows(X_val, y_val, None, first=False)
            held_weights = prepare.weights(None, self._class_weight(), held_y)
        elif self.choices_.validation:
            train, held = prepare.held_out(self.choices_.validation, x, target, seed)
            held_x, held_y, held_weights = x[held], target[held], None if row_weights is None else row_weights[held]
        self.model_ = self._model(x[train], target[train], None if weights is None else weights[train], seed,
                                  "float64" if len(x) < SMALL else "float32")
        validation = None if held_x is None else (*self._encoded(held_x, held_y), held_weights)
        self.loss_curve_, self.n_iter_ = [], 0
        self._train(x[train], target[train], None if row_weights is None else row_weights[train], validation)
        return self

    def save(self, path: StrPath) -> None:
        """Write preprocessing, network and the meaning of its outputs to one file, which `dr.load` and the command line read."""
        check_is_fitted(self)
        self.model_.save(path)

    # ---------------------------------------------------------------- private

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """One epoch on these rows, the optimizer going on where it was."""
        plain = self._plain()
        first = not hasattr(self, "model_")
        x, target, weights = self._rows(X, y, sample_weight, first)
        if first:
            problem = self._problem(x, target)
            self.choices_ = automatic.choose(dataclasses.replace(problem, rows=max(problem.rows, SMALL)), **plain._given())
            self.model_ = self._model(x, target, weights, plain._seed(), "float32")
            self.loss_curve_, self.n_iter_ = [], 0
        self._train(x, target, prepare.weights(weights, self._class_weight(), target), epochs=1, resume=True)

    def _train(self, x: Any, target: np.ndarray, weights: np.ndarray | None, validation: Any = None, **changes: Any) -> None:
        network, plain, n = self.model_.network, self._plain(), len(target)
        inputs, y = self._encoded(x, target)
        options = automatic.options(self.choices_) | changes
        if options["batch_size"] >= n:
            options["batch_size"] = None
            if n < SMALL:
                inputs, y, weights = _filled(inputs, y, weights)
        self.history_ = network.fit(inputs, y, sample_weight=weights, validation=validation, l1=plain.l1, l2=plain.l2,
                                    progress=plain.progress, **options)
        network.training["rows"] = n
        self.loss_curve_ += self.history_["loss"]
        self.n_iter_ += len(self.history_.epochs)

    def _encoded(self, x: Any, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets as the network sees them."""
        return self.model_.preprocessor.transform(x, self.model_.network.dtype), self.model_.encoded(target)

    def _model(self, x: Any, target: np.ndarray, weights: np.ndarray | None, seed: int, dtype: str) -> Model:
        """The model before training, standardized on these rows."""
        preprocessor = Preprocessor.fit(x, None if is_frame(x) else getattr(self, "feature_names_in_", None), weights=weights)
        problem = dataclasses.replace(self._problem(x, target), input_shape=preprocessor.output_shape)
        about = {"name": type(self).__name__, "source": "arrays given to fit", "target": "y", "rows": len(target),
                 "problem": "classification" if problem.classes else "regression",
                 "choices": [list(reason) for reason in self.choices_.reasons]}
        labels = Labels(tuple(self.classes_.tolist())) if problem.classes else None
        scaler = None if labels else TargetScaler.fit(target, weights)
        return Model(automatic.build(problem, self.choices_, seed, dtype), preprocessor, labels, scaler, about)

    def _rows(self, X: Any, y: Any, sample_weight: Any, first: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Checked inputs (an array or a polars DataFrame), targets as class numbers or numbers, and weights; rows of weight zero are left out."""
        name = type(self).__name__
        if y is None:
            raise DeltaruleError(f"{name} requires y to be passed, but the target y is None; give one target for each row of X")
        x = self._inputs(X, first)
        y = self._checked_target(y)
        check_consistent_length(x, y)
        weights = prepare.weights(sample_weight, None, y)
        if weights is not None and not weights.all():
            present = np.flatnonzero(weights)
            x, y, weights = x[present], y[present], weights[present]
        return x, self._numbers(y, first), weights

    def _inputs(self, X: Any, first: bool) -> Any:
        """X as a float array, or a DataFrame as polars; scikit-learn checks number and names of the features."""
        if is_frame(X) and (all(isinstance(name, str) for name in X.columns) if first else self._table):
            validate_data(self, X, reset=first, skip_check_array=True)
            return as_polars(X, "X")
        if first or not self._table:
            return validate_data(self, X, reset=first, dtype=FLOATS)
        if "category" in self.model_.preprocessor.kinds.values():
            return X        # refused with the names of the columns
        import polars as pl

        return pl.DataFrame(validate_data(self, X, reset=False, dtype=FLOATS), schema=list(self.feature_names_in_))

    @property
    def _table(self) -> bool:
        return self.model_.preprocessor.form == "table"

    def _outputs(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes), or numbers in the target's units."""
        check_is_fitted(self)
        return self.model_.outputs(self._inputs(X, first=False))

    def _plain(self) -> Self:
        """A copy whose settings are checked and plain Python values, also where a grid search drew them from arrays."""
        plain = copy.copy(self)
        for name, value in self.get_params(deep=False).items():
            setattr(plain, name, value.item() if isinstance(value, np.generic) else value)
        for name, limits in _LIMITS.items():
            if getattr(plain, name) is not None or name in ("l1", "l2"):
                check_number(plain, name, **limits)
        if not isinstance(plain.random_state, (int, np.random.RandomState, type(None))) or isinstance(plain.random_state, bool):
            raise DeltaruleError(f"random_state expected a whole number, a RandomState or None, received {plain.random_state!r}")
        return plain

    def _given(self) -> dict[str, Any]:
        """The settings as `automatic.choose` takes them."""
        hidden = None if self.hidden is None else tuple(np.atleast_1d(self.hidden).tolist())
        return {"hidden": hidden} | {name: getattr(self, name) for name in _CHOSEN}

    def _seed(self) -> int:
        if isinstance(self.random_state, int):
            return self.random_state
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _class_weight(self) -> Any:
        return None

    def _problem(self, x: Any, target: np.ndarray) -> Problem:
        raise NotImplementedError

    def _checked_target(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def _numbers(self, y: np.ndarray, first: bool) -> np.ndarray:
        raise NotImplementedError
