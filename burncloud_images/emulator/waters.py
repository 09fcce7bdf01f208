"""Water: what stands above it, mirrored and shaken; light on the waves; a boat."""

from __future__ import annotations

import math

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from burncloud_images.emulator.canvas import Canvas, gradient
from burncloud_images.emulator.palettes import mix


def paint_water(canvas: Canvas, shore: int) -> None:
    """Mirror what stands above the shore, shaken by waves that grow towards the viewer."""
    depth = canvas.height - shore
    above = canvas.image.crop((0, max(0, shore - depth * 2), canvas.width, shore)).transpose(
        Image.Transpose.FLIP_TOP_BOTTOM
    )
    mirror = above.resize((canvas.width, depth)).filter(ImageFilter.BoxBlur(canvas.unit * 0.3))
    deep = mix(canvas.palette.top, canvas.palette.near, 0.55)
    mirror = Image.blend(mirror, gradient(mirror.size, [(0, canvas.palette.middle), (1, deep)]), 0.36)
    start = canvas.random.uniform(0, math.tau)
    strip = max(1, round(canvas.unit * 0.35))
    for y in range(0, depth, strip):
        near = y / depth
        shift = round(canvas.unit * (0.3 + 2.2 * near) * math.sin(start + 14 * math.sqrt(near) * math.tau / 2))
        row = ImageChops.offset(mirror.crop((0, y, canvas.width, min(depth, y + strip))), shift, 0)
        canvas.image.paste(row, (0, shore + y))
    paint_glitter(canvas, shore)


def paint_glitter(canvas: Canvas, shore: int) -> None:
    depth = canvas.height - shore
    mask = Image.new("L", (canvas.width, depth))
    draw = ImageDraw.Draw(mask)
    for _ in range(90 + 60 * canvas.detail):
        near = canvas.random.random() ** 1.5
        spread = canvas.unit * (5 + 26 * near)
        x, y = canvas.random.gauss(canvas.sun[0], spread), near * depth
        half = canvas.unit * canvas.random.uniform(0.6, 3) * (0.4 + near)
        thick = max(1, round(canvas.unit * 0.28 * (0.3 + near)))
        draw.line((x - half, y, x + half, y), fill=canvas.random.randrange(50, 190), width=thick)
    canvas.image.paste(canvas.palette.light, (0, shore), mask)


def paint_boat(canvas: Canvas) -> None:
    draw = ImageDraw.Draw(canvas.image)
    size = canvas.unit * canvas.random.uniform(5, 9)
    x = canvas.width * canvas.random.choice((0.25, 0.34, 0.66, 0.75))
    y = canvas.ground + (canvas.height - canvas.ground) * 0.22
    dark, sail = canvas.palette.near, mix(canvas.palette.accent, canvas.palette.light, 0.35)
    draw.polygon(
        [(x - size, y), (x + size, y), (x + size * 0.7, y + size * 0.32), (x - size * 0.7, y + size * 0.32)], fill=dark
    )
    draw.polygon(
        [(x - size * 0.06, y - size * 0.08), (x - size * 0.06, y - size * 2), (x - size * 0.85, y - size * 0.08)],
        fill=sail,
    )
    draw.polygon(
        [(x + size * 0.08, y - size * 0.08), (x + size * 0.08, y - size * 1.6), (x + size * 0.7, y - size * 0.08)],
        fill=mix(sail, dark, 0.25),
    )
