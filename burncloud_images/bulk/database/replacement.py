"""
How a request takes the place of another with the same id, as when a row is corrected or an image is made again.

Rule 1: what was spent stays in the sums, and what may have been billed stays as it is.
Rule 2: a request that cost nothing is forgotten; any other keeps its images, and is not shown.
"""

from __future__ import annotations

import sqlite3

import attrs

from burncloud_images.bulk.database import notes
from burncloud_images.bulk.database.codec import REQUEST, checksum, encode_request, encode_text
from burncloud_images.bulk.records import NewRequest, RequestState

FREE = """
SELECT state FROM requests
WHERE key = ? AND state IN ('pending', 'failed') AND doubtful = 0
AND reserved = 0 AND coalesce(cost, 0) = 0 AND committed = 0 AND stored = 0
"""
"""Requests that have cost nothing, and cannot have."""
SETTLE = "UPDATE requests SET state = 'done' WHERE key = ? AND state IN ('pending', 'failed')"
"""What a failed request has cost stays with it; there is nothing left to do for it."""


def set_label(connection: sqlite3.Connection, key: str, label: str) -> None:
    """Give a request an id, or none, and seal it anew."""
    values = list(connection.execute(f"SELECT {', '.join(REQUEST)} FROM requests WHERE key = ?", (key,)).fetchone())  # noqa: S608
    values[REQUEST.index("label")] = encode_text(label)
    seal = checksum(tuple(values[:-1]))
    connection.execute("UPDATE requests SET label = ?, seal = ? WHERE key = ?", (encode_text(label), seal, key))


def retire(connection: sqlite3.Connection, key: str) -> None:
    """Take a request out of the job's results."""
    free = connection.execute(FREE, (key,)).fetchone()
    if free is not None:
        connection.execute("DELETE FROM requests WHERE key = ?", (key,))
        connection.execute("UPDATE sums SET requests = requests - 1 WHERE state = ?", free)
        notes.delete(connection, key)
        return
    set_label(connection, key, "")
    connection.execute(SETTLE, (key,))
    notes.write(connection, key, attrs.evolve(notes.get(connection, key), is_replaced=True))


def find_by_label(connection: sqlite3.Connection, label: str) -> str | None:
    """Return the key of the request with an id."""
    found = connection.execute("SELECT key FROM requests WHERE label = ? AND label <> ''", (encode_text(label),))
    row = found.fetchone()
    return row[0] if row is not None else None


def restore(connection: sqlite3.Connection, row: NewRequest) -> bool:
    """
    Bring a replaced request back for a row that asks for it again, and return whether it was one.

    A request that asks for the same, as of an image that was made again, keeps its place.
    """
    found = notes.get(connection, row.key)
    holder = find_by_label(connection, row.label)
    if not found.is_replaced or holder is None or holder == row.key or is_same(connection, row.key, holder):
        return False
    retire(connection, holder)
    set_label(connection, row.key, row.label)
    notes.write(connection, row.key, attrs.evolve(found, is_replaced=False, columns=row.columns or found.columns))
    return True


def is_same(connection: sqlite3.Connection, one: str, other: str) -> bool:
    sql = "SELECT count(DISTINCT document) FROM requests WHERE key IN (?, ?)"
    return bool(connection.execute(sql, (one, other)).fetchone()[0] == 1)


def put_in_place(connection: sqlite3.Connection, key: str, row: NewRequest, insert: str) -> None:
    """Put a new request in the place of the one with *key*."""
    held = notes.get(connection, key)
    retire(connection, key)
    connection.execute(insert, encode_request(row))
    kept = attrs.evolve(held, columns=row.columns or held.columns, is_replaced=False)
    if kept.columns or kept.other_ids:
        notes.write(connection, row.key, kept)


def is_free(connection: sqlite3.Connection, key: str) -> bool:
    """Say whether nothing of a request is under way or in doubt."""
    (state,) = connection.execute("SELECT state FROM requests WHERE key = ?", (key,)).fetchone()
    return state in {RequestState.PENDING, RequestState.DONE, RequestState.FAILED}
