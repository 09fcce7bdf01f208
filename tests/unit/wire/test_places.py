"""Wherever base64 of an image stands, it is found, or its text is kept: judged by the standard library's own parser."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import png
from strategies import chunkings, cut, examples

from burncloud_images.errors import ImagesError
from burncloud_images.wire.events import PartialStarted, StreamDecoder
from burncloud_images.wire.image_json import AnswerDecoder, ImageChunk, ImageStarted
from burncloud_images.wire.places import BASE64, HOLDERS, LISTS, URLS, WRAPPERS, find_items, find_place

PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()
NAMES = [*LISTS, *WRAPPERS, *BASE64, *URLS, *HOLDERS, "choices", "message", "content", "item", "error", "input", "type"]
scalars = st.sampled_from(["", None, 1, True, "an otter", "queued", "https://images.example/a.png", 2**70])
pictures = st.sampled_from([TEXT, f"data:image/png;base64,{TEXT}"])
documents = st.dictionaries(
    st.sampled_from(NAMES),
    st.recursive(
        scalars | pictures,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def decode(decoder, chunks):
    """Return the bytes that were cut out, by image, and what the decoder says at the end."""
    pieces: list[bytes] = []
    try:
        for chunk in chunks:
            for event in decoder.feed(chunk):
                match event:
                    case ImageStarted() | PartialStarted():
                        pieces.append(b"")
                    case ImageChunk(_, data):
                        pieces[-1] += data
        end = repr(decoder.close())
    except ImagesError as error:
        end = str(error)
    return pieces, end


@given(documents, st.data())
@settings(max_examples=examples(300))
def test_no_base64_of_an_answer_is_lost(document, data):
    """
    A picture in it is either among the images or in the text that is kept, however it is cut.

    An image object has one image; a second text in it is the same one.
    """
    body = json.dumps(document).encode()
    decoder = AnswerDecoder()
    pieces, end = decode(decoder, cut(body, data.draw(chunkings(len(body)))))

    assert (TEXT.encode() in body) == (PICTURE in pieces or TEXT.encode() in decoder.raw)
    whole, its_end = decode(AnswerDecoder(), [body])
    assert end == its_end
    assert "is not base64" in end or pieces == whole  # how much of damaged text was decoded depends on the cuts


@given(st.lists(documents, min_size=1, max_size=3))
@settings(max_examples=examples(200))
def test_no_base64_of_a_stream_is_lost(sent):
    """The same is true of events, as far as the stream is read."""
    body = b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in sent)
    decoder = StreamDecoder(10**7)
    pieces, _ = decode(decoder, [body])

    if not decoder.done:
        assert (TEXT.encode() in body) == (PICTURE in pieces or TEXT.encode() in decoder.raw)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (("data", "*", "b64_json"), "base64"),
        (("data", "*"), "either"),
        (("data", "*", "url"), "url"),
        (("result", "data", "*", "b64"), "either"),
        (("b64_json",), "base64"),
        (("choices", "*", "message", "images", "*", "image_url", "url"), "url"),
        (("url",), None),
        (("image",), None),
        (("input", "data", "*", "b64_json"), None),
        (("data", "*", "input", "b64_json"), None),
        (("data",) * 13, None),
    ],
    ids=str,
)
def test_a_place_is_known_by_its_path(path, form):
    """What stands there is base64, an address, or either; other places hold no images."""
    place = find_place(path)

    assert form == (place and place.form)


def test_an_answer_of_a_chat_has_its_images_in_order():
    """Addresses and base64 that was cut out stand side by side."""
    images = [{"image_url": {"url": "https://images.example/a.png"}}, {"image_url": {"url": ""}}]
    document = {"choices": [{"message": {"images": [image]}} for image in images]}

    assert ["https://images.example/a.png"] == [item["url"] for item in find_items(document) if "url" in item]
    assert 2 == len(find_items(document, ("choices",)))
