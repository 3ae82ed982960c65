"""Training rows and weights where they lie, and the memory that goes back to the system."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import deltarule as dr
from deltarule import kernels
from deltarule.ops.sharing import LINE, Lent, Shared, aligned, shared
from deltarule.training import fit

needs_kernels = pytest.mark.skipif(not kernels.kernels().ready, reason="no C++ compiler here")


def placed_at(offset, x):
    """A copy of x that begins `offset` bytes behind a line."""
    memory = np.zeros(x.nbytes + 2 * LINE, np.uint8)
    begin = -memory.ctypes.data % LINE + offset
    copy = memory[begin:begin + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
@pytest.mark.parametrize("offset", [0, 8, 16, 56])
def test_rows_are_those_of_the_array_wherever_it_begins(dtype, offset):
    x = placed_at(offset, np.arange(7 * 3 * 5).reshape(7, 3, 5).astype(dtype))
    rows, which = shared(x), np.array([6, 0, 0, 3], np.int32)
    assert isinstance(rows, Shared)
    assert rows.lead * x.itemsize == offset
    assert np.shares_memory(rows.values, x)
    with dr.ops.compiling.precision(dtype):
        np.testing.assert_array_equal(rows.at(which), x[which])
        np.testing.assert_array_equal(rows.at(np.array([-1, 7], np.int32)), x[[0, 6]])     # as mode="clip" does


@needs_kernels
def test_many_rows_are_shared_among_threads():
    x = np.random.default_rng(0).standard_normal((300, 41, 67), np.float32)
    which = np.random.default_rng(1).integers(0, 300, 501).astype(np.int32)
    np.testing.assert_array_equal(shared(x).at(which), x[which])


def test_arrays_with_gaps_are_not_shared():
    x = np.zeros((6, 4, 2), np.float32)
    assert shared(x[::2]).shape == (3, 4, 2)
    assert not isinstance(shared(x[::2]), Shared)
    assert not isinstance(shared(np.swapaxes(x, 1, 2)), Shared)


def test_training_does_not_depend_on_where_the_rows_lie():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((90, 6, 6, 1), np.float32), rng.integers(0, 3, 90)
    gaps = np.zeros((180, 6, 6, 1), np.float32)
    gaps[::2] = x
    learnt = []
    for given in (placed_at(0, x), placed_at(16, x), gaps[::2]):
        net = dr.Network([dr.Conv2D(3, 3, "relu"), dr.Flatten(), dr.Dense(3, "softmax")], input_shape=(6, 6, 1), seed=0)
        net.fit(given, y, epochs=2, progress=False)
        learnt.append(net.params["dense_1"]["weights"])
    np.testing.assert_array_equal(learnt[0], learnt[1])
    np.testing.assert_array_equal(learnt[0], learnt[2])


def test_many_rows_without_space_are_shared_too(monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((90, 7), np.float32), np.arange(90) % 3
    learnt = []
    for large in (x.nbytes, x.nbytes + 1):      # bytes from which on they are
        monkeypatch.setattr(fit, "LARGE", large)
        assert isinstance(fit.placed(x), Shared) == (large == x.nbytes and kernels.kernels(*kernels.DENSE).ready)
        net = dr.Network([dr.Dense(5, "relu"), dr.Dense(3, "softmax")], input_shape=7, seed=0)
        net.fit(x, y, epochs=2, progress=False)
        learnt.append(net.params["dense_1"]["weights"])
    np.testing.assert_array_equal(*learnt)


@pytest.mark.parametrize("batch_size", [32, None])
def test_rows_are_not_held_after_the_training(batch_size):
    x = np.random.default_rng(0).standard_normal((90, 6, 6, 1), np.float32)
    net = dr.Network([dr.Conv2D(3, 3, "relu"), dr.Flatten(), dr.Dense(3, "softmax")], input_shape=(6, 6, 1), seed=0)
    net.fit(x, np.arange(90) % 3, epochs=1, batch_size=batch_size, progress=False)
    held = weakref.ref(x)
    del x
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("twin_of", [lambda net: net, copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
                         ids=["itself", "copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_weight_changed_in_place_is_seen_by_the_next_prediction(dtype, twin_of):
    """So is one that was replaced, at a line of memory or elsewhere; and a copy of the network reads its own weights."""
    x = np.random.default_rng(0).normal(size=(1, 5))
    net = dr.Network([dr.Dense(7, "tanh"), dr.Dense(3)], 5, seed=2, dtype=dtype)
    net.predict(x)
    net = twin_of(net)

    def textbook():
        first, second = net.params["dense_1"], net.params["dense_2"]
        return np.tanh(x @ first["weights"] + first["bias"]) @ second["weights"] + second["bias"]

    for change in (lambda layer: layer["weights"].__setitem__((2, 1), 3.0), lambda layer: layer["bias"].__iadd__(1.0),
                   lambda layer: layer.update(weights=placed_at(16, 2 * layer["weights"])), lambda layer: layer["weights"].fill(0.25),
                   lambda layer: layer.update(weights=aligned(-layer["weights"])), lambda layer: layer["weights"].__imul__(3.0)):
        for layer in ("dense_1", "dense_2"):
            change(net.params[layer])
            np.testing.assert_allclose(net.predict(x), textbook(), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(net.trace(x).output, textbook(), rtol=1e-5, atol=1e-6)


def test_a_trace_keeps_its_numbers_when_the_weights_change():
    net = dr.Network([dr.Dense(700, "relu"), dr.Dense(700, "relu"), dr.Dense(3)], 500, seed=2)
    x = np.random.default_rng(0).normal(size=(64, 500))
    expected, seen = net.predict(x), net.trace(x)
    for layer in net.params.values():
        layer["weights"].fill(0)
    np.testing.assert_allclose(seen.output, expected, rtol=1e-4, atol=1e-5)


def test_weights_begin_at_a_line_and_are_lent_once(tmp_path):
    """The first ones, those that were learnt and those of a file: no program copies them."""
    net = dr.Network([dr.Dense(7, "tanh"), dr.Dense(3)], 5)
    learnt = dr.Network([dr.Dense(7, "tanh"), dr.Dense(3)], 5)
    learnt.fit(np.ones((4, 5)), np.ones((4, 3)), epochs=1, progress=False)
    net.save(tmp_path / "net.safetensors")
    for one in (net, learnt, dr.load(tmp_path / "net.safetensors")):
        lent = Lent()
        (first,), (second,) = lent(one.params), lent(one.params)
        for name, layer in one.params.items():
            for which, array in layer.items():
                assert first[name][which] is second[name][which]
                assert first[name][which].unsafe_buffer_pointer() == array.ctypes.data
                assert array.flags.writeable
