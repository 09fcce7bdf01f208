"""Where the bytes of an input come from, and what tells whether they are still the same."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import select
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs

from burncloud_images.errors import InputChangedError, InvalidRequestError, Violation

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN = "-"
MAX_LINE_BYTES = 1024 * 1024
"""Of one line, or one row of a table; the longest prompt of any model has an eighth of that."""
MARK = b"\xef\xbb\xbf"
"""Before text in UTF-8 that some programs write."""
QUOTE = b'"'
START = 64
"""Bytes that are kept of a line that is too long."""

FORMATS: Mapping[str, str] = {
    "txt": "txt",
    "text": "txt",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "xlsx": "xlsx",
    "xlsm": "xlsx",
}
"""Formats by their names and by the extensions of files."""

FROM_A_FILE = "Parquet is read from a file whose name ends in .parquet"
SPREADSHEET = "a spreadsheet is read from a file whose name ends in .xlsx"
COMPRESSED = "it is compressed; unpack it"
NO_TEXT: Mapping[bytes, str] = {
    b"PAR1": FROM_A_FILE,
    b"PK\3\4": f"it is an archive or a spreadsheet; {SPREADSHEET}",
    b"\xd0\xcf\x11\xe0": "it is an old spreadsheet, or one with a password; save it as .xlsx or CSV",
    b"%PDF": "it is a PDF; save it as text",
    b"\x89PNG": "it is an image",
    b"\xff\xd8\xff": "it is an image",
    b"\x1f\x8b": COMPRESSED,
    b"\x28\xb5\x2f\xfd": COMPRESSED,
    b"\xfd7zX": COMPRESSED,
    b"BZh": COMPRESSED,
}
"""How inputs begin that are not text, and what the error says."""


def fingerprint(path: Path, before: Mapping[str, object] | None = None) -> dict[str, object]:
    """
    Return the sha256, size, time of change and number of the file at *path*, as JSON; blocks.

    Args:
        path: An input.
        before: An earlier fingerprint; a file of the same number, size and time is not read again.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    with open_file(path) as handle:
        status = os.fstat(handle.fileno())
        now = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
        digest = before.get("sha256") if before and now.items() <= before.items() else None
        if not isinstance(digest, str):
            try:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            except OSError as error:
                raise unreadable(path, error) from None
    return {"sha256": digest, **now}


def open_file(path: Path) -> io.BufferedReader:
    """
    Open an input; blocks.

    Raises:
        InvalidRequestError: It is not there, is not a regular file, or may not be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise refusal(path, "it is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise refusal(path, "it is not a regular file, so it could not be read again; pipe it into -")
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None


class WaitingFile(io.FileIO):
    """A file that waits for its bytes, also if another program has made its pipe one that does not wait."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into *buffer*, and return how many bytes; 0 at the end."""
        while (size := super().readinto(buffer)) is None:
            select.select([self], [], [])
        return size


def open_stdin() -> BinaryIO:
    """
    Return standard input.

    Raises:
        InvalidRequestError: There is none.
    """
    if sys.stdin is None:
        raise refusal(STDIN, "there is no standard input")
    try:
        # Not sys.stdin.buffer: at exit Python would wait for its lock, which a thread that reads it holds.
        return io.BufferedReader(WaitingFile(sys.stdin.fileno(), closefd=False))
    except OSError:  # not a file of the system
        return sys.stdin.buffer


def find_format(name: str, wanted: str | None) -> str | None:
    """
    Return the format of an input; None if its bytes have to tell, as for text files, which may hold a table.

    Raises:
        InvalidRequestError: Its name does not tell, or *wanted* is not a format.
    """
    word = (wanted if wanted is not None else Path(name).suffix.removeprefix(".")).lower()
    if name == STDIN and (reason := {"parquet": FROM_A_FILE, "xlsx": SPREADSHEET}.get(FORMATS.get(word, ""))):
        raise refusal(name, reason)
    if wanted is None and word in {"xls", "ods", "numbers"}:
        raise refusal(name, "spreadsheets of this kind are not read; save it as .xlsx or CSV")
    if wanted is None and (name == STDIN or FORMATS.get(word) == "txt"):
        return None
    if word in FORMATS:
        return FORMATS[word]
    known = ", ".join(sorted(set(FORMATS.values())))
    problem = f"{wanted} is not a format" if wanted else "its name does not tell the format"
    raise refusal(name, f"{problem}; known formats are {known}")


@attrs.frozen
class RawLine:
    """
    One line of text, or one row of a table, which may have several lines.

    Attributes:
        line: Where it begins, from 1.
        data: Its bytes without the line end; None if it is longer than 1 MiB.
        start: The first bytes of a line that is too long.
        quotes: How many quotes a line has that is too long.
        closed: Whether its last quoted cell is closed.
    """

    line: int
    data: bytes | None
    start: bytes = b""
    quotes: int = 0
    closed: bool = True


def read_lines(name: str, handle: BinaryIO) -> Iterator[RawLine]:
    """
    Yield the lines of an input, which is text in UTF-8; blocks.

    Raises:
        InputChangedError: It cannot be read to its end.
    """
    try:
        line = handle.readline(MAX_LINE_BYTES + 1)
        line = line.removeprefix(MARK)
        for number in itertools.count(1):
            if not line:
                return
            yield to_raw_line(handle, line, number)
            line = handle.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise InputChangedError(f"{name} cannot be read to its end: {error.strerror or error}.") from None


def to_raw_line(handle: BinaryIO, data: bytes, number: int) -> RawLine:
    """Return a line; the rest of one that is too long is skipped."""
    if len(data) <= MAX_LINE_BYTES or data.endswith(b"\n"):
        return RawLine(number, data.removesuffix(b"\n"))
    start, quotes = data[:START], data.count(QUOTE)
    while data and not data.endswith(b"\n"):
        data = handle.readline(MAX_LINE_BYTES)
        quotes += data.count(QUOTE)
    return RawLine(number, None, start, quotes)


def unreadable(name: str | Path, error: OSError) -> InvalidRequestError:
    absent = isinstance(error, FileNotFoundError)
    return refusal(name, "there is no such file" if absent else f"it cannot be read: {error.strerror or error}")


def refusal(name: str | Path, message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(str(name), message)])
