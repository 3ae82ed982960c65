"""Every layer type a second time, forward and backward by hand in NumPy float64, from the textbook's equations.

A twin is a function (layer, params, state, x, training) -> (h, back), where back(dL/dh) is (dL/dx, gradients by path).
A new layer type joins by one function here.
"""

import numpy as np

import deltarule as dr
from deltarule import textbook

TWINS = {}


def twin(kind):
    def add(function):
        TWINS[kind] = function
        return function
    return add


def run(layer, params, state, x, training=False):
    return TWINS[type(layer)](layer, params, state, x, training)


def activated(g, params, a):
    """h = g(a) for an activation by name or as an object, and its way back: dL/dh -> (dL/da, gradients)."""
    if isinstance(g, str):
        return textbook.activation(g)[0](a), lambda dh: (textbook.through(g, a, dh), {})
    if isinstance(g, dr.LeakyReLU):
        return textbook.leaky_relu(a, g.slope), lambda dh: (dh * textbook.leaky_relu_prime(a, g.slope), {})
    s = params["s"]
    summed = tuple(range(a.ndim - 1))
    return textbook.parametric_relu(a, s), lambda dh: (dh * textbook.parametric_relu_prime(a, s),
                                                       {"s": np.sum(dh * textbook.parametric_relu_slope_prime(a), axis=summed)})


@twin(dr.Dense)
def dense(layer, params, state, x, training):
    W, b = params["weights"], params.get("bias", 0.0)
    h, back_g = activated(layer.activation, params.get("slope"), x @ W + b)

    def back(dh):
        delta, slopes = back_g(dh)
        rows, deltas = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
        gradients = {"weights": rows.T @ deltas} | ({"bias": deltas.sum(axis=0)} if "bias" in params else {})
        return delta @ W.T, gradients | {f"slope/{name}": value for name, value in slopes.items()}

    return h, back


@twin(dr.Activation)
def activation(layer, params, state, x, training):
    return activated(layer.function, params, x)


@twin(dr.LeakyReLU)
@twin(dr.ParametricReLU)
def own_slope(layer, params, state, x, training):
    h, back_g = activated(layer, params.get("slope"), x)

    def back(dh):
        delta, slopes = back_g(dh)
        return delta, {f"slope/{name}": value for name, value in slopes.items()}

    return h, back


@twin(dr.Flatten)
def flatten(layer, params, state, x, training):
    return x.reshape(len(x), -1), lambda dh: (dh.reshape(x.shape), {})


@twin(dr.Dropout)
def dropout(layer, params, state, x, training):
    assert not training or layer.rate == 0
    return x, lambda dh: (dh, {})


@twin(dr.BatchNorm)
def batch_norm(layer, params, state, x, training):
    gamma, beta = params["gamma"], params["beta"]
    if training:
        passed = textbook.batch_norm(x, gamma, beta, layer.epsilon)

        def back(dh):
            found = textbook.norm_backward(passed, gamma, dh)
            return found["x"], {"gamma": found["gamma"], "beta": found["beta"]}

        return passed.y, back
    spread = np.sqrt(state["variance"] + layer.epsilon)
    axes = tuple(range(x.ndim - 1))
    return (textbook.batch_norm_predict(x, gamma, beta, state["mean"], state["variance"], layer.epsilon),
            lambda dh: (dh * gamma / spread, {"gamma": np.sum(dh * (x - state["mean"]) / spread, axis=axes), "beta": dh.sum(axis=axes)}))


@twin(dr.LayerNorm)
def layer_norm(layer, params, state, x, training):
    passed = textbook.layer_norm(x, params["gamma"], params["beta"], layer.epsilon)

    def back(dh):
        found = textbook.norm_backward(passed, params["gamma"], dh)
        return found["x"], {"gamma": found["gamma"], "beta": found["beta"]}

    return passed.y, back


@twin(dr.Sequential)
def sequential(layer, params, state, x, training):
    backs = []
    for name, child in layer.children.items():
        x, back = run(child, params.get(name, {}), state.get(name, {}), x, training)
        backs.append((name, back))

    def all_back(dh):
        gradients = {}
        for name, back in reversed(backs):
            dh, found = back(dh)
            gradients |= {f"{name}/{path}": value for path, value in found.items()}
        return dh, gradients

    return x, all_back


@twin(dr.Residual)
def residual(layer, params, state, x, training):
    f, back = run(layer.body, params.get("body", {}), state.get("body", {}), x, training)

    def around(dh):
        dx, found = back(dh)
        return dh + dx, {f"body/{path}": value for path, value in found.items()}

    return x + f, around


@twin(dr.Parallel)
def parallel(layer, params, state, x, training):
    names = dr.Sequential(layer.branches).children
    runs = [(name, *run(branch, params.get(name, {}), state.get(name, {}), x, training)) for name, branch in names.items()]
    widths = np.cumsum([h.shape[-1] for _, h, _ in runs])[:-1]

    def back(dh):
        parts = [dh] * len(runs) if layer.merge == "sum" else np.split(dh, widths, axis=-1)
        dx, gradients = 0, {}
        for (name, _, own), part in zip(runs, parts, strict=True):
            found_x, found = own(part)
            dx, gradients = dx + found_x, gradients | {f"{name}/{path}": value for path, value in found.items()}
        return dx, gradients

    h = sum(h for _, h, _ in runs) if layer.merge == "sum" else np.concatenate([h for _, h, _ in runs], axis=-1)
    return h, back
