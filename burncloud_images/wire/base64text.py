"""
Strict base64, as slices pass.

A lenient decoder drops characters that it does not know and goes on: a damaged image would look whole. This one
refuses them, and padding anywhere but at the end.

Source: RFC 4648 §3.3 and §4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pybase64

QUANTUM = 4
"""Characters that are decoded together."""
NOT_BASE64 = "it holds something that is not base64"

LEAST = 80
"""Characters of base64 that may be an image; the smallest have some more, and names and checksums mostly less."""
MOST_SEARCHED = 256 * 1024
"""Bytes of a text that are looked through, which takes some ms; longer ones may hold anything."""
RUN = re.compile(rb"(?:[A-Za-z0-9+/_-]++|\\/|\\[rn]|\\u00[2-7][0-9A-Fa-f])++")
ADDRESS = re.compile(rb'https?:\\?/\\?/[^"\s]*+', re.IGNORECASE)


def may_hold_base64(text: bytes) -> bool:
    """Whether JSON or events, without what was decoded of them, may hold more base64; an address does not count."""
    if len(text) > MOST_SEARCHED:
        return True
    return any(len(run[0]) >= LEAST for run in RUN.finditer(ADDRESS.sub(b"", text)))


class Base64Decoder:
    """A decoder that is fed slices of any length."""

    def __init__(self) -> None:
        self.carry = b""
        self.padded = False

    def feed(self, text: bytes) -> Iterator[bytes]:
        """
        Yield what *text* decodes to, as far as its quanta are whole: what completes the last slice, and the rest.

        Raises:
            ValueError: It holds something that is not base64.
        """
        missing = -len(self.carry) % QUANTUM
        head = self.carry + text[:missing]
        if len(head) % QUANTUM:
            self.carry = head
            return
        # The rest is looked at where it is: a copy costs as much as decoding.
        rest = memoryview(text)[missing:]
        whole = len(rest) - len(rest) % QUANTUM
        self.carry = bytes(rest[whole:])
        for quanta in (head, rest[:whole]):
            if quanta:
                yield self.decode(quanta)
        if self.padded and self.carry:
            raise ValueError(NOT_BASE64)

    def decode(self, quanta: bytes | memoryview) -> bytes:
        if self.padded:
            raise ValueError(NOT_BASE64)
        self.padded = quanta[-1] == ord("=")
        try:
            return pybase64.b64decode(quanta, validate=True)
        except ValueError:
            raise ValueError(NOT_BASE64) from None

    def close(self) -> None:
        """
        Say that no more comes.

        Raises:
            ValueError: The last quantum is not whole.
        """
        if self.carry:
            raise ValueError(f"base64 ends {QUANTUM - len(self.carry)} characters short")
