"""deltarule as its README uses it: `Network.fit`, with the curves that it measures at the end of each epoch."""

import functools
import resource
import time

import networks as n
import numpy as np

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """Nothing needs to be tried."""
    return [None]


def network(workload):
    """The network, and its layers that have weights as (path, weights), in the order of the parts."""
    import deltarule as dr

    last = "sigmoid" if workload.quadratic else "softmax"
    parts = list(workload.network)
    layers = [layer for part in parts[:-1] for layer in _layers(part)] + [dr.Dense(parts[-1].units, last)]
    net = dr.Network(layers, workload.shape)
    return net, list(_with_weights(net.params))


def _layers(part):
    import deltarule as dr

    match part:
        case n.Dense():
            return [dr.Dense(part.units, part.activation)]
        case n.Conv():
            kind = dr.Conv1D if part.axes == 1 else dr.Conv2D
            return [kind(part.filters, part.kernel, part.activation, padding=part.padding, stride=part.stride, use_bias=part.bias)]
        case n.Pool():
            return [(dr.MaxPool2D if part.kind == "max" else dr.AveragePool2D)(part.size)]
        case n.Flatten():
            return [dr.Flatten()]
        case n.GlobalMean():
            return [dr.GlobalAveragePool()]
        case n.BatchNorm():
            return [dr.BatchNorm(), *([dr.Activation("relu")] if part.activation == "relu" else [])]
        case n.Residual():
            shortcut = [layer for inner in part.shortcut for layer in _layers(inner)] or None
            return [dr.Residual([layer for inner in part.body for layer in _layers(inner)], shortcut), dr.Activation("relu")]
        case n.Recurrent():
            return [{"rnn": dr.SimpleRNN, "lstm": dr.LSTM, "gru": dr.GRU}[part.kind](part.units)]
        case n.Embedding():
            return [dr.Embedding(part.vocabulary, part.width), dr.Positions()]
        case n.Block():
            return [dr.TransformerEncoder(part.heads, causal=True)]
        case n.LayerNorm():
            return [dr.LayerNorm()]
    raise ValueError(f"no layer for {part!r}")


def _with_weights(params, path=""):
    """(path, weights) of every layer in the tree, shortcuts before bodies as `networks.parts` lists them."""
    for name, value in params.items():
        here = f"{path}/{name}".lstrip("/")
        if "shortcut" in value or "body" in value:
            for inner in ("shortcut", "body"):
                yield from _with_weights(value.get(inner, {}), f"{here}/{inner}")
        elif all(isinstance(inner, dict) for inner in value.values()) and not name.startswith("transformer"):
            yield from _with_weights(value, here)
        else:
            yield here, value


class Side:
    """deltarule's side."""

    def __init__(self, workload, setting):
        if workload is None:
            return
        import deltarule as dr
        from deltarule.training import prepare

        if workload.sixth:
            prepare.watched_rows = functools.partial(prepare.watched_rows, most=workload.rows // 6)
        self.net, self.batch, self.workload = network(workload)[0], workload.batch, workload
        self.x, self.y = workload.data()
        if workload.quadratic:
            self.y = dr.data.one_hot(self.y)
        self.options = {"loss": "quadratic" if workload.quadratic else "cross_entropy", "batch_size": workload.batch, "progress": False,
                        "optimizer": (dr.SGD if workload.optimizer == "sgd" else dr.Adam)(workload.rate)}

    def losses(self, steps):
        """Loss on the first rows, in training mode, after `steps` updates in the order of the data."""
        from deltarule.layers.forward import forward

        rows = steps * self.batch
        self.net.fit(self.x[:rows], self.y[:rows], epochs=1, shuffle=False, keep="last", **self.options)
        output, _ = forward(self.net.layer, self.net.params, self.net.state, self.x[:200], training=True)
        return loss_of(np.asarray(output.h), self.y[:200], self.workload.quadratic)

    def train(self, epochs):
        """Seconds for `epochs` epochs, everything included that the call does."""
        clock = time.perf_counter()
        self.net.fit(self.x, self.y, epochs=epochs, **self.options)
        return time.perf_counter() - clock

    def memory(self):
        """Peak of the process's memory in megabytes."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def device(self):
        """JAX's backend ("cpu", "gpu") and the name of its first device."""
        import jax

        return jax.default_backend(), jax.devices()[0].device_kind

    def product(self):
        """The best rate of a product of two float32 matrices of 2048 in JAX, in GFLOP/s."""
        import jax
        import jax.numpy as jnp

        A = jnp.asarray(np.random.default_rng(0).normal(size=(2048, 2048)), jnp.float32)
        multiply = jax.jit(lambda A: A @ A)
        seconds = []
        for _ in range(12):
            clock = time.perf_counter()
            multiply(A).block_until_ready()
            seconds.append(time.perf_counter() - clock)
        return 2 * 2048**3 / min(seconds) / 1e9


def loss_of(h, y, quadratic):
    """The loss of outputs h, in double precision."""
    h = h.astype(float)
    if quadratic:
        return float(0.5 * ((h - y) ** 2).sum(axis=1).mean())
    chosen = np.take_along_axis(h, np.asarray(y)[..., None].astype(int), axis=-1)
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())
