"""A place for one job: its directory, an emulator and a client of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from fakes import FakeClock

from burncloud_images import AsyncImagesClient, RetryPolicy, bulk
from burncloud_images.bulk import Job, JobEvent, JobOptions, RequestState, RunReport
from burncloud_images.emulator import Emulator

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
BY_URL = {"model": "dall-e-2", "size": "256x256"}
ONCE = RetryPolicy(attempts=1)


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write a JSONL input."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prompts(count: int, **fields: object) -> list[dict[str, object]]:
    """Return rows of small pictures."""
    return [
        {"id": f"row-{number}", "prompt": f"a small picture {number}", **SMALL, **fields} for number in range(count)
    ]


@attrs.define(kw_only=True)
class Workshop:
    """A place for one job, an emulator and a client of it."""

    path: Path
    emulator: Emulator
    client: AsyncImagesClient
    clock: FakeClock
    events: list[JobEvent] = attrs.field(factory=list)
    job: Job | None = None

    async def run(
        self,
        rows: Iterable[Mapping[str, object]] = (),
        *,
        begin: Callable[[Job], object] | None = None,
        watch: Callable[[JobEvent], object] | None = None,
        **options: Any,
    ) -> RunReport:
        """Open the job, add rows, run it, close it."""
        settings = JobOptions(**{"concurrency": 4, "room": 0, **options})
        async with bulk.Job.open(self.path / "out", clock=self.clock) as job:
            self.job = job
            if rows := list(rows):
                await job.add(write_rows(self.path / "rows.jsonl", rows), allow_change=True)

            def see(event: JobEvent) -> None:
                self.events.append(event)
                if watch is not None:
                    watch(event)

            if begin is not None:
                begin(job)
            return await job.run(self.client, settings, see)

    async def records(self) -> list[bulk.RequestRecord]:
        """Return what the store knows."""
        async with bulk.Job.open(self.path / "out", clock=self.clock) as job:
            return [record async for record in job.records()]

    async def states(self) -> Counter[RequestState]:
        """Return how many requests are in each state."""
        return Counter(record.state for record in await self.records())

    @property
    def posts(self) -> int:
        return len(self.emulator.ledger.requests)

    @property
    def billed(self) -> int:
        return self.emulator.ledger.billed_requests

    @property
    def billed_keys(self) -> Counter[str | None]:
        """How often each key was billed."""
        return Counter(entry.idempotency_key for entry in self.emulator.ledger.requests if entry.billed)

    @property
    def images(self) -> list[Path]:
        """The files under their final names."""
        return sorted(path for path in (self.path / "out/images").rglob("*") if path.is_file())
