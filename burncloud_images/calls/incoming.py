"""
The body of one answer on its way in: what came is held as it is, and what it says is handed on as text.

What the body is, is told by its first bytes, so they are read before anything is chosen that takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress

import attrs

from burncloud_images.calls.retention import Retention
from burncloud_images.errors import ImagesError, TooLargeError
from burncloud_images.wire.body import BodyText, Shape

TURN = 0.01
"""Seconds after which others are let run, although more is there."""


@attrs.define
class Turns:
    """Lets others run while much is there at once: what has arrived is handed on without a pause."""

    began: float = attrs.field(factory=lambda: asyncio.get_running_loop().time())

    async def give(self) -> None:
        """Let others run, if that is due."""
        loop = asyncio.get_running_loop()
        if loop.time() - self.began > TURN:
            await asyncio.sleep(0)
            self.began = loop.time()


@attrs.define(kw_only=True)
class Incoming:
    """
    One body.

    Attributes:
        chunks: Its bytes, as they arrive.
        text: Reads them.
        retention: Holds them.
        most: How many are taken.
        received: How many came.
        is_whole: Whether all of them came.
        beginning: Text that came before it was known what the body is.
        skipped: A chunk that is not held, as it may be a part of a preview, and which preview that is.
    """

    chunks: AsyncIterator[bytes]
    text: BodyText
    retention: Retention
    most: int
    received: int = 0
    is_whole: bool = False
    beginning: bytes = b""
    skipped: tuple[bytes, int] | None = None
    turns: Turns = attrs.field(factory=Turns)

    async def begin(self, check: Callable[[], None]) -> Shape:
        """
        Return what the body is, as soon as that is known.

        Args:
            check: Called while nothing but comments came; raises if that has gone on for too long.

        Raises:
            OutcomeUnknownError: It ended before.
            TooLargeError: So much came before.
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
            TooLargeError: It is larger than what is taken.
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
            await self.retention.add(chunk[:room])
            raise too_large("answer", "response", self.most)
        if self.retention.is_paused:
            self.skipped = (chunk, self.retention.pauses)
        else:
            await self.retention.add(chunk)
        return self.text.feed(chunk)

    async def add_skipped(self, *, always: bool = False) -> None:
        """Hold a chunk that came while a preview arrived after all, unless it was nothing but a part of that."""
        skipped, self.skipped = self.skipped, None
        is_part = self.retention.is_paused and skipped is not None and skipped[1] == self.retention.pauses
        if skipped is not None and (always or not is_part):
            await self.retention.add(skipped[0])

    async def drain(self) -> None:
        """Hold what is still to come of a body that is not understood; where it breaks off, what came is enough."""
        await self.add_skipped(always=True)
        self.retention.resume()
        with suppress(ImagesError):
            async for chunk in self.chunks:
                await self.accept(chunk)
                await self.turns.give()
            self.is_whole = True


def too_large(what: str, cap: str, most: int) -> TooLargeError:
    return TooLargeError(f"The {what} is larger than Limits.{cap}, {most:,} bytes.")
