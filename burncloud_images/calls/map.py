"""
The calls of one map: a task that pulls requests in, a task for each call, and a queue of what came of them.

They belong to the client and not to whoever takes their outcomes, so a loop that is left without a word does not end
what is paid for. However a call ends, its request has one outcome, and that is either taken or passed on as unclaimed.
"""

from __future__ import annotations

import asyncio
import traceback
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
)
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from burncloud_images.calls.background import Background, OnExit
from burncloud_images.calls.course import CallTracker
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.calls.map_limits import InFlightLimit
from burncloud_images.calls.unclaimed import Outcome, Unclaimed
from burncloud_images.errors import Billing, ClientClosedError, ImagesError, find_billing
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import DamagedImage, Done, Failed, Image, ImageDetails, ImagesResult, PartialImage

R = TypeVar("R", bound=ImagesRequest)
T = TypeVar("T", bound=ImageDetails)

Send: TypeAlias = Callable[[R, str, CallHooks], Coroutine[Any, Any, ImagesResult[T]]]


@attrs.define(kw_only=True, eq=False)
class MapRun(Generic[R, T]):
    """
    Runs the calls, as many as the window lets through, until there are no more requests.

    Attributes:
        requests: Pulled one by one, each when there is room for it.
        send: Makes one call, with a key and hooks.
        window: How much may be outstanding.
        on_exit: What becomes of running calls when nobody takes their outcomes any more.
        unclaimed: Takes the outcomes that nobody else takes.
        background: Of the client: this is in it as long as anything runs.
        notes: About money, of calls that were cancelled.
        billed: What they may have cost.
        waiting: How many tasks wait for an outcome.
        is_paused: Whether the last of them was cancelled: it may never come back, so nothing is started for it.
        ended: Set when nothing runs any more.
    """

    requests: Iterable[R] | AsyncIterable[R]
    send: Send[R, T]
    window: InFlightLimit[Outcome[R, T]]
    on_exit: OnExit = attrs.field(validator=attrs.validators.in_(("drain", "cancel")))
    unclaimed: Unclaimed[R, T]
    background: Background
    notes: list[str] = attrs.field(factory=list)
    billed: Billing = Billing.NO
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    queue: asyncio.Queue[Outcome[R, T] | None] = attrs.field(factory=asyncio.Queue)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    running: dict[asyncio.Task[ImagesResult[T]], CallTracker[R]] = attrs.field(factory=dict)
    feeder: asyncio.Task[None] | None = None
    has_begun: bool = False
    is_admitting: bool = True
    is_stopping: bool = False
    is_left: bool = False
    is_abandoned: bool = False
    waiting: int = 0
    is_paused: bool = False
    failure: BaseException | None = None

    def __attrs_post_init__(self) -> None:
        """Belong to the client from now on."""
        self.background.works.add(self)

    def begin(self) -> None:
        """Start to pull requests, or go on with it."""
        if self.is_paused:
            self.is_paused = False
            self.changed.set()
        if not self.has_begun and not self.is_stopping:
            self.has_begun = True
            self.feeder = asyncio.create_task(self.feed())
            self.feeder.add_done_callback(self.end_feeding)

    # --- what runs ----------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Start a call for every request; the next one is pulled when there is room for it."""
        requests = iterate(self.requests)
        try:
            while self.is_admitting:
                while self.is_paused or not self.window.has_room:
                    self.changed.clear()
                    await self.changed.wait()
                try:
                    request = await anext(requests)
                except StopAsyncIteration:
                    return
                if self.is_admitting:  # some sources cling to life
                    self.start(request)
        finally:
            if isinstance(requests, AsyncGenerator):  # which nothing else closes before the garbage collector
                await requests.aclose()

    def start(self, request: R) -> None:
        if not isinstance(request, ImagesRequest):
            raise TypeError(f"client.map takes requests, not {type(request).__name__}")
        course = CallTracker(
            index=self.window.start(), request=request, key=str(uuid.uuid4()), is_stopping=lambda: self.is_stopping
        )
        task = asyncio.create_task(self.send(request, course.key, course))
        self.running[task] = course
        task.add_done_callback(self.end_call)

    def end_call(self, task: asyncio.Task[ImagesResult[T]]) -> None:
        """Make an outcome of how a call ended."""
        course = self.running.pop(task)
        outcome: Outcome[R, T] | None = None
        try:
            error = task.exception()  # unlike result(), it adds no frame that would be kept with the error
        except asyncio.CancelledError as cancelled:
            error = course.cancelled(cancelled)
            self.notes += getattr(cancelled, "__notes__", ())
            self.billed = max(self.billed, find_billing(cancelled))
        if error is None:
            outcome = Done(index=course.index, request=course.request, result=task.result())
            self.window.expect(size_of(outcome))
        elif isinstance(error, ImagesError):
            clear_frames(error)
            outcome = Failed(index=course.index, request=course.request, error=error)
        else:
            self.fail(error)
        size = 0 if outcome is None else size_of(outcome)
        for ready in self.window.end(course.index, outcome, size):
            self.hand_over(ready)
        self.changed.set()
        self.check_end()

    def end_feeding(self, task: asyncio.Task[None]) -> None:
        self.feeder = None
        if task.cancelled():
            if self.is_admitting:
                self.fail(asyncio.CancelledError("The requests of client.map were cancelled."))
        elif error := task.exception():
            self.fail(error)
        self.check_end()

    def fail(self, error: BaseException) -> None:
        """End on a mistake in the program: nothing more is started, and what runs is paid for, so it may finish."""
        if self.failure is None and not self.is_left:
            self.failure = error
        else:
            report(error)
        self.admit_no_more()

    def admit_no_more(self) -> None:
        self.is_admitting = False
        if self.feeder is not None:
            self.feeder.cancel()

    def check_end(self) -> None:
        if self.feeder is None and not self.running and not self.ended.is_set():
            self.ended.set()
            self.queue.put_nowait(None)
            self.background.works.discard(self)
            if self.is_abandoned:
                self.unclaimed.pass_on(self.background.losses)

    # --- who takes the outcomes ---------------------------------------------------------------------------------------

    def hand_over(self, outcome: Outcome[R, T]) -> None:
        if self.is_left:
            self.unclaimed.add(outcome)
        else:
            self.queue.put_nowait(outcome)

    @property
    def outstanding(self) -> Billing:
        """What the calls may cost that have not ended."""
        is_sent = any(not course.is_safe_to_cancel for course in self.running.values())
        return max(self.billed, Billing.MAYBE if is_sent else Billing.NO)

    async def take(self) -> Outcome[R, T]:
        """
        Return the next outcome.

        Raises:
            StopAsyncIteration: There are no more.
            Exception: A mistake in the program; once, and after all outcomes.
        """
        self.waiting += 1
        try:
            outcome = await self.queue.get()
        except asyncio.CancelledError:
            self.is_paused = self.waiting == 1
            raise
        finally:
            self.waiting -= 1
        if outcome is None:
            self.queue.put_nowait(None)  # for others who wait
            failure, self.failure = self.failure, None
            raise failure or StopAsyncIteration
        self.window.take(size_of(outcome))
        self.changed.set()
        return outcome

    def leave(self) -> None:
        """Take no outcomes any more; those that are there, or come, are passed on as unclaimed."""
        if self.is_left:
            return
        self.is_left = True
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for outcome in [*waiting, *self.window.withdraw()]:
            if outcome is not None:
                self.unclaimed.add(outcome)
        if self.ended.is_set():
            self.queue.put_nowait(None)
        if self.failure is not None and not isinstance(self.failure, ImagesError):
            report(self.failure)
        self.failure = None
        self.stop()

    def abandon(self) -> None:
        """Leave, with nobody there who waits for the end."""
        self.is_abandoned = True
        self.leave()
        if self.ended.is_set():
            self.unclaimed.pass_on(self.background.losses)

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing more. Calls that may be billed go on, if that was asked for; all others are cancelled."""
        self.is_stopping = True
        self.admit_no_more()
        for task, course in self.running.items():
            if self.on_exit == "cancel" or course.is_safe_to_cancel:
                course.cancel(task)
        self.check_end()

    def close(self) -> None:
        """
        Stop because the client closes.

        The outcomes that are there can still be taken, unless whoever took them was cancelled.
        """
        if self.is_paused:
            self.abandon()
            return
        has_more = self.feeder is not None or not self.has_begun
        if has_more and not self.is_left and self.failure is None:
            self.failure = ClientClosedError("The client was closed before all requests of client.map were sent.")
        self.stop()

    def cancel(self) -> None:
        """End whatever runs."""
        self.stop()
        for task, course in self.running.items():
            course.cancel(task)


def iterate(requests: Iterable[R] | AsyncIterable[R]) -> AsyncIterator[R]:
    return aiter(requests) if isinstance(requests, AsyncIterable) else step(requests)


async def step(requests: Iterable[R]) -> AsyncIterator[R]:
    for request in requests:
        yield request


def size_of(outcome: Outcome[R, T]) -> int:
    """Return the bytes of images that *outcome* keeps in memory."""
    if isinstance(outcome, Done):
        return sum(image.size for image in outcome.result.images if isinstance(image, Image))
    error = outcome.error
    whole: Iterable[ImageDetails] = getattr(error, "images", ())
    partials: Iterable[PartialImage] = getattr(error, "partials", ())
    damaged: Iterable[DamagedImage] = getattr(error, "damaged", ())
    size = sum(image.size for image in whole if isinstance(image, Image))
    size += sum(partial.image.size for partial in partials)
    return size + sum(len(image.data) + len(image.rest) for image in damaged)


def clear_frames(error: BaseException) -> None:
    """Let go of what the call's variables hold, as bodies and buffers; the traceback still shows where it failed."""
    seen: set[BaseException] = set()
    while error not in seen:
        seen.add(error)
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__ or error


def report(error: BaseException) -> None:
    """Tell of an exception that there is nobody to raise to."""
    context = {"message": "client.map failed after it was left, or had failed before", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
