"""Lines that are no requests, for the person who has to mend them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jobs import MemoryStore

from burncloud_images.bulk.outputs.problems import write_problems
from burncloud_images.bulk.rows import BadRow
from burncloud_images.errors import StorageError


async def test_every_problem_has_a_line_with_its_place(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    bad = [BadRow(source="a.csv", line=number, label="otter", reason="half \ud83d") for number in range(1, 1_300)]
    path = await write_problems(MemoryStore((), bad), tmp_path, executor=executor)
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]

    assert list(range(1, 1_300)) == [row["line"] for row in rows]
    assert {"source": "a.csv", "line": 1, "id": "otter", "reason": "half �"} == rows[0]


async def test_without_problems_there_is_no_file_any_more(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "problems.jsonl").write_bytes(b"earlier")

    assert await write_problems(MemoryStore(), tmp_path, executor=executor) is None
    assert not (tmp_path / "problems.jsonl").exists()


async def test_an_error_on_the_way_leaves_the_earlier_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    class Broken(MemoryStore):
        async def problems(self) -> AsyncIterator[BadRow]:
            for number in range(1_200):
                yield BadRow(source="a.csv", line=number, reason="odd")
            raise OSError(28, "No space left on device")

    (tmp_path / "problems.jsonl").write_bytes(b"earlier")
    with pytest.raises(StorageError, match="No space left"):
        await write_problems(Broken(), tmp_path, executor=executor)

    assert b"earlier" == (tmp_path / "problems.jsonl").read_bytes()
    assert [] == list(tmp_path.glob(".*.part"))
