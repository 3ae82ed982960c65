"""From what the user hands to `fit` to the arrays that training runs on: checked, converted once, split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from deltarule.augment import Mixup
from deltarule.data.arrays import all_finite, as_array, as_features
from deltarule.data.splitting import random_rows, stratified_rows
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.layers.parts import Part
from deltarule.losses import CTC, CrossEntropy, Loss, Output, Overlap, name_of
from deltarule.ops.noise import step_key
from deltarule.ops.sharing import room
from deltarule.spec import to_json
from deltarule.training.epochs import Rows, Watched
from deltarule.training.fit import stream
from deltarule.training.step import Batch, Learner, augmented

CURVE_ROWS = 10_000     # the training curve is measured on at most this many rows, chosen once


@dataclass(frozen=True)
class Prepared:
    """Training rows and the rows on which the curves are measured."""

    rows: Rows
    watched: Watched


def inputs(x: Any, input_shape: tuple[int, ...], dtype: str, what: str = "x", parts: tuple[Part, ...] = ()) -> np.ndarray:
    """Features (n, *input_shape), finite, float (bytes stay uint8). Raises ShapeError naming both shapes.

    Where rows are made of several `parts`, x may be a dict of them by name; they are laid side by side. In a part with a vocabulary only
    its whole numbers are taken, which floats carry exactly, and rows must not be padding alone; else DataError is raised.
    """
    if isinstance(x, Mapping) and len(parts) > 1:
        features = _side_by_side(x, dtype, what, parts)
    else:
        features = _shaped(as_features(x, dtype, what, keep_integers=True), input_shape, what)
        for part in parts:
            _check_part(features.reshape(len(features), -1)[:, part.begin:part.end].reshape(-1, *part.shape), part, _called(what, part))
    return features


def one_part(x: Any, part: Part, dtype: str, what: str) -> np.ndarray:
    """One part of rows alone (n, *shape), checked as `inputs` does."""
    features = _shaped(as_features(x, dtype, what), part.shape, what)
    _check_part(features, part, what)
    return features


def _side_by_side(x: Mapping[str, Any], dtype: str, what: str, parts: tuple[Part, ...]) -> np.ndarray:
    names = [part.name for part in parts]
    if set(x) != set(names):
        raise DataError(f"{what} expected the parts {' and '.join(names)}, received {', '.join(map(str, x)) or 'none'}")
    arrays = [one_part(x[part.name], part, dtype, _called(what, part)) for part in parts]
    rows = [len(array) for array in arrays]
    if len(set(rows)) > 1:
        received = " and ".join(f"{n} of {name}" for n, name in zip(rows, names, strict=True))
        raise ShapeError(f"{what} expected equally many rows in all parts, received {received}")
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def _shaped(features: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    if features.shape[1:] != shape:
        given, expected = features.shape, "(n, " + ", ".join(map(str, shape)) + ")"
        cure = f"; reshape with {what}.reshape(-1, {', '.join(map(str, shape))})" if features[0].size == np.prod(shape) else ""
        raise ShapeError(f"{what} has shape {given}, the network expects {expected}{cure}")
    return features


def _check_part(features: np.ndarray, part: Part, what: str) -> None:
    """Whole numbers of the vocabulary, and in every row a step that is no padding."""
    if part.vocabulary is not None:
        wrong = np.argwhere((features < 0) | (features >= part.vocabulary) | (features != np.rint(features)))
        if len(wrong):
            place = tuple(wrong[0].tolist())
            raise DataError(f"{what} holds {features[place]:g} in row {place[0]}, position {', '.join(map(str, place[1:]))}; its Embedding "
                            f"expected whole numbers from 0 to {part.vocabulary - 1}")
    if part.padding is not None:
        empty = np.flatnonzero(np.all(features == part.padding, axis=tuple(range(1, features.ndim))))
        if empty.size:
            raise DataError(f"{what} holds nothing but padding ({part.padding:g}) in row {empty[0]}; leave out sequences without a step")


def _called(what: str, part: Part) -> str:
    return f"{what}[{part.name!r}]" if part.name else what


def probes(rows: int, input_shape: tuple[int, ...], dtype: str, parts: tuple[Part, ...] = ()) -> np.ndarray:
    """Rows to check a network by, always the same: normal numbers, and in parts with a vocabulary whole ones of it.

    >>> probes(2, (3,), "float32", (Part("", 0, 3, (3,), 5, None),)).tolist()
    [[4.0, 3.0, 2.0], [1.0, 1.0, 0.0]]
    """
    rng, shape = np.random.default_rng(0), (rows, *input_shape)
    if all(part.vocabulary is None for part in parts):
        return rng.standard_normal(shape).astype(dtype)
    drawn = []
    for part in parts:
        V, size = part.vocabulary, (rows, part.end - part.begin)
        values = rng.standard_normal(size) if V is None else rng.integers(0, V, size).astype(float)
        if V is not None and part.padding is not None:      # no row of padding alone
            values[np.all(values == part.padding, axis=1), 0] = (part.padding + 1) % V
        drawn.append(values)
    return np.concatenate(drawn, axis=1).reshape(shape).astype(dtype)


def targets(y: Any, loss: Loss, output: Output, rows: int, dtype: str, what: str = "y", mask: Any = None) -> np.ndarray:
    """Targets that fit the loss and the network's output exactly; `output` holds the abstract output of one row.

    Masks (n, height, width) of a network that gives (n, height, width, 1) get their last axis here. `mask` (rows, steps) is False for
    padding among the outputs, for a loss that counts steps.
    """
    values = as_array(y, what)
    if values.ndim == 0 or len(values) != rows:
        raise ShapeError(f"{what} has shape {values.shape} for {rows} rows of x; give one target for each row")
    if not all_finite(values):
        row = np.argwhere(~np.isfinite(values))[0][0]
        raise DataError(f"{what} holds values that are not finite (first in row {row}); remove those rows")
    classes = loss.takes_classes(output)
    if not (classes and values.dtype.kind in "iu"):         # class numbers stay whole
        values = values.astype("int32" if classes and values.dtype.kind == "b" else dtype)
    if not classes and len(output.h.shape) > 2 and (*values.shape[1:], 1) == tuple(output.h.shape[1:]):
        values = values[..., None]
    loss.check(_with_rows(output, rows)._replace(mask=None if mask is None else np.asarray(mask)), values)
    return values.astype("int32") if values.dtype.kind in "iu" else values


def weights(sample_weight: Any, class_weight: Any, y: np.ndarray, places: bool = False) -> np.ndarray | None:
    """One weight for each row with mean 1, or None where all count the same; `places`: the targets have a class in every step or pixel.

    Raises DataError for weights that are not usable.
    """
    if sample_weight is None and class_weight is None:
        return None
    total = np.ones(len(y)) if sample_weight is None else as_array(sample_weight, "sample_weight").astype(float)
    if total.shape != (len(y),):
        raise ShapeError(f"sample_weight has shape {total.shape}, expected one weight for each of the {len(y)} rows: ({len(y)},)")
    if class_weight is not None and places:
        raise DeltaruleError("class_weight weighs whole rows, and these targets have a class in every place; let the loss do it: "
                             "CrossEntropy(class_weights=(1.0, 5.0)) or BinaryCrossEntropy(positive_weight=5.0)")
    if class_weight is not None:
        total = total * _by_class(class_weight, y, total)
    if not np.all(np.isfinite(total)) or np.min(total) < 0 or np.sum(total) <= 0:
        raise DataError("weights of rows must be finite, not negative, and not all zero")
    return total / total.mean()


def metrics(loss: Loss, output: Output) -> tuple[str, ...]:
    """The metrics that are followed where none are named."""
    if isinstance(loss, Overlap) and len(output.h.shape) > 2:
        return "accuracy", "iou"
    yes_or_no = isinstance(loss, CrossEntropy) or output.activation in ("sigmoid", "softmax", "step", "sign")
    return ("accuracy",) if yes_or_no and not isinstance(loss, CTC) else ()


def held_out(validation: Any, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (training, validation) for a validation fraction: stratified where y holds class numbers, at random otherwise."""
    if not 0 < validation < 1:
        raise DeltaruleError(f"validation expected a fraction between 0 and 1 or a pair (x, y), received {validation!r}")
    if y.ndim == 1 and y.dtype.kind in "iu" and np.bincount(y)[np.unique(y)].min() > 1:
        return stratified_rows(y, validation, stream(seed, "validation"))
    return random_rows(len(x), validation, stream(seed, "validation"))


