"""
The text of an error body: its encoding, the words of a page, and a length that can be read.

Gateways answer in JSON, proxies in HTML or plain text, and some in the encoding of their country. UTF-8 is taken where
the bytes are valid UTF-8, then the named charset, then the one whose common characters fit best.

Source: GB/T 2312 and Big5 keep their common characters in blocks of their own, by which one is told from the other.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator

from burncloud_images.wire.body_text import find_encoding

MOST_TEXT = 64 * 1024
"""Bytes of a body in which its words are looked for."""
MOST_PLAIN = 500
"""Characters that are shown of a page or of plain text."""
CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
# By the two bytes of a character: the common ones of GBK and of Big5.
COMMON = {
    "gb18030": re.compile(rb"[\xb0-\xd7][\xa1-\xfe]|[\xa1-\xa3][\xa1-\xfe]"),
    "big5": re.compile(rb"[\xa4-\xc6][\x40-\x7e\xa1-\xfe]|[\xa1-\xa3][\x40-\x7e\xa1-\xfe]"),
}
PAIR = re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]")
FITTING = 0.7
"""The part of the characters that have to be common for an encoding to be taken."""

# What a terminal takes for a command: escape sequences, and other control characters.
ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
BINARY = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
HEADINGS = tuple(
    re.compile(rf"<{name}\b[^>]*>(.*?)</{name}\s*>", re.IGNORECASE | re.DOTALL) for name in ("title", "h1")
)
UNSEEN = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^<>]*>?")
PAGE = re.compile(r"\s*<[!?/a-zA-Z]")


def decode_text(body: bytes, content_type: str = "") -> str:
    """Return the text of *body*, by its charset if that is true, or by what it looks like."""
    beginning = find_encoding(body[:4])
    if beginning:
        return body.decode(beginning, errors="replace").removeprefix("\ufeff")
    for encoding in find_encodings(body, content_type):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return body.decode("latin-1")


def find_encodings(body: bytes, content_type: str) -> Iterator[str]:
    yield "utf-8-sig"
    named = CHARSET.search(content_type) or CHARSET.search(body[:1024].decode("latin-1"))
    if named and is_text_encoding(named[1]):
        # GB 18030 has all characters of the older standards, which servers name.
        yield "gb18030" if re.fullmatch(r"gb(?:k|2312|18030)|x-gbk|cp936", named[1], re.IGNORECASE) else named[1]
    scores = {encoding: score(body, pattern) for encoding, pattern in COMMON.items()}
    best = max(scores, key=lambda encoding: scores[encoding])
    if scores[best] >= FITTING:
        yield best
    yield "cp1252"


def is_text_encoding(name: str) -> bool:
    try:
        return b"ab".decode(codecs.lookup(name).name) == "ab"
    except (LookupError, ValueError, TypeError):
        return False


def score(body: bytes, common: re.Pattern[bytes]) -> float:
    """Return which part of the two-byte characters in *body* are common ones."""
    pairs = PAIR.findall(body)
    return sum(common.fullmatch(pair) is not None for pair in pairs) / len(pairs) if pairs else 0.0


def to_line(text: str, most: int) -> str:
    """Return *text* as one line of at most *most* characters, without what a terminal would obey."""
    shown = ESCAPES.sub("", text[: 4 * most])
    shown = " ".join("".join(one if one.isprintable() else " " for one in shown).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def find_words(text: str) -> str:
    """Return the words of a body that is not JSON: the title and heading of a page, or plain text."""
    if BINARY.search(text):
        return ""
    if PAGE.match(text) is None:
        return to_line(text, MOST_PLAIN)
    headings = [to_words(match[1]) for pattern in HEADINGS if (match := pattern.search(text))]
    named = [heading for heading in dict.fromkeys(headings) if heading]
    return to_line(": ".join(named) or to_words(UNSEEN.sub(" ", text)), MOST_PLAIN)


def to_words(markup: str) -> str:
    """Return what a browser shows of *markup*."""
    return " ".join(html.unescape(TAG.sub(" ", markup)).split())
