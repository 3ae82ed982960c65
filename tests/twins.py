"""Every layer type a second time, forward and backward by hand in NumPy float64, from the textbook's equations.

A twin is a function (layer, params, state, x, training) -> (h, back), where back(dL/dh) is (dL/dx, gradients by path).
A new layer type joins by one function here.
"""

import dataclasses
import math

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


def with_bias_and_activation(layer, params, a, back_a):
    """h = g(a + b) after a = f(x, K), whose way back is back_a: dL/da -> (dL/dx, dL/dK)."""
    h, back_g = activated(layer.activation, params.get("slope"), a + params.get("bias", 0.0))

    def back(dh):
        delta, slopes = back_g(dh)
        dx, dK = back_a(delta)
        gradients = {"weights": dK} | ({"bias": delta.reshape(-1, delta.shape[-1]).sum(axis=0)} if "bias" in params else {})
        return dx, gradients | {f"slope/{name}": value for name, value in slopes.items()}

    return h, back


@twin(dr.Conv1D)
@twin(dr.Conv2D)
@twin(dr.Conv3D)
def convolution(layer, params, state, x, training):
    """Around borders that are not zero the values are taken by their place, and what comes back is added there."""
    settings = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    K = params["weights"]
    if layer.padding_mode == "zeros":
        settings |= {"padding": layer.padding, "rounding": layer.rounding}
        place = None
    else:
        mode = {"reflect": "reflect", "circular": "wrap"}[layer.padding_mode]
        place = np.pad(np.arange(np.prod(x.shape)).reshape(x.shape), [(0, 0), *layer.sides(x.shape[1:-1]), (0, 0)], mode=mode)
    padded = x if place is None else x.ravel()[place]

    def back_a(delta):
        found = textbook.convolve_backward(padded, K, delta, **settings)
        if place is None:
            return found["x"], found["K"]
        return np.bincount(place.ravel(), found["x"].ravel(), x.size).reshape(x.shape), found["K"]

    return with_bias_and_activation(layer, params, textbook.convolve(padded, K, **settings), back_a)


