"""A file that appears under its name whole and durably, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import attrs

from burncloud_images.transport.files import default_mode, place
from burncloud_images.transport.writers import sync_folder

__all__ = ["WholeFile", "write_whole"]


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
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return cls(path, os.fdopen(descriptor, "w+b"))

    def seal(self) -> None:
        """Bring all of it to the disk; it is whole now, and still hidden."""
        self.handle.flush()
        os.fchmod(self.handle.fileno(), default_mode())
        os.fsync(self.handle.fileno())
        self.handle.close()

    def show(self) -> None:
        """Give a sealed file its name. Durable once the folder is synced, which one call can do for many files."""
        place(hidden(self.path), self.path, overwrite=True)

    def keep(self) -> None:
        """Seal and show it, durably."""
        self.seal()
        self.show()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Leave no trace of it."""
        with suppress(OSError):  # a full disk: what is buffered cannot be written, and need not be
            self.handle.close()
        hidden(self.path).unlink(missing_ok=True)


def hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file, durably; blocks."""
    file = WholeFile.open(path)
    try:
        file.handle.write(data)
        file.keep()
    except BaseException:
        file.discard()
        raise
