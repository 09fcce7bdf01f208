"""Check the images of a job against the store: quickly by size, or completely by their bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.outputs.shards import digests, is_sharded, to_member
from burncloud_images.bulk.records import RequestRecord, StoredImage
from burncloud_images.disk import run, sha256_of

Entry: TypeAlias = tuple[str, tuple[StoredImage, ...]]
"""The key of a request, and its images."""
Depth = Literal["size", "bytes"]
Read: TypeAlias = "Callable[[Path], Mapping[str, str] | str]"

BATCH: Mapping[Depth, int] = {"size": 1000, "bytes": 256}
"""How many requests are checked with one hop to a thread."""


@attrs.frozen(kw_only=True)
class Discrepancy:
    """
    An image that is not as the store has it.

    Attributes:
        image: What the store has.
        problem: What is wrong, as one clause.
    """

    record: RequestRecord
    image: StoredImage
    problem: str


async def verify(
    store: JobStore, directory: JobDirectory, executor: Executor, depth: Depth = "bytes"
) -> AsyncIterator[Discrepancy | int]:
    """Yield every image that is missing or not what came, and now and then how many were looked at."""
    looked = 0
    read = lru_cache(maxsize=1)(read_digests)  # the images of a tar file stand together
    async for page in store.images():
        for start in range(0, len(page), BATCH[depth]):
            batch = page[start : start + BATCH[depth]]
            for key, image, problem in await run(executor, look, batch, directory, depth, read):
                record = await store.get(key)
                if record is not None:
                    yield Discrepancy(record=record, image=image, problem=problem)
            looked += sum(len(images) for _, images in batch)
            yield looked
    yield looked


async def find_missing(store: JobStore, directory: JobDirectory, executor: Executor) -> list[Discrepancy]:
    """Return the images that are missing or of another size."""
    return [found async for found in verify(store, directory, executor, "size") if isinstance(found, Discrepancy)]


def look(
    batch: Sequence[Entry], directory: JobDirectory, depth: Depth, read: Read
) -> list[tuple[str, StoredImage, str]]:
    entries = [(key, image) for key, images in batch for image in images]
    members = read_shards([image for _, image in entries if is_sharded(image)], directory, depth, read)
    root = str(directory.path)
    return [
        (key, image, problem)
        for key, image in entries
        if (problem := members[image.path] if image.path in members else find_problem(image, root, depth))
    ]


def find_problem(image: StoredImage, root: str, depth: Depth) -> str | None:
    path = f"{root}/{image.path}"  # a hundred thousand of them, so no objects
    try:
        size = os.stat(path).st_size  # noqa: PTH116
        if size != image.size:
            return f"it has {size:,} bytes instead of {image.size:,}"
        if depth == "bytes" and sha256_of(Path(path)) != image.sha256:
            return "its bytes are not those that came"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def read_digests(path: Path) -> Mapping[str, str] | str:
    """Return the sha256 of the images in a tar file by their names, or why it has none, as one clause; blocks."""
    try:
        return dict(digests(path))
    except FileNotFoundError:
        return "its tar file is missing"
    except (OSError, tarfile.TarError):
        return "its tar file cannot be read"


def read_shards(images: list[StoredImage], directory: JobDirectory, depth: Depth, read: Read) -> dict[str, str | None]:
    """Return what is wrong with images in tar files, by their paths."""
    problems: dict[str, str | None] = {}
    for image in images:
        path = directory.path / image.path.partition("/")[0]
        if depth == "size":
            problems[image.path] = None if path.is_file() else "its tar file is missing"
        else:
            problems[image.path] = compare(image, read(path))
    return problems


def compare(image: StoredImage, found: Mapping[str, str] | str) -> str | None:
    if isinstance(found, str):
        return found
    digest = found.get(to_member(image))
    if digest is None:
        return "it is missing in its tar file"
    return None if digest == image.sha256 else "its bytes are not those that came"
