"""Initial weights: the spread at which signals neither die nor explode on their way through the layers.

A kernel has shape (n_in, n_out) in a dense layer and (*window, channels_in, channels_out) in a convolution, where every place
of the window counts: both fans are multiplied by the size of the window. A pre-activation a is a sum of fan_in products w x, so
var(a) = fan_in var(w) E[x^2], and going backwards var(delta) = fan_out var(w) E[delta^2].
"""

import abc
import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from deltarule.checks import check_number
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.ops.activations import activation
from deltarule.spec import nearest, register

Shape = tuple[int, ...]

# The deviation of a standard normal cut at -2 and 2: sqrt(1 - 2 * 2 phi(2) / (Phi(2) - Phi(-2)))
_CUT_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


@dataclasses.dataclass(frozen=True)
class Initializer(abc.ABC):
    """How a parameter starts: `init(rng, shape)` is a float64 array, drawn with NumPy, so that nothing has to be compiled for it."""

    def __call__(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        """The initial values, an array of `shape`, the same for a generator in the same state."""
        return self._draw(rng, shape)

    @abc.abstractmethod
    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray: ...


def fans(shape: Shape) -> tuple[int, int]:
    """How many inputs feed a unit and how many units an input feeds (fan_in, fan_out), for a kernel (*window, n_in, n_out).

    Raises ShapeError for fewer than two axes and for an axis of size 0.

    >>> fans((784, 30)), fans((3, 3, 16, 32))
    ((784, 30), (144, 288))
    """
    if len(shape) < 2 or 0 in shape:
        raise ShapeError(f"the fans of a kernel need a shape (..., n_in, n_out) without zeros, received {tuple(shape)}; "
                         "use Normal, Uniform or Zeros for vectors")
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


class _ByFans(Initializer):
    """Weights with mean zero and var(w) = scale / fan, where fan is fan_in or, in Glorot's form, the mean of both."""

    scale: ClassVar[float]
    both_fans: ClassVar[bool] = False

    def std(self, shape: Shape) -> float:
        """The standard deviation of the weights of a kernel of that shape."""
        fan_in, fan_out = fans(shape)
        fan = (fan_in + fan_out) / 2 if self.both_fans else fan_in
        return math.sqrt(self.scale / fan)


class _UniformByFans(_ByFans):
    """Weights between -r and r; r = sqrt(3) std, because var(w) = r^2 / 3."""

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        r = math.sqrt(3.0) * self.std(shape)
        return rng.uniform(-r, r, shape)


@dataclasses.dataclass(frozen=True)
class _NormalByFans(_ByFans):
    """Weights from the normal distribution, or from its middle, cut at two standard deviations and stretched back to the same variance."""

    truncated: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.truncated, bool):
            raise DeltaruleError(f"{type(self).__name__} expected truncated True or False, received {self.truncated!r}")

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return self.std(shape) * (_cut_normal(rng, shape) if self.truncated else rng.standard_normal(shape))


@register
@dataclasses.dataclass(frozen=True)
class GlorotUniform(_UniformByFans):
    """Uniform between -r and r, r = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16).

    Keeps the variance of signals forwards and of errors backwards at once, for units that are linear with slope 1 near zero.

    >>> GlorotUniform()(np.random.default_rng(0), (784, 30)).shape
    (784, 30)
    """

    scale = 1.0
    both_fans = True


@register
@dataclasses.dataclass(frozen=True)
class GlorotNormal(_NormalByFans):
    """Normal with std = sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 12), cut at 2 std if `truncated`.

    >>> GlorotNormal(truncated=True).std((70, 130))
    0.1
    """

    scale = 1.0
    both_fans = True


@register
@dataclasses.dataclass(frozen=True)
class HeUniform(_UniformByFans):
    """Uniform between -r and r, r = sqrt(6 / fan_in): the variance of HeNormal (He et al. 2015, equation 10).

    >>> bool(abs(HeUniform()(np.random.default_rng(0), (6, 50))).max() <= 1.0)
    True
    """

    scale = 2.0


@register
@dataclasses.dataclass(frozen=True)
class HeNormal(_NormalByFans):
    """Normal with std = sqrt(2 / fan_in) (He et al. 2015, equation 10), cut at 2 std if `truncated`.

    A ReLU passes half of the squares, E[h^2] = var(a) / 2; the 2 restores them.

    >>> HeNormal().std((3, 3, 32, 64)) ** 2 == 2 / (9 * 32)
    True
    """

    scale = 2.0


@register
@dataclasses.dataclass(frozen=True)
class LeCunUniform(_UniformByFans):
    """Uniform between -r and r, r = sqrt(3 / fan_in): the variance of LeCunNormal (LeCun et al. 1998, equation 16).

    >>> bool(abs(LeCunUniform()(np.random.default_rng(0), (3, 50))).max() <= 1.0)
    True
    """

    scale = 1.0


@register
@dataclasses.dataclass(frozen=True)
class LeCunNormal(_NormalByFans):
    """Normal with std = 1 / sqrt(fan_in) (LeCun et al. 1998, section 4.6), cut at 2 std if `truncated`.

    With standardized inputs var(a) = 1: a sigmoid starts in its middle, neither flat nor at its ends.

    >>> LeCunNormal().std((100, 7))
    0.1
    """

    scale = 1.0


