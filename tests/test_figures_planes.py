"""Figures of planes: regions and their lines, the loss surface and the path on it, and how layers bend the plane."""

from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from test_figures import XOR_X, XOR_Y, copied, mlp, same

import deltarule as dr
from deltarule import figures
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import as_classes, limits
from deltarule.layers.layer import Layer

# ------------------------------------------------------------------- regions


def contour_points(ax):
    sets = [c for c in ax.collections if type(c).__name__ == "QuadContourSet"]
    return [np.concatenate([path.vertices for path in c.get_paths()]) for c in sets]


def test_decision_contour_passes_where_the_probability_is_one_half(sigmoid_net, cloud):
    before = copied(sigmoid_net.params)
    ax = figures.decision_regions(sigmoid_net, *cloud).axes[0]
    (points,) = contour_points(ax)
    np.testing.assert_allclose(sigmoid_net.predict(points), 0.5, atol=5e-3)
    assert same(before, sigmoid_net.params)


def test_regions_have_the_colour_of_the_class_and_are_stronger_where_it_is_sure(sigmoid_net, cloud):
    ax = figures.decision_regions(sigmoid_net, *cloud, lines=False).axes[0]
    image = np.asarray(ax.images[0].get_array())                        # (rows, columns, 3)
    left, right, low, high = ax.images[0].get_extent()
    across, up = np.meshgrid(np.linspace(left, right, 201), np.linspace(low, high, 201))
    p = sigmoid_net.predict(np.stack([across, up], -1).reshape(-1, 2)).reshape(201, 201)
    blue, orange = to_rgba("#0072B2")[:3], to_rgba("#E69F00")[:3]
    strength = 0.08 + 0.42 * np.abs(2 * p - 1)
    expected = 1 - strength[..., None] * (1 - np.where((p > 0.5)[..., None], orange, blue))
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert not ax.lines


def test_unit_lines_are_where_the_preactivation_is_zero(sigmoid_net, cloud):
    ax = figures.decision_regions(sigmoid_net, *cloud).axes[0]
    W, b = sigmoid_net.params["dense_1"]["weights"], sigmoid_net.params["dense_1"]["bias"]
    corners = np.array([(x, y) for x in ax.get_xlim() for y in ax.get_ylim()])
    crossing = {j for j in range(3) if len(set(np.sign(corners @ W[:, j] + b[j]))) == 2}
    assert {int(line.get_gid().split()[1]) for line in ax.lines} == crossing
    for line in ax.lines:
        j = int(line.get_gid().split()[1])
        ends = line.get_xydata()
        np.testing.assert_allclose(ends @ W[:, j] + b[j], 0, atol=1e-12)
        assert np.ptp(ends, axis=0).max() > 0
    assert {text.get_text() for text in ax.texts} == {str(j) for j in crossing}


def test_the_contour_of_a_linear_neuron_lies_between_its_targets(cloud):
    net = mlp(dr.Dense(1), dtype="float64")
    net.params["dense_1"] = {"weights": np.array([[1.0], [2.0]]), "bias": np.array([0.3])}
    for y, middle in ((2 * cloud[1] - 1, 0.0), (cloud[1][:, None].astype(float), 0.5)):
        (points,) = contour_points(figures.decision_regions(net, cloud[0], y).axes[0])
        np.testing.assert_allclose(points @ [1.0, 2.0] + 0.3, middle, atol=1e-6)


