"""The C++ kernels of recurrent layers against their JAX form, which the textbook and finite differences check in float64."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import kernels
from deltarule.ops import recurrent as ops
from deltarule.ops.cells import Cell, GRUCell, LSTMCell, SimpleCell
from deltarule.ops.compiling import QUICK

CELLS: list[Cell] = [*map(SimpleCell, ("tanh", "sigmoid", "relu", "linear")), LSTMCell(), GRUCell()]
NAMES = [cell.kernel for cell in CELLS]

pytestmark = pytest.mark.skipif(not kernels.kernels().ready, reason="no kernels here; test_kernels.py says whether there should be")


def sequences(cell, n, T, inputs, units, seed=0, masked=False, dropped=False, scale=1.0):
    rng = np.random.default_rng(seed)
    width = cell.gates * units

    def draw(*shape, size=1.0):
        return jnp.asarray(rng.normal(0, size, shape), jnp.float32)

    mask = jnp.asarray(rng.random((n, T)) < 0.7) if masked else None
    kept = jnp.asarray(rng.random((n, units)) < 0.7, jnp.float32) if dropped else None
    d = draw(width) if cell.kernel == "gru" else None
    states = tuple(draw(n, units) for _ in range(2 if cell.kernel == "lstm" else 1))
    return ops.Sequences(draw(n, T, inputs, size=scale), draw(inputs, width, size=inputs ** -0.5), draw(width),
                         draw(units, width, size=units ** -0.5), d, states, kept, mask)


def both(cell, reverse, given, seed=1):
    """States and all gradients by the kernels, and by JAX in double precision."""
    rng = np.random.default_rng(seed)
    errors = [rng.normal(size=(*given.x.shape[:2], given.W.shape[0])) for _ in given.states]
    mask = given.mask

    def run(free):
        return ops.recurrent(cell, free._replace(mask=mask), reverse)

    def gradients(free):
        states, back = jax.vjp(run, free)
        return states, back(tuple(jnp.asarray(error, state.dtype) for error, state in zip(errors, states, strict=True)))[0]

    found = jax.jit(gradients, compiler_options=QUICK)(given._replace(mask=None))
    with jax.enable_x64(True):
        free = jax.tree.map(lambda value: np.asarray(value, np.float64), given._replace(mask=None))
        exact = jax.jit(gradients, compiler_options=QUICK)(free)
    return found, exact


def close(found, exact, tolerance=1e-5):
    def near(a, b):
        assert a.dtype == np.float32, "the kernels were not asked"
        assert b.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0))))

    jax.tree.map(near, found, exact)


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 2, 7), (13, 4, 5, 16), (29, 3, 17, 71), (16, 2, 130, 128)], ids=str)
def test_every_cell_is_its_jax_form(cell, shape):
    close(*both(cell, False, sequences(cell, *shape)))


@settings(deadline=None, max_examples=25)
@given(cell=st.sampled_from(CELLS), n=st.integers(1, 19), T=st.integers(1, 6), inputs=st.integers(1, 21), units=st.integers(1, 40),
       masked=st.booleans(), dropped=st.booleans(), reverse=st.booleans(), seed=st.integers(0, 9))
def test_any_sequences_are_as_in_jax(cell, n, T, inputs, units, masked, dropped, reverse, seed):
    close(*both(cell, reverse, sequences(cell, n, T, inputs, units, seed, masked, dropped)))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_large_numbers_saturate_and_what_is_no_number_stays_so(cell):
    """Gates far out are 0 and 1 as in JAX, and not-a-number in one sequence stays in it."""
    given = sequences(cell, 3, 4, 2, 5, scale=1e4 if cell.gates > 1 else 3.0)
    states = jax.jit(lambda given: ops.recurrent(cell, given))(given._replace(x=given.x.at[1, 2, 0].set(jnp.nan)))
    for state in states:
        assert np.isnan(np.asarray(state)[1, 2:]).all()
        assert np.isfinite(np.asarray(state)[[0, 2]]).all()
        assert np.isfinite(np.asarray(state)[1, :2]).all()
    with jax.enable_x64(True):
        exact = ops.recurrent(cell, jax.tree.map(lambda value: np.asarray(value, np.float64), given))
    for state, right in zip(ops.recurrent(cell, given), exact, strict=True):
        np.testing.assert_allclose(state, right, rtol=2e-4, atol=2e-4)


def test_the_hyperbolic_tangent_is_that_of_numpy():
    """Relative to the value itself, also next to zero: the states of one step of a plain cell are nothing but it."""
    x = np.concatenate([np.linspace(-12, 12, 30_001), np.geomspace(1e-30, 1, 3_001), [0.0, 88.0, -1e30]]).astype(np.float32)
    zero = jnp.zeros((len(x), 1), jnp.float32)
    given = ops.Sequences(jnp.asarray(x)[:, None, None], jnp.ones((1, 1)), jnp.zeros(1), jnp.zeros((1, 1)), None, (zero,), None, None)
    h = np.asarray(ops.recurrent(SimpleCell("tanh"), given)[0])[:, 0, 0]
    np.testing.assert_allclose(h, np.tanh(x.astype(np.float64)), rtol=4e-7)


def test_members_of_an_ensemble_and_loops_and_no_sequences():
    cell = LSTMCell()
    members = [sequences(cell, 5, 3, 2, 7, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *members)
    at_once = jax.jit(jax.vmap(lambda given: ops.recurrent(cell, given)[0]))(stacked)
    np.testing.assert_allclose(at_once, [ops.recurrent(cell, member)[0] for member in members], atol=1e-6)
    again = jax.jit(lambda given: jax.lax.fori_loop(0, 3, lambda _, x: x + ops.recurrent(cell, given)[0], jnp.zeros((5, 3, 7))))
    np.testing.assert_allclose(again(members[0]), 3 * at_once[0], atol=1e-5)
    none = jax.grad(lambda U, given: jnp.sum(ops.recurrent(cell, given._replace(U=U))[0]))
    assert not np.any(none(members[0].U, sequences(cell, 0, 3, 2, 7)))


def test_the_same_bits_again():
    net = dr.Network([dr.LSTM(67), dr.Dense(3, "softmax")], (11, 5))
    x = np.random.default_rng(0).normal(size=(64, 11, 5))
    np.testing.assert_array_equal(net.predict(x), net.predict(x))


def test_gradients_do_not_depend_on_the_number_of_threads():
    """The same bits in a process that JAX gives one thread and in one that it gives five; layer normalization and GELU as well."""
    program = """
import hashlib, jax, jax.numpy as jnp, numpy as np
from deltarule import kernels
from deltarule.ops import recurrent as ops
from deltarule.ops.cells import GRUCell, LSTMCell, SimpleCell
rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.normal(size=shape) / 3, jnp.float32)
found = []
for cell, states in (LSTMCell(), 2), (GRUCell(), 1), (SimpleCell("tanh"), 1):
    columns = cell.gates * 37
    given = ops.Sequences(draw(41, 9, 11), draw(11, columns), draw(columns), draw(37, columns),
                          draw(columns) if cell.gates == 3 else None, tuple(draw(41, 37) for _ in range(states)), None, None)
    h, back = jax.vjp(lambda given: ops.recurrent(cell, given)[0], given)
    found += [h, *jax.tree.leaves(back(draw(*h.shape)))]
a, dh, b = draw(700, 19), draw(700, 19), draw(19)
found += [*kernels.layer_norm_backward(a, b, dh, 1e-5), *kernels.gelu_backward(a, b, dh)]
print(hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in found)).hexdigest())
"""
    found = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                            env={**os.environ, "PJRT_NPROC": threads}).stdout for threads in ("1", "5")]
    assert len(found[0]) == 65
    assert found[0] == found[1]
