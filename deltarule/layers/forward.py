"""A layer applied: planned once on shapes alone, then run on arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.errors import ShapeError
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Array, Pass, Plan, Scope, Tree, unflatten
from deltarule.losses import Output
from deltarule.ops.compiling import compiled


def plan(layer: Layer, input_shape: tuple[int, ...], dtype: str = "float32", input_dtype: Any = None) -> tuple[Plan, Output]:
    """What a layer needs for inputs of `input_shape` (without the batch), found by running it on shapes alone.

    Returns every parameter and state with initializer and shape, every visit of a layer, and the output as
    abstract arrays of one row. Both modes are run, so that what is used in training only (dropout) is seen too.

    >>> import deltarule as dr
    >>> found, output = plan(dr.Sequential([dr.Dense(3), dr.Dense(2, "softmax")]), (5,))
    >>> {path: shape for path, (init, shape) in found.params.items()}["dense_1/weights"], output.h.shape, output.activation
    ((5, 3), (1, 2), 'softmax')
    """
    found = Plan()
    activation: list[str | None] = []

    def run(x: Array, key: Array) -> Output:
        found.visits.clear()
        training = Pass({}, key=key, training=True, dtype=dtype, plan=found)
        layer(x, Scope(training))
        found.visits.clear()
        predicting = Pass({}, dtype=dtype, plan=found)
        output = output_of(layer(x, Scope(predicting)), predicting)
        activation.append(output.activation)
        return output._replace(activation=None)

    x = jax.ShapeDtypeStruct((1, *input_shape), input_dtype or dtype)
    output = jax.eval_shape(run, x, jax.eval_shape(lambda: jax.random.key(0)))
    return found, output._replace(activation=activation[-1])


def forward(layer: Layer, params: Tree, state: Tree, x: Array, *, dtype: str = "float32", key: Array | None = None,
            training: bool = False, counted: Array | None = None, taps: dict[str, Array] | None = None,
            probes: dict[str, Array] | None = None, seen: dict[str, tuple[Array, Array]] | None = None,
            plain: bool = False) -> tuple[Output, Tree]:
    """The network's output for a batch x, and the state it leaves behind.

    `counted` (batch,) is False for rows that only fill the batch up. Whole numbers are converted to the network's dtype here, so that
    images may stay uint8 in memory.
    """
    run = Pass(params, state, key, training, dtype, counted=counted, taps=taps, probes=probes, seen=seen, plain=plain)
    output = output_of(layer(as_floats(x, dtype), Scope(run)), run)
    return output, merged(state, run.new_state)


def zero_probes(layer: Layer, params: Tree, state: Tree, x: Array, **options: Any) -> dict[str, Array]:
    """A zero for every tap of `forward` with these options: the gradient with respect to it is the delta of that tap."""
    def run(params: Tree, x: Array) -> dict[str, Array]:
        taps: dict[str, Array] = {}
        forward(layer, params, state, x, taps=taps, **options)
        return taps

    return {path: jnp.zeros(tap.shape, tap.dtype) for path, tap in jax.eval_shape(run, params, x).items()}


def as_floats(x: Array, dtype: str) -> Array:
    """Whole numbers as floats of the network's dtype; floats stay as they are."""
    return x if jnp.issubdtype(x.dtype, np.floating) else x.astype(dtype)


def merged(old: Tree, new: Tree) -> Tree:
    """A nested dict with the values of `new` in place of those of `old`."""
    if not new:
        return old
    return {name: merged(old[name], new.get(name, {})) if isinstance(old[name], dict) else new.get(name, old[name]) for name in old}


def shapes(plans: dict[str, tuple[Any, tuple[int, ...]]]) -> Tree:
    """The nested dict of the shapes of planned parameters."""
    return unflatten({path: shape for path, (_, shape) in plans.items()})


def output_of(h: Array, run: Pass) -> Output:
    """What the last layer of a run gave, with the pre-activation and the name of its activation where that is its last act.

    Raises ShapeError where h has other steps than those that `Masked` looked at.
    """
    mask = run.mask if h.ndim > 2 else None
    if mask is not None and tuple(mask.shape) != tuple(h.shape[:2]):
        raise ShapeError(f"the network gives {h.shape[1]} steps, but Masked() stood where there were {mask.shape[1]}; put it behind the "
                         "layers that change the number of steps, or leave it out")
    if run.link is not None and run.link.h is h:
        return Output(h, run.link.a, run.link.activation if isinstance(run.link.activation, str) else None, mask)
    return Output(h, mask=mask)


@compiled("layer", "dtype")
def real_steps(layer: Layer, dtype: str, params: Tree, state: Tree, x: Array) -> Array | None:
    """Which steps of the outputs for x are no padding (n, steps), None where all are: only what `Masked` looks at is worked out."""
    return forward(layer, params, state, x, dtype=dtype)[0].mask
