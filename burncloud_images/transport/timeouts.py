"""The time that a stage of a request may take: cheap to start anew, because most stages end long before it does."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import attrs

from burncloud_images.wire.body_text import BodyTextDecoder

BEAT = 5.0
"""Seconds between two looks at the loop, so that a pause is known almost whole."""
HELD_UP = 1.0
"""Delay of an alarm, in seconds, from which on the loop counts as blocked."""
LAST_TURNS = 3
"""Turns of the loop before a stage ends: in the first a socket is read, and the task that waited for it runs after."""


class PhaseTimer:
    """
    An `asyncio.timeout` that counts only the time in which the event loop ran, and that is cheap to postpone.

    While the process is stopped or other code holds the loop, answers arrive and nobody reads them. So the loop holds
    one alarm that rings every few seconds. When it rings late, the end of the stage is put off by as much, and a stage
    never ends before the loop has read what has already arrived.

    The event loop's own timeout is cancelled and set anew each time, of which a small request would need a dozen.

    Args:
        second: How long a second of `BEAT` and `HELD_UP` lasts on the event loop's clock.
    """

    def __init__(self, second: float = 1.0) -> None:
        self.second = second
        self.timeout = asyncio.timeout(None)
        self.since = 0.0
        self.held = 0.0
        self.end: float | None = None
        self.due = 0.0
        self.turns = 0
        self.alarm: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        await self.timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.silence()
        await self.timeout.__aexit__(kind, error, trace)

    def expired(self) -> bool:
        """Say whether a stage has taken too long."""
        return self.timeout.expired()

    def elapsed(self) -> float:
        """Return how long the stage has taken, in seconds of the event loop while it ran."""
        return max(0.0, asyncio.get_running_loop().time() - self.since - self.held)

    def allow(self, seconds: float | None) -> None:
        """Start the time of a stage, in seconds of the event loop; None stops it."""
        if seconds is None:
            self.end = None
            return
        self.since, self.held, self.turns = asyncio.get_running_loop().time(), 0.0, 0
        self.end = self.since + seconds
        if self.alarm is not None and self.end < self.due:
            self.silence()
        if self.alarm is None:
            self.set_alarm(self.since)

    def set_alarm(self, now: float) -> None:
        assert self.end is not None
        self.due = min(self.end, now + BEAT * self.second)
        self.alarm = asyncio.get_running_loop().call_at(self.due, self.ring)

    def ring(self) -> None:
        """End the stage, unless its end was put off or the loop was held up."""
        self.alarm = None
        if self.end is None or self.timeout.expired():
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = now - max(self.due, self.since)
        if late > HELD_UP * self.second:
            self.end += late if self.held else late + HELD_UP * self.second  # some of it is still on its way
            self.held += late
        if now < self.end:
            self.set_alarm(now)
        elif self.turns < LAST_TURNS:
            self.turns += 1
            self.due = now
            self.alarm = loop.call_soon(self.ring)
        else:
            self.timeout.reschedule(now)

    def silence(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


LEAST_PROGRESS = 1024
"""Bytes of an answer that restart its idle time; if one byte did, a server could keep a call for ever."""


@attrs.define(kw_only=True)
class IdleTimer:
    """
    How long an answer may still pause, in the event loop's seconds.

    White space before the answer, by which some gateways show that they are alive while an image is made, starts the
    time anew as well, for as long as a first byte may take.

    Attributes:
        idle: The whole time.
        first_byte: The time for white space.
        text: Tells what the body is, until that is known; None for a file. Downloads and streams measure their own
            progress.
        least: Bytes that start the time anew.
        left: What is left of the time.
        waited: How long white space has come.
        came: Bytes since the time was started.
    """

    idle: float
    first_byte: float
    text: BodyTextDecoder | None = None
    least: int = 1
    left: float = attrs.field(default=attrs.Factory(lambda self: self.idle, takes_self=True))
    waited: float | None = 0.0
    came: int = 0

    def take(self, chunk: bytes, seconds: float) -> None:
        """Take note of *chunk*, for which so many *seconds* were waited."""
        if self.text is not None:
            self.find_least(self.text, chunk)
        self.came += len(chunk)
        self.left -= seconds
        if self.waited is not None:
            self.waited = self.waited + seconds if chunk.isspace() else None
        if self.waited is not None:
            self.left = min(self.idle, self.first_byte - self.waited)
        elif self.came >= self.least:
            self.left, self.came = self.idle, 0

    def find_least(self, text: BodyTextDecoder, chunk: bytes) -> None:
        text.feed(chunk)
        is_stream = text.has_comments if text.shape is None else text.shape == "events"
        self.least = 1 if is_stream else LEAST_PROGRESS
        self.text = text if text.shape is None else None
