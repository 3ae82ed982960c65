"""What is measured: networks, data and optimizers, described once for all sides."""

import functools
from dataclasses import dataclass, field

import networks as n
import numpy as np

_TORCH = "PyTorch eager"
UPDATES = 20        # after which all sides must have the same loss


@dataclass(frozen=True)
class Workload:
    """A network trained on `rows` rows of `shape`, in batches of `batch`, with one class number for each row (or step, of `per_step`).

    `quadratic` is 1/(2n) sum ||y - h||^2 of sigmoid outputs on one-hot targets, otherwise the loss is softmax cross-entropy. `wanted`
    says how many times faster than a peer deltarule must be; 1 where nothing is said. deltarule measures its curves on at most 10,000
    rows, a sixth of MNIST; where an epoch is made shorter than that of MNIST, `sixth` has it measure them on a sixth of the rows as well.
    """

    name: str
    title: str
    network: tuple
    shape: tuple
    classes: int
    batch: int
    rows: int
    wanted: dict = field(default_factory=dict)
    epochs: int = 1                 # in one timed call, where they take less than a turn
    optimizer: str = "adam"
    rate: float = 1e-3
    quadratic: bool = False
    vocabulary: int = 0             # rows are whole numbers below this
    per_step: bool = False
    sixth: bool = False
    agreement: float = 1e-2         # of the losses after 20 updates

    def __post_init__(self):
        if self.rows < UPDATES * self.batch:
            raise ValueError(f"{self.title}: {self.rows} rows; {UPDATES} updates need {UPDATES * self.batch}")

    @property
    def steps(self):
        """Updates in one epoch; the last batch may be smaller."""
        return -(-self.rows // self.batch)

    def data(self):
        """Rows (rows, *shape) and class numbers, the same for all sides: noise around a picture for each class."""
        rng = np.random.default_rng(0)
        if self.vocabulary:
            text = rng.integers(0, self.vocabulary, (self.rows, self.shape[0] + 1)).astype(np.int32)
            return text[:, :-1], text[:, 1:]
        labels = rng.integers(0, self.classes, self.rows).astype(np.int32)
        x = 0.3 * rng.standard_normal((self.classes, *self.shape), np.float32)[labels]
        for row in x:       # one after the other: the peak of memory is to be that of training
            row += rng.standard_normal(self.shape, np.float32)
        return x, labels

    @property
    def multiply_adds(self):
        """Of one row on its way through the network, as `Network.summary` counts them."""
        from peers.ours import network

        return network(self)[0].summary().multiply_adds

    @functools.cached_property
    def first(self):
        """The first weights, a dict for each part that has some, drawn by deltarule from seed 0."""
        from peers.ours import network

        return [params for _, params in network(self)[1]]

    def ready(self):
        """The same, its first weights drawn."""
        assert self.first is not None
        return self


def _cnn(kernel, padding):
    return (n.Conv(32, kernel, "relu", padding), n.Conv(64, kernel, "relu", padding), n.Pool(2), n.Flatten(), n.Dense(128, "relu"),
            n.Dense(10))


def _lenet(activation, pool):
    return (n.Conv(6, 5, activation, "same"), n.Pool(2, pool), n.Conv(16, 5, activation), n.Pool(2, pool), n.Flatten(),
            n.Dense(120, activation), n.Dense(84, activation), n.Dense(10))


def _resnet():
    def conv(filters, kernel, stride=1):
        return n.Conv(filters, kernel, padding=kernel // 2, stride=stride, bias=False)

    layers, before = [conv(16, 3), n.BatchNorm("relu")], 16
    for filters in (16, 16, 16, 32, 32, 32, 64, 64, 64):
        stride = 1 if filters == before else 2
        shortcut = () if filters == before else (conv(filters, 1, stride), n.BatchNorm())
        layers.append(n.Residual((conv(filters, 3, stride), n.BatchNorm("relu"), conv(filters, 3), n.BatchNorm()), shortcut))
        before = filters
    return (*layers, n.GlobalMean(), n.Dense(10))


def _recurrent(name, title, kind, units, steps, batch, rows, wanted):
    # PyTorch and Keras give a GRU's gates two biases, which learn the same, twice as fast: its losses agree less well
    return Workload(name, title, (n.Recurrent(kind, units), n.Dense(10)), (steps, 28), 10, batch, rows, {_TORCH: wanted}, epochs=6,
                    sixth=True, agreement=5e-2 if kind == "gru" else 1e-2)


_MNIST = (28, 28, 1)
WORKLOADS = {workload.name: workload for workload in (
    Workload("nielsen", "784-30-10 sigmoid, SGD, batch 10", (n.Dense(30, "sigmoid"), n.Dense(10)), (784,), 10, 10, 60_000, {_TORCH: 5.0},
             optimizer="sgd", rate=3.0, quadratic=True, epochs=10),
    Workload("mlp", "784-512-512-10 ReLU, Adam, batch 128", (n.Dense(512, "relu"), n.Dense(512, "relu"), n.Dense(10)), (784,), 10, 128,
             60_000, {_TORCH: 1.8}, epochs=3),
    Workload("table", "20-64-64-3 ReLU, Adam, batch 32", (n.Dense(64, "relu"), n.Dense(64, "relu"), n.Dense(3)), (20,), 3, 32, 2_000,
             epochs=100),
    Workload("lenet5", "LeNet-5 (ReLU, max pooling), 28x28x1", _lenet("relu", "max"), _MNIST, 10, 128, 120 * 128, {_TORCH: 2.5}, epochs=8,
             sixth=True),
    Workload("lenet5-1998", "LeNet-5 (tanh, average pooling), 28x28x1", _lenet("tanh", "mean"), _MNIST, 10, 128, 120 * 128, {_TORCH: 2.5},
             epochs=8, sixth=True),
    Workload("cnn3", "Conv 32, Conv 64 (3x3), Pool, Dense 128", _cnn(3, "valid"), _MNIST, 10, 128, 48 * 128, {_TORCH: 1.5}, sixth=True),
    Workload("cnn5", "the same with 5x5 kernels, padding same", _cnn(5, "same"), _MNIST, 10, 128, 20 * 128, {_TORCH: 1.4}, sixth=True),
    Workload("resnet", "ResNet-20 (16, 32, 64), 32x32x3", _resnet(), (32, 32, 3), 10, 128, 20 * 128, {_TORCH: 1.2}, sixth=True,
             agreement=2e-2),
    Workload("conv1d", "three Conv1D of 64, kernel 3, 1000x1",
             (*[n.Conv(64, 3, "relu", axes=1)] * 3, n.GlobalMean(1), n.Dense(5)), (1000, 1), 5, 128, 20 * 128, {_TORCH: 1.4}, sixth=True),
    _recurrent("rnn", "plain RNN 128, 28 steps of 28, batch 64", "rnn", 128, 28, 64, 200 * 64, 1.5),
    _recurrent("lstm", "LSTM 128, 28 steps of 28, batch 64", "lstm", 128, 28, 64, 200 * 64, 1.2),
    _recurrent("gru", "GRU 128, 28 steps of 28, batch 64", "gru", 128, 28, 64, 200 * 64, 1.2),
    _recurrent("lstm-long", "LSTM 256, 100 steps of 28, batch 32", "lstm", 256, 100, 32, 60 * 32, 1.1),
    Workload("transformer", "transformer of 4 blocks, width 128, 128 steps, batch 32",
             (n.Embedding(65, 128), *[n.Block(4)] * 4, n.LayerNorm(), n.Dense(65)), (128,), 65, 32, 20 * 32, {_TORCH: 1.2}, vocabulary=65,
             per_step=True, sixth=True),
)}
