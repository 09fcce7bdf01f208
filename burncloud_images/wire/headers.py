"""What the headers of an answer say: request ids, how long to wait, whether to retry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import attrs

# The gateway's own id first, since its support can look it up. The id of the upstream API passes through as well.
REQUEST_ID_HEADERS = ("x-oneapi-request-id", "x-request-id")
REQUEST_ID_IN_MESSAGE = re.compile(r"\(request id: ([^\s()]{1,200})\)")

# In order of precedence, with their units in seconds.
WAITS = {"retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001, "retry-after": 1.0}
# What joins the values of a header that occurs several times.
TOGETHER = {**dict.fromkeys(WAITS, "\n"), **dict.fromkeys(("content-digest", "repr-digest", "x-goog-hash"), ", ")}
# RFC 9110 §10.2.3 knows whole seconds; real servers send fractions. `float()` would take nan, inf and 1e9 as well.
NUMBER = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,3})?", re.ASCII)
DURATION = re.compile(
    r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m(?!s))?(?:([0-9]{1,6}(?:\.[0-9]+)?)s)?(?:([0-9]{1,6})ms)?", re.ASCII
)

UNIX_TIME = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?", re.ASCII)
FIRST_UNIX_TIME = 10**9
"""A larger number is a moment and not a duration."""

RATE_LIMITS = ("requests", "images", "tokens")


@attrs.frozen(kw_only=True)
class RateLimit:
    """
    How much of a server's rate limit is left.

    Attributes:
        remaining: Requests, images or tokens left.
        reset: Seconds until the limit is full again.
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

    If a header occurs twice, the first one counts. But all waits are kept, one per line, since the longest counts; and
    lists of checksums are joined (RFC 9110 §5.3).
    """
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        if key in TOGETHER and key in headers:
            headers[key] += f"{TOGETHER[key]}{value}"
        else:
            headers.setdefault(key, value)
    return headers


def find_retry_after(headers: Mapping[str, str], *, resets: bool = True, now: datetime | None = None) -> float | None:
    """
    Return how long the server asks to wait, in seconds; None if it does not say, or not in a valid form.

    Zero seconds, or a date that has passed, count as nothing said.

    Args:
        headers: With lower-case names.
        resets: Whether to use the time until the request limit is reset if the server names no other wait. Servers send
            it with every answer, so it counts only if no requests are left: another limit may have been hit.
        now: When the answer came by the local clock, for a date in an answer that has no Date itself.

    Source:
        RFC 9110 §10.2.3. A date is compared with the answer's own Date, so that a wrong local clock does not matter.
    """
    for name, unit in WAITS.items():
        came = find_date(headers) or now
        waits = [read_wait(line.strip(), unit, came) or 0.0 for line in headers.get(name, "").split("\n")]
        if longest := max(waits):
            return longest
    if not resets:
        return None
    limit = find_rate_limits(headers).get("requests")
    if limit is not None and not limit.remaining and limit.reset:
        return limit.reset
    return find_reset(headers, find_date(headers) or now)


def find_reset(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """
    Return the seconds until a limit without a name is reset, if nothing of it is left.

    Args:
        headers: With lower-case names.
        now: When the answer came, for a reset that is a moment.

    Source:
        GitHub sends a Unix time, OpenRouter one in milliseconds, and the IETF's draft of these headers seconds.
    """
    for prefix in ("x-ratelimit", "x-rate-limit", "ratelimit"):
        left = headers.get(f"{prefix}-remaining", "0").partition(";")[0].strip()
        value = headers.get(f"{prefix}-reset-after", headers.get(f"{prefix}-reset", "")).partition(";")[0].strip()
        if left in {"0", "0.0", "-1"} and (wait := read_reset(value, now)):
            return wait
    return None


def read_reset(value: str, now: datetime | None) -> float | None:
    """Return the seconds until a reset: of a duration, or of a number of seconds, or until a Unix time."""
    if not UNIX_TIME.fullmatch(value):
        return parse_duration(value)
    number = float(value)
    if number < FIRST_UNIX_TIME:
        return number
    seconds = number / 1000 if number >= 1000 * FIRST_UNIX_TIME else number
    return max(0.0, seconds - now.timestamp()) if now is not None else None


def read_wait(value: str, unit: float, came: datetime | None) -> float | None:
    if NUMBER.fullmatch(value):
        return float(value) * unit
    if unit != 1:
        return None
    if (seconds := parse_duration(value)) is not None:
        return seconds
    end = to_date(value) or to_iso_date(value)
    return None if end is None or came is None else max(0.0, (end - came).total_seconds())


def find_date(headers: Mapping[str, str], name: str = "date") -> datetime | None:
    """Return the date in a header, aware UTC; None if there is none that can be read."""
    return to_date(headers.get(name, ""))


@lru_cache(maxsize=64)  # answers of the same second have the same
def to_date(text: str) -> datetime | None:
    try:
        return aware(parsedate_to_datetime(text)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def to_iso_date(text: str) -> datetime | None:
    try:
        return aware(datetime.fromisoformat(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_duration(text: str) -> float | None:
    """Return the seconds of a duration such as `1m2.5s`; None if *text* is not one."""
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1000


def find_rate_limits(headers: Mapping[str, str]) -> dict[str, RateLimit]:
    """
    Return the server's limits of `requests`, `images` and `tokens`, as far as it says both what is left and the reset.

    Args:
        headers: With lower-case names.

    Source:
        OpenAI's guide to rate limits: the time until the reset is a duration such as `12s` or `6m0s`.
    """
    limits: dict[str, RateLimit] = {}
    for name in RATE_LIMITS:
        remaining = headers.get(f"x-ratelimit-remaining-{name}", "").strip()
        reset = parse_duration(headers.get(f"x-ratelimit-reset-{name}", "").strip())
        if NUMBER.fullmatch(remaining) and reset is not None:
            limits[name] = RateLimit(remaining=float(remaining), reset=reset)
    return limits


def find_should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return the value of `x-should-retry`; None without it."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
