"""Writing with a language model beside PyTorch eager, which keeps keys and values as well.

A transformer of 4 blocks, width 128, 4 heads and 65 characters writes 127 of them behind a first one; with one text at a time, and with
eight. Both sides have the same weights, and what they write without drawing must be the same before anything is timed. PyTorch runs in
inference mode, its keys and values in tensors made beforehand, with the number of threads that is fastest here, tried first.
"""

import os
import statistics
import time

import numpy as np
from turns import OURS, Process

K, T, WIDTH, HEADS, BLOCKS, STEPS, WANTED, TEXTS = 65, 128, 128, 4, 4, 127, 3.0, 10
TORCH = "PyTorch eager"


def measure(arguments):
    """For one text and for eight: seconds of a call on both sides, and the ratios, turn by turn."""
    import deltarule as dr
    from deltarule.layers.scope import flatten

    weights = {path: np.asarray(value) for path, value in flatten(dr.models.language_model(K, T, WIDTH, HEADS, BLOCKS).params).items()}
    results = {}
    for texts in (1, 8):
        pairs, threads = compare((weights, texts), arguments.repeats)
        theirs, mine = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [one / other for one, other in pairs]
        title = f"127 characters by a transformer of 4 blocks, width 128, {texts} text{'s' if texts > 1 else ''} at a time"
        results[title] = {"seconds": [mine, theirs], "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)],
                          "torch_threads": threads, "wanted": WANTED}
        print(f"  {title}: {texts * STEPS / mine:,.0f} characters a second, {TORCH} ({threads} threads) {texts * STEPS / theirs:,.0f}, "
              f"{statistics.median(ratios):.2f} times faster ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return results


def compare(workload, repeats):
    """Seconds of a call on both sides, turn by turn, and PyTorch's threads. Raises SystemExit where the texts differ."""
    peers = {threads: Process("writing of " + TORCH, workload, threads) for threads in sorted({1, os.cpu_count() or 1})}
    tried = {threads: min(peer.ask("write"), peer.ask("write")) for threads, peer in peers.items()}
    threads = min(tried, key=tried.get)
    ours, peer = Process("writing of " + OURS, workload), peers[threads]
    if ours.ask("greedy") != peer.ask("greedy"):
        raise SystemExit("the two sides write different texts")
    ours.ask("write")       # compiles
    pairs = [(peer.ask("write"), ours.ask("write")) for _ in range(repeats)]
    for side in (ours, *peers.values()):
        side.stop()
    return pairs, threads


class Ours:
    """`dr.generate`, with everything that the call does."""

    def __init__(self, workload, setting):
        import deltarule as dr
        from deltarule.layers.scope import unflatten

        weights, texts = workload
        self.dr, self.start = dr, np.zeros((texts, 1), int)
        self.net = dr.models.language_model(K, T, WIDTH, HEADS, BLOCKS)
        self.net.params = unflatten(weights)

    def greedy(self):
        """The most probable characters after 0."""
        return self.dr.generate(self.net, self.start, STEPS, temperature=0).tolist()

    def write(self):
        """Seconds for one call, mean of several."""
        clock = time.perf_counter()
        for seed in range(TEXTS):
            self.dr.generate(self.net, self.start, STEPS, seed=seed)
        return (time.perf_counter() - clock) / TEXTS


class Torch:
    """The same network with its keys and values kept."""

    def __init__(self, workload, setting):
        import torch

        weights, texts = workload
        torch.set_num_threads(setting)
        self.torch, self.texts = torch, texts
        self.W = {path: torch.from_numpy(np.ascontiguousarray(value.T if "mlp" in path or "dense" in path else value))
                  for path, value in weights.items()}
        for b in range(1, BLOCKS + 1):
            path = f"transformer_encoder_{b}/attention"
            three = [weights[f"{path}/{name}/weights"].T for name in ("query", "key", "value")]
            self.W[path] = torch.from_numpy(np.concatenate(three))
            self.W[f"{path}/output"] = torch.from_numpy(weights[f"{path}/output/weights"].T.copy())

    def onward(self, x, t, kept):
        """The scores (n, K) of what follows the characters x (n,) of step t."""
        F, W = self.torch.nn.functional, self.W

        def norm(h, path):
            return F.layer_norm(h, (WIDTH,), W[f"{path}/gamma"], W[f"{path}/beta"])

        def dense(h, path):
            return F.linear(h, W[f"{path}/weights"], W[f"{path}/bias"])

        h = W["embedding_1/weights"][x] + W["positions_1/weights"][t]
        for b, (keys, values) in enumerate(kept, 1):
            block = f"transformer_encoder_{b}"
            q, k, v = F.linear(norm(h, f"{block}/norm_1"), W[f"{block}/attention"]).view(-1, 3, HEADS, 1, WIDTH // HEADS).unbind(1)
            keys[:, :, t], values[:, :, t] = k[:, :, 0], v[:, :, 0]
            o = F.scaled_dot_product_attention(q, keys[:, :, :t + 1], values[:, :, :t + 1])
            h = h + F.linear(o.reshape(-1, WIDTH), W[f"{block}/attention/output"])
            h = h + dense(F.gelu(dense(norm(h, f"{block}/norm_2"), f"{block}/mlp_1")), f"{block}/mlp_2")
        return dense(norm(h, "layer_norm_1"), "dense_1")

    def text(self, drawn):
        """STEPS characters, each drawn from its scores."""
        torch = self.torch
        with torch.inference_mode():
            kept = [torch.zeros(2, self.texts, HEADS, T, WIDTH // HEADS) for _ in range(BLOCKS)]
            written = torch.zeros((self.texts, 1 + STEPS), dtype=torch.long)
            for t in range(STEPS):
                written[:, t + 1] = drawn(self.onward(written[:, t], t, kept))
        return written.tolist()

    def greedy(self):
        """As `Ours.greedy`."""
        return self.text(lambda a: a.argmax(-1))

    def write(self):
        """As `Ours.write`."""
        clock = time.perf_counter()
        for _ in range(TEXTS):
            self.text(lambda a: self.torch.multinomial(a.softmax(-1), 1)[:, 0])
        return (time.perf_counter() - clock) / TEXTS
