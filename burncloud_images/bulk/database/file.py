"""
A job's store as a file: created whole or not at all, and refused if it is damaged or not a store.

An empty or damaged store is never replaced: its directory may contain images that were paid for, and a new store would
buy them again. SQLite's integrity check (3 s for a million requests) does not find everything, so there are two more:
the sums that every change updates have to be those of the requests, and the tables have to be those of this package.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from burncloud_images.bulk.database.codec import REQUEST_COLUMNS, DamagedStore, check_checksum
from burncloud_images.bulk.database.schema import APPLICATION, FORMAT, SCHEMA
from burncloud_images.bulk.records import RequestState
from burncloud_images.disk import find_folders, place, sync_file, sync_folder
from burncloud_images.errors import JobError, StorageError

MAGIC = b"SQLite format 3\x00"
HEAD = 100
"""Bytes of the file header; https://sqlite.org/fileformat.html §1.3."""
APPLICATION_AT = 68
PATIENCE = 5.0
"""Seconds to wait for another program that reads the store."""
SETTINGS = (
    "PRAGMA synchronous = FULL",  # a commit returns when it is on the disk
    "PRAGMA secure_delete = ON",  # deleted URLs are overwritten
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",  # KiB
)
COUNTED = """
SELECT state, count(*), sum(stored), sum(bytes), sum(committed), sum(coalesce(cost, 0)), sum(reserved)
FROM requests GROUP BY state
"""
UNFINISHED = f"SELECT number, {REQUEST_COLUMNS} FROM requests WHERE state <> 'done'"  # noqa: S608 (our own words)
"""What may still be bought; the others are checked when they are read."""
KEPT = "SELECT state, requests, images, bytes, committed, cost, reserved FROM sums WHERE requests > 0"
ELSEWHERE = "move it away, or use another directory"


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the store at *path* for writing; it is created if it does not exist.

    Raises:
        JobError: The file is not a store, or has a later format.
        DamagedStore: It is not as it was written.
        StorageError: It cannot be created or read.
        sqlite3.Error: SQLite finds that it is damaged, or cannot read or write it.
    """
    try:
        clear(path)
        if not os.path.lexists(path):
            make(path)
        check_head(path)
    except OSError as error:
        raise unreadable(path, error) from None
    connection = open_file(path, "rw")
    try:
        set_up(connection, path)
        check_format(connection)
        check(connection)
        empty_log(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """
    Open the store at *path* for reading, while another process may write.

    Raises:
        JobError: The file does not exist, or has a later format.
        DamagedStore: It is not as it was written.
        StorageError: It cannot be read.
        sqlite3.Error: SQLite finds that it is damaged, or cannot read it.
    """
    try:
        check_head(path)
    except FileNotFoundError:
        raise JobError(f"There is no job: {path} does not exist.") from None
    except OSError as error:
        raise unreadable(path, error) from None
    connection = open_file(path, mode_for_reading(path))
    try:
        check_format(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def mode_for_reading(path: Path) -> str:
    # Readers and writers share a file beside the store. Where it cannot be created, nobody writes.
    is_archived = not os.access(path.parent, os.W_OK, effective_ids=True) and not holds_something(beside(path, "-wal"))
    return "ro&immutable=1" if is_archived else "ro"


def disconnect(connection: sqlite3.Connection, find_home: Callable[[], Path | None] | None = None) -> None:
    """
    Close a connection for writing, and empty the log, which may contain deleted URLs.

    A store whose file was removed while it was open is written again where *find_home* says.

    Raises:
        StorageError: It was removed and cannot be written there; the message says where it is now.
    """
    with closing(connection):
        saved = save_again(connection, find_home) if find_home is not None else None
        empty_log(connection)
    if saved is not None:  # only now: else SQLite would apply the old log to the new file
        part, home = saved
        place(part, home, overwrite=False)
        sync_folder(home.parent)


def save_again(connection: sqlite3.Connection, find_home: Callable[[], Path | None]) -> tuple[Path, Path] | None:
    """Copy a store whose file was removed, and return the copy and where it belongs."""
    try:
        home = find_home()
        return (copy(connection, part_of(home)), home) if home is not None else None
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
    kept = copy_elsewhere(connection)
    if kept is None:
        raise StorageError(f"The job's store was removed and cannot be written again ({reason}), nor anywhere else.")
    raise StorageError(f"The job's store was removed and cannot be written again ({reason}); it is in {kept}.")


def copy_elsewhere(connection: sqlite3.Connection) -> Path | None:
    """Copy a store to the first folder that takes it, and return the copy; None if none does."""
    for folder in find_folders():
        with suppress(OSError, sqlite3.Error):
            return copy(connection, Path(tempfile.mkdtemp(prefix="burncloud-job-", dir=folder)) / "job.sqlite3")
    return None


def copy(connection: sqlite3.Connection, path: Path) -> Path:
    """Copy the store of a connection to a new file."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    with closing(open_file(path, "rw")) as target:
        connection.backup(target)
    return path


def empty_log(connection: sqlite3.Connection) -> None:
    # A reader or a full disk may prevent it; then the log is emptied later, and nothing is lost.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def open_file(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)


def set_up(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JobError(f"{path} is on a file system without shared memory; put the job on a local one.")
    for setting in SETTINGS:
        connection.execute(setting)


def unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be opened: {error.strerror or error}.")


# --- creating --------------------------------------------------------------------------------------------------------


def make(path: Path) -> None:
    """Create an empty store, under another name until it is whole."""
    for rest in (beside(path, "-wal"), beside(path, "-journal")):
        if holds_something(rest):
            raise JobError(f"{rest} is there and {path.name} is not; put {path.name} back.")
    part = part_of(path)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with closing(open_file(part, "rw")) as connection:
            fill(connection)
        sync_file(descriptor)
    finally:
        os.close(descriptor)
    place(part, path, overwrite=False)
    sync_folder(path.parent)


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def clear(path: Path) -> None:
    """Remove what a run left that was killed while it created the store."""
    part = part_of(path)
    for remains in (part, beside(part, "-journal")):
        remains.unlink(missing_ok=True)


def holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.executemany("INSERT INTO sums (state) VALUES (?)", [(state,) for state in RequestState])
    connection.execute("COMMIT")


# --- checking --------------------------------------------------------------------------------------------------------


def check_head(path: Path) -> None:
    """Check that the file is a store, without changing it."""
    if path.is_dir():
        raise JobError(f"{path} is a directory, where a job has its store; {ELSEWHERE}.")
    with path.open("rb") as handle:
        head = handle.read(HEAD)
    if not head:
        raise DamagedStore("it is empty")
    if len(head) < HEAD or not head.startswith(MAGIC):
        raise JobError(f"{path} is not the store of a job, or its header is damaged; {ELSEWHERE}.")
    (application,) = struct.unpack_from(">I", head, APPLICATION_AT)
    if application != APPLICATION:
        raise JobError(f"{path} belongs to another program, or its header is damaged; {ELSEWHERE}.")


def check_format(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise JobError(
            f"The job's store has format {version}, and this version reads formats up to {FORMAT}; use a later version."
        )
    if version < FORMAT:
        raise DamagedStore(f"it says that it has format {version}")


def check(connection: sqlite3.Connection) -> None:
    """Check that the store is as it was written."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise DamagedStore(found.replace("\n", " "))
    statements = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if statements != set(SCHEMA):
        raise DamagedStore("its tables are not those of a job")
    if set(connection.execute(COUNTED)) != set(connection.execute(KEPT)):
        raise DamagedStore("its sums are not those of its requests")
    for number, *row in connection.execute(UNFINISHED):
        check_checksum(number, tuple(row))
