"""What is written as JSON can be read back by anybody."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.outputs.jsontext import plain, to_line, to_pretty, to_script, well_formed

texts = st.text(st.characters(categories=None))  # half surrogate pairs too


@given(texts)
def test_one_value_is_one_line_for_every_way_of_splitting_lines(text: str) -> None:
    line = to_line({"prompt": text}).decode()

    assert 1 == len(line.splitlines())
    assert {"prompt": well_formed(text)} == json.loads(line)


@given(texts)
def test_a_script_holds_nothing_that_html_gives_a_meaning(text: str) -> None:
    script = to_script([text])

    assert not re.search(r"[<>&\u2028\u2029]", script)
    assert [well_formed(text)] == json.loads(script)
    script.encode()


def test_half_a_surrogate_pair_is_replaced_and_two_halves_become_one_character() -> None:
    assert "�a" == well_formed("\ud83da")
    assert "🐟" == well_formed("\ud83d\udc1f")
    assert "a\ufffd" == json.loads(to_line("a\udc1f"))


def test_text_stays_readable() -> None:
    assert '"Ein Fuchs 狐 🦊"\n'.encode() == to_line("Ein Fuchs 狐 🦊")


def test_times_are_written_as_rfc_3339_has_them() -> None:
    assert b'"2026-11-24T14:44:00Z"\n' == to_line(datetime(2026, 11, 24, 14, 44, tzinfo=UTC))


def test_what_json_does_not_know_becomes_text() -> None:
    given_facts = {"path": Path("out"), "limit": float("inf"), "rates": (1, 2.5), 3: None, "on": True}

    assert {"path": "out", "limit": "inf", "rates": [1, 2.5], "3": None, "on": True} == plain(given_facts)
    assert json.loads(to_pretty(plain(given_facts)))


def test_a_number_that_is_none_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_line(float("nan"))
