"""One line of an input, as a value: a request to make, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class InputFile:
    """
    An image that a row names, as it was when the row was read.

    Attributes:
        path: Where it is, absolute.
        sha256: Hex digest of its bytes.
        size: Bytes.
        mtime_ns: Time of its last change, in nanoseconds since 1970.
    """

    path: Path
    sha256: str
    size: int
    mtime_ns: int


@attrs.frozen(kw_only=True)
class Row:
    """
    A request that an input asks for.

    Attributes:
        key: 32 hex digits that tell it from every other request: a digest of what is asked for, of the bytes of its
            images and of `repeat`. It is also the Idempotency-Key of all its attempts in all runs.
        document: The request as JSON, from which it is made again. Images are `{"path", "sha256", "size", "mtime_ns"}`
            or `{"url"}`.
        source: Name of the input; `-` for stdin.
        line: Where it stands, from 1; of a Parquet file the row.
        label: Its `id`, if it has one.
        repeat: Which of several equal requests it is, from 0.
    """

    key: str
    document: Mapping[str, object] = attrs.field(repr=False)
    source: str
    line: int
    label: str = ""
    repeat: int = 0


@attrs.frozen(kw_only=True)
class BadRow:
    """
    A line that asks for nothing that can be sent.

    Attributes:
        source: Name of the input; `-` for stdin.
        line: Where it stands, from 1.
        label: Its `id`, if it has one that could be read.
        reason: What is wrong with it, as one sentence without its own place.
    """

    source: str
    line: int
    label: str = ""
    reason: str
