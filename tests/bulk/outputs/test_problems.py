"""Lines that are no requests, for the person who has to mend them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs import MemoryStore

from burncloud_images.bulk.outputs.problems import write_problems
from burncloud_images.bulk.rows import BadRow


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
