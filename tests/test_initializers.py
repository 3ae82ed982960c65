"""Initial weights against the variances, limits and shapes of the papers."""

import math

import numpy as np
import pytest
from scipy import stats

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.initializers import (
    INITIALIZERS,
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
    fans,
    for_activation,
    initializer,
)
from deltarule.ops.activations import ACTIVATIONS
from deltarule.spec import from_json, to_json

DENSE, KERNEL = (211, 307), (3, 5, 29, 67)
SPREAD = {                                                      # var(w) for fan_in, fan_out
    GlorotUniform(): lambda n, m: 2 / (n + m),
    GlorotNormal(): lambda n, m: 2 / (n + m),
    GlorotNormal(truncated=True): lambda n, m: 2 / (n + m),
    HeUniform(): lambda n, m: 2 / n,
    HeNormal(): lambda n, m: 2 / n,
    HeNormal(truncated=True): lambda n, m: 2 / n,
    LeCunUniform(): lambda n, m: 1 / n,
    LeCunNormal(): lambda n, m: 1 / n,
    LeCunNormal(truncated=True): lambda n, m: 1 / n,
    Normal(0.3, 2.0): lambda n, m: 0.09,
    TruncatedNormal(0.3, 2.0): lambda n, m: 0.09,
    Uniform(-1.0, 5.0): lambda n, m: 3.0,
}
EVERY = [*SPREAD, Orthogonal(), Constant(0.7), Zeros(), Ones()]


def drawn(seed, shapes=(DENSE, KERNEL)):
    """Every initializer on these shapes."""
    return {repr(init): [init(np.random.default_rng(seed), shape) for shape in shapes] for init in EVERY}


@pytest.fixture(scope="module")
def weights():
    return drawn(seed=0)


def test_fans_count_the_window():
    assert fans(DENSE) == (211, 307)
    assert fans(KERNEL) == (15 * 29, 15 * 67)
    assert fans((7, 2, 3)) == (14, 21)


@pytest.mark.parametrize("init", SPREAD, ids=repr)
def test_variance_and_mean_against_the_papers(init, weights):
    mean = {Normal: 2.0, TruncatedNormal: 2.0, Uniform: 2.0}.get(type(init), 0.0)
    for shape, w in zip((DENSE, KERNEL), weights[repr(init)], strict=True):
        variance, size = SPREAD[init](*fans(shape)), math.prod(shape)
        assert w.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / size))
        assert w.var(dtype=float) == pytest.approx(variance, rel=5 * math.sqrt(2 / size))


@pytest.mark.parametrize("init", SPREAD, ids=repr)
def test_distribution_is_the_one_named(init, weights):
    w = weights[repr(init)][0].ravel().astype(float)
    standard = (w - w.mean()) / math.sqrt(SPREAD[init](*DENSE))
    if "Uniform" in type(init).__name__:
        expected = stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))
    elif "truncated=True" in repr(init) or isinstance(init, TruncatedNormal):
        expected = stats.truncnorm(-2, 2, scale=1 / stats.truncnorm.std(-2, 2))
        assert abs(standard).max() < 2 / stats.truncnorm.std(-2, 2) + 0.01
    else:
        expected = stats.norm()
        assert abs(standard).max() > 3.5
    assert stats.kstest(standard, expected.cdf).statistic < 1.95 / math.sqrt(w.size)       # the 0.1% level


@pytest.mark.parametrize(("init", "limit"), [(GlorotUniform(), math.sqrt(6 / (211 + 307))), (HeUniform(), math.sqrt(6 / 211)),
                                             (LeCunUniform(), math.sqrt(3 / 211)), (Uniform(-1.0, 5.0), 5.0)], ids=repr)
def test_uniform_limits(init, limit, weights):
    assert 0.999 * limit < abs(weights[repr(init)][0]).max() <= limit * (1 + 1e-6)


def test_orthogonal_keeps_lengths(weights):
    wide, kernel = weights["Orthogonal(gain=1.0)"]
    np.testing.assert_allclose(wide @ wide.T, np.eye(211), atol=1e-5)                      # fewer rows than columns
    columns = kernel.reshape(-1, 67)
    np.testing.assert_allclose(columns.T @ columns, np.eye(67), atol=1e-5)


def test_orthogonal_gain():
    w = Orthogonal(gain=3.0)(np.random.default_rng(1), (7, 5))
    np.testing.assert_allclose(w.T @ w, 9 * np.eye(5), atol=1e-12)


