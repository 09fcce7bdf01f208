"""The kinds of limit that a documented rule can set: each checks a value and says what is wrong with it."""

# ruff: noqa: ARG001, ARG002 (every kind is asked in the same way, and most look at the value alone)
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import attrs

from burncloud_images.model.media import Media

MB = 1024 * 1024
"""The documents say MB without saying which; the larger reading never refuses what the server would take."""


class FieldLimit(Protocol):
    """A limit of one field of a request: says how a value exceeds it."""

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        """Return one clause, or None."""


@attrs.frozen
class OneOf:
    """A closed list of values."""

    values: tuple[str, ...]

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        return None if value in self.values else f"{value!r} is not one of {', '.join(self.values)}"


@attrs.frozen
class Between:
    """A range of whole numbers."""

    low: int
    high: int

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        inside = isinstance(value, int) and self.low <= value <= self.high
        return None if inside else f"{value} is not between {self.low} and {self.high}"


@attrs.frozen
class MaxCharacters:
    """A maximum length of a text, in Unicode code points."""

    most: int

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        length = len(str(value))
        return None if length <= self.most else f"{length:,} characters are more than {self.most:,}"


@attrs.frozen
class UnsupportedField:
    """A field that the model does not have."""

    reason: str = "this model does not take it"

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        return self.reason


@attrs.frozen
class FlexibleSize:
    """`WIDTHxHEIGHT` in steps, within a ratio, a longest edge and two numbers of pixels; or `auto`."""

    step: int = 16
    ratio: int = 3
    long: int = 3840
    least_pixels: int = 655_360
    most_pixels: int = 3840 * 2160

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value, re.ASCII) if isinstance(value, str) else None
        if match is None:
            return None if value == "auto" else f"{value!r} is neither auto nor WIDTHxHEIGHT"
        short, long = sorted(int(edge) for edge in match.groups())
        if short == 0 or short % self.step or long % self.step:
            return f"the edges of {value} are not multiples of {self.step}"
        if long > self.ratio * short:
            return f"{value} is longer than {self.ratio}:1"
        if long > self.long:
            return f"an edge of {value} is longer than {self.long:,}"
        if long * short > self.most_pixels:
            return f"{value} has more than {self.most_pixels:,} pixels"
        return f"{value} has fewer than {self.least_pixels:,} pixels" if long * short < self.least_pixels else None


@attrs.frozen
class RequiredField:
    """A value that is taken only beside another field's value."""

    other: str
    values: tuple[object, ...]
    only_for: str | None = None

    def __call__(self, value: object, fields: Mapping[str, object]) -> str | None:
        if (self.only_for is not None and value != self.only_for) or fields.get(self.other) in self.values:
            return None
        wanted = " or ".join("unset" if item is None else str(item) for item in self.values)
        return f"it needs {self.other} to be {wanted}"


@attrs.frozen(kw_only=True)
class MeasuredImage:
    """
    An image to upload, looked at.

    Attributes:
        field: `image`, `mask` or `markup`.
        size: Bytes.
        media: What the bytes say.
    """

    field: str
    size: int
    media: Media


class UploadLimit(Protocol):
    """Says what is wrong with an image, beside the first one."""

    def __call__(self, image: MeasuredImage, first: MeasuredImage) -> str | None:
        """Return one clause, or None."""


@attrs.frozen
class BytesBelow:
    """A size in bytes that is not reached."""

    size: int

    def __call__(self, image: MeasuredImage, first: MeasuredImage) -> str | None:
        if image.size < self.size:
            return None
        return f"{image.size / MB:.1f} MiB is not less than {self.size / MB:g} MiB"


@attrs.frozen
class MediaTypes:
    """A closed list of image formats."""

    types: tuple[str, ...]

    def __call__(self, image: MeasuredImage, first: MeasuredImage) -> str | None:
        return (
            None
            if image.media.media_type in self.types
            else f"{image.media.media_type} is not {' or '.join(self.types)}"
        )


def square(image: MeasuredImage, first: MeasuredImage) -> str | None:
    """Want as many columns as rows."""
    return None if image.media.width == image.media.height else f"{pixels(image)} is not square"


def transparent(image: MeasuredImage, first: MeasuredImage) -> str | None:
    """Want an alpha channel."""
    return None if image.media.alpha else "it has no alpha channel, so no place is transparent"


def as_large_as_first(image: MeasuredImage, first: MeasuredImage) -> str | None:
    """Want the first image's width and height, as one sees it or as its pixels lie in the file."""
    sizes = {first.media.dimensions, first.media.stored_dimensions}
    if None in {image.media.dimensions, *sizes} or image.media.dimensions in sizes:
        return None
    return f"it is {pixels(image)} and the image is {pixels(first)}; they have to be equal"


def upright_as_first(image: MeasuredImage, first: MeasuredImage) -> str | None:
    """Want the first image's width and height as one sees it."""
    if image.media.dimensions is None or image.media.dimensions != turned(first.media):
        return None
    seen = f"{pixels(image)}, and one sees the image as {pixels(first)}"
    return f"it is {seen}: its EXIF orientation is {first.media.orientation}, and servers may turn it"


def turned(media: Media) -> tuple[int, int] | None:
    """Return width and height of the pixels in the file, if one sees them the other way round."""
    return media.stored_dimensions if media.stored_dimensions != media.dimensions else None


def whole(image: MeasuredImage, first: MeasuredImage) -> str | None:
    """Want the end of the file."""
    if image.media.complete is not False:
        return None
    return f"it is cut off: the end of the {image.media.media_type} is missing"


def pixels(image: MeasuredImage) -> str:
    return f"{image.media.width}x{image.media.height}"
