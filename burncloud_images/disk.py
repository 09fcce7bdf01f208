"""
Disk access: in threads, in pieces, and writing whole files or none.

Everything that blocks runs on the executor that is passed in, never on asyncio's own: that one resolves host names too,
and a slow disk would stop the network.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from aiofiles.threadpool.binary import AsyncBufferedReader

T = TypeVar("T")

PIECE = 1024 * 1024
"""Bytes that are read or written with one hop to a thread; a hop costs as much as copying this."""
MOST_PIECES = 1024
"""Pieces that one call writes. Source: limits.h(0p), IOV_MAX on Linux and macOS."""
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM})
"""How a file system says that folders cannot be synced: network and user-space ones do."""


def run(executor: Executor | None, function: Callable[..., T], *args: object) -> asyncio.Future[T]:
    """Call *function* in a thread of *executor*, and return what to await for its value."""
    import asyncio

    return asyncio.get_running_loop().run_in_executor(executor, partial(function, *args))


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
        work.exception()  # or asyncio logs that it was never retrieved
    try:
        raise cancellation
    finally:
        del cancellation  # it holds this frame


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


def write_pieces(descriptor: int, pieces: Sequence[bytes | bytearray]) -> None:
    """Write all *pieces*, in as few calls as the system allows; blocks."""
    for start in range(0, len(pieces), MOST_PIECES):
        some = pieces[start : start + MOST_PIECES]
        written = os.writev(descriptor, some)
        if written == sum(map(len, some)):
            continue
        left = memoryview(b"".join(some))[written:]  # the disk is about to be full
        while left:
            left = left[os.write(descriptor, left) :]


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


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex; blocks."""
    import hashlib

    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def default_mode() -> int:
    # The umask can only be read by setting it, which other threads would notice for a moment; Linux shows it.
    try:
        with Path("/proc/self/status").open("rb", buffering=0) as status:
            _, found, rest = status.read(4096).partition(b"\nUmask:")
        if found:
            return 0o666 & ~int(rest.split(maxsplit=1)[0], 8)
    except OSError:
        pass
    return 0o644


def set_default_mode(descriptor: int) -> None:
    """Let others read a file as the umask allows; a file system without modes keeps the file all the same; blocks."""
    with suppress(OSError):
        os.fchmod(descriptor, default_mode())


def sync_folder(folder: Path | int) -> None:
    """
    Make the names in a folder durable, where the file system can and the user may open the folder; blocks.

    Raises:
        OSError: The disk fails at it. The files have their names all the same, but may lose them if the power goes.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY) if isinstance(folder, Path) else folder
        try:
            os.fsync(descriptor)
        finally:
            if descriptor != folder:
                os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def write_whole(target: Path, data: bytes, overwrite: bool) -> None:  # noqa: FBT001 (called through an executor)
    part = target.with_name(f".{os.getpid()}-{id(data):x}.part")  # short: names may have 255 bytes
    try:
        with open(part, "xb", opener=partial(os.open, mode=0o600)) as handle:
            handle.write(data)
            set_default_mode(handle.fileno())
        place(part, target, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)