def test_three_classes_have_contours_where_two_probabilities_are_equal(cloud):
    net = mlp(dr.Dense(3, "softmax"), dtype="float64", seed=4)
    y = np.eye(3)[np.arange(29) % 3]
    ax = figures.decision_regions(net, cloud[0], y, names=["a", "b", "c"], features=["u", "v"], title="three").axes[0]
    for points in contour_points(ax):
        p = np.sort(net.predict(points), axis=1)
        np.testing.assert_allclose(p[:, 2], p[:, 1], atol=2e-2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("u", "v", "three")


def test_regions_of_scikit_learn_models(cloud):
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    words = np.array(["star", "galaxy"])[cloud[1]]
    model = LogisticRegression().fit(cloud[0], words)
    ax = figures.decision_regions(model, cloud[0], words).axes[0]
    (points,) = contour_points(ax)
    np.testing.assert_allclose(model.predict_proba(points), 0.5, atol=1e-3)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["galaxy", "star"]
    hard = RidgeClassifier().fit(cloud[0], words)               # no probabilities
    (points,) = contour_points(figures.decision_regions(hard, cloud[0], words).axes[0])
    assert np.abs(hard.decision_function(points)).max() < 0.05


def test_a_regression_is_drawn_as_contours_with_a_colour_bar(cloud):
    net = mlp(dr.Dense(1), dtype="float64")
    fig = figures.decision_regions(net, cloud[0], cloud[0] @ [1.0, -1.0])
    assert len(fig.axes) == 2
    points = next(c for c in fig.axes[0].collections if isinstance(c, PathCollection) and c.get_array() is not None)
    np.testing.assert_allclose(points.get_array(), cloud[0] @ [1.0, -1.0])


def test_panels_are_composed():
    from deltarule.glass.style import figure

    fig, axes = figure(columns=2)
    net = mlp(dr.Dense(1, "sigmoid"))
    assert figures.decision_regions(net, XOR_X, XOR_Y, ax=axes[0]) is fig
    assert figures.loss_surface(net, XOR_X, XOR_Y[:, None], steps=3, ax=axes[1]) is fig


@pytest.mark.parametrize(("arguments", "options", "message"), [
    (([[0.0, 1.0]], [0, 1]), {}, r"y has shape \(2,\) for 1 rows of x; give one target for each row"),
    ((XOR_X, XOR_Y), {"names": ["one"]}, "names expected 2 words, one for each, received"),
    ((XOR_X, XOR_Y), {"features": "x1"}, "features expected 2 words, one for each, received 'x1'"),
    ((XOR_X, [0, 1, 2, 0]), {}, "one output tells two classes apart; y holds 3, give 0 and 1 or -1 and 1"),
    ((np.zeros((4, 3)), XOR_Y), {}, r"x has shape \(4, 3\), the network expects \(n, 2\)"),
])
def test_regions_refuse(arguments, options, message):
    with pytest.raises(DeltaruleError, match=message):
        figures.decision_regions(mlp(dr.Dense(1, "sigmoid")), *arguments, **options)


def test_regions_refuse_other_models_and_targets():
    @dataclass(frozen=True)
    class Raised(Layer):
        def __call__(self, x, scope):
            return x[:, None]

    class Odd:
        def predict_proba(self, x):
            return np.full((len(x), 3), 1 / 3)

        predict = predict_proba

    with pytest.raises(DeltaruleError, match="decision_regions expected a Network or an object with predict, received str"):
        figures.decision_regions("net", XOR_X, XOR_Y)
    with pytest.raises(DeltaruleError, match=r"decision_regions needs a network of 2 inputs, input_shape=\(2,\); this one has .*\(3,\)"):
        figures.decision_regions(mlp(dr.Dense(1), inputs=3), XOR_X, XOR_Y)
    with pytest.raises(ShapeError, match=r"predict_proba gave shape .* for 40401 points and 2 classes; give the model .* classes_"):
        figures.decision_regions(Odd(), XOR_X, XOR_Y)
    with pytest.raises(ShapeError, match=r"decision_regions draws two inputs, x of shape \(n, 2\); received \(4, 3\)"):
        figures.decision_regions(Odd(), np.zeros((4, 3)), XOR_Y)
    with pytest.raises(ShapeError, match=r"decision_regions draws one number for each row .* the model gives \(3,\)"):
        figures.decision_regions(Odd(), XOR_X, [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(DeltaruleError, match="y holds 2, the model knows the classes 0, 1"):
        figures.decision_regions(mlp(dr.Dense(2, "softmax")), XOR_X, [0, 1, 2, 0])
    with pytest.raises(ShapeError, match="y has 3 columns, the model knows 2 classes; give one column for each"):
        figures.decision_regions(mlp(dr.Dense(2, "softmax")), XOR_X, np.eye(3)[XOR_Y])
    with pytest.raises(DataError, match="y holds values that are not finite; remove those rows"):
        figures.decision_regions(mlp(dr.Dense(1)), XOR_X, [0.1, np.nan, 0.2, 0.3])
    with pytest.raises(ShapeError, match=r"decision_regions needs one row of outputs for each point, this network gives \(1, 2\)"):
        figures.decision_regions(mlp(Raised()), XOR_X, XOR_Y)


def test_targets_are_read_as_classes():
    for y, numbers, known in (([[0.0], [1.0]], [0, 1], [0, 1]), ([True, True], [1, 1], [0, 1]), ([5, 3, 5], [1, 0, 1], [3, 5]),
                              ([[0, 1, 0], [1, 0, 0]], [1, 0], [0, 1]), (np.array(["b", "a"], object), [1, 0], ["a", "b"])):
        found = as_classes(y, len(y))
        assert (found[0].tolist(), found[1]) == (numbers, known)
    assert limits(np.array([2.0, 4.0]), 0.1) == pytest.approx((1.8, 4.2))


# ------------------------------------------------------------------- surface


def drawn_surface(ax):
    """The values that are drawn, and the places along the two axes."""
    z = np.asarray(ax.images[0].get_array())
    return z, np.linspace(*ax.get_xlim(), z.shape[1]), np.linspace(*ax.get_ylim(), z.shape[0])


def test_the_surface_of_two_parameters_is_the_loss_itself():
    net = mlp(dr.Dense(1), inputs=1, dtype="float64")
    x, y = np.array([[1.0], [2.0], [-1.0]]), np.array([[2.5], [4.0], [0.5]])
    net.params["dense_1"] = {"bias": np.array([0.25]), "weights": np.array([[1.5]])}     # as training leaves them: sorted by name
    before = copied(net.params)
    ax = figures.loss_surface(net, x, y, span=2.0, steps=7).axes[0]
    z, w, b = drawn_surface(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("dense_1/weights", "dense_1/bias")
    np.testing.assert_allclose([w[0], w[-1], b[0], b[-1]], [-0.5, 3.5, -1.75, 2.25])
    expected = np.mean((w[None, :, None] * x[:, 0] + b[:, None, None] - y[:, 0]) ** 2, axis=-1)     # (b, w)
    np.testing.assert_allclose(z, expected, rtol=1e-12)
    assert z[3, 3] == pytest.approx(net.evaluate(x, y, loss="squared_error")["loss"], rel=1e-12)
    assert same(before, net.params)


def test_the_path_through_two_parameters_is_drawn_where_it_went():
    net = mlp(dr.Dense(1), inputs=1, dtype="float64")
    x, y = np.array([[1.0], [2.0]]), np.array([[2.0], [4.0]])
    path = [{"dense_1": {"weights": np.array([[w]]), "bias": np.array([b])}} for w, b in ((0.0, 1.0), (1.0, 0.5), (1.5, 0.25))]
    ax = figures.loss_surface(net, x, y, path=path, steps=7).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(0.0, 1.0), (1.0, 0.5), (1.5, 0.25)])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["path", "start", "end"]
    np.testing.assert_allclose(ax.get_xlim(), (-0.3, 1.8))


def test_random_directions_are_as_long_as_the_networks_own_weights(sigmoid_net, cloud):
    from deltarule.figures.surface import _plane, _tree

    y = cloud[1][:, None].astype(float)
    before = copied(sigmoid_net.params)
    ax = figures.loss_surface(sigmoid_net, cloud[0], y, steps=5, seed=2, span=0.5).axes[0]
    z, _, _ = drawn_surface(ax)
    assert z[2, 2] == pytest.approx(sigmoid_net.evaluate(cloud[0], y)["loss"], rel=1e-12)
    plane = _plane(sigmoid_net, None, 2)
    trees = [_tree(sigmoid_net, vector) for vector in plane.directions]
    for d in trees:
        for name, layer in sigmoid_net.params.items():
            np.testing.assert_allclose(np.linalg.norm(d[name]["weights"], axis=0), np.linalg.norm(layer["weights"], axis=0))
            assert not d[name]["bias"].any()
    corner = {name: {key: layer[key] + 0.5 * trees[0][name][key] - 0.5 * trees[1][name][key] for key in layer}
              for name, layer in before.items()}
    other = mlp(dr.Dense(3, "sigmoid"), dr.Dense(1, "sigmoid"), dtype="float64")
    other.params = corner
    assert z[0, 4] == pytest.approx(other.evaluate(cloud[0], y)["loss"], rel=1e-10)
    assert same(before, sigmoid_net.params)
    assert ax.get_xlabel() == "random direction 1, filter-normalised"


def test_a_path_that_lies_in_a_plane_is_drawn_with_its_true_lengths(sigmoid_net, cloud):
    y = cloud[1][:, None].astype(float)
    end = copied(sigmoid_net.params)
    places = np.array([(3.0, 0.0), (2.0, 0.4), (1.0, -0.3), (0.0, 0.0)])
    path = []
    for s, t in places:
        point = copied(end)
        point["dense_1"]["weights"][0, 0] += s
        point["dense_2"]["bias"][0] += t
        path.append(dict(reversed(point.items())))
    ax = figures.loss_surface(sigmoid_net, cloud[0], y, path=path, steps=5).axes[0]
    drawn = ax.lines[0].get_xydata()
    np.testing.assert_allclose(np.linalg.norm(np.diff(drawn, axis=0), axis=1), np.linalg.norm(np.diff(places, axis=0), axis=1))
    np.testing.assert_allclose(drawn[-1], 0, atol=1e-12)
    _, sizes, _ = np.linalg.svd(places - places.mean(axis=0))
    shares = sizes**2 / np.sum(sizes**2)
    for label, share in zip((ax.get_xlabel(), ax.get_ylabel()), shares, strict=True):
        assert f"({share:.1%} of its variance)" in label


def test_large_ranges_have_logarithmic_colours():
    from matplotlib.colors import LogNorm

    net = mlp(dr.Dense(1), inputs=1)
    steep = figures.loss_surface(net, [[30.0]], [[30.5]], steps=5)
    flat = figures.loss_surface(net, [[0.1]], [[9.0]], steps=5)
    assert isinstance(steep.axes[0].images[0].norm, LogNorm)
    assert not isinstance(flat.axes[0].images[0].norm, LogNorm)
    assert steep.axes[1].get_ylabel() == "mean loss, logarithmic colours"


def test_surface_refuses():
    x, y, two = [[1.0]], [[2.0]], mlp(dr.Dense(1), inputs=1)
    large = mlp(dr.Dense(2), inputs=1)
    with pytest.raises(DeltaruleError, match="loss_surface draws a Network, received str"):
        figures.loss_surface("net", x, y)
    for span in (0, "wide", float("nan")):
        with pytest.raises(DeltaruleError, match=f"span expected a number above 0, received {span!r}"):
            figures.loss_surface(two, x, y, span=span)
    with pytest.raises(DeltaruleError, match=r"steps expected a whole number from 3 on, received 2\.5"):
        figures.loss_surface(two, x, y, steps=2.5)
    with pytest.raises(DeltaruleError, match=r"path expected a list of parameters such as net\.params, received int"):
        figures.loss_surface(two, x, y, path=3)
    with pytest.raises(DeltaruleError, match="needs a network of at least two parameters, this one has 1"):
        figures.loss_surface(mlp(dr.Dense(1, use_bias=False), inputs=1), x, y)
    with pytest.raises(DeltaruleError, match="path expected at least 2 sets of parameters, received 1"):
        figures.loss_surface(two, x, y, path=[two.params])
    with pytest.raises(DeltaruleError, match=r"path expected at least 3 sets of parameters for the plane .*, received 2"):
        figures.loss_surface(large, x, [[1.0, 2.0]], path=[large.params] * 2)
    with pytest.raises(ShapeError, match=r"path holds parameters that do not fit the network \(point 1\); record copies of net.params"):
        figures.loss_surface(two, x, y, path=[two.params, large.params])
    with pytest.raises(ShapeError, match=r"y has shape .* for 1 rows of x"):
        figures.loss_surface(two, x, [[1.0], [2.0]])


# ------------------------------------------------------------------- bending


@pytest.fixture(scope="module")
def bent():
    net = mlp(dr.Dense(2, "tanh"), dr.Dropout(0.5), dr.Dense(5, "tanh"), dr.Dense(2, "softmax"), dtype="float64", seed=2)
    return net, figures.bending(net, XOR_X, XOR_Y)


def grid_of(ax):
    return np.array(ax.collections[0].get_segments())


def test_bending_shows_the_image_of_every_grid_line(bent):
    net, fig = bent
    assert [ax.get_title() for ax in fig.axes] == ["input", "dense_1", "dense_2, 5 units"]
    grid, image = grid_of(fig.axes[0]), grid_of(fig.axes[1])
    assert grid.shape == image.shape == (42, 101, 2)
    assert np.ptp(grid[:21, :, 1], axis=1).max() == np.ptp(grid[21:, :, 0], axis=1).max() == 0      # horizontal, then vertical
    layer = net.params["dense_1"]
    np.testing.assert_allclose(image, np.tanh(grid @ layer["weights"] + layer["bias"]), atol=1e-12)


def test_wide_layers_are_shown_in_the_plane_of_their_principal_components(bent):
    from sklearn.decomposition import PCA

    net, fig = bent
    first, second = net.params["dense_1"], net.params["dense_2"]

    def h2(x):
        return np.tanh(np.tanh(x @ first["weights"] + first["bias"]) @ second["weights"] + second["bias"])

    oracle = PCA(2).fit(h2(XOR_X))
    grid, image = grid_of(fig.axes[0]), grid_of(fig.axes[2])
    expected = oracle.transform(h2(grid.reshape(-1, 2))).reshape(grid.shape)
    signs = np.sign(np.sum(image * expected, axis=(0, 1)))
    np.testing.assert_allclose(image, expected * signs, atol=1e-9)
    share = oracle.explained_variance_ratio_[0]
    assert fig.axes[2].get_xlabel() == f"principal component 1 ({share:.0%} of variance)"


def test_bending_shows_the_layers_asked_for(bent):
    net = bent[0]
    assert [ax.get_title() for ax in figures.bending(net, XOR_X, XOR_Y, layers=["dense_3"]).axes] == ["input", "dense_3"]
    assert [ax.get_title() for ax in figures.bending(net, XOR_X, XOR_Y, most=1).axes] == ["input", "dense_1"]


def test_bending_refuses(bent):
    net = bent[0]
    with pytest.raises(DeltaruleError, match=r"unknown layer 'dense_9'; did you mean 'dense_"):
        figures.bending(net, XOR_X, XOR_Y, layers=["dense_9"])
    with pytest.raises(DeltaruleError, match="bending needs a network of 2 inputs"):
        figures.bending(mlp(dr.Dense(2), inputs=3), XOR_X, XOR_Y)
    with pytest.raises(DeltaruleError, match="bending draws points in the colours of their classes; y holds measured numbers"):
        figures.bending(net, XOR_X, [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(DeltaruleError, match="most expected a whole number from 1 on, received 0"):
        figures.bending(net, XOR_X, XOR_Y, most=0)
    narrow = mlp(dr.Dense(1, "tanh"), dr.Dense(2))
    with pytest.raises(DeltaruleError, match=r"bending draws layers of at least two units, the rows of 'dense_1' have shape \(1,\)"):
        figures.bending(narrow, XOR_X, XOR_Y, layers="dense_1")
    with pytest.raises(DeltaruleError, match=r"bending needs a hidden layer of at least two units; name others with layers="):
        figures.bending(narrow, XOR_X, XOR_Y)
