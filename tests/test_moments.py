"""Adam's averages: the kernel and the JAX form against the formulas in NumPy float64, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import kernels
from deltarule.ops import moments

READY = kernels.kernels(*kernels.DENSE).ready
needed = pytest.mark.skipif(not READY, reason="no C++ compiler: test_kernels.py has checked that this is said")
DECAYS = moments.Decays(0.9, 0.999, 1e-8)


def drawn(seed, shape, size=1.0):
    """g of either sign, m and s as they are after a few steps."""
    rng = np.random.default_rng(seed)
    return [np.float32(values) for values in (size * rng.standard_normal(shape), size * rng.standard_normal(shape),
                                              size**2 * rng.random(shape))]


def formulas(g, m, s, t, beta1=0.9, beta2=0.999, epsilon=1e-8):
    g, m, s = (values.astype(float) for values in (g, m, s))
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + epsilon), m, s


def expect(found, wanted, size=1.0):
    for values, expected, scale in zip(found, wanted, (1.0, size, size**2), strict=True):
        np.testing.assert_allclose(values, expected, rtol=5e-5, atol=2e-6 * scale)      # 1 - 0.999 is off by 6e-5 in single precision


@pytest.fixture(params=[1, 2**60], ids=["kernel", "JAX"])
def either(request, monkeypatch):
    """Both forms, whatever the size."""
    monkeypatch.setattr(moments, "MANY", request.param)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), shape=st.lists(st.integers(1, 19), max_size=3), t=st.integers(1, 10_000),
       size=st.sampled_from([1e-6, 1.0, 1e6]), many=st.sampled_from([1, 2**60]))
def test_any_shape_is_the_formulas(seed, shape, t, size, many):
    given_ones = drawn(seed, tuple(shape), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "MANY", many)
        found = moments.direction(*map(jnp.asarray, given_ones), DECAYS, jnp.asarray(t))
    expect(found, formulas(*given_ones, t), size)


@needed
def test_places_and_threads_change_no_bit():
    given_ones = [jnp.asarray(values) for values in drawn(0, 100_003)]
    before = [np.array(values) for values in given_ones]
    whole = moments.direction(*given_ones, DECAYS, jnp.asarray(3))
    assert moments.MANY < 20_000
    for begin, end in ((0, 20_000), (50_001, 90_000), (83_000, 100_003)):
        for part, values in zip(moments.direction(*(v[begin:end] for v in given_ones), DECAYS, jnp.asarray(3)), whole, strict=True):
            np.testing.assert_array_equal(part, values[begin:end])
    for values, kept in zip(given_ones, before, strict=True):       # what is not given away stays
        np.testing.assert_array_equal(values, kept)


def test_members_have_their_own_settings(either):
    g, m, s = drawn(1, (3, 5, 7))
    betas, steps = np.float32([0.5, 0.9, 0.0]), np.int32([1, 2, 7])
    found = jax.jit(jax.vmap(lambda g, m, s, beta1, t: moments.direction(g, m, s, DECAYS._replace(beta1=beta1), t)))(g, m, s, betas, steps)
    for i in range(3):
        expect([values[i] for values in found], formulas(g[i], m[i], s[i], float(steps[i]), beta1=float(betas[i])))


@needed
@pytest.mark.parametrize("given_one", [dr.Adam(0.01), dr.AdamW(0.01, weight_decay=0.1, clip_norm=1.0)], ids=["Adam", "AdamW, clipped"])
def test_a_training_with_the_kernel_is_one_without(given_one, monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((90, 5), np.float32), rng.integers(0, 3, 90)
    learnt = []
    for many in (1, 2**60):
        monkeypatch.setattr(moments, "MANY", many)
        jax.clear_caches()          # programs of the other form
        net = dr.Network([dr.Dense(17, "tanh"), dr.Dense(3, "softmax")], input_shape=5, seed=0)
        net.fit(x, y, epochs=2, optimizer=given_one, progress=False, resume=True)
        net.fit(x, y, epochs=1, optimizer=given_one, progress=False, resume=True)
        learnt.append(jax.tree.leaves((net.params, net.memory)))
    for one, other in zip(*learnt, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-6)
    assert optax.tree.get(net.memory, "count") == 9
