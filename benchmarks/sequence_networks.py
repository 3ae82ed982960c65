"""The networks of the sequence benchmarks, written for both sides in their own words, and the weights carried from one to the other."""

import numpy as np

BLOCKS, HEADS = 4, 4


def ours(workload):
    """The network in deltarule."""
    import deltarule as dr

    if workload.network == "transformer":
        return dr.models.language_model(workload.classes, workload.shape[0], workload.units, HEADS, BLOCKS)
    layer = {"lstm": dr.LSTM, "gru": dr.GRU, "rnn": dr.SimpleRNN}[workload.network](workload.units)
    return dr.Network([layer, dr.Dense(workload.classes, "softmax")], workload.shape)


def theirs(workload):
    """The network in PyTorch, with the workload's first weights."""
    return (_transformer if workload.network == "transformer" else _recurrent)(workload)


def _recurrent(workload):
    """One bias of the two that PyTorch has is held at zero, so that both sides learn the same; the GRU needs a part of it."""
    import torch
    from torch import nn

    units, inputs = workload.units, workload.shape[1]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[workload.network](inputs, units, batch_first=True)
            self.head = nn.Linear(units, workload.classes)

        def forward(self, x):
            return self.head(self.body(x)[0][:, -1])

    net = Net()
    U, b, W, *d, V, c = _in_order(workload)
    order = {"lstm": [0, 1, 3, 2], "gru": [0, 1, 2], "rnn": [0]}[workload.network]       # PyTorch's LSTM: i, f, g, o; ours: i, f, o, g

    def gates(value):
        parts = np.split(value, len(order), axis=-1)
        return torch.from_numpy(np.ascontiguousarray(np.concatenate([parts[k] for k in order], axis=-1).T))

    second = np.concatenate([np.zeros(2 * units, np.float32), d[0]]) if d else np.zeros_like(b)
    body = net.body
    with torch.no_grad():
        for to, value in ((body.weight_ih_l0, gates(U)), (body.weight_hh_l0, gates(W)), (body.bias_ih_l0, gates(b)),
                          (body.bias_hh_l0, torch.from_numpy(second)), (net.head.weight, torch.from_numpy(V.T.copy())),
                          (net.head.bias, torch.from_numpy(c))):
            to.copy_(value)
    if d:
        kept = torch.cat([torch.zeros(2 * units), torch.ones(units)])
        body.bias_hh_l0.register_hook(lambda gradient: gradient * kept)
    else:
        body.bias_hh_l0.requires_grad_(False)
    return net


def _in_order(workload):
    """U, b, W, perhaps d, then V and c of the dense layer, whatever the order in which the layer names them."""
    from deltarule.layers.scope import flatten

    flat = dict(zip(flatten(ours(workload).params), workload.first, strict=True))
    layer = next(path.split("/")[0] for path in flat if not path.startswith("dense"))
    own = "weights", "bias", "recurrent/weights", "recurrent/bias"
    paths = [*(f"{layer}/{name}" for name in own), "dense_1/weights", "dense_1/bias"]
    return [flat[path] for path in paths if path in flat]


def _transformer(workload):
    import torch
    import torch.nn.functional as F
    from torch import nn

    d, T, K = workload.units, workload.shape[0], workload.classes

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.qkv, self.output = nn.LayerNorm(d), nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
            self.norm_2, self.mlp_1, self.mlp_2 = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def heads(self, x):
            return self.qkv(self.norm_1(x)).view(*x.shape[:2], 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)

        def rest(self, x, attended):
            m = x + self.output(attended.transpose(1, 2).reshape(x.shape))
            return m + self.mlp_2(F.gelu(self.mlp_1(self.norm_2(m))))

        def forward(self, x):
            return self.rest(x, F.scaled_dot_product_attention(*self.heads(x), is_causal=True))

        def onward(self, x, t, kept):       # one step, with keys and values of those before it kept in place
            q, k, v = self.heads(x)
            kept[0][:, :, t], kept[1][:, :, t] = k[:, :, 0], v[:, :, 0]
            return self.rest(x, F.scaled_dot_product_attention(q, kept[0][:, :, :t + 1], kept[1][:, :, :t + 1]))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.places = nn.Embedding(K, d), nn.Parameter(torch.zeros(T, d))
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, K)

        def forward(self, x):
            h = self.embedding(x) + self.places
            for block in self.blocks:
                h = block(h)
            return self.head(self.norm(h))

        def onward(self, x, t, kept):       # x (n, 1): the scores (n, K) of what follows step t
            h = self.embedding(x) + self.places[t]
            for block, one in zip(self.blocks, kept, strict=True):
                h = block.onward(h, t, one)
            return self.head(self.norm(h))[:, 0]

    net = Transformer()
    waiting = iter(workload.first)

    def take(*parameters):
        for parameter in parameters:
            value = next(waiting)
            parameter.copy_(torch.from_numpy(value if parameter is net.embedding.weight or parameter is net.places else value.T.copy()))

    with torch.no_grad():
        take(net.embedding.weight, net.places)
        for block in net.blocks:
            take(block.norm_1.weight, block.norm_1.bias)
            take(*(block.qkv.weight[k * d:(k + 1) * d] for k in range(3)), block.output.weight)
            take(block.norm_2.weight, block.norm_2.bias, block.mlp_1.weight, block.mlp_1.bias, block.mlp_2.weight, block.mlp_2.bias)
        take(net.norm.weight, net.norm.bias, net.head.weight, net.head.bias)
    return net
