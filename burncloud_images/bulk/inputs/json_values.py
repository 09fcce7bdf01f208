"""JSON that is not a value a line: arrays, and values that follow one another; each at most 1 MiB, in little memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import attrs

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.sources import MAX_LINE_BYTES

CHUNK = 1024 * 1024
BLANK = re.compile(r"[ \t\r\n\x1e]*")
"""Space between values, and what RFC 7464 puts before each."""
SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
"""Finds where a value ends; numbers of any length are left to whoever reads it."""


@attrs.frozen
class JSONText:
    """
    The text of a value.

    Attributes:
        line: Where it begins, from 1.
        text: As it is written.
    """

    line: int
    text: str


@attrs.define
class Scanner:
    """Reads values from text; what was read is forgotten."""

    handle: BinaryIO
    decoder: codecs.IncrementalDecoder = attrs.field(factory=codecs.getincrementaldecoder("utf-8"))
    text: str = ""
    at: int = 0
    line: int = 1
    column: int = 1
    is_whole: bool = False

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            self.fill()
            self.advance(BLANK.match(self.text, self.at).end())  # type: ignore[union-attr]
            if self.at < len(self.text) or self.is_whole:
                return self.text[self.at : self.at + 1]

    def fill(self) -> None:
        """Hold as much text as a value can have."""
        while not self.is_whole and len(self.text) - self.at <= MAX_LINE_BYTES:
            data = self.handle.read(CHUNK)
            self.is_whole = not data
            self.text = self.text[self.at :] + self.decoder.decode(data, final=self.is_whole)
            self.at = 0

    def advance(self, end: int) -> None:
        passed = self.text[self.at : end]
        lines = passed.count("\n")
        self.line += lines
        self.column = len(passed) - passed.rfind("\n") if lines else self.column + len(passed)
        self.at = end

    def take(self, expected: str) -> None:
        """Pass over a character."""
        found = self.peek()
        if found != expected:
            self.refuse(f"{expected} is expected, and there is {found or 'nothing more'}")
        self.advance(self.at + 1)

    def value(self) -> JSONText:
        """
        Pass over a value, and return it.

        Raises:
            UnusableRow: There is none.
        """
        self.peek()
        try:
            _, end = SCANNER.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            if len(self.text) - self.at > MAX_LINE_BYTES:
                self.refuse("a value is longer than 1 MiB, or not JSON")
            self.advance(min(error.pos, len(self.text)))
            self.refuse(f"{error.msg[0].lower()}{error.msg[1:]}")
        except RecursionError:
            self.refuse("it is nested too deep")
        found = JSONText(self.line, self.text[self.at : end])
        self.advance(end)
        if len(found.text) > MAX_LINE_BYTES:
            self.refuse("a value is longer than 1 MiB")
        return found

    def refuse(self, reason: str) -> NoReturn:
        raise UnusableRow(f"it is not valid JSON at line {self.line:,}, column {self.column:,}: {reason}")


def json_values(handle: BinaryIO) -> Iterator[JSONText]:
    """
    Yield the values of text, and those of arrays in their place; blocks.

    Raises:
        UnusableRow: It is not JSON; the message says where.
    """
    scanner = Scanner(handle)
    while first := scanner.peek():
        if first == "[":
            yield from array_values(scanner)
        else:
            yield scanner.value()
        if scanner.peek() == ",":  # values of an array whose brackets are missing, as in a cut file
            scanner.refuse("a comma stands between values that are not in an array")


def array_values(scanner: Scanner) -> Iterator[JSONText]:
    scanner.take("[")
    if scanner.peek() == "]":
        scanner.take("]")
        return
    while True:
        yield scanner.value()
        if scanner.peek() == "]":
            scanner.take("]")
            return
        scanner.take(",")
