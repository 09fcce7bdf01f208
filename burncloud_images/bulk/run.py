"""
One run of a job: workers take requests from the store, send them, and record the results.

Paid images are fetched before anything new is bought. When a run stops, requests that were sent finish first, unless
they are abandoned; those that wait for a permit or for another attempt go back to the store.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from burncloud_images.bulk.admission import Admission
from burncloud_images.bulk.budget import Budget, JobPurse
from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import Ballast, JobDirectory
from burncloud_images.bulk.error_outcomes import Verdict, judge
from burncloud_images.bulk.image_store import (
    ImageStore,
    JobImageSink,
    find_images,
    make_way,
    rescue_answer,
    rescue_pieces,
    to_stored,
)
from burncloud_images.bulk.input_files import check_input_files, has_input_files
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.passage import Passage, describe
from burncloud_images.bulk.queue import JobStopped, RequestQueue, expiry_of
from burncloud_images.bulk.records import (
    BOUGHT,
    STOP_PRECEDENCE,
    JobProgress,
    JobTotals,
    OnEvent,
    RequestFailure,
    RequestRecord,
    RequestState,
    RunReport,
    StopCause,
    StoredImage,
    UnfetchedLink,
    UnfetchedSummary,
)
from burncloud_images.bulk.recovery import settle_unanswered
from burncloud_images.bulk.request_json import to_request
from burncloud_images.bulk.tally import RunStatistics
from burncloud_images.disk import finish_whatever_happens
from burncloud_images.disk import run as in_thread
from burncloud_images.errors import (
    AuthenticationError,
    DownloadError,
    DownloadRefusedError,
    ImagesError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ResultExpiredError,
    StorageError,
    describe_billing,
)
from burncloud_images.files.sinks import ImageContext
from burncloud_images.results import EXTENSIONS, Image, ImagesResult, SavedImage
from burncloud_images.retry import Clock, choose_error

if TYPE_CHECKING:
    from burncloud_images.client import AsyncImagesClient

ROOM = 4 * 1024 * 1024
"""Bytes of disk that are kept free for each request at once."""
COOL_DOWN = 15.0
"""Seconds until a request is tried again that the API failed to serve, and an image that a host did."""
ROUNDS = 3
"""How often an image is fetched in one run, beyond the attempts of each call."""
HOST_PATIENCE = 60.0
"""Seconds without an image from a host after which requests no longer wait for it to come back."""
GIVES_UP: frozenset[StopCause] = frozenset({"interrupted", "abandoned", "disk"})
"""Why a run ends so soon that what is paid and cannot be fetched now is left for another one."""
MOMENT = 1.0
"""Seconds until a request is tried again that the API had no time for; the pace and the circuit hold it longer."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Why an image cannot be written that can be once there is room."""
UNWRITTEN = frozenset({RequestState.SENT, RequestState.ACCEPTED})
"""States of requests whose store has no URLs."""
ABANDONED_SENT = "It was abandoned after it was sent, so it may have been billed."
ABANDONED = "The job was abandoned before there was room."
DISK_WAIT = 2.0
"""Seconds until a full disk is tried again for an image that is held in memory."""
DISK_PATIENCE = 10.0
"""Seconds after which an image is written elsewhere because the disk is still full."""


@attrs.define(kw_only=True, eq=False)
class ActiveRequest:
    """A request that a worker has."""

    task: asyncio.Task[None]
    passage: Passage


