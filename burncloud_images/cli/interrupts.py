"""
Ctrl-C during a request that costs money.

The first one lets the request that is on its way come to its end, as it may be paid for already; no other is started.
The second one abandons it. Between two attempts nothing is on its way, so the first one ends the waiting at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import attrs

from burncloud_images.cli.reporting import Reporter
from burncloud_images.errors import find_billing
from burncloud_images.results import Attempt

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 (asked for, no error)
    """The first Ctrl-C ended the work; nothing that was left undone was billed."""


class Abandoned(Exception):  # noqa: N818 (asked for, no error)
    """The second Ctrl-C ended a request; the message says whether it may have been billed."""


@attrs.define(kw_only=True)
class RequestInterrupts:
    """
    Counts interrupts while one request runs.

    Attributes:
        reporter: Told what happens.
        task: The request.
        count: Interrupts so far.
        resting_until: Loop time at which the next attempt starts, if one has failed.
    """

    reporter: Reporter
    task: asyncio.Task[Any] = attrs.field(init=False)
    count: int = 0
    resting_until: float = 0.0

    def attempted(self, attempt: Attempt) -> None:
        """Take note that an attempt has ended; after an interrupt no other starts."""
        self.reporter.attempted(attempt)
        if attempt.wait is None:
            return
        self.resting_until = asyncio.get_running_loop().time() + attempt.wait
        if self.count:
            self.task.cancel()

    def interrupt(self) -> None:
        """Take one Ctrl-C."""
        self.count += 1
        if self.count > 1 or asyncio.get_running_loop().time() < self.resting_until:
            self.task.cancel()
        else:
            self.reporter.say("note", "finishing the paid request; press Ctrl-C again to abandon it")

    def abandon(self) -> None:
        """Take a request to terminate, which is not made twice."""
        self.count += 1
        self.interrupt()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Return what *work* returns.

        Raises:
            Interrupted: It was ended between two attempts.
            Abandoned: It was ended while a request was on its way.
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


class Stoppable(Protocol):
    """Work that can be ended kindly, or at once."""

    def drain(self) -> None:
        """Start nothing more."""

    def abandon(self) -> None:
        """Give up what is under way as well."""


@attrs.define(kw_only=True)
class JobInterrupts:
    """
    Counts interrupts while a job runs: the first one starts nothing more, the second one gives up what is under way.

    Attributes:
        job: Is told.
        reporter: Likewise.
        count: Interrupts so far.
        reading: What reads the lists, while that is done; nothing is sent before.
    """

    job: Stoppable
    reporter: Reporter
    count: int = 0
    reading: asyncio.Task[None] | None = None

    def interrupt(self) -> None:
        """Take one Ctrl-C."""
        self.count += 1
        if self.reading is not None:
            self.reading.cancel()
        elif self.count == 1:
            self.job.drain()
            self.reporter.say("note", "finishing what is paid for; press Ctrl-C again to abandon it")
        else:
            self.job.abandon()

    def terminate(self) -> None:
        """Take a request to terminate, which is as one Ctrl-C however often it is made."""
        if not self.count:
            self.interrupt()

    async def read(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Let *work* read lists.

        Raises:
            Interrupted: It was ended.
        """
        self.reading = asyncio.ensure_future(work)
        try:
            await self.reading
        except asyncio.CancelledError:
            if not self.count:
                raise
            message = "Interrupted before anything was sent; the same command goes on where this one stopped."
            raise Interrupted(message) from None
        finally:
            self.reading = None

    def handlers(self) -> AbstractContextManager[None]:
        """Take interrupts in place of the event loop, and the end of the terminal unless `nohup` ignores it."""
        handlers = {signal.SIGINT: self.interrupt, signal.SIGTERM: self.terminate}
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            handlers[signal.SIGHUP] = self.terminate
        return signal_handlers(handlers)


@contextmanager
def signal_handlers(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Let functions take signals, within a running event loop."""
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
