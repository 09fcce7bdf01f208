"""Pictures: a landscape seeded by the prompt, uploads as prints in it, and image files of it."""

from __future__ import annotations

import hashlib
import html
import io
import math
import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import attrs
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]


@attrs.frozen
class Palette:
    """
    The colours of one scene.

    Attributes:
        top: Of the sky.
        middle: Of the sky.
        horizon: Of the sky and of the mist before far hills.
        light: Of the sun or the moon.
        near: Of the nearest hills.
        accent: Of small things: sails, windows.
        night: Whether there are stars.
    """

    top: Colour
    middle: Colour
    horizon: Colour
    light: Colour
    near: Colour
    accent: Colour
    night: bool = False


PALETTES: tuple[Palette, ...] = (
    Palette((44, 62, 112), (176, 118, 148), (254, 204, 164), (255, 242, 214), (34, 32, 60), (255, 214, 170)),
    Palette((84, 138, 184), (236, 206, 160), (255, 236, 200), (255, 252, 232), (62, 50, 66), (196, 72, 56)),
    Palette((52, 118, 142), (146, 202, 200), (246, 240, 218), (255, 250, 228), (16, 54, 64), (238, 108, 77)),
    Palette((26, 20, 66), (112, 62, 134), (246, 140, 138), (255, 226, 206), (22, 14, 46), (255, 196, 120), night=True),
    Palette((7, 12, 40), (22, 46, 96), (84, 124, 168), (248, 246, 232), (5, 10, 28), (255, 206, 120), night=True),
    Palette((6, 18, 40), (18, 72, 88), (92, 178, 148), (236, 250, 238), (4, 16, 26), (150, 240, 190), night=True),
    Palette((58, 106, 168), (236, 184, 144), (255, 226, 184), (255, 248, 222), (112, 48, 42), (255, 244, 214)),
    Palette((124, 146, 202), (244, 184, 198), (255, 230, 220), (255, 250, 240), (78, 50, 92), (220, 80, 110)),
    Palette((86, 114, 140), (172, 194, 206), (238, 238, 230), (255, 255, 246), (32, 48, 60), (206, 84, 62)),
    Palette((60, 18, 44), (190, 62, 64), (255, 180, 104), (255, 236, 196), (30, 10, 24), (255, 210, 140)),
)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour at *share* of the way from *first* to *second*."""
    return (
        round(first[0] + (second[0] - first[0]) * share),
        round(first[1] + (second[1] - first[1]) * share),
        round(first[2] + (second[2] - first[2]) * share),
    )


def seeded(*parts: object) -> random.Random:
    """Return a generator that gives the same numbers for the same *parts* on every machine."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 (pictures, not keys)


