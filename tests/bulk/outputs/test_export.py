"""The outputs of a job, written in one pass over its requests."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jobs import MemoryStore, done, failed, in_doubt, to_record

from burncloud_images.bulk.outputs.export import write_bad_rows, write_outputs
from burncloud_images.bulk.outputs.output_files import storage_errors
from burncloud_images.bulk.records import BadRow, RequestRecord
from burncloud_images.errors import StorageError

FACTS = {"started": 1_700_000_000.0, "ended": 1_700_000_010.0, "stopped": "finished"}
BAD = BadRow(source="prompts.jsonl", line=9, reason="it is not JSON")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tmp"}


async def test_all_outputs_are_there(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """All outputs are written, and the report counts the requests."""
    store = MemoryStore([done(1), failed(2), in_doubt(3), to_record(4)], [BAD])
    await write_outputs(store, tmp_path, format="jsonl", facts=FACTS, executor=executor)

    assert {"metadata.jsonl", "report.json", "gallery.html", "gallery", "bad_rows.jsonl"} == names(tmp_path)
    assert 4 == json.loads((tmp_path / "report.json").read_bytes())["requests"]["all"]


async def test_writing_again_changes_nothing(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Writing the outputs of the same job again gives the same bytes."""
    store = MemoryStore([done(1), failed(2), in_doubt(3)], [BAD])

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    await write_outputs(store, tmp_path, format="jsonl", facts=FACTS, executor=executor)
    before = content()
    await write_outputs(store, tmp_path, format="jsonl", facts=FACTS, executor=executor)

    assert before == content()


async def test_cancelled_half_way_it_leaves_no_unfinished_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Cancellation leaves no unfinished file."""
    reached = asyncio.Event()

    class Endless(MemoryStore):
        async def records(self, states: object = None) -> AsyncIterator[RequestRecord]:
            for number in range(1_600):
                yield done(number)
            reached.set()
            await asyncio.Event().wait()

    work = asyncio.create_task(write_outputs(Endless(), tmp_path, format="jsonl", facts={}, executor=executor))
    await reached.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """An error names the folder that cannot be written."""
    (tmp_path / "gallery").write_bytes(b"in the way")
    with pytest.raises(StorageError, match=r"gallery cannot be written: Not a directory"):
        await write_outputs(MemoryStore([done(1)]), tmp_path, format="jsonl", facts={}, executor=executor)

    assert not list(tmp_path.glob(".*.part"))


class Many:
    """Requests that are made as they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[RequestRecord]:
        return map(done, range(self.count))


@pytest.mark.slow
async def test_memory_stays_flat_however_many_requests_there_are(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Memory does not grow with the number of requests."""

    async def peak(count: int) -> int:
        tracemalloc.start()
        try:
            await write_outputs(MemoryStore(Many(count)), tmp_path, format="jsonl", facts={}, executor=executor)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(10)  # what is loaded once
    small, large = await peak(1_000), await peak(5_000)

    assert large < small * 1.3


async def test_every_problem_has_a_line_with_its_place(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Every bad row has a line with its source, line, id and reason."""
    bad = [BadRow(source="a.csv", line=number, label="otter", reason="half \ud83d") for number in range(1, 1_300)]
    await write_bad_rows(MemoryStore((), bad), tmp_path, executor)
    rows = [json.loads(line) for line in (tmp_path / "bad_rows.jsonl").read_bytes().splitlines()]

    assert list(range(1, 1_300)) == [row["line"] for row in rows]
    assert {"source": "a.csv", "line": 1, "id": "otter", "reason": "half �"} == rows[0]


async def test_without_problems_there_is_no_file_any_more(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """A job without bad rows removes the file of an earlier run."""
    (tmp_path / "bad_rows.jsonl").write_bytes(b"earlier")

    await write_bad_rows(MemoryStore(), tmp_path, executor)
    assert not (tmp_path / "bad_rows.jsonl").exists()


async def test_an_error_on_the_way_leaves_the_earlier_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """An error leaves the file of an earlier run as it was."""

    class Broken(MemoryStore):
        async def bad_rows(self) -> AsyncIterator[BadRow]:
            for number in range(1_200):
                yield BadRow(source="a.csv", line=number, reason="odd")
            raise OSError(28, "No space left on device")

    (tmp_path / "bad_rows.jsonl").write_bytes(b"earlier")
    with pytest.raises(StorageError, match="No space left"), storage_errors(tmp_path):
        await write_bad_rows(Broken(), tmp_path, executor)

    assert b"earlier" == (tmp_path / "bad_rows.jsonl").read_bytes()
    assert [] == list(tmp_path.glob(".*.part"))
