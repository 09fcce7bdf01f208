"""Time, as a port: tests hand in a clock whose seconds are shorter."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where durations and the date come from."""

    def now(self) -> datetime:
        """Return the date and time, aware UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def loop_seconds(self, seconds: float) -> float:
        """Return how long *seconds* last on the event loop's own clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The computer's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def loop_seconds(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
