"""
What comes of an answer is held until it is known that nothing of it is lost.

An answer whose image is where it ought to be is let go with the first bytes of that image, before anything was copied.
One that is not understood stays whole: in memory as long as it is small, and else in a file, which lies beside the
images where these go to files, and has no name where they do not.
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
"""Bytes that are held where no disk takes them."""
BATCH = 512 * 1024
"""Bytes that are written with one hop to a thread."""


@runtime_checkable
class AnswerSink(Protocol):
    """A sink that has a place for an answer that is not understood; others have it in memory or in an unnamed file."""

    def answer_path(self, placement: ImageContext) -> Path | None:
        """Return the file for the answer; it gets a number if that is there. None if there is no place; may block."""


def find_place(sink: Sink[Kind], placement: ImageContext) -> Path | None:
    """Return the file for an answer whose images go to *sink*, if it has a place for one; may block."""
    return sink.answer_path(placement) if isinstance(sink, AnswerSink) else None


@attrs.define(kw_only=True)
class Retention:
    """
    Holds the bytes of one answer.

    Attributes:
        executor: Writes files.
        find_path: Returns the file to keep them in; None if they go to memory or to an unnamed file. It may block.
        path: That file, once it is needed.
        size: Bytes that are held.
        is_on: Whether anything is held from now on.
        waiting: Those that are in memory.
        handle: A file with all before them.
        part: Its name, if it has one.
        trouble: Whether the disk failed, so that everything stays in memory, as far as there is room.
        is_paused: Whether a preview is arriving that goes elsewhere.
        pauses: How many did.
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
        """Take note that a preview arrives, whose bytes go elsewhere."""
        self.is_paused = True
        self.pauses += 1

    def resume(self) -> None:
        """Take note that it has ended."""
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
        """Move what is in memory to the file; if no disk takes it, it stays where it is."""
        try:
            await self.hop(self.write)
        except OSError:
            self.trouble = True
        else:
            self.waiting, self.in_memory = [], 0

    async def hop(self, function: Callable[..., T], *args: object) -> T:
        return await finish_whatever_happens(run(self.executor, function, *args))

    def write(self) -> None:
        """Write what waits: beside the images, or to an unnamed file where that cannot be."""
        data, start = b"".join(self.waiting), self.size - self.in_memory
        try:
            handle = self.handle or self.open()
            write_at(handle, data, start)
        except OSError:
            if self.part is None or self.handle is None:
                raise
            self.move(self.handle, start, data)

    def move(self, handle: IO[bytes], size: int, data: bytes) -> None:
        """Go on in an unnamed file, on another disk as a rule; what is in the first one stays until that is done."""
        with ExitStack() as stack:
            other = stack.enter_context(unnamed())
            write_at(other, os.pread(handle.fileno(), size, 0) + data, 0)
            stack.pop_all()
        self.remove()
        self.path, self.handle = None, other

    def open(self) -> IO[bytes]:
        """Open a file beside the one to be, or an unnamed one where that cannot be."""
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
        """Let go of everything, and hold nothing more."""
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
        """Begin anew with *pieces*, after what came before was let go."""
        if not self.is_on:
            self.is_on = True
            for piece in pieces:
                await self.add(piece)

    async def keep(self, *, in_file: bool) -> KeptAnswer | None:
        """
        Return what is held, and hold nothing more.

        Args:
            in_file: Whether a small answer is worth a file as well, where there is a place for one.
        """
        self.is_on = False
        if not self.size:
            return None
        if self.waiting and (self.handle is not None or (in_file and await self.hop(self.find_path) is not None)):
            await self.flush()
        return await self.hop(self.finish)

    def finish(self) -> KeptAnswer:
        """Give the file its name; where the disk failed, everything is in memory again."""
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
        os.fsync(handle.fileno())
        handle.close()
        return KeptAnswer(size=size, path=path)

    def name(self, part: Path, wanted: Path) -> Path | None:
        """Give the file its name, or the next that is free; None if it keeps the one it has."""
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
