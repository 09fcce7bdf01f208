"""
Bytes become records: lines, or rows of a table whose quoted cells may hold line ends.

Rule 1: however the bytes were cut into chunks makes no difference.
Rule 2: a record longer than 1 MiB is passed over in constant memory, and told of.
Rule 3: where a record ends is told by quotes and line ends alone, so that whatever else is wrong with one, the next
begins where it should. Only a quote that is never closed takes the rest with it: a guess could buy half a prompt.

Source: RFC 4180, with what spreadsheets and `csv` of the standard library make of it: a quote counts where a cell
begins; elsewhere it is a character.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

MOST_BYTES = 1024 * 1024
"""Of one record; the longest prompt of any model has an eighth of that."""
MARK = b"\xef\xbb\xbf"
"""Before text in UTF-8 that some programs write."""
QUOTE = b'"'


@attrs.frozen
class Record:
    """
    One line, or one row of a table.

    Attributes:
        line: Where it begins, from 1.
        data: Its bytes without the line end; None if there are too many.
        closed: Whether its last quote is closed.
    """

    line: int
    data: bytes | None
    closed: bool = True


class Place(enum.Enum):
    """Where in a row the splitter stands."""

    CELL_START = enum.auto()
    PLAIN = enum.auto()
    QUOTED = enum.auto()
    QUOTE_IN_QUOTED = enum.auto()
    """It closes the cell, unless another follows."""


class RecordSplitter:
    """
    Cuts bytes into records.

    Args:
        delimiter: Between the cells of a table, one byte; empty for text, where quotes mean nothing.
    """

    def __init__(self, delimiter: bytes = b"") -> None:
        self.delimiter = delimiter
        self.head: bytes | None = b""
        self.line = 1
        self.first = 1
        self.held = bytearray()
        self.overlong = False
        self.place = Place.CELL_START

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yield the records that end in *chunk*, but for empty lines."""
        if self.head is not None:
            chunk = self.head + chunk
            if len(chunk) < len(MARK) and MARK.startswith(chunk):
                self.head = chunk
                return
            chunk, self.head = chunk.removeprefix(MARK), None
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self.hold(piece)
            self.line += 1
            if self.place is Place.QUOTED:
                self.hold(b"\n")
            elif self.held or self.overlong:
                yield self.release()
            else:
                self.first = self.line
        self.hold(rest)

    def close(self) -> Iterator[Record]:
        """Yield the last record, if no line end stands behind it."""
        if self.head:
            head, self.head = self.head, None
            self.hold(head)
        if self.held or self.overlong:
            yield self.release()

    def hold(self, piece: bytes) -> None:
        """Take a piece of a line."""
        if self.delimiter:
            self.place = advance(self.place, piece, self.delimiter)
        if self.overlong:
            return
        self.held += piece
        if len(self.held) > MOST_BYTES:
            self.held.clear()
            self.overlong = True

    def release(self) -> Record:
        """Return what is held as a record, and begin another."""
        data = None if self.overlong else bytes(self.held).removesuffix(b"\r")
        record = Record(self.first, data, self.place is not Place.QUOTED)
        self.held.clear()
        self.overlong = False
        self.first = self.line
        self.place = Place.CELL_START
        return record


def advance(place: Place, piece: bytes, delimiter: bytes) -> Place:
    """Return where the splitter stands behind *piece*, which is of one line."""
    if not piece:
        return place
    if QUOTE not in piece and place is not Place.QUOTED:
        return Place.CELL_START if piece.endswith(delimiter) else Place.PLAIN
    position = 0
    while position < len(piece):
        if place in SOUGHT:
            found = piece.find(delimiter if place is Place.PLAIN else QUOTE, position)
            if found < 0:
                return place
            position = found + 1
            place = SOUGHT[place]
        elif piece.startswith(QUOTE, position):
            position += 1
            place = Place.QUOTED
        else:
            place = Place.PLAIN
    return place


SOUGHT = {Place.PLAIN: Place.CELL_START, Place.QUOTED: Place.QUOTE_IN_QUOTED}
"""Where the end of what is looked for leads."""
