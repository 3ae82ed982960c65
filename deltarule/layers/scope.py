"""Scope: where a layer finds its parameters, its state, its randomness, and where it shows its values.

A layer is a pure equation; everything it needs from outside goes through the scope it is handed. One `Pass`
is one run through a network; a `Scope` is a place in it, named by its path ("residual_1/dense_2").
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.ops import noise
from deltarule.ops.sharing import aligned

Array = Any     # a jax.Array, a NumPy array or a tracer
Tree = dict[str, Any]   # nested dicts of arrays: {"dense_1": {"weights": ..., "bias": ...}}
Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]     # draws the first value of a parameter
CARRIED = "carried on"      # in the state: what layers keep of sequences that go on, by path; no layer has a name with a space


class Link(NamedTuple):
    """The last activation that was applied: h = g(a). Losses on h may then be worked out on a, without overflow."""

    a: Array
    h: Array
    activation: Any


class Memory(NamedTuple):
    """What a decoder may look at: `values` (batch, places, d), and `mask` (batch, places), False for padding; None where all are real."""

    values: Array
    mask: Array | None = None


class Visit(NamedTuple):
    """One call of a layer: where, which, and the shapes that went in and came out (batch first)."""

    path: str
    layer: Any
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


@dataclass
class Plan:
    """What the abstract run finds out: every parameter and state with its initializer and shape, every visit."""

    params: dict[str, tuple[Initializer, tuple[int, ...]]] = field(default_factory=dict)
    state: dict[str, tuple[Initializer, tuple[int, ...]]] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    random: bool = False


@dataclass
class Pass:
    """One run through a network: what it reads (params, state, key) and what it leaves behind.

    `counted` (batch,) is False for rows that only fill the batch up; None: all count. `taps`, when a dict, receives every
    tapped value by path; `probes`, when given, are added to them (zeros: the gradient with respect to a probe is the delta
    of that value). `seen`, when a dict, receives what went into every layer and what came out. `mask` (batch, steps) is False for the
    steps that only fill sequences up, from the layer on that says so. `memory` is what an encoder left for a decoder to look at.
    `plain`: the output is all that is wanted, as in a prediction.
    """

    params: Tree
    state: Tree = field(default_factory=dict)
    key: Array | None = None
    training: bool = False
    dtype: str = "float32"
    plan: Plan | None = None
    counted: Array | None = None
    taps: dict[str, Array] | None = None
    probes: dict[str, Array] | None = None
    seen: dict[str, tuple[Array, Array]] | None = None
    new_state: Tree = field(default_factory=dict)
    mask: Array | None = None
    memory: Memory | None = None
    link: Link | None = None
    plain: bool = False


class Scope:
    """A place in a pass: hands a layer its parameters, state, keys, and records what it taps.

    >>> import numpy as np
    >>> scope = Scope(Pass({"dense_1": {"bias": np.array([1.0, 2.0])}})) / "dense_1"
    >>> scope.path, scope.param("bias", None, (2,))
    ('dense_1', array([1., 2.]))
    """

    __slots__ = ("names", "run")

    def __init__(self, run: Pass, names: tuple[str, ...] = ()):
        self.run, self.names = run, names

    def __truediv__(self, name: str) -> "Scope":
        """The scope of a child layer."""
        return Scope(self.run, (*self.names, name))

    @property
    def path(self) -> str:
        """The names from the network down to here, joined by "/"."""
        return "/".join(self.names)

    @property
    def training(self) -> bool:
        """True in a training step, False when predicting."""
        return self.run.training

    @property
    def counted(self) -> Array | None:
        """(batch,), False for rows that only fill the batch up and must not enter any statistics; None where all rows count."""
        return self.run.counted

    @property
    def watched(self) -> bool:
        """Whether someone looks at what is tapped: then a must be there apart from h."""
        return self.run.taps is not None

    @property
    def plain(self) -> bool:
        """Whether this is a prediction: one pass, of which the output is all that is wanted."""
        return self.run.plain

    @property
    def joinable(self) -> bool:
        """Whether two layers may be worked out in one pass: nobody plans, watches or looks at what goes from one to the other."""
        return self.run.plan is None and self.run.taps is None and self.run.seen is None

    @property
    def mask(self) -> Array | None:
        """(batch, steps), False for steps that only fill a sequence up; None where all are real. Who merges the steps sets it to None."""
        return self.run.mask

    @mask.setter
    def mask(self, value: Array | None) -> None:
        self.run.mask = value

    @property
    def memory(self) -> Memory:
        """What the encoder left for the layers of the decoder. Raises DeltaruleError where there is none."""
        if self.run.memory is None:
            raise DeltaruleError(f"{self.path or 'the network'} looks at a memory, and there is none here; put it into the decoder of "
                                 "EncoderDecoder(encoder, decoder)")
        return self.run.memory

    def param(self, name: str, init: Initializer, shape: Sequence[int]) -> Array:
        """The parameter `name` of this layer, of the given shape.

        Planned in the abstract run (its initial value depends on the seed and its own path alone), read afterwards.
        Raises ShapeError when the stored array has another shape.
        """
        return self._value(self.run.params, "params", name, init, tuple(shape))

    def state(self, name: str, init: Initializer, shape: Sequence[int]) -> Array:
        """A value that training carries along without a gradient (running statistics); changed by `update`."""
        return self._value(self.run.state, "state", name, init, tuple(shape))

    def update(self, name: str, value: Array) -> None:
        """Leave the new value of a state behind for the next step."""
        _put(self.run.new_state, (*self.names, name), value)

    @property
    def carried(self) -> Tree | None:
        """What this layer keeps of every sequence of the batch, where they go on from what came before; None where each is whole."""
        found: Tree | None = self.run.state.get(CARRIED, {}).get(self.path)
        return found

    def carry(self, values: Tree) -> None:
        """Keep these for the piece of the sequences that comes next."""
        self.run.new_state.setdefault(CARRIED, {})[self.path] = values

    def key(self) -> Array:
        """A random key of this layer's own for this step (dropout, noise); depends on seed, step and path only."""
        if self.run.plan is not None:
            self.run.plan.random = True
        if self.run.key is None:
            raise DeltaruleError(f"{self.path or 'the network'} asked for randomness where none is given; "
                                 "draw only when scope.training is True")
        return noise.for_layer(self.run.key, path_number(self.path))

    def tap(self, name: str, value: Array, probed: bool = False) -> Array:
        """Hand `value` on unchanged, and record it as `path/name` when someone watches; `probed`: its `probe` is already in it."""
        if self.run.taps is None:
            return value
        path = unused("/".join((*self.names, name)), self.run.taps)
        if self.run.probes is not None and not probed:
            shifted = value + self.run.probes[path]
            if self.run.link is not None and self.run.link.h is value:
                self.run.link = self.run.link._replace(h=shifted)
            value = shifted
        self.run.taps[path] = value
        return value

    def probe(self, name: str) -> Array | None:
        """The zero that finds the delta of a value which feeds back into itself: its layer adds it inside the loop. None without one."""
        if self.run.taps is None or self.run.probes is None:
            return None
        return self.run.probes[unused("/".join((*self.names, name)), self.run.taps)]

    def linked(self, a: Array, h: Array, activation: Any) -> Array:
        """Remember that h = activation(a), and hand h on; softmax of a softmax is refused."""
        last = self.run.link
        if last is not None and last.h is a and _is_softmax(last.activation) and _is_softmax(activation):
            raise DeltaruleError(f"{self.path or 'the network'} applies softmax to the output of a softmax; remove one of the two")
        self.run.link = Link(a, h, activation)
        return h

    def _value(self, tree: Tree, kind: str, name: str, init: Initializer, shape: tuple[int, ...]) -> Array:
        path = "/".join((*self.names, name))
        if self.run.plan is not None:
            getattr(self.run.plan, kind)[path] = (init, shape)
            return jnp.zeros(shape, self.run.dtype)
        try:
            value = get(tree, path)
        except KeyError:
            raise DeltaruleError(f"there is no {kind} {path!r}; the arrays belong to another architecture") from None
        if tuple(value.shape) != shape:
            raise ShapeError(f"{path} has shape {tuple(value.shape)}, its layer expected {shape}; "
                             "the inputs differ from those the network was built for")
        return value


