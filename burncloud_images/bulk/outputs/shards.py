"""
Shards: plain tar files of samples, which `webdataset`, `datasets` and every tar program read.

A sample is an image, what is known of it as JSON, and its prompt as text: `key.png`, `key.json`, `key.txt`; the images
of a request with several are `key-1`, `key-2`, … The same samples give the same bytes: no times, no owners. Beside
`00000.tar` lies `00000.idx`, from which a reader, NVIDIA DALI's too, finds a sample without reading those before it.

Images move from their files into shards, and none is lost or stored twice, wherever it stops.

Rule 1: an image is a whole and durable file before it goes into a shard.
Rule 2: the store is told after the shard is whole and durable, and the files go after the store was told.
Rule 3: shards are made one after the other: of all shards only the last can be one that the store does not know whole.
Rule 4: they are filled in the order of the requests, so that the same requests give the same shards. A request that is
not at its end holds up those behind it, and a shard is closed when it is full, or when nothing is waited for.

Source: POSIX.1-1988 ustar; the WebDataset format; DALI's index, version 1.2.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.folders import opened
from burncloud_images.bulk.outputs.files import (
    WholeFile,
    batches,
    reported,
    to_line,
    well_formed,
    write_whole,
)
from burncloud_images.bulk.outputs.metadata import to_row
from burncloud_images.bulk.records import UNFINISHED, Record, State, StoredImage
from burncloud_images.disk import PIECE, finish_whatever_happens, run

BLOCK = 512
END = 2 * BLOCK
"""Bytes of zeros at the end of a tar file, which is then filled up to `tarfile.RECORDSIZE`."""

INDEX_VERSION = "v1.2"


@attrs.frozen(kw_only=True)
class Limits:
    """
    When a shard is full.

    Attributes:
        size: Bytes of the tar file. A request whose images are larger has a shard for itself.
        samples: Images.
    """

    size: int = 512 * 1024 * 1024
    samples: int = 10_000


class Changed(Exception):  # noqa: N818 (never leaves the package)
    """An image that is to go into a shard is not there, or not as the store knows it."""


@attrs.define
class Shard:
    """
    A shard that is being filled; everything blocks.

    Attributes:
        folder: The job's directory.
        number: Of the shard, from 0.
        limits: When it is full.
        moved: What is in it: keys, and their images as they are named from now on.
    """

    folder: Path
    number: int
    limits: Limits
    moved: dict[str, tuple[StoredImage, ...]] = attrs.field(factory=dict)
    samples: int = 0
    lines: list[str] = attrs.field(factory=list)
    file: WholeFile | None = None
    size: int = 0

    @property
    def path(self) -> Path:
        """The tar file."""
        return self.folder / shard_name(self.number)

    def has_room(self, record: Record) -> bool:
        """Say whether the images of *record* fit."""
        if not self.moved:
            return True
        size = self.size + sum(map(padded, self.sizes(record))) + END
        return size <= self.limits.size and self.samples + len(record.images) <= self.limits.samples

    @property
    def is_full(self) -> bool:
        """Whether nothing fits any more, whatever it is."""
        return self.samples >= self.limits.samples or self.size + END >= self.limits.size

    def sizes(self, record: Record) -> Iterator[int]:
        for image, (_, text) in self.members(record):
            yield image.size if text is None else len(text)

    def add(self, record: Record) -> None:
        """
        Add the images of *record*, all or none.

        Raises:
            Changed: One of them is not as the store knows it.
        """
        if self.file is None:
            self.file = WholeFile.open(self.path)
        before, lines = self.size, len(self.lines)
        handle = self.file.handle
        try:
            for place, image in enumerate(record.images):
                self.lines.append(self.write_sample(handle, record, image, place))
        except Changed:
            handle.seek(before)
            handle.truncate()
            self.size = before
            del self.lines[lines:]
            raise
        self.samples += len(record.images)
        self.moved[record.key] = tuple(self.rename(image) for image in record.images)

    def members(self, record: Record) -> Iterator[tuple[StoredImage, tuple[str, bytes | None]]]:
        """Yield what is written of *record*: names and texts, and None for the text of an image, which is in a file."""
        for place, image in enumerate(record.images):
            for member in self.sample(record, image, place):
                yield image, member

    def sample(self, record: Record, image: StoredImage, place: int) -> list[tuple[str, bytes | None]]:
        name = to_member(image)
        stem = PurePosixPath(name).stem
        row = to_row(record, self.rename(image), place)
        prompt = well_formed(str(row["prompt"])).encode()
        return sorted([(name, None), (f"{stem}.json", to_line(row)), (f"{stem}.txt", prompt)], key=lambda part: part[0])

    def rename(self, image: StoredImage) -> StoredImage:
        return attrs.evolve(image, path=f"{shard_name(self.number)}/{to_member(image)}")

    def write_sample(self, handle: IO[bytes], record: Record, image: StoredImage, place: int) -> str:
        """Write one image and what belongs to it, and return its line of the index."""
        entries = []
        for name, text in self.sample(record, image, place):
            size = image.size if text is None else len(text)
            handle.write(header(name, size))
            if text is None:
                copy(self.folder / image.path, image, handle)
            else:
                handle.write(text)
            handle.write(bytes(-size % BLOCK))
            entries.append(f"{name.partition('.')[2]} {self.size + BLOCK} {size} {name}")
            self.size += padded(size)
        return " ".join(entries)

    def keep(self) -> None:
        """Show the shard, durably; its index before it."""
        if self.file is None:
            raise RuntimeError("an empty shard is not kept")
        self.file.handle.write(bytes(END + -(self.size + END) % tarfile.RECORDSIZE))
        index = [f"{INDEX_VERSION} {len(self.lines)}", *self.lines]
        write_whole(index_of(self.path), "".join(f"{line}\n" for line in index).encode())
        self.file.keep()

    def discard(self) -> None:
        """Leave no trace; all images are where they were."""
        if self.file is not None:
            self.file.discard()


def shard_name(number: int) -> str:
    """Return the name of a shard."""
    return f"{number:05}.tar"


def index_of(shard: Path) -> Path:
    """Return where the index of *shard* is."""
    return shard.with_suffix(".idx")


def is_sharded(image: StoredImage) -> bool:
    """Say whether *image* is in a shard."""
    return ".tar/" in image.path


def to_member(image: StoredImage) -> str:
    """Return what *image* is called within a shard: as its file is, wherever that is."""
    return PurePosixPath(image.path).name


def to_staged(member: str) -> str:
    """Return where the file of an image is before it is in a shard, relative to the job's directory."""
    return f"images/{member[:2]}/{member}"


