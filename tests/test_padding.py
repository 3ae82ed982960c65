"""Padding never changes a result: outputs, losses, metrics and what is learnt are those of the sequences without it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule.errors import ShapeError
from deltarule.layers.forward import forward
from deltarule.losses import Output
from deltarule.losses import loss as loss_of
from deltarule.ops.compiling import QUICK
from deltarule.rowwise import ROWWISE

T, LENGTHS = 7, (7, 3, 1)
MASK = np.arange(T) < np.array(LENGTHS)[:, None]


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- losses and metrics on arrays

G = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid, "linear": lambda a: a, "exponential": jnp.exp,
     "step": lambda a: (a > 0).astype(a.dtype)}
CLASSES = np.random.default_rng(1).integers(0, 3, (3, T))
YES = np.random.default_rng(2).integers(0, 2, (3, T, 3)).astype(float)
CASES = [("cross_entropy", "softmax", CLASSES), ("cross_entropy", "softmax", np.eye(3)[CLASSES]), ("dice", "softmax", CLASSES),
         ("iou", "sigmoid", YES), ("binary_cross_entropy", "sigmoid", YES), ("binary_cross_entropy_dice", "sigmoid", YES),
         ("hinge", "linear", 2 * YES - 1), ("perceptron", "step", YES), ("poisson", "exponential", YES), ("mse", "linear", YES),
         ("sum_squared_error", "linear", YES), ("quadratic", "linear", YES), ("mae", "linear", YES), ("huber", "linear", YES)]


@pytest.mark.parametrize(("name", "activation", "y"), CASES, ids=lambda value: value if isinstance(value, str) else str(value.ndim))
def test_a_loss_and_its_gradient_are_those_of_the_real_steps(name, activation, y):
    """Whatever stands in steps of padding, of outputs and of targets alike."""
    value = loss_of(name)
    with jax.enable_x64(True):
        def rows(a, y, mask=None):
            found = value.rows(Output(G[activation](a), a, activation, mask), y)
            return jnp.sum(found), found

        a, y = jnp.asarray(2 * drawn(3, T, 3)), jnp.asarray(y)
        both = jax.jit(jax.value_and_grad(rows, has_aux=True), compiler_options=QUICK)
        (_, found), slope = both(a, y, jnp.asarray(MASK))
        for i, length in enumerate(LENGTHS):
            (_, alone), of_alone = both(a[i:i + 1, :length], y[i:i + 1, :length])
            np.testing.assert_allclose(found[i], alone[0], rtol=1e-12)
            np.testing.assert_allclose(slope[i, :length], of_alone[0], rtol=1e-12)
            np.testing.assert_array_equal(slope[i, length:], 0)


@pytest.mark.parametrize("name", sorted(ROWWISE))
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_metric_is_that_of_the_real_steps(name, outputs):
    h = jnp.asarray(drawn(3, T, outputs).astype("float32"))
    classes = jnp.asarray(CLASSES % 2 if outputs == 1 else CLASSES, "int32")
    y = jnp.asarray(YES[..., :outputs], "float32") if "error" in name else classes
    metric = jax.jit(ROWWISE[name], compiler_options=QUICK)
    found = metric(h, y, jnp.asarray(MASK))
    for i, length in enumerate(LENGTHS):
        np.testing.assert_allclose(found[i], metric(h[i:i + 1, :length], y[i:i + 1, :length])[0], rtol=1e-6)


# --- outputs

def padded_net(*layers):
    return dr.Network([dr.Masked(9.0), *layers], (4, 2))


PADDED = [padded_net(kind(3, return_sequences=True), dr.Bidirectional(kind(2)), dr.Dense(1)) for kind in (dr.SimpleRNN, dr.LSTM, dr.GRU)]
PADDED += [padded_net(dr.Dense(3, "tanh"), dr.Parallel([dr.GlobalAveragePool(), dr.GlobalMaxPool(), dr.GRU(2)]), dr.Dense(1))]
PADDED += [padded_net(dr.Dense(4), *layers) for layers in (
    [dr.TransformerEncoder(2, hidden=3), dr.Residual(dr.MultiHeadAttention(2), shortcut=dr.Dense(4)), dr.GlobalAveragePool()],
    [dr.Skip(dr.MultiHeadAttention(2, causal=True)), dr.AttentionPooling(3)],
    [dr.Positions("sinusoidal"), dr.TransformerEncoder(1, rotary=True), dr.TimeDistributed(dr.Dense(3)), dr.LSTM(3)],
    [dr.Residual(dr.AttentionPooling(), shortcut=dr.GlobalAveragePool())],
    [dr.GroupNorm(2), dr.Conv1D(3, 2, "tanh", padding="same"), dr.GRU(3)],
    [dr.Conv1D(4, 3, "relu", padding="full", groups=2), dr.MaxPool1D(2, rounding="ceil"), dr.GlobalMaxPool()],
    [dr.AveragePool1D(3, stride=1, padding=1), dr.ConvTranspose1D(2, 3, "tanh", stride=2), dr.GlobalAveragePool()])]


def summed(layer, params, x):
    """sum sin h, and h."""
    h = forward(layer, params, {}, x)[0].h
    return jnp.sum(jnp.sin(h)), h


compiled = jax.jit(jax.value_and_grad(summed, argnums=1, has_aux=True), static_argnums=0, compiler_options=QUICK)


@settings(max_examples=24)
@given(st.sampled_from(PADDED), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_appending_padding_changes_neither_outputs_nor_gradients(net, second, third, seed):
    """Rows padded to four steps, then further: outputs and gradients; the first row alone, without padding, gives the same."""
    x, _ = dr.data.pad([drawn(length, 2, seed=seed + length) for length in (2, second, third)], value=9.0, steps=4)
    longer = np.concatenate([x, np.full((3, 3, 2), 9.0)], axis=1)
    found, again, alone = (compiled(net.layer, net.params, rows.astype("float32")) for rows in (x, longer, x[:1, :2]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, again)
    np.testing.assert_allclose(alone[0][1], found[0][1][:1], atol=1e-5)


@settings(max_examples=30)
@given(st.data())
def test_windows_are_those_of_the_sequence_alone(data):
    """Convolution and pooling of every setting: outputs, how many of them are real, and gradients of weights and inputs."""
    k, S, D, rounding = (data.draw(st.sampled_from(values)) for values in ((1, 2, 3), (1, 2), (1, 2), ("floor", "ceil")))
    length, padding = data.draw(st.integers(5, 7)), data.draw(st.sampled_from(["valid", 1, ((2, 0),), "same" if S == 1 else "full"]))
    layer = data.draw(st.sampled_from([
        lambda: dr.Conv1D(4, k, "tanh", S, padding, D, rounding=rounding), lambda: dr.Conv1D(2, k, "linear", S, padding, D, groups=2),
        lambda: dr.MaxPool1D(k + 1, S, "valid" if isinstance(padding, (str, tuple)) else padding, rounding),
        lambda: dr.AveragePool1D(k + 1, S, "same" if S == 1 else "valid", rounding)]))()
    x = np.full((2, 7, 2), 9.0)
    x[0, :length], x[1] = drawn(length, 2, seed=length), drawn(7, 2)
    net = dr.Network([dr.Masked(9.0), layer], (7, 2), dtype="float64")

    def rows(params, x):
        found = forward(net.layer, params, {}, x, dtype="float64")[0]
        real = jnp.ones(found.h.shape[:2], bool) if found.mask is None else found.mask
        return jnp.sum(jnp.where(jnp.broadcast_to(real[:1, :, None], (1, *found.h.shape[1:])), jnp.sin(found.h[:1]), 0)), (found.h, real)

    with jax.enable_x64(True):
        both = jax.jit(jax.value_and_grad(rows, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
        (_, (h, real)), (of_params, of_x) = both(net.params, jnp.asarray(x))
        (_, (alone, _)), (alone_params, alone_x) = both(net.params, jnp.asarray(x[:1, :length]))
    assert real[0].tolist() == [o < alone.shape[1] for o in range(h.shape[1])]
    assert real[1].all()
    np.testing.assert_allclose(h[0, :alone.shape[1]], alone[0], atol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), of_params, alone_params)
    np.testing.assert_allclose(of_x[0, :length], alone_x[0], atol=1e-12)
    np.testing.assert_array_equal(of_x[0, length:], 0)


def test_steps_in_front_and_too_few_steps():
    """Padding in front moves what a convolution gives; a sequence shorter than the window has nothing to give."""
    net = dr.Network([dr.Masked(9.0), dr.Conv1D(3, 3, "tanh"), dr.GRU(4)], (T, 2))
    x = np.full((3, T, 2), 9.0)
    x[0, 2:], x[1, :5], x[2, :2] = drawn(5, 2), drawn(5, 2), drawn(2, 2)
    h = net.predict(x)
    np.testing.assert_allclose(h[0], h[1], atol=1e-6)
    np.testing.assert_array_equal(h[2], 0)


@pytest.mark.parametrize("value", [0.0, 9.0])
def test_explained_windows_leave_padding_out(value):
    x = np.where(MASK[..., None], drawn(3, T, 2), value)
    layers = [dr.Conv1D(3, 3, "tanh", padding="same"), dr.MaxPool1D(3, rounding="ceil"), dr.GlobalMaxPool()]
    net = dr.Network([dr.Masked(value), *layers], (T, 2))
    trace = net.trace(x, drawn(3, 3))
    assert trace["conv1d_1"].taps["mask"].tolist() == MASK.tolist()
    K, b = (trace["conv1d_1"].parameters[name] for name in ("weights", "bias"))
    a = sum(x[1, 1 + k] @ K[k, :, 1] for k in range(2)) + b[1]       # the last real step, and zeros behind it
    text = str(trace.explain("conv1d_1", unit=(2, 1), example=1))
    assert trace["conv1d_1"].preactivation[1, 2, 1] == pytest.approx(a, rel=1e-5)
    assert not value or "9" not in text.split("a_2,1 = ")[1].split("b_1")[0]
    assert "the largest of the 1 values" in str(trace.explain("max_pool1d_1", unit=(0, 1), example=2))
    assert "nothing but padding under its window" in str(trace.explain("max_pool1d_1", unit=(2, 1), example=2))


@pytest.mark.parametrize(("layer", "message"), [
    (dr.Conv1D(3, 3, stride=2, padding="same"),
     r"Conv1D cannot leave out the padding that Masked\(\) finds: with steps of 2 padding='same' begins elsewhere for other lengths; give"),
    (dr.Conv1D(3, 3, padding=1, padding_mode="reflect"),
     r"Conv1D cannot .* finds: padding_mode='reflect' begins at the ends of each sequence; use 'zeros'"),
    (dr.MaxPool1D(3, padding="same"), r"MaxPool1D cannot .* with steps of 3 padding='same' begins elsewhere"),
    (dr.AdaptiveMaxPool(2), r"AdaptiveMaxPool cannot .* depend on the length; use GlobalAveragePool or GlobalMaxPool"),
    (dr.UpSample(2), r"UpSample cannot .* finds: put it before Masked\(\)"), (dr.Pad(1), r"Pad cannot .*: put it before Masked\(\)"),
    (dr.Crop(((1, 0),)), r"Crop cannot .*: put it before Masked\(\)")])
def test_what_cannot_leave_padding_out(layer, message):
    with pytest.raises(ShapeError, match=message):
        dr.Network([dr.Masked(), layer, dr.GRU(3)], (7, 2))


def test_batch_normalization_knows_the_real_steps_alone():
    """Mean, variance, gradients and a step of training, however far the sequences are filled up; by NumPy, and from longer rows."""
    x, _ = dr.data.pad([drawn(length, 2, seed=length) for length in LENGTHS], value=9.0)
    longer = np.concatenate([x, np.full((3, 2, 2), 9.0)], axis=1)
    real, made = x[MASK], []
    for rows in (x, longer):
        net = dr.Network([dr.Masked(9.0), dr.BatchNorm(), dr.Activation("relu"), dr.Dense(1)], rows.shape[1:], dtype="float64")
        y = np.broadcast_to(np.arange(rows.shape[1])[:, None] % 3 - 2.0, (*rows.shape[:2], 1))
        net.fit(rows, y, optimizer=dr.SGD(0.1), epochs=1, batch_size=None, keep="last", progress=False)
        np.testing.assert_allclose(net.state["batch_norm_1"]["mean"], 0.1 * real.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(net.state["batch_norm_1"]["variance"], 0.9 + 0.1 * real.var(axis=0), atol=1e-12)
        made.append(net.params)
    assert not np.allclose(made[0]["batch_norm_1"]["gamma"], 1)
    for part in ("gamma", "beta"):
        np.testing.assert_allclose(made[0]["batch_norm_1"][part], made[1]["batch_norm_1"][part], atol=1e-12)
    np.testing.assert_allclose(made[0]["dense_1"]["weights"], made[1]["dense_1"]["weights"], atol=1e-12)


# --- the same through a network

def tagger(steps, seed=3):
    layers = [dr.Masked(9.0), dr.LSTM(4, return_sequences=True), dr.Dropout(0.0), dr.Dense(3, "softmax")]
    return dr.Network(layers, (steps, 2), dtype="float64", seed=seed)


def test_a_network_measures_and_learns_what_it_would_without_padding():
    """Loss and accuracy of three sequences, and a step of descent on them, against each sequence alone."""
    x, y = np.where(MASK[..., None], drawn(3, T, 2), 9.0), np.where(MASK, CLASSES, 2)
    net, alone, gradients = tagger(T), [], []
    for i, length in enumerate(LENGTHS):
        one = tagger(length)
        alone.append(one.evaluate(x[i:i + 1, :length], y[i:i + 1, :length]))
        gradients.append(one.trace(x[i:i + 1, :length], y[i:i + 1, :length])["dense_1"].gradients["weights"])
    for found in (net.evaluate(x, y), dr.Ensemble(net, 1).evaluate(x, y)):
        assert found == pytest.approx({name: np.mean([values[name] for values in alone]) for name in ("loss", "accuracy")})
    assert net.predict(x).shape == (3, T, 3)
    before = net.params["dense_1"]["weights"].copy()
    history = net.fit(x, y, optimizer=dr.SGD(0.5), epochs=1, batch_size=None, keep="last", progress=False)
    np.testing.assert_allclose(net.params["dense_1"]["weights"], before - 0.5 * np.mean(gradients, axis=0), atol=1e-12)
    assert history["accuracy"][-1] == pytest.approx(net.evaluate(x, y)["accuracy"])


def test_an_ensemble_measures_the_mean_of_its_members_on_real_steps():
    x, y = np.where(MASK[..., None], drawn(3, T, 2), 9.0), CLASSES
    ensemble = dr.Ensemble(tagger(T), 3)
    p = ensemble.predict(x)
    by_hand = [-np.mean(np.log(p[i, np.arange(length), y[i, :length]])) for i, length in enumerate(LENGTHS)]
    assert ensemble.evaluate(x, y)["loss"] == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_where_steps_are_merged_there_is_no_padding_any_more():
    """As many outputs as steps, and as many again: nothing of them is left out."""
    x = np.where(MASK[..., None], drawn(3, T, 2), 9.0)
    for last in ([dr.Flatten(), dr.Dense(T)], [dr.Reshape((2 * T,)), dr.Dense(T * 3), dr.Reshape((T, 3))]):
        net = dr.Network([dr.Masked(9.0), *last], (T, 2))
        y = drawn(3, *net.output_shape, seed=1)
        assert net.evaluate(x, y)["loss"] == pytest.approx(np.mean((net.predict(x) - y) ** 2), rel=1e-5)
    stays = dr.Network([dr.Masked(9.0), dr.Dense(6), dr.Reshape((T, 2, 3))], (T, 2))
    y = drawn(3, T, 2, 3, seed=1)
    by_hand = [np.mean((h[:length] - t[:length]) ** 2) for h, t, length in zip(stays.predict(x), y, LENGTHS, strict=True)]
    assert stays.evaluate(x, y)["loss"] == pytest.approx(np.mean(by_hand), rel=1e-5)


@dataclass(frozen=True)
class Shorter(dr.Layer):
    """A layer of one's own, without the last two steps."""

    def __call__(self, x, scope):
        return scope.tap("activation", x[:, :-2])


def test_steps_that_are_not_those_of_the_inputs():
    with pytest.raises(ShapeError, match=r"the network gives 5 steps, but Masked\(\) stood where there were 7; put it behind the layers "
                                         r"that change the number of steps, or leave it out"):
        dr.Network([dr.Masked(), Shorter()], (7, 2))
    with pytest.raises(ShapeError, match=r"GRU received 5 steps, but Masked\(\) stood where there were 7; put it behind the layers that"):
        dr.Network([dr.Masked(), Shorter(), dr.GRU(3)], (7, 2))
