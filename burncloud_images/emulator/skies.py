"""Skies: stars, a sun or moon, clouds, birds."""

from __future__ import annotations

from typing import cast

from PIL import Image, ImageChops, ImageDraw

from burncloud_images.emulator.canvas import Canvas
from burncloud_images.emulator.palettes import Colour, Palette, mix


def sky_stops(palette: Palette, ground: float) -> list[tuple[float, Colour]]:
    return [(0, palette.top), (ground * 0.55, palette.middle), (ground, palette.horizon), (1, palette.horizon)]


def glow(canvas: Canvas, centre: tuple[int, int], radius: float, colour: Colour, strength: float) -> None:
    edge = max(2, round(radius * 2))
    # The gradient is light outside and dark inside.
    mask = Image.radial_gradient("L").point(lambda value: max(0, 255 - 1.45 * value) ** 2 / 255 * strength)
    left, top = centre[0] - edge // 2, centre[1] - edge // 2
    canvas.image.paste(colour, (left, top, left + edge, top + edge), mask.resize((edge, edge)))


def disc(canvas: Canvas, centre: tuple[int, int], radius: float, colour: Colour) -> None:
    edge = max(2, round(radius * 2))
    mask = Image.new("L", (edge * 4, edge * 4))
    ImageDraw.Draw(mask).ellipse((2, 2, edge * 4 - 3, edge * 4 - 3), fill=255)
    left, top = centre[0] - edge // 2, centre[1] - edge // 2
    canvas.image.paste(colour, (left, top, left + edge, top + edge), mask.reduce(4))


def paint_stars(canvas: Canvas) -> None:
    if not canvas.palette.night:
        return
    draw = ImageDraw.Draw(canvas.image)
    for _ in range(60 + 40 * canvas.detail):
        x, y = canvas.random.randrange(canvas.width), canvas.random.random() ** 1.5 * canvas.ground * 0.7
        sky = cast("Colour", canvas.image.getpixel((x, int(y))))
        colour = mix(sky, canvas.palette.light, canvas.random.uniform(0.25, 0.95) * (1 - y / canvas.ground))
        radius = canvas.unit * canvas.random.choice((0.05, 0.08, 0.12, 0.2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def paint_sun(canvas: Canvas) -> None:
    radius = canvas.unit * canvas.random.uniform(5, 9)
    light = canvas.palette.light
    glow(canvas, canvas.sun, radius * 7, mix(canvas.palette.horizon, light, 0.5), 0.55)
    glow(canvas, canvas.sun, radius * 2.6, light, 0.8)
    disc(canvas, canvas.sun, radius, light)


def noise(canvas: Canvas, cells: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    small = Image.frombytes("L", cells, canvas.random.randbytes(cells[0] * cells[1]))
    return small.resize(size, Image.Resampling.BICUBIC)


def paint_clouds(canvas: Canvas) -> None:
    size = canvas.width, canvas.ground
    wide, fine = noise(canvas, (5, 9), size), noise(canvas, (14, 26), size)
    cover = canvas.random.uniform(120, 150)
    mask = ImageChops.blend(wide, fine, 0.38).point(lambda value: max(0, min(130, (value - cover) * 2.2)))
    colour = mix(canvas.palette.horizon, canvas.palette.light, 0.55)
    # Nothing at the top and at the horizon, where the mask ends.
    fade = Image.linear_gradient("L").point(lambda value: min(value * 1.1, (255 - value) * 4)).resize(size)
    if canvas.palette.night:
        mask = mask.point(lambda value: value * 0.45)
    canvas.image.paste(colour, (0, 0), ImageChops.multiply(mask, fade))


def paint_birds(canvas: Canvas) -> None:
    if canvas.palette.night:
        return
    draw = ImageDraw.Draw(canvas.image)
    x, y = canvas.random.uniform(0.15, 0.7) * canvas.width, canvas.random.uniform(0.12, 0.4) * canvas.ground
    for _ in range(canvas.random.randrange(3, 8)):
        span = canvas.unit * canvas.random.uniform(0.9, 1.7)
        width = max(1, round(canvas.unit * 0.22))
        for side in (-1, 1):
            draw.line(
                (x, y, x + side * span * 0.5, y - span * 0.45, x + side * span, y - span * 0.2),
                fill=canvas.palette.near,
                width=width,
                joint="curve",
            )
        x, y = x + canvas.unit * canvas.random.uniform(2, 6), y + canvas.unit * canvas.random.uniform(-2, 2.4)
