"""
How requests of a job change: each change as a function of a connection within a transaction.

Rule 1: a change that the request's state does not allow is refused, and changes nothing.
Rule 2: money and images that may have been billed are only let go of by whoever knows that they were not.
`committed` counts the images of a request that are there or may have been bought, over all its attempts: sending adds
those that it asks for, and what came takes their place. What an attempt may have cost is added to the cost when the
request is sent anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import attrs

from burncloud_images.bulk.database.codec import (
    RECORD,
    ROW,
    Text,
    decode_images,
    decode_links,
    encode_images,
    encode_links,
    encode_text,
    from_row,
    to_record,
)
from burncloud_images.bulk.records import Added, BadRow, NewRequest, Record, State, StoredImage

PAID = (State.SENT, State.RECEIVED, State.IN_DOUBT)
"""States of requests that may have been billed and can still bring images."""


def listed(states: Collection[State]) -> str:
    return ", ".join(f"'{state}'" for state in states)


MISSING = "max(wanted - stored, 0)"
"""How many images are not there."""


@attrs.frozen
class Transition:
    """
    A change of one request.

    Attributes:
        verb: What is done to it.
        states: Where it may be.
        columns: What becomes of it, as SQL; the right sides mean the values before.
    """

    verb: str
    states: tuple[State, ...]
    columns: str
    sql: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Write the statement once."""
        sql = f"UPDATE requests SET {self.columns} WHERE key = :key AND state IN ({listed(self.states)})"  # noqa: S608 (our own words)
        object.__setattr__(self, "sql", sql)


REQUEUE = Transition(
    "given back",
    (State.LEASED, State.SENT, State.RECEIVED),
    f"""
    state = CASE state WHEN 'received' THEN state ELSE 'pending' END,
    reserved = CASE state WHEN 'sent' THEN 0 ELSE reserved END,
    committed = committed - CASE state WHEN 'sent' THEN {MISSING} ELSE 0 END,
    failure = coalesce(:failure, failure)
    """,
)
MARK_SENT = Transition(
    "sent",
    (State.LEASED,),
    """
    state = 'sent', reserved = :reserved, committed = committed + wanted, sent_at = :at,
    cost = CASE reserved WHEN 0 THEN cost ELSE coalesce(cost, 0) + reserved END,
    images = NULL, stored = 0, bytes = 0, links = NULL, about = NULL, ended_at = NULL,
    failure = CASE doubtful WHEN 1 THEN failure END, request_id = CASE doubtful WHEN 1 THEN request_id END
    """,
)
MARK_RESENT = Transition(
    "sent again",
    (State.SENT,),
    "cost = coalesce(cost, 0) + reserved, reserved = :reserved, committed = committed + wanted, sent_at = :at",
)
MARK_POLLED = Transition("asked for again", (State.SENT,), "sent_at = :at")
RELEASE = Transition(
    "withdrawn",
    (State.SENT,),
    f"state = 'leased', reserved = 0, committed = committed - {MISSING}",
)
MARK_RECEIVED = Transition(
    "received",
    (State.SENT,),
    "state = 'received', links = :links, about = :about, request_id = :request_id",
)
FINISH = Transition(
    "finished",
    PAID,
    """
    state = 'done', doubtful = 0, images = :images, stored = :stored, bytes = :bytes, links = NULL, failure = NULL,
    committed = committed - wanted + :stored,
    reserved = CASE WHEN :cost IS NULL THEN reserved ELSE 0 END,
    cost = CASE WHEN :cost IS NULL THEN cost ELSE coalesce(cost, 0) + :cost END,
    about = coalesce(:about, about), request_id = coalesce(:request_id, request_id), ended_at = :at
    """,
)
FAIL = Transition(
    "failed",
    (State.LEASED, *PAID, State.DONE),
    f"""
    state = 'failed', doubtful = 0,
    failure = :failure, request_id = coalesce(:request_id, request_id), ended_at = :at,
    reserved = CASE WHEN :may_be_billed OR state = 'leased' THEN reserved ELSE 0 END,
    committed = committed - CASE WHEN :may_be_billed OR state NOT IN ({listed(PAID)}) THEN 0 ELSE {MISSING} END
    """,
)
MARK_IN_DOUBT = Transition(
    "put in doubt",
    (State.SENT,),
    """
    state = 'in_doubt', doubtful = 0,
    failure = :failure, request_id = coalesce(:request_id, request_id), ended_at = :at
    """,
)
MARK_LOST = Transition(
    "bereft of images",
    (State.DONE,),
    "state = 'failed', images = :images, stored = :stored, bytes = :bytes, failure = :failure, ended_at = :at",
)
ADOPT = Transition(
    "adopted",
    (State.PENDING,),
    """
    state = :state, images = :images, stored = :stored, bytes = :bytes, failure = :failure,
    about = :about, ended_at = :at,
    reserved = reserved + :reserved, committed = committed + max(wanted, :stored)
    """,
)
SET_PATHS = Transition("relocated", (State.DONE,), "images = :images")
ADD_IMAGE = Transition(
    "given an image",
    PAID,
    "images = :images, links = :links, stored = :stored, bytes = :bytes",
)

