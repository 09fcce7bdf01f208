"""Where the bytes of an input come from, and what tells whether they are still the same."""

from __future__ import annotations

import hashlib
import io
import os
import select
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import BinaryIO

import attrs

from burncloud_images.bulk.inputs.formats import MARK
from burncloud_images.errors import InputChangedError, InvalidRequestError, Violation

STDIN = "-"
PIECE = 256 * 1024
MOMENT = 0.05
"""Seconds after which a pipe that gives nothing is left, to see whether anybody still waits for it."""

FORMATS: Mapping[str, str] = {
    "txt": "txt",
    "text": "txt",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
}
"""Formats by their names and by the extensions of files."""

FROM_A_FILE = "Parquet is read from a file whose name ends in .parquet"
UTF_16 = "it is UTF-16; save it as UTF-8"
NO_TEXT: Mapping[bytes, str] = {
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
    b"PAR1": FROM_A_FILE,
    b"PK\3\4": "it is an archive or a spreadsheet; save it as CSV",
    b"\x1f\x8b": "it is compressed; unpack it",
}
"""How inputs begin that are no text, and what to say."""
SIGNATURE_BYTES = 4


@attrs.frozen(kw_only=True)
class Fingerprint:
    """
    What an input was when it was read.

    Attributes:
        sha256: Hex digest of its bytes.
        size: Bytes.
        mtime_ns: Time of its last change, in nanoseconds since 1970.
        inode: Number of the file.
    """

    sha256: str
    size: int
    mtime_ns: int
    inode: int


def fingerprint(path: Path, before: Mapping[str, object] | None = None) -> Fingerprint:
    """
    Return what the file at *path* is now; blocks.

    Args:
        path: An input.
        before: The attributes of an earlier fingerprint; a file of the same number, size and time is not read again.

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
    return Fingerprint(sha256=digest, **now)


def open_file(path: Path) -> io.FileIO:
    """
    Open an input; blocks.

    Raises:
        InvalidRequestError: It is not there, is no regular file, or may not be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise refusal(path, "it is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise refusal(path, "it is no regular file, which could be read again; pipe it into -")
        return io.FileIO(path)
    except OSError as error:
        raise unreadable(path, error) from None


def open_stdin() -> BinaryIO:
    """
    Return standard input.

    Raises:
        InvalidRequestError: There is none.
    """
    if sys.stdin is None:
        raise refusal(STDIN, "there is no standard input")
    return sys.stdin.buffer


def find_format(name: str, wanted: str | None) -> str | None:
    """
    Return the format of an input; None if only its bytes can tell.

    Raises:
        InvalidRequestError: Its name does not tell, or *wanted* is none.
    """
    word = (wanted if wanted is not None else Path(name).suffix.removeprefix(".")).lower()
    if name == STDIN and FORMATS.get(word) == "parquet":
        raise refusal(name, FROM_A_FILE)
    if word in FORMATS:
        return FORMATS[word]
    if name == STDIN and wanted is None:
        return None
    known = ", ".join(sorted(set(FORMATS.values())))
    raise refusal(name, f"{f'{wanted} is no format' if wanted else 'its name tells no format'}; known are {known}")


@attrs.define
class Bytes:
    """
    The bytes of an input, in pieces; blocks while it reads.

    Attributes:
        name: Of the input.
        handle: Gives them.
        closing: Set, from any thread, by whoever does not want more.
    """

    name: str
    handle: BinaryIO | io.FileIO
    closing: Event = attrs.field(factory=Event)
    head: bytes = attrs.field(default=b"", init=False, repr=False)

    def guess_format(self) -> str:
        """Return the format of text whose name does not tell it: a line of JSON begins with a brace."""
        return "jsonl" if self.head.removeprefix(MARK).lstrip().startswith(b"{") else "txt"

    def look_ahead(self) -> None:
        """
        Read until something shows; it is kept.

        Raises:
            InvalidRequestError: It is no text in UTF-8.
        """
        for piece in self.read():
            self.head += piece
            if len(self.head) > PIECE or len(self.head.strip()) >= SIGNATURE_BYTES:
                break
        for start, problem in NO_TEXT.items():
            if self.head.startswith(start):
                raise refusal(self.name, problem)

    def pieces(self) -> Iterator[bytes]:
        """
        Yield all bytes, and an empty piece where the next takes a while.

        Raises:
            InputChangedError: They can be read no more.
        """
        yield self.head
        yield from self.read()

    def read(self) -> Iterator[bytes]:
        pipe = pipe_of(self.handle)
        read = getattr(self.handle, "read1", self.handle.read)  # what is there, rather than all that fits
        while not self.closing.is_set():
            try:
                if pipe is not None and not select.select([pipe], [], [], MOMENT)[0]:
                    yield b""
                    continue
                piece = read(PIECE)
            except OSError as error:
                raise InputChangedError(f"{self.name} can be read no more: {error.strerror or error}.") from None
            if piece == b"":
                return
            yield piece or b""  # None: a pipe that does not wait has nothing


def pipe_of(handle: BinaryIO | io.FileIO) -> int | None:
    """Return the descriptor of what can keep its reader waiting; None for files and bytes in memory."""
    try:
        number = handle.fileno()
    except OSError:
        return None
    return None if stat.S_ISREG(os.fstat(number).st_mode) else number


def unreadable(name: str | Path, error: OSError) -> InvalidRequestError:
    absent = isinstance(error, FileNotFoundError)
    return refusal(name, "there is no such file" if absent else f"it cannot be read: {error.strerror or error}")


def refusal(name: str | Path, message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation(str(name), message)])
