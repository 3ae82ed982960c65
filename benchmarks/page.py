"""docs/performance.md and its figures, from the results of the benchmarks."""

import json
import math
from pathlib import Path

from turns import OURS
from workloads import WORKLOADS

DOCS = Path(__file__).parent.parent / "docs"
FINDINGS = Path(__file__).parent / "findings.md"      # why we are ahead or behind: found by profiling, written by hand
SCAN, TORCH = "lax.scan by hand", "PyTorch eager"
DENSE = ("nielsen", "mlp", "table")     # on which the hand-written scan is the limit that is wanted
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")      # Okabe and Ito 2008


def machine_line(machine):
    """One line on what was measured where."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (f"{machine['date']}, {machine['cores']} cores of {machine['processor']}, Python {machine['python']}, {versions}; "
            f"matrix product {machine['product_gflops']:.0f} GFLOP/s")


def lines(workload, found, peak):
    """A line for each side of one workload."""
    for peer, result in found.items():
        if "failed" in result:
            yield f"{peer:18s} not measured: {result['failed']}"
            continue
        low, high = result["spread"]
        factor = "" if peer == OURS else f"{result['ratio']:7.2f}x ({low:.2f} to {high:.2f})"
        yield (f"{peer:18s} {duration(middle(result['seconds'])):>9s}  {share(workload, result, peak):5.1%} of the peak  "
               f"{result['memory']:6.0f} MB {factor}")


def publish(paths):
    """Keep the results in docs/performance, one file for each kind of device, and write the page from all that are there."""
    kept = DOCS / "performance"
    kept.mkdir(exist_ok=True)
    for path in paths:
        results = json.loads(path.read_text())
        (kept / f"{results['machine']['backend']}.json").write_text(json.dumps(results, indent=1) + "\n")
    write([json.loads(path.read_text()) for path in sorted(kept.glob("*.json"))])


def write(measured):
    """The page, a part for each machine. Raises SystemExit where nothing has been measured yet."""
    if not any("training" in results for results in measured):
        raise SystemExit("there are no results yet; measure first: make bench")
    text = ["# Performance", "", "Made by `make bench`: the sides take turns in one run on one machine, each as its own documentation "
            "recommends for speed. How, and what the words mean: [benchmarks](../benchmarks/README.md)."]
    for results in measured:
        title = f"{results['machine']['device']} (GPU)" if results["machine"]["backend"] != "cpu" else "CPU"
        text += ["", f"## {title}", "", machine_line(results["machine"]) + ".", "", *_training(results), *_uses(results), *_start(results),
                 *_scaling(results), *_behind(results)]
    text += ["", *FINDINGS.read_text().splitlines()]
    (DOCS / "performance.md").write_text("\n".join(text).rstrip() + "\n")


def _training(results):
    training = {name: results["training"][name] for name in WORKLOADS if name in results["training"]}
    peak, folder = results["machine"]["product_gflops"], results["machine"]["backend"]
    peers = [peer for peer in dict.fromkeys(peer for found in training.values() for peer in found) if peer != OURS]
    yield from ("### Training", "", "Time of a whole training step (forward, backward, update), deltarule's with all that `Network.fit` "
                "does; then how many times slower each peer is (median of the turns, smallest to largest in brackets). Each begins "
                "from the same weights and sees the same rows; before anything is timed its loss after 20 updates must be ours.", "",
                "| workload | deltarule | of the peak | " + " | ".join(peers) + " |", "|---" * (3 + len(peers)) + "|")
    for name, found in training.items():
        mine = found[OURS]
        cells = [factor(found.get(peer), WORKLOADS[name].wanted.get(peer)) for peer in peers]
        yield (f"| {WORKLOADS[name].title} | {duration(middle(mine['seconds']))} | {share(WORKLOADS[name], mine, peak):.0%} | "
               + " | ".join(cells) + " |")
    yield from ("", "\"-\": not measured: the peer does not serve this network, or was left out of this run. Of the peak: two "
                "operations for every multiply-add, three times (forward and two products backward), against the product of two matrices "
                "of 2048.", "",
                f"![How many times slower the peers are](performance/{folder}-training.png)", "", "Peak memory of the process (MB):", "",
                "| workload | " + " | ".join([OURS, *peers]) + " |", "|---" * (2 + len(peers)) + "|")
    for name, found in training.items():
        yield f"| {WORKLOADS[name].title} | " + " | ".join(f"{found[peer]['memory']:.0f}" if "memory" in found.get(peer, {}) else "-"
                                                          for peer in [OURS, *peers]) + " |"
    yield ""
    _figure(training, peers, f"{folder}-training.png")


def _uses(results):
    if "uses" not in results:
        return
    yield from ("### Uses", "", "| what | deltarule | PyTorch eager | faster by |", "|---|---|---|---|")
    for title, found in (results["uses"] | results.get("writing", {})).items():
        low, high = found["spread"]
        mine, theirs = map(duration, found["seconds"])
        wanted = f", wanted {found['wanted']:g}" if "wanted" in found else ""
        yield f"| {title} | {mine} | {theirs} | {found['ratio']:.2f} ({low:.2f} to {high:.2f}{wanted}) |"
    yield ""


def _start(results):
    if "start" not in results:
        return
    yield from ("### From process start", "", "| what | seconds | wanted |", "|---|---|---|")
    for title, found in results["start"].items():
        low, high = found["spread"]
        yield f"| {title}{found['note']} | {found['median']:.2f} ({low:.2f} to {high:.2f}) | {found['wanted'] or ''} |"
    yield ""


def _scaling(results):
    if "scaling" not in results:
        return
    from scaling import slope

    yield from ("### Scaling", "", "Seconds for a step and peak memory, deltarule beside PyTorch eager; the slope p of seconds ~ value^p "
                "is that of the upper half.", "", "| what grows | values | slope, deltarule | slope, PyTorch |", "|---|---|---|---|")
    for title, found in results["scaling"].items():
        slopes = " | ".join(f"{slope(found['values'], found[peer]['seconds']):.2f}" for peer in (OURS, TORCH))
        yield f"| {title} | {', '.join(map(str, found['values']))} | {slopes} |"
    yield from ("", f"![Cost of a step against its size](performance/{results['machine']['backend']}-scaling.png)", "")
    _scaling_figure(results["scaling"], f"{results['machine']['backend']}-scaling.png")


def missed(results):
    """What is slower than a peer, or less ahead of it than is wanted: (workload, peer, ratio, wanted)."""
    for name, found in results.get("training", {}).items():
        for peer, result in found.items():
            wanted = 0.95 if peer == SCAN else WORKLOADS[name].wanted.get(peer, 1.0)
            if peer != OURS and (peer != SCAN or name in DENSE) and result.get("ratio", wanted) < wanted:
                yield WORKLOADS[name].title, peer, result["ratio"], wanted
    for title, found in (results.get("uses", {}) | results.get("writing", {})).items():
        if found["ratio"] < found.get("wanted", 1.0):
            yield title, TORCH, found["ratio"], found.get("wanted", 1.0)


def _behind(results):
    yield from ("### Behind", "", "Where deltarule is slower than a peer, or less ahead than it wants to be (1 where nothing else is said; "
                "0.95 of the hand-written scan on dense networks):", "")
    behind = [f"- {title}: {ratio:.2f} times {peer}, wanted {wanted:g}" for title, peer, ratio, wanted in missed(results)]
    yield from behind or ["- nowhere in this run"]


def _figure(training, peers, name):
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(9, 0.62 * len(training) + 1.6), layout="constrained")
    for row, found in enumerate(training.values()):
        for k, peer in enumerate(peers):
            if "ratio" in found.get(peer, {}):
                low, high = found[peer]["spread"]
                at = row + 0.09 * (k - (len(peers) - 1) / 2)
                axes.plot([low, high], [at, at], color=COLOURS[k], linewidth=1.5)
                axes.plot(found[peer]["ratio"], at, "o", color=COLOURS[k], markersize=6, label=peer)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(ticks := [0.5, 1, 2, 5, 10, 20, 50], [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(training)), [WORKLOADS[name].title for name in training])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel("time of the peer / time of deltarule\n(1: equally fast; dots: median, lines: smallest to largest)")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    save(figure, name)


def _scaling_figure(scaling, name):
    plt = pyplot()
    from matplotlib.ticker import LogLocator, NullLocator

    figure, axes = plt.subplots(2, len(scaling), figsize=(3.2 * len(scaling), 6.4), layout="constrained", squeeze=False)
    for column, (title, found) in enumerate(scaling.items()):
        for row, (quantity, unit, times) in enumerate((("seconds", "time of a step (ms)", 1e3), ("memory", "peak memory (MB)", 1))):
            for peer, colour, mark in ((OURS, COLOURS[0], "o"), (TORCH, COLOURS[1], "s")):
                points = [(x, y * times) for x, y in zip(found["values"], found[peer][quantity], strict=True) if y is not None]
                axes[row, column].plot(*zip(*points, strict=True), marker=mark, color=colour, label=peer)
            axes[row, column].set_xscale("log", base=2)
            axes[row, column].set_yscale("log")
            axes[row, column].set_xlabel(title.replace(" (", "\n(").replace(", batch", ",\nbatch"), fontsize=9)
            axes[row, column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
            axes[row, column].yaxis.set_major_formatter("{x:g}")
            axes[row, column].yaxis.set_minor_locator(NullLocator())
            if column == 0:
                axes[row, column].set_ylabel(unit)
    axes[0, 0].legend(frameon=False)
    save(figure, name)


def pyplot():
    """matplotlib without a window."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure, name):
    """Into docs/performance."""
    (DOCS / "performance").mkdir(exist_ok=True)
    figure.savefig(DOCS / "performance" / name, dpi=110)


def factor(result, wanted):
    """How many times slower a peer is, in a cell."""
    if not result or "ratio" not in result:
        return "-"
    low, high = result["spread"]
    mark = "" if wanted is None else f", wanted {wanted:g}"
    return f"{result['ratio']:.2f} ({low:.2f} to {high:.2f}{mark})"


def share(workload, result, peak):
    """Of the machine's best rate of a matrix product."""
    return 6 * workload.multiply_adds * workload.batch / middle(result["seconds"]) / 1e9 / peak


def middle(values):
    """The median."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def duration(seconds):
    """Three digits, in us, ms or s."""
    unit, times = ("us", 1e6) if seconds < 1e-3 else ("ms", 1e3) if seconds < 1 else ("s", 1.0)
    value = seconds * times
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f} {unit}"