# As ON CONFLICT DO NOTHING, for which SQLite writes a journal for each row, and takes three times as long. A CHECK of a
# number makes it do the same.
INSERT = f"INSERT OR IGNORE INTO requests ({ROW}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
ADD_PROBLEM = """
INSERT INTO bad_rows (source, line, label, reason) VALUES (:source, :line, :label, :reason)
ON CONFLICT (source, line, reason) DO UPDATE SET label = excluded.label
"""
NEXT = f"SELECT {RECORD} FROM requests WHERE state = 'pending' ORDER BY number LIMIT ?"  # noqa: S608
LEASE = """
UPDATE requests SET state = 'leased', attempts = attempts + 1
WHERE number IN (SELECT number FROM requests WHERE state = 'pending' ORDER BY number LIMIT ?)
"""
RESTORE_IN_DOUBT = (
    "UPDATE requests SET state = 'in_doubt', doubtful = 0 WHERE doubtful = 1 AND state IN ('leased', 'pending')"
)
RELEASE_LEASES = "UPDATE requests SET state = 'pending' WHERE state = 'leased'"
# All else stays as it is until the request is sent again: consent that was not used leaves no trace.
RETRY = "UPDATE requests SET state = 'pending', doubtful = (state = 'in_doubt') WHERE state IN (?, ?)"
SET_METADATA = "INSERT INTO memories VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@contextmanager
def all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo what a part of a transaction did, if it fails, and nothing else."""
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has undone everything already
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def add(connection: sqlite3.Connection, rows: Sequence[NewRequest | BadRow]) -> Added:
    """Take rows in."""
    new = known = refused = 0
    with all_or_nothing(connection):
        for row in rows:
            if isinstance(row, BadRow):
                add_problem(connection, row.source, row.line, row.label, row.reason)
            elif insert(connection, row):
                new += 1
            elif is_known(connection, row.key):
                known += 1
            else:
                refused += 1
                add_problem(connection, row.source, row.line, row.label, f"another request has the id {row.label!r}")
    return Added(new=new, known=known, refused=refused)


def insert(connection: sqlite3.Connection, row: NewRequest) -> bool:
    return connection.execute(INSERT, from_row(row)).rowcount == 1


def is_known(connection: sqlite3.Connection, key: str) -> bool:
    return connection.execute("SELECT 1 FROM requests WHERE key = ?", (key,)).fetchone() is not None


def add_problem(connection: sqlite3.Connection, source: str, line: int, label: str, reason: str) -> None:
    texts = {"source": source, "label": label, "reason": reason}
    connection.execute(ADD_PROBLEM, {"line": line, **{name: encode_text(text) for name, text in texts.items()}})


def clear_problems(connection: sqlite3.Connection, source: str) -> None:
    """Let go of what was wrong with an input."""
    connection.execute("DELETE FROM bad_rows WHERE source = ?", (encode_text(source),))


def lease(connection: sqlite3.Connection, most: int) -> tuple[Record, ...]:
    """Hold the next pending requests."""
    records = [to_record(row) for row in connection.execute(NEXT, (most,))]
    connection.execute(LEASE, (most,))
    return tuple(attrs.evolve(record, state=State.LEASED, attempts=record.attempts + 1) for record in records)


def move(connection: sqlite3.Connection, transition: Transition, values: Mapping[str, Text | float | None]) -> None:
    """
    Change one request.

    Args:
        connection: Where.
        transition: How.
        values: The names of its SQL, and `key`.

    Raises:
        RuntimeError: Its state does not allow it.
    """
    if connection.execute(transition.sql, values).rowcount != 1:
        refuse(connection, transition, str(values["key"]))


def refuse(connection: sqlite3.Connection, transition: Transition, key: str) -> NoReturn:
    found = connection.execute("SELECT state FROM requests WHERE key = ?", (key,)).fetchone()
    if found is None:
        raise RuntimeError(f"There is no request {key} that could be {transition.verb}.")
    raise RuntimeError(f"Request {key} is {found[0]}, so it cannot be {transition.verb}.")


def add_image(connection: sqlite3.Connection, key: str, image: StoredImage) -> None:
    """Note an image in place of its link."""
    found = connection.execute("SELECT images, links FROM requests WHERE key = ?", (key,)).fetchone()
    if found is None:
        refuse(connection, ADD_IMAGE, key)
    others = [other for other in decode_images(found[0]) if other.index != image.index]
    images = sorted([*others, image], key=lambda one: one.index)
    links = [link for link in decode_links(found[1]) if link.index != image.index]
    values = {
        "key": key,
        "images": encode_images(images),
        "links": encode_links(links),
        "stored": len(images),
        "bytes": sum(one.size for one in images),
    }
    move(connection, ADD_IMAGE, values)


def release_leases(connection: sqlite3.Connection) -> int:
    """Let whatever is leased wait again; what was in doubt before it was let wait is so again."""
    connection.execute(RESTORE_IN_DOUBT)
    return connection.execute(RELEASE_LEASES).rowcount


def retry(connection: sqlite3.Connection, states: Collection[State]) -> int:
    """
    Let all requests in *states* wait again.

    Raises:
        RuntimeError: They are not at an end.
    """
    refused = set(states) - {State.FAILED, State.IN_DOUBT}
    if refused:
        raise RuntimeError(f"Requests that are {', '.join(sorted(refused))} cannot be reopened.")
    first, *others = states or (None,)
    return connection.execute(RETRY, (first, others[0] if others else first)).rowcount


def set_metadata(connection: sqlite3.Connection, name: str, value: Text) -> None:
    """Keep something about the job."""
    connection.execute(SET_METADATA, (name, value))
