"""
Shards: plain tar files of samples, which `webdataset`, `datasets` and every tar program read.

A sample is an image, its metadata as JSON and its prompt as text: `key.png`, `key.json`, `key.txt`; the images of a
request with several are `key-1`, `key-2`, … The same samples give the same bytes, as no times or owners are stored.

Images move from their files into shards, and none is lost or stored twice, wherever the process is killed:

Rule 1: an image is a whole and durable file before it goes into a shard.
Rule 2: the store is updated once the shard is whole and durable, and the files are removed after that.
Rule 3: shards are written one after the other, so only the last can be one that the store does not know whole.
Rule 4: they are filled in the order of the requests, so the same requests give the same shards. An unfinished request
holds up those behind it; a shard is closed when it is full, or when no request is unfinished.

Source: POSIX.1-1988 ustar; the WebDataset format.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.folder_descriptors import opened
from burncloud_images.bulk.image_store import FINAL
from burncloud_images.bulk.outputs.metadata import to_row
from burncloud_images.bulk.outputs.output_files import AtomicFile, batches, storage_errors, to_line, well_formed
from burncloud_images.bulk.records import UNFINISHED, RequestRecord, RequestState, StoredImage
from burncloud_images.disk import PIECE, finish_whatever_happens, run

BLOCK = 512
END = 2 * BLOCK
"""Bytes of zeros at the end of a tar file, which is then padded to `tarfile.RECORDSIZE`."""


@attrs.frozen(kw_only=True)
class ShardLimits:
    """
    When a shard is full.

    Attributes:
        size: Bytes of the tar file. A request whose images are larger has a shard for itself.
    """

    size: int = 512 * 1024 * 1024
    samples: int = 10_000


class ImageChanged(Exception):  # noqa: N818 (never leaves the package)
    """An image that is to go into a shard is missing, or is not as the store knows it."""


@attrs.define
class ShardWriter:
    """
    A shard that is being filled; everything blocks.

    Attributes:
        number: Of the shard, from 0.
        moved: The images in it by the key of their request, with their new paths.
    """

    folder: Path
    number: int
    limits: ShardLimits
    moved: dict[str, tuple[StoredImage, ...]] = attrs.field(factory=dict)
    samples: int = 0
    file: AtomicFile | None = None
    archive: tarfile.TarFile | None = None

    @property
    def path(self) -> Path:
        """The tar file."""
        return self.folder / shard_name(self.number)

    @property
    def size(self) -> int:
        """Bytes of the tar file so far."""
        return self.archive.offset if self.archive is not None else 0

    def has_room(self, record: RequestRecord) -> bool:
        """Return whether the images of *record* fit."""
        if not self.moved:
            return True
        members = [member for place, image in enumerate(record.images) for member in self.sample(record, image, place)]
        size = self.size + sum(padded(size) for _, size, _ in members) + END
        return size <= self.limits.size and self.samples + len(record.images) <= self.limits.samples

    @property
    def is_full(self) -> bool:
        """Whether no request fits any more."""
        return self.samples >= self.limits.samples or self.size + END >= self.limits.size

    def add(self, record: RequestRecord) -> None:
        """
        Add the images of *record*, all or none.

        Raises:
            ImageChanged: One of them is not as the store knows it.
        """
        archive, handle = self.open()
        before = archive.offset
        try:
            for place, image in enumerate(record.images):
                self.write_sample(archive, record, image, place)
        except ImageChanged:
            handle.seek(before)
            handle.truncate()
            archive.offset = before
            raise
        finally:
            archive.getmembers().clear()  # else the headers of all members stay in memory
        self.samples += len(record.images)
        self.moved[record.key] = tuple(self.rename(image) for image in record.images)

    def open(self) -> tuple[tarfile.TarFile, IO[bytes]]:
        self.file = self.file or AtomicFile.open(self.path)
        self.archive = self.archive or tarfile.TarFile(
            fileobj=self.file.handle, mode="w", format=tarfile.USTAR_FORMAT, copybufsize=PIECE
        )
        return self.archive, self.file.handle

    def sample(self, record: RequestRecord, image: StoredImage, place: int) -> list[tuple[str, int, bytes | None]]:
        """Return the name, the size and the text of each member; None is the text of the image itself."""
        name = to_member(image)
        stem = PurePosixPath(name).stem
        row = to_row(record, self.rename(image), place)
        texts = {f"{stem}.json": to_line(row), f"{stem}.txt": well_formed(str(row["prompt"])).encode()}
        return sorted([(name, image.size, None), *((name, len(text), text) for name, text in texts.items())])

    def rename(self, image: StoredImage) -> StoredImage:
        return attrs.evolve(image, path=f"{shard_name(self.number)}/{to_member(image)}")

    def write_sample(self, archive: tarfile.TarFile, record: RequestRecord, image: StoredImage, place: int) -> None:
        for name, size, text in self.sample(record, image, place):
            member = tarfile.TarInfo(name)
            member.size = size
            if text is not None:
                archive.addfile(member, io.BytesIO(text))
                continue
            with open_image(self.folder / image.path, image) as reader:
                archive.addfile(member, reader)
                reader.check()

    def commit(self) -> None:
        """Close the tar file and give it its name, durably."""
        if self.file is None or self.archive is None:
            raise RuntimeError("an empty shard is not kept")
        self.archive.close()
        self.file.commit()

    def discard(self) -> None:
        """Remove the unfinished file; all images are where they were."""
        if self.file is not None:
            self.file.discard()


def shard_name(number: int) -> str:
    return f"{number:05}.tar"


def is_sharded(image: StoredImage) -> bool:
    """Return whether *image* is in a shard."""
    return ".tar/" in image.path


def to_member(image: StoredImage) -> str:
    """Return the name of *image* within a shard, which is that of its file."""
    return PurePosixPath(image.path).name


def to_staged(member: str) -> str:
    """Return the path of an image's file before it is in a shard, relative to the job's directory."""
    return f"images/{member[:2]}/{member}"


def padded(size: int) -> int:
    """Return the bytes that a member takes: a header, and its content in whole blocks."""
    return BLOCK + size + -size % BLOCK


@attrs.define
class VerifiedImageReader:
    """Reads the file of an image, and raises `ImageChanged` if it is not that image."""

    handle: IO[bytes]
    image: StoredImage
    digest: Any = attrs.field(factory=hashlib.sha256)

    def read(self, size: int = -1, /) -> bytes:
        piece = self.handle.read(size)
        if len(piece) < size:
            raise ImageChanged(f"{self.image.path} is shorter than it was")
        self.digest.update(piece)
        return piece

    def check(self) -> None:
        """Check the whole file, once it was read to the size of the image."""
        if self.handle.read(1) or self.digest.hexdigest() != self.image.sha256:
            raise ImageChanged(f"{self.image.path} is not as it was")


@contextmanager
def open_image(path: Path, image: StoredImage) -> Iterator[VerifiedImageReader]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}:
            raise ImageChanged(f"{path} is missing") from None
        raise
    with os.fdopen(descriptor, "rb") as handle:
        yield VerifiedImageReader(handle, image)


def digests(shard: Path, names: Sequence[str] | None = None) -> Iterator[tuple[str, str]]:
    """
    Yield the names of the images in a shard and their sha256, read from its bytes; blocks.

    Raises:
        OSError: It cannot be read.
        tarfile.TarError: It is not a whole tar file.
    """
    wanted = None if names is None else set(names)
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.name.endswith((".json", ".txt")) or (wanted is not None and member.name not in wanted):
                continue
            if member.isfile():
                yield member.name, digest(archive, member)


def digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Return the sha256 of a file in *archive*, in hex; blocks."""
    content = cast("tarfile.ExFileObject", archive.extractfile(member))
    return hashlib.file_digest(content, "sha256").hexdigest()


