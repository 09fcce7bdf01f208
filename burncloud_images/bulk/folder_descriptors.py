"""Folders by their descriptors, opened one below the other, so that no link is followed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from burncloud_images.disk import sync_file, sync_folder

NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
PRIVATE = frozenset({"rescue", "inputs"})
"""Folders that only their owner may read."""


@contextmanager
def opened(folder: Path, *names: str, make: bool = False) -> Iterator[int]:
    """
    Give a descriptor of a folder; blocks.

    Raises:
        OSError: It cannot be opened or made, or one of the names is that of a link.
    """
    with descend(os.open(folder, FOLDER | os.O_NOFOLLOW), *names, make=make) as descriptor:
        yield descriptor


@contextmanager
def descend(descriptor: int, *names: str, make: bool) -> Iterator[int]:
    """Give a descriptor of a folder below another, whose descriptor is closed."""
    try:
        for name in names:
            descriptor, above = open_below(descriptor, name, make=make), descriptor
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


def open_below(folder: int, name: str, *, make: bool) -> int:
    """Return a descriptor of the folder *name* in *folder*; it is made durably if it is not there."""
    try:
        return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, 0o700 if name in PRIVATE else 0o777, dir_fd=folder)
        sync_folder(folder)
        return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def write_new(folder: int, name: str, data: bytes) -> None:
    """
    Write a file that only its owner can read, and sync it, but not *folder*; blocks.

    Raises:
        FileExistsError: There is one of this name.
    """
    with os.fdopen(os.open(name, NEW, 0o600, dir_fd=folder), "wb") as handle:
        handle.write(data)
        handle.flush()
        sync_file(handle.fileno())


def numbered(name: str) -> Iterator[str]:
    """Yield *name*, and then with numbers, for where it is taken."""
    yield name
    for number in itertools.count(2):
        yield f"{name}.{number}"
