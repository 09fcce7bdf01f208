"""
The JSON of an answer, without its images, becomes a value: strict about what it must say, lenient about the rest.

Gateways write empty strings for absent fields, add fields of their own, and answer errors with status 200; none of
that may cost an image that is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import attrs

from burncloud_images.errors import ProtocolError
from burncloud_images.results import TokenDetails, Usage

__all__ = ["Answer", "AnswerItem", "moment", "number", "text", "to_answer", "to_usage"]

KNOWN = frozenset({"created", "data", "usage", "background", "output_format", "quality", "size", "error"})
KNOWN_OF_ITEM = frozenset({"b64_json", "url", "revised_prompt"})


@attrs.frozen(kw_only=True)
class AnswerItem:
    """
    One image object.

    Attributes:
        index: Place in `data`.
        decoded: Whether its bytes came with the answer, whole.
        failure: Why its bytes could not be decoded.
        url: Where its bytes are instead.
        revised_prompt: The prompt that was really used.
        extra: Unknown fields.
    """

    index: int
    decoded: bool
    failure: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Answer:
    """
    An answer without its images.

    Attributes:
        items: In the server's order.
        created: Aware UTC.
        usage: Tokens.
        background: As made.
        output_format: As made.
        quality: As made.
        size: As made.
        error: The document, if it is an error envelope.
        extra: Unknown fields.
        raw: The JSON text, at most 1 MiB.
    """

    items: tuple[AnswerItem, ...] = ()
    created: datetime | None = None
    usage: Usage | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    error: Mapping[str, object] | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)
    raw: bytes = b""


def to_answer(document: object, decoded: AbstractSet[int], failures: Mapping[int, str], raw: bytes) -> Answer:
    """
    Return what *document* says.

    Args:
        document: Parsed JSON, with empty strings where images were.
        decoded: Indexes of the images that are whole.
        failures: Why others are not.
        raw: The JSON text, for errors.

    Raises:
        ProtocolError: It is no answer of the images API.
    """
    if not isinstance(document, Mapping):
        raise ProtocolError("The answer is JSON, but no object.", raw=raw)
    if document.get("error") and not decoded:
        return Answer(error=document, raw=raw)
    items = document.get("data") or []
    if not isinstance(items, list):
        raise ProtocolError("The answer's data is no list.", raw=raw)
    return Answer(
        items=tuple(to_items(items, decoded, failures)),
        created=moment(document.get("created")),
        usage=to_usage(document.get("usage")),
        background=text(document.get("background")),
        output_format=text(document.get("output_format")),
        quality=text(document.get("quality")),
        size=text(document.get("size")),
        extra={name: value for name, value in document.items() if name not in KNOWN},
        raw=raw,
    )


def to_items(items: list[object], decoded: AbstractSet[int], failures: Mapping[int, str]) -> Iterator[AnswerItem]:
    # Of a key that stands twice the parser keeps the last; an image of the first one is paid for all the same.
    lost = max(decoded, default=-1) + 1 - len(items)
    for index, item in enumerate([*items, *[None] * lost]):
        known = item if isinstance(item, Mapping) else {}
        if isinstance(item, Mapping) or index in decoded:
            yield AnswerItem(
                index=index,
                decoded=index in decoded,
                failure=failures.get(index),
                url=text(known.get("url")),
                revised_prompt=text(known.get("revised_prompt")),
                extra={name: value for name, value in known.items() if name not in KNOWN_OF_ITEM},
            )


def text(value: object) -> str | None:
    """Return a text that says something; adaptors of gateways write empty ones for absent."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    seconds = number(value)
    if seconds is None or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def to_usage(value: object) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    return Usage(
        total_tokens=number(value.get("total_tokens")),
        input_tokens=number(value.get("input_tokens")),
        output_tokens=number(value.get("output_tokens")),
        input_tokens_details=to_details(value.get("input_tokens_details")),
        output_tokens_details=to_details(value.get("output_tokens_details")),
    )


def to_details(value: object) -> TokenDetails | None:
    if not isinstance(value, Mapping):
        return None
    return TokenDetails(text_tokens=number(value.get("text_tokens")), image_tokens=number(value.get("image_tokens")))
