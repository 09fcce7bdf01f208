"""`status`, `usage` and `verify`: how far a job is, what it used and cost, and whether its images are intact."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import TypeVar

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import JobDirectory, find_holder
from burncloud_images.bulk.job_shard import SHARD
from burncloud_images.bulk.records import BOUGHT, BadRow, JobTotals, RequestRecord, RequestState, count_images
from burncloud_images.bulk.verification import Discrepancy, verify
from burncloud_images.cli.interrupts import signal_handlers
from burncloud_images.cli.job_exit import format_images, format_spending, to_json
from burncloud_images.cli.options import JsonOptions, WatchOptions
from burncloud_images.cli.outputs import print_bytes, print_json, print_lines
from burncloud_images.cli.plan import NO_MODEL
from burncloud_images.cli.reporting import (
    INTERVAL,
    Reporter,
    format_count,
    format_location,
    format_request,
)
from burncloud_images.prices.cost import DOLLAR, show_money

T = TypeVar("T")

MOST = 20
"""Rows of each kind that are printed; --json prints all."""
MINUTE = 60.0
FRAME = 1.0
"""Seconds between two updates on a terminal."""
ALWAYS = ("done", "failed", "in doubt")
CLEAR = b"\x1b[H\x1b[2J"


@attrs.frozen(kw_only=True)
class JobSnapshot:
    """
    The state of a job at one moment. Its lists may be cut after the first rows.

    Attributes:
        shard: The part of its lists that it takes; None for all.
        holder: The process that runs it; None if it is not running.
        totals: Totals; if the last run was killed, its unfinished requests count as in doubt.
        killed: Whether the last run left unfinished requests, which the next run settles.
        recent: How many requests, and images that they ask for, were sent in the last minute.
        unfetched: Paid requests whose images are not downloaded.
        refused: Requests of which the server refused single images; one more than are printed if there are more.
    """

    directory: str
    shard: str | None
    holder: int | None
    totals: JobTotals
    killed: bool
    recent: Mapping[str, int]
    failed: list[RequestRecord]
    in_doubt: list[RequestRecord]
    unfetched: list[RequestRecord]
    refused: list[RequestRecord]
    bad_rows: list[BadRow]


@asynccontextmanager
async def view(directory: str) -> AsyncIterator[JobStore]:
    """
    Open the store of a job for reading; the job may be running.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    async with await JobStore.open_for_reading(JobDirectory(Path(directory)).store) as store:
        yield store


