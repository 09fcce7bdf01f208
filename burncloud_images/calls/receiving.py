"""
Decodes the images of one answer or stream and writes them to a sink.

A `Receiver` is the same for all answers; its decoder depends on the form of the answer. If something goes wrong later,
the images that have arrived whole are kept, and the error holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Generic, Protocol, TypeVar

import attrs

from burncloud_images.calls.answer_buffer import AnswerBuffer
from burncloud_images.calls.response_body import LoopYielder, ResponseBody, too_large
from burncloud_images.calls.sent_images import SentImages
from burncloud_images.calls.stream_monitor import StreamMonitor
from burncloud_images.calls.whole_images import IncompleteImage, keep_image, read_back
from burncloud_images.disk import run
from burncloud_images.errors import (
    APIError,
    Billing,
    ImagesError,
    KeptAnswer,
    OutcomeUnknownError,
    ProtocolError,
    StorageError,
    TooLargeError,
    completed,
)
from burncloud_images.files.sinks import ImageContext, ImageWriter, Sink
from burncloud_images.results import DamagedImage, Image, ImageDetails, SavedImage
from burncloud_images.settings import Limits
from burncloud_images.wire.answer import AnswerItem, ImagesAnswer
from burncloud_images.wire.base64text import may_hold_base64
from burncloud_images.wire.events import CompletedEnded, EventFields, PartialEnded, PartialStarted, StreamEvent
from burncloud_images.wire.image_json import (
    ImageChunk,
    ImageEnded,
    ImageFailed,
    ImagesDropped,
    ImageStarted,
    PausePoint,
    SurplusText,
    UndecodedText,
)

T = TypeVar("T", bound=ImageDetails)

LEAST_FILE = 16 * 1024
"""Size from which an answer may hold an image: it is kept in a file, and also with an error of the API."""


class Decoder(Protocol):
    """What tells one form of an answer from another; `wire.image_json` and `wire.events` have them."""

    @property
    def raw(self) -> bytes:
        """The answer so far without its images."""

    @property
    def billed(self) -> Billing:
        """What the answer says about money, beside its images."""

    @property
    def is_done(self) -> bool:
        """Whether to stop reading, although more may come."""

    @property
    def is_certain(self) -> bool:
        """Whether the current image is final and not a preview."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the current image may be one of the request, which the server repeats."""

    @property
    def ended_image(self) -> int | None:
        """Index of an image whose bytes are all there, and of which it is not yet certain what it is."""

    def drop_second(self, index: int, /) -> None:
        """Take back an image that is a copy of another in its object, or damaged."""

    def feed(self, chunk: bytes, /) -> Iterator[StreamEvent]:
        """Yield what *chunk* brings."""

    def flush(self) -> Iterator[StreamEvent]:
        """Yield what is left of an answer that was cut off."""

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what the end of a whole body brings."""

    def close(self) -> ImagesAnswer:
        """Return what the answer said beside its images."""


@attrs.frozen
class HeldImage(Generic[T]):
    """An image that may be one of the request, of *size* bytes, and whether its place says so."""

    writer: ImageWriter[T]
    size: int
    is_doubtful: bool


@attrs.define(kw_only=True)
class Receiver(Generic[T]):
    """
    The images of one answer.

    Attributes:
        decoder: Finds them in the text.
        sink: Takes them.
        placement: For the first image.
        limits: The caps.
        buffer: Holds the bytes of an answer that is not understood; None if they are elsewhere.
        watch: Handles what only a stream has: previews, and whether it still brings images.
        sent: The images of the request, which an answer may repeat.
        held: Writers of images that may be such: what becomes of them is known at the end.
        second_of: The image in whose object the current one stands too.
        sizes: Bytes of the images that have ended.
        has_dropped: Whether some were dropped, that are not known to be images of the request.
        keeps_fragments: Whether bytes of damaged images are kept in memory.
        kept: Images that are kept, by their place in the answer.
        damaged: Why others are not, by their place.
        unstored: Images that the sink could not keep, with their bytes.
        remains: Bytes of damaged images, by their place, within `Limits.image` for all of them.
        rests: Their text that is not base64, within the same limit.
    """

    decoder: Decoder
    sink: Sink[T]
    placement: ImageContext
    limits: Limits
    buffer: AnswerBuffer | None = None
    watch: StreamMonitor | None = None
    sent: SentImages = attrs.field(factory=SentImages)
    held: dict[int, HeldImage[T]] = attrs.field(factory=dict)
    has_dropped: bool = False
    second_of: int | None = None
    sizes: dict[int, int] = attrs.field(factory=dict)
    keeps_fragments: bool = True
    writer: ImageWriter[T] | None = None
    written: int = 0
    kept: dict[int, T] = attrs.field(factory=dict)
    damaged: dict[int, str] = attrs.field(factory=dict)
    unstored: list[StorageError] = attrs.field(factory=list)
    remains: dict[int, bytes] = attrs.field(factory=dict)
    rests: dict[int, bytearray] = attrs.field(factory=dict)
    index: int = 0
    is_preview: bool = False
    is_whole: bool = False
    surplus: bool = False
    turns: LoopYielder = attrs.field(factory=LoopYielder)

    # --- the text of an answer ---------------------------------------------------------------------------------------

    async def take(self, body: ResponseBody) -> ImagesAnswer:
        """
        Take a whole answer.

        Raises:
            OutcomeUnknownError: It ended in the middle.
            ProtocolError: It is not an answer of the images API; TooLargeError if it passes a cap.
        """
        async with aclosing(body.pieces()) as pieces:
            async for text in pieces:
                try:
                    await self.take_chunk(text)
                except ProtocolError:
                    await self.take_rest(body)
                    raise
                if self.decoder.is_done:
                    break
        self.is_whole = body.is_whole
        await self.finish()
        answer = self.close()
        await self.settle(answer)
        return answer

    async def finish(self) -> None:
        """Take what the end of the text brings."""
        for event in self.decoder.finish():
            await self.handle(event)

    async def take_chunk(self, chunk: bytes) -> None:
        """Take a piece of its text."""
        for event in self.decoder.feed(chunk):
            await self.handle(event)
        if self.watch is not None and not self.decoder.is_done:
            self.watch.check()

    async def take_rest(self, body: ResponseBody) -> None:
        """Hold the rest of an answer that is not understood, unless it is an image that is too large."""
        if self.buffer is None or (self.writer is not None and not self.buffer.is_on):
            return
        await self.buffer.restart(self.decoder.raw)
        await body.drain()
        self.is_whole = body.is_whole

    def close(self) -> ImagesAnswer:
        """Return what the answer said beside its images, and note which of them are damaged."""
        answer = self.decoder.close()
        for item in answer.items:
            if item.failure:
                self.damaged.setdefault(item.index, item.failure)
        return answer

    # --- its images --------------------------------------------------------------------------------------------------

    async def handle(self, event: StreamEvent) -> None:
        match event:
            case ImageStarted(index, second_of):
                await self.begin(index)
                self.second_of = second_of
            case PartialStarted(index, number):
                self.begin_preview(index, number)
            case ImageChunk(_, data):
                await self.write(data)
            case ImageEnded(index):
                await self.end(index)
            case CompletedEnded(item, fields):
                await self.complete(item, fields)
            case PartialEnded(index, fields):
                await self.end_preview(index, fields)
            case ImagesDropped():
                await self.drop_held()
            case SurplusText(text):
                await self.hold(text)
            case PausePoint():
                await self.turns.give()
            case _:
                await self.give_up(event)

    async def begin(self, index: int) -> None:
        if self.writer is not None:  # an image of the same event that nothing tells of
            await self.abandon()
        self.index, self.written, self.is_preview = index, 0, False
        if self.watch is not None:
            self.watch.begin()
        if self.decoder.is_certain and not self.decoder.is_doubtful:  # else its event or the end says what it is
            await self.let_go()
        self.writer = self.sink.open(attrs.evolve(self.placement, index=index) if index else self.placement)

    async def write(self, data: bytes) -> None:
        if self.watch is not None:
            self.watch.notice(len(data), is_preview=self.is_preview)
        if self.writer is None:
            return
        self.written += len(data)
        if self.written > self.limits.image:
            raise too_large("image", "image", self.limits.image)
        await self.writer.write(data)

    async def end(self, index: int) -> None:
        """Keep the image, now that all its bytes have arrived, or hold it if it may be one of the request."""
        others = range(self.second_of, index) if self.second_of is not None else ()
        if any([await self.is_copy(other) for other in others]):
            await self.abandon()
            self.decoder.drop_second(index)
            return
        self.sizes[index] = self.written
        is_doubtful = self.decoder.is_doubtful
        may_be_sent = self.watch is None and (is_doubtful or self.written in self.sent.sizes)
        if may_be_sent and (writer := self.take_writer()) is not None:
            await self.abandon_held(index)
            self.held[index] = HeldImage(writer, self.written, is_doubtful)
            return
        await self.keep_current(index)

    async def is_copy(self, index: int) -> bool:
        """Whether the current image has the bytes of image *index*; of one that nobody can read, the size tells."""
        writer, image = self.writer, next((image for image in self.whole if image.index == index), None)
        if writer is None or self.sizes.get(index) != self.written:
            return False
        if index in self.held:
            other = await read_back(self.held[index].writer, self.written)
        elif isinstance(image, Image):
            other = image.data
        elif isinstance(image, SavedImage):
            with suppress(OSError):
                other = await run(self.placement.executor, image.path.read_bytes)
                return other == await read_back(writer, self.written)
            return False
        else:
            return True
        return other == await read_back(writer, self.written)

    async def keep_current(self, index: int) -> None:
        writer = self.writer
        if writer is None:
            return
        try:
            self.kept[index] = await keep_image(writer)
        except StorageError as error:
            self.unstored.append(error)
        except IncompleteImage as problem:
            if self.second_of is not None:  # the first in its object is whole, so the answer is not damaged
                await self.hold(await read_back(writer, self.room))
                await self.abandon()
                self.decoder.drop_second(index)
                return
            self.damaged[index] = str(problem)
            self.remains[index] = await read_back(writer, self.room)
            await writer.discard()
        self.take_writer()

    # --- those that may be of the request ----------------------------------------------------------------------------

    async def settle(self, answer: ImagesAnswer | None) -> None:
        """Keep the held images, but for those of the request; *answer* is None if it was cut off."""
        if not self.held and not self.decoder.is_doubtful:
            return
        decoded = {item.index for item in answer.items if item.decoded} if answer is not None else {*self.held}
        for index, image in sorted(self.held.items()):
            may_be_sent = image.is_doubtful if answer is None else answer.is_running or index not in decoded
            is_sent = may_be_sent and await self.sent.match(image.writer, image.size)
            if is_sent or index not in decoded:
                self.has_dropped = self.has_dropped or not is_sent
                await self.abandon_held(index)
            else:
                del self.held[index]
                self.writer, self.index, self.second_of = image.writer, index, None
                await self.keep_current(index)
        if answer is not None and self.kept:
            await self.let_go()
        elif answer is not None and not any(item.failure for item in answer.items):
            await self.drop_held()

    async def drop_held(self) -> None:
        """Drop what stands where servers repeat the images of the request."""
        for index in [*self.held]:
            await self.abandon_held(index)
        for found in (self.damaged, self.remains, self.rests):
            found.clear()

    async def abandon_held(self, index: int) -> None:
        if (image := self.held.pop(index, None)) is not None:
            await image.writer.discard()

    async def complete(self, item: AnswerItem, fields: EventFields) -> None:
        """Show an image whose event has ended."""
        self.is_preview = False
        if item.decoded:
            await self.let_go()
        await self.abandon()
        if self.watch is not None:
            image = self.kept.get(item.index)
            await self.watch.complete(image if isinstance(image, Image) else None, item, fields)

    async def give_up(self, event: StreamEvent) -> None:
        """Note that an image is damaged; bytes of a preview, or of an event that is ignored, go."""
        match event:
            case ImageFailed(index, reason) if not self.is_preview and self.second_of is None:
                self.damaged[index] = reason
                await self.lose()
            case UndecodedText(index, text) if not self.is_preview:
                self.rests.setdefault(index, bytearray()).extend(text[: self.room])
            case _:
                await self.abandon()

    async def lose(self) -> None:
        """Keep the bytes of an image that broke off, and discard its writer."""
        if self.writer is not None and not self.is_preview:
            self.remains[self.index] = await read_back(self.writer, self.room)
        await self.abandon()

    def keep_rejected(self, index: int, data: bytes, reason: str) -> None:
        """Keep what came from the address of an image, whole, and is not one."""
        if data and (part := data[: self.room]):
            self.damaged[index], self.remains[index] = reason, part

    async def abandon(self) -> None:
        """Discard the image being written."""
        if writer := self.take_writer():
            await writer.discard()

    def take_writer(self) -> ImageWriter[T] | None:
        writer, self.writer = self.writer, None
        if self.buffer is not None and self.buffer.is_paused:
            self.buffer.resume()
        return writer

    # --- its previews ------------------------------------------------------------------------------------------------

    def begin_preview(self, index: int, number: int) -> None:
        self.written, self.is_preview = 0, True
        context = attrs.evolve(self.placement, index=index)
        self.writer = self.watch.open_partial(self.sink, context, number) if self.watch is not None else None
        if self.writer is not None and self.buffer is not None:
            self.buffer.pause()

    async def end_preview(self, index: int, fields: EventFields) -> None:
        writer = self.take_writer()
        if self.watch is not None:
            if writer is not None:
                await self.watch.keep_partial(writer, index, fields, is_preview=self.is_preview)
            self.watch.note_life(is_preview=self.is_preview)
        elif writer is not None:
            await writer.discard()

    # --- what is held ------------------------------------------------------------------------------------------------

    async def let_go(self) -> None:
        """Drop the held answer: an image began where it is expected."""
        if self.buffer is not None and self.buffer.is_on and not self.surplus:
            await self.buffer.drop()

    async def hold(self, text: bytes) -> None:
        """Hold text that is not understood, and all that follows it, unless the whole answer is already held."""
        if self.buffer is not None:
            self.surplus = True
            await self.buffer.restart(text)

    async def release(self) -> None:
        """Drop what is still held."""
        if self.buffer is not None:
            await self.buffer.drop()

    @property
    def room(self) -> int:
        """How many bytes of damaged images may still be held."""
        held = sum(map(len, self.remains.values())) + sum(map(len, self.rests.values()))
        return max(0, self.limits.image - held) if self.keeps_fragments else 0

    # --- what arrived ------------------------------------------------------------------------------------------------

    @property
    def has_images(self) -> bool:
        """Whether something of an image has arrived, whole or not."""
        return bool(self.whole or self.fragments or self.held or self.writer is not None)

    @property
    def billed(self) -> Billing:
        """What is known about money so far."""
        return Billing.YES if self.whole or self.fragments else self.decoder.billed

    @property
    def whole(self) -> tuple[ImageDetails, ...]:
        """All images that arrived whole, stored or not."""
        unstored = [image for error in self.unstored for image in error.images]
        return tuple(sorted([*self.kept.values(), *unstored], key=lambda image: image.index))

    @property
    def fragments(self) -> tuple[DamagedImage, ...]:
        """The parts that arrived of images that are not whole."""
        held = {image.index for image in self.whole}
        return tuple(
            DamagedImage(
                index=index,
                reason=self.damaged.get(index, "it was cut off"),
                data=self.remains.get(index, b""),
                rest=bytes(self.rests.get(index, b"")),
            )
            for index in sorted({*self.remains, *self.rests} - held)
        )

    async def salvage(self, error: ImagesError) -> ImagesAnswer | None:
        """
        Put what arrived on an error that ended the answer.

        Returns:
            The answer, if all of it had come before the error.
        """
        if isinstance(error, OutcomeUnknownError):
            for event in self.decoder.flush():
                await self.handle(event)
            if self.decoder.is_done:
                return self.close()
        await self.settle(None)
        if self.decoder.ended_image is not None:
            await self.keep_current(self.decoder.ended_image)
        if isinstance(error, TooLargeError):
            await self.abandon()  # the cap says that so much is not wanted in memory
        await self.lose()
        if isinstance(error, (OutcomeUnknownError, ProtocolError, APIError)):
            await self.add_arrived(error)
        else:
            await self.release()
        completed(error, billed=Billing.YES if isinstance(error, StorageError) else self.billed)
        return None

    async def add_arrived(self, error: OutcomeUnknownError | ProtocolError | APIError) -> None:
        """Put on *error* what arrived before it: images, previews, fragments and the answer itself."""
        partials = self.watch.partials if self.watch is not None else ()
        await self.retain(completed(error, images=self.whole, damaged=self.fragments, partials=partials))

    @property
    def has_more(self) -> bool:
        """Whether the answer may hold images where none is known to stand."""
        return may_hold_base64(self.decoder.raw)

    async def retain(self, error: ImagesError) -> None:
        """Keep the answer with *error*: as it arrived if no image was found in it, otherwise its text."""
        buffer, is_refusal = self.buffer, isinstance(error, APIError) and not self.has_more
        if buffer is None:
            error.keep(error.kept or to_kept(self.decoder.raw))
        elif is_refusal and buffer.size < LEAST_FILE and self.billed < Billing.YES:
            await buffer.drop()
        else:
            is_held = buffer.is_on
            if not is_held and not is_refusal:
                await buffer.restart(self.decoder.raw)
            error.keep(await buffer.keep(in_file=self.is_whole and is_held))

    def is_odd(self, answer: ImagesAnswer, *, lacks_images: bool) -> bool:
        """Whether *answer* has to be kept beside its images, as `extra` has not all that it says."""
        is_told = self.watch is None and not answer.is_damaged
        return answer.has_surplus or self.surplus or lacks_images or (self.has_more and not is_told)

    async def keep_rest(self) -> KeptAnswer | None:
        """Return the answer, which holds more images than were taken, or fewer than were asked for."""
        if self.buffer is None:
            return None
        await self.buffer.restart(self.decoder.raw)
        return await self.buffer.keep(in_file=self.buffer.size >= LEAST_FILE)


def to_kept(data: bytes) -> KeptAnswer | None:
    return KeptAnswer(size=len(data), data=data) if data else None
