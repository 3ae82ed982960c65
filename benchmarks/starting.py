"""From process start: imports, a saved model's first prediction, a first trained epoch, and MNIST from nothing to its accuracy."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TRAIN = """
import numpy as np, deltarule as dr
x = np.random.default_rng(0).normal(size=(6000, 28, 28, 1)).astype('float32')
dr.models.lenet5((28, 28, 1), 10).fit(x, np.arange(6000) % 10, epochs=1, batch_size=128, progress=False)
"""
TORCH_TRAIN = """
import torch
from torch import nn
x, y = torch.randn(6000, 1, 28, 28), torch.arange(6000) % 10
net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
                    nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))
optimizer = torch.optim.Adam(net.parameters(), fused=True)
for rows in torch.randperm(6000).split(128):
    optimizer.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
    optimizer.step()
"""
SAVE = "import deltarule as dr; dr.Network([dr.Dense(30, 'relu'), dr.Dense(10, 'softmax')], 784).save({path!r})"
FIRST = "import numpy as np, deltarule as dr; dr.load({path!r}).predict(np.zeros((1, 784)))"
MNIST = """
import deltarule as dr
train, test = dr.data.mnist({folder!r}, flat={flat})
net = {network}
net.fit(train, epochs={epochs}, batch_size=128, optimizer=dr.Adam(dr.OneCycle({rate})), progress=False)
print(net.evaluate(test, metrics="accuracy")["accuracy"])
"""
GOALS = {       # title: the script's parts, the accuracy, and the seconds that are wanted
    "98% on MNIST with an MLP (784-256-10, dropout)": (
        {"network": "dr.Network([dr.Dense(256, 'relu'), dr.Dropout(0.2), dr.Dense(10, 'softmax')], 784)", "flat": True, "epochs": 6,
         "rate": 4e-3}, 0.98, 8.0),
    "99% on MNIST with a CNN (convnet of 16 and 32 filters)": (
        {"network": "dr.models.convnet((28, 28, 1), 10, filters=(16, 32))", "flat": False, "epochs": 3, "rate": 4e-3}, 0.99, 60.0),
}


def measure(arguments):
    """Medians and spreads in seconds, by title."""
    found = {}

    def tell(title, seconds, wanted=None, note=""):
        found[title] = {"median": statistics.median(seconds), "spread": [min(seconds), max(seconds)], "wanted": wanted, "note": note}
        limit = "" if wanted is None else f", wanted {wanted} s"
        print(f"  {title}: {found[title]['median']:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}){limit}{note}", flush=True)

    repeats = max(3, arguments.repeats)
    pairs = [(seconds("import deltarule"), seconds("import jax")) for _ in range(repeats)]
    tell("import jax", [jax for _, jax in pairs])
    tell("import deltarule, beyond import jax", [mine - jax for mine, jax in pairs], 0.3)
    tell("import torch", [seconds("import torch") for _ in range(repeats)])
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.safetensors"
        seconds(SAVE.format(path=path))
        seconds(FIRST.format(path=path), folder)        # fills the folder of compiled programs
        seconds("from deltarule import kernels; kernels.kernels()", folder)
        pairs = [(seconds(FIRST.format(path=path), folder), seconds("import jax")) for _ in range(repeats)]
        tell("a saved model's first prediction, beyond import jax, programs kept", [mine - jax for mine, jax in pairs], 0.3)
        tell("a saved model's first prediction, beyond import jax, no programs kept",
             [fresh(FIRST.format(path=path), folder) - jax for _, jax in pairs])
        seconds(TRAIN, folder)
        tell("LeNet-5, process start to first trained epoch of 6,000, no programs kept", [fresh(TRAIN, folder) for _ in range(3)])
        tell("the same, programs kept", [seconds(TRAIN, folder) for _ in range(3)])
        tell("the same in PyTorch", [seconds(TORCH_TRAIN) for _ in range(3)])
        wine = ["-m", "deltarule", "train", "wine", "--out", f"{folder}/run", "--quiet"]
        tell("deltarule train wine, process start to finished report", [process(*wine, cache=folder) for _ in range(repeats)], 4.0)
    for title, (parts, accuracy, wanted) in GOALS.items():
        runs = [reached(MNIST.format(folder=arguments.data_dir, **parts)) for _ in range(3)]
        tell(f"{title}, process start to accuracy known", [seconds for seconds, _ in runs], wanted,
             f", accuracy {min(right for _, right in runs):.2%} (wanted {accuracy:.0%})")
    return found


def seconds(script, cache="off"):
    """Wall time of a process that runs the script."""
    return process("-c", script, cache=cache)


def process(*arguments, cache):
    """Wall time of a Python process; `cache` is where kernels and compiled programs are kept."""
    clock = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment(DELTARULE_CACHE=cache))
    return time.perf_counter() - clock


def environment(**more):
    """The variables of a process in which Python keeps its bytecode, as an installation has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | more


def fresh(script, folder):
    """The same where only the C++ kernels are there, which an installation builds."""
    with tempfile.TemporaryDirectory() as new:
        if os.path.isdir(f"{folder}/kernels"):
            shutil.copytree(f"{folder}/kernels", f"{new}/kernels")
        return seconds(script, new)


def reached(script):
    """Seconds, and the accuracy that the script prints; kernels and programs are kept as for any user."""
    clock = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment()).stdout
    return time.perf_counter() - clock, float(out.split()[-1])
