"""
After a run that was killed: what the directory says about requests that were sent and not brought to their end.

Final names are only ever those of whole images, so a request all of whose images are there is done, even if the store
was not told. Of the others what is whole is kept, and whether they were billed is in doubt.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

import attrs

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.records import Failure, Record, State, StoredImage
from burncloud_images.bulk.salvage import move_aside
from burncloud_images.bulk.sink import find_images, find_parts, restore
from burncloud_images.bulk.store import Store
from burncloud_images.disk import run

UNWRITTEN = "The run ended before an answer was written down, so it is not known whether the API made the images."


@attrs.frozen(kw_only=True)
class Recovered:
    """
    What a run that was killed left behind.

    Attributes:
        waiting: Requests that were not sent, and wait again.
        done: Requests that turned out to be done.
        in_doubt: Requests that may have been billed.
    """

    waiting: int = 0
    done: int = 0
    in_doubt: int = 0


async def recover(store: Store, directory: JobDirectory, executor: Executor) -> Recovered:
    """
    Settle what was under way when the last run ended.

    Raises:
        StorageError: It cannot be written down.
    """
    waiting = await store.release_leases()
    parts = await run(executor, lambda: list(find_parts(directory)))
    left: dict[str, list[tuple[int, Path]]] = {}
    for key, index, path in parts:
        left.setdefault(key, []).append((index, path))
    sent = [record async for record in store.records({State.SENT})]
    done = 0
    for record in sent:
        done += await write_off(record, store, directory, executor, left.pop(record.key, ()))
    for key, others in left.items():
        found = await store.get(key)
        if found is not None and found.state is State.RECEIVED:  # whatever is whole need not be fetched
            await run(executor, collect, found, directory, others)
        else:
            await run(executor, remove, directory, key, *(path.name for _, path in others))
    return Recovered(waiting=waiting, done=done, in_doubt=len(sent) - done)


async def write_off(
    record: Record,
    store: Store,
    directory: JobDirectory,
    executor: Executor,
    parts: list[tuple[int, Path]] | tuple[()] = (),
    failure: Failure | None = None,
    now: Callable[[], float] = time.time,
) -> bool:
    """
    Bring a request that was sent, and is no longer waited for, to its end: done if its images are there, or in doubt.

    Returns:
        Whether it is done.
    """
    images = await run(executor, collect, record, directory, parts)
    if len(images) >= record.wanted:
        await store.finish(record.key, images, cost=None, about={}, request_id=None, at=now())
        return True
    for image in images:
        store.add_image(record.key, image)
    failure = failure or Failure(error="OutcomeUnknownError", message=UNWRITTEN)
    await store.mark_in_doubt(record.key, failure, request_id=None, at=now())
    return False


def collect(
    record: Record, directory: JobDirectory, parts: list[tuple[int, Path]] | tuple[()]
) -> tuple[StoredImage, ...]:
    """Return the whole images of a request; what is not whole is put aside; blocks."""
    for index, part in parts:
        if restore(directory, part.name, record.key, index, several=record.wanted > 1):
            continue
        if part.stat(follow_symlinks=False).st_size:
            move_aside(directory, record.key, part.name)
        else:
            remove(directory, record.key, part.name)
    return find_images(directory, record.key)


def remove(directory: JobDirectory, key: str, *names: str) -> None:
    with directory.folder(*directory.shelf_names(key)) as folder:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
