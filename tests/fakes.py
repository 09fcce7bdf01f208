"""Fakes at the package's ports."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class FakeClock:
    """
    A clock whose waits cost nothing and are written down.

    Attributes:
        scale: Real seconds of a stage's time per second; a small one ends stages of a busy machine as well.
        slept: Every wait that was asked for, in seconds.
        ahead: Seconds by which it is ahead of the computer's own.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.slept: list[float] = []
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def loop_seconds(self, seconds: float) -> float:
        return seconds * self.scale

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in the same loop."""
    for _ in itertools.count():
        if condition():
            return
        await asyncio.sleep(0.002)
