"""Augmentation: every map against SciPy, the statistics of what is drawn, and that only the training batch is changed."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

import deltarule as dr
from deltarule.augment import Augmentation, Cutout, Examples, Flip, Mixup, Noise, RandomCrop, Rotate, Scale, Shift, augmented
from deltarule.errors import DeltaruleError, ShapeError
from deltarule.layers.scope import flatten, path_number
from deltarule.ops.noise import for_layer, step_key
from deltarule.ops.sampling import places, sample
from deltarule.spec import REGISTRY, from_json, to_json

RNG = np.random.default_rng(0)
KEY = step_key(3, 5)
ALL = {     # one of each, with the shape of a row
    Shift: (Shift((2, 1), "edge"), (7, 5, 2)), Rotate: (Rotate(20.0), (7, 5, 2)), Scale: (Scale(0.7, 1.3), (7, 5, 3)),
    Flip: (Flip(vertical=True), (5, 7, 1)), RandomCrop: (RandomCrop(3, 4), (5, 7, 2)), Noise: (Noise(0.3), (11,)),
    Cutout: (Cutout(3), (7, 5, 1)), Mixup: (Mixup(0.4), (5,)),
}
CASES = pytest.mark.parametrize(("step", "shape"), ALL.values(), ids=[cls.__name__ for cls in ALL])


def rows(shape, n=13, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype("float32")


@functools.partial(jax.jit, static_argnames=("steps", "masks"))
def compiled(steps, x, y, key, present, masks):
    found = augmented(steps, Examples(x, y, present=present, masks=masks), key)
    return found.x, found.y


def run(steps, x, y=None, key=KEY, present=None, masks=False):
    steps = steps if isinstance(steps, tuple) else (steps,)
    changed, targets = compiled(steps, x, y, key, present, masks)
    return np.asarray(changed) if y is None else (np.asarray(changed), np.asarray(targets))


def own_key(position, key=KEY):
    return for_layer(key, path_number(f"augment/{position}"))


def by_scipy(x, A, t, order=1, mode="grid-constant"):
    """Each image at p = A o + t, measured from the middle, by SciPy in float64."""
    found = []
    for one, matrix, move in zip(np.asarray(x, float), np.asarray(A, float), np.asarray(t, float), strict=True):
        middle = (np.array(one.shape[:-1]) - 1) / 2
        offset = middle + move - matrix @ middle
        found.append(np.stack([ndimage.affine_transform(one[..., c], matrix, offset, order=order, mode=mode)
                               for c in range(one.shape[-1])], axis=-1))
    return np.stack(found)


def same(one, two):
    one, two = flatten(one), flatten(two)
    return one.keys() == two.keys() and all(np.array_equal(one[path], two[path]) for path in one)


# --------------------------------------------------------------------------- the contract

def test_every_augmentation_is_covered():
    here = {cls for cls in REGISTRY.values() if issubclass(cls, Augmentation) and cls.__module__.startswith("deltarule.")}
    assert here == set(ALL)


@CASES
def test_contract(step, shape):
    """JSON and repr lead back; shape and dtype stay; the same key gives the same bits, another key others; jit = eager."""
    assert from_json(json.loads(json.dumps(to_json(step)))) == step
    assert eval(repr(step), vars(dr.augment).copy()) == step
    x = rows(shape)
    y = np.eye(13, dtype="float32")
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            first, _ = run(step, x.astype(dtype), y.astype(dtype))
            assert first.shape == x.shape
            assert first.dtype == dtype
            np.testing.assert_array_equal(first, run(step, x.astype(dtype), y.astype(dtype))[0])
            eager = augmented((step,), Examples(jnp.asarray(x, dtype), jnp.asarray(y, dtype)), KEY).x
            np.testing.assert_allclose(first, eager, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(run(step, x, y)[0], run(step, x, y, step_key(3, 6))[0])
    assert not np.array_equal(run(step, x, y)[0], run(step, x, y, step_key(4, 5))[0])


@CASES
def test_examples_are_changed_independently(step, shape):
    """Thirteen times the same row: not all come out alike (mixing equal rows changes nothing)."""
    if isinstance(step, Mixup):
        return
    x = np.repeat(rows(shape, 1), 13, axis=0)
    assert len(np.unique(run(step, x).reshape(13, -1).round(4), axis=0)) > 2


# --------------------------------------------------------------------------- places and samples

sampled = jax.jit(sample, static_argnames=("border", "nearest"))


@given(st.sampled_from([(7,), (5, 6), (1, 4), (3, 2, 4)]), st.integers(0, 10_000), st.sampled_from(["zeros", "edge"]))
def test_samples_are_scipys(space, seed, border):
    rng, axes = np.random.default_rng(seed), len(space)
    x = rng.normal(size=(2, *space, 3)).astype("float32")
    A = (np.eye(axes) + 0.4 * rng.normal(size=(2, axes, axes))).astype("float32")
    t = (1.5 * rng.normal(size=(2, axes))).astype("float32")
    p = places(jnp.asarray(A), jnp.asarray(t), x.shape[1:-1])
    mode = {"zeros": "grid-constant", "edge": "nearest"}[border]
    np.testing.assert_allclose(sampled(jnp.asarray(x), p, border), by_scipy(x, A, t, mode=mode), atol=2e-5)
    off_ties = np.abs(np.asarray(p) - np.floor(p) - 0.5).min(axis=-1) > 1e-4      # half way between two pixels either will do
    nearest = np.asarray(sampled(jnp.asarray(x), p, border, nearest=True))
    np.testing.assert_allclose(nearest[off_ties], by_scipy(x, A, t, order=0, mode=mode)[off_ties], atol=1e-6)


def test_rotation_is_scipys_and_uniform():
    x = rows((9, 8, 1), 400)
    found = Rotate(25).map(own_key(0), 400, (9, 8))
    angles = np.degrees(np.arctan2(found.A[:, 0, 1], found.A[:, 0, 0]))
    rotated = run(Rotate(25), x)
    for i in range(5):
        expected = ndimage.rotate(x[i, ..., 0], angles[i], reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(rotated[i, ..., 0], expected, atol=1e-4)
    assert stats.kstest(angles, "uniform", (-25, 50)).pvalue > 1e-3


def test_scale_is_scipys_and_uniform():
    x = rows((7, 9, 2), 400)
    found = Scale(0.5, 2.0).map(own_key(0), 400, (7, 9))
    np.testing.assert_array_equal(found.t, 0)
    factors = 1 / np.asarray(found.A)[:, 0, 0]
    np.testing.assert_allclose(run(Scale(0.5, 2.0, "edge"), x), by_scipy(x, np.eye(2)[None] / factors[:, None, None], np.zeros((400, 2)),
                                                                         mode="nearest"), atol=1e-4)
    assert stats.kstest(factors, "uniform", (0.5, 1.5)).pvalue > 1e-3
    assert run(Scale(), rows((11, 2))).shape == (13, 11, 2)     # sequences


@pytest.mark.parametrize("border", ["zeros", "edge"])
def test_shifts_are_whole_exact_and_even(border):
    x = rows((6, 7, 2), 1000)
    moved = run(Shift((1, 2), border), x)
    mode = {"zeros": "constant", "edge": "nearest"}[border]
    options = {(i, j): ndimage.shift(x, (0, i, j, 0), order=0, mode=mode) for i in (-1, 0, 1) for j in (-2, -1, 0, 1, 2)}
    counts = [np.sum(np.all(moved == option, axis=(1, 2, 3))) for option in options.values()]
    assert sum(counts) == 1000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_shifts_of_sequences_and_volumes():
    x = rows((6, 2), 50)
    options = [ndimage.shift(x, (0, i, 0), order=0) for i in (-1, 0, 1)]
    assert np.all(np.any([np.all(run(Shift(1), x) == option, axis=(1, 2)) for option in options], axis=0))
    assert run(Shift(1), rows((3, 4, 5, 2))).shape == (13, 3, 4, 5, 2)


def test_shift_and_flip_are_the_same_by_their_maps():
    """The window and the mirror image against the general sampler, which meets whole places exactly."""
    x = jnp.asarray(rows((6, 7, 2)))
    for step in (Shift(3), Shift((2, 0), "edge"), Flip(vertical=True)):
        found = step.map(own_key(0), 13, (6, 7))
        np.testing.assert_array_equal(run(step, x), sample(x, places(*found, (6, 7)), step.border or "zeros"))


def test_half_are_flipped():
    x = rows((3, 5, 1), 2000)
    flipped = run(Flip(), x)
    there, back = np.all(flipped == x, axis=(1, 2, 3)), np.all(flipped == x[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(there ^ back)
    assert abs(back.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    upside = run(Flip(False, True), x)
    assert np.all(np.all(upside == x, axis=(1, 2, 3)) ^ np.all(upside == x[:, ::-1], axis=(1, 2, 3)))
    both = run(Flip(vertical=True), x)
    kinds = [np.mean(np.all(both == option, axis=(1, 2, 3))) for option in (x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1])]
    np.testing.assert_allclose(kinds, 0.25, atol=0.06)
    backwards = run(Flip(), rows((4, 2)))
    assert np.all(np.all(backwards == rows((4, 2)), axis=(1, 2)) ^ np.all(backwards == rows((4, 2))[:, ::-1], axis=(1, 2)))


def test_crops_are_enlarged_windows():
    """p = s + (o + 1/2) height / H - 1/2 with s whole, counted from the corner, by SciPy."""
    x = rows((6, 8, 2), 300)
    found = RandomCrop(3, 6).map(own_key(0), 300, (6, 8))
    s = np.asarray(found.t) + np.array([(6 - 3) / 2, (8 - 6) / 2])
    assert {tuple(row) for row in s.tolist()} == {(i, j) for i in range(4) for j in range(3)}
    cropped = run(RandomCrop(3, 6), x)
    for i in range(10):
        corner = s[i] + [0.5 * 3 / 6 - 0.5, 0.5 * 6 / 8 - 0.5]
        expected = np.stack([ndimage.affine_transform(x[i, ..., c].astype(float), [3 / 6, 6 / 8], corner, order=1, mode="nearest")
                             for c in range(2)], axis=-1)
        np.testing.assert_allclose(cropped[i], expected, atol=1e-5)
    np.testing.assert_array_equal(run(RandomCrop(6, 8), x), x)


def test_neighbouring_maps_are_one_map():
    """Sampled once: p = A_1 (A_2 (A_3 o + t_3) + t_2) + t_1; noise between them ends a run."""
    x = rows((9, 8, 1))
    steps = (Rotate(40), Shift(2), Flip(), Scale(0.8, 1.2))
    A, t = np.eye(2)[None], np.zeros((13, 2))
    for i, step in enumerate(steps):
        found = step.map(own_key(i), 13, (9, 8))
        t = np.einsum("nab,nb->na", np.broadcast_to(A, (13, 2, 2)), found.t) + t
        A = A @ np.asarray(found.A, float)
    np.testing.assert_allclose(run(steps, x), by_scipy(x, A, t), atol=1e-4)
    apart = run((Rotate(40), Noise(0.0), Scale(0.8, 1.2)), x)
    maps = [step.map(own_key(i), 13, (9, 8)) for i, step in ((0, Rotate(40)), (2, Scale(0.8, 1.2)))]
    np.testing.assert_allclose(apart, by_scipy(by_scipy(x, *maps[0]), *maps[1]), atol=1e-4)
    borders = (Rotate(40, "edge"), Scale(0.8, 1.2))
    maps = [step.map(own_key(i), 13, (9, 8)) for i, step in enumerate(borders)]
    np.testing.assert_allclose(run(borders, x), by_scipy(by_scipy(x, *maps[0], mode="nearest"), *maps[1]), atol=1e-4)


def test_exact_neighbours_stay_exact():
    x = rows((6, 7, 1))
    first = Shift(2).map(own_key(0), 13, (6, 7))
    moved = by_scipy(x, *first, order=0)
    flipped = np.asarray(Flip().map(own_key(1), 13, (6, 7)).A)[:, 1, 1] < 0
    np.testing.assert_array_equal(run((Shift(2), Flip()), x), np.where(flipped[:, None, None, None], moved[:, :, ::-1], moved))


def test_a_later_augmentation_does_not_shift_an_earlier_one():
    x = rows((6, 7, 1))
    np.testing.assert_array_equal(run((Shift(2), Noise(0.0)), x), run(Shift(2), x))
    assert not np.array_equal(run((Noise(0.0), Shift(2)), x), run(Shift(2), x))


# --------------------------------------------------------------------------- values

def test_noise_is_normal():
    x = np.full((50, 400), 7, "float32")
    e = (run(Noise(0.5), x) - x) / 0.5
    assert stats.kstest(e.ravel(), "norm").pvalue > 1e-3
    assert abs(np.mean(e[1:] * e[:-1])) < 5 / np.sqrt(e.size)
    np.testing.assert_array_equal(run(Noise(0.0), x), x)


@pytest.mark.parametrize("size", [2, 3])
def test_cutout_is_a_square_around_an_even_middle(size):
    x = np.ones((4000, 5, 7, 2), "float32")
    hidden = run(Cutout(size), x)[..., 0] == 0
    options = {}
    for i in range(5):
        for j in range(7):
            square = np.zeros((5, 7), bool)
            square[max(0, i - size // 2):i - size // 2 + size, max(0, j - size // 2):j - size // 2 + size] = True
            options[square.tobytes()] = options.get(square.tobytes(), 0) + 1
    seen = {}
    for one in hidden:
        seen[one.tobytes()] = seen.get(one.tobytes(), 0) + 1
    assert set(seen) <= set(options)
    counts = [seen.get(square, 0) for square in options]
    assert stats.chisquare(counts, np.array(list(options.values())) * 4000 / 35).pvalue > 1e-3
    assert run(Cutout(2), rows((9, 2))).shape == (13, 9, 2)


def test_mixup_mixes_inputs_and_targets_alike():
    """One-hot rows as inputs show who was mixed with whom and by how much."""
    n = 500
    x = np.eye(n, dtype="float32")
    mixed, y = run(Mixup(0.4), x, x.copy())
    np.testing.assert_array_equal(mixed, y)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    own = np.diag(mixed)
    other = np.where(np.eye(n) > 0, -1, mixed).argmax(axis=1)
    apart = (own < 1)
    assert stats.kstest(own[apart], stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(other[apart & (own < 0.99)] / n, "uniform").pvalue > 1e-3


def test_rows_that_only_fill_the_batch_up_are_not_mixed_in():
    x = np.eye(8, dtype="float32")
    for step in range(30):
        mixed, _ = run(Mixup(1.0), x, x, key=step_key(0, step), present=5.0)
        np.testing.assert_array_equal(mixed[:5, 5:], 0)
        np.testing.assert_allclose(mixed[:5].sum(axis=1), 1, atol=1e-6)


# --------------------------------------------------------------------------- masks

@pytest.mark.parametrize("steps", [(Shift(2),), (Flip(vertical=True),), (Rotate(60), Shift(1), Scale(0.8, 1.2)), (RandomCrop(4, 5),)])
def test_masks_move_with_their_images(steps):
    x = rows((7, 9, 1))
    classes = RNG.integers(0, 4, (13, 7, 9)).astype("int32")
    as_image = run(steps, x, classes, masks=True)
    np.testing.assert_array_equal(as_image[0], run(steps, x))
    one_hot = np.eye(4, dtype="float32")[classes]
    moved = run(steps, x, one_hot, masks=True)[1]
    inside = moved.sum(axis=-1) > 0
    np.testing.assert_array_equal(moved.argmax(axis=-1)[inside], as_image[1][inside])
    np.testing.assert_array_equal(as_image[1][~inside], 0)      # class 0 outside; one-hot: no class, which does not count
    A, t = np.eye(2)[None], np.zeros((13, 2))
    for i, step in enumerate(steps):
        found = step.map(own_key(i), 13, (7, 9))
        t, A = np.einsum("nab,nb->na", np.broadcast_to(A, (13, 2, 2)), found.t) + t, A @ np.asarray(found.A, float)
    mode = "nearest" if isinstance(steps[0], RandomCrop) else "grid-constant"
    expected = by_scipy(classes[..., None], A, t, order=0, mode=mode)[..., 0]
    assert np.mean(as_image[1] == expected) > (0.995 if len(steps) > 1 or mode == "nearest" else 1 - 1e-9)   # but for ties
    np.testing.assert_array_equal(run(steps, x, classes, masks=False)[1], classes)


def test_masks_in_training_move():
    """A network of one weight, h = w x, learns w = 1 from targets that are the images: only if both move together is the loss zero."""
    x = rows((6, 7, 1), 20)
    net = dr.Network([dr.Conv2D(1, 1, weights="ones")], (6, 7, 1))
    net.fit(x, x, loss="mse", optimizer=dr.SGD(0.1), epochs=2, batch_size=5, augment=[Shift(3), Flip()], progress=False)
    np.testing.assert_allclose(net.params["conv2d_1"]["weights"], 1, atol=1e-6)


def test_the_figure_shows_original_and_variants():
    images = np.random.default_rng(0).uniform(size=(2, 9, 7)).astype("float32")
    fig = dr.figures.augmented(images, [Shift(2), Noise(3.0)], seed=1, variants=3)
    drawn = [ax.images[0].get_array() for ax in fig.axes[:8]]
    np.testing.assert_array_equal(drawn[0], images[0])
    np.testing.assert_array_equal(drawn[4], images[1])
    changed = augmented((Shift(2), Noise(3.0)), Examples(jnp.asarray(images[..., None])), step_key(1, 1)).x
    np.testing.assert_array_equal(drawn[2], np.clip(changed, images.min(), images.max())[0, ..., 0])
    assert [ax.get_title() for ax in fig.axes[:4]] == ["original", "step 1", "step 2", "step 3"]
    colours = dr.figures.augmented(np.full((1, 5, 5, 3), 51, np.uint8), Flip(), variants=1)
    np.testing.assert_allclose(colours.axes[1].images[0].get_array(), 0.2, rtol=1e-6)
    with pytest.raises(ShapeError, match=r"augmented expected images of shape .* received \(3, 64\)"):
        dr.figures.augmented(np.zeros((3, 64)), Flip())
    with pytest.raises(DeltaruleError, match=r"variants expected a whole number from 1 on, received 0"):
        dr.figures.augmented(images, Flip(), variants=0)
