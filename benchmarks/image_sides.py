"""The two sides of the image benchmarks, each in a process of its own."""

import functools
import resource
import time

import image_networks
import numpy as np
import sides


class Ours(sides.Ours):
    """deltarule as its README uses it: `Network.fit`, with the curves it measures at the end of each epoch.

    It measures them on at most 10,000 rows, a sixth of MNIST; so that an epoch may be short here, on a sixth of these rows as well.
    """

    def __init__(self, workload, setting):
        import deltarule as dr
        from deltarule.layers.scope import flatten, unflatten
        from deltarule.training import prepare

        prepare.watched_rows = functools.partial(prepare.watched_rows, most=workload.batch * workload.steps // 6)
        self.net = image_networks.ours(workload)
        self.net.params = unflatten(dict(zip(flatten(self.net.params), workload.first, strict=True)))
        self.x, self.y = workload.data()
        self.batch = workload.batch
        self.options = {"batch_size": workload.batch, "progress": False, "optimizer": dr.Adam(workload.rate)}

    def losses(self, steps):
        """Loss on the first rows, in training mode, after `steps` updates in the order of the data."""
        from deltarule.layers.forward import forward

        rows = steps * self.batch
        self.net.fit(self.x[:rows], self.y[:rows], epochs=1, shuffle=False, keep="last", **self.options)
        output, _ = forward(self.net.layer, self.net.params, self.net.state, self.x[:500], training=True)
        return float(-np.log(np.asarray(output.h)[np.arange(500), self.y[:500]]).mean())

    def memory(self, _):
        """Peak of the process's memory in megabytes."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Torch:
    """PyTorch eager as its documentation recommends for speed: data in one tensor, one indexing for each batch, fused Adam."""

    def __init__(self, workload, setting):
        import torch

        threads, layout = setting
        torch.set_num_threads(threads)
        self.torch, self.batch = torch, workload.batch
        self.net = image_networks.theirs(workload)
        x, labels = workload.data()
        axes = (0, x.ndim - 1, *range(1, x.ndim - 1))
        self.x, self.y = torch.from_numpy(x).permute(axes).contiguous(), torch.from_numpy(labels).long()
        self.form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.net = self.net.to(memory_format=self.form)
        self.x = self.x.contiguous(memory_format=self.form)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=workload.rate, fused=True)

    def step(self, rows):
        """One update on the rows of one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.torch.nn.functional.cross_entropy(self.net(self.x[rows].contiguous(memory_format=self.form)), self.y[rows])
        loss.backward()
        self.optimizer.step()

    def losses(self, steps):
        """As `Ours.losses`."""
        for i in range(steps):
            self.step(slice(i * self.batch, (i + 1) * self.batch))
        with self.torch.no_grad():
            return float(self.torch.nn.functional.cross_entropy(self.net(self.x[:500]), self.y[:500]))

    def train(self, epochs):
        """As `Ours.train`; no curves are measured."""
        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.torch.randperm(len(self.x))
            for begin in range(0, len(order), self.batch):
                self.step(order[begin:begin + self.batch])
        return time.perf_counter() - clock

    memory = Ours.memory


SIDES = {"deltarule": Ours, "PyTorch eager": Torch}
