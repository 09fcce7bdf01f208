"""The directory that a job is, on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory


def test_the_names_above_a_new_job_are_durable(tmp_path: Path, monkeypatch):
    """A power cut that takes the directory's name takes everything that was bought into it."""
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    directory = JobDirectory(tmp_path / "jobs" / "out")
    directory.make()

    assert {str(tmp_path), str(tmp_path / "jobs")} <= {*synced}
    directory.store.touch()
    synced.clear()
    directory.make()

    assert [] == synced
