"""What the README says runs as it is written there."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parent.parent / "README.md"


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 9
    names = {}
    rng = np.random.default_rng(0)
    for name, level in (("cats", 60), ("dogs", 180)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            image = Image.fromarray(rng.integers(level - 50, level + 50, (40, 50, 3)).astype(np.uint8))
            image.save(tmp_path / "photos" / name / f"{i}.png")
    import jax
    with jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(compile(block, str(README), "exec"), names)
    assert names["net"].evaluate(names["test"].x, names["test"].y)["accuracy"] > 0.95
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert names["search"].best_score_ > 0.9
    assert names["found"].best.evaluate(names["test"].x, names["test"].y)["accuracy"] > 0.9
    assert names["model"].predict(names["unseen"].x).tolist() == [file.split("/")[0] for file in names["unseen"].files]
    assert names["trace"]["dense_1"].delta.shape == (len(names["test"].x), 64)
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("watched.svg", "network.png"))


def test_every_command_of_the_readme_exists():
    import typer
    from typer.main import get_command

    from deltarule.cli.app import app
    commands = set(get_command(app).commands) if isinstance(app, typer.Typer) else set()
    used = set(re.findall(r"^    deltarule (\w+)", README.read_text(), re.MULTILINE))
    assert used
    assert used <= commands, pytest.fail(f"unknown commands in the README: {used - commands}")
