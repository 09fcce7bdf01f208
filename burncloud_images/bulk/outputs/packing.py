"""
Images go from their files into shards, and nothing is lost or there twice, wherever it stops.

Rule 1: an image is a whole and durable file before it goes into a shard.
Rule 2: the store is told after the shard is whole and durable, and the files go after the store was told.
Rule 3: shards are made one after the other: of all shards only the last can be one that the store does not know whole.
Rule 4: they are filled in the order of the requests, so that the same requests give the same shards. A request that is
not at its end holds up those behind it, and a shard is closed when it is full, or when nothing is waited for.
"""

from __future__ import annotations

import asyncio
import os
import re
import tarfile
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs

from burncloud_images.bulk.folders import opened
from burncloud_images.bulk.outputs.passes import batches, reported
from burncloud_images.bulk.outputs.shards import (
    Changed,
    Limits,
    Shard,
    digests,
    is_sharded,
    shard_name,
    to_member,
    to_staged,
)
from burncloud_images.bulk.outputs.source import RecordSource
from burncloud_images.bulk.records import UNFINISHED, Record, State, StoredImage
from burncloud_images.disk import finish_whatever_happens, run

SHARD = re.compile(r"(\d{5,})\.tar")
PART = ".[0-9]*.tar.part"

FILLED_AT_ONCE = 100
"""Requests that are copied with one hop to a thread."""
MOVED_AT_ONCE = 1_000
"""Requests that the store is told of at once; it takes them in one commit."""


class ShardStore(RecordSource, Protocol):
    """A store that can be told where images are now."""

    def relocate(self, key: str, images: Sequence[StoredImage]) -> Awaitable[None]:
        """Note, durably, that the images of a done request are elsewhere now: all of them, in place of those before."""


@attrs.frozen(kw_only=True)
class Packed:
    """
    What was packed.

    Attributes:
        shards: The shards that are new, by name.
        images: How many images are in them.
        left: Keys of requests whose files are not there, or not as the store knows them: they stay as they are.
    """

    shards: tuple[str, ...] = ()
    images: int = 0
    left: tuple[str, ...] = ()


async def pack(store: ShardStore, folder: Path, *, executor: Executor, limits: Limits | None = None) -> Packed:
    """
    Put the images of done requests into shards.

    It may be called at any time and killed at any time; called again, it goes on. Metadata and gallery are to be
    written after it, as they name where the images are.

    Args:
        store: The job; it may go on meanwhile.
        folder: Its directory.
        executor: For everything that blocks.
        limits: When a shard is full.

    Raises:
        StorageError: A shard cannot be written; the images that are not in one are still files.

    Cancellation leaves no unfinished shard.
    """
    folder = await run(executor, folder.resolve)
    packer = Packer(store, folder, executor, limits or Limits())
    with reported(folder):
        await packer.settle()
        return await packer.run()


@attrs.define
class Packer:
    """Fills one shard after the other."""

    store: ShardStore
    folder: Path
    executor: Executor
    limits: Limits
    number: int = 0
    shards: list[str] = attrs.field(factory=list)
    images: int = 0
    left: list[str] = attrs.field(factory=list)

    async def settle(self) -> None:
        """Bring the last shard to its end, if the run that made it was killed before it could."""
        last = await run(self.executor, find_last, self.folder)
        if last is None:
            return
        self.number = last + 1
        members = await run(self.executor, read_keys, self.folder / shard_name(last))
        untold: list[Record] = []
        told: list[Record] = []
        async for record in self.store.records({State.DONE}):
            if record.key in members:
                (told if all(map(is_sharded, record.images)) else untold).append(record)
        moved = await run(self.executor, match, self.folder, last, untold)
        await self.tell(moved)
        stale = [image for record in told for image in record.images if image.path.startswith(f"{shard_name(last)}/")]
        await finish_whatever_happens(run(self.executor, self.remove, stale))

    async def run(self) -> Packed:
        """Fill shards with all that is not in one."""
        shard = self.next()
        try:
            async for batch in batches(self.store.records(), FILLED_AT_ONCE):
                ended = until_unfinished(batch)
                rest = [record for record in ended if is_waiting(record)]
                while rest:
                    rest = await finish_whatever_happens(run(self.executor, self.fill, shard, rest))
                    if rest:
                        await self.close(shard)
                        shard = self.next()
                if len(ended) < len(batch):
                    if shard.is_full:
                        await self.close(shard)
                    break
            else:
                if shard.moved:
                    await self.close(shard)
        finally:
            await finish_whatever_happens(run(self.executor, shard.discard))
        return Packed(shards=tuple(self.shards), images=self.images, left=tuple(self.left))

    def next(self) -> Shard:
        shard = Shard(self.folder, self.number, self.limits)
        self.number += 1
        return shard

    def fill(self, shard: Shard, records: list[Record]) -> list[Record]:
        """Add *records* until the shard is full, and return the others; blocks."""
        for place, record in enumerate(records):
            if not shard.has_room(record):
                return records[place:]
            try:
                shard.add(record)
            except Changed:
                self.left.append(record.key)
        return []

    async def close(self, shard: Shard) -> None:
        """Show a shard, tell the store, and remove the files that it was made of."""
        await finish_whatever_happens(run(self.executor, shard.keep))
        self.shards.append(shard.path.name)
        self.images += shard.samples
        await self.tell(shard.moved)

    async def tell(self, moved: Mapping[str, tuple[StoredImage, ...]]) -> None:
        """Let the store know where images are now, and then remove their files."""
        entries = list(moved.items())
        for start in range(0, len(entries), MOVED_AT_ONCE):
            await asyncio.gather(*(self.store.relocate(*entry) for entry in entries[start : start + MOVED_AT_ONCE]))
        files = [image for images in moved.values() for image in images]
        await finish_whatever_happens(run(self.executor, self.remove, files))

    def remove(self, images: Sequence[StoredImage]) -> None:
        for image in images:
            *folders, name = to_staged(to_member(image)).split("/")
            with suppress(FileNotFoundError), opened(self.folder, *folders) as folder:
                os.unlink(name, dir_fd=folder)


def until_unfinished(records: Sequence[Record]) -> Sequence[Record]:
    for place, record in enumerate(records):
        if record.state in UNFINISHED:
            return records[:place]
    return records


def is_waiting(record: Record) -> bool:
    """Say whether the images of *record* are to go into a shard."""
    return record.state is State.DONE and bool(record.images) and not any(map(is_sharded, record.images))


def find_last(folder: Path) -> int | None:
    """Return the number of the last shard that is there, and remove what killed runs left of others; blocks."""
    for part in folder.glob(PART):
        part.unlink()
    return max((int(found[1]) for path in folder.iterdir() if (found := SHARD.fullmatch(path.name))), default=None)


def read_keys(shard: Path) -> set[str]:
    """Return the keys of the requests whose images are in *shard*; none if it is no tar file; blocks."""
    try:
        with tarfile.open(shard, "r:") as archive:
            return {name[:32] for name in archive.getnames()}
    except tarfile.TarError:
        return set()


def match(folder: Path, number: int, records: Sequence[Record]) -> dict[str, tuple[StoredImage, ...]]:
    """Return those *records* whose images are all in a shard, byte for byte, as they are named there; blocks."""
    if not records:
        return {}
    shard = Shard(folder, number, Limits())
    names = [to_member(image) for record in records for image in record.images]
    held = dict(digests(shard.path, names))
    return {
        record.key: tuple(map(shard.rename, record.images))
        for record in records
        if record.images and all(held.get(to_member(image)) == image.sha256 for image in record.images)
    }
