"""
The calls of one `client.map`: a task that pulls requests, a task for each call, and a queue of outcomes.

They belong to the client and not to the code that takes the outcomes, so leaving a loop does not end calls that are
paid for. Every request that was pulled has one outcome, which is either taken or passed on as unclaimed.
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
    Mapping,
    Sequence,
)
from enum import Enum
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from burncloud_images.calls.background import BackgroundTasks, OnExit
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.calls.map_limits import InFlightLimit
from burncloud_images.calls.unclaimed_outcomes import Outcome, UnclaimedOutcomes
from burncloud_images.errors import (
    Billing,
    ClientClosedError,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
    find_billing,
)
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import (
    Attempt,
    Done,
    Failed,
    Image,
    ImageDetails,
    ImagesResult,
    Unfetched,
)
from burncloud_images.retry import choose_error
from burncloud_images.wire.answer import ImagesAnswer

R = TypeVar("R", bound=ImagesRequest)
T = TypeVar("T", bound=ImageDetails)

Send: TypeAlias = Callable[[R, str, CallHooks], Coroutine[Any, Any, ImagesResult[T]]]


# --- the states -------------------------------------------------------------------------------------------------------


class MapState(Enum):
    """
    The state of a map.

    Whether calls still run is not part of it: a map has ended when it is past `PULLING` and none does.
    """

    NEW = "nobody has asked for an outcome yet"
    PULLING = "the next request is pulled when there is room for it"
    PAUSED = "the last task that waited for an outcome was cancelled; nothing is started until one waits again"
    FINISHING = "no more requests are pulled; calls continue, with all their retries"
    UNATTENDED = "finishing, but the last task that waited for an outcome was cancelled"
    STOPPING = "no attempt is started that would buy something new; outcomes can still be taken"
    LEFT = "stopping, and nobody takes outcomes: they are unclaimed"
    ABANDONED = "left, and nobody waits for the end"


OPEN = frozenset({MapState.NEW, MapState.PULLING, MapState.PAUSED})
"""There may be more requests."""
BUYING = OPEN | {MapState.FINISHING, MapState.UNATTENDED}
"""Calls may start attempts that buy something."""
TAKEN = BUYING | {MapState.STOPPING}
"""Outcomes wait in the queue; in the other states they are unclaimed."""

Event: TypeAlias = Literal["wait", "give up", "end of requests", "stop", "leave", "abandon"]

TRANSITIONS: Mapping[Event, Mapping[MapState, MapState]] = {
    "wait": {
        MapState.NEW: MapState.PULLING,
        MapState.PAUSED: MapState.PULLING,
        MapState.UNATTENDED: MapState.FINISHING,
    },
    "give up": {MapState.PULLING: MapState.PAUSED, MapState.FINISHING: MapState.UNATTENDED},
    "end of requests": {MapState.PULLING: MapState.FINISHING, MapState.PAUSED: MapState.UNATTENDED},
    "stop": dict.fromkeys(BUYING, MapState.STOPPING),
    "leave": dict.fromkeys(TAKEN, MapState.LEFT),
    "abandon": dict.fromkeys(TAKEN | {MapState.LEFT}, MapState.ABANDONED),
}
"""Where each event leads from each state; in a state that is not named it changes nothing."""


# --- one call ---------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class CallTracker(CallHooks, Generic[R]):
    """
    The hooks of one call: whether it may be cancelled, and what is known about it if it was.

    Attributes:
        index: Place of its request.
        request: As given.
        key: Its idempotency key.
        may_buy: Whether attempts that buy something new may still be started.
        failed: The attempts that failed.
        failures: What they raised.
        links: Where its images are, if they came as URLs.
        is_safe_to_cancel: Whether cancelling it now ends nothing that may be billed.
        is_cancelled: Whether it has been cancelled. A second cancellation would interrupt its cleaning up.
    """

    index: int
    request: R
    key: str
    may_buy: Callable[[], bool]
    failed: list[Attempt] = attrs.field(factory=list)
    failures: list[ImagesError] = attrs.field(factory=list)
    links: Sequence[Unfetched] = ()
    is_safe_to_cancel: bool = True
    is_cancelled: bool = False

    async def before_attempt(self) -> None:
        """Record that something is sent from now on."""
        self.is_safe_to_cancel = False

    async def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """Record the attempt. While the map stops, only a call that may have been billed goes on to the next one."""
        if error is None:
            return
        self.failed.append(attempt)
        self.failures.append(error)
        self.is_safe_to_cancel = attempt.wait is not None and not any(failure.billed for failure in self.failures)
        if self.is_safe_to_cancel and not self.may_buy() and (task := asyncio.current_task()):
            self.cancel(task)  # its own: it ends at its next await, which waits for the next attempt

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel *task*, which makes the call; once."""
        if not self.is_cancelled:
            self.is_cancelled = True
            task.cancel()

    async def on_links(self, links: Sequence[Unfetched], answer: ImagesAnswer) -> None:  # noqa: ARG002 (a hook)
        """Record where the images are."""
        self.links = links

    def to_error(self, cancellation: asyncio.CancelledError) -> ImagesError:
        """Return what is known about the call, which ended by *cancellation*."""
        error = self.find_error(find_billing(cancellation))
        error.idempotency_key, error.history = self.key, tuple(self.failed)
        error.task = error.task or getattr(cancellation, "task", None)
        return error

    def find_error(self, billed: Billing) -> ImagesError:
        if self.links:
            error = DownloadError("The call was cancelled while its images were fetched.", url=self.links[0].url)
            error.unfetched = tuple(self.links)
            return error
        if self.failures and (self.is_safe_to_cancel or any(failure.billed for failure in self.failures)):
            return choose_error(self.failures)
        if billed:
            unknown = OutcomeUnknownError("The call was cancelled.", phase=Phase.FINAL_RELEASED)
            unknown.billed = billed
            return unknown
        return ConnectionFailedError("The call was cancelled before its request was whole.")


