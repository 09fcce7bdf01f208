"""What the headers of an answer say: request ids, how long to wait, whether to try again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["find_date", "find_request_id", "find_retry_after", "find_should_retry"]

# The gateway's own id first: it is the one that its support can look up. Upstream's id passes through beside it.
REQUEST_ID_HEADERS = ("x-oneapi-request-id", "x-request-id")
REQUEST_ID_IN_MESSAGE = re.compile(r"\(request id: ([^\s()]{1,200})\)")

MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
# RFC 9110 §10.2.3 knows whole seconds; real servers send fractions. `float()` would take nan, inf and 1e9 as well.
NUMBER = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,3})?", re.ASCII)
DURATION = re.compile(
    r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m(?!s))?(?:([0-9]{1,6}(?:\.[0-9]+)?)s)?(?:([0-9]{1,6})ms)?", re.ASCII
)


def find_request_id(headers: Mapping[str, str], message: str = "") -> str | None:
    """
    Return the server's id of a request.

    Args:
        headers: With lower-case names.
        message: An error's text; gateways write the id into it.
    """
    for name in REQUEST_ID_HEADERS:
        value = headers.get(name, "").strip()
        if value and value.isprintable():
            return value[:200]
    match = REQUEST_ID_IN_MESSAGE.search(message)
    return match[1] if match else None


def find_retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Return how long the server asks to wait, in seconds; None if it does not say or what it says makes no sense.

    Source:
        RFC 9110 §10.2.3. A date is compared with the answer's own Date, so that a wrong local clock does not matter.
    """
    return next(waits(headers), None)


def waits(headers: Mapping[str, str]) -> Iterator[float]:
    for name in MILLISECONDS:
        if NUMBER.fullmatch(value := headers.get(name, "").strip()):
            yield float(value) / 1000
    value = headers.get("retry-after", "").strip()
    if NUMBER.fullmatch(value):
        yield float(value)
    elif value:
        yield from seconds_until(value, headers.get("date", ""))
    yield from duration(headers.get("x-ratelimit-reset-requests", "").strip())


def seconds_until(date: str, now: str) -> Iterator[float]:
    end, start = to_date(date), to_date(now)
    if end is not None and start is not None:
        yield max(0.0, (end - start).total_seconds())


def find_date(headers: Mapping[str, str], name: str = "date") -> datetime | None:
    """Return the date in a header, aware UTC; None if there is none that can be read."""
    return to_date(headers.get(name, ""))


def to_date(text: str) -> datetime | None:
    try:
        return aware(parsedate_to_datetime(text)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def duration(text: str) -> Iterator[float]:
    """Yield the seconds of a duration such as `1m2.5s`."""
    match = DURATION.fullmatch(text)
    if match:
        hours, minutes, seconds, milliseconds = (float(group or 0) for group in match.groups())
        yield 3600 * hours + 60 * minutes + seconds + milliseconds / 1000


def find_should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return what `x-should-retry` says; None without it."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
