"""
Strict base64, as slices pass.

A lenient decoder drops characters that it does not know and goes on: a damaged image would look whole. This one
refuses them, and padding anywhere but at the end.

Source: RFC 4648 §3.3 and §4.
"""

from __future__ import annotations

import pybase64

__all__ = ["NOT_BASE64", "StrictBase64"]

QUANTUM = 4
"""Characters that are decoded together."""
NOT_BASE64 = "it holds something that is not base64"


class StrictBase64:
    """A decoder that is fed slices of any length."""

    def __init__(self) -> None:
        self.carry = b""
        self.padded = False

    def feed(self, text: bytes) -> bytes:
        """
        Return what *text* decodes to, as far as its quanta are whole.

        Raises:
            ValueError: It holds something that is not base64.
        """
        if not text:
            return b""
        if self.padded:
            raise ValueError(NOT_BASE64)
        text = self.carry + text if self.carry else text
        whole = len(text) - len(text) % QUANTUM
        self.carry = text[whole:]
        self.padded = whole > 0 and text[whole - 1] == ord("=")
        if self.padded and self.carry:
            raise ValueError(NOT_BASE64)
        try:
            return pybase64.b64decode(text[:whole] if self.carry else text, validate=True)
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
