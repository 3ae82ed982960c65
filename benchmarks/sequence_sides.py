"""The two sides of the sequence benchmarks, each in a process of its own: they train, or write."""

import functools
import time

import numpy as np
import sequence_networks
import sides


class Ours(sides.Ours):
    """deltarule as its README uses it: `Network.fit`, with the curves it measures at the end of each epoch, and `generate`.

    Curves are measured on at most 10,000 rows; so that an epoch may be short here, on a sixth of the rows.
    """

    def __init__(self, workload, threads):
        import deltarule as dr
        from deltarule.layers.scope import flatten, unflatten
        from deltarule.training import prepare

        prepare.watched_rows = functools.partial(prepare.watched_rows, most=workload.batch * workload.steps // 6)
        self.dr, self.workload = dr, workload
        self.net = sequence_networks.ours(workload)
        self.net.params = unflatten(dict(zip(flatten(self.net.params), workload.first, strict=True)))
        self.x, self.y = workload.data()
        self.batch = workload.batch
        self.options = {"batch_size": workload.batch, "progress": False, "optimizer": dr.Adam(workload.rate)}

    def losses(self, steps):
        """Loss on the first rows after `steps` updates in the order of the data."""
        rows = steps * self.batch
        self.net.fit(self.x[:rows], self.y[:rows], epochs=1, shuffle=False, keep="last", **self.options)
        return self.net.evaluate(self.x[:256], self.y[:256])["loss"]

    def greedy(self, _):
        """The most probable characters after 0."""
        return self.dr.generate(self.net, np.zeros((self.batch, 1), int), self.workload.steps, temperature=0).tolist()

    def write(self, texts):
        """Seconds for writing `texts` times, everything included that the call does."""
        clock = time.perf_counter()
        for seed in range(texts):
            self.dr.generate(self.net, np.zeros((self.batch, 1), int), self.workload.steps, seed=seed)
        return time.perf_counter() - clock


class Torch:
    """PyTorch eager as its documentation recommends for speed: data in one tensor, one indexing for each batch, fused Adam.

    It writes with keys and values kept in tensors made beforehand, in inference mode.
    """

    def __init__(self, workload, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.workload, self.batch = torch, workload, workload.batch
        self.net = sequence_networks.theirs(workload)
        x, y = workload.data()
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y).long()
        learnt = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learnt, lr=workload.rate, fused=True)

    def loss(self, x, y):
        """Softmax cross-entropy."""
        h = self.net(x)
        return self.torch.nn.functional.cross_entropy(h.view(-1, h.shape[-1]), y.view(-1))

    def step(self, rows):
        """One update on the rows of one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.x[rows], self.y[rows]).backward()
        self.optimizer.step()

    def losses(self, steps):
        """As `Ours.losses`."""
        for i in range(steps):
            self.step(slice(i * self.batch, (i + 1) * self.batch))
        with self.torch.no_grad():
            return float(self.loss(self.x[:256], self.y[:256]))

    def train(self, epochs):
        """As `Ours.train`; no curves are measured."""
        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.torch.randperm(len(self.x))
            for begin in range(0, len(order), self.batch):
                self.step(order[begin:begin + self.batch])
        return time.perf_counter() - clock

    def greedy(self, _):
        """As `Ours.greedy`."""
        return self._text(lambda a: a.argmax(-1, keepdim=True)).tolist()

    def write(self, texts):
        """As `Ours.write`."""
        clock = time.perf_counter()
        for _ in range(texts):
            self._text(lambda a: self.torch.multinomial(a.softmax(-1), 1)).tolist()
        return time.perf_counter() - clock

    def _text(self, drawn):
        torch, (T,), d = self.torch, self.workload.shape, self.workload.units
        shape = 2, self.batch, sequence_networks.HEADS, T, d // sequence_networks.HEADS
        with torch.inference_mode():
            kept = [torch.zeros(shape) for _ in range(sequence_networks.BLOCKS)]
            written = torch.zeros((self.batch, 1 + self.workload.steps), dtype=torch.long)
            for t in range(self.workload.steps):
                written[:, t + 1:t + 2] = drawn(self.net.onward(written[:, t:t + 1], t, kept))
        return written


SIDES = {"deltarule": Ours, "PyTorch eager": Torch}
