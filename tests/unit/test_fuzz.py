"""The fuzz targets stay in step with the package, and would notice."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from fuzz import judge, preservation, targets
from fuzz.preservation import FIRST, OTHER, events, how, write

from burncloud_images.calls.answer_buffer import AnswerBuffer
from burncloud_images.calls.receiving import Receiver
from burncloud_images.wire.image_json import ImageExtractor

ANSWERED = ("calls", "shapes")
"""Targets whose inputs are whole answers."""


@pytest.mark.parametrize("name", ANSWERED)
def test_takes_whole_answers(name):
    """No image of the answers that the fuzzer begins with is lost, and most of them have one."""
    for seed in targets.SEEDS[name]:
        targets.TARGETS[name](seed)
    answers = [preservation.to_answer(seed) for seed in preservation.SEEDS]

    assert sum(bool(judge.find_images(answer.body, answer.encoding)) for answer in answers) > len(answers) - 3


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", [name for name in targets.TARGETS if name not in ANSWERED])
def test_takes_its_seeds_and_their_beginnings(name):
    """Every target takes what it begins with, whole and cut anywhere."""
    for seed in targets.SEEDS[name]:
        for end in range(len(seed) + 1):
            targets.TARGETS[name](seed[:end])


FOUND = [
    # A key was passed over in one step, and the colon behind it then took the key before.
    ("events", b'\0data: {"b64_json": "! {"t"e", "index": 1, : "x": "iVBORw0KGgo="}\r\n\r\n'),
    # An image that stood beside another in one item was passed over.
    ("calls", how() + write({"data": [{"url": FIRST[1], "b64_json": OTHER[0]}]})),
    ("shapes", how() + events({"result": FIRST[0], "image": OTHER[4]})),
    # With an address that could not be fetched, an error of the answer, or a task that failed, the rest was dropped.
    ("calls", how() + write({"data": [{"pic": FIRST[0]}, {"url": "https://x/a.png"}]})),
    ("calls", how() + write({"item": [[], FIRST[7]], "output": "//x"})),
    ("calls", how(asked=66) + events({"x": {"y": FIRST[0]}}, {"error": "x"})),
    ("calls", how(status=4) + write({"task_id": "t", "status": "running", "x": FIRST[0]})),
    ("calls", how(status=4, asked=130) + write({"id": "t", "status": "SUCCESS", "data": {"pic": FIRST[0]}})),
    # What was not JSON to its end was not kept beside its images.
    (
        "calls",
        how(asked=0) + write({"data": [{"b64_json": FIRST[0]}], "thumbnail": OTHER[0]}).replace(b"thumb", b"\xdd"),
    ),
    # So was an event that was not understood, where images came in others.
    ("calls", how(3, 1, asked=64) + events({"type": "x", "pic": FIRST[2]}, {"b64_json": OTHER[0]})),
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


BROKEN = {
    "shapes": (ImageExtractor, "keep_rest", lambda *_: None),
    "calls": (AnswerBuffer, "finish", lambda _: None),
    "calls of tasks": (Receiver, "has_more", False),
}


@pytest.mark.parametrize("name", BROKEN)
def test_notices_a_lost_image(monkeypatch, name):
    """The negative control: where one place of the package loses what it should keep, some answer shows it."""
    monkeypatch.setattr(*BROKEN[name])
    found = [text for target, text in FOUND if target in name]

    assert any(loses(targets.TARGETS[name.split()[0]], text) for text in found)


def loses(target, text):
    try:
        target(text)
    except AssertionError:
        return True
    return False


def test_the_judge_does_not_ask_the_package():
    """What a body holds is said by the standard library alone."""
    tree = ast.parse(Path(judge.__file__).read_text("utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]

    assert {name.partition(".")[0] for name in [*modules, *names]} <= sys.stdlib_module_names


def test_every_target_has_seeds_and_words():
    """A target without seeds would fuzz noise."""
    assert set(targets.TARGETS) == set(targets.SEEDS) == set(targets.WORDS)
