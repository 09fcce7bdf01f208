"""Results are values: immutable, honest about how many images there are, and silent about what is secret."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.errors import ImagesError, Phase, hide_query
from burncloud_images.results import (
    Attempt,
    Image,
    ImageDetails,
    ImagesResult,
    ModelInfo,
    RefusedImage,
    SavedImage,
    TokenDetails,
    Usage,
)

SECRET = "c2VjcmV0IGJ5dGVz"
URL = f"https://images.example/otter.png?signature={SECRET}"
IMAGE = Image(data=SECRET.encode(), url=URL, media_type="image/png", extra={"token": SECRET})
VALUES = [
    IMAGE,
    SavedImage(path=Path("otter.png"), size=3, url=URL),
    ImageDetails(index=1, url=URL),
    ImagesResult(images=(IMAGE,), extra={"url": URL}),
    Attempt(number=1, phase=Phase.STATUS, elapsed=0.5),
    Usage(total_tokens=3, input_tokens_details=TokenDetails(text_tokens=1)),
    ModelInfo(id="gpt-image-2"),
]


def test_the_only_image_is_at_hand():
    """`.image` is the only image of the result."""
    assert IMAGE is ImagesResult(images=(IMAGE,)).image


@pytest.mark.parametrize("count", [0, 2, 10])
def test_there_is_no_only_image_of_none_or_several(count):
    """The error says how many there are and where, and holds them."""
    with pytest.raises(ValueError, match=f"holds {count} images, not one; take them from .images") as caught:
        _ = ImagesResult(images=(IMAGE,) * count).image

    assert isinstance(caught.value, ImagesError)
    assert (IMAGE,) * count == caught.value.images


def test_an_image_knows_its_size():
    """An image has its size in bytes."""
    assert 3 == Image(data=b"abc").size


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_shows_no_secret(value):
    """Neither bytes, nor the query of a signed URL, nor what is not known and may be anything."""
    assert SECRET not in repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_immutable_and_pickles(value):
    """Equal ones are equal, whole, and stay so."""
    name = attrs.fields(type(value))[0].name

    assert value == pickle.loads(pickle.dumps(value))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "None"),
        ("https://images.example/otter.png", "'https://images.example/otter.png'"),
        (URL, "'https://images.example/otter.png?…'"),
        ("https://images.example/a?b?c", "'https://images.example/a?…'"),
        ("data:image/png;base64,AAAA", "'data:image/png;base64,…'"),
        ("DATA:,AA?AA", "'DATA:,…'"),
        ("https://images.example/a,b", "'https://images.example/a,b'"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(url, shown):
    """A signed URL is a key to the image, and a `data:` URL is the image."""
    assert shown == hide_query(url)


@given(st.sampled_from(["https://images.example/a?", "data:image/png;base64,", "data:,"]), st.text())
def test_nothing_of_the_secret_part_is_shown(head, rest):
    """Whatever stands in it."""
    assert repr(f"{head}…") == hide_query(head + rest)


@pytest.mark.parametrize(
    ("code", "message", "why"),
    [
        ("moderation_blocked", "It was rejected.", ": moderation_blocked: It was rejected."),
        (None, "It was rejected", ": It was rejected."),
        ("moderation_blocked", "", ": moderation_blocked."),
        ("blocked", "blocked", ": blocked."),
        (None, "", " without a reason."),
        ("", "...", " without a reason."),
        (None, "n" * 1_000, f": {'n' * 500}."),
    ],
    ids=["both", "message", "code", "the same", "neither", "only dots", "long"],
)
def test_a_refused_image_is_a_sentence(code, message, why):
    """A refused image says its place, the code and the message, each where there is one."""
    assert f"Image 3 was refused{why}" == str(RefusedImage(index=2, code=code, message=message))


def test_a_request_can_be_billed_once_its_end_may_have_left():
    """The phases are in order, and this is where they part."""
    assert list(Phase) == sorted(Phase)
    assert [phase for phase in Phase if phase.may_be_billed] == list(Phase)[Phase.FINAL_RELEASED :]
    assert not Phase.BODY.may_be_billed
