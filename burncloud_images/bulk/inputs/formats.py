"""
Text inputs: prompts, CSV and TSV tables, JSON lines, and OpenAI's batch files.

Records are split without regard to how the bytes were cut into chunks. A record longer than 1 MiB is skipped in
constant memory and reported. Quotes and line ends alone tell where a record ends, so a bad record does not affect the
next one. Only a quote that is never closed takes the rest with it: a guess could buy half a prompt.

Sources: RFC 4180, with what spreadsheets and `csv` make of it; OpenAI's API reference, "The request input object" of
batches, whose JSON form of edits names images by `{"image_url"}` or `{"file_id"}`.
"""

from __future__ import annotations

import csv
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from burncloud_images.bulk.inputs.columns import (
    COLUMNS,
    Parsed,
    ParsedRow,
    ParsedRows,
    UnusableRow,
    clip,
    load_json,
    nearest,
    to_value,
    to_values,
)
from burncloud_images.bulk.keys import REQUESTS

MAX_LINE_BYTES = 1024 * 1024
"""Of one record; the longest prompt of any model has an eighth of that."""
MARK = b"\xef\xbb\xbf"
"""Before text in UTF-8 that some programs write."""
QUOTE = b'"'


@attrs.frozen
class RawLine:
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

    def feed(self, chunk: bytes) -> Iterator[RawLine]:
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

    def close(self) -> Iterator[RawLine]:
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
        if len(self.held) > MAX_LINE_BYTES:
            self.held.clear()
            self.overlong = True

    def release(self) -> RawLine:
        """Return what is held as a record, and begin another."""
        data = None if self.overlong else bytes(self.held).removesuffix(b"\r")
        record = RawLine(self.first, data, self.place is not Place.QUOTED)
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

ENVELOPE = frozenset({"custom_id", "method", "url", "body"})
OURS = ("id", "custom_id", "operation", "repeat")
"""Columns of rows that are no fields of the API."""


def unwrap(value: dict[str, object]) -> dict[str, object]:
    """
    Return the columns of a line.

    Raises:
        UnusableRow: It is a batch's request to something else.
    """
    if "body" not in value:
        return value
    body = value["body"]
    if not isinstance(body, dict):
        raise UnusableRow("body: it has to be an object")
    if value.get("method", "POST") != "POST":
        raise UnusableRow("method: it has to be POST")
    for name in OURS:
        if name in body:
            raise UnusableRow(f"body: {name} is no field of the API")
    around = {name: item for name, item in value.items() if name not in ENVELOPE}
    return {**around, **with_images(body), "id": value.get("custom_id"), "operation": to_operation(value.get("url"))}


def to_operation(url: object) -> str | None:
    if url is None:
        return None
    path = url.rstrip("/") if isinstance(url, str) else ""
    for operation in REQUESTS:
        if path.endswith(f"/images/{operation}"):
            return operation
    raise UnusableRow("url: it is no address of the images API, such as /v1/images/generations")


