"""What is measured: networks, data and optimizers, described once for both sides."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A chain of dense layers on rows of `sizes[0]` numbers; `quadratic` is 1/(2n) sum ||y - h||^2, otherwise softmax cross-entropy."""

    name: str
    sizes: tuple[int, ...]
    hidden: str
    batch: int
    rows: int
    optimizer: str
    rate: float
    quadratic: bool = False
    epochs: int = 1     # in one timed call
    target: float = 1.0     # how many times faster than PyTorch eager it must be

    def data(self):
        """Rows (rows, sizes[0]) and class numbers (rows,), the same for both sides."""
        rng = np.random.default_rng(0)
        x = rng.random((self.rows, self.sizes[0]), dtype=np.float32)
        return x, rng.integers(0, self.sizes[-1], self.rows).astype(np.int32)

    def weights(self):
        """First weights (inputs, units) and biases (units,) of each layer, the same for both sides."""
        rng = np.random.default_rng(1)
        return [(rng.normal(0, 1 / np.sqrt(n), (n, m)).astype(np.float32), np.zeros(m, np.float32))
                for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True)]

    @property
    def steps(self):
        """Updates in one epoch; the last batch may be smaller."""
        return -(-self.rows // self.batch)


WORKLOADS = {workload.name: workload for workload in (
    Workload("784-30-10 sigmoid, SGD, batch 10", (784, 30, 10), "sigmoid", 10, 60_000, "sgd", 3.0, quadratic=True, epochs=3, target=5.0),
    Workload("784-512-512-10 ReLU, Adam, batch 128", (784, 512, 512, 10), "relu", 128, 60_000, "adam", 1e-3, epochs=2, target=1.8),
    Workload("20-64-64-3 ReLU, Adam, batch 32", (20, 64, 64, 3), "relu", 32, 2_000, "adam", 1e-3, epochs=10),
)}
