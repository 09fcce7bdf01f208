"""
One pass over a job's requests for all that is written of them.

Requests come in batches, and each batch goes to a thread once, where all writers take it: nothing is held but a batch,
and the event loop has nothing to do but to hand it over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from burncloud_images.bulk.records import Record
from burncloud_images.disk import finish_whatever_happens, run
from burncloud_images.errors import StorageError

T = TypeVar("T")

BATCH = 500
"""Requests; with the longest prompts some megabytes."""


class RecordWriter(Protocol):
    """Writes something of each request; everything blocks, and raises OSError where the disk fails."""

    def take(self, records: Sequence[Record]) -> None:
        """Take the next requests, in their order."""

    def finish(self) -> None:
        """Show what was written, durably."""

    def discard(self) -> None:
        """Leave no trace; what an earlier run has written stays."""


async def batches(rows: AsyncIterator[T], most: int = BATCH) -> AsyncIterator[list[T]]:
    """Yield lists of up to *most*."""
    batch: list[T] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == most:
            yield batch
            batch = []
    if batch:
        yield batch


async def write_records(records: AsyncIterator[Record], writers: Sequence[RecordWriter], executor: Executor) -> None:
    """
    Let all *writers* take all *records*.

    Cancellation and errors leave no trace of what was not finished.
    """

    def take(batch: Sequence[Record]) -> None:
        for writer in writers:
            writer.take(batch)

    def finish() -> None:
        for writer in writers:
            writer.finish()

    def discard() -> None:
        for writer in writers:
            writer.discard()

    try:
        async for batch in batches(records):
            await finish_whatever_happens(run(executor, take, batch))
        await finish_whatever_happens(run(executor, finish))
    except BaseException:
        await finish_whatever_happens(run(executor, discard))
        raise


@contextmanager
def reported(folder: Path) -> Iterator[None]:
    """
    Say of a failing disk where it failed.

    Raises:
        StorageError: In place of any OSError.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        path = folder / (error.filename2 or error.filename or "")
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from None