@register
@dataclasses.dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random matrix with orthonormal columns (or rows, where fewer), times `gain` (Saxe, McClelland and Ganguli 2014).

    A kernel (..., n_out) is filled as the matrix (prod(...), n_out). It keeps lengths, so signals survive many steps of a
    recurrent network. Raises ShapeError for fewer than two axes.

    >>> W = Orthogonal()(np.random.default_rng(0), (5, 3))
    >>> bool(np.allclose(W.T @ W, np.eye(3)))
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "gain", above=0)

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        fans(shape)                                             # refuses vectors
        rows, columns = math.prod(shape[:-1]), shape[-1]
        Q, R = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)             # uniform over all such matrices (Mezzadri 2007)
        return self.gain * (Q if rows >= columns else Q.T).reshape(shape)


@register
@dataclasses.dataclass(frozen=True)
class Normal(Initializer):
    """Normal with the given `std` and `mean`, whatever the shape.

    >>> Normal(std=0.5)(np.random.default_rng(0), (7,)).shape
    (7,)
    """

    std: float = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "std", above=0)
        check_number(self, "mean")

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return self.mean + self.std * rng.standard_normal(shape)


@register
@dataclasses.dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normal without its tails: cut at two standard deviations and stretched, so that `std` is the deviation of what remains.

    >>> bool(abs(TruncatedNormal(std=1.0)(np.random.default_rng(0), (1000,))).max() < 2.28)
    True
    """

    std: float = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "std", above=0)
        check_number(self, "mean")

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return self.mean + self.std * _cut_normal(rng, shape)


@register
@dataclasses.dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform between `low` and `high`, whatever the shape.

    >>> bool(abs(Uniform(-0.1, 0.1)(np.random.default_rng(0), (7,))).max() <= 0.1)
    True
    """

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        check_number(self, "low")
        check_number(self, "high")
        if self.low >= self.high:
            raise DeltaruleError(f"Uniform expected low below high, received low={self.low!r}, high={self.high!r}")

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return rng.uniform(self.low, self.high, shape)


@register
@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """Every entry the same `value`.

    >>> Constant(0.5)(np.random.default_rng(0), (3,)).tolist()
    [0.5, 0.5, 0.5]
    """

    value: float

    def __post_init__(self) -> None:
        check_number(self, "value")

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.full(shape, float(self.value))


@register
@dataclasses.dataclass(frozen=True)
class Zeros(Initializer):
    """Every entry 0: the start of a bias.

    >>> Zeros()(np.random.default_rng(0), (3,)).tolist()
    [0.0, 0.0, 0.0]
    """

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.zeros(shape)


@register
@dataclasses.dataclass(frozen=True)
class Ones(Initializer):
    """Every entry 1: the start of a scale.

    >>> Ones()(np.random.default_rng(0), (3,)).tolist()
    [1.0, 1.0, 1.0]
    """

    def _draw(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.ones(shape)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": GlorotUniform(), "glorot_normal": GlorotNormal(), "he_uniform": HeUniform(), "he_normal": HeNormal(),
    "lecun_uniform": LeCunUniform(), "lecun_normal": LeCunNormal(), "orthogonal": Orthogonal(), "normal": Normal(),
    "truncated_normal": TruncatedNormal(), "uniform": Uniform(), "zeros": Zeros(), "ones": Ones(),
}


def initializer(given: Any) -> Callable[[np.random.Generator, Shape], np.ndarray]:
    """The initializer that is meant: by name, a number (then every entry is that number), or an object, which is returned as it is.

    A function of your own (rng, shape) to array serves too. Raises DeltaruleError for anything else; unknown names get the nearest.

    >>> initializer("he_normal"), initializer(0.1)
    (HeNormal(truncated=False), Constant(value=0.1))
    """
    if isinstance(given, str):
        if given not in INITIALIZERS:
            raise DeltaruleError(f"unknown initializer {given!r}{nearest(given, INITIALIZERS)}")
        return INITIALIZERS[given]
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return Constant(given)
    if inspect.isclass(given) and issubclass(given, Initializer):
        raise DeltaruleError(f"an initializer is an object, received the class {given.__name__}; write {given.__name__}(), with brackets")
    if not callable(given):
        raise DeltaruleError(f"an initializer is a name, a number or an object such as HeNormal(), received {given!r}")
    return given


_RECTIFIERS = {"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"}
_SQUASHERS = {"sigmoid", "step", "sign"}


def for_activation(name: str) -> Initializer:
    """The start that suits a layer's activation.

    - relu, leaky_relu, elu, gelu, silu, softplus pass about half of the signal: HeNormal, twice the variance
      (He et al. 2015, section 2.2).
    - sigmoid, step, sign act where |a| is about 1, so var(a) = 1: LeCunNormal (LeCun et al. 1998, section 4.6).
    - tanh, linear, exponential and the softmax outputs have slope about 1 near 0: GlorotUniform keeps signals and errors alike
      (Glorot and Bengio 2010, section 4.2.1).

    Raises DeltaruleError for an unknown activation.

    >>> for_activation("relu"), for_activation("tanh")
    (HeNormal(truncated=False), GlorotUniform())
    """
    activation(name)                                            # refuses unknown names
    if name in _RECTIFIERS:
        return HeNormal()
    return LeCunNormal() if name in _SQUASHERS else GlorotUniform()


def _cut_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values / _CUT_STD
