"""The whole training of the lesson on the language model, where the plays of Shakespeare are at hand; minutes."""

import os
from pathlib import Path

import numpy as np
import pytest

import deltarule as dr
from deltarule.lessons import language_model as lesson

PLAYS = Path(os.environ.get("DELTARULE_DATA", "")) / "text" / "tinyshakespeare.txt"


@pytest.mark.slow
@pytest.mark.skipif(not PLAYS.exists(), reason="needs text/tinyshakespeare.txt in DELTARULE_DATA")
def test_plays_of_shakespeare_below_1_70_nats(tmp_path):
    text = dr.data.read_text(PLAYS)
    letters, cut = dr.data.Characters.fit(text), len(text) * 9 // 10
    length, steps = lesson.WHOLE
    net = dr.models.language_model(len(letters), length, width=128, heads=4, blocks=4, rotary=True)
    net.symbols = letters
    lesson.trained(net, letters.encode(text[:cut]), steps)
    assert net.evaluate(*dr.data.windows(letters.encode(text[cut:]), length))["loss"] < 1.70
    net.save(tmp_path / "plays.safetensors")
    written = dr.write(dr.load(tmp_path / "plays.safetensors"), "ROMEO:", 500, temperature=0.8)
    known, words = set(text.split()), written.split()[1:-1]
    assert np.mean([word in known for word in words]) > 0.7
    assert len({len(line) for line in written.splitlines()}) > 3        # lines as in a play
