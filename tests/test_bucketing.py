"""Buckets of similar length: the ends against every other choice, what is saved, and that a network learns from them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltarule as dr
from deltarule.data import buckets
from deltarule.data.bucketing import best_ends
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.training.epochs import advance


def padded_to(lengths, ends):
    return int(np.array(ends)[np.searchsorted(ends, lengths)].sum())


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 4))
def test_no_other_ends_pad_less(lengths, count):
    lengths = np.array(lengths)
    ends = best_ends(lengths, count)
    assert len(ends) <= count
    assert list(ends) == sorted(set(ends))
    assert ends[-1] == lengths.max()
    others = [sorted({*chosen, int(lengths.max())}) for size in range(count) for chosen in combinations(np.unique(lengths).tolist(), size)]
    assert padded_to(lengths, ends) == min(padded_to(lengths, other) for other in others)


def test_ends_of_many_lengths_are_nearly_the_best():
    lengths = np.random.default_rng(0).integers(1, 5000, 20000)
    ends = best_ends(lengths, 4)
    even = tuple(np.quantile(lengths, [0.25, 0.5, 0.75, 1], method="higher"))
    assert padded_to(lengths, ends) <= 1.001 * padded_to(lengths, even)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 7), st.integers(1, 4))
def test_every_sequence_comes_once_in_an_epoch_whole(lengths, batch_size, count):
    lengths = np.array(lengths)
    x = np.where(np.arange(9) < lengths[:, None], 1 + np.arange(len(lengths))[:, None], 0)
    batches = buckets(x, np.arange(len(lengths)), lengths, batch_size=batch_size, count=count)
    for _ in range(2):
        made = list(batches)
        assert len(made) == len(batches)
        assert sorted(np.concatenate([y for _, y in made])) == list(range(len(lengths)))
        assert max(len(y) for _, y in made) == len(made[0][1]) <= batch_size
        assert {part.shape[1] for part, _ in made} <= set(batches.ends)
        for part, y in made:
            np.testing.assert_array_equal((part > 0).sum(axis=1), lengths[y])
    steps = sum(part.size for part, _ in made)
    assert batches.padding == pytest.approx(1 - lengths.sum() / steps)


def test_light_curves_waste_a_quarter_of_the_steps_that_they_did():
    stars = dr.data.light_curves(500)
    x, lengths = stars.padded(), stars.lengths
    alone, four = (buckets(x, stars.y, lengths, count=count).padding for count in (1, 4))
    assert alone > 0.3
    assert four < 0.3 * alone


def test_orders_come_from_the_seed_and_differ_from_epoch_to_epoch():
    x, y, lengths = np.ones((40, 5)), np.arange(40), np.tile([2, 5], 20)

    def order(seed, epochs):
        batches = buckets(x, y, lengths, batch_size=8, count=2, seed=seed)
        return [np.concatenate([part for _, part in batches]).tolist() for _ in range(epochs)]

    one = order(0, 2)
    assert one == order(0, 2)
    assert one[0] != one[1]
    assert one[0] != order(1, 1)[0]


def sums(n=400, longest=12, seed=0):
    """Sequences of numbers, and whether their sum is above 0."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, n)
    x = rng.normal(size=(n, longest, 1)).astype("float32") * (np.arange(longest) < lengths[:, None])[..., None]
    return x, (x[:, :, 0].sum(axis=1) > 0).astype("float32")[:, None], lengths


def test_a_network_learns_from_buckets_with_one_program_for_each():
    x, y, lengths = sums()
    net = dr.Network([dr.Masked(), dr.GRU(8), dr.Dense(1, "sigmoid")], input_shape=(12, 1))
    before = advance.programs()
    net.fit(buckets(x, y, lengths, batch_size=40, count=3), epochs=15, optimizer=dr.Adam(0.02), validation=sums(seed=1)[:2], progress=False)
    assert advance.programs() - before <= 3
    assert net.evaluate(*sums(seed=2)[:2])["accuracy"] > 0.93


def test_buckets_give_the_gradients_of_the_padded_rows():
    """One step of plain descent: what is padded less comes to the same weights."""
    x, y, lengths = sums(20, longest=9)
    wide = np.concatenate([x, np.zeros((20, 3, 1), "float32")], axis=1)
    nets = [dr.Network([dr.Masked(), dr.LSTM(3), dr.Dense(1, "sigmoid")], input_shape=(12, 1), dtype="float64") for _ in range(2)]
    nets[0].fit([(wide, y)], optimizer="sgd", epochs=1, progress=False)
    nets[1].fit(buckets(wide, y, lengths, count=1), optimizer="sgd", epochs=1, progress=False)
    first = dr.Network(nets[0].layer, (12, 1), dtype="float64").params
    for layer in ("lstm_1", "dense_1"):
        np.testing.assert_allclose(nets[0].params[layer]["weights"], nets[1].params[layer]["weights"], rtol=1e-9)
        assert not np.array_equal(nets[0].params[layer]["weights"], first[layer]["weights"])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 4), st.sampled_from([(), (2,)]))
