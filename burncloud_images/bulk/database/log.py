"""
Whether SQLite's write-ahead log has lost what was committed.

SQLite drops a log from the first frame on whose checksum is wrong. That is right for the end of a log that was being
written when the power went: it was not durable yet. Where more than one commit follows, all but the last had been
durable, so something damaged the log; going on would forget what was sent, and buy it again.

Source: https://sqlite.org/fileformat2.html §4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from burncloud_images.bulk.database.codec import Damaged

HEAD = struct.Struct(">8I")
"""Magic number, version, page size, sequence, two salts, two checksums."""
FRAME = struct.Struct(">6I")
"""Page, pages of the database after a commit or 0, two salts, two checksums."""
LITTLE_ENDIAN = 0x377F0682
CHECKED = 24
"""Bytes of the head that its checksums are of."""


def check_log(path: Path, frames: int) -> None:
    """
    Refuse a log that has lost a commit that was durable.

    Args:
        path: The log; it need not be there.
        frames: How many of its frames SQLite takes for valid.

    Raises:
        Damaged: It has.
    """
    try:
        with path.open("rb") as handle:
            head = handle.read(HEAD.size)
            if len(head) < HEAD.size or not any(head):
                return
            magic, _, page_size, _, *salts, one, two = HEAD.unpack(head)
            if checksums(head[:CHECKED], "<" if magic == LITTLE_ENDIAN else ">") != (one, two):
                raise Damaged("the head of its log is not as it was written")
            commits = sum(find_commits(handle, frames, page_size, tuple(salts)))
    except FileNotFoundError:
        return
    if commits > 1:
        raise Damaged(f"its log has lost {commits} commits")


def checksums(words: bytes, order: str) -> tuple[int, int]:
    one = two = 0
    for first, second in struct.iter_unpack(f"{order}2I", words):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def find_commits(handle: IO[bytes], frames: int, page_size: int, salts: tuple[int, ...]) -> Iterator[bool]:
    """Say of each frame of this log beyond the valid ones whether it is the last of a commit."""
    step = FRAME.size + page_size
    handle.seek(HEAD.size + frames * step)
    while len(frame := handle.read(FRAME.size)) == FRAME.size:
        _, pages, first, second, _, _ = FRAME.unpack(frame)
        yield pages > 0 and (first, second) == salts
        handle.seek(page_size, 1)
