"""MNIST as in the lectures: [784, 30, 10] with sigmoid and quadratic cost (row 27), the convolutional network (row 32), and LeNet-5."""

import os
import statistics

import pytest

import deltarule as dr
from deltarule.errors import DataError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mnist():
    try:
        return dr.data.mnist()
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error}")


def test_nielsens_network_reaches_95_percent_in_the_median_of_five_seeds(mnist):
    train, test = mnist
    y, y_test = dr.data.one_hot(train.y), dr.data.one_hot(test.y)
    found = []
    for seed in range(5):
        net = dr.Network([dr.Dense(30, "sigmoid", "normal", "normal"), dr.Dense(10, "sigmoid", "normal", "normal")], 784, seed=seed)
        net.fit(train.x, y, loss="quadratic", optimizer=dr.SGD(3.0), batch_size=10, epochs=30)
        found.append(net.evaluate(test.x, y_test)["accuracy"])
    assert statistics.median(found) >= 0.95, found
    assert min(found) >= 0.8, found      # with first weights from N(0, 1) a digit may stay saturated and unlearnt: about 86%


@pytest.mark.parametrize(("make", "epochs", "demanded"), [
    (lambda: dr.models.convnet((28, 28, 1), 10, filters=(16, 32), hidden=(128,), dropout=0.4, seed=1), 5, 0.992),
    (lambda: dr.models.lenet5((28, 28, 1), 10, activation="relu", pool="max", seed=1), 10, 0.989),
], ids=["convnet", "lenet5"])
def test_convolutional_networks_read_digits(mnist, make, epochs, demanded):
    """Row 32: at least 99.2% with [Conv ReLU Conv ReLU Pool] x 2, Flatten, Dense, Softmax; LeNet-5 at least 98.9%."""
    train, test = ((part.x.reshape(-1, 28, 28, 1), part.y) for part in mnist)
    net = make()
    net.fit(*train, optimizer=dr.Adam(dr.OneCycle(0.003)), epochs=epochs, batch_size=128, progress=False,
            augment=[dr.augment.Rotate(10), dr.augment.Scale(0.9, 1.1), dr.augment.Shift(2)])
    assert net.evaluate(*test)["accuracy"] >= demanded
