"""Pillow images as PNG files that show what the image shows: upright, and in a mode that PNG has."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image

    from burncloud_images.model.inputs import PillowImage


class UnusablePicture(Exception):  # noqa: N818 (handled by uploads)
    """A picture that cannot be sent; the message is one clause."""


def encode_png(picture: PillowImage) -> bytes:
    """
    Return the frame of *picture* that it is at, as PNG; blocks.

    Raises:
        UnusablePicture: It cannot be read, or nobody can say how it looks.
    """
    image = cast("Image", picture)
    load(image)
    try:
        shown = to_png_mode(turn_upright(image))
        buffer = io.BytesIO()
        shown.save(buffer, format="PNG")
    except UnusablePicture:
        raise
    except Exception as error:  # noqa: BLE001 (Pillow raises what its plugins do)
        raise UnusablePicture(f"the picture cannot be written as PNG: {describe(error)}") from None
    return buffer.getvalue()


def load(image: Image) -> None:
    """Read the pixels; Pillow puts that off, at times until the file is closed."""
    try:
        image.load()
    except Exception as error:  # noqa: BLE001
        advice = "call its load() before its file is closed" if is_closed(image) else describe(error)
        raise UnusablePicture(f"the picture cannot be read: {advice}") from None


def is_closed(image: Image) -> bool:
    file = getattr(image, "fp", None)
    return file is None or getattr(file, "closed", False)


def turn_upright(image: Image) -> Image:
    """Return the image as its EXIF orientation says that it is seen; as it is if its EXIF data is damaged."""
    from PIL import ImageOps

    with suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def to_png_mode(image: Image) -> Image:
    """Return the image in a mode that PNG has and that shows the same."""
    convert = CONVERSIONS.get(image.mode)
    if convert is None:
        return image
    converted = convert(image)
    converted.info.pop("icc_profile", None)  # it is about the channels that the image had
    return converted


def convert_to(mode: str) -> Callable[[Image], Image]:
    return lambda image: image.convert(mode)


def convert_cmyk(image: Image) -> Image:
    """Return the colours as the profile of the image says that they are printed, if it holds one."""
    profile = image.info.get("icc_profile")
    if profile:
        with suppress(Exception):  # no profile that can be read, or Pillow without LittleCMS
            from PIL import ImageCms

            colors = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, colors, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def convert_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise UnusablePicture("its colours cannot be converted; convert it to RGB")
    return converted


def convert_palette(image: Image) -> Image:
    """Return the image itself, unless its palette has colours that PNG has not."""
    palette = image.palette.mode if image.palette is not None else "RGB"
    return image if palette in {"RGB", "RGBA"} else image.convert("RGB")


def convert_integers(image: Image) -> Image:
    """Return numbers of 32 bits as grey levels: of 8 bits if they fit, else of 16."""
    low, high = cast("tuple[int, int]", image.getextrema())
    if low < 0 or high > 0xFFFF:
        raise UnusablePicture(f"its numbers from {low} to {high} are not grey levels; scale them and convert it to L")
    return image.convert("L" if high <= 0xFF else "I;16")


def reorder_bytes(image: Image) -> Image:
    """Return grey levels of 16 bits in the byte order that Pillow writes."""
    return image.convert("I").convert("I;16")


def refuse_floats(_: Image) -> Image:
    raise UnusablePicture("its numbers are not grey levels (mode F); scale them to 0 to 255 and convert it to L")


CONVERSIONS: Mapping[str, Callable[[Image], Image]] = {
    "CMYK": convert_cmyk,
    "YCbCr": convert_to("RGB"),
    "HSV": convert_to("RGB"),
    "RGBX": convert_to("RGB"),
    "LAB": convert_lab,
    "RGBa": convert_to("RGBA"),
    "La": convert_to("LA"),
    "PA": convert_to("RGBA"),
    "P": convert_palette,
    "I": convert_integers,
    "I;16L": reorder_bytes,
    "I;16N": reorder_bytes,
    "F": refuse_floats,
}
"""By mode; PNG has the others."""


def describe(error: Exception) -> str:
    return str(error) or type(error).__name__
