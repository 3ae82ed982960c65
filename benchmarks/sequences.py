"""Whole training steps of networks for sequences, and writing with a language model, beside PyTorch eager, from processes that take turns.

python benchmarks/sequences.py [--repeats 5] [--only NAME ...] [--json FILE]. As in `training.py`: the same first weights and rows for both
sides, whose losses after some updates must agree before anything is timed; the texts that they write without drawing must be equal.
PyTorch runs with the number of threads that is fastest here, tried first.
"""

import argparse
import os
import statistics
import sys

from sequence_sides import SIDES
from sequence_workloads import WORKLOADS, WRITING
from training import Side, take_turns, this_machine, write

AGREEMENT = 1e-3


def best_threads(workload, method):
    """The number of threads with which PyTorch is fastest here."""
    seconds = {}
    for threads in sorted({1, os.cpu_count() or 1}):
        side = Side("PyTorch eager", workload, threads, SIDES)
        side.ask(method, 1)
        seconds[threads] = min(side.ask(method, 1), side.ask(method, 1))
        side.stop()
    return min(seconds, key=seconds.get)


def compare(name, repeats):
    """Seconds for a step on both sides, repeat by repeat, and the median of the ratios."""
    workload, method = WORKLOADS[name].ready(), "write" if name in WRITING else "train"
    threads = best_threads(workload, method)
    ours, peer = Side("deltarule", workload, None, SIDES), Side("PyTorch eager", workload, threads, SIDES)
    result = (take_turns_writing if name in WRITING else take_turns)(ours, peer, workload, repeats, AGREEMENT)
    ours.stop()
    peer.stop()
    return result | {"torch_threads": threads}


def take_turns_writing(ours, peer, workload, repeats, agreement):
    """Both sides' texts without drawing, which must be equal, then the seconds of their texts in turn, and the median of the ratios."""
    texts = ours.ask("greedy", None), peer.ask("greedy", None)
    if texts[0] != texts[1]:
        raise SystemExit(f"{workload.name}: the two sides write different texts")
    ours.ask("write", 1)      # compiles
    pairs = []
    for _ in range(repeats):
        theirs = peer.ask("write", workload.epochs) / workload.epochs
        pairs.append((ours.ask("write", workload.epochs) / workload.epochs, theirs))
    ratios = [theirs / mine for mine, theirs in pairs]
    return {"workload": workload.name, "target": workload.target, "steps": workload.steps, "epoch_seconds": pairs,
            "ratio": statistics.median(ratios), "ratio_spread": [min(ratios), max(ratios)]}


def main():
    """Print a table; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    machine = this_machine()
    print(f"{'workload':50s} {'deltarule':>11s} {'PyTorch':>11s}  {'faster by':>9s} {'spread':>13s} {'target':>6s}")
    results = []
    for name in arguments.only:
        result = compare(name, arguments.repeats)
        results.append(result)
        mine, theirs = (statistics.median(column) / result["steps"] * 1e3 for column in zip(*result["epoch_seconds"], strict=True))
        low, high = result["ratio_spread"]
        print(f"{result['workload']:50s} {mine:8.3f} ms {theirs:8.3f} ms  {result['ratio']:8.2f}x {low:5.2f} - {high:5.2f} "
              f"{result['target']:5.1f}x", flush=True)
    write(arguments.json, machine, results)
    return any(result["ratio"] < result["target"] for result in results)


if __name__ == "__main__":
    sys.exit(main())
