"""Row-wise metrics in JAX: one number for each example, averaged inside the compiled epoch, so that a masked row simply does not count."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.spec import nearest


def accuracy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """1 where a row is predicted right, else 0, (n,); over further axes (steps, pixels) the share that is right.

    `prediction` (n, ..., K) with `target` (n, ...) of class numbers or (n, ..., K) one-hot: the largest of the K decides. A single
    output, (n,) or (n, ..., 1), with targets 0 and 1 of the same shape or without the last axis: class 1 above 0.5.
    Raises ShapeError for other shapes.

    >>> accuracy(jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1])).tolist()
    [1.0, 0.0]
    >>> accuracy(jnp.array([[0.7], [0.5], [0.2]]), jnp.array([1, 1, 0])).tolist()
    [1.0, 0.0, 1.0]
    """
    single = prediction.ndim == 1 or prediction.shape[-1] == 1
    if target.shape not in (prediction.shape, prediction.shape[:-1]) or target.ndim == 0:
        numbers = f"class numbers {prediction.shape[:-1]} or " if prediction.ndim > 1 else ""
        raise ShapeError(f"accuracy of predictions {prediction.shape} expected {numbers}targets {prediction.shape}, "
                         f"received {target.shape}; reshape the targets")
    if single:
        right = (prediction.reshape(target.shape) > 0.5) == (target.astype(prediction.dtype) > 0.5)
    else:
        label = target.argmax(axis=-1) if target.shape == prediction.shape else target
        best = prediction.argmax(axis=-1)
        right = best == label.astype(best.dtype)
    return _row_means(right.astype(prediction.dtype))


def absolute_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """|prediction - target|, (n, ...) each, averaged over all axes but the first: (n,). Raises ShapeError for unequal shapes.

    >>> absolute_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 2.0]])).tolist()
    [1.5]
    """
    return _row_means(jnp.abs(_difference("absolute_error", prediction, target)))


def squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """(prediction - target)^2, (n, ...) each, averaged over all axes but the first: (n,). Raises ShapeError for unequal shapes.

    >>> squared_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 2.0]])).tolist()
    [2.5]
    """
    return _row_means(_difference("squared_error", prediction, target) ** 2)


Rowwise = Callable[[jax.Array, jax.Array], jax.Array]

ROWWISE: dict[str, Rowwise] = {
    "accuracy": accuracy, "absolute_error": absolute_error, "squared_error": squared_error,
}


def metric(name: str) -> Rowwise:
    """The row-wise metric of that name: (prediction (n, ...), target) to (n,). Raises DeltaruleError for an unknown one.

    >>> metric("squared_error")(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0])).tolist()
    [0.0, 9.0]
    """
    if not isinstance(name, str):
        raise DeltaruleError(f"a metric is named by a string, received {name!r}; write for example 'accuracy'")
    if name not in ROWWISE:
        raise DeltaruleError(f"unknown metric {name!r}{nearest(name, ROWWISE)}")
    return ROWWISE[name]


def _difference(name: str, prediction: jax.Array, target: jax.Array) -> jax.Array:
    if prediction.shape != target.shape:
        raise ShapeError(f"{name} expected targets of the shape of the predictions {prediction.shape}, received {target.shape}; "
                         "reshape the targets")
    return prediction - target.astype(prediction.dtype)


def _row_means(values: jax.Array) -> jax.Array:
    return values.reshape(len(values), -1).mean(axis=1)
