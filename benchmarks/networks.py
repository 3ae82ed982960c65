"""Networks in words that belong to no side: a workload is a tuple of these parts, which every peer builds in its own way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dense:
    """h = g(x W + b)."""

    units: int
    activation: str = "linear"


@dataclass(frozen=True)
class Conv:
    """Convolution along `axes` axes, channels last, with the kernel's size the same along each; padding "valid", "same" or a number."""

    filters: int
    kernel: int
    activation: str = "linear"
    padding: str | int = "valid"
    stride: int = 1
    axes: int = 2
    bias: bool = True


@dataclass(frozen=True)
class Pool:
    """Of images: "max" or "mean" of windows that do not overlap."""

    size: int
    kind: str = "max"


@dataclass(frozen=True)
class Flatten:
    """All axes but the batch in one."""


@dataclass(frozen=True)
class GlobalMean:
    """The mean over all places, channels stay; `axes` of them."""

    axes: int = 2


@dataclass(frozen=True)
class BatchNorm:
    """With statistics of the batch, and a ReLU behind it or not."""

    activation: str = "linear"


@dataclass(frozen=True)
class Residual:
    """relu(shortcut(x) + body(x)); an empty shortcut is the identity."""

    body: tuple
    shortcut: tuple = ()


@dataclass(frozen=True)
class Recurrent:
    """"rnn" (tanh), "lstm" or "gru" over all steps; h of the last one goes on."""

    kind: str
    units: int


@dataclass(frozen=True)
class Embedding:
    """Whole numbers to vectors, with a learnt vector for every place added."""

    vocabulary: int
    width: int


@dataclass(frozen=True)
class Block:
    """m = x + attention(norm(x)), m + MLP(norm(m)): causal, GELU, the MLP four times as wide; attention without biases."""

    heads: int


@dataclass(frozen=True)
class LayerNorm:
    """Over the features."""


def parts(network):
    """All parts in the order of their weights, those inside others included."""
    for part in network:
        if isinstance(part, Residual):
            yield from parts(part.shortcut)
            yield from parts(part.body)
        else:
            yield part
