"""The lesson on a network with two inputs: all numbers hold, and the data are what they claim to be."""

import datetime

import pytest

from deltarule.lessons import translation

DEMANDED = {"translation": {"share of new days translated without a mistake, most probable character first", "with four beams",
                            "largest weight on characters that only fill up"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMANDED)
def test_every_number_is_as_expected(name, result):
    found = result(name)
    assert found.passed, found.text
    assert DEMANDED[name] <= set(found.numbers)
    for figure in found.figures.values():
        assert all(size <= limit for size, limit in zip(figure.get_size_inches(), (9.4, 6.7), strict=True))


def test_dates_are_what_people_write():
    people, computers = translation.dates(300, seed=3)
    forms = ("%d %B %Y", "%B %d, %Y", "%d.%m.%Y", "%b %d %Y")
    for text, day in zip(people, computers, strict=True):
        read = set()
        for form in forms:
            try:
                read.add(datetime.datetime.strptime(text, form).date().isoformat())
            except ValueError:
                continue
        assert read == {day}
    assert len(set(computers)) == 300
