"""Convolutional networks to be trained on both sides: shapes, rows and how much faster deltarule must be."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageWorkload:
    """A network of `image_networks`, trained with softmax cross-entropy and Adam on random rows of `shape` (height, width, channels)."""

    name: str
    network: str
    shape: tuple[int, ...]
    classes: int
    target: float
    steps: int
    batch: int = 128
    epochs: int = 1
    rate: float = 1e-3
    first: tuple = ()       # the first weights, in the order of the layers

    def ready(self):
        """The same with the first weights, drawn by deltarule from seed 0."""
        import image_networks

        from deltarule.layers.scope import flatten

        params = flatten(image_networks.ours(self).params)
        return dataclasses.replace(self, first=tuple(np.asarray(value) for value in params.values()))

    def data(self):
        """Rows (rows, *shape) and class numbers (rows,), the same for both sides: noise around a picture for each class."""
        rng = np.random.default_rng(0)
        labels = rng.integers(0, self.classes, self.steps * self.batch)
        x = rng.standard_normal((self.classes, *self.shape), np.float32)[labels]
        for row in x:       # one after the other: the peak of memory is to be that of training
            row += rng.standard_normal(self.shape, np.float32)
        return x, labels.astype(np.int32)


WORKLOADS = {
    "lenet5": ImageWorkload("LeNet-5 (ReLU, max pooling), 28x28x1", "lenet5", (28, 28, 1), 10, 2.5, steps=240, epochs=6),
    "lenet5-1998": ImageWorkload("LeNet-5 (tanh, average pooling), 28x28x1", "lenet5_1998", (28, 28, 1), 10, 2.5, steps=240, epochs=6),
    "cnn3": ImageWorkload("Conv 32, Conv 64 (3x3), Pool, Dense 128", "cnn3", (28, 28, 1), 10, 1.5, steps=60),
    "cnn5": ImageWorkload("the same with 5x5 kernels, padding same", "cnn5", (28, 28, 1), 10, 1.4, steps=36),
    "resnet": ImageWorkload("ResNet-20 (16, 32, 64), 32x32x3", "resnet", (32, 32, 3), 10, 1.2, steps=36),
    "conv1d": ImageWorkload("three Conv1D of 64, kernel 3, 1000x1", "conv1d", (1000, 1), 5, 1.4, steps=36),
}
