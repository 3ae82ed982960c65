"""The noise of training: even, independent, and a function of seed, step and layer alone."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from deltarule.ops.noise import bernoulli, bits, for_layer, mixed, step_key


def words(seed=0, step=0, layer=5, n=200_000):
    return np.asarray(bits(for_layer(step_key(seed, step), layer), (n,)))


def test_bits_are_even_in_value_and_position():
    w = words()
    assert stats.kstest(w / 2**32, "uniform").pvalue > 1e-3
    ones = ((w[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(len(w))


def test_neighbours_steps_layers_and_seeds_are_uncorrelated():
    u = words() / 2**32 - 0.5
    others = [np.roll(u, 1), words(seed=1) / 2**32 - 0.5, words(step=1) / 2**32 - 0.5, words(layer=6) / 2**32 - 0.5]
    for other in others:
        assert abs(np.mean(u * other)) * 12 < 5 / np.sqrt(len(u))


def test_pairs_fill_the_square():
    u = words() / 2**32
    table, _, _ = np.histogram2d(u[::2], u[1::2], bins=16, range=[[0, 1], [0, 1]])
    assert stats.chisquare(table.ravel()).pvalue > 1e-3


def test_probability_and_determinism():
    for p in (0.0, 0.1, 0.5, 1.0):
        drawn = np.asarray(bernoulli(step_key(3, 4), p, (317, 331)))
        assert abs(drawn.mean() - p) < 5 * np.sqrt(max(p * (1 - p), 1e-12) / drawn.size) + 1e-9
        np.testing.assert_array_equal(drawn, bernoulli(step_key(3, 4), p, (317, 331)))


def test_the_hash_is_a_bijection_on_a_sample():
    h = jnp.arange(100_003, dtype=jnp.uint32)
    assert len(np.unique(np.asarray(mixed(h)))) == 100_003


def test_keys_serve_jax_random_too():
    assert jax.random.normal(for_layer(step_key(0, 1), 2), (3,)).shape == (3,)
