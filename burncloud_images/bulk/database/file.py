"""
A job's store as a file: made whole or not at all, and refused unless it is one and whole.

An empty or missing store is never replaced silently: the directory may hold what was paid for, and a new store would
buy it again.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from burncloud_images.bulk.database.schema import APPLICATION, FORMAT, SCHEMA
from burncloud_images.bulk.database.troubles import Damaged
from burncloud_images.bulk.records import State
from burncloud_images.errors import JobError, StorageError
from burncloud_images.transport.files import place
from burncloud_images.transport.writers import sync_folder

__all__ = ["connect", "connect_for_reading"]

MAGIC = b"SQLite format 3\x00"
HEAD = 100
"""Bytes of the file's head; https://sqlite.org/fileformat.html §1.3."""
PATIENCE = 5.0
"""Seconds to wait for another program that looks at the store."""
PRAGMAS = (
    "PRAGMA synchronous = FULL",  # a commit returns once it is on the disk
    "PRAGMA secure_delete = ON",  # addresses are overwritten, not only forgotten
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",  # KiB
)


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the store at *path* for writing; it is made if it is not there.

    Raises:
        JobError: It is no store, damaged, or of a later format.
        StorageError: It cannot be made, read or written.
    """
    try:
        if not path.exists():
            make(path)
        check_head(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror or error}.") from None
    connection = open_file(path, "rw")
    try:
        set_up(connection, path)
        check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """
    Open the store at *path* for reading, while another process may write.

    Raises:
        JobError: There is none, or it is damaged or of a later format.
        StorageError: It cannot be read.
    """
    try:
        check_head(path)
    except FileNotFoundError:
        raise JobError(f"There is no job: {path} does not exist.") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror or error}.") from None
    connection = open_file(path, "ro")
    try:
        check_format(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def set_up(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JobError(f"{path} is on a file system without shared memory; put the job on a local one.")
    for pragma in PRAGMAS:
        connection.execute(pragma)


def open_file(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None)


def make(path: Path) -> None:
    """Make an empty store, under another name until it is whole."""
    for suffix in ("-wal", "-journal"):
        rest = path.with_name(path.name + suffix)
        if rest.exists():
            raise JobError(f"{rest} is there without {path.name}, which was removed; put it back.")
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with closing(open_file(part, "rw")) as connection:
            connection.execute("BEGIN")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.executemany("INSERT INTO sums (state) VALUES (?)", [(state,) for state in State])
            connection.execute("COMMIT")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    place(part, path, overwrite=False)
    sync_folder(path.parent)


def check_head(path: Path) -> None:
    """Refuse what is no store, without touching it."""
    if path.is_dir():
        raise JobError(f"{path} is a directory, where a job has its store; move it away, or use another directory.")
    with path.open("rb") as handle:
        head = handle.read(HEAD)
    if not head:
        raise Damaged(f"{path} is empty")
    if len(head) < HEAD or not head.startswith(MAGIC):
        raise JobError(f"{path} is no store of a job; move it away, or use another directory.")
    (application,) = struct.unpack_from(">I", head, 68)
    if application != APPLICATION:
        raise JobError(f"{path} belongs to another program; move it away, or use another directory.")


def check_format(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise JobError(
            f"The job's store has format {version}, and this version of burncloud-images knows formats up to {FORMAT}; "
            "use a later version."
        )
    if version < 1:
        raise Damaged(f"it says that it has format {version}")


def check(connection: sqlite3.Connection) -> None:
    """Refuse a store that is not as it was written."""
    check_format(connection)
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise Damaged(found)
