"""The lesson on captions: all numbers hold, and what is kept for the test is never learnt from."""

import numpy as np
import pytest

from deltarule.lessons import captions

DEMANDED = {"new scenes: share of captions right to the word", "pairs of shapes never seen together: share right",
            "nearer to what is named while it says a colour"}


@pytest.mark.slow
def test_every_number_is_as_expected(result):
    found = result("captions")
    assert found.passed, found.text
    assert set(found.numbers) >= DEMANDED
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (9.4, 6.7), strict=True))


def test_pairs_kept_for_the_test_are_one_in_ten_and_every_kind_is_learnt_first_and_second():
    kinds = [f"a {colour} {shape}" for colour in captions.COLOURS for shape in captions.SHAPES]
    kept = {(one, two): captions.unseen(f"{one} left of {two}") for one in kinds for two in kinds}
    assert 0.08 <= np.mean(list(kept.values())) <= 0.12
    assert not any(captions.unseen(one) for one in kinds)
    for kind in kinds:
        assert not all(kept[kind, other] for other in kinds)
        assert not all(kept[other, kind] for other in kinds)
