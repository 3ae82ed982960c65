"""Optimizers against a transcription of the published formulas in NumPy float64, and on functions with known minima."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from deltarule.errors import DeltaruleError
from deltarule.optimizers import LBFGS, OPTIMIZERS, SGD, Adagrad, Adam, AdamW, GradientDescent, Optimizer, RMSprop, optimizer
from deltarule.schedules import CosineDecay, ExponentialDecay, WarmupCosine
from deltarule.spec import from_json, to_json

START = {"weights": np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.5]]), "bias": np.array([0.2, -0.7, 5.0])}
CURVATURE = {"weights": np.array([[3.0, 1.0, 0.2], [2.0, 5.0, 0.7]]), "bias": np.array([1.0, 11.0, 0.3])}
MINIMUM = {"weights": np.full((2, 3), 0.1), "bias": np.array([1.0, -1.0, 2.0])}


def gradient(theta):
    """Of the quadratic sum c (theta - minimum)^2 / 2."""
    return jax.tree.map(lambda t, c, m: c * (t - m), theta, CURVATURE, MINIMUM)


def loss(theta):
    return sum(jnp.sum(c * (t - m) ** 2) / 2 for t, c, m in
               zip(jax.tree.leaves(theta), jax.tree.leaves(CURVATURE), jax.tree.leaves(MINIMUM), strict=True))


# The formulas, once more and apart from the library: (theta, g, memory, t, options) -> theta, for one array

def plain(theta, g, memory, t, eta=0.01):
    return theta - eta * g


def momentum(theta, g, memory, t, eta=0.05, mu=0.9, nesterov=False):
    memory["v"] = mu * memory.get("v", 0) + g
    return theta - eta * (mu * memory["v"] + g if nesterov else memory["v"])


def rmsprop(theta, g, memory, t, eta=0.02, decay=0.8, mu=0.0):
    memory["s"] = decay * memory.get("s", 0) + (1 - decay) * g**2
    memory["v"] = mu * memory.get("v", 0) + eta * g / (np.sqrt(memory["s"]) + 1e-8)
    return theta - memory["v"]


def adagrad(theta, g, memory, t, eta=0.3):
    memory["s"] = memory.get("s", 0) + g**2
    return theta - eta * g / np.sqrt(memory["s"] + 1e-8)


def adam(theta, g, memory, t, eta=0.1, beta1=0.7, beta2=0.9, weight_decay=0.0):
    memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * g
    memory["s"] = beta2 * memory.get("s", 0) + (1 - beta2) * g**2
    m, s = memory["m"] / (1 - beta1**t), memory["s"] / (1 - beta2**t)
    return theta - eta * m / (np.sqrt(s) + 1e-8) - eta * weight_decay * theta


RULES = [
    (GradientDescent(), plain, {}),
    (SGD(0.05, momentum=0.9), momentum, {}),
    (SGD(0.05, momentum=0.9, nesterov=True), momentum, {"nesterov": True}),
    (RMSprop(0.02, decay=0.8), rmsprop, {}),
    (RMSprop(0.02, decay=0.8, momentum=0.5), rmsprop, {"mu": 0.5}),
    (Adagrad(0.3), adagrad, {}),
    (Adam(0.1, beta1=0.7, beta2=0.9), adam, {}),
    (AdamW(0.1, beta1=0.7, beta2=0.9, weight_decay=0.2), adam, {"weight_decay": 0.2}),
]


def five_steps(given, gradients=gradient, steps_per_epoch=2, epochs=3):
    """The weights after each of the first five steps, as the engine takes them, in float64."""
    with jax.enable_x64(True):
        rule = given.build(steps_per_epoch, epochs)
        theta = jax.tree.map(jnp.asarray, START)
        state, path = rule.init(theta), []

        @jax.jit
        def step(theta, state):
            g = gradients(theta)
            change, state = rule.update(g, state, theta, value=loss(theta), grad=g, value_fn=loss)
            return optax.apply_updates(theta, change), state

        for _ in range(5):
            theta, state = step(theta, state)
            path.append(jax.tree.map(np.asarray, theta))
    return path


def by_formula(rule, options, gradients=gradient):
    theta, memory, path = START, {name: {} for name in START}, []
    for t in range(1, 6):
        g = gradients(theta)
        theta = {name: rule(theta[name], g[name], memory[name], t, **options(t) if callable(options) else options) for name in theta}
        path.append(theta)
    return path


def assert_same_path(path, expected):
    for theta, exact in zip(path, expected, strict=True):
        for name in START:
            assert theta[name].dtype == np.float64
            np.testing.assert_allclose(theta[name], exact[name], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("given", "rule", "options"), RULES, ids=lambda value: repr(value) if isinstance(value, Optimizer) else "")
def test_first_steps_follow_the_published_formula(given, rule, options):
    assert_same_path(five_steps(given), by_formula(rule, options))


@settings(max_examples=15, deadline=None)
@drawn(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 7)), min_size=1, max_size=3),
       st.sampled_from([1e-12, 1.0, 1e6]), st.booleans())
def test_adam_is_optaxs_to_single_precision(seed, shapes, size, decays):
    """Same memory, same steps, at any size of the gradient, from the first step, where both averages begin at nothing."""
    rng = np.random.default_rng(seed)
    rate = WarmupCosine(0.1, 1) if decays else 0.1
    given = AdamW(rate, weight_decay=0.3) if decays else Adam(rate)
    mine = given.build(2, 3)
    theirs = optax.adamw(rate.build(2, 3), weight_decay=0.3) if decays else optax.adam(rate)
    theta = other = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]
    state, memory = mine.init(theta), theirs.init(theta)
    for _ in range(5):
        g = [jnp.asarray(size * rng.standard_normal(shape), jnp.float32) for shape in shapes]
        change, state = mine.update(g, state, theta)
        with jax.numpy_dtype_promotion("standard"):
            expected, memory = theirs.update(g, memory, other)
        theta, other = optax.apply_updates(theta, change), optax.apply_updates(other, expected)
        assert jax.tree.structure(state) == jax.tree.structure(memory)
        pairs = [(theta, other, 1.0), (state[0].mu, memory[0].mu, size), (state[0].nu, memory[0].nu, size**2)]
        for found, wanted, scale in ((f, w, scale) for one, two, scale in pairs for f, w in zip(one, two, strict=True)):
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * scale)


def test_a_schedule_sets_the_rate_of_every_step():
    given = GradientDescent(ExponentialDecay(0.1, decay=0.25))
    assert_same_path(five_steps(given), by_formula(plain, lambda t: {"eta": 0.1 * 0.25 ** ((t - 1) / 2)}))


@pytest.mark.parametrize(("clip_norm", "clip_value"), [(1.5, None), (None, 0.8), (1.5, 0.8), (1e6, 1e6)])
def test_clipping(clip_norm, clip_value):
    def clipped(theta):
        g = gradient(theta)
        if clip_value:
            g = {name: np.clip(value, -clip_value, clip_value) for name, value in g.items()}
        norm = math.sqrt(sum(np.sum(value**2) for value in g.values()))
        return {name: value * min(1.0, clip_norm / norm) if clip_norm else value for name, value in g.items()}

    given = GradientDescent(0.05, momentum=0.9, clip_norm=clip_norm, clip_value=clip_value)
    assert_same_path(five_steps(given), by_formula(momentum, {}, clipped))


def test_every_rule_clips():
    def moments(given):
        rule, theta = given.build(1, 1), jax.tree.map(jnp.asarray, START)
        wild = jax.tree.map(lambda g: 1e6 * g, gradient(theta))
        return jax.jit(lambda: rule.update(wild, rule.init(theta), theta)[1])()

    for given in (RMSprop(clip_value=0.5), Adagrad(clip_norm=0.5), Adam(clip_value=0.5), AdamW(clip_norm=0.5)):
        with jax.enable_x64(True):
            assert all(np.max(np.abs(leaf)) <= 1.0 for leaf in jax.tree.leaves(moments(given)))


def test_plain_gradient_descent_keeps_no_memory():
    theta = jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), START)
    rule = GradientDescent(0.1).build(1, 1)
    assert jax.tree.leaves(rule.init(theta)) == []
    program = jax.make_jaxpr(lambda g, theta: optax.apply_updates(theta, rule.update(g, rule.init(theta), theta)[0]))(theta, theta)
    assert sorted(str(equation.primitive) for equation in program.eqns) == ["add", "add", "mul", "mul"]       # per array: theta + (-eta) g


def minimise(given, f, theta, steps):
    with jax.enable_x64(True):
        rule = given.build(1, steps)
        theta = jnp.asarray(theta, jnp.float64)

        def step(carry, _):
            theta, state = carry
            value, g = jax.value_and_grad(f)(theta)
            change, state = rule.update(g, state, theta, value=value, grad=g, value_fn=f)
            return (optax.apply_updates(theta, change), state), value

        (theta, _), values = jax.jit(lambda theta: jax.lax.scan(step, (theta, rule.init(theta)), None, length=steps))(theta)
        return np.asarray(theta), np.asarray(values)


def rosenbrock(theta):
    x, y = theta
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@pytest.mark.parametrize(("given", "steps"), [
    (GradientDescent(0.2), 300), (SGD(0.05, momentum=0.9, nesterov=True), 300), (RMSprop(CosineDecay(0.1)), 300), (Adagrad(1.0), 300),
    (Adam(0.1), 300), (AdamW(0.1, weight_decay=0.0), 300), (LBFGS(), 13),
], ids=repr)
def test_finds_the_minimum_of_a_quadratic(given, steps):
    minimum, curvature = np.array([1.0, -2.0, 0.5]), np.array([0.5, 3.0, 7.0])
    theta, values = minimise(given, lambda theta: jnp.sum(curvature * (theta - minimum) ** 2) / 2, np.zeros(3), steps)
    np.testing.assert_allclose(theta, minimum, atol=2e-3)
    assert values[-1] < 1e-5 * values[0]


def test_lbfgs_finds_the_end_of_rosenbrocks_valley():
    theta, values = minimise(LBFGS(), rosenbrock, [-1.2, 1.0], 40)
    np.testing.assert_allclose(theta, [1.0, 1.0], atol=1e-8)
    assert values[0] == pytest.approx(24.2)
    assert (np.diff(values) <= 0).all()


def test_rmsprop_and_adam_do_not_feel_the_scale_of_the_gradient():
    for given in (RMSprop(0.01), Adam(0.01), Adagrad(0.01)):
        scaled = five_steps(given, lambda theta: jax.tree.map(lambda g: 1000.0 * g, gradient(theta)))
        for theta, same in zip(five_steps(given), scaled, strict=True):
            np.testing.assert_allclose(theta["weights"], same["weights"], atol=1e-6)


def test_only_lbfgs_needs_the_whole_set():
    assert {name: given.whole_set for name, given in OPTIMIZERS.items() if given.whole_set} == {"lbfgs": True}


@pytest.mark.parametrize("given", [*OPTIMIZERS.values(), *(rule[0] for rule in RULES), Adam(WarmupCosine(0.1, warmup=2), clip_norm=1.0),
                                   LBFGS(memory=7, max_linesearch_steps=13)], ids=repr)
def test_json_round_trip(given):
    assert from_json(to_json(given)) == given


def test_resolving():
    assert SGD is GradientDescent
    assert optimizer("sgd") == optimizer("gradient_descent") == GradientDescent(learning_rate=0.01)
    kinds = {"rmsprop": RMSprop, "adagrad": Adagrad, "adam": Adam, "adamw": AdamW, "lbfgs": LBFGS}
    assert {name: type(optimizer(name)) for name in kinds} == kinds
    given = Adam(0.1)
    assert optimizer(given) is given


@pytest.mark.parametrize(("make", "text"), [
    (lambda: SGD(0.0), r"^GradientDescent expected learning_rate to be a finite number above 0, received 0\.0$"),
    (lambda: Adam(math.nan), r"^Adam expected learning_rate to be a finite number above 0, received nan$"),
    (lambda: Adam("1e-3"), r"^Adam expected learning_rate to be a finite number above 0, received '1e-3'$"),
    (lambda: SGD(momentum=1.0), r"^GradientDescent expected momentum to be a finite number of at least 0 and below 1, received 1\.0$"),
    (lambda: SGD(nesterov=True), r"^GradientDescent with nesterov=True needs momentum, received momentum=0; give for example"),
    (lambda: SGD(nesterov=1), r"^GradientDescent expected nesterov True or False, received 1$"),
    (lambda: RMSprop(decay=-0.1), r"^RMSprop expected decay to be a finite number of at least 0 and below 1, received -0\.1$"),
    (lambda: RMSprop(momentum=2), r"^RMSprop expected momentum to be a finite number of at least 0 and below 1, received 2$"),
    (lambda: RMSprop(epsilon=0), r"^RMSprop expected epsilon to be a finite number above 0, received 0$"),
    (lambda: Adagrad(epsilon=-1.0), r"^Adagrad expected epsilon to be a finite number above 0, received -1\.0$"),
    (lambda: Adam(beta1=1.0), r"^Adam expected beta1 to be a finite number of at least 0 and below 1, received 1\.0$"),
    (lambda: AdamW(beta2=1.5), r"^AdamW expected beta2 to be a finite number of at least 0 and below 1, received 1\.5$"),
    (lambda: Adam(epsilon=0.0), r"^Adam expected epsilon to be a finite number above 0, received 0\.0$"),
    (lambda: AdamW(weight_decay=-1.0), r"^AdamW expected weight_decay to be a finite number of at least 0, received -1\.0$"),
    (lambda: Adam(clip_norm=0.0), r"^Adam expected clip_norm to be a finite number above 0, received 0\.0$"),
    (lambda: Adam(clip_value=-2), r"^Adam expected clip_value to be a finite number above 0, received -2$"),
    (lambda: LBFGS(memory=0), r"^LBFGS expected memory to be a whole number of at least 1, received 0$"),
    (lambda: LBFGS(max_linesearch_steps=2.5), r"^LBFGS expected max_linesearch_steps to be a whole number of at least 1, received 2\.5$"),
    (lambda: Adam(WarmupCosine(0.1, warmup=5)).build(7, 3), r"^WarmupCosine warms up for 5 epochs but the training has 3;"),
    (lambda: optimizer("adma"), r"^unknown optimizer 'adma'; did you mean 'adam'"),
    (lambda: optimizer(Adam), r"^an optimizer is an object, received the class Adam; write Adam\(\), with brackets$"),
    (lambda: optimizer(0.1), r"^an optimizer is a name or an object such as Adam\(1e-3\), received 0\.1$"),
])
def test_errors(make, text):
    with pytest.raises(DeltaruleError, match=text):
        make()
