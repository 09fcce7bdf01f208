"""
How long the body of an error asks to wait, where no header says so: in a field, or in its words.

Source: OpenAI and Groq, "Please try again in 1m3s"; Azure, "Please retry after 26 seconds"; Google's RetryInfo,
`retryDelay: "30s"`; OpenRouter, `metadata.headers`; Replicate, "Expected available in 9 seconds".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice

from burncloud_images.wire.headers import NUMBER, find_retry_after, fold_headers, parse_duration

MOST_DEPTH = 6
MOST_ITEMS = 20
# Names of fields, without case and punctuation, with their units in seconds.
FIELDS: Mapping[str, float] = {
    **dict.fromkeys(("retryafter", "retryafterseconds", "retryafters", "retryin", "retryinseconds", "retrydelay"), 1.0),
    **dict.fromkeys(("waitseconds", "waittime", "resetafter", "resetafterseconds", "resetsinseconds"), 1.0),
    **dict.fromkeys(("cooldown", "cooldownseconds", "secondsuntilreset", "backoffseconds", "retryaftersec"), 1.0),
    **dict.fromkeys(("retryafterms", "retryaftermilliseconds", "retrydelayms", "retryinms", "waitms"), 0.001),
}
UNITS = (
    (re.compile(r"ms|msecs?|millis(?:econds?)?|milliseconds?|毫秒"), 0.001),
    (re.compile(r"s|secs?|seconds?|秒钟?"), 1.0),
    (re.compile(r"m|mins?|minutes?|分钟?"), 60.0),
    (re.compile(r"h|hrs?|hours?|小时"), 3600.0),
)
UNIT = (
    r"(?:milliseconds?|millis|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|毫秒|秒钟?|分钟?|小时)(?![a-z])"
)
COMPACT_UNIT = r"(?:h|ms|m|s)"
AMOUNT = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)\s*({UNIT}|{COMPACT_UNIT})", re.IGNORECASE)
SPAN = rf"((?:[0-9]{{1,9}}(?:\.[0-9]{{1,9}})?\s*(?:{UNIT}|{COMPACT_UNIT}(?=[0-9]))[\s,]*(?:and\s+)?)+)"
WORDS = (
    re.compile(
        r"\b(?:try(?:ing)?(?: it| your request)? again|retry(?:ing)?|available|resets?|wait(?:ing)?|come back)\b"
        rf"[^.\d]{{0,40}}?(?:in|after|for|:|~|wait)?\s*(?:about |approximately |at least |~)?\s*{SPAN}",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?:请在|请于|请等待|请|等待)?\s*{SPAN}\s*(?:后|之后|以后)\s*(?:再试|重试|再次|再|尝试|请求)", re.IGNORECASE
    ),
)


def find_body_wait(document: object, message: str, now: datetime | None = None) -> float | None:
    """
    Return the seconds that an error asks to wait; None if it does not say.

    Args:
        document: The parsed body.
        message: What it says.
        now: When it came, aware UTC.
    """
    return find_field(document, now) or find_in_words(message)


def find_field(value: object, now: datetime | None, depth: int = 0) -> float | None:
    """Return the longest wait in the fields of *value*, at any depth."""
    if depth > MOST_DEPTH:
        return None
    if isinstance(value, list):
        return longest(find_field(item, now, depth + 1) for item in islice(value, MOST_ITEMS))
    if not isinstance(value, Mapping):
        return None
    found = [find_field(item, now, depth + 1) for item in islice(value.values(), MOST_ITEMS)]
    for name, item in value.items():
        unit = FIELDS.get(re.sub("[^a-z]", "", str(name).lower()))
        if unit is not None:
            found.append(read_field(item, unit))
        if name == "headers" and isinstance(item, Mapping):
            pairs = ((str(key), text) for key, text in item.items() if isinstance(text, str | int))
            found.append(find_retry_after(fold_headers((key, str(text)) for key, text in pairs), now=now))
    return longest(found)


def longest(waits: Iterable[float | None]) -> float | None:
    return max((wait for wait in waits if wait), default=None)


def read_field(value: object, unit: float) -> float | None:
    """Return the seconds that a field says: a number, a text of one, a duration, or Google's seconds and nanos."""
    if isinstance(value, Mapping):
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        text = f"{seconds}"
        return float(text) + (nanos / 1e9 if isinstance(nanos, int) else 0) if NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = f"{value:.3f}" if isinstance(value, float) else f"{value}".strip()
    if NUMBER.fullmatch(text):
        return float(text) * unit
    return parse_duration(text) or (read_span(text) if AMOUNT.match(text) else None)


def find_in_words(message: str) -> float | None:
    return longest(read_span(match[1]) for pattern in WORDS for match in pattern.finditer(message))


def read_span(text: str) -> float:
    """Return the seconds of a span such as `1m3s`, `2 minutes and 5 seconds` or `500ms`."""
    return sum(float(number) * to_seconds(unit.lower()) for number, unit in AMOUNT.findall(text))


def to_seconds(unit: str) -> float:
    return next((seconds for pattern, seconds in UNITS if pattern.fullmatch(unit)), 1.0)
