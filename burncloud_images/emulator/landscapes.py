"""Landscapes by seed: a sky, a sun or moon, hills behind hills, and water, dunes, a forest or a town before them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from PIL import Image, ImageDraw

from burncloud_images.emulator.canvas import Canvas, gradient, seeded
from burncloud_images.emulator.palettes import PALETTES, Colour, mix
from burncloud_images.emulator.skies import paint_birds, paint_clouds, paint_stars, paint_sun, sky_stops
from burncloud_images.emulator.waters import paint_boat, paint_water

LONGEST = 800
"""Larger pictures are drawn at this many pixels and enlarged: gradients and silhouettes stand it."""


def draw_landscape(prompt: str, index: int, size: tuple[int, int], detail: int = 4) -> Image.Image:
    """
    Return an opaque picture.

    Args:
        prompt: The same prompt gives the same picture.
        index: Pictures of one prompt differ by it.
        size: Pixels.
        detail: Number of hills behind one another.
    """
    scale = min(1.0, LONGEST / max(size))
    width, height = (max(16, round(edge * scale)) for edge in size)
    numbers = seeded("landscape", prompt, index)
    palette = PALETTES[(seeded("palette", prompt).randrange(len(PALETTES)) + 3 * index) % len(PALETTES)]
    ground = round(height * numbers.uniform(0.56, 0.66))
    sun = round(width * numbers.uniform(0.2, 0.8)), round(ground * numbers.uniform(0.3, 0.75))
    canvas = Canvas(
        gradient((width, height), sky_stops(palette, ground / height)), palette, numbers, ground, sun, detail
    )
    for paint in (paint_stars, paint_sun, paint_clouds, numbers.choice(SCENES), paint_birds):
        paint(canvas)
    return canvas.image if canvas.image.size == size else canvas.image.resize(size, Image.Resampling.BICUBIC)


def rough(canvas: Canvas, roughness: float) -> list[float]:
    """Return heights from about -1 to 1 by halving: the line of mountains."""
    heights, swing = [canvas.random.uniform(-0.4, 0.4) for _ in range(3)], 0.9
    while len(heights) < canvas.width / (canvas.unit * 0.7):
        middles = [(a + b) / 2 + canvas.random.uniform(-swing, swing) for a, b in pairwise(heights)]
        heights = [height for pair in zip(heights, middles, strict=False) for height in pair] + heights[-1:]
        swing *= roughness
    return heights


def smooth(canvas: Canvas, waves: float) -> list[float]:
    """Return heights from about -1 to 1 by adding waves: the line of dunes."""
    turns = [
        (waves * factor, canvas.random.uniform(0, math.tau), share)
        for factor, share in ((1, 0.6), (1.9, 0.3), (3.7, 0.1))
    ]
    return [sum(share * math.sin(turn * x / 60 * math.tau + start) for turn, start, share in turns) for x in range(61)]


def paint_ridge(
    canvas: Canvas, heights: Sequence[float], top: float, swing: float, colour: Colour, *, trees: float = 0
) -> None:
    """Fill the land below a line; *trees* is how many stand on each part of it."""
    step = canvas.width / (len(heights) - 1)
    line = [(x * step, top - height * swing) for x, height in enumerate(heights)]
    # Twice as large, then halved: smooth edges. Only from the highest treetop down.
    first = max(0, round(min(y for _, y in line) - canvas.unit * (14 if trees else 1)))
    mask = Image.new("L", (canvas.width * 2, max(2, (canvas.height - first) * 2)))
    draw = ImageDraw.Draw(mask)
    shape = [(x * 2, (y - first) * 2) for x, y in line]
    draw.polygon([*shape, (mask.width, mask.height), (0, mask.height)], fill=255)
    for x, y in shape:
        if canvas.random.random() < trees:
            draw_tree(canvas, draw, x + canvas.random.uniform(-1, 1) * step, y + canvas.unit * 2)
    fog = mix(colour, canvas.palette.horizon, 0.42)
    height = canvas.height - first
    start = min(0.9, max(0.0, (top - swing - first) / height))
    deep = min(1.0, start + 0.3 * canvas.height / height)
    fill = gradient((canvas.width, mask.height // 2), [(0, colour), (start, colour), (deep, fog), (1, fog)])
    canvas.image.paste(fill, (0, first), mask.reduce(2))


def draw_tree(canvas: Canvas, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    height = canvas.unit * canvas.random.uniform(5, 13)
    for tier in range(4):
        half, top = height * (0.1 + 0.07 * tier), y - height + tier * height * 0.2
        draw.polygon([(x, top), (x - half, top + height * 0.36), (x + half, top + height * 0.36)], fill=255)
    draw.rectangle((x - height * 0.03, y - height * 0.1, x + height * 0.03, y + height * 0.3), fill=255)


def paint_hills(canvas: Canvas, *, roughness: float, bottom: float, trees: bool) -> None:
    for layer in range(canvas.detail):
        share = (layer + 1) / canvas.detail
        colour = mix(canvas.palette.horizon, canvas.palette.near, 0.22 + 0.78 * share**1.3)
        colour = mix(colour, canvas.palette.top, 0.25 * (1 - share))
        top = canvas.ground + (bottom - canvas.ground) * share**1.25 - canvas.height * 0.06 * (1 - share)
        swing = canvas.height * (0.2 - 0.12 * share)
        wooded = 0.75 if trees and layer >= canvas.detail - 2 else 0
        paint_ridge(canvas, rough(canvas, roughness), top, swing, colour, trees=wooded)


def mountains(canvas: Canvas) -> None:
    paint_hills(canvas, roughness=0.55, bottom=canvas.height * 0.92, trees=True)


def lake(canvas: Canvas) -> None:
    shore = canvas.ground + canvas.height * 0.06
    paint_hills(canvas, roughness=0.52, bottom=shore, trees=True)
    paint_water(canvas, round(shore))


def sea(canvas: Canvas) -> None:
    for share in (0.35, 0.6):
        colour = mix(canvas.palette.horizon, canvas.palette.near, share)
        heights = [max(-0.2, height) for height in rough(canvas, 0.5)]
        paint_ridge(canvas, heights, canvas.ground + canvas.unit, canvas.height * 0.07, colour)
    paint_water(canvas, canvas.ground)
    paint_boat(canvas)


def dunes(canvas: Canvas) -> None:
    for layer in range(canvas.detail):
        share = (layer + 1) / canvas.detail
        colour = mix(mix(canvas.palette.horizon, canvas.palette.middle, 0.5), canvas.palette.near, share**1.4)
        top = canvas.ground + (canvas.height * 0.9 - canvas.ground) * share**1.2
        paint_ridge(canvas, smooth(canvas, 1.2 + share), top, canvas.height * (0.05 + 0.06 * share), colour)


def town(canvas: Canvas) -> None:
    shore = round(canvas.ground + canvas.height * 0.08)
    paint_ridge(
        canvas,
        rough(canvas, 0.5),
        canvas.ground,
        canvas.height * 0.08,
        mix(canvas.palette.horizon, canvas.palette.near, 0.3),
    )
    for share, tallest in ((0.5, 0.34), (0.78, 0.25), (1.0, 0.15)):
        paint_towers(canvas, shore, mix(canvas.palette.horizon, canvas.palette.near, share), tallest * canvas.height)
    paint_water(canvas, shore)


SCENES: tuple[Callable[[Canvas], None], ...] = (mountains, lake, lake, sea, dunes, town)


def paint_towers(canvas: Canvas, shore: int, colour: Colour, tallest: float) -> None:
    draw = ImageDraw.Draw(canvas.image)
    lit = mix(colour, canvas.palette.accent, 0.8)
    x = -canvas.unit * canvas.random.uniform(0, 6)
    while x < canvas.width:
        width = canvas.unit * canvas.random.uniform(4, 9)
        top = shore - tallest * canvas.random.uniform(0.25, 1) ** 1.3
        draw.rectangle((x, top, x + width, canvas.height), fill=colour)
        if canvas.random.random() < 0.3:
            draw.line(
                (x + width / 2, top - canvas.unit * 4, x + width / 2, top),
                fill=colour,
                width=max(1, round(canvas.unit * 0.3)),
            )
        paint_windows(canvas, draw, (x, top, x + width, shore), lit)
        x += width + canvas.unit * canvas.random.choice((0, 0, 0.6, 2.5))


def paint_windows(
    canvas: Canvas, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], lit: Colour
) -> None:
    step, pane = canvas.unit * 1.35, canvas.unit * 0.55
    rows, columns = int((box[3] - box[1]) / step), int((box[2] - box[0]) / step)
    share = 0.45 if canvas.palette.night else 0.18
    for row in range(1, rows):
        for column in range(columns):
            if canvas.random.random() < share:
                x, y = box[0] + (column + 0.4) * step, box[1] + row * step
                draw.rectangle((x, y, x + pane, y + pane * 1.2), fill=lit)


def draw_balloon(picture: Image.Image, prompt: str, progress: float) -> Image.Image:
    """Return a copy of *picture* with a balloon that crosses the sky as *progress* goes from 0 to 1."""
    numbers = seeded("balloon", prompt)
    colours = [(numbers.randrange(150, 256), numbers.randrange(60, 200), numbers.randrange(60, 200)) for _ in range(2)]
    frame = picture.copy()
    draw = ImageDraw.Draw(frame)
    radius = max(1.0, min(frame.size) * 0.055)
    x = frame.width * (0.08 + 0.84 * progress)
    y = frame.height * (0.24 + 0.04 * math.sin(progress * math.tau))
    for share, colour in ((1.0, colours[0]), (0.62, colours[1]), (0.24, colours[0])):
        draw.ellipse((x - radius * share, y - radius, x + radius * share, y + radius), fill=colour)
    basket = y + radius * 1.5
    for side in (-1, 1):
        draw.line((x + side * radius * 0.7, y + radius * 0.7, x + side * radius * 0.2, basket), fill=(70, 50, 40))
    draw.rectangle((x - radius * 0.22, basket, x + radius * 0.22, basket + radius * 0.34), fill=(70, 50, 40))
    return frame
