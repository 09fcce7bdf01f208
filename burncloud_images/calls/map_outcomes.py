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

from burncloud_images.calls.map import MapRun
from burncloud_images.errors import ImagesError, mark
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Done, Failed, ImageDetails

R = TypeVar("R", bound=ImagesRequest)
T = TypeVar("T", bound=ImageDetails)


class Outcomes(Generic[R, T]):
    """
    Iterates over what came of many requests, once; several tasks may share it.

    The first step starts the calls. They run in tasks of their own, so whoever waits for an outcome may give up
    waiting, and wait again.
    """

    def __init__(self, calls: MapRun[R, T]) -> None:
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
            note_running(error, self._calls)
            raise

    async def aclose(self) -> None:
        """
        Take no more outcomes, and wait until all calls have ended as `on_exit` says.

        Cancellation leaves at once. The calls go on, and the client's end waits for them.
        """
        self._calls.leave()
        try:
            await self._calls.ended.wait()
        except asyncio.CancelledError as error:
            note_running(error, self._calls)
            self._calls.abandon()
            raise
        self._calls.unclaimed.warn()

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> None:
        """
        Close it. If it is left by cancellation, calls that may be billed go on without being waited for.

        A `CancelledError` carries notes about calls that were cancelled and may have been billed.
        """
        calls = self._calls
        if isinstance(error, asyncio.CancelledError) and calls.on_exit == "drain":
            calls.abandon()
            note_running(error, calls)
            return
        try:
            await self.aclose()
        finally:
            if isinstance(error, asyncio.CancelledError):
                for note in calls.notes:
                    error.add_note(note)
                mark(error, calls.billed)


GO_ON = "calls of client.map were running; AsyncImagesClient.aclose waits for them."


def note_running(error: asyncio.CancelledError, calls: MapRun[R, T]) -> None:
    """Note on *error* how many calls go on, once, and what they may cost."""
    mark(error, calls.outstanding)
    count, notes = len(calls.running), getattr(error, "__notes__", ())
    if count and not any(note.endswith(GO_ON) for note in notes):
        error.add_note(f"{count} {GO_ON}")


def abandon(calls: MapRun[R, T], loop: asyncio.AbstractEventLoop) -> None:
    """Let *calls* know that nobody takes their outcomes; may be called in the middle of anything, in any thread."""
    try:
        loop.call_soon_threadsafe(calls.abandon)
    except RuntimeError:  # the loop is closed, so nothing runs any more, and what came is told at once
        with suppress(RuntimeError):
            calls.abandon()