def test_constants(weights):
    assert (weights["Constant(value=0.7)"][0] == 0.7).all()
    assert (weights["Zeros()"][1] == 0).all()
    assert (weights["Ones()"][1] == 1).all()


def test_shapes_dtypes_and_determinism():
    first, again, other = drawn(0), drawn(0), drawn(1)
    for name, arrays in first.items():
        assert tuple(w.shape for w in arrays) == (DENSE, KERNEL)
        assert all(w.dtype == float for w in arrays)
        assert all(np.array_equal(w, v) for w, v in zip(arrays, again[name], strict=True))
        same = np.array_equal(arrays[0], other[name][0])
        assert same == (name.split("(")[0] in ("Constant", "Zeros", "Ones"))


@pytest.mark.parametrize("init", [*EVERY, *INITIALIZERS.values()], ids=repr)
def test_json_round_trip(init):
    assert from_json(to_json(init)) == init


def test_resolving():
    assert initializer("glorot_uniform") == GlorotUniform()
    assert initializer(0.25) == Constant(0.25)
    assert initializer(0) == Constant(0)
    assert initializer(HeNormal(truncated=True)) == HeNormal(truncated=True)
    own = lambda rng, shape: np.zeros(shape)                                # noqa: E731
    assert initializer(own) is own


def test_every_activation_has_a_start():
    expected = dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu", "softplus"), HeNormal())
    expected |= dict.fromkeys(("sigmoid", "step", "sign"), LeCunNormal())
    expected |= dict.fromkeys(("linear", "tanh", "exponential", "softmax", "log_softmax"), GlorotUniform())
    assert {name: for_activation(name) for name in ACTIVATIONS} == expected


def test_he_keeps_the_signal_of_deep_relu_networks():
    h = np.random.default_rng(0).normal(size=(101, 211))
    rng = np.random.default_rng(2)
    start = np.mean(h**2)
    for _ in range(11):
        h = np.maximum(h @ HeNormal()(rng, (211, 211)), 0.0)
    assert 0.3 < np.mean(h**2) / start < 3.0                                               # LeCun's start would give 2^-11


@pytest.mark.parametrize(("make", "text"), [
    (lambda: fans((3,)), r"^the fans of a kernel need a shape \(\.\.\., n_in, n_out\) without zeros, received \(3,\); use"),
    (lambda: HeNormal()(np.random.default_rng(0), (0, 5)), r"without zeros, received \(0, 5\)"),
    (lambda: Orthogonal()(np.random.default_rng(0), (5,)), r"need a shape \(\.\.\., n_in, n_out\) without zeros, received \(5,\)"),
])
def test_shape_errors(make, text):
    with pytest.raises(ShapeError, match=text):
        make()


@pytest.mark.parametrize(("make", "text"), [
    (lambda: Normal(std=0.0), r"^Normal expected std to be a finite number above 0, received 0\.0$"),
    (lambda: Normal(mean=math.nan), r"^Normal expected mean to be a finite number, received nan$"),
    (lambda: TruncatedNormal(std="1"), r"^TruncatedNormal expected std to be a finite number above 0, received '1'$"),
    (lambda: Orthogonal(gain=-1.0), r"^Orthogonal expected gain to be a finite number above 0, received -1\.0$"),
    (lambda: Constant(math.inf), r"^Constant expected value to be a finite number, received inf$"),
    (lambda: Constant(True), r"^Constant expected value to be a finite number, received True$"),
    (lambda: Uniform(1.0, 1.0), r"^Uniform expected low below high, received low=1\.0, high=1\.0$"),
    (lambda: HeNormal(truncated=2), r"^HeNormal expected truncated True or False, received 2$"),
    (lambda: initializer("he_norml"), r"^unknown initializer 'he_norml'; did you mean 'he_normal'"),
    (lambda: initializer(HeNormal), r"^an initializer is an object, received the class HeNormal; write HeNormal\(\), with brackets$"),
    (lambda: initializer(None), r"^an initializer is a name, a number or an object such as HeNormal\(\), received None$"),
    (lambda: initializer(True), r"^an initializer is a name, a number or an object such as HeNormal\(\), received True$"),
    (lambda: for_activation("rleu"), r"^unknown activation 'rleu'; did you mean 'relu'"),
])
def test_errors(make, text):
    with pytest.raises(DeltaruleError, match=text):
        make()
