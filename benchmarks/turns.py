"""Sides that take turns: each lives in a process of its own, so that neither warms the other's caches nor fights for its threads."""

import multiprocessing
import os
import platform
import signal
import statistics
import time
from importlib.metadata import PackageNotFoundError, version

from peers import PEERS, found
from workloads import UPDATES

REST = 0.3
TURN = 1.0      # seconds that a turn takes, where an epoch is not longer
LONG = 120.0    # seconds after which three turns of all sides are enough
OURS = "deltarule"


def serve(peer, workload, setting, pipe):
    """The life of one side: answer requests until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is for the process that asks
    try:
        os.environ.update(found(peer).ENVIRONMENT)
        side = found(peer).Side(workload, setting)
        pipe.send(None)
        while (request := pipe.recv()) is not None:
            method, *arguments = request
            pipe.send(getattr(side, method)(*arguments))
    except Exception as error:
        pipe.send(Broken(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))


class Broken(Exception):
    """A side that could not be built or run, with its reason in one line."""


class Process:
    """A side in a process of its own. Raises Broken where it fails."""

    def __init__(self, peer, workload, setting=None):
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=serve, args=(peer, workload, setting, far), daemon=True)
        self.process.start()
        self._answer()

    def ask(self, method, *arguments):
        """Call a method over there; afterwards let its threads fall asleep."""
        self.pipe.send((method, *arguments))
        answer = self._answer()
        time.sleep(REST)
        return answer

    def _answer(self):
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise Broken("the process ended") from None
        if isinstance(answer, Broken):
            self.process.join()
            raise answer
        return answer

    def stop(self):
        """End the process."""
        self.pipe.send(None)
        self.process.join()


def fastest(peer, workload):
    """The setting (threads, layout, steps in one call) with which a peer is fastest here, each tried for an epoch."""
    settings = PEERS[peer].settings(workload)
    if len(settings) == 1:
        return settings[0]
    seconds = {}
    for setting in settings:
        side = Process(peer, workload, setting)
        side.ask("losses", UPDATES)
        seconds[setting] = min(side.ask("train", 1) for _ in range(2))
        side.stop()
    return min(seconds, key=seconds.get)


def compare(workload, peers, repeats, say=print):
    """What came of one workload: for every side its seconds for a step, turn by turn, its loss after 20 updates and its peak of memory.

    A side whose loss is not ours after 20 updates from the same weights and rows is not timed: it is another computation. Peers that
    draw their own first weights say so and are timed.
    """
    sides, results = {}, {}
    for peer in (OURS, *peers):
        try:
            setting = fastest(peer, workload)
            side = Process(peer, workload, setting)
            loss = side.ask("losses", UPDATES)
            if loss is not None and peer != OURS and abs(loss - results[OURS]["loss"]) > workload.agreement * abs(results[OURS]["loss"]):
                side.stop()
                raise Broken(f"after {UPDATES} updates its loss is {loss:.5f}, ours {results[OURS]['loss']:.5f}")
            side.ask("train", 1)        # compiles
            epochs = 1
            while (more := min(workload.epochs, max(1, round(epochs * TURN / side.ask("train", epochs))))) > epochs:
                epochs = more           # a longer training may be another program, and what a call costs is shared by its epochs
        except Broken as error:
            if peer == OURS:
                raise
            say(f"  {peer}: not measured, {error}")
            results[peer] = {"failed": str(error)}
            continue
        sides[peer], results[peer] = side, {"setting": setting, "loss": loss, "epochs": epochs, "seconds": []}
    begin = time.perf_counter()
    for turn in range(repeats):
        if turn >= 3 and time.perf_counter() - begin > LONG:
            break
        for peer, side in sides.items():
            epochs = results[peer]["epochs"]
            results[peer]["seconds"].append(side.ask("train", epochs) / epochs / workload.steps)
    for peer, side in sides.items():
        results[peer]["memory"] = side.ask("memory")
        side.stop()
        ratios = [theirs / mine for mine, theirs in zip(results[OURS]["seconds"], results[peer]["seconds"], strict=True)]
        results[peer] |= {"ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}
    return results


def machine():
    """What the numbers are measured on: processor, device, versions, and the best rate of a large matrix product in JAX (GFLOP/s)."""
    names = ("deltarule", "jax", "torch", "keras", "flax", "optax", "scikit-learn", "numpy")
    side = Process(OURS, None)
    rate, (backend, device) = side.ask("product"), side.ask("device")
    side.stop()
    return {"date": time.strftime("%Y-%m-%d"), "processor": processor(), "cores": os.cpu_count(), "backend": backend, "device": device,
            "python": platform.python_version(),
            "versions": {name: found for name in names if (found := installed(name))}, "product_gflops": rate}


def processor():
    """The processor's own name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def installed(name):
    """The version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
