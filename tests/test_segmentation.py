"""Classes of pixels, losses of overlap, instances and their matching, micrographs: against NumPy, SciPy, scikit-learn and geometry."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special
from sklearn import metrics as sk

import deltarule as dr
from deltarule.data import atoms
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.glass.trial import constant_loss
from deltarule.lessons import segmentation as lesson
from deltarule.losses import BinaryCrossEntropy, Combined, CrossEntropy, Dice, Jaccard, Output
from deltarule.segmentation import Instances, instances, match, watershed

RNG = np.random.default_rng(0)
N, H, W, K = 5, 7, 3, 4
A, LABELS = RNG.normal(size=(N, H, W, K)) * 2, RNG.integers(0, K, (N, H, W))
ONE_HOT, MASKS = np.eye(K)[LABELS], RNG.integers(0, 2, (N, H, W, K)).astype(float)
P, S = special.softmax(A, axis=-1), special.expit(A)
SPACE = (1, 2)


def over_pixels(p, t, value):
    """The loss of Dice or Jaccard by the formula of its docstring."""
    s = value.smooth
    if isinstance(value, Dice):
        regions = 1 - (2 * (p * t).sum(SPACE) + s) / ((p**2).sum(SPACE) + (t**2).sum(SPACE) + s)
    else:
        regions = 1 - ((p * t).sum(SPACE) + s) / ((p + t - p * t).sum(SPACE) + s)
    return regions.mean(axis=-1)


CASES = {       # loss: (output activation, targets, what each image should cost)
    CrossEntropy(): ("softmax", LABELS, -np.sum(ONE_HOT * np.log(P), -1).mean(SPACE)),
    CrossEntropy(0.1, (1.0, 2.0, 3.0, 4.0)): (
        "softmax", LABELS, -np.sum((0.9 * ONE_HOT + 0.1 / K) * np.arange(1, K + 1) * np.log(P), -1).mean(SPACE)),
    BinaryCrossEntropy(): ("sigmoid", MASKS, -np.sum(special.xlogy(MASKS, S) + special.xlogy(1 - MASKS, 1 - S), -1).mean(SPACE)),
    BinaryCrossEntropy(5.0): ("sigmoid", MASKS, -np.sum(special.xlogy(5 * MASKS, S) + special.xlogy(1 - MASKS, 1 - S), -1).mean(SPACE)),
    Dice(): ("sigmoid", MASKS, over_pixels(S, MASKS, Dice())),
    Jaccard(0.5): ("sigmoid", MASKS, over_pixels(S, MASKS, Jaccard(0.5))),
    Dice(0.2): ("softmax", LABELS, over_pixels(P, ONE_HOT, Dice(0.2))),
    Jaccard(): ("softmax", LABELS, over_pixels(P, ONE_HOT, Jaccard())),
    Combined(("cross_entropy", "dice"), (1.0, 3.0)): (
        "softmax", LABELS, -np.sum(ONE_HOT * np.log(P), -1).mean(SPACE) + 3 * over_pixels(P, ONE_HOT, Dice())),
}


class TestLossesOfPixels:
    @pytest.mark.parametrize("value", CASES, ids=repr)
    def test_the_loss_of_an_image(self, value):
        activation, y, expected = CASES[value]
        value.check(Output(A, A, activation), y)
        with jax.enable_x64(True):
            output = Output(jnp.asarray(P if activation == "softmax" else S), jnp.asarray(A), activation)
            np.testing.assert_allclose(value.rows(output, jnp.asarray(y)), expected, rtol=1e-12)
            if y is LABELS:
                np.testing.assert_allclose(value.rows(output, jnp.asarray(ONE_HOT)), expected, rtol=1e-12)

    @pytest.mark.parametrize("value", CASES, ids=repr)
    def test_its_delta_against_differences(self, value):
        activation, y, _ = CASES[value]
        with jax.enable_x64(True):
            def total(a):
                return jnp.sum(value.rows(Output(None, a, activation), jnp.asarray(y)))

            delta = jax.grad(total)(jnp.asarray(A))
            for index in [(0, 0, 0, 0), (2, 5, 1, 3), (4, 6, 2, 1)]:
                step = np.zeros_like(A)
                step[index] = 1e-5
                slope = (total(jnp.asarray(A + step)) - total(jnp.asarray(A - step))) / 2e-5
                assert float(delta[index]) == pytest.approx(float(slope), rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("value", [Dice(), Jaccard()], ids=repr)
    @pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
    def test_nothing_overflows_and_nothing_is_lost_near_the_truth(self, value, activation):
        """At 1e4 the numbers stay finite; where the network is nearly right, the loss is right in float32 and no rounding error."""
        y = jnp.asarray([[[1, 0], [0, 1]]], jnp.float32)                            # (1, 2 pixels, 2 regions)
        for size in (1e4, 30.0):
            a = size * (2 * y - 1)
            L, delta = jax.value_and_grad(lambda a: jnp.sum(value.rows(Output(None, a, activation), y)))(a)
            assert np.isfinite(L)
            assert np.isfinite(delta).all()
        near, q = 18.0 if activation == "sigmoid" else 9.0, np.exp(-18)             # q = 1 - p in both
        cost = float(value.rows(Output(None, near * (2 * y - 1), activation), y)[0])
        expected = 2 * q**2 / 3 if isinstance(value, Dice) else q
        assert cost == pytest.approx(expected, rel=1e-4, abs=0)

    def test_nothing_there_and_nothing_found_costs_nothing(self):
        a = jnp.full((1, 9, 9, 1), -30.0)
        for value in (Dice(), Jaccard()):
            assert float(value.rows(Output(None, a, "sigmoid"), jnp.zeros_like(a))[0]) == pytest.approx(0, abs=1e-10)
            assert float(value.rows(Output(None, -a, "sigmoid"), jnp.zeros_like(a))[0]) > 0.98

    @pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 4.0)])
    def test_the_constant_answer_of_weighted_classes(self, weights):
        """Against a fine search over the probability of class 1."""
        y, p = RNG.integers(0, 2, (11, 5, 3)), np.linspace(0.001, 0.999, 9999)
        share = y.mean()
        best = np.min(-weights[1] * share * np.log(p) - weights[0] * (1 - share) * np.log(1 - p))
        assert constant_loss(CrossEntropy(class_weights=weights), y) == pytest.approx(best, rel=1e-6)
        if weights[0] == 1:
            assert constant_loss(BinaryCrossEntropy(), y[..., None].astype(float)) == pytest.approx(best, rel=1e-6)
        else:
            found = constant_loss(BinaryCrossEntropy(weights[1] / weights[0]), y[..., None].astype(float))
            assert found == pytest.approx(best / weights[0], rel=1e-6)


X = RNG.normal(size=(23, 8, 6, 1)).astype(np.float32)
BRIGHT = (X[..., 0] > 0.5)
CLASSES = (X[..., 0] > -0.5).astype(int) + BRIGHT


def pixelwise(outputs, activation):
    return dr.Network([dr.Conv2D(6, 1, "relu"), dr.Conv2D(outputs, 1, activation)], (8, 6, 1), seed=1)


class TestNetworksOfPixels:
    @pytest.mark.parametrize("loss", ["auto", "cross_entropy", "dice", "iou", Combined(("cross_entropy", "dice"))], ids=str)
    @pytest.mark.parametrize("one_hot", [False, True])
    def test_classes_of_pixels_are_learnt(self, loss, one_hot):
        net = pixelwise(3, "softmax")
        y = np.eye(3)[CLASSES] if one_hot else CLASSES
        history = net.fit(X, y, loss=loss, optimizer=dr.Adam(0.03), epochs=60, metrics=("accuracy", "iou"), validation=(X, y))
        scores = net.evaluate(X, y, metrics=("accuracy", "iou"))
        assert scores["accuracy"] > 0.85
        p = net.predict(X)
        assert scores["accuracy"] == pytest.approx(np.mean(p.argmax(-1) == CLASSES), rel=1e-5)
        each = [sk.jaccard_score(true.ravel(), q.argmax(-1).ravel(), average="macro") for true, q in zip(CLASSES, p, strict=True)]
        assert scores["iou"] == pytest.approx(np.mean(each), rel=1e-5)
        assert history.curves["val_iou"][-1] > history.curves["val_iou"][0]

    @pytest.mark.parametrize("loss", ["auto", "dice", "jaccard", "binary_cross_entropy_dice"])
    @pytest.mark.parametrize("y", [BRIGHT, BRIGHT.astype(np.uint8), BRIGHT[..., None], BRIGHT.astype(float)], ids=str)
    def test_masks_are_learnt(self, loss, y):
        net = pixelwise(1, "sigmoid")
        net.fit(X, y, loss=loss, optimizer=dr.Adam(0.05), epochs=40)
        scores = net.evaluate(X, y, metrics=("accuracy", "iou", "dice"))
        assert scores["iou"] > 0.8
        found = net.predict(X)[..., 0] > 0.5
        each = [sk.f1_score(true.ravel(), q.ravel()) for true, q in zip(BRIGHT, found, strict=True)]
        assert scores["dice"] == pytest.approx(np.mean(each), rel=1e-5)

    def test_a_weight_finds_more_of_what_is_rare(self):
        rare = X[..., 0] > 1.8
        noisy = X + RNG.normal(size=X.shape)
        found = {}
        for weight in (1.0, 10.0):
            net = pixelwise(1, "sigmoid")
            net.fit(noisy, rare, loss=BinaryCrossEntropy(weight), optimizer=dr.Adam(0.03), epochs=30)
            found[weight] = np.mean(net.predict(noisy)[..., 0][rare] > 0.5)
        assert found[10.0] > found[1.0] + 0.3

    def test_metrics_follow_the_loss(self):
        net = pixelwise(1, "sigmoid")
        assert set(net.evaluate(X, BRIGHT, loss="dice")) == {"loss", "accuracy", "iou"}
        assert set(net.evaluate(X, BRIGHT)) == {"loss", "accuracy"}

    def test_seeing_and_checking_networks_of_pixels(self):
        net = pixelwise(1, "sigmoid")
        assert net.trace(X, BRIGHT).output.shape == (23, 8, 6, 1)
        assert str(net.doctor(X, BRIGHT))
        assert str(dr.check(net, X, BRIGHT))

    def test_a_saved_network_keeps_its_loss(self, tmp_path):
        net = pixelwise(3, "softmax")
        net.fit(X, CLASSES, loss=Combined((CrossEntropy(class_weights=(1, 2, 3)), "dice"), (1, 0.5)), epochs=1)
        net.save(tmp_path / "net.safetensors")
        again = dr.load(tmp_path / "net.safetensors")
        assert again.evaluate(X, CLASSES) == pytest.approx(net.evaluate(X, CLASSES))

    @pytest.mark.parametrize(("outputs", "activation", "y", "options", "text"), [
        (1, "sigmoid", BRIGHT[:, :5], {}, r"targets have shape \(n, 5, 6\), outputs \(n, 8, 6, 1\)$"),
        (1, "sigmoid", 255 * BRIGHT, {}, r"binary_cross_entropy expected targets from 0 to 1, received 255$"),
        (1, "sigmoid", 255 * BRIGHT, {"loss": "dice"}, r"dice expected targets from 0 to 1, received 255$"),
        (1, "linear", BRIGHT, {"loss": "dice"}, r"^dice needs 'sigmoid' or 'softmax' .*; end the network with Conv2D\(K, 1, 'sigmoid'\)$"),
        (3, "sigmoid", CLASSES, {}, r"for a class number in every place take the loss 'cross_entropy', with a 'softmax' output$"),
        (3, "softmax", CLASSES[..., None], {}, r"received targets of shape \(n, 8, 6, 1\); write y\[\.\.\., 0\]$"),
        (3, "softmax", CLASSES + 1, {"loss": "jaccard"}, r"^jaccard expected class numbers from 0 to 2 for 3 outputs, received 3$"),
        (3, "softmax", CLASSES, {"loss": CrossEntropy(class_weights=(1, 2))}, r"^CrossEntropy has 2 class_weights for 3 outputs; give one"),
        (3, "softmax", CLASSES, {"class_weight": "balanced"}, r"^class_weight weighs whole rows, .*; let the loss do it: CrossEntropy\("),
    ])
    def test_mistakes(self, outputs, activation, y, options, text):
        with pytest.raises(DeltaruleError, match=text):
            pixelwise(outputs, activation).fit(X, y, **options)

    def test_regions_of_whole_rows_are_refused(self):
        with pytest.raises(ShapeError, match=r"^dice expected classes of pixels, .*, the network gives \(n, 3\); for classes of"):
            dr.Network(dr.Dense(3, "softmax"), 2).fit(np.zeros((4, 2)), np.zeros(4, int), loss="dice")


def discs(size, places, radius):
    rows, columns = np.mgrid[:size, :size]
    return np.any([(rows - i)**2 + (columns - j)**2 <= radius**2 for i, j in places], axis=0)


class TestInstances:
    @given(st.integers(0, 10_000))
    def test_components_are_scipys(self, seed):
        p = np.random.default_rng(seed).uniform(size=(11, 13))
        labels, count = ndimage.label(p > 0.7, np.ones((3, 3)))
        found = instances(p, threshold=0.7)
        assert len(found) == count
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_allclose(found.centres, ndimage.center_of_mass(p, labels, np.arange(1, count + 1)), rtol=1e-12)
        np.testing.assert_array_equal(found.areas, ndimage.sum_labels(p > 0.7, labels, np.arange(1, count + 1)))
        np.testing.assert_allclose(found.scores, ndimage.mean(p, labels, np.arange(1, count + 1)), rtol=1e-12)

    @given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.5]))
    def test_the_watershed_divides_components_and_nothing_else(self, seed, depth):
        mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(17, 19)), 1) > 0
        found = instances(mask, "watershed", depth=depth)
        components = instances(mask)
        np.testing.assert_array_equal(found.labels > 0, mask)
        assert len(found) >= len(components)
        for k in range(1, len(found) + 1):
            assert len(np.unique(components.labels[found.labels == k])) == 1
            assert ndimage.label(found.labels == k, np.ones((3, 3)))[1] == 1
        first = [np.flatnonzero(found.labels.ravel() == k)[0] for k in range(1, len(found) + 1)]
        assert first == sorted(first)
        assert len(instances(mask, "watershed", depth=1e9)) == len(components)

    @pytest.mark.parametrize("distance", [7, 8, 9])
    @pytest.mark.parametrize("angle", [0.0, 0.4, 0.8])
    def test_touching_discs_come_apart_at_their_neck(self, distance, angle):
        places = np.array([20.0, 20.0]) + distance / 2 * np.array([[np.sin(angle), np.cos(angle)], [-np.sin(angle), -np.cos(angle)]])
        mask = discs(41, places, 5)
        assert len(instances(mask)) == 1
        found = instances(mask, "watershed")
        assert len(found) == 2
        rows, columns = np.nonzero(mask)
        nearest = np.linalg.norm(np.stack([rows, columns], -1)[:, None] - places[None], axis=-1).argmin(axis=1)
        right = [np.mean((found.labels[rows, columns] - 1) == order) for order in (nearest, 1 - nearest)]
        assert max(right) > 0.93
        assert match(found, places, 1.0).recall == 1

    def test_one_disc_stays_whole(self):
        for radius in np.arange(1.0, 9.0, 0.25):
            assert len(instances(discs(25, [(12.3, 11.8)], radius), "watershed")) == 1

    @given(st.integers(0, 10_000))
    def test_every_kept_summit_has_its_depth(self, seed):
        """The hills of depth 0 are the local maxima; by a depth, hills merge until those left have it: fewer for more."""
        height = np.random.default_rng(seed).permutation(99).reshape(9, 11).astype(float)
        mask = np.ones(height.shape, bool)
        maxima = height == ndimage.maximum_filter(height, 3, mode="constant", cval=-1)
        labels = watershed(height, mask, 0.0)
        assert labels.max() == maxima.sum()
        assert sorted(labels[maxima]) == list(range(1, maxima.sum() + 1))
        counts = [watershed(height, mask, depth).max() for depth in (0.0, 5.0, 20.0, 50.0, 1e9)]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] == 1

    def test_summits_by_hand(self):
        row = np.array([[5.0, 2.0, 4.0, 3.5, 6.0, 6.0, 1.0, 2.0]])
        expected = {0.2: [1, 1, 2, 3, 3, 3, 3, 4], 0.7: [1, 1, 2, 2, 2, 2, 2, 3], 1.5: [1, 1, 2, 2, 2, 2, 2, 2], 3.5: [1] * 8}
        for depth, labels in expected.items():
            found = watershed(row, row > 0, depth)[0]
            assert len(np.unique(found)) == len(set(labels)), depth
            assert found[0] == 1
            assert (found[0] == found[4]) == (labels[0] == labels[4])
            assert (found[2] == found[4]) == (labels[2] == labels[4])
            assert (found[7] == found[5]) == (labels[7] == labels[5])

    def test_many_images_and_small_objects(self):
        masks = np.zeros((3, 9, 9, 1))
        masks[0, 1:4, 1:4], masks[0, 7, 7], masks[2, 0, 0] = 0.9, 0.6, 1.0
        found = instances(masks, min_size=2)
        assert [len(image) for image in found] == [1, 0, 0]
        assert found[0].centres.tolist() == [pytest.approx([2.0, 2.0])]
        assert found[0].scores.tolist() == [pytest.approx(0.9)]
        assert found[1].centres.shape == (0, 2)
        assert [len(image) for image in instances(masks[..., 0])] == [2, 0, 1]
        assert [len(image) for image in instances(masks, threshold=0.7)] == [1, 0, 1]
        assert len(instances(np.ones((4, 5), bool), "watershed")) == 1

    def test_the_centre_is_weighted(self):
        p = np.array([[0.6, 0.9, 0.6], [0.0, 0.0, 0.0]])
        assert instances(p).centres.tolist() == [pytest.approx([0.0, 1.0])]
        assert instances([[0.6, 0.9, 0.0]]).centres.tolist() == [pytest.approx([0.0, 0.6])]

    @pytest.mark.parametrize(("call", "kind", "text"), [
        (lambda: instances(np.zeros(4)), ShapeError, r"^instances expected masks of shape .*, received \(4,\)$"),
        (lambda: instances(np.zeros((2, 4, 4, 3))), ShapeError, r"received \(2, 4, 4, 3\); choose a class: masks\[\.\.\., k\]$"),
        (lambda: instances(np.full((4, 4), 2)), DataError, r"^instances expected masks or probabilities from 0 to 1, received 2 to 2$"),
        (lambda: instances(np.full((4, 4), np.nan)), DataError, r"received nan to nan$"),
        (lambda: instances(np.zeros((4, 4)), "watershd"), DeltaruleError, r"^there is no method 'watershd'; did you mean 'watershed'\?$"),
        (lambda: instances(np.zeros((4, 4)), threshold=1), DeltaruleError, r"^threshold expected a number from 0 up to .*, received 1$"),
        (lambda: instances(np.zeros((4, 4)), min_size=-1), DeltaruleError, r"^min_size expected a number of pixels .*, received -1$"),
        (lambda: instances(np.zeros((4, 4)), depth=None), DeltaruleError, r"^depth expected a number of pixels from 0 on, received None$"),
        (lambda: match([[1.0, 2.0]], [[1.0, 2.0]], -1), DeltaruleError, r"^within expected a distance in pixels from 0 on, received -1$"),
        (lambda: match([[1.0, 2.0]], [[1.0, 2.0]], border=3), DeltaruleError, r"^border needs the shape .*, received shape=\(\)$"),
        (lambda: match(np.zeros((3, 3)), [[1.0, 2.0]]), ShapeError, r"^found expected centres of shape \(m, 2\), .* received \(3, 3\)$"),
        (lambda: match(np.zeros((3, 2)), [np.zeros((3, 2)), np.zeros((1, 2))]), ShapeError, r"^found holds 1 images and true 2; give one"),
    ])
    def test_mistakes(self, call, kind, text):
        with pytest.raises(kind, match=text):
            call()


class TestMatching:
    @given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 4))
    def test_no_other_pairs_are_more_or_closer(self, seed, m, n):
        """Against all pairings, one by one."""
        rng = np.random.default_rng(seed)
        found, true = rng.uniform(0, 5, (m, 2)), rng.uniform(0, 5, (n, 2))
        apart = np.linalg.norm(found[:, None] - true[None], axis=-1)
        best = (0, 0.0)
        for k in range(1, min(m, n) + 1):
            for rows in itertools.combinations(range(m), k):
                for columns in itertools.permutations(range(n), k):
                    distances = apart[list(rows), list(columns)]
                    if (distances <= 2).all():
                        best = max(best, (k, -distances.sum()))
        matched = match(found, true, 2.0)
        assert len(matched.distances) == best[0]
        assert matched.distances.sum() == pytest.approx(-best[1])
        assert (matched.recall, matched.precision) == (best[0] / n if n else 1.0, best[0] / m if m else 1.0)

    def test_images_are_pooled_and_borders_left_out(self):
        found = [np.array([[5.0, 5.0], [0.5, 5.0]]), Instances(np.zeros((9, 9), int), np.array([[4.0, 4.0]]), np.ones(1), np.ones(1))]
        true = (np.array([[5.0, 6.0]]), np.array([[4.0, 4.5], [8.0, 8.0]]))
        matched = match(found, true)
        assert (matched.found, matched.true, matched.right, matched.seen) == (3, 3, 2, 2)
        assert [pairs.tolist() for pairs in matched.pairs] == [[[0, 0]], [[0, 0]]]
        assert matched.mean_distance == pytest.approx(0.75)
        inner = match(found, true, border=2, shape=(9, 9))
        assert (inner.found, inner.true, inner.recall, inner.precision) == (2, 2, 1.0, 1.0)
        assert np.isnan(match([], []).mean_distance)
        assert match([], [[1.0, 1.0]]).recall == 0


class TestMicrographs:
    def test_the_same_seed_the_same_images(self):
        one, two, other = atoms(3, size=40, seed=5), atoms(3, size=40, seed=5), atoms(3, size=40, seed=6)
        np.testing.assert_array_equal(one.x, two.x)
        assert (one.x != other.x).any()
        assert (one.x.dtype, one.y.dtype, one.x.shape, one.y.shape) == (np.float32, np.int32, (3, 40, 40, 1), (3, 40, 40))
        np.testing.assert_allclose(one.x.mean(axis=(1, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(one.x.std(axis=(1, 2, 3)), 1, rtol=1e-5)

    @pytest.mark.parametrize(("lattice", "neighbours", "angle"), [("square", 4, 90), ("hexagonal", 3, 120)])
    def test_the_geometry_of_a_perfect_lattice(self, lattice, neighbours, angle):
        """Every atom in the middle has its 4 or 3 neighbours of the other sort, at the spacing and the angle of the lattice."""
        crystal = atoms(1, size=80, lattice=lattice, spacing=9, defects=0, strain=0)
        centres, sorts = crystal.centres[0], crystal.sorts[0]
        for i in np.flatnonzero(((centres > 15) & (centres < 65)).all(axis=1)):
            apart = np.linalg.norm(centres - centres[i], axis=1)
            near = np.flatnonzero((apart > 0) & (apart < 1.2 * 9))
            assert len(near) == neighbours
            np.testing.assert_allclose(apart[near], 9, atol=1.2)
            assert (sorts[near] != sorts[i]).all()
            directions = np.sort(np.degrees(np.arctan2(*(centres[near] - centres[i]).T)))
            np.testing.assert_allclose(np.diff(directions, append=directions[0] + 360), angle, atol=15)

    def test_the_density_of_atoms_and_defects(self):
        """Two atoms in a cell of 2 d^2 (square) or 3 sqrt(3)/2 d^2 (honeycomb), less vacancies, more interstitials (one gap for two)."""
        for lattice, area in (("square", 1.0), ("hexagonal", 3 * np.sqrt(3) / 4)):
            for defects in (0.0, 0.2):
                crystals = atoms(40, size=96, lattice=lattice, spacing=(8, 8), defects=defects, strain=0)
                density = sum(map(len, crystals.centres)) / (40 * 96**2)
                expected = (1 - defects + defects / 2) / (area * 64)
                assert density == pytest.approx(expected, rel=0.03)

    def test_spots_are_where_they_are_said_to_be(self):
        """Without noise and jitter the brightest pixel near a heavy atom is the one that holds its centre, or a neighbour."""
        crystal = atoms(1, size=64, spacing=(10, 10), dose=1e6, background=0, jitter=0, width=1.2)
        for (i, j), sort in zip(crystal.centres[0], crystal.sorts[0], strict=True):
            row, column = round(float(i)), round(float(j))
            if 3 <= row < 61 and 3 <= column < 61 and sort == 1:
                window = crystal.x[0, row - 2:row + 3, column - 2:column + 3, 0]
                assert np.abs(np.array(np.unravel_index(window.argmax(), (5, 5))) - 2).max() <= 1
                assert crystal.y[0, row, column] == 1

    def test_counts_are_poisson_distributed(self):
        """Of a Poisson distribution with mean m, scaled to standard deviation 1, steps and skewness are both 1 / sqrt(m); m = 0.2 dose."""
        image = atoms(1, size=250, width=0.01, contrast=0, dose=20, background=0, jitter=0).x.astype(float)
        steps = np.diff(np.unique(image))
        np.testing.assert_allclose(steps[:8], 1 / np.sqrt(0.2 * 20), rtol=0.02)
        assert np.mean(image**3) == pytest.approx(1 / np.sqrt(0.2 * 20), rel=0.1)

    def test_jitter_moves_lines_as_a_whole(self):
        kept = {"size": 64, "seed": 3, "dose": 1e6, "background": 0.0, "defects": 0}
        still, moved = (atoms(1, jitter=jitter, **kept).x[0, :, :, 0] for jitter in (0.0, 1.0))
        shifts = []
        for row in range(64):
            scores = [np.corrcoef(np.roll(still[row], s)[8:-8], moved[row][8:-8])[0, 1] for s in range(-4, 5)]
            shifts.append(np.argmax(scores) - 4)
        assert 0.5 < np.std(shifts) < 1.6

    def test_two_sorts_and_parts(self):
        kept = atoms(4, size=48, seed=2, two_sorts=True)
        assert set(np.unique(kept.y)) == {0, 1, 2}
        np.testing.assert_array_equal(kept.y > 0, atoms(4, size=48, seed=2).y > 0)
        for y, centres, sorts in zip(kept.y, kept.centres, kept.sorts, strict=True):
            at = np.rint(centres).astype(int).clip(0, 47)
            assert np.mean(y[at[:, 0], at[:, 1]] == sorts) > 0.95
        train, test = kept.split(0.25)
        assert (len(train), len(test), len(test.centres)) == (3, 1, 1)
        assert kept.subset(np.array([True, False, False, True])).x.shape == (2, 48, 48, 1)

    @pytest.mark.parametrize(("options", "text"), [
        ({"n": 0}, r"^n is 0, expected a whole number from 1 on$"),
        ({"size": 4}, r"^size is 4, expected a whole number from 8 on$"),
        ({"lattice": "hexagon"}, r"^there is no lattice 'hexagon'; did you mean 'hexagonal'\?$"),
        ({"spacing": (2, 9)}, r"^spacing is \(2, 9\), expected the least and the largest distance of neighbours, from 3 to 64 pixels$"),
        ({"spacing": 2}, r"^spacing is 2, expected the least and the largest distance of neighbours"),
        ({"spacing": (9, 8)}, r"^spacing is \(9, 8\), expected the least and the largest"),
        ({"dose": 0}, r"^dose is 0, expected a finite number above 0$"),
        ({"width": -1.0}, r"^width is -1\.0, expected a finite number above 0$"),
        ({"defects": 0.7}, r"^defects is 0\.7, expected a number from 0 to 0\.5$"),
        ({"background": -1}, r"^background is -1, expected 0 or more$"),
    ])
    def test_mistakes(self, options, text):
        with pytest.raises(DataError, match=text):
            atoms(**{"n": 1, **options})


class TestLesson:
    @pytest.mark.slow
    def test_every_number_is_as_expected(self, result):
        found = result("segmentation")
        assert [check for check in found.checks if not check.passed] == []
        assert {"IoU of the U-Net", "share of the atoms that is found", "share of the found that is no atom"} <= set(found.numbers)
        assert set(found.figures) == {"atoms", "failures"}
        assert all(max(figure.get_size_inches()) <= 11.5 for figure in found.figures.values())

    def test_the_threshold_leaves_the_least_variance_within_the_groups(self):
        image = np.concatenate([RNG.normal(0, 1, 90), RNG.normal(6, 1, 37)]).reshape(1, -1)
        within = {t: sum(np.var(part) * len(part) for part in (image[image <= t], image[image > t])) for t in np.sort(image)[0, :-1]}
        assert lesson.otsu(image) == min(within, key=within.get)

    def test_the_filter_finds_a_spot_and_only_that(self):
        image = np.exp(-((np.mgrid[:31, :31] - np.array([12, 20])[:, None, None])**2).sum(axis=0) / 4)[None] + np.linspace(0, 1, 31)
        assert [places.tolist() for places in lesson.maxima(lesson.filtered(image, 1.4, 4.0), 0.1)] == [[[12, 20]]]

    def test_the_unet_keeps_the_size_and_sees_both_ways(self):
        """The answer at a pixel depends on the image at most 22 pixels away: 2 convolutions at each size, downwards and upwards."""
        net = dr.models.unet((64, 64, 1), classes=1, depth=2, width=3, output="sigmoid")
        assert net.output_shape == (64, 64, 1)
        x = RNG.normal(size=(1, 64, 64, 1))
        touched = np.zeros((64, 64), bool)
        for change in (1.0, -3.0):
            other = x.copy()
            other[0, 32, 32] += change
            touched |= np.abs(net.predict(other) - net.predict(x))[0, :, :, 0] > 0
        rows, columns = np.nonzero(touched)
        assert max(np.abs(rows - 32).max(), np.abs(columns - 32).max()) <= 22
        assert np.ptp(rows) > 8
