"""Queries of a job's store, each a function of a connection."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from burncloud_images.bulk.database import notes
from burncloud_images.bulk.database.codec import (
    BAD_ROW_COLUMNS,
    RECORD_COLUMNS,
    DamagedStore,
    decode_bad_row,
    decode_image_lists,
    decode_json,
    decode_mapping,
    decode_moment,
    decode_number,
    decode_record,
    decode_state,
    encode_text,
)
from burncloud_images.bulk.records import BadRow, JobTotals, RequestRecord, RequestState, StoredImage

PART_OF_KEY = re.compile("[0-9a-f]{6,32}")
PAGE = 100
"""Requests that are read at once; a prompt may have tens of thousands of characters."""

SUMS = "SELECT state, requests, images, bytes, committed, cost, reserved FROM sums"
RECENT = """
SELECT sent_at, document FROM requests WHERE sent_at >= :since
UNION ALL
SELECT at, document FROM earlier JOIN requests ON requests.number = earlier.request WHERE at >= :since
ORDER BY 1
"""
MODELS = """
SELECT DISTINCT json_extract(document, '$.model') FROM requests WHERE state = 'pending' AND typeof(document) = 'text'
"""
IMAGES = "SELECT number, key, images FROM requests WHERE number > ? AND +state = 'done' ORDER BY number LIMIT ?"
IMAGE_PAGE = 1000
"""Requests whose images are read at once; these have no prompts."""


def get(connection: sqlite3.Connection, key: str) -> RequestRecord | None:
    """Return the request with this key."""
    row = connection.execute(f"SELECT {RECORD_COLUMNS} FROM requests WHERE key = ?", (key,)).fetchone()  # noqa: S608 (our own words)
    return notes.add_notes(connection, [decode_record(row)])[0] if row is not None else None


def find(connection: sqlite3.Connection, name: str) -> list[RequestRecord]:
    """Return the requests that a user may mean by an id, a key, or the beginning of one."""
    row = connection.execute(
        "SELECT key FROM requests WHERE label = ? AND label <> ''", (encode_text(name),)
    ).fetchone()
    if row is None:
        rows = connection.execute("SELECT key FROM requests WHERE key GLOB ? LIMIT 2", (f"{name}*",)).fetchall()
        keys = [key for (key,) in rows] if PART_OF_KEY.fullmatch(name) else notes.find_by_id(connection, name)
    else:
        keys = [row[0]]
    return [record for key in keys if (record := get(connection, key)) is not None]


def read_records(
    connection: sqlite3.Connection, states: Collection[RequestState] | None, after: int
) -> list[RequestRecord]:
    """Return some requests in *states* that follow the one with the number *after*."""
    condition, parameters = "", [after, PAGE]
    if states is not None:
        # One state is read by its index; several would have to be sorted for every page, so they are not.
        column = "state" if len(states) == 1 else "+state"
        condition = f"AND {column} IN ({', '.join(repr(str(state)) for state in states)})"
    sql = f"SELECT {RECORD_COLUMNS} FROM requests WHERE number > ? {condition} ORDER BY number LIMIT ?"  # noqa: S608
    return notes.add_notes(connection, [decode_record(row) for row in connection.execute(sql, parameters)])


def read_short(connection: sqlite3.Connection, after: int) -> list[RequestRecord]:
    """Return some requests that are done with fewer images than they ask for, and follow the one numbered *after*."""
    condition = "state = 'done' AND stored < wanted"
    sql = f"SELECT {RECORD_COLUMNS} FROM requests WHERE number > ? AND {condition} ORDER BY number LIMIT ?"  # noqa: S608
    return notes.add_notes(connection, [decode_record(row) for row in connection.execute(sql, (after, PAGE))])


def read_unsent(connection: sqlite3.Connection, keys: Collection[str]) -> list[RequestRecord]:
    """
    Return those of the requests with these keys that are pending and were never bought.

    A request that had ended and is retried is not among them: it may have files of an earlier purchase.
    """
    marks = ", ".join("?" * len(keys))
    condition = "+state = 'pending' AND ended_at IS NULL"
    sql = f"SELECT {RECORD_COLUMNS} FROM requests WHERE key IN ({marks}) AND {condition} ORDER BY number"  # noqa: S608
    return [decode_record(row) for row in connection.execute(sql, tuple(keys))]


def read_images(connection: sqlite3.Connection, after: int) -> list[tuple[int, str, tuple[StoredImage, ...]]]:
    """Return the numbers, keys and images of some done requests that follow the one with the number *after*."""
    rows = connection.execute(IMAGES, (after, IMAGE_PAGE)).fetchall()
    replaced = {key for key, found in notes.read(connection, [key for _, key, _ in rows]).items() if found.is_replaced}
    # Those of replaced requests may be removed; an empty page would be the end.
    rows = [(number, key, None if key in replaced else images) for number, key, images in rows]
    lists = decode_image_lists([images for _, _, images in rows])
    return [(number, key, images) for (number, key, _), images in zip(rows, lists, strict=True)]


def read_bad_rows(connection: sqlite3.Connection, after: int) -> list[tuple[int, BadRow]]:
    """Return some bad rows that follow the one with the number *after*, and their numbers."""
    sql = f"SELECT number, {BAD_ROW_COLUMNS} FROM bad_rows WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608
    return [(row[0], decode_bad_row(row[1:])) for row in connection.execute(sql, (after, PAGE))]


def has_bad_rows(connection: sqlite3.Connection, source: str) -> bool:
    """Return whether an input has bad rows."""
    found = connection.execute("SELECT 1 FROM bad_rows WHERE source = ? LIMIT 1", (encode_text(source),))
    return found.fetchone() is not None


def read_totals(connection: sqlite3.Connection) -> JobTotals:
    """Return the sums, which every change updates."""
    rows: list[tuple[Any, ...]] = connection.execute(SUMS).fetchall()
    counts: Mapping[RequestState, int] = {decode_state(row[0]): decode_number(row[1]) for row in rows}
    if len(counts) != len(RequestState):
        raise DamagedStore("its sums are not complete")
    images, size, committed, cost, reserved = (
        sum(decode_number(row[column]) for row in rows) for column in range(2, 7)
    )
    (bad_rows,) = connection.execute("SELECT count(*) FROM bad_rows").fetchone()
    return JobTotals(
        counts=counts,
        bad_rows=bad_rows,
        images=images,
        bytes=size,
        committed=committed,
        cost=cost,
        reserved=reserved,
    )


def read_models(connection: sqlite3.Connection) -> list[str | None]:
    """Return the models of the requests that wait; None stands for those that name none."""
    return [model if isinstance(model, str) else None for (model,) in connection.execute(MODELS)]


def read_recent(connection: sqlite3.Connection, since: float) -> Sequence[tuple[float, Mapping[str, object]]]:
    """Return the time of each attempt since *since*, with the request's document."""
    return [
        (decode_moment(at), decode_mapping(document)) for at, document in connection.execute(RECENT, {"since": since})
    ]


def get_metadata(connection: sqlite3.Connection, name: str) -> object | None:
    """Return the value stored under *name*."""
    found = connection.execute("SELECT value FROM memories WHERE name = ?", (name,)).fetchone()
    return decode_json(found[0]) if found is not None else None
