"""Whether the images of a job are there, as the store has them: quickly by size, or wholly by their bytes."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal

import attrs

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.outputs.source import RecordSource
from burncloud_images.bulk.records import Record, State, StoredImage
from burncloud_images.transport.files import run

__all__ = ["Discrepancy", "find_missing", "verify"]

BATCH = 256


@attrs.frozen(kw_only=True)
class Discrepancy:
    """
    An image that is not as the store has it.

    Attributes:
        record: Its request.
        image: What the store has.
        problem: What is wrong, as one clause.
    """

    record: Record
    image: StoredImage
    problem: str


Depth = Literal["size", "bytes"]


async def verify(
    store: RecordSource, directory: JobDirectory, executor: Executor, depth: Depth = "bytes"
) -> AsyncIterator[Discrepancy | int]:
    """Yield every image that is missing or not what came, and now and then how many were looked at."""
    looked = 0
    batch: list[Record] = []
    async for record in store.records({State.DONE}):
        batch.append(record)
        if len(batch) >= BATCH:
            for found in await run(executor, look, batch, directory, depth):
                yield found
            looked += sum(len(one.images) for one in batch)
            yield looked
            batch = []
    for found in await run(executor, look, batch, directory, depth):
        yield found
    yield looked + sum(len(one.images) for one in batch)


async def find_missing(store: RecordSource, directory: JobDirectory, executor: Executor) -> list[Discrepancy]:
    """Return the images that are missing or of another size."""
    return [found async for found in verify(store, directory, executor, "size") if isinstance(found, Discrepancy)]


def look(records: list[Record], directory: JobDirectory, depth: Depth) -> list[Discrepancy]:
    return [
        Discrepancy(record=record, image=image, problem=problem)
        for record in records
        for image in record.images
        if (problem := find_problem(image, directory, depth))
    ]


def find_problem(image: StoredImage, directory: JobDirectory, depth: Depth) -> str | None:
    shard, _, member = image.path.partition(".tar/")
    path = directory.path / (f"{shard}.tar" if member else image.path)
    try:
        if member:
            return None if depth == "size" and path.is_file() else find_member_problem(path, member, image)
        size = path.stat().st_size
        if size != image.size:
            return f"it has {size:,} bytes instead of {image.size:,}"
        if depth == "bytes" and digest(pieces(path)) != image.sha256:
            return "its bytes are not those that came"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def find_member_problem(path: Path, member: str, image: StoredImage) -> str | None:
    try:
        with tarfile.open(path) as archive:
            handle = archive.extractfile(member)
            if handle is None:
                return "it is missing in its tar file"
            return None if digest(iter(lambda: handle.read(1 << 20), b"")) == image.sha256 else "its bytes are others"
    except KeyError:
        return "it is missing in its tar file"
    except tarfile.TarError:
        return "its tar file is damaged"


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        yield from iter(lambda: handle.read(1 << 20), b"")


def digest(chunks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()
