"""A request becomes a body that other parsers read back: what is set is there once, what is unset is nowhere."""

from __future__ import annotations

import collections
import enum
import json
import types
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import edit_requests, generation_requests, variation_requests
from unit.wire.forms import read_form

from burncloud_images.model.inputs import BytesSource, FileID, ImageURL
from burncloud_images.model.media import Media
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.results import EXTENSIONS
from burncloud_images.wire.encoded_request import encode, to_reference
from burncloud_images.wire.multipart import FilePlaceholder

BOUNDARY = "otter-7MA4YWxkTrZu0gW"
PNG = Media(media_type="image/png", width=1, height=1, alpha=True, complete=True)


class Quality(str, enum.Enum):  # noqa: UP042 (the older spelling, whose text is its name)
    """An enumeration as callers write it."""

    HIGH = "high"


class Count(enum.IntEnum):
    """Another."""

    TWO = 2


def written(request, media: Media = PNG) -> tuple[str, bytes]:
    """Return path and body; each file's bytes are those of its source."""
    images = request.images()
    measured = [MeasuredImage(field=name, size=len(source.data), media=media) for name, source in images]
    encoded = encode(request, measured, boundary=BOUNDARY)
    contents = [source.data for _, source in images]
    parts = [contents[part.index] if isinstance(part, FilePlaceholder) else part for part in encoded.plan.segments]
    body = b"".join(parts) + encoded.plan.final
    assert len(body) == encoded.plan.length
    return encoded.path, body


def form_of(request, media: Media = PNG):
    return read_form(written(request, media)[1], BOUNDARY)


def json_of(request):
    return json.loads(encode(request, boundary=BOUNDARY).plan.final)


def flat(name: str, value: object) -> list[tuple[str, str]]:
    """Return the pairs that a form has for *value*, by the rule of PHP and Rack."""
    match value:
        case None:
            return []
        case str():
            return [(name, value)]
        case Mapping():
            return [pair for key, item in value.items() for pair in flat(f"{name}[{key}]", item)]
        case Sequence():
            return [pair for item in value for pair in flat(f"{name}[]", item)]
    return [(name, json.dumps(value))]


# --- JSON ------------------------------------------------------------------------------------------------------------


@given(generation_requests)
def test_json_says_what_is_set(request):
    """Parsed again it is the fields, none of them null; the text is UTF-8 without white space."""
    encoded = encode(request, boundary=BOUNDARY)
    body = b"".join([*encoded.plan.segments, encoded.plan.final])

    assert ("/images/generations", "application/json") == (encoded.path, encoded.plan.content_type)
    assert request.fields() == json.loads(body)
    assert len(body) == encoded.plan.length
    assert json.dumps(request.fields(), separators=(",", ":"), ensure_ascii=False).encode() == body


def test_an_edit_by_reference_is_json():
    """Images are a list, mask and markup are single, and `by_reference` itself is not sent."""
    request = EditRequest(
        [ImageURL("https://images.example/a.png?x=1&y=水"), FileID("file-1")],
        "a hat",
        mask=FileID("file-2"),
        markup=ImageURL("data:image/png;base64,AAAA"),
        by_reference=True,
        n=1,
    )
    encoded = encode(request, boundary=BOUNDARY)

    assert ("/images/edits", "application/json") == (encoded.path, encoded.plan.content_type)
    assert {
        "n": 1,
        "prompt": "a hat",
        "images": [{"image_url": "https://images.example/a.png?x=1&y=水"}, {"file_id": "file-1"}],
        "mask": {"file_id": "file-2"},
        "markup": {"image_url": "data:image/png;base64,AAAA"},
    } == json.loads(encoded.plan.final)


def test_bytes_have_no_reference():
    """The request's constructor refuses them; a mistake of ours is no silent null."""
    with pytest.raises(TypeError, match="BytesSource cannot be sent by reference"):
        to_reference(BytesSource(b""))


