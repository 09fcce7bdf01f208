"""The store as a file."""

from __future__ import annotations

import os
from pathlib import Path

from burncloud_images.bulk.database import Database


async def test_a_store_that_was_killed_while_it_was_made_leaves_nothing(path: Path):
    """Between its two names, or before it had the second."""
    async with await Database.open(path):
        pass
    part = path.with_name(f".{path.name}.part")
    os.link(path, part)
    journal = part.with_name(f"{part.name}-journal")
    journal.touch()
    async with await Database.open(path):
        pass

    assert [False, False] == [part.exists(), journal.exists()]
