"""A file is there whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from burncloud_images.bulk.outputs.wholefile import WholeFile, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "tmp")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    file = WholeFile.open(path)
    file.handle.write(b"new")

    assert b"old" == path.read_bytes()
    file.keep()
    assert b"new" == path.read_bytes()
    assert ["report.json"] == names(tmp_path)


def test_a_discarded_file_leaves_no_trace(tmp_path: Path) -> None:
    file = WholeFile.open(tmp_path / "report.json")
    file.handle.write(b"half")
    file.discard()

    assert [] == names(tmp_path)


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".report.json.part").write_bytes(b"left over")
    write_whole(tmp_path / "report.json", b"new")

    assert ["report.json"] == names(tmp_path)
    assert b"new" == (tmp_path / "report.json").read_bytes()


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    for name in ("report.json", ".report.json.part"):
        (tmp_path / name).symlink_to(elsewhere)
    write_whole(tmp_path / "report.json", b"new")

    assert b"mine" == elsewhere.read_bytes()
    assert not (tmp_path / "report.json").is_symlink()


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    write_whole(tmp_path / "report.json", b"new")
    (tmp_path / "usual").write_bytes(b"")

    assert (tmp_path / "usual").stat().st_mode == (tmp_path / "report.json").stat().st_mode


def test_content_name_and_folder_reach_the_disk_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
