"""
The life of one process that takes a list: warm up, measure, say what was found.

Run as `python -m benchmarks.bulk.worker TASK`; it prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bulk.task import Task
from benchmarks.gauge import Gauge, cpu_time
from burncloud_images import AsyncImagesClient, Directory, Done, GenerationRequest, bulk

KEY = "sk-emulator"


async def map_list(client: AsyncImagesClient, task: Task) -> dict[str, float]:
    """Send the calls as one would without a job: hashed and synced files, and outcomes that are looked at."""
    sink = Directory(Path(task.folder, "images"), hash=True, durable=True)
    done = 0
    async with client.map(read_requests(task), into=sink, concurrency=task.at_once) as outcomes:
        async for outcome in outcomes:
            done += isinstance(outcome, Done)
    return {"done": done}


def read_requests(task: Task) -> Iterator[GenerationRequest]:
    with task.list.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            del row["repeat"]
            yield GenerationRequest(**row)


async def run_job(client: AsyncImagesClient, task: Task) -> dict[str, float]:
    """Send the same calls as a job; `sending` is from its first row to its last, without reading and writing lists."""
    last = 0.0

    def watch(_event: bulk.JobEvent) -> None:
        nonlocal last
        last = cpu_time()

    async with bulk.Job.open(Path(task.folder, "job")) as job:
        await job.add(task.list)
        first = cpu_time()
        report = await job.run(client, bulk.JobOptions(concurrency=task.at_once), watch)
    return {
        "done": report.totals.counts[bulk.RequestState.DONE],
        "sending wall": report.elapsed,
        "sending cpu": last - first,
    }


WAYS = {"map": map_list, "job": run_job}


async def measure(task: Task) -> dict[str, float]:
    """Return what the task took."""
    async with AsyncImagesClient(KEY, task.base_url, max_connections=task.at_once) as client:
        warm = Directory(Path(task.folder, "warm"), hash=True, durable=True)
        await client.send(GenerationRequest("a lake", model="gpt-image-2", size="1024x640", quality="low"), into=warm)
        gauge = Gauge(ticks=False)
        async with gauge:
            found = await WAYS[task.way](client, task)
    return {**gauge.reading, **found}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(Task.from_json(sys.argv[1])))))
