"""
Ctrl-C during a request that costs money.

The first one lets the request that is on its way come to its end, as it may be paid for already; no other is started.
The second one abandons it. Between two attempts nothing is on its way, so the first one ends the waiting at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from burncloud_images.cli.reporting import Reporter
from burncloud_images.results import Attempt

__all__ = ["Abandoned", "Interrupted", "Patience"]

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 (asked for, no error)
    """The first Ctrl-C ended the work; nothing that was left undone was billed."""


class Abandoned(Exception):  # noqa: N818 (asked for, no error)
    """The second Ctrl-C ended a request; the message says whether it may have been billed."""


@attrs.define(kw_only=True)
class Patience:
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
                if self.count == 1:
                    raise Interrupted("Interrupted between two attempts; nothing was billed.") from None
                notes = getattr(error, "__notes__", None) or ["Abandoned before the whole request was sent."]
                raise Abandoned(" ".join(notes)) from None
        return result

    @contextmanager
    def handlers(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        loop.add_signal_handler(signal.SIGTERM, self.abandon)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)
