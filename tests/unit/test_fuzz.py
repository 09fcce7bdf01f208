"""The fuzz targets stay in step with the package, and would notice."""

from __future__ import annotations

import pytest
from fuzz import targets


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", targets.TARGETS)
def test_takes_its_seeds_and_their_beginnings(name):
    """Every target takes what it begins with, whole and cut anywhere."""
    for seed in targets.SEEDS[name]:
        for end in range(len(seed) + 1):
            targets.TARGETS[name](seed[:end])


FOUND = [
    # A key was passed over in one step, and the colon behind it then took the key before.
    ("events", b'\0data: {"b64_json": "! {"t"e", "index": 1, : "x": "iVBORw0KGgo="}\r\n\r\n'),
]


@pytest.mark.parametrize(("name", "text"), FOUND)
def test_takes_what_it_once_found(name, text):
    """What was wrong stays right."""
    targets.TARGETS[name](text)


@pytest.mark.parametrize("name", ["answer", "events", "body"])
def test_notices_a_lost_byte(monkeypatch, name):
    """The negative control: a chunk that loses its last byte is found."""

    def lose(data, size):
        return [data[: len(data) // 2], data[len(data) // 2 + 1 :]]

    monkeypatch.setattr(targets, "cut", lose)
    with pytest.raises(AssertionError):
        targets.TARGETS[name](targets.SEEDS[name][0])


def test_every_target_has_seeds_and_words():
    """A target without seeds would fuzz noise."""
    assert set(targets.TARGETS) == set(targets.SEEDS) == set(targets.WORDS)
