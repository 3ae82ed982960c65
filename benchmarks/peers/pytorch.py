"""PyTorch eager as its documentation recommends for speed: data in one tensor, one indexing for each batch, fused Adam.

Gradients are set to None. With a CUDA device the same runs there, in TF32 products, timed to the end of the last kernel. `compiled` is the
same behind `torch.compile`.
"""

import itertools
import os
import time
from types import SimpleNamespace

import networks as n
import numpy as np

from peers.ours import Side as Ours
from peers.ours import loss_of

ENVIRONMENT: dict[str, str] = {}


def settings(workload):
    """(threads, layout): both counts of threads, and for images channels first and last."""
    layouts = ("channels_first", "channels_last") if len(workload.shape) == 3 else ("channels_first",)
    return list(itertools.product(sorted({1, os.cpu_count() or 1}), layouts))


class Side:
    """PyTorch's side."""

    compile = False

    def __init__(self, workload, setting):
        import torch

        threads, layout = setting
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("high" if torch.cuda.is_available() else "highest")
        self.torch, self.workload, self.batch = torch, workload, workload.batch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.net = network(workload)
        x, labels = workload.data()
        x = torch.from_numpy(np.ascontiguousarray(x)).long() if workload.vocabulary else torch.from_numpy(x)
        if any(isinstance(part, n.Conv) for part in workload.network):
            x = x.permute(0, x.ndim - 1, *range(1, x.ndim - 1)).contiguous()
        self.form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.net = self.net.to(self.device, memory_format=self.form)
        self.called = torch.compile(self.net) if self.compile else self.net
        self.x = x.to(self.device).contiguous(memory_format=self.form) if x.ndim == 4 else x.to(self.device)
        self.y = torch.from_numpy(np.ascontiguousarray(labels)).long().to(self.device)
        if workload.quadratic:
            self.y = torch.eye(workload.classes, device=self.device)[self.y]
        learnt = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        if workload.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(learnt, lr=workload.rate)
        else:
            self.optimizer = torch.optim.Adam(learnt, lr=workload.rate, fused=True)

    def loss(self, rows):
        """The workload's loss on some rows, as a tensor."""
        x = self.x[rows]
        h = self.called(x.contiguous(memory_format=self.form) if x.ndim == 4 else x)
        if self.workload.quadratic:
            return 0.5 * ((h - self.y[rows]) ** 2).sum(1).mean()
        return self.torch.nn.functional.cross_entropy(h.flatten(0, -2), self.y[rows].flatten())

    def step(self, rows):
        """One update on the rows of one batch."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(rows).backward()
        self.optimizer.step()

    def losses(self, steps):
        """As deltarule's."""
        for i in range(steps):
            self.step(slice(i * self.batch, (i + 1) * self.batch))
        with self.torch.no_grad():
            x = self.x[:200]
            h = self.net(x.contiguous(memory_format=self.form) if x.ndim == 4 else x)
            h = h if self.workload.quadratic else h.softmax(-1)
        return loss_of(h.cpu().numpy(), self.y[:200].cpu().numpy(), self.workload.quadratic)

    def train(self, epochs):
        """As deltarule's; no curves are measured."""
        clock = time.perf_counter()
        for _ in range(epochs):
            order = self.torch.randperm(len(self.x), device=self.device)
            for begin in range(0, len(order), self.batch):
                self.step(order[begin:begin + self.batch])
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter() - clock

    memory = Ours.memory


class Compiled(Side):
    """The network behind torch.compile."""

    compile = True


def _compiled_settings(workload):
    return [(os.cpu_count() or 1, layout) for layout in sorted({layout for _, layout in settings(workload)})]


compiled = SimpleNamespace(ENVIRONMENT=ENVIRONMENT, settings=_compiled_settings, Side=Compiled)


