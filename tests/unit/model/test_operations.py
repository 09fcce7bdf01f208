"""Requests hold what was given, send what is set, and refuse what no server could take, all reasons at once."""

from __future__ import annotations

import collections
import math
import types

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import edit_requests, generation_requests, variation_requests

from burncloud_images.errors import InvalidRequestError
from burncloud_images.model.inputs import BytesSource, FileID, ImageURL
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest

URL = ImageURL("https://images.example/otter.png")


def reasons(kind, *args, **fields):
    with pytest.raises(InvalidRequestError) as caught:
        kind(*args, **fields)
    return [str(violation) for violation in caught.value.violations]


@given(generation_requests | edit_requests | variation_requests)
def test_what_is_set_is_sent_and_nothing_else(request):
    """The fields are those that are not None, in the order of the class, then those of `extra`."""
    own = [
        field.name
        for field in attrs.fields(type(request))
        if field.name not in {"image", "mask", "markup", "by_reference", "extra"}
        and getattr(request, field.name) is not None
    ]
    extra = [name for name, value in (request.extra or {}).items() if value is not None]

    assert [*own, *extra] == list(request.fields())
    assert None not in request.fields().values()


def test_images_are_in_the_order_of_the_document():
    """Images, then mask, then markup, each with its name."""
    request = EditRequest([b"1", b"2"], "x", markup=b"4", mask=b"3")

    assert [("image", b"1"), ("image", b"2"), ("mask", b"3"), ("markup", b"4")] == [
        (name, source.data) for name, source in request.images()
    ]
    assert (("image", BytesSource(b"1")),) == VariationRequest(b"1").images()
    assert () == GenerationRequest("x").images()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": None}, "prompt: it has to be given"),
        ({"prompt": " \n"}, "prompt: it is empty"),
        ({"prompt": 7}, "prompt: it has to be text, not int"),
        ({"prompt": "\ud83d"}, "prompt: it holds half of a surrogate pair, which UTF-8 cannot carry"),
        ({"n": 0}, "n: at least 1 image has to be asked for, not 0"),
        ({"n": 1.0}, "n: it has to be a whole number, not float"),
        ({"n": True}, "n: it has to be a whole number, not bool"),
        ({"size": 1024}, "size: it has to be text, not int"),
        ({"svg": "x"}, "svg: it has to be a mapping, not str"),
        ({"svg": {"a": object()}}, "svg: it holds something that JSON cannot"),
        ({"extra": [1]}, "extra: it has to be a mapping, not list"),
        ({"extra": {"seed": math.nan}}, "extra: seed cannot be written as JSON"),
        ({"extra": {"seed": {1: 2}}}, "extra: seed cannot be written as JSON"),
        ({"extra": {"seed": [b"x"]}}, "extra: seed cannot be written as JSON"),
        ({"extra": {"seed": "\udc00"}}, "extra: seed cannot be written as JSON"),
        ({"extra": {7: 7}}, "extra: 7 cannot be written as JSON"),
        ({"extra": {"stream": True}}, "extra: stream is a known field; streams are asked for by another method"),
        ({"extra": {"size": "auto"}}, "extra: size is a known field; give it by its own name"),
        ({"extra": {"image[]": []}}, "extra: image[] is a known field; give the images in `image`"),
    ],
)
def test_what_no_server_could_take_is_refused(fields, reason):
    """The reason names the field and what it has to be."""
    assert [reason] == reasons(GenerationRequest, **{"prompt": "x", **fields})


@pytest.mark.parametrize("name", ["image", "images", "image_url", "reference_images"])
def test_a_generation_takes_the_input_images_that_its_gateway_has(name):
    """Gateways take images in a generation, by names that are the client's own in an edit only."""
    assert ["a"] == GenerationRequest("x", extra={name: ["a"]}).fields()[name]


@pytest.mark.parametrize(("request_class", "more"), [(EditRequest, {"prompt": "x"}), (VariationRequest, {})])
def test_a_request_that_has_images_has_them_once(request_class, more):
    """An edit sends its images itself, also as `images` in JSON, so `extra` may not name others."""
    found = reasons(request_class, b"1", extra={"images": ["a"]}, **more)

    assert ["extra: images is a known field; give the images in `image`"] == found


def test_all_reasons_come_at_once():
    """The constructor's error has all reasons at once and is also a ValueError."""
    found = reasons(EditRequest, [], "", n=-1, by_reference=1)

    assert ["by_reference", "image", "n", "prompt"] == sorted(reason.partition(":")[0] for reason in found)
    assert issubclass(InvalidRequestError, ValueError)


def test_references_and_uploads_do_not_mix():
    """Addresses are sent by reference only, and bytes are uploaded only; an ImageURL does both."""
    wanted = "by_reference sends addresses, so it takes ImageURL and FileID only"
    identity = "a FileID can only be sent with by_reference=True"

    assert [f"image: {wanted}", f"mask: {wanted}"] == reasons(
        EditRequest, [URL, b"1"], "x", mask=b"2", by_reference=True
    )
    assert [f"image: {identity}", f"markup: {identity}"] == reasons(EditRequest, FileID("a"), "x", markup=FileID("b"))
    assert (URL,) == EditRequest(URL, "x").image == EditRequest(URL, "x", by_reference=True).image
    assert ["image: variations take an upload, not a FileID"] == reasons(VariationRequest, FileID("a"))


def test_a_prompt_is_not_asked_of_a_variation():
    """Each endpoint has its own fields; what another has may travel in `extra`."""
    assert {"n": 2, "prompt": "x"} == VariationRequest(b"1", n=2, extra={"prompt": "x"}).fields()


def test_a_request_stays_as_it_was_made():
    """Mappings are copied, and nothing can be set."""
    extra = {"seed": 1}
    request = GenerationRequest("x", extra=extra)
    extra["seed"] = 2

    assert {"seed": 1} == request.extra
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.n = 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1.5,
        "水獭",
        ("a", [1, {"b": None}]),
        range(3),
        collections.UserList([1]),
        types.MappingProxyType({"a": collections.UserDict({"b": (1,)})}),
    ],
)
def test_whatever_json_can_hold_may_be_sent(value):
    """Any mapping and any sequence, and they are kept as they are."""
    assert value == GenerationRequest("x", extra={"seed": value}).extra["seed"]


@given(st.text(st.characters(categories=["Cs"]), min_size=1), st.text())
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(half, text):
    """UTF-8 cannot carry it; a whole character beside it does not help."""
    assert 1 == len(reasons(GenerationRequest, "x", user=text + half))
    assert 1 == len(reasons(GenerationRequest, "x", extra={"x-" + half: 1}))