def padded(size: int) -> int:
    """Return the bytes that a member takes: a header, and its own in whole blocks."""
    return BLOCK + size + -size % BLOCK


def header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(format=tarfile.USTAR_FORMAT)


def copy(path: Path, image: StoredImage, into: IO[bytes]) -> None:
    """Copy a file that has to be *image*."""
    digest, size = hashlib.sha256(), 0
    with open_image(path) as handle:
        while piece := handle.read(PIECE):
            size += len(piece)
            if size > image.size:
                break
            digest.update(piece)
            into.write(piece)
    if size != image.size or digest.hexdigest() != image.sha256:
        raise Changed(f"{path} is not as it was")


def open_image(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}:
            raise Changed(f"{path} is not there") from None
        raise


def digests(shard: Path, names: Sequence[str] | None = None) -> Iterator[tuple[str, str]]:
    """
    Yield the names of the images in a shard and their sha256, read from its bytes; blocks.

    Args:
        shard: The tar file.
        names: Those that are asked for; by default all.

    Raises:
        OSError: It cannot be read.
        tarfile.TarError: It is no whole tar file.
    """
    wanted = None if names is None else set(names)
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.name.endswith((".json", ".txt")) or (wanted is not None and member.name not in wanted):
                continue
            content = archive.extractfile(member)
            if content is not None:
                digest = hashlib.sha256()
                while piece := content.read(PIECE):
                    digest.update(piece)
                yield member.name, digest.hexdigest()


SHARD = re.compile(r"(\d{5,})\.tar")
PART = ".[0-9]*.tar.part"

FILLED_AT_ONCE = 100
"""Requests that are copied with one hop to a thread."""
MOVED_AT_ONCE = 1_000
"""Requests that the store is told of at once; it takes them in one commit."""


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


async def pack(store: JobStore, folder: Path, *, executor: Executor, limits: Limits | None = None) -> Packed:
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

    store: JobStore
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
            await asyncio.gather(*(self.store.set_paths(*entry) for entry in entries[start : start + MOVED_AT_ONCE]))
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
