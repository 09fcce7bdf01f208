"""
The state transitions of requests, each a function of a connection within a transaction.

Rule 1: a transition that the request's state does not allow is refused, and changes nothing.
Rule 2: only a caller that knows that nothing was billed may release a reservation.

`committed` counts the images of a request that are stored or may have been bought, over all its attempts: sending adds
the images that it asks for, and the images that came replace them. What an attempt may have cost is added to the cost
when the request is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import attrs

from burncloud_images.bulk.database import notes, replacement
from burncloud_images.bulk.database.codec import (
    RECORD_COLUMNS,
    REQUEST_COLUMNS,
    Text,
    decode_images,
    decode_links,
    decode_record,
    decode_text,
    encode_all,
    encode_request,
    encode_text,
)
from burncloud_images.bulk.records import (
    BOUGHT,
    AddedRows,
    BadRow,
    NewRequest,
    RequestRecord,
    RequestState,
    RowNotes,
    StoredImage,
)

PAID = (RequestState.SENT, RequestState.ACCEPTED, RequestState.RECEIVED, RequestState.IN_DOUBT)
"""States of requests that may have been billed and can still get images."""


def listed(states: Collection[RequestState]) -> str:
    return ", ".join(f"'{state}'" for state in states)


MISSING = "max(wanted - stored, 0)"
"""The number of images that are not stored."""


@attrs.frozen
class Transition:
    """
    A change of one request.

    Attributes:
        verb: For messages, as in "cannot be sent".
        states: The states in which it is allowed.
        columns: The new values, as SQL; the right sides mean the values before.
    """

    verb: str
    states: tuple[RequestState, ...]
    columns: str
    sql: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Build the statement once."""
        sql = f"UPDATE requests SET {self.columns} WHERE key = :key AND state IN ({listed(self.states)})"  # noqa: S608 (our own words)
        object.__setattr__(self, "sql", sql)


REQUEUE = Transition(
    "requeued",
    (RequestState.LEASED, RequestState.SENT, RequestState.ACCEPTED, RequestState.RECEIVED),
    f"""
    state = CASE WHEN state IN ('accepted', 'received') THEN state ELSE 'pending' END,
    reserved = CASE state WHEN 'sent' THEN 0 ELSE reserved END,
    committed = committed - CASE state WHEN 'sent' THEN {MISSING} ELSE 0 END,
    failure = coalesce(:failure, failure)
    """,
)
MARK_SENT = Transition(
    "sent",
    (RequestState.LEASED,),
    """
    state = 'sent', reserved = :reserved, committed = committed + wanted, sent_at = :at,
    cost = CASE reserved WHEN 0 THEN cost ELSE coalesce(cost, 0) + reserved END,
    images = NULL, stored = 0, bytes = 0, links = NULL, task = NULL, about = NULL, ended_at = NULL,
    failure = CASE doubtful WHEN 1 THEN failure END, request_id = CASE doubtful WHEN 1 THEN request_id END
    """,
)
MARK_RESENT = Transition(
    "sent again",
    (RequestState.SENT,),
    "cost = coalesce(cost, 0) + reserved, reserved = :reserved, committed = committed + wanted, sent_at = :at",
)
RESERVE = Transition(
    "reserved",
    (*BOUGHT, RequestState.DONE, RequestState.FAILED, RequestState.IN_DOUBT),
    "reserved = CASE WHEN reserved = 0 AND cost IS NULL AND committed > 0 THEN :reserved ELSE reserved END",
)
MARK_POLLED = Transition("polled", (RequestState.SENT,), "sent_at = :at")
RELEASE = Transition(
    "released",
    (RequestState.SENT, RequestState.ACCEPTED),
    f"state = 'leased', task = NULL, reserved = 0, committed = committed - {MISSING}",
)
MARK_ACCEPTED = Transition(
    "accepted",
    (RequestState.SENT,),
    "state = 'accepted', task = :task, request_id = :request_id",
)
MARK_RECEIVED = Transition(
    "received",
    (RequestState.SENT, RequestState.ACCEPTED),
    "state = 'received', links = :links, about = :about, request_id = coalesce(:request_id, request_id)",
)
FINISH = Transition(
    "finished",
    PAID,
    """
    state = 'done', doubtful = 0, images = :images, stored = :stored, bytes = :bytes,
    links = NULL, task = NULL, failure = NULL,
    committed = committed - wanted + :stored,
    reserved = CASE WHEN :cost IS NULL THEN reserved ELSE 0 END,
    cost = CASE WHEN :cost IS NULL THEN cost ELSE coalesce(cost, 0) + :cost END,
    about = coalesce(:about, about), request_id = coalesce(:request_id, request_id), ended_at = :at
    """,
)
FAIL = Transition(
    "failed",
    (RequestState.LEASED, *PAID, RequestState.DONE),
    f"""
    state = 'failed', doubtful = 0,
    failure = :failure, request_id = coalesce(:request_id, request_id), ended_at = :at,
    reserved = CASE WHEN :may_be_billed OR state = 'leased' THEN reserved ELSE 0 END,
    committed = committed - CASE WHEN :may_be_billed OR state NOT IN ({listed(PAID)}) THEN 0 ELSE {MISSING} END
    """,
)
MARK_IN_DOUBT = Transition(
    "marked in doubt",
    (RequestState.SENT, RequestState.ACCEPTED),
    """
    state = 'in_doubt', doubtful = 0,
    failure = :failure, request_id = coalesce(:request_id, request_id), ended_at = :at
    """,
)
MARK_LOST = Transition(
    "marked as missing images",
    (RequestState.DONE,),
    "state = 'failed', images = :images, stored = :stored, bytes = :bytes, failure = :failure, ended_at = :at",
)
ADOPT = Transition(
    "adopted",
    (RequestState.PENDING,),
    """
    state = :state, images = :images, stored = :stored, bytes = :bytes, failure = :failure,
    about = :about, ended_at = :at,
    reserved = reserved + :reserved, committed = committed + max(wanted, :stored)
    """,
)
SET_PATHS = Transition("moved", (RequestState.DONE,), "images = :images")
ADD_IMAGE = Transition(
    "given an image",
    PAID,
    "images = :images, links = :links, stored = :stored, bytes = :bytes",
)

