"""The tables of a job's store, and the triggers that keep their sums."""

from __future__ import annotations

from burncloud_images.bulk.records import RequestState

APPLICATION = int.from_bytes(b"BCIJ")
"""Identifies the file as a job's store; https://sqlite.org/fileformat.html §1.3.17."""
FORMAT = 2
"""The version of the tables. A store of a later format is refused; one of an earlier format has to be migrated."""

STATES = ", ".join(f"'{state}'" for state in RequestState)

REQUESTS = f"""
CREATE TABLE requests (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    source TEXT NOT NULL,
    line INTEGER NOT NULL,
    label TEXT NOT NULL,
    seal INTEGER NOT NULL,
    wanted INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ({STATES})),
    attempts INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0,
    cost INTEGER,
    committed INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    images TEXT,
    links TEXT,
    task TEXT,
    failure TEXT,
    about TEXT,
    request_id TEXT,
    sent_at REAL,
    ended_at REAL,
    doubtful INTEGER NOT NULL DEFAULT 0
)"""

EARLIER = """
CREATE TABLE earlier (
    number INTEGER PRIMARY KEY,
    request INTEGER NOT NULL,
    at REAL NOT NULL
)"""

PROBLEMS = """
CREATE TABLE bad_rows (
    number INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    line INTEGER NOT NULL,
    label TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (source, line, reason)
)"""

MEMORIES = "CREATE TABLE memories (name TEXT PRIMARY KEY, value TEXT NOT NULL)"

SUMS = """
CREATE TABLE sums (
    state TEXT PRIMARY KEY,
    requests INTEGER NOT NULL DEFAULT 0,
    images INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    committed INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0
)"""

INDEXES = (
    "CREATE UNIQUE INDEX requests_by_label ON requests (label) WHERE label <> ''",
    "CREATE INDEX requests_by_state ON requests (state)",
    "CREATE INDEX requests_by_time ON requests (sent_at) WHERE sent_at IS NOT NULL",
)

TRIGGERS = (
    """
CREATE TRIGGER request_added AFTER INSERT ON requests BEGIN
    UPDATE sums SET requests = requests + 1 WHERE state = NEW.state;
END""",
    """
CREATE TRIGGER request_changed
AFTER UPDATE OF state, reserved, cost, committed, stored, bytes ON requests BEGIN
    UPDATE sums SET
        requests = requests - 1,
        images = images - OLD.stored,
        bytes = bytes - OLD.bytes,
        committed = committed - OLD.committed,
        cost = cost - coalesce(OLD.cost, 0),
        reserved = reserved - OLD.reserved
    WHERE state = OLD.state;
    UPDATE sums SET
        requests = requests + 1,
        images = images + NEW.stored,
        bytes = bytes + NEW.bytes,
        committed = committed + NEW.committed,
        cost = cost + coalesce(NEW.cost, 0),
        reserved = reserved + NEW.reserved
    WHERE state = NEW.state;
END""",
    # Times of earlier sends, as many as a minute can have.
    """
CREATE TRIGGER request_sent_again
AFTER UPDATE OF sent_at ON requests WHEN OLD.sent_at IS NOT NULL BEGIN
    INSERT INTO earlier (request, at) VALUES (OLD.number, OLD.sent_at);
    DELETE FROM earlier WHERE number <= last_insert_rowid() - 20000;
END""",
)

SCHEMA = tuple(statement.strip() for statement in (REQUESTS, EARLIER, PROBLEMS, MEMORIES, SUMS, *INDEXES, *TRIGGERS))
