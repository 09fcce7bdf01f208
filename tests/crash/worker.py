"""
One run of one job, in a process that may be killed: adds twelve requests, runs them, three at once, and ends.

`python -m crash.worker '{"directory": …}'` runs it alone; `crash.fork_server` forks it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from crash import controls
from crash.failpoints import Failpoints

from burncloud_images import AsyncImagesClient, EditRequest, GenerationRequest
from burncloud_images.bulk.job import Job
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.records import JobTotals, RequestRecord
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.prices.table import PriceTable
from burncloud_images.transport.clock import SystemClock

CONCURRENCY = 3
CENT = 10_000_000
"""Nano-dollars."""
PRICE = 4 * CENT
"""Of every image."""
HURRY = 20.0
"""How much faster than real time."""


@attrs.frozen(kw_only=True)
class Plan:
    """
    What a process is to do.

    Attributes:
        directory: Of the job.
        base_url: Of the emulator.
        tag: In every request, so that no two jobs ask for the same.
        photo: The picture to edit.
        api_key: Of the emulator.
        die_at: At which failpoint to die; 0 for none.
        ending: Which failpoints count, by the end of their names.
        counts: Whether failpoints are there at all.
        policy: `hold`, `retry` or `replay`.
        control: What to break on purpose.
        ahead: Seconds by which the date is wrong.
        inspects: Whether to look only, and run nothing.
    """

    directory: str
    base_url: str = ""
    tag: str = ""
    photo: str = ""
    api_key: str = "sk-emulator"
    die_at: int = 0
    ending: str = ""
    counts: bool = True
    policy: str = "hold"
    control: str = ""
    ahead: float = 0.0
    inspects: bool = False

    @property
    def result(self) -> Path:
        """Where a run says what came of it."""
        return Path(f"{self.directory}.result")

    @property
    def point(self) -> Path:
        """Where a run says at which point it dies."""
        return Path(f"{self.directory}.point")

    @property
    def errors(self) -> Path:
        """Where its stderr goes."""
        return Path(f"{self.directory}.err")

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self))


@attrs.frozen
class Hurried(SystemClock):
    """
    A clock that runs fast where something is waited for, and real time where something may take too long.

    Attributes:
        ahead: Seconds by which its date is wrong.
    """

    ahead: float = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return super().monotonic() * HURRY

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / HURRY)


def requests(tag: str, photo: Path) -> Sequence[ImagesRequest]:
    """Return twelve requests: answers with images in them and with addresses, several at once, and an upload."""
    small: dict[str, Any] = {"model": "gpt-image-2", "size": "1024x640", "user": tag}
    linked: dict[str, Any] = {"model": "dall-e-2", "size": "256x256", "response_format": "url", "user": tag}
    return [
        GenerationRequest("a lighthouse", **small),
        GenerationRequest("a ferry", **linked),
        GenerationRequest("two gulls", n=2, **small),
        EditRequest(photo, "a beret", **small),
        GenerationRequest("a harbour", **small),
        GenerationRequest("two buoys", n=2, **linked),
        GenerationRequest("a net", **small),
        GenerationRequest("a crab", **small),
        GenerationRequest("a tide", **linked),
        GenerationRequest("an oar", **small),
        EditRequest(photo, "a scarf", n=2, **small),
        GenerationRequest("an anchor", **small),
    ]


def prices() -> PriceTable:
    """Return a table in which every image costs the same."""
    flat = {"images": {"*": {"*": PRICE / 1e9}}}
    return PriceTable.read({"date": date(2026, 11, 24), "models": {"gpt-image-2": flat, "dall-e-2": flat}})


async def run(plan: Plan, points: Failpoints) -> dict[str, Any]:
    """Open the job, add its requests, run it; return what came of it."""
    options = JobOptions(
        concurrency=CONCURRENCY,
        prices=prices(),
        on_unknown="retry" if plan.policy == "retry" else "hold",
        server_idempotency="replay" if plan.policy == "replay" else "none",
        room=65_536,
    )
    points.stage = "open"
    clock = Hurried(plan.ahead)
    async with (
        AsyncImagesClient(plan.api_key, plan.base_url, clock=clock) as client,
        Job.open(plan.directory, clock=clock, now=lambda: time.time() + plan.ahead) as job,
    ):
        points.stage = "add"
        await job.add(requests(plan.tag, Path(plan.photo)))
        points.stage = "run"
        report = await job.run(client, options)
        points.stage = "close"
    recovered = attrs.asdict(job.recovered)
    return {"stopped": report.stopped, "message": report.message, "recovered": recovered, "points": points.names}


async def inspect(plan: Plan) -> dict[str, Any]:
    """Return what the store knows, read as another process does."""
    from burncloud_images.bulk.database import JobStore

    store = await JobStore.open_for_reading(Path(plan.directory) / "job.sqlite3")
    try:
        records = [to_json(record) async for record in store.records()]
        return {"records": records, "totals": totals_to_json(await store.totals())}
    finally:
        await store.aclose()


def to_json(record: RequestRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "number": record.number,
        "state": record.state.value,
        "wanted": record.wanted,
        "cost": record.cost,
        "reserved": record.reserved,
        "images": [[image.index, image.path, image.size, image.sha256] for image in record.images],
        "links": len(record.links),
        "failure": record.failure.error if record.failure else None,
    }


def totals_to_json(totals: JobTotals) -> dict[str, Any]:
    return {
        **attrs.asdict(totals, recurse=False),
        "counts": {one.value: number for one, number in totals.counts.items()},
    }


def main(plan: Plan) -> int:
    """Do what *plan* says, and write down what came of it."""
    points = Failpoints(die_at=plan.die_at, ending=plan.ending, told=plan.point)
    controls.install(plan.control)
    if plan.counts and not plan.inspects:
        points.install()
    try:
        found = asyncio.run(inspect(plan) if plan.inspects else run(plan, points))
    except BaseException:  # noqa: BLE001 (told by the status, whatever it is)
        import traceback

        traceback.print_exc()
        return 1
    points.die_at = 0
    plan.result.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    status = main(Plan(**json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(status)
