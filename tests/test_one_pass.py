"""What is worked out in one pass: pooling and normalization in kernels, layers joined with their neighbours, beside the forms apart."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltarule as dr
from deltarule import kernels, textbook
from deltarule.layers import convolution
from deltarule.layers.forward import forward
from deltarule.layers.scope import Scope, flatten
from deltarule.ops import activated, native, normalization
from deltarule.ops.compiling import QUICK
from deltarule.ops.convolution import Windows
from deltarule.ops.pooling import Window, average_pool, max_pool

RNG = np.random.default_rng(3)
CHANNELS = [1, 3, 16, 17]
FORMS = {"max": (max_pool, textbook.max_pool, textbook.max_pool_backward),
         "average": (average_pool, textbook.average_pool, textbook.average_pool_backward)}


def close(given, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    assert np.all(np.isfinite(expected))
    np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@st.composite
def pools(draw):
    """(windows along each axis of space, space); windows may overlap, stand in the padding, and leave a rest."""
    axes = draw(st.sampled_from([1, 2]))
    sizes = [draw(st.integers(1, 4)) for _ in range(axes)]
    windows = tuple(Window(size, draw(st.integers(1, size)), *(draw(st.integers(0, size - 1)) for _ in range(2))) for size in sizes)
    return windows, tuple(size + draw(st.integers(0, 7)) for size in sizes)


@settings(max_examples=20)
@given(pools(), st.sampled_from(CHANNELS), st.sampled_from(sorted(FORMS)), st.integers(0, 10**6))
def test_pooling_is_the_textbooks(where, C, form, seed):
    """Whole numbers: many are equal, and the error goes to the first of them, exactly."""
    (windows, space), (pool, right, right_back) = where, FORMS[form]
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (2, *space, C)).astype(float)
    said = tuple(w.size for w in windows), tuple(w.stride for w in windows), tuple((w.before, w.after) for w in windows)
    y, back = jax.vjp(lambda x: pool(x, windows), jnp.asarray(x, "float32"))
    expected = right(x, *said)
    dy = rng.integers(-4, 5, expected.shape).astype(float)
    (dx,), tolerance = back(jnp.asarray(dy, "float32")), 0 if form == "max" else 1e-6
    close(y, expected, tolerance)
    close(dx, right_back(x, dy, *said), tolerance)


def second(energy, *values):
    """Gradients of the square of a gradient, as one program."""
    def bent(*values):
        return sum(jnp.sum(jnp.square(slope)) for slope in jax.grad(energy, tuple(range(len(values))))(*values))

    return jax.jit(jax.grad(bent, tuple(range(len(values)))), compiler_options=QUICK)(*values)


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives_of_pooling(form, monkeypatch):
    pool, windows = FORMS[form][0], (Window(3, 2, 1, 0), Window(2, 1, 0, 1))
    x = jnp.asarray(RNG.normal(size=(2, 5, 6, 3)), "float32")
    found = second(lambda x: jnp.sum(jnp.sin(pool(x, windows))), x)[0]
    monkeypatch.setattr(native, "runs", lambda dtype: False)
    close(found, second(lambda x: jnp.sum(jnp.sin(pool(x, windows))), x)[0])


@pytest.mark.parametrize("counted", [None, [True, False, True]], ids=["all count", "some count"])
@pytest.mark.parametrize("relu", ["linear", "relu", "plus"])
@pytest.mark.parametrize("C", CHANNELS)
def test_batch_norm_is_the_textbooks(C, relu, counted):
    """With a mean that is large beside the spread: numbers near 10^4 keep three digits behind the point, and no more is lost."""
    x = (1e4 * np.sign(RNG.normal(size=C)) + RNG.normal(size=(3, 5, 4, C))).astype("float32").astype(float)
    gamma, beta, plus = RNG.normal(size=C), RNG.normal(size=C), RNG.normal(size=x.shape) if relu == "plus" else None
    rows = np.ones(3, bool) if counted is None else np.array(counted)
    run = textbook.batch_norm(x[rows], gamma, beta)
    sums = textbook.batch_norm_predict(x, gamma, beta, run.mu, run.var) + (0 if plus is None else plus)
    on = sums > 0 if relu != "linear" else np.ones(x.shape, bool)
    dy = RNG.normal(size=x.shape) * (np.abs(sums) > 0.01) * rows.reshape(3, 1, 1, 1)       # errors of rows that count, no near decisions
    back = textbook.norm_backward(run, gamma, (dy * on)[rows])

    x32, gamma32, beta32, dy32 = (jnp.asarray(value, "float32") for value in (x, gamma, beta, dy))
    given, plus32 = None if counted is None else jnp.asarray(counted), None if plus is None else jnp.asarray(plus, "float32")
    (y, mu, variance), pull = jax.vjp(lambda *values: normalization.batch_norm(*values[:3], given, 1e-5, relu != "linear", *values[3:]),
                                      x32, gamma32, beta32, *([] if plus is None else [plus32]))
    dx, dgamma, dbeta, *dplus = pull((dy32, jnp.zeros_like(mu), jnp.zeros_like(mu)))
    close(mu, run.mu, 1e-7)
    close(variance, run.var)
    close(y, sums * on, 2e-3)
    close(dgamma, back["gamma"], 2e-3)
    close(dbeta, back["beta"])
    close(dx[rows], back["x"], 2e-3)
    if plus is not None:
        close(dplus[0], dy * on)


@pytest.mark.parametrize("relu", ["linear", "relu", "plus"])
def test_gradients_of_batch_norm_are_those_of_the_equation(relu):
    """In float64, as it stands, with errors from rows that do not count, too; and the second derivatives."""
    values = {"x": RNG.normal(1, 2, size=(3, 3, 2, 5)), "gamma": RNG.normal(size=5), "beta": RNG.normal(size=5)}
    values |= {"plus": RNG.normal(size=(3, 3, 2, 5))} if relu == "plus" else {}
    dy = RNG.normal(size=(3, 3, 2, 5))

    def gradients(form, dtype):
        given = {name: jnp.asarray(value, dtype) for name, value in values.items()}
        def energy(x, gamma, beta, plus=None):
            y, _, _ = form(x, gamma, beta, jnp.asarray([True, True, False]), plus, 1e-3, relu != "linear")
            return jnp.sum(jnp.sin(y) * jnp.asarray(dy, dtype))
        return *jax.grad(energy, tuple(range(len(given))))(*given.values()), *second(energy, *given.values())

    def in_one_pass(x, gamma, beta, counted, plus, *rest):
        return normalization.batch_norm(x, gamma, beta, counted, *rest, plus)

    found = gradients(in_one_pass, "float32")
    with jax.enable_x64(True):
        expected = gradients(normalization._as_it_stands, "float64")
    for mine, right in zip(found, expected, strict=True):
        close(mine, right, 1e-4)


def test_batch_norm_of_more_images_than_there_are_partial_sums():
    """70 images: some of the 64 sums hold two, and not all images count."""
    x, dy, counted = RNG.normal(3, 2, size=(70, 2, 3, 17)), RNG.normal(size=(70, 2, 3, 17)), jnp.asarray(RNG.random(70) > 0.3)
    gamma, beta = RNG.normal(size=(2, 17))

    def everything(form, dtype):
        y, back = jax.vjp(lambda *values: form(*values)[0], *(jnp.asarray(value, dtype) for value in (x, gamma, beta)))
        return y, *back(jnp.asarray(dy, dtype))

    found = everything(lambda x, gamma, beta: normalization.batch_norm(x, gamma, beta, counted, 1e-5, True), "float32")
    with jax.enable_x64(True):
        expected = everything(lambda x, gamma, beta: normalization._as_it_stands(x, gamma, beta, counted, None, 1e-5, True), "float64")
    for mine, right in zip(found, expected, strict=True):
        close(mine, right)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 2)], ids=["first", "middle", "last"])
def test_what_is_not_finite_comes_through_as_in_the_form_apart(value, place, monkeypatch):
    """NaN reaches the output through ReLU, pooling and normalization, wherever it stands in its window: training must stop on it."""
    x = RNG.normal(size=(2, 6, 6, 3)).astype("float32")
    x[1, place[0], 3 + place[1], 2] = value
    K, gamma, plus = np.ones((1, 1, 1, 1), "float32"), np.ones(3, "float32"), np.zeros_like(x)
    window = (Window(3, 3),) * 2

    def everything():
        one = jnp.asarray(x[..., 2:])
        at = (1, 1), ((0, 0), (0, 0)), (1, 1)
        yield activated.convolve_activated(one, jnp.asarray(K), None, *at, "relu")
        yield activated.convolve_activated(one, jnp.asarray(K), None, *at, "relu", (3, 3))
        yield activated.convolve_activated(one, jnp.asarray(K), None, *at, "tanh", (3, 3))
        yield activated.convolve_activated(one, jnp.asarray(K), None, *at, "tanh", (3, 3), True)
        yield max_pool(one, window)
        yield average_pool(one, window)
        for relu, added in ((False, None), (True, None), (True, jnp.asarray(plus))):
            yield normalization.batch_norm(jnp.asarray(x), jnp.asarray(gamma), jnp.zeros(3), None, 1e-5, relu, added)[0]

    found = [*map(np.asarray, everything())]
    monkeypatch.setattr(native, "runs", lambda dtype: False)
    for mine, apart in zip(found, everything(), strict=True):
        np.testing.assert_allclose(mine, apart, rtol=1e-5, atol=1e-5)
        assert np.isnan(mine).any() or not np.isnan(value)
    assert [np.isnan(found[i]).sum() for i in (1, 2, 3, 4, 5)] == [int(np.isnan(value))] * 5


def test_members_of_an_ensemble_and_the_same_bits_every_time():
    x = jnp.asarray(RNG.normal(size=(5, 8, 9, 3)), "float32")
    K, gamma = jnp.asarray(RNG.normal(size=(3, 3, 3, 3, 6)), "float32"), jnp.asarray(RNG.normal(size=(3, 6)), "float32")

    def energy(K, gamma):
        h = activated.convolve_activated(x, K, None, (1, 1), ((1, 1), (0, 1)), (1, 1), "relu", (2, 2))
        y, _, _ = normalization.batch_norm(h, gamma, jnp.zeros(6), None, 1e-5, True)
        return jnp.sum(jnp.sin(average_pool(max_pool(y, (Window(3, 1, 1, 1), Window(2, 1))), (Window(2, 2), Window(2, 2)))))

    slopes = jax.jit(jax.value_and_grad(energy, (0, 1)), compiler_options=QUICK)
    alone = [jax.tree.leaves(slopes(K[i], gamma[i])) for i in range(3)]
    for again in range(3):
        for first, other in zip(alone[again], jax.tree.leaves(slopes(K[again], gamma[again])), strict=True):
            np.testing.assert_array_equal(first, other)
    together = jax.tree.leaves(jax.jit(jax.vmap(jax.value_and_grad(energy, (0, 1))), compiler_options=QUICK)(K, gamma))
    for i in range(3):
        for member, own in zip(together, alone[i], strict=True):
            np.testing.assert_allclose(member[i], own, rtol=1e-5, atol=1e-5 * np.abs(own).max())


BEHIND = {
    "a window after the other, and a rest": (Windows((7, 8), (3, 2), (1, 2), ((1, 0), (0, 1)), (1, 1), 1), 3, 4, (2, 3)),
    "pairs of outputs": (Windows((9, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1), 9, 17, (2, 2)),
    "three rows at once": (Windows((7, 9), (3, 3), (1, 1), ((0, 0), (1, 0)), (1, 1), 1), 8, 11, (2, 2)),
    "one channel": (Windows((9, 11), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1), 1, 6, (2, 2)),
    "pixels that count as one": (Windows((8, 13), (3, 4), (1, 1), ((1, 1), (2, 1)), (1, 1), 1), 3, 4, (2, 3)),
    "pixels that count as one, in rows that are left over": (Windows((7, 12), (3, 3), (1, 1), ((1, 0), (1, 1)), (1, 1), 1), 1, 2, (3, 5)),
    "a sequence": (Windows((14,), (3,), (1,), ((1, 1),), (1,), 1), 2, 5, (3,)),
    "no pooling": (Windows((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1), 2, 18, None),
}


@pytest.mark.parametrize("average", [False, True], ids=["largest", "means"])
@pytest.mark.parametrize("activation", activated.ACTIVATIONS)
@pytest.mark.parametrize("case", BEHIND.values(), ids=BEHIND)
def test_what_follows_a_convolution_is_the_equation_as_it_stands(case, activation, average):
    """In float64: the values, the first derivatives, with no dL/dx and no bias as well, and the second."""
    at, C, F, pool = case
    values = [RNG.normal(size=size) for size in ((2, *at.space, C), (*at.kernel, C, F), (F,))]

    def everything(form, dtype):
        def energy(x, K, b):
            return jnp.sum(jnp.sin(form(x, K, b)))

        def in_first_order(x, K, b):
            return (form(x, K, b), form(x, K, None), *jax.grad(energy, (0, 1, 2))(x, K, b), *jax.grad(energy, (1, 2))(x, K, b),
                    *jax.grad(energy, (0, 1))(x, K, None))

        given = [jnp.asarray(value, dtype) for value in values]
        return *jax.jit(in_first_order, compiler_options=QUICK)(*given), *second(energy, *given)

    found = everything(lambda x, K, b: activated.convolve_activated(x, K, b, at.stride, at.padding, at.dilation, activation, pool,
                                                                    average), "float32")
    with jax.enable_x64(True):
        behind = activated.Behind(activation, pool or (1,) * len(at.space), average)
        expected = everything(lambda x, K, b: activated._apart(x, K, b, at, behind), "float64")
    for number, (mine, right) in enumerate(zip(found, expected, strict=True)):
        close(mine, right, 1e-5 if number < 9 else 1e-4)


def images():
    return dr.Network([dr.Conv2D(6, 3, "relu", padding="same"), dr.MaxPool2D(2), dr.Conv2D(5, 3, "tanh", padding="same"),
                       dr.AveragePool2D((1, 2)), dr.Conv2D(5, 3, use_bias=False, padding=((0, 0), 1)), dr.BatchNorm(),
                       dr.Activation("relu"), dr.Residual([dr.Conv2D(5, 3, padding="same"), dr.BatchNorm()]), dr.Activation("relu"),
                       dr.Conv2D(4, 1, "relu"), dr.MaxPool2D(3, stride=2, padding="same"), dr.Flatten(), dr.Dense(3, "softmax")],
                      (11, 12, 2), seed=1)


@pytest.fixture
def convolutions(monkeypatch):
    """The pooling that went into one pass with each convolution, as they come."""
    calls = []
    original = convolution.convolve_activated
    monkeypatch.setattr(convolution, "convolve_activated", lambda *values: calls.append(values[7]) or original(*values))
    return calls


def test_joined_layers_do_what_they_do_apart(convolutions, monkeypatch):
    """Training and predicting: the output, every gradient, the running averages; names and parameters are those of the layers."""
    net = images()
    x, y = RNG.normal(size=(4, 11, 12, 2)).astype("float32"), np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    assert not [pool for pool in convolutions if pool], "planning looks at every layer"

    def everything():
        def loss(params):
            output, state = forward(net.layer, params, net.state, jnp.asarray(x), training=True, counted=jnp.asarray([1, 1, 1, 0], bool))
            return -jnp.mean(jnp.sum(jnp.log(output.h) * y, axis=-1)), (state, output.h)

        (value, (state, h)), slopes = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)(net.params)
        predicted = jax.jit(lambda x: forward(net.layer, net.params, state, x)[0].h, compiler_options=QUICK)(x)
        return {"loss": value, "h": h, "predicted": predicted, **flatten(state), **flatten(slopes)}

    del convolutions[:]
    joined = everything()
    assert convolutions == [(2, 2), (1, 2), None, None, None] * 2     # windows that overlap or are padded have a pass of their own
    monkeypatch.setattr(Scope, "joinable", False)
    monkeypatch.setattr(native, "runs", lambda dtype: False)
    del convolutions[:]
    apart = everything()
    assert convolutions == [None] * 10
    assert set(joined) == set(apart) >= {*flatten(net.params), *flatten(net.state)}
    for name, value in joined.items():
        close(value, apart[name], 1e-4)


def test_a_watched_network_predicts_the_same():
    net, x = images(), RNG.normal(size=(3, 11, 12, 2)).astype("float32")
    trace = net.trace(x, np.array([0, 1, 2]))
    close(trace.output, net.predict(x))
    np.testing.assert_array_equal(trace["activation_1"].activation, np.maximum(trace["batch_norm_1"].activation, 0))


@dataclass(frozen=True)
class Doubled(dr.Conv2D):
    def __call__(self, x, scope):
        return 2 * super().__call__(x, scope)


@dataclass(frozen=True)
class Reversed(dr.MaxPool2D):
    def __call__(self, x, scope):
        return -super().__call__(x, scope)


@dataclass(frozen=True)
class Shifted(dr.BatchNorm):
    def __call__(self, x, scope):
        return super().__call__(x, scope) + 3


@dataclass(frozen=True)
class Twice(dr.Sequential):
    def __call__(self, x, scope):
        return 2 * super().__call__(x, scope)


@pytest.mark.parametrize("layers", [
    [Doubled(3, 3, "relu"), dr.MaxPool2D(2)],
    [dr.Conv2D(3, 3, "relu"), Reversed(2)],
    [Shifted(), dr.Activation("relu")],
    [dr.Residual(Shifted()), dr.Activation("relu")],
    [dr.Residual(Twice([dr.Conv2D(2, 1), dr.BatchNorm()])), dr.Activation("relu")],
], ids=["convolution", "pooling", "normalization", "end of a residual", "body of a residual"])
def test_an_equation_of_ones_own_is_not_passed_over(layers, monkeypatch):
    net, x = dr.Network(layers, (6, 7, 2), seed=2), jnp.asarray(RNG.normal(size=(4, 6, 7, 2)), "float32")

    def trained():
        return forward(net.layer, net.params, net.state, x, training=True)[0].h

    joined = trained()
    monkeypatch.setattr(Scope, "joinable", False)
    close(joined, trained())


def test_the_summary_counts_layers_in_one_pass(monkeypatch):
    """Multiply-adds of each layer by hand; the same with the kernels and without."""
    def counted():
        net = dr.Network([dr.Conv2D(8, 3, "relu"), dr.MaxPool2D(2), dr.Residual([dr.Conv2D(8, 3, padding="same"), dr.BatchNorm(),
                          dr.Activation("relu"), dr.Parallel([dr.Conv2D(4, 1), dr.Conv2D(4, 1)])]), dr.Activation("relu"), dr.Flatten(),
                          dr.Dense(2)], (12, 12, 1))
        return {row.path: row.multiply_adds for row in net.summary().rows if row.multiply_adds}

    expected = {"conv2d_1": 100 * 9 * 8, "residual_1/body/conv2d_1": 25 * 9 * 8 * 8, "residual_1/body/parallel_1/conv2d_1": 25 * 8 * 4,
                "residual_1/body/parallel_1/conv2d_2": 25 * 8 * 4, "dense_1": 400}
    assert counted() == expected
    monkeypatch.setattr(native, "runs", lambda dtype: not kernels.kernels().ready)
    assert counted() == expected
