"""What the headers of an answer say: request ids, how long to wait, whether to try again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import attrs

# The gateway's own id first: it is the one that its support can look up. Upstream's id passes through beside it.
REQUEST_ID_HEADERS = ("x-oneapi-request-id", "x-request-id")
REQUEST_ID_IN_MESSAGE = re.compile(r"\(request id: ([^\s()]{1,200})\)")

# In the order in which they count, with their units in seconds.
WAITS = {"retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001, "retry-after": 1.0}
# What joins the values of a name that stands several times.
TOGETHER = {**dict.fromkeys(WAITS, "\n"), **dict.fromkeys(("content-digest", "repr-digest", "x-goog-hash"), ", ")}
# RFC 9110 §10.2.3 knows whole seconds; real servers send fractions. `float()` would take nan, inf and 1e9 as well.
NUMBER = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,3})?", re.ASCII)
DURATION = re.compile(
    r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m(?!s))?(?:([0-9]{1,6}(?:\.[0-9]+)?)s)?(?:([0-9]{1,6})ms)?", re.ASCII
)

RATE_LIMITS = ("requests", "images", "tokens")


@attrs.frozen(kw_only=True)
class RateLimit:
    """
    How far a server's rate limit is used up.

    Attributes:
        remaining: How much is left of it.
        reset: Seconds until it is as if nothing had been used.
    """

    remaining: float
    reset: float


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


def fold_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """
    Return headers by their lower-case names.

    Of a name that stands twice the first counts, but all waits are kept, one to a line: the longest of them counts; and
    lists of checksums are put together (RFC 9110 §5.3).
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        if key in TOGETHER and key in headers:
            headers[key] += f"{TOGETHER[key]}{value}"
        else:
            headers.setdefault(key, value)
    return headers


def find_retry_after(headers: Mapping[str, str], *, resets: bool = True) -> float | None:
    """
    Return how long the server asks to wait, in seconds; None if it does not say or what it says makes no sense.

    No time at all, or a date that has passed, says nothing.

    Args:
        headers: With lower-case names.
        resets: Whether the time until the limit of requests is reset counts where nothing else is said. Servers send it
            with every answer, so it does only where none are left: the limit that was hit may be another.

    Source:
        RFC 9110 §10.2.3. A date is compared with the answer's own Date, so that a wrong local clock does not matter.
    """
    return next(waits(headers, resets=resets), None)


def waits(headers: Mapping[str, str], *, resets: bool) -> Iterator[float]:
    for name, unit in WAITS.items():
        lines = headers.get(name, "").split("\n")
        if wait := max((wait for line in lines for wait in read_wait(line.strip(), unit, headers)), default=0.0):
            yield wait
    limit = find_rate_limits(headers).get("requests")
    if resets and limit is not None and not limit.remaining and limit.reset:
        yield limit.reset


def read_wait(value: str, unit: float, headers: Mapping[str, str]) -> Iterator[float]:
    if NUMBER.fullmatch(value):
        yield float(value) * unit
    elif unit == 1 and value:
        yield from seconds_until(value, headers.get("date", ""))


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


def find_rate_limits(headers: Mapping[str, str]) -> dict[str, RateLimit]:
    """
    Return what the server says of its limits of `requests`, `images` and `tokens`; those alone of which it says all.

    Args:
        headers: With lower-case names.

    Source:
        OpenAI's guide to rate limits: the time until the reset is a duration such as `12s` or `6m0s`.
    """
    limits: dict[str, RateLimit] = {}
    for name in RATE_LIMITS:
        remaining = headers.get(f"x-ratelimit-remaining-{name}", "").strip()
        if NUMBER.fullmatch(remaining):
            for reset in duration(headers.get(f"x-ratelimit-reset-{name}", "").strip()):
                limits[name] = RateLimit(remaining=float(remaining), reset=reset)
    return limits


def find_should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return what `x-should-retry` says; None without it."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
