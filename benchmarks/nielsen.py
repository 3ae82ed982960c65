"""MNIST with [784, 30, 10], sigmoid, quadratic cost 1/(2n), SGD, batch 10, rate 3.0, 30 epochs (lecture row 27; Nielsen, chapter 1).

python benchmarks/nielsen.py --data-dir FOLDER [--seeds 5]: test accuracy of each seed and the median. Nielsen's best of three: 95.42%.
"""

import argparse
import statistics
import time

import deltarule as dr

LIMIT = 0.95


def train(folder, seed):
    """Test accuracy after 30 epochs, and the seconds they took."""
    train, test = dr.data.mnist(folder)
    net = dr.Network([dr.Dense(30, "sigmoid", "normal", "normal"), dr.Dense(10, "sigmoid", "normal", "normal")], 784, seed=seed)
    history = net.fit(train.x, dr.data.one_hot(train.y), loss="quadratic", optimizer=dr.SGD(3.0), batch_size=10, epochs=30)
    return net.evaluate(test.x, dr.data.one_hot(test.y), metrics="accuracy")["accuracy"], history


def main():
    """Print one line for each seed; exit with 1 where the median is below 95%."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.seeds):
        clock = time.perf_counter()
        accuracy, history = train(arguments.data_dir, seed)
        found.append(accuracy)
        print(f"seed {seed}: {accuracy:.2%} on the 10,000 test images, {time.perf_counter() - clock:.1f} s ({history.pace})", flush=True)
    print(f"median {statistics.median(found):.2%}, worst {min(found):.2%}, best {max(found):.2%}")
    return statistics.median(found) < LIMIT


if __name__ == "__main__":
    raise SystemExit(main())
