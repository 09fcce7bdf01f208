"""
Background work that continues after its caller has left, in tasks that belong to the client.

Frameworks cancel a caller repeatedly until it has left. Work that has to finish anyway, such as a paid call or
the removal of a partial file, runs in a task of its own, which those cancellations do not reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from burncloud_images.calls.unclaimed_outcomes import UnclaimedLosses
from burncloud_images.errors import SENTENCES, Billing, ImagesError, find_billing, mark, show_warning
from burncloud_images.log_records import log_warning
from burncloud_images.results import ImagesResult

T = TypeVar("T")

OnExit: TypeAlias = Literal["drain", "cancel"]


class BackgroundWork(Protocol):
    """Something that the client waits for when it closes."""

    @property
    def ended(self) -> asyncio.Event:
        """Set when it has ended."""

    @property
    def close(self) -> Callable[[], object]:
        """Starts nothing more that costs money, and lets the rest finish."""

    @property
    def cancel(self) -> Callable[[], object]:
        """Cancels what is running as well."""


@attrs.define(eq=False)
class BackgroundTask:
    """
    A single task as `BackgroundWork`.

    Attributes:
        task: Does the work.
        close: Called when the client closes.
        cancel: Called when everything is cancelled.
        ended: Set when the task has ended.
    """

    task: asyncio.Task[Any]
    close: Callable[[], object]
    cancel: Callable[[], object]
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)


class TaskFuture(asyncio.Future[None]):
    """
    Done when a task is done; cancelling it cancels the task immediately.

    One turn of the event loop later the task could already have sent the request.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        super().__init__(loop=task.get_loop())
        self.task = task
        task.add_done_callback(self.end)

    def end(self, _task: asyncio.Task[Any]) -> None:
        """Finish with the task."""
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the task, once."""
        if not self.done():
            self.task.cancel()
        return super().cancel(msg)


@attrs.define(eq=False)
class BackgroundTasks:
    """
    The background work of one client.

    Attributes:
        works: Everything that has not ended.
        losses: Results that nobody takes any more.
    """

    works: set[BackgroundWork] = attrs.field(factory=set)
    losses: UnclaimedLosses = attrs.field(factory=UnclaimedLosses)

    async def call(self, work: Coroutine[Any, Any, T], *, worst: Billing = Billing.MAYBE) -> T:
        """
        Return what *work* returns; its caller may leave at any time.

        Args:
            work: Runs in a task of its own.
            worst: What it may have cost, as far as is known before it has ended.

        Cancellation cancels *work*, once, waits until it has cleaned up, and takes over what it says about billing. A
        second cancellation leaves at once.
        """
        task = asyncio.create_task(work)
        try:
            await TaskFuture(task)
        except asyncio.CancelledError as error:
            await self.leave(task, error, worst=worst)
            raise
        try:
            return task.result()
        finally:
            del task  # it holds the exception, which holds this frame

    async def leave(
        self, task: asyncio.Task[Any], error: BaseException | None, *, worst: Billing = Billing.MAYBE
    ) -> None:
        """
        Wait for *task*, which has been cancelled and is cleaning up.

        Args:
            task: Is about to end.
            error: Why its caller leaves: the log says what the task may have cost, and so does a `CancelledError`. None
                if there is nothing to say.
            worst: What the task may have cost, as far as is known before it has ended.

        Cancellation leaves at once, and the task ends without its caller.
        """
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as another:
            if task.done():
                tell(task, another)
            else:
                mark(another, worst)
                self.keep(task, close=nothing, cancel=nothing).add_done_callback(lambda task: tell(task, error))
            raise
        tell(task, error)

    def keep(
        self, task: asyncio.Task[T], *, close: Callable[[], object], cancel: Callable[[], object]
    ) -> asyncio.Task[T]:
        """Let the client wait for *task* when it closes, and return it."""
        work = BackgroundTask(task, close, cancel)

        def end(_task: asyncio.Task[T]) -> None:
            self.works.discard(work)
            work.ended.set()

        self.works.add(work)
        task.add_done_callback(end)
        return task

    async def end(self, on_exit: OnExit | None) -> None:
        """
        Let all work end, and wait for it.

        If *on_exit* is `cancel`, everything is cancelled; otherwise all work ends as its own `on_exit` says.

        Cancellation cancels everything, and waits until that has ended.
        """
        for work in tuple(self.works):
            work.close()
        if on_exit == "cancel":
            self.cancel()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.cancel()
            await self.wait_closed()
            raise

    def cancel(self) -> None:
        """Cancel everything that runs."""
        for work in tuple(self.works):
            work.cancel()

    def warn(self) -> None:
        """Warn the code that closes the client about paid results that nobody took; once."""
        losses, self.losses = self.losses, UnclaimedLosses()
        if losses:
            show_warning(str(losses), stacklevel=5)

    async def wait_closed(self) -> None:
        while self.works:
            await next(iter(self.works)).ended.wait()


def nothing() -> None:
    """Do nothing: the task is cancelled already, and a second cancellation would interrupt its cleaning up."""


def tell(task: asyncio.Task[Any], error: BaseException | None) -> None:
    """Log what *task*, whose caller has left with *error*, may have cost; a `CancelledError` says so too."""
    end = find_end(task)
    if error is None or error is end.source:
        return
    if end.message:
        log_warning(end.message, billed=end.billed, **end.facts)
    if isinstance(error, asyncio.CancelledError):
        mark(error, end.billed)
        error.__dict__.update(end.facts)
        if end.message:
            error.add_note(end.message)


@attrs.frozen(kw_only=True)
class UnawaitedResult:
    """
    How a call ended for which nobody waits any more.

    Attributes:
        source: Its result or error.
        message: What the log and the caller are told; empty if nothing.
        billed: Whether it was, as far as is known.
    """

    source: object
    message: str = ""
    billed: Billing = Billing.NO

    @property
    def facts(self) -> dict[str, object]:
        """What identifies it: idempotency key, phase and task."""
        names = ("idempotency_key", "phase", "task")
        return {name: value for name in names if (value := getattr(self.source, name, None)) is not None}


def find_end(task: asyncio.Task[Any]) -> UnawaitedResult:
    """Return how *task* ended."""
    try:
        result = task.result()
    except asyncio.CancelledError as cancelled:
        notes = " ".join(getattr(cancelled, "__notes__", ()))
        return UnawaitedResult(source=cancelled, message=notes, billed=find_billing(cancelled))
    except ImagesError as failure:
        message = f"Cancelled as it failed: {failure}" if failure.billed else ""
        return UnawaitedResult(source=failure, message=message, billed=failure.billed)
    except Exception as mistake:  # noqa: BLE001 (one in the program, which the task has raised)
        return UnawaitedResult(source=mistake)
    if not isinstance(result, ImagesResult):
        return UnawaitedResult(source=result, billed=result if isinstance(result, Billing) else Billing.NO)
    message = (
        f"Cancelled when its images had arrived, idempotency key {result.idempotency_key}. {SENTENCES[Billing.YES]}"
    )
    return UnawaitedResult(source=result, message=message, billed=Billing.YES)
