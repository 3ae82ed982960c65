"""Writing with a language model beside PyTorch eager, which keeps keys and values as well: python benchmarks/writing.py [--repeats 5].

A transformer of 4 blocks, width 128, 4 heads and 65 characters writes 127 of them behind a first one; with one text at a time, and with
eight. Both sides have the same weights, and what they write without drawing must be the same before anything is timed. Each lives in a
process of its own; they take turns. PyTorch runs in inference mode, its keys and values in tensors made beforehand, with the number of
threads that is fastest here, tried first. Exits with 1 where deltarule is less than 3 times as fast.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time

import numpy as np

K, T, WIDTH, HEADS, BLOCKS, STEPS, WANTED, TEXTS, REST = 65, 128, 128, 4, 4, 127, 3.0, 10, 0.5


class Ours:
    """`dr.generate`, with everything that the call does."""

    def __init__(self, weights, texts, threads):
        import deltarule as dr
        from deltarule.layers.scope import unflatten

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

    def __init__(self, weights, texts, threads):
        import torch

        torch.set_num_threads(threads)
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


def serve(side, arguments, pipe):
    """The life of one side: answer requests until told to stop."""
    built = side(*arguments)
    while (method := pipe.recv()) is not None:
        pipe.send(getattr(built, method)())


class Process:
    """A side in a process of its own."""

    def __init__(self, side, *arguments):
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        context.Process(target=serve, args=(side, arguments, far), daemon=True).start()

    def ask(self, method):
        """Call a method over there; afterwards let its threads fall asleep."""
        self.pipe.send(method)
        answer = self.pipe.recv()
        time.sleep(REST)
        return answer

    def stop(self):
        """End the process."""
        self.pipe.send(None)


def compare(weights, texts, repeats):
    """Seconds of a call on both sides, turn by turn, and PyTorch's threads."""
    peers = {threads: Process(Torch, weights, texts, threads) for threads in sorted({1, os.cpu_count() or 1})}
    tried = {threads: min(peer.ask("write"), peer.ask("write")) for threads, peer in peers.items()}
    threads = min(tried, key=tried.get)
    ours, peer = Process(Ours, weights, texts, None), peers[threads]
    if ours.ask("greedy") != peer.ask("greedy"):
        raise SystemExit("the two sides write different texts")
    ours.ask("write")       # compiles
    pairs = [(peer.ask("write"), ours.ask("write")) for _ in range(repeats)]
    for side in (ours, *peers.values()):
        side.stop()
    return pairs, threads


def main():
    """Print a table; exit with 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    import deltarule as dr
    from deltarule.layers.scope import flatten

    weights = {path: np.asarray(value) for path, value in flatten(dr.models.language_model(K, T, WIDTH, HEADS, BLOCKS).params).items()}
    results = []
    print("texts at a time   characters a second: deltarule, PyTorch (threads)   faster by (spread)")
    for texts in (1, 8):
        pairs, threads = compare(weights, texts, arguments.repeats)
        theirs, mine = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [one / other for one, other in pairs]
        results.append({"texts": texts, "torch_threads": threads, "seconds": pairs, "ratio": statistics.median(ratios)})
        print(f"{texts:15d}   {texts * STEPS / mine:9,.0f} {texts * STEPS / theirs:9,.0f} ({threads})   {statistics.median(ratios):5.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=2)
    return any(result["ratio"] < WANTED for result in results)


if __name__ == "__main__":
    sys.exit(main())
