"""
The bytes of an answer are held until it is certain that nothing of it can be lost.

They are dropped when an image begins where it is expected, before anything has been copied. An answer that is not
understood is kept whole: in memory while it is small, otherwise in a file, which is beside the images if these go to
files, and unnamed if they do not.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Protocol, TypeVar, runtime_checkable

import attrs

from burncloud_images.disk import finish_whatever_happens, place, run
from burncloud_images.errors import KeptAnswer
from burncloud_images.files.sinks import ImageContext, Sink
from burncloud_images.results import ImageDetails

T = TypeVar("T")
Kind = TypeVar("Kind", bound=ImageDetails)

IN_MEMORY = 1024 * 1024
MOST_IN_MEMORY = 64 * 1024 * 1024
"""Maximum bytes that are held in memory if they cannot be written to a disk."""
BATCH = 512 * 1024
"""Bytes written per call to a thread."""


@runtime_checkable
class AnswerSink(Protocol):
    """A sink that names a file for an answer that is not understood; for other sinks it is in memory or unnamed."""

    def answer_path(self, placement: ImageContext) -> Path | None:
        """Return the file for the answer, numbered if it exists; None if there is no place for it. May block."""


def find_place(sink: Sink[Kind], placement: ImageContext) -> Path | None:
    """Return the file for an answer whose images go to *sink*; None if the sink names none. May block."""
    return sink.answer_path(placement) if isinstance(sink, AnswerSink) else None


@attrs.define(kw_only=True)
class AnswerBuffer:
    """
    Holds the bytes of one answer.

    Attributes:
        executor: Writes files.
        find_path: Returns the file to keep them in; None if they go to memory or to an unnamed file. It may block.
        path: That file, once it is needed.
        size: Number of bytes that are held.
        is_on: Whether bytes are held from now on.
        waiting: Bytes in memory.
        handle: A file with all bytes before them.
        part: The temporary name of that file, if it has one.
        trouble: Whether the disk failed, so that everything stays in memory, up to `MOST_IN_MEMORY`.
        is_paused: Whether a preview is arriving, whose bytes go elsewhere.
        pauses: Number of previews so far.
    """

    executor: Executor
    find_path: Callable[[], Path | None]
    path: Path | None = None
    size: int = 0
    is_on: bool = True
    waiting: list[bytes] = attrs.field(factory=list, repr=False)
    in_memory: int = 0
    handle: IO[bytes] | None = None
    part: Path | None = None
    trouble: bool = False
    is_paused: bool = False
    pauses: int = 0

    def pause(self) -> None:
        """Note that a preview begins, whose bytes go elsewhere."""
        self.is_paused = True
        self.pauses += 1

    def resume(self) -> None:
        """Note that the preview has ended."""
        self.is_paused = False

    async def add(self, data: bytes) -> None:
        """Hold more bytes."""
        if not self.is_on or not data or (self.trouble and self.in_memory > MOST_IN_MEMORY):
            return
        self.waiting.append(data)
        self.size += len(data)
        self.in_memory += len(data)
        if self.in_memory > (IN_MEMORY if self.handle is None else BATCH) and not self.trouble:
            await self.flush()

    async def flush(self) -> None:
        """Move bytes from memory to the file; if that fails, they stay in memory."""
        try:
            await self.hop(self.write)
        except OSError:
            self.trouble = True
        else:
            self.waiting, self.in_memory = [], 0

    async def hop(self, function: Callable[..., T], *args: object) -> T:
        return await finish_whatever_happens(run(self.executor, function, *args))

    def write(self) -> None:
        """Write the bytes in memory: beside the images, or to an unnamed file if that fails."""
        data, start = b"".join(self.waiting), self.size - self.in_memory
        try:
            handle = self.handle or self.open()
            write_at(handle, data, start)
        except OSError:
            if self.part is None or self.handle is None:
                raise
            self.move(self.handle, start, data)

    def move(self, handle: IO[bytes], size: int, data: bytes) -> None:
        """Continue in an unnamed file, usually on another disk; the first file is removed after that."""
        with ExitStack() as stack:
            other = stack.enter_context(unnamed())
            write_at(other, os.pread(handle.fileno(), size, 0) + data, 0)
            stack.pop_all()
        self.remove()
        self.path, self.handle = None, other

    def open(self) -> IO[bytes]:
        """Open a temporary file beside the final one, or an unnamed file if that fails."""
        self.path = self.find_path()
        if self.path is not None:
            part = self.path.with_name(f".{self.path.name}-{os.urandom(3).hex()}.part")
            with suppress(OSError):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.handle = open(part, "x+b", buffering=0, opener=private)  # noqa: SIM115
                self.part = part
        self.handle = self.handle or unnamed()
        return self.handle

    async def drop(self) -> None:
        """Drop everything, and hold nothing more."""
        self.is_on = False
        self.waiting, self.in_memory, self.size = [], 0, 0
        if self.handle is not None:
            await self.hop(self.remove)

    def remove(self) -> None:
        handle, part, self.handle, self.part = self.handle, self.part, None, None
        if handle is not None:
            handle.close()
        if part is not None:
            part.unlink(missing_ok=True)

    async def restart(self, *pieces: bytes) -> None:
        """Start again with *pieces*, if everything before them has been dropped."""
        if not self.is_on:
            self.is_on = True
            for piece in pieces:
                await self.add(piece)

    async def keep(self, *, in_file: bool) -> KeptAnswer | None:
        """
        Return what is held, and hold nothing more.

        Args:
            in_file: Whether a small answer goes to a file as well, if the sink names one.
        """
        self.is_on = False
        if not self.size:
            return None
        if self.waiting and (self.handle is not None or (in_file and await self.hop(self.find_path) is not None)):
            await self.flush()
        return await self.hop(self.finish)

    def finish(self) -> KeptAnswer:
        """Give the file its name; if the disk has failed, return everything in memory."""
        handle, size = self.handle, self.size
        if handle is None:
            return KeptAnswer(size=size, data=b"".join(self.waiting))
        if self.waiting:
            before = os.pread(handle.fileno(), size - self.in_memory, 0)
            kept = KeptAnswer(size=size, data=b"".join([before, *self.waiting]))
            self.remove()
            return kept
        self.handle = None
        if self.part is None or self.path is None:
            kept = KeptAnswer(size=size, file=handle)
            weakref.finalize(kept, handle.close)
            return kept
        path = self.name(self.part, self.path)
        if path is None:
            path = self.part
        self.part = None
        with suppress(OSError):  # the file exists, and another folder would not be safer
            os.fsync(handle.fileno())
        handle.close()
        return KeptAnswer(size=size, path=path)

    def name(self, part: Path, wanted: Path) -> Path | None:
        """Give the file its name, or the next free one; None if that fails and it keeps its temporary name."""
        for number in range(1, 10_000):
            path = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
            try:
                place(part, path, overwrite=False)
            except FileExistsError:
                continue
            except OSError:
                return None
            return path
        return None


def unnamed() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)


def write_at(handle: IO[bytes], data: bytes, start: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(handle.fileno(), left, start)
        start, left = start + count, left[count:]


private = partial(os.open, mode=0o600)