def test_targets_of_every_step_are_cut_with_their_sequences(lengths, count, features):
    """Every step comes with its own target, and no target is lost."""
    lengths = np.array(lengths)
    x = (1 + np.arange(9 * len(lengths)).reshape(-1, 9)) * (np.arange(9) < lengths[:, None])
    y = np.broadcast_to(10 * x[(..., *[None] * len(features))], (*x.shape, *features))
    made = list(buckets(x, y, lengths, batch_size=3, count=count))
    for part, target in made:
        np.testing.assert_array_equal(target, np.broadcast_to(10 * part[(..., *[None] * len(features))], (*part.shape, *features)))
    assert sum((part > 0).sum() for part, _ in made) == lengths.sum()


def test_targets_of_whole_sequences_that_have_as_many_numbers_as_steps():
    x, y = np.ones((4, 5)), np.eye(5)[:4]
    lengths = [2, 2, 5, 5]
    assert sorted(target.shape for _, target in buckets(x, y, lengths, count=2)) == [(2, 2), (2, 5)]
    whole = list(buckets(x, y, lengths, count=2, per_step=False))
    np.testing.assert_array_equal(sorted(np.concatenate([target for _, target in whole]).tolist()), sorted(y.tolist()))


def test_buckets_with_targets_of_every_step_give_the_gradients_of_the_padded_rows():
    """A step of plain descent in each bucket, against the same rows as they were filled up: padding counts in neither."""
    x, _, lengths = sums(20, longest=9)
    y = np.cumsum(x, axis=1)
    batches = buckets(x, y, lengths, batch_size=20, count=2)
    made = [dr.Network([dr.Masked(), dr.GRU(3, return_sequences=True), dr.Dense(1)], (9, 1), dtype="float64") for _ in range(2)]
    cut, order = list(batches), list(buckets(x, np.arange(20), lengths, batch_size=20, count=2))
    assert len({part.shape[1] for part, _ in cut}) == 2
    made[0].fit(cut, optimizer="sgd", epochs=1, loss="mse", progress=False)
    made[1].fit([(x[rows], y[rows]) for _, rows in order], optimizer="sgd", epochs=1, loss="mse", progress=False)
    for layer in ("gru_1", "dense_1"):
        np.testing.assert_allclose(made[0].params[layer]["weights"], made[1].params[layer]["weights"], rtol=1e-7)


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: buckets(np.ones((0, 4)), np.ones(0), np.ones(0)), DataError,
     r"buckets expected at least one sequence of at least one step, received x of shape \(0, 4\)"),
    (lambda: buckets(np.ones((3, 4)), np.ones((3, 5)), [1, 2, 3], per_step=True), ShapeError,
     r"per_step=True expected a target for every step, y \(n, 4, \.\.\.\), received \(3, 5\)"),
    (lambda: dr.Network([dr.GRU(3, return_sequences=True), dr.Dense(1)], input_shape=(4, 1)).fit(
        buckets(np.ones((3, 4, 1)), np.ones((3, 1)), [2, 2, 2])), ShapeError,
     r"squared_error compares targets and outputs one to one: targets have shape \(n, 1\), outputs \(n, 2, 1\)"),
    (lambda: buckets(np.ones((3, 4)), np.ones(2), [1, 2, 3]), ShapeError,
     r"buckets expected x \(n, steps\) .*, received \(3, 4\), \(2,\) and \(3,\)"),
    (lambda: buckets(np.ones((3, 4)), np.ones(3), [1, 5, 3]), DataError,
     r"sequence 1 has the length 5, expected a whole number from 1 to 4"),
    (lambda: buckets(np.ones((3, 4)), np.ones(3), [1, 0, 3]), DataError, r"sequence 1 has the length 0, expected"),
    (lambda: buckets(np.ones((3, 4)), np.ones(3), [1, 2, 3], count=0), DeltaruleError, r"count expected a whole number of at least 1"),
    (lambda: buckets(np.ones((3, 4)), np.ones(3), [1, 2, 3], batch_size=0), DeltaruleError, r"batch_size expected a whole number of at"),
    (lambda: dr.Network([dr.Flatten(), dr.Dense(1)], input_shape=(4, 1)).fit(buckets(np.ones((3, 4, 1)), np.ones((3, 1)), [2, 2, 2])),
     ShapeError, r"x has shape \(3, 2, 1\), the network expects \(n, 4, 1\)"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
