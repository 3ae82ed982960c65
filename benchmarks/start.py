"""From process start: what `import deltarule` adds to `import jax`, and `deltarule train wine` to its finished report.

python benchmarks/start.py [--repeats 7]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

IMPORT_LIMIT, WINE_LIMIT = 0.3, 4.0


def seconds(*command):
    """Wall time of a process."""
    clock = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
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
        wine = [seconds(sys.executable, "-m", "deltarule", "train", "wine", "--out", folder, "--quiet") for _ in range(repeats)]
    print(f"train wine, process start to finished report: median {statistics.median(wine):.2f} s, "
          f"{min(wine):.2f} to {max(wine):.2f}; limit {WINE_LIMIT} s")
    return statistics.median(extra) > IMPORT_LIMIT or statistics.median(wine) > WINE_LIMIT


if __name__ == "__main__":
    raise SystemExit(main())
