"""Activations against NumPy float64 and SciPy, their slopes against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from deltarule.errors import DeltaruleError, ShapeError
from deltarule.ops.activations import ACTIVATIONS, activation, derivative, leaky_relu, sign, softmax, step

VALUES = {
    "linear": lambda a: a,
    "step": lambda a: np.heaviside(a, 1.0),
    "sign": lambda a: np.where(a < 0, -1.0, 1.0),
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0.0),
    "leaky_relu": lambda a: np.maximum(a, 0.01 * a),
    "elu": lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0.0))),
    "gelu": lambda a: a * stats.norm.cdf(a),
    "silu": lambda a: a * special.expit(a),
    "softplus": lambda a: np.logaddexp(0.0, a),
    "exponential": np.exp,
    "softmax": lambda a: special.softmax(a, axis=-1),
    "log_softmax": lambda a: special.log_softmax(a, axis=-1),
}
COUPLED = ("softmax", "log_softmax")
ELEMENTWISE = [name for name in VALUES if name not in COUPLED]
EXTREME = np.array([-1e4, -100.0, -0.0, 0.0, 100.0, 1e4])
A = np.random.default_rng(0).normal(scale=4.0, size=(7, 5))
WITH_EXTREMES = np.resize(EXTREME, (7, 5))                     # the same shape, so that one program serves
STEP = 1e-5


@jax.jit
def everything(a):
    """Values, slopes and a gradient through each activation, as one compiled program for a (7, 5)."""
    def through(name):
        gradient = jax.grad(lambda a: jnp.sum(activation(name)(a) ** 2))(a)
        return activation(name)(a), derivative(name)(a), gradient

    return {name: through(name) for name in VALUES}


def run(a, dtype):
    with jax.enable_x64(dtype == "float64"):
        return jax.tree.map(np.asarray, everything(jnp.asarray(a, dtype)))


def test_every_activation_of_the_lectures_is_there():
    assert set(ACTIVATIONS) == set(VALUES)


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [("float64", 1e-12, 1e-14), ("float32", 3e-6, 1e-6)])
def test_values(dtype, rtol, atol):
    a = A.astype(dtype).astype(float)
    for name, (h, slope, gradient) in run(a, dtype).items():
        assert h.dtype == slope.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(h, VALUES[name](a), rtol=rtol, atol=atol, err_msg=name)


@given(a=hnp.arrays(float, (7, 5), elements=st.floats(-20, 20).filter(lambda v: abs(v) > 1e-3)))
def test_slopes_and_gradients_against_finite_differences(a):
    for name, (h, slope, gradient) in run(a, "float64").items():
        if name in COUPLED:
            steps = STEP * np.eye(5)
            differences = [(VALUES[name](a + e[None]) - VALUES[name](a - e[None])) / (2 * STEP) for e in steps]
            difference = np.stack(differences, axis=-1)                                            # (7, 5, 5), dg_i / da_j
            chained = np.einsum("ni,nij->nj", 2 * h, difference)
        else:
            difference = (VALUES[name](a + STEP) - VALUES[name](a - STEP)) / (2 * STEP)
            chained = 2 * h * difference
        np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(gradient, chained, rtol=1e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_extreme_inputs_stay_finite_and_right(dtype):
    for name, (h, slope, gradient) in run(WITH_EXTREMES, dtype).items():
        if name == "exponential":                               # the one that must overflow
            continue
        assert np.isfinite(h).all(), name
        assert np.isfinite(slope).all(), name
        assert np.isfinite(gradient).all(), name
        np.testing.assert_allclose(h, VALUES[name](WITH_EXTREMES), rtol=1e-6, atol=1e-7, err_msg=name)


def test_compiled_equals_eager():
    a = jnp.asarray(A, jnp.float32)
    for name, (h, _, _) in run(A, "float32").items():
        np.testing.assert_allclose(h, activation(name)(a), rtol=2e-6, atol=1e-6, err_msg=name)


def test_sigmoid_of_the_lecture():
    exact = np.array([4.5397868702434395e-05, 0.5, 0.9999546021312976])
    with jax.enable_x64(True):
        a = jnp.array([-10.0, 0.0, 10.0])
        np.testing.assert_allclose(activation("sigmoid")(a), exact, rtol=1e-14)
        np.testing.assert_allclose(derivative("sigmoid")(a), exact * exact[::-1], rtol=1e-11)
    a = jnp.array([-10.0, 0.0, 10.0], jnp.float32)
    np.testing.assert_allclose(activation("sigmoid")(a), exact, rtol=1e-6)
    np.testing.assert_allclose(derivative("sigmoid")(a), exact * exact[::-1], atol=6e-8)


def test_slopes_at_the_corners():
    zero = run(np.zeros((7, 5)), "float32")
    at_zero = {name: float(zero[name][1][0, 0]) for name in ELEMENTWISE}
    assert at_zero == pytest.approx({"exponential": 1, "linear": 1, "step": 0, "sign": 0, "sigmoid": 0.25, "tanh": 1, "relu": 0,
                                     "leaky_relu": 1, "elu": 1, "gelu": 0.5, "silu": 0.5, "softplus": 0.5}, abs=1e-7)


def test_the_two_steps_decide_at_zero():
    assert step(np.array([-1e-30, 0.0, -0.0])).tolist() == [0.0, 1.0, 1.0]
    assert sign(np.array([-1e-30, 0.0, -0.0])).tolist() == [-1.0, 1.0, 1.0]


def test_leaky_relu_takes_its_slope():
    assert leaky_relu(jnp.array([-3.0, 5.0]), slope=0.2).tolist() == pytest.approx([-0.6, 5.0])


@given(a=hnp.arrays(np.float32, (5,), elements=st.floats(-80, 0, width=32)), shift=st.sampled_from([0.0, 1e4, -1e4]))
def test_softmax_is_a_distribution(a, shift):
    h = np.asarray(softmax(jnp.asarray(a + np.float32(shift))))
    assert (h > 0).all()
    assert h.sum() == pytest.approx(1.0, abs=1e-6)
    assert h[np.argmax(a + np.float32(shift))] == h.max()


def test_errors():
    with pytest.raises(DeltaruleError, match=r"^unknown activation 'sigmiod'; did you mean 'sigmoid'\?$"):
        activation("sigmiod")
    with pytest.raises(DeltaruleError, match=r"^an activation is named by a string, received 3; write for example 'relu'$"):
        activation(3)
    with pytest.raises(DeltaruleError, match=r"unknown activation 'reul'; did you mean 'relu'"):
        derivative("reul")
    with pytest.raises(DeltaruleError, match=r"^the derivative of tanh needs floating-point pre-activations, received int32; use a\.ast"):
        derivative("tanh")(jnp.arange(3))
    for name in COUPLED:
        with pytest.raises(ShapeError, match=rf"^{name} needs the units on the last axis \(\.\.\., K\), received a scalar; give an array"):
            activation(name)(1.0)