@attrs.define
class Canvas:
    """
    A picture in the making.

    Attributes:
        image: As far as it is drawn.
        palette: Its colours.
        random: Its generator.
        ground: Where the land begins, in pixels from the top.
        sun: Centre of the sun or moon.
        detail: Number of hills behind one another.
    """

    image: Image.Image
    palette: Palette
    random: random.Random
    ground: int
    sun: tuple[int, int]
    detail: int

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image.height

    @property
    def unit(self) -> float:
        """A hundredth of the shorter edge, so that all sizes show the same picture."""
        return min(self.image.size) / 100


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """Return colours that change from the top down, each stop at its share of the height."""
    width, height = size
    colours = [bytes(colour_at(step / 255, stops)) * width for step in range(256)]
    return Image.frombytes("RGB", size, b"".join(colours[row * 255 // height] for row in range(height)))


def draw_gradient(prompt: str, index: int, size: tuple[int, int], detail: int) -> Image.Image:
    """Return two colours that run into one another; others for each of what a landscape depends on."""
    numbers = seeded("gradient", prompt, index, detail)
    top, bottom = ((numbers.randrange(256), numbers.randrange(256), numbers.randrange(256)) for _ in range(2))
    return gradient(size, [(0, top), (1, bottom)])


def colour_at(place: float, stops: Sequence[tuple[float, Colour]]) -> Colour:
    after = next((index for index, (where, _) in enumerate(stops) if where >= place), len(stops) - 1)
    (low, first), (high, second) = stops[max(0, after - 1)], stops[after]
    return mix(first, second, (place - low) / (high - low) if high > low else 0)


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
    encode_head = picture.copy()
    draw = ImageDraw.Draw(encode_head)
    radius = max(1.0, min(encode_head.size) * 0.055)
    x = encode_head.width * (0.08 + 0.84 * progress)
    y = encode_head.height * (0.24 + 0.04 * math.sin(progress * math.tau))
    for share, colour in ((1.0, colours[0]), (0.62, colours[1]), (0.24, colours[0])):
        draw.ellipse((x - radius * share, y - radius, x + radius * share, y + radius), fill=colour)
    basket = y + radius * 1.5
    for side in (-1, 1):
        draw.line((x + side * radius * 0.7, y + radius * 0.7, x + side * radius * 0.2, basket), fill=(70, 50, 40))
    draw.rectangle((x - radius * 0.22, basket, x + radius * 0.22, basket + radius * 0.34), fill=(70, 50, 40))
    return encode_head


Size = tuple[int, int]
PAPER = (250, 248, 242, 255)


def fill(image: Image.Image, size: Size) -> Image.Image:
    """Return the middle of *image* at *size*."""
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def repaint(photo: Image.Image, mask: Image.Image, scene: Image.Image) -> Image.Image:
    """Return *photo* with *scene* where the *mask* is transparent."""
    alpha = fill(mask.getchannel("A"), scene.size)
    edge = max(1.0, min(scene.size) / 250)
    keep = alpha.filter(ImageFilter.GaussianBlur(edge))
    result = Image.composite(fill(photo.convert("RGB"), scene.size), scene, keep)
    # A thin light line shows where the one ends and the other begins.
    line = keep.point(lambda value: 150 if 90 < value < 165 else 0)
    result.paste((255, 255, 255), (0, 0), line)
    return result


def hang(photos: Sequence[Image.Image], scene: Image.Image, prompt: str) -> Image.Image:
    """Return *scene* with *photos* before it, like prints on a line."""
    numbers = seeded("hang", prompt)
    columns = next(count for count in (1, 2, 3, 4) if count * count >= len(photos))
    rows = -(-len(photos) // columns)
    width, height = scene.width / columns, scene.height * (0.86 if len(photos) > 1 else 0.88) / rows
    for index, photo in enumerate(photos):
        row, column = divmod(index, columns)
        in_row = min(columns, len(photos) - row * columns)
        centre = scene.width / 2 + (column - (in_row - 1) / 2) * width, (row + 0.5) * height + scene.height * 0.01
        angle = numbers.uniform(-4, 4)
        stick(scene, to_print(photo, (width * 0.78, height * 0.8)), centre, angle)
    return scene


def line_up(photos: Sequence[Image.Image], picture: Image.Image, prompt: str) -> Image.Image:
    """Return *picture* with small prints of *photos* along its upper edge."""
    numbers = seeded("line", prompt)
    room = min(min(picture.size) * 0.2, picture.width / (len(photos) + 1))
    for index, photo in enumerate(photos):
        paper = to_print(photo, (room * 0.9, room * 0.9))
        stick(picture, paper, (room * (index + 0.65), room * 0.6), numbers.uniform(-5, 5))
    return picture


def to_print(photo: Image.Image, room: tuple[float, float]) -> Image.Image:
    """Return *photo* on paper with a white edge."""
    edge = max(2, round(min(room) * 0.035))
    inner = max(8, round(room[0]) - 2 * edge), max(8, round(room[1]) - 2 * edge)
    photo = ImageOps.contain(photo.convert("RGBA"), inner, Image.Resampling.BICUBIC)
    paper = Image.new("RGBA", (photo.width + 2 * edge, photo.height + 2 * edge), PAPER)
    paper.alpha_composite(photo, (edge, edge))
    return paper


def stick(scene: Image.Image, paper: Image.Image, centre: tuple[float, float], angle: float) -> None:
    turned = paper.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left, top = round(centre[0] - turned.width / 2), round(centre[1] - turned.height / 2)
    drop = max(2, turned.width // 60)
    shade = turned.getchannel("A").point(lambda value: value * 0.45).filter(ImageFilter.BoxBlur(drop))
    scene.paste((8, 8, 20), (left + drop, top + drop), shade)
    scene.paste(turned.convert("RGB"), (left, top), turned.getchannel("A"))


def recolour(photo: Image.Image, index: int, size: Size) -> Image.Image:
    """Return *photo* at *size* in other colours, with a small print of the original."""
    picture = fill(photo.convert("RGB"), size)
    hue, saturation, value = picture.convert("HSV").split()
    turn = (40 + 67 * index) % 256
    turned = hue.point(lambda shade: (shade + turn) % 256)
    lively = saturation.point(lambda shade: min(255, shade * 0.85 + 36))
    result = Image.merge("HSV", (turned, lively, value)).convert("RGB")
    if index % 2:
        result = ImageOps.mirror(result)
    result = ImageChops.screen(result, Image.new("RGB", size, (14, 10, 22)))
    room = min(size) * 0.26
    stick(result, to_print(photo, (room, room)), (size[0] * 0.17, size[1] * 0.83), 4)
    return result


def to_sticker(picture: Image.Image) -> Image.Image:
    """Return *picture* as a round sticker on a transparent ground."""
    width, height = picture.size
    edge = min(width, height)
    inset = edge * 0.04
    mask = Image.new("L", (width * 2, height * 2))
    box = [((width - edge) / 2 + inset) * 2, ((height - edge) / 2 + inset) * 2]
    draw = ImageDraw.Draw(mask)
    draw.ellipse((*box, mask.width - box[0], mask.height - box[1]), fill=255)
    mask = mask.reduce(2)
    ring = ImageDraw.Draw(picture)
    left, top = box[0] / 2, box[1] / 2
    ring.ellipse((left, top, width - left, height - top), outline=(255, 255, 255), width=max(1, round(edge * 0.02)))
    sticker = picture.convert("RGBA")
    sticker.putalpha(mask)
    return sticker


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
    rest = [encode_head.quantize(palette=first, dither=Image.Dither.NONE) for encode_head in frames[1:]]
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


def to_sketch(image: bytes, output_format: str, compression: int | None, steps: int) -> bytes:
    """
    Return *image* as it looked before it was finished: as large, and in the same format.

    Args:
        image: The finished file.
        output_format: `png`, `jpeg` or `webp`.
        compression: As for the finished file.
        steps: How many states before the last; each has a quarter of the next one's width and height in detail.
    """
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        small = max(1, picture.width // 4**steps), max(1, picture.height // 4**steps)
        coarse = picture.resize(small, Image.Resampling.BOX)
        return to_file(coarse.resize(picture.size, Image.Resampling.BICUBIC), output_format, compression)
