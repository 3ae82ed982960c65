"""The benchmarks: every workload is one network on all sides, what does not agree is not timed, and the page says what was measured."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
GROUPS = {"Dense": 1, "Conv": 1, "BatchNorm": 1, "Recurrent": 1, "Embedding": 2, "Block": 1, "LayerNorm": 1}     # of weights in a part


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder's modules by name, as `python benchmarks` sees them."""
    import importlib

    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_every_workload_is_described_and_built_alike(benchmarks):
    networks, workloads = benchmarks("networks"), benchmarks("workloads").WORKLOADS
    for workload in workloads.values():
        expected = sum(GROUPS.get(type(part).__name__, 0) for part in networks.parts(workload.network))
        assert len(workload.first) == expected, workload.name
        assert workload.multiply_adds > 0
    small = dataclasses.replace(workloads["table"], rows=640)
    (x, y), again = small.data(), small.data()
    assert x.shape == (640, 20)
    np.testing.assert_array_equal(x, again[0])
    assert set(y) <= {0, 1, 2}
    with pytest.raises(ValueError, match="639 rows; 20 updates need 640"):
        dataclasses.replace(small, rows=639)


def test_losses_are_those_of_the_textbook(benchmarks):
    h = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert benchmarks("peers.ours").loss_of(h, np.array([1, 0]), False) == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    assert benchmarks("peers.ours").loss_of(h, np.array([[0.0, 1.0], [1.0, 0.0]]), True) == pytest.approx((0.125 + 0.5) / 4)


@pytest.mark.slow
def test_sides_take_turns_and_what_computes_something_else_is_not_timed(benchmarks, monkeypatch):
    turns, workload = benchmarks("turns"), benchmarks("workloads").WORKLOADS["table"]
    monkeypatch.setattr(turns, "TURN", 0.01)
    monkeypatch.setattr(turns, "REST", 0.0)
    said = []
    found = turns.compare(dataclasses.replace(workload, rows=700, epochs=2).ready(), ["lax.scan by hand"], 2, said.append)
    ours, scan = found["deltarule"], found["lax.scan by hand"]
    assert scan["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    assert len(ours["seconds"]) == len(scan["seconds"]) == 2
    assert min(scan["spread"]) > 0
    assert not said
    strict = dataclasses.replace(workload, rows=700, agreement=-1.0).ready()
    refused = turns.compare(strict, ["lax.scan by hand"], 1, said.append)
    assert "after 20 updates its loss is" in refused["lax.scan by hand"]["failed"]
    assert len(said) == 1


@pytest.mark.slow
def test_what_was_interrupted_goes_on(benchmarks, measured, tmp_path):
    path = tmp_path / "results.json"
    kept = measured | {"machine": benchmarks("turns").machine()}
    kept["training"] = dict.fromkeys(benchmarks("workloads").WORKLOADS, kept["training"]["table"])
    path.write_text(json.dumps(kept | {"writing": {}}))
    program = [sys.executable, str(FOLDER), "--resume", "--results", str(path)]
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    assert run.returncode == 1      # a target is missed
    assert [line.split(":")[0] for line in run.stdout.splitlines()[1:]] == ["missed"] * 4       # nothing was measured
    assert json.loads(path.read_text())["training"] == kept["training"]


@pytest.fixture
def measured():
    """Results of a small run."""
    result = {"seconds": [2e-5, 2e-5], "memory": 300.0, "ratio": 1.0, "spread": [1.0, 1.0]}
    machine = {"date": "2026-01-01", "processor": "P", "cores": 2, "backend": "cpu", "device": "cpu", "python": "3.11",
               "versions": {"jax": "0"}, "product_gflops": 400.0}
    peer = {"seconds": [2e-4], "memory": 310.0, "ratio": 10.25, "spread": [9.5, 11.0]}
    scan = {"seconds": [1.8e-5], "memory": 305.0, "ratio": 0.9, "spread": [0.8, 1.0]}
    growth = {"values": [1, 2, 4, 8], "deltarule": {"seconds": [1.0, 1.0, 2.0, 4.0], "memory": [1.0] * 4},
              "PyTorch eager": {"seconds": [1.0, 1.0, 4.0, 16.0], "memory": [1.0, 2.0, 3.0, None]}}
    return {"machine": machine, "training": {"table": {"deltarule": result, "PyTorch eager": peer, "Flax NNX": {"failed": "no"},
                                                       "lax.scan by hand": scan}},
            "uses": {"a trace": {"seconds": [1e-3, 2e-3], "ratio": 2.0, "spread": [1.9, 2.1], "wanted": 2.5}},
            "start": {"import": {"median": 0.25, "spread": [0.2, 0.3], "wanted": 0.3, "note": ""}}, "scaling": {"length": growth}}


def test_the_page_says_what_was_measured(benchmarks, measured, tmp_path, monkeypatch):
    page = benchmarks("page")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    page.write([measured])
    text = (tmp_path / "performance.md").read_text()
    assert "| 20-64-64-3 ReLU, Adam, batch 32 | 20.0 us | 13% | 10.25 (9.50 to 11.00) | - | 0.90 (0.80 to 1.00) |" in text
    assert "| a trace | 1.00 ms | 2.00 ms | 2.00 (1.90 to 2.10, wanted 2.5) |" in text
    assert "| import | 0.25 (0.20 to 0.30) | 0.3 |" in text
    assert "| length | 1, 2, 4, 8 | 1.00 | 2.00 |" in text
    for figure in ("cpu-training.png", "cpu-scaling.png"):
        assert (tmp_path / "performance" / figure).stat().st_size > 10_000
    with pytest.raises(SystemExit, match="measure first: make bench"):
        page.write([])


def test_the_page_says_where_we_are_behind(benchmarks, measured):
    page = benchmarks("page")
    title = "20-64-64-3 ReLU, Adam, batch 32"
    assert list(page.missed(measured)) == [(title, "lax.scan by hand", 0.9, 0.95), ("a trace", "PyTorch eager", 2.0, 2.5)]
    measured["training"]["table"]["PyTorch eager"]["ratio"] = 0.7
    assert (title, "PyTorch eager", 0.7, 1.0) in list(page.missed(measured))
    measured["training"] = {"lstm": measured["training"]["table"] | {"PyTorch eager": {"ratio": 1.1}}}      # the scan is no limit there
    assert [peer for _, peer, _, _ in page.missed(measured)] == ["PyTorch eager", "PyTorch eager"]


def test_each_device_has_its_part_of_the_page(benchmarks, measured, tmp_path, monkeypatch):
    page = benchmarks("page")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    cpu, gpu = tmp_path / "a.json", tmp_path / "b.json"
    cpu.write_text(json.dumps(measured))
    page.publish([cpu])
    gpu.write_text(json.dumps(measured | {"machine": measured["machine"] | {"backend": "gpu", "device": "G 100"}}))
    page.publish([gpu])     # what was kept of the other stays
    text = (tmp_path / "performance.md").read_text()
    assert text.index("\n## CPU\n") < text.index("\n## G 100 (GPU)\n")
    assert (tmp_path / "performance" / "gpu-training.png").exists()
