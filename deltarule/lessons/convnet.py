"""The lecture's network for images: [Conv ReLU Conv ReLU Pool] x k, Flatten, Dense, Softmax.

Convolutions look for the same small patterns everywhere, with few weights; pooling makes the picture smaller and forgives small shifts;
after two such blocks the image is 7 x 7 places with 32 values each, and dense layers decide. LeNet-5, with which it began, has the same
parts in another order. Both read digits better than a dense network, which has to learn each pattern anew at every place.
"""

from typing import Any

import deltarule as dr
from deltarule.lessons.board import Board
from deltarule.lessons.expectations import at_least, at_most, equals
from deltarule.lessons.handwriting import digits, hardest

ROWS = (32,)
EQUATIONS = ("[Conv 3 x 3, ReLU, Conv 3 x 3, ReLU, Pool 2 x 2] x k,  Flatten,  Dense, ReLU,  Dense, Softmax",
             "28 x 28 x 1  ->  14 x 14 x 16  ->  7 x 7 x 32  ->  1,568  ->  128  ->  10")
PARTS = ("dr.models.convnet", "dr.models.lenet5", "dr.models.mlp", "dr.augment", "dr.figures.augmented", "dr.figures.image_grid")

IMAGES, BATCH, STEPS = 6000, 60, 300


def teach(board: Board) -> None:
    """A short training of three networks on the same images, then how to get the best out of the whole set."""
    x, y, x_test, y_test = digits(board)
    x, y = x[:IMAGES], y[:IMAGES]
    nets = {"dense": dr.models.mlp((28, 28, 1), 10, (128,)),
            "LeNet-5": dr.models.lenet5((28, 28, 1), 10, activation="relu", pool="max"),
            "convolutional": dr.models.convnet((28, 28, 1), 10, filters=(16, 32), hidden=(128,))}
    board.say("The layers of the convolutional network:")
    board.table(["layer", "kind", "output", "parameters"], _layers(nets["convolutional"]))
    board.number("parameters of the convolutional network", nets["convolutional"].summary().parameters,
                 equals(160 + 2320 + 4640 + 9248 + 1568 * 128 + 128 + 1290))
    board.number("parameters of LeNet-5", nets["LeNet-5"].summary().parameters, equals(61706))
    epochs = round(STEPS * BATCH / len(x))
    board.say(f"A short training, about {STEPS} steps of {BATCH} images: {len(x):,} images, {epochs} epochs.")
    right = {}
    for name, net in nets.items():
        net.fit(x, y, optimizer=dr.Adam(dr.OneCycle(0.003)), epochs=epochs, batch_size=BATCH, progress=False)
        right[name] = net.evaluate(x_test, y_test)["accuracy"]
    board.table(["network", "parameters", "multiply-adds", f"right of {len(y_test):,} test images"],
                [[name, net.summary().parameters, net.summary().multiply_adds, f"{right[name]:.2%}"] for name, net in nets.items()])
    board.number("accuracy of the convolutional network", right["convolutional"], at_least(0.96))
    board.number("its errors relative to those of the dense network", (1 - right["convolutional"]) / (1 - right["dense"]), at_most(0.9))
    board.number("accuracy of LeNet-5", right["LeNet-5"], at_least(0.94))
    board.say("These are numbers of a short training. On all 60,000 images of MNIST, changed a little at random in every step (rotated by "
              "up to 10 degrees, scaled by up to a tenth, shifted by up to 2 pixels) and with dropout, the same network read 99.37% to "
              "99.53% of the test images after 5 epochs (three seeds), and LeNet-5 99.19% to 99.23% after 10; tests/test_mnist.py holds "
              "both, to 99.2% and 98.9%.")
    board.figure("hardest", hardest(nets["convolutional"], x_test, y_test),
                 "the test images to whose digit the convolutional network gave the least probability, the most misleading first")
    steps = [dr.augment.Rotate(10), dr.augment.Scale(0.9, 1.1), dr.augment.Shift(2)]
    board.figure("augmented", dr.figures.augmented(x[:4], steps), "what augmentation makes of four images in seven steps")


def _layers(net: dr.Network) -> list[list[Any]]:
    """Name, class, shape and parameters of every layer."""
    counts = {name: sum(value.size for value in values.values()) for name, values in net.params.items()}
    return [[visit.path, type(visit.layer).__name__, " x ".join(map(str, visit.output_shape[1:])), counts.get(visit.path, 0)]
            for visit in net.plan.visits if visit.path]
