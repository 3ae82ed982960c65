"""The lessons on handwritten digits: without MNIST they run on the digits that come with the library, and say so."""

from types import SimpleNamespace

import numpy as np
import pytest

import deltarule as dr
from deltarule.lessons import handwriting
from deltarule.lessons.board import Board


@pytest.fixture
def without_mnist(monkeypatch):
    def nowhere(*arguments, **options):
        raise dr.DataError("there is no MNIST")

    monkeypatch.setattr(dr.data, "mnist", nowhere)


@pytest.mark.parametrize("name", ["mnist-nielsen", pytest.param("convnet", marks=pytest.mark.slow)])
def test_every_number_is_as_expected_without_mnist(without_mnist, name):
    found = dr.lessons.run(name)
    assert [check for check in found.checks if not check.passed] == []
    assert "MNIST is not at hand" in found.text
    assert found.figures.keys() == found.captions.keys() != set()
    assert all(max(figure.get_size_inches()) <= 11.5 for figure in found.figures.values())


def test_the_small_digits_are_enlarged(without_mnist):
    board, small = Board(), dr.data.digits().split(test=0.2, seed=0)
    found = handwriting.digits(board)
    assert [len(part) for part in found] == [1438, 1438, 359, 359]
    assert "1,797 small digits" in board.lines[0]
    assert found.x.dtype == np.float32
    for large, part in ((found.x, small[0]), (found.x_test, small[1])):
        assert large.shape[1:] == (28, 28, 1)
        np.testing.assert_array_equal(large[:, 3:-2:3, 3:-2:3, 0].reshape(len(large), 64), part.x)
        assert large.sum() == pytest.approx(9 * np.sum(part.x), rel=1e-5)


def test_mnist_is_taken_where_it_is(monkeypatch):
    rng = np.random.default_rng(0)
    parts = [SimpleNamespace(x=rng.uniform(size=(n, 28, 28, 1)).astype("float32"), y=rng.integers(0, 10, n)) for n in (12, 5)]
    monkeypatch.setattr(dr.data, "mnist", lambda flat: tuple(parts))
    board = Board()
    found = handwriting.digits(board)
    np.testing.assert_array_equal(found.x_test, parts[1].x)
    said = " ".join(board.lines[0].split())
    assert said == "MNIST: 12 handwritten digits of 28 x 28 pixels to learn from and 5 by other writers to test."


def test_the_hardest_images_come_first():
    """A network that answers with the row itself."""
    net = dr.Network([dr.Flatten(), dr.Activation("linear")], (2, 2, 1))
    x = np.array([[0.1, 0.9, 0, 0], [0.2, 0.3, 0.4, 0.1], [0.7, 0.1, 0.1, 0.1]], "float32").reshape(3, 2, 2, 1)
    fig = handwriting.hardest(net, x, np.array([0, 3, 0]), count=2)
    assert [ax.get_title() for ax in fig.axes[:2]] == ["0, read as 1", "3, read as 2"]
    np.testing.assert_array_equal(fig.axes[1].images[0].get_array(), x[1, ..., 0])
