"""
The body of one answer as it arrives: its bytes are held as they are, and passed on as text.

The first bytes tell what the body is, so they are read before a receiver is chosen for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress

import attrs

from burncloud_images.calls.answer_buffer import AnswerBuffer
from burncloud_images.errors import ImagesError, TooLargeError
from burncloud_images.wire.body_text import BodyShape, BodyTextDecoder

TURN = 0.01
"""Seconds after which other tasks run, although more data is there."""


@attrs.define
class LoopYielder:
    """Lets other tasks run while a lot of data is there at once."""

    began: float = attrs.field(factory=lambda: asyncio.get_running_loop().time())

    async def give(self) -> None:
        """Let other tasks run, if that is due."""
        loop = asyncio.get_running_loop()
        if loop.time() - self.began > TURN:
            await asyncio.sleep(0)
            self.began = loop.time()


@attrs.define(kw_only=True)
class ResponseBody:
    """
    One body.

    Attributes:
        chunks: Its bytes, as they arrive.
        text: Reads them.
        buffer: Holds them.
        most: Maximum number of bytes that are taken.
        received: Number of bytes so far.
        is_whole: Whether all of them have arrived.
        beginning: Text that arrived before it was known what the body is.
        skipped: A chunk that is not held, since it may be part of a preview, and the number of that preview.
    """

    chunks: AsyncIterator[bytes]
    text: BodyTextDecoder
    buffer: AnswerBuffer
    most: int
    received: int = 0
    is_whole: bool = False
    beginning: bytes = b""
    skipped: tuple[bytes, int] | None = None
    turns: LoopYielder = attrs.field(factory=LoopYielder)

    async def begin(self, check: Callable[[], None]) -> BodyShape:
        """
        Return what the body is, as soon as that is known.

        Args:
            check: Called while only comments arrive; raises if that takes too long.

        Raises:
            OutcomeUnknownError: The body ended before that.
            TooLargeError: The body is larger than `Limits.response`.
        """
        while self.text.shape is None:
            chunk = await anext(self.chunks, None)
            if chunk is None:
                self.is_whole = True
                self.beginning = self.text.close()
                break
            self.beginning = await self.accept(chunk)
            if self.text.has_comments:
                check()
            await self.turns.give()
        assert self.text.shape is not None
        return self.text.shape

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """
        Yield the text.

        Raises:
            OutcomeUnknownError: It ends in the middle.
            TooLargeError: It is larger than `Limits.response`.
        """
        beginning, self.beginning = self.beginning, b""
        if beginning:
            yield beginning
        if self.is_whole:
            return
        async for chunk in self.chunks:
            yield await self.accept(chunk)
            await self.add_skipped()
            await self.turns.give()
        self.is_whole = True
        if rest := self.text.close():
            yield rest

    async def accept(self, chunk: bytes) -> bytes:
        room = self.most - self.received
        self.received += len(chunk)
        if room < len(chunk):
            await self.buffer.add(chunk[:room])
            raise too_large("answer", "response", self.most)
        if self.buffer.is_paused:
            self.skipped = (chunk, self.buffer.pauses)
        else:
            await self.buffer.add(chunk)
        return self.text.feed(chunk)

    async def add_skipped(self, *, always: bool = False) -> None:
        """Hold a chunk that arrived during a preview, unless all of it belongs to that preview."""
        skipped, self.skipped = self.skipped, None
        is_part = self.buffer.is_paused and skipped is not None and skipped[1] == self.buffer.pauses
        if skipped is not None and (always or not is_part):
            await self.buffer.add(skipped[0])

    async def drain(self) -> None:
        """Hold the rest of a body that is not understood; if it breaks off, the part that arrived is enough."""
        await self.add_skipped(always=True)
        self.buffer.resume()
        with suppress(ImagesError):
            async for chunk in self.chunks:
                await self.accept(chunk)
                await self.turns.give()
            self.is_whole = True


def too_large(what: str, cap: str, most: int) -> TooLargeError:
    return TooLargeError(f"The {what} is larger than Limits.{cap}, {most:,} bytes.")