def network(workload):
    """The network as modules, with the workload's first weights."""
    import torch
    from torch import nn

    weights = iter(workload.first)
    activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}

    def bent(module, activation):
        return [module] if activation == "linear" else [module, activations[activation]()]

    def filled(module, **values):
        with torch.no_grad():
            for name, value in values.items():
                target = module.get_parameter(name)
                if tuple(target.shape) != value.shape:
                    raise ValueError(f"weights of shape {value.shape} for {name} of shape {tuple(target.shape)}")
                target.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        return module

    class Residual(nn.Module):
        def __init__(self, body, shortcut):
            super().__init__()
            self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut) if shortcut else nn.Identity()

        def forward(self, x):
            return torch.relu(self.shortcut(x) + self.body(x))

    class Last(nn.Module):
        def __init__(self, recurrent):
            super().__init__()
            self.recurrent = recurrent

        def forward(self, x):
            return self.recurrent(x)[0][:, -1]

    class Places(nn.Module):
        def __init__(self, E, P):
            super().__init__()
            self.embedding = filled(nn.Embedding(*E.shape), weight=E)
            self.places = nn.Parameter(torch.from_numpy(P.copy()))

        def forward(self, x):
            return self.embedding(x) + self.places

    class Block(nn.Module):
        def __init__(self, heads, given):
            super().__init__()
            self.heads, attention = heads, given["attention"]
            joined = np.concatenate([attention[name]["weights"] for name in ("query", "key", "value")], axis=1)
            d = len(joined)
            self.norm_1, self.norm_2 = layer_norm(given["norm_1"]), layer_norm(given["norm_2"])
            self.inputs = filled(nn.Linear(d, 3 * d, bias=False), weight=joined.T)
            self.output = filled(nn.Linear(d, d, bias=False), weight=attention["output"]["weights"].T)
            self.mlp = nn.Sequential(dense(given["mlp_1"]), nn.GELU(), dense(given["mlp_2"]))

        def forward(self, x):
            batch, steps, d = x.shape
            Q, K, V = self.inputs(self.norm_1(x)).view(batch, steps, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            attended = nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=True)
            x = x + self.output(attended.transpose(1, 2).reshape(batch, steps, d))
            return x + self.mlp(self.norm_2(x))

    def dense(given, maps=0):
        W = given["weights"]
        if maps:        # flattened images come map by map here, place by place in deltarule
            W = W.reshape(-1, maps, W.shape[-1]).swapaxes(0, 1).reshape(W.shape)
        return filled(nn.Linear(*W.shape), weight=W.T, bias=given["bias"])

    def layer_norm(given):
        gamma, beta = given.values()
        return filled(nn.LayerNorm(len(gamma), eps=1e-5), weight=gamma, bias=beta)

    def modules(part, state):
        match part:
            case n.Dense():
                return bent(dense(next(weights), state.pop("flattened", 0)), part.activation)
            case n.Conv():
                given = next(weights)
                K = np.moveaxis(given["weights"], (-1, -2), (0, 1))
                state["maps"] = part.filters
                kind = nn.Conv1d if part.axes == 1 else nn.Conv2d
                padding = {"same": part.kernel // 2, "valid": 0}.get(part.padding, part.padding)
                module = kind(K.shape[1], part.filters, part.kernel, part.stride, padding, bias=part.bias)
                return bent(filled(module, weight=K, **({"bias": given["bias"]} if part.bias else {})), part.activation)
            case n.Pool():
                return [(nn.MaxPool2d if part.kind == "max" else nn.AvgPool2d)(part.size)]
            case n.Flatten():
                state["flattened"] = state.get("maps", 0)
                return [nn.Flatten()]
            case n.GlobalMean():
                return [(nn.AdaptiveAvgPool1d if part.axes == 1 else nn.AdaptiveAvgPool2d)(1), nn.Flatten()]
            case n.BatchNorm():
                gamma, beta = next(weights).values()
                return bent(filled(nn.BatchNorm2d(len(gamma), eps=1e-5), weight=gamma, bias=beta), part.activation)
            case n.Residual():
                shortcut = [module for inner in part.shortcut for module in modules(inner, state)]
                return [Residual([module for inner in part.body for module in modules(inner, state)], shortcut)]
            case n.Recurrent():
                return [Last(recurrent(part, next(weights)))]
            case n.Embedding():
                return [Places(next(weights)["weights"], next(weights)["weights"])]
            case n.Block():
                return [Block(part.heads, next(weights))]
            case n.LayerNorm():
                return [layer_norm(next(weights))]
        raise ValueError(f"no module for {part!r}")

    def recurrent(part, given):
        U, W, b = given["weights"], given["recurrent"]["weights"], given["bias"]
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[part.kind]
        order = {"rnn": [0], "lstm": [0, 1, 3, 2], "gru": [0, 1, 2]}[part.kind]     # PyTorch: i, f, g, o
        turned = [np.concatenate([np.split(values, len(order), axis=-1)[i] for i in order], axis=-1) for values in (U, W, b)]
        d = np.zeros_like(b) if part.kind != "gru" else np.concatenate([np.zeros(2 * part.units, b.dtype), given["recurrent"]["bias"]])
        module = filled(kind(len(U), part.units, batch_first=True), weight_ih_l0=turned[0].T, weight_hh_l0=turned[1].T,
                        bias_ih_l0=turned[2], bias_hh_l0=d)
        module.bias_hh_l0.requires_grad_(part.kind == "gru")        # a second bias would learn the same, and both be twice as fast
        return module

    state = {}
    layers = [module for part in workload.network for module in modules(part, state)]
    return nn.Sequential(*layers, *([nn.Sigmoid()] if workload.quadratic else []))