def watched_rows(rows: Rows, validation: Rows | None, seed: int, dtype: str,
                 most: int = CURVE_ROWS) -> Watched:
    """The rows of the curves: all training rows, or `most` of them chosen once, and then the validation rows."""
    n = len(rows.x)
    chosen = np.arange(n)
    if n > most:
        chosen = np.sort(np.random.default_rng(stream(seed, "curves")).choice(n, most, replace=False))
    w = np.ones(n) if rows.weights is None else np.asarray(rows.weights)
    y, w = rows.y[chosen], w[chosen]
    m = len(y)
    x = room((m + (0 if validation is None else len(validation.x)), *rows.x.shape[1:]), rows.x.dtype)
    np.take(rows.x, chosen, axis=0, out=x[:m], mode="clip")
    if validation is None:
        return Watched(x, y, w.astype(dtype)[None])
    val_x, val_y, val_w = validation
    x[m:] = val_x
    weights = np.zeros((2, len(x)), dtype)
    weights[0, :m] = w
    weights[1, m:] = 1 if val_w is None else val_w
    return Watched(x, np.concatenate([y, val_y]), weights)


def recipe(learner: Learner, epochs: int, rows: int, seed: int) -> dict[str, Any]:
    """How a network was trained, as plain JSON."""
    return {"loss": to_json(learner.loss), "metrics": list(learner.metrics), "optimizer": to_json(learner.optimizer),
            "batch_size": learner.batch_size, "epochs": epochs, "l1": learner.l1, "l2": learner.l2, "rows": rows, "seed": seed,
            "augment": to_json(learner.augment)}


