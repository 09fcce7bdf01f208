"""
How values are written into columns and read again, and what errors of SQLite mean.

SQLite's text is UTF-8. File names and labels of damaged inputs may hold lone surrogates, which UTF-8 cannot encode;
they are written as bytes and read back unchanged.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar, get_args, get_type_hints

import attrs

from burncloud_images.bulk.records import (
    BadRow,
    NewRequest,
    RequestFailure,
    RequestRecord,
    RequestState,
    StoredImage,
    UnfetchedLink,
)
from burncloud_images.errors import ImagesError, JobError, StorageError
from burncloud_images.results import Task

Text = str | bytes
T = TypeVar("T", StoredImage, UnfetchedLink, RequestFailure, Task)

PRIMARY = 0xFF
"""The bits of an extended result code that hold the primary one; https://sqlite.org/rescode.html."""
FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
UNWRITABLE = FULL | {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}
ADVICE = "Restore job.sqlite3 from a copy, or begin in another directory; its images are as they were."
MAX_NUMBER = 2**62
"""The largest number in a store; SQLite's limit is twice as large."""
LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970."""
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class DamagedStore(Exception):  # noqa: N818 (becomes a JobError)
    """The file cannot contain what was written; the message is one clause."""


# --- errors ----------------------------------------------------------------------------------------------------------


def code_of(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code & PRIMARY if code is not None else None


def is_disk_error(error: Exception) -> bool:
    """Return whether the disk is full or fails."""
    return isinstance(error, sqlite3.Error) and code_of(error) in FULL


def translate_error(error: Exception) -> Exception:
    """Return the error to raise for *error*; mistakes of programs stay as they are."""
    if isinstance(error, DamagedStore):
        return JobError(f"The job's store is damaged: {error}. {ADVICE}")
    if isinstance(error, UnicodeDecodeError):  # also raised for SQLite's own message
        return JobError(f"The job's store is damaged: its text is not UTF-8. {ADVICE}")
    if isinstance(error, ImagesError) or not isinstance(error, sqlite3.Error):
        return error
    if code_of(error) in UNWRITABLE:
        return StorageError(f"The job's store cannot be read or written: {error}.")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return error
    return JobError(f"The job's store is damaged: {error}. {ADVICE}")


# --- values; everything that decodes raises DamagedStore -------------------------------------------------------------


def encode_text(text: str) -> Text:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def decode_text(value: Text) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="surrogatepass")
    if not isinstance(value, str):
        raise DamagedStore("a text in it is not one")
    return value


def decode_number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise DamagedStore("a number in it is not one")
    return value


def decode_moment(value: object) -> float:
    """Return a time in seconds since 1970."""
    if not isinstance(value, int | float) or not 0 <= value < LAST_MOMENT:
        raise DamagedStore("a time in it is not one")
    return value


def decode_state(value: object) -> RequestState:
    try:
        return RequestState(str(value))
    except ValueError:
        raise DamagedStore("a state in it is not one") from None


def encode_json(value: object) -> Text:
    return encode_text(ENCODER.encode(value))


def decode_json(value: Text) -> object:
    try:
        return json.loads(decode_text(value))
    except (ValueError, TypeError, RecursionError):
        raise DamagedStore("a value in it is not JSON") from None


def decode_mapping(value: Text) -> Mapping[str, object]:
    found = decode_json(value)
    if not isinstance(found, dict):
        raise DamagedStore("a value in it is not an object")
    return found


def decode_list(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise DamagedStore("a value in it is not a list")
    return found


# --- images, links and failures --------------------------------------------------------------------------------------


def encode_all(values: Sequence[StoredImage] | Sequence[UnfetchedLink]) -> Text | None:
    return encode_json([without_none(value) for value in values]) if values else None


def encode_task(task: Task) -> Text:
    """Return a task as it is kept; the idempotency key is the request's."""
    return encode_json({"id": task.id, "url": task.url})


def decode_task(value: Text) -> Task:
    return build(Task, decode_mapping(value))


def encode_failure(failure: RequestFailure | None) -> Text | None:
    return encode_json(without_none(failure)) if failure is not None else None


def without_none(value: StoredImage | UnfetchedLink | RequestFailure) -> dict[str, object]:
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {
        name: field.isoformat() if isinstance(field, datetime) else field
        for name, field in fields.items()
        if field is not None
    }


def decode_images(value: Text | None) -> tuple[StoredImage, ...]:
    (images,) = decode_image_lists([value])
    return images


