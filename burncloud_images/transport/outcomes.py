"""
What `client.map` returns: an iterator of outcomes that can be left at any point without losing what is paid for.

It is an async generator's better: leaving an `async for` closes no generator before the garbage collector comes. This
one is a context manager, whose block ends when its calls have ended; and where it is used without a block, its calls
notice that nobody holds it any more, and the client's own end waits for theirs.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import Generic, Self, TypeVar

from burncloud_images.errors import ImagesError, mark
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Done, Failed, ImageDetails
from burncloud_images.transport.calls import Calls, settle

__all__ = ["Outcomes"]

R = TypeVar("R", bound=ImagesRequest)
T = TypeVar("T", bound=ImageDetails)


class Outcomes(Generic[R, T]):
    """
    Iterates over what came of many requests, once; several tasks may share it.

    The first step starts the calls. They run in tasks of their own, so whoever waits for an outcome may give up
    waiting, and wait again.
    """

    def __init__(self, calls: Calls[R, T]) -> None:
        self._calls = calls
        weakref.finalize(self, abandon, calls, asyncio.get_running_loop()).atexit = False

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Done[R, T] | Failed[R, ImagesError]:
        """Return the next outcome."""
        self._calls.begin()
        try:
            return await self._calls.take()
        except asyncio.CancelledError as error:
            if count := len(self._calls.running):
                error.add_note(f"{count} calls of client.map were running; AsyncImagesClient.aclose waits for them.")
            mark(error, self._calls.outstanding)
            raise

    async def aclose(self) -> None:
        """
        Take no more outcomes, and wait until all calls have ended as `on_exit` says.

        Cancellation cancels the calls, and waits for them.
        """
        self._calls.leave()
        try:
            await settle((self._calls,))
        finally:
            self._calls.unclaimed.warn()

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> None:
        """Close it; a `CancelledError` carries notes about cancelled calls that may have been billed."""
        try:
            await self.aclose()
        finally:
            if isinstance(error, asyncio.CancelledError):
                for note in self._calls.notes:
                    error.add_note(note)
                mark(error, self._calls.billed)


def abandon(calls: Calls[R, T], loop: asyncio.AbstractEventLoop) -> None:
    """Let *calls* know that nobody takes their outcomes; may be called in the middle of anything, in any thread."""
    with suppress(RuntimeError):  # the loop is closed, so nothing runs any more
        loop.call_soon_threadsafe(calls.abandon)
