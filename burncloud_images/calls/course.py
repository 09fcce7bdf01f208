"""How far one call of a map has come: whether it may be ended, and what is to be known if it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from burncloud_images.calls.hooks import CallHooks
from burncloud_images.errors import (
    Billing,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
    find_billing,
)
from burncloud_images.results import Attempt, Unfetched
from burncloud_images.wire.answer import Answer

R = TypeVar("R")


@attrs.define(kw_only=True, eq=False)
class CallTracker(CallHooks, Generic[R]):
    """
    How far one call has come, as its hooks see it.

    Attributes:
        index: Place of its request.
        request: As given.
        key: Its idempotency key.
        is_stopping: Whether attempts that bill are no longer to be started.
        failures: The attempts that failed.
        error: What the last one raised; but nothing replaces one that may have been billed.
        links: Where its images are, if they came as URLs.
        is_safe_to_cancel: Whether it can be ended now without ending anything that may be billed.
        is_cancelled: Whether it has been. Once more would keep it from cleaning up behind itself.
    """

    index: int
    request: R
    key: str
    is_stopping: Callable[[], bool]
    failures: list[Attempt] = attrs.field(factory=list)
    error: ImagesError | None = None
    links: Sequence[Unfetched] = ()
    is_safe_to_cancel: bool = True
    is_cancelled: bool = False

    async def before_attempt(self) -> None:
        """See that something is sent from now on."""
        self.is_safe_to_cancel = False

    async def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """See how an attempt ended. No other follows it on the way out, unless to ask for what may have been billed."""
        if error is None:
            return
        self.failures.append(attempt)
        if self.error is None or not self.error.billed:
            self.error = error
        self.is_safe_to_cancel = attempt.wait is not None and not self.error.billed
        if self.is_safe_to_cancel and self.is_stopping() and (task := asyncio.current_task()):
            self.cancel(task)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """End *task*, which makes the call."""
        if not self.is_cancelled:
            self.is_cancelled = True
            task.cancel()

    async def on_links(self, links: Sequence[Unfetched], answer: Answer) -> None:  # noqa: ARG002 (a hook)
        """Take down where the images are."""
        self.links = links

    def cancelled(self, cancellation: asyncio.CancelledError) -> ImagesError:
        """Return what is to be known about the call, which ended by *cancellation*."""
        error = self.find_error(find_billing(cancellation))
        error.idempotency_key, error.history = self.key, tuple(self.failures)
        return error

    def find_error(self, billed: Billing) -> ImagesError:
        if self.links:
            error = DownloadError("The call was cancelled while its images were fetched.", url=self.links[0].url)
            error.unfetched = tuple(self.links)
            return error
        if self.error is not None and (self.is_safe_to_cancel or self.error.billed):
            return self.error
        if billed:
            unknown = OutcomeUnknownError("The call was cancelled.", phase=Phase.FINAL_RELEASED)
            unknown.billed = billed
            return unknown
        return ConnectionFailedError("The call was cancelled before its request was whole.")
