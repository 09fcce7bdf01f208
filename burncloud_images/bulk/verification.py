"""Check the images of a job against the store: quickly by size, or completely by their bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
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

BATCH: Mapping[Depth, int] = {"size": 1000, "bytes": 256}
"""How many requests are checked with one hop to a thread."""


@attrs.frozen(kw_only=True)
class Discrepancy:
    """
    An image that is not as the store has it.

    Attributes:
        record: Its request.
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
    shard = ShardReader()
    async for page in store.images():
        for start in range(0, len(page), BATCH[depth]):
            batch = page[start : start + BATCH[depth]]
            for key, image, problem in await run(executor, look, batch, directory, depth, shard):
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
    batch: Sequence[Entry], directory: JobDirectory, depth: Depth, shard: ShardReader
) -> list[tuple[str, StoredImage, str]]:
    entries = [(key, image) for key, images in batch for image in images]
    members = read_shards([image for _, image in entries if is_sharded(image)], directory, depth, shard)
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


@attrs.define
class ShardReader:
    """
    Reads the images in a tar file; only the last one is kept, as a job lists the images of a file together.

    Attributes:
        path: Where it is.
        digests: The sha256 of its images, by name.
        problem: Why it has none, as one clause.
    """

    path: Path | None = None
    digests: Mapping[str, str] = attrs.field(factory=dict)
    problem: str | None = None

    def read(self, path: Path) -> None:
        """Be the file at *path*; blocks."""
        if path == self.path:
            return
        self.path, self.digests, self.problem = path, {}, None
        try:
            self.digests = dict(digests(path))
        except FileNotFoundError:
            self.problem = "its tar file is missing"
        except (OSError, tarfile.TarError):
            self.problem = "its tar file cannot be read"

    def find_problem(self, image: StoredImage) -> str | None:
        """Return what is wrong with an image in it."""
        found = self.digests.get(to_member(image))
        if self.problem is not None or found is None:
            return self.problem or "it is missing in its tar file"
        return None if found == image.sha256 else "its bytes are not those that came"


def read_shards(
    images: list[StoredImage], directory: JobDirectory, depth: Depth, shard: ShardReader
) -> dict[str, str | None]:
    """Return what is wrong with images in tar files, by their paths."""
    problems: dict[str, str | None] = {}
    shards: dict[str, list[StoredImage]] = {}
    for image in images:
        shards.setdefault(image.path.partition("/")[0], []).append(image)
    for name, members in shards.items():
        path = directory.path / name
        if depth == "size":
            problem = None if path.is_file() else "its tar file is missing"
            problems |= dict.fromkeys((image.path for image in members), problem)
        else:
            shard.read(path)
            problems |= {image.path: shard.find_problem(image) for image in members}
    return problems