# Like ON CONFLICT DO NOTHING, but three times as fast, as SQLite writes no journal for each row. A CHECK of a number
# would make it as slow.
INSERT = f"INSERT OR IGNORE INTO requests ({REQUEST_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
ADD_BAD_ROW = """
INSERT INTO bad_rows (source, line, label, reason) VALUES (:source, :line, :label, :reason)
ON CONFLICT (source, line, reason) DO UPDATE SET label = excluded.label
"""
NEXT = f"SELECT {RECORD_COLUMNS} FROM requests WHERE state = 'pending' ORDER BY number LIMIT ?"  # noqa: S608
LEASE = """
UPDATE requests SET state = 'leased', attempts = attempts + 1
WHERE number IN (SELECT number FROM requests WHERE state = 'pending' ORDER BY number LIMIT ?)
"""
RESTORE_IN_DOUBT = (
    "UPDATE requests SET state = 'in_doubt', doubtful = 0 WHERE doubtful = 1 AND state IN ('leased', 'pending')"
)
RELEASE_LEASES = "UPDATE requests SET state = 'pending' WHERE state = 'leased'"
# Everything else stays until the request is sent again: consent that is not used leaves no trace.
RETRY = """
UPDATE requests SET state = 'pending', doubtful = (state = 'in_doubt') WHERE state IN (?, ?) AND NOT EXISTS (
    SELECT 1 FROM memories WHERE name = 'row:' || key AND json_extract(value, '$.is_replaced')
)
"""
SET_METADATA = "INSERT INTO memories VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@contextmanager
def all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo a part of a transaction if it fails, and nothing else."""
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # else SQLite rolled it back, as on a full disk
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def add(connection: sqlite3.Connection, rows: Sequence[NewRequest | BadRow], *, replace: bool = False) -> AddedRows:
    """Add requests and bad rows; with *replace*, a row takes the place of another request with its id."""
    total = AddedRows()
    with all_or_nothing(connection):
        for row in rows:
            if isinstance(row, BadRow):
                add_bad_row(connection, row.source, row.line, row.label, row.reason)
            else:
                total = total.plus(add_request(connection, row, replace=replace))
    return total


def add_request(connection: sqlite3.Connection, row: NewRequest, *, replace: bool) -> AddedRows:
    if connection.execute(INSERT, encode_request(row)).rowcount == 1:
        if row.columns:
            notes.write(connection, row.key, RowNotes(columns=row.columns))
        return AddedRows(new=1)
    found = connection.execute("SELECT label FROM requests WHERE key = ?", (row.key,)).fetchone()
    if found is not None:
        if replace and replacement.restore(connection, row):
            return AddedRows(known=1, replaced=1)
        return note_same(connection, row, decode_text(found[0]))
    holder = replacement.find_by_label(connection, row.label)
    if replace and holder is not None and replacement.is_free(connection, holder):
        replacement.put_in_place(connection, holder, row, INSERT)
        return AddedRows(new=1, replaced=1)
    reason = f"another request has the id {row.label!r}" + ("" if not replace else ", and may still be billed")
    add_bad_row(connection, row.source, row.line, row.label, reason)
    return AddedRows(refused=1)


def put_in_place(connection: sqlite3.Connection, key: str, row: NewRequest) -> None:
    """Put a new request in the place of another."""
    with all_or_nothing(connection):
        replacement.put_in_place(connection, key, row, INSERT)


def note_same(connection: sqlite3.Connection, row: NewRequest, label: str) -> AddedRows:
    """Keep the id and the columns of a row that asks for the same as another."""
    held = notes.get(connection, row.key)
    ids, columns = held.other_ids, {**row.columns, **held.columns}
    is_new = bool(row.label) and row.label not in {label, *ids} and not held.is_replaced
    if is_new:
        ids = (*ids, row.label)
    if is_new or columns != held.columns:
        notes.write(connection, row.key, attrs.evolve(held, other_ids=ids, columns=columns))
    return AddedRows(known=1, same=((row.label, label),) if is_new else ())


def add_bad_row(connection: sqlite3.Connection, source: str, line: int, label: str, reason: str) -> None:
    texts = {"source": source, "label": label, "reason": reason}
    connection.execute(ADD_BAD_ROW, {"line": line, **{name: encode_text(text) for name, text in texts.items()}})


def clear_bad_rows(connection: sqlite3.Connection, source: str) -> None:
    """Delete the bad rows of an input."""
    connection.execute("DELETE FROM bad_rows WHERE source = ?", (encode_text(source),))


def lease(connection: sqlite3.Connection, most: int) -> tuple[RequestRecord, ...]:
    """Lease the next pending requests."""
    records = [decode_record(row) for row in connection.execute(NEXT, (most,))]
    connection.execute(LEASE, (most,))
    return tuple(attrs.evolve(record, state=RequestState.LEASED, attempts=record.attempts + 1) for record in records)


def move(connection: sqlite3.Connection, transition: Transition, values: Mapping[str, Text | float | None]) -> None:
    """
    Change one request.

    Raises:
        RuntimeError: The state of the request does not allow the change.
    """
    if connection.execute(transition.sql, values).rowcount != 1:
        refuse(connection, transition, str(values["key"]))


def refuse(connection: sqlite3.Connection, transition: Transition, key: str) -> NoReturn:
    found = connection.execute("SELECT state FROM requests WHERE key = ?", (key,)).fetchone()
    if found is None:
        raise RuntimeError(f"There is no request {key} that could be {transition.verb}.")
    raise RuntimeError(f"Request {key} is {found[0]}, so it cannot be {transition.verb}.")


def add_image(connection: sqlite3.Connection, key: str, image: StoredImage) -> None:
    """Add an image, and delete its link."""
    found = connection.execute("SELECT images, links FROM requests WHERE key = ?", (key,)).fetchone()
    if found is None:
        refuse(connection, ADD_IMAGE, key)
    others = [other for other in decode_images(found[0]) if other.index != image.index]
    images = sorted([*others, image], key=lambda one: one.index)
    links = [link for link in decode_links(found[1]) if link.index != image.index]
    values = {
        "key": key,
        "images": encode_all(images),
        "links": encode_all(links),
        "stored": len(images),
        "bytes": sum(one.size for one in images),
    }
    move(connection, ADD_IMAGE, values)


def release_leases(connection: sqlite3.Connection) -> int:
    """Return leased requests to pending; those that were in doubt before `retry` go back to in doubt."""
    connection.execute(RESTORE_IN_DOUBT)
    return connection.execute(RELEASE_LEASES).rowcount


def retry(connection: sqlite3.Connection, states: Collection[RequestState]) -> int:
    """
    Return all requests in *states* to pending.

    Raises:
        RuntimeError: One of the states is not failed or in doubt.
    """
    refused = set(states) - {RequestState.FAILED, RequestState.IN_DOUBT}
    if refused:
        raise RuntimeError(f"Requests that are {', '.join(sorted(refused))} cannot be retried.")
    first, *others = states or (None,)
    return connection.execute(RETRY, (first, others[0] if others else first)).rowcount


def set_metadata(connection: sqlite3.Connection, name: str, value: Text) -> None:
    """Store a value about the job."""
    connection.execute(SET_METADATA, (name, value))
