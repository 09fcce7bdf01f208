"""
Pictures: a lake seeded by the prompt, and uploads as prints before it.

The same arguments give the same pixels in every process: chance comes from `seeded` alone.
"""

from __future__ import annotations

import hashlib
import html
import math
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import attrs
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Colour = tuple[int, int, int]
Size = tuple[int, int]
Point = tuple[float, float]


def seeded(*parts: object) -> random.Random:
    """Return a generator that gives the same numbers for the same *parts* on every machine."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 (pictures, not keys)


# --- colours ---------------------------------------------------------------------------------------------------------


class Palette(NamedTuple):
    """Colours of one time of day: the sky from the top down, sun or moon, the nearest hills, the sail."""

    top: Colour
    middle: Colour
    horizon: Colour
    light: Colour
    near: Colour
    sail: Colour
    night: bool = False


PALETTES = (
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
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def gradient(size: Size, stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """Return colours that change from the top down; each stop is at its share of the height, the last at 1."""
    width, height = size
    rows = [bytes(colour_at(step / 255, stops)) * width for step in range(256)]
    return Image.frombytes("RGB", size, b"".join(rows[y * 255 // height] for y in range(height)))


def colour_at(place: float, stops: Sequence[tuple[float, Colour]]) -> Colour:
    """Return the colour at *place* between *stops*."""
    (low, first), (high, second) = next(pair for pair in pairwise(stops) if place <= pair[1][0])
    return mix(first, second, (place - low) / (high - low) if high > low else 0)


def draw_gradient(prompt: str, index: int, size: Size, detail: int) -> Image.Image:
    """Return two colours that run into one another; they depend on the same arguments as a landscape."""
    numbers = seeded("gradient", prompt, index, detail)
    top, bottom = ((numbers.randrange(256), numbers.randrange(256), numbers.randrange(256)) for _ in range(2))
    return gradient(size, [(0, top), (1, bottom)])


# --- the landscape ---------------------------------------------------------------------------------------------------

MAX_EDGE = 800
"""Larger pictures are drawn at this many pixels and enlarged; gradients and silhouettes bear it."""


@attrs.frozen
class Canvas:
    """
    A picture while it is drawn.

    Attributes:
        shore: Where the water begins, in pixels from the top.
        detail: Number of ridges behind one another.
    """

    image: Image.Image
    palette: Palette
    random: random.Random
    shore: int
    detail: int

    @property
    def unit(self) -> float:
        """A hundredth of the shorter edge, so that all sizes show the same picture."""
        return min(self.image.size) / 100


def draw_landscape(prompt: str, index: int, size: Size, detail: int = 4) -> Image.Image:
    """Return an opaque picture of a lake before hills."""
    scale = min(1.0, MAX_EDGE / max(size))
    width, height = (max(16, round(edge * scale)) for edge in size)
    numbers = seeded("landscape", prompt, index)
    palette = PALETTES[(seeded("palette", prompt).randrange(len(PALETTES)) + 3 * index) % len(PALETTES)]
    share = numbers.uniform(0.58, 0.68)
    stops = [(0, palette.top), (share * 0.55, palette.middle), (share, palette.horizon), (1, palette.horizon)]
    canvas = Canvas(gradient((width, height), stops), palette, numbers, round(height * share), detail)
    sun = width * numbers.uniform(0.2, 0.8), canvas.shore * numbers.uniform(0.25, 0.6)
    draw_stars(canvas)
    draw_sun(canvas, sun)
    draw_clouds(canvas)
    draw_ridges(canvas)
    draw_water(canvas, sun[0])
    draw_boat(canvas)
    draw_birds(canvas)
    return canvas.image if canvas.image.size == size else canvas.image.resize(size, Image.Resampling.BICUBIC)


def draw_stars(canvas: Canvas) -> None:
    if not canvas.palette.night:
        return
    draw = ImageDraw.Draw(canvas.image)
    for _ in range(60 + 40 * canvas.detail):
        x, y = canvas.random.randrange(canvas.image.width), canvas.random.random() ** 1.5 * canvas.shore * 0.7
        sky = cast("Colour", canvas.image.getpixel((x, int(y))))
        colour = mix(sky, canvas.palette.light, canvas.random.uniform(0.25, 0.95) * (1 - y / canvas.shore))
        radius = canvas.unit * canvas.random.choice((0.05, 0.08, 0.12, 0.2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def draw_sun(canvas: Canvas, centre: Point) -> None:
    """Draw the sun or moon: a wide glow, a narrow one and a disc."""
    radius = canvas.unit * canvas.random.uniform(5, 9)
    light = canvas.palette.light
    outside = Image.radial_gradient("L")  # dark inside, light outside
    for colour, factor, strength in ((mix(canvas.palette.horizon, light, 0.5), 7, 0.55), (light, 2.6, 0.8)):
        glow = outside.point([round(max(0, 255 - 1.45 * value) ** 2 / 255 * strength) for value in range(256)])
        paste_round(canvas, glow, centre, radius * factor, colour)
    disc = Image.new("L", (256, 256))
    ImageDraw.Draw(disc).ellipse((1, 1, 254, 254), fill=255)
    paste_round(canvas, disc, centre, radius, light)


def paste_round(canvas: Canvas, mask: Image.Image, centre: Point, radius: float, colour: Colour) -> None:
    edge = max(2, round(radius * 2))
    box = round(centre[0] - edge / 2), round(centre[1] - edge / 2)
    canvas.image.paste(
        colour, (*box, box[0] + edge, box[1] + edge), mask.resize((edge, edge), Image.Resampling.BILINEAR)
    )


def draw_clouds(canvas: Canvas) -> None:
    size = canvas.image.width, canvas.shore
    wide, fine = (
        Image.frombytes("L", cells, canvas.random.randbytes(math.prod(cells))).resize(size, Image.Resampling.BICUBIC)
        for cells in ((5, 9), (14, 26))
    )
    cover, strength = canvas.random.uniform(120, 150), 1.0 if canvas.palette.night else 2.2
    shape = [round(max(0, min(130, (value - cover) * strength))) for value in range(256)]
    mask = ImageChops.blend(wide, fine, 0.38).point(shape)
    # Nothing at the top and at the horizon, where the mask ends.
    fade = Image.linear_gradient("L").point([round(min(value * 1.1, (255 - value) * 4, 255)) for value in range(256)])
    colour = mix(canvas.palette.horizon, canvas.palette.light, 0.55)
    canvas.image.paste(colour, (0, 0), ImageChops.multiply(mask, fade.resize(size)))


def draw_ridges(canvas: Canvas) -> None:
    """Draw hills behind hills, the nearer the darker; trees stand on the nearest two."""
    height, palette = canvas.image.height, canvas.palette
    for layer in range(canvas.detail):
        share = (layer + 1) / canvas.detail
        colour = mix(palette.horizon, palette.near, 0.22 + 0.78 * share**1.3)
        colour = mix(colour, palette.top, 0.25 * (1 - share))
        top = canvas.shore - height * 0.12 * (1 - share**1.25)
        trees = layer >= canvas.detail - 2
        draw_ridge(canvas, rough_line(canvas, top, height * (0.2 - 0.12 * share)), colour, trees=trees)


def rough_line(canvas: Canvas, top: float, swing: float) -> list[Point]:
    """Return the outline of a ridge, made by halving its parts again and again."""
    heights, change = [canvas.random.uniform(-0.4, 0.4) for _ in range(3)], 0.9
    while len(heights) < canvas.image.width / (canvas.unit * 0.7):
        middles = [(a + b) / 2 + canvas.random.uniform(-change, change) for a, b in pairwise(heights)]
        heights = [height for pair in zip(heights, middles, strict=False) for height in pair] + heights[-1:]
        change *= 0.53
    step = canvas.image.width / (len(heights) - 1)
    return [(x * step, top - height * swing) for x, height in enumerate(heights)]


def draw_ridge(canvas: Canvas, line: Sequence[Point], colour: Colour, *, trees: bool) -> None:
    """Fill the land below *line*, with mist at its foot."""
    peak = min(y for _, y in line)
    first = max(0, int(peak - canvas.unit * 14))  # above the treetops
    width, height = canvas.image.width, canvas.image.height - first
    # Twice as large, then halved, for smooth edges.
    mask = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(mask)
    shape = [(x * 2, (y - first) * 2) for x, y in line]
    draw.polygon([*shape, (width * 2, height * 2), (0, height * 2)], fill=255)
    for x, y in shape:
        if trees and canvas.random.random() < 0.75:
            draw_tree(canvas, draw, (x + canvas.random.uniform(-1, 1) * line[1][0], y + canvas.unit * 2))
    top, shore = sorted(max(0.0, (y - first) / height) for y in (peak, canvas.shore))
    mist = mix(colour, canvas.palette.horizon, 0.42)
    fill = gradient((width, height), [(0, colour), (top, colour), (shore, mist), (1, mist)])
    canvas.image.paste(fill, (0, first), mask.reduce(2))


def draw_tree(canvas: Canvas, draw: ImageDraw.ImageDraw, foot: Point) -> None:
    x, y = foot
    height = canvas.unit * canvas.random.uniform(5, 13)
    for tier in range(4):
        half, top = height * (0.1 + 0.07 * tier), y - height + tier * height * 0.2
        draw.polygon([(x, top), (x - half, top + height * 0.36), (x + half, top + height * 0.36)], fill=255)
    draw.rectangle((x - height * 0.03, y - height * 0.1, x + height * 0.03, y + height * 0.3), fill=255)


def draw_water(canvas: Canvas, sun: float) -> None:
    """Mirror what stands above the shore, shaken by waves that grow towards the viewer, and the light on them."""
    palette, shore, (width, height) = canvas.palette, canvas.shore, canvas.image.size
    depth = height - shore
    above = canvas.image.crop((0, max(0, shore - depth * 2), width, shore))
    mirror = ImageOps.flip(above).resize((width, depth)).filter(ImageFilter.BoxBlur(canvas.unit * 0.3))
    water = gradient(mirror.size, [(0, palette.middle), (1, mix(palette.top, palette.near, 0.55))])
    mirror = Image.blend(mirror, water, 0.36)
    start, strip = canvas.random.uniform(0, math.tau), max(1, round(canvas.unit * 0.35))
    for y in range(0, depth, strip):
        near = y / depth
        shift = round(canvas.unit * (0.3 + 2.2 * near) * math.sin(start + 7 * math.tau * math.sqrt(near)))
        row = mirror.crop((0, y, width, min(depth, y + strip)))
        canvas.image.paste(ImageChops.offset(row, shift, 0), (0, shore + y))
    glitter = Image.new("L", (width, depth))
    draw = ImageDraw.Draw(glitter)
    for _ in range(90 + 60 * canvas.detail):
        near = canvas.random.random() ** 1.5
        x, y = canvas.random.gauss(sun, canvas.unit * (5 + 26 * near)), near * depth
        half = canvas.unit * canvas.random.uniform(0.6, 3) * (0.4 + near)
        thick = max(1, round(canvas.unit * 0.28 * (0.3 + near)))
        draw.line((x - half, y, x + half, y), fill=canvas.random.randrange(50, 190), width=thick)
    canvas.image.paste(palette.light, (0, shore), glitter)


BOAT = (
    ((-1, 0), (1, 0), (0.7, 0.32), (-0.7, 0.32)),
    ((-0.06, -0.08), (-0.06, -2), (-0.85, -0.08)),
    ((0.08, -0.08), (0.08, -1.6), (0.7, -0.08)),
)
"""Hull and sails, seen from the middle of the waterline."""


def draw_boat(canvas: Canvas) -> None:
    draw, palette = ImageDraw.Draw(canvas.image), canvas.palette
    size = canvas.unit * canvas.random.uniform(5, 9)
    x = canvas.image.width * canvas.random.choice((0.25, 0.34, 0.66, 0.75))
    y = canvas.shore + (canvas.image.height - canvas.shore) * canvas.random.uniform(0.2, 0.4)
    sail = mix(palette.sail, palette.light, 0.35)
    for shape, colour in zip(BOAT, (palette.near, sail, mix(sail, palette.near, 0.25)), strict=True):
        draw.polygon([(x + size * right, y + size * down) for right, down in shape], fill=colour)


def draw_birds(canvas: Canvas) -> None:
    if canvas.palette.night:
        return
    draw, numbers, unit = ImageDraw.Draw(canvas.image), canvas.random, canvas.unit
    x, y = numbers.uniform(0.15, 0.7) * canvas.image.width, numbers.uniform(0.12, 0.4) * canvas.shore
    for _ in range(numbers.randrange(3, 8)):
        span = unit * numbers.uniform(0.9, 1.7)
        wings = [(x - span, y - span * 0.2), (x - span * 0.5, y - span * 0.45), (x, y)]
        wings += [(x + span * 0.5, y - span * 0.45), (x + span, y - span * 0.2)]
        draw.line(wings, fill=canvas.palette.near, width=max(1, round(unit * 0.22)), joint="curve")
        x, y = x + unit * numbers.uniform(2, 6), y + unit * numbers.uniform(-2, 2.4)


def draw_balloon(picture: Image.Image, prompt: str, progress: float) -> Image.Image:
    """Return a copy of *picture* with a balloon that crosses the sky as *progress* goes from 0 to 1."""
    numbers = seeded("balloon", prompt)
    colours = [(numbers.randrange(150, 256), numbers.randrange(60, 200), numbers.randrange(60, 200)) for _ in range(2)]
    frame = picture.copy()
    draw = ImageDraw.Draw(frame)
    radius = max(1.0, min(frame.size) * 0.055)
    x, y = frame.width * (0.08 + 0.84 * progress), frame.height * (0.24 + 0.04 * math.sin(progress * math.tau))
    for share, colour in ((1.0, colours[0]), (0.62, colours[1]), (0.24, colours[0])):
        draw.ellipse((x - radius * share, y - radius, x + radius * share, y + radius), fill=colour)
    top = y + radius * 1.2
    draw.rectangle((x - radius * 0.22, top, x + radius * 0.22, top + radius * 0.34), fill=(70, 50, 40))
    return frame


# --- uploads ---------------------------------------------------------------------------------------------------------

PAPER = (250, 248, 242, 255)


def hang_prints(photos: Sequence[Image.Image], scene: Image.Image, prompt: str) -> Image.Image:
    """Return *scene* with *photos* before it, each a print with a white edge."""
    numbers = seeded("hang", prompt)
    columns = math.ceil(math.sqrt(len(photos)))
    rows = math.ceil(len(photos) / columns)
    width, height = scene.width / columns, scene.height * 0.87 / rows
    for index, photo in enumerate(photos):
        row, column = divmod(index, columns)
        in_row = min(columns, len(photos) - row * columns)
        centre = scene.width / 2 + (column - (in_row - 1) / 2) * width, (row + 0.51) * height
        paste_print(scene, photo, (width * 0.78, height * 0.8), centre, numbers.uniform(-4, 4))
    return scene


def add_prints(photos: Sequence[Image.Image], picture: Image.Image, prompt: str) -> Image.Image:
    """Return *picture* with small prints of *photos* along its upper edge."""
    numbers = seeded("line", prompt)
    room = min(min(picture.size) * 0.2, picture.width / (len(photos) + 1))
    for index, photo in enumerate(photos):
        centre = room * (index + 0.65), room * 0.6
        paste_print(picture, photo, (room * 0.9, room * 0.9), centre, numbers.uniform(-5, 5))
    return picture


def paste_print(scene: Image.Image, photo: Image.Image, room: Point, centre: Point, angle: float) -> None:
    """Put *photo* on paper with a white edge, turn it by *angle* degrees and paste it with its shadow."""
    edge = max(2, round(min(room) * 0.035))
    inner = max(8, round(room[0]) - 2 * edge), max(8, round(room[1]) - 2 * edge)
    photo = ImageOps.contain(photo, inner, Image.Resampling.BICUBIC)
    paper = Image.new("RGBA", (photo.width + 2 * edge, photo.height + 2 * edge), PAPER)
    paper.alpha_composite(photo, (edge, edge))
    paper = paper.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left, top, drop = round(centre[0] - paper.width / 2), round(centre[1] - paper.height / 2), max(2, paper.width // 60)
    alpha = paper.getchannel("A")
    shadow = alpha.point([round(value * 0.45) for value in range(256)]).filter(ImageFilter.BoxBlur(drop))
    scene.paste((8, 8, 20), (left + drop, top + drop), shadow)
    scene.paste(paper.convert("RGB"), (left, top), alpha)


def fill_mask(photo: Image.Image, mask: Image.Image, scene: Image.Image) -> Image.Image:
    """Return *photo* with *scene* where the *mask* is transparent, and a thin light line between them."""
    photo, alpha = (ImageOps.fit(image, scene.size) for image in (photo.convert("RGB"), mask.getchannel("A")))
    keep = alpha.filter(ImageFilter.GaussianBlur(max(1.0, min(scene.size) / 250)))
    result = Image.composite(photo, scene, keep)
    result.paste((255, 255, 255), (0, 0), keep.point([150 * (90 < value < 165) for value in range(256)]))
    return result


def recolour(photo: Image.Image, index: int, size: Size) -> Image.Image:
    """Return *photo* at *size* in other colours, with a small print of the original."""
    hue, saturation, value = ImageOps.fit(photo.convert("RGB"), size).convert("HSV").split()
    hue = hue.point([(shade + 40 + 67 * index) % 256 for shade in range(256)])
    saturation = saturation.point([min(255, round(shade * 0.85 + 36)) for shade in range(256)])
    result = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    if index % 2:
        result = ImageOps.mirror(result)
    room = min(size) * 0.26
    paste_print(result, photo, (room, room), (size[0] * 0.17, size[1] * 0.83), 4)
    return result


def cut_sticker(picture: Image.Image) -> Image.Image:
    """Return *picture* as a round sticker on a transparent background."""
    (width, height), edge = picture.size, min(picture.size) * 0.92
    left, top = (width - edge) / 2, (height - edge) / 2
    mask = Image.new("L", (width * 2, height * 2))
    ImageDraw.Draw(mask).ellipse((left * 2, top * 2, (width - left) * 2, (height - top) * 2), fill=255)
    ring = (left, top, width - left, height - top)
    ImageDraw.Draw(picture).ellipse(ring, outline=(255, 255, 255), width=max(1, round(edge * 0.022)))
    sticker = picture.convert("RGBA")
    sticker.putalpha(mask.reduce(2))
    return sticker


# --- SVG ------------------------------------------------------------------------------------------------------------

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_svg(prompt: str, size: Size) -> bytes:
    """Return a small drawing whose text is the prompt itself: the viewer has the fonts."""
    numbers = seeded("svg", prompt)
    palette, (width, height) = numbers.choice(PALETTES), size
    hills = ""
    for layer in range(4):
        top = height * (0.55 + 0.1 * layer)
        points = " ".join(f"{width * x / 8:.0f},{top - numbers.uniform(0, height * 0.16):.0f}" for x in range(9))
        hills += f'<polygon points="0,{height} {points} {width},{height}" fill-opacity="{0.3 + 0.2 * layer:.1f}"/>'
    stops = ((0, palette.top), (0.6, palette.middle), (1, palette.horizon))
    sky = "".join(f'<stop offset="{place}" stop-color="rgb{colour}"/>' for place, colour in stops)
    sun = f'cx="{width * numbers.uniform(0.25, 0.75):.0f}" cy="{height * 0.3:.0f}" r="{min(size) * 0.08:.0f}"'
    font = f'text-anchor="middle" font-family="sans-serif" font-size="{min(size) * 0.04:.0f}" fill="white"'
    text = html.escape(NOT_XML.sub("\ufffd", prompt))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<defs><linearGradient id="sky" x2="0" y2="1">{sky}</linearGradient></defs>
<rect width="{width}" height="{height}" fill="url(#sky)"/><circle {sun} fill="rgb{palette.light}"/>
<g fill="rgb{palette.near}">{hills}</g>
<text x="50%" y="94%" {font}>{text}</text></svg>
""".encode()