async def print_status(
    directory: tuple[str, ...], watching: WatchOptions, output: JsonOptions, reporter: Reporter
) -> int:
    """
    Print the state of a job, or of its shards and all together, and return 0.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    if not watching.watch:
        show(await take_snapshots(directory, output), output)
        return 0
    ended = asyncio.Event()
    redraws = sys.stdout.isatty() and not output.json
    with signal_handlers({signal.SIGINT: ended.set, signal.SIGTERM: ended.set}):
        while not ended.is_set():
            snapshots = await take_snapshots(directory, output)
            if redraws:
                print_bytes(CLEAR)
            show(snapshots, output)
            if all(snapshot.holder is None for snapshot in snapshots):
                reporter.note("no run is alive")
                break
            await pause(ended, FRAME if redraws else INTERVAL)
    return 0


async def take_snapshots(directories: tuple[str, ...], output: JsonOptions) -> list[JobSnapshot]:
    return [await take_snapshot(directory, None if output.json else MOST) for directory in directories]


async def pause(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


async def take_snapshot(directory: str, most: int | None) -> JobSnapshot:
    """Return the state of a job, with at most *most* rows of each kind."""
    lock = JobDirectory(Path(directory)).lock
    async with view(directory) as store:
        holder, totals = find_holder(lock), await store.totals()
        # A run that has just begun may have sent these itself.
        holder = holder if holder is not None else find_holder(lock)
        killed = holder is None and totals.counts[RequestState.SENT] > 0
        sent = await store.recent(time.time() - MINUTE)
        doubtful = {RequestState.IN_DOUBT, RequestState.SENT} if killed else {RequestState.IN_DOUBT}
        return JobSnapshot(
            directory=directory,
            shard=str(shard) if (shard := await store.get_metadata(SHARD)) is not None else None,
            holder=holder,
            totals=count_sent_as_in_doubt(totals) if killed else totals,
            killed=killed,
            recent={"requests": len(sent), "images": sum(count_images(document) for _, document in sent)},
            failed=await first(store.records({RequestState.FAILED}), most),
            in_doubt=await first(store.records(doubtful), most),
            unfetched=await first(store.records(BOUGHT), most),
            refused=await first(store.refused(), most + 1 if most is not None else None),
            bad_rows=await first(store.bad_rows(), most),
        )


def count_sent_as_in_doubt(totals: JobTotals) -> JobTotals:
    """Return sums in which what is under way is in doubt."""
    counts = totals.counts
    doubtful = counts[RequestState.IN_DOUBT] + counts[RequestState.SENT]
    return attrs.evolve(totals, counts={**counts, RequestState.IN_DOUBT: doubtful, RequestState.SENT: 0})


async def first(items: AsyncIterator[T], most: int | None) -> list[T]:
    found: list[T] = []
    async for item in items:
        if most is not None and len(found) >= most:
            break
        found.append(item)
    return found


def show(snapshots: list[JobSnapshot], output: JsonOptions) -> None:
    """Print snapshots, and if there are several their sums."""
    together = reduce(JobTotals.plus, (snapshot.totals for snapshot in snapshots))
    found = [snapshot_to_json(snapshot) for snapshot in snapshots] if output.json else []
    if len(snapshots) == 1:
        print_json(found[0]) if output.json else print_lines(to_lines(snapshots[0]))
    elif output.json:
        print_json({"jobs": found, "total": to_json(together)})
    else:
        lines = [*(line for snapshot in snapshots for line in (*to_lines(snapshot), "")), "all together:"]
        print_lines([*lines, describe_counts(together), format_images(together)])


def to_lines(snapshot: JobSnapshot) -> Iterator[str]:
    totals = snapshot.totals
    counts = totals.counts
    shard = f", shard {snapshot.shard}" if snapshot.shard is not None else ""
    yield f"{snapshot.directory}{shard}: {to_words(snapshot.holder)}"
    yield describe_counts(totals)
    yield format_images(totals)
    requests, images = (format_count(number, name[:-1]) for name, number in snapshot.recent.items())
    yield f"in the last minute {requests} sent, for {images}"
    if snapshot.killed:
        yield "the last run was killed with unfinished requests; the next `batch` settles them"
    yield from describe_requests("failed", snapshot.failed, counts[RequestState.FAILED])
    yield from describe_requests("in doubt", snapshot.in_doubt, counts[RequestState.IN_DOUBT])
    if snapshot.holder is None:  # a run that is alive fetches them now
        yield from describe_requests("paid and not fetched", snapshot.unfetched, sum(counts[state] for state in BOUGHT))
    yield from describe_refused(snapshot.refused)
    for problem in snapshot.bad_rows:
        yield f"bad row: {format_location(problem)}: {problem.reason}"
    yield from format_more("bad row", totals.bad_rows - len(snapshot.bad_rows))


def describe_counts(totals: JobTotals) -> str:
    """Return how many requests there are in each state."""
    counts = totals.counts
    numbers = {
        "done": counts[RequestState.DONE],
        "failed": counts[RequestState.FAILED],
        "in doubt": counts[RequestState.IN_DOUBT],
        "under way": counts[RequestState.SENT],
        "accepted and not fetched": counts[RequestState.ACCEPTED],
        "paid and not fetched": counts[RequestState.RECEIVED],
        "waiting": totals.waiting,
    }
    said = [f"{number:,} {what}" for what, number in numbers.items() if number or what in ALWAYS]
    return f"{format_count(totals.requests, 'request')}: {', '.join(said)}"


def to_words(holder: int | None) -> str:
    if holder is None:
        return "no run is alive"
    return f"run by process {holder}" if holder else "run by another process"


def describe_requests(kind: str, records: list[RequestRecord], number: int) -> Iterator[str]:
    for record in records:
        failure = record.failure
        if record.state is RequestState.SENT:
            why = "It was not finished when the last run was killed."
        elif failure is not None:
            why = f"{failure.error}: {failure.message}"
        elif record.state is RequestState.RECEIVED:
            why = "The run ended before its images were downloaded."
        elif record.task is not None:
            why = f"The run ended while the API worked on it as task {record.task.id}."
        else:
            why = "The reason is unknown."
        why += expiry_of(record)
        yield f"{kind}: {format_request(record)}: {why} ({format_ids(record)})"
    yield from format_more(kind, number - len(records))


def describe_refused(records: list[RequestRecord]) -> Iterator[str]:
    for record in records[:MOST]:
        yield f"refused: {format_request(record)}: {' '.join(map(str, record.refused))} ({format_ids(record)})"
    if len(records) > MOST:
        yield "refused: more; --json lists all"


def format_ids(record: RequestRecord) -> str:
    request = f"request id {record.request_id}, " if record.request_id else ""
    return f"{request}key {record.key}"


def expiry_of(record: RequestRecord) -> str:
    """Return when the URLs of a request expire, as a sentence."""
    expires = find_expiry(record)
    return f" Its URL expires at {expires:%Y-%m-%d %H:%M} UTC." if expires is not None else ""


def find_expiry(record: RequestRecord) -> datetime | None:
    return min((link.expires_at for link in record.links if link.expires_at is not None), default=None)


def format_more(kind: str, number: int) -> Iterator[str]:
    if number > 0:
        yield f"{kind}: {number:,} more; --json lists all"


def snapshot_to_json(snapshot: JobSnapshot) -> dict[str, object]:
    return {
        "directory": snapshot.directory,
        "shard": snapshot.shard,
        "running": snapshot.holder is not None,
        "pid": snapshot.holder or None,
        "killed": snapshot.killed,
        **to_json(snapshot.totals),
        "last_minute": snapshot.recent,
        "failures": [record_to_json(record) for record in snapshot.failed],
        "doubts": [record_to_json(record) for record in snapshot.in_doubt],
        "unfetched": [record_to_json(record) for record in snapshot.unfetched],
        "refused": [record_to_json(record) for record in snapshot.refused],
        "bad_row_list": [attrs.asdict(problem) for problem in snapshot.bad_rows],
    }


def record_to_json(record: RequestRecord) -> dict[str, object]:
    sent = datetime.fromtimestamp(record.sent_at, UTC).isoformat() if record.sent_at is not None else None
    return {
        **record.identity,
        "state": str(record.state),
        "request_id": record.request_id,
        "sent_at": sent,
        "failure": attrs.asdict(record.failure) if record.failure is not None else None,
        "expires_at": expires.isoformat() if (expires := find_expiry(record)) is not None else None,
        "prompt": record.document.get("prompt"),
        "images": [image.path for image in record.images],
        "refused": [attrs.asdict(image) for image in record.refused],
    }


HEAD = ("day", "model", "requests", "images", "tokens in", "tokens out", "cost")


@attrs.define(kw_only=True)
class DailyUsage:
    """
    Usage of one model on one day.

    Attributes:
        input_tokens: As reported by the API; 0 if it reports none.
        output_tokens: As reported by the API; 0 if it reports none.
        cost: Nano-dollars, as far as prices were known.
    """

    requests: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0

    def take(self, record: RequestRecord) -> None:
        """Count one request."""
        usage = record.about.get("usage")
        tokens = usage if isinstance(usage, Mapping) else {}
        self.requests += 1
        self.images += len(record.images)
        self.input_tokens += to_number(tokens.get("input_tokens"))
        self.output_tokens += to_number(tokens.get("output_tokens"))
        self.cost += record.cost or 0

    def cells(self) -> tuple[str, ...]:
        """Return it as text."""
        numbers = (self.requests, self.images, self.input_tokens, self.output_tokens)
        return (*(f"{number:,}" for number in numbers), show_money(self.cost))


def to_number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


async def print_usage(directory: tuple[str, ...], output: JsonOptions, reporter: Reporter) -> int:
    """
    Print what a job, or its shards together, used, and return 0.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    shares: dict[tuple[str, str], DailyUsage] = {}
    total = DailyUsage()
    sums = []
    with reporter.working("counting"):
        for folder in directory:
            async with view(folder) as store:
                async for record in store.records():
                    if record.ended_at is None:
                        continue
                    day = f"{datetime.fromtimestamp(record.ended_at, UTC):%Y-%m-%d}"
                    model = str(record.document.get("model") or NO_MODEL)
                    for share in (shares.setdefault((day, model), DailyUsage()), total):
                        share.take(record)
                sums.append(await store.totals())
    totals = reduce(JobTotals.plus, sums)
    if output.json:
        days = [{"day": day, "model": model, **share_to_json(share)} for (day, model), share in sorted(shares.items())]
        print_json({"days": days, "total": share_to_json(total), "reserved": totals.reserved / DOLLAR})
    else:
        rows = [(day, model, *share.cells()) for (day, model), share in sorted(shares.items())]
        lines = (*to_table([HEAD, *rows, ("total", "", *total.cells())]), format_spending(totals.cost, totals.reserved))
        print_lines(lines)
    return 0


