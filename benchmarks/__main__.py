"""deltarule beside its peers on one machine in one run: make bench, or python benchmarks [PART ...] [--help].

training   whole training steps of all workloads beside all peers
uses       prediction, a trace, an ensemble, a sweep, beside PyTorch eager
writing    a language model's text, beside PyTorch eager
scaling    seconds and memory of a step against width, depth, batch, rows and length, beside PyTorch eager
start      imports, a saved model's first prediction, and MNIST from nothing to its accuracy

Results go to build/benchmarks-cpu.json as they come, to build/benchmarks-gpu.json where JAX finds a GPU; Ctrl-C loses only what is being
measured, and --resume goes on from there. --page keeps them in docs/performance/ and writes docs/performance.md from all that are there:
one part for each device.
"""

import argparse
import json
import sys
from pathlib import Path

import page
import scaling
import starting
import uses
import writing
from peers import PEERS
from turns import OURS, compare, machine
from workloads import WORKLOADS

PARTS = ("training", "uses", "writing", "scaling", "start")
BUILD = Path(__file__).parent.parent / "build"


def main():
    """Measure, print as it comes, and keep everything; exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="training, uses, writing, scaling, start (all of them)")
    parser.add_argument("--only", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--peers", nargs="*", metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("--data-dir", metavar="FOLDER", help="MNIST, for the times to its accuracy")
    parser.add_argument("--resume", action="store_true", help="measure only what the results do not have yet")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from all results, measure nothing")
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    for given, known in ((parts, PARTS), (arguments.only or [], WORKLOADS), (arguments.peers or [], PEERS)):
        if wrong := [name for name in given if name not in known]:
            parser.error(f"unknown: {wrong[0]!r}; known: {', '.join(known)}")
    if arguments.page:
        page.publish([arguments.results] if arguments.results else sorted(BUILD.glob("benchmarks-*.json")))
        return 0
    here = machine()
    arguments.results = arguments.results or BUILD / f"benchmarks-{here['backend']}.json"
    results = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if any(results.get("machine", {}).get(name) != here[name] for name in ("processor", "cores", "device", "python", "versions")):
        results = {}        # of another machine, or of other versions
    if arguments.resume and "training" in results:
        arguments.only = [name for name in arguments.only or WORKLOADS if name not in results["training"]]
        parts = [part for part in parts if (part not in results if part != "training" else arguments.only)]
    results["machine"] = here
    print(page.machine_line(results["machine"]), flush=True)
    if "training" in parts:
        peers = [peer for peer in arguments.peers or PEERS if peer != OURS]
        training(results, arguments.only or list(WORKLOADS), peers, arguments)
    for name, part in (("uses", uses), ("writing", writing), ("scaling", scaling), ("start", starting)):
        if name in parts:
            results[name] = part.measure(arguments)
            keep(results, arguments.results)
    missed = list(page.missed(results))
    for title, peer, ratio, wanted in missed:
        print(f"missed: {title}: {ratio:.2f} times {peer}, wanted {wanted}")
    return bool(missed)


def training(results, names, peers, arguments):
    """Measure the workloads, print a line for each side."""
    for name in names:
        workload = WORKLOADS[name].ready()
        print(workload.title, flush=True)
        found = compare(workload, [peer for peer in peers if PEERS[peer].settings(workload)], arguments.repeats)
        results.setdefault("training", {})[name] = found
        keep(results, arguments.results)
        for line in page.lines(workload, found, results["machine"]["product_gflops"]):
            print(f"  {line}", flush=True)


def keep(results, path):
    """Write the results so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: what had been measured is kept; python benchmarks --resume goes on from there", file=sys.stderr)
        sys.exit(130)
