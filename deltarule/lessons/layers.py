"""Dense layers: how many numbers a network of layers learns, and what each layer hands on.

In a dense layer every unit sees every output of the layer before: a layer of n inputs and m units has n m weights and m biases. On an
image that is a lot. The multilayer perceptron is a chain of L such hidden layers and an output layer, and all that a layer does to
a batch of examples is one product of matrices, one sum and one function.
"""

import numpy as np

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_most, equals

ROWS = (16,)
EQUATIONS = ("a^k = h^(k-1) W^k + b^k,   h^k = g(a^k),   h^0 = x,   k = 1 ... L + 1",
             "parameters:  sum_k (n_(k-1) + 1) n_k",
             "convolution of C channels with K kernels of k x k:  k k C K weights")
PARTS = ("dr.Dense", "dr.Flatten", "dr.Conv2D", "dr.Network.summary", "dr.Network.trace", "dr.textbook.forward",
         "dr.figures.network")


def teach(board: Board) -> None:
    """The lecture's image layer, parameter counts by formula and by the network, the shape of every a and h, and a picture."""
    _image(board)
    _counts(board)
    _shapes(board)


def _image(board: Board) -> None:
    net = dr.Network([dr.Flatten(), dr.Dense(100, "relu")], input_shape=(32, 32, 3))
    kernels = dr.Network([dr.Conv2D(64, 3, "relu", padding="same")], input_shape=(32, 32, 3))
    dense, convolution = net.params["dense_1"]["weights"].size, kernels.params["conv2d_1"]["weights"].size
    board.say("A colour image of 32 x 32 pixels, seen by 100 units, all to all. Beside it a convolution with 64 kernels of 3 x 3 pixels, "
              "whose weights are used at every place of the image:")
    board.table(["layer", "weights", "formula"], [["dense, 100 units", dense, "(32 * 32 * 3) * 100"],
                                                  ["convolution, 64 kernels 3 x 3", convolution, "3 * 3 * 3 * 64"]])
    board.number("weights of 32x32x3 into 100 units", dense, equals(307_200))
    board.number("with their biases", net.summary().parameters, equals(307_300))
    board.number("weights of a 3x3x3x64 convolution", convolution, equals(1_728))
    board.number("dense over convolution, about", round(dense / convolution, -1), equals(180.0))


def _counts(board: Board) -> None:
    board.say("Networks for the digits of MNIST, 784 inputs and 10 outputs, with L hidden layers of 30 units. The count by formula and as "
              "the network counts its own arrays:")
    rows = []
    for L in range(5):
        sizes = [784, *[30] * L, 10]
        net = dr.Network([*[dr.Dense(units, "sigmoid") for units in sizes[1:-1]], dr.Dense(10, "softmax")], input_shape=784)
        formula = sum((sizes[k - 1] + 1) * sizes[k] for k in range(1, len(sizes)))
        rows.append([L, " - ".join(map(str, sizes)), formula, net.summary().parameters])
    board.table(["L", "sizes", "formula", "network"], rows)
    board.number("parameters of 784 - 30 - 10", rows[1][3], equals(23_860))
    board.number("formula and network agree for L = 0 ... 4", [row[3] for row in rows], equals([row[2] for row in rows]))


def _shapes(board: Board) -> None:
    iris = dr.data.iris()
    x = np.asarray(iris.x, np.float64)
    x = (x - x.mean(axis=0))[::10]                                      # 15 flowers
    net = dr.Network([dr.Dense(5, "tanh"), dr.Dense(3, "softmax")], input_shape=4, seed=1, dtype="float64")
    trace = net.trace(x)
    board.say(f"What passes through a small network, here {len(x)} iris flowers of 4 measurements through 5 hidden units to 3 classes:")
    board.table(["layer", "h below", "W", "b", "a", "h"],
                [[layer.path, *(str(values.shape) for values in (layer.input, layer.parameters["weights"], layer.parameters["bias"],
                                                                 layer.preactivation, layer.activation))] for layer in trace])
    board.number("shapes of a, layer by layer", [list(layer.preactivation.shape) for layer in trace], equals([[15, 5], [15, 3]]))
    board.number("shapes of h, layer by layer", [list(layer.activation.shape) for layer in trace], equals([[15, 5], [15, 3]]))
    layers = [dr.textbook.Layer(layer["weights"], layer["bias"], g)
              for layer, g in zip(net.params.values(), ("tanh", "softmax"), strict=True)]
    a = dr.textbook.forward(layers, x).a
    apart = max(np.abs(layer.preactivation - a[k]).max() for k, layer in enumerate(trace, 1))
    board.number("a of every unit against textbook", apart, at_most(1e-10))
    board.figure("network", dr.figures.network(net, trace=trace), "each circle is a unit with its activation for the first flower, each "
                 "line a weight: the thicker the larger, blue positive, orange negative")
