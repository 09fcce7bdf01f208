"""The job's directory: its files and folders, its lock, and the disk space that is reserved for paid images."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import attrs

from burncloud_images.bulk.folder_descriptors import FOLDER, descend, numbered
from burncloud_images.disk import UNSUPPORTED, explain, find_free, make_folder, sync_folder
from burncloud_images.errors import JobError, JobLockedError, StorageError


@attrs.frozen
class JobDirectory:
    """
    The paths of a job.

    Attributes:
        root: A descriptor of it while a run holds it, so that a directory that is moved stays the one it was; None if
            it is only looked at.
        kept: What tells whether the store is still the one that was opened.
        lock_of_root: Held while a directory that was removed is made again.
    """

    path: Path = attrs.field(converter=Path)
    root: int | None = None
    kept: tuple[int, int] | None = None
    lock_of_root: threading.Lock = attrs.field(factory=threading.Lock, repr=False, eq=False)

    @property
    def store(self) -> Path:
        """What is known of the requests; it can hold signed addresses, so only its owner may read it."""
        return self.path / "job.sqlite3"

    @property
    def lock(self) -> Path:
        """Held while a run is alive."""
        return self.path / "job.lock"

    @cached_property
    def images(self) -> Path:
        """The images, in folders by the first two digits of their key."""
        return self.path / "images"

    @property
    def inputs(self) -> Path:
        """Images to upload that were handed over as bytes."""
        return self.path / "inputs"

    @property
    def rescue(self) -> Path:
        """Answers that could not be used; only its owner may read it."""
        return self.path / "rescue"

    @property
    def ballast(self) -> Path:
        """Room for what is under way when the disk is full."""
        return self.path / ".ballast"

    def image_folder(self, key: str) -> Path:
        """Return the folder of the images of one request."""
        return self.images / key[:2]

    def image_folder_names(self, key: str) -> tuple[str, str]:
        """Return the names of the folders that lead to the images of one request."""
        return self.images.name, key[:2]

    def relative(self, path: Path) -> str:
        """
        Return *path* as the store names it.

        Raises:
            ValueError: It is not in the directory.
        """
        parts = path.parts
        if parts[: len(self.path.parts)] != self.path.parts:
            raise ValueError(f"{path} is not in {self.path}")
        return "/".join(parts[len(self.path.parts) :])

    def make(self) -> None:
        """
        Make the directory; blocks.

        Raises:
            StorageError: It cannot be made or written.
        """
        try:
            make_folder(self.path)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be created: {explain(error)}.") from None
        if not self.store.exists():  # first use: sync the parent folders so the job directory survives a power cut
            for folder in self.path.parents:
                with suppress(OSError):  # one that may not be read, or cannot be synced
                    sync_folder(folder)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise StorageError(f"{self.path} cannot be written: permission denied.")

    def refuse_links(self) -> None:
        """
        Make sure that nothing is written through a link; blocks.

        Raises:
            JobError: There is one in the place of something that a job writes.
        """
        for folder, names in LINKLESS.items():
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path / folder) as entries:
                link = next((entry for entry in entries if entry.is_symlink() and names.fullmatch(entry.name)), None)
                if link is not None:
                    raise JobError(
                        f"{link.path} is a link, and a job does not write through links; put its target there."
                    )

    # --- held by a run -----------------------------------------------------------------------------------------------

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Give the directory as one that stays the same wherever it is moved to; blocks."""
        descriptor = os.open(self.path, FOLDER)
        try:
            yield attrs.evolve(self, root=descriptor)
        finally:
            os.close(descriptor)

    def with_store(self) -> Self:
        """Return the directory as one that knows its store, which is open from now on."""
        status = self.store.stat()
        return attrs.evolve(self, kept=(status.st_dev, status.st_ino))

    @contextmanager
    def folder(self, *names: str, make: bool = True) -> Iterator[int]:
        """
        Give a descriptor of a folder in the directory; blocks.

        Raises:
            OSError: It cannot be opened or made. A link in its place, or on the way to it, is not followed.
        """
        with descend(self.open_root(), *names, make=make) as descriptor:
            yield descriptor

    def open_root(self) -> int:
        if self.root is None:
            return os.open(self.path, FOLDER)
        if is_removed(self.root):
            self.make_again(self.root)
        return os.open(".", FOLDER, dir_fd=self.root)

    def make_again(self, root: int) -> None:
        """Make a directory again that was removed; what has its name since is left alone."""
        with self.lock_of_root:
            if not is_removed(root):
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
            descriptor = os.open(self.path, FOLDER | os.O_NOFOLLOW)
            os.dup2(descriptor, root, inheritable=False)
            os.close(descriptor)
            sync_folder(self.path.parent)

    @property
    def place(self) -> Path:
        """Where the directory is now."""
        if self.root is None or is_removed(self.root):
            return self.path
        with suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self.root)):
                return self.path
        try:
            return Path(f"/proc/self/fd/{self.root}").readlink()
        except OSError:  # a system that does not tell
            return self.path

    def find_loss(self) -> str | None:
        """Return, as a sentence, how the directory or its store was taken from under a run; None if it was not."""
        if self.root is None or self.kept is None:
            return None
        with suppress(OSError):
            if identify(self.store.stat()) == self.kept:
                return None
        if is_removed(self.root):
            return f"{self.path} was removed while the job ran."
        with suppress(OSError):
            if identify(os.stat(self.store.name, dir_fd=self.root)) == self.kept:
                return f"{self.path} was moved to {self.place} while the job ran; all paid images are there."
        return f"{self.store} was removed or replaced while the job ran; it is written again when the run ends."

    def find_home(self) -> Path | None:
        """Return where a store that was removed is to be written again; None if it is where it was; blocks."""
        if self.root is None or self.kept is None:
            return None
        with suppress(OSError):
            if identify(os.stat(self.store.name, dir_fd=self.root)) == self.kept:
                return None
        os.close(self.open_root())  # made again if need be
        home = self.place / self.store.name
        if not os.path.lexists(home):
            return home
        with self.folder(self.rescue.name):
            return free(self.place / self.rescue.name / self.store.name)


