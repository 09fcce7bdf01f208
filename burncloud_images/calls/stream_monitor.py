"""
What only a stream has: previews, an observer of images, and pings, which do not show that the server is working.

What comes after the last image that was asked for is not waited for, and what is missing after it is not a failure.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar, cast

import attrs

from burncloud_images.errors import OutcomeUnknownError, StorageError
from burncloud_images.files.sinks import ImageContext, ImageWriter, PartialSink, Sink
from burncloud_images.results import CompletedImage, Image, ImageDetails, PartialImage
from burncloud_images.transport.interface import AttemptState
from burncloud_images.wire.answer import AnswerItem
from burncloud_images.wire.events import EventFields

T = TypeVar("T", bound=ImageDetails)

StreamedImage: TypeAlias = PartialImage | CompletedImage
StreamObserver: TypeAlias = Callable[[StreamedImage], Awaitable[None]]

SIGN_OF_LIFE = 64 * 1024
"""Bytes of an image that show that the server is still working on the answer; pings do not show that."""
MOST_PARTIALS = 1024 * 1024
"""Bytes of earlier previews that are kept for an error; the latest is, however large."""


@attrs.define(kw_only=True)
class StreamMonitor:
    """
    Handles the previews of one stream, and its signs of life.

    Attributes:
        state: Of the attempt: tells how long the server was waited for.
        patience: Maximum wait between two signs of life, in seconds. Previews alone keep a stream alive for as long
            once more.
        observer: Called with each preview and image in memory.
        request_id: For what is shown.
        idempotency_key: For what is shown.
        most_items: Maximum number of previews that are taken.
        partials: Previews that were shown.
        unnoticed: Bytes since the last sign of life.
        previews: How many have begun.
        alive: How long the server had been waited for at the last sign of life.
        worked: The same for the last sign that was not a preview.
    """

    state: AttemptState
    patience: float
    observer: StreamObserver | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    most_items: int = sys.maxsize
    partials: list[PartialImage] = attrs.field(factory=list)
    unnoticed: int = 0
    previews: int = 0
    alive: float = 0.0
    worked: float = 0.0

    # --- signs of life -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Note that some of a result has come."""
        self.state.take_answer()

    def notice(self, size: int, *, is_preview: bool) -> None:
        """Take many bytes of an image as a sign of life."""
        self.unnoticed += size
        if self.unnoticed >= SIGN_OF_LIFE:
            self.note_life(is_preview=is_preview)

    def note_life(self, *, is_preview: bool) -> None:
        """Note that the server works; previews alone show that for as long as the first byte may take."""
        now = self.state.waited
        self.unnoticed = 0
        if not is_preview:
            self.alive = self.worked = now
        elif self.previews <= self.most_items and now - self.worked <= self.state.clock.loop_seconds(self.patience):
            self.alive = now

    def check(self) -> None:
        """
        Check that the stream is alive.

        Raises:
            OutcomeUnknownError: It is not; see `check_life`.
        """
        check_life(self.state, self.alive, self.patience)

    # --- images ------------------------------------------------------------------------------------------------------

    async def complete(self, image: Image | None, item: AnswerItem, fields: EventFields) -> None:
        """Show an image whose event has ended, if it is in memory."""
        self.begin()
        self.note_life(is_preview=False)
        if image is not None and self.observer is not None:
            shown = attrs.evolve(image, revised_prompt=item.revised_prompt)
            about = {**self.about(fields), "usage": fields.usage, "idempotency_key": self.idempotency_key}
            await self.observer(CompletedImage(image=shown, **about))  # type: ignore[arg-type]

    def open_partial(self, sink: Sink[T], context: ImageContext, number: int) -> ImageWriter[T] | None:
        """Return a writer for a preview; None if nobody takes it."""
        self.begin()
        self.previews += 1
        if self.previews > self.most_items or not isinstance(sink, PartialSink):
            return None
        return cast("ImageWriter[T]", sink.open_partial(context, number))

    async def keep_partial(self, writer: ImageWriter[T], index: int, fields: EventFields, *, is_preview: bool) -> None:
        """Keep a preview, and show it if it is in memory."""
        if not is_preview and self.observer is None:
            await writer.discard()  # its bytes came before its type, and went to its image's place
            return
        try:
            kept = await writer.keep(await writer.finish())
        except StorageError:  # losing a preview must not lose the image
            return
        if isinstance(kept, Image) and self.observer is not None:
            partial = PartialImage(
                image=attrs.evolve(kept, index=index),
                partial_image_index=fields.partial_image_index or 0,
                **self.about(fields),  # type: ignore[arg-type]
            )
            self.remember(partial)
            await self.observer(partial)

    def about(self, fields: EventFields) -> dict[str, object]:
        return {
            "created_at": fields.created_at,
            "size": fields.size,
            "quality": fields.quality,
            "background": fields.background,
            "output_format": fields.output_format,
            "output_index": fields.output_index,
            "request_id": self.request_id,
            "extra": fields.extra,
        }

    def remember(self, partial: PartialImage) -> None:
        self.partials.append(partial)
        while len(self.partials) > 1 and sum(len(other.data) for other in self.partials[:-1]) > MOST_PARTIALS:
            del self.partials[0]


def check_life(state: AttemptState, alive: float, patience: float) -> None:
    """
    End a stream that brings nothing but signs of waiting.

    Args:
        state: Of the attempt: tells how long the server was waited for, which is not while the caller looks at an
            image or the process is stopped.
        alive: How long that was at the last sign of life.
        patience: Maximum wait after it, in seconds.

    Raises:
        OutcomeUnknownError: The server has sent nothing else for too long.
    """
    if state.waited - alive > state.clock.loop_seconds(patience):
        message = (
            f"For {patience:g} s (Timeouts.first_byte) the stream brought nothing of an image, only signs of waiting."
        )
        raise OutcomeUnknownError(message, timed_out=True)
