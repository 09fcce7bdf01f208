"""
Disk access: in threads, in pieces, and writing whole files or none.

Everything that blocks runs on the executor that is passed in, never on asyncio's own: that one resolves host names too,
and a slow disk would stop the network.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
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
DEFAULT_MODE = 0o666
"""Of files that others may read too; the system takes away what the umask, or the folder, does not allow."""
UNSUPPORTED = frozenset(
    {
        *(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENODEV),
        *(errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR, errno.EROFS),
    }
)
"""How a file system says that files or folders cannot be synced: network and user-space ones do."""
# Files in them are new and of mode 0600.
LAST_FOLDERS = ("/var/tmp", "/dev/shm")  # noqa: S108  # nosec B108
LONGEST_NAME = 255
MOST_NAMES = 10_000
MOST_TRIES = 100


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
        if not is_replaceable(final):
            raise FileExistsError(errno.EEXIST, "it is not a regular file", str(final))
        part.replace(final)
        return
    try:
        os.link(part, final, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system or a system without links: the best there is
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "File exists", str(final)) from None
        part.rename(final)
    else:
        with suppress(OSError):  # the file has its final name, and a second, hidden one does no harm
            part.unlink()


def explain(error: OSError | ValueError) -> str:
    """Return why a file cannot be written, as a clause."""
    if isinstance(error, UnicodeError):
        return f"its name cannot be written in this locale's encoding, {sys.getfilesystemencoding()}; set PYTHONUTF8=1"
    return getattr(error, "strerror", None) or str(error)


def try_folder(folder: Path, name: str, room: int) -> None:
    """
    Make a folder, and see whether it can take files with names like *name*; blocks.

    Raises:
        OSError: It cannot: also if fewer than *room* bytes are free.
        ValueError: It cannot hold the name.
    """
    make_folder(folder)
    free = find_free(folder)
    if free is not None and free < room:
        raise OSError(errno.ENOSPC, f"{free:,} bytes are free, and {room:,} may be needed")
    # A user's rights alone tell little: file systems are read-only, have quotas and take no names of some kinds.
    probe = folder / shorten(f".{os.urandom(3).hex()}-{name}", ".part")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with suppress(OSError):
        probe.unlink()


def make_folder(folder: Path) -> None:
    """
    Make a folder, and those above it; blocks.

    Raises:
        OSError: It cannot be made, or something else has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError("it is not a folder") from None


def find_free(folder: Path) -> int | None:
    """Return the bytes that are free; None if the file system does not say, as some in user space."""
    try:
        status = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def is_replaceable(path: Path) -> bool:
    """Return whether a file may take this name: it is free, or that of a file or link, not of a device or pipe."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def numbered(path: Path) -> Iterator[Path]:
    """Yield *path* and its numbered variants."""
    yield path
    for number in range(2, MOST_NAMES):
        ending = f"-{number}{path.suffix}"
        yield path.with_name(shorten(path.stem, ending))


def shorten(stem: str, ending: str, longest: int = LONGEST_NAME) -> str:
    """Return *stem* and *ending*, with as much of *stem* as leaves at most *longest* bytes, and no half letters."""
    bytes_of = partial(str.encode, errors="surrogatepass")
    left = longest - len(bytes_of(ending))
    whole = bytes_of(stem)
    return (stem if len(whole) <= left else whole[:left].decode(errors="ignore")) + ending


def write_elsewhere(name: str, data: bytes, *folders: Path) -> Path | None:
    """
    Write paid bytes to a new file that only its owner can read, in the first folder that takes them; blocks.

    Args:
        name: A short file name; it gets a number where it is taken.
        data: The bytes.
        folders: Which to try first, before those for temporary files, the home and the working directory.

    Returns:
        Where they are; None if no folder took them.
    """
    for folder in (*folders, *find_folders()):
        for path in itertools.islice(numbered(folder / name), MOST_TRIES):
            try:
                write_private(path, data)
            except FileExistsError:
                continue
            except (OSError, ValueError):  # full, read-only, or a name that its encoding does not have
                break
            return path
    return None


def write_private(path: Path, data: bytes) -> None:
    with open(path, "xb", opener=partial(os.open, mode=0o600)) as handle:
        try:
            handle.write(data)
            handle.flush()
            sync_file(handle.fileno())
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise


def find_folders() -> Iterator[Path]:
    """Yield folders that can usually be written; some processes have no home, and some no temporary folder."""
    import tempfile

    for find in (tempfile.gettempdir, Path.home, Path.cwd):
        try:
            folder = Path(find())
        except (OSError, RuntimeError, ValueError):
            continue
        yield folder
    yield from map(Path, LAST_FOLDERS)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex; blocks."""
    import hashlib

    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def tolerating_unsupported() -> Iterator[None]:
    """Pass over errors that say that the file system cannot do what was asked."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def sync_file(descriptor: int) -> None:
    """
    Make a file's content durable, where the file system can; blocks.

    Raises:
        OSError: The disk fails at it.
    """
    with tolerating_unsupported():
        os.fsync(descriptor)


def sync_folder(folder: Path | int) -> None:
    """
    Make the names in a folder durable, where the file system can and the user may open the folder; blocks.

    Raises:
        OSError: The disk fails at it. The files have their names all the same, but may lose them if the power goes.
    """
    with tolerating_unsupported():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY) if isinstance(folder, Path) else folder
        try:
            os.fsync(descriptor)
        finally:
            if descriptor != folder:
                os.close(descriptor)


def write_whole(target: Path, data: bytes, overwrite: bool) -> None:  # noqa: FBT001 (called through an executor)
    part = target.with_name(f".{os.getpid()}-{id(data):x}.part")  # short: names may have 255 bytes
    try:
        with part.open("xb") as handle:
            handle.write(data)
        place(part, target, overwrite=overwrite)
    finally:
        with suppress(OSError):  # a folder that can no longer be written; what went wrong before matters more
            part.unlink(missing_ok=True)


def write_beside(target: Path, data: bytes) -> Path:
    """
    Write a file whole under a name that may be taken, or under the next that is free, and return its path; blocks.

    Raises:
        OSError: It cannot be written.
    """
    if not is_replaceable(target):
        raise FileExistsError(errno.EEXIST, "it is not a regular file", str(target))
    for path in numbered(target):
        try:
            write_whole(path, data, overwrite=False)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, "every numbered name is taken", str(target))
