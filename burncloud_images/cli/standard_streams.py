"""Standard streams that are closed, whose reader has closed them, or whose disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO, cast

import attrs


def escaped(text: str) -> str:
    r"""
    Return *text* with control characters and special line ends as JSON's `\uXXXX`.

    Line feeds are kept. JSON keeps its meaning, as it has such characters only in strings.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(escape, text))


def escape(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def silence(stream: TextIO) -> None:
    """Discard everything written to *stream* from now on, and what its buffer holds."""
    with suppress(OSError, ValueError):  # a stream without a descriptor, as in tests
        descriptor = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(descriptor, stream.fileno())
        finally:
            os.close(descriptor)


@attrs.define(eq=False)
class UnfailingStream:
    """
    A stream that discards its output once it cannot be written, so that messages never stop a paid request.

    Attributes:
        stream: The stream; None if it was closed before the program started or has failed.
    """

    stream: TextIO | None

    def write(self, text: str) -> int:
        """Write *text*, or discard it."""
        try:
            return self.stream.write(text) if self.stream is not None else len(text)
        except (OSError, ValueError):
            self.end()
            return len(text)

    def flush(self) -> None:
        """Flush, or discard the output."""
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError):
            self.end()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.stream is not None and self.stream.isatty()

    def end(self) -> None:
        # A full buffer would raise another error when the interpreter exits.
        if self.stream is not None:
            silence(self.stream)
        self.stream = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever else the stream has)
        return getattr(self.stream, name)


def unfailing(stream: TextIO | None) -> TextIO:
    """Return *stream* wrapped so that it never raises."""
    return cast("TextIO", UnfailingStream(stream))
