"""
The images of one task: each is kept once, however many of the gateway's answers bring it.

A task that is still at work may bring images already, and bring them again with each answer. They are told apart by
their bytes. Those that the last answer leaves out are not lost: they are in the result, or on the error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from burncloud_images.calls.answer_buffer import find_place
from burncloud_images.calls.attempt import ReceivedAnswer
from burncloud_images.calls.whole_images import read_back
from burncloud_images.disk import run, sha256_of
from burncloud_images.errors import Billing, ImagesError, StorageError, completed
from burncloud_images.files.sinks import ImageContext, ImageWriter, Sink
from burncloud_images.model.media import Media
from burncloud_images.results import DamagedImage, Image, ImageDetails, SavedImage, Unfetched
from burncloud_images.wire.answer import AnswerItem

T = TypeVar("T", bound=ImageDetails)


@attrs.define(kw_only=True)
class TaskImages(Generic[T]):
    """
    The images of one task, of all answers so far.

    Attributes:
        kept: Those that are kept, by what tells them apart: their bytes.
        items: What the answers say about them, by the same, and about the addresses of others.
        unstored: Those that the sink could not keep.
        damaged: What came of images that are not whole, in the last answer that had any.
        numbers: Places that their names are made of; no two images have the same.
    """

    kept: dict[str, T] = attrs.field(factory=dict)
    items: dict[str, tuple[AnswerItem, Unfetched | None]] = attrs.field(factory=dict)
    unstored: dict[str, StorageError] = attrs.field(factory=dict)
    damaged: tuple[DamagedImage, ...] = ()
    numbers: set[int] = attrs.field(factory=set)

    @property
    def has_any(self) -> bool:
        """Whether an image, or its address, has come."""
        return bool(self.kept or self.unstored or any(unfetched is not None for _, unfetched in self.items.values()))

    def claim(self, index: int) -> int:
        """Return the place that the name of an image is made of: its own, or the first that is free."""
        number = index if index not in self.numbers else next(one for one in count() if one not in self.numbers)
        self.numbers.add(number)
        return number

    async def add(self, received: ReceivedAnswer[T]) -> None:
        """Take the images of an answer that is not the last, and the addresses of others."""
        receiver = received.receiver
        for index, image in receiver.kept.items():
            if not any(is_same(image, known) for known in self.kept.values()):
                self.kept[await find_digest(image, receiver.placement)] = image
                self.numbers.add(index)
        for error in receiver.unstored:
            for unstored in error.images:
                self.unstored.setdefault(await find_digest(unstored, receiver.placement), error)
        self.damaged = receiver.fragments or self.damaged
        for item in received.answer.items:
            known = receiver.kept.get(item.index)
            digest = next((name for name, one in self.kept.items() if known is not None and is_same(one, known)), None)
            if digest is not None:
                self.items[digest] = (item, None)
            elif item.url and not item.decoded:
                unfetched = Unfetched(index=item.index, url=item.url, expires_at=received.expiries[item.index].at)
                self.items[to_place(item.url)] = (item, unfetched)

    def complete(self, received: ReceivedAnswer[T], wanted: int | None) -> ReceivedAnswer[T]:
        """
        Return the last answer with the images that only earlier ones had.

        An image in the place of another one is a later state of it, unless fewer than *wanted* images came.
        """
        receiver = received.receiver
        items = {item.index: item for item in received.answer.items}
        there, urls = [*receiver.kept.values()], {to_place(item.url) for item in items.values() if item.url}
        for name, image, item in sorted(self.earlier(), key=lambda one: one[2].index in items):
            if name in urls or (image is not None and any(is_same(image, one) for one in there)):
                continue
            places = {index for index, one in items.items() if index in receiver.kept or (one.url and not one.failure)}
            if item.index in places and (wanted is None or len(places) >= wanted):
                continue
            index = item.index if item.index not in places else next(one for one in count() if one not in places)
            items[index] = attrs.evolve(item, index=index)
            if image is not None:
                receiver.kept[index] = attrs.evolve(image, index=index)
            receiver.damaged.pop(index, None)
        ordered = tuple(items[index] for index in sorted(items))
        return attrs.evolve(received, answer=attrs.evolve(received.answer, items=ordered))

    def earlier(self) -> Iterator[tuple[str, T | None, AnswerItem]]:
        """Yield what tells each image apart, the image unless it is at an address, and what was said about it."""
        for name, image in self.kept.items():
            item, _ = self.items.get(name, (None, None))
            yield name, image, item or AnswerItem(index=image.index, decoded=True)
        for name, (item, unfetched) in self.items.items():
            if unfetched is not None:
                yield name, None, item

    def put_on(self, error: ImagesError) -> None:
        """Put all that came, and the addresses of other images, on an error that ended the task."""
        self.put_images_on(error)
        known = {to_place(unfetched.url) for unfetched in error.unfetched}
        links = [unfetched for _, unfetched in self.items.values() if unfetched is not None]
        left = [unfetched for unfetched in links if to_place(unfetched.url) not in known]
        is_refunded = error.billed is Billing.NO and error.task is not None and error.task.is_ended
        is_paid = bool(error.images or links) and not is_refunded
        completed(
            error,
            damaged=error.damaged or self.damaged,
            unfetched=[*error.unfetched, *left],
            billed=Billing.YES if is_paid else Billing.NO,
        )

    def put_images_on(self, error: ImagesError) -> None:
        """Put the images on *error*, beside those that it has."""
        unstored = [image for failure in self.unstored.values() for image in failure.images]
        images: list[ImageDetails] = [*self.kept.values()]
        for group in (error.images, unstored):
            images += [image for image in group if not any(is_same(image, one) for one in images)]
        error.images = tuple(sorted(images, key=lambda image: image.index))


def is_same(image: ImageDetails, other: ImageDetails) -> bool:
    """Whether two values are the same image: in the same file, or of the same bytes in memory."""
    if isinstance(image, SavedImage) and isinstance(other, SavedImage):
        return image.path == other.path
    if isinstance(image, Image) and isinstance(other, Image):
        return image.data == other.data
    return type(image) is type(other) and attrs.evolve(image, index=other.index) == other


async def find_digest(image: ImageDetails, context: ImageContext) -> str:
    """Return what tells *image* apart: the digest of its bytes, or a name of its own if nobody can read them."""
    if isinstance(image, Image):
        return hashlib.sha256(image.data).hexdigest()
    if isinstance(image, SavedImage):
        try:
            return image.sha256 or str(await run(context.executor, sha256_of, image.path))
        except OSError:  # somebody has moved it
            pass
    return f"{context.id}-{image.index}"


def to_place(url: str) -> str:
    """Return an address without its signature, which is another one in each answer."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return parts._replace(query="", fragment="").geturl() if parts.scheme in {"http", "https"} else url


