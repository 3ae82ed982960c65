"""What a JAX expert would write by hand: an epoch as one `lax.scan` over batches. For dense and recurrent networks.

This is the limit for what deltarule's `fit` may cost beside its mathematics. No curves are measured.
"""

import functools
import time

import networks as n
import numpy as np

from peers.ours import Side as Ours
from peers.ours import loss_of

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """Convolutions inside a scan take XLA minutes on a CPU: nobody would write that."""
    return [None] if all(isinstance(part, n.Dense | n.Recurrent) for part in workload.network) else []


class Side:
    """The hand-written side."""

    def __init__(self, workload, setting):
        import jax
        import jax.numpy as jnp
        import optax

        self.workload, self.batch = workload, workload.batch
        x, y = workload.data()
        self.x = jnp.asarray(x)
        self.y = jax.nn.one_hot(y, workload.classes) if workload.quadratic else jnp.asarray(y)
        self.params = jax.tree.map(jnp.asarray, list(workload.first))
        optimizer = optax.sgd(workload.rate) if workload.optimizer == "sgd" else optax.adam(workload.rate)
        self.memory_of_optimizer = optimizer.init(self.params)
        self.rng = np.random.default_rng(0)

        def loss(params, x, y):
            a = forward(workload.network, params, x)
            if workload.quadratic:
                return 0.5 * jnp.mean(jnp.sum((jax.nn.sigmoid(a) - y) ** 2, axis=1))
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(a, y))

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def epoch(params, memory, x, y, order):
            def step(carry, rows):
                params, memory = carry
                gradient = jax.grad(loss)(params, x[rows], y[rows])
                update, memory = optimizer.update(gradient, memory, params)
                return (optax.apply_updates(params, update), memory), None

            return jax.lax.scan(step, (params, memory), order)[0]

        self.epoch = epoch

    def _run(self, order):
        self.params, self.memory_of_optimizer = self.epoch(self.params, self.memory_of_optimizer, self.x, self.y, order)

    def losses(self, steps):
        """As deltarule's."""
        import jax

        self._run(np.arange(steps * self.batch, dtype=np.int32).reshape(steps, self.batch))
        a = forward(self.workload.network, self.params, self.x[:200])
        h = jax.nn.sigmoid(a) if self.workload.quadratic else jax.nn.softmax(a)
        return loss_of(np.asarray(h), np.asarray(self.y[:200]), self.workload.quadratic)

    def train(self, epochs):
        """As deltarule's, for as many steps; the rows that do not fill a batch are left out."""
        import jax

        steps, rows = len(self.x) // self.batch, len(self.x)
        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.rng.permutation(rows)[:steps * self.batch].astype(np.int32)
            self._run(order.reshape(steps, self.batch))
        jax.block_until_ready(self.params)
        return (time.perf_counter() - clock) * self.workload.steps / steps

    memory = Ours.memory


def forward(network, params, x):
    """The pre-activation of the output."""
    import jax

    for part, given in zip(network, params, strict=True):
        if isinstance(part, n.Dense):
            x = x @ given["weights"] + given["bias"]
            x = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "linear": lambda a: a}[part.activation](x)
        else:
            x = recurrent(part, given, x)
    return x


def recurrent(part, given, x):
    """h of the last step."""
    import jax
    import jax.numpy as jnp

    W, zeros = given["recurrent"]["weights"], jnp.zeros((len(x), part.units))
    p = jnp.swapaxes(x, 0, 1) @ given["weights"] + given["bias"]

    def rnn(h, p):
        return jnp.tanh(p + h @ W), None

    def lstm(state, p):
        h, c = state
        i, f, o, g = jnp.split(p + h @ W, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(h, p):
        (r, z, g), (r_q, z_q, q) = jnp.split(p, 3, axis=-1), jnp.split(h @ W, 3, axis=-1)
        r, z = jax.nn.sigmoid(r + r_q), jax.nn.sigmoid(z + z_q)
        return z * h + (1 - z) * jnp.tanh(g + r * (q + given["recurrent"]["bias"])), None

    step, first = {"rnn": (rnn, zeros), "lstm": (lstm, (zeros, zeros)), "gru": (gru, zeros)}[part.kind]
    last, _ = jax.lax.scan(step, first, p)
    return last[0] if part.kind == "lstm" else last
