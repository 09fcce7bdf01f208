"""Read image files: what they are, and their bytes while the file is unchanged."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from burncloud_images.disk import PIECE, opened_file, run
from burncloud_images.errors import InputChangedError
from burncloud_images.model.media import Media, examine

if TYPE_CHECKING:
    from concurrent.futures import Executor

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes and modification time in nanoseconds."""


def identify(path: Path) -> Identity:
    """
    Return what tells whether a file is still the same.

    Raises:
        OSError: It is not there, or is not a regular file: a pipe or device has no length and can be read once.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError("is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is not a regular file; open it yourself and pass what you opened")
    return identity_of(status)


def identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def examine_file(path: Path) -> tuple[Identity, Media]:
    """Return what the file at *path* is; blocks."""
    identify(path)
    with path.open("rb") as handle:
        identity = identity_of(os.fstat(handle.fileno()))
        return identity, examine_handle(handle, 0, identity[2])


def examine_handle(handle: IO[bytes], start: int, size: int) -> Media:
    """Return what the *size* bytes from *start* on are; blocks, and leaves the position anywhere."""
    probe = examine(size)
    try:
        offset, length = next(probe)
        while True:
            handle.seek(start + offset)
            offset, length = probe.send(handle.read(length))
    except StopIteration as stop:
        media: Media = stop.value
        return media


async def read_pieces(path: Path, identity: Identity, executor: Executor) -> AsyncGenerator[bytes, None]:
    """
    Yield the file's bytes in pieces of 1 MiB.

    Raises:
        InputChangedError: It is not the file that was looked at, or changed while it was read.
    """
    size = identity[2]
    try:
        async with opened_file(path, executor) as handle:
            if identity_of(await run(executor, os.fstat, handle.fileno())) != identity:
                raise InputChangedError(f"{path} changed since it was looked at.")
            left = size
            while left:
                piece = await handle.read(min(PIECE, left))
                if not piece:
                    raise InputChangedError(f"{path} shrank while it was read.")
                left -= len(piece)
                yield piece
    except OSError as error:
        raise InputChangedError(f"{path} cannot be read again: {error.strerror or error}.") from None