@twin(dr.ConvTranspose1D)
@twin(dr.ConvTranspose2D)
@twin(dr.ConvTranspose3D)
def transposed(layer, params, state, x, training):
    """The adjoint of the textbook's convolution from `space`: its dL/dx; going back, the convolution itself."""
    K = np.swapaxes(params["weights"], -1, -2)
    kernel, axes = K.shape[:-2], x.ndim - 2
    stride = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * axes
    if layer.padding == "same":
        cut = tuple(((k - S) // 2, k - S - (k - S) // 2) for k, S in zip(kernel, stride, strict=True))
    else:
        given = (0 if layer.padding == "valid" else layer.padding,) * axes if isinstance(layer.padding, (int, str)) else layer.padding
        cut = tuple(P if isinstance(P, tuple) else (P, P) for P in given)
    space = tuple((H - 1) * S + k - sum(P) for H, S, k, P in zip(x.shape[1:-1], stride, kernel, cut, strict=True))
    zeros = np.zeros((len(x), *space, K.shape[-2]))
    settings = {"stride": stride, "padding": cut}
    a = textbook.convolve_backward(zeros, K, x, **settings)["x"]
    return with_bias_and_activation(layer, params, a, lambda delta: (
        textbook.convolve(delta, K, **settings), np.swapaxes(textbook.convolve_backward(delta, K, x, **settings)["K"], -1, -2)))


@twin(dr.SeparableConv2D)
def separable(layer, params, state, x, training):
    C = x.shape[-1]
    parts = {"depthwise": dr.Conv2D(C, layer.kernel, stride=layer.stride, padding=layer.padding, groups=C, use_bias=False),
             "pointwise": dr.Conv2D(layer.filters, 1, layer.activation, use_bias=layer.use_bias)}
    return sequential(dr.Sequential(parts), params, {}, x, training)


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
@twin(dr.SpatialDropout)
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


@twin(dr.GroupNorm)
def group_norm(layer, params, state, x, training):
    """Layer normalization of rows that hold one group of one example each."""
    def rows(x):
        return np.moveaxis(x.reshape(len(x), -1, layer.groups, x.shape[-1] // layer.groups), 2, 1).reshape(len(x) * layer.groups, -1)

    def images(found):
        parts = found.reshape(len(x), layer.groups, -1, x.shape[-1] // layer.groups)
        return np.moveaxis(parts, 1, 2).reshape(x.shape)

    gamma, ones = params["gamma"], np.ones(rows(x).shape[1])
    passed = textbook.layer_norm(rows(x), ones, 0 * ones, layer.epsilon)
    x_hat, summed = images(passed.x_hat), tuple(range(x.ndim - 1))

    def back(dh):
        dx = images(textbook.norm_backward(passed, ones, rows(gamma * dh))["x"])
        return dx, {"gamma": np.sum(dh * x_hat, axis=summed), "beta": dh.sum(axis=summed)}

    return gamma * x_hat + params["beta"], back


@twin(dr.Reshape)
def reshape(layer, params, state, x, training):
    return x.reshape(len(x), *layer.shape), lambda dh: (dh.reshape(x.shape), {})


def window_settings(layer):
    return layer.window, layer.stride, layer.padding, layer.rounding


@twin(dr.MaxPool1D)
@twin(dr.MaxPool2D)
@twin(dr.MaxPool3D)
def max_pool(layer, params, state, x, training):
    at = window_settings(layer)
    return textbook.max_pool(x, *at), lambda dh: (textbook.max_pool_backward(x, dh, *at), {})


@twin(dr.AveragePool1D)
@twin(dr.AveragePool2D)
@twin(dr.AveragePool3D)
def average_pool(layer, params, state, x, training):
    at = window_settings(layer)
    return textbook.average_pool(x, *at), lambda dh: (textbook.average_pool_backward(x, dh, *at), {})


@twin(dr.GlobalMaxPool)
def global_max_pool(layer, params, state, x, training):
    everywhere = x.shape[1:-1]
    h = textbook.max_pool(x, everywhere)
    return h.reshape(len(x), -1), lambda dh: (textbook.max_pool_backward(x, dh.reshape(h.shape), everywhere), {})


@twin(dr.GlobalAveragePool)
def global_average_pool(layer, params, state, x, training):
    return textbook.global_average_pool(x), lambda dh: (textbook.global_average_pool_backward(x, dh), {})


@twin(dr.AdaptiveMaxPool)
@twin(dr.AdaptiveAveragePool)
def adaptive_pool(layer, params, state, x, training):
    """Each output is the pool over a window of its own."""
    pool, pool_back = ((textbook.max_pool, textbook.max_pool_backward) if isinstance(layer, dr.AdaptiveMaxPool)
                       else (textbook.average_pool, textbook.average_pool_backward))
    space = x.shape[1:-1]
    sizes = layer.size if isinstance(layer.size, tuple) else (layer.size,) * len(space)

    def part(o):
        return (slice(None), *(slice(math.floor(i * H / O), math.ceil((i + 1) * H / O)) for i, H, O in zip(o, space, sizes, strict=True)))

    h = np.empty((len(x), *sizes, x.shape[-1]))
    for o in np.ndindex(*sizes):
        h[(slice(None), *o)] = pool(x[part(o)], x[part(o)].shape[1:-1]).reshape(len(x), -1)

    def back(dh):
        dx = np.zeros_like(x)
        for o in np.ndindex(*sizes):
            error = dh[(slice(None), *o)].reshape(len(x), *[1] * len(space), -1)
            dx[part(o)] += pool_back(x[part(o)], error, x[part(o)].shape[1:-1])
        return dx, {}

    return h, back


def along_space(x, matrices):
    """x with a matrix (outputs, inputs) along each axis of space, and its way back: the transposed matrices."""
    def times(x, matrices):
        for axis, A in enumerate(matrices, start=1):
            x = np.moveaxis(np.tensordot(A, x, (1, axis)), 0, axis)
        return x

    return times(x, matrices), lambda dh: (times(dh, [A.T for A in matrices]), {})


def for_axes(setting, x):
    return setting if isinstance(setting, tuple) else (setting,) * (x.ndim - 2)


def pairs(setting, x):
    return [sides if isinstance(sides, tuple) else (sides, sides) for sides in for_axes(setting, x)]


@twin(dr.UpSample)
def up_sample(layer, params, state, x, training):
    """Output j stands at (j + 1/2) / factor - 1/2 of the inputs."""
    matrices = []
    for H, factor in zip(x.shape[1:-1], for_axes(layer.factor, x), strict=True):
        at = np.clip((np.arange(factor * H) + 0.5) / factor - 0.5, 0, H - 1)[:, None]
        inputs = np.arange(H)[None]
        matrices.append(np.maximum(0, 1 - np.abs(at - inputs)) if layer.mode == "linear" else (np.abs(at - inputs) < 0.5).astype(float))
    return along_space(x, matrices)


@twin(dr.Pad)
def pad(layer, params, state, x, training):
    """The identity matrix with a border of its own rows, or of zeros."""
    mode = {"zeros": "constant", "reflect": "reflect", "circular": "wrap"}[layer.mode]
    return along_space(x, [np.pad(np.eye(H), (sides, (0, 0)), mode=mode)
                           for H, sides in zip(x.shape[1:-1], pairs(layer.padding, x), strict=True)])


@twin(dr.Crop)
def crop(layer, params, state, x, training):
    """The identity matrix without its outer rows."""
    return along_space(x, [np.eye(H)[before:H - after]
                           for H, (before, after) in zip(x.shape[1:-1], pairs(layer.cropping, x), strict=True)])


@twin(dr.Masked)
def masked(layer, params, state, x, training):
    """Random rows hold no padding."""
    assert not np.any(np.all(x == layer.value, axis=-1))
    return x, lambda dh: (dh, {})


def theta_of(params, gates, units):
    """The textbook's U_k, W_k and b_k of every gate k, from arrays that hold the gates side by side."""
    theta = {}
    for letter, value in (("U", params["weights"]), ("W", params["recurrent"]["weights"]), ("b", params["bias"])):
        theta |= {f"{letter}_{k}": value[..., i * units:(i + 1) * units] for i, k in enumerate(gates)}
    return theta | ({"d_h": params["recurrent"]["bias"]} if "bias" in params["recurrent"] else {})


@twin(dr.SimpleRNN)
@twin(dr.LSTM)
@twin(dr.GRU)
def recurrent(layer, params, state, x, training):
    """Backwards in time is forwards on the sequence turned round; the state before the first step may be learnt."""
    assert not training or layer.dropout == layer.recurrent_dropout == 0
    in_order = slice(None, None, -1 if layer.reverse else 1)
    held = [np.broadcast_to(params[name], (len(x), layer.units)) for name in ("initial", "initial_cell") if name in params]
    gates = {dr.SimpleRNN: "", dr.LSTM: textbook.lstm.GATES, dr.GRU: textbook.gru.GATES}[type(layer)]
    if gates:
        theta = theta_of(params, gates, layer.units)
        forward, backward, options = ((textbook.lstm_forward, textbook.lstm_backward, {}) if isinstance(layer, dr.LSTM) else
                                      (textbook.gru_forward, textbook.gru_backward, {"reset_after": True}))
    else:
        theta = {"U": params["weights"], "W": params["recurrent"]["weights"], "b": params["bias"], "V": np.eye(layer.units),
                 "c": np.zeros(layer.units)}
        forward, backward, options = textbook.rnn_forward, textbook.rnn_backward, {"g": layer.activation}
    passed = forward(theta, x[:, in_order], *held, **options)
    every = passed.h[:, in_order]
    last = 0 if layer.reverse else -1

    def back(dh):
        if not layer.return_sequences:
            errors = np.zeros_like(every)
            errors[:, last] = dh
            dh = errors
        found = backward(theta, passed, dh[:, in_order], **options)
        names = [f"_{k}" for k in gates] or [""]
        gradients = {path: np.concatenate([found[letter + name] for name in names], axis=-1)
                     for path, letter in (("weights", "U"), ("recurrent/weights", "W"), ("bias", "b"))}
        gradients |= {path: found[name].sum(axis=0) for path, name in (("initial", "h0"), ("initial_cell", "c0")) if path in params}
        return found["x"][:, in_order], gradients | ({"recurrent/bias": found["d_h"]} if "d_h" in found else {})

    return every if layer.return_sequences else every[:, last], back


@twin(dr.Bidirectional)
def bidirectional(layer, params, state, x, training):
    there = dataclasses.replace(layer.layer, reverse=False)
    both = dr.Sequential({"forward": there, "backward": dataclasses.replace(there, reverse=True)})
    runs = [(name, *run(child, params[name], {}, x, training)) for name, child in both.children.items()]

    def back(dh):
        parts = [dh] * 2 if layer.merge == "sum" else np.split(dh, 2, axis=-1)
        found = [(name, *own(part)) for (name, _, own), part in zip(runs, parts, strict=True)]
        return (sum(dx for _, dx, _ in found),
                {f"{name}/{path}": value for name, _, gradients in found for path, value in gradients.items()})

    outputs = [h for _, h, _ in runs]
    return (sum(outputs) if layer.merge == "sum" else np.concatenate(outputs, axis=-1)), back


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
    s, back_s = x, lambda dh: (dh, {})
    if layer.shortcut is not None:
        s, back_s = run(layer.shortcut, params.get("shortcut", {}), state.get("shortcut", {}), x, training)

    def around(dh):
        (dx, found), (dx_s, found_s) = back(dh), back_s(dh)
        return dx_s + dx, {f"body/{path}": value for path, value in found.items()} \
            | {f"shortcut/{path}": value for path, value in found_s.items()}

    return s + f, around


@twin(dr.Skip)
def skip(layer, params, state, x, training):
    f, back = run(layer.body, params.get("body", {}), state.get("body", {}), x, training)

    def around(dh):
        dx, found = back(dh[..., x.shape[-1]:])
        return dh[..., :x.shape[-1]] + dx, {f"body/{path}": value for path, value in found.items()}

    return np.concatenate([x, f], axis=-1), around


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


@twin(dr.Embedding)
def embedding(layer, params, state, x, training):
    chosen = np.eye(layer.vocabulary)[x.astype(int)]        # (n, T, vocabulary)
    return chosen @ params["weights"], lambda dh: (np.zeros_like(x), {"weights": np.einsum("ntk,ntd->kd", chosen, dh)})


@twin(dr.Positions)
def positions(layer, params, state, x, training):
    T, d = x.shape[1:]
    if layer.kind == "sinusoidal":
        return x + textbook.positional_encoding(T, d), lambda dh: (dh, {})
    places = np.eye(T, layer.longest or T)
    return x + places @ params["weights"], lambda dh: (dh, {"weights": places.T @ dh.sum(axis=0)})


def turned(heads, T, size, sign=1):
    """The matrix that turns pairs of features by the angle of their step, for queries or keys (T, heads size) laid side by side."""
    R = np.zeros((T, size, size))
    for t in range(T):
        for i in range(size // 2):
            c, s = np.cos(t / 10000 ** (2 * i / size)), np.sin(t / 10000 ** (2 * i / size))
            R[t, 2 * i:2 * i + 2, 2 * i:2 * i + 2] = [[c, s], [-s, c]]
    return np.stack([np.kron(np.eye(heads), R[t]) for t in range(T)])


@twin(dr.MultiHeadAttention)
def multi_head_attention(layer, params, state, x, training):
    """The textbook's, whose W_Q and W_K are turned by one matrix for each step where positions are rotary."""
    names = {"W_Q": "query", "W_K": "key", "W_V": "value", "W_O": "output"}
    theta = {symbol: params[name]["weights"] for symbol, name in names.items()}
    T = x.shape[1]
    mask = np.tri(T, dtype=bool) if layer.causal else None
    memory = MEMORIES[-1] if layer.cross else None
    if not layer.rotary:
        passed = textbook.multi_head_forward(theta, x, layer.heads, memory and memory.m, mask)

        def back(dh):
            found = textbook.multi_head_backward(theta, passed, dh)
            gradients = {f"{name}/weights": found[symbol] for symbol, name in names.items()}
            if memory is None:
                return found["x"] + found["memory"], gradients
            memory.dm = memory.dm + found["memory"]
            return found["x"], gradients

        return passed.y, back
    n, heads, size = len(x), layer.heads, theta["W_Q"].shape[1] // layer.heads
    R = turned(heads, T, size)

    def split(z):
        return np.swapaxes(z.reshape(n, T, heads, -1), 1, 2)

    def join(z):
        return np.swapaxes(z, 1, 2).reshape(n, T, -1)

    def turn(z, R):
        return np.einsum("nti,tij->ntj", z, R)

    inner = textbook.attention_forward(split(turn(x @ theta["W_Q"], R)), split(turn(x @ theta["W_K"], R)), split(x @ theta["W_V"]), mask)

    def back(dh):
        found = textbook.attention_backward(inner, split(dh @ theta["W_O"].T))
        R_back = np.swapaxes(R, 1, 2)
        to_x = {"W_Q": turn(join(found["Q"]), R_back), "W_K": turn(join(found["K"]), R_back), "W_V": join(found["V"])}
        gradients = {f"{names[symbol]}/weights": np.einsum("nti,ntj->ij", x, d) for symbol, d in to_x.items()}
        gradients["output/weights"] = np.einsum("nti,ntj->ij", join(inner.O), dh)
        return sum(d @ theta[symbol].T for symbol, d in to_x.items()), gradients

    return join(inner.O) @ theta["W_O"], back


@twin(dr.TransformerEncoder)
@twin(dr.TransformerDecoder)
def transformer_block(layer, params, state, x, training):
    """Attention, in a decoder attention to the memory, and an MLP, each behind a norm and around it a residual connection."""
    decodes, d = isinstance(layer, dr.TransformerDecoder), x.shape[-1]
    parts = [{"attention": dr.MultiHeadAttention(layer.heads, causal=decodes or layer.causal, rotary=layer.rotary)},
             *([{"cross": dr.MultiHeadAttention(layer.heads, cross=True)}] if decodes else []),
             {"mlp_1": dr.Dense(layer.hidden or 4 * d, layer.activation), "mlp_2": dr.Dense(d)}]
    backs = []
    for number, part in enumerate(parts, start=1):
        body = dr.Sequential({f"norm_{number}": dr.LayerNorm(), **part})
        x, back = residual(dr.Residual(body), {"body": params}, {}, x, training)
        backs.append(back)

    def all_back(dh):
        gradients = {}
        for back in reversed(backs):
            dh, found = back(dh)
            gradients |= {path.removeprefix("body/"): value for path, value in found.items()}
        return dh, gradients

    return x, all_back


@twin(dr.AttentionPooling)
def attention_pooling(layer, params, state, x, training):
    """One query for all rows, keys from a dense layer of every place."""
    n, d = len(x), x.shape[-1]
    places = x.reshape(n, -1, d)
    K, back_K = dense(dr.Dense(layer.size or d, "tanh"), {name: params[name] for name in ("weights", "bias")}, {}, places, training)
    run = textbook.attention_forward(np.broadcast_to(params["query"], (n, 1, len(params["query"]))), K, places)

    def back(dh):
        found = textbook.attention_backward(run, dh[:, None])
        dx, gradients = back_K(found["K"])
        return (dx + found["V"]).reshape(x.shape), gradients | {"query": found["Q"].sum(axis=(0, 1))}

    return run.O[:, 0], back


class Memory:
    """What an encoder left, and dL/dm, to which every layer that looks at it adds."""

    def __init__(self, m):
        self.m, self.dm = m, np.zeros_like(m)


MEMORIES = []       # of the encoders and decoders around what is run


@twin(dr.EncoderDecoder)
def encoder_decoder(layer, params, state, x, training):
    middle = math.prod(layer.source)
    m, back_m = run(layer.encoder, params.get("encoder", {}), state.get("encoder", {}), x[:, :middle].reshape(-1, *layer.source), training)
    memory = Memory(m.reshape(len(m), -1, m.shape[-1]))
    MEMORIES.append(memory)
    target = x[:, middle:].reshape(-1, *layer.target)
    h, back_h = run(layer.decoder, params.get("decoder", {}), state.get("decoder", {}), target, training)
    MEMORIES.pop()

    def back(dh):
        memory.dm = np.zeros_like(memory.m)
        d_target, above = back_h(dh)
        d_source, below = back_m(memory.dm.reshape(m.shape))
        gradients = {f"{part}/{path}": value for part, found in (("decoder", above), ("encoder", below)) for path, value in found.items()}
        return np.concatenate([d_source.reshape(len(x), -1), d_target.reshape(len(x), -1)], axis=1), gradients

    return h, back


@twin(dr.AttentiveLSTM)
def attentive_lstm(layer, params, state, x, training):
    """Step by step, and back: through the LSTM, through what was looked at, through the scores, into the memory and the state before."""
    memory, units, inputs = MEMORIES[-1], layer.units, x.shape[-1]
    m, T = memory.m, x.shape[1]
    U, W, b = params["weights"], params["recurrent"]["weights"], params["bias"]
    at = params["attention"]
    W_m, W_h, v = at["memory"]["weights"], at["state"]["weights"], at["score"]["weights"][:, 0]
    mean = m.mean(axis=1)
    begun = np.tanh(mean @ params["initial"]["weights"] + params["initial"]["bias"])
    h, c, steps = begun[:, :units], begun[:, units:], []
    for t in range(T):
        r = np.tanh(m @ W_m + at["bias"] + (h @ W_h)[:, None])
        A = textbook.softmax(r @ v)
        z = np.einsum("np,npd->nd", A, m)
        given = np.concatenate([x[:, t], z], axis=1)
        a = given @ U + h @ W + b
        i, f, o = (1 / (1 + np.exp(-part)) for part in np.split(a, 4, axis=1)[:3])
        g = np.tanh(a[:, 3 * units:])
        before, c = (h, c), f * c + i * g
        h = o * np.tanh(c)
        steps.append((before, r, A, given, (i, f, o, g), c, h))

    def back(dh_out):
        found = dict.fromkeys(("weights", "recurrent/weights", "bias", "attention/memory/weights", "attention/bias",
                               "attention/state/weights", "attention/score/weights", "initial/weights", "initial/bias"), 0)
        dx, dm, dh, dc = np.zeros_like(x), np.zeros_like(m), 0.0, 0.0
        for t in reversed(range(T)):
            (h_before, c_before), r, A, given, (i, f, o, g), c, _ = steps[t]
            dh = dh + dh_out[:, t]
            dc = dc + dh * o * (1 - np.tanh(c)**2)
            delta = np.concatenate([dc * g * i * (1 - i), dc * c_before * f * (1 - f), dh * np.tanh(c) * o * (1 - o),
                                    dc * i * (1 - g**2)], axis=1)
            found["weights"] += given.T @ delta
            found["recurrent/weights"] += h_before.T @ delta
            found["bias"] += delta.sum(axis=0)
            d_given = delta @ U.T
            dx[:, t], dz, dh, dc = d_given[:, :inputs], d_given[:, inputs:], delta @ W.T, dc * f
            dA = np.einsum("npd,nd->np", m, dz)
            de = A * (dA - np.sum(A * dA, axis=1, keepdims=True))
            ds = de[..., None] * v * (1 - r**2)
            found["attention/score/weights"] += np.einsum("npk,np->k", r, de)[:, None]
            found["attention/memory/weights"] += np.einsum("npd,npk->dk", m, ds)
            found["attention/bias"] += ds.sum(axis=(0, 1))
            found["attention/state/weights"] += h_before.T @ ds.sum(axis=1)
            dm += A[..., None] * dz[:, None] + ds @ W_m.T
            dh = dh + ds.sum(axis=1) @ W_h.T
        first = np.concatenate([dh, dc], axis=1) * (1 - begun**2)
        found["initial/weights"], found["initial/bias"] = mean.T @ first, first.sum(axis=0)
        dm += (first @ params["initial"]["weights"].T)[:, None] / m.shape[1]
        memory.dm = memory.dm + dm
        return dx, found

    return np.stack([step[-1] for step in steps], axis=1), back


@twin(dr.TimeDistributed)
def time_distributed(layer, params, state, x, training):
    """A loop over the steps, whose gradients add up."""
    steps = [run(layer.layer, params["layer"], state.get("layer", {}), x[:, t], training) for t in range(x.shape[1])]

    def back(dh):
        found = [back(dh[:, t]) for t, (_, back) in enumerate(steps)]
        gradients = {f"layer/{path}": sum(gradients[path] for _, gradients in found) for path in found[0][1]}
        return np.stack([dx for dx, _ in found], axis=1), gradients

    return np.stack([h for h, _ in steps], axis=1), back
