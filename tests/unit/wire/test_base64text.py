"""Base64 is decoded as its slices pass, as strictly as the standard library decodes the whole."""

from __future__ import annotations

import base64
import binascii
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import chunkings, cut, examples

from burncloud_images.wire.base64text import Base64Decoder, may_hold_base64

ALPHABET = "ABCDwxyz0189+/"
WHOLE = re.compile(rb"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
whole = st.binary(max_size=60).map(base64.b64encode)
odd = st.text(st.sampled_from(ALPHABET + '=-_ \n\r\t"\\.\0é中'), max_size=16).map(str.encode)
padded = st.text(st.sampled_from("A/=="), max_size=12).map(str.encode)
texts = whole | odd | padded | st.tuples(whole, odd).map(b"".join) | st.tuples(whole, whole).map(b"".join)


def standard(text: bytes) -> bytes | None:
    # RFC 4648 §4: the library, strict as it is, lets `=` pass behind a whole quantum.
    return binascii.a2b_base64(text, strict_mode=True) if WHOLE.fullmatch(text) else None


def fed(chunks) -> bytes | None:
    decoder = Base64Decoder()
    try:
        data = b"".join(piece for chunk in chunks for piece in decoder.feed(chunk))
        decoder.close()
    except ValueError:
        return None
    return data


@given(texts, st.data())
@settings(max_examples=examples(600))
def test_any_chunking_decodes_as_the_standard_library_does(text, data):
    """The same bytes; what it refuses is refused, and so is padding that pads nothing."""
    assert standard(text) == fed(cut(text, data.draw(chunkings(len(text)))))


@given(st.binary(max_size=300), st.data())
def test_what_was_encoded_comes_back(content, data):
    """By slices of any length, empty ones too."""
    text = base64.b64encode(content)

    assert content == fed(cut(text, data.draw(chunkings(len(text)))))


@given(st.binary(min_size=1, max_size=60), st.data())
def test_nothing_is_held_back_longer_than_a_quantum(content, data):
    """After each slice, all whole quanta so far are decoded: memory does not grow with the image."""
    text = base64.b64encode(content)
    decoder = Base64Decoder()
    taken = found = 0
    for chunk in cut(text, data.draw(chunkings(len(text)))):
        taken += len(chunk)
        found += sum(map(len, decoder.feed(chunk)))
        assert found == min(len(content), taken // 4 * 3)


@pytest.mark.parametrize(("text", "short"), [(b"A", 3), (b"AA", 2), (b"AAA", 1), (b"AAAAA", 3), (b"AA=", 1)])
def test_an_end_within_a_quantum_is_told(text, short):
    """With how many characters are missing."""
    decoder = Base64Decoder()
    list(decoder.feed(text))
    with pytest.raises(ValueError, match=f"base64 ends {short} characters short"):
        decoder.close()


@pytest.mark.parametrize(
    "chunks",
    [
        [b"AA==", b"AAAA"],
        [b"AA==", b"="],
        [b"AA=", b"=", b"\n"],
        [b"AA==A"],
        [b"AAAA="],
        [b"AA==", b"", b"AA=="],
        [b"AA==AAAA"],
    ],
)
def test_nothing_may_follow_the_padding(chunks):
    """However it is cut; an empty slice is nothing."""
    assert None is fed(chunks)
    assert b"\0" == fed([b"AA==", b"", b""])


@pytest.mark.parametrize("text", [b"SECRET!!", b"SECR ETS", b"SECRET=\n"])
def test_a_refusal_does_not_show_the_text(text):
    """Neither the error nor its cause."""
    with pytest.raises(ValueError, match="not base64") as caught:
        list(Base64Decoder().feed(text))

    assert "SEC" not in str(caught.value)
    assert None is caught.value.__cause__


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (b'{"pic": "%b"}' % (b"iVBORw0K" * 10), True),
        (b'{"pic": "%b"}' % (rb"iVBO\/w-_\n" * 10), True),
        (b'{"pic": "%b"}' % (rb"\u0041\u002F" * 40), True),
        (b'{"sha256": "%b"}' % (b"0f" * 32), False),
        (b'{"url": "https:\\/\\/x/%b?sig=%b"}' % (b"a" * 90, b"b" * 90), False),
        (b"an otter " * 20, False),
        (b". " * 200_000, True),
        (b"", False),
    ],
    ids=range(8),
)
def test_long_base64_is_seen(text, held):
    """A text may hold an image if it has base64 that is longer than names are, or is too long to look through."""
    assert held == may_hold_base64(text)
