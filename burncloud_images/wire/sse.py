"""
Server-sent events, chunk by chunk: one `data` line may be as long as an image.

So data is handed on in pieces as they arrive and never collected here. Lines end with CR, LF or CRLF wherever a chunk
is cut; everything is bytes, so that a cut inside a UTF-8 character makes no difference. Comments, which gateways send
as pings, and fields that images do not need are skipped without being kept.

Source: WHATWG HTML §9.2.6, but for one thing: an event that lacks its blank line is told at the end instead of being
dropped, because what it holds may be whole and paid for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import attrs

BOM = b"\xef\xbb\xbf"
LONGEST_NAME = 16
"""Bytes before a colon that are looked at; no field that is known has more than 5."""
LONGEST_EVENT_NAME = 1024
LINES_AT_ONCE = 2000


@attrs.frozen
class EventData:
    """More data of the event that is being received; its lines are joined by LF."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class EventEnded:
    """
    The event that was being received has ended.

    Attributes:
        name: What its `event` field said; empty without one.
        finished: Whether its blank line came; else the stream ended first.
    """

    name: str
    finished: bool = True


@attrs.frozen
class ManyLines:
    """A good moment to let other tasks run: many lines have ended."""


SSEToken: TypeAlias = EventData | EventEnded | ManyLines


class LineSplitter:
    """Cuts chunks at the ends of lines."""

    def __init__(self) -> None:
        self.after_return = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield pieces of lines without their ends, each with whether its line ends there."""
        size = len(chunk)
        position = 1 if self.after_return and chunk[:1] == b"\n" else 0
        if chunk:
            self.after_return = False
        # Each is looked for again only once it has been passed, so that many short lines cost no more than one long.
        newline = carriage = -1
        while position < size:
            if newline < position:
                newline = find(chunk, b"\n", position)
            if carriage < position:
                carriage = find(chunk, b"\r", position)
            end = min(newline, carriage)
            yield chunk[position:end], end < size
            position = end + 1
            if end == carriage < size:
                self.after_return = position == size
                position += newline == position


def find(chunk: bytes, mark: bytes, start: int) -> int:
    index = chunk.find(mark, start)
    return len(chunk) if index < 0 else index


class SSEDecoder:
    """
    Turns the chunks of a stream into its data and the ends of its events.

    Feed it chunks and hand on its tokens; `close` yields an event that has not ended. An event without data is skipped.
    """

    def __init__(self) -> None:
        self.beginning: bytes | None = b""
        self.lines = LineSplitter()
        self.line = b""
        self.field: bytes | None = None
        self.at_value = False
        self.name = b""
        self.name_line = b""
        self.has_data = False

    def feed(self, chunk: bytes) -> Iterator[SSEToken]:
        """Yield what *chunk* brings."""
        if self.beginning is not None:
            chunk = self.beginning + chunk
            if len(chunk) < len(BOM) and BOM.startswith(chunk):
                self.beginning = chunk
                return
            chunk, self.beginning = chunk.removeprefix(BOM), None
        for number, (piece, ends) in enumerate(self.lines.feed(chunk), 1):
            if piece:
                yield from self.take(piece)
            if ends:
                yield from self.end_line()
            if number % LINES_AT_ONCE == 0:
                yield ManyLines()

    def close(self) -> Iterator[SSEToken]:
        """Yield the end of an event whose blank line did not come."""
        if self.has_data:
            yield from self.end_event(finished=False)

    def take(self, piece: bytes) -> Iterator[SSEToken]:
        """Take a piece of a line: of its field's name first, of its value after the colon."""
        if self.field is None:
            self.line += piece
            name, colon, piece = self.line.partition(b":")
            if not colon and len(self.line) <= LONGEST_NAME:
                return
            self.line = b""
            yield from self.begin_value(name if colon else b"")
        if self.at_value and piece:
            piece = piece[1:] if piece[:1] == b" " else piece
            self.at_value = False
        if self.field == b"data" and piece:
            yield EventData(piece)
        elif self.field == b"event":
            self.name_line = (self.name_line + piece)[:LONGEST_EVENT_NAME]

    def begin_value(self, field: bytes) -> Iterator[SSEToken]:
        self.field, self.at_value, self.name_line = field, True, b""
        if field == b"data":
            if self.has_data:
                yield EventData(b"\n")
            self.has_data = True

    def end_line(self) -> Iterator[SSEToken]:
        if self.field is None:
            if not self.line:
                yield from self.end_event()
                return
            # A line without a colon is a field without a value.
            yield from self.begin_value(self.line)
        if self.field == b"event":
            self.name = self.name_line
        self.line, self.field = b"", None

    def end_event(self, *, finished: bool = True) -> Iterator[SSEToken]:
        if self.has_data:
            yield EventEnded(self.name.decode(errors="replace"), finished)
        self.name, self.has_data = b"", False
