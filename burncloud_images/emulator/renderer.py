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
from burncloud_images.emulator.specs import ImageSpec

P = ParamSpec("P")
T = TypeVar("T")

MAX_BYTES = 64 * 1024 * 1024
MAX_INPUT = 2048
"""Uploads are made smaller before anything else: a print needs no more."""

PLAIN = "BURNCLOUD_EMULATOR_PLAIN"
"""Set for tests that look at no picture: then each is two colours and its caption, at a tenth of the work."""

DETAIL = {"low": 3, "standard": 4, "medium": 4, "high": 5, "hd": 5, "xhigh": 6, "max": 7}
STYLES = {"vivid": 1.2, "natural": 0.75}


@attrs.frozen
class RenderedImages:
    """
    What was drawn.

    Attributes:
        images: Image files, one for each that was asked for.
        media_type: Of all of them.
        partials: The early states of each image, the first first; as many for each as the spec says.
    """

    images: tuple[bytes, ...] = attrs.field(repr=False)
    media_type: str
    partials: tuple[tuple[bytes, ...], ...] = attrs.field(repr=False)


class Renderer:
    """Where pictures are drawn, without keeping the server from its other requests."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="burncloud-emulator")
        self.lock = threading.Lock()
        self.cached: OrderedDict[object, bytes] = OrderedDict()
        self.size = 0

    def close(self) -> None:
        """Wait for what is being drawn, and draw nothing more."""
        self.threads.shutdown(cancel_futures=True)
        self.cached.clear()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))

    async def render(self, spec: ImageSpec) -> RenderedImages:
        """
        Return what *spec* asks for.

        Raises:
            Refusal: An upload cannot be decoded.
        """
        keys = [to_key(spec, index) for index in range(spec.n)]
        cached = all(key in self.cached for key in keys)
        photos = DecodedUploads() if cached else await self.run(load, spec)
        images = await asyncio.gather(
            *(self.run(self.recall, key, partial(draw, spec, index, photos)) for index, key in enumerate(keys))
        )
        pairs = list(zip(keys, images, strict=True))
        partials = await asyncio.gather(*(self.sketch(spec, key, image) for key, image in pairs))
        return RenderedImages(tuple(images), MEDIA_TYPES[spec.output_format], tuple(partials))

    async def sketch(self, spec: ImageSpec, key: object, image: bytes) -> tuple[bytes, ...]:
        """Return the early states of *image* that *spec* asks for."""
        how = spec.output_format, spec.compression
        return tuple(
            [
                await self.run(self.recall, (key, steps), partial(to_sketch, image, *how, steps))
                for steps in range(spec.partials, 0, -1)
            ]
        )

    def recall(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return what was made under the same key before, or make it."""
        with self.lock:
            if key in self.cached:
                self.cached.move_to_end(key)
                return self.cached[key]
        image = make()
        with self.lock:
            self.size += len(image) - len(self.cached.get(key, b""))
            self.cached[key] = image
            while self.size > MAX_BYTES:
                self.size -= len(self.cached.popitem(last=False)[1])
        return image


def to_key(spec: ImageSpec, index: int) -> object:
    """Return all that a picture depends on; two models draw alike."""
    uploads = (*spec.images, spec.mask, spec.markup)
    return (
        spec.operation,
        spec.prompt,
        index,
        (spec.width, spec.height, spec.output_format, spec.compression),
        (spec.quality, spec.style, spec.transparent),
        (spec.frame_count, spec.frame_duration),
        tuple(upload and upload.part.sha256 for upload in uploads),
    )


@attrs.frozen
class DecodedUploads:
    """
    Uploads, decoded.

    Attributes:
        images: RGBA, upright, small enough to work with.
        mask: Transparent where to repaint; None to hang the images before a scene.
    """

    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None


def load(spec: ImageSpec) -> DecodedUploads:
    """
    Return the uploads of *spec*.

    Raises:
        Refusal: One of them is damaged.
    """
    images = [decode(upload) for upload in spec.images]
    if spec.markup:
        images[0] = Image.alpha_composite(images[0], decode(spec.markup).resize(images[0].size))
    if spec.mask:
        return DecodedUploads(tuple(images), decode(spec.mask))
    has_hole = spec.operation == "edits" and images[0].getchannel("A").getextrema()[0] == 0
    return DecodedUploads(tuple(images), images[0] if has_hole else None)


def draw(spec: ImageSpec, index: int, photos: DecodedUploads) -> bytes:
    size = spec.width, spec.height
    if spec.output_format == "svg":
        return to_svg(spec.prompt, size)
    picture = compose(spec, index, photos)
    if spec.style:
        picture = ImageEnhance.Color(picture).enhance(STYLES[spec.style])
    if spec.transparent:
        picture = to_sticker(picture)
    picture = write_number(write_caption(picture, spec.prompt), index)
    if spec.output_format == "gif":
        frames = [draw_balloon(picture, spec.prompt, step / spec.frame_count) for step in range(spec.frame_count)]
        return to_gif(frames, spec.frame_duration)
    return to_file(picture, spec.output_format, spec.compression)


def compose(spec: ImageSpec, index: int, photos: DecodedUploads) -> Image.Image:
    size = spec.width, spec.height
    paint = draw_gradient if os.environ.get(PLAIN) else draw_landscape
    if spec.operation == "variations":
        return recolour(photos.images[0], index, size)
    scene = paint(spec.prompt, index, size, DETAIL[spec.quality])
    if photos.mask is not None:
        return line_up(photos.images[1:], repaint(photos.images[0], photos.mask, scene), spec.prompt)
    return hang(photos.images, scene, spec.prompt) if photos.images else scene


def decode(upload: Upload) -> Image.Image:
    try:
        with Image.open(upload.file) as image:
            image.draft("RGB", (MAX_INPUT, MAX_INPUT))
            picture = ImageOps.exif_transpose(image)
            picture.thumbnail((MAX_INPUT, MAX_INPUT))
            return picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        message = f"Invalid file {upload.part.name!r}: it cannot be decoded."
        raise Refusal(message, param=upload.part.name, code="invalid_image_file") from error
