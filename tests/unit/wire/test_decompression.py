"""Compressed bodies are inflated by what they are, whatever their header says, and others are taken as they came."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chunkings, cut

from burncloud_images.wire.decompression import PIECE, BodyDecompressor, LayeredDecompressor

BODY = b'{"created":1,"data":[{"b64_json":"' + bytes(range(65, 91)) * 200 + b'"}]}'


def deflate(body):
    return zlib.compress(body, wbits=-15)


FORMS = {
    "gzip": (gzip.compress, ["gzip", "x-gzip", "deflate", "br", ""]),
    "members": (lambda body: gzip.compress(body[:9]) + gzip.compress(b"") + gzip.compress(body[9:]), ["gzip", "br"]),
    "padding": (lambda body: gzip.compress(body) + bytes(999), ["gzip"]),
    "zlib": (zlib.compress, ["deflate", "gzip", "br"]),
    "raw": (deflate, ["deflate"]),
    "plain": (bytes, ["gzip", "deflate", "br"]),
}
CASES = [(form, encoding) for form, (_, encodings) in FORMS.items() for encoding in encodings]


def inflate(chunks, encoding):
    inflater = BodyDecompressor(encoding)
    pieces = [piece for chunk in chunks for piece in inflater.feed(chunk)]
    assert all(len(piece) <= PIECE for piece in pieces if not inflater.is_plain)
    return b"".join([*pieces, *inflater.close()]), inflater.is_cut


@pytest.mark.sampled(5)
@pytest.mark.parametrize(("form", "encoding"), CASES)
@given(data=st.data())
def test_a_body_is_what_it_was_however_it_is_cut(form, encoding, data):
    """The first bytes tell how it is compressed, if it is."""
    packed = FORMS[form][0](BODY)

    assert (BODY, False) == inflate(cut(packed, data.draw(chunkings(len(packed)))), encoding)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br"]), st.data())
def test_any_bytes_come_to_the_same_however_they_are_cut(body, encoding, data):
    """Nothing is lost of what cannot be inflated from its beginning on; a break after it may be found early or late."""

    def run(chunks):
        try:
            return inflate(chunks, encoding)
        except ValueError:
            return None

    beginning = data.draw(st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\x78\x9c", b"{"]))
    whole = beginning + body
    at_once, in_pieces = run([whole]), run(cut(whole, data.draw(chunkings(len(whole)))))

    assert in_pieces in {at_once, None}
    assert at_once is None or at_once[1] or at_once[0] == whole or beginning in {b"", b"\x78\x9c"}


@pytest.mark.parametrize("size", [1, 5, 40])
def test_a_body_that_ends_too_early_is_cut(size):
    """What could be inflated is handed on."""
    out, is_cut = inflate([gzip.compress(BODY)[:-size]], "gzip")

    assert is_cut
    assert BODY.startswith(out)


def test_a_break_in_the_middle_is_told():
    """It is the transport's to say what that means for money."""
    inflater = BodyDecompressor("gzip")
    first = b"".join(inflater.feed(gzip.compress(BODY)[:-8]))

    with pytest.raises(ValueError, match="its compression is broken"):
        list(inflater.feed(b"\xff" * 8))
    assert BODY == first


def test_a_bomb_comes_in_pieces():
    """A kilobyte can hold a megabyte, and a member of nothing holds nothing."""
    bomb = gzip.compress(bytes(10_000_000)) + gzip.compress(b"") * 1000
    inflater = BodyDecompressor("gzip")
    pieces = inflater.feed(bomb)

    assert PIECE == len(next(pieces))
    assert 10_000_000 - PIECE == sum(len(piece) for piece in pieces)
    assert not inflater.is_cut


def test_a_beginning_that_brings_nothing_is_not_held_for_ever():
    """A file name in its head may be of any length."""
    inflater = BodyDecompressor("gzip")
    head = b"\x1f\x8b\x08\x08" + bytes(6)

    assert [] == [piece for piece in inflater.feed(head + b"x" * 2 * PIECE) if piece]
    assert None is inflater.unproven


@pytest.mark.sampled(4)
@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "br", "", "identity"])
@given(data=st.data())
def test_a_body_may_be_compressed_more_than_once(times, encoding, data):
    """Each layer is recognised by its first bytes, however the body is cut."""
    packed = BODY
    for _ in range(times):
        packed = gzip.compress(packed)
    decompressor = LayeredDecompressor(encoding)

    chunks = cut(packed, data.draw(chunkings(len(packed))))
    out = [piece for chunk in chunks for piece in decompressor.feed(chunk)]

    assert BODY == b"".join([*out, *decompressor.close()])
    assert (times == 0, False) == (decompressor.is_plain, decompressor.is_cut)


@pytest.mark.parametrize("size", [1, 9, 40])
def test_an_inner_layer_that_ends_too_early_is_cut(size):
    """What could be inflated is handed on."""
    decompressor = LayeredDecompressor("gzip")
    out = b"".join(decompressor.feed(gzip.compress(gzip.compress(BODY)[:-size])))

    assert decompressor.is_cut
    assert BODY.startswith(out)


def test_one_byte_is_a_body():
    """A body that is too short to tell is handed on at its end."""
    decompressor = LayeredDecompressor("")

    assert [] == list(decompressor.feed(b"\x1f"))
    assert [b"\x1f"] == list(decompressor.close())
