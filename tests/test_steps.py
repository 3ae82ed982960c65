"""What a network sees of sequences: every number against NumPy on single sequences, and that padding never matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltarule as dr
from deltarule import automatic
from deltarule.data import Preprocessor, Sequences
from deltarule.errors import DataError, DeltaruleError, ModelFileError, ShapeError


def some(n=7, channels=2, seed=0, longest=9):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, n)
    times = tuple(np.cumsum(rng.exponential(2, length)) for length in lengths)
    return Sequences(times, tuple(rng.normal(5, 3, (length, channels)) for length in lengths), np.arange(n) % 2, ("a", "b"),
                     value_names=tuple("uvw"[:channels]), names=tuple(f"s{i}" for i in range(n)))


@given(st.integers(1, 3), st.integers(0, 20))
def test_every_number_is_what_it_says(channels, seed):
    sequences = some(channels=channels, seed=seed)
    x = sequences.padded()
    pre = Preprocessor.fit(x, channels=sequences.channels)
    seen = pre.transform(x, "float64")
    assert seen.shape == (7, x.shape[1], 2 * channels + 2) == (7, *pre.output_shape)
    gaps = np.concatenate([np.diff(times) for times in sequences.times])
    median = np.median(gaps) if gaps.size else 1.0
    logs = np.log1p(gaps / median)
    levels = np.array([values.mean(axis=0) for values in sequences.values])
    rest = np.concatenate([values - values.mean(axis=0) for values in sequences.values])
    for i, (times, values) in enumerate(zip(sequences.times, sequences.values, strict=True)):
        steps = len(times)
        if gaps.size > 1:
            np.testing.assert_allclose(seen[i, :steps, 0], (np.log1p(np.diff(times, prepend=times[0]) / median) - logs.mean()) / logs.std())
            np.testing.assert_allclose(seen[i, :steps, 1:-1:2], (values - values.mean(axis=0)) / rest.std(axis=0), atol=1e-12)
        np.testing.assert_allclose(seen[i, :steps, 2:-1:2], np.tile((levels[i] - levels.mean(axis=0)) / levels.std(axis=0), (steps, 1)))
        assert np.all(seen[i, :steps, -1] == 1)
        assert not seen[i, steps:].any()


def test_more_padding_changes_nothing():
    sequences = some()
    pre = Preprocessor.fit(sequences.padded(), channels=sequences.channels)
    wide = Preprocessor.fit(sequences.padded(20), channels=sequences.channels)
    assert pre.columns == wide.columns
    np.testing.assert_array_equal(pre.transform(sequences.padded()), wide.transform(sequences.padded(20))[:, :pre.shape[0]])


def test_sequences_go_in_as_they_are_and_longer_ones_are_cut_and_noted():
    sequences = some(longest=6)
    pre = Preprocessor.fit(sequences.padded(6), channels=sequences.channels)
    assert Preprocessor.from_json(pre.to_json()) == pre
    seen, notes = pre.transform_with_notes(sequences)
    np.testing.assert_array_equal(seen, pre.transform(sequences.padded(6)))
    assert notes == []
    longer = some(n=3, seed=3, longest=12)
    seen, notes = pre.transform_with_notes(longer)
    assert seen.shape == (3, 6, 6)
    cut = [name for name, length in zip(longer.names, longer.lengths, strict=True) if length > 6]
    assert cut
    assert notes[0].startswith(f"{len(cut)} of 3 sequences have more than 6 steps; only the first 6 are looked at: '{cut[0]}'")


@pytest.mark.parametrize(("given", "expected"), [
    ({}, ["Masked", "GRU", "Dense"]), ({"filters": (8, 8)}, ["Conv1D", "MaxPool1D", "Conv1D"]),
    ({"recurrent": (6, 5)}, ["Masked", "GRU", "GRU"]), ({"recurrent": (), "hidden": (4,)}, ["Flatten", "Dense", "Dense"]),
])
def test_a_model_of_sequences_is_trained_saved_and_used(given, expected, tmp_path):
    sequences = some(n=60)
    model, _ = dr.Model.train(sequences.dataset(), epochs=2, progress=False, **given)
    kinds = [type(layer).__name__ for layer in model.network.layer.layers]
    assert kinds[:3] == expected
    model.save(tmp_path / "model.safetensors")
    again = dr.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(model.predict(sequences), again.predict(sequences))
    assert set(again.predict(sequences)) <= {"a", "b"}


def test_long_sequences_are_read_by_convolutions():
    problem = automatic.Problem(500, (600, 4), classes=3, sequences=True)
    choices = automatic.choose(problem)
    assert (choices.filters, choices.recurrent, choices.hidden) == ((32, 64, 64), (), (64,))
    assert automatic.choose(problem, recurrent=(16,)).filters == ()
    kinds = [type(layer).__name__ for layer in automatic.build(problem, choices).layer.layers]
    assert kinds == ["Conv1D", "MaxPool1D", "Conv1D", "MaxPool1D", "Conv1D", "GlobalMaxPool", "Dense", "Dropout", "Dense"]


PRE = Preprocessor.fit(some().padded(9), channels=some().channels)


@pytest.mark.parametrize(("make", "kind", "message"), [
    (lambda: Preprocessor.fit(np.full((2, 3, 3), 0.5), channels=("t", "v", "there")), DataError,
     r"the last channel of sequences says with 1 and"),
    (lambda: Preprocessor.fit(np.zeros((2, 3, 3)), channels=("t", "v", "there")), DataError, r"sequence 0 has no step"),
    (lambda: PRE.transform(np.zeros((2, 3, 4))), ShapeError, r"x has shape \(2, 3, 4\), expected \(n, 9, 4\) as in training"),
    (lambda: PRE.transform(some(channels=1)), ShapeError, r"x has shape \(7, 9, 3\), expected \(n, 9, 4\) as in training"),
    (lambda: Preprocessor.from_json({**PRE.to_json(), "shape": [9, 5]}), ModelFileError, r"the preprocessing of the model file is damaged"),
    (lambda: dr.Model.train(some(60).dataset(), recurrent=(0,)), DeltaruleError, r"recurrent expected whole numbers of units from 1 on"),
    (lambda: dr.Model.train(some(60).dataset(), recurrent=(3,), filters=(3,)), DeltaruleError, r"recurrent and filters exclude one"),
    (lambda: dr.Model.train(dr.data.iris(), recurrent=(3,)), DeltaruleError,
     r"recurrent expected sequences, received rows of shape \(4,\)"),
])
def test_mistakes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