LINKLESS = {
    "": re.compile(
        r"images|gallery|rescue|inputs|gallery\.html|report\.json|bad_rows\.jsonl|metadata\.\w+|"
        r"job\.(lock|sqlite3(-\w+)?)|\.ballast|\d{5,}\.(tar|idx)|\..+\.part"
    ),
    "images": re.compile("[0-9a-f]{2}"),
    "gallery": re.compile(".+"),
}
"""What a job writes, by the folder: none of it may be a link."""


def is_removed(folder: int) -> bool:
    return os.fstat(folder).st_nlink == 0


def identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def free(path: Path) -> Path:
    """Return *path*, or with a number where that is taken."""
    return next(found for found in map(path.with_name, numbered(path.name)) if not os.path.lexists(found))


@attrs.define(eq=False)
class JobLock:
    """
    A lock file that is held while a run is alive; the system releases it when the process ends.

    Attributes:
        path: Its file, which holds the process's number.
        descriptor: The file while it is held.
    """

    path: Path
    descriptor: int

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """
        Take the lock, without waiting for it.

        Raises:
            JobLockedError: Another process, or another job object of this one, holds it.
            StorageError: The file cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = read_pid(descriptor)
            os.close(descriptor)
            holder = f"process {pid}" if pid else "another process"
            raise JobLockedError(f"The job in {path.parent} is being run by {holder}.", pid=pid) from None
        except OSError as error:
            os.close(descriptor)
            raise JobError(f"{path} cannot be locked: {error.strerror or error}.") from None
        lock = cls(path, descriptor)
        HELD.add(lock)
        return lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release it."""
        HELD.discard(self)
        if self.descriptor != FOREIGN:
            os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = FOREIGN  # a second call would close another's

    def leave_to_parent(self) -> None:
        """Let go of what a fork has copied: the lock is the parent's, and ends with it."""
        os.close(self.descriptor)
        self.descriptor = FOREIGN


FOREIGN = -1
"""In place of the descriptor of a lock that was released, or that another process holds."""
HELD: weakref.WeakSet[JobLock] = weakref.WeakSet()
"""A fork copies all descriptors of the process, so there is one list of them for the process."""


def leave_all_to_parent() -> None:
    for lock in list(HELD):
        if lock.descriptor != FOREIGN:
            lock.leave_to_parent()
    HELD.clear()


os.register_at_fork(after_in_child=leave_all_to_parent)


def find_holder(path: Path) -> int | None:
    """
    Return the process that holds the lock *path*; None if none does, 0 if it is not known which.

    A holder that ended without a word has left its number, so only the lock itself tells; it is tried for a moment.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        pid = read_pid(descriptor)  # none if it was let go in order, or is not yet taken
        return pid if pid is not None and is_held(descriptor) else None
    finally:
        os.close(descriptor)


def is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def allocate(descriptor: int, size: int) -> None:
    """
    Reserve space for a file; blocks.

    Raises:
        OSError: There is too little, or the file system or the system cannot do it.
    """
    if not hasattr(os, "posix_fallocate"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    os.posix_fallocate(descriptor, 0, size)


@attrs.frozen
class Ballast:
    """
    A file that reserves disk space. It is deleted when the disk is full, so that paid images still fit.

    Attributes:
        size: Bytes.
    """

    path: Path
    size: int

    def load(self) -> None:
        """
        Reserve the space; blocks.

        Raises:
            StorageError: There is too little, so nothing ought to be bought.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                self.reserve(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.drop()
            need = f"{self.size / 1024 / 1024:,.0f} MiB are reserved for paid images"
            raise StorageError(
                f"{self.path.parent} has too little space ({error.strerror or error}): {need}."
            ) from None

    def reserve(self, descriptor: int) -> None:
        """Take the space, or where the file system cannot do that, see whether it is there; blocks."""
        try:
            if self.size:
                allocate(descriptor, self.size)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            free = find_free(self.path.parent)
            if free is not None and free < self.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None

    def drop(self) -> bool:
        """Release the space, and return whether there was any; blocks."""
        with suppress(OSError):
            held = self.path.stat().st_size
            self.path.unlink()
            return held > 0
        return False
