"""Each kind of limit says what is wrong with a value, in one clause, or nothing."""

from __future__ import annotations

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.model.media import Media
from burncloud_images.model.rule_kinds import (
    MB,
    Between,
    BytesBelow,
    FlexibleSize,
    MaxCharacters,
    MeasuredImage,
    MediaTypes,
    OneOf,
    RequiredField,
    UnsupportedField,
    as_large_as_first,
    square,
    transparent,
)


class Size(str, enum.Enum):  # noqa: UP042 (the older spelling, whose text is its name)
    """An enumeration as callers write it."""

    WIDE = "1536x1024"
    ODD = "1000x1000"


def image(width=16, height=16, *, size=100, alpha=False, media_type="image/png") -> MeasuredImage:
    media = Media(media_type=media_type, width=width, height=height, alpha=alpha, complete=True)
    return MeasuredImage(field="image", size=size, media=media)


CASES = [
    (OneOf(("url", "b64_json")), "url", None),
    (OneOf(("url", "b64_json")), "png", "'png' is not one of url, b64_json"),
    (Between(1, 10), 1, None),
    (Between(1, 10), 10, None),
    (Between(1, 10), 0, "0 is not between 1 and 10"),
    (Between(1, 10), 11, "11 is not between 1 and 10"),
    (Between(1, 10), "3", "3 is not between 1 and 10"),
    (MaxCharacters(3), "水獭水", None),
    (MaxCharacters(1_000), "x" * 1_001, "1,001 characters are more than 1,000"),
    (UnsupportedField(), "x", "this model does not take it"),
    (UnsupportedField("not here"), "x", "not here"),
    (FlexibleSize(), "auto", None),
    (FlexibleSize(), "3840x2160", None),
    (FlexibleSize(), "2160x3840", None),
    (FlexibleSize(), Size.WIDE, None),
    (FlexibleSize(), Size.ODD, "the edges of"),
    (FlexibleSize(), "3856x2160", "an edge of 3856x2160 is longer than 3,840"),
    (FlexibleSize(), "1024x640", None),
    (FlexibleSize(), "640x1024", None),
    (FlexibleSize(), "256x256", "256x256 has fewer than 655,360 pixels"),
    (FlexibleSize(), "512x512", "512x512 has fewer than 655,360 pixels"),
    (FlexibleSize(), "768x512", "768x512 has fewer than 655,360 pixels"),
    (FlexibleSize(), "1040x624", "1040x624 has fewer than 655,360 pixels"),
    (FlexibleSize(), "1792x936", "the edges of 1792x936 are not multiples of 16"),
    (FlexibleSize(), "2304x2304", None),
    (FlexibleSize(), "2880x2880", None),
    (FlexibleSize(), "2896x2880", "2896x2880 has more than 8,294,400 pixels"),
    (FlexibleSize(), "64x16", "64x16 is longer than 3:1"),
    (FlexibleSize(), "0x16", "the edges of 0x16 are not multiples of 16"),
    (FlexibleSize(), "100x100", "the edges of 100x100 are not multiples of 16"),
    (FlexibleSize(), "16×16", "neither auto nor WIDTHxHEIGHT"),  # noqa: RUF001 (people write it so)
    (FlexibleSize(), "１６x１６", "neither auto nor WIDTHxHEIGHT"),  # noqa: RUF001 (digits, but not ASCII)
    (FlexibleSize(), "16x16\n", "neither auto nor WIDTHxHEIGHT"),
    (FlexibleSize(), "AUTO", "neither auto nor WIDTHxHEIGHT"),
    (FlexibleSize(), 16, "neither auto nor WIDTHxHEIGHT"),
]


@pytest.mark.parametrize(("limit", "value", "problem"), CASES)
def test_a_limit_says_what_is_wrong(limit, value, problem):
    """Nothing for what is allowed, and else the clause that names the value and the limit."""
    said = limit(value, {})

    assert (problem is None) == (said is None)
    assert problem is None or problem in said


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_orientation_of_a_size_does_not_matter(short, long):
    """What is wrong with a picture is wrong with it on its side, and only whole steps within the ratio pass."""
    wide, high = FlexibleSize()(f"{long * 16}x{short * 16}", {}), FlexibleSize()(f"{short * 16}x{long * 16}", {})
    low, top = sorted((short, long))

    assert (wide is None) == (high is None)
    assert (wide is None) == (2560 <= low * top <= 135 * 240 and top <= min(240, 3 * low))


def test_a_needed_field_may_be_unset():
    """None among the values stands for unset, and is told as such."""
    needs = RequiredField("output_format", (None, "png", "webp"), only_for="transparent")

    assert None is needs("opaque", {"output_format": "jpeg"})
    assert None is needs("transparent", {})
    assert None is needs("transparent", {"output_format": "webp"})
    assert "it needs output_format to be unset or png or webp" == needs("transparent", {"output_format": "jpeg"})


def test_a_size_in_bytes_is_not_reached():
    """The limit itself is too large."""
    limit = BytesBelow(4 * MB)

    assert None is limit(image(size=4 * MB - 1), image())
    assert "4.0 MiB is not less than 4 MiB" == limit(image(size=4 * MB), image())


def test_media_types_are_a_closed_list():
    """What is no image at all is not in it."""
    limit = MediaTypes(("image/png", "image/webp"))

    assert None is limit(image(), image())
    assert "image/jpeg is not image/png or image/webp" == limit(image(media_type="image/jpeg"), image())
    assert "None is not image/png or image/webp" == limit(image(media_type=None), image())


def test_square_and_transparent():
    """Each looks at the image alone."""
    assert None is square(image(), image(9, 9))
    assert "16x9 is not square" == square(image(16, 9), image(9, 9))
    assert None is transparent(image(alpha=True), image())
    assert "it has no alpha channel, so no place is transparent" == transparent(image(), image(alpha=True))


def test_sizes_that_are_not_known_are_not_compared():
    """An SVG says no pixels; only two known sizes can differ."""
    unknown = image(None, None)

    assert None is as_large_as_first(unknown, image())
    assert None is as_large_as_first(image(), unknown)
    assert None is as_large_as_first(image(), image())
    assert "it is 8x16 and the image is 16x16; they have to be equal" == as_large_as_first(image(8), image())