def decode_image_lists(values: Sequence[Text | None]) -> list[tuple[StoredImage, ...]]:
    """Return the images of many requests, for which JSON is parsed once."""
    try:
        texts = ["[]" if value is None else decode_text(value) for value in values]
    except UnicodeDecodeError:
        raise DamagedStore("a value in it is not UTF-8") from None
    lists = decode_list(decode_json(f"[{','.join(texts)}]"))
    if len(lists) != len(values):
        raise DamagedStore("a value in it is not a list")
    return [tuple([build(StoredImage, fields) for fields in decode_list(found)]) for found in lists]


def decode_links(value: Text | None) -> tuple[UnfetchedLink, ...]:
    found = decode_list(decode_json(value)) if value is not None else []
    return tuple([build(UnfetchedLink, fields) for fields in found])


def decode_failure(value: Text) -> RequestFailure:
    return build(RequestFailure, decode_mapping(value))


def build(kind: type[T], fields: object) -> T:
    """Return a value of *kind* from the fields of a JSON object, whose types are checked."""
    types = TYPES[kind]
    if isinstance(fields, dict):
        with suppress(KeyError, TypeError, ValueError):
            values: dict[str, Any] = {
                name: decode_date(value) if datetime in types[name] else value for name, value in fields.items()
            }
            if all(fits(value, types[name]) for name, value in values.items()):
                return kind(**values)
    raise DamagedStore(f"a value in it is not a valid {kind.__name__}")


def decode_date(value: object) -> datetime | None:
    return datetime.fromisoformat(str(value)) if value is not None else None


def fits(value: object, types: tuple[type, ...]) -> bool:
    return type(value) in types and (type(value) is not int or 0 <= value <= MAX_NUMBER)


TYPES = {
    kind: {name: get_args(hint) or (hint,) for name, hint in get_type_hints(kind).items()}
    for kind in (StoredImage, UnfetchedLink, RequestFailure, Task)
}
"""The types that each field of a class can have."""


# --- rows ------------------------------------------------------------------------------------------------------------


def optional(decode: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: decode(value) if value is not None else None


REQUEST = ("key", "document", "source", "line", "label", "wanted", "seal")
"""The columns of a new request; the last one is the checksum of the others."""
REQUEST_COLUMNS = ", ".join(REQUEST)
DECODERS: Mapping[str, Callable[[Any], object]] = {
    "number": decode_number,
    "key": decode_text,
    "document": decode_mapping,
    "source": decode_text,
    "line": decode_number,
    "label": decode_text,
    "state": decode_state,
    "attempts": decode_number,
    "reserved": decode_number,
    "cost": optional(decode_number),
    "images": decode_images,
    "links": decode_links,
    "task": optional(decode_task),
    "failure": optional(decode_failure),
    "request_id": optional(decode_text),
    "sent_at": optional(decode_moment),
    "ended_at": optional(decode_moment),
    "about": lambda value: decode_mapping(value) if value is not None else {},
}
"""The fields of a `RequestRecord` and how each is decoded from the column of its name."""
RECORD = (*DECODERS, "wanted", "seal")
RECORD_COLUMNS = ", ".join(RECORD)
BAD_ROW_COLUMNS = "source, line, label, reason"


def encode_request(request: NewRequest) -> tuple[Text | int, ...]:
    """Return the values of `REQUEST`."""
    record = RequestRecord(
        key=request.key, number=0, document=request.document, source=request.source, line=request.line
    )
    document = encode_json(request.document)
    label = encode_text(request.label)
    columns = (request.key, document, encode_text(request.source), request.line, label, record.wanted)
    return (*columns, checksum(columns))


def decode_record(row: Sequence[Any]) -> RequestRecord:
    """Return a request from the values of `RECORD`."""
    columns: dict[str, Any] = dict(zip(RECORD, row, strict=True))
    check_checksum(columns["number"], [columns[name] for name in REQUEST])
    try:
        return RequestRecord(**{name: decode(columns[name]) for name, decode in DECODERS.items()})  # type: ignore[arg-type]
    except (ValueError, AttributeError):
        raise DamagedStore(f"request {columns['number']} is not as it was written") from None


def check_checksum(number: int, row: Sequence[Any]) -> None:
    """Check that the values of `REQUEST` are as they were written."""
    if checksum(tuple(row[:-1])) != row[-1]:
        raise DamagedStore(f"what request {number} asks for is not as it was written")


def checksum(columns: tuple[Text | int, ...]) -> int:
    return zlib.crc32(repr(columns).encode())


def decode_bad_row(row: Sequence[Any]) -> BadRow:
    """Return a bad row from `BAD_ROW_COLUMNS`."""
    source, line, label, reason = row
    return BadRow(
        source=decode_text(source), line=decode_number(line), label=decode_text(label), reason=decode_text(reason)
    )
