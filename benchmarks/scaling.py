"""How the cost of a step grows with width, depth, batch, rows and length: deltarule beside PyTorch eager, with slopes."""

import dataclasses

import networks as n
import numpy as np
from turns import OURS, Broken, Process, fastest
from workloads import UPDATES, Workload

TORCH = "PyTorch eager"


def _mlp(name, hidden, batch=128, rows=6_400):
    return Workload(name, name, (*[n.Dense(units, "relu") for units in hidden], n.Dense(10)), (784,), 10, batch, rows, sixth=True)


FAMILIES = {        # title of the axis: what is varied, and the workload for each of its values
    "width (units of two hidden layers, batch 128)": ([32, 128, 512, 2048], lambda w: _mlp(f"width {w}", [w, w])),
    "depth (hidden layers of 128, batch 128)": ([1, 4, 16, 64], lambda d: _mlp(f"depth {d}", [128] * d)),
    "batch (784-256-256-10)": ([8, 32, 128, 512, 2048], lambda b: _mlp(f"batch {b}", [256, 256], b, max(6_400, UPDATES * b))),
    "rows of data (784-128-10, batch 128)": ([3_000, 10_000, 30_000, 100_000], lambda r: _mlp(f"rows {r}", [128], 128, r)),
    "length (LSTM 64, batch 32)": ([16, 64, 256, 1024], lambda T: dataclasses.replace(
        Workload(f"length {T}", f"length {T}", (n.Recurrent("lstm", 64), n.Dense(10)), (T, 8), 10, 32, UPDATES * 32, sixth=True))),
    "length (transformer of 2 blocks, width 64, batch 8)": ([32, 128, 512], lambda T: Workload(
        f"tokens {T}", f"tokens {T}", (n.Embedding(65, 64), n.Block(4), n.Block(4), n.LayerNorm(), n.Dense(65)), (T,), 65, 8, UPDATES * 8,
        vocabulary=65, per_step=True, sixth=True)),
}


def measure(arguments):
    """For every family: the values, and for both sides seconds for a step (the best of three epochs) and peak memory (MB)."""
    results = {}
    for title, (values, made) in FAMILIES.items():
        found = {peer: {"seconds": [], "memory": []} for peer in (OURS, TORCH)}
        for value in values:
            workload = made(value).ready()
            for peer, columns in found.items():
                try:
                    side = Process(peer, workload, fastest(peer, workload))
                    side.ask("train", 1)
                    columns["seconds"].append(min(side.ask("train", 1) for _ in range(3)) / workload.steps)
                    columns["memory"].append(side.ask("memory"))
                    side.stop()
                except Broken as error:
                    print(f"  {peer}, {workload.title}: not measured, {error}")
                    columns["seconds"].append(None)
                    columns["memory"].append(None)
        results[title] = {"values": values, **found}
        print(f"  {title}: " + "; ".join(f"{peer} {_listed(columns['seconds'])}, slope {slope(values, columns['seconds']):.2f}"
                                         for peer, columns in found.items()), flush=True)
    return results


def slope(values, seconds):
    """The exponent p of seconds ~ value^p over the upper half of the values, where fixed costs are small."""
    pairs = [(value, second) for value, second in zip(values, seconds, strict=True) if second is not None][-max(2, len(values) // 2):]
    return float(np.polyfit(*np.log(pairs).T, 1)[0]) if len(pairs) > 1 else float("nan")


def _listed(seconds):
    return ", ".join("-" if second is None else f"{second * 1e3:.3g}" for second in seconds) + " ms"
