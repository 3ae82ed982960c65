"""Whole training steps of convolutional networks beside PyTorch eager, from one process each that take turns, and their memory.

python benchmarks/images.py [--repeats 5] [--only NAME ...] [--json FILE]. As in `training.py`: the same first weights and rows for both
sides, whose losses after some updates must agree before anything is timed. PyTorch runs in the layout (channels first or last) and with the
number of threads that are fastest here, tried first.
"""

import argparse
import itertools
import os
import statistics
import sys

from image_sides import SIDES
from image_workloads import WORKLOADS
from training import UPDATES, Side, take_turns, this_machine, write

AGREEMENT = 1e-2


def best_setting(workload):
    """The number of threads and the layout with which PyTorch is fastest here."""
    seconds = {}
    layouts = ("channels_first", "channels_last") if len(workload.shape) == 3 else ("channels_first",)
    for setting in itertools.product(sorted({1, os.cpu_count() or 1}), layouts):
        side = Side("PyTorch eager", workload, setting, SIDES)
        side.ask("losses", UPDATES)
        seconds[setting] = min(side.ask("train", 1), side.ask("train", 1))
        side.stop()
    return min(seconds, key=seconds.get)


def compare(workload, repeats):
    """Seconds for a step on both sides, repeat by repeat, the median of the ratios, and the peak of each side's memory."""
    setting = best_setting(workload)
    ours, peer = Side("deltarule", workload, None, SIDES), Side("PyTorch eager", workload, setting, SIDES)
    result = take_turns(ours, peer, workload, repeats, AGREEMENT)
    memory = ours.ask("memory", None), peer.ask("memory", None)
    ours.stop()
    peer.stop()
    return result | {"torch_threads": setting[0], "torch_layout": setting[1], "peak_megabytes": memory}


def main():
    """Print a table; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    machine = this_machine()
    print(f"{'workload':44s} {'deltarule':>10s} {'PyTorch':>10s}  {'faster by':>9s} {'spread':>13s} {'target':>6s}  {'peak memory':>16s}")
    results = []
    for name in arguments.only:
        result = compare(WORKLOADS[name].ready(), arguments.repeats)
        results.append(result)
        mine, theirs = (statistics.median(column) / result["steps"] * 1e3 for column in zip(*result["epoch_seconds"], strict=True))
        low, high = result["ratio_spread"]
        own, other = result["peak_megabytes"]
        print(f"{result['workload']:44s} {mine:7.2f} ms {theirs:7.2f} ms  {result['ratio']:8.2f}x {low:5.2f} - {high:5.2f} "
              f"{result['target']:5.1f}x  {own:5.0f} : {other:5.0f} MB", flush=True)
    write(arguments.json, machine, results)
    return any(result["ratio"] < result["target"] for result in results)


if __name__ == "__main__":
    sys.exit(main())
