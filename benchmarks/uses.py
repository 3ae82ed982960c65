"""What is done with networks besides training one: predictions, a look inside, many networks at once. Beside PyTorch eager."""

import os
import statistics
import time

import numpy as np
from turns import OURS, Process
from workloads import WORKLOADS

TORCH = "PyTorch eager"


def measure(arguments):
    """For every use: median seconds of both sides and the ratios, turn by turn."""
    found = {}
    for title, (name, method, calls) in USES.items():
        workload = WORKLOADS[name].ready()
        ours, theirs = Process("uses of " + OURS, workload), Process("uses of " + TORCH, workload)
        for side in (ours, theirs):
            side.ask(method, calls)     # compiles, and tries numbers of threads
        pairs = [(theirs.ask(method, calls) / calls, ours.ask(method, calls) / calls) for _ in range(arguments.repeats)]
        ours.stop()
        theirs.stop()
        ratios = [other / mine for other, mine in pairs]
        found[title] = {"seconds": [statistics.median(mine for _, mine in pairs), statistics.median(other for other, _ in pairs)],
                        "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}
        mine, other = found[title]["seconds"]
        print(f"  {title}: {mine * 1e3:.3f} ms, {TORCH} {other * 1e3:.3f} ms, {found[title]['ratio']:.2f} times faster "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return found


USES = {    # title: workload, method, calls in one turn
    "prediction of 1 example, 784-512-512-10": ("mlp", "predict_one", 300),
    "prediction of 1 example, LeNet-5": ("lenet5", "predict_one", 300),
    "prediction of 10,000 examples, 784-512-512-10": ("mlp", "predict_many", 10),
    "prediction of 10,000 examples, LeNet-5": ("lenet5", "predict_many", 5),
    "trace of a batch of 128 (every a, h, delta, gradient), 784-512-512-10": ("mlp", "trace", 30),
    "trace of a batch of 128, LeNet-5": ("lenet5", "trace", 20),
    "ensemble of 64, 20-64-64-3, batch 32, an epoch of 5": ("table", "ensemble", 1),
    "sweep of 32 learning rates, 20-64-64-3, batch 32, 5 epochs": ("table", "sweep", 1),
}


class Ours:
    """deltarule: one call each."""

    def __init__(self, workload, setting):
        from peers.ours import network

        import deltarule as dr

        self.dr, self.net, self.batch = dr, network(workload)[0], workload.batch
        x, y = workload.data()
        self.x, self.y = x[:10_000], y[:10_000]

    def predict_one(self, calls):
        """Seconds for `calls` predictions of one row, NumPy to NumPy."""
        return timed(lambda i: self.net.predict(self.x[i % 64:i % 64 + 1]), calls)

    def predict_many(self, calls):
        """The same of 10,000 rows."""
        return timed(lambda _: self.net.predict(self.x), calls)

    def trace(self, calls):
        """Every pre-activation, activation, delta and gradient of 128 rows."""
        def look(_):
            trace = self.net.trace(self.x[:128], self.y[:128])
            return [np.asarray(trace[layer].delta) for layer in self.net.params]

        return timed(look, calls)

    def ensemble(self, calls):
        """64 networks with first weights of their own, drawn before the clock starts, as PyTorch's are; an epoch of five."""
        ensembles = [self.dr.Ensemble(self.net, members=64) for _ in range(calls)]

        def train(i):
            ensembles[i].fit(self.x, self.y, epochs=5, batch_size=self.batch, progress=False)

        return timed(train, calls) / 5

    def sweep(self, calls):
        """32 learning rates."""
        def train(_):
            self.dr.sweep(self.net, self.x, self.y, validation=0.2, learning_rate=list(np.geomspace(1e-4, 1e-1, 32)), epochs=5,
                          batch_size=self.batch, progress=False)

        return timed(train, calls)


class Torch:
    """PyTorch: inference mode for predictions, hooks and retained gradients for a trace, one network after the other."""

    def __init__(self, workload, setting):
        import torch
        from peers import pytorch

        torch.set_num_threads(os.cpu_count() or 1)
        self.torch, self.pytorch, self.workload, self.threads = torch, pytorch, workload, None
        self.net = pytorch.network(workload).eval()
        x, y = workload.data()
        x = np.moveaxis(x, -1, 1) if x.ndim > 2 else x
        self.x, self.y = np.ascontiguousarray(x[:10_000]), y[:10_000]

    def _predictions(self, predict, calls):
        """Seconds for so many, with the number of threads that is fastest for them, tried first."""
        if self.threads is None:
            seconds = {}
            for threads in sorted({1, os.cpu_count() or 1}):
                self.torch.set_num_threads(threads)
                timed(predict, max(3, calls // 10))
                seconds[threads] = timed(predict, calls)
            self.threads = min(seconds, key=seconds.get)
            self.torch.set_num_threads(self.threads)
        return timed(predict, calls)

    def _predict(self, x):
        with self.torch.inference_mode():
            return self.net(self.torch.from_numpy(x)).softmax(-1).numpy()

    def predict_one(self, calls):
        """As deltarule's."""
        return self._predictions(lambda i: self._predict(self.x[i % 64:i % 64 + 1]), calls)

    def predict_many(self, calls):
        """As deltarule's, in the 10,000 at once."""
        return self._predictions(lambda _: self._predict(self.x), calls)

    def trace(self, calls):
        """As deltarule's."""
        torch, taps = self.torch, []

        def keep(module, given, h):
            h.retain_grad()
            taps.append(h)

        for module in self.net:
            module.register_forward_hook(keep)
        x, y = torch.from_numpy(self.x[:128]), torch.from_numpy(self.y[:128]).long()

        def look(_):
            taps.clear()
            self.net.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(self.net(x), y).backward()
            return [(h.detach().numpy(), h.grad.numpy()) for h in taps]

        seconds = timed(look, calls)
        for module in self.net:
            module._forward_hooks.clear()
        return seconds

    def ensemble(self, calls):
        """64 networks: the faster of torch.func's ensembling, which its documentation shows, and one after the other (an epoch of four)."""
        return calls * min(self._stacked(64, 5) / 5, 16 * sum(self._alone(1) for _ in range(4)))

    def sweep(self, calls):
        """32 networks one after the other: Adam has one learning rate for all that it moves. Five epochs timed for two of them."""
        return calls * 16 * sum(self._alone(5) for _ in range(2))

    def _alone(self, epochs):
        """Seconds for a network of its own; building it does not count."""
        return self.pytorch.Side(self.workload, (1, "channels_first")).train(epochs)

    def _stacked(self, members, epochs):
        """Seconds for `epochs` epochs of all members at once, by vmap over stacked weights."""
        torch, func = self.torch, self.torch.func
        nets = [self.pytorch.network(self.workload) for _ in range(members)]
        params, buffers = func.stack_module_state(nets)
        each = func.vmap(lambda params, buffers, x: func.functional_call(nets[0], (params, buffers), (x,)), in_dims=(0, 0, None))
        optimizer = torch.optim.Adam(params.values(), lr=self.workload.rate, fused=True)
        x, y, batch = torch.from_numpy(self.x), torch.from_numpy(self.y).long(), self.workload.batch
        clock = time.perf_counter()
        for _ in range(epochs):
            order = torch.randperm(len(x))
            for begin in range(0, len(order), batch):
                rows = order[begin:begin + batch]
                optimizer.zero_grad(set_to_none=True)
                h = each(params, buffers, x[rows])
                targets = y[rows].repeat(members)
                (torch.nn.functional.cross_entropy(h.flatten(0, 1), targets) * members).backward()
                optimizer.step()
        return time.perf_counter() - clock


def timed(call, calls):
    """Seconds for so many calls."""
    clock = time.perf_counter()
    for i in range(calls):
        call(i)
    return time.perf_counter() - clock
