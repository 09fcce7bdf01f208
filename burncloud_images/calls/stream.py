"""
A stream as its caller sees it: the call runs in a task of its own, and passes its images on one by one.

The connection belongs to that task. So the caller may wait for an image with a timeout and wait again after it, or
iterate from another task, without losing the request. While the caller processes an image, only the next one is
received.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from burncloud_images.calls.call import send
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.stream_monitor import StreamedImage
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
    # Images that the caller has seen cannot be taken back, so nothing that may be billed is sent again.
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
    """Pass all images on, and return what the call cost."""
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
    An iterator over the images that another task receives.

    Attributes:
        queue: Holds at most one image; None is the end.
        task: Receives the images.
        completed: Places of the images that were passed on.
    """

    task: asyncio.Task[Billing]

    def __init__(self) -> None:
        self.queue: asyncio.Queue[StreamedImage | None] = asyncio.Queue()
        self.completed: set[int] = set()
        self.ended = False

    async def put(self, image: StreamedImage) -> None:
        """Pass *image* on, and wait until the caller has taken it."""
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
    """Return an image of a plain answer or of a result URL as an event; the last one has the tokens of all."""
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