SHARD = re.compile(r"(\d{5,})\.tar")
PART = ".[0-9]*.tar.part"

FILLED_AT_ONCE = 100
"""Requests that are copied with one hop to a thread."""
MOVED_AT_ONCE = 1_000
"""Requests whose paths are updated in one commit."""


async def pack(store: JobStore, folder: Path, *, executor: Executor, limits: ShardLimits | None = None) -> list[str]:
    """
    Move the images of done requests into shards.

    It can be called at any time and killed at any time; the next call resumes. Write metadata and gallery after it, as
    they contain the paths of the images.

    Args:
        store: The job, which may run meanwhile.
        folder: Its directory.
        executor: For everything that blocks.
        limits: When a shard is full.

    Returns:
        The keys of requests whose files are missing or not as the store knows them, and stay as they are.

    Raises:
        StorageError: A shard cannot be written; the images that are not in one are still files.

    Cancellation leaves no unfinished shard.
    """
    folder = await run(executor, folder.resolve)
    packer = ShardPacker(store, folder, executor, limits or ShardLimits())
    with storage_errors(folder):
        await packer.settle()
        await packer.run()
    return packer.left


@attrs.define
class ShardPacker:
    """Fills one shard after the other; `left` are the keys of requests whose images cannot be packed."""

    store: JobStore
    folder: Path
    executor: Executor
    limits: ShardLimits
    number: int = 0
    left: list[str] = attrs.field(factory=list)

    async def settle(self) -> None:
        """Finish what a run that was killed left to do for the last shard."""
        last = await run(self.executor, find_last, self.folder)
        if last is None:
            return
        self.number = last + 1
        members = await run(self.executor, read_keys, self.folder / shard_name(last))
        unknown: list[RequestRecord] = []
        known: list[RequestRecord] = []
        async for record in self.store.records({RequestState.DONE}):
            if record.key in members:
                (known if all(map(is_sharded, record.images)) else unknown).append(record)
        moved = await run(self.executor, match, self.folder, last, unknown)
        await self.set_paths(moved)
        stale = [image for record in known for image in record.images if image.path.startswith(f"{shard_name(last)}/")]
        await finish_whatever_happens(run(self.executor, self.remove, stale))

    async def run(self) -> None:
        """Fill shards with all images that are not in one."""
        shard = self.next()
        try:
            async for batch in batches(self.store.records(), FILLED_AT_ONCE):
                ended = until_unfinished(batch)
                rest = [record for record in ended if is_waiting(record) and not record.notes.is_replaced]
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

    def next(self) -> ShardWriter:
        shard = ShardWriter(self.folder, self.number, self.limits)
        self.number += 1
        return shard

    def fill(self, shard: ShardWriter, records: list[RequestRecord]) -> list[RequestRecord]:
        """Add *records* until the shard is full, and return the others; blocks."""
        for place, record in enumerate(records):
            if not shard.has_room(record):
                return records[place:]
            try:
                shard.add(record)
            except ImageChanged:
                self.left.append(record.key)
        return []

    async def close(self, shard: ShardWriter) -> None:
        """Finish a shard, update the store, and remove the files that the shard was made of."""
        await finish_whatever_happens(run(self.executor, shard.commit))
        await self.set_paths(shard.moved)

    async def set_paths(self, moved: Mapping[str, tuple[StoredImage, ...]]) -> None:
        """Store the new paths of images, and then remove their files."""
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