def with_images(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the fields of *body*, with `image` in place of the list that edits in JSON have."""
    if "images" not in body:
        return body
    if "image" in body:
        raise UnusableRow("body: it has both image and images")
    return {**{name: value for name, value in body.items() if name != "images"}, "image": body["images"]}


Reader: TypeAlias = Callable[[Iterable[bytes], bool], ParsedRows]
"""
Takes the bytes of an input, of which an empty chunk says that the next may take a while, and whether rows may lack a
prompt and an image, because all get one. It raises `UnusableRow` for what cannot be read at all.
"""

SPACE = b" \t\r\n\v\f"
MAX_LINE_MIB = MAX_LINE_BYTES // (1024 * 1024)


def read_prompts(chunks: Iterable[bytes]) -> ParsedRows:
    """Yield a prompt a line."""
    return read_each(chunks, lambda text: ({"prompt": text.strip()}, None))


def read_json_lines(chunks: Iterable[bytes]) -> ParsedRows:
    """Yield an object a line: fields by their names, or as OpenAI's batches hold them."""
    return read_each(chunks, read_line)


def read_line(text: str) -> Parsed:
    value = load_json(text)
    if not isinstance(value, dict):
        raise UnusableRow("it is JSON, but no object")
    try:
        return unwrap(value), None
    except UnusableRow as problem:
        return {"custom_id": value.get("custom_id")}, str(problem)


def read_each(chunks: Iterable[bytes], parse: Callable[[str], Parsed]) -> ParsedRows:
    """Yield what *parse* makes of each line that is not blank."""
    for record in split(chunks, b""):
        yield record if record is None else parse_line(record, parse)


def read_table(chunks: Iterable[bytes], delimiter: str, *, has_defaults: bool) -> ParsedRows:
    """Yield the rows of a table whose first names the columns."""
    header: Sequence[str] | None = None
    for record in split(chunks, delimiter.encode("ascii")):
        if record is None:
            yield None
        elif header is None:
            header = to_header(record, delimiter, has_defaults=has_defaults)
        else:
            yield parse_line(record, cells_reader(header, delimiter))


def split(chunks: Iterable[bytes], delimiter: bytes) -> Iterator[RawLine | None]:
    """Yield the records that are not blank, and None where the next may take a while."""
    splitter = RecordSplitter(delimiter)
    for chunk in chunks:
        if chunk:
            yield from (record for record in splitter.feed(chunk) if not is_blank(record, delimiter))
        else:
            yield None
    yield from (record for record in splitter.close() if not is_blank(record, delimiter))


def is_blank(record: RawLine, delimiter: bytes) -> bool:
    return record.data is not None and not record.data.strip(SPACE + delimiter)


def parse_line(record: RawLine, parse: Callable[[str], Parsed]) -> ParsedRow:
    size = MAX_LINE_BYTES if record.data is None else len(record.data)
    try:
        values, problem = parse(decode(record))
        return ParsedRow(line=record.line, size=size, values=values, problem=problem)
    except UnusableRow as problem:
        return ParsedRow(line=record.line, size=size, problem=str(problem))


def decode(record: RawLine) -> str:
    if not record.closed:
        raise UnusableRow("a quote is opened in it and never closed, so that all of the rest belongs to it")
    if record.data is None:
        raise UnusableRow(f"it is longer than {MAX_LINE_MIB} MiB")
    if b"\0" in record.data:
        raise UnusableRow("it holds a NUL byte")
    try:
        return record.data.decode()
    except UnicodeDecodeError:
        raise UnusableRow("it is no UTF-8 text") from None


# --- tables ----------------------------------------------------------------------------------------------------------


def to_cells(text: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise UnusableRow(f"it is no row of a table: {error}") from None
    return cells


def to_header(record: RawLine, delimiter: str, *, has_defaults: bool) -> Sequence[str]:
    """
    Return the names of the columns.

    Raises:
        UnusableRow: The first row names none that a request could be made of, or one twice.
    """
    try:
        names = [name.strip() for name in to_cells(decode(record), delimiter)]
    except UnusableRow as problem:
        raise UnusableRow(f"the first row has to name the columns, but {problem}") from None
    known = [name for name in names if name in COLUMNS]
    if len(set(known)) < len(known):
        raise UnusableRow(f"the first row names {next(name for name in known if known.count(name) > 1)} twice")
    if not {"prompt", "image"} & set(known) and not has_defaults:
        slips = [f"{clip(name, 40)!r} may be {slip!r}" for name in names if (slip := nearest(name))]
        advice = f"; {', '.join(slips[:3])}" if slips else ""
        raise UnusableRow(f"the first row has to name the columns, and neither prompt nor image is among them{advice}")
    return names


def cells_reader(header: Sequence[str], delimiter: str) -> Callable[[str], Parsed]:
    def read(text: str) -> Parsed:
        cells = to_cells(text, delimiter)
        if len(cells) != len(header):
            raise UnusableRow(f"it has {len(cells):,} cells, and the first row has {len(header):,}")
        return to_values(zip(header, cells, strict=True), to_value)

    return read


READERS: Mapping[str, Reader] = {
    "txt": lambda chunks, _: read_prompts(chunks),
    "csv": lambda chunks, has_defaults: read_table(chunks, ",", has_defaults=has_defaults),
    "tsv": lambda chunks, has_defaults: read_table(chunks, "\t", has_defaults=has_defaults),
    "jsonl": lambda chunks, _: read_json_lines(chunks),
}
