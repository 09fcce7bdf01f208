"""A small answer that is whole is decoded in one step, to the same as by the incremental decoder."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import answers, examples

from burncloud_images.errors import ImagesError
from burncloud_images.wire.image_json import AnswerDecoder, ImageExtractor, PausePoint
from burncloud_images.wire.small_answer import MAX_SIZE, decode_whole

PIXELS = bytes(range(256)) * 3
BASE64 = base64.b64encode(PIXELS).decode()
USUAL = [
    {"b64_json": BASE64},
    {"b64_json": "AAAA", "url": ""},
    {"url": "https://images.example/a.png"},
    {"b64_json": ""},
]
MANY = 10**6
TRICKS = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"\n",
    b'"b64_json"',
    b'"data"',
    b"\\u0064",
    b"data:",
    b"=",
    b"\xff",
]


class IncrementalDecoder(AnswerDecoder):
    """Decodes every answer step by step."""

    def feed(self, chunk):
        return ImageExtractor.feed(self, chunk)


def outcome(decoder, *chunks):
    """Return all that *decoder* says, and its text."""
    events, end = [], None
    try:
        for chunk in chunks:
            events += [event for event in decoder.feed(chunk) if not isinstance(event, PausePoint)]
        end = repr(decoder.close())
    except ImagesError as error:
        end = (type(error), str(error), error.raw)
    return events, end, decoder.raw, decoder.ended, decoder.failures


@st.composite
def damaged(draw, bodies):
    """Draw a body, as it is, cut, or with something put in."""
    body = draw(bodies)
    place = draw(st.integers(0, len(body)))
    return draw(
        st.sampled_from([body, body, body[:place], body[:place] + draw(st.sampled_from(TRICKS)) + body[place:]])
    )


usual = st.builds(
    lambda items, rest: json.dumps({"data": items, **rest}).encode(),
    st.lists(st.sampled_from(USUAL), max_size=4),
    st.dictionaries(st.sampled_from(["created", "b64_json", "url", "x"]), st.sampled_from([1, "a", None]), max_size=3),
)


@given(
    damaged(usual) | damaged(answers), st.sampled_from([1, 2, MANY]), st.sampled_from([b"", b"\n", b" ", b"x", b"{}"])
)
@settings(max_examples=examples(400))
def test_one_step_comes_to_the_same(body, most, after):
    """Events, text, answer and error are those of the incremental decoder, whatever comes and whatever follows."""
    assert outcome(IncrementalDecoder(most), body, after) == outcome(AnswerDecoder(most), body, after)


def test_usual_answers_take_the_one_step():
    """Images in base64, result URLs, and errors."""
    body = json.dumps({"created": 1, "data": USUAL, "usage": {"total_tokens": 3}}).encode()
    found = decode_whole(body, MANY)

    assert [(0, PIXELS), (1, b"\0\0\0")] == found.images
    assert [{**item, "b64_json": ""} if "b64_json" in item else item for item in USUAL] == found.document["data"]
    assert json.loads(found.text) == found.document
    assert decode_whole(b'{"error": {"message": "no"}}', MANY) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"data": [',
        b'{"data": [{"b64_json": "AAA"}]}',
        b'{"data": [{"b64_json": "AA=A"}]}',
        b'{"data": [{"b64_json": "AA\\/A"}]}',
        b'{"data": [{"b64_json": null}]}',
        b'{"data": [{"b64_json": "AAAA", "b64_json": "AAAA"}]}',
        b'{"data": [{"b64\\u005fjson": "AAAA"}]}',
        b'{"data": [{"url": "DATA:image/png;base64,AAAA"}]}',
        b'{"data": [], "data": [{}, {}]}',
        b'{"data": [{"x": {"b64_json": "AAAA"}}]}',
        b'{"x": nan}',
        b'{"images": [{"b64_json": "AAAA"}]}',
        b'{"data": [{"b64": "AAAA"}]}',
        b'{"data": ["AAAA"]}',
        b'{"data": {"b64_json": "AAAA"}}',
        b'{"b64_json": "AAAA"}',
        b"[" * 200,
        b'{"x": "' + b"x" * MAX_SIZE + b'"}',
    ],
)
def test_the_unusual_is_left_to_the_incremental_decoder(body):
    """What is cut, damaged, spelled with escapes, given twice, too deep or too large."""
    assert decode_whole(body, 1) is None
