"""A file that appears under its name whole and durably, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import attrs

from burncloud_images.bulk.folders import NEW, opened
from burncloud_images.disk import default_mode
from burncloud_images.files.sinks import sync_folder


@attrs.frozen
class WholeFile:
    """
    A hidden file that is still being written; everything blocks.

    Its hidden name is always the same, so what a killed run left of it is overwritten by the next.

    Attributes:
        path: The name it will have.
        handle: To write to.
    """

    path: Path
    handle: IO[bytes]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Begin a file; the one that has the name stays until this one is whole."""
        part = hidden(path)
        with opened(path.parent) as folder:
            remove(folder, part)
            descriptor = os.open(part, NEW, 0o600, dir_fd=folder)
        return cls(path, os.fdopen(descriptor, "w+b"))

    def seal(self) -> None:
        """Bring all of it to the disk; it is whole now, and still hidden."""
        self.handle.flush()
        os.fchmod(self.handle.fileno(), default_mode())
        os.fsync(self.handle.fileno())
        self.handle.close()

    def show(self) -> None:
        """Give a sealed file its name. Durable once the folder is synced, which one call can do for many files."""
        with opened(self.path.parent) as folder:
            os.replace(hidden(self.path), self.path.name, src_dir_fd=folder, dst_dir_fd=folder)

    def keep(self) -> None:
        """Seal and show it, durably."""
        self.seal()
        self.show()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Leave no trace of it."""
        with suppress(OSError):  # a full disk: what is buffered cannot be written, and need not be
            self.handle.close()
        with suppress(OSError), opened(self.path.parent) as folder:
            remove(folder, hidden(self.path))


def hidden(path: Path) -> str:
    return f".{path.name}.part"


def remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file, durably; blocks."""
    file = WholeFile.open(path)
    try:
        file.handle.write(data)
        file.keep()
    except BaseException:
        file.discard()
        raise
