"""Networks for sequences to be trained on both sides, and one that writes: shapes, rows and how much faster deltarule must be."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class SequenceWorkload:
    """A network of `sequence_networks`, trained with softmax cross-entropy and Adam on random rows of `shape`.

    `shape` is (steps, inputs), one class for a row; or (steps,) whole numbers below `classes`, the number that follows for every step.
    """

    name: str
    network: str
    shape: tuple[int, ...]
    classes: int
    target: float
    steps: int
    batch: int
    units: int = 128
    epochs: int = 1
    rate: float = 1e-3
    first: tuple = ()       # the first weights, in the order of the layers

    def ready(self):
        """The same with the first weights, drawn by deltarule from seed 0."""
        import sequence_networks

        from deltarule.layers.scope import flatten

        params = flatten(sequence_networks.ours(self).params)
        return dataclasses.replace(self, first=tuple(np.asarray(value) for value in params.values()))

    def data(self):
        """Rows (rows, *shape) and class numbers (rows,) or (rows, steps), the same for both sides."""
        rng = np.random.default_rng(0)
        n = self.steps * self.batch
        if len(self.shape) == 1:
            text = rng.integers(0, self.classes, (n, self.shape[0] + 1)) ** 2 // self.classes       # some are more frequent
            return text[:, :-1].astype(np.int32), text[:, 1:].astype(np.int32)
        labels = rng.integers(0, self.classes, n)
        x = rng.standard_normal((self.classes, *self.shape), np.float32)[labels]
        return x + rng.standard_normal(x.shape, np.float32), labels.astype(np.int32)


TRAINING = {
    "transformer": SequenceWorkload("transformer, 4 x 128, 128 steps, batch 32", "transformer", (128,), 65, 1.2, steps=24, batch=32),
    "lstm": SequenceWorkload("LSTM 128, 28 steps of 28, batch 64", "lstm", (28, 28), 10, 1.2, steps=240, batch=64, epochs=4),
    "gru": SequenceWorkload("GRU 128, 28 steps of 28, batch 64", "gru", (28, 28), 10, 1.2, steps=240, batch=64, epochs=4),
    "rnn": SequenceWorkload("SimpleRNN 128, 28 steps of 28, batch 64", "rnn", (28, 28), 10, 1.5, steps=240, batch=64, epochs=8),
    "lstm256": SequenceWorkload("LSTM 256, 100 steps of 32, batch 32", "lstm", (100, 32), 10, 1.1, steps=60, batch=32, units=256),
}
WRITING = {     # batch: texts that are written at the same time
    "write": SequenceWorkload("writing 127 characters, the same transformer", "transformer", (128,), 65, 3.0, steps=127, batch=1, epochs=8),
    "write8": SequenceWorkload("the same, 8 texts at a time", "transformer", (128,), 65, 3.0, steps=127, batch=8, epochs=8),
}
WORKLOADS = TRAINING | WRITING
