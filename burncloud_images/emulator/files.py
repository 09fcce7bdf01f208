"""Pictures to image files."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence

from PIL import Image

from burncloud_images.emulator.canvas import seeded
from burncloud_images.emulator.palettes import PALETTES

MEDIA_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}


def to_file(picture: Image.Image, output_format: str, compression: int | None) -> bytes:
    """Return *picture* as PNG, JPEG or WebP; *compression* is the quality from 0 to 100."""
    quality = max(1, 90 if compression is None else compression)
    options: dict[str, dict[str, int]] = {
        "png": {"compress_level": 1, "compress_type": 3},
        "jpeg": {"quality": min(95, quality)},
        "webp": {"quality": quality, "method": 2},
    }
    file = io.BytesIO()
    picture.save(file, output_format, **options[output_format])
    return file.getvalue()


def to_gif(frames: Sequence[Image.Image], duration: int) -> bytes:
    """Return an endless animation of *frames*, each shown for *duration* milliseconds."""
    first = frames[0].quantize(128, dither=Image.Dither.NONE)
    rest = [frame.quantize(palette=first, dither=Image.Dither.NONE) for frame in frames[1:]]
    file = io.BytesIO()
    first.save(file, "gif", save_all=True, append_images=rest, duration=duration, loop=0)
    return file.getvalue()


NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_svg(prompt: str, size: tuple[int, int]) -> bytes:
    """Return a small drawing whose text is the prompt itself: here the viewer's fonts do the work."""
    numbers = seeded("svg", prompt)
    palette = numbers.choice(PALETTES)
    width, height = size
    hills = []
    for layer in range(4):
        top = height * (0.55 + 0.1 * layer)
        points = [(width * step / 8, top - numbers.uniform(0, height * 0.16)) for step in range(9)]
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        shade = f'fill="rgb{palette.near}" fill-opacity="{0.3 + 0.2 * layer:.1f}"'
        hills.append(f'<polygon points="0,{height} {line} {width},{height}" {shade}/>')
    sun = f'cx="{width * numbers.uniform(0.25, 0.75):.0f}" cy="{height * 0.3:.0f}" r="{min(size) * 0.08:.0f}"'
    text = html.escape(NOT_XML.sub("\ufffd", prompt))
    stops = ((0, palette.top), (0.6, palette.middle), (1, palette.horizon))
    sky = "".join(f'<stop offset="{place}" stop-color="rgb{colour}"/>' for place, colour in stops)
    font = f'text-anchor="middle" font-family="sans-serif" font-size="{min(size) * 0.04:.0f}" fill="white"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<defs><linearGradient id="sky" x2="0" y2="1">{sky}</linearGradient></defs>',
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/><circle {sun} fill="rgb{palette.light}"/>',
        *hills,
        f'<text x="50%" y="94%" {font}>{text}</text></svg>\n',
    ]
    return "\n".join(parts).encode()
