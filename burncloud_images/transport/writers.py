"""
Writers of image bytes: into memory, or into a hidden file that gets its name when the image is whole.

`transport.sinks` loads them with the first image: naming a sink costs next to nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

import attrs

from burncloud_images.errors import StorageError
from burncloud_images.model.media import Media, examine_bytes
from burncloud_images.results import Image, SavedImage
from burncloud_images.transport.files import (
    default_mode,
    examine_handle,
    finish_whatever_happens,
    place,
    run,
)
from burncloud_images.transport.sinks import Directory, Placement

__all__ = ["DirectoryWriter", "MemoryWriter"]

T = TypeVar("T")

BATCH = 512 * 1024
"""Bytes that are written with one hop to a thread: more would save little, and each of many images has as much."""


@attrs.define(kw_only=True)
class MemoryWriter:
    """One growing buffer, which becomes the image without being copied."""

    index: int
    buffer: io.BytesIO = attrs.field(factory=io.BytesIO)

    async def write(self, data: bytes) -> None:
        self.buffer.write(data)

    async def finish(self) -> Media:
        with self.buffer.getbuffer() as view:
            return examine_bytes(view)

    async def keep(self, media: Media) -> Image:
        return Image(**described(self.index, media), data=self.buffer.getvalue())  # type: ignore[arg-type]

    async def recover(self, most: int) -> bytes:
        with self.buffer.getbuffer() as view:
            return bytes(view[:most])

    async def discard(self) -> None:
        self.buffer.close()


def described(index: int, media: Media) -> dict[str, object]:
    return {"index": index, "media_type": media.media_type, "width": media.width, "height": media.height}


@attrs.define(kw_only=True)
class DirectoryWriter:
    """One hidden file, or what is left of it in memory when the disk failed."""

    sink: Directory
    placement: Placement
    part: Path
    batch: bytearray = attrs.field(factory=bytearray)
    handle: IO[bytes] | None = None
    size: int = 0
    rescued: bytearray | None = None
    trouble: OSError | None = None
    digest: hashlib._Hash | None = attrs.field(
        init=False, default=attrs.Factory(lambda writer: start_digest(writer.sink), takes_self=True)
    )

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.rescued is not None:
            self.rescued += data
            return
        self.batch += data
        if len(self.batch) >= BATCH:
            await self.flush(self.write_batch)

    async def flush(self, write: Callable[[bytearray], T]) -> T | None:
        """Let *write* have what has gathered; None if the disk failed, and what came is in memory."""
        batch, self.batch = self.batch, bytearray()
        try:
            return await finish_whatever_happens(run(self.placement.executor, write, batch))
        except OSError as error:
            self.trouble = error
            flushed = await run(self.placement.executor, self.read_back, self.size - len(batch))
            self.rescued = bytearray(flushed) + batch
            return None

    def write_batch(self, batch: bytearray) -> None:
        if self.handle is None:
            self.handle = open(self.part, "x+b", buffering=0, opener=self.open_part)  # noqa: SIM115
        left = memoryview(batch)
        while left:
            left = left[self.handle.write(left) :]
        if self.digest is not None:
            self.digest.update(batch)

    def open_part(self, path: str, flags: int) -> int:
        return os.open(path, flags, 0o600)

    def write_last(self, batch: bytearray) -> Media:
        """Write what is left, and look at the whole."""
        if batch:
            self.write_batch(batch)
        return Media() if self.handle is None else examine_handle(self.handle, 0, self.size)

    def read_back(self, size: int) -> bytes:
        """Return what is in the file already; a full disk can still be read."""
        if self.handle is None:
            return b""
        self.handle.seek(0)
        return self.handle.read(size)

    async def finish(self) -> Media:
        media = await self.flush(self.write_last) if self.rescued is None else None
        return examine_bytes(self.rescued or b"") if media is None else media

    async def keep(self, media: Media) -> SavedImage:
        if self.trouble is None:
            try:
                return await finish_whatever_happens(run(self.placement.executor, self.rename, media))
            except OSError as error:
                self.trouble = error
                self.rescued = bytearray(await run(self.placement.executor, self.read_back, self.size))
        await self.discard()
        image = Image(**described(self.placement.index, media), data=bytes(self.rescued or b""))  # type: ignore[arg-type]
        reason = self.trouble.strerror or str(self.trouble)
        trouble = StorageError(
            f"Image {self.placement.index + 1} cannot be stored in {self.sink.path}: {reason}.", images=[image]
        )
        trouble.errno = self.trouble.errno
        raise trouble

    def rename(self, media: Media) -> SavedImage:
        handle = self.handle
        if handle is None:
            raise FileNotFoundError("it is empty")
        sha256 = self.digest.hexdigest() if self.digest is not None else None
        os.fchmod(handle.fileno(), default_mode())
        if self.sink.durable:
            os.fsync(handle.fileno())
        path = self.choose(self.sink.path / self.sink.file_name(self.placement, media, sha256 or ""))
        if self.sink.durable:
            self.sync()
        handle.close()
        return SavedImage(
            **described(self.placement.index, media),  # type: ignore[arg-type]
            path=path,
            size=self.size,
            sha256=sha256 if self.sink.hash else None,
        )

    def sync(self) -> None:
        sync_folder(self.sink.path)

    def choose(self, wanted: Path) -> Path:
        """Give the file its name, or the next free one."""
        for path in numbered(wanted):
            try:
                place(self.part, path, overwrite=self.sink.exists == "overwrite")
            except FileExistsError:
                if self.sink.exists == "error":
                    raise
            else:
                return path
        raise FileExistsError(17, "every numbered name is taken", str(wanted))

    async def recover(self, most: int) -> bytes:
        if self.rescued is None and self.batch:
            await self.flush(self.write_batch)
        if self.rescued is not None:
            return bytes(self.rescued[:most])
        return await run(self.placement.executor, self.read_back, min(most, self.size))

    async def discard(self) -> None:
        await finish_whatever_happens(run(self.placement.executor, self.remove))

    def remove(self) -> None:
        if self.handle is not None:
            self.handle.close()
            with suppress(OSError):  # a folder that is gone or can no longer be written; the image matters more
                self.unlink()

    def unlink(self) -> None:
        self.part.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def start_digest(sink: Directory) -> hashlib._Hash | None:
    return hashlib.sha256() if sink.hash or "{sha8}" in sink.name else None


def numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
