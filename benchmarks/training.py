"""Training epochs of deltarule beside PyTorch eager: python benchmarks/training.py [--repeats 5] [--json FILE].

Each side lives in a process of its own; they take turns (A B A B ...), so that a machine whose speed drifts is fair to both.
Before anything is timed, both sides' losses after 20 updates from the same weights must agree.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from importlib.metadata import version

from sides import SIDES
from workloads import WORKLOADS

UPDATES, AGREEMENT, REST = 20, 1e-3, 0.5


def serve(side, workload, setting, pipe):
    """The life of one side: answer requests until told to stop."""
    built = side(workload, setting)
    while (request := pipe.recv()) is not None:
        method, argument = request
        pipe.send(getattr(built, method)(argument))


class Side:
    """A side in a process of its own."""

    def __init__(self, name, workload, setting=2, sides=SIDES):
        self.pipe, far = multiprocessing.get_context("spawn").Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(sides[name], workload, setting, far), daemon=True)
        self.process.start()

    def ask(self, method, argument):
        """Call a method over there; afterwards let its threads fall asleep."""
        self.pipe.send((method, argument))
        answer = self.pipe.recv()
        time.sleep(REST)
        return answer

    def stop(self):
        """End the process."""
        self.pipe.send(None)
        self.process.join()


def best_threads(workload):
    """The number of threads with which PyTorch is fastest here."""
    seconds = {}
    for threads in {1, os.cpu_count() or 1}:
        side = Side("PyTorch eager", workload, threads)
        side.ask("losses", UPDATES)
        seconds[threads] = side.ask("train", 1)
        side.stop()
    return min(seconds, key=seconds.get)


def compare(workload, repeats):
    """Seconds for an epoch on both sides, repeat by repeat, and the median of the ratios."""
    threads = best_threads(workload)
    ours, peer = Side("deltarule", workload), Side("PyTorch eager", workload, threads)
    result = take_turns(ours, peer, workload, repeats, AGREEMENT)
    ours.stop()
    peer.stop()
    return result | {"torch_threads": threads}


def take_turns(ours, peer, workload, repeats, agreement):
    """Both sides' losses after some updates, which must agree, then the seconds of their epochs in turn, and the median of the ratios."""
    losses = ours.ask("losses", UPDATES), peer.ask("losses", UPDATES)
    if abs(losses[0] - losses[1]) > agreement * abs(losses[1]):
        raise SystemExit(f"{workload.name}: after {UPDATES} updates the losses differ, ours {losses[0]:.6f}, theirs {losses[1]:.6f}")
    ours.ask("train", workload.epochs)      # compiles
    pairs = []
    for _ in range(repeats):
        theirs = peer.ask("train", workload.epochs) / workload.epochs
        pairs.append((ours.ask("train", workload.epochs) / workload.epochs, theirs))
    ratios = [theirs / mine for mine, theirs in pairs]
    return {"workload": workload.name, "target": workload.target, "steps": workload.steps, "losses_after_20_updates": losses,
            "epoch_seconds": pairs, "ratio": statistics.median(ratios), "ratio_spread": [min(ratios), max(ratios)]}


def this_machine():
    """What the numbers were measured on, printed and returned."""
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
               **{name: version(name) for name in ("jax", "torch", "deltarule", "numpy")}}
    print("  ".join(f"{name} {value}" for name, value in machine.items()))
    return machine


def write(path, machine, results):
    """Keep all numbers as JSON, where a path is given."""
    if path:
        with open(path, "w") as file:
            json.dump({"machine": machine, "results": results}, file, indent=2)


def main():
    """Print a table; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    machine = this_machine()
    print(f"{'workload':38s}  {'deltarule':>12s}  {'PyTorch':>12s}  {'faster by':>9s}  {'spread':>13s}  {'target':>6s}")
    results = []
    for workload in WORKLOADS.values():
        result = compare(workload, arguments.repeats)
        results.append(result)
        mine, theirs = (statistics.median(column) / workload.steps * 1e6 for column in zip(*result["epoch_seconds"], strict=True))
        low, high = result["ratio_spread"]
        print(f"{workload.name:38s}  {mine:9.1f} us  {theirs:9.1f} us  {result['ratio']:8.2f}x  {low:5.2f} - {high:5.2f}  "
              f"{workload.target:5.1f}x", flush=True)
    write(arguments.json, machine, results)
    return any(result["ratio"] < result["target"] for result in results)


if __name__ == "__main__":
    raise SystemExit(main())
