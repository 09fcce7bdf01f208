"""
Recognises a body by its first bytes: an answer in JSON, a stream of events, an image, or something else.

Gateways label events as JSON and JSON as events, so the label decides only where the bytes do not. White space and
comments, by which servers show that they are alive, may stand before either. Text in UTF-16 or UTF-32 becomes UTF-8.

Source: RFC 8259 §2 and §8.1; RFC 4627 §3, for the encodings; WHATWG HTML §9.2.6, for the fields of a stream.
"""

from __future__ import annotations

import codecs
import re
from typing import Literal, TypeAlias

from burncloud_images.model.media import examine_bytes

BodyShape: TypeAlias = Literal["answer", "events", "image", "other"]

LONGEST_MARK = 4
"""Bytes that tell an encoding."""
MARKS = (
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe", "utf-16-le"),
)
BEGINS = rb"[{\[ \t\r\n:\"deir]"
"""ASCII characters that an answer or a stream can begin with."""
UNMARKED = (
    (re.compile(rb"\0\0\0" + BEGINS), "utf-32-be"),
    (re.compile(BEGINS + rb"\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0" + BEGINS + rb"\0"), "utf-16-be"),
    (re.compile(BEGINS + rb"\0[^\0]\0"), "utf-16-le"),
)
IDLE = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]+|:[^\r\n]*[\r\n])*+")
"""The byte order mark, white space, and comments that have ended."""
FIELDS = (b"data", b"event", b"id", b"retry")
FIELD = re.compile(rb"(?:data|event|id|retry)[:\r\n]|:")
JSON_BEGINS = b'{["-0123456789tfn'
LONGEST_HEAD = 64
"""Bytes that tell an image."""
TEXT_BEGINS = b'\xef{[": \t\r\ndeirtfn'
"""What most answers and streams begin with, and no image."""


class BodyTextDecoder:
    """
    The text of a body, in UTF-8, without leading white space and comments.

    Feed it chunks and decode what it returns: nothing until the shape is known, and then mostly the chunk itself.

    Attributes:
        shape: What the body is; None while that is not known.
        has_comments: Whether comments of a stream stood before it.

    Args:
        is_events: Whether the body is labelled as a stream of events.
    """

    def __init__(self, *, is_events: bool = False) -> None:
        self.is_events = is_events
        self.shape: BodyShape | None = None
        self.has_comments = False
        self.mark: bytes | None = b""
        self.decoder: codecs.IncrementalDecoder | None = None
        self.head = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the text that *chunk* brings."""
        if self.mark == b"" and chunk.startswith(b'{"'):  # nearly all answers: it can be nothing else
            self.mark, self.shape = None, "answer"
            return chunk
        text = self.to_utf8(chunk)
        return text if self.shape is not None else self.find_shape(text)

    def close(self) -> bytes:
        """Return the text that was held back, now that no more comes; the shape is known then."""
        text = b""
        if self.mark:
            text = self.begin(self.mark)
        if self.decoder is not None:
            text += self.decoder.decode(b"", final=True).encode()
        if self.shape is not None:
            return text
        text = self.find_shape(text) or self.head
        if self.shape is None:
            is_text = text and not text.startswith(b":")
            self.shape = self.guess(text) if is_text else "events" if self.has_comments or self.is_events else "answer"
        return text

    def to_utf8(self, chunk: bytes) -> bytes:
        if self.mark is not None:
            self.mark += chunk
            if len(self.mark) < (LONGEST_MARK if self.mark[:1] in TEXT_BEGINS else LONGEST_HEAD):
                return b""
            return self.begin(self.mark)
        return chunk if self.decoder is None else self.decoder.decode(chunk).encode()

    def begin(self, beginning: bytes) -> bytes:
        """Return the text that a body begins with, or the bytes of an image."""
        self.mark = None
        if is_image(beginning):
            self.shape = "image"
            return beginning
        encoding = find_encoding(beginning)
        self.decoder = codecs.getincrementaldecoder(encoding)(errors="replace") if encoding else None
        return beginning if self.decoder is None else self.decoder.decode(beginning).encode()

    def find_shape(self, text: bytes) -> bytes:
        """Return the text from where it says something, once that tells the shape; it is held back before."""
        text = self.head + text if self.head else text
        match = IDLE.match(text)
        begin = match.end() if match else 0
        self.has_comments = self.has_comments or b":" in text[:begin]
        text = text[begin:] if begin else text
        if text.startswith(b":"):
            # A comment that has not ended: what it says is not needed.
            self.has_comments, self.head = True, b":"
            return b""
        if not text or is_cut(text):
            self.head = text
            return b""
        self.head = b""
        self.shape = self.guess(text)
        return text

    def guess(self, text: bytes) -> BodyShape:
        if text[:1] in b"{[":
            return "answer"
        if FIELD.match(text) or self.is_events:
            return "events"
        return "answer" if text[:1] in JSON_BEGINS else "other"


def is_image(beginning: bytes) -> bool:
    """Whether a body that begins so is an image."""
    return beginning[:1] not in TEXT_BEGINS and examine_bytes(beginning[:LONGEST_HEAD]).media_type is not None


def find_encoding(beginning: bytes) -> str | None:
    """Return the encoding of a text that begins so; None if it is UTF-8, or no text."""
    marked = next((encoding for mark, encoding in MARKS if beginning.startswith(mark)), None)
    return marked or next((encoding for pattern, encoding in UNMARKED if pattern.match(beginning)), None)


def is_cut(text: bytes) -> bool:
    """Whether more of *text* is needed to tell whether a stream begins here."""
    return any(name.startswith(text) for name in FIELDS)
