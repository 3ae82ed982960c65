"""What is drawn is what the network holds: widths, colours, lines, contours and landscapes against the numbers themselves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from scipy.special import expit

import deltarule as dr
from deltarule import figures
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import NEGATIVE, POSITIVE, as_classes, limits
from deltarule.layers.layer import Layer

XOR_X, XOR_Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def mlp(*layers, inputs=2, seed=1, **options):
    return dr.Network(list(layers), input_shape=(inputs,), seed=seed, **options)


def copied(params):
    return {name: {key: np.array(value) for key, value in layer.items()} for name, layer in params.items()}


def same(one, other):
    return all(np.array_equal(one[name][key], other[name][key]) for name in one for key in one[name])


@pytest.fixture(scope="module")
def sigmoid_net():
    """Three sigmoid units and one, with biases that are not zero."""
    net = mlp(dr.Dense(3, "sigmoid"), dr.Dense(1, "sigmoid"), dtype="float64")
    rng = np.random.default_rng(0)
    net.params = {name: {key: rng.normal(size=value.shape) * 2 for key, value in layer.items()} for name, layer in net.params.items()}
    net.params["dense_2"]["bias"] = -expit(net.params["dense_1"]["bias"]) @ net.params["dense_2"]["weights"]     # h = 0.5 at x = 0
    return net


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(3)
    return rng.normal(size=(29, 2)), rng.integers(0, 2, 29)


# ------------------------------------------------------------------- diagram


def circles(ax):
    return [patch for patch in ax.patches if isinstance(patch, Circle)]


def test_diagram_line_widths_are_proportional_to_the_weights_and_colours_tell_the_sign():
    net = mlp(dr.Dense(5, "tanh"), dr.Dense(3, "softmax"), inputs=2)
    ax = figures.network(net).axes[0]
    assert len(circles(ax)) == 2 + 5 + 3
    drawn = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    weights = [net.params[name]["weights"] for name in ("dense_1", "dense_2")]
    largest = max(np.abs(W).max() for W in weights)
    assert [len(lines.get_segments()) for lines in drawn] == [10, 15]
    for lines, W in zip(drawn, weights, strict=True):
        order = np.argsort(np.abs(W.reshape(-1).astype(float)), kind="stable")
        np.testing.assert_allclose(lines.get_linewidths(), 4 * np.abs(W.reshape(-1)[order]) / largest, rtol=1e-6)
        expected = [to_rgba(POSITIVE if w > 0 else NEGATIVE, 0.75) for w in W.reshape(-1)[order]]
        np.testing.assert_allclose(lines.get_colors(), expected)


def test_diagram_lines_join_the_units_of_their_weight():
    """The thickest line of the figure runs from the input to the unit of the largest weight."""
    net = mlp(dr.Dense(3), inputs=2)
    net.params["dense_1"]["weights"] = np.array([[0.1, 0.2, -0.3], [0.1, -7.0, 0.5]], np.float32)
    ax = figures.network(net).axes[0]
    centres = [circle.center for circle in circles(ax)]         # inputs from above, then units from above
    np.testing.assert_allclose(ax.collections[0].get_segments()[-1], [centres[1], centres[2 + 1]])


def test_diagram_of_large_layers_shows_the_first_and_last_units():
    net = mlp(dr.Flatten(), dr.Dense(31, "sigmoid"), dr.Dropout(0.2), dr.Dense(7), dr.Activation("tanh"), inputs=47)
    ax = figures.network(net, most_units=5).axes[0]
    texts = [text.get_text() for text in ax.texts]
    assert len(circles(ax)) == 15
    assert texts.count("⋮") == 3
    assert {"47 units", "31 units", "7 units", "sigmoid", "dropout 0.2", "tanh"} <= set(texts)
    widths = ax.collections[0].get_linewidths()
    rows, columns = [0, 1, 2, 45, 46], [0, 1, 2, 29, 30]
    shown = net.params["dense_1"]["weights"][np.ix_(rows, columns)]
    largest = max(np.abs(net.params[name]["weights"]).max() for name in net.params)
    np.testing.assert_allclose(widths, 4 * np.sort(np.abs(shown.reshape(-1))) / largest, rtol=1e-6)


def test_diagram_with_a_trace_is_filled_by_the_activations_of_one_example(sigmoid_net, cloud):
    fig = figures.network(sigmoid_net, trace=sigmoid_net.trace(cloud[0]), example=4)
    hidden = expit(cloud[0][4] @ sigmoid_net.params["dense_1"]["weights"] + sigmoid_net.params["dense_1"]["bias"])
    values = [*cloud[0][4], *hidden, *sigmoid_net.predict(cloud[0][4:5])[0]]
    inscribed = [text.get_text() for text in fig.axes[0].texts if "." in text.get_text() or text.get_text() == "0"]
    np.testing.assert_allclose([float(text) for text in inscribed], values, atol=0.006)
    assert fig.axes[1].get_ylabel() == "activation, example 4"


def test_deltas_stand_above_the_units():
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2, "softmax")], 4)
    x, y = np.random.default_rng(0).normal(size=(5, 4)), np.array([0, 1, 1, 0, 1])
    trace = net.trace(x, y)
    texts = [text.get_text() for text in dr.figures.network(net, trace=trace, example=3, deltas=True).axes[0].texts]
    for layer in trace:
        assert {f"{delta:+.2g}" for delta in layer.delta[3]} <= set(texts)
    assert not any(text.startswith("+") for text in (t.get_text() for t in dr.figures.network(net, trace=trace).axes[0].texts))
    with pytest.raises(DeltaruleError, match=r"deltas need a trace with targets; write network\(net, trace=net.trace\(x, y\)"):
        dr.figures.network(net, deltas=True)
    with pytest.raises(DeltaruleError, match=r"delta needs targets; write net.trace\(x, y\)"):
        dr.figures.network(net, trace=net.trace(x), deltas=True)


def test_every_network_has_a_diagram():
    @dataclass(frozen=True)
    class Doubled(Layer):
        def __call__(self, x, scope):
            return 2 * x

    layers = [dr.Dense(8), dr.Residual([dr.Dense(7, "relu"), dr.Dense(8)]), dr.Residual(dr.Dense(4), shortcut=dr.Dense(4)),
              dr.Skip(dr.Dense(4)), dr.Parallel([dr.Dense(3), dr.Dense(5)]), Doubled()]
    fig = figures.network(mlp(*layers, inputs=5))
    texts = [text.get_text() for text in fig.axes[0].texts]
    boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 1 + 9
    assert len(circles(fig.axes[0])) == 4
    assert [text for text in texts if text in ("+", "||")] == ["+", "+", "||", "||"]
    assert {"input", "(5,)", "Dense, relu", "(7,)", "residual_1", "shortcut", "skip_1",
             "parallel_1", "concatenate", "doubled_1", "Doubled", "(8,)"} <= set(texts)


def test_diagram_of_a_layer_alone_and_of_sequences():
    assert len(circles(figures.network(dr.Network(dr.Dense(3), (2,))).axes[0])) == 5
    assert not circles(figures.network(dr.Network([dr.Dense(3)], (7, 2))).axes[0])


# --------------------------------------------------------- activations, neuron


def test_activations_draw_the_function_and_its_slope():
    ax = figures.activations(["tanh", "exponential", "softmax"]).axes
    a, h = ax[0].lines[0].get_data()
    np.testing.assert_allclose(h, np.tanh(a), atol=1e-6)
    np.testing.assert_allclose(ax[0].lines[1].get_ydata(), 1 - np.tanh(a) ** 2, atol=1e-6)
    np.testing.assert_allclose(ax[2].lines[0].get_ydata(), expit(a), atol=1e-6)
    assert ax[1].get_ylim()[1] < 5                      # exp(4) = 55 does not hide the rest
    assert [panel.get_title() for panel in ax] == ["tanh", "exponential", "softmax of (a, 0)"]


def test_steps_are_drawn_with_a_gap():
    line = figures.activations("step").axes[0].lines[0]
    a, h = line.get_data()
    assert np.isnan(h).sum() == 1
    assert a[np.isnan(h)] == 0


def test_neuron_weights_steepen_and_biases_shift():
    left, right = figures.neuron(weights=(1, 3), biases=(-2, 0, 2)).axes
    for line, w in zip(left.lines, (1, 3), strict=True):
        np.testing.assert_allclose(line.get_ydata(), expit(w * line.get_xdata()), atol=1e-6)
    for line, b in zip(right.lines, (-2, 0, 2), strict=True):
        np.testing.assert_allclose(line.get_ydata(), expit(line.get_xdata() + b), atol=1e-6)


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


# ------------------------------------------------------- fits, images, saving


def test_fit_with_units_draws_the_network_and_its_hidden_units():
    net = mlp(dr.Dense(3, "tanh"), dr.Dense(1), inputs=1, dtype="float64")
    x = np.linspace(-1, 1, 11)[:, None]
    ax = figures.fit_with_units(net, x, x[:, 0] ** 2, title="square").axes[0]
    *units, curve = [line.get_ydata() for line in ax.lines]
    layer, at = net.params["dense_1"], ax.lines[0].get_xdata()[:, None]
    np.testing.assert_allclose(np.array(units).T, np.tanh(at @ layer["weights"] + layer["bias"]), atol=1e-12)
    np.testing.assert_allclose(curve, net.predict(at)[:, 0])
    assert all(line.is_dashed() for line in ax.lines[:3])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), np.concatenate([x, x**2], axis=1))
    assert len(figures.fit_with_units(net, x, x**2, layer="dense_2").axes[0].lines) == 2


def test_fit_with_units_refuses():
    net, x = mlp(dr.Dense(1), inputs=1), np.zeros((3, 1))
    with pytest.raises(DeltaruleError, match="unknown layer 'dense_2'; did you mean 'dense_1'"):
        figures.fit_with_units(net, x, x, layer="dense_2")
    with pytest.raises(ShapeError, match=r"y has shape \(2,\) for 3 rows of x"):
        figures.fit_with_units(net, x, [0.0, 1.0])
    with pytest.raises(DeltaruleError, match="fit_with_units needs a network of one input"):
        figures.fit_with_units(mlp(dr.Dense(1)), x, x)
    with pytest.raises(DeltaruleError, match=r"fit_with_units draws one output, this network gives rows of shape \(2,\)"):
        figures.fit_with_units(mlp(dr.Dense(2), inputs=1), x, x)


def test_images_share_one_scale_centred_on_zero_where_signed():
    values = np.arange(5 * 3 * 2, dtype=float).reshape(5, 3, 2) - 7
    fig = figures.image_grid(values, titles=list("abcde"), columns=2, label="weight")
    assert len(fig.axes) == 5 + 1
    for ax, value in zip(fig.axes, values, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), value)
        assert ax.images[0].get_clim() == (-22, 22)
    assert [ax.get_title() for ax in fig.axes[:5]] == list("abcde")
    assert fig.axes[5].get_ylabel() == "weight"
    assert figures.image_grid(values[..., None] + 7).axes[0].images[0].get_clim() == (0, 29)
    colours = np.full((2, 3, 5, 3), 51, np.uint8)
    np.testing.assert_allclose(figures.image_grid(colours).axes[0].images[0].get_array(), 0.2)


def test_images_refuse():
    with pytest.raises(ShapeError, match=r"image_grid expected images of shape \(n, height, width\), .* received \(3, 64\)"):
        figures.image_grid(np.zeros((3, 64)))
    with pytest.raises(DeltaruleError, match="titles expected 3 words, one for each image, received 2"):
        figures.image_grid(np.zeros((3, 5, 5)), titles=["a", "b"])
    with pytest.raises(DeltaruleError, match="columns expected a whole number from 1 on, received 0"):
        figures.image_grid(np.zeros((3, 5, 5)), columns=0)
    with pytest.raises(DataError, match=r"images holds values that are not finite; write np\.nan_to_num\(images\)"):
        figures.image_grid(np.full((2, 3, 3), np.nan))
    with pytest.raises(DataError, match="images holds text"):
        figures.image_grid([[["a"]]])


@pytest.mark.parametrize(("name", "begin"), [("a.svg", b"<?xml"), ("b.PNG", b"\x89PNG")])
def test_saved_figures_are_the_same_bytes_every_time(tmp_path, name, begin):
    first, second = (figures.neuron(weights=[1], biases=[0]) for _ in range(2))
    files = []
    for fig in (first, second, second):                     # two figures alike, and one that has been drawn before
        figures.save(fig, tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0].startswith(begin)
    assert files[0] == files[1] == files[2]
    assert b"date>" not in files[0]


def test_saving_refuses(tmp_path):
    with pytest.raises(DeltaruleError, match=r"figures are saved as \.svg or \.png, received .*a\.jpg; choose one of these suffixes"):
        figures.save(figures.neuron(), tmp_path / "a.jpg")
    with pytest.raises(DeltaruleError, match=r"save expected a matplotlib figure, received str; .* save\(figure, path\)"):
        figures.save("a.png", figures.neuron())
    with pytest.raises(DeltaruleError, match="dpi expected a whole number from 1 on, received 0"):
        figures.save(figures.neuron(), tmp_path / "a.png", dpi=0)
    with pytest.raises(DeltaruleError, match=r"cannot write .*: its folder does not exist; create it first"):
        figures.save(figures.neuron(), tmp_path / "none" / "a.png")
    assert not list(tmp_path.iterdir())


def test_the_other_figures_refuse():
    net = mlp(dr.Dense(1))
    with pytest.raises(DeltaruleError, match="network draws a Network, received int"):
        figures.network(3)
    with pytest.raises(DeltaruleError, match="most_units expected a whole number from 2 on, received 1"):
        figures.network(net, most_units=1)
    with pytest.raises(DeltaruleError, match="there are 4 examples in the trace, numbered from 0; received 4"):
        figures.network(net, trace=net.trace(XOR_X), example=4)
    with pytest.raises(DeltaruleError, match="unknown activation 'sigmoit'; did you mean 'sigmoid'"):
        figures.activations(["sigmoit"])
    with pytest.raises(DeltaruleError, match=r"trace expected what net\.trace\(x\) returns, received dict"):
        figures.network(net, trace={})
    with pytest.raises(DeltaruleError, match=r"the trace belongs to another network; make it with net\.trace\(x\) of this one"):
        figures.network(mlp(dr.Dense(3)), trace=net.trace(XOR_X))
    with pytest.raises(DeltaruleError, match=r"activations expected names such as \['sigmoid', 'relu'\], received \[\]"):
        figures.activations([])
    with pytest.raises(DeltaruleError, match=r"neuron expected a list of numbers as biases, received \[\]"):
        figures.neuron(biases=[])
    with pytest.raises(DeltaruleError, match="columns expected a whole number from 1 on, received 0"):
        figures.activations(["relu"], columns=0)
    with pytest.raises(DeltaruleError, match="bending draws a Network, received str"):
        figures.bending("net", XOR_X, XOR_Y)


def test_all_figures_are_public_and_readable():
    """Every name is documented and returns a figure, no letter is smaller than 8 points, and nothing uses pyplot's hidden state."""
    fig = figures.confusion([[3, 1], [0, 4]], ["no", "yes"])
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    more = [figures.roc([0, 1, 1, 0], p, ["no", "yes"]), figures.precision_recall([0, 1, 1, 0], p, ["no", "yes"]),
            figures.calibration([0, 1, 1, 0], p), figures.activations(["relu"]), figures.neuron(), figures.network(mlp(dr.Dense(3)))]
    for figure in (fig, *more):
        assert isinstance(figure, Figure)
        assert min(text.get_fontsize() for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))) >= 8
    folder = Path(figures.__file__).parent
    assert not [path.name for path in folder.glob("*.py") if "pyplot" in path.read_text()]
    for name in ("network", "activations", "neuron", "decision_regions", "loss_surface", "bending", "learning_curves", "confusion",
                 "roc", "precision_recall", "calibration", "fit_with_units", "image_grid", "augmented", "save"):
        assert getattr(figures, name).__doc__, name
