"""Files that are whole or absent, and JSON that everybody can read."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.outputs.output_files import (
    AtomicFile,
    plain,
    to_line,
    to_pretty,
    to_script,
    well_formed,
    write_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "tmp")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """An earlier file stays until the new one is committed."""
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    file = AtomicFile.open(path)
    file.handle.write(b"new")

    assert b"old" == path.read_bytes()
    file.commit()
    assert b"new" == path.read_bytes()
    assert ["report.json"] == names(tmp_path)


def test_a_discarded_file_leaves_no_trace(tmp_path: Path) -> None:
    """A discarded file leaves nothing in the folder."""
    file = AtomicFile.open(tmp_path / "report.json")
    file.handle.write(b"half")
    file.discard()

    assert [] == names(tmp_path)


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    """A hidden file of a killed run is overwritten."""
    (tmp_path / ".report.json.part").write_bytes(b"left over")
    write_whole(tmp_path / "report.json", b"new")

    assert ["report.json"] == names(tmp_path)
    assert b"new" == (tmp_path / "report.json").read_bytes()


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A symbolic link of the same name is replaced and not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    for name in ("report.json", ".report.json.part"):
        (tmp_path / name).symlink_to(elsewhere)
    write_whole(tmp_path / "report.json", b"new")

    assert b"mine" == elsewhere.read_bytes()
    assert not (tmp_path / "report.json").is_symlink()


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    """A committed file has the permissions that the umask allows."""
    write_whole(tmp_path / "report.json", b"new")
    (tmp_path / "usual").write_bytes(b"")

    assert (tmp_path / "usual").stat().st_mode == (tmp_path / "report.json").stat().st_mode


def test_content_name_and_folder_reach_the_disk_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content, the name and the folder are synced in this order."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def replaced(source: str, target: str, **folders: int) -> None:
        done.append(f"rename to {target}")
        replace(source, target, **folders)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "report.json", b"new")

    assert ["sync .report.json.part", "rename to report.json", f"sync {tmp_path.name}"] == done


texts = st.text(st.characters(categories=None))  # half surrogate pairs too


@given(texts)
def test_one_value_is_one_line_for_every_way_of_splitting_lines(text: str) -> None:
    """A value is one line for every way of splitting lines."""
    line = to_line({"prompt": text}).decode()

    assert 1 == len(line.splitlines())
    assert {"prompt": well_formed(text)} == json.loads(line)


@given(texts)
def test_a_script_holds_nothing_that_html_gives_a_meaning(text: str) -> None:
    """A script contains no character that has a meaning in HTML."""
    script = to_script([text])

    assert not re.search(r"[<>&\u2028\u2029]", script)
    assert [well_formed(text)] == json.loads(script)
    script.encode()


def test_half_a_surrogate_pair_is_replaced_and_two_halves_become_one_character() -> None:
    """A lone surrogate is replaced, and a pair becomes one character."""
    assert "�a" == well_formed("\ud83da")
    assert "🐟" == well_formed("\ud83d\udc1f")
    assert "a\ufffd" == json.loads(to_line("a\udc1f"))


def test_text_stays_readable() -> None:
    """Text that is not ASCII is written as it is."""
    assert '"Ein Fuchs 狐 🦊"\n'.encode() == to_line("Ein Fuchs 狐 🦊")


def test_times_are_written_as_rfc_3339_has_them() -> None:
    """Times are written in the format of RFC 3339."""
    assert b'"2026-11-24T14:44:00Z"\n' == to_line(datetime(2026, 11, 24, 14, 44, tzinfo=UTC))


def test_what_json_does_not_know_becomes_text() -> None:
    """Values that JSON does not support become text."""
    given_facts = {"path": Path("out"), "limit": float("inf"), "rates": (1, 2.5), 3: None, "on": True}

    assert {"path": "out", "limit": "inf", "rates": [1, 2.5], "3": None, "on": True} == plain(given_facts)
    assert json.loads(to_pretty(plain(given_facts)))


def test_a_number_that_is_none_is_never_written() -> None:
    """NaN and infinities are never written as numbers."""
    with pytest.raises(ValueError, match="JSON"):
        to_line(float("nan"))
