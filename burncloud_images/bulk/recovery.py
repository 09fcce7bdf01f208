"""
What the job's directory says about requests, after a run that was killed or the loss of the store.

A final name is only given to a whole image, so a request all of whose images are there is done, even if the store does
not know it. If only some are there, the request is in doubt: it may have been billed.

A key is a digest of all that a request asks for. So images under the key of a request that was never sent, as far as
the store knows, belong to it. What they cost is not known, and the worst case stays reserved.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.image_store import FINAL, find_images, find_parts, move_to_rescue, restore
from burncloud_images.bulk.outputs.shards import SHARD, digest, read_keys
from burncloud_images.bulk.records import BOUGHT, RequestFailure, RequestRecord, RequestState, StoredImage
from burncloud_images.disk import run
from burncloud_images.files.image_files import examine_file, examine_handle

UNWRITTEN = "The run ended before an answer was written down, so it is not known whether the API made the images."


@attrs.frozen(kw_only=True)
class RecoveredRequests:
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


async def recover(store: JobStore, directory: JobDirectory, executor: Executor) -> RecoveredRequests:
    """
    Settle the requests that were sent or leased when the last run ended.

    Raises:
        StorageError: It cannot be written down.
    """
    waiting = await store.release_leases()
    left = await run(executor, list_unfinished, directory)
    sent = [record async for record in store.records({RequestState.SENT})]
    done = 0
    for record in sent:
        done += await settle_unanswered(record, store, directory, executor, left.pop(record.key, ()))
    for key, others in left.items():
        found = await store.get(key)
        if found is not None and found.state in BOUGHT:  # whole images need not be fetched
            await run(executor, collect, found, directory, others)
        else:
            await run(executor, remove, directory, key, *(path.name for _, path in others))
    return RecoveredRequests(waiting=waiting, done=done, in_doubt=len(sent) - done)


async def settle_unanswered(
    record: RequestRecord,
    store: JobStore,
    directory: JobDirectory,
    executor: Executor,
    parts: Sequence[tuple[int, Path]] = (),
    failure: RequestFailure | None = None,
    now: Callable[[], float] = time.time,
) -> bool:
    """
    Settle a request that was sent and then given up: it is done if its images are on disk, otherwise in doubt.

    Returns:
        Whether it is done.
    """
    images = await run(executor, collect, record, directory, parts)
    if len(images) >= record.wanted:
        await store.finish(record.key, images, cost=None, about={}, request_id=None, at=now())
        return True
    for image in images:
        await store.add_image(record.key, image)
    failure = failure or RequestFailure(error="OutcomeUnknownError", message=UNWRITTEN)
    await store.mark_in_doubt(record.key, failure, request_id=None, at=now())
    return False


def list_unfinished(directory: JobDirectory) -> dict[str, list[tuple[int, Path]]]:
    """Return the index and path of every unfinished file, by the key of its request; blocks."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for key, index, path in find_parts(directory):
        found.setdefault(key, []).append((index, path))
    return found


def collect(
    record: RequestRecord, directory: JobDirectory, parts: Sequence[tuple[int, Path]]
) -> tuple[StoredImage, ...]:
    """Return the whole images of a request; move incomplete files to `rescue`; blocks."""
    for index, part in parts:
        if restore(directory, part.name, record.key, index, several=record.wanted > 1):
            continue
        if part.stat(follow_symlinks=False).st_size:
            move_to_rescue(directory, record.key, part.name)
        else:
            remove(directory, record.key, part.name)
    return find_images(directory, record.key)


def remove(directory: JobDirectory, key: str, *names: str) -> None:
    with directory.folder(*directory.image_folder_names(key)) as folder:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


AT_ONCE = 500
"""Keys that the store is asked for at once."""
PARTLY = RequestFailure(
    error="OutcomeUnknownError",
    message="Some of its images are in the folder and the store did not know of it, so it may have been billed.",
)


