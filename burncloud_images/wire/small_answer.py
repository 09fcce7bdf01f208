"""
A small answer that is whole in the buffer, decoded in one step.

It takes only what `image_json` would decode to the same images, the same text and the same document. Anything unusual
is left to that decoder, which stays the judge: escaped names, `data:` URLs, names that are given twice, damaged base64.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs
import pybase64

from burncloud_images.wire.answer import parse_json
from burncloud_images.wire.places import BASE64, EITHER, HOLDERS, LISTS, NESTED, SINGLE, URLS, WRAPPERS

MAX_SIZE = 64 * 1024
"""Bytes of an answer that is decoded in one step; the parser takes less than a millisecond for them."""
MAX_CONTAINERS = 100
ELSEWHERE = frozenset({*LISTS, *WRAPPERS, *BASE64, *SINGLE, *URLS, *(pattern[0] for pattern in NESTED)}) - {"data"}
"""Names that may lead to images in other places."""
OTHER_KEYS = frozenset({*BASE64, *URLS, *EITHER, *HOLDERS, *LISTS}) - {"b64_json", "url"}
"""Names of images within an item, but for the usual ones."""
NAME = b'"b64_json"'
MEMBER = re.compile(rb'"b64_json"[ \t\r\n]*:[ \t\r\n]*"([^"\\]*)"')


@attrs.frozen
class SmallAnswer:
    """
    A small answer.

    Attributes:
        document: Its JSON, with empty strings where images were.
        text: The text of that.
        images: The index and the bytes of each image.
    """

    document: object
    text: bytes
    images: Sequence[tuple[int, bytes]]


def decode_whole(text: bytes, max_items: int) -> SmallAnswer | None:
    """Return what *text* holds; None if it is not whole, not small, or not of the usual form."""
    if not is_simple(text):
        return None
    try:
        document = parse_json(text)
    except ValueError:
        return None
    if not is_usual(document):
        return None
    items = find_items(document)
    members = [*MEMBER.finditer(text)]
    if len(items) > max_items or not match_items(items, members) or text.count(NAME) != len(members):
        return None
    try:
        images = [*take_images(items)]
    except ValueError:
        return None
    return SmallAnswer(document, without_images(text, members) if images else text, images)


def is_simple(text: bytes) -> bool:
    """Whether *text* is small and may be a whole JSON object without escapes in its names."""
    if len(text) > MAX_SIZE or text[:1] != b"{" or not text.endswith((b"}", b"}\n")):
        return False
    # An escape may spell a name, and a `data:` URL is an image.
    if b"\\u00" in text or b"data:" in text.lower() or text.count(b'"data"') > 1:
        return False
    return text.count(b"{") + text.count(b"[") <= MAX_CONTAINERS


def is_usual(document: object) -> bool:
    """Whether images can only be where the API has them."""
    if not isinstance(document, dict) or not ELSEWHERE.isdisjoint(document):
        return False
    data = document.get("data") or []
    return isinstance(data, list) and all(isinstance(item, dict) and OTHER_KEYS.isdisjoint(item) for item in data)


def take_images(items: Sequence[object]) -> Iterator[tuple[int, bytes]]:
    """
    Yield the index and the bytes of each image, and leave an empty string in its place.

    Raises:
        ValueError: One is not base64.
    """
    for index, item in enumerate(items):
        if isinstance(item, dict) and "b64_json" in item:
            text, item["b64_json"] = item["b64_json"], ""
            if text:
                yield index, pybase64.b64decode(text, validate=True)


def find_items(document: object) -> Sequence[object]:
    items = document.get("data") if isinstance(document, Mapping) else None
    return items if isinstance(items, list) else ()


def match_items(items: Sequence[object], members: Sequence[re.Match[bytes]]) -> bool:
    """Whether *members* are the images of *items*, in their order, and no others."""
    named = [item["b64_json"] for item in items if isinstance(item, dict) and "b64_json" in item]
    if len(named) != len(members):
        return False
    return all(
        isinstance(value, str) and len(value) % 4 == 0 and value.encode(errors="replace") == member[1]
        for value, member in zip(named, members, strict=True)
    )


def without_images(text: bytes, members: Sequence[re.Match[bytes]]) -> bytes:
    pieces, position = [], 0
    for member in members:
        pieces.append(text[position : member.start(1)])
        position = member.end(1)
    return b"".join([*pieces, text[position:]])
