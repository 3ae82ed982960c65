"""Lecture row 27: MNIST with [784, 30, 10], sigmoid, quadratic cost, batch 10, rate 3.0, 30 epochs: at least 95% on the test set."""

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
