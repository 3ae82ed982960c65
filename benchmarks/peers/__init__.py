"""The peers. Each module builds any workload that it serves as its own documentation recommends for speed, and trains it on request.

A peer has `ENVIRONMENT`, variables that must be set before its libraries are imported; `settings(workload)`, what is worth trying, or
an empty list where it does not serve the workload; and `Side(workload, setting)` with `losses(steps)`, `train(epochs)`, in seconds, and
`memory()`.
"""

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
    """A peer by name; "uses of PEER" is the side of `uses`."""
    if name.startswith("uses of "):
        import uses

        return SimpleNamespace(ENVIRONMENT={}, Side=uses.Ours if name.endswith("deltarule") else uses.Torch)
    return PEERS[name]
