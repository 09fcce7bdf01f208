"""
One run of a job: workers take requests from the store, send them, and write down what came of each.

What is paid is fetched before anything new is bought. Whatever stops the run, requests that are on their way come to
their end first, unless they are abandoned; those that wait for a permit or for another attempt go back to the store.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import attrs

from burncloud_images.bulk.admission import Admission
from burncloud_images.bulk.budget import Budget
from burncloud_images.bulk.directory import Ballast, JobDirectory
from burncloud_images.bulk.documents import to_request
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.originals import check_originals, has_originals
from burncloud_images.bulk.passage import Halted, Passage, describe
from burncloud_images.bulk.progress import Event, Progress, Report, Stop, Watch
from burncloud_images.bulk.records import Failure, Link, Record, State, StoredImage, Totals
from burncloud_images.bulk.recovery import write_off
from burncloud_images.bulk.salvage import salvage
from burncloud_images.bulk.sink import JobSink, Shelves, to_stored
from burncloud_images.bulk.store import Store
from burncloud_images.bulk.verdicts import Verdict, judge
from burncloud_images.errors import (
    DownloadError,
    ImagesError,
    PermissionDeniedError,
    ResultExpiredError,
    StorageError,
)
from burncloud_images.results import Image, ImagesResult, SavedImage
from burncloud_images.transport.clock import Clock
from burncloud_images.transport.files import run as in_thread
from burncloud_images.transport.sinks import Placement

if TYPE_CHECKING:
    from burncloud_images.client import AsyncImagesClient

__all__ = ["Run"]

MOST_ROUNDS = 3
"""How often a run tries a request again that the API failed to serve, beyond the attempts of each call."""
COOL_DOWN = 15.0
"""Seconds until it does."""
SAME_FAILURES = 10
"""Requests that fail first and alike, after which a run stops: the next thousands would too."""
MOMENT = 1.0
"""Seconds until a request is tried again that the API had no time for; the pace and the circuit hold it longer."""
DISK_WAIT = 2.0
"""Seconds until a full disk is tried again for an image that is held in memory."""


@attrs.define(kw_only=True, eq=False)
class Parked:
    """A request that is tried again later, in the same run."""

    due: float
    record: Record


@attrs.define(kw_only=True, eq=False)
class Active:
    """A request that a worker has."""

    task: asyncio.Task[None]
    passage: Passage


@attrs.define(kw_only=True, eq=False)
class Run:
    """
    One run of a job.

    Attributes:
        client: Sends.
        store: Remembers.
        directory: Takes the images.
        options: How.
        weigh: What a request counts for in each limit of the pace.
        admission: Gives permits.
        budget: What may be spent.
        totals: Sums over the job when the run began.
        watch: Is told what happens.
        clock: Time.
        executor: For work that blocks.
        now: The date, in seconds since 1970.
    """

    client: AsyncImagesClient
    store: Store
    directory: JobDirectory
    options: Options
    weigh: Callable[[Record], Mapping[str, float]]
    admission: Admission
    budget: Budget
    totals: Totals
    watch: Watch | None
    clock: Clock
    executor: Executor
    now: Callable[[], float] = time.time

    shelves: Shelves = attrs.field(init=False)
    ballast: Ballast = attrs.field(init=False)
    stopped: Stop | None = None
    message: str = ""
    error: str | None = None
    crash: BaseException | None = None
    received: list[Record] = attrs.field(factory=list)
    waiting: deque[Record] = attrs.field(factory=deque)
    parked: list[Parked] = attrs.field(factory=list)
    rounds: dict[str, int] = attrs.field(factory=dict)
    active: dict[str, Active] = attrs.field(factory=dict)
    cut: list[Passage] = attrs.field(factory=list)
    leasing: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    started: int = 0
    began: float = 0.0
    counts: dict[str, int] = attrs.field(init=False)
    made: int = 0
    alike: tuple[object, int] | None = (None, 0)

    def __attrs_post_init__(self) -> None:
        """Begin where the job stands."""
        self.shelves = Shelves(self.directory)
        room = self.options.room if self.options.room is not None else self.options.concurrency * 4 * 1024 * 1024
        self.ballast = Ballast(self.directory.ballast, room)
        self.counts = dict.fromkeys(("done", "failed", "in_doubt"), 0)

    # --- the course of a run -----------------------------------------------------------------------------------------

    async def go(self) -> Report:
        """
        Send what is to be sent, and return what came of it.

        Raises:
            StorageError: There is too little room to begin.
            ConfigurationError: A budget is set and the price of a model is not known.
        """
        self.began = self.clock.monotonic()
        await in_thread(self.executor, self.ballast.load)
        try:
            self.received = await self.find_received()
            async with asyncio.TaskGroup() as group:
                for _ in range(self.options.concurrency):
                    group.create_task(self.work())
        finally:
            await self.clear()
        if self.crash is not None:
            raise self.crash
        return Report(
            stopped=self.stopped or "finished",
            totals=await self.store.totals(),
            ended=sum(self.counts.values()),
            made=self.made,
            elapsed=self.clock.monotonic() - self.began,
            message=self.message,
            error=self.error,
        )

    async def find_received(self) -> list[Record]:
        """Return what is paid and not yet fetched, what expires first last: it is taken from the end."""
        records = [record async for record in self.store.records({State.RECEIVED})]
        for record in records:
            self.budget.adopt(record.key, cost=record.reserved, images=record.wanted)
        return sorted(records, key=earliest, reverse=True)

    async def clear(self) -> None:
        """Write down what was abandoned, and let what was only waiting wait again."""
        for passage in self.cut:
            await self.give_up(passage)
        with suppress(StorageError):
            await self.store.release_leases()
        await in_thread(self.executor, self.ballast.drop)

    async def give_up(self, passage: Passage) -> None:
        record = passage.record
        if record.state is State.RECEIVED or passage.received:
            return
        if not passage.may_be_billed:
            await self.store.give_back(record.key)
            return
        failure = Failure(error="OutcomeUnknownError", message="It was abandoned on its way: it may have been billed.")
        done = await write_off(record, self.store, self.directory, self.executor, failure=failure, now=self.now)
        self.tell("done" if done else "in_doubt", record, failure=None if done else failure)

    async def work(self) -> None:
        """Take one request after another until there is none, or the run stops."""
        while (record := await self.take()) is not None:
            passage = Passage(
                record=record,
                weights=self.weigh(record),
                store=self.store,
                admission=self.admission,
                purse=self,
                halted=lambda: self.stopped is not None,
                now=self.now,
            )
            task = asyncio.create_task(self.fulfil(record, passage))
            self.active[record.key] = Active(task=task, passage=passage)
            try:
                await task
            except asyncio.CancelledError:
                if not passage.dropped:
                    raise
            finally:
                del self.active[record.key]
                self.notify()

    async def take(self) -> Record | None:
        """Return the next request; None if there is none for this worker."""
        while self.stopped is None:
            if self.received:
                return self.received.pop()
            record = await self.next_pending() or self.next_parked()
            if record is not None:
                return record
            if not self.parked:
                return None
            await self.pause(min(parked.due for parked in self.parked) - self.clock.monotonic())
        return None

    async def next_pending(self) -> Record | None:
        async with self.leasing:
            if not self.waiting and self.stopped is None:
                self.waiting.extend(await self.store.lease(4 * self.options.concurrency))
            if not self.waiting or self.stopped is not None:
                return None
            if self.options.limit is not None and self.started >= self.options.limit:
                self.stop("limit", f"{self.started:,} requests were started, as --limit asked.")
                return None
            self.started += 1
            return self.waiting.popleft()

    def next_parked(self) -> Record | None:
        now = self.clock.monotonic()
        due = min(self.parked, key=lambda parked: parked.due, default=None)
        if due is None or due.due > now:
            return None
        self.parked.remove(due)
        return due.record

    async def pause(self, seconds: float) -> None:
        """Wait, or until something changes."""
        changed = asyncio.ensure_future(self.changed.wait())
        slept = asyncio.ensure_future(self.clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait((changed, slept), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            slept.cancel()

    def notify(self) -> None:
        """Let everybody who waits look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    # --- stopping ----------------------------------------------------------------------------------------------------

    def stop(self, reason: Stop, message: str = "", error: ImagesError | None = None) -> None:
        """Start nothing more; what is on its way comes to its end."""
        if self.stopped is None or reason == "abandoned":
            self.stopped = reason
            self.message = message
            self.error = type(error).__name__ if error is not None else None
            if message:
                self.note(message)
        for active in list(self.active.values()):
            # Only what waits for its first attempt, or for another after a refusal, is let go.
            if not active.passage.may_be_billed and active.passage.record.state is not State.RECEIVED:
                active.passage.dropped = True
                active.task.cancel()
        self.notify()

    def abandon(self) -> None:
        """Give up what is on its way as well."""
        self.stop("abandoned")
        for active in list(self.active.values()):
            active.passage.dropped = True
            active.task.cancel()

    # --- one request -------------------------------------------------------------------------------------------------

    async def fulfil(self, record: Record, passage: Passage) -> None:
        """Bring one request to its end, and write that down."""
        try:
            if record.state is State.RECEIVED:
                await self.fetch(record)
            else:
                await self.purchase(record, passage)
        except Halted:
            self.hand_back(record, passage)
        except asyncio.CancelledError:
            self.cut.append(passage)
            raise
        except ImagesError as error:
            await self.settle(record, passage, error)
        except Exception as error:  # noqa: BLE001 (a mistake of ours must not cost what others have paid)
            self.cut.append(passage)
            self.crash = self.crash or error
            self.stop("failed", f"An unexpected error: {type(error).__name__}.")

    async def purchase(self, record: Record, passage: Passage) -> None:
        if has_originals(record.document):
            await in_thread(self.executor, check_originals, record.document)
        result = await self.client.send(
            to_request(record.document),
            into=self.sink(record),
            idempotency_key=record.key,
            hooks=passage,
            keep_alive=self.options.keep_alive and record.document["operation"] != "variations",
        )
        await self.finish(record, result)

    def sink(self, record: Record) -> JobSink:
        return JobSink(shelves=self.shelves, key=record.key, several=record.wanted > 1)

    async def finish(self, record: Record, result: ImagesResult[SavedImage]) -> None:
        images = tuple(to_stored(image, self.directory) for image in result.images)
        about = describe(result)
        await self.complete(record, images, about, result.request_id)

    async def complete(
        self, record: Record, images: Sequence[StoredImage], about: Mapping[str, object], request_id: str | None
    ) -> None:
        """Write down that a request is done, and what it cost."""
        usage = about.get("usage")
        cost = None
        if self.options.prices is not None:
            cost = self.options.prices.cost(
                self.priced(record), usage if isinstance(usage, Mapping) else None, len(images)
            )
        await self.store.finish(record.key, images, cost=cost, about=about, request_id=request_id, at=self.now())
        self.budget.settle(record.key, cost=cost, images=len(images))
        self.alike = None
        self.tell("done", record, images=tuple(images))

    async def fetch(self, record: Record) -> None:
        """Fetch what is paid and lies at addresses, the one that expires first first."""
        images = list(record.images)
        lost: list[DownloadError] = []
        for link in sorted(record.links, key=expiry_of):
            try:
                saved = await self.client.fetch(
                    link.url, into=self.sink(record), index=link.index, expires_at=link.expires_at
                )
            except DownloadError as error:
                lost.append(error)
            else:
                stored = attrs.evolve(to_stored(saved, self.directory), revised_prompt=revised(record, link.index))
                await self.store.keep(record.key, stored)
                images.append(stored)
        passing = next((error for error in lost if not isinstance(error, ResultExpiredError)), None)
        if passing is not None:
            kept = {image.index for image in images}
            links = tuple(link for link in record.links if link.index not in kept)
            await self.fetch_later(attrs.evolve(record, images=tuple(images), links=links), passing)
        elif lost:
            await self.fail(record, lost[0], may_be_billed=True)
        else:
            images.sort(key=lambda image: image.index)
            await self.complete(record, images, record.about, record.request_id)

    # --- what came of it ---------------------------------------------------------------------------------------------

    async def settle(self, record: Record, passage: Passage, error: ImagesError) -> None:
        """Do what the error of a call asks for; a disk that is full stops the run."""
        try:
            await self.act(judge(error, doubtful=passage.doubtful), record, passage, error)
        except StorageError as problem:
            self.stop("disk", problem.message, problem)

    async def act(self, verdict: Verdict, record: Record, passage: Passage, error: ImagesError) -> None:
        match verdict:
            case "doubt":
                await self.doubt(record, error)
            case "fail" | "fail_billed":
                await self.fail(record, error, may_be_billed=verdict == "fail_billed")
            case "later":
                self.hand_back(record, passage, error)
            case "again":
                await self.try_again(record, passage, error)
            case "fetch":
                await self.keep_fetched(record, error)
            case "save":
                await self.save(record, passage, error)
            case "crash":
                self.hand_back(record, passage, error)
                self.crash = self.crash or error
                self.stop("failed", error.message, error)
            case _:
                self.stop(verdict, error.message, error)
                self.hand_back(record, passage, error)

    def hand_back(self, record: Record, passage: Passage, error: ImagesError | None = None) -> None:
        """Let a request that was not billed wait: for a moment, or for another run."""
        passage.release()
        if error is None or self.stopped is not None:
            self.store.give_back(record.key, to_failure(error) if error is not None else None)
        else:
            passage.withdraw()
            self.parked.append(Parked(due=self.clock.monotonic() + MOMENT, record=record))

    async def try_again(self, record: Record, passage: Passage, error: ImagesError) -> None:
        """Try a request again later that the API failed to serve, a few times."""
        if self.count_round(record):
            passage.release()
            passage.withdraw()
            self.parked.append(Parked(due=self.clock.monotonic() + COOL_DOWN, record=record))
        else:
            await self.fail(record, error, may_be_billed=False)

    def count_round(self, record: Record) -> bool:
        """Say whether there is to be another round for a request."""
        rounds = self.rounds[record.key] = self.rounds.get(record.key, 0) + 1
        return rounds < MOST_ROUNDS and self.stopped is None

    async def doubt(self, record: Record, error: ImagesError) -> None:
        """List a request that may have been billed, with all that came of it."""
        await in_thread(self.executor, salvage, error, record.key, self.directory)
        images = self.keep_all(record, error)
        failure = to_failure(error)
        await self.store.doubt(record.key, failure, request_id=error.request_id, at=self.now())
        self.budget.keep(record.key)
        self.tell("in_doubt", record, images=images, failure=failure)

    async def fail(self, record: Record, error: ImagesError, *, may_be_billed: bool) -> None:
        """Give a request up."""
        if may_be_billed:
            await in_thread(self.executor, salvage, error, record.key, self.directory)
        images = self.keep_all(record, error) if may_be_billed else ()
        failure = to_failure(error)
        await self.store.fail(
            record.key, failure, may_be_billed=may_be_billed, request_id=error.request_id, at=self.now()
        )
        if may_be_billed:
            self.budget.keep(record.key)
        else:
            self.budget.release(record.key)
        self.tell("failed", record, images=images, failure=failure)
        self.suspect(error, failure)

    def keep_all(self, record: Record, error: ImagesError) -> tuple[StoredImage, ...]:
        """Note the images that came whole before *error*."""
        found: Sequence[object] = getattr(error, "images", ())
        images = tuple(to_stored(image, self.directory) for image in found if isinstance(image, SavedImage))
        for image in images:
            self.store.keep(record.key, image)
        return images

    def suspect(self, error: ImagesError, failure: Failure) -> None:
        """Stop if nothing has come of this run but one and the same failure."""
        if self.options.fail_fast:
            self.stop("failed", f"A request failed: {failure.message}", error)
        if self.alike is None:
            return
        kind = (failure.error, failure.status, failure.code)
        seen, count = self.alike
        self.alike = (kind, count + 1) if seen in {None, kind} else None
        if self.alike is not None and self.alike[1] >= SAME_FAILURES:
            reason: Stop = "authentication" if isinstance(error, PermissionDeniedError) else "failed"
            self.stop(reason, f"The first {SAME_FAILURES} requests all failed alike: {failure.message}", error)

    async def keep_fetched(self, record: Record, error: ImagesError) -> None:
        """Note what was fetched of a paid answer; the rest is fetched again later."""
        assert isinstance(error, DownloadError)
        self.keep_all(record, error)
        if error.unfetched and all(image.expired for image in error.unfetched):
            await self.fail(record, error, may_be_billed=True)
            return
        stored = await self.store.get(record.key)
        if stored is not None:
            await self.fetch_later(stored, error)

    async def fetch_later(self, record: Record, error: DownloadError) -> None:
        if self.count_round(record):
            self.parked.append(Parked(due=self.clock.monotonic() + COOL_DOWN, record=record))
        else:
            self.budget.keep(record.key)
            self.note(f"{name(record)} is paid and was not fetched; another run tries again. {error.message}")

    async def save(self, record: Record, passage: Passage, error: ImagesError) -> None:
        """Stop buying, and give what is paid the room that was kept for it."""
        assert isinstance(error, StorageError)
        self.stop("disk", error.message, error)
        if not passage.may_be_billed:
            self.hand_back(record, passage, error)
            return
        images = list(self.keep_all(record, error))
        images += [await self.save_image(record, image) for image in error.unsaved]
        for image in images:
            self.store.keep(record.key, image)
        if images and not error.unfetched:
            images.sort(key=lambda image: image.index)
            await self.complete(record, images, {}, error.request_id)

    async def save_image(self, record: Record, image: Image) -> StoredImage:
        """Write an image that is in memory as soon as there is room; it is paid, so there is no giving up."""
        placement = Placement(
            id=record.key, index=image.index, prompt="", model="", date=self.clock.now(), executor=self.executor
        )
        sink = self.sink(record)
        await in_thread(self.executor, self.ballast.drop)
        while True:
            try:
                writer = sink.open(placement)
                await writer.write(image.data)
                stored = to_stored(await writer.keep(await writer.finish()), self.directory)
                return attrs.evolve(stored, revised_prompt=image.revised_prompt)
            except StorageError as error:
                self.note(f"{name(record)} is paid and held in memory until there is room: {error.message}")
                await self.clock.sleep(DISK_WAIT)

    # --- money -------------------------------------------------------------------------------------------------------

    async def reserve(self, record: Record) -> int:
        """Set the worst case of a request aside; waits for what is under way if that may make room."""
        prices = self.options.prices
        worst = prices.worst_case(self.priced(record)) if prices is not None else None
        while not self.budget.reserve(record.key, cost=worst, images=record.wanted):
            if self.stopped is not None:
                raise Halted
            if self.budget.never_fits(worst, record.wanted):
                self.stop("budget", self.budget.describe(worst, record.wanted))
                raise Halted
            await self.changed.wait()
        return worst or 0

    def priced(self, record: Record) -> Mapping[str, object]:
        """Return what a price depends on."""
        return {"model": self.client.model, **record.document}

    def free(self, record: Record) -> None:
        """Take back what was set aside for a request."""
        self.budget.release(record.key)
        self.notify()

    # --- telling -----------------------------------------------------------------------------------------------------

    def tell(
        self,
        kind: Literal["done", "failed", "in_doubt"],
        record: Record,
        *,
        images: tuple[StoredImage, ...] = (),
        failure: Failure | None = None,
    ) -> None:
        """Count a request that came to its end, and say so."""
        self.counts[kind] += 1
        self.made += len(images)
        self.rounds.pop(record.key, None)
        self.say(Event(kind=kind, progress=self.progress(), record=record, images=images, failure=failure))

    def note(self, message: str) -> None:
        """Say something about the run."""
        self.say(Event(kind="note", progress=self.progress(), message=message))

    def say(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)

    def progress(self) -> Progress:
        """Return how far the job is."""
        counts = self.totals.counts
        return Progress(
            requests=self.totals.requests,
            done=counts[State.DONE] + self.counts["done"],
            failed=counts[State.FAILED] + self.counts["failed"],
            in_doubt=counts[State.IN_DOUBT] + self.counts["in_doubt"],
            running=len(self.active),
            images=self.totals.images + self.made,
            cost=self.budget.cost,
            reserved=self.budget.reserved,
            elapsed=self.clock.monotonic() - self.began,
            ended=sum(self.counts.values()),
            made=self.made,
        )


def to_failure(error: ImagesError) -> Failure:
    """Return *error* as the store keeps it."""
    return Failure(
        error=type(error).__name__,
        message=error.message,
        code=getattr(error, "code", None),
        status=getattr(error, "status", None) or None,
    )


def name(record: Record) -> str:
    """Return what a person calls a request."""
    place = f"{record.source}:{record.line}" if record.source else record.key[:8]
    return f"{record.label} ({place})" if record.label else place


def expiry_of(link: Link) -> float:
    return link.expires_at.timestamp() if link.expires_at is not None else 0.0


def earliest(record: Record) -> float:
    return min(map(expiry_of, record.links), default=0.0)


def revised(record: Record, index: int) -> str | None:
    prompts = record.about.get("revised_prompts")
    text = prompts.get(str(index)) if isinstance(prompts, Mapping) else None
    return text if isinstance(text, str) else None
