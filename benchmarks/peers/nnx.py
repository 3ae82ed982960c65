"""Flax NNX with Optax as its documentation writes a loop: a jitted step on a module and its optimizer, called for each batch."""

import time

import networks as n
import numpy as np

from peers.ours import Side as Ours
from peers.ours import loss_of

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """Nothing needs to be tried."""
    return [None]


class Side:
    """Flax's side."""

    def __init__(self, workload, setting):
        import jax.numpy as jnp
        import optax
        from flax import nnx

        self.nnx, self.workload, self.batch = nnx, workload, workload.batch
        x, y = workload.data()
        self.x, self.y = x, np.eye(workload.classes, dtype=np.float32)[y] if workload.quadratic else y
        self.net = network(workload)
        optimizer = optax.sgd(workload.rate) if workload.optimizer == "sgd" else optax.adam(workload.rate)
        self.optimizer = nnx.Optimizer(self.net, optimizer, wrt=nnx.Param)
        self.rng = np.random.default_rng(0)

        def loss(net, x, y):
            a = net(x)
            if workload.quadratic:
                return 0.5 * jnp.mean(jnp.sum((nnx.sigmoid(a) - y) ** 2, axis=1))
            return optax.softmax_cross_entropy_with_integer_labels(a, y).mean()     # of every row, or of every step

        def step(net, optimizer, x, y):
            optimizer.update(net, nnx.grad(loss)(net, x, y))

        # caching the graphs of module and optimizer is what the documentation recommends against the cost of nnx.jit in Python
        self.step = nnx.cached_partial(nnx.jit(step), self.net, self.optimizer)

    def losses(self, steps):
        """As deltarule's."""
        for i in range(steps):
            rows = slice(i * self.batch, (i + 1) * self.batch)
            self.step(self.x[rows], self.y[rows])
        a = self.net(self.x[:200])
        h = self.nnx.sigmoid(a) if self.workload.quadratic else self.nnx.softmax(a)
        return loss_of(np.asarray(h), self.y[:200], self.workload.quadratic)

    def train(self, epochs):
        """As deltarule's, for as many steps; no curves are measured, and the rows that do not fill a batch are left out."""
        import jax

        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.rng.permutation(len(self.x))
            for begin in range(0, len(order) - self.batch + 1, self.batch):
                rows = order[begin:begin + self.batch]
                self.step(self.x[rows], self.y[rows])
        jax.block_until_ready(self.nnx.state(self.net))
        return (time.perf_counter() - clock) * self.workload.steps / (len(self.x) // self.batch)

    memory = Ours.memory


def network(workload):
    """The network as modules, with the workload's first weights."""
    import jax.numpy as jnp
    from flax import nnx

    rngs = nnx.Rngs(0)

    def put(variable, value):
        if variable.shape != value.shape:
            raise ValueError(f"weights of shape {value.shape} for {variable.shape}")
        variable[...] = jnp.asarray(value)

    def bent(layer, activation):
        return layer if activation == "linear" else nnx.Sequential(layer, getattr(nnx, activation))

    def built(part, weights):
        match part:
            case n.Dense():
                return bent(dense(next(weights)), part.activation)
            case n.Conv():
                given = next(weights)
                K = given["weights"]
                padding = part.padding.upper() if isinstance(part.padding, str) else part.padding
                layer = nnx.Conv(K.shape[-2], part.filters, (part.kernel,) * part.axes, part.stride, padding=padding, use_bias=part.bias,
                                 rngs=rngs)
                put(layer.kernel, K)
                if part.bias:
                    put(layer.bias, given["bias"])
                return bent(layer, part.activation)
            case n.Pool():
                window = (part.size, part.size)
                pool = nnx.max_pool if part.kind == "max" else nnx.avg_pool
                return lambda x: pool(x, window, window)
            case n.Flatten():
                return lambda x: x.reshape(len(x), -1)
            case n.GlobalMean():
                return lambda x: x.mean(axis=tuple(range(1, 1 + part.axes)))
            case n.BatchNorm():
                given = next(weights)
                layer = nnx.BatchNorm(len(given["gamma"]), momentum=0.9, epsilon=1e-5, rngs=rngs)
                put(layer.scale, given["gamma"])
                put(layer.bias, given["beta"])
                return bent(layer, part.activation)
            case n.Residual():
                shortcut = [built(inner, weights) for inner in part.shortcut]
                return Residual([built(inner, weights) for inner in part.body], shortcut)
            case n.Recurrent():
                return Last(cell(part, next(weights)))
            case n.Embedding():
                return Places(next(weights)["weights"], next(weights)["weights"])
            case n.Block():
                return Block(part.heads, next(weights))
            case n.LayerNorm():
                return layer_norm(next(weights))
        raise ValueError(f"no module for {part!r}")

    def cell(part, given):
        U, W, b = given["weights"], given["recurrent"]["weights"], given["bias"]
        kind = {"rnn": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[part.kind]
        made = kind(len(U), part.units, rngs=rngs)
        order = {"rnn": [0], "lstm": [0, 1, 3, 2], "gru": [0, 1, 2]}[part.kind]     # Flax: i, f, g, o
        U, W, b = (np.concatenate([np.split(values, len(order), axis=-1)[i] for i in order], axis=-1) for values in (U, W, b))
        put(made.dense_i.kernel, U)
        put(made.dense_h.kernel, W)
        put((made.dense_h if part.kind == "lstm" else made.dense_i).bias, b)
        return made

    def dense(given):
        layer = nnx.Linear(*given["weights"].shape, rngs=rngs)
        put(layer.kernel, given["weights"])
        put(layer.bias, given["bias"])
        return layer

    def layer_norm(given):
        layer = nnx.LayerNorm(len(given["gamma"]), epsilon=1e-5, rngs=rngs)
        put(layer.scale, given["gamma"])
        put(layer.bias, given["beta"])
        return layer

    class Last(nnx.Module):
        def __init__(self, cell):
            self.rnn = nnx.RNN(cell)

        def __call__(self, x):
            return self.rnn(x)[:, -1]

    class Residual(nnx.Module):
        def __init__(self, body, shortcut):
            self.body, self.shortcut = nnx.Sequential(*body), nnx.Sequential(*shortcut) if shortcut else None

        def __call__(self, x):
            return nnx.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))

    class Places(nnx.Module):
        def __init__(self, E, P):
            self.embedding, self.places = (nnx.Embed(*values.shape, rngs=rngs) for values in (E, P))
            put(self.embedding.embedding, E)
            put(self.places.embedding, P)

        def __call__(self, x):
            return self.embedding(x) + self.places(jnp.arange(x.shape[1]))

    class Block(nnx.Module):
        def __init__(self, heads, given):
            d = len(given["attention"]["query"]["weights"])
            self.norm_1, self.norm_2 = layer_norm(given["norm_1"]), layer_norm(given["norm_2"])
            self.attention = nnx.MultiHeadAttention(heads, d, use_bias=False, decode=False, rngs=rngs)
            for name, layer in (("query", self.attention.query), ("key", self.attention.key), ("value", self.attention.value)):
                put(layer.kernel, given["attention"][name]["weights"].reshape(d, heads, d // heads))
            put(self.attention.out.kernel, given["attention"]["output"]["weights"].reshape(heads, d // heads, d))
            self.mlp_1, self.mlp_2 = dense(given["mlp_1"]), dense(given["mlp_2"])

        def __call__(self, x):
            x = x + self.attention(self.norm_1(x), mask=nnx.make_causal_mask(jnp.zeros(x.shape[:2])))
            return x + self.mlp_2(nnx.gelu(self.mlp_1(self.norm_2(x)), approximate=False))

    weights = iter(workload.first)
    return nnx.Sequential(*[built(part, weights) for part in workload.network])
