"""Measures the process that it runs in: time, CPU, peak memory, and how late its event loop comes."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from pathlib import Path
from typing import Self

__all__ = ["Gauge"]

TICK = 0.001
"""Seconds between two looks at the event loop."""
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
"""Source: proc_pid_clear_refs(5)."""


class Gauge:
    """
    Measures what happens inside its block.

    Attributes:
        wall: Seconds.
        cpu: Seconds of this process, user and system, all threads.
        memory: Bytes by which the peak of the resident set rose above what it was.
        stall: The longest time by which a timer came late, in seconds; None if nobody looked.
    """

    def __init__(self, *, ticks: bool) -> None:
        self.ticks = ticks
        self.wall = self.cpu = 0.0
        self.memory = self.idle = 0
        self.stall: float | None = None
        self.ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        # Garbage of the imports would be collected in the middle; what is made from now on is collected as ever.
        gc.collect()
        gc.freeze()
        Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
        self.idle = resident("VmRSS")
        if self.ticks:
            self.stall = 0.0
            self.ticker = asyncio.create_task(self.tick())
            await asyncio.sleep(0)
        self.cpu, self.wall = cpu_time(), time.perf_counter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End."""
        self.wall, self.cpu = time.perf_counter() - self.wall, cpu_time() - self.cpu
        self.memory = resident("VmHWM") - self.idle
        if self.ticker is not None:
            await asyncio.sleep(TICK)  # so that the last stall is seen
            self.ticker.cancel()

    async def tick(self) -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            self.stall = max(self.stall or 0.0, time.perf_counter() - due)

    @property
    def reading(self) -> dict[str, float]:
        """What was measured, by name."""
        found = {"wall": self.wall, "cpu": self.cpu, "memory": float(self.memory)}
        return found if self.stall is None else {**found, "stall": self.stall}


def cpu_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident(name: str) -> int:
    """Return a line of the process's status, in bytes."""
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
