"""The two sides of a comparison. Each builds a workload once and then trains for some epochs on request, timing itself."""

import time

import numpy as np


class Ours:
    """deltarule as its README uses it: `Network.fit`, with the curves it measures at the end of each epoch."""

    def __init__(self, workload, threads):
        import deltarule as dr

        output = "sigmoid" if workload.quadratic else "softmax"
        layers = [dr.Dense(units, workload.hidden) for units in workload.sizes[1:-1]] + [dr.Dense(workload.sizes[-1], output)]
        self.net = dr.Network(layers, workload.sizes[0])
        for i, (W, b) in enumerate(workload.weights(), 1):
            self.net.params[f"dense_{i}"] = {"weights": W, "bias": b}
        self.x, labels = workload.data()
        self.y = dr.data.one_hot(labels) if workload.quadratic else labels
        self.options = {"loss": "quadratic" if workload.quadratic else "cross_entropy", "batch_size": workload.batch, "progress": False,
                        "optimizer": dr.SGD(workload.rate) if workload.optimizer == "sgd" else dr.Adam(workload.rate)}
        self.batch = workload.batch

    def losses(self, steps):
        """Loss on the first rows after `steps` updates in the order of the data."""
        rows = steps * self.batch
        self.net.fit(self.x[:rows], self.y[:rows], epochs=1, shuffle=False, **self.options)
        return self.net.evaluate(self.x[:1000], self.y[:1000])["loss"]

    def train(self, epochs):
        """Seconds for `epochs` epochs, everything included that the call does."""
        clock = time.perf_counter()
        self.net.fit(self.x, self.y, epochs=epochs, **self.options)
        return time.perf_counter() - clock


class Torch:
    """PyTorch eager as its documentation recommends for speed: data in one tensor, one indexing for each batch, fused Adam."""

    def __init__(self, workload, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.batch, self.quadratic = torch, workload.batch, workload.quadratic
        activation = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[workload.hidden]
        layers = []
        for W, b in workload.weights():
            layer = torch.nn.Linear(*W.shape)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(W.T)))
                layer.bias.copy_(torch.from_numpy(b))
            layers += [layer, activation()]
        layers[-1:] = [torch.nn.Sigmoid()] if workload.quadratic else []
        self.net = torch.nn.Sequential(*layers)
        x, labels = workload.data()
        self.x = torch.from_numpy(x)
        self.y = torch.eye(workload.sizes[-1])[labels] if workload.quadratic else torch.from_numpy(labels).long()
        if workload.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=workload.rate)
        else:
            self.optimizer = torch.optim.Adam(self.net.parameters(), lr=workload.rate, fused=True)

    def loss(self, x, y):
        """The workload's loss as a tensor."""
        h = self.net(x)
        return 0.5 * ((h - y) ** 2).sum(1).mean() if self.quadratic else self.torch.nn.functional.cross_entropy(h, y)

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
            return float(self.loss(self.x[:1000], self.y[:1000]))

    def train(self, epochs):
        """As `Ours.train`; no curves are measured."""
        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.torch.randperm(len(self.x))
            for begin in range(0, len(order), self.batch):
                self.step(order[begin:begin + self.batch])
        return time.perf_counter() - clock


SIDES = {"deltarule": Ours, "PyTorch eager": Torch}
