"""Server-sent events are decoded alike however they are cut, and as the standard says."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import chunkings, cut

from burncloud_images.wire.sse import EventData, EventEnded, ManyLines, SSEDecoder

Events = list[tuple[str, bytes, bool]]


def decoded(chunks) -> Events:
    """Return name, data and whether its blank line came, of each event."""
    decoder = SSEDecoder()
    events: Events = []
    data = b""
    tokens = [token for chunk in chunks for token in decoder.feed(chunk)]
    for token in [*tokens, *decoder.close()]:
        match token:
            case EventData(piece):
                assert piece
                data += piece
            case EventEnded(name, finished):
                events.append((name, data, finished))
                data = b""
    return events


def by_byte(body: bytes) -> Events:
    return decoded(body[index : index + 1] for index in range(len(body)))


# --- the independent implementation: the whole text, line by line ------------------------------------------------


def expected_of(body: bytes) -> Events:
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\r|\n", body)
    events: Events = []
    name, data = b"", []
    for line in lines[:-1]:
        if not line:
            if data:
                events.append((name.decode(errors="replace"), b"\n".join(data), True))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"event":
            name = value
        elif field == b"data":
            data.append(value)
    field, colon, value = lines[-1].partition(b":")
    if colon and field == b"data":  # a line that is not ended, of an event that is not either
        data.append(value[1:] if value.startswith(b" ") else value)
    if data:
        events.append((name.decode(errors="replace"), b"\n".join(data), False))
    return events


FRAGMENTS = (
    *("data", "event", "id", "retry", ": ", ":", " ", "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "{}", "[DONE]"),
    *("\ufeff", "\u2028", "水獺", ": PING\n\n", "data: x\n\n", "x" * 40),
)
fragments = st.sampled_from(FRAGMENTS).map(str.encode) | st.just(b"\xff")
bodies = st.lists(fragments, max_size=25).map(b"".join)


class TestCutting:
    @given(bodies, st.data())
    @example(b"data: a\r\n\r\n", None)
    def test_any_cut_gives_what_the_whole_text_gives(self, body, data):
        """An implementation that sees all lines at once agrees, and so do single bytes."""
        expected = expected_of(body)

        assert expected == decoded([body])
        assert expected == by_byte(body)
        if data is not None:
            assert expected == decoded(cut(body, data.draw(chunkings(len(body)))))

    def test_one_line_may_be_as_long_as_it_likes(self):
        """It is handed on in pieces and never collected."""
        decoder = SSEDecoder()
        list(decoder.feed(b"data: "))
        for _ in range(1000):
            assert [EventData(b"A" * 65536)] == list(decoder.feed(b"A" * 65536))
        assert b"" == decoder.line

    @pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
    def test_many_short_lines_cost_no_more_than_their_length(self, end):
        """A storm of pings is no quadratic matter: each mark is looked for once."""

        class Counting(bytes):
            looked = 0

            def find(self, mark, start=0):
                index = super().find(mark, start)
                Counting.looked += (len(self) if index < 0 else index) - start
                return index

        storm = Counting((b": PING" + end * 2) * 10_000)
        decoder = SSEDecoder()
        decoder.beginning = None

        assert {ManyLines()} == set(decoder.feed(storm))
        assert Counting.looked <= 2 * len(storm)


class TestStandard:
    """Texts whose meaning the standard gives, or that gateways are known to send."""

    @pytest.mark.parametrize(
        ("body", "events"),
        [
            (b"event: a\ndata: x\n\n", [("a", b"x", True)]),
            (b"data: x\nevent: a\n\n", [("a", b"x", True)]),
            (b"data: x\rdata: y\r\r", [("", b"x\ny", True)]),
            (b"data: x\r\ndata:y\r\n\r\n", [("", b"x\ny", True)]),
            (b"data\n\n", [("", b"", True)]),
            (b"data:\ndata:\n\n", [("", b"\n", True)]),
            (b"data:  x\n\n", [("", b" x", True)]),
            (b"\xef\xbb\xbfdata: x\n\n", [("", b"x", True)]),
            (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
            (b": PING\n\n: PING\n\ndata: x\n\n", [("", b"x", True)]),
            (b"event: a\n\ndata: x\n\n", [("", b"x", True)]),
            (b"event: a\nevent: b\ndata: x\n\n", [("b", b"x", True)]),
            (b"id: 7\nretry: 10\nfoo: bar\nlong-unknown-field-name: x\ndata: x\n\n", [("", b"x", True)]),
            (b"Data: x\n data: y\n\n", []),
            (b"data: x\n", [("", b"x", False)]),
            (b"data: x", [("", b"x", False)]),
            (b"event: a\n", []),
            (b"", []),
        ],
    )
    def test_golden(self, body, events):
        """Whole and byte by byte."""
        assert events == decoded([body])
        assert events == by_byte(body)

    def test_a_name_is_no_place_to_hide_megabytes(self):
        """Of a long event name and of comments only little is kept."""
        decoder = SSEDecoder()
        for chunk in (b"event: ", *[b"x" * 65536] * 100, b"\n:", *[b"y" * 65536] * 100):
            list(decoder.feed(chunk))

        assert 1024 == len(decoder.name)
        assert b"" == decoder.line
