"""Standard streams whose reader has left, whose disk is full, or that are closed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TextIO, cast

import attrs


def escaped(text: str) -> str:
    r"""
    Return *text* with whatever a terminal might obey, or take for the end of a line, as JSON's `\uXXXX`.

    Line feeds stay. JSON stays the JSON that it is: it has such characters in its strings alone.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(escape, text))


def escape(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def silence(stream: TextIO) -> None:
    """Let what is written to *stream* from now on go nowhere, what its buffer holds as well."""
    with suppress(OSError, ValueError):  # one without a descriptor, as tests have
        descriptor = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(descriptor, stream.fileno())
        finally:
            os.close(descriptor)


@attrs.define(eq=False)
class Unfailing:
    """
    A stream that is silent for good once it cannot be written: what is said on the way must not end what is paid for.

    Attributes:
        stream: Where to; None for one that was closed before the program began.
    """

    stream: TextIO | None

    def write(self, text: str) -> int:
        """Write as long as that is possible."""
        try:
            return self.stream.write(text) if self.stream is not None else len(text)
        except (OSError, ValueError):
            self.end()
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError):
            self.end()

    def isatty(self) -> bool:
        """Return whether somebody may be watching."""
        return self.stream is not None and self.stream.isatty()

    def end(self) -> None:
        # A buffer that stays full would be an error of its own when the interpreter ends.
        if self.stream is not None:
            silence(self.stream)
        self.stream = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever else the stream has)
        return getattr(self.stream, name)


def unfailing(stream: TextIO | None) -> TextIO:
    """Return *stream* in a form that never raises."""
    return cast("TextIO", Unfailing(stream))
