"""What all painters share: seeded chance, a canvas, colours that run into one another."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import attrs
from PIL import Image

from burncloud_images.emulator.palettes import Colour, Palette, mix


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
