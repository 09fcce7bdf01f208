"""
What goes on behind its caller, in tasks that belong to the client.

Frameworks cancel a caller again and again until it has left. What has to come to its end all the same, a paid call or
the removal of half a file, therefore runs in a task that no caller's cancellation reaches.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from burncloud_images.calls.unclaimed import Losses
from burncloud_images.errors import SENTENCES, Billing, ImagesError, ImagesWarning, find_billing, mark
from burncloud_images.results import ImagesResult
from burncloud_images.telemetry import log_warning

T = TypeVar("T")

OnExit: TypeAlias = Literal["drain", "cancel"]


class Work(Protocol):
    """Something that goes on, and that the client waits for when it closes."""

    @property
    def ended(self) -> asyncio.Event:
        """Set when it has ended."""

    @property
    def close(self) -> Callable[[], object]:
        """Starts nothing more that costs money, and lets the rest end as it was asked to."""

    @property
    def cancel(self) -> Callable[[], object]:
        """Gives up what is under way as well."""


@attrs.define(eq=False)
class Errand:
    """
    A task as work.

    Attributes:
        task: Does it.
        close: Is called when the client closes.
        cancel: Is called when nothing is to go on any more.
        ended: Set when the task has ended.
    """

    task: asyncio.Task[Any]
    close: Callable[[], object]
    cancel: Callable[[], object]
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)


class Watch(asyncio.Future[None]):
    """
    Done when a task is; cancelling it cancels the task at that very moment.

    A turn of the loop later the task could have sent what was not to be sent any more.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        super().__init__(loop=task.get_loop())
        self.task = task
        task.add_done_callback(self.end)

    def end(self, _task: asyncio.Task[Any]) -> None:
        """See that the task is done."""
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: object = None) -> bool:
        """Cancel the task, once."""
        if not self.done():
            self.task.cancel()
        return super().cancel(msg)


@attrs.define(eq=False)
class Background:
    """
    What goes on behind a client's callers.

    Attributes:
        works: All that has not ended.
        losses: What calls brought that nobody takes any more.
    """

    works: set[Work] = attrs.field(factory=set)
    losses: Losses = attrs.field(factory=Losses)

    async def call(self, work: Coroutine[Any, Any, T], *, worst: Billing = Billing.MAYBE) -> T:
        """
        Return what *work* returns; its caller may leave at any time.

        Args:
            work: Is done in a task of its own.
            worst: What it may have cost, as far as is known before it has ended.

        Cancellation cancels *work*, once, waits until it has cleaned up, and takes over what it says of money. Another
        one leaves at once.
        """
        task = asyncio.create_task(work)
        try:
            await Watch(task)
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
        Wait for *task*, which has been cancelled and cleans up behind itself.

        Args:
            task: Is to end.
            error: Why its caller leaves: a `CancelledError` is to say what the task may have cost, as is the log. None
                if all is well, and nothing is to be told.
            worst: What the task may have cost, as far as is known before it has ended.

        Cancellation leaves at once, and the task ends behind the caller's back.
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
        """Let the client's end wait for *task*, and return it."""
        errand = Errand(task, close, cancel)

        def end(_task: asyncio.Task[T]) -> None:
            self.works.discard(errand)
            errand.ended.set()

        self.works.add(errand)
        task.add_done_callback(end)
        return task

    async def end(self, on_exit: OnExit | None) -> None:
        """
        Wait until everything has ended as it was asked to, or as *on_exit* says.

        Cancellation cancels everything, and waits for that.
        """
        for work in tuple(self.works):
            work.close()
        if on_exit == "cancel":
            self.cancel()
        try:
            await self.settle()
        except asyncio.CancelledError:
            self.cancel()
            await self.settle()
            raise

    def cancel(self) -> None:
        """Give up what is under way."""
        for work in tuple(self.works):
            work.cancel()

    def warn(self) -> None:
        """Warn whoever closes the client of what was paid for and nobody took; once."""
        losses, self.losses = self.losses, Losses()
        if losses:
            warnings.warn(str(losses), ImagesWarning, stacklevel=4)

    async def settle(self) -> None:
        while self.works:
            await next(iter(self.works)).ended.wait()


def nothing() -> None:
    """Leave a task alone that has been cancelled: once more would keep it from cleaning up."""


def tell(task: asyncio.Task[Any], error: BaseException | None) -> None:
    """Log what *task*, whose caller has left by *error*, may have cost; a `CancelledError` is to say so too."""
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
class End:
    """
    How a call ended that nobody waits for any more.

    Attributes:
        source: Its result or error.
        message: What is to be told, if anything is.
        billed: Whether it may.
    """

    source: object
    message: str = ""
    billed: Billing = Billing.NO

    @property
    def facts(self) -> dict[str, object]:
        """What finds it again."""
        names = ("idempotency_key", "phase")
        return {name: value for name in names if (value := getattr(self.source, name, None)) is not None}


def find_end(task: asyncio.Task[Any]) -> End:
    """Return how *task* ended; what was no failure of a call is nobody's concern by now."""
    try:
        result = task.result()
    except asyncio.CancelledError as cancelled:
        notes = " ".join(getattr(cancelled, "__notes__", ()))
        return End(source=cancelled, message=notes, billed=find_billing(cancelled))
    except ImagesError as failure:
        message = f"Cancelled as it failed: {failure}" if failure.billed else ""
        return End(source=failure, message=message, billed=failure.billed)
    except Exception as mistake:  # noqa: BLE001 (one in the program, of which the task has told)
        return End(source=mistake)
    if not isinstance(result, ImagesResult):
        return End(source=result, billed=result if isinstance(result, Billing) else Billing.NO)
    message = f"Cancelled as its images had come, idempotency key {result.idempotency_key}. {SENTENCES[Billing.YES]}"
    return End(source=result, message=message, billed=Billing.YES)
