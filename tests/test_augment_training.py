"""Augmentation inside the training: the step learns from the changed batch, all else sees the data as they are; mistakes told."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from test_augment import KEY, RNG, rows, run, same

import deltarule as dr
from deltarule.augment import Augmentation, Cutout, Examples, Flip, Map, Mixup, Noise, RandomCrop, Rotate, Scale, Shift
from deltarule.errors import DeltaruleError, DivergenceError, ShapeError
from deltarule.layers.scope import flatten
from deltarule.ops.noise import step_key
from deltarule.spec import from_json, to_json
from deltarule.training import epochs as epochs_module

X, LABELS = rows((6, 6, 1), 60, seed=4), np.random.default_rng(5).integers(0, 3, 60)
STEPS = [Rotate(20), Shift(1), Noise(0.1)]


def network(seed=0, dropout=0.2):
    return dr.Network([dr.Flatten(), dr.Dense(9, "relu"), dr.Dropout(dropout), dr.Dense(3, "softmax")], (6, 6, 1), seed=seed)


def fitted(net=None, **options):
    net = net or network()
    history = net.fit(X, LABELS, **({"epochs": 4, "batch_size": 16, "augment": STEPS, "progress": False} | options))
    return net, history


def test_the_step_learns_from_the_augmented_batch():
    """From zero weights and h = 0 the first step of SGD on 1/2 (h - y)^2 is rate * mean of x y, with the x that was drawn."""
    x, y = rows((5, 4, 1), 12), rows((1,), 12, seed=1)
    net = dr.Network([dr.Flatten(), dr.Dense(1, weights="zeros")], (5, 4, 1), seed=6)
    net.fit(x, y, loss="quadratic", optimizer=dr.SGD(1.0), epochs=1, batch_size=None, augment=STEPS, progress=False)
    from deltarule.training.fit import Settings, noise_seed
    seen = run(tuple(STEPS), x, key=step_key(noise_seed(Settings(1, seed=6)), 0)).reshape(12, -1)
    np.testing.assert_allclose(net.params["dense_1"]["weights"], seen.T @ y / 12, rtol=1e-4, atol=1e-6)


def test_same_seed_same_bits():
    one, two, other = fitted()[0], fitted()[0], fitted(network(seed=1))[0]
    assert same(one.params, two.params)
    assert not same(one.params, other.params)
    assert not same(one.params, fitted(augment=None)[0].params)


def test_resumed_training_is_one_long_training(monkeypatch):
    """Also with dropout, and in segments of one step: what is drawn depends on seed, epoch and step alone."""
    whole, _ = fitted(epochs=5, resume=True)
    parts = network()
    monkeypatch.setattr("deltarule.training.fit.SEGMENT_SECONDS", 1e-9)
    for epochs in (2, 3):
        fitted(parts, epochs=epochs, resume=True)
    assert same(whole.params, parts.params)


def test_the_second_call_compiles_nothing():
    net, _ = fitted()
    before = epochs_module.advance.programs()
    fitted(net)
    fitted(network(seed=1), augment=tuple(STEPS))
    assert epochs_module.advance.programs() == before


def test_curves_are_measured_on_the_data_as_they_are():
    net, history = fitted(validation=(X[:20], LABELS[:20]), keep="last", patience=None)
    for prefix, count in (("", 60), ("val_", 20)):
        measured = net.evaluate(X[:count], LABELS[:count])
        assert history[prefix + "loss"][-1] == pytest.approx(measured["loss"], rel=1e-5)
        assert history[prefix + "accuracy"][-1] == pytest.approx(measured["accuracy"], rel=1e-6)


def test_augmentation_belongs_to_the_training(tmp_path):
    net, _ = fitted()
    assert net.training["augment"] == to_json(STEPS)
    np.testing.assert_array_equal(net.predict(X), net.predict(X))
    net.save(tmp_path / "net.safetensors")
    loaded = dr.load(tmp_path / "net.safetensors")
    assert loaded.layer == net.layer
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert list(from_json(loaded.training["augment"])) == STEPS


def test_a_stream_of_batches_is_augmented_alike():
    batches = [(X[i:i + 16], LABELS[i:i + 16]) for i in range(0, 60, 16)]
    streamed, arrays = network(dropout=0.0), network(dropout=0.0)
    streamed.fit(batches, epochs=3, augment=STEPS, progress=False)
    fitted(arrays, epochs=3, shuffle=False)
    for path, value in flatten(arrays.params).items():
        np.testing.assert_allclose(flatten(streamed.params)[path], value, rtol=1e-4, atol=1e-5)


def test_bytes_and_float64():
    images = RNG.integers(0, 256, (30, 6, 6, 1)).astype(np.uint8)
    net = dr.Network([dr.Flatten(), dr.Dense(3, "softmax")], (6, 6, 1), dtype="float64")
    history = net.fit(images, LABELS[:30], epochs=2, augment=[Rotate(20), RandomCrop(4, 4), Noise(25.0), Cutout(2)], progress=False)
    assert np.isfinite(history["loss"]).all()


def test_recording_and_divergence_see_the_same_batch():
    _, history = fitted(record=dr.Record(1, "loss"), epochs=1)
    _, plain = fitted(record=dr.Record(1, "loss"), epochs=1, augment=None)
    assert history.recording["loss"][""].shape == (4,)
    assert history.recording["loss"][""][0] != plain.recording["loss"][""][0]
    x, y = rows((5, 4, 1), 20), 1e6 * rows((1,), 20)
    with pytest.raises(DivergenceError, match=r"not finite in epoch \d+, step \d+: .*the last good weights were restored"):
        dr.Network([dr.Flatten(), dr.Dense(1)], (5, 4, 1)).fit(x, y, optimizer=dr.SGD(1e9), epochs=20, augment=STEPS, progress=False)


def test_one_of_your_own():
    @dataclasses.dataclass(frozen=True)
    class Longer(Augmentation):
        def __call__(self, examples, key):
            return examples._replace(x=jnp.concatenate([examples.x, examples.x], axis=1))

    with pytest.raises(ShapeError, match=r"augmentation made rows of shape \(12, 6, 1\) out of \(6, 6, 1\); the shape must stay"):
        fitted(augment=Longer())
    with pytest.raises(NotImplementedError, match="Augmentation must define __call__"):
        Augmentation()(Examples(X), KEY)
    with pytest.raises(NotImplementedError, match="Geometric must define map"):
        dr.augment.Geometric().map(KEY, 3, (6, 6))
    turned = Map(jnp.asarray([[[0.0, 1.0], [-1.0, 0.0]]]), jnp.zeros((1, 2)))
    np.testing.assert_array_equal(turned.after(turned).A, -np.eye(2)[None])


# --------------------------------------------------------------------------- mistakes

@pytest.mark.parametrize(("make", "message"), [
    (lambda: Shift(-1), r"Shift expected most to be whole numbers of pixels from 0 on, received -1"),
    (lambda: Shift(1.5), r"Shift expected most to be whole numbers of pixels from 0 on, received 1\.5"),
    (lambda: Shift(1, "mirror"), r"Shift has no border 'mirror'; known: edge, zeros"),
    (lambda: Rotate(200), r"Rotate expected degrees to be a finite number of at least 0 and at most 180, received 200"),
    (lambda: Scale(0.0), r"Scale expected low to be a finite number above 0, received 0\.0"),
    (lambda: Scale(1.2, 1.1), r"Scale expected high to be a finite number of at least 1\.2, received 1\.1"),
    (lambda: Flip(False), r"Flip expected horizontal, vertical or both to be True, received horizontal=False, vertical=False"),
    (lambda: RandomCrop(0, 3), r"RandomCrop expected height to be a whole number of at least 1, received 0"),
    (lambda: Noise(-0.1), r"Noise expected std to be a finite number of at least 0, received -0\.1"),
    (lambda: Cutout(0), r"Cutout expected size to be a whole number of at least 1, received 0"),
    (lambda: Mixup(0), r"Mixup expected alpha to be a finite number above 0, received 0"),
    (lambda: fitted(augment="shift"), r"augment expected augmentations such as \[dr\.augment\.Shift\(2\)\], received 'shift'"),
    (lambda: fitted(augment=[Shift]), r"augment expected augmentations .*received <class '.*Shift'>; write Shift\(\.\.\.\)"),
    (lambda: fitted(augment=[Mixup()]), r"Mixup mixes targets, and class numbers \(integers\) cannot be mixed; .*dr\.data\.one_hot\(y\)"),
    (lambda: fitted(augment=[Unhashable([1])]), r"fields of an augmentation must be numbers, strings or tuples \(.*\); write tuples"),
])
def test_mistakes(make, message):
    with pytest.raises(DeltaruleError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Unhashable(Augmentation):
    values: list


@pytest.mark.parametrize(("step", "shape", "message"), [
    (Shift(1), (36,), r"Shift changes sequences \(steps, channels\) or images .* received rows of shape \(36,\); give the network "
                      r"input_shape=\(height, width, channels\), with Flatten\(\)"),
    (Rotate(), (6, 2), r"Rotate changes images \(height, width, channels\), received rows of shape \(6, 2\)"),
    (RandomCrop(2, 2), (3, 4, 5, 1), r"RandomCrop changes images .* received rows of shape \(3, 4, 5, 1\)"),
    (Flip(vertical=True), (6, 2), r"Flip changes images .* or volumes .* received rows of shape \(6, 2\)"),
    (Cutout(2), (6,), r"Cutout changes sequences .* received rows of shape \(6,\)"),
    (Cutout(7), (6, 5, 1), r"Cutout covers 7 pixels, images of 6 x 5 whole; choose a smaller size"),
    (Shift((1, 2)), (6, 2), r"Shift expected most below the size of each axis of \(6,\), received \(1, 2\)"),
    (Shift(6), (6, 6, 1), r"Shift expected most below the size of each axis of \(6, 6\), received 6"),
    (RandomCrop(7, 3), (6, 6, 1), r"RandomCrop cuts windows of 7 x 3 out of images of 6 x 6; choose smaller ones"),
])
def test_rows_that_do_not_fit_are_refused_before_the_first_step(step, shape, message):
    net = dr.Network([dr.Flatten(), dr.Dense(3, "softmax")] if len(shape) > 1 else [dr.Dense(3, "softmax")], shape)
    with pytest.raises(ShapeError, match=message):
        net.fit(rows(shape), LABELS[:13], epochs=1, augment=step)
    assert net.training == {}


def test_mixup_is_refused_where_the_loss_takes_no_mixtures():
    net = dr.Network([dr.Dense(1, "step")], 5)
    y = (np.arange(13) % 2).astype(float)[:, None]
    with pytest.raises(DeltaruleError, match=r"Mixup mixes targets, which the loss \w+ does not take \(.*\); leave Mixup out"):
        net.fit(rows((5,)), y, epochs=1, augment=Mixup())
