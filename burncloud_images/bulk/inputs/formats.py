"""
Text inputs: prompts, tables, JSON, and OpenAI's batch files; and which of these an input is that does not say.

A line or row longer than 1 MiB is skipped in constant memory and reported.

Source: OpenAI's API reference, "The request input object" of batches, whose JSON form of edits names images by
`{"image_url"}` or `{"file_id"}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from burncloud_images.bulk.inputs.columns import TYPES, ColumnNames, ParsedCells, ParsedRows, UnusableRow, load_json
from burncloud_images.bulk.inputs.encodings import DecodedText
from burncloud_images.bulk.inputs.json_values import SCANNER, JSONText, json_values
from burncloud_images.bulk.inputs.sources import RawLine
from burncloud_images.bulk.inputs.tables import TableOptions, detect_table, is_blank, parse_line, read_table, take_head
from burncloud_images.bulk.request_json import REQUESTS

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


def read_prompts(lines: Iterable[RawLine]) -> ParsedRows:
    """Yield a prompt a line."""
    return read_each(lines, lambda line: ({"prompt": line.strip()}, None))


def read_json_lines(lines: Iterable[RawLine], names: ColumnNames) -> ParsedRows:
    """Yield an object a line: fields by their names, or as OpenAI's batches hold them."""
    return read_each(lines, lambda line: to_columns(load_json(line), names))


def read_json_values(values: Iterable[JSONText], names: ColumnNames) -> ParsedRows:
    """Yield the objects of arrays, and those that follow one another; text is a prompt."""

    def read(text: str) -> ParsedCells:
        value = load_json(text)
        return ({"prompt": value}, None) if isinstance(value, str) else to_columns(value, names)

    return (parse_line(RawLine(value.line, value.text.encode()), read) for value in values)


def to_columns(value: object, names: ColumnNames) -> ParsedCells:
    if not isinstance(value, dict):
        raise UnusableRow("it is JSON, but not an object")
    try:
        return rename(unwrap(value), names), None
    except UnusableRow as problem:
        return {"custom_id": value.get("custom_id")}, str(problem)


def rename(value: Mapping[str, object], names: ColumnNames) -> dict[str, object]:
    """
    Return what a row gives, by column.

    Raises:
        UnusableRow: It gives a column twice.
    """
    found: dict[str, object] = {}
    for name, item in value.items():
        column = names.to_column(name)
        if found.get(column) is not None:
            raise UnusableRow(f"{column}: it is given twice, under two names")
        is_whole = TYPES.get(column) is int and column != "repeat" and isinstance(item, float) and item.is_integer()
        found[column] = int(str(item).partition(".")[0]) if is_whole else item  # where others are missing
    return found


def read_each(lines: Iterable[RawLine], parse: Callable[[str], ParsedCells]) -> ParsedRows:
    """Yield what *parse* makes of each line that is not blank."""
    return (parse_line(line, parse) for line in lines if not is_blank(line))


# --- which format it is ----------------------------------------------------------------------------------------------

USUAL: Mapping[str, str] = {"csv": ",", "tsv": "\t"}
JSON_ARRAY = re.compile(rb'\s*\[\s*(?:[{"\]]|$)')
"""How an array of rows begins, and few prompts do."""
JSON_OBJECT = re.compile(rb'\s*\{\s*(?:"|$)')


def read_text(text: DecodedText, name: str | None, options: TableOptions) -> ParsedRows:
    """
    Yield the rows of text.

    Args:
        text: The text.
        name: Its format; None for that which it looks like.
        options: How tables are read.

    Raises:
        UnusableRow: It cannot be read at all.
    """
    found = name or detect_format(text, options.names)
    if found == "json" or (found == "jsonl" and holds_values(text)):
        for _ in json_values(text.open()):  # all of it is looked at before the first row is bought
            pass
        yield from read_json_values(json_values(text.open()), options.names)
    elif found == "jsonl":
        yield from read_json_lines(text.lines(), options.names)
    elif found in USUAL:
        yield from read_table(text.lines(), USUAL[found], options)
    else:
        yield from read_prompts(text.lines())


def detect_format(text: DecodedText, names: ColumnNames) -> str:
    """
    Return the format of text that nothing tells: prompts, unless it looks like a table or JSON.

    Raises:
        UnusableRow: It looks like a table, and what its prompts are is not certain.
    """
    head, _ = take_head(text.lines())
    start = (head[0].start if head[0].data is None else head[0].data) if head else b""
    if JSON_ARRAY.match(start):
        return "json"
    if JSON_OBJECT.match(start):
        check_object(start, names)
        return "jsonl"
    return "csv" if detect_table(head, names) else "txt"


def check_object(line: bytes, names: ColumnNames) -> None:
    """
    Refuse JSON that may be rows or prompts.

    Raises:
        UnusableRow: It is an object that has no column of rows.
    """
    value = SCANNER.decode(line.decode()) if is_json(line) else None
    if isinstance(value, dict) and not {"prompt", "image", "body"} & {names.find(name) or name for name in value}:
        shown = ColumnNames.quote(list(value))
        raise UnusableRow(
            f"its first line is an object of {shown}, and none of these is a prompt or an image; "
            "add --input-format jsonl and --column prompt=NAME, or --input-format txt if each line is a prompt"
        )


def holds_values(text: DecodedText) -> bool:
    """Say whether JSON is an array, or values that take several lines, or share one."""
    first = next((line for line in text.lines() if not is_blank(line)), None)
    start = (first.start if first.data is None else first.data).lstrip() if first is not None else b""
    if first is None or start.startswith(b"["):
        return bool(start)
    if first.data is None or is_json(first.data):
        return False
    try:
        for _ in json_values(text.open()):
            pass
    except UnusableRow:
        return False
    return True


def is_json(data: bytes) -> bool:
    try:
        SCANNER.decode(data.decode())
    except (ValueError, RecursionError):
        return False
    return True
