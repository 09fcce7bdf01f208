"""
Text inputs: prompts, CSV and TSV tables, JSON lines, and OpenAI's batch files.

A line or row longer than 1 MiB is skipped in constant memory and reported. Quotes and line ends alone tell where a row
of a table ends, so a bad row does not affect the next one. Only a quote that is never closed takes the rest with it: a
guess could buy half a prompt.

Sources: RFC 4180, with what spreadsheets and `csv` make of it; OpenAI's API reference, "The request input object" of
batches, whose JSON form of edits names images by `{"image_url"}` or `{"file_id"}`.
"""

from __future__ import annotations

import csv
import re
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
from burncloud_images.bulk.inputs.sources import MAX_LINE_BYTES, QUOTE, RawLine
from burncloud_images.bulk.request_json import REQUESTS


def join_rows(lines: Iterable[RawLine], delimiter: str) -> Iterator[RawLine]:
    """Yield the rows of a table: a line, and those that follow while a quoted cell is open."""
    closed = CLOSED[delimiter]
    first, held, size, is_open = 1, list[bytes](), 0, False
    for line in lines:
        if not is_open:
            first, held, size = line.line, [], -1
        if line.data is None:  # its cells are not known, so only its quotes are counted
            is_open ^= line.quotes % 2 == 1
            size = MAX_LINE_BYTES
        else:
            is_open = not closed.fullmatch(QUOTE + line.data if is_open else line.data)
            held.append(line.data)
        size += 1 + len(line.data or b"")
        if size > MAX_LINE_BYTES:
            held = []
        if not is_open:
            yield to_row(first, held, size)
    if is_open:
        yield attrs.evolve(to_row(first, held, size), closed=False)


def to_row(first: int, held: list[bytes], size: int) -> RawLine:
    return RawLine(first, b"\n".join(held).removesuffix(b"\r") if size <= MAX_LINE_BYTES else None)


def match_closed(delimiter: bytes) -> re.Pattern[bytes]:
    """Return what matches a line whose quoted cells are all closed. A quote counts where a cell begins."""
    cell = rb'(?:"(?:[^"]++|"")*+"[^%b]*+|(?!")[^%b]*+)' % (delimiter, delimiter)
    return re.compile(cell + rb"(?:" + delimiter + cell + rb")*+")


CLOSED: Mapping[str, re.Pattern[bytes]] = {",": match_closed(b","), "\t": match_closed(b"\t")}

# --- lines of OpenAI's Batch API -------------------------------------------------------------------------------------

ENVELOPE = frozenset({"custom_id", "method", "url", "body"})
OURS = ("id", "custom_id", "operation", "repeat")
"""Columns of rows that are not fields of the API."""


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
            raise UnusableRow(f"body: {name} is not a field of the API")
    around = {name: item for name, item in value.items() if name not in ENVELOPE}
    return {**around, **with_images(body), "id": value.get("custom_id"), "operation": to_operation(value.get("url"))}


def to_operation(url: object) -> str | None:
    if url is None:
        return None
    path = url.rstrip("/") if isinstance(url, str) else ""
    for operation in REQUESTS:
        if path.endswith(f"/images/{operation}"):
            return operation
    raise UnusableRow("url: it is not a URL of the images API, such as /v1/images/generations")


def with_images(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the fields of *body*, with `image` in place of the list that edits in JSON have."""
    if "images" not in body:
        return body
    if "image" in body:
        raise UnusableRow("body: it has both image and images")
    return {**{name: value for name, value in body.items() if name != "images"}, "image": body["images"]}


Reader: TypeAlias = Callable[[Iterable[RawLine], bool], ParsedRows]
"""
Takes the lines of an input, and whether rows may lack a prompt and an image, because all get one. It raises
`UnusableRow` for what cannot be read at all.
"""

SPACE = b" \t\r\n\v\f"
MAX_LINE_MIB = MAX_LINE_BYTES // (1024 * 1024)


def read_line(text: str) -> Parsed:
    """Return the fields of a JSON line: by their names, or as OpenAI's batches hold them."""
    value = load_json(text)
    if not isinstance(value, dict):
        raise UnusableRow("it is JSON, but not an object")
    try:
        return unwrap(value), None
    except UnusableRow as problem:
        return {"custom_id": value.get("custom_id")}, str(problem)


def read_each(lines: Iterable[RawLine], parse: Callable[[str], Parsed]) -> ParsedRows:
    """Yield what *parse* makes of each line that is not blank."""
    return (parse_line(line, parse) for line in lines if not is_blank(line, b""))


def read_table(lines: Iterable[RawLine], delimiter: str, *, has_defaults: bool) -> ParsedRows:
    """Yield the rows of a table whose first names the columns."""
    rows = (row for row in join_rows(lines, delimiter) if not is_blank(row, delimiter.encode("ascii")))
    first = next(rows, None)
    if first is not None:
        parse = cells_reader(to_header(first, delimiter, has_defaults=has_defaults), delimiter)
        yield from (parse_line(row, parse) for row in rows)


def is_blank(line: RawLine, delimiter: bytes) -> bool:
    return line.data is not None and not line.data.strip(SPACE + delimiter)


def parse_line(line: RawLine, parse: Callable[[str], Parsed]) -> ParsedRow:
    size = MAX_LINE_BYTES if line.data is None else len(line.data)
    try:
        values, problem = parse(decode(line))
        return ParsedRow(line=line.line, size=size, values=values, problem=problem)
    except UnusableRow as problem:
        return ParsedRow(line=line.line, size=size, problem=str(problem))


def decode(line: RawLine) -> str:
    if not line.closed:
        raise UnusableRow("a quote is opened in it and never closed, so that all the rest belongs to it")
    if line.data is None:
        raise UnusableRow(f"it is longer than {MAX_LINE_MIB} MiB")
    if b"\0" in line.data:
        raise UnusableRow("it holds a NUL byte")
    return line.data.decode()


# --- tables ----------------------------------------------------------------------------------------------------------


def to_cells(text: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise UnusableRow(f"it is not a row of a table: {error}") from None
    return cells


def to_header(line: RawLine, delimiter: str, *, has_defaults: bool) -> Sequence[str]:
    """
    Return the names of the columns.

    Raises:
        UnusableRow: The first row names none that a request could be made of, or one twice.
    """
    try:
        names = [name.strip() for name in to_cells(decode(line), delimiter)]
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
    "txt": lambda lines, _: read_each(lines, lambda text: ({"prompt": text.strip()}, None)),
    "csv": lambda lines, has_defaults: read_table(lines, ",", has_defaults=has_defaults),
    "tsv": lambda lines, has_defaults: read_table(lines, "\t", has_defaults=has_defaults),
    "jsonl": lambda lines, _: read_each(lines, read_line),
}
