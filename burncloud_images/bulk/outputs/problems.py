"""`problems.jsonl`: the lines of the inputs that are no requests, each with its place and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from burncloud_images.bulk.outputs.jsontext import to_line
from burncloud_images.bulk.outputs.passes import batches, reported
from burncloud_images.bulk.outputs.source import RecordSource
from burncloud_images.bulk.outputs.wholefile import WholeFile
from burncloud_images.bulk.rows import BadRow
from burncloud_images.disk import finish_whatever_happens, run


async def write_problems(store: RecordSource, folder: Path, *, executor: Executor) -> Path | None:
    """
    Write all problems, and return the file; None if there are none, and then there is no file.

    Raises:
        StorageError: It cannot be written; an earlier one stays as it is.
    """
    path = folder / "problems.jsonl"
    file: WholeFile | None = None
    with reported(folder):
        try:
            async for batch in batches(store.problems()):
                file = file or await finish_whatever_happens(run(executor, WholeFile.open, path))
                await finish_whatever_happens(run(executor, write, file, batch))
            if file is None:
                await run(executor, remove, path)
                return None
            await finish_whatever_happens(run(executor, file.keep))
        except BaseException:
            if file is not None:
                await finish_whatever_happens(run(executor, file.discard))
            raise
    return path


def write(file: WholeFile, problems: Sequence[BadRow]) -> None:
    file.handle.writelines(to_line(to_row(problem)) for problem in problems)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def to_row(problem: BadRow) -> dict[str, object]:
    return {"source": problem.source, "line": problem.line, "id": problem.label, "reason": problem.reason}