def masks(input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> bool:
    """Whether the network says something about every place of its input, so that targets have to move with the inputs.

    >>> masks((28, 28, 1), (28, 28, 5)), masks((28, 28, 1), (28, 28)), masks((28, 28, 1), (10,)), masks((10, 1), (10,))
    (True, True, False, False)
    """
    space = input_shape[:-1]
    return bool(space) and (output_shape[:-1] == space or (len(space) > 1 and output_shape == space))


def check_augmented(learner: Learner, rows: Rows, output: Output) -> None:
    """Refuse augmentations that do not fit the data, before the first step: ShapeError or DeltaruleError."""
    if not learner.augment:
        return
    batch = Batch(rows.x[:1], rows.y[:1], None, 1.0)
    x = jax.eval_shape(lambda x, y: augmented(learner, batch._replace(x=x, y=y), step_key(0, 0)).x, batch.x, batch.y)
    if x.shape != batch.x.shape:
        raise ShapeError(f"augmentation made rows of shape {x.shape[1:]} out of {batch.x.shape[1:]}; the shape must stay")
    if any(isinstance(step, Mixup) for step in learner.augment):
        try:
            learner.loss.check(_with_rows(output, 1), rows.y.mean(axis=0, keepdims=True, dtype=rows.y.dtype))
        except DeltaruleError as error:
            raise DeltaruleError(f"Mixup mixes targets, which the loss {name_of(learner.loss)} does not take ({error}); "
                                 "leave Mixup out, or choose another loss") from None


def chunks(x: np.ndarray, most: int, fewest: int) -> Iterator[tuple[np.ndarray, int]]:
    """Parts of at most `most` rows, filled up to the next power of two from `fewest` on, and how many rows of each count.

    A dozen programs then serve any number of rows.

    >>> [(len(part), count) for part, count in chunks(np.zeros((5, 1)), 4, 2)]
    [(4, 4), (2, 1)]
    """
    for begin in range(0, len(x), most):
        part = x[begin:begin + most]
        size = max(fewest, 1 << (len(part) - 1).bit_length())
        filled = part if len(part) == size else np.concatenate([part, np.zeros((size - len(part), *x.shape[1:]), x.dtype)])
        yield filled, len(part)


def subset(rows: Rows, which: np.ndarray) -> Rows:
    """Some of the rows; their weights have the mean 1 again."""
    if rows.weights is None:
        return Rows(rows.x[which], rows.y[which], None)
    weights = rows.weights[which]
    return Rows(rows.x[which], rows.y[which], weights / weights.mean())


def _with_rows(output: Output, rows: int) -> Output:
    """The abstract output for that many rows: only its shapes are looked at."""
    class Shaped:
        def __init__(self, shape: tuple[int, ...]):
            self.shape = (rows, *shape[1:])

    return Output(Shaped(output.h.shape), None, output.activation)


def _by_class(class_weight: Any, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    labels = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(-1).astype(int)
    if isinstance(class_weight, str) and class_weight == "balanced":    # every class weighs the same in the end
        sums = np.bincount(labels, weights)
        return 1.0 / np.where(sums > 0, sums, 1.0)[labels]
    if isinstance(class_weight, dict):
        missing = sorted({int(label) for label in np.unique(labels)} - set(class_weight))
        if missing:
            raise DeltaruleError(f"class_weight names no weight for class {missing[0]}; give one for each class")
        return np.array([class_weight[int(label)] for label in labels], float)
    raise DeltaruleError(f"class_weight expected 'balanced' or a dict of class number to weight, received {class_weight!r}")