@attrs.define(kw_only=True)
class AdoptedRequests:
    """
    What was taken over.

    Attributes:
        done: Requests all of whose images were there.
        in_doubt: Those of which only some were.
    """

    done: int = 0
    in_doubt: int = 0
    images: int = 0

    def __str__(self) -> str:
        """Return it as one sentence."""
        doubt = f" and {self.in_doubt:,} in doubt" if self.in_doubt else ""
        return (
            f"{self.images:,} images were in the folder under the keys of requests that the store had as not sent: "
            f"{self.done:,} requests are done{doubt}, what they cost is not known, and none of them is bought again."
        )


async def adopt(
    store: JobStore,
    directory: JobDirectory,
    executor: Executor,
    worst_case: Callable[[RequestRecord], int],
    now: Callable[[], float],
) -> AdoptedRequests:
    """
    Settle waiting requests that were already bought.

    Raises:
        StorageError: It cannot be written down, or a file cannot be read.
    """
    totals = await store.totals()
    if not totals.counts[RequestState.PENDING]:
        return AdoptedRequests()
    adopted = AdoptedRequests()

    async def take(record: RequestRecord, images: Sequence[StoredImage]) -> None:
        whole = len(images) >= record.wanted
        failure = None if whole else PARTLY
        await store.adopt(record.key, images, failure=failure, reserved=worst_case(record), at=now())
        adopted.done += whole
        adopted.in_doubt += not whole
        adopted.images += len(images)

    unfinished = await run(executor, list_unfinished, directory)
    for keys in parts(unfinished.keys() | await run(executor, list_files, directory)):
        for record in await store.unsent(keys):
            await run(executor, collect, record, directory, unfinished.get(record.key, ()))
            await take(record, await run(executor, find_whole, directory, record.key))
    if not totals.images:  # reading shards takes long, and a store that knows an image was there when they were made
        for shard in filter(SHARD.fullmatch, sorted(await run(executor, os.listdir, directory.path))):
            members = await run(executor, read_keys, directory.path / shard)
            records = [record for keys in parts(members) for record in await store.unsent(keys)]
            found = await run(executor, read_members, directory, shard, {record.key for record in records})
            for record in records:
                await take(record, found.get(record.key, ()))
    return adopted


def parts(keys: Iterable[str]) -> Iterator[Sequence[str]]:
    listed = sorted(keys)
    for start in range(0, len(listed), AT_ONCE):
        yield listed[start : start + AT_ONCE]


def list_files(directory: JobDirectory) -> set[str]:
    """Return the keys under which there are images; blocks."""
    names = (path.name for path in directory.images.glob("[0-9a-f][0-9a-f]/*"))
    return {found[1] for name in names if (found := FINAL.fullmatch(name))}


def find_whole(directory: JobDirectory, key: str) -> tuple[StoredImage, ...]:
    """Return the images of a request that are not damaged; blocks."""
    images = find_images(directory, key)
    return tuple(image for image in images if examine_file(directory.path / image.path)[1].complete)


# --- shards ----------------------------------------------------------------------------------------------------------


def read_members(directory: JobDirectory, shard: str, keys: set[str]) -> dict[str, tuple[StoredImage, ...]]:
    """Return the images of these requests in a shard; blocks."""
    images: dict[str, list[StoredImage]] = {}
    if not keys:
        return {}
    with tarfile.open(directory.path / shard, "r:") as archive, (directory.path / shard).open("rb") as handle:
        for member in archive:
            name = FINAL.fullmatch(member.name)
            if name is None or name[1] not in keys or not member.isfile():
                continue
            media = examine_handle(handle, member.offset_data, member.size)
            if media.media_type is None:  # what is known of an image, and its prompt
                continue
            image = StoredImage(
                index=int(name[2] or 1) - 1,
                path=f"{shard}/{member.name}",
                size=member.size,
                sha256=digest(archive, member),
                media_type=media.media_type,
                width=media.width,
                height=media.height,
            )
            images.setdefault(name[1], []).append(image)
    return {key: tuple(sorted(found, key=lambda image: image.index)) for key, found in images.items()}
