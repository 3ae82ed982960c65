"""What all augmentations share: the examples that go through them, the base class, and the check of what the user wrote."""

from typing import Any, NamedTuple

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import Array
from deltarule.spec import short_repr


class Examples(NamedTuple):
    """A batch on its way through the augmentations: x (n, ...) as floats and the targets y (n, ...).

    The first `present` rows are examples, the rest only fills the batch up. `masks`: y (n, *space) or (n, *space, K) says something about
    every place of x, so that it moves with x. `y` may be None where only x is looked at.
    """

    x: Array
    y: Array = None
    present: Array | float | None = None    # None: all
    masks: bool = False


class Augmentation:
    """Base of all augmentations: a frozen dataclass with one equation, `__call__(examples, key) -> examples`, run inside the compiled step.

    Each example is changed on its own; shapes stay. `key` depends on the seed, the step and the place in the list alone; draw from it with
    `jax.random` or `deltarule.ops.noise`. One of your own has to be registered, for it becomes part of the recipe of the training:

    >>> import dataclasses, jax, numpy as np, deltarule as dr
    >>> @dr.register
    ... @dataclasses.dataclass(frozen=True)
    ... class Brightness(dr.augment.Augmentation):
    ...     most: float = 0.1
    ...     def __call__(self, examples, key):
    ...         x = examples.x
    ...         factor = jax.random.uniform(key, (len(x), *[1] * (x.ndim - 1)), x.dtype, 1 - self.most, 1 + self.most)
    ...         return examples._replace(x=x * factor)
    >>> net = dr.Network([dr.Flatten(), dr.Dense(2, "softmax")], input_shape=(5, 5, 1))
    >>> _ = net.fit(np.ones((4, 5, 5, 1)), np.array([0, 1, 0, 1]), epochs=1, augment=[Brightness(0.2)])
    """

    def __call__(self, examples: Examples, key: Array) -> Examples:
        """The equation."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, examples, key)")

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = short_repr   # type: ignore[method-assign]


def as_augmentations(given: Any) -> tuple[Augmentation, ...]:
    """What the user wrote as a tuple: None, one augmentation, or a list of them. Raises DeltaruleError for anything else.

    >>> from deltarule.augment import Shift
    >>> as_augmentations(Shift(2)), as_augmentations(None)
    ((Shift(most=2),), ())
    """
    if given is None:
        return ()
    steps = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for step in steps:
        if not isinstance(step, Augmentation):
            hint = f"; write {step.__name__}(...)" if isinstance(step, type) else ""
            raise DeltaruleError(f"augment expected augmentations such as [dr.augment.Shift(2)], received {step!r}{hint}")
        try:
            hash(step)
        except TypeError as error:
            raise DeltaruleError(f"fields of an augmentation must be numbers, strings or tuples ({error}); "
                                 "write tuples for lists") from None
    return steps


_KINDS = {1: "sequences (steps, channels)", 2: "images (height, width, channels)", 3: "volumes (depth, height, width, channels)"}


def space_of(owner: Augmentation, x: Array, *axes: int) -> tuple[int, ...]:
    """The axes of space of x (n, *space, channels). Raises ShapeError unless their number is among `axes`."""
    if x.ndim - 2 not in axes:
        raise ShapeError(f"{type(owner).__name__} changes {' or '.join(_KINDS[number] for number in axes)}, received rows of shape "
                         f"{tuple(x.shape[1:])}; give the network input_shape=(height, width, channels), with Flatten() as its first layer "
                         "where it needs vectors")
    return tuple(x.shape[1:-1])
