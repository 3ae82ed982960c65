"""The product with few columns or few numbers: values, both gradients, their gradients, and many at once, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.ops import narrow
from deltarule.ops.compiling import precision
from deltarule.ops.narrow import product


def drawn(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 11), st.sampled_from([0, narrow.SMALL]))
def test_gradients_are_the_textbooks(n, C, F, small):
    x, W, da = drawn((n, C), (C, F), (n, F))
    with precision("float64"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "SMALL", small)
        a, back = jax.vjp(product, x, W)
        dx, dW = back(jnp.asarray(da))
    np.testing.assert_allclose(a, x @ W, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, da @ W.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dW, np.einsum("nc,nf->cf", x, da), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shapes", [((5, 37), (37, 3)), ((5, 7), (7, 3)), ((5, 8), (8, 2))], ids=["narrow", "neither", "small"])
def test_second_gradients_and_many_at_once(shapes, monkeypatch):
    x, W = drawn(*shapes)
    monkeypatch.setattr(narrow, "SMALL", 100)

    def energy(x, W):
        return jnp.sum(jnp.sin(product(x, W)))

    with precision("float64"):
        found = jax.grad(lambda x, W: jnp.sum(jax.grad(energy, argnums=1)(x, W) ** 2))(x, W)
        expected = jax.grad(lambda x, W: jnp.sum((x.T @ jnp.cos(x @ W)) ** 2))(x, W)
        xs, Ws = drawn((4, *shapes[0]), (4, *shapes[1]), seed=1)
        many = jax.vmap(jax.grad(energy, argnums=1))(xs, Ws)
        each = np.einsum("knc,knf->kcf", xs, np.cos(np.einsum("knc,kcf->knf", xs, Ws)))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(many, each, rtol=1e-11, atol=1e-11)


def test_networks_of_dense_layers_have_derivatives_forward_too():
    import deltarule as dr
    from deltarule.layers.forward import forward

    net = dr.Network([dr.Dense(16, "tanh"), dr.Dense(1)], 2)
    x, direction = drawn((5, 2), (5, 2))
    with precision("float64"):
        params = jax.tree.map(lambda value: jnp.asarray(np.asarray(value), jnp.float64), net.params)

        def u(x):
            return forward(net.layer, params, net.state, x, dtype="float64")[0].h[:, 0]

        _, found = jax.jvp(u, (jnp.asarray(x),), (jnp.asarray(direction),))
        second = jax.jvp(lambda x: jax.jvp(u, (x,), (jnp.asarray(direction),))[1], (jnp.asarray(x),), (jnp.asarray(direction),))[1]
        after, here, before = (np.asarray(u(jnp.asarray(x + step * direction))) for step in (1e-4, 0.0, -1e-4))
    np.testing.assert_allclose(found, (after - before) / 2e-4, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(second, (after - 2 * here + before) / 1e-8, rtol=1e-4, atol=1e-6)