@attrs.define(kw_only=True, eq=False)
class Run:
    """
    One run of a job.

    Attributes:
        weights: Tells what a request counts for in each rate limit.
        totals: Sums over the job when the run began.
        now: The date, in seconds since 1970.
        reasons: Why it stops, each with what happened and the name of the error's class.
        absent_since: When a host of images first failed since it last gave one.
    """

    client: AsyncImagesClient
    store: JobStore
    directory: JobDirectory
    options: JobOptions
    weights: Callable[[Mapping[str, object]], Mapping[str, float]]
    admission: Admission
    budget: Budget
    totals: JobTotals
    watch: OnEvent | None
    clock: Clock
    executor: Executor
    now: Callable[[], float] = time.time

    image_store: ImageStore = attrs.field(init=False)
    ballast: Ballast = attrs.field(init=False)
    queue: RequestQueue = attrs.field(init=False)
    purse: JobPurse = attrs.field(init=False)
    tally: RunStatistics = attrs.field(init=False)
    reasons: dict[StopCause, tuple[str, str | None]] = attrs.field(factory=dict)
    crash: BaseException | None = None
    absent_since: dict[str, float] = attrs.field(factory=dict)
    active: dict[str, ActiveRequest] = attrs.field(factory=dict)
    cut: list[Passage] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Begin where the job stands."""
        options = self.options
        room = options.room if options.room is not None else options.concurrency * ROOM
        self.image_store = ImageStore(self.directory)
        self.ballast = Ballast(self.directory.ballast, room)
        self.queue = RequestQueue(store=self.store, clock=self.clock, ahead=4 * options.concurrency, most=options.limit)
        self.purse = JobPurse(
            budget=self.budget,
            prices=options.prices,
            model=self.client.model,
            queue=self.queue,
            overspend=partial(self.stop, "budget"),
            say=self.say,
        )
        self.tally = RunStatistics(
            totals=self.totals,
            budget=self.budget,
            watch=self.watch,
            clock=self.clock,
            running=lambda: len(self.active),
        )

    def say(self, message: str) -> None:
        """Tell the observer something about the run."""
        self.tally.note(message)

    # --- the course of a run -----------------------------------------------------------------------------------------

    async def go(self) -> RunReport:
        """
        Send the requests, and return a report.

        Raises:
            StorageError: There is too little room to begin.
        """
        try:
            await in_thread(self.executor, self.ballast.load)
            for record in await self.queue.load():
                self.budget.adopt(record.key, cost=record.reserved, images=record.wanted)
            async with asyncio.TaskGroup() as group:
                for _ in range(self.options.concurrency):
                    group.create_task(self.work())
        finally:
            await self.clear()
        if self.crash is not None:
            raise self.crash
        if self.queue.exhausted and not self.reasons:
            self.stop("limit", f"{self.queue.handed_out:,} requests were started, as the limit allows.")
        self.is_lost()
        totals = await self.store.totals()
        stopped = self.stopped or "finished"
        message, error = self.reasons.get(stopped, ("", None))
        return RunReport(
            stopped=stopped,
            totals=totals,
            ended=self.tally.ended,
            made=self.tally.made,
            elapsed=self.tally.elapsed,
            message=message,
            error=error,
            outstanding=await self.find_outstanding() if any(totals.counts[state] for state in BOUGHT) else None,
        )

    async def find_outstanding(self) -> UnfetchedSummary:
        """Return what is paid and was not fetched, by this run or those before."""
        found = UnfetchedSummary()
        async for record in self.store.records(BOUGHT):
            found = found.plus(record)
        return found

    async def work(self) -> None:
        """Take one request after another until there is none, or the run stops."""
        while (record := await self.next()) is not None:
            passage = Passage(
                record=record,
                weights=self.weights(record.document),
                store=self.store,
                admission=self.admission,
                purse=self.purse,
                make_way=partial(in_thread, self.executor, make_way, self.directory, record.key),
                halted=lambda: bool(self.reasons),
                pays_again=self.options.server_idempotency == "none",
                now=self.now,
            )
            task = asyncio.create_task(self.fulfil(record, passage))
            self.active[record.key] = ActiveRequest(task=task, passage=passage)
            try:
                await task
            except asyncio.CancelledError:
                if not passage.dropped:
                    raise
            finally:
                del self.active[record.key]
                self.queue.notify()

    async def next(self) -> RequestRecord | None:
        """Return the next request; None if there is none, or if the store fails, so that the others can finish."""
        try:
            record = await self.queue.take()
            return None if record is None or self.is_lost() else record
        except StorageError as error:
            self.stop("disk", error.message, error)
        except Exception as error:  # noqa: BLE001 (whatever it is)
            self.fall(error)
        return None

    def is_lost(self) -> bool:
        """Stop if the directory or store was removed: images bought from now on could not be found again."""
        loss = self.directory.find_loss() or self.image_store.loss
        if loss is not None:
            self.stop("disk", loss, StorageError(loss))
        return loss is not None

    def fall(self, error: Exception) -> None:
        """Stop for a bug, without losing what other requests have paid for; `go` raises it at the end."""
        self.crash = self.crash or error
        self.stop("failed", f"An unexpected error: {type(error).__name__}.")

    async def clear(self) -> None:
        """Settle requests that were abandoned, and release those that only waited."""
        with suppress(StorageError):  # what is not written down now is found out by the next run
            for passage in self.cut:
                await self.give_up(passage)
            await self.store.release_leases()
        await in_thread(self.executor, self.ballast.drop)

    async def give_up(self, passage: Passage) -> None:
        """Settle an abandoned request, unless that has been done already."""
        record = await self.store.get(passage.record.key)
        if record is None or record.state not in {RequestState.LEASED, RequestState.SENT}:
            return
        if not passage.may_be_billed:
            await self.store.requeue(record.key)
            return
        if passage.failures:
            await self.rescue(record, choose_error(passage.failures))
        failure = RequestFailure(error="OutcomeUnknownError", message=ABANDONED_SENT)
        done = await settle_unanswered(record, self.store, self.directory, self.executor, failure=failure, now=self.now)
        settled = await self.store.get(record.key)
        images = settled.images if settled is not None else ()
        self.tally.tell("done" if done else "in_doubt", record, images=images, failure=None if done else failure)

    def progress(self) -> JobProgress:
        """Return how far the job is."""
        return self.tally.progress()

    # --- stopping ----------------------------------------------------------------------------------------------------

    @property
    def stopped(self) -> StopCause | None:
        """Why the run stops; None while it goes on."""
        return min(self.reasons, key=STOP_PRECEDENCE.index, default=None)

    @property
    def gives_up(self) -> bool:
        """Whether the run ends without waiting for a host of images that does not answer."""
        return not GIVES_UP.isdisjoint(self.reasons)

    def stop(self, reason: StopCause, message: str = "", error: ImagesError | None = None) -> None:
        """Start nothing more; requests that were sent finish."""
        if reason not in self.reasons:
            self.reasons[reason] = message, type(error).__name__ if error is not None else None
            if message:
                self.tally.note(message)
        for active in list(self.active.values()):
            # Only requests that wait for their first attempt, or for another after a refusal, are cancelled.
            if not active.passage.may_be_billed and active.passage.record.state not in BOUGHT:
                active.passage.dropped = True
                active.task.cancel()
        self.queue.close()

    def abandon(self) -> None:
        """Give up the requests that were sent, too."""
        self.stop("abandoned")
        for active in list(self.active.values()):
            active.passage.dropped = True
            active.task.cancel()

    # --- one request -------------------------------------------------------------------------------------------------

    async def fulfil(self, record: RequestRecord, passage: Passage) -> None:
        """Send one request, or fetch its images, and record the result."""
        try:
            await self.attempt(record, passage)
        except asyncio.CancelledError:
            self.cut.append(passage)
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is)
            self.cut.append(passage)
            self.fall(error)

    async def attempt(self, record: RequestRecord, passage: Passage) -> None:
        try:
            if record.state is RequestState.RECEIVED:
                await self.fetch(record)
            elif record.state is RequestState.ACCEPTED:
                await self.follow(record, passage)
            else:
                await self.purchase(record, passage)
        except JobStopped:
            if passage.may_be_billed:  # by an attempt before the one that was not made
                self.cut.append(passage)
            else:
                await self.requeue(record, passage)
        except ImagesError as error:
            await self.settle(record, passage, error)

    async def purchase(self, record: RequestRecord, passage: Passage) -> None:
        if has_input_files(record.document):
            await in_thread(self.executor, check_input_files, record.document)
        result = await self.client.send(
            to_request(record.document),
            into=self.sink(record),
            idempotency_key=record.key,
            hooks=passage,
            via_stream=self.options.via_stream and record.document["operation"] != "variations",
        )
        await self.finish(record, result)

    async def follow(self, record: RequestRecord, passage: Passage) -> None:
        """Ask for the images of a request that the API has accepted as a task; nothing is bought."""
        assert record.task is not None
        passage.holds = passage.sent = passage.paid = True
        passage.request_id = record.request_id
        result = await self.client.resume(
            record.task, into=self.sink(record), request=to_request(record.document), hooks=passage
        )
        await self.finish(record, result)

    def sink(self, record: RequestRecord) -> JobImageSink:
        return JobImageSink(image_store=self.image_store, key=record.key, several=record.wanted > 1)

    async def finish(self, record: RequestRecord, result: ImagesResult[SavedImage]) -> None:
        images = tuple(to_stored(image, self.directory) for image in result.images)
        about = describe(result)
        await self.complete(record, images, about, result.request_id)

    async def complete(
        self, record: RequestRecord, images: Sequence[StoredImage], about: Mapping[str, object], request_id: str | None
    ) -> None:
        """Write down that a request is done, and what it cost."""
        cost = self.purse.cost(record, about, len(images))
        await self.store.finish(record.key, images, cost=cost, about=about, request_id=request_id, at=self.now())
        self.budget.settle(record.key, cost=cost, images=len(images))
        self.tally.tell("done", record, images=tuple(images))
        if refused := attrs.evolve(record, about=about).refused:
            self.tally.note(f"{name(record)}: {' '.join(map(str, refused))}")

    async def fetch(self, record: RequestRecord, rounds: int = ROUNDS) -> None:
        """Fetch the paid images of a request, the one that expires first; try again after a while."""
        found = await in_thread(self.executor, find_images, self.directory, record.key)  # named before a run was killed
        images = {image.index: image for image in (*found, *record.images)}
        lost: list[DownloadError] = []
        for rounds_left in reversed(range(rounds)):
            missing = [link for link in record.links if link.index not in images]
            lost = [error for link in sorted(missing, key=expiry_of) if (error := await self.get(link, record, images))]
            there = [error for error in lost if not isinstance(error, ResultExpiredError)]
            if not there:
                break
            if not rounds_left or not self.is_worth_waiting(there):
                await self.leave(record, there[0])
                return
            await self.cool_down()
        if lost:
            await self.fail(record, lost[0], may_be_billed=True)
        else:
            await self.complete(record, [images[index] for index in sorted(images)], record.about, record.request_id)

    def is_worth_waiting(self, errors: Sequence[DownloadError]) -> bool:
        """Say whether one of the images that could not be fetched may come in a while."""
        now = self.clock.monotonic()
        return not self.gives_up and any(
            now - self.absent_since.get(host_of(error.url), now) < HOST_PATIENCE
            for error in errors
            if not isinstance(error, DownloadRefusedError)
        )

    async def leave(self, record: RequestRecord, error: DownloadError | StorageError) -> None:
        """Leave paid images for another run to fetch. What they cost stays reserved."""
        self.budget.keep(record.key)
        failure = to_failure(error)
        await self.store.requeue(record.key, failure)
        self.tally.tell("unfetched", record, failure=failure)
        self.suspect(error, failure)

    async def leave_task(self, record: RequestRecord, error: ImagesError) -> None:
        """Leave a task for another run to ask for. What it costs stays reserved."""
        self.budget.keep(record.key)
        failure = to_failure(error)
        await self.store.requeue(record.key, failure)
        self.tally.tell("unfetched", record, failure=failure)
        if isinstance(error, AuthenticationError):
            self.stop("authentication", error.message, error)
        elif not isinstance(error, OutcomeUnknownError):
            self.crash = self.crash or error
            self.stop("failed", error.message, error)

    async def get(
        self, link: UnfetchedLink, record: RequestRecord, images: dict[int, StoredImage]
    ) -> DownloadError | None:
        """Download an image into *images*, or return the error; wait while the disk is full."""
        try:
            saved = await self.client.fetch(
                link.url, into=self.sink(record), index=link.index, expires_at=link.expires_at
            )
            stored = to_stored(saved, self.directory)
        except DownloadError as error:
            self.absent_since.setdefault(host_of(link.url), self.clock.monotonic())
            return error
        except StorageError as error:
            if not error.unsaved:
                raise
            self.stop("disk", error.message, error)
            (saved_late,) = await self.save_images(record, error.unsaved[:1])
            if isinstance(saved_late, StorageError):
                raise saved_late from None
            stored = saved_late
        self.absent_since.pop(host_of(link.url), None)
        images[link.index] = attrs.evolve(stored, revised_prompt=revised(record, link.index))
        await self.store.add_image(record.key, images[link.index])
        return None

    # --- results -----------------------------------------------------------------------------------------------------

    async def settle(self, record: RequestRecord, passage: Passage, error: ImagesError) -> None:
        """Record the result of a call that failed; a full disk stops the run."""
        try:
            await self.act(judge(error, doubtful=passage.doubtful), record, passage, error)
        except StorageError as problem:
            self.stop("disk", problem.message, problem)

    async def act(self, verdict: Verdict, record: RequestRecord, passage: Passage, error: ImagesError) -> None:
        match verdict:
            case "doubt":
                await self.doubt(record, error)
            case "fail" | "fail_billed":
                await self.fail(record, error, may_be_billed=verdict == "fail_billed")
            case "later":
                await self.requeue(record, passage, error)
            case "again":
                await self.try_again(record, passage, error)
            case "fetch":
                await self.keep_fetched(record, error)
            case "follow":
                await self.leave_task(record, error)
            case "save":
                await self.save(record, passage, error)
            case "crash":
                await self.requeue(record, passage, error)
                self.crash = self.crash or error
                self.stop("failed", error.message, error)
            case _:
                self.stop(verdict, error.message, error)
                await self.requeue(record, passage, error)

    async def requeue(self, record: RequestRecord, passage: Passage, error: ImagesError | None = None) -> None:
        """Return a request that was not billed to the queue, or to the store for another run."""
        passage.release_budget()
        if error is not None and error.task is not None:  # it was refunded, so the task is not asked for again
            await passage.release()
        if error is None or self.reasons:
            await self.store.requeue(record.key, to_failure(error) if error is not None else None)
        else:
            await passage.release()
            self.queue.requeue(unsent(record), MOMENT)

    async def try_again(self, record: RequestRecord, passage: Passage, error: ImagesError) -> None:
        """Try a request again later that the API failed to serve, a few times."""
        if self.queue.count_round(record):
            passage.release_budget()
            await passage.release()
            self.queue.requeue(unsent(record), COOL_DOWN)
        else:
            await self.fail(record, error, may_be_billed=False)

    async def doubt(self, record: RequestRecord, error: ImagesError) -> None:
        """Put a request that may have been billed in doubt, and save what was received."""
        await self.rescue(record, error)
        images = await self.keep_all(record, error)
        failure = to_failure(error)
        await self.store.mark_in_doubt(record.key, failure, request_id=error.request_id, at=self.now())
        self.budget.keep(record.key)
        self.tally.tell("in_doubt", record, images=images, failure=failure)
        self.suspect(error, failure)

    async def rescue(self, record: RequestRecord, error: ImagesError) -> None:
        """Save an answer that cannot be used; if the disk is full, in the room that was reserved."""
        try:
            await in_thread(self.executor, rescue_answer, error, record.key, self.directory)
        except OSError as problem:
            self.stop("disk", f"What came of {name(record)} cannot be written: {problem.strerror or problem}.")
            await in_thread(self.executor, self.ballast.drop)
            with suppress(OSError):
                write = partial(rescue_answer, error, record.key, self.directory, anywhere=True)
                await self.rescue_pieces(record, write)

    async def fail(self, record: RequestRecord, error: ImagesError, *, may_be_billed: bool) -> None:
        """Mark a request as failed."""
        if may_be_billed:
            await self.rescue(record, error)
        images = await self.keep_all(record, error) if may_be_billed else ()
        failure = to_failure(error)
        await self.store.fail(
            record.key, failure, may_be_billed=may_be_billed, request_id=error.request_id, at=self.now()
        )
        if may_be_billed:
            self.budget.keep(record.key)
        else:
            self.budget.release(record.key)
        self.tally.tell("failed", record, images=images, failure=failure)
        self.suspect(error, failure)

    async def keep_all(self, record: RequestRecord, error: ImagesError) -> tuple[StoredImage, ...]:
        """Record the images that arrived whole before *error*."""
        images = tuple(to_stored(image, self.directory) for image in error.images if isinstance(image, SavedImage))
        await self.add_images(record, images)
        return images

    async def add_images(self, record: RequestRecord, images: Sequence[StoredImage]) -> None:
        await asyncio.gather(*(self.store.add_image(record.key, image) for image in images))

    def suspect(self, error: ImagesError, failure: RequestFailure) -> None:
        """Stop if that was asked for, or if nothing has come of this run but one and the same failure."""
        if self.options.fail_fast:
            self.stop("failed", f"A request failed: {failure.message}", error)
        # Paid images are fetched all the same.
        if self.tally.is_hopeless(failure) and not self.queue.received:
            reason: StopCause = "authentication" if isinstance(error, PermissionDeniedError) else "failed"
            self.stop(reason, f"The first requests all failed for the same reason: {failure.message}", error)

    async def keep_fetched(self, record: RequestRecord, error: ImagesError) -> None:
        """Note what was fetched of a paid answer; the rest is fetched again later."""
        assert isinstance(error, DownloadError)
        await self.keep_all(record, error)
        if error.unfetched and all(image.expired for image in error.unfetched):
            await self.fail(record, error, may_be_billed=True)
            return
        received = await self.find_received(record, error)
        for image in error.unfetched:
            self.absent_since.setdefault(host_of(image.url), self.clock.monotonic())
        if self.is_worth_waiting([error]):
            await self.cool_down()
        await self.fetch(received, ROUNDS - 1)

    async def find_received(self, record: RequestRecord, error: DownloadError | StorageError) -> RequestRecord:
        """Return a paid request with the URLs of its images; record those that could not be recorded when they came."""
        stored = await self.store.get(record.key)
        if stored is not None and stored.state in UNWRITTEN:
            links = [UnfetchedLink.of(image) for image in error.unfetched]
            try:
                await self.store.mark_received(record.key, links, about={}, request_id=error.request_id)
            except StorageError:
                await self.rescue(record, error)  # else nothing would name the images
                raise
            stored = await self.store.get(record.key)
        assert stored is not None
        return stored

    async def cool_down(self) -> None:
        """Wait for a host to come back, but not if the run is to end soon."""
        until = self.clock.monotonic() + COOL_DOWN
        while not self.gives_up and (left := until - self.clock.monotonic()) > 0:
            await self.queue.pause(left)

    async def save(self, record: RequestRecord, passage: Passage, error: ImagesError) -> None:
        """Stop buying, and save the paid images in the room that was reserved."""
        assert isinstance(error, StorageError)
        self.stop("disk", error.message, error)
        if not passage.may_be_billed:
            await self.requeue(record, passage, error)
            return
        saved = await self.save_images(record, error.unsaved)  # before the store is told of others: it may be full, too
        images = [image for image in saved if isinstance(image, StoredImage)]
        elsewhere = next((problem for problem in saved if isinstance(problem, StorageError)), None)
        await self.add_images(record, images)
        images += await self.keep_all(record, error)
        if error.unfetched:
            await self.leave(await self.find_received(record, error), elsewhere or error)
        elif elsewhere is not None:
            await self.fail(record, elsewhere, may_be_billed=True)
        elif images:
            images.sort(key=lambda image: image.index)
            await self.complete(record, images, {}, error.request_id)

    async def save_images(self, record: RequestRecord, images: Sequence[Image]) -> list[StoredImage | StorageError]:
        """Write images that are in memory once there is room. If the run is abandoned, write them elsewhere at once."""
        saved: list[StoredImage | StorageError] = []
        try:
            for image in images:
                saved.append(await self.save_image(record, image))  # noqa: PERF401 (what was saved counts below)
        except asyncio.CancelledError:
            for image in images[len(saved) :]:
                work = asyncio.ensure_future(self.save_elsewhere(record, image, StorageError(ABANDONED)))
                with suppress(asyncio.CancelledError):
                    await finish_whatever_happens(work)
            raise
        return saved

    async def save_image(self, record: RequestRecord, image: Image) -> StoredImage | StorageError:
        """
        Write an image that is in memory, as soon as there is room, or to another place if there is none for a while.

        Returns:
            The image; where its folder cannot have it, an error that says where it is instead.
        """
        placement = ImageContext(
            id=record.key, index=image.index, prompt="", model="", date=self.clock.now(), executor=self.executor
        )
        sink = self.sink(record)
        await in_thread(self.executor, self.ballast.drop)
        patience = self.clock.monotonic() + DISK_PATIENCE
        while True:
            try:
                writer = sink.open(placement)
                await writer.write(image.data)
                stored = to_stored(await writer.keep(await writer.finish()), self.directory)
                return attrs.evolve(stored, revised_prompt=image.revised_prompt)
            except StorageError as error:
                if error.errno not in FULL:
                    return await self.save_elsewhere(record, image, error)
                if self.clock.monotonic() >= patience and (path := await self.find_place(record, image)):
                    return to_elsewhere(error, path)
                self.tally.note(f"{name(record)} is paid and held in memory until there is room: {error.message}")
                await self.clock.sleep(DISK_WAIT)

    async def save_elsewhere(self, record: RequestRecord, image: Image, error: StorageError) -> StorageError:
        """Write an image to another place, and return an error that says where it is."""
        path = await self.find_place(record, image)
        if path is None:
            return StorageError(f"{error.message} It is paid for and could be saved nowhere.")
        return to_elsewhere(error, path)

    async def find_place(self, record: RequestRecord, image: Image) -> Path | None:
        """Write an image to another place, and return its path; None if no folder takes it."""
        extension = EXTENSIONS.get(image.media_type or "", "image")
        pieces = {f"{record.key}-{image.index + 1}.{extension}": image.data}
        try:
            (path,) = await self.rescue_pieces(record, partial(rescue_pieces, pieces, self.directory))
        except OSError:
            return None
        return path

    async def rescue_pieces(self, record: RequestRecord, write: Callable[[], list[Path]]) -> list[Path]:
        """Write paid bytes with *write*, and tell the observer where they are."""
        paths = await in_thread(self.executor, write)
        for path in paths:
            self.tally.note(f"{name(record)} is paid for; what was received is in {path}.")
        return paths


def to_elsewhere(error: StorageError, path: Path) -> StorageError:
    """Return an error that says where an image is instead."""
    return StorageError(f"{error.message} It is paid for, and it is in {path}.")


def to_failure(error: ImagesError) -> RequestFailure:
    """Return *error* as the store keeps it, with what it may have cost."""
    billing = describe_billing(error) if error.billed else ""
    return RequestFailure(
        error=type(error).__name__,
        message=f"{error.message} {billing}".rstrip(),
        code=getattr(error, "code", None),
        status=getattr(error, "status", None) or None,
    )


def unsent(record: RequestRecord) -> RequestRecord:
    """Return *record* as it is once it is known that nothing was billed: it is sent anew."""
    return attrs.evolve(record, state=RequestState.LEASED, task=None)


def name(record: RequestRecord) -> str:
    """Return what a person calls a request."""
    place = f"{record.source}:{record.line}" if record.source else record.key[:8]
    return f"{record.label} ({place})" if record.label else place


def host_of(url: str | None) -> str:
    """Return the host of a URL, which is waited for when an image cannot be fetched."""
    try:
        return urlsplit(url or "").netloc
    except ValueError:  # no address, which is refused
        return ""


def revised(record: RequestRecord, index: int) -> str | None:
    prompts = record.about.get("revised_prompts")
    text = prompts.get(str(index)) if isinstance(prompts, Mapping) else None
    return text if isinstance(text, str) else None
