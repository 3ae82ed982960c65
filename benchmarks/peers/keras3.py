"""Keras 3 as its documentation writes it: `compile` and `fit` with the backend that `on` names, one call for each stretch of epochs."""

import os
import time
from types import SimpleNamespace

import networks as n
import numpy as np

from peers.ours import Side as Ours
from peers.ours import loss_of


def on(backend):
    """Keras 3 on "jax" or "torch"."""
    return SimpleNamespace(ENVIRONMENT={"KERAS_BACKEND": backend}, settings=lambda workload: _settings(workload, backend), Side=Side)


def _settings(workload, backend):
    """`steps_per_execution`: how many steps one call of the compiled program takes (JAX), or the number of threads (PyTorch)."""
    if backend == "torch":
        return [os.cpu_count() or 1]
    return [1] if any(isinstance(part, n.Conv | n.Block) for part in workload.network) else [1, 16]


class Side:
    """Keras's side."""

    def __init__(self, workload, setting):
        import keras

        self.keras, self.workload, self.batch = keras, workload, workload.batch
        if keras.backend.backend() == "torch":
            import torch

            torch.set_num_threads(setting)
        self.net = network(workload)
        self.x, self.y = workload.data()
        if workload.quadratic:
            self.y = np.eye(workload.classes, dtype=np.float32)[self.y]
        loss = half_squared_error if workload.quadratic else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        rate = workload.rate
        optimizer = keras.optimizers.SGD(rate) if workload.optimizer == "sgd" else keras.optimizers.Adam(rate, epsilon=1e-8)
        steps = setting if keras.backend.backend() == "jax" else 1
        self.net.compile(optimizer=optimizer, loss=loss, steps_per_execution=steps)

    def losses(self, steps):
        """As deltarule's."""
        rows = steps * self.batch
        self.net.fit(self.x[:rows], self.y[:rows], batch_size=self.batch, epochs=1, shuffle=False, verbose=0)
        h = self.keras.ops.convert_to_numpy(self.net(self.x[:200], training=True))
        if not self.workload.quadratic:
            h = np.exp(h - h.max(axis=-1, keepdims=True))
            h /= h.sum(axis=-1, keepdims=True)
        return loss_of(h, self.y[:200], self.workload.quadratic)

    def train(self, epochs):
        """As deltarule's; no curves are measured but the running loss."""
        clock = time.perf_counter()
        self.net.fit(self.x, self.y, batch_size=self.batch, epochs=epochs, verbose=0)
        return time.perf_counter() - clock

    memory = Ours.memory


def half_squared_error(y, h):
    """1/2 ||y - h||^2 of each row."""
    from keras import ops

    return ops.sum(ops.square(h - y), axis=-1) / 2


def network(workload):
    """The network by the functional interface, with the workload's first weights."""
    import keras
    from keras import layers

    filled = []

    class Places(layers.Layer):     # as the documentation's examples of transformers write it
        def __init__(self, vocabulary, steps, width):
            super().__init__()
            self.embedding, self.places = layers.Embedding(vocabulary, width), layers.Embedding(steps, width)

        def call(self, x):
            return self.embedding(x) + self.places(keras.ops.arange(x.shape[-1]))

    def put(layer, x, *weights):
        h = layer(x)
        filled.append((layer, weights))
        return h

    def built(part, x, weights):
        match part:
            case n.Dense():
                given = next(weights)
                return put(layers.Dense(part.units, part.activation), x, given["weights"], given["bias"])
            case n.Conv():
                given, kind = next(weights), layers.Conv1D if part.axes == 1 else layers.Conv2D
                padding = {0: "valid", part.kernel // 2 if part.stride == 1 else -1: "same"}.get(part.padding, part.padding)
                if not isinstance(padding, str):        # "same" pads one side only where the stride is 2
                    x, padding = layers.ZeroPadding2D(padding)(x), "valid"
                layer = kind(part.filters, part.kernel, part.stride, padding, activation=part.activation, use_bias=part.bias)
                return put(layer, x, *given.values())
            case n.Pool():
                return (layers.MaxPooling2D if part.kind == "max" else layers.AveragePooling2D)(part.size)(x)
            case n.Flatten():
                return layers.Flatten()(x)
            case n.GlobalMean():
                return (layers.GlobalAveragePooling1D if part.axes == 1 else layers.GlobalAveragePooling2D)()(x)
            case n.BatchNorm():
                layer, given = layers.BatchNormalization(momentum=0.9, epsilon=1e-5), next(weights)
                h = layer(x)
                filled.append((layer, (*given.values(), *[np.asarray(value) for value in layer.get_weights()[2:]])))
                return layers.Activation(part.activation)(h)
            case n.Residual():
                shortcut, body = x, x
                for inner in part.shortcut:
                    shortcut = built(inner, shortcut, weights)
                for inner in part.body:
                    body = built(inner, body, weights)
                return layers.Activation("relu")(layers.Add()([shortcut, body]))
            case n.Recurrent():
                return put({"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}[part.kind](part.units), x,
                           *recurrent(part, next(weights)))
            case n.Embedding():
                return put(Places(part.vocabulary, *workload.shape, part.width), x, next(weights)["weights"], next(weights)["weights"])
            case n.Block():
                given, d = next(weights), x.shape[-1]
                size = d // part.heads
                attention = layers.MultiHeadAttention(part.heads, size, use_bias=False)
                h = put(layers.LayerNormalization(epsilon=1e-5), x, *given["norm_1"].values())
                h = attention(h, h, use_causal_mask=True)
                W = [given["attention"][name]["weights"].reshape(d, part.heads, size) for name in ("query", "key", "value")]
                filled.append((attention, (*W, given["attention"]["output"]["weights"].reshape(part.heads, size, d))))
                m = x + h
                h = put(layers.LayerNormalization(epsilon=1e-5), m, *given["norm_2"].values())
                h = put(layers.Dense(4 * d, "gelu"), h, *given["mlp_1"].values())
                return m + put(layers.Dense(d), h, *given["mlp_2"].values())
            case n.LayerNorm():
                return put(layers.LayerNormalization(epsilon=1e-5), x, *next(weights).values())
        raise ValueError(f"no layer for {part!r}")

    inputs = keras.Input(workload.shape, dtype="int32" if workload.vocabulary else "float32")
    h, weights = inputs, iter(workload.first)
    for part in workload.network:
        h = built(part, h, weights)
    net = keras.Model(inputs, layers.Activation("sigmoid")(h) if workload.quadratic else h)
    for layer, values in filled:
        layer.set_weights(list(values))
    return net


def recurrent(part, given):
    """Kernel, recurrent kernel and bias in the order of Keras's gates: i, f, c, o, and z, r, h with two biases."""
    U, W, b = given["weights"], given["recurrent"]["weights"], given["bias"]
    order = {"rnn": [0], "lstm": [0, 1, 3, 2], "gru": [1, 0, 2]}[part.kind]
    if part.kind == "gru":
        b = np.stack([b, np.concatenate([np.zeros(2 * part.units, b.dtype), given["recurrent"]["bias"]])])
    return [np.concatenate([np.split(values, len(order), axis=-1)[i] for i in order], axis=-1) for values in (U, W, b)]
