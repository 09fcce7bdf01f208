"""
Ctrl-C during requests that cost money.

After the first one the current request finishes, as it may be paid for already, and no other starts. The second one
abandons it. Between two attempts the first one ends the wait at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from burncloud_images.cli.reporting import Reporter
from burncloud_images.errors import find_billing
from burncloud_images.results import Attempt

if TYPE_CHECKING:
    from burncloud_images.bulk.job import Job

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 (requested, not an error)
    """The first Ctrl-C ended the work; no unfinished request was billed."""


class Abandoned(Exception):  # noqa: N818 (requested, not an error)
    """The second Ctrl-C ended a request; the message says whether it may have been billed."""


@attrs.define(kw_only=True)
class RequestInterrupts:
    """
    Counts interrupts while one request runs.

    Attributes:
        resting_until: Loop time at which the next attempt starts, after a failed one.
    """

    reporter: Reporter
    task: asyncio.Task[Any] = attrs.field(init=False)
    count: int = 0
    resting_until: float = 0.0

    def attempted(self, attempt: Attempt) -> None:
        """Record the end of an attempt; after an interrupt no other starts."""
        self.reporter.attempted(attempt)
        if attempt.wait is None:
            return
        self.resting_until = asyncio.get_running_loop().time() + attempt.wait
        if self.count:
            self.task.cancel()

    def interrupt(self) -> None:
        """Handle Ctrl-C."""
        self.count += 1
        if self.count > 1 or asyncio.get_running_loop().time() < self.resting_until:
            self.task.cancel()
        else:
            self.reporter.say("note", "finishing the paid request; press Ctrl-C again to abandon it")

    def abandon(self) -> None:
        """Handle SIGTERM: like two Ctrl-C, as it is sent once."""
        self.count += 1
        self.interrupt()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Return what *work* returns.

        Raises:
            Interrupted: It was stopped between two attempts.
            Abandoned: It was stopped during an attempt.
        """
        self.task = asyncio.ensure_future(work)
        with self.handlers():
            try:
                result: T = await self.task
            except asyncio.CancelledError as error:
                if not self.count:
                    raise
                if self.count == 1 and not find_billing(error):
                    raise Interrupted("Interrupted between two attempts; nothing was billed.") from None
                notes = getattr(error, "__notes__", None) or ["Abandoned before the whole request was sent."]
                raise Abandoned(" ".join(notes)) from None
        return result

    def handlers(self) -> AbstractContextManager[None]:
        return signal_handlers({signal.SIGINT: self.interrupt, signal.SIGTERM: self.abandon})


@attrs.define(kw_only=True)
class JobInterrupts:
    """
    Counts interrupts while a job runs: after the first no request starts; the second stops at once.

    Attributes:
        reading: The task that reads the lists, before anything is sent.
    """

    job: Job
    reporter: Reporter
    count: int = 0
    reading: asyncio.Task[None] | None = None

    def interrupt(self) -> None:
        """Handle Ctrl-C."""
        self.count += 1
        if self.reading is not None:
            self.reading.cancel()
        elif self.count == 1:
            self.job.drain()
            self.reporter.say("note", "finishing requests already sent; press Ctrl-C again to abandon them")
        else:
            self.job.abandon()

    def terminate(self) -> None:
        """Handle SIGTERM or SIGHUP: like one Ctrl-C, however often it is sent."""
        if not self.count:
            self.interrupt()

    async def read(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Run *work*, which reads lists.

        Raises:
            Interrupted: It was stopped.
        """
        self.reading = asyncio.ensure_future(work)
        try:
            await self.reading
        except asyncio.CancelledError:
            if not self.count:
                raise
            message = "Interrupted before anything was sent; the same command resumes the job."
            raise Interrupted(message) from None
        finally:
            self.reading = None

    def handlers(self) -> AbstractContextManager[None]:
        """Handle interrupts, and SIGHUP unless `nohup` ignores it."""
        handlers = {signal.SIGINT: self.interrupt, signal.SIGTERM: self.terminate}
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            handlers[signal.SIGHUP] = self.terminate
        return signal_handlers(handlers)


@contextmanager
def signal_handlers(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Install signal handlers in the running event loop."""
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
