"""
What a job knows of requests beside their state: the user's own columns, ids of equal rows, and which are replaced.

Most requests have none of it, so it lies among the job's values and not in the table of requests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import attrs

from burncloud_images.bulk.database.codec import DamagedStore, decode_mapping, encode_json
from burncloud_images.bulk.records import RequestRecord, RowNotes

PREFIX = "row:"
"""Of the name of a value; the key of the request follows."""
ANY = "SELECT 1 FROM memories WHERE name >= 'row:' AND name < 'row;' LIMIT 1"
WITH_ID = """
SELECT name FROM memories, json_each(memories.value, '$.other_ids') AS other WHERE name GLOB 'row:*' AND other.value = ?
"""
SET = "INSERT INTO memories VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


def read(connection: sqlite3.Connection, keys: Sequence[str]) -> Mapping[str, RowNotes]:
    """Return the notes of those of the requests that have some."""
    if not keys or connection.execute(ANY).fetchone() is None:
        return {}
    marks = ", ".join("?" * len(keys))
    sql = f"SELECT name, value FROM memories WHERE name IN ({marks})"  # noqa: S608 (our own words)
    rows = connection.execute(sql, [PREFIX + key for key in keys])
    return {name.removeprefix(PREFIX): decode(value) for name, value in rows}


def get(connection: sqlite3.Connection, key: str) -> RowNotes:
    """Return the notes of a request."""
    return read(connection, [key]).get(key, RowNotes())


def write(connection: sqlite3.Connection, key: str, notes: RowNotes) -> None:
    """Store the notes of a request."""
    given = {
        "columns": dict(notes.columns),
        "other_ids": list(notes.other_ids),
        "is_replaced": notes.is_replaced,
    }
    connection.execute("DELETE FROM memories WHERE name = 'written'")  # the outputs do not show it yet
    connection.execute(SET, (PREFIX + key, encode_json({name: value for name, value in given.items() if value})))


def delete(connection: sqlite3.Connection, key: str) -> None:
    """Forget the notes of a request."""
    connection.execute("DELETE FROM memories WHERE name = ?", (PREFIX + key,))


def find_by_id(connection: sqlite3.Connection, other_id: str) -> list[str]:
    """Return the keys of requests that have this id besides their own."""
    return [name.removeprefix(PREFIX) for (name,) in connection.execute(WITH_ID, (other_id,))]


def decode(value: str | bytes) -> RowNotes:
    found = decode_mapping(value)
    columns, ids = found.get("columns", {}), found.get("other_ids", [])
    if not isinstance(columns, dict) or not isinstance(ids, list):
        raise DamagedStore("a value in it is not a note on a row")
    return RowNotes(columns=columns, other_ids=tuple(map(str, ids)), is_replaced=bool(found.get("is_replaced")))


def add_notes(connection: sqlite3.Connection, records: Sequence[RequestRecord]) -> list[RequestRecord]:
    """Return *records* with their notes."""
    found = read(connection, [record.key for record in records])
    return [attrs.evolve(record, notes=found[record.key]) if record.key in found else record for record in records]