def share_to_json(share: DailyUsage) -> dict[str, object]:
    return {**attrs.asdict(share), "cost": share.cost / DOLLAR}


def to_table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines with aligned columns, numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            f"{cell:{width}}" if place < 2 else f"{cell:>{width}}" for place, (cell, width) in enumerate(cells)
        ).rstrip()


async def verify_images(directory: tuple[str, ...], output: JsonOptions, reporter: Reporter) -> int:
    """
    Print the images that are missing or damaged; return 0 if there are none, else 1.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    checked: dict[str, int] = {}
    found: list[tuple[str, Discrepancy]] = []
    with reporter.working("reading images"), ThreadPoolExecutor(1, "burncloud-verify") as executor:
        for folder in directory:
            async with view(folder) as store:
                async for item in verify(store, JobDirectory(Path(folder)), executor):
                    if isinstance(item, Discrepancy):
                        found.append((folder, item))
                    else:
                        checked[folder] = item
    number = sum(checked.values())
    if output.json:
        print_json({"checked": number, "problems": [discrepancy_to_json(item, folder) for folder, item in found]})
    else:
        lines = [
            f"{Path(folder) / item.image.path}: {item.problem} ({format_request(item.record)})"
            for folder, item in found
        ]
        result = f"{len(found):,} missing or damaged" if found else "all intact"
        lines.append(f"{format_count(number, 'image')} checked, {result}")
        print_lines(lines)
    return 1 if found else 0


def discrepancy_to_json(item: Discrepancy, directory: str) -> dict[str, object]:
    record = item.record
    return {
        "path": str(Path(directory) / item.image.path),
        "problem": item.problem,
        "sha256": item.image.sha256,
        **record.identity,
    }
