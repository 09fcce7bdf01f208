"""
Files that appear whole or not at all, JSON text that every reader accepts, and one pass over a job's requests.

Rule 1: a lone surrogate, which UTF-8 cannot encode and strict parsers refuse, becomes U+FFFD.
Rule 2: a line contains no character at which some reader splits lines, so one value is one line.
Rule 3: a script contains nothing that ends a `<script>` element or begins a comment.

Requests come in batches. Each batch goes to a thread once, where all writers take it, so memory holds one batch and the
event loop only hands it over.

Source: RFC 8259 §8; HTML §4.12.1.3, restrictions for contents of script elements.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Generic, Protocol, Self, TypeVar

import attrs

from burncloud_images.bulk.folder_descriptors import NEW, opened
from burncloud_images.disk import DEFAULT_MODE, finish_whatever_happens, run, sync_file, sync_folder
from burncloud_images.errors import StorageError


@attrs.frozen
class AtomicFile:
    """
    A file that is written under a hidden name until it is whole; everything blocks.

    The hidden name is always the same, so the next run overwrites what a killed run left.
    """

    path: Path
    handle: IO[bytes]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Begin a file; an earlier one of this name stays until this one is whole."""
        part = hidden(path)
        with opened(path.parent) as folder:
            remove(folder, part)
            descriptor = os.open(part, NEW, DEFAULT_MODE, dir_fd=folder)
        return cls(path, os.fdopen(descriptor, "w+b"))

    def sync(self) -> None:
        """Write everything to the disk and close the file, which stays hidden."""
        self.handle.flush()
        sync_file(self.handle.fileno())
        self.handle.close()

    def publish(self) -> None:
        """Rename the file to its name; durable once the folder is synced."""
        with opened(self.path.parent) as folder:
            os.replace(hidden(self.path), self.path.name, src_dir_fd=folder, dst_dir_fd=folder)

    def commit(self) -> None:
        """Sync and publish the file, durably."""
        self.sync()
        self.publish()
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the hidden file."""
        with suppress(OSError):  # on a full disk the buffer cannot be written, and need not be
            self.handle.close()
        with suppress(OSError), opened(self.path.parent) as folder:
            remove(folder, hidden(self.path))


def hidden(path: Path) -> str:
    return f".{path.name}.part"


def remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file whole and durably; blocks."""
    file = AtomicFile.open(path)
    try:
        file.handle.write(data)
        file.commit()
    except BaseException:
        file.discard()
        raise


SPLITTING = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
"""Control characters, which also split lines, are always escaped in JSON."""
MARKUP = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&"})


def to_line(value: object) -> bytes:
    """Return *value* as one line, with its line end."""
    return encode(f"{dump(value)}\n")


def to_pretty(value: object) -> bytes:
    """Return *value* as an indented document."""
    return encode(f"{dump(value, indent=2)}\n")


def to_script(value: object) -> str:
    """Return *value* as text that is valid in JavaScript, also within HTML."""
    return well_formed(dump(value).translate(MARKUP))


def dump(value: object, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=to_text)
    return text.translate(SPLITTING) if not text.isascii() else text


def to_text(value: object) -> str:
    """Return the text of a value that JSON does not support; a time as in RFC 3339."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return well_formed(text).encode()


def well_formed(text: str) -> str:
    """Return *text* with each lone surrogate replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def plain(value: object) -> object:
    """Return a caller's value as JSON types; NaN, infinities and other types become text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(name): plain(part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(part) for part in value]
    return to_text(value)


T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

BATCH = 500
"""Requests per batch; with the longest prompts some megabytes."""


class RowWriter(Protocol[T_contra]):
    """Writes an output from all rows; everything blocks, and raises OSError if the disk fails."""

    def add(self, rows: Sequence[T_contra], /) -> None:
        """Add the next rows, in order."""

    def commit(self) -> None:
        """Publish what was written, durably."""

    def discard(self) -> None:
        """Remove what was written; files of an earlier run stay."""


@attrs.define
class LinesFile(Generic[T]):
    """
    Writes JSON Lines.

    Attributes:
        describe: Returns the objects for some rows.
        is_optional: Whether no file is written when there are no rows.
    """

    path: Path
    describe: Callable[[Sequence[T]], Iterable[object]]
    is_optional: bool = False
    file: AtomicFile | None = None

    def add(self, rows: Sequence[T], /) -> None:
        self.open().handle.writelines(map(to_line, self.describe(rows)))

    def commit(self) -> None:
        if self.file is None and self.is_optional:
            self.path.unlink(missing_ok=True)
        else:
            self.open().commit()

    def discard(self) -> None:
        if self.file is not None:
            self.file.discard()

    def open(self) -> AtomicFile:
        self.file = self.file or AtomicFile.open(self.path)
        return self.file


async def batches(rows: AsyncIterator[T], most: int = BATCH) -> AsyncIterator[list[T]]:
    """Yield lists of up to *most*."""
    batch: list[T] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == most:
            yield batch
            batch = []
    if batch:
        yield batch


async def write_rows(rows: AsyncIterator[T], writers: Sequence[RowWriter[T]], executor: Executor) -> None:
    """
    Add all *rows* to all *writers*, and commit these.

    Cancellation and errors leave no unfinished files.
    """

    def add(batch: Sequence[T]) -> None:
        for writer in writers:
            writer.add(batch)

    def commit() -> None:
        for writer in writers:
            writer.commit()

    def discard() -> None:
        for writer in writers:
            writer.discard()

    try:
        async for batch in batches(rows):
            await finish_whatever_happens(run(executor, add, batch))
        await finish_whatever_happens(run(executor, commit))
    except BaseException:
        await finish_whatever_happens(run(executor, discard))
        raise


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """
    Raise a StorageError that names the file in place of an OSError.

    Raises:
        StorageError: The disk failed.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        path = folder / (error.filename2 or error.filename or "")
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from None
