"""
One stream on its way into a sink: previews are shown to whoever looks, images are kept as an answer's are.

An image is kept when its event ends, because only then it is certain to be no preview. What comes after the last image
that was asked for is not waited for, and what is missing after it is no failure.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias, TypeVar, cast

import attrs

from burncloud_images.calls.receiving import Receiver
from burncloud_images.errors import APIError, Billing, ImagesError, OutcomeUnknownError, ProtocolError, StorageError
from burncloud_images.files.sinks import ImageWriter, PartialSink
from burncloud_images.results import CompletedImage, Image, ImageDetails, PartialImage
from burncloud_images.transport.port import AttemptState
from burncloud_images.wire.answer import Answer, AnswerItem
from burncloud_images.wire.events import (
    Completed,
    EventFields,
    IgnoredEvent,
    Partial,
    PartialStarted,
    StreamDecoder,
    StreamEvent,
)
from burncloud_images.wire.image_json import ImageChunk, ImageEnded, ImageFailed, ImageStarted, UndecodedText

T = TypeVar("T", bound=ImageDetails)

StreamedImage: TypeAlias = PartialImage | CompletedImage
Observer: TypeAlias = Callable[[StreamedImage], Awaitable[None]]

SIGN_OF_LIFE = 64 * 1024
"""Bytes of an image that show that the server still works on the answer; pings do not."""
MOST_PARTIALS = 1024 * 1024
"""Bytes of earlier previews that are kept for an error; the latest is, however large."""


@attrs.define(kw_only=True)
class StreamReceiver(Receiver[T]):
    """
    The images of one stream.

    Attributes:
        wanted: How many images were asked for.
        state: Of the attempt: tells how long the server was waited for.
        patience: Longest wait between two signs of life, in seconds. Previews alone keep a stream alive as long once
            more.
        observer: Is shown each preview and image in memory; None if nobody looks.
        request_id: For what is shown.
        idempotency_key: For what is shown.
        most_items: How many images, and previews, are taken.
        partials: Previews that were shown.
        began: Whether some of an image came.
    """

    wanted: int
    state: AttemptState
    patience: float
    observer: Observer | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    most_items: int = sys.maxsize
    decoder: StreamDecoder = attrs.field(
        default=attrs.Factory(lambda self: StreamDecoder(self.limits.event, self.most_items), takes_self=True)
    )
    partials: list[PartialImage] = attrs.field(factory=list)
    began: bool = False
    is_preview: bool = False
    ended: int | None = None
    unnoticed: int = 0
    previews: int = 0
    alive: float = 0.0
    worked: float = 0.0

    @property
    def raw(self) -> bytes:
        return self.decoder.raw

    @property
    def is_done(self) -> bool:
        return self.decoder.done or len(self.decoder.items) >= self.wanted

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        for event in self.decoder.feed(chunk):
            yield event
            if self.is_done and not self.decoder.is_telling:
                return

    def conclude(self) -> Answer:
        return self.decoder.answer()

    async def take_chunk(self, chunk: bytes) -> None:
        await super().take_chunk(chunk)
        if not self.is_done:
            check_life(self.state, self.alive, self.patience)

    async def handle(self, event: StreamEvent) -> None:
        match event:
            case PartialStarted(index, number):
                self.begin_preview(index, number)
            case ImageStarted():
                self.begin(is_preview=False)
                await super().handle(event)
            case ImageChunk(_, data):
                self.notice(len(data))
                await super().handle(event)
            case ImageEnded(index) if not self.decoder.is_answer:
                self.ended = index  # its event will say what it is
            case Completed(item, facts):
                await self.complete(item, facts)
            case Partial(index, facts):
                await self.preview(index, facts)
                self.note_life()
            case IgnoredEvent():
                await self.abandon()
            case ImageFailed() | UndecodedText() if self.is_preview:
                await self.abandon()
            case _:
                await super().handle(event)

    async def lose(self) -> None:
        await (self.abandon() if self.is_preview else super().lose())

    @property
    def billed(self) -> Billing:
        """What is known about money by now. A stream begins before the work does, so its status says nothing."""
        if self.decoder.is_paid:
            return Billing.YES
        return super().billed if self.began else Billing.NO

    def begin(self, *, is_preview: bool) -> None:
        self.state.take_answer()
        self.began, self.is_preview, self.ended, self.written = True, is_preview, None, 0

    def begin_preview(self, index: int, number: int) -> None:
        self.begin(is_preview=True)
        self.previews += 1
        self.writer = self.open_partial(index, number) if self.previews <= self.most_items else None
        if self.writer is not None and self.retention is not None:
            self.retention.pause()

    def notice(self, size: int) -> None:
        """Take much of an image for a sign of life."""
        self.unnoticed += size
        if self.unnoticed >= SIGN_OF_LIFE:
            self.note_life()

    async def let_go(self) -> None:
        if self.decoder.is_certain:  # else its event will say what it is
            await super().let_go()

    def note_life(self) -> None:
        """Take note that the server works; previews alone show that for as long as the first byte may take."""
        now = self.state.waited
        self.unnoticed = 0
        if not self.is_preview:
            self.alive = self.worked = now
        elif self.previews <= self.most_items and now - self.worked <= self.state.clock.loop_seconds(self.patience):
            self.alive = now

    def open_partial(self, index: int, number: int) -> ImageWriter[T] | None:
        if not isinstance(self.sink, PartialSink):
            return None
        placement = attrs.evolve(self.placement, index=index)
        return cast("ImageWriter[T]", self.sink.open_partial(placement, number))

    def take_writer(self) -> ImageWriter[T] | None:
        writer, self.writer = self.writer, None
        if self.retention is not None:
            self.retention.resume()
        return writer

    async def abandon(self) -> None:
        if writer := self.take_writer():
            await writer.discard()

    async def complete(self, item: AnswerItem, facts: EventFields) -> None:
        self.state.take_answer()
        self.began, self.is_preview = True, False
        self.note_life()
        if item.decoded:
            await super().let_go()
        writer = self.take_writer()
        if writer is not None and not item.decoded:
            await writer.discard()
        elif writer is not None:
            await self.end(item.index, writer)
        image = self.kept.get(item.index)
        if isinstance(image, Image) and self.observer is not None:
            shown = attrs.evolve(image, revised_prompt=item.revised_prompt)
            about = {**self.about(facts), "usage": facts.usage, "idempotency_key": self.idempotency_key}
            await self.observer(CompletedImage(image=shown, **about))  # type: ignore[arg-type]

    async def preview(self, index: int, facts: EventFields) -> None:
        writer = self.take_writer()
        if writer is None:
            return
        if not self.is_preview and self.observer is None:
            await writer.discard()  # its bytes came before its type, and went to its image's place
            return
        try:
            kept = await writer.keep(await writer.finish())
        except StorageError:  # a preview is no reason to lose an image
            return
        if isinstance(kept, Image) and self.observer is not None:
            partial = PartialImage(
                image=attrs.evolve(kept, index=index),
                partial_image_index=facts.partial_image_index or 0,
                **self.about(facts),  # type: ignore[arg-type]
            )
            self.remember(partial)
            await self.observer(partial)

    def about(self, facts: EventFields) -> dict[str, object]:
        return {
            "created_at": facts.created_at,
            "size": facts.size,
            "quality": facts.quality,
            "background": facts.background,
            "output_format": facts.output_format,
            "output_index": facts.output_index,
            "request_id": self.request_id,
            "extra": facts.extra,
        }

    def remember(self, partial: PartialImage) -> None:
        self.partials.append(partial)
        while len(self.partials) > 1 and sum(len(other.data) for other in self.partials[:-1]) > MOST_PARTIALS:
            del self.partials[0]

    async def salvage(self, error: ImagesError) -> Answer | None:
        if isinstance(error, OutcomeUnknownError):
            for event in self.decoder.close():
                await self.handle(event)
            if self.is_done:
                return self.finish(self.conclude())
        if self.ended is not None and not self.is_preview and (writer := self.take_writer()) is not None:
            await self.end(self.ended, writer)
        if isinstance(error, (OutcomeUnknownError, ProtocolError, APIError)):
            error.partials = tuple(self.partials)
        return await super().salvage(error)


def check_life(state: AttemptState, alive: float, patience: float) -> None:
    """
    End a stream that only says that it waits.

    Args:
        state: Of the attempt: tells how long the server was waited for, which is not while the caller looks at an
            image or the process is stopped.
        alive: How long that was at the last sign of life.
        patience: Longest wait after it, in seconds.

    Raises:
        OutcomeUnknownError: The server has said no more for too long.
    """
    if state.waited - alive > state.clock.loop_seconds(patience):
        message = f"For {patience:g} s the stream brought nothing of an image, only signs of waiting."
        raise OutcomeUnknownError(message)
