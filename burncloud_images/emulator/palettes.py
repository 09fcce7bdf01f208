"""Colours that go together, one set to a time of day."""

from __future__ import annotations

import attrs

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
