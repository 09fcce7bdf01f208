"""Jobs on a stage: opened, run, and judged by the ledger."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from faults.stage import CANARY, Stage, World

from burncloud_images import AsyncImagesClient, bulk
from burncloud_images.bulk import Job, JobEvent, JobOptions, RequestRecord, RequestState, RunReport
from burncloud_images.emulator.ledger import LedgerEntry

PATIENCE = 20.0
"""Seconds in which a process has to end that is to end."""


async def run_job(
    stage: Stage,
    client: AsyncImagesClient,
    source: object = None,
    *,
    begin: Callable[[Job], object] | None = None,
    watch: Callable[[JobEvent], object] | None = None,
    add: Mapping[str, Any] | None = None,
    opening: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    **options: Any,
) -> RunReport:
    """Open the job of a stage, add a list or requests, run it, close it."""
    settings = JobOptions(**{"concurrency": 4, "room": 0, **options})
    given = {"clock": stage.clock, **(opening or {})}
    async with Job.open(folder or stage.folder / "out", **given) as job:
        if source is not None:
            await job.add(source, **(add or {}))  # type: ignore[arg-type]
        if begin is not None:
            begin(job)
        report = await job.run(client, settings, watch)
    stage.output.append(repr(report))
    stage.seen.append(report.stopped)
    return report


async def records(stage: Stage, folder: Path | None = None) -> list[RequestRecord]:
    """Return what a job knows."""
    async with Job.open(folder or stage.folder / "out", clock=stage.clock) as job:
        found = [record async for record in job.records()]
    stage.output.extend(repr(record) for record in found)
    return found


async def problems(stage: Stage, folder: Path | None = None) -> list[bulk.BadRow]:
    """Return the lines that are no requests."""
    async with Job.open(folder or stage.folder / "out", clock=stage.clock) as job:
        found = [problem async for problem in job.store.bad_rows()]
    stage.output.extend(repr(problem) for problem in found)
    return found


def requests_to(worlds: Iterable[World]) -> list[LedgerEntry]:
    """Return what arrived at the emulators."""
    return [entry for world in worlds if world.emulator for entry in world.emulator.ledger.requests]


async def judge(stage: Stage, folder: Path | None = None) -> Counter[RequestState]:
    """Compare what a job knows with the ledger, and return how many requests are in each state."""
    found = {record.key: record for record in await records(stage, folder)}
    entries = requests_to(stage.worlds)
    billed = Counter(entry.idempotency_key for entry in entries if entry.billed)
    stage.posts, stage.billed = len(entries), billed.total()
    stage.double = billed.total() - len(billed)
    lost = [key for key in billed if key not in found or not accounts_for(found[key], folder or stage.folder / "out")]
    stage.lost = len(lost)
    assert not stage.double, f"{stage.double} were bought twice"
    assert not lost, f"{lost} are billed and nobody tells"
    return Counter(record.state for record in found.values())


def accounts_for(record: RequestRecord, folder: Path) -> bool:
    """Whether a billed request is where it belongs, with its bytes."""
    if record.state is RequestState.DONE:
        there = [image for image in record.images if (folder / image.path).stat().st_size == image.size]
        return len(there) == record.wanted
    missing = record.failure is not None and record.failure.error == "MissingImageError"
    return record.state in {RequestState.IN_DOUBT, RequestState.RECEIVED, RequestState.FAILED} and not missing


@attrs.define
class Program:
    """
    The program in a process of its own.

    Attributes:
        process: The process.
        said: What it has said so far, on either stream.
    """

    process: asyncio.subprocess.Process
    said: bytearray = attrs.field(factory=bytearray)

    async def listen(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while piece := await stream.read(65_536):
            self.said += piece

    async def end(self) -> None:
        """Wait for its end, and a little only."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def program(stage: Stage, world: World, *arguments: str) -> AsyncIterator[Program]:
    """Run the program; what it says is kept."""
    environment = {**os.environ, "BURNCLOUD_API_KEY": CANARY, "BURNCLOUD_API_BASE_URL": world.base_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "burncloud_images", *arguments),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    found = Program(process)
    async with asyncio.TaskGroup() as group:
        for stream in (process.stdout, process.stderr):
            group.create_task(found.listen(stream))
        try:
            yield found
        finally:
            await found.end()
    stage.output.append(found.said.decode(errors="replace"))
    stage.seen.append(f"exit code {process.returncode}")
    gc.collect()  # the loop's watcher of the child ends a moment after the child
