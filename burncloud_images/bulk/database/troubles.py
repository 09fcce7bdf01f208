"""What SQLite's errors mean for whoever runs a job."""

from __future__ import annotations

import sqlite3

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


def is_storage_trouble(error: Exception) -> bool:
    """Say whether the disk is full or fails."""
    return isinstance(error, sqlite3.Error) and code_of(error) in FULL


def explain(error: Exception) -> Exception:
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
