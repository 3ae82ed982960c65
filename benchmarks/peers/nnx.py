"""Flax NNX with Optax as its documentation writes a loop: a jitted step on a module and its optimizer, called for each batch."""

import time

import networks as n
import numpy as np

from peers.ours import Side as Ours
from peers.ours import loss_of

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """Dense, convolutional and recurrent networks; residual networks and transformers are not written here."""
    return [] if any(isinstance(part, n.Residual | n.Block) for part in workload.network) else [None]


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
            return optax.softmax_cross_entropy_with_integer_labels(a, y).mean()

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
        """As deltarule's; no curves are measured, and the rows that do not fill a batch are left out."""
        import jax

        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.rng.permutation(len(self.x))
            for begin in range(0, len(order) - self.batch + 1, self.batch):
                rows = order[begin:begin + self.batch]
                self.step(self.x[rows], self.y[rows])
        jax.block_until_ready(self.nnx.state(self.net))
        return time.perf_counter() - clock

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
                given = next(weights)
                layer = nnx.Linear(*given["weights"].shape, rngs=rngs)
                put(layer.kernel, given["weights"])
                put(layer.bias, given["bias"])
                return bent(layer, part.activation)
            case n.Conv():
                given = next(weights)
                K = given["weights"]
                layer = nnx.Conv(K.shape[-2], part.filters, (part.kernel,) * part.axes, part.stride, padding=part.padding.upper(),
                                 rngs=rngs)
                put(layer.kernel, K)
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
            case n.Recurrent():
                return Last(cell(part, next(weights)))
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

    class Last(nnx.Module):
        def __init__(self, cell):
            self.rnn = nnx.RNN(cell)

        def __call__(self, x):
            return self.rnn(x)[:, -1]

    weights = iter(workload.first)
    return nnx.Sequential(*[built(part, weights) for part in workload.network])