def path_number(path: str) -> int:
    """A number from 0 to 2^31 - 1 that depends on the path alone: keys follow names, never order.

    >>> path_number("dense_1/weights")
    1192273979
    """
    return zlib.crc32(path.encode()) & 0x7FFFFFFF


def draw(plans: dict[str, tuple[Initializer, tuple[int, ...]]], seed: int, dtype: str) -> Tree:
    """Initial values of planned parameters as a nested dict, each drawn from (seed, its path) alone."""
    tree: Tree = {}
    for path, (init, shape) in plans.items():
        rng = np.random.default_rng((seed, path_number(path)))
        value = np.asarray(init(rng, shape), dtype)
        if value.shape != shape:
            raise ShapeError(f"the initializer of {path} returned shape {value.shape}, expected {shape}")
        _put(tree, tuple(path.split("/")), aligned(value))
    return tree


def get(tree: Tree, path: str) -> Array:
    """The array at "dense_1/weights" of a nested dict. Raises KeyError."""
    value: Any = tree
    for name in path.split("/"):
        value = value[name]
    return value


def flatten(tree: Tree, prefix: str = "") -> dict[str, Array]:
    """A nested dict of arrays as one dict of paths.

    >>> flatten({"dense_1": {"weights": 1, "bias": 2}})
    {'dense_1/weights': 1, 'dense_1/bias': 2}
    """
    flat: dict[str, Array] = {}
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        flat.update(flatten(value, path) if isinstance(value, dict) else {path: value})
    return flat


def unflatten(flat: dict[str, Array]) -> Tree:
    """The inverse of `flatten`."""
    tree: Tree = {}
    for path, value in flat.items():
        _put(tree, tuple(path.split("/")), value)
    return tree


def _put(tree: Tree, names: tuple[str, ...], value: Array) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def unused(path: str, taken: Mapping[str, Any]) -> str:
    """The path itself, or with a number where a layer is used more than once.

    >>> unused("dense_1", {"dense_1": 0})
    'dense_1#2'
    """
    number, free = 2, path
    while free in taken:
        number, free = number + 1, f"{path}#{number}"
    return free


def _is_softmax(activation: Any) -> bool:
    return isinstance(activation, str) and activation in ("softmax", "log_softmax")
