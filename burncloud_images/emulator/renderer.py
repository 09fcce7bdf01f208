"""Draws in its own threads and caches what it drew."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import attrs
from PIL import Image, ImageEnhance, ImageOps

from burncloud_images.emulator.captions import write_caption, write_number
from burncloud_images.emulator.drawing import (
    MEDIA_TYPES,
    draw_balloon,
    draw_gradient,
    draw_landscape,
    hang,
    line_up,
    recolour,
    repaint,
    to_file,
    to_gif,
    to_sketch,
    to_sticker,
    to_svg,
)
from burncloud_images.emulator.errors import Refusal
from burncloud_images.emulator.request_body import Upload
from burncloud_images.emulator.specs import Order

P = ParamSpec("P")
T = TypeVar("T")

MOST_BYTES = 64 * 1024 * 1024
LARGEST_INPUT = 2048
"""Uploads are made smaller before anything else: a print needs no more."""

PLAIN = "BURNCLOUD_EMULATOR_PLAIN"
"""Set for tests that look at no picture: then each is two colours and its caption, at a tenth of the work."""

DETAIL = {"low": 3, "standard": 4, "medium": 4, "high": 5, "hd": 5, "xhigh": 6, "max": 7}
STYLES = {"vivid": 1.2, "natural": 0.75}


@attrs.frozen
class Made:
    """
    What was drawn.

    Attributes:
        images: Image files, one for each that was asked for.
        media_type: Of all of them.
        partials: The early states of each image, the first first; as many for each as the order says.
    """

    images: tuple[bytes, ...] = attrs.field(repr=False)
    media_type: str
    partials: tuple[tuple[bytes, ...], ...] = attrs.field(repr=False)


class Studio:
    """Where pictures are drawn, without keeping the server from its other requests."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="burncloud-emulator")
        self.lock = threading.Lock()
        self.known: OrderedDict[object, bytes] = OrderedDict()
        self.size = 0

    def close(self) -> None:
        """Wait for what is being drawn, and draw nothing more."""
        self.threads.shutdown(cancel_futures=True)
        self.known.clear()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))

    async def make(self, order: Order) -> Made:
        """
        Return what *order* asks for.

        Raises:
            Refusal: An upload cannot be decoded.
        """
        keys = [to_key(order, index) for index in range(order.n)]
        known = all(key in self.known for key in keys)
        photos = Photos() if known else await self.run(load, order)
        images = await asyncio.gather(
            *(self.run(self.recall, key, partial(draw, order, index, photos)) for index, key in enumerate(keys))
        )
        pairs = list(zip(keys, images, strict=True))
        partials = await asyncio.gather(*(self.sketch(order, key, image) for key, image in pairs))
        return Made(tuple(images), MEDIA_TYPES[order.output_format], tuple(partials))

    async def sketch(self, order: Order, key: object, image: bytes) -> tuple[bytes, ...]:
        """Return the early states of *image* that *order* asks for."""
        how = order.output_format, order.compression
        return tuple(
            [
                await self.run(self.recall, (key, steps), partial(to_sketch, image, *how, steps))
                for steps in range(order.partials, 0, -1)
            ]
        )

    def recall(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return what was made under the same key before, or make it."""
        with self.lock:
            if key in self.known:
                self.known.move_to_end(key)
                return self.known[key]
        image = make()
        with self.lock:
            self.size += len(image) - len(self.known.get(key, b""))
            self.known[key] = image
            while self.size > MOST_BYTES:
                self.size -= len(self.known.popitem(last=False)[1])
        return image


def to_key(order: Order, index: int) -> object:
    """Return all that a picture depends on; two models draw alike."""
    uploads = (*order.images, order.mask, order.markup)
    return (
        order.operation,
        order.prompt,
        index,
        (order.width, order.height, order.output_format, order.compression),
        (order.quality, order.style, order.transparent),
        (order.frame_count, order.frame_duration),
        tuple(upload and upload.part.sha256 for upload in uploads),
    )


@attrs.frozen
class Photos:
    """
    Uploads, decoded.

    Attributes:
        images: RGBA, upright, small enough to work with.
        mask: Transparent where to repaint; None to hang the images before a scene.
    """

    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None


def load(order: Order) -> Photos:
    """
    Return the uploads of *order*.

    Raises:
        Refusal: One of them is damaged.
    """
    images = [decode(upload) for upload in order.images]
    if order.markup:
        images[0] = Image.alpha_composite(images[0], decode(order.markup).resize(images[0].size))
    if order.mask:
        return Photos(tuple(images), decode(order.mask))
    has_hole = order.operation == "edits" and images[0].getchannel("A").getextrema()[0] == 0
    return Photos(tuple(images), images[0] if has_hole else None)


def draw(order: Order, index: int, photos: Photos) -> bytes:
    size = order.width, order.height
    if order.output_format == "svg":
        return to_svg(order.prompt, size)
    picture = compose(order, index, photos)
    if order.style:
        picture = ImageEnhance.Color(picture).enhance(STYLES[order.style])
    if order.transparent:
        picture = to_sticker(picture)
    picture = write_number(write_caption(picture, order.prompt), index)
    if order.output_format == "gif":
        frames = [draw_balloon(picture, order.prompt, step / order.frame_count) for step in range(order.frame_count)]
        return to_gif(frames, order.frame_duration)
    return to_file(picture, order.output_format, order.compression)


def compose(order: Order, index: int, photos: Photos) -> Image.Image:
    size = order.width, order.height
    paint = draw_gradient if os.environ.get(PLAIN) else draw_landscape
    if order.operation == "variations":
        return recolour(photos.images[0], index, size)
    scene = paint(order.prompt, index, size, DETAIL[order.quality])
    if photos.mask is not None:
        return line_up(photos.images[1:], repaint(photos.images[0], photos.mask, scene), order.prompt)
    return hang(photos.images, scene, order.prompt) if photos.images else scene


def decode(upload: Upload) -> Image.Image:
    try:
        with Image.open(upload.file) as image:
            image.draft("RGB", (LARGEST_INPUT, LARGEST_INPUT))
            picture = ImageOps.exif_transpose(image)
            picture.thumbnail((LARGEST_INPUT, LARGEST_INPUT))
            return picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        message = f"Invalid file {upload.part.name!r}: it cannot be decoded."
        raise Refusal(message, param=upload.part.name, code="invalid_image_file") from error
