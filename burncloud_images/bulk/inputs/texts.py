"""Inputs that are text: prompts, tables, and JSON lines; each record becomes an entry."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from burncloud_images.bulk.inputs.batches import unwrap
from burncloud_images.bulk.inputs.columns import COLUMNS, Parsed, load_json, nearest, to_value, to_values
from burncloud_images.bulk.inputs.entries import Entries, Entry, Unusable, clip
from burncloud_images.bulk.inputs.records import MOST_BYTES, Record, RecordSplitter

Reader: TypeAlias = Callable[[Iterable[bytes], bool], Entries]
"""
Takes the bytes of an input, of which an empty chunk says that the next may take a while, and whether rows may lack a
prompt and an image, because all get one. It raises `Unusable` for what cannot be read at all.
"""

SPACE = b" \t\r\n\v\f"
MOST_MIB = MOST_BYTES // (1024 * 1024)


def read_prompts(chunks: Iterable[bytes]) -> Entries:
    """Yield a prompt a line."""
    return read_each(chunks, lambda text: ({"prompt": text.strip()}, None))


def read_json_lines(chunks: Iterable[bytes]) -> Entries:
    """Yield an object a line: fields by their names, or as OpenAI's batches hold them."""
    return read_each(chunks, read_line)


def read_line(text: str) -> Parsed:
    value = load_json(text)
    if not isinstance(value, dict):
        raise Unusable("it is JSON, but no object")
    try:
        return unwrap(value), None
    except Unusable as problem:
        return {"custom_id": value.get("custom_id")}, str(problem)


def read_each(chunks: Iterable[bytes], parse: Callable[[str], Parsed]) -> Entries:
    """Yield what *parse* makes of each line that is not blank."""
    for record in split(chunks, b""):
        yield record if record is None else read_record(record, parse)


def read_table(chunks: Iterable[bytes], delimiter: str, *, has_defaults: bool) -> Entries:
    """Yield the rows of a table whose first names the columns."""
    header: Sequence[str] | None = None
    for record in split(chunks, delimiter.encode("ascii")):
        if record is None:
            yield None
        elif header is None:
            header = to_header(record, delimiter, has_defaults=has_defaults)
        else:
            yield read_record(record, cells_reader(header, delimiter))


def split(chunks: Iterable[bytes], delimiter: bytes) -> Iterator[Record | None]:
    """Yield the records that are not blank, and None where the next may take a while."""
    splitter = RecordSplitter(delimiter)
    for chunk in chunks:
        if chunk:
            yield from (record for record in splitter.feed(chunk) if not is_blank(record, delimiter))
        else:
            yield None
    yield from (record for record in splitter.close() if not is_blank(record, delimiter))


def is_blank(record: Record, delimiter: bytes) -> bool:
    return record.data is not None and not record.data.strip(SPACE + delimiter)


def read_record(record: Record, parse: Callable[[str], Parsed]) -> Entry:
    size = MOST_BYTES if record.data is None else len(record.data)
    try:
        values, problem = parse(decode(record))
        return Entry(line=record.line, size=size, values=values, problem=problem)
    except Unusable as problem:
        return Entry(line=record.line, size=size, problem=str(problem))


def decode(record: Record) -> str:
    if not record.closed:
        raise Unusable("a quote is opened in it and never closed, so that all of the rest belongs to it")
    if record.data is None:
        raise Unusable(f"it is longer than {MOST_MIB} MiB")
    if b"\0" in record.data:
        raise Unusable("it holds a NUL byte")
    try:
        return record.data.decode()
    except UnicodeDecodeError:
        raise Unusable("it is no UTF-8 text") from None


# --- tables ----------------------------------------------------------------------------------------------------------


def to_cells(text: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise Unusable(f"it is no row of a table: {error}") from None
    return cells


def to_header(record: Record, delimiter: str, *, has_defaults: bool) -> Sequence[str]:
    """
    Return the names of the columns.

    Raises:
        Unusable: The first row names none that a request could be made of, or one twice.
    """
    try:
        names = [name.strip() for name in to_cells(decode(record), delimiter)]
    except Unusable as problem:
        raise Unusable(f"the first row has to name the columns, but {problem}") from None
    known = [name for name in names if name in COLUMNS]
    if len(set(known)) < len(known):
        raise Unusable(f"the first row names {next(name for name in known if known.count(name) > 1)} twice")
    if not {"prompt", "image"} & set(known) and not has_defaults:
        slips = [f"{clip(name, 40)!r} may be {slip!r}" for name in names if (slip := nearest(name))]
        advice = f"; {', '.join(slips[:3])}" if slips else ""
        raise Unusable(f"the first row has to name the columns, and neither prompt nor image is among them{advice}")
    return names


def cells_reader(header: Sequence[str], delimiter: str) -> Callable[[str], Parsed]:
    def read(text: str) -> Parsed:
        cells = to_cells(text, delimiter)
        if len(cells) != len(header):
            raise Unusable(f"it has {len(cells):,} cells, and the first row has {len(header):,}")
        return to_values(zip(header, cells, strict=True), to_value)

    return read


READERS: Mapping[str, Reader] = {
    "txt": lambda chunks, _: read_prompts(chunks),
    "csv": lambda chunks, has_defaults: read_table(chunks, ",", has_defaults=has_defaults),
    "tsv": lambda chunks, has_defaults: read_table(chunks, "\t", has_defaults=has_defaults),
    "jsonl": lambda chunks, _: read_json_lines(chunks),
}
