"""
Async file work: reading in pieces, looking at an image, writing whole or not at all.

Everything that touches the disk runs on the executor that is passed in, never on asyncio's own: that one resolves host
names too, and a slow disk would stop the network.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from burncloud_images.errors import InputChangedError, InvalidRequestError, StorageError, Violation
from burncloud_images.model.media import EXTENSIONS, Media, examine, examine_bytes

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from aiofiles.threadpool.binary import AsyncBufferedReader

    from burncloud_images.results import Image

__all__ = [
    "PIECE",
    "Identity",
    "examine_file",
    "examine_handle",
    "finish_whatever_happens",
    "identify",
    "place",
    "read_pieces",
    "run",
    "save_image",
]

T = TypeVar("T")

PIECE = 1024 * 1024
"""Bytes that are read or written with one hop to a thread; a hop costs as much as copying this."""

Identity = tuple[int, int, int, int]
"""Device, inode, size in bytes and modification time in nanoseconds."""


def run(executor: Executor | None, function: Callable[..., T], *args: object) -> asyncio.Future[T]:
    """Call *function* in a thread of *executor*, and return what to await for its value."""
    import asyncio

    return asyncio.get_running_loop().run_in_executor(executor, partial(function, *args))


def identify(path: Path) -> Identity:
    """
    Return what tells whether a file is still the same.

    Raises:
        OSError: It is not there, or is no regular file: a pipe or device has no length and can be read once.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError("is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is no regular file; open it yourself and pass what you opened")
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


@asynccontextmanager
async def opened_file(path: Path, executor: Executor) -> AsyncIterator[AsyncBufferedReader]:
    """Give a file to read, and close it also if the caller is cancelled while a thread is opening it."""
    import asyncio

    import aiofiles

    opening = asyncio.ensure_future(aiofiles.open(path, "rb", executor=executor))
    try:
        yield await finish_whatever_happens(opening)
    finally:
        if not opening.cancelled() and opening.exception() is None:
            await finish_whatever_happens(asyncio.ensure_future(opening.result().close()))


def place(part: Path, final: Path, *, overwrite: bool) -> None:
    """
    Give a finished file its name, atomically; blocks.

    Raises:
        FileExistsError: The name is taken and *overwrite* is False.
    """
    if overwrite:
        part.replace(final)
        return
    try:
        os.link(part, final, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the best there is
        if final.exists() or final.is_symlink():
            raise FileExistsError(17, "File exists", str(final)) from None
        part.rename(final)
    else:
        part.unlink()


def default_mode() -> int:
    # The umask can only be read by setting it, which other threads would notice for a moment; Linux shows it.
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return 0o666 & ~int(line.split()[1], 8)
    except OSError:
        pass
    return 0o644


async def save_image(image: Image, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write *image* to *path*; see `Image.save`."""
    target = Path(path)
    media = examine_bytes(image.data)
    check_extension(target, media)
    try:
        await finish_whatever_happens(run(None, write_whole, target, image.data, overwrite))
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}.", images=[image]) from None
    return target


async def finish_whatever_happens(work: asyncio.Future[T]) -> T:
    """
    Wait for *work* also when cancelled, however often.

    A thread cannot be stopped, and what it leaves behind has to be known.
    """
    import asyncio

    cancellation: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancellation = cancellation or error
    if cancellation is None:
        return work.result()
    if not work.cancelled():
        work.exception()  # so that nobody complains that it was not looked at
    try:
        raise cancellation
    finally:
        del cancellation  # it holds this frame


def write_whole(target: Path, data: bytes, overwrite: bool) -> None:  # noqa: FBT001 (called through an executor)
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}-{id(data):x}.part")
    try:
        with open(part, "xb", opener=partial(os.open, mode=0o600)) as handle:
            handle.write(data)
        part.chmod(default_mode())
        place(part, target, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)


def check_extension(path: Path, media: Media) -> None:
    """
    Refuse a name whose extension is that of another image format.

    Raises:
        InvalidRequestError: It is.
    """
    named = {"jpeg": "jpg", "jpe": "jpg"}.get(path.suffix.lower().lstrip("."), path.suffix.lower().lstrip("."))
    if media.media_type and named in EXTENSIONS.values() and named != media.extension:
        message = f"{path.name} ends in .{named}, but the image is {media.media_type}; name it .{media.extension}"
        raise InvalidRequestError([Violation("path", message)])
