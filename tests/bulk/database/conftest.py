"""Stores in a directory of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from burncloud_images.bulk.database import JobStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store of a job is to be."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "job.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[JobStore]:
    """Return an empty store."""
    async with await JobStore.open(path) as database:
        yield database
