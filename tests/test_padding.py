"""Padding never changes a result: outputs, losses, metrics and what is learnt are those of the sequences without it."""

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
    [dr.Residual(dr.AttentionPooling(), shortcut=dr.GlobalAveragePool())])]


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


def test_steps_that_are_not_those_of_the_inputs():
    with pytest.raises(ShapeError, match=r"the network gives 5 steps, but Masked\(\) stood where there were 7; put it behind the layers "
                                         r"that change the number of steps, or leave it out"):
        dr.Network([dr.Masked(), dr.Conv1D(3, 3)], (7, 2))
