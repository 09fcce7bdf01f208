"""
One shard: a plain tar file of samples, which `webdataset`, `datasets` and every tar program read.

A sample is an image, what is known of it as JSON, and its prompt as text: `key.png`, `key.json`, `key.txt`; the images
of a request with several are `key-1`, `key-2`, … The same samples give the same bytes: no times, no owners. Beside
`00000.tar` lies `00000.idx`, from which a reader, NVIDIA DALI's too, finds a sample without reading those before it.

Source: POSIX.1-1988 ustar; the WebDataset format; DALI's index, version 1.2.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import attrs

from burncloud_images.bulk.outputs.jsontext import to_line, well_formed
from burncloud_images.bulk.outputs.metadata import to_row
from burncloud_images.bulk.outputs.wholefile import WholeFile, write_whole
from burncloud_images.bulk.records import Record, StoredImage
from burncloud_images.disk import PIECE

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