@attrs.frozen(kw_only=True)
class TaskSink(Generic[T]):
    """A sink that keeps an image once; another copy of it is discarded."""

    sink: Sink[T]
    images: TaskImages[T]

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """Make sure that *count* images can be taken."""
        await self.sink.prepare(placement, count)

    def open(self, placement: ImageContext) -> TaskWriter[T]:
        """Return a writer for one image."""
        number = self.images.claim(placement.index)
        writer = self.sink.open(attrs.evolve(placement, index=number))
        return TaskWriter(writer=writer, images=self.images, index=placement.index, number=number)

    def answer_path(self, placement: ImageContext) -> Path | None:
        """Return the file for an answer that is not understood."""
        return find_place(self.sink, placement)


@attrs.define(kw_only=True)
class TaskWriter(Generic[T]):
    """
    Takes one image, and keeps it unless an earlier answer brought it.

    Attributes:
        index: Place of the image in its answer.
        number: Place that its name is made of.
    """

    writer: ImageWriter[T]
    images: TaskImages[T]
    index: int
    number: int
    digest: hashlib._Hash = attrs.field(factory=hashlib.sha256)

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self.digest.update(data)
        await self.writer.write(data)

    async def finish(self) -> Media:
        """Return what the bytes are."""
        return await self.writer.finish()

    async def keep(self, media: Media) -> T:
        """
        Return the image as it is kept, now or earlier.

        Raises:
            StorageError: It cannot be kept, or could not be when it first came.
        """
        digest = self.digest.hexdigest()
        if digest in self.images.kept or digest in self.images.unstored:
            await self.discard()
        else:
            await self.keep_new(digest, media)
        if digest in self.images.unstored:
            raise self.images.unstored[digest]
        return attrs.evolve(self.images.kept[digest], index=self.index)

    async def keep_new(self, digest: str, media: Media) -> None:
        try:
            self.images.kept[digest] = await self.writer.keep(media)
        except StorageError as error:
            self.images.unstored[digest] = error

    async def read_back(self, most: int) -> bytes:
        """Return the first *most* bytes."""
        return await read_back(self.writer, most)

    async def discard(self) -> None:
        """Remove every trace."""
        self.images.numbers.discard(self.number)
        await self.writer.discard()
