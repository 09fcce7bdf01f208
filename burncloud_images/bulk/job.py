"""`Job`: a directory of requests, which can be run again until all are done. Read this module first."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from burncloud_images.bulk.admission import Admission
from burncloud_images.bulk.budget import Budget, refuse_unpriced
from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import Ballast, JobDirectory, JobLock
from burncloud_images.bulk.inputs import InputOptions
from burncloud_images.bulk.inputs.ingest import add_input, add_requests
from burncloud_images.bulk.job_shard import SHARD, JobShard
from burncloud_images.bulk.measurement import reserve_unpriced
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.outputs.export import write_outputs
from burncloud_images.bulk.outputs.metadata import require
from burncloud_images.bulk.outputs.shards import pack
from burncloud_images.bulk.pace import AdaptiveConcurrency, CircuitBreaker, RateLimiter, RateWindow
from burncloud_images.bulk.records import (
    BOUGHT,
    STOP_PRECEDENCE,
    AddedRows,
    JobProgress,
    JobTotals,
    NewRequest,
    OnEvent,
    RequestFailure,
    RequestRecord,
    RequestState,
    RunReport,
    count_images,
)
from burncloud_images.bulk.recovery import AdoptedRequests, RecoveredRequests, adopt, recover
from burncloud_images.bulk.request_json import to_key
from burncloud_images.bulk.run import Run
from burncloud_images.bulk.system_uptime import SystemUptime, find_leap, read_uptime, remembered
from burncloud_images.bulk.verification import Discrepancy, find_missing, verify
from burncloud_images.calls.background import BackgroundTasks
from burncloud_images.disk import finish_whatever_happens
from burncloud_images.disk import run as in_thread
from burncloud_images.errors import Billing, InvalidRequestError, JobError, StorageError, Violation, mark
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.prices.table import PriceTable
from burncloud_images.retry import Clock
from burncloud_images.transport.clock import SystemClock

if TYPE_CHECKING:
    from burncloud_images.client import AsyncImagesClient

THREADS = 4
IMAGE_NAME = re.compile(r"([0-9a-f]{32})(?:-[0-9]+)?\.[a-z0-9]+")
MINUTE = 60.0
SLACK = 1.0
"""Seconds by which requests may differ in how long they take to the API: the first ones open connections."""
MAX_NAMED = 5


@attrs.define(kw_only=True, eq=False)
class Job:
    """
    Many requests in a directory. None is bought twice and no paid image is lost, even if the process is killed.

    Open it with `async with Job.open(path) as job`.

    Attributes:
        directory: Where everything lies.
        store: What is known of the requests.
        recovered: What an earlier run left that was killed.
    """

    directory: JobDirectory
    store: JobStore
    recovered: RecoveredRequests = attrs.field(factory=RecoveredRequests)
    clock: Clock
    now: Callable[[], float]
    uptime: Callable[[], SystemUptime | None]
    executor: Executor
    run_now: Run | None = None
    stop_requested: str | None = None
    task: asyncio.Task[RunReport] | None = None
    background: BackgroundTasks | None = None
    is_left: bool = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | Path,
        *,
        create: bool = True,
        clock: Clock | None = None,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], SystemUptime | None] = read_uptime,
    ) -> AsyncIterator[Self]:
        """
        Hold the job in the directory *path*, which is made if it is not there.

        Args:
            path: The directory.
            create: Whether a directory that holds no job becomes one.
            clock: Where durations come from; for tests.
            now: The date, in seconds since 1970; for tests.
            uptime: How long the computer is up; for tests.

        Raises:
            JobLockedError: Another run of it is alive.
            JobError: There is no job, or it cannot be read.
            StorageError: The directory cannot be written.
        """
        directory = JobDirectory(Path(path).absolute())
        executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="burncloud-job")
        async with AsyncExitStack() as stack:
            stack.callback(executor.shutdown)
            if not create and not directory.store.exists():
                raise JobError(f"There is no job in {directory.path}.")
            await in_thread(executor, directory.make)
            await in_thread(executor, directory.refuse_links)
            held = stack.enter_context(directory.held())
            stack.enter_context(JobLock.acquire(directory.lock))
            room = Ballast(directory.ballast, 0)
            store = await JobStore.open(directory.store, on_full=room.drop)
            stack.push_async_callback(store.aclose)
            directory = held.with_store()
            store.set_home(directory.find_home)
            recovered = await recover_if_needed(store, directory, executor)
            job = cls(
                directory=directory,
                store=store,
                recovered=recovered,
                clock=clock or SystemClock(),
                now=now,
                uptime=uptime,
                executor=executor,
            )
            stack.push_async_exit(partial(job.end, stack))
            yield job

    async def end(
        self,
        stack: AsyncExitStack,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """
        Make *stack* close the job, once a run in progress has ended.

        If that is not to be waited for, as its caller was cancelled, the client sees to it.
        """
        try:
            if not isinstance(error, asyncio.CancelledError):
                await self.settle()
        finally:
            run, background = self.task, self.background
            if run is not None and background is not None and not run.done():
                closing = asyncio.create_task(close_after(run, stack.pop_all()))
                background.keep(closing, close=self.leave, cancel=self.abandon)

    # --- what is asked for -------------------------------------------------------------------------------------------

    async def add(
        self,
        source: str | Path | Iterable[ImagesRequest] | AsyncIterable[ImagesRequest],
        options: InputOptions | None = None,
        *,
        defaults: Mapping[str, object] | None = None,
        allow_change: bool = False,
        replace: bool = False,
        name: str = "",
    ) -> AddedRows:
        """
        Add requests; those that the job has already stay as they are.

        Args:
            source: A file of prompts or rows, `-` for stdin, or requests themselves. Files are read as they are
                added, never whole.
            options: How a file is read.
            defaults: Fields for rows that do not have them, in addition to those of *options*.
            allow_change: Whether a file may differ from what it was when the job first read it.
            replace: Whether it may, and its rows take the place of other requests with their ids.
            name: Of requests that come from a program, as the source of their rows.

        Raises:
            InputChangedError: The file, or how it is read, changed; this run would also buy its new rows.
            InvalidRequestError: It cannot be read at all. Single bad rows are listed instead.
            JobError: The job has another shard of its lists.
        """
        options = options or InputOptions()
        await self.keep_shard(options.shard)
        if not isinstance(source, str | Path):
            takes = options.takes
            return await add_requests(self.store, source, self.directory, self.executor, name=name, takes=takes)
        options = attrs.evolve(options, defaults={**options.defaults, **(defaults or {})})
        return await add_input(self.store, source, options, self.executor, allow_change=allow_change, replace=replace)

    async def keep_shard(self, shard: JobShard | None) -> None:
        """
        Remember which part of its lists the job takes.

        Raises:
            JobError: It takes another part.
        """
        held = await self.store.get_metadata(SHARD)
        if held is None and (shard is None or not (await self.store.totals()).requests):
            if shard is not None:
                await self.store.set_metadata(SHARD, str(shard))
            return
        wanted = str(shard) if shard is not None else None
        if held != wanted:
            has = f"the shard {held} of its lists" if held is not None else "all rows of its lists"
            raise JobError(
                f"The job in {self.directory.path} takes {has}, not {f'the shard {wanted}' if wanted else 'all'}; "
                "each shard needs a folder of its own."
            )

    async def redo(self, names: Sequence[str]) -> Sequence[RequestRecord]:
        """
        Let requests be made again: the next run buys new images, which take the place of the present ones.

        The present images stay in the directory, and what they cost stays in the sums.

        Args:
            names: Ids, keys or beginnings of keys, or file names of images.

        Returns:
            The requests as they were.

        Raises:
            InvalidRequestError: One of them is not there, or is not done or failed; then none is made again.
        """
        chosen = {record.key: record for name in names for record in [await self.find(name)]}
        for record in chosen.values():
            repeat = 1
            while await self.store.get(key := to_key(record.document, repeat)) is not None:
                repeat += 1
            row = NewRequest(
                key=key,
                document=record.document,
                source=record.source,
                line=record.line,
                label=record.label,
                repeat=repeat,
            )
            await self.store.put_in_place(record.key, row)
        return tuple(chosen.values())

    async def find(self, name: str) -> RequestRecord:
        """
        Return the request that a user means.

        Raises:
            InvalidRequestError: There is none, or several, or it cannot be made again.
        """
        key = IMAGE_NAME.fullmatch(Path(name).name)
        found = await self.store.find(key[1] if key else name)
        if len(found) != 1 or found[0].notes.is_replaced:
            many = "several requests have keys that begin so" if len(found) > 1 else "no request has this id or key"
            raise InvalidRequestError([Violation(name, many)])
        if found[0].state not in {RequestState.DONE, RequestState.FAILED}:
            reason = f"its request is {found[0].state.replace('_', ' ')}, so it cannot be made again"
            raise InvalidRequestError([Violation(name, reason)])
        return found[0]

    # --- running -----------------------------------------------------------------------------------------------------

    async def run(
        self, client: AsyncImagesClient, options: JobOptions | None = None, watch: OnEvent | None = None
    ) -> RunReport:
        """
        Send the requests that wait, fetch paid images, write the outputs, and return a report.

        Args:
            client: Sends; its own retry policy holds for each call, without its deadline.
            options: How.
            watch: Is told what happens, in the event loop; it has to return soon.

        Raises:
            StorageError: There is too little room to begin.
            ConfigurationError: The client or the prices do not allow it.
            ClientClosedError: The client is closed.

        Cancellation returns at once. The run goes on in a task of the client until the requests that were sent have
        finished, as after `drain`; `AsyncImagesClient.aclose` waits for it. `abandon` gives up those, too.
        """
        await self.settle()
        self.is_left = False
        self.background = client.background
        work = asyncio.create_task(self.run_through(client, options or JobOptions(), watch))
        self.task = self.background.keep(work, close=self.leave, cancel=self.abandon)
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            self.leave()
            mark(error, self.outstanding)
            error.add_note("Requests that were sent go on; AsyncImagesClient.aclose waits for them.")
            raise
        self.task = None
        try:
            return work.result()
        finally:
            del work  # it holds the exception, which holds this frame

    async def run_through(self, client: AsyncImagesClient, options: JobOptions, watch: OnEvent | None) -> RunReport:
        """Do the work of `run`, in a task of the client."""
        require(options.metadata)
        if options.max_cost is not None:
            records = self.store.records({RequestState.PENDING, *wanted_again(options)})
            documents = ({"model": client.model, **record.document} async for record in records)
            await refuse_unpriced(options.prices, documents)
            if options.prices is not None:  # what is done at an unknown price is known to be spent, and not how much
                await reserve_unpriced(self.store, options.prices, client.model, BOUGHT | {RequestState.IN_DOUBT})
        await self.find_lost()
        adopted = await self.adopt(client, options)
        await self.store.set_metadata("running", True)
        await self.reopen(options)
        totals = await self.store.totals()
        run = await self.prepare(client, options, watch, totals)
        self.run_now = run
        if adopted.done or adopted.in_doubt:
            run.tally.note(str(adopted))
        try:
            if self.stop_requested is not None or self.is_left:
                run.stop("interrupted")
            report = await run.go()
            if run.image_store.loss is not None:
                await self.find_lost()
                report = attrs.evolve(report, totals=await self.store.totals())
            with suppress(StorageError):  # a full disk; the run itself has ended well
                await self.store.set_metadata("running", False)
                await self.find_leap()  # the clock may be set while no run is alive
        finally:
            self.run_now = None
        try:
            await self.write(options, report, run.tally.note)
        except StorageError as error:
            run.tally.note(error.message)
            if STOP_PRECEDENCE.index("disk") < STOP_PRECEDENCE.index(report.stopped):
                report = attrs.evolve(report, stopped="disk", message=error.message, error=type(error).__name__)
        return report

    @property
    def outstanding(self) -> Billing:
        """Whether requests that were sent may be billed."""
        active = self.run_now.active.values() if self.run_now is not None else ()
        return Billing.MAYBE if any(request.passage.may_be_billed for request in active) else Billing.NO

    def progress(self) -> JobProgress | None:
        """Return how far the present run is; None if there is none."""
        return self.run_now.progress() if self.run_now is not None else None

    def leave(self) -> None:
        """Start no more requests in the present run: its caller has left."""
        self.is_left = True
        if self.run_now is not None:
            self.run_now.stop("interrupted")

    async def settle(self) -> None:
        """Wait for a run that outlived its caller."""
        if self.task is not None and not self.task.done():
            self.leave()
            await asyncio.wait((self.task,))

    def drain(self) -> None:
        """Start no more requests; `run` returns when those that were sent have finished."""
        self.stop_requested = "drain"
        if self.run_now is not None:
            self.run_now.stop("interrupted")

    def abandon(self) -> None:
        """Give up the requests that were sent, too: they are listed as in doubt, with their keys."""
        self.stop_requested = "abandon"
        if self.run_now is not None:
            self.run_now.abandon()

    async def reopen(self, options: JobOptions) -> None:
        """Retry requests of earlier runs, as *options* says."""
        if states := wanted_again(options):
            await self.store.retry(states)

    async def adopt(self, client: AsyncImagesClient, options: JobOptions) -> AdoptedRequests:
        """Adopt images on the disk that belong to requests that wait, as after the loss of a store."""

        def worst_case(record: RequestRecord) -> int:
            fields = {"model": client.model, **record.document}
            return (options.prices.worst_case(fields) or 0) if options.prices is not None else 0

        try:
            return await adopt(self.store, self.directory, self.executor, worst_case, self.now)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"The images in {self.directory.path} cannot be read: {error}.") from None

    async def find_lost(self) -> None:
        """Mark done requests as failed whose images are missing. Buying them again needs consent."""
        missing = await find_missing(self.store, self.directory, self.executor)
        lost: dict[str, list[Discrepancy]] = {}
        for found in missing:
            lost.setdefault(found.record.key, []).append(found)
        for key, several in lost.items():
            first, gone = several[0], {found.image.path for found in several}
            failure = RequestFailure(
                error="MissingImageError", message=f"{first.image.path} was there, and {first.problem}."
            )
            left = [image for image in first.record.images if image.path not in gone]
            await self.store.mark_lost(key, left, failure, at=self.now())

    async def find_leap(self) -> float:
        """Return by how many seconds the clock was set forward since the last run, and remember the present time."""
        now, uptime = self.now(), self.uptime()
        leap = find_leap(await self.store.get_metadata("uptime"), now, uptime)
        await self.store.set_metadata("uptime", remembered(now, uptime))
        return leap

    async def prepare(
        self, client: AsyncImagesClient, options: JobOptions, watch: OnEvent | None, totals: JobTotals
    ) -> Run:
        """Return a run that begins where the job stands, with what was sent in the last minute still in its pace."""
        policy = client.retry
        patient = attrs.evolve(
            policy,
            deadline=None,
            task_deadline=policy.deadline if policy.task_deadline is None else policy.task_deadline,
            on_unknown="retry" if options.on_unknown == "retry" else policy.on_unknown,
            server_idempotency=options.server_idempotency,
        )
        pacer = RateLimiter(limits_of(options), self.clock, slack=SLACK)
        now = self.now() - await self.find_leap()
        sent = await self.store.recent(now - MINUTE - SLACK)
        table = (options.prices or PriceTable.listed()) if options.tokens_per_minute is not None else None
        weights = partial(weights_of, model=client.model, table=table)
        pacer.restore([(max(0.0, now - at), weights(document)) for at, document in sent])
        run = Run(
            client=client.with_options(retry=patient),
            store=self.store,
            directory=self.directory,
            options=options,
            weights=weights,
            admission=Admission(
                pacer=pacer,
                limit=AdaptiveConcurrency(options.concurrency, self.clock),
                circuit=CircuitBreaker(self.clock),
                clock=self.clock,
                patience=options.patience,
                give_up=lambda reason: run.stop("gave_up", f"Nothing succeeded for {options.patience:g} s. {reason}"),
            ),
            budget=Budget(
                max_cost=options.max_cost,
                max_images=options.max_images,
                cost=totals.cost,
                reserved=totals.reserved,
                images=totals.committed,
            ),
            totals=totals,
            watch=watch,
            clock=self.clock,
            executor=self.executor,
            now=self.now,
        )
        return run

    # --- what there is -----------------------------------------------------------------------------------------------

    async def write(self, options: JobOptions, report: RunReport, note: Callable[[str], None]) -> None:
        """Write the metadata, the report and the gallery, unless nothing has changed since they were written."""
        ended = self.now()
        state = [repr(report.totals), report.stopped, options.metadata, options.output, options.name]
        named = ("named",) if options.name is not None else ()
        names = ("gallery.html", "report.json", f"metadata.{options.metadata}", *named)
        is_whole = all((self.directory.path / name).exists() for name in names)
        if report.ended == 0 and is_whole and await self.store.get_metadata("written") == state:
            return
        is_packed = options.output == "webdataset"
        if is_packed and (left := await pack(self.store, self.directory.place, executor=self.executor)):
            note(describe_unpacked(left))
        facts = {
            "started": ended - report.elapsed,
            "ended": ended,
            "stopped": report.stopped,
            "settings": settings_of(options),
            "versions": versions(),
        }
        await write_outputs(
            self.store,
            self.directory.place,
            format=options.metadata,
            facts=facts,
            name=options.name,
            executor=self.executor,
        )
        await self.store.set_metadata("written", state)

    def verify(self) -> AsyncIterator[Discrepancy | int]:
        """Read every image, and yield those that are not what came, and how many were read so far."""
        return verify(self.store, self.directory, self.executor)

    def records(self, *states: RequestState) -> AsyncIterator[RequestRecord]:
        """Yield the requests in these states, or all, in their order."""
        return self.store.records(set(states) or None)

    def totals(self) -> Awaitable[JobTotals]:
        """Return the sums."""
        return self.store.totals()


async def close_after(run: asyncio.Task[RunReport], stack: AsyncExitStack) -> None:
    """Close what *stack* closes when *run* has ended, also if the event loop ends and cancels everything."""
    try:
        await finish_whatever_happens(run)
    finally:
        await stack.aclose()


async def recover_if_needed(store: JobStore, directory: JobDirectory, executor: Executor) -> RecoveredRequests:
    counts = (await store.totals()).counts
    if not (await store.get_metadata("running") or counts[RequestState.SENT] or counts[RequestState.LEASED]):
        return RecoveredRequests()
    recovered = await recover(store, directory, executor)
    await store.set_metadata("running", False)
    return recovered


def wanted_again(options: JobOptions) -> set[RequestState]:
    """Return which final states this run retries."""
    asked = ((options.buys_again, RequestState.IN_DOUBT), (options.retry_failed, RequestState.FAILED))
    return {state for is_asked, state in asked if is_asked}


def limits_of(options: JobOptions) -> dict[str, RateWindow]:
    named = {
        "requests": options.requests_per_minute,
        "images": options.images_per_minute,
        "tokens": options.tokens_per_minute,
    }
    return {name: RateWindow(amount, MINUTE) for name, amount in named.items() if amount is not None}


def weights_of(document: Mapping[str, object], model: str | None, table: PriceTable | None) -> dict[str, float]:
    """
    Return how many requests, images and tokens a request counts for in the rate limits.

    Args:
        document: The request.
        model: The model of requests that name none.
        table: States the maximum tokens of a request; None if tokens are not limited.
    """
    weights = {"requests": 1.0, "images": float(count_images(document))}
    if table is not None:
        weights["tokens"] = float(table.count_tokens({"model": model, **document}) or 0)
    return weights


def describe_unpacked(keys: Sequence[str]) -> str:
    others = f" and {len(keys) - MAX_NAMED:,} more" if len(keys) > MAX_NAMED else ""
    named = ", ".join(keys[:MAX_NAMED]) + others
    return f"Image files are missing or have changed, so these requests are not in a shard: {named}."


def settings_of(options: JobOptions) -> dict[str, object]:
    """Return how a run was done, as its report shows it."""
    return attrs.asdict(options, filter=lambda field, value: field.name != "prices" and value is not None)


def versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("burncloud-images", "aiohttp")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
