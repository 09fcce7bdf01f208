"""Writes the prompt into a picture, in any script."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence

import attrs
from PIL import Image, ImageDraw, ImageFont

from burncloud_images.emulator.drawing import seeded

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[float, float, float, float]

MAX_LINES = 3
WHITE = (255, 255, 255, 255)
# Opaque, so that the caption of a picture that is edited does not show through the new one.
INK = (24, 28, 42, 255)


@functools.lru_cache(maxsize=64)
def load_font(size: int) -> Font:
    """Return Pillow's built-in font, which is the same on every machine."""
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=4096)
def has_glyph(character: str) -> bool:
    """Return whether the font has a glyph for *character*."""
    font = load_font(16)
    return bytes(font.getmask(character)) != bytes(font.getmask("\U0010fffe"))


@attrs.frozen
class SingleLineText:
    """
    Text that is not broken across lines.

    Attributes:
        text: A word, or one character that the font lacks.
        drawn: Whether the font has it.
        width: Pixels.
    """

    text: str
    drawn: bool
    width: float


def tokens(prompt: str, size: int) -> Iterator[SingleLineText]:
    """Yield words, spaces, and characters that the font lacks."""
    font = load_font(size)
    word = ""
    for character in prompt:
        if character.isspace() or unicodedata.category(character) in {"Cc", "Cf"}:
            yield from split(word, font)
            yield SingleLineText(" ", drawn=True, width=font.getlength(" "))
            word = ""
        elif has_glyph(character):
            word += character
        else:
            yield from split(word, font)
            yield SingleLineText(
                character, drawn=False, width=load_font(code_size(size)).getlength(to_code(character)) + size * 0.6
            )
            word = ""
    yield from split(word, font)


def to_code(character: str) -> str:
    return f"U+{ord(character):04X}"


def code_size(size: int) -> int:
    return max(6, round(size * 0.55))


def split(word: str, font: Font) -> Iterator[SingleLineText]:
    """Yield *word*, split if it is very long."""
    for start in range(0, len(word), 24):
        piece = word[start : start + 24]
        yield SingleLineText(piece, drawn=True, width=font.getlength(piece))


def lay_out(prompt: str, size: int, width: float) -> list[list[SingleLineText]]:
    """Return lines of at most *width*; the last ends in an ellipsis if more does not fit."""
    lines: list[list[SingleLineText]] = [[]]
    used = 0.0
    ellipsis = SingleLineText("...", drawn=True, width=load_font(size).getlength("..."))
    for token in tokens(prompt, size):
        if used + token.width > width and lines[-1]:
            if len(lines) == MAX_LINES:
                while lines[-1] and sum(kept.width for kept in lines[-1]) + ellipsis.width > width:
                    lines[-1].pop()
                lines[-1].append(ellipsis)
                break
            lines.append([])
            used = 0.0
        if lines[-1] or token.text != " ":
            lines[-1].append(token)
            used += token.width
    return [line for line in lines if line]


def write_caption(image: Image.Image, prompt: str) -> Image.Image:
    """Return *image* with *prompt* in a band near its lower edge."""
    short = min(image.size)
    size, margin = max(8, round(short * 0.03)), round(short * 0.035)
    lines = lay_out(prompt, size, image.width - margin * 4)
    if not lines:
        return image
    height = round(len(lines) * size * 1.4 + size * 1.1)
    band = Image.new("RGBA", (image.width - margin * 2, height))
    draw = ImageDraw.Draw(band)
    draw.rounded_rectangle((0, 0, band.width - 1, height - 1), radius=size * 0.6, fill=INK)
    for index, line in enumerate(lines):
        write_line(draw, line, size, (margin, size * 0.6 + index * size * 1.4), prompt)
    image.paste(
        lay_over(image, band, (margin, image.height - margin - height)), (margin, image.height - margin - height)
    )
    return image


def lay_over(image: Image.Image, band: Image.Image, place: tuple[int, int]) -> Image.Image:
    below = image.crop((*place, place[0] + band.width, place[1] + band.height)).convert("RGBA")
    return Image.alpha_composite(below, band).convert(image.mode)


def write_line(
    draw: ImageDraw.ImageDraw, line: Sequence[SingleLineText], size: int, place: tuple[float, float], prompt: str
) -> None:
    x, y = place
    for token in line:
        if token.drawn:
            draw.text((x, y), token.text, font=load_font(size), fill=WHITE)
        else:
            write_tile(draw, token, size, (x, y), prompt)
        x += token.width


def write_tile(
    draw: ImageDraw.ImageDraw, token: SingleLineText, size: int, place: tuple[float, float], prompt: str
) -> None:
    """Draw a character's code, such as `U+4E00`, on stripes whose colour depends on the prompt and the character."""
    x, y = place
    numbers = seeded("tile", prompt, token.text)
    red, green, blue = (numbers.randrange(30, 130) for _ in range(3))
    box: Box = (x + 2, y, x + token.width - 2, y + size * 1.25)
    draw.rounded_rectangle(box, radius=size * 0.2, fill=(red, green, blue, 235))
    for step in range(1, 5):
        left = x + token.width * step / 5
        draw.line((left, y + 1, left - size * 0.3, y + size * 1.25 - 1), fill=(red + 24, green + 24, blue + 24, 235))
    font, text = load_font(code_size(size)), to_code(token.text)
    length = font.getlength(text)
    draw.text((x + (token.width - length) / 2, y + size * 0.3), text, font=font, fill=WHITE)


def write_number(image: Image.Image, index: int) -> Image.Image:
    """Return *image* with a dot for each picture up to this one, in the upper right corner."""
    unit = min(image.size) / 100
    draw = ImageDraw.Draw(image)
    for dot in range(index + 1):
        x, y = image.width - unit * (4 + 2.6 * dot), unit * 4
        draw.ellipse((x - unit * 0.7, y - unit * 0.7, x + unit * 0.7, y + unit * 0.7), fill=(255, 255, 255))
    return image
