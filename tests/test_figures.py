"""What is drawn is what the network holds: widths, colours, lines, contours and landscapes against the numbers themselves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from scipy.special import expit

import deltarule as dr
from deltarule import figures
from deltarule.errors import DataError, DeltaruleError, ShapeError
from deltarule.figures.frame import NEGATIVE, POSITIVE
from deltarule.layers.layer import Layer

XOR_X, XOR_Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def mlp(*layers, inputs=2, seed=1, **options):
    return dr.Network(list(layers), input_shape=(inputs,), seed=seed, **options)


def copied(params):
    return {name: {key: np.array(value) for key, value in layer.items()} for name, layer in params.items()}


def same(one, other):
    return all(np.array_equal(one[name][key], other[name][key]) for name in one for key in one[name])






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
