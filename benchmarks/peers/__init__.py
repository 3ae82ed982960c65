"""The peers. Each module builds any workload that it serves as its own documentation recommends for speed, and trains it on request.

A peer has `ENVIRONMENT`, variables that must be set before its libraries are imported; `settings(workload)`, what is worth trying, or
an empty list where it does not serve the workload; and `Side(workload, setting)` with `losses(steps)`, `train(epochs)`, in seconds, and
`memory()`.
"""

import importlib
from types import ModuleType, SimpleNamespace

from peers import keras3, nnx, ours, pytorch, scan, sklearn_mlp

PEERS: dict[str, ModuleType | SimpleNamespace] = {
    "deltarule": ours,
    "PyTorch eager": pytorch,
    "PyTorch compile": pytorch.compiled,
    "Keras on JAX": keras3.on("jax"),
    "Keras on PyTorch": keras3.on("torch"),
    "scikit-learn": sklearn_mlp,
    "Flax NNX": nnx,
    "lax.scan by hand": scan,
}


def found(name: str) -> ModuleType | SimpleNamespace:
    """A peer by name; "uses of PEER" and "writing of PEER" are the sides of `uses` and `writing`."""
    for start in ("uses", "writing"):
        if name.startswith(f"{start} of "):
            module = importlib.import_module(start)
            return SimpleNamespace(ENVIRONMENT={}, Side=module.Ours if name.endswith("deltarule") else module.Torch)
    return PEERS[name]
