"""The time that a stage of a request may take: cheap to start anew, because most stages end long before it does."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["StageTimer"]


class StageTimer:
    """
    An `asyncio.timeout` whose end can be put off at next to no cost.

    The event loop's own is cancelled and set anew each time, of which a small request would need a dozen. Here the loop
    holds one alarm, and when it rings early because the end was put off, it is set again.
    """

    def __init__(self) -> None:
        self.timeout = asyncio.timeout(None)
        self.end: float | None = None
        self.alarm: asyncio.TimerHandle | None = None

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

    def allow(self, seconds: float | None) -> None:
        """Start the time of a stage, in seconds of the event loop; None stops it."""
        if seconds is None:
            self.end = None
            return
        loop = asyncio.get_running_loop()
        self.end = loop.time() + seconds
        if self.alarm is not None and self.end < self.alarm.when():
            self.silence()
        if self.alarm is None:
            self.alarm = loop.call_at(self.end, self.ring)

    def ring(self) -> None:
        """End the stage, unless its end was put off."""
        self.alarm = None
        if self.end is None or self.timeout.expired():
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self.end:
            self.alarm = loop.call_at(self.end, self.ring)
        else:
            self.timeout.reschedule(loop.time())

    def silence(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
