"""Renders image specs to files, in its own threads, and caches the files."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import attrs
from PIL import Image, ImageEnhance, ImageOps

from burncloud_images.emulator import drawing
from burncloud_images.emulator.captions import write_caption, write_number
from burncloud_images.emulator.errors import RefusedRequest
from burncloud_images.emulator.image_specs import ImageSpec
from burncloud_images.emulator.request_body import ReceivedUpload

P = ParamSpec("P")
T = TypeVar("T")

MAX_BYTES = 64 * 1024 * 1024
MAX_INPUT = 2048
"""Uploads are reduced to this many pixels in width and height; a print needs no more."""

PLAIN = "BURNCLOUD_EMULATOR_PLAIN"
"""If set, pictures are two colours and the caption, for tests that look at none."""
PLAIN_PIXELS, PLAIN_EDGE = 256 * 256, 40
"""Plain pictures of more pixels are drawn this wide or high, whichever is less, and enlarged: that costs little."""

MEDIA_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}
DETAIL = {"low": 3, "standard": 4, "medium": 4, "high": 5, "hd": 5, "xhigh": 6, "max": 7}
STYLES = {"vivid": 1.2, "natural": 0.75}


@attrs.frozen
class RenderedImages:
    """
    What was drawn.

    Attributes:
        images: Image files, one for each that was asked for.
        partials: The early states of each image, earliest first; as many for each as the spec says.
    """

    images: tuple[bytes, ...] = attrs.field(repr=False)
    media_type: str
    partials: tuple[tuple[bytes, ...], ...] = attrs.field(repr=False)


class Renderer:
    """Draws in threads, so that the server goes on serving other requests."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="burncloud-emulator")
        self.lock = threading.Lock()
        self.cached: OrderedDict[object, bytes] = OrderedDict()
        self.size = 0

    def close(self) -> None:
        """Wait for pictures in progress and stop the threads."""
        self.threads.shutdown(cancel_futures=True)
        self.cached.clear()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: work(*args, **kwargs))

    async def render(self, spec: ImageSpec) -> RenderedImages:
        """
        Return the images that *spec* asks for.

        Raises:
            RefusedRequest: An upload cannot be decoded.
        """
        keys = [to_key(spec, index) for index in range(spec.n)]
        uploads = () if all(key in self.cached for key in keys) else await self.run(decode_uploads, spec)
        images = await asyncio.gather(
            *(self.run(self.recall, key, partial(render_file, spec, index, uploads)) for index, key in enumerate(keys))
        )
        pairs = zip(keys, images, strict=True)
        partials = await asyncio.gather(*(self.run(self.render_partials, spec, *pair) for pair in pairs))
        return RenderedImages(tuple(images), MEDIA_TYPES[spec.output_format], tuple(partials))

    def render_partials(self, spec: ImageSpec, key: object, image: bytes) -> tuple[bytes, ...]:
        """Return the early states of *image* that *spec* asks for; blocks."""
        return tuple(
            self.recall((key, steps), partial(coarsen, image, spec.output_format, spec.compression, steps))
            for steps in range(spec.partials, 0, -1)
        )

    def recall(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return the file that is cached under *key*, or make it; blocks."""
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


def decode_uploads(spec: ImageSpec) -> tuple[Image.Image, ...]:
    """
    Return the uploads of *spec*: the images, the first with its markup, and the mask if there is one.

    Raises:
        RefusedRequest: One of them is damaged.
    """
    images = [decode(upload) for upload in spec.images]
    if spec.markup:
        images[0] = Image.alpha_composite(images[0], decode(spec.markup).resize(images[0].size))
    return (*images, decode(spec.mask)) if spec.mask else tuple(images)


def decode(upload: ReceivedUpload) -> Image.Image:
    """Return *upload* as RGBA, upright and small enough to work with."""
    try:
        with Image.open(upload.file) as image:
            image.draft("RGB", (MAX_INPUT, MAX_INPUT))
            picture = ImageOps.exif_transpose(image)
            picture.thumbnail((MAX_INPUT, MAX_INPUT))
            return picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        message = f"Invalid file {upload.part.name!r}: it cannot be decoded."
        raise RefusedRequest(message, param=upload.part.name, code="invalid_image_file") from error


def render_file(spec: ImageSpec, index: int, uploads: Sequence[Image.Image]) -> bytes:
    """Return the image file at *index* of those that *spec* asks for."""
    size = spec.width, spec.height
    if spec.output_format == "svg":
        return drawing.write_svg(spec.prompt, size)
    drawn = shrink(spec) if is_enlarged(size) else spec
    picture = compose(drawn, index, uploads)
    if spec.output_format == "gif":
        steps = (step / spec.frame_count for step in range(spec.frame_count))
        frames = reduce_colours([drawing.draw_balloon(picture, spec.prompt, step) for step in steps])
        return encode_gif([enlarge(frame, size) for frame in frames], spec.frame_duration)
    if drawn is not spec and spec.output_format == "png":
        picture = picture.quantize(16, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return encode(enlarge(picture, size), spec.output_format, spec.compression)


def is_plain() -> bool:
    return bool(os.environ.get(PLAIN))


def is_enlarged(size: drawing.Size) -> bool:
    return is_plain() and size[0] * size[1] > PLAIN_PIXELS


def shrink(spec: ImageSpec) -> ImageSpec:
    """Return *spec* for the small picture that a plain one is before it is enlarged."""
    factor = max(1, min(spec.width, spec.height) // PLAIN_EDGE)
    return attrs.evolve(spec, width=spec.width // factor, height=spec.height // factor)


def enlarge(picture: Image.Image, size: drawing.Size) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.NEAREST)


def compose(spec: ImageSpec, index: int, uploads: Sequence[Image.Image]) -> Image.Image:
    """Return the picture with its caption and number."""
    picture = draw(spec, index, uploads)
    if spec.style:
        picture = ImageEnhance.Color(picture).enhance(STYLES[spec.style])
    if spec.transparent:
        picture = drawing.cut_sticker(picture)
    return write_number(write_caption(picture, spec.prompt), index)


def draw(spec: ImageSpec, index: int, uploads: Sequence[Image.Image]) -> Image.Image:
    """Return the landscape, and in it what was uploaded."""
    size = spec.width, spec.height
    if spec.operation == "variations":
        return drawing.recolour(uploads[0], index, size)
    paint = drawing.draw_gradient if is_plain() else drawing.draw_landscape
    scene = paint(spec.prompt, index, size, DETAIL[spec.quality])
    if not uploads:
        return scene
    images = uploads[: len(spec.images)]
    if spec.mask or images[0].getchannel("A").getextrema()[0] == 0:
        # Without a mask, the transparent pixels of the first image say where to edit.
        picture = drawing.fill_mask(images[0], uploads[-1] if spec.mask else images[0], scene)
        return drawing.add_prints(images[1:], picture, spec.prompt)
    return drawing.hang_prints(images, scene, spec.prompt)


def encode(picture: Image.Image, output_format: str, compression: int | None) -> bytes:
    """Return *picture* as PNG, JPEG or WebP; *compression* is the quality from 0 to 100."""
    quality = max(1, 90 if compression is None else compression)
    options: dict[str, dict[str, int]] = {
        "png": {"compress_level": 1, "compress_type": zlib.Z_DEFAULT_STRATEGY if picture.mode == "P" else zlib.Z_RLE},
        "jpeg": {"quality": min(95, quality)},
        "webp": {"quality": quality, "method": 2},
    }
    file = io.BytesIO()
    picture.save(file, output_format, **options[output_format])
    return file.getvalue()


def reduce_colours(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return *frames* in the 128 colours that the first one needs most."""
    first = frames[0].quantize(128, dither=Image.Dither.NONE)
    return [first, *(frame.quantize(palette=first, dither=Image.Dither.NONE) for frame in frames[1:])]


def encode_gif(frames: Sequence[Image.Image], duration: int) -> bytes:
    """Return an endless animation of *frames*, each shown for *duration* milliseconds."""
    first, *rest = frames
    file = io.BytesIO()
    first.save(file, "gif", save_all=True, append_images=rest, duration=duration, loop=0)
    return file.getvalue()


def coarsen(image: bytes, output_format: str, compression: int | None, steps: int) -> bytes:
    """Return an early state of a finished file: each of *steps* divides the detail in width and height by four."""
    with Image.open(io.BytesIO(image)) as picture:
        divisor = 4 ** (steps + 2 * is_enlarged(picture.size))  # those have a sixteenth of the detail to begin with
        small = max(1, picture.width // divisor), max(1, picture.height // divisor)
        coarse = picture.resize(small, Image.Resampling.BOX)
        return encode(coarse.resize(picture.size, Image.Resampling.BICUBIC), output_format, compression)
