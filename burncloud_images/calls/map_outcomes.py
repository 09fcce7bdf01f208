"""
What `client.map` returns: an iterator of outcomes that can be left at any point without losing what is paid for.

It is not an async generator: leaving an `async for` does not close one until it is garbage-collected. It is a context
manager instead, whose block ends when its calls have ended. Used without a block, its calls notice when the iterator is
garbage-collected, and closing the client waits for them.
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
    Iterates once over the outcomes of many requests; several tasks may share it.

    The first step starts the calls. They run in tasks of their own, so a task may stop waiting for an outcome and wait
    again later.
    """

    def __init__(self, run: MapRun[R, T]) -> None:
        self._run = run
        weakref.finalize(self, abandon, run, asyncio.get_running_loop()).atexit = False

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Done[R, T] | Failed[R, ImagesError]:
        """Return the next outcome."""
        self._run.begin()
        try:
            return await self._run.take()
        except asyncio.CancelledError as error:
            note_running(error, self._run)
            raise

    async def aclose(self) -> None:
        """
        Take no more outcomes, and wait until all calls have ended as `on_exit` says.

        Cancellation leaves at once. The calls go on, and closing the client waits for them.
        """
        self._run.leave()
        try:
            await self._run.ended.wait()
        except asyncio.CancelledError as error:
            note_running(error, self._run)
            self._run.abandon()
            raise
        self._run.unclaimed.warn()

    async def __aenter__(self) -> Self:
        """Return the iterator."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> None:
        """
        Close the iterator. After a cancellation it does not wait for calls that may be billed; they go on.

        A `CancelledError` carries notes about calls that were cancelled and may have been billed.
        """
        run = self._run
        if isinstance(error, asyncio.CancelledError) and run.on_exit == "drain":
            run.abandon()
            note_running(error, run)
            return
        try:
            await self.aclose()
        finally:
            if isinstance(error, asyncio.CancelledError):
                for note in run.notes:
                    error.add_note(note)
                mark(error, run.billed)


GO_ON = "calls of client.map were running; AsyncImagesClient.aclose waits for them."


def note_running(error: asyncio.CancelledError, run: MapRun[R, T]) -> None:
    """Note on *error* how many calls go on, once, and what they may cost."""
    mark(error, run.outstanding)
    count, notes = len(run.running), getattr(error, "__notes__", ())
    if count and not any(note.endswith(GO_ON) for note in notes):
        error.add_note(f"{count} {GO_ON}")


def abandon(run: MapRun[R, T], loop: asyncio.AbstractEventLoop) -> None:
    """Abandon *run*; the garbage collector may call this at any point, in any thread."""
    try:
        loop.call_soon_threadsafe(run.abandon)
    except RuntimeError:  # the loop is closed, so nothing runs any more, and the losses are reported at once
        with suppress(RuntimeError):
            run.abandon()
