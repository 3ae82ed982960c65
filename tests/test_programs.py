"""Compiled programs kept between processes: found again, the same results, harmless where they cannot be kept."""

import os
import subprocess
import sys

import pytest

from deltarule.cache import processor
from deltarule.cli import programs


@pytest.fixture
def settings(monkeypatch):
    """What `keep_programs` tells JAX."""
    told = {}
    monkeypatch.setattr("jax.config.update", lambda name, value: told.update({name: value}))
    return told


def test_off_and_unusable_folders_keep_nothing(settings, monkeypatch, tmp_path):
    programs.keep_programs()        # the tests run with DELTARULE_CACHE=off
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "file"))
    programs.keep_programs()
    assert settings == {}


def test_the_folder_is_the_processors_own_and_does_not_grow_for_ever(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path))
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 3)
    programs.keep_programs()
    folder = tmp_path / "programs" / processor()
    assert settings["jax_compilation_cache_dir"] == str(folder)
    for age in range(5):
        (folder / f"program-{age}").write_text("")
        os.utime(folder / f"program-{age}", (1e9 - age, 1e9 - age))
    programs.keep_programs()
    assert sorted(file.name for file in folder.iterdir()) == ["program-0", "program-1", "program-2"]


def test_the_default_is_the_users_cache_folder(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("DELTARULE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    programs.keep_programs()
    assert settings["jax_compilation_cache_dir"].startswith(str(tmp_path / "deltarule" / "programs"))


def test_a_second_process_finds_the_programs_and_gives_the_same_model(tmp_path):
    environment = os.environ | {"DELTARULE_CACHE": str(tmp_path / "cache")}
    models, kept = [], []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "deltarule", "train", "iris", "--epochs", "5", "--quiet", "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        models.append((tmp_path / name / "model.safetensors").read_bytes())
        kept.append([file.name for file in (tmp_path / "cache").rglob("*advance*-cache")])
    assert models[0] == models[1]
    assert len(kept[0]) == 1
    assert kept[0] == kept[1]       # the second process found the epochs' program, which takes longest to compile
