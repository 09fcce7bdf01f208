"""
The life of one contender's process: load, warm up, measure, say what was found.

Run as `python -m benchmarks.contenders.NAME TASK`; it prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs

from benchmarks.gauge import Gauge
from benchmarks.work import Task

__all__ = ["Take", "Unable", "fingerprint", "run"]

Take: TypeAlias = Callable[[bytes], None]
"""Is given each image that a contender has as bytes."""
Make: TypeAlias = Callable[[Task, Take], AbstractAsyncContextManager["Contender"]]

STRIDE = 4093
"""Every so many bytes one is looked at; all of them would cost more than some of the work."""


class Unable(Exception):  # noqa: N818 (it is no error that a contender lacks something)
    """The contender cannot do this work, and says why."""


class Contender(Protocol):
    """One client; every method makes one request, and `number` tells them apart."""

    async def to_files(self, number: int) -> None:
        """Write the answer's images to files."""

    async def to_memory(self, number: int) -> None:
        """Have the answer's images as bytes."""

    async def stream(self, number: int) -> None:
        """Have the image of each event as bytes."""

    async def upload(self, number: int) -> None:
        """Send files by path."""

    async def download(self, number: int) -> None:
        """Fetch the answer's URLs to files, 8 at once."""

    async def small(self, number: int) -> None:
        """Have one small image as bytes."""


def fingerprint(image: bytes) -> str:
    """Return what tells whether *image* is the right one; its end holds a checksum of the rest."""
    return hashlib.sha256(b"%d:%b:%b" % (len(image), image[::STRIDE], image[-64:])).hexdigest()


def run(make: Make) -> None:
    """Do the task on the command line and print what was found."""
    task = Task.from_json(sys.argv[1])
    try:
        found = asyncio.run(measure(make, task))
    except Unable as reason:
        found = {"unable": str(reason)}
    print(json.dumps(found))


async def measure(make: Make, task: Task) -> dict[str, object]:
    """Return the reading and the images that were seen."""
    await warm_up(make, task)
    seen: dict[str, int] = {}
    kept: list[bytes] = []

    def take(image: bytes) -> None:
        mark = fingerprint(image)
        seen[mark] = seen.get(mark, 0) + 1
        if task.work.verb == "to_memory":
            kept.append(image)

    async with make(task, take) as contender:
        gauge = Gauge(ticks=task.work.ticks)
        async with gauge:
            await repeat(getattr(contender, task.work.verb), task.work.requests, task.work.at_once)
    return {**gauge.reading, "seen": seen}


async def warm_up(make: Make, task: Task) -> None:
    folder = Path(task.folder, "warm")
    folder.mkdir()
    smallest = attrs.evolve(task, work=task.work.smallest, folder=str(folder))
    async with make(smallest, lambda _image: None) as contender:
        await getattr(contender, task.work.verb)(0)


async def repeat(act: Callable[[int], Awaitable[None]], times: int, at_once: int) -> None:
    """Call *act* with each number, a few at once."""
    numbers = iter(range(times))

    async def work() -> None:
        for number in numbers:
            await act(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, times)):
            group.create_task(work())
