"""
One answer on its way into a sink: chunks in, kept images out.

Whatever goes wrong later, an image that has arrived whole is kept and found on the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import Generic, TypeVar

import attrs

from burncloud_images.calls.incoming import Incoming, Turns, too_large
from burncloud_images.calls.retention import Retention
from burncloud_images.errors import (
    APIError,
    Billing,
    ImagesError,
    KeptAnswer,
    OutcomeUnknownError,
    ProtocolError,
    StorageError,
    TooLargeError,
    mark,
)
from burncloud_images.files.sinks import ImageContext, ImageWriter, ReadableWriter, Sink
from burncloud_images.model.media import Media
from burncloud_images.results import DamagedImage, ImageDetails
from burncloud_images.settings import Limits
from burncloud_images.wire.answer import Answer
from burncloud_images.wire.events import StreamEvent
from burncloud_images.wire.image_json import (
    AnswerDecoder,
    ImageChunk,
    ImageEnded,
    ImageFailed,
    ImageStarted,
    OpaqueDecoder,
    Pause,
    Surplus,
    UndecodedText,
)

T = TypeVar("T", bound=ImageDetails)

LEAST_FILE = 16 * 1024
"""Bytes that may hold an image: so many are worth a file, and are kept beside an error of the API as well."""


@attrs.define(kw_only=True)
class Receiver(Generic[T]):
    """
    The images of one answer, plain or streamed: what the two have in common.

    Attributes:
        sink: Takes them.
        placement: For the first image.
        limits: The caps.
        kept: What is kept, by its place in the answer.
        damaged: Why others are not, by their place.
        unstored: Images that the sink could not keep, with their bytes.
        remains: What came of damaged images, by their place, within `Limits.image` for all of them.
        rests: The text that came of them and is no base64, within the same.
        retention: Holds the bytes of an answer that is not understood; None if they are elsewhere.
    """

    sink: Sink[T]
    placement: ImageContext
    limits: Limits
    retention: Retention | None = None
    writer: ImageWriter[T] | None = None
    written: int = 0
    kept: dict[int, T] = attrs.field(factory=dict)
    damaged: dict[int, str] = attrs.field(factory=dict)
    unstored: list[StorageError] = attrs.field(factory=list)
    remains: dict[int, bytes] = attrs.field(factory=dict)
    rests: dict[int, bytearray] = attrs.field(factory=dict)
    index: int = 0
    is_whole: bool = False
    surplus: bool = False
    turns: Turns = attrs.field(factory=Turns)

    @property
    def raw(self) -> bytes:
        """The answer so far without its images."""
        raise NotImplementedError

    @property
    def billed(self) -> Billing:
        """What is known about money by now: an answer of success has begun."""
        return Billing.YES if self.whole or self.fragments else Billing.MAYBE

    @property
    def is_done(self) -> bool:
        """Whether nothing more is waited for, although more may come."""
        return False

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """Yield what *chunk* brings."""
        raise NotImplementedError

    def conclude(self) -> Answer:
        """Return what the answer said beside its images, now that it has ended."""
        raise NotImplementedError

    async def take(self, body: Incoming) -> Answer:
        """
        Take a whole answer.

        Raises:
            OutcomeUnknownError: It ended in the middle.
            ProtocolError: It is no answer of the images API; TooLargeError if it passes a cap.
        """
        async with aclosing(body.pieces()) as pieces:
            async for text in pieces:
                try:
                    await self.take_chunk(text)
                except ProtocolError:
                    await self.take_rest(body)
                    raise
                if self.is_done:
                    break
        self.is_whole = body.is_whole
        return self.finish(self.conclude())

    async def take_chunk(self, chunk: bytes) -> None:
        """Take a piece of its text."""
        for event in self.feed(chunk):
            await self.handle(event)

    async def take_rest(self, body: Incoming) -> None:
        """Hold the rest of an answer that is not understood, unless it is an image that is too large."""
        if self.retention is None or (self.writer is not None and not self.retention.is_on):
            return
        await self.retention.restart(self.raw)
        await body.drain()
        self.is_whole = body.is_whole

    def finish(self, answer: Answer) -> Answer:
        """Note which images of *answer* are damaged, and return it."""
        for item in answer.items:
            if item.failure:
                self.damaged.setdefault(item.index, item.failure)
        return answer

    async def handle(self, event: StreamEvent) -> None:
        match event:
            case ImageStarted(index):
                await self.let_go()
                self.index, self.written = index, 0
                self.writer = self.sink.open(attrs.evolve(self.placement, index=index))
            case ImageChunk(_, data) if self.writer is not None:
                self.written += len(data)
                if self.written > self.limits.image:
                    raise too_large("image", "image", self.limits.image)
                await self.writer.write(data)
            case ImageEnded(index) if self.writer is not None:
                await self.end(index, self.writer)
                self.writer = None
            case ImageFailed(index, reason):
                self.damaged[index] = reason
                await self.lose()
            case UndecodedText(index, text):
                self.rests.setdefault(index, bytearray()).extend(text[: self.room])
            case Surplus(text):
                await self.hold(text)
            case Pause():
                await self.turns.give()
            case _:
                await self.abandon()

    async def let_go(self) -> None:
        """Hold the answer no more: an image began where one ought to be."""
        if self.retention is not None and self.retention.is_on and not self.surplus:
            await self.retention.drop()

    async def hold(self, text: bytes) -> None:
        """Hold text that is not understood, if the whole answer is not held."""
        if self.retention is not None and (self.surplus or not self.retention.is_on):
            self.surplus = True
            await self.retention.restart()
            await self.retention.add(text)

    async def release(self) -> None:
        """Let go of what is still held."""
        if self.retention is not None:
            await self.retention.drop()

    async def end(self, index: int, writer: ImageWriter[T]) -> None:
        try:
            self.kept[index] = await keep_image(writer, most_remains=self.room)
        except StorageError as error:
            self.unstored.append(error)
        except Damaged as problem:
            self.damaged[index] = str(problem)
            self.remains[index] = problem.remains

    @property
    def room(self) -> int:
        """How many bytes of damaged images may still be held."""
        held = sum(map(len, self.remains.values())) + sum(map(len, self.rests.values()))
        return max(0, self.limits.image - held)

    async def lose(self) -> None:
        """Hold on to what came of an image that broke off; its writer goes."""
        if self.writer is not None:
            self.remains[self.index] = await read_back(self.writer, self.room)
        await self.abandon()

    async def abandon(self) -> None:
        """Leave no trace of an image that did not come to its end."""
        writer, self.writer = self.writer, None
        if writer is not None:
            await writer.discard()

    @property
    def whole(self) -> tuple[ImageDetails, ...]:
        """All images that arrived whole, stored or not."""
        unstored = [image for error in self.unstored for image in error.images]
        return tuple(sorted([*self.kept.values(), *unstored], key=lambda image: image.index))

    @property
    def fragments(self) -> tuple[DamagedImage, ...]:
        """What arrived of images that are not whole."""
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

    async def salvage(self, error: ImagesError) -> Answer | None:
        """
        Put what arrived on an error that ended the answer.

        Returns:
            The answer, if all of it had come before the error.
        """
        if isinstance(error, TooLargeError):
            await self.abandon()  # the cap says that so much is not wanted in memory
        await self.lose()
        if isinstance(error, (OutcomeUnknownError, ProtocolError, APIError)):
            error.images = error.images or self.whole
            error.damaged = self.fragments
            await self.retain(error)
        else:
            await self.release()
        mark(error, Billing.YES if isinstance(error, StorageError) else self.billed)
        return None

    async def retain(self, error: OutcomeUnknownError | ProtocolError | APIError) -> None:
        """Put the answer on *error*: as it came if no image was found in it, and else its text."""
        retention, is_refusal = self.retention, isinstance(error, APIError)
        if retention is None:
            error.keep(error.kept or to_kept(self.raw))
        elif is_refusal and retention.size < LEAST_FILE and self.billed < Billing.YES:
            await retention.drop()
        else:
            is_held = retention.is_on
            if not is_held and not is_refusal:
                await retention.restart(self.raw)
            error.keep(await retention.keep(in_file=self.is_whole and is_held))

    async def keep_rest(self) -> KeptAnswer | None:
        """Return an answer that holds more than was taken, or less than was asked for."""
        if self.retention is None:
            return None
        await self.retention.restart(self.raw)
        return await self.retention.keep(in_file=self.retention.size >= LEAST_FILE)


@attrs.define(kw_only=True)
class AnswerReceiver(Receiver[T]):
    """The images of one plain answer."""

    decoder: AnswerDecoder = attrs.field(factory=AnswerDecoder)

    @property
    def raw(self) -> bytes:
        return self.decoder.raw

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        return self.decoder.feed(chunk)

    def conclude(self) -> Answer:
        return self.decoder.close()


@attrs.define(kw_only=True)
class OpaqueReceiver(Receiver[T]):
    """A body that is no answer; all of it is held."""

    decoder: OpaqueDecoder = attrs.field(factory=OpaqueDecoder)

    @property
    def raw(self) -> bytes:
        return b""

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        return self.decoder.feed(chunk)

    def conclude(self) -> Answer:
        return self.decoder.close()


class Damaged(Exception):  # noqa: N818 (never leaves the package)
    """Bytes that are not a whole image, as one clause."""

    def __init__(self, problem: str, remains: bytes = b"") -> None:
        super().__init__(problem)
        self.remains = remains


async def read_back(writer: ImageWriter[T], most: int) -> bytes:
    """Return what *writer* was given, if it can tell."""
    if not most or not isinstance(writer, ReadableWriter):
        return b""
    try:
        return await writer.read_back(most)
    except OSError:
        return b""


async def keep_image(writer: ImageWriter[T], *, most_remains: int = 0) -> T:
    """
    Keep what has been written, if it is a whole image; else discard it.

    Args:
        writer: Has been given all bytes.
        most_remains: How many bytes of a damaged image `Damaged` is to hold.

    Raises:
        Damaged: It is not.
        StorageError: It cannot be stored.
    """
    media = await writer.finish()
    problem = damage(media)
    if problem:
        remains = await read_back(writer, most_remains)
        await writer.discard()
        raise Damaged(problem, remains)
    return await writer.keep(media)


def damage(media: Media) -> str | None:
    if media.media_type is None:
        return "its bytes are no image"
    return None if media.complete else f"its {media.media_type} has no end"


def to_kept(data: bytes) -> KeptAnswer | None:
    return KeptAnswer(size=len(data), data=data) if data else None
