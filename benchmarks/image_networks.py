"""The networks of the image benchmarks, written for both sides in their own words, and the weights carried from one to the other."""

import itertools

import numpy as np


def ours(workload):
    """The network in deltarule."""
    import deltarule as dr

    shape, classes = workload.shape, workload.classes

    def cnn(kernel, padding):
        return dr.Network([dr.Conv2D(32, kernel, "relu", padding=padding), dr.Conv2D(64, kernel, "relu", padding=padding), dr.MaxPool2D(2),
                           dr.Flatten(), dr.Dense(128, "relu"), dr.Dense(classes, "softmax")], shape)

    return {
        "lenet5": lambda: dr.models.lenet5(shape, classes, activation="relu", pool="max"),
        "lenet5_1998": lambda: dr.models.lenet5(shape, classes),
        "cnn3": lambda: cnn(3, "valid"),
        "cnn5": lambda: cnn(5, "same"),
        "resnet": lambda: dr.models.resnet(shape, classes),
        "conv1d": lambda: dr.Network([*[dr.Conv1D(64, 3, "relu")] * 3, dr.GlobalAveragePool(), dr.Dense(classes, "softmax")], shape),
    }[workload.network]()


def theirs(workload):
    """The network in PyTorch, with the workload's first weights."""
    import torch
    from torch import nn

    channels, classes = workload.shape[-1], workload.classes

    class Block(nn.Module):
        def __init__(self, before, filters, stride):
            super().__init__()
            plain = before == filters and stride == 1
            self.shortcut = nn.Identity() if plain else nn.Sequential(
                nn.Conv2d(before, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))
            self.body = nn.Sequential(nn.Conv2d(before, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
                                      nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters))

        def forward(self, x):
            return torch.relu(self.shortcut(x) + self.body(x))

    def lenet(activation, pool):
        return [nn.Conv2d(channels, 6, 5, padding=2), activation(), pool(2), nn.Conv2d(6, 16, 5), activation(), pool(2), nn.Flatten(),
                nn.Linear(400, 120), activation(), nn.Linear(120, 84), activation(), nn.Linear(84, classes)]

    def cnn(kernel, padding, side):
        return [nn.Conv2d(channels, 32, kernel, padding=padding), nn.ReLU(), nn.Conv2d(32, 64, kernel, padding=padding), nn.ReLU(),
                nn.MaxPool2d(2), nn.Flatten(), nn.Linear(side * side * 64, 128), nn.ReLU(), nn.Linear(128, classes)]

    def resnet():
        sizes = [16] * 4 + [32] * 3 + [64] * 3
        blocks = [Block(before, after, 1 if before == after else 2) for before, after in itertools.pairwise(sizes)]
        return [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                nn.Linear(64, classes)]

    net = nn.Sequential(*{
        "lenet5": lambda: lenet(nn.ReLU, nn.MaxPool2d),
        "lenet5_1998": lambda: lenet(nn.Tanh, nn.AvgPool2d),
        "cnn3": lambda: cnn(3, 0, 12),
        "cnn5": lambda: cnn(5, 2, 14),
        "resnet": resnet,
        "conv1d": lambda: [nn.Conv1d(channels, 64, 3), nn.ReLU(), nn.Conv1d(64, 64, 3), nn.ReLU(), nn.Conv1d(64, 64, 3), nn.ReLU(),
                           nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, classes)],
    }[workload.network]())
    maps = channels
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), workload.first, strict=True):
            parameter.copy_(torch.from_numpy(carried(value, tuple(parameter.shape), maps)))
            maps = value.shape[-1]
    return net


def carried(value, shape, maps):
    """Weights as PyTorch has them: filters first, and the inputs of the first dense layer map by map instead of place by place."""
    if value.ndim > 2:
        value = np.moveaxis(value, (-1, -2), (0, 1))
    elif value.ndim == 2:
        if len(value) != maps:
            places = len(value) // maps
            value = value.reshape(places, maps, -1).swapaxes(0, 1).reshape(value.shape)
        value = value.T
    if value.shape != shape:
        raise ValueError(f"weights of shape {value.shape} for a parameter of shape {shape}")
    return np.ascontiguousarray(value)
