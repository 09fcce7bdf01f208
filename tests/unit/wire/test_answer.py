"""The JSON of an answer becomes a value: no image that is there is lost to what the rest of it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from burncloud_images.errors import ProtocolError
from burncloud_images.results import TokenDetails, Usage
from burncloud_images.wire.answer import AnswerItem, to_answer


def answer(document, decoded=(), failures=None):
    return to_answer(document, frozenset(decoded), failures or {}, b"raw")


def test_everything_that_is_documented_is_read():
    """Unknown fields are kept beside it, for the whole and for each image."""
    found = answer(
        {
            "created": 1713833628,
            "background": "opaque",
            "output_format": "png",
            "quality": "high",
            "size": "1024x1024",
            "usage": {
                "total_tokens": 100,
                "input_tokens": 50,
                "output_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                "output_tokens_details": {"image_tokens": 50},
            },
            "data": [{"b64_json": "", "revised_prompt": "an otter", "seed": 7}, {"url": "https://images.example/2"}],
            "metadata": {"a": 1},
        },
        {0},
    )

    assert (
        AnswerItem(index=0, decoded=True, revised_prompt="an otter", extra={"seed": 7}),
        AnswerItem(index=1, decoded=False, url="https://images.example/2"),
    ) == found.items
    assert datetime(2024, 4, 23, 0, 53, 48, tzinfo=UTC) == found.created
    assert ("opaque", "png", "high", "1024x1024") == (found.background, found.output_format, found.quality, found.size)
    assert {"metadata": {"a": 1}} == found.extra
    assert b"raw" == found.raw
    assert (
        Usage(
            total_tokens=100,
            input_tokens=50,
            output_tokens=50,
            input_tokens_details=TokenDetails(text_tokens=10, image_tokens=40),
            output_tokens_details=TokenDetails(image_tokens=50),
        )
        == found.usage
    )


@pytest.mark.parametrize("document", [None, [], "x", 7, True, [{"data": []}]])
def test_what_is_no_object_is_no_answer(document):
    """The text is kept with the error."""
    with pytest.raises(ProtocolError, match="but not an object") as caught:
        answer(document)

    assert b"raw" == caught.value.raw


@pytest.mark.parametrize("data", [{"0": {}}, "x", 7, True])
def test_data_that_is_no_list_is_no_answer(data):
    """Absent, null and empty are an answer without images."""
    with pytest.raises(ProtocolError, match="`data` in the answer is not a list"):
        answer({"data": data})
    assert [(), (), ()] == [answer(document).items for document in ({}, {"data": None}, {"data": []})]


def test_an_error_counts_only_where_no_image_is():
    """Gateways answer errors with status 200, and some send `error: null` beside images."""
    document = {"error": {"message": "no"}, "data": [{"b64_json": ""}]}

    assert document == answer(document).error
    assert () == answer(document).items
    assert None is answer(document, {0}).error
    assert 1 == len(answer(document, {0}).items)
    assert None is answer({"error": None, "data": []}).error
    assert {} == answer({"error": ""}).extra


def test_an_image_without_its_object_is_kept():
    """A key that stands twice costs no image: what was decoded is there, whatever the last list says."""
    assert [0, 1, 2] == [item.index for item in answer({"data": [{}]}, {0, 2, 1}).items]
    assert [2] == [item.index for item in answer({"data": []}, {2}).items]
    assert [0] == [item.index for item in answer({"data": ["x", None, 7]}, {0}).items]
    assert [] == [item.index for item in answer({"data": ["x", None, 7]}).items]


def test_a_damage_is_told_with_its_item():
    """By its place in the list."""
    assert [None, "it is cut"] == [item.failure for item in answer({"data": [{}, {}]}, {0}, {1: "it is cut"}).items]


@pytest.mark.parametrize("created", [0, -1, True, None, "1713833628", 1713833628.5, 2**40 * 1000, 2**70, -(2**70)])
def test_a_moment_that_makes_no_sense_is_none(created):
    """Zero is how adaptors write unknown; the others are no date at all."""
    assert None is answer({"created": created}).created


@pytest.mark.parametrize("usage", [None, [], "x", 7])
def test_usage_that_is_no_object_is_none(usage):
    """Usage that is not an object is None, and so are its details."""
    assert None is answer({"usage": usage}).usage
    assert Usage(total_tokens=1) == answer({"usage": {"total_tokens": 1, "input_tokens_details": usage}}).usage


def test_numbers_that_are_none_are_none():
    """True is no number, and neither is a text of digits."""
    assert Usage() == answer({"usage": {"total_tokens": True, "input_tokens": "7", "output_tokens": 1.5}}).usage


def test_empty_texts_are_absent():
    """Adaptors write them for fields that they do not have."""
    found = answer({"size": "", "quality": 7, "data": [{"url": "", "revised_prompt": ""}]})

    assert (None, None) == (found.size, found.quality)
    assert (AnswerItem(index=0, decoded=False),) == found.items


members = st.sampled_from(["created", "data", "usage", "error", "size", "background", "x"])
items = st.lists(
    st.dictionaries(st.sampled_from(["url", "b64_json", "revised_prompt", "y"]), json_values) | json_values
)


@given(st.dictionaries(members, json_values | items), st.sets(st.integers(0, 4)))
def test_no_decoded_image_is_lost(document, decoded):
    """Whatever JSON stands around them; all that can be wrong is that it is no answer."""
    try:
        found = answer(document, decoded)
    except ProtocolError:
        assert not isinstance(document.get("data") or [], list)
        return
    assert decoded == {item.index for item in found.items if item.decoded}
    assert sorted(item.index for item in found.items) == [item.index for item in found.items]


@pytest.mark.parametrize(
    "error",
    [
        *(None, "", " ", 0, False, True, [], [" "], {}),
        *({"message": ""}, {"message": " ", "code": None, "type": 0}, {"x": "y"}),
    ],
    ids=str,
)
def test_an_error_without_words_is_none(error):
    """A message, a code or a type has to say something."""
    found = answer({"error": error, "data": [{"url": "https://x.example/a.png"}]})

    assert None is found.error
    assert {} == found.extra
    assert ["https://x.example/a.png"] == [item.url for item in found.items]


@pytest.mark.parametrize("error", ["no", 7, {"message": "no"}, {"code": "x"}, {"code": 7}, {"type": "x"}], ids=str)
def test_an_error_with_words_is_told_beside_what_is_there(error):
    """An image, or its address; without either it is all there is."""
    whole, address = {"b64_json": ""}, {"url": "https://x.example/a.png"}

    assert error == answer({"error": error, "data": [whole]}, {0}).extra["error"]
    assert error == answer({"error": error, "data": [address]}).extra["error"]
    for data in ([], None, "x", [{}], [{"url": ""}]):
        assert error == answer({"error": error, "data": data}).error["error"]


@pytest.mark.parametrize(
    "count", [-1, 10**12 + 1, 10**400, 1.5, "7", True, [], {}], ids=lambda count: f"{len(str(count))} {count!s:.9}"
)
@pytest.mark.parametrize("name", ["total_tokens", "output_tokens", "input_tokens_details.text_tokens"])
def test_a_count_that_cannot_be_is_text(count, name):
    """It is no number to reckon with, and is kept as it was sent."""
    outer, _, inner = name.partition(".")
    usage = {"input_tokens": 7, outer: {inner: count} if inner else count}

    found = answer({"usage": usage, "size": "x"})

    assert 7 == found.usage.input_tokens
    assert usage == json.loads(found.extra["usage"])
    told = [found.usage.total_tokens, found.usage.output_tokens]
    details = found.usage.input_tokens_details
    assert [None, None, None] == [*told, details and details.text_tokens]


def test_plain_counts_are_told_once():
    """Up to any that a request can have."""
    found = answer({"usage": {"total_tokens": 10**12, "input_tokens": 0, "output_tokens": None}})

    assert (10**12, 0, None) == (found.usage.total_tokens, found.usage.input_tokens, found.usage.output_tokens)
    assert {} == found.extra
