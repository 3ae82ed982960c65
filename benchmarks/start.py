"""From process start: what `import deltarule` adds to `import jax`, and `deltarule train wine` to its finished report.

python benchmarks/start.py [--repeats 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORT_LIMIT, WINE_LIMIT = 0.3, 4.0


def seconds(*command, cache="off"):
    """Wall time of a process; `cache` is where compiled programs are kept."""
    clock = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DELTARULE_CACHE": cache})
    return time.perf_counter() - clock


def main():
    """Print medians and spreads; exit with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    pairs = []
    for _ in range(repeats):    # the two in turn, so that a machine whose speed drifts is fair to both
        base = seconds(sys.executable, "-c", "import jax")
        pairs.append((seconds(sys.executable, "-c", "import deltarule"), base))
    extra = [mine - base for mine, base in pairs]
    print(f"import deltarule beyond import jax: median {statistics.median(extra):.2f} s, {min(extra):.2f} to {max(extra):.2f} "
          f"(import jax {statistics.median(base for _, base in pairs):.2f} s); limit {IMPORT_LIMIT} s")
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "deltarule", "train", "wine", "--out", f"{folder}/run", "--quiet")
        seconds(*command, cache=folder)     # fills it
        kept, wine = zip(*((seconds(*command, cache=folder), seconds(*command)) for _ in range(repeats)), strict=True)
    for name, measured in (("nothing kept from earlier runs", wine), ("compiled programs kept", kept)):
        print(f"train wine, process start to finished report, {name}: median {statistics.median(measured):.2f} s, "
              f"{min(measured):.2f} to {max(measured):.2f}; limit {WINE_LIMIT} s")
    return statistics.median(extra) > IMPORT_LIMIT or statistics.median(wine) > WINE_LIMIT


if __name__ == "__main__":
    raise SystemExit(main())
