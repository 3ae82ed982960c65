"""Row-wise metrics in JAX: one number for each example, averaged inside the compiled epoch, so that a masked row simply does not count."""

from collections.abc import Callable

import jax.numpy as jnp

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.ops.rows import Array, real, row_means
from deltarule.spec import nearest


def accuracy(prediction: Array, target: Array, mask: Array | None = None) -> Array:
    """1 where a row is predicted right, else 0, (n,); over further axes (steps, pixels) the share that is right.

    `prediction` (n, ..., K) with `target` (n, ...) of class numbers or (n, ..., K) one-hot: the largest of the K decides. A single
    output, (n,) or (n, ..., 1), with targets 0 and 1 of the same shape or without the last axis: class 1 above 0.5.
    A `mask` (n, steps) is False for steps that only fill up, here and in the others. Raises ShapeError for other shapes.

    >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])).tolist()
    [1.0, 0.0]
    >>> accuracy(jnp.array([[0.7], [0.5], [0.2]]), jnp.array([1, 1, 0])).tolist()
    [1.0, 0.0, 1.0]
    """
    _check_classes("accuracy", prediction, target)
    named, true = _classes(prediction, target)
    return row_means((named == true).astype(prediction.dtype), mask)


def iou(prediction: Array, target: Array, mask: Array | None = None) -> Array:
    """Intersection over union (Jaccard) of the predicted region and the true one in each image: (n,).

    `prediction` (n, ..., K) with `target` (n, ...) of class numbers or (n, ..., K) one-hot: the mean over the classes that occur in the
    image, truly or as predicted. A single output (n, ..., 1) with targets 0 and 1: that of class 1, and 1 where there is none and
    none is found. Raises ShapeError for other shapes and for predictions without pixels.

    >>> iou(jnp.array([[[0.9], [0.8], [0.1]]]), jnp.array([[1, 0, 0]])).tolist()
    [0.5]
    """
    both, either, _ = _regions("iou", prediction, target, mask)
    return _mean_of_present(both, either, either)


def dice(prediction: Array, target: Array, mask: Array | None = None) -> Array:
    """Twice the intersection over the sum of both regions (Dice, F1) in each image: (n,). Shapes, means and errors as in `iou`.

    >>> round(float(dice(jnp.array([[[0.9], [0.8], [0.1]]]), jnp.array([[1, 0, 0]]))[0]), 4)
    0.6667
    """
    both, either, total = _regions("dice", prediction, target, mask)
    return _mean_of_present(2 * both, total, either)


def absolute_error(prediction: Array, target: Array, mask: Array | None = None) -> Array:
    """|prediction - target|, (n, ...) each, averaged over all axes but the first: (n,). Raises ShapeError for unequal shapes.

    >>> absolute_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 2.0]])).tolist()
    [1.5]
    """
    return row_means(jnp.abs(_difference("absolute_error", prediction, target)), mask)


def squared_error(prediction: Array, target: Array, mask: Array | None = None) -> Array:
    """(prediction - target)^2, (n, ...) each, averaged over all axes but the first: (n,). Raises ShapeError for unequal shapes.

    >>> squared_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 2.0]])).tolist()
    [2.5]
    """
    return row_means(_difference("squared_error", prediction, target) ** 2, mask)


Rowwise = Callable[..., Array]

ROWWISE: dict[str, Rowwise] = {
    "accuracy": accuracy, "iou": iou, "dice": dice, "absolute_error": absolute_error, "squared_error": squared_error,
}


def metric(name: str) -> Rowwise:
    """The row-wise metric of that name: (prediction (n, ...), target, mask) to (n,). Raises DeltaruleError for an unknown one.

    >>> metric("squared_error")(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0])).tolist()
    [0.0, 9.0]
    """
    if not isinstance(name, str):
        raise DeltaruleError(f"a metric is named by a string, received {name!r}; write for example 'accuracy'")
    if name not in ROWWISE:
        raise DeltaruleError(f"unknown metric {name!r}{nearest(name, ROWWISE)}")
    return ROWWISE[name]


def _check_classes(name: str, prediction: Array, target: Array) -> None:
    if target.shape not in (prediction.shape, prediction.shape[:-1]) or target.ndim == 0:
        numbers = f"class numbers {prediction.shape[:-1]} or " if prediction.ndim > 1 else ""
        raise ShapeError(f"{name} of predictions {prediction.shape} expected {numbers}targets {prediction.shape}, "
                         f"received {target.shape}; reshape the targets")


def _classes(prediction: Array, target: Array) -> tuple[Array, Array]:
    """Predicted and true classes, of one shape: the largest of K outputs, or class 1 above 0.5."""
    if prediction.ndim == 1 or prediction.shape[-1] == 1:
        return prediction.reshape(target.shape) > 0.5, target.astype(prediction.dtype) > 0.5
    best = prediction.argmax(axis=-1)
    label = target.argmax(axis=-1) if target.shape == prediction.shape else target
    return best, label.astype(best.dtype)


def _regions(name: str, prediction: Array, target: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """Pixels in the intersection, in the union, and in both regions counted one by one: (n, K), or (n, 1) of a single output."""
    if prediction.ndim < 3:
        raise ShapeError(f"{name} compares regions of images and expected predictions (n, ..., K), received {prediction.shape}")
    _check_classes(name, prediction, target)
    named, true = (classes.reshape(len(prediction), -1, 1) for classes in _classes(prediction, target))
    if prediction.shape[-1] > 1:
        named, true = (classes == jnp.arange(prediction.shape[-1], dtype=classes.dtype)[None, None] for classes in (named, true))
    there = real(jnp.ones(prediction.shape[:-1], bool), mask).reshape(len(prediction), -1, 1)
    named, true = named & there, true & there
    both, either = ((region.sum(axis=1)).astype(prediction.dtype) for region in (named & true, named | true))
    return both, either, both + either


def _mean_of_present(part: Array, whole: Array, present: Array) -> Array:
    """The mean of part / whole over the regions that are not empty, 1 where all are: (n, K) to (n,)."""
    here = (present > 0).astype(part.dtype)
    shares = part / jnp.maximum(whole, 1)
    return jnp.where(here.sum(axis=1) > 0, (shares * here).sum(axis=1) / jnp.maximum(here.sum(axis=1), 1), 1)


def _difference(name: str, prediction: Array, target: Array) -> Array:
    if prediction.shape != target.shape:
        raise ShapeError(f"{name} expected targets of the shape of the predictions {prediction.shape}, received {target.shape}; "
                         "reshape the targets")
    return prediction - target.astype(prediction.dtype)