# --- all calls --------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class MapRun(Generic[R, T]):
    """
    Makes a call for each request, and keeps the number in flight within a limit.

    Attributes:
        requests: Pulled one by one, each when there is room for it.
        send: Makes one call, with a key and hooks.
        limit: How much may be in flight.
        on_exit: What to do with running calls when nobody takes their outcomes any more.
        unclaimed: Receives the outcomes that nobody takes.
        background: The client's; it holds the map while calls run.
        notes: About money, of calls that were cancelled.
        billed: What they may have cost.
        ended: Set when nothing runs any more.
        queue: Outcomes to be taken; None marks the end.
        changed: Wakes the task that pulls requests.
        feeder: That task, while it runs.
        waiting: Number of tasks that wait for an outcome.
        failure: A mistake in the program, to be raised after all outcomes.
    """

    requests: Iterable[R] | AsyncIterable[R]
    send: Send[R, T]
    limit: InFlightLimit[Outcome[R, T]]
    on_exit: OnExit = attrs.field(validator=attrs.validators.in_(("drain", "cancel")))
    unclaimed: UnclaimedOutcomes[R, T]
    background: BackgroundTasks
    state: MapState = MapState.NEW
    notes: list[str] = attrs.field(factory=list)
    billed: Billing = Billing.NO
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    queue: asyncio.Queue[Outcome[R, T] | None] = attrs.field(factory=asyncio.Queue)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    running: dict[asyncio.Task[ImagesResult[T]], CallTracker[R]] = attrs.field(factory=dict)
    feeder: asyncio.Task[None] | None = None
    waiting: int = 0
    failure: BaseException | None = None

    def __attrs_post_init__(self) -> None:
        """Belong to the client from now on."""
        self.background.works.add(self)

    def move(self, event: Event) -> MapState | None:
        """Apply *event*, and return the previous state; None if it changes nothing."""
        before, after = self.state, TRANSITIONS[event].get(self.state)
        if after is None:
            return None
        self.state = after
        return before

    def begin(self) -> None:
        """Start to pull requests, or go on after a pause."""
        before = self.move("wait")
        if before is MapState.NEW:
            self.feeder = asyncio.create_task(self.feed())
            self.feeder.add_done_callback(self.end_feeding)
        elif before is not None:
            self.changed.set()

    # --- what runs ----------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Start a call for every request; the next one is pulled when there is room for it."""
        requests = iterate(self.requests)
        try:
            while self.state in OPEN:
                while self.state is MapState.PAUSED or not self.limit.has_room:
                    self.changed.clear()
                    await self.changed.wait()
                try:
                    request = await anext(requests)
                except StopAsyncIteration:
                    return
                if self.state in OPEN:  # a source may swallow the cancellation and yield once more
                    self.start(request)
        finally:
            if isinstance(requests, AsyncGenerator):  # otherwise it is closed when it is garbage-collected
                await requests.aclose()

    def start(self, request: R) -> None:
        if not isinstance(request, ImagesRequest):
            raise TypeError(f"client.map takes requests, not {type(request).__name__}")
        call = CallTracker(
            index=self.limit.start(), request=request, key=str(uuid.uuid4()), may_buy=lambda: self.state in BUYING
        )
        task = asyncio.create_task(self.send(request, call.key, call))
        self.running[task] = call
        task.add_done_callback(self.end_call)

    def end_call(self, task: asyncio.Task[ImagesResult[T]]) -> None:
        """Hand over the outcome of a call that has ended."""
        call = self.running.pop(task)
        outcome = self.find_outcome(task, call)
        size = 0 if outcome is None else size_of(outcome)
        if isinstance(outcome, Done):
            self.limit.expect(size)
        for ready in self.limit.end(call.index, outcome, size):
            self.hand_over(ready)
        self.changed.set()
        self.check_end()

    def find_outcome(self, task: asyncio.Task[ImagesResult[T]], call: CallTracker[R]) -> Outcome[R, T] | None:
        """Return the outcome of a call; None after a mistake in the program."""
        try:
            error = task.exception()  # unlike result(), it adds no frame that would be kept with the error
        except asyncio.CancelledError as cancelled:
            error = call.to_error(cancelled)
            self.notes += getattr(cancelled, "__notes__", ())
            self.billed = max(self.billed, find_billing(cancelled))
        if error is None:
            return Done(index=call.index, request=call.request, result=task.result())
        if isinstance(error, ImagesError):
            clear_frames(error)
            return Failed(index=call.index, request=call.request, error=error)
        self.fail(error)
        return None

    def end_feeding(self, task: asyncio.Task[None]) -> None:
        self.feeder = None
        is_cancelled_by_us = self.move("end of requests") is None
        if task.cancelled():
            if not is_cancelled_by_us:
                self.fail(asyncio.CancelledError("The requests of client.map were cancelled."))
        elif error := task.exception():
            self.fail(error)
        self.check_end()

    def fail(self, error: BaseException) -> None:
        """End on a mistake in the program: nothing more is started; what runs is paid for, so it may finish."""
        if self.failure is None and self.state in TAKEN:
            self.failure = error
        else:
            report(error)
        self.move("end of requests")
        self.end_pulling()

    def end_pulling(self) -> None:
        if self.feeder is not None:
            self.feeder.cancel()

    def check_end(self) -> None:
        if self.feeder is None and not self.running and not self.ended.is_set():
            self.ended.set()
            self.queue.put_nowait(None)
            self.background.works.discard(self)
            if self.state is MapState.ABANDONED:
                self.unclaimed.pass_on(self.background.losses)

    # --- who takes the outcomes ---------------------------------------------------------------------------------------

    def hand_over(self, outcome: Outcome[R, T]) -> None:
        if self.state in TAKEN:
            self.queue.put_nowait(outcome)
        else:
            self.unclaimed.add(outcome)

    @property
    def outstanding(self) -> Billing:
        """What the calls that have not ended may cost."""
        is_sent = any(not call.is_safe_to_cancel for call in self.running.values())
        return max(self.billed, Billing.MAYBE if is_sent else Billing.NO)

    async def take(self) -> Outcome[R, T]:
        """
        Return the next outcome.

        Raises:
            StopAsyncIteration: All outcomes have been taken.
            Exception: A mistake in the program; once, and after all outcomes.
        """
        self.waiting += 1
        try:
            outcome = await self.queue.get()
        except asyncio.CancelledError:
            if self.waiting == 1:
                self.move("give up")
            raise
        finally:
            self.waiting -= 1
        if outcome is None:
            self.queue.put_nowait(None)  # for other tasks that wait
            failure, self.failure = self.failure, None
            raise failure or StopAsyncIteration
        self.limit.take(size_of(outcome))
        self.changed.set()
        return outcome

    def leave(self) -> None:
        """Return no more outcomes; those in the queue and later ones become unclaimed."""
        if self.move("leave") is not None:
            self.disown()

    def abandon(self) -> None:
        """Leave, and do not wait for the end."""
        before = self.move("abandon")
        if before in TAKEN:
            self.disown()
        if self.ended.is_set():
            self.unclaimed.pass_on(self.background.losses)

    def disown(self) -> None:
        queued = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for outcome in [*queued, *self.limit.withdraw()]:
            if outcome is not None:
                self.unclaimed.add(outcome)
        if self.ended.is_set():
            self.queue.put_nowait(None)
        if self.failure is not None and not isinstance(self.failure, ImagesError):
            report(self.failure)
        self.failure = None
        self.stop()

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing more. Calls that may be billed go on if `on_exit` says so; all others are cancelled."""
        self.move("stop")
        self.end_pulling()
        for task, call in self.running.items():
            if self.on_exit == "cancel" or call.is_safe_to_cancel:
                call.cancel(task)
        self.check_end()

    def close(self) -> None:
        """
        Stop because the client closes.

        Outcomes in the queue can still be taken, unless the last task that waited for one was cancelled.
        """
        if self.state in {MapState.PAUSED, MapState.UNATTENDED}:
            self.abandon()
            return
        if self.state in OPEN and self.failure is None:
            self.failure = ClientClosedError("The client was closed before all requests of client.map were sent.")
        self.stop()

    def cancel(self) -> None:
        """Cancel everything that runs."""
        self.stop()
        for task, call in self.running.items():
            call.cancel(task)


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
    size = sum(image.size for image in error.images if isinstance(image, Image))
    size += sum(partial.image.size for partial in error.partials)
    return size + sum(len(image.data) + len(image.rest) for image in error.damaged)


def clear_frames(error: BaseException) -> None:
    """Release what the call's variables hold, such as bodies and buffers; the traceback still shows where it failed."""
    seen: set[BaseException] = set()
    while error not in seen:
        seen.add(error)
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__ or error


def report(error: BaseException) -> None:
    """Tell of an exception that there is nobody to raise to."""
    context = {"message": "client.map failed after it was left, or had failed before", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