def until_unfinished(records: Sequence[RequestRecord]) -> Sequence[RequestRecord]:
    for place, record in enumerate(records):
        if record.state in UNFINISHED:
            return records[:place]
    return records


def is_waiting(record: RequestRecord) -> bool:
    """Return whether the images of *record* are to go into a shard."""
    return record.state is RequestState.DONE and bool(record.images) and not any(map(is_sharded, record.images))


def find_last(folder: Path) -> int | None:
    """Return the number of the last shard, and remove unfinished ones that killed runs left; blocks."""
    for part in folder.glob(PART):
        part.unlink()
    return max((int(found[1]) for path in folder.iterdir() if (found := SHARD.fullmatch(path.name))), default=None)


def read_keys(shard: Path) -> set[str]:
    """Return the keys of the requests whose images are in *shard*; none if it is not a tar file; blocks."""
    try:
        with tarfile.open(shard, "r:") as archive:
            return {found[1] for name in archive.getnames() if (found := FINAL.fullmatch(name))}
    except tarfile.TarError:
        return set()


def match(folder: Path, number: int, records: Sequence[RequestRecord]) -> dict[str, tuple[StoredImage, ...]]:
    """Return the new paths of those *records* whose images are all in a shard, byte for byte; blocks."""
    if not records:
        return {}
    shard = ShardWriter(folder, number, ShardLimits())
    names = [to_member(image) for record in records for image in record.images]
    held = dict(digests(shard.path, names))
    return {
        record.key: tuple(map(shard.rename, record.images))
        for record in records
        if record.images and all(held.get(to_member(image)) == image.sha256 for image in record.images)
    }
