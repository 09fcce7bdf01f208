"""
A stream as its caller sees it: one exchange in a task of its own, its images handed over one by one.

The task is what makes the stream robust: the connection belongs to it, so the caller may wait for an image with a
timeout, give up waiting, and wait again, or iterate from another task, without costing the request. The next image is
received while the caller looks at the last one, and no further.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from burncloud_images.calls.call import send
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.streaming import StreamedImage
from burncloud_images.errors import Billing
from burncloud_images.files.sinks import ImageContext, Memory, MemoryWriter
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import CompletedImage, Image, ImagesResult
from burncloud_images.settings import Settings


@asynccontextmanager
async def stream(
    request: ImagesRequest, settings: Settings, resources: Resources
) -> AsyncIterator[AsyncIterator[StreamedImage]]:
    """
    Send *request* and yield an iterator of its previews and images; leaving the block closes the connection.

    Raises:
        ImagesError: From the iterator.
    """
    # What was handed over cannot be taken back, so nothing that may be billed is sent again, whatever is accepted.
    settings = attrs.evolve(settings, retry=attrs.evolve(settings.retry, on_unknown="raise"))
    images = ImageStream()
    images.task = task = asyncio.create_task(hand_over(request, settings, resources, images))
    try:
        yield images
    except BaseException as error:
        task.cancel()
        await resources.background.leave(task, error)
        raise
    task.cancel()
    await resources.background.leave(task, None)


async def hand_over(request: ImagesRequest, settings: Settings, resources: Resources, images: ImageStream) -> Billing:
    """Hand everything over, and return what that cost."""
    try:
        result = await send(request, PartialMemory(), settings, resources, via_stream=True, observer=images.put)
        left = [image for image in result.images if image.index not in images.completed]
        for image in left:
            await images.put(to_event(image, result, is_last=image is left[-1]))
        return Billing.YES
    finally:
        images.queue.put_nowait(None)


class PartialMemory(Memory):
    """Keeps images and previews as bytes."""

    def open_partial(self, placement: ImageContext, number: int) -> MemoryWriter:  # noqa: ARG002 (one buffer each)
        """Return a writer into a buffer."""
        return self.open(placement)


class ImageStream:
    """
    An iterator of what another task hands over.

    Attributes:
        queue: Holds at most one; None is the end.
        task: Hands over.
        completed: Places of the images that were.
    """

    task: asyncio.Task[Billing]

    def __init__(self) -> None:
        self.queue: asyncio.Queue[StreamedImage | None] = asyncio.Queue()
        self.completed: set[int] = set()
        self.ended = False

    async def put(self, image: StreamedImage) -> None:
        """Hand *image* over, and wait until it has been taken."""
        if isinstance(image, CompletedImage):
            self.completed.add(image.image.index)
        self.queue.put_nowait(image)
        await self.queue.join()

    def __aiter__(self) -> ImageStream:
        return self

    async def __anext__(self) -> StreamedImage:
        if self.ended:
            raise StopAsyncIteration
        image = await self.queue.get()
        self.queue.task_done()
        if image is not None:
            return image
        self.ended = True
        await self.task  # raises what ended it
        raise StopAsyncIteration


def to_event(image: Image, result: ImagesResult[Image], *, is_last: bool) -> CompletedImage:
    """Return an image of a plain answer, or one that came by its URL, as an event; the last has the tokens of all."""
    return CompletedImage(
        image=image,
        created_at=result.created,
        size=result.size,
        quality=result.quality,
        background=result.background,
        output_format=result.output_format,
        request_id=result.request_id,
        idempotency_key=result.idempotency_key,
        usage=result.usage if is_last else None,
        extra=result.extra,
    )
