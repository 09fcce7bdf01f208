"""How values are written into columns and read again, and what errors of SQLite mean.

SQLite's text is UTF-8. File names and labels of damaged inputs may hold lone surrogates, which UTF-8 cannot encode;
they are written as bytes and read back unchanged.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, get_args, get_type_hints

import attrs

from burncloud_images.bulk.records import BadRow, Failure, Link, NewRequest, Record, State, StoredImage
from burncloud_images.errors import ImagesError, JobError, StorageError

PRIMARY = 0xFF
"""The bits of an extended result code that say what it is an extension of; https://sqlite.org/rescode.html."""
FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
UNWRITABLE = FULL | {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}
AS_IT_IS = "Restore job.sqlite3 from a copy, or begin in another directory; its images are as they were."


class Damaged(Exception):  # noqa: N818 (becomes a JobError)
    """What the file says cannot be what was written, as one clause."""


def code_of(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code & PRIMARY if code is not None else None


def is_disk_error(error: Exception) -> bool:
    """Say whether the disk is full or fails."""
    return isinstance(error, sqlite3.Error) and code_of(error) in FULL


def translate_error(error: Exception) -> Exception:
    """Return *error* as one that a caller can act on; mistakes of programs stay as they are."""
    if isinstance(error, Damaged):
        return JobError(f"The job's store is damaged: {error}. {AS_IT_IS}")
    if isinstance(error, UnicodeDecodeError):  # also of the words in which SQLite says what is wrong
        return JobError(f"The job's store is damaged: its text is not UTF-8. {AS_IT_IS}")
    if isinstance(error, ImagesError) or not isinstance(error, sqlite3.Error):
        return error
    if code_of(error) in UNWRITABLE:
        return StorageError(f"The job's store cannot be read or written: {error}.")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return error
    return JobError(f"The job's store is damaged: {error}. {AS_IT_IS}")


Text = str | bytes
T = TypeVar("T", StoredImage, Link, Failure)

MOST = 2**62
"""The largest number of a store; SQLite's end at twice as much."""
LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970."""
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
ROW = "key, document, source, line, label, wanted, seal"
"""The columns that `from_row` gives, in its order."""
RECORD = (
    "number, key, document, source, line, label, wanted, seal, state, attempts, reserved, cost, images, links, "
    "failure, request_id, sent_at, ended_at, about"
)
"""The columns that `to_record` takes, in its order."""
PROBLEM = "source, line, label, reason"
"""The columns that `to_problem` takes, in its order."""


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
        raise Damaged("a text in it is not one")
    return value


def decode_number(value: object) -> int:
    """
    Return a number, a sum or an amount.

    Raises:
        Damaged: It is not one.
    """
    if type(value) is not int or not 0 <= value <= MOST:
        raise Damaged("a number in it is not one")
    return value


def decode_moment(value: object) -> float | None:
    """
    Return a time in seconds since 1970, if there is one.

    Raises:
        Damaged: It is not a time, or one that no calendar has.
    """
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value < LAST_MOMENT:
        raise Damaged("a time in it is not one")
    return value


def decode_state(value: object) -> State:
    """
    Return how far a request is.

    Raises:
        Damaged: It is not a state.
    """
    try:
        return State(str(value))
    except ValueError:
        raise Damaged("a state in it is not one") from None


def encode_json(value: object) -> Text:
    return encode_text(ENCODER.encode(value))


def parse(value: Text) -> object:
    """
    Return what a column of JSON says.

    Raises:
        Damaged: It is none.
    """
    try:
        return json.loads(decode_text(value))
    except (ValueError, TypeError, RecursionError):
        raise Damaged("a value in it is not JSON") from None


def from_row(row: NewRequest) -> tuple[Text | int, ...]:
    """Return the columns `ROW` of a request."""
    request = Record(key=row.key, number=0, document=row.document, source=row.source, line=row.line)
    document = encode_json(row.document)
    columns = (row.key, document, encode_text(row.source), row.line, encode_text(row.label), request.wanted)
    return (*columns, checksum(columns))


def check_checksum(number: int, row: tuple[Any, ...]) -> None:
    """
    Refuse the columns `ROW` of a request that is not what was asked for.

    Raises:
        Damaged: It is not.
    """
    if checksum(row[:-1]) != row[-1]:
        raise Damaged(f"what request {number} asks for is not as it was written")


def checksum(columns: tuple[Text | int, ...]) -> int:
    """Return what tells whether a request is still what was asked for."""
    return zlib.crc32(repr(columns).encode())


def encode_images(images: Sequence[StoredImage]) -> Text | None:
    return encode_json([without_none(image) for image in images]) if images else None


def encode_links(links: Sequence[Link]) -> Text | None:
    return encode_json([without_none(link) for link in links]) if links else None


def encode_failure(failure: Failure | None) -> Text | None:
    return encode_json(without_none(failure)) if failure is not None else None


def without_none(value: StoredImage | Link | Failure) -> dict[str, object]:
    fields = ((field.name, getattr(value, field.name)) for field in attrs.fields(type(value)))
    return {
        name: field.isoformat() if isinstance(field, datetime) else field for name, field in fields if field is not None
    }


def decode_images(value: Text | None) -> tuple[StoredImage, ...]:
    (images,) = decode_image_lists([value])
    return images


def decode_image_lists(values: Sequence[Text | None]) -> list[tuple[StoredImage, ...]]:
    """Return the images of many requests, for which JSON is parsed once."""
    try:
        texts = ["[]" if value is None else decode_text(value) for value in values]
    except UnicodeDecodeError:
        raise Damaged("a value in it is not UTF-8") from None
    lists = [to_list(found) for found in to_list(parse(f"[{','.join(texts)}]"))]
    if len(lists) != len(values):
        raise Damaged("a value in it is no list")
    return [tuple([build(StoredImage, fields) for fields in found]) for found in lists]


def decode_links(value: Text | None) -> tuple[Link, ...]:
    return tuple(build(Link, to_link_fields(fields)) for fields in items(value))


def to_link_fields(fields: object) -> object:
    if not isinstance(fields, dict) or "expires_at" not in fields:
        return fields
    try:
        return {**fields, "expires_at": datetime.fromisoformat(fields["expires_at"])}
    except (ValueError, TypeError):
        raise Damaged("a value in it is no date") from None


def items(value: Text | None) -> Sequence[object]:
    return to_list(parse(value)) if value is not None else ()


def to_list(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise Damaged("a value in it is no list")
    return found


def build(kind: type[T], fields: object) -> T:
    try:
        built = kind(**fields)  # type: ignore[arg-type]
    except TypeError:
        raise Damaged(f"a value in it is no {kind.__name__}") from None
    if not all(fits(getattr(built, name), type_) for name, type_ in TYPES[kind]):
        raise Damaged(f"a value in it is no {kind.__name__}")
    return built


def types_of(kind: type) -> tuple[tuple[str, tuple[type, ...]], ...]:
    """Return the fields of a class of values and what they can be."""
    hints = get_type_hints(kind)
    return tuple((name, get_args(hint) or (hint,)) for name, hint in hints.items())


def fits(value: object, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and (type(value) is not int or 0 <= value <= MOST)


TYPES = {kind: types_of(kind) for kind in (StoredImage, Link, Failure)}


def to_mapping(value: Text | None) -> Mapping[str, object]:
    found = parse(value) if value is not None else {}
    if not isinstance(found, dict):
        raise Damaged("a value in it is no object")
    return found


def to_record(row: tuple[Any, ...]) -> Record:
    """
    Return a request from the columns `RECORD`.

    Raises:
        Damaged: It is not as it was written.
    """
    (number, key, document, source, line, label, _, sealed, state, attempts, reserved, cost) = row[:12]
    (images, links, failure, request_id, sent_at, ended_at, about) = row[12:]
    check_checksum(number, (*row[1:7], sealed))
    try:
        return Record(
            key=decode_text(key),
            number=number,
            document=to_mapping(document),
            source=decode_text(source),
            line=line,
            label=decode_text(label),
            state=decode_state(state),
            attempts=decode_number(attempts),
            reserved=decode_number(reserved),
            cost=decode_number(cost) if cost is not None else None,
            images=decode_images(images),
            links=decode_links(links),
            failure=build(Failure, to_mapping(failure)) if failure is not None else None,
            request_id=decode_text(request_id) if request_id is not None else None,
            sent_at=decode_moment(sent_at),
            ended_at=decode_moment(ended_at),
            about=to_mapping(about),
        )
    except (ValueError, AttributeError):
        raise Damaged(f"request {number} is not as it was written") from None


def to_problem(row: tuple[Any, ...]) -> BadRow:
    """Return a problem from the columns `PROBLEM`."""
    source, line, label, reason = row
    return BadRow(
        source=decode_text(source),
        line=decode_number(line),
        label=decode_text(label),
        reason=decode_text(reason),
    )
