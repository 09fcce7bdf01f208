"""Saved answers: the API's own, and lines of a batch, however they are cut."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chunkings, cut

from burncloud_images.cli.show import SavedAnswerDecoder, is_event_stream
from burncloud_images.errors import OutcomeUnknownError, ProtocolError
from burncloud_images.wire.image_json import ImageChunk, ImageEnded

PIXELS = bytes(range(256)) * 3
ANSWER = {"created": 1, "data": [{"b64_json": base64.b64encode(PIXELS).decode()}, {"url": "https://x.example/y"}]}


def wrap(body, **more):
    response = {"status_code": 200, "request_id": "req-1", "body": body}
    return {"id": "batch_req_1", "custom_id": "row 7", "response": response, "error": None, **more}


def decode(chunks):
    decoder = SavedAnswerDecoder()
    images, ended = b"", []
    for chunk in chunks:
        for event in decoder.feed(chunk):
            match event:
                case ImageChunk(_, data):
                    images += data
                case ImageEnded(index):
                    ended.append(index)
    return decoder, images, ended, decoder.close()


@given(st.data(), st.booleans())
def test_both_forms_are_decoded_however_they_are_cut(data, is_wrapped):
    """A saved answer and a batch line decode to the same images, however they are cut."""
    document = json.dumps(wrap(ANSWER) if is_wrapped else ANSWER).encode()
    decoder, images, ended, answer = decode(cut(document, data.draw(chunkings(len(document)))))

    assert (PIXELS, [0]) == (images, ended)
    assert [(True, None), (False, "https://x.example/y")] == [(item.decoded, item.url) for item in answer.items]
    assert 1 == answer.created.timestamp()
    assert {} == answer.extra
    assert ("row 7" if is_wrapped else None) == decoder.custom_id


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (wrap({"error": {"message": "no"}}), {"message": "no"}),
        (wrap(None, error={"message": "expired"}), {"message": "expired"}),
        ({"custom_id": "row 7", "response": None, "error": {"message": "expired"}}, {"message": "expired"}),
        ({"error": {"message": "no"}}, {"message": "no"}),
    ],
)
def test_errors_are_found_in_either_place(document, error):
    """The error of a batch line is found in the body or beside it."""
    _, _, _, answer = decode([json.dumps(document).encode()])

    assert error == answer.error["error"]


@pytest.mark.parametrize("document", [{"body": ANSWER}, {"response": [{"body": ANSWER}]}, {"x": {"response": ANSWER}}])
def test_images_are_looked_for_in_their_places_only(document):
    """Base64 text outside `data` is not decoded as an image."""
    _, images, ended, _ = decode([json.dumps(document).encode()])

    assert (b"", []) == (images, ended)


@pytest.mark.parametrize("document", [b"[]", b"hello", b"{}{}"])
def test_what_is_no_answer_is_refused(document):
    """A document that is not an answer raises the same error as from the API."""
    with pytest.raises(ProtocolError):
        decode([document])


def test_a_saved_answer_can_end_in_the_middle():
    """The decoder reports an answer that ends in the middle."""
    decoder = SavedAnswerDecoder()
    list(decoder.feed(b'{"data": [{"b64_json": "AAAA'))

    assert decoder.is_open
    with pytest.raises(OutcomeUnknownError):
        decoder.close()


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"event: image_generation.completed\n", True),
        (b'data: {"type": "x"}\n', True),
        (b": PING\n", True),
        (b"id: 1\n", True),
        (b"retry: 10\n", True),
        (b'{"created": 1}', False),
        (b"[]", False),
        (b"", False),
        (b"error: no\n", False),
    ],
)
def test_streams_are_known_by_their_first_line(beginning, expected):
    """An event stream is recognised by its first line, as JSON starts with a bracket."""
    assert expected == is_event_stream(beginning)
