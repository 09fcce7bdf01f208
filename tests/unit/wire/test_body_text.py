"""What a body is, is told by its first bytes, however they are cut; the label decides only where they do not."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chunkings, cut

from burncloud_images.wire.body_text import BodyTextDecoder

ANSWER = json.dumps({"created": 1, "data": [{"revised_prompt": "水獭, otter"}]}, ensure_ascii=False)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


def read(chunks, *, is_events=False):
    """Return the shape of a body and its text."""
    body = BodyTextDecoder(is_events=is_events)
    text = b"".join([*[body.feed(chunk) for chunk in chunks], body.close()])
    return body.shape, text


@pytest.mark.parametrize("is_events", [False, True])
@pytest.mark.parametrize(
    ("beginning", "shape"),
    [
        ("{}", "answer"),
        ("[1]", "answer"),
        (" \r\n\t{", "answer"),
        (": wait\n\n{", "answer"),
        (":\r\r[", "answer"),
        ("data: {}", "events"),
        ("data:{}", "events"),
        ("data\n", "events"),
        ("event: x\n", "events"),
        ("id: 1\n", "events"),
        ("retry: 10\n", "events"),
        ("\n\n: wait\n\ndata: x", "events"),
        (": wait\n", "events"),
        (": wait", "events"),
        (":", "events"),
    ],
)
def test_the_first_bytes_tell_whatever_the_label_says(beginning, shape, is_events):
    """A bracket begins JSON, and the name of a field a stream."""
    for pieces in ([beginning.encode()], [bytes([byte]) for byte in beginning.encode()]):
        assert shape == read(pieces, is_events=is_events)[0]


@pytest.mark.parametrize(
    ("beginning", "shape"),
    [
        (b"", "answer"),
        (b" \n", "answer"),
        (b'"text"', "answer"),
        (b"7", "answer"),
        (b"null", "answer"),
        (b"da", "other"),
        (b"identity", "other"),
        (b"<html>", "other"),
        (b"iVBORw0KGgo=", "other"),
    ],
)
def test_the_label_decides_where_the_first_bytes_do_not(beginning, shape):
    """Fields of a stream that nobody knows are passed over, so it may begin with anything."""
    assert shape == read([beginning])[0]
    assert "events" == read([beginning], is_events=True)[0]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.data())
def test_text_in_any_encoding_is_utf_8_however_it_is_cut(encoding, data):
    """With a byte order mark or without one, and with what stands before it left out."""
    before = data.draw(st.sampled_from(["", "\n \t", ": wait\n\n"]))
    body = (before + ANSWER).encode(encoding)
    pieces = cut(body, data.draw(chunkings(len(body))))

    shape, text = read(pieces)

    assert "answer" == shape
    assert ANSWER == text.decode("utf-8-sig").lstrip()


@given(st.binary(max_size=60), st.booleans(), st.data())
def test_any_bytes_have_one_shape_however_they_are_cut(body, is_events, data):
    """The text is the same as well, and what is no text in another encoding is left as it is."""
    beginning = data.draw(st.sampled_from([b"", b"{", b"data", b": \n", b"\xff\xfe", b"\0\0\xfe\xff", b"\xef\xbb\xbf"]))
    whole = beginning + body

    assert read([whole], is_events=is_events) == read(cut(whole, data.draw(chunkings(len(whole)))), is_events=is_events)


def test_a_chunk_of_a_known_shape_is_not_copied():
    """Bodies are mostly images."""
    body = BodyTextDecoder()
    first, second = b'{"data":[{"b64_json":"', b"iVBO" * 1000

    assert first is body.feed(first)
    assert second is body.feed(second)


@pytest.mark.parametrize("is_events", [False, True])
@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\x20\0\0\0WEBPVP8 ",
        b"\0\0\0\x20ftypavif\0\0\0\0",
        b"<svg ",
        b"<?xml version='1.0'?><!-- x --><svg>",
    ],
)
@pytest.mark.parametrize("rest", [b"", b"\0" * 200])
def test_an_image_is_an_image_whatever_its_label_says(head, rest, is_events):
    """An image is recognised in pieces of any size, and its bytes stay as they are."""
    body = head + rest

    assert ("image", body) == read([body], is_events=is_events)
    assert ("image", body) == read([body[index : index + 1] for index in range(len(body))], is_events=is_events)


def test_what_is_no_utf_16_is_replaced():
    """The bytes themselves are held elsewhere."""
    shape, text = read([codecs.BOM_UTF16_LE + b"{\0\0\xd8}\0" + b"x"])

    assert "answer" == shape
    assert text.decode().startswith("{\ufffd")


def test_comments_are_noticed_before_the_shape_is_known():
    """They show that somebody is alive, for a while."""
    body = BodyTextDecoder()
    assert (b"", False) == (body.feed(b"\n \n\n"), body.has_comments)
    assert (b"", True) == (body.feed(b": wai"), body.has_comments)
    assert b"" == body.feed(b"t" * 100_000)
    assert len(body.head) < 10
    assert b"{" == body.feed(b"\n{")
    assert "answer" == body.shape