ODD = {
    "range": range(3),
    "tuple": (1, "2"),
    "list": collections.UserList([None, True]),
    "view": types.MappingProxyType({"a": collections.UserDict({"b": 1.5})}),
    "enum": Quality.HIGH,
    "count": Count.TWO,
}


def test_any_mapping_and_any_sequence_is_written():
    """Those that the constructor takes are those that can be sent, in JSON as in a form."""
    assert {
        "range": [0, 1, 2],
        "tuple": [1, "2"],
        "list": [None, True],
        "view": {"a": {"b": 1.5}},
        "enum": "high",
        "count": 2,
        "prompt": "x",
    } == json_of(GenerationRequest("x", extra=ODD))
    assert [
        *(("range[]", text) for text in "012"),
        ("tuple[]", "1"),
        ("tuple[]", "2"),
        ("list[]", "true"),
        ("view[a][b]", "1.5"),
        ("enum", "high"),
        ("count", "2"),
    ] == form_of(VariationRequest(b"1", extra=ODD)).fields


def test_a_thing_that_json_cannot_hold_is_an_error():
    """It got past the constructor, so it is our mistake and is told as one."""
    request = GenerationRequest("x", extra={"seed": 1})
    object.__setattr__(request, "extra", {"seed": object()})
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        encode(request, boundary=BOUNDARY)


def test_a_member_of_an_enumeration_is_its_value():
    """In a form as in JSON, whatever its text is."""
    assert ("quality", "high") in form_of(EditRequest(b"1", "x", quality=Quality.HIGH, n=Count.TWO)).fields
    assert ("n", "2") in form_of(EditRequest(b"1", "x", n=Count.TWO)).fields
    assert "high" == json_of(GenerationRequest("x", quality=Quality.HIGH))["quality"]


# --- forms -----------------------------------------------------------------------------------------------------------


@given(edit_requests | variation_requests)
def test_a_form_says_what_is_set(request):
    """Another parser finds each field once, in order, and nothing that is unset; then the files, byte for byte."""
    path, _ = written(request)
    form = form_of(request)
    several = sum(name == "image" for name, _ in request.images()) > 1
    names = ["image[]" if several and name == "image" else name for name, _ in request.images()]

    assert f"/images/{request.operation}" == path
    assert [pair for name, value in request.fields().items() for pair in flat(name, value)] == form.fields
    assert names == [file.name for file in form.files]
    assert [source.data for _, source in request.images()] == [file.content for file in form.files]


@pytest.mark.parametrize("media_type", [*EXTENSIONS, None])
def test_file_names_are_plain_and_true(media_type):
    """ASCII, with the extension of the bytes and their type; those that repeat are numbered."""
    media = Media(media_type=media_type)
    suffix = EXTENSIONS.get(media_type, "bin")

    assert [
        ("image[]", f"image-1.{suffix}"),
        ("image[]", f"image-2.{suffix}"),
        ("mask", f"mask.{suffix}"),
        ("markup", f"markup.{suffix}"),
    ] == [
        (file.name, file.filename)
        for file in form_of(EditRequest([b"1", b"2"], "x", mask=b"3", markup=b"4"), media).files
    ]
    (file,) = form_of(VariationRequest(b"1"), media).files
    assert ("image", f"image.{suffix}", media_type or "application/octet-stream") == (
        file.name,
        file.filename,
        file.content_type,
    )


def test_the_only_image_of_a_list_is_called_image():
    """One is `image` and several are `image[]`, with a mask or without."""
    assert ["image", "mask"] == [file.name for file in form_of(EditRequest([b"1"], "x", mask=b"2")).files]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2_000).filter(str.strip))
def test_any_prompt_survives(prompt):
    """Line ends, quotes, what looks like a boundary, other scripts: all as they are."""
    looks = f"{prompt}\r\n--otter\r\nContent-Disposition: form-data; name=n\r\n\r\n9"

    assert ("prompt", looks) in form_of(EditRequest(b"1", looks)).fields
    assert looks == json_of(GenerationRequest(looks))["prompt"]
